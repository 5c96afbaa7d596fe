//! What DataFusion's planner refuses, in our words: it speaks of Arrow's types and of plans, and seldom of a way out.

use crate::plan::text::near_names;
use crate::plan::types;
use arrow::datatypes::DataType;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;

/// What is wrong with a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// Two columns of one `SELECT` are called `name`.
    Twins {
        /// As the planner spells it.
        name: String,
    },
    /// Anything else.
    Other {
        /// What is wrong.
        message: String,
        /// The way out; empty where we know none.
        help: String,
        /// What to look for in the statement where the planner tells no place.
        names: Vec<String>,
    },
}

/// What the planner means by `error`.
pub(super) fn mistake(error: &DataFusionError) -> Mistake {
    let root = root(error);
    if let DataFusionError::SchemaError(error, _) = root {
        return match &**error {
            SchemaError::FieldNotFound { field, valid_fields } => unknown(field, valid_fields),
            SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
                Mistake::Twins { name: name.clone() }
            }
            SchemaError::AmbiguousReference { field } => Mistake::Twins { name: field.name.clone() },
        };
    }
    let message = root.message();
    let message = message.split("\n\nbacktrace").next().unwrap_or_default().trim();
    if let Some(name) = twin(message) {
        return Mistake::Twins { name };
    }
    if let Some((message, help)) = operation(message).or_else(|| pattern(message)).or_else(|| union(message)) {
        return Mistake::Other { message, help, names: vec![] };
    }
    call(message).unwrap_or_else(|| as_it_is(message))
}

fn root(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => root(inner),
        DataFusionError::Collection(errors) if !errors.is_empty() => root(&errors[0]),
        other => other,
    }
}

/// A column that is not there, or one of a table that is not.
fn unknown(field: &Column, valid: &[Column]) -> Mistake {
    let tables = || valid.iter().filter_map(|column| column.relation.as_ref()).map(|relation| relation.table());
    let table = field.relation.as_ref().map(|relation| relation.table());
    if let Some(table) = table.filter(|table| tables().next().is_some() && !tables().any(|other| other == *table)) {
        let help = near_names(table, tables(), "it reads");
        let message = format!("there is no table `{table}` in this FROM");
        return Mistake::Other { message, help, names: vec![table.to_owned(), field.name.clone()] };
    }
    let help = near_names(&field.name, valid.iter().map(|column| column.name.as_str()), "the columns are");
    let message = format!("there is no column `{}`", field.name);
    Mistake::Other { message, help, names: vec![field.name.clone()] }
}

/// The name that two expressions share: `... "clicks.url" at position 0 and "clicks.n AS url" at position 1 ...`.
fn twin(message: &str) -> Option<String> {
    let (_, expressions) = message.split_once("require unique expression names")?;
    let second = expressions.split('"').nth(3)?;
    let name = second.rsplit_once(" AS ").map_or(second, |(_, name)| name);
    let name = name.rsplit_once('.').map_or(name, |(_, name)| name);
    types::is_column_name(name).then(|| name.to_owned())
}

/// What the planner says before `Utf8 + Int64`.
const BEFORE_OPERATIONS: [&str; 8] = [
    "Cannot coerce arithmetic expression ",
    "Cannot infer common argument type for comparison operation ",
    "Cannot infer common argument type for logical boolean operation ",
    "Cannot infer common argument type for regex operation ",
    "Cannot infer common type for bitwise operation ",
    "Cannot infer common string type for string concat operation ",
    "Cannot get result type for arithmetic operation ",
    "Cannot get result type for temporal operation ",
];

/// An operator between types that it does not take.
fn operation(message: &str) -> Option<(String, String)> {
    let operands = BEFORE_OPERATIONS.iter().find_map(|before| message.split_once(*before))?.1;
    let operands = operands.split(": ").next().unwrap_or(operands);
    let (left, operator, right) = operands_of(operands.strip_suffix(" to valid types").unwrap_or(operands))?;
    Some(refused_operator(left, operator, right))
}

