//! `OPTIONS ('name' 'value', ...)`, read from the parsed statement, with the places of names and values.

use crate::plan::text::{Text, Tokens, near_misses};
use crate::plan::{Refusal, duration};
use datafusion::sql::sqlparser::ast::Value;
use datafusion::sql::sqlparser::tokenizer::{Span, Token};
use std::time::Duration;

/// One option.
#[derive(Debug, Clone)]
pub(super) struct OptionSpec {
    /// Its name.
    pub(super) name: String,
    /// Its value, as text.
    pub(super) value: String,
    /// Where its name stands.
    pub(super) name_span: Span,
    /// Where its value stands.
    pub(super) value_span: Span,
}

/// The options of a statement. What is taken is known; what is left is refused.
#[derive(Debug)]
pub(super) struct Options<'a, 't> {
    text: &'t Text<'a>,
    left: Vec<OptionSpec>,
    known: Vec<&'static str>,
}

impl<'a, 't> Options<'a, 't> {
    /// Pairs what DataFusion has parsed with the places that only the tokens know.
    pub(super) fn new(text: &'t Text<'a>, tokens: &Tokens, parsed: &[(String, Value)]) -> Self {
        let places = places(tokens);
        let option = |(index, (name, value)): (usize, &(String, Value))| {
            let (name_span, value_span) = places.get(index).copied().unwrap_or((tokens.start(), tokens.start()));
            let value = match value {
                Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.clone(),
                other => other.to_string(),
            };
            OptionSpec { name: name.clone(), value, name_span, value_span }
        };
        Self { text, left: parsed.iter().enumerate().map(option).collect(), known: vec![] }
    }

    /// Takes the option `name`, if it is there. Said twice is refused.
    pub(super) fn take(&mut self, name: &'static str, refusals: &mut Vec<Refusal>) -> Option<OptionSpec> {
        self.known.push(name);
        let at = self.left.iter().position(|option| option.name == name)?;
        let taken = self.left.remove(at);
        while let Some(again) = self.left.iter().position(|option| option.name == name) {
            let again = self.left.remove(again);
            refusals.push(self.text.refuse(again.name_span, format!("option '{name}' is said twice"), "keep one"));
        }
        Some(taken)
    }

    /// Takes a duration.
    pub(super) fn duration(&mut self, name: &'static str, refusals: &mut Vec<Refusal>) -> Option<Duration> {
        let option = self.take(name, refusals)?;
        match duration::parse(&option.value) {
            Ok(duration) => Some(duration),
            Err(error) => {
                let help = "write whole numbers with units, as '5 seconds', '1 hour 30 minutes' or '7 days'";
                refusals.push(self.text.refuse(option.value_span, error, help));
                None
            }
        }
    }

    /// Refuses what has not been taken.
    pub(super) fn finish(self, what: &str, refusals: &mut Vec<Refusal>) {
        for option in &self.left {
            let help = near_misses(&option.name, self.known.iter().copied(), "there are");
            let message = match option.name.as_str() {
                "allowed_lateness" => format!("option 'allowed_lateness' is not supported yet: {what} is append-only"),
                name => format!("{what} has no option '{name}'"),
            };
            refusals.push(self.text.refuse(option.name_span, message, help));
        }
    }
}

/// Where the names and values between the parentheses behind `OPTIONS` stand.
fn places(tokens: &Tokens) -> Vec<(Span, Span)> {
    let Some((options, _)) = tokens.clause("OPTIONS", |next| *next == Token::LParen) else { return vec![] };
    let behind: Vec<_> = tokens.solid().filter(|token| token.span.start >= options.end).collect();
    let mut places = vec![];
    let mut pair: Vec<Span> = vec![];
    for token in behind.into_iter().skip(1) {
        match token.token {
            Token::Comma | Token::RParen => {
                if let (Some(first), Some(last)) = (pair.first(), pair.last()) {
                    places.push((*first, *last));
                }
                pair.clear();
                if token.token == Token::RParen {
                    break;
                }
            }
            _ => pair.push(token.span),
        }
    }
    places
}
