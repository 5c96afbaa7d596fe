//! From the files of a run to its pipelines: all refusals in one report.

use crate::plan::check::{self, Known};
use crate::plan::declare::Declaration;
use crate::plan::insert::{Insertion, Tables};
use crate::plan::text::{Text, Tokens, near_misses, point, spelled};
use crate::plan::translate::Planner;
use crate::plan::{BranchSpec, DeclaredDomain, Pipelines, Refusal, SourceSpec, Target};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ScalarUDF;
use datafusion::sql::parser::{CreateExternalTable, DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{Insert, Spanned, Statement as SqlStatement};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token};
use std::collections::BTreeSet;
use thermocline_schemas::TableSchema;
use thermocline_schemas::domain::Registry;

/// A statement that a pipeline may hold.
enum Kind {
    Create(CreateExternalTable),
    Insert(Box<Insert>),
}

/// A statement with its place.
struct Parsed<'a> {
    text: Text<'a>,
    tokens: Tokens,
    kind: Kind,
}

/// Reads pipeline files, `(path, text)` each, as one: a source that one declares can be read by another.
///
/// What they declare of domains is added to `registry`; `functions` makes those that stand beside DataFusion's own, out
/// of the registry with these domains in it (`classify` knows them).
///
/// # Errors
/// Every reason why they cannot run, in the order of the files; `registry` is then as it was.
pub fn load(
    files: &[(&str, &str)],
    registry: &mut Registry,
    functions: impl FnOnce(&Registry) -> Vec<ScalarUDF>,
) -> Result<Pipelines, Vec<Refusal>> {
    let mut refusals = vec![];
    let mut statements = vec![];
    for (path, text) in files {
        parse(&Text::new(path, text), &mut statements, &mut refusals);
    }
    let mut pipelines = Pipelines::default();
    let mut domains = registry.clone();
    let broken = declarations(&statements, &mut domains, &mut pipelines, &mut refusals);
    match Planner::new(&pipelines.sources, functions(&domains)) {
        Ok(planner) => inserts(&statements, &domains, &planner, &broken, &mut pipelines, &mut refusals),
        Err(error) => {
            let (path, text) = files.first().copied().unwrap_or_default();
            refusals.push(Text::new(path, text).refuse(point(Location::new(1, 1)), error.strip_backtrace(), ""));
        }
    }
    if refusals.is_empty() && pipelines.branches.is_empty() && pipelines.domains.is_empty() {
        let (path, text) = files.first().copied().unwrap_or_default();
        let help = "write INSERT INTO domains SELECT * FROM a source";
        refusals.push(Text::new(path, text).refuse(point(Location::new(1, 1)), "there is no INSERT", help));
    }
    if refusals.is_empty() {
        *registry = domains;
        return Ok(pipelines);
    }
    let place = |refusal: &Refusal| {
        let file = files.iter().position(|(path, _)| *path == &*refusal.position.file);
        (file, refusal.position.line, refusal.position.column)
    };
    refusals.sort_by_key(place);
    Err(refusals)
}

/// Parses each statement by itself, so that one that does not parse hides no other.
fn parse<'a>(text: &Text<'a>, statements: &mut Vec<Parsed<'a>>, refusals: &mut Vec<Refusal>) {
    let chunks = match text.statements() {
        Ok(chunks) => chunks,
        Err(refusal) => return refusals.push(refusal),
    };
    for tokens in chunks {
        let parsed = DFParserBuilder::new(tokens.0.clone()).build().and_then(|mut parser| parser.parse_statements());
        let mut parsed = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                refusals.push(refuse_syntax(text, &tokens, &error));
                continue;
            }
        };
        let kind = match parsed.pop_front() {
            Some(Statement::CreateExternalTable(create)) => Kind::Create(create),
            Some(Statement::Statement(statement)) => match *statement {
                SqlStatement::Insert(insert) => Kind::Insert(Box::new(insert)),
                _ => {
                    refusals.push(refuse_kind(text, &tokens));
                    continue;
                }
            },
            _ => {
                refusals.push(refuse_kind(text, &tokens));
                continue;
            }
        };
        statements.push(Parsed { text: text.clone(), tokens, kind });
    }
}

