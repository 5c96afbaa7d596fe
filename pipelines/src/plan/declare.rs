//! `CREATE EXTERNAL TABLE`: a source of records, or a domain that keeps them.

use crate::plan::options::{OptionSpec, Options};
use crate::plan::text::{Text, Tokens, near_misses, spelled};
use crate::plan::{
    DEFAULT_IDLE_AFTER, DEFAULT_MAX_DISORDER, DeclaredDomain, Refusal, SourceFormat, SourceSpec, TopicPattern, types,
};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::sql::parser::CreateExternalTable;
use datafusion::sql::sqlparser::ast::{ColumnDef, ColumnOption, ObjectName, Spanned};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token};
use std::sync::Arc;
use std::time::Duration;
use thermocline_schemas::domain::{Domain, Phrases, Registry};
use thermocline_schemas::table::{DEAD_LETTERS, system, timestamp_type};
use thermocline_schemas::tier::TierPolicy;
use thermocline_schemas::{TableName, TableSchema};

/// Names that mean something else wherever a table, or the schema of one, can stand.
pub(super) const RESERVED: [&str; 6] =
    [super::DOMAINS, "events", DEAD_LETTERS, "information_schema", "public", "system"];

/// A statement that declares something, while it is read.
pub(super) struct Declaration<'a, 't> {
    /// The file.
    pub(super) text: &'t Text<'a>,
    /// The statement's tokens.
    pub(super) tokens: &'t Tokens,
    /// What was parsed.
    pub(super) parsed: &'t CreateExternalTable,
    /// What is wrong with it.
    pub(super) refusals: &'t mut Vec<Refusal>,
}

impl Declaration<'_, '_> {
    fn refuse(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        let span = if span == Span::empty() { self.tokens.start() } else { span };
        self.refusals.push(self.text.refuse(span, message, help));
    }

    /// The word behind `STORED AS`.
    pub(super) fn kind_span(&self) -> Span {
        let stored = self.tokens.find(Location::new(0, 0), &["STORED", "AS"]);
        let behind = stored.and_then(|stored| self.tokens.solid().find(|token| token.span.start >= stored.end));
        behind.map_or_else(|| self.tokens.start(), |token| token.span)
    }

    fn location_span(&self) -> Span {
        let found = self
            .tokens
            .clause("LOCATION", |next| matches!(next, Token::SingleQuotedString(_) | Token::DoubleQuotedString(_)));
        found.map_or_else(|| self.tokens.start(), |(_, literal)| literal)
    }

    /// A source of records; none where it was refused.
    pub(super) fn source(mut self) -> Option<SourceSpec> {
        let before = self.refusals.len();
        self.refuse_clauses();
        let span = self.parsed.name.span();
        let name = one_word(&self.parsed.name);
        if name.is_none() {
            self.refuse(span, format!("a source has a plain name, not {}", self.parsed.name), "leave out the dot");
        }
        let columns = self.columns();
        self.refuse_case_twins(&columns);
        let pattern = TopicPattern::new(&self.parsed.location).map_err(|error| {
            let span = self.location_span();
            self.refuse(span, error, "name one topic, or a glob of topics, as 'orders.*'");
        });
        let mut options = Options::new(self.text, self.tokens, &self.parsed.options);
        let format = options.take("format", self.refusals);
        let event_time = options.take("event_time", self.refusals);
        let max_disorder = options.duration("max_disorder", self.refusals).unwrap_or(DEFAULT_MAX_DISORDER);
        let idle_after = options.duration("idle_after", self.refusals).unwrap_or(DEFAULT_IDLE_AFTER);
        options.finish("a source", self.refusals);
        let format = self.format(format, columns);
        self.refuse_event_time(event_time.as_ref(), &format);
        if self.refusals.len() > before {
            return None;
        }
        let event_time = event_time.map(|option| option.value);
        let position = self.text.position(span);
        Some(SourceSpec { name: name?, pattern: pattern.ok()?, format, event_time, max_disorder, idle_after, position })
    }

