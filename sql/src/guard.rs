//! Only what reads: a statement that writes is refused by its name before it is planned, and a plan that writes once
//! more.

use crate::SqlError;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement as SqlStatement};

/// Words between `CREATE` and what is created.
const BETWEEN: &[&str] = &["OR", "REPLACE", "ALTER", "GLOBAL", "LOCAL", "TEMPORARY", "UNIQUE"];

/// Refuses every statement that is no question.
///
/// # Errors
/// [`SqlError::Writes`] with what SQL calls the statement.
pub fn only_questions(statement: &Statement) -> Result<(), SqlError> {
    match written(statement) {
        Some(found) => Err(SqlError::Writes { found }),
        None => Ok(()),
    }
}

/// Refuses every plan that creates, writes, copies or sets anything.
///
/// # Errors
/// [`SqlError::Writes`].
pub fn only_reads(plan: &LogicalPlan) -> Result<(), SqlError> {
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options.verify_plan(plan).map_err(|_| SqlError::Writes { found: "a statement that writes".to_owned() })
}

/// The name of the statement that would change something.
fn written(statement: &Statement) -> Option<String> {
    match statement {
        Statement::Statement(statement) => written_in_sql(statement),
        Statement::Explain(explain) => written(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => {
            Some(name(&statement.to_string()))
        }
    }
}

fn written_in_sql(statement: &SqlStatement) -> Option<String> {
    match statement {
        SqlStatement::Query(query) => written_in_query(query),
        SqlStatement::Explain { statement, .. } => written_in_sql(statement),
        other => {
            let name = name(&other.to_string());
            (!matches!(name.as_str(), "SHOW" | "DESCRIBE" | "DESC" | "EXPLAIN")).then_some(name)
        }
    }
}

fn written_in_query(query: &Query) -> Option<String> {
    let mut named = query.with.iter().flat_map(|with| &with.cte_tables);
    named.find_map(|cte| written_in_query(&cte.query)).or_else(|| written_in_body(&query.body))
}

fn written_in_body(mut body: &SetExpr) -> Option<String> {
    // A long chain of UNION is as deep on its left as it has parts: no recursion there.
    while let SetExpr::SetOperation { left, right, .. } = body {
        if let Some(found) = written_in_body(right) {
            return Some(found);
        }
        body = left;
    }
    match body {
        SetExpr::Select(select) => select.into.as_ref().map(|_| "SELECT INTO".to_owned()),
        SetExpr::Query(query) => written_in_query(query),
        SetExpr::Insert(statement)
        | SetExpr::Update(statement)
        | SetExpr::Delete(statement)
        | SetExpr::Merge(statement) => Some(name(&statement.to_string())),
        _ => None,
    }
}

/// What SQL calls the statement `text`: `INSERT`, `DROP TABLE`, `CREATE EXTERNAL TABLE`.
fn name(text: &str) -> String {
    let mut words = text.split_whitespace();
    let mut name = words.next().unwrap_or_default().to_uppercase();
    if matches!(name.as_str(), "CREATE" | "DROP" | "ALTER" | "START") {
        for word in words.filter(|word| !BETWEEN.contains(word)) {
            name = format!("{name} {word}");
            if !matches!(word, "EXTERNAL" | "MATERIALIZED") {
                break;
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement;
    use datafusion::execution::context::SessionContext;

    #[test]
    fn what_writes_is_called_as_sql_calls_it() {
        for (sql, called) in [
            ("INSERT INTO events SELECT 1", "INSERT"),
            ("insert into chat values (1)", "INSERT"),
            ("UPDATE chat SET text = 'x'", "UPDATE"),
            ("DELETE FROM chat", "DELETE"),
            ("TRUNCATE TABLE chat", "TRUNCATE"),
            ("DROP TABLE IF EXISTS chat", "DROP TABLE"),
            ("DROP VIEW mine", "DROP VIEW"),
            ("CREATE TABLE mine AS SELECT 1", "CREATE TABLE"),
            ("CREATE OR REPLACE VIEW mine AS SELECT 1", "CREATE VIEW"),
            ("CREATE TEMPORARY TABLE mine (a INT)", "CREATE TABLE"),
            ("CREATE SCHEMA mine", "CREATE SCHEMA"),
            ("CREATE EXTERNAL TABLE mine STORED AS CSV LOCATION '/tmp/mine.csv'", "CREATE EXTERNAL TABLE"),
            ("ALTER TABLE chat RENAME TO chatter", "ALTER TABLE"),
            ("COPY chat TO '/tmp/mine.csv'", "COPY"),
            ("SET datafusion.execution.batch_size = 1", "SET"),
            ("RESET datafusion.execution.batch_size", "RESET"),
            ("START TRANSACTION", "START TRANSACTION"),
            ("PREPARE mine AS SELECT 1", "PREPARE"),
            ("EXPLAIN ANALYZE INSERT INTO chat SELECT * FROM chat", "INSERT"),
            ("EXPLAIN DROP TABLE chat", "DROP TABLE"),
            ("WITH a AS (SELECT 1) INSERT INTO chat SELECT * FROM a", "INSERT"),
            ("SELECT * INTO mine FROM chat", "SELECT INTO"),
            ("SELECT 1 UNION ALL (SELECT * INTO mine FROM chat)", "SELECT INTO"),
        ] {
            let asked = statement::parse(sql).unwrap();
            match only_questions(&asked.statement) {
                Err(SqlError::Writes { found }) => assert_eq!(found, called, "{sql}"),
                other => panic!("{sql}: {other:?}"),
            }
        }
    }

    #[test]
    fn questions_pass() {
        for sql in [
            "SELECT 1",
            "(SELECT 1) UNION ALL SELECT 2 ORDER BY 1",
            "WITH a AS (SELECT 1) SELECT * FROM a",
            "VALUES (1)",
            "SHOW TABLES",
            "SHOW COLUMNS FROM chat",
            "SHOW datafusion.execution.batch_size",
            "DESCRIBE chat",
            "DESCRIBE SELECT 1",
            "EXPLAIN SELECT 1",
            "EXPLAIN ANALYZE VERBOSE SELECT 1",
        ] {
            only_questions(&statement::parse(sql).unwrap().statement).unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    }

    #[tokio::test]
    async fn a_plan_that_writes_is_refused_by_itself() {
        let state = SessionContext::new().state();
        for sql in ["SET datafusion.execution.batch_size = 1", "CREATE VIEW mine AS SELECT 1", "DROP TABLE mine"] {
            let plan = state.create_logical_plan(sql).await.unwrap();
            assert!(matches!(only_reads(&plan), Err(SqlError::Writes { .. })), "{sql}");
        }
        only_reads(&state.create_logical_plan("SELECT 1").await.unwrap()).unwrap();
    }
}