/// `LIKE` between types that it does not take.
fn pattern(message: &str) -> Option<(String, String)> {
    let (_, operands) = message.split_once("isn't a common type to coerce ")?;
    let (operands, operator) = operands.strip_suffix(" expression")?.rsplit_once(" in ")?;
    let (left, right) = operands.split_once(" and ")?;
    Some(refused_operator(left, operator, right))
}

/// The types beside an operator, and it: a type has blanks only inside its parentheses.
fn operands_of(text: &str) -> Option<(&str, &str, &str)> {
    let mut depth = 0_i32;
    let mut blanks = vec![];
    for (byte, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ' ' if depth == 0 => blanks.push(byte),
            _ => {}
        }
    }
    let (first, last) = (*blanks.first()?, *blanks.last()?);
    (depth == 0 && first < last).then(|| (&text[..first], text[first..last].trim(), &text[last + 1..]))
}

fn refused_operator(left: &str, operator: &str, right: &str) -> (String, String) {
    let message = format!("`{operator}` does not take {} and {}", in_sql(left), in_sql(right));
    let sides: Vec<DataType> = [left, right].iter().filter_map(|side| side.parse::<DataType>().ok()).collect();
    let help = match operator {
        "+" | "-" | "*" | "/" | "%" if sides.iter().any(DataType::is_temporal) => {
            "to move a time, add or take a length of time: INTERVAL '1 hour'".to_owned()
        }
        "+" | "-" | "*" | "/" | "%" => {
            let number = sides.iter().find(|of| of.is_numeric()).map_or_else(|| "DOUBLE".to_owned(), types::name);
            format!("arithmetic takes numbers: write CAST(... AS {number})")
        }
        "AND" | "OR" => "it takes conditions: compare with something, as in n > 0".to_owned(),
        "=" | "!=" | "<" | "<=" | ">" | ">=" | "IS DISTINCT FROM" | "IS NOT DISTINCT FROM" => {
            format!("both sides need one type: write CAST(... AS {})", in_sql(right))
        }
        "&" | "|" | "BIT_XOR" | "<<" | ">>" => "it takes whole numbers: write CAST(... AS BIGINT)".to_owned(),
        _ => "it takes texts: write CAST(... AS TEXT)".to_owned(),
    };
    (message, help)
}

/// Legs of a `UNION ALL` that do not fit.
fn union(message: &str) -> Option<(String, String)> {
    message.ends_with("queries have different number of columns").then(|| {
        let message = "the legs of this UNION ALL have different numbers of columns";
        (message.to_owned(), "each leg gives the columns of the first, in the same order".to_owned())
    })
}

/// A function that is given types that it does not take.
fn call(message: &str) -> Option<Mistake> {
    let (why, call) = message.split_once("No function matches the given name and argument types '")?;
    let (call, _) = call.split_once("'. You might need")?;
    let (name, given) = call.strip_suffix(')')?.split_once('(')?;
    let given: Vec<String> = parted(given).into_iter().map(in_sql).collect();
    let wanted = why.split_once(" expects ").and_then(|(_, wanted)| wanted.split_once(" arguments but received"));
    let help = match wanted {
        Some(("1", _)) => "it takes 1 argument".to_owned(),
        Some((count, _)) => format!("it takes {count} arguments"),
        None => "give it other arguments, or cast them: CAST(... AS type)".to_owned(),
    };
    let message = format!("the function `{name}` does not take ({})", given.join(", "));
    Some(Mistake::Other { message, help, names: vec![name.to_owned()] })
}

/// The types that commas part, outside of their own parentheses.
fn parted(types: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let commas = |character: char| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    };
    types.split(commas).map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// What the planner says, with the types in SQL's words.