fn refuse_kind(text: &Text<'_>, tokens: &Tokens) -> Refusal {
    let words = check::first_words(tokens);
    let help = "a pipeline file holds CREATE EXTERNAL TABLE and INSERT INTO ... SELECT";
    text.refuse(tokens.start(), format!("{words} is not supported in a pipeline"), help)
}

/// What the parser says, at the place that it writes into its message.
fn refuse_syntax(text: &Text<'_>, tokens: &Tokens, error: &DataFusionError) -> Refusal {
    let message = match error.find_root() {
        DataFusionError::SQL(error, _) => match &**error {
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => message.clone(),
            ParserError::RecursionLimitExceeded => "expressions are nested too deep".to_owned(),
        },
        other => other.strip_backtrace(),
    };
    let (message, place) = match message.rsplit_once(" at Line: ") {
        Some((message, place)) => (message.to_owned(), location(place)),
        None => (message, None),
    };
    let span = match place {
        Some(location) => {
            let token = tokens.solid().find(|token| token.span.start == location);
            token.map_or_else(|| point(location), |token| token.span)
        }
        None if message.ends_with("EOF") => tokens.end(),
        None => tokens.start(),
    };
    let at_keyword = tokens.solid().any(|token| token.span == span && is_keyword(&token.token));
    let is_name_wanted = at_keyword && message.starts_with("Expected");
    let help = if is_name_wanted { "a column of this name needs double quotes" } else { "" };
    let message = message.replacen("Expected: ", "expected ", 1).replace(", found: ", ", found ");
    let message = message.replace("found EOF", "found the end of the statement");
    text.refuse(span, message, help)
}

fn is_keyword(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.keyword != Keyword::NoKeyword)
}

/// `1, Column: 5`.
fn location(place: &str) -> Option<Location> {
    let (line, column) = place.split_once(", Column: ")?;
    Some(Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?))
}

