//! What is wrong with a question, said to whoever asked it: the line of SQL, the near misses, and nothing of how it is
//! planned.

use crate::SqlError;
use crate::session::{CATALOG, PUBLIC};
use arrow::error::ArrowError;
use datafusion::common::utils::datafusion_strsim::normalized_levenshtein;
use datafusion::common::utils::quote_identifier;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, TokenizerError};
use std::collections::BTreeSet;

/// From here on a name is a near miss; 1 is the same name.
const ALIKE: f64 = 0.5;
/// So many columns are listed when none is a near miss.
const LISTED: usize = 10;

/// A table or column that could have been meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// Its own name, without what it lies in.
    name: String,
    /// How a statement names it.
    shown: String,
}

impl Known {
    /// The table `name` of the schema `place`.
    pub(crate) fn table(place: &str, name: &str) -> Self {
        let quoted = quote_identifier(name);
        let shown = if place == PUBLIC { quoted.into_owned() } else { format!("{}.{quoted}", quote_identifier(place)) };
        Self { name: name.to_owned(), shown }
    }
}

/// A text that is not even made of tokens: a quote that is never closed.
pub(crate) fn of_tokens(sql: &str, error: &TokenizerError) -> SqlError {
    SqlError::Statement { message: with_line(&error.message, sql, point(error.location)) }
}

/// A text that does not parse, at the place that the parser writes into its message.
pub(crate) fn of_syntax(sql: &str, tokens: &[TokenWithSpan], error: &DataFusionError) -> SqlError {
    let message = words(innermost(error));
    let (message, place) = match message.rsplit_once(" at Line: ") {
        Some((message, place)) => (message.to_owned(), location(place)),
        None => (message, None),
    };
    let span = match place {
        Some(place) => {
            let token = tokens.iter().find(|token| token.span.start == place);
            Some(token.map_or_else(|| point(place), |token| token.span))
        }
        None if message.ends_with("EOF") => {
            let last = tokens.iter().rfind(|token| !matches!(token.token, Token::Whitespace(_)));
            last.map(|token| point(token.span.end))
        }
        None => None,
    };
    let message = message.replacen("Expected: ", "expected ", 1).replacen(", found: ", ", found ", 1);
    let message = message.replace("found EOF", "found the end of the statement");
    SqlError::Statement { message: span.map_or_else(|| message.clone(), |span| with_line(&message, sql, span)) }
}

/// A statement that cannot be planned, where there are `tables`.
pub(crate) fn of_plan(error: DataFusionError, tables: impl FnOnce() -> Vec<Known>) -> SqlError {
    let message = match innermost(&error) {
        DataFusionError::Plan(message) => match missing_table(message) {
            Some(table) => no_table(table, &tables()),
            None => message.clone(),
        },
        said @ (DataFusionError::SQL(..)
        | DataFusionError::SchemaError(..)
        | DataFusionError::ArrowError(..)
        | DataFusionError::Execution(_)
        | DataFusionError::NotImplemented(_)) => words(said),
        _ => return SqlError::Query(error),
    };
    SqlError::Statement { message }
}

/// What an error says, without the class that DataFusion and Arrow put before it.
pub(crate) fn words(error: &DataFusionError) -> String {
    match error {
        DataFusionError::SQL(error, _) => match &**error {
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => message.clone(),
            ParserError::RecursionLimitExceeded => "expressions are nested too deep".to_owned(),
        },
        DataFusionError::SchemaError(error, _) => match &**error {
            SchemaError::FieldNotFound { field, valid_fields } => no_column(field, valid_fields),
            other => other.to_string(),
        },
        DataFusionError::ArrowError(error, _) => match &**error {
            ArrowError::CastError(message)
            | ArrowError::ParseError(message)
            | ArrowError::ComputeError(message)
            | ArrowError::InvalidArgumentError(message) => message.clone(),
            other => other.to_string(),
        },
        DataFusionError::Plan(message) | DataFusionError::Execution(message) => message.clone(),
        other => other.strip_backtrace(),
    }
}

/// The error inside DataFusion's wrappers. What a table says when it cannot be read is no mistake of the statement, even
/// where that came from a plan: `External` stays closed.
fn innermost(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => innermost(inner),
        DataFusionError::Shared(inner) => innermost(inner),
        DataFusionError::Collection(errors) => errors.first().map_or(error, innermost),
        DataFusionError::ArrowError(arrow, _) => match &**arrow {
            ArrowError::ExternalError(inner) => inner.downcast_ref::<DataFusionError>().map_or(error, innermost),
            _ => error,
        },
        _ => error,
    }
}

