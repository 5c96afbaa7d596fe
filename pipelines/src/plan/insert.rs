//! An `INSERT` that has passed the checks becomes branches: DataFusion plans its query, its columns are bound to the
//! target by name, and each leg of its `UNION ALL` is a branch of its own.

use crate::plan::check::{self, Checked, CheckedLeg};
use crate::plan::declare::{RESERVED, quoted};
use crate::plan::text::{Text, Tokens, near_misses};
use crate::plan::translate::{self, Planner};
use crate::plan::words::{Mistake, mistake};
use crate::plan::{Binding, BranchSpec, DOMAINS, EventTimeFrom, Leg, Refusal, SourceSpec, Target, types};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Column, TableReference};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::tokenizer::{Location, Span};
use std::sync::Arc;
use thermocline_schemas::metadata::NewBranch;
use thermocline_schemas::table::{system, timestamp_type};
use thermocline_schemas::{TableName, TableSchema};

/// The tables that rows can go to.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// All domains, with the columns that pipelines add to them.
    pub(super) domains: Vec<TableSchema>,
    /// Tables inside domains, as the `INSERT`s so far make them.
    pub(super) created: Vec<TableSchema>,
}

/// Where an `INSERT` goes, before its columns are known.
enum Goal {
    Domains,
    Domain(TableSchema),
    Created(TableName),
}

/// One `INSERT` on its way.
pub(super) struct Insertion<'a, 't> {
    pub(super) text: &'t Text<'a>,
    pub(super) tokens: &'t Tokens,
    pub(super) checked: Checked<'t>,
    pub(super) planner: &'t Planner,
    pub(super) sources: &'t [SourceSpec],
    pub(super) tables: &'t mut Tables,
    pub(super) refusals: &'t mut Vec<Refusal>,
}

/// An output column of the query.
struct OutputColumn {
    qualifier: Option<TableReference>,
    name: String,
    found: DataType,
    kept: DataType,
}

impl Insertion<'_, '_> {
    fn refuse(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.refusals.push(self.text.refuse(span, message, help));
    }

    fn first_leg(&self) -> &CheckedLeg {
        &self.checked.legs[0]
    }

    /// The branches; none where they were refused.
    pub(super) fn branches(mut self) -> Vec<BranchSpec> {
        let before = self.refusals.len();
        let goal = self.goal();
        let planned = match self.planner.logical(self.checked.query) {
            Ok(plan) => Some(plan),
            Err(error) => {
                self.refuse_planning(&error);
                None
            }
        };
        let (Some(goal), Some(plan)) = (goal, planned) else { return vec![] };
        if let Ok(Some((name, volatility, is_async))) = translate::unrepeatable(&plan)
            && let Some((message, help)) = check::unrepeatable(&name, volatility, is_async)
        {
            self.refuse(self.first_leg().span, message, help);
        }
        let columns = self.output_columns(&plan, &goal);
        if self.refusals.len() > before {
            return vec![];
        }
        let table = match goal {
            Goal::Domains => None,
            Goal::Domain(schema) => Some(schema),
            Goal::Created(name) => self.created(name, &columns),
        };
        if self.refusals.len() > before {
            return vec![];
        }
        match wrapped(plan, &columns).and_then(|(plan, output)| Ok((self.planner.legs(&plan, &output)?, output))) {
            Ok((legs, output)) => self.finish(table, legs, &output),
            Err(error) => {
                self.refuse_planning(&error);
                vec![]
            }
        }
    }

    fn goal(&mut self) -> Option<Goal> {
        let (target, span) = (self.checked.target.clone(), self.checked.target_span);
        if target == DOMAINS {
            return Some(Goal::Domains);
        }
        let first = target.split('.').next().unwrap_or_default();
        if RESERVED.contains(&first) {
            let message = format!("rows cannot be inserted into `{target}`");
            let help = match target.strip_prefix("public.") {
                Some(table) => format!("leave `public.` out: INSERT INTO {table}"),
                None => format!("{} mean something else; INSERT INTO domains routes", quoted(&RESERVED[1..])),
            };
            self.refuse(span, message, help);
            return None;
        }
        let name = match TableName::new(&target) {
            Ok(name) => name,
            Err(error) => {
                self.refuse(span, error.to_string(), "");
                return None;
            }
        };
        let domain = self.tables.domains.iter().find(|schema| schema.name.as_str() == first).cloned();
        match domain {
            Some(schema) if name.as_str() == first => Some(Goal::Domain(schema)),
            Some(_) => Some(Goal::Created(name)),
            None => {
                let names = self.tables.domains.iter().map(|schema| schema.name.as_str()).chain([DOMAINS]);
                let near = near_misses(first, names, "the domains are");
                let declare =
                    format!("or declare it: CREATE EXTERNAL TABLE {first} (...) STORED AS TIERED LOCATION '{first}'");
                let help = if near.is_empty() { declare } else { format!("{near} {declare}") };
                self.refuse(span, format!("there is no domain `{first}`"), help);
                None
            }
        }
    }