    /// `auto` without columns, `json` with them, and the option must agree.
    fn format(&mut self, option: Option<OptionSpec>, columns: Vec<Field>) -> SourceFormat {
        let natural = if self.parsed.columns.is_empty() { "auto" } else { "json" };
        if let Some(option) = option {
            let value = option.value.to_lowercase();
            let refusal = match value.as_str() {
                value if value == natural => None,
                "json" => Some((
                    "format 'json' needs columns".to_owned(),
                    "declare them behind the source's name, or leave the option out to take any record".to_owned(),
                )),
                "auto" => Some((
                    "format 'auto' has no columns of its own".to_owned(),
                    "leave the columns out, or the option".to_owned(),
                )),
                "avro" | "protobuf" | "csv" | "text" | "raw" | "parquet" => {
                    Some((format!("format '{value}' is not supported yet"), "there are 'json' and 'auto'".to_owned()))
                }
                _ => {
                    let help = near_misses(&value, ["json", "auto"], "there are");
                    Some((format!("there is no format '{}'", option.value), help))
                }
            };
            if let Some((message, help)) = refusal {
                self.refuse(option.value_span, message, help);
            }
        }
        match natural {
            "auto" => SourceFormat::Auto,
            _ => SourceFormat::Json(Arc::new(Schema::new(columns))),
        }
    }

    fn refuse_event_time(&mut self, option: Option<&OptionSpec>, format: &SourceFormat) {
        let Some(option) = option else { return };
        let column = match format {
            SourceFormat::Auto => {
                let help = "leave it out: the event time is chosen once for each shape of record; or declare columns";
                return self.refuse(option.name_span, "a source without columns has no option 'event_time'", help);
            }
            SourceFormat::Json(schema) => schema.field_with_name(&option.value).ok().map(|field| {
                let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                (field.data_type().clone(), names.len())
            }),
        };
        match (column, format) {
            (Some((found, _)), _) if found == timestamp_type() => {}
            (Some((found, _)), _) => {
                let message = format!("event_time '{}' is a {} column", option.value, types::name(&found));
                self.refuse(option.value_span, message, format!("declare it as {} TIMESTAMP", option.value));
            }
            (None, SourceFormat::Json(schema)) => {
                let names = schema.fields().iter().map(|field| field.name().as_str());
                let help = near_misses(&option.value, names, "the columns are");
                self.refuse(option.value_span, format!("event_time '{}' is not among the columns", option.value), help);
            }
            (None, SourceFormat::Auto) => {}
        }
    }

    /// A domain, or more columns for one that ships; none where it was refused.
    pub(super) fn domain(mut self, shipped: Option<&TableSchema>) -> Option<DeclaredDomain> {
        let before = self.refusals.len();
        self.refuse_clauses();
        let name = self.domain_name();
        let columns = self.columns();
        for (field, definition) in columns.iter().zip(&self.parsed.columns) {
            self.refuse_column_name(field.name(), definition.name.span);
        }
        let own = shipped.map_or(&[][..], |schema| &schema.columns);
        let new = self.new_columns(own, &columns);
        let mut all = own.to_vec();
        all.extend(new.iter().cloned());
        self.refuse_case_twins(&all);
        let mut options = Options::new(self.text, self.tokens, &self.parsed.options);
        let phrases = options.take("phrases", self.refusals);
        let hot_for = options.duration("hot_for", self.refusals);
        let warm_for = options.duration("warm_for", self.refusals);
        let text_columns = options.take("text_columns", self.refusals);
        options.finish("a domain", self.refusals);
        let hot = hot_for.unwrap_or(HOT_FOR);
        if hot > warm_for.unwrap_or(WARM_FOR.max(hot)) {
            let span = self.kind_span();
            self.refuse(span, "hot_for is longer than warm_for", "a row is hot before it is warm, by its age");
        }
        let text_columns = text_columns.map(|option| self.text_columns(&option, &all));
        if shipped.is_none() && phrases.is_none() {
            let help =
                "add OPTIONS ('phrases' 'order number; basket; purchase'): what one meets in it, for the classifier";
            self.refuse(self.parsed.name.span(), "a new domain needs the option 'phrases'", help);
        }
        if self.refusals.len() > before {
            return None;
        }
        let phrases = phrases.map(|option| listed(&option.value, &[';'])).unwrap_or_default();
        let is_new = shipped.is_none();
        Some(DeclaredDomain { name: name?, columns: new, phrases, hot_for, warm_for, text_columns, is_new })
    }