/// The `catalog.schema.table` of `table '…' not found`.
fn missing_table(message: &str) -> Option<&str> {
    message.strip_prefix("table '")?.strip_suffix("' not found")
}

fn no_table(reference: &str, tables: &[Known]) -> String {
    let mut parts = reference.splitn(3, '.');
    let (shown, name) = match (parts.next(), parts.next(), parts.next()) {
        (Some(CATALOG), Some(PUBLIC), Some(name)) => (name.to_owned(), name),
        (Some(CATALOG), Some(place), Some(name)) => (format!("{place}.{name}"), name),
        (.., name) => (reference.to_owned(), name.unwrap_or(reference)),
    };
    let help = near_misses(name, tables).unwrap_or_else(|| "SHOW TABLES lists all".to_owned());
    format!("there is no table {shown}; {help}")
}

fn no_column(column: &Column, columns: &[Column]) -> String {
    let is_qualified = column.relation.is_some();
    // Of a table that is there, only its own columns can be meant.
    let own: Vec<&Column> = columns.iter().filter(|it| is_qualified && it.relation == column.relation).collect();
    let candidates: Vec<&Column> = if own.is_empty() { columns.iter().collect() } else { own };
    let mut known: Vec<Known> = vec![];
    for it in candidates {
        let shown = if is_qualified { it.quoted_flat_name() } else { quote_identifier(&it.name).into_owned() };
        if !known.iter().any(|known| known.shown == shown) {
            known.push(Known { name: it.name.clone(), shown });
        }
    }
    let tables: BTreeSet<String> = columns.iter().filter_map(|it| Some(it.relation.as_ref()?.to_string())).collect();
    let place = if is_qualified || tables.is_empty() {
        String::new()
    } else {
        format!(" in {}", tables.into_iter().collect::<Vec<_>>().join(", "))
    };
    let help = match near_misses(&column.name, &known) {
        Some(near) => format!("; {near}"),
        None if known.is_empty() => String::new(),
        None => format!("; there are {}", listed(&known)),
    };
    format!("there is no column {}{place}{help}", column.quoted_flat_name())
}

/// `did you mean …?` with what is likest to `wanted`, if anything is like it; up to three that are equally like it.
fn near_misses(wanted: &str, known: &[Known]) -> Option<String> {
    let wanted = wanted.to_lowercase();
    let alike = |it: &Known| normalized_levenshtein(&wanted, &it.name.to_lowercase());
    let most = known.iter().map(alike).fold(ALIKE, f64::max);
    let near: Vec<&str> = known.iter().filter(|it| alike(it) >= most).take(3).map(|it| it.shown.as_str()).collect();
    (!near.is_empty()).then(|| format!("did you mean {}?", near.join(" or ")))
}

