//! From the files of a run to its pipelines: all refusals in one report.

use crate::plan::check::{self, Broken, Known};
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
    /// Refused as a whole.
    Refused,
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
        let kind = kind_of(text, &tokens).unwrap_or_else(|refusal| {
            refusals.push(refusal);
            Kind::Refused
        });
        statements.push(Parsed { text: text.clone(), tokens, kind });
    }
}

fn kind_of(text: &Text<'_>, tokens: &Tokens) -> Result<Kind, Refusal> {
    let parsed = DFParserBuilder::new(tokens.0.clone()).build().and_then(|mut parser| parser.parse_statements());
    let mut parsed = parsed.map_err(|error| refuse_syntax(text, tokens, &error))?;
    match parsed.pop_front() {
        Some(Statement::CreateExternalTable(create)) => Ok(Kind::Create(create)),
        Some(Statement::Statement(statement)) => match *statement {
            SqlStatement::Insert(insert) => Ok(Kind::Insert(Box::new(insert))),
            _ => Err(refuse_kind(text, tokens)),
        },
        _ => Err(refuse_kind(text, tokens)),
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
    if let Some((span, message, help)) = refuse_clause(tokens, &message) {
        return text.refuse(span, message, help);
    }
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

/// The place, our words and the way out, for what DataFusion's parser says of a clause of `CREATE EXTERNAL TABLE`.
fn refuse_clause(tokens: &Tokens, message: &str) -> Option<(Span, String, String)> {
    let find = |from: Location, clause: &str| {
        let words: Vec<&str> = clause.split(' ').collect();
        tokens.find(from, &words)
    };
    let start = Location::new(0, 0);
    if let Some((clause, _)) = message.split_once(" clause is no longer in use") {
        let span = find(start, clause).unwrap_or_else(|| tokens.start());
        return Some((span, format!("{clause} is not supported here"), "leave it out".to_owned()));
    }
    if let Some(clause) = message.strip_suffix(" specified more than once") {
        let first = find(start, clause);
        let span = first.and_then(|first| find(first.end, clause)).or(first).unwrap_or_else(|| tokens.start());
        return Some((span, format!("{clause} is said twice"), "keep one".to_owned()));
    }
    let clause = message.strip_prefix("Missing ")?.strip_suffix(" clause in CREATE EXTERNAL TABLE statement")?;
    let help = match clause {
        "LOCATION" if find(start, "STORED AS TIERED").is_some() => {
            let name = tokens.declared().unwrap_or_default();
            format!("add LOCATION '{name}': that of a domain is its name")
        }
        "LOCATION" => "add LOCATION 'topic', or a glob of topics, as 'orders.*'".to_owned(),
        _ => "add STORED AS KAFKA for a source of records, STORED AS TIERED for a domain that keeps them".to_owned(),
    };
    Some((tokens.start(), format!("this CREATE EXTERNAL TABLE has no {clause}"), help))
}

fn is_keyword(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.keyword != Keyword::NoKeyword)
}

/// `1, Column: 5`.
fn location(place: &str) -> Option<Location> {
    let (line, column) = place.split_once(", Column: ")?;
    Some(Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?))
}

/// Reads all `CREATE EXTERNAL TABLE`, and returns the names of those that were refused.
fn declarations(
    statements: &[Parsed<'_>],
    domains: &mut Registry,
    pipelines: &mut Pipelines,
    refusals: &mut Vec<Refusal>,
) -> Broken {
    let mut broken = Broken::default();
    for statement in statements {
        let (text, tokens) = (&statement.text, &statement.tokens);
        let create = match &statement.kind {
            Kind::Create(create) => create,
            Kind::Refused => {
                broken.sources.extend(tokens.declared());
                broken.domains.extend(tokens.declared());
                continue;
            }
            Kind::Insert(_) => continue,
        };
        let declaration = Declaration { text, tokens, parsed: create, refusals: &mut *refusals };
        let parts: Vec<String> = create.name.0.iter().filter_map(|part| part.as_ident()).map(spelled).collect();
        let name = parts.last().cloned().unwrap_or_default();
        let names = [name.clone(), parts.join(".")];
        match create.file_type.to_uppercase().as_str() {
            "KAFKA" => match declaration.source() {
                Some(source) => add_source(statement, create.name.span(), source, pipelines, refusals),
                None => broken.sources.extend(names),
            },
            "TIERED" => {
                let shipped = domains.table_schema(&name);
                let is_added = match declaration.domain(shipped.as_ref()) {
                    Some(domain) => add_domain(statement, create.name.span(), domain, domains, pipelines, refusals),
                    None => false,
                };
                if !is_added {
                    broken.domains.extend(names);
                }
            }
            other => {
                let near = near_misses(other, ["KAFKA", "TIERED"], "there are");
                let help = format!("{near}: KAFKA is a source of records, TIERED a domain that keeps them");
                let span = declaration.kind_span();
                refusals.push(text.refuse(span, format!("STORED AS {other} is not supported"), help));
                broken.sources.extend(names.clone());
                broken.domains.extend(names);
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

/// Adds what is declared of a domain; false where it was refused.
fn add_domain(
    statement: &Parsed<'_>,
    span: Span,
    domain: DeclaredDomain,
    domains: &mut Registry,
    pipelines: &mut Pipelines,
    refusals: &mut Vec<Refusal>,
) -> bool {
    if pipelines.domains.iter().any(|other| other.name == domain.name) {
        let message = format!("domain {} is declared already", domain.name);
        refusals.push(statement.text.refuse(span, message, "declare all its columns in one place"));
        return false;
    }
    match domains.add(domain.to_domain(domains)) {
        Ok(()) => {
            pipelines.domains.push(domain);
            true
        }
        Err(error) => {
            refusals.push(statement.text.refuse(span, error.to_string(), ""));
            false
        }
    }
}

/// Plans all `INSERT`s.
fn inserts(
    statements: &[Parsed<'_>],
    domains: &Registry,
    planner: &Planner,
    broken: &Broken,
    pipelines: &mut Pipelines,
    refusals: &mut Vec<Refusal>,
) {
    let names: Vec<&str> = pipelines.sources.iter().map(|source| source.name.as_str()).collect();
    let known = Known { state: planner.state(), sources: names, broken };
    let domains = domains.iter().map(|domain| domain.table_schema()).collect();
    let mut tables = Tables { domains, created: vec![] };
    let mut reads = BTreeSet::new();
    let mut branches: Vec<BranchSpec> = vec![];
    // Statements that say nothing of what they read. What they name counts as read, so that it is not refused for it.
    let mut unread: Vec<&Tokens> = vec![];
    for statement in statements {
        let (text, tokens) = (&statement.text, &statement.tokens);
        let insert = match &statement.kind {
            Kind::Insert(insert) => insert,
            Kind::Refused => {
                unread.push(tokens);
                continue;
            }
            Kind::Create(_) => continue,
        };
        let Some(checked) = check::insert(text, tokens, insert, &known, &mut reads, refusals) else {
            unread.push(tokens);
            continue;
        };
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
        let is_named = unread.iter().any(|tokens| tokens.find_name(Location::new(0, 0), &source.name).is_some());
        if let (false, Some((text, span))) = (is_named || reads.contains(&source.name), span) {
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