    fn domain_name(&mut self) -> Option<TableName> {
        let span = self.parsed.name.span();
        let Some(name) = one_word(&self.parsed.name) else {
            let help = "declare the domain; a table inside it is made by its INSERT, with the query's columns";
            self.refuse(span, format!("{} is not the name of a domain", self.parsed.name), help);
            return None;
        };
        if RESERVED.contains(&name.as_str()) {
            let help = format!("choose another name; {} mean something else", quoted(&RESERVED));
            self.refuse(span, format!("`{name}` cannot be a domain"), help);
            return None;
        }
        if self.parsed.location != name {
            let span = self.location_span();
            let help = format!("write LOCATION '{name}'");
            self.refuse(span, format!("the domain is called {name}, its location {}", self.parsed.location), help);
            return None;
        }
        TableName::new(&name).map_err(|error| self.refuse(span, error.to_string(), "")).ok()
    }

    /// Those of `columns` that `own` has not got; of those it has, the types must agree.
    fn new_columns(&mut self, own: &[Field], columns: &[Field]) -> Vec<Field> {
        let mut new = vec![];
        for (column, definition) in columns.iter().zip(&self.parsed.columns) {
            match own.iter().find(|field| field.name() == column.name()) {
                None => new.push(column.clone()),
                Some(field) if field.data_type() == column.data_type() => {}
                Some(field) => {
                    let (name, type_name) = (column.name(), types::name(field.data_type()));
                    let message = format!("the domain has a column {name} already, of type {type_name}");
                    let help = format!("leave it out, write {type_name}, or choose another name");
                    self.refuse(definition.name.span, message, help);
                }
            }
        }
        new
    }

    fn text_columns(&mut self, option: &OptionSpec, columns: &[Field]) -> Vec<String> {
        let names = listed(&option.value, &[',', ';']);
        for name in &names {
            match columns.iter().find(|field| field.name() == name) {
                Some(field) if *field.data_type() == DataType::Utf8 => {}
                Some(field) => {
                    let message = format!("text column {name} is {}, not TEXT", types::name(field.data_type()));
                    self.refuse(option.value_span, message, "name columns of text");
                }
                None => {
                    let help = near_misses(name, columns.iter().map(|field| field.name().as_str()), "the columns are");
                    self.refuse(option.value_span, format!("text column {name} is not among the columns"), help);
                }
            }
        }
        names
    }

    /// The declared columns, those that were refused left as text so that names still count.
    fn columns(&mut self) -> Vec<Field> {
        let parsed = self.parsed;
        parsed.columns.iter().map(|column| self.column(column)).collect()
    }

    fn column(&mut self, column: &ColumnDef) -> Field {
        let name = spelled(&column.name);
        if name != column.name.value {
            let (written, quoted) = (&column.name.value, format!("\"{}\"", column.name.value));
            let message = format!("{written} means {name}: names without quotes are in lower case");
            self.refuse(column.name.span, message, format!("write {name}, or {quoted} if the field is called that"));
        }
        let data_type = types::declared(&column.data_type).unwrap_or_else(|help| {
            let span = behind(self.tokens, column.name.span);
            self.refuse(span, format!("a column cannot be {}", column.data_type), help);
            DataType::Utf8
        });
        for option in &column.options {
            if option.option != ColumnOption::Null {
                let span = option.span();
                let message = format!("{} is not supported yet: columns may be null", option.option);
                self.refuse(if span == Span::empty() { column.name.span } else { span }, message, "leave it out");
            }
        }
        Field::new(name, data_type, true)
    }

    /// A column of a table needs a name that every format keeps and that is not ours.
    fn refuse_column_name(&mut self, name: &str, span: Span) {
        let lower = name.to_lowercase();
        if system::is_system(&lower) {
            self.refuse(span, format!("{lower} is a system column of every table"), "choose another name");
        } else if !types::is_column_name(name) {
            let help = "use letters, digits and _, and no digit first";
            self.refuse(span, format!("a table cannot keep a column called {name:?}"), help);
        }
    }