    /// What the query gives, with the types in which the target keeps it. Source columns that came through `*` are left
    /// out: each row has its own. Columns that are merely called so are the user's, and stay.
    fn output_columns(&mut self, plan: &LogicalPlan, goal: &Goal) -> Vec<OutputColumn> {
        let mut columns: Vec<OutputColumn> = vec![];
        for (qualifier, field) in plan.schema().iter() {
            let name = field.name().clone();
            if translate::rides(field) {
                self.refuse_riding(&name);
                continue;
            }
            let is_ours = name == system::EVENT_TIME || name == system::ATTRIBUTES;
            let place = self.first_leg().place(&name);
            if let Some(twin) = columns.iter().find(|other| other.name.to_lowercase() == name.to_lowercase()) {
                let message = format!("columns {} and {name} differ only by case", twin.name);
                self.refuse(place, message, "tables on disk tell columns apart without regard to case; rename one");
                continue;
            }
            let kept = if is_ours {
                self.kept_by_us(&name, field.data_type(), place)
            } else {
                self.kept_by(goal, &name, field.data_type(), place)
            };
            let Some(kept) = kept else { continue };
            columns.push(OutputColumn { qualifier: qualifier.cloned(), name, found: field.data_type().clone(), kept });
        }
        columns
    }

    /// Refuses a source column that is selected by its name; through `*` it may come.
    fn refuse_riding(&mut self, name: &str) {
        let named = self.first_leg().items.iter().find(|item| item.name.as_deref() == Some(name));
        if let Some(span) = named.map(|item| item.name_span) {
            let (message, help) = check::system_column(name);
            self.refuse(span, message, help);
        }
    }

    /// `event_time` and `attributes`, which the query may give.
    fn kept_by_us(&mut self, name: &str, found: &DataType, place: Span) -> Option<DataType> {
        let kept = types::kept(found);
        let wanted = if name == system::EVENT_TIME { timestamp_type() } else { DataType::Utf8 };
        let fits = match kept {
            Some(kept) if wanted == DataType::Utf8 => kept == wanted,
            Some(_) => types::fits(found, &wanted),
            None => false,
        };
        if fits {
            return Some(wanted);
        }
        let (wanted_name, found_name) = (types::name(&wanted), types::name(found));
        let help = match (name, found) {
            (system::EVENT_TIME, DataType::Utf8) => "write to_timestamp(...) AS event_time".to_owned(),
            (system::EVENT_TIME, _) => {
                "write to_timestamp_seconds(...) or to_timestamp_millis(...) AS event_time".to_owned()
            }
            _ => format!("write CAST(... AS {wanted_name}) AS {name}"),
        };
        self.refuse(place, format!("{name} should be {wanted_name}, and is {found_name}"), help);
        None
    }

