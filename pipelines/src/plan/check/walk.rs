//! The walk over the syntax tree of an `INSERT`: clauses, tables, expressions.
//!
//! What DataFusion's planner does not look at, it leaves out of the plan without a word. So the nodes that hold clauses
//! are taken apart without `..`: a clause that a newer parser knows does not compile here before somebody decides on it.

use super::{Known, bare_name, system_column, unrepeatable};
use crate::plan::Refusal;
use crate::plan::text::{Text, Tokens, near_misses, near_names, spelled};
use datafusion::sql::sqlparser::ast::{
    Cte, Distinct, Expr, Function, FunctionArgumentClause, FunctionArgumentList, FunctionArguments, GroupByExpr,
    Insert, LimitClause, ObjectName, Query, Select, SelectFlavor, SelectItem, SetExpr, SetOperator, SetQuantifier,
    Spanned, TableAlias, TableFactor, TableObject, TableWithJoins, Value, Visit, Visitor, WildcardAdditionalOptions,
    With,
};
use datafusion::sql::sqlparser::tokenizer::{Location, Span};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use thermocline_schemas::table::system;

/// An `INSERT` being checked.
pub(super) struct Check<'c, 'a> {
    pub(super) text: &'c Text<'a>,
    pub(super) tokens: &'c Tokens,
    pub(super) known: &'c Known<'c>,
    pub(super) refusals: &'c mut Vec<Refusal>,
    /// The CTEs in scope.
    pub(super) ctes: Vec<String>,
    /// The sources that are read, by this `INSERT` and others.
    pub(super) reads: &'c mut BTreeSet<String>,
    /// True when this `INSERT` reads a source that was refused at its declaration.
    pub(super) reads_broken: bool,
    /// The innermost place that is known, for what has none of its own.
    pub(super) at: Span,
}

impl Check<'_, '_> {
    pub(super) fn refuse(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        let span = if span == Span::empty() { self.at } else { span };
        let refusal = self.text.refuse(span, message, help);
        if !self.refusals.contains(&refusal) {
            self.refusals.push(refusal);
        }
    }

    /// Refuses the clause `words` of the innermost `SELECT` or query.
    fn refuse_clause(&mut self, words: &[&str], help: &str) {
        let span = self.tokens.find(self.at.start, words).unwrap_or(self.at);
        self.refuse(span, format!("{} is not supported yet", words.join(" ")), help);
    }

    /// Refuses a clause that the syntax tree holds as `clause`, in its own words.
    fn refuse_printed(&mut self, clause: Option<impl std::fmt::Display>, help: &str) {
        let Some(clause) = clause.map(|clause| clause.to_string()) else { return };
        let words: Vec<&str> = clause.split_whitespace().collect();
        self.refuse_clause(&words, help);
    }

    pub(super) fn insert_clauses(&mut self, insert: &Insert) {
        let Insert {
            insert_token: _,
            optimizer_hint,
            or,
            ignore,
            into: _,
            table: _,
            table_alias,
            columns,
            overwrite,
            source: _,
            assignments,
            partitioned,
            after_columns,
            has_table_keyword: _,
            on,
            returning,
            replace_into,
            priority,
            insert_alias,
            settings,
            format_clause,
        } = insert;
        let clauses: [(bool, &[&str]); 13] = [
            (optimizer_hint.is_some(), &["hint"]),
            (or.is_some(), &["OR"]),
            (*ignore, &["IGNORE"]),
            (*overwrite, &["OVERWRITE"]),
            (partitioned.is_some() || !after_columns.is_empty(), &["PARTITION"]),
            (on.is_some(), &["ON"]),
            (returning.is_some(), &["RETURNING"]),
            (*replace_into, &["REPLACE"]),
            (priority.is_some(), &["PRIORITY"]),
            (insert_alias.is_some(), &["AS"]),
            (!assignments.is_empty(), &["SET"]),
            (settings.is_some(), &["SETTINGS"]),
            (format_clause.is_some(), &["FORMAT"]),
        ];
        for (is_there, words) in clauses {
            if is_there {
                let span = self.tokens.find(Location::new(0, 0), words).unwrap_or(self.at);
                let message = format!("INSERT ... {} is not supported", words.join(" "));
                self.refuse(span, message, "rows are only ever added; leave it out");
            }
        }
        if let Some(column) = columns.first() {
            let help = "leave the list out and name the columns in the SELECT: ... AS name";
            self.refuse(column.span, "a column list is not supported: columns are bound by name", help);
        }
        if let Some(alias) = table_alias {
            self.refuse(alias.span, "a target has no alias", "leave it out");
        }
    }

