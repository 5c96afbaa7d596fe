//! The walk over the syntax tree of an `INSERT`: clauses, tables, expressions.

use super::{Known, bare_name, system_column, unrepeatable};
use crate::plan::Refusal;
use crate::plan::text::{Text, Tokens, near_misses, spelled};
use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Function, FunctionArguments, GroupByExpr, Insert, LimitClause, ObjectName, Query, Select,
    SelectItem, SetExpr, SetOperator, SetQuantifier, Spanned, TableFactor, TableObject, Value, Visit, Visitor,
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

    pub(super) fn insert_clauses(&mut self, insert: &Insert) {
        let clauses: [(bool, &[&str]); 10] = [
            (insert.or.is_some(), &["OR"]),
            (insert.ignore, &["IGNORE"]),
            (insert.overwrite, &["OVERWRITE"]),
            (insert.partitioned.is_some() || !insert.after_columns.is_empty(), &["PARTITION"]),
            (insert.on.is_some(), &["ON"]),
            (insert.returning.is_some(), &["RETURNING"]),
            (insert.replace_into, &["REPLACE"]),
            (!insert.assignments.is_empty(), &["SET"]),
            (insert.settings.is_some(), &["SETTINGS"]),
            (insert.format_clause.is_some(), &["FORMAT"]),
        ];
        for (is_there, words) in clauses {
            if is_there {
                let span = self.tokens.find(Location::new(0, 0), words).unwrap_or(self.at);
                let message = format!("INSERT ... {} is not supported", words.join(" "));
                self.refuse(span, message, "rows are only ever added; leave it out");
            }
        }
        if let Some(column) = insert.columns.first() {
            let help = "leave the list out and name the columns in the SELECT: ... AS name";
            self.refuse(column.span, "a column list is not supported: columns are bound by name", help);
        }
        if let Some(alias) = &insert.table_alias {
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
        let scope = self.ctes.len();
        if let Some(with) = &query.with {
            let outer = std::mem::replace(&mut self.at, with.with_token.0.span);
            if with.recursive {
                self.refuse_clause(&["RECURSIVE"], "a stream has no fixed point to wait for");
            }
            for cte in &with.cte_tables {
                self.inner_query(&cte.query, "a CTE");
                self.ctes.push(spelled(&cte.alias.name));
            }
            self.at = outer;
        }
        self.set_expression(&query.body, selects);
        let ordering = "a stream has no end to sort by; order when you query the table";
        let limiting = "a stream has no end to count from; limit when you query the table";
        let clauses: [(bool, &[&str], &str); 8] = [
            (query.order_by.is_some(), &["ORDER", "BY"], ordering),
            (query.limit_clause.is_some(), limit_words(query), limiting),
            (query.fetch.is_some(), &["FETCH"], limiting),
            (!query.locks.is_empty(), &["FOR"], "leave it out"),
            (query.for_clause.is_some(), &["FOR"], "leave it out"),
            (query.settings.is_some(), &["SETTINGS"], "leave it out"),
            (query.format_clause.is_some(), &["FORMAT"], "leave it out"),
            (!query.pipe_operators.is_empty(), &[], "write it as a SELECT"),
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
        let outer = std::mem::replace(&mut self.at, select.select_token.0.span);
        let grouping = "a pipeline goes row by row; group when you query the table";
        let is_grouped = match &select.group_by {
            GroupByExpr::All(_) => true,
            GroupByExpr::Expressions(expressions, modifiers) => !expressions.is_empty() || !modifiers.is_empty(),
        };
        let clauses: [(bool, &[&str], &str); 13] = [
            (is_grouped, &["GROUP", "BY"], grouping),
            (select.having.is_some(), &["HAVING"], grouping),
            (matches!(select.distinct, Some(Distinct::Distinct | Distinct::On(_))), &["DISTINCT"], grouping),
            (select.top.is_some(), &["TOP"], "limit when you query the table"),
            (select.into.is_some(), &["INTO"], "the target stands behind INSERT INTO"),
            (!select.lateral_views.is_empty(), &["LATERAL", "VIEW"], "leave it out"),
            (select.prewhere.is_some(), &["PREWHERE"], "write WHERE"),
            (!select.connect_by.is_empty(), &["CONNECT", "BY"], "leave it out"),
            (!select.cluster_by.is_empty(), &["CLUSTER", "BY"], "leave it out"),
            (!select.distribute_by.is_empty(), &["DISTRIBUTE", "BY"], "leave it out"),
            (!select.sort_by.is_empty(), &["SORT", "BY"], "leave it out"),
            (!select.named_window.is_empty(), &["WINDOW"], WINDOWS),
            (select.qualify.is_some(), &["QUALIFY"], WINDOWS),
        ];
        for (is_there, words, help) in clauses {
            if is_there {
                self.refuse_clause(words, help);
            }
        }
        self.from(select);
        let mut expressions = Expressions { check: self };
        for item in &select.projection {
            let _ = item.visit(&mut expressions);
        }
        let _ = select.selection.visit(&mut expressions);
        self.at = outer;
    }

    fn from(&mut self, select: &Select) {
        let Some(first) = select.from.first() else {
            return self.refuse(
                self.at,
                "a SELECT needs a FROM: rows come from a source",
                "write SELECT ... FROM source",
            );
        };
        self.table(&first.relation);
        let joining = "a pipeline reads one source at a time; join when you query the tables";
        if let Some(join) = first.joins.first() {
            let join_word = self.tokens.find(first.relation.span().start, &["JOIN"]);
            let span = join_word.unwrap_or_else(|| join.relation.span());
            self.refuse(span, "JOIN is not supported yet", joining);
        }
        if let Some(second) = select.from.get(1) {
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
                name, with_hints, version, with_ordinality, partitions, json_path, sample, ..
            } => {
                let is_plain = with_hints.is_empty()
                    && version.is_none()
                    && !with_ordinality
                    && partitions.is_empty()
                    && json_path.is_none()
                    && sample.is_none();
                if !is_plain {
                    self.refuse(table.span(), "a source is read as it comes", "leave out what stands behind its name");
                }
                self.source(name);
            }
            TableFactor::Derived { lateral, subquery, sample, .. } => {
                if *lateral || sample.is_some() {
                    self.refuse(subquery.span(), "LATERAL and samples are not supported yet", "leave it out");
                }
                self.inner_query(subquery, "a subquery");
            }
            TableFactor::NestedJoin { table_with_joins, .. } if table_with_joins.joins.is_empty() => {
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
        if parts.len() == 1 && (self.known.sources.contains(&name_text.as_str())) {
            self.reads.insert(name_text);
            return;
        }
        if self.known.broken.contains(&name_text) {
            // What is wrong with it stands at its declaration; it counts as read.
            self.reads.insert(name_text);
            return;
        }
        let near = near_misses(&name_text, self.known.sources.iter().copied(), "the sources are");
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
        let name = function.name.to_string().to_lowercase().replace('"', "");
        let span = function.name.span();
        let state = self.known.state;
        if function.over.is_some() {
            return self.refuse(span, format!("the window function `{name}` OVER (...) is not supported yet"), WINDOWS);
        }
        if matches!(name.as_str(), "tumble" | "hop" | "session") && !state.scalar_functions().contains_key(&name) {
            return self.refuse(span, format!("windows are not supported yet: `{name}`"), WINDOWS);
        }
        if let Some(udf) = state.scalar_functions().get(&name) {
            if let Some((message, help)) = unrepeatable(&name, udf.signature().volatility, udf.as_async().is_some()) {
                self.refuse(span, message, help);
            }
            return;
        }
        if state.aggregate_functions().contains_key(&name) {
            let help = "a pipeline goes row by row; aggregate when you query the table";
            return self.refuse(span, format!("the aggregate `{name}` is not supported yet"), help);
        }
        if state.window_functions().contains_key(&name) {
            return self.refuse(span, format!("the window function `{name}` is not supported yet"), WINDOWS);
        }
        if matches!(function.args, FunctionArguments::None) {
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