fn as_it_is(message: &str) -> Mistake {
    let names = message.split(['\'', '`']).skip(1).step_by(2).map(str::to_owned).collect();
    let mut lines = message.lines();
    let first = lines.next().unwrap_or("this cannot be planned");
    let rest = lines.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    Mistake::Other { message: with_sql_types(first), help: with_sql_types(&rest), names }
}

/// `text` with `TEXT` for `Utf8` and the like: the types that no other word looks like.
fn with_sql_types(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for part in text.split_inclusive(|character: char| !character.is_alphanumeric()) {
        let word = part.trim_end_matches(|character: char| !character.is_alphanumeric());
        let is_type = word.contains(|character: char| character.is_ascii_digit());
        words.push_str(&if is_type { in_sql(word) } else { word.to_owned() });
        words.push_str(&part[word.len()..]);
    }
    words
}

/// What SQL calls the type that Arrow prints as `arrow`.
fn in_sql(arrow: &str) -> String {
    arrow.parse::<DataType>().map_or_else(|_| arrow.to_owned(), |of| types::name(&of))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str) -> (String, String) {
        match mistake(&DataFusionError::Plan(message.to_owned())) {
            Mistake::Other { message, help, .. } => (message, help),
            Mistake::Twins { name } => panic!("twins called {name}"),
        }
    }

    #[test]
    fn operators_are_refused_with_the_types_of_sql() {
        for (message, wanted, help) in [
            (
                "Cannot coerce arithmetic expression Utf8 + Int64 to valid types",
                "`+` does not take TEXT and BIGINT",
                "AS BIGINT",
            ),
            (
                "Cannot coerce arithmetic expression Utf8 * Boolean to valid types",
                "`*` does not take TEXT and BOOLEAN",
                "AS DOUBLE",
            ),
            (
                "Cannot get result type for temporal operation Timestamp(µs, \"UTC\") + Date32: Invalid: no",
                "`+` does not take TIMESTAMP and DATE",
                "INTERVAL",
            ),
            (
                "Cannot infer common argument type for comparison operation Int64 IS DISTINCT FROM Boolean",
                "`IS DISTINCT FROM` does not take BIGINT and BOOLEAN",
                "AS BOOLEAN",
            ),
            (
                "Cannot infer common argument type for logical boolean operation Int64 AND Boolean",
                "`AND` does not take BIGINT and BOOLEAN",
                "conditions",
            ),
            (
                "There isn't a common type to coerce Int64 and Utf8 in LIKE expression",
                "`LIKE` does not take BIGINT and TEXT",
                "AS TEXT",
            ),
        ] {
            let (found, way_out) = said(message);
            assert_eq!(found, wanted);
            assert!(way_out.contains(help), "{way_out}");
        }
    }

    #[test]
    fn functions_are_refused_with_what_they_are_given() {
        let (message, help) = said(
            "Function 'upper' expects 1 arguments but received 2 No function matches the given name and argument types \
             'upper(Utf8, Decimal128(9, 2))'. You might need to add explicit type casts.\n\tCandidate functions:\n\tx",
        );
        assert_eq!(message, "the function `upper` does not take (TEXT, DECIMAL(9, 2))");
        assert_eq!(help, "it takes 1 argument");
    }

    #[test]
    fn what_has_no_words_of_ours_is_told_with_the_types_of_sql() {
        let (message, help) = said("Cannot do it with Utf8, or Int64\n  at all");
        assert_eq!((message.as_str(), help.as_str()), ("Cannot do it with TEXT, or BIGINT", "at all"));
    }

    #[test]
    fn two_expressions_of_one_name_are_twins() {
        for (first, second) in [("clicks.url", "clicks.url"), ("clicks.n AS url", "upper(clicks.x) AS url")] {
            let message = format!(
                "Projections require unique expression names but the expression \"{first}\" at position 0 and \
                 \"{second}\" at position 1 have the same name. Consider aliasing (\"AS\") one of them."
            );
            assert_eq!(mistake(&DataFusionError::Plan(message)), Mistake::Twins { name: "url".to_owned() });
        }
    }
}