    pub(super) fn target(&mut self, insert: &Insert) -> Option<(String, Span)> {
        match &insert.table {
            TableObject::TableName(name) => {
                let parts: Option<Vec<String>> = name.0.iter().map(|part| part.as_ident().map(spelled)).collect();
                Some((parts?.join("."), name.span()))
            }
            TableObject::TableFunction(_) => {
                self.refuse(self.at, "rows go into a table by its name", "write INSERT INTO domains SELECT ...");
                None
            }
        }
    }

    /// A query at the top, or within `FROM` or `WITH`. Its `SELECT`s are added to `selects`.
    pub(super) fn query<'q>(&mut self, query: &'q Query, selects: &mut Vec<&'q Select>) {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        let scope = self.ctes.len();
        if let Some(with) = with {
            self.with(with);
        }
        self.set_expression(body, selects);
        let ordering = "a stream has no end to sort by; order when you query the table";
        let limiting = "a stream has no end to count from; limit when you query the table";
        let clauses: [(bool, &[&str], &str); 8] = [
            (order_by.is_some(), &["ORDER", "BY"], ordering),
            (limit_clause.is_some(), limit_words(query), limiting),
            (fetch.is_some(), &["FETCH"], limiting),
            (!locks.is_empty(), &["FOR"], "leave it out"),
            (for_clause.is_some(), &["FOR"], "leave it out"),
            (settings.is_some(), &["SETTINGS"], "leave it out"),
            (format_clause.is_some(), &["FORMAT"], "leave it out"),
            (!pipe_operators.is_empty(), &[], "write it as a SELECT"),
        ];
        for (is_there, words, help) in clauses {
            match (is_there, words) {
                (true, []) => self.refuse(self.at, "pipe operators are not supported yet", help),
                (true, words) => self.refuse_clause(words, help),
                (false, _) => {}
            }
        }
        self.ctes.truncate(scope);
    }

    fn with(&mut self, with: &With) {
        let With { with_token, recursive, cte_tables } = with;
        let outer = std::mem::replace(&mut self.at, with_token.0.span);
        if *recursive {
            self.refuse_clause(&["RECURSIVE"], "a stream has no fixed point to wait for");
        }
        for cte in cte_tables {
            let Cte { alias, query, from, materialized, closing_paren_token: _ } = cte;
            if let Some(from) = from {
                self.refuse(from.span, "FROM behind a CTE is not supported yet", "leave it out");
            }
            self.refuse_printed(materialized.as_ref(), "a CTE is always folded into its SELECT; leave it out");
            self.alias(Some(alias));
            self.inner_query(query, "a CTE");
            self.ctes.push(spelled(&alias.name));
        }
        self.at = outer;
    }

    /// An alias gives names; types that it gives are not looked at by the planner.
    fn alias(&mut self, alias: Option<&TableAlias>) {
        let Some(TableAlias { explicit: _, name: _, columns }) = alias else { return };
        if let Some(column) = columns.iter().find(|column| column.data_type.is_some()) {
            let message = format!("a type in an alias is not supported yet: {column}");
            self.refuse(column.name.span, message, "write CAST(... AS type) in the SELECT");
        }
    }

    /// A query whose rows another `SELECT` reads: one `SELECT`, which the planner folds into it.
    fn inner_query(&mut self, query: &Query, what: &str) {
        let mut selects = vec![];
        self.query(query, &mut selects);
        if selects.len() > 1 {
            let span = self.tokens.find(selects[0].select_token.0.span.start, &["UNION"]).unwrap_or(self.at);
            let help = "write the legs at the top of the INSERT: each becomes a branch of its own";
            self.refuse(span, format!("UNION ALL inside {what} is not supported yet"), help);
        }
    }

    fn set_expression<'q>(&mut self, body: &'q SetExpr, selects: &mut Vec<&'q Select>) {
        match body {
            SetExpr::Select(select) => {
                selects.push(select);
                self.select(select);
            }
            SetExpr::Query(query) => {
                if query.with.is_some() {
                    self.refuse(
                        query.span(),
                        "WITH inside a leg is not supported yet",
                        "write it before the first SELECT",
                    );
                }
                self.query(query, selects);
            }
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                self.set_expression(left, selects);
                self.set_expression(right, selects);
                let word = match op {
                    SetOperator::Union => "UNION",
                    SetOperator::Except => "EXCEPT",
                    SetOperator::Intersect => "INTERSECT",
                    SetOperator::Minus => "MINUS",
                };
                if !matches!((op, set_quantifier), (SetOperator::Union, SetQuantifier::All)) {
                    let from = selects.first().map_or(self.at, |select| select.select_token.0.span);
                    let span = self.tokens.find(from.start, &[word]).unwrap_or(from);
                    let help = "UNION ALL is: each of its legs is a branch of its own";
                    self.refuse(span, format!("{word} is not supported yet: it compares rows with each other"), help);
                }
            }
            SetExpr::Values(_) => {
                let span = self.tokens.find(self.at.start, &["VALUES"]).unwrap_or(self.at);
                self.refuse(span, "VALUES is not supported: rows come from a source", "write SELECT ... FROM source");
            }
            other => self.refuse(other.span(), "only SELECT is supported here", "write SELECT ... FROM source"),
        }
    }

    fn select(&mut self, select: &Select) {
        let Select {
            select_token,
            optimizer_hint,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        let outer = std::mem::replace(&mut self.at, select_token.0.span);
        let grouping = "a pipeline goes row by row; group when you query the table";
        let is_grouped = match group_by {
            GroupByExpr::All(_) => true,
            GroupByExpr::Expressions(expressions, modifiers) => !expressions.is_empty() || !modifiers.is_empty(),
        };
        let clauses: [(bool, &[&str], &str); 15] = [
            (is_grouped, &["GROUP", "BY"], grouping),
            (having.is_some(), &["HAVING"], grouping),
            (matches!(distinct, Some(Distinct::Distinct | Distinct::On(_))), &["DISTINCT"], grouping),
            (top.is_some(), &["TOP"], "limit when you query the table"),
            (exclude.is_some(), &["EXCLUDE"], "write * EXCLUDE (...) right behind the *"),
            (into.is_some(), &["INTO"], "the target stands behind INSERT INTO"),
            (!lateral_views.is_empty(), &["LATERAL", "VIEW"], "leave it out"),
            (prewhere.is_some(), &["PREWHERE"], "write WHERE"),
            (!connect_by.is_empty(), &["CONNECT", "BY"], "leave it out"),
            (!cluster_by.is_empty(), &["CLUSTER", "BY"], "leave it out"),
            (!distribute_by.is_empty(), &["DISTRIBUTE", "BY"], "leave it out"),
            (!sort_by.is_empty(), &["SORT", "BY"], "leave it out"),
            (!named_window.is_empty(), &["WINDOW"], WINDOWS),
            (qualify.is_some(), &["QUALIFY"], WINDOWS),
            (optimizer_hint.is_some(), &["a", "hint"], "leave the comment out, or write it without the +"),
        ];
        for (is_there, words, help) in clauses {
            if is_there {
                self.refuse_clause(words, help);
            }
        }
        self.refuse_printed(select_modifiers.as_ref().filter(|it| it.is_any_set()), "leave it out");
        self.refuse_printed(value_table_mode.as_ref(), "name the columns");
        let is_standard = self.refuse_flavor(flavor, projection);
        self.from(from);
        if is_standard {
            let mut expressions = Expressions { check: self };
            for item in projection {
                let _ = item.visit(&mut expressions);
            }
            projection.iter().for_each(|item| self.wildcard(item));
            self.refuse_twins(projection);
        }
        let _ = selection.visit(&mut Expressions { check: self });
        self.at = outer;
    }

    /// Refuses a `SELECT` that stands behind its `FROM`, or that selects nothing; true where it does neither.
    fn refuse_flavor(&mut self, flavor: &SelectFlavor, projection: &[SelectItem]) -> bool {
        let message = match flavor {
            SelectFlavor::FromFirst => "FROM before SELECT is not supported yet",
            SelectFlavor::FromFirstNoSelect => "FROM without SELECT is not supported yet",
            SelectFlavor::Standard if projection.is_empty() => "this SELECT selects nothing",
            SelectFlavor::Standard => return true,
        };
        self.refuse(self.at, message, "write SELECT * FROM source, or name the columns");
        false
    }

    /// Refuses two columns of one name. Those that come through a `*` or by a longer name only the planner knows.
    fn refuse_twins(&mut self, projection: &[SelectItem]) {
        let mut names = BTreeSet::new();
        for item in projection {
            let ident = match item {
                SelectItem::ExprWithAlias { expr: _, alias } => alias,
                SelectItem::UnnamedExpr(Expr::Identifier(ident)) => ident,
                _ => continue,
            };
            let name = spelled(ident);
            if names.contains(&name) {
                let help = "leave one out, or give it another name: ... AS name";
                self.refuse(ident.span, format!("two columns are called `{name}`"), help);
            }
            names.insert(name);
        }
    }

    fn wildcard(&mut self, item: &SelectItem) {
        let options = match item {
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { expr: _, alias: _ } => return,
            SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => options,
        };
        // The planner honours EXCLUDE, EXCEPT and REPLACE.
        let WildcardAdditionalOptions {
            wildcard_token: _,
            opt_ilike,
            opt_exclude: _,
            opt_except: _,
            opt_replace: _,
            opt_rename,
        } = options;
        for (is_there, word) in [(opt_ilike.is_some(), "ILIKE"), (opt_rename.is_some(), "RENAME")] {
            if is_there {
                self.refuse_clause(&[word], "name the columns, or leave some out with * EXCEPT (...)");
            }
        }
    }

    fn from(&mut self, from: &[TableWithJoins]) {
        let Some(TableWithJoins { relation, joins }) = from.first() else {
            return self.refuse(
                self.at,
                "a SELECT needs a FROM: rows come from a source",
                "write SELECT ... FROM source",
            );
        };
        self.table(relation);
        let joining = "a pipeline reads one source at a time; join when you query the tables";
        if let Some(join) = joins.first() {
            let join_word = self.tokens.find(relation.span().start, &["JOIN"]);
            let span = join_word.unwrap_or_else(|| join.relation.span());
            self.refuse(span, "JOIN is not supported yet", joining);
        }
        if let Some(second) = from.get(1) {
            self.refuse(
                second.relation.span(),
                "several tables in FROM are a join, which is not supported yet",
                joining,
            );
        }
    }

    fn table(&mut self, table: &TableFactor) {
        match table {
            TableFactor::Table { name, args: Some(_), .. } => {
                let function = name.to_string().to_lowercase();
                let (message, help) = match function.as_str() {
                    "tumble" | "hop" | "session" => {
                        (format!("windows are not supported yet: `{function}`"), WINDOWS.to_owned())
                    }
                    _ => {
                        let help = near_misses(&function, self.known.sources.iter().copied(), "the sources are");
                        (format!("the table function `{function}` is not supported yet"), help)
                    }
                };
                self.refuse(name.span(), message, help);
            }
            TableFactor::Table {
                name,
                alias,
                args: None,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                let is_plain = with_hints.is_empty()
                    && version.is_none()
                    && !with_ordinality
                    && partitions.is_empty()
                    && json_path.is_none()
                    && sample.is_none()
                    && index_hints.is_empty();
                if !is_plain {
                    self.refuse(table.span(), "a source is read as it comes", "leave out what stands behind its name");
                }
                self.alias(alias.as_ref());
                self.source(name);
            }
            TableFactor::Derived { lateral, subquery, alias, sample } => {
                if *lateral || sample.is_some() {
                    self.refuse(subquery.span(), "LATERAL and samples are not supported yet", "leave it out");
                }
                self.alias(alias.as_ref());
                self.inner_query(subquery, "a subquery");
            }
            TableFactor::NestedJoin { table_with_joins, alias } if table_with_joins.joins.is_empty() => {
                self.alias(alias.as_ref());
                self.table(&table_with_joins.relation);
            }
            TableFactor::NestedJoin { .. } => {
                self.refuse(table.span(), "JOIN is not supported yet", "join when you query the tables");
            }
            TableFactor::UNNEST { .. } => self.refuse_clause(&["UNNEST"], "one record becomes one row"),
            other => self.refuse(other.span(), format!("{other} is not supported here"), "read from a source"),
        }
    }

    fn source(&mut self, name: &ObjectName) {
        let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident().map(spelled)).collect();
        let name_text = parts.join(".");
        if parts.len() == 1 && self.ctes.contains(&name_text) {
            return;
        }
        if self.known.broken.sources.contains(&name_text) {
            // What is wrong with it stands at its declaration; it counts as read.
            self.reads_broken = true;
            self.reads.insert(name_text);
            return;
        }
        if parts.len() == 1 && self.known.sources.contains(&name_text.as_str()) {
            self.reads.insert(name_text);
            return;
        }
        let declared = self.known.sources.iter().copied().chain(self.known.broken.sources.iter().map(String::as_str));
        let near = near_names(&name_text, declared, "the sources are");
        let help =
            if near.is_empty() { "declare it with CREATE EXTERNAL TABLE ... STORED AS KAFKA".into() } else { near };
        self.refuse(name.span(), format!("there is no source `{name_text}`"), help);
    }

    /// The names of what comes out, which are those of the first leg. A bare name may be that of a declared column: the
    /// plan says whose it is.
    pub(super) fn names(&mut self, select: &Select) {
        for item in &select.projection {
            let (name, span) = match item {
                SelectItem::ExprWithAlias { alias, .. } => (Some(spelled(alias)), alias.span),
                SelectItem::UnnamedExpr(expression) => (bare_name(expression), expression.span()),
                SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => continue,
            };
            self.at = select.select_token.0.span;
            match name {
                None => self.refuse(span, "this column has no name", "give it one: ... AS name"),
                Some(name) if name == system::EVENT_TIME || name == system::ATTRIBUTES => {}
                Some(name) if system::is_system(&name) && matches!(item, SelectItem::ExprWithAlias { .. }) => {
                    let (message, help) = system_column(&name);
                    self.refuse(span, message, help);
                }
                Some(_) => {}
            }
        }
    }

    fn function(&mut self, function: &Function) {
        let Function { name, uses_odbc_syntax: _, parameters, args, filter, null_treatment, over, within_group } =
            function;
        let span = name.span();
        let name = name.to_string().to_lowercase().replace('"', "");
        let state = self.known.state;
        if over.is_some() {
            return self.refuse(span, format!("the window function `{name}` OVER (...) is not supported yet"), WINDOWS);
        }
        if matches!(name.as_str(), "tumble" | "hop" | "session") && !state.scalar_functions().contains_key(&name) {
            return self.refuse(span, format!("windows are not supported yet: `{name}`"), WINDOWS);
        }
        if let Some(udf) = state.scalar_functions().get(&name) {
            if let Some((message, help)) = unrepeatable(&name, udf.signature().volatility, udf.as_async().is_some()) {
                self.refuse(span, message, help);
            }
            let clauses: [(bool, &[&str]); 3] = [
                (filter.is_some(), &["FILTER"]),
                (null_treatment.is_some(), &["NULLS"]),
                (!within_group.is_empty(), &["WITHIN", "GROUP"]),
            ];
            for (is_there, words) in clauses {
                if is_there {
                    self.refuse_call(&name, span, words);
                }
            }
            if !matches!(parameters, FunctionArguments::None) {
                let help = "write its arguments between one pair of parentheses";
                self.refuse(span, format!("parameters of the function `{name}` are not supported"), help);
            }
            return self.arguments(&name, span, args);
        }
        if state.aggregate_functions().contains_key(&name) {
            let help = "a pipeline goes row by row; aggregate when you query the table";
            return self.refuse(span, format!("the aggregate `{name}` is not supported yet"), help);
        }
        if state.window_functions().contains_key(&name) {
            return self.refuse(span, format!("the window function `{name}` is not supported yet"), WINDOWS);
        }
        if matches!(args, FunctionArguments::None) {
            let help = format!("to mean the column, write \"{name}\" in double quotes");
            return self.refuse(
                span,
                format!("a bare `{name}` is a function call, and there is no such function"),
                help,
            );
        }
        let names = state.scalar_functions().keys().map(String::as_str);
        self.refuse(span, format!("there is no function `{name}`"), near_misses(&name, names, "there are"));
    }

    /// What stands between the parentheses of a scalar function, besides its arguments.
    fn arguments(&mut self, name: &str, span: Span, arguments: &FunctionArguments) {
        let FunctionArgumentList { duplicate_treatment, args: _, clauses } = match arguments {
            FunctionArguments::None => return,
            FunctionArguments::Subquery(_) => {
                let help = "a pipeline goes row by row; join when you query the tables";
                return self.refuse(span, format!("a subquery in `{name}` is not supported yet"), help);
            }
            FunctionArguments::List(list) => list,
        };
        if let Some(treatment) = duplicate_treatment.map(|treatment| treatment.to_string()) {
            self.refuse_call(name, span, &[&treatment]);
        }
        for clause in clauses {
            let words: &[&str] = match clause {
                FunctionArgumentClause::IgnoreOrRespectNulls(_) => &["NULLS"],
                FunctionArgumentClause::OrderBy(_) => &["ORDER", "BY"],
                FunctionArgumentClause::Limit(_) => &["LIMIT"],
                FunctionArgumentClause::OnOverflow(_) => &["ON", "OVERFLOW"],
                FunctionArgumentClause::Having(_) => &["HAVING"],
                FunctionArgumentClause::Separator(_) => &["SEPARATOR"],
                FunctionArgumentClause::JsonNullClause(_) => &["NULL"],
                FunctionArgumentClause::JsonReturningClause(_) => &["RETURNING"],
            };
            self.refuse_call(name, span, words);
        }
    }

    /// Refuses the words `words` of a call of the scalar function `name` at `span`.
    fn refuse_call(&mut self, name: &str, span: Span, words: &[&str]) {
        let place = self.tokens.find(span.start, words).unwrap_or(span);
        let help = "it takes one row at a time; leave it out";
        self.refuse(place, format!("{} means nothing to the function `{name}`", words.join(" ")), help);
    }
}

const WINDOWS: &str = "group by time when you query the table, with date_bin or date_trunc";

fn limit_words(query: &Query) -> &'static [&'static str] {
    match &query.limit_clause {
        Some(LimitClause::LimitOffset { limit: None, offset: Some(_), .. }) => &["OFFSET"],
        _ => &["LIMIT"],
    }
}

/// Walks the expressions of a `SELECT`.
struct Expressions<'e, 'c, 'a> {
    check: &'e mut Check<'c, 'a>,
}

impl Visitor for Expressions<'_, '_, '_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        let subquery = "a pipeline goes row by row; filter with literals, or join when you query the tables";
        match expression {
            Expr::Function(function) => self.check.function(function),
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => {
                let message = "a subquery in an expression is not supported yet";
                self.check.refuse(expression.span(), message, subquery);
                return ControlFlow::Break(());
            }
            Expr::Value(value) if matches!(&value.value, Value::Placeholder(_)) => {
                self.check.refuse(value.span, format!("{} stands for nothing here", value.value), "write the value");
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
