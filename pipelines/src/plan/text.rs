//! Statements and places in a pipeline file. DataFusion's plans and `OPTIONS` carry no places, so they are looked up in
//! the tokens.

use crate::plan::{Position, Refusal};
use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};
use std::sync::Arc;

/// A pipeline file.
#[derive(Debug, Clone)]
pub(super) struct Text<'a> {
    file: Arc<str>,
    text: &'a str,
}

impl<'a> Text<'a> {
    /// The file `file` with its text.
    pub(super) fn new(file: &str, text: &'a str) -> Self {
        Self { file: file.into(), text }
    }

    /// Where `span` starts.
    pub(super) fn position(&self, span: Span) -> Position {
        let one = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
        Position { file: self.file.clone(), line: one(span.start.line), column: one(span.start.column) }
    }

    /// A refusal of what stands at `span`; of several lines, the first is underlined.
    pub(super) fn refuse(&self, span: Span, message: impl Into<String>, help: impl Into<String>) -> Refusal {
        let position = self.position(span);
        let end = if span.end.line == span.start.line {
            usize::try_from(span.end.column).unwrap_or_default()
        } else {
            let line = self.text.split('\n').nth(position.line - 1).unwrap_or_default();
            line.trim_end().chars().count() + 1
        };
        let help = Some(help.into()).filter(|help| !help.is_empty());
        Refusal { length: end.saturating_sub(position.column).max(1), position, message: message.into(), help }
    }

    /// The tokens of each statement, cut at the semicolons.
    ///
    /// # Errors
    /// A refusal where the file is not even made of tokens: a quote that is never closed.
    pub(super) fn statements(&self) -> Result<Vec<Tokens>, Refusal> {
        let tokens = Tokenizer::new(&GenericDialect {}, self.text)
            .tokenize_with_location()
            .map_err(|error| self.refuse(point(error.location), error.message, ""))?;
        let statements = tokens.split(|token| token.token == Token::SemiColon).map(|tokens| Tokens(tokens.to_vec()));
        Ok(statements.filter(|statement| statement.first().is_some()).collect())
    }
}

/// The tokens of one statement, blanks and comments among them.
#[derive(Debug, Clone)]
pub(super) struct Tokens(pub(super) Vec<TokenWithSpan>);

impl Tokens {
    /// The tokens that are not blank.
    pub(super) fn solid(&self) -> impl Iterator<Item = &TokenWithSpan> + Clone {
        self.0.iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF))
    }

    /// The first token that is not blank.
    pub(super) fn first(&self) -> Option<&TokenWithSpan> {
        self.solid().next()
    }

    /// Where the statement starts: its first word.
    pub(super) fn start(&self) -> Span {
        self.first().map_or_else(Span::empty, |token| token.span)
    }

    /// Just behind the last token, for what is missing.
    pub(super) fn end(&self) -> Span {
        self.solid().last().map_or_else(Span::empty, |token| point(token.span.end))
    }

    /// The unquoted words `words`, one after the other, at `from` or behind it.
    pub(super) fn find(&self, from: Location, words: &[&str]) -> Option<Span> {
        let solid: Vec<&TokenWithSpan> = self.solid().filter(|token| token.span.start >= from).collect();
        let found = solid
            .windows(words.len())
            .find(|window| window.iter().zip(words).all(|(token, word)| is_word(&token.token, word)))?;
        Some(Span::new(found.first()?.span.start, found.last()?.span.end))
    }

    /// The unquoted word `word` that stands right before a token that `is_next` knows, and that token: a clause, rather
    /// than a column of the same name.
    pub(super) fn clause(&self, word: &str, is_next: fn(&Token) -> bool) -> Option<(Span, Span)> {
        let solid: Vec<&TokenWithSpan> = self.solid().collect();
        let found = solid.windows(2).find(|pair| is_word(&pair[0].token, word) && is_next(&pair[1].token))?;
        Some((found[0].span, found[1].span))
    }

    /// Where the items of the `SELECT` at `select` stand: what its commas part, up to its `FROM`.
    pub(super) fn items(&self, select: Span) -> Vec<Span> {
        let mut items = vec![];
        let (mut depth, mut current): (i32, Option<Span>) = (0, None);
        let mut before: Option<&Token> = None;
        for token in self.solid().filter(|token| token.span.start >= select.end) {
            // `IS DISTINCT FROM` is no clause.
            let is_from = is_word(&token.token, "FROM") && !before.is_some_and(|before| is_word(before, "DISTINCT"));
            match token.token {
                Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
                Token::RParen | Token::RBracket | Token::RBrace => depth -= 1,
                _ => {}
            }
            if depth < 0 || (depth == 0 && is_from) {
                break;
            }
            if depth == 0 && token.token == Token::Comma {
                items.extend(current.take());
            } else {
                current = Some(Span::new(current.map_or(token.span.start, |span| span.start), token.span.end));
            }
            before = Some(&token.token);
        }
        items.extend(current);
        items
    }

    /// The name behind the word `TABLE`, as the planner spells it: what a declaration that does not parse is about.
    pub(super) fn declared(&self) -> Option<String> {
        if self.first().is_some_and(|first| is_word(&first.token, "INSERT")) {
            return None;
        }
        let table = self.find(Location::new(0, 0), &["TABLE"])?;
        let is_filler = |token: &TokenWithSpan| ["IF", "NOT", "EXISTS"].iter().any(|word| is_word(&token.token, word));
        let behind = self.solid().filter(|token| token.span.start >= table.end).find(|token| !is_filler(token))?;
        match &behind.token {
            Token::Word(word) => Some(spelled(&word.to_ident(behind.span))),
            _ => None,
        }
    }

    /// An identifier `name`, as the planner spells it, at `from` or behind it.
    pub(super) fn find_name(&self, from: Location, name: &str) -> Option<Span> {
        let is_it = |token: &&TokenWithSpan| match &token.token {
            Token::Word(word) => match word.quote_style {
                Some(_) => word.value == name,
                None => word.value.to_lowercase() == name,
            },
            _ => false,
        };
        self.solid().filter(|token| token.span.start >= from).find(is_it).map(|token| token.span)
    }
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// The span that starts at `location` and takes one character.
pub(super) fn point(location: Location) -> Span {
    Span::new(location, Location::new(location.line, location.column + 1))
}