/// Reads all `CREATE EXTERNAL TABLE`, and returns the names of the sources that were refused.
fn declarations(
    statements: &[Parsed<'_>],
    domains: &mut Registry,
    pipelines: &mut Pipelines,
    refusals: &mut Vec<Refusal>,
) -> BTreeSet<String> {
    let mut broken = BTreeSet::new();
    for statement in statements {
        let Kind::Create(create) = &statement.kind else { continue };
        let (text, tokens) = (&statement.text, &statement.tokens);
        let declaration = Declaration { text, tokens, parsed: create, refusals: &mut *refusals };
        let name = create.name.0.last().and_then(|part| part.as_ident()).map(spelled).unwrap_or_default();
        match create.file_type.to_uppercase().as_str() {
            "KAFKA" => match declaration.source() {
                Some(source) => add_source(statement, create.name.span(), source, pipelines, refusals),
                None => {
                    broken.insert(name);
                }
            },
            "TIERED" => {
                let shipped = domains.table_schema(&name);
                if let Some(domain) = declaration.domain(shipped.as_ref()) {
                    add_domain(statement, create.name.span(), domain, domains, pipelines, refusals);
                }
            }
            other => {
                let near = near_misses(other, ["KAFKA", "TIERED"], "there are");
                let help = format!("{near}: KAFKA is a source of records, TIERED a domain that keeps them");
                let span = declaration.kind_span();
                refusals.push(text.refuse(span, format!("STORED AS {other} is not supported"), help));
                broken.insert(name);
            }
        }
    }
    broken
}

fn add_source(
    statement: &Parsed<'_>,
    span: Span,
    source: SourceSpec,
    pipelines: &mut Pipelines,
    refusals: &mut Vec<Refusal>,
) {
    match pipelines.source(&source.name) {
        None => pipelines.sources.push(source),
        Some(first) => {
            let message = format!("source {} is declared already, at {}", source.name, first.position);
            let help = "its offsets are kept under its name: choose another";
            refusals.push(statement.text.refuse(span, message, help));
        }
    }
}

fn add_domain(
    statement: &Parsed<'_>,
    span: Span,
    domain: DeclaredDomain,
    domains: &mut Registry,
    pipelines: &mut Pipelines,
    refusals: &mut Vec<Refusal>,
) {
    if pipelines.domains.iter().any(|other| other.name == domain.name) {
        let message = format!("domain {} is declared already", domain.name);
        refusals.push(statement.text.refuse(span, message, "declare all its columns in one place"));
        return;
    }
    match domains.add(domain.to_domain(domains)) {
        Ok(()) => pipelines.domains.push(domain),
        Err(error) => refusals.push(statement.text.refuse(span, error.to_string(), "")),
    }
}

/// Plans all `INSERT`s.
fn inserts(
    statements: &[Parsed<'_>],
    domains: &Registry,
    planner: &Planner,
    broken: &BTreeSet<String>,
    pipelines: &mut Pipelines,
    refusals: &mut Vec<Refusal>,
) {
    let names: Vec<&str> = pipelines.sources.iter().map(|source| source.name.as_str()).collect();
    let known = Known { state: planner.state(), sources: names, broken };
    let domains = domains.iter().map(|domain| domain.table_schema()).collect();
    let mut tables = Tables { domains, created: vec![] };
    let mut reads = BTreeSet::new();
    let mut branches: Vec<BranchSpec> = vec![];
    for statement in statements {
        let Kind::Insert(insert) = &statement.kind else { continue };
        let (text, tokens) = (&statement.text, &statement.tokens);
        let Some(checked) = check::insert(text, tokens, insert, &known, &mut reads, refusals) else { continue };
        if checked.legs.is_empty() {
            continue;
        }
        let place = checked.target_span;
        let sources = &pipelines.sources;
        let insertion =
            Insertion { text, tokens, checked, planner, sources, tables: &mut tables, refusals: &mut *refusals };
        for branch in insertion.branches() {
            match branches.iter().find(|other| other.identity == branch.identity) {
                None => branches.push(branch),
                Some(first) => {
                    let message = format!("the same INSERT stands at {}", first.position);
                    refusals.push(text.refuse(place, message, "it would write every row twice; leave one out"));
                }
            }
        }
    }
    for source in &pipelines.sources {
        let span = statements.iter().find_map(|statement| match &statement.kind {
            Kind::Create(create) if statement.text.position(create.name.span()) == source.position => {
                Some((&statement.text, create.name.span()))
            }
            _ => None,
        });
        if let (false, Some((text, span))) = (reads.contains(&source.name), span) {
            let help = format!("add INSERT INTO domains SELECT * FROM {}, or leave it out", source.name);
            refusals.push(text.refuse(span, format!("source {} is never read", source.name), help));
        }
    }
    settle(&mut branches, &tables);
    pipelines.tables = targets(&branches);
    pipelines.branches = branches;
}

/// Gives every branch into a created table all the columns that the table has in the end.
fn settle(branches: &mut [BranchSpec], tables: &Tables) {
    for branch in branches {
        let Target::Table { schema, binding } = &mut branch.target else { continue };
        if let Some(last) = tables.created.iter().find(|created| created.name == schema.name) {
            *binding = super::Binding::new(last, &branch.leg.output);
            schema.clone_from(last);
        }
    }
}

fn targets(branches: &[BranchSpec]) -> Vec<TableSchema> {
    let mut tables: Vec<TableSchema> = vec![];
    for branch in branches {
        if let Target::Table { schema, .. } = &branch.target
            && !tables.iter().any(|table| table.name == schema.name)
        {
            tables.push(schema.clone());
        }
    }
    tables
}