fn listed(known: &[Known]) -> String {
    let names: Vec<&str> = known.iter().take(LISTED).map(|it| it.shown.as_str()).collect();
    match known.len() - names.len() {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// `1, Column: 5`.
fn location(place: &str) -> Option<Location> {
    let (line, column) = place.split_once(", Column: ")?;
    Some(Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?))
}

/// The span that starts at `location` and takes one character.
fn point(location: Location) -> Span {
    Span::new(location, Location::new(location.line, location.column + 1))
}

/// `message`, and below it the line of `sql` at `span` with carets, as `thermocline check` prints it.
fn with_line(message: &str, sql: &str, span: Span) -> String {
    let Location { line, column } = span.start;
    let before = from_zero(column);
    let text = sql.split('\n').nth(from_zero(line)).unwrap_or_default().trim_end().replace('\t', " ");
    let end = if span.end.line == line { from_zero(span.end.column) } else { text.chars().count() };
    let carets = "^".repeat(end.saturating_sub(before).max(1));
    let (margin, blank) = (" ".repeat(line.to_string().len()), " ".repeat(before));
    format!(
        "{message}\n{margin}--> line {line}, column {column}\n{margin} |\n{line} | {text}\n{margin} | {blank}{carets}"
    )
}

/// Lines and columns count from 1.
fn from_zero(number: u64) -> usize {
    usize::try_from(number).unwrap_or_default().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::common::TableReference;

    fn tables() -> Vec<Known> {
        [("public", "events"), ("public", "chat"), ("metrics", "clicks"), ("system", "gaps"), ("system", "parts")]
            .map(|(place, name)| Known::table(place, name))
            .to_vec()
    }

    fn said(error: DataFusionError) -> String {
        match of_plan(error, tables) {
            SqlError::Statement { message } => message,
            other => panic!("{other:?}"),
        }
    }

    fn missing(table: &str) -> String {
        let message = format!("table '{table}' not found");
        said(DataFusionError::Plan(message).context("a wrapper"))
    }

    fn unknown(column: Column, table: Option<&str>, names: &[&str]) -> String {
        let of = |name: &&str| Column::new(table.map(TableReference::from), *name);
        let error =
            SchemaError::FieldNotFound { field: Box::new(column), valid_fields: names.iter().map(of).collect() };
        said(DataFusionError::SchemaError(Box::new(error), Box::new(None)))
    }

    #[test]
    fn near_misses_of_a_table_are_named_with_their_schema() {
        assert_eq!(missing("thermocline.public.event"), "there is no table event; did you mean events?");
        assert_eq!(missing("thermocline.public.Chatt"), "there is no table Chatt; did you mean chat?");
        assert_eq!(missing("thermocline.public.gaps"), "there is no table gaps; did you mean system.gaps?");
        assert_eq!(missing("thermocline.system.part"), "there is no table system.part; did you mean system.parts?");
        assert_eq!(missing("thermocline.sytem.gaps"), "there is no table sytem.gaps; did you mean system.gaps?");
        assert_eq!(missing("thermocline.public.zzz"), "there is no table zzz; SHOW TABLES lists all");
        assert_eq!(missing("thermocline.public./etc/x.y"), "there is no table /etc/x.y; SHOW TABLES lists all");
        assert_eq!(missing("mine.public.chat"), "there is no table mine.public.chat; did you mean chat?");
    }

    #[test]
    fn near_misses_of_a_column_are_named_and_else_a_few_columns() {
        let names = ["text", "author", "_domain", "userId"];
        let plain = Column::new_unqualified;
        let of_chat = |name: &str| Column::new(Some("chat"), name);
        assert_eq!(
            unknown(plain("_domian"), Some("chat"), &names),
            "there is no column _domian in chat; did you mean _domain?"
        );
        assert_eq!(
            unknown(of_chat("txt"), Some("chat"), &names),
            "there is no column chat.txt; did you mean chat.text?"
        );
        assert_eq!(unknown(of_chat("text"), Some("c"), &names), "there is no column chat.text; did you mean c.text?");
        assert_eq!(
            unknown(plain("userid"), Some("chat"), &names),
            "there is no column userid in chat; did you mean \"userId\"?"
        );
        assert_eq!(
            unknown(plain("zzz"), None, &names),
            "there is no column zzz; there are text, author, _domain, \"userId\""
        );
        assert_eq!(unknown(plain("zzz"), None, &[]), "there is no column zzz");
        let many: Vec<String> = (10..27).map(|n| format!("c{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(
            unknown(plain("zzz"), Some("t"), &many),
            "there is no column zzz in t; there are c10, c11, c12, c13, c14, c15, c16, c17, c18, c19 and 7 more"
        );
    }

    #[test]
    fn what_a_rule_of_the_planner_says_is_a_mistake_of_the_statement() {
        let arrow = ArrowError::ParseError("Error parsing timestamp from 'x': error parsing date".to_owned());
        let error = DataFusionError::from(arrow).context("Optimizer rule 'simplify_expressions' failed");
        assert_eq!(said(error), "Error parsing timestamp from 'x': error parsing date");
        let unknown = "Invalid function 'foo'.\nDid you mean 'floor'?";
        assert_eq!(said(DataFusionError::Plan(unknown.to_owned())), unknown);
    }

    #[test]
    fn what_a_table_or_the_planner_itself_does_wrong_is_none() {
        let broken = DataFusionError::External(Box::new(DataFusionError::Plan("a file is gone".to_owned())));
        for error in [broken, DataFusionError::Internal("a bug".to_owned())] {
            assert!(matches!(of_plan(error, tables), SqlError::Query(_)));
        }
    }

    #[test]
    fn the_line_is_shown_with_carets_below() {
        let span = |from: (u64, u64), to: (u64, u64)| Span::new(from.into(), to.into());
        assert_eq!(
            with_line("no", "a\nb\nc\nd\ne\nf\ng\nh\ni\n\tgröße x\r\n", span((10, 2), (10, 7))),
            "no\n  --> line 10, column 2\n   |\n10 |  größe x\n   |  ^^^^^"
        );
        assert_eq!(
            with_line("no", "SELECT 'a\nb'", span((1, 8), (2, 3))),
            "no\n --> line 1, column 8\n  |\n1 | SELECT 'a\n  |        ^^"
        );
    }
}