/// An identifier as the planner spells it: in lower case unless it is quoted.
pub(super) fn spelled(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// `did you mean ...?` with the nearest of `candidates`, else all of them after `otherwise`, if they are few.
pub(crate) fn near_misses<'n>(wanted: &str, candidates: impl IntoIterator<Item = &'n str>, otherwise: &str) -> String {
    let mut candidates: Vec<&str> = candidates.into_iter().collect();
    candidates.sort_unstable();
    candidates.dedup();
    let limit = 1 + wanted.chars().count() / 4;
    let mut near: Vec<(usize, &str)> = candidates
        .iter()
        .map(|name| (distance(&wanted.to_lowercase(), &name.to_lowercase()), *name))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    near.sort_unstable();
    let list = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if !near.is_empty() {
        let names: Vec<&str> = near.iter().take(3).map(|(_, name)| *name).collect();
        format!("did you mean {}?", list(&names))
    } else if candidates.is_empty() || candidates.len() > 40 {
        String::new()
    } else {
        format!("{otherwise} {}", list(&candidates))
    }
}

/// [`near_misses`] of a name in SQL, which needs quotes where it is not all in lower case.
pub(super) fn near_names<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>, otherwise: &str) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let quoted = names.iter().copied().find(|name| *name != wanted && name.to_lowercase() == wanted);
    match quoted {
        Some(name) => format!("write \"{name}\": names without quotes are in lower case"),
        None => near_misses(wanted, names, otherwise),
    }
}

/// How many characters must be added, removed, changed or swapped to get from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = vec![];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before_last[j - 2] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_named_and_far_ones_listed() {
        assert_eq!(near_misses("max_dissorder", ["max_disorder", "format"], "use"), "did you mean `max_disorder`?");
        assert_eq!(near_misses("formta", ["max_disorder", "format"], "use"), "did you mean `format`?");
        assert_eq!(near_misses("zzz", ["b", "a"], "there are"), "there are `a`, `b`");
    }

    #[test]
    fn names_that_differ_by_case_need_quotes() {
        let quoted = "write \"userId\": names without quotes are in lower case";
        assert_eq!(near_names("userid", ["userId", "n"], "there are"), quoted);
        assert_eq!(near_names("URL", ["url"], "there are"), "did you mean `url`?");
        assert_eq!(near_names("user", ["users", "n"], "there are"), "did you mean `users`?");
    }

    #[test]
    fn what_does_not_parse_still_tells_what_it_declares() {
        let declared = |text: &str| Text::new("f.sql", text).statements().unwrap()[0].declared();
        assert_eq!(declared("CREATE EXTERNAL TABLE IF NOT EXISTS Clicks (a INT").as_deref(), Some("clicks"));
        assert_eq!(declared("CREATE TABLE \"Clicks\"").as_deref(), Some("Clicks"));
        assert_eq!(declared("INSERT INTO TABLE clicks SELEC 1"), None);
        assert_eq!(declared("CREATE EXTERNAL TABLE"), None);
    }

    #[test]
    fn statements_are_cut_at_semicolons_but_not_inside_texts() {
        let text = Text::new("f.sql", "-- a; b\nSELECT ';' ; ;\n SELECT 2");
        let statements = text.statements().unwrap();
        assert_eq!(statements.len(), 2);
        assert_eq!(text.position(statements[1].start()), Position { file: "f.sql".into(), line: 3, column: 2 });
        assert_eq!(text.refuse(statements[1].start(), "", "").length, 6);
        let broken = Text::new("f.sql", "SELECT 1;\nSELECT 'x").statements().unwrap_err();
        assert_eq!((broken.position.line, broken.position.column), (2, 8));
    }
}