    fn refuse_case_twins(&mut self, columns: &[Field]) {
        for (index, column) in columns.iter().enumerate() {
            let lower = column.name().to_lowercase();
            let Some(twin) = columns[..index].iter().find(|other| other.name().to_lowercase() == lower) else {
                continue;
            };
            let definition =
                self.parsed.columns.iter().rev().find(|definition| spelled(&definition.name) == *column.name());
            let span = definition.map_or_else(|| self.tokens.start(), |definition| definition.name.span);
            let message = match twin.name() == column.name() {
                true => format!("column {} is declared twice", column.name()),
                false => format!("columns {} and {} differ only by case", twin.name(), column.name()),
            };
            self.refuse(span, message, "tables on disk tell columns apart without regard to case");
        }
    }

    /// What DataFusion's DDL knows besides, and we do not.
    fn refuse_clauses(&mut self) {
        let parsed = self.parsed;
        let clauses: [(bool, &str, &[&str]); 7] = [
            (parsed.or_replace, "OR REPLACE", &["OR", "REPLACE"]),
            (parsed.if_not_exists, "IF NOT EXISTS", &["IF", "NOT", "EXISTS"]),
            (parsed.temporary, "TEMPORARY", &["TEMPORARY"]),
            (parsed.unbounded, "UNBOUNDED", &["UNBOUNDED"]),
            (!parsed.table_partition_cols.is_empty(), "PARTITIONED BY", &["PARTITIONED", "BY"]),
            (!parsed.order_exprs.is_empty(), "WITH ORDER", &["WITH", "ORDER"]),
            (!parsed.constraints.is_empty(), "a table constraint", &["CONSTRAINT"]),
        ];
        for (is_there, clause, words) in clauses {
            if is_there {
                let span = self.tokens.find(Location::new(0, 0), words).unwrap_or_else(|| self.tokens.start());
                self.refuse(span, format!("{clause} is not supported here"), "leave it out");
            }
        }
    }
}

impl DeclaredDomain {
    /// What is added to `registry`: the policy is replaced there, so that what is not said stays as it was.
    pub(super) fn to_domain(&self, registry: &Registry) -> Domain {
        let mut domain = Domain::new(self.name.as_str()).columns(&self.columns);
        let micros = |age: Duration| i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        domain.policy = registry.get(self.name.as_str()).map_or_else(TierPolicy::default, |known| known.policy);
        if let Some(age) = self.hot_for {
            domain.policy.hot_for_micros = micros(age);
        }
        if let Some(age) = self.warm_for {
            domain.policy.warm_for_micros = micros(age);
        }
        domain.policy.warm_for_micros = domain.policy.warm_for_micros.max(domain.policy.hot_for_micros);
        domain.text_columns = self.text_columns.clone().unwrap_or_default();
        // The phrases of people who do not know our two kinds describe fields and texts alike.
        domain.phrases = Phrases { names: self.phrases.clone(), texts: self.phrases.clone() };
        // A record with these very columns is one of the domain's, if it takes part in the classification at all.
        if !self.phrases.is_empty() {
            let columns: Vec<&str> = self.columns.iter().map(|column| column.name().as_str()).collect();
            domain.phrases.names.push(columns.join(", "));
        }
        domain
    }
}

/// A domain's defaults, for comparison: [`thermocline_schemas::tier::TierPolicy`].
const HOT_FOR: Duration = Duration::from_secs(7 * 86_400);
const WARM_FOR: Duration = Duration::from_secs(90 * 86_400);

/// The one word of a name, as the planner spells it.
fn one_word(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [part] => part.as_ident().map(spelled),
        _ => None,
    }
}

/// The token behind `span`.
fn behind(tokens: &Tokens, span: Span) -> Span {
    tokens.solid().find(|token| token.span.start >= span.end).map_or(span, |token| token.span)
}

fn listed(text: &str, separators: &[char]) -> Vec<String> {
    text.split(separators).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

pub(super) fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
