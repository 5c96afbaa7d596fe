//! One statement out of a text: what it is, and the names that stand in it.

use crate::{SqlError, mistakes};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

/// A statement that parses.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What the planner takes.
    pub(crate) statement: Statement,
    tokens: Vec<TokenWithSpan>,
}

/// Parses `sql`, which is one statement. Comments and semicolons around it are fine.
///
/// # Errors
/// [`SqlError::Statement`]: there is none, there are several, or what there is does not parse.
pub(crate) fn parse(sql: &str) -> Result<Asked, SqlError> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| mistakes::of_tokens(sql, &error))?;
    let mut statements = DFParserBuilder::new(tokens.clone())
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| mistakes::of_syntax(sql, &tokens, &error))?;
    let count = statements.len();
    match statements.pop_front() {
        Some(statement) if count == 1 => Ok(Asked { statement, tokens }),
        Some(_) => Err(SqlError::Statement { message: format!("one statement at a time; this text has {count}") }),
        None => Err(SqlError::Statement { message: "there is no statement in this text".to_owned() }),
    }
}

impl Asked {
    /// Whether `name` stands there as an identifier: in any case unless it is quoted, not inside a string or a comment.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.tokens.iter().any(|token| match &token.token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase() == name,
            Token::Word(word) => word.value == name,
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sql: &str) -> String {
        parse(sql).unwrap_err().to_string()
    }

    #[test]
    fn an_identifier_is_found_in_any_case_and_not_inside_strings_or_comments() {
        let names = |sql: &str| parse(sql).unwrap().names("_embedding");
        for sql in [
            "SELECT _embedding FROM chat",
            "SELECT count(_EMBEDDING) FROM chat",
            "SELECT c._Embedding FROM chat c",
            "SELECT \"_embedding\" FROM chat",
        ] {
            assert!(names(sql), "{sql}");
        }
        for sql in [
            "SELECT * FROM logs WHERE message LIKE '%_embedding%'",
            "SELECT '_embedding' FROM chat",
            "SELECT 1 -- _embedding",
            "SELECT /* _embedding */ 1",
            "SELECT \"_EMBEDDING\" FROM chat",
            "SELECT my_embedding FROM chat",
        ] {
            assert!(!names(sql), "{sql}");
        }
    }

    #[test]
    fn a_text_holds_one_statement() {
        for sql in ["SELECT 1", "SELECT 1;", ";; SELECT 1 ; -- done\n;", "/* first; */ SELECT ';'"] {
            assert!(parse(sql).is_ok(), "{sql}");
        }
        for sql in ["", " \n", ";", "-- SELECT 1"] {
            assert_eq!(refused(sql), "there is no statement in this text", "{sql}");
        }
        assert_eq!(refused("SELECT 1; SELECT 2;"), "one statement at a time; this text has 2");
    }

    #[test]
    fn a_text_that_does_not_parse_is_shown_with_its_place() {
        let said = "expected an SQL statement, found SELEC\n --> line 1, column 1\n  |\n1 | SELEC 1\n  | ^^^^^";
        assert_eq!(refused("SELEC 1"), said);
        let said = "Unterminated string literal\n --> line 2, column 8\n  |\n2 | SELECT 'x\n  |        ^";
        assert_eq!(refused("-- größe\nSELECT 'x"), said);
        let unfinished = refused("SELECT text\nFROM");
        assert!(unfinished.contains("found the end of the statement\n --> line 2, column 5\n"), "{unfinished}");
        assert!(unfinished.ends_with("2 | FROM\n  |     ^"), "{unfinished}");
        assert!(!unfinished.contains("EOF"), "{unfinished}");
    }
}
