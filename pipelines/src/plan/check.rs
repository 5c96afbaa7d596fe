//! What of an `INSERT` cannot run for ever, refused on the syntax tree: plans have no places, and say it in the words
//! of the planner rather than in those of the statement.

mod walk;

use crate::plan::Refusal;
use crate::plan::text::{Text, Tokens, spelled};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::Volatility;
use datafusion::sql::sqlparser::ast::{Expr, Insert, Query, Select, SelectItem};
use datafusion::sql::sqlparser::tokenizer::{Span, Token};
use std::collections::BTreeSet;
use walk::Check;

/// The names of declarations that were refused themselves. What reads or fills them is not refused for it again.
#[derive(Debug, Default)]
pub(super) struct Broken {
    /// Sources.
    pub(super) sources: BTreeSet<String>,
    /// Domains.
    pub(super) domains: BTreeSet<String>,
}

/// What may be named in an `INSERT`.
pub(super) struct Known<'k> {
    /// Functions, and what they are.
    pub(super) state: &'k SessionState,
    /// The names of the sources.
    pub(super) sources: Vec<&'k str>,
    /// What cannot be planned with, though it is declared.
    pub(super) broken: &'k Broken,
}

/// An `INSERT` that may be planned.
pub(super) struct Checked<'q> {
    /// The target, in the planner's spelling.
    pub(super) target: String,
    /// Where it stands.
    pub(super) target_span: Span,
    /// The inner query.
    pub(super) query: &'q Query,
    /// The legs of its `UNION ALL`, in order.
    pub(super) legs: Vec<CheckedLeg>,
}

/// One `SELECT` of an `INSERT`.
pub(super) struct CheckedLeg {
    /// The `SELECT`, normalised, with the CTEs of its statement.
    pub(super) sql: String,
    /// Where it stands: its first word.
    pub(super) span: Span,
    /// What it selects.
    pub(super) items: Vec<Item>,
}

/// One item of a `SELECT`.
pub(super) struct Item {
    /// The column's name; none for `*`.
    pub(super) name: Option<String>,
    /// Where the name stands: behind `AS`, if there is one.
    pub(super) name_span: Span,
    /// Where it stands.
    pub(super) span: Span,
}

impl CheckedLeg {
    /// Where the output column `name` comes from: its item, else the `*`, else the `SELECT`.
    pub(super) fn place(&self, name: &str) -> Span {
        self.item(name).map_or(self.span, |item| item.span)
    }

    /// Where the output column `name` got its name.
    pub(super) fn place_of_name(&self, name: &str) -> Span {
        self.item(name).map_or(self.span, |item| item.name_span)
    }

    fn item(&self, name: &str) -> Option<&Item> {
        let named = self.items.iter().find(|item| item.name.as_deref() == Some(name));
        named.or_else(|| self.items.iter().find(|item| item.name.is_none()))
    }
}

/// Checks an `INSERT`; none where it was refused, or reads or fills what is refused at its declaration.
pub(super) fn insert<'q>(
    text: &Text<'_>,
    tokens: &Tokens,
    insert: &'q Insert,
    known: &Known<'_>,
    reads: &mut BTreeSet<String>,
    refusals: &mut Vec<Refusal>,
) -> Option<Checked<'q>> {
    let before = refusals.len();
    let mut check =
        Check { text, tokens, known, refusals, ctes: vec![], reads, reads_broken: false, at: tokens.start() };
    check.insert_clauses(insert);
    let Some(query) = insert.source.as_deref() else {
        check.refuse(tokens.start(), "an INSERT needs a query", "write INSERT INTO target SELECT ... FROM source");
        return None;
    };
    let with = query.with.as_ref().map_or_else(String::new, |with| format!("{with} "));
    let mut selects = vec![];
    check.query(query, &mut selects);
    let legs: Vec<CheckedLeg> = selects
        .iter()
        .map(|select| CheckedLeg {
            sql: format!("{with}{select}"),
            span: select.select_token.0.span,
            items: items_of(select, tokens),
        })
        .collect();
    if let Some(first) = selects.first() {
        check.names(first);
    }
    let (target, target_span) = check.target(insert)?;
    let domain = target.split('.').next().unwrap_or_default();
    let fills_broken = known.broken.domains.contains(&target) || known.broken.domains.contains(domain);
    if check.reads_broken || fills_broken {
        return None;
    }
    (refusals.len() == before).then_some(Checked { target, target_span, query, legs })
}

fn items_of(select: &Select, tokens: &Tokens) -> Vec<Item> {
    let places = tokens.items(select.select_token.0.span);
    let item = |(index, item): (usize, &SelectItem)| {
        let span = places.get(index).copied().unwrap_or(select.select_token.0.span);
        match item {
            SelectItem::ExprWithAlias { alias, .. } => Item { name: Some(spelled(alias)), name_span: alias.span, span },
            SelectItem::UnnamedExpr(expression) => Item { name: bare_name(expression), name_span: span, span },
            SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => Item { name: None, name_span: span, span },
        }
    };
    select.projection.iter().enumerate().map(item).collect()
}

/// The name that a column gets when it is selected without `AS`; none for an expression.
fn bare_name(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Identifier(ident) => Some(spelled(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(spelled),
        _ => None,
    }
}

/// Why no column can be given the name of a system column, and the way out.
pub(super) fn system_column(name: &str) -> (String, String) {
    let plain = name.trim_start_matches('_');
    let help = format!("every row has it already; to keep a copy, give it another name: ... AS {plain}");
    (format!("{name} is a system column"), help)
}

/// Why a function cannot stand in a pipeline, if it cannot, and the way out.
pub(super) fn unrepeatable(name: &str, volatility: Volatility, is_async: bool) -> Option<(String, &'static str)> {
    if is_async {
        let help = "a dataflow never waits; ask when you query the table";
        return Some((format!("the async function `{name}` is not supported yet"), help));
    }
    let help = match volatility {
        Volatility::Immutable => return None,
        Volatility::Stable => "take the record's own time: a column of it, or `_timestamp`",
        Volatility::Volatile => "a record is told apart by `_topic`, `_partition` and `_offset`",
    };
    Some((format!("`{name}` gives another result each time, so a replay would write other rows"), help))
}

/// What a statement begins with: its first words, as far as they are keywords.
pub(super) fn first_words(tokens: &Tokens) -> String {
    let words = tokens.solid().map_while(|token| match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
        _ => None,
    });
    let words: Vec<String> = words.take(2).collect();
    match words.first().map(String::as_str) {
        Some("CREATE" | "DROP" | "ALTER" | "TRUNCATE" | "SHOW") => words.join(" "),
        Some(first) => first.to_owned(),
        None => "this".to_owned(),
    }
}