    fn kept_by(&mut self, goal: &Goal, name: &str, found: &DataType, place: Span) -> Option<DataType> {
        let own = match goal {
            Goal::Domain(schema) => Some(schema),
            Goal::Created(table) => self.tables.created.iter().find(|schema| schema.name == *table),
            Goal::Domains => None,
        };
        let column = own.and_then(|schema| schema.columns.iter().find(|column| column.name() == name)).cloned();
        if let Some(column) = column {
            if types::fits(found, column.data_type()) {
                return Some(column.data_type().clone());
            }
            let (found, wanted) = (types::name(found), types::name(column.data_type()));
            let message = format!("column {name} is {wanted} in {}, and {found} here", self.checked.target);
            let help = format!(
                "{found} does not always fit into {wanted}; if it does here, CAST({name} AS {wanted}) AS {name}"
            );
            self.refuse(place, message, help);
            return None;
        }
        if let Goal::Domain(schema) = goal
            && !system::is_system(name)
        {
            let names: Vec<&str> = schema.columns.iter().map(|column| column.name().as_str()).collect();
            let near = near_misses(name, names, "its columns are");
            let type_name = types::name(&types::kept(found).unwrap_or(DataType::Utf8));
            let help = format!(
                "{near} or add it: CREATE EXTERNAL TABLE {0} ({name} {type_name}) STORED AS TIERED LOCATION '{0}'",
                schema.name
            );
            let place = self.first_leg().place_of_name(name);
            self.refuse(place, format!("{} has no column {name}", schema.name), help);
            return None;
        }
        let lower = name.to_lowercase();
        if !matches!(goal, Goal::Domains) && system::is_system(name) {
            let plain = name.trim_start_matches('_');
            let message = format!("the source's own column {name} is called like a system column of every table");
            let help = format!("write `{name} AS {plain}`, and beside it the other columns, or `* EXCEPT ({name})`");
            self.refuse(place, message, help);
            return None;
        }
        if !matches!(goal, Goal::Domains) && system::is_system(&lower) {
            let place = self.first_leg().place_of_name(name);
            let message = format!("{name} differs only by case from the system column {lower}");
            self.refuse(place, message, "tables on disk tell columns apart without regard to case; rename it");
            return None;
        }
        if !matches!(goal, Goal::Domains) && !types::is_column_name(name) {
            let help = "use letters, digits and _: ... AS name";
            let place = self.first_leg().place_of_name(name);
            self.refuse(place, format!("a table cannot keep a column called {name:?}"), help);
            return None;
        }
        let kept = types::kept(found);
        if kept.is_none() {
            let help = match found {
                DataType::Null => "give it a type: CAST(NULL AS TEXT)".to_owned(),
                DataType::Struct(fields) => {
                    let first = fields.first().map_or("name", |field| field.name());
                    format!("take a field of it: {name}['{first}']")
                }
                _ => "take a plain value out of it, or cast it to TEXT".to_owned(),
            };
            self.refuse(place, format!("tables keep no column of type {}: {name}", types::name(found)), help);
        }
        kept
    }

    /// The table `name` with the columns of this query added to those it has so far.
    fn created(&mut self, name: TableName, columns: &[OutputColumn]) -> Option<TableSchema> {
        let known = self.tables.created.iter().position(|schema| schema.name == name);
        let mut schema = match known {
            Some(index) => self.tables.created[index].clone(),
            None => TableSchema::new(name, vec![]),
        };
        for column in columns.iter().filter(|column| !system::is_system(&column.name)) {
            let lower = column.name.to_lowercase();
            match schema.columns.iter().find(|own| own.name().to_lowercase() == lower) {
                Some(own) if *own.name() == column.name => {}
                Some(own) => {
                    let message = format!("columns {} and {} differ only by case", own.name(), column.name);
                    let place = self.first_leg().place(&column.name);
                    self.refuse(place, message, "tables on disk tell columns apart without regard to case; rename one");
                }
                None => schema.columns.push(Field::new(&column.name, column.kept.clone(), true)),
            }
        }
        if schema.columns.is_empty() {
            let span = self.first_leg().span;
            self.refuse(span, format!("table {} would have no column of its own", schema.name), "select one");
            return None;
        }
        match known {
            Some(index) => self.tables.created[index] = schema.clone(),
            None => self.tables.created.push(schema.clone()),
        }
        Some(schema)
    }

    fn finish(mut self, table: Option<TableSchema>, legs: Vec<Leg>, output: &SchemaRef) -> Vec<BranchSpec> {
        if legs.len() != self.checked.legs.len() {
            let (planned, written) = (legs.len(), self.checked.legs.len());
            let span = self.first_leg().span;
            self.refuse(span, format!("the planner makes {planned} legs of {written}"), "write an INSERT for each");
            return vec![];
        }
        let names: Vec<&str> = output.fields().iter().map(|field| field.name().as_str()).collect();
        let mut branches = vec![];
        for (index, leg) in legs.into_iter().enumerate() {
            let checked = &self.checked.legs[index];
            if let Some(message) = leg.mistyped() {
                let help = "the function breaks its own declaration: mend it, or leave it out";
                self.refusals.push(self.text.refuse(checked.span, message, help));
                continue;
            }
            let source = self.sources.iter().find(|source| source.name == leg.source);
            let event_time = match (names.iter().position(|name| *name == system::EVENT_TIME), source) {
                (Some(column), _) => EventTimeFrom::Output(column),
                (None, Some(SourceSpec { event_time: Some(column), .. })) => EventTimeFrom::Source(column.clone()),
                _ => EventTimeFrom::Broker,
            };
            let target = match &table {
                None => Target::Domains,
                Some(schema) => Target::Table { schema: schema.clone(), binding: Binding::new(schema, output) },
            };
            let identity = NewBranch {
                source: leg.source.clone(),
                target: self.checked.target.clone(),
                statement: self.statement(index, &names),
                filters: leg.filters(),
            };
            let position = self.text.position(checked.span);
            branches.push(BranchSpec { identity, leg, target, event_time, position });
        }
        branches
    }

    /// The leg as an `INSERT` of its own, normalised. Columns of a later leg are named by the first.
    fn statement(&self, index: usize, names: &[&str]) -> String {
        let leg = &self.checked.legs[index];
        let own: Option<Vec<&str>> = leg.items.iter().map(|item| item.name.as_deref()).collect();
        let list = match own {
            Some(own) if index > 0 && own != names => format!(" ({})", names.join(", ")),
            _ => String::new(),
        };
        format!("INSERT INTO {}{list} {}", self.checked.target, leg.sql)
    }

    /// Refuses what the planner refuses, at the place that it tells, else at the first name that it tells.
    fn refuse_planning(&mut self, error: &DataFusionError) {
        match mistake(error) {
            Mistake::Twins { name } => {
                let has_star = self.checked.legs.iter().flat_map(|leg| &leg.items).any(|item| item.name.is_none());
                let help = match has_star {
                    true => format!("leave one out, * EXCEPT ({name}), or give it another name: ... AS name"),
                    false => "leave one out, or give it another name: ... AS name".to_owned(),
                };
                self.refuse(self.place_of_twin(&name), format!("two columns are called `{name}`"), help);
            }
            Mistake::Other { message, help, names } => {
                let start = self.first_leg().span;
                let place = error.diagnostic().and_then(|diagnostic| diagnostic.span).map(|span| {
                    let location = |at: datafusion::common::Location| Location::new(at.line, at.column);
                    Span::new(location(span.start), location(span.end))
                });
                let named = || names.iter().find_map(|name| self.tokens.find_name(start.start, name));
                let span = place.or_else(named).unwrap_or(start);
                self.refuse(span, message, help);
            }
        }
    }

    /// Where the second of two columns called `name` stands, in the leg that has both: one may come through its `*`.
    fn place_of_twin(&self, name: &str) -> Span {
        for leg in &self.checked.legs {
            let named: Vec<Span> =
                leg.items.iter().filter(|item| item.name.as_deref() == Some(name)).map(|item| item.name_span).collect();
            let stars: Vec<Span> = leg.items.iter().filter(|item| item.name.is_none()).map(|item| item.span).collect();
            if named.len() + stars.len() > 1 {
                let twin = named.get(1).or(named.first()).or(stars.last());
                return twin.copied().unwrap_or(leg.span);
            }
        }
        self.first_leg().span
    }
}

/// The plan with just the columns that are kept, in the types in which they are kept.
fn wrapped(plan: LogicalPlan, columns: &[OutputColumn]) -> Result<(LogicalPlan, SchemaRef), DataFusionError> {
    let expressions = columns.iter().map(|column| {
        let value = Expr::Column(Column::new(column.qualifier.clone(), &column.name));
        if column.found == column.kept {
            value
        } else {
            Expr::Cast(Cast::new(Box::new(value), column.kept.clone())).alias(&column.name)
        }
    });
    let plan = LogicalPlanBuilder::from(plan).project(expressions)?.build()?;
    let fields: Vec<Field> = columns.iter().map(|column| Field::new(&column.name, column.kept.clone(), true)).collect();
    Ok((plan, Arc::new(Schema::new(fields))))
}
