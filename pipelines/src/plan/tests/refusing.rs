//! What is refused: each with its place, its words, and the way out.

use super::{CLICKS, plan, refused_once};
use crate::plan::{Refusal, load, render, render_all};
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility, create_udf};
use proptest::prelude::{ProptestConfig, prop_assert, proptest};
use std::any::Any;
use std::sync::Arc;
use thermocline_schemas::domain::Registry;

/// Lines that [`CLICKS`] takes before the statement under test.
const LINES: usize = 2;

/// Asserts that `statement`, behind [`CLICKS`], is refused where `at` stands in it, with words that contain `words`.
fn refused(statement: &str, at: &str, words: &str) {
    let text = format!("{CLICKS}{statement}");
    let Err(refusals) = plan(&text) else { panic!("not refused: {statement}") };
    let report = render_all(&refusals, &[("test.sql", &text)]);
    let byte = statement.find(at).unwrap_or_else(|| panic!("{at:?} is not in {statement}"));
    let line = LINES + 1 + statement[..byte].matches('\n').count();
    let column = statement[..byte].rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let found = refusals.iter().any(|refusal| {
        (refusal.position.line, refusal.position.column) == (line, column)
            && refusal.to_string().to_lowercase().contains(&words.to_lowercase())
    });
    assert!(found, "wanted {line}:{column} {words:?} for {statement}\n{report}");
}

/// Asserts that `statement`, behind [`CLICKS`], is refused once, where `at` stands in it, with a way out: `help`.
fn refused_with_help(statement: &str, at: &str, words: &str, help: &str) {
    refused(statement, at, words);
    let text = format!("{CLICKS}{statement}");
    refused_once(&text, words);
    let refusal = &plan(&text).unwrap_err()[0];
    let found = refusal.help.as_deref().unwrap_or_default();
    assert!(found.contains(help), "wanted {help:?} for {statement}, found {found:?}");
}

#[test]
fn what_is_not_supported_yet_is_refused_by_name_where_it_stands() {
    for (query, at, words) in [
        ("SELECT url, count(*) AS n FROM clicks GROUP BY url", "GROUP", "GROUP BY is not supported yet"),
        ("SELECT url, count(*) AS n FROM clicks GROUP BY url", "count", "aggregate `count`"),
        ("SELECT sum(n) AS n FROM clicks", "sum", "aggregate `sum`"),
        ("SELECT url FROM clicks HAVING true", "HAVING", "HAVING is not supported yet"),
        ("SELECT DISTINCT url FROM clicks", "DISTINCT", "DISTINCT is not supported yet"),
        ("SELECT url FROM clicks ORDER BY url", "ORDER", "ORDER BY is not supported yet"),
        ("SELECT url FROM clicks LIMIT 3", "LIMIT", "LIMIT is not supported yet"),
        ("SELECT url FROM clicks OFFSET 3", "OFFSET", "OFFSET is not supported yet"),
        ("SELECT url FROM clicks FETCH FIRST 3 ROWS ONLY", "FETCH", "FETCH is not supported yet"),
        ("SELECT row_number() OVER (ORDER BY ts) AS r FROM clicks", "row_number", "window function `row_number`"),
        ("SELECT rank() AS r FROM clicks", "rank", "window function `rank`"),
        ("SELECT url FROM tumble(clicks, ts, INTERVAL '1 minute')", "tumble", "windows are not supported yet"),
        ("SELECT url FROM hop(clicks, ts)", "hop", "windows are not supported yet"),
        ("SELECT url FROM session(clicks, ts)", "session", "windows are not supported yet"),
        ("SELECT tumble(ts) AS w FROM clicks", "tumble", "windows are not supported yet"),
        ("SELECT a.url FROM clicks a JOIN clicks b ON a.n = b.n", "JOIN", "JOIN is not supported yet"),
        ("SELECT a.url FROM clicks a, clicks b", "clicks b", "join"),
        ("SELECT url FROM clicks WHERE n IN (SELECT 1)", "n IN", "subquery"),
        ("SELECT (SELECT 1) AS x FROM clicks", "SELECT 1", "subquery"),
        ("SELECT url FROM clicks UNION SELECT url FROM clicks", "UNION", "UNION is not supported yet"),
        ("SELECT url FROM clicks EXCEPT SELECT url FROM clicks", "EXCEPT", "EXCEPT is not supported yet"),
        ("SELECT url FROM clicks INTERSECT SELECT url FROM clicks", "INTERSECT", "INTERSECT is not supported yet"),
        ("WITH RECURSIVE t AS (SELECT url FROM clicks) SELECT url FROM t", "RECURSIVE", "RECURSIVE is not supported"),
        ("SELECT url FROM (SELECT url FROM clicks UNION ALL SELECT url FROM clicks) t", "UNION", "inside a subquery"),
        ("SELECT unnest(make_array(1)) AS x FROM clicks", "unnest", "unnest"),
        ("SELECT u FROM UNNEST(make_array(1)) AS u", "UNNEST", "UNNEST is not supported yet"),
        ("SELECT url FROM clicks QUALIFY true", "QUALIFY", "QUALIFY is not supported yet"),
        ("VALUES (1)", "VALUES", "VALUES is not supported"),
        ("SELECT 1 AS x", "SELECT", "needs a FROM"),
        ("SELECT url FROM clicks WHERE n = $1", "$1", "stands for nothing"),
    ] {
        refused(&format!("INSERT INTO metrics.t\n  {query};"), at, words);
    }
}

#[test]
fn what_the_planner_would_leave_out_without_a_word_is_refused() {
    for (query, at, words) in [
        ("FROM clicks", "FROM", "FROM without SELECT is not supported yet"),
        ("FROM clicks SELECT url", "SELECT url", "FROM before SELECT is not supported yet"),
        ("SELECT FROM clicks", "SELECT", "this SELECT selects nothing"),
        ("SELECT url FROM (FROM clicks) t", "FROM clicks", "FROM without SELECT"),
        ("SELECT upper(DISTINCT url) AS x FROM clicks", "DISTINCT", "DISTINCT means nothing to the function `upper`"),
        ("SELECT upper(url ORDER BY n) AS x FROM clicks", "ORDER", "ORDER BY means nothing"),
        ("SELECT upper(url LIMIT 1) AS x FROM clicks", "LIMIT", "LIMIT means nothing"),
        ("SELECT upper(url) FILTER (WHERE n > 1) AS x FROM clicks", "FILTER", "FILTER means nothing"),
        ("SELECT upper(url) IGNORE NULLS AS x FROM clicks", "NULLS", "NULLS means nothing"),
        ("SELECT upper(url) WITHIN GROUP (ORDER BY n) AS x FROM clicks", "WITHIN", "WITHIN GROUP means nothing"),
        ("SELECT x FROM (SELECT url FROM clicks) AS t (x INT)", "x INT", "a type in an alias"),
    ] {
        refused(&format!("INSERT INTO metrics.t\n  {query};"), at, words);
    }
    refused("INSERT INTO domains FROM clicks;", "FROM", "FROM without SELECT");
    refused("INSERT INTO domains SELECT * ILIKE 'u%' FROM clicks;", "ILIKE", "ILIKE is not supported yet");
}

#[test]
fn functions_that_differ_on_replay_are_refused_by_name() {
    for name in ["now()", "random()", "uuid()", "current_date()", "current_time()", "current_timestamp()", "today()"] {
        let at = name.trim_end_matches("()");
        refused(&format!("INSERT INTO metrics.t SELECT {name} AS x FROM clicks;"), at, "another result each time");
    }
    refused("INSERT INTO metrics.t SELECT n FROM clicks WHERE ts < CURRENT_TIMESTAMP;", "CURRENT_TIMESTAMP", "replay");
    refused("INSERT INTO metrics.t SELECT n FROM (SELECT now() AS t, n FROM clicks);", "now", "replay");
    refused("INSERT INTO metrics.t SELECT uper(url) AS x FROM clicks;", "uper", "did you mean `upper`");
    refused("INSERT INTO metrics.t SELECT user AS x FROM clicks;", "user AS", "double quotes");
}

/// A function that would have to wait for an answer.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Asks(Signature);

impl ScalarUDFImpl for Asks {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        "asks"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal("it is asked, not invoked".to_owned()))
    }
}

#[async_trait::async_trait]
impl AsyncScalarUDFImpl for Asks {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(args.args[0].clone())
    }
}

#[test]
fn async_functions_are_refused_by_name() {
    let asks = Asks(Signature::exact(vec![DataType::Utf8], Volatility::Immutable));
    let functions = |_: &Registry| vec![AsyncScalarUDF::new(Arc::new(asks)).into_scalar_udf()];
    let text = format!("{CLICKS}INSERT INTO metrics.t SELECT asks(url) AS x FROM clicks;");
    let refusals = load(&[("test.sql", &text)], &mut Registry::shipped(), functions).unwrap_err();
    assert_eq!(refusals[0].message, "the async function `asks` is not supported yet");
    assert_eq!((refusals[0].position.line, refusals[0].position.column), (3, 30));
}

#[test]
fn a_function_that_gives_another_type_than_it_declares_is_refused() {
    if cfg!(debug_assertions) {
        return println!("skipped: DataFusion checks types by itself here, row by row");
    }
    let lies = |_: &Registry| {
        let body = |_: &[ColumnarValue]| Ok(ColumnarValue::Array(Arc::new(Int64Array::from(vec![1])) as ArrayRef));
        vec![create_udf("lies", vec![DataType::Int32], DataType::Utf8, Volatility::Immutable, Arc::new(body))]
    };
    let text = format!("{CLICKS}INSERT INTO metrics.t\n  SELECT lies(n) AS x FROM clicks;");
    let refusals = load(&[("test.sql", &text)], &mut Registry::shipped(), lies).unwrap_err();
    assert_eq!(refusals[0].message, "x is declared as Utf8, and its function gives Int64");
    assert_eq!((refusals[0].position.line, refusals[0].position.column), (4, 3));
}

#[test]
fn unknown_names_are_refused_with_near_misses() {
    refused("INSERT INTO domains SELECT * FROM click;", "click;", "did you mean `clicks`");
    refused("INSERT INTO domains SELECT * FROM zebra;", "zebra", "the sources are `clicks`");
    refused("INSERT INTO metrics.t SELECT usr_id FROM clicks;", "usr_id", "did you mean `user_id`");
    refused("INSERT INTO metrics.t SELECT zebra FROM clicks;", "zebra", "the columns are `_headers`");
    refused("INSERT INTO metrics.t SELECT n FROM clicks\nWHERE c.user_id > 3;", "c.user_id", "it reads `clicks`");
    refused("INSERT INTO metrics.t SELECT click.n FROM clicks;", "click.n", "did you mean `clicks`");
    refused("INSERT INTO metrics.t SELECT \"URL\" AS u FROM clicks;", "\"URL\"", "did you mean `url`");
    refused("INSERT INTO cat SELECT url FROM clicks;", "cat", "did you mean `chat`");
    refused("INSERT INTO zebra.t SELECT url FROM clicks;", "zebra.t", "there is no domain `zebra`");
    refused("INSERT INTO chat SELECT url AS txt FROM clicks;", "txt", "did you mean `text`");
    refused("INSERT INTO chat SELECT * FROM clicks;", "*", "chat has no column url");
    let quoted = "CREATE EXTERNAL TABLE \"Taps\" (\"userId\" INT) STORED AS KAFKA LOCATION 'taps';\n";
    let insert = "INSERT INTO domains SELECT * FROM clicks;\n";
    refused(&format!("{quoted}{insert}INSERT INTO domains SELECT * FROM Taps;"), "Taps;", "write \"Taps\"");
    refused(
        &format!("{quoted}{insert}INSERT INTO metrics.t SELECT userId AS id FROM \"Taps\";"),
        "userId AS",
        "write \"userId\"",
    );
}

#[test]
fn what_the_planner_refuses_is_told_in_words_of_sql() {
    for (query, at, words, help) in [
        ("SELECT url, url FROM clicks", "url FROM", "two columns are called `url`", "... AS name"),
        ("SELECT n AS x, url AS x FROM clicks", "x FROM", "two columns are called `x`", "... AS name"),
        ("SELECT n AS url, url FROM clicks", "url FROM", "two columns are called `url`", "... AS name"),
        ("SELECT url, clicks.url FROM clicks", "clicks.url", "two columns are called `url`", "... AS name"),
        ("SELECT *, upper(url) AS url FROM clicks", "url FROM", "two columns are called `url`", "* EXCEPT (url)"),
        ("SELECT url FROM (SELECT n, n, url FROM clicks) t", "n, url", "two columns are called `n`", "... AS name"),
        ("SELECT url + 1 AS x FROM clicks", "url", "`+` does not take TEXT and BIGINT", "CAST(... AS BIGINT)"),
        ("SELECT url, n + ok AS x FROM clicks", "n + ok", "`+` does not take INT and BOOLEAN", "CAST(... AS INT)"),
        ("SELECT n FROM clicks\nWHERE upper(n, n) = 'x'", "upper", "`upper` does not take (INT, INT)", "1 argument"),
        (
            "SELECT n FROM clicks UNION ALL SELECT n, url FROM clicks",
            "SELECT n FROM",
            "have different numbers of columns",
            "in the same order",
        ),
    ] {
        refused_with_help(&format!("INSERT INTO metrics.t\n  {query};"), at, words, help);
    }
}

#[test]
fn targets_that_mean_something_else_are_refused() {
    for target in ["dead_letters", "events", "domains.t", "events.t"] {
        refused(&format!("INSERT INTO {target} SELECT * FROM clicks;"), target, "cannot be inserted");
    }
    refused("INSERT INTO a.b.c SELECT * FROM clicks;", "a.b.c", "no table name");
    refused("INSERT INTO metrics.b.c SELECT n FROM clicks;", "metrics.b.c", "no table name");
    refused("INSERT INTO metrics.\"T\" SELECT n FROM clicks;", "metrics.", "no table name");
    for (target, help) in [
        ("public.chat", "leave `public.` out: INSERT INTO chat"),
        ("system.t", "mean something else"),
        ("information_schema.tables", "mean something else"),
        ("public", "mean something else"),
    ] {
        let insert = format!("INSERT INTO {target} SELECT url AS text FROM clicks;");
        refused_with_help(&insert, target, &format!("rows cannot be inserted into `{target}`"), help);
    }
}

#[test]
fn an_insert_has_no_clauses() {
    refused("INSERT INTO metrics.t (a) SELECT n FROM clicks;", "a)", "bound by name");
    refused("INSERT OVERWRITE metrics.t SELECT n FROM clicks;", "OVERWRITE", "OVERWRITE");
    refused("INSERT INTO metrics.t SELECT n FROM clicks RETURNING n;", "RETURNING", "RETURNING");
    refused("INSERT INTO metrics.t SELECT n FROM clicks ON CONFLICT DO NOTHING;", "ON", "ON");
    refused("INSERT INTO metrics.t VALUES (1);", "VALUES", "rows come from a source");
}

#[test]
fn other_statements_are_refused_by_name() {
    for (statement, words) in [
        ("CREATE TABLE t (a INT)", "CREATE TABLE is not supported in a pipeline"),
        ("CREATE VIEW v AS SELECT 1", "CREATE VIEW is not supported in a pipeline"),
        ("DROP TABLE t", "DROP TABLE is not supported in a pipeline"),
        ("SELECT * FROM clicks", "SELECT is not supported in a pipeline"),
        ("COPY clicks TO 'x.parquet'", "COPY is not supported in a pipeline"),
        ("SET a = 1", "SET is not supported in a pipeline"),
        ("EXPLAIN SELECT 1", "EXPLAIN is not supported in a pipeline"),
        ("DELETE FROM clicks", "DELETE is not supported in a pipeline"),
        ("UPDATE clicks SET n = 1", "UPDATE is not supported in a pipeline"),
    ] {
        refused(&format!("{statement};"), statement, words);
    }
}

#[test]
fn columns_need_names_and_types_that_tables_keep() {
    for (items, at, words) in [
        ("upper(url)", "upper", "this column has no name"),
        ("make_array(n) AS a", "make_array", "tables keep no column of type"),
        ("named_struct('x', n) AS s", "named_struct", "s['x']"),
        ("NULL AS x", "NULL", "CAST(NULL AS TEXT)"),
        ("n, INTERVAL '1 day' AS i", "INTERVAL", "tables keep no column of type"),
        ("n AS a, n AS \"A\"", "n AS \"A\"", "differ only by case"),
        ("n AS \"my column\"", "\"my column\"", "cannot keep a column called"),
        ("n AS \"Event_Time\"", "\"Event_Time\"", "differs only by case from the system column event_time"),
        ("n IS DISTINCT FROM 3 AS x, named_struct('a', n) AS y", "named_struct", "y['a']"),
        ("n AS _offset", "_offset", "system column"),
        ("_partition", "_partition", "AS partition"),
        ("n AS _tier", "_tier", "system column"),
        ("url AS event_time, n", "url", "event_time should be TIMESTAMP, and is TEXT"),
        ("n AS event_time, url", "n AS", "to_timestamp_millis"),
        ("n AS attributes, url", "n AS", "attributes should be TEXT"),
        ("ts AS event_time", "SELECT", "would have no column of its own"),
    ] {
        refused(&format!("INSERT INTO metrics.t\nSELECT {items} FROM clicks;"), at, words);
    }
    refused(
        "INSERT INTO metrics SELECT url AS name, user_id AS value FROM clicks;",
        "user_id",
        "CAST(value AS DOUBLE)",
    );
    refused("INSERT INTO metrics SELECT url AS value FROM clicks;", "url", "CAST(value AS DOUBLE)");
    refused(
        "INSERT INTO metrics.t SELECT n AS a FROM clicks;\nINSERT INTO metrics.t SELECT user_id AS a FROM clicks;",
        "user_id",
        "column a is INT in metrics.t, and BIGINT here",
    );
    refused(
        "INSERT INTO metrics.t SELECT n AS a FROM clicks;\nINSERT INTO metrics.t SELECT price AS \"A\" FROM clicks;",
        "price",
        "differ only by case",
    );
}

#[test]
fn declared_columns_that_are_called_like_system_columns_need_another_name_in_a_table() {
    let source = "CREATE EXTERNAL TABLE s (_key TEXT, n INT) STORED AS KAFKA LOCATION 's';\n";
    for target in ["metrics.t", "metrics"] {
        for (items, at) in [("*", "* FROM s"), ("_key, n", "_key, n FROM")] {
            let insert = format!("{source}INSERT INTO {target} SELECT {items} FROM s;");
            refused(&insert, at, "write `_key AS key`");
        }
    }
    refused(&format!("{source}INSERT INTO domains SELECT n, _offset FROM s;"), "_offset", "every row has it already");
    refused(&format!("{source}INSERT INTO domains SELECT n AS _key FROM s;"), "_key FROM s", "system column");
}

#[test]
fn the_same_insert_twice_is_refused() {
    let insert = "INSERT INTO metrics.t SELECT n FROM clicks";
    refused(
        &format!("{insert};\n\n  {} -- again\n;", insert.replace("SELECT", "select")),
        "metrics.t select",
        "same INSERT",
    );
    refused("INSERT INTO metrics.t SELECT n FROM clicks UNION ALL SELECT n FROM clicks;", "metrics.t", "same INSERT");
}

#[test]
fn sources_are_declared_with_what_they_can_do() {
    let source = |columns: &str, rest: &str| format!("CREATE EXTERNAL TABLE s {columns} STORED AS KAFKA {rest};");
    let insert = "\nINSERT INTO domains SELECT * FROM s;";
    for (columns, rest, at, words) in [
        ("", "LOCATION 'a' OPTIONS ('formta' 'json')", "'formta'", "did you mean `format`"),
        ("", "LOCATION 'a' OPTIONS ('format' 'avro')", "'avro'", "format 'avro' is not supported yet"),
        ("", "LOCATION 'a' OPTIONS ('format' 'jsno')", "'jsno'", "did you mean `json`"),
        ("", "LOCATION 'a' OPTIONS ('format' 'json')", "'json'", "format 'json' needs columns"),
        ("(a INT)", "LOCATION 'a' OPTIONS ('format' 'auto')", "'auto'", "no columns of its own"),
        ("", "LOCATION 'a' OPTIONS ('event_time' 'ts')", "'event_time'", "without columns"),
        ("(ts TIMESTAMP)", "LOCATION 'a' OPTIONS ('event_time' 'tts')", "'tts'", "did you mean `ts`"),
        ("(ts BIGINT)", "LOCATION 'a' OPTIONS ('event_time' 'ts')", "'ts'", "declare it as ts TIMESTAMP"),
        ("(ts DATE)", "LOCATION 'a' OPTIONS ('event_time' 'ts')", "'ts'", "DATE column"),
        ("", "LOCATION 'a' OPTIONS ('max_disorder' 'soon')", "'soon'", "is no duration"),
        ("", "LOCATION 'a' OPTIONS ('idle_after' '5')", "'5'", "write whole numbers with units"),
        ("", "LOCATION 'a' OPTIONS ('idle_after' '5s', 'idle_after' '6s')", "'idle_after' '6s'", "said twice"),
        ("", "LOCATION 'a' OPTIONS ('allowed_lateness' '5s')", "'allowed_lateness'", "not supported yet"),
        ("", "LOCATION 'a,b'", "'a,b'", "cannot stand in a topic's name"),
        ("", "LOCATION ''", "''", "LOCATION is empty"),
        ("(location TEXT, options INT)", "LOCATION 'a b' OPTIONS ('x' 'y')", "'a b'", "' ' cannot stand"),
        ("(location TEXT, options INT)", "LOCATION 'a' OPTIONS ('x' 'y')", "'x'", "no option 'x'"),
        ("(a INT, a TEXT)", "LOCATION 'a'", "a TEXT", "declared twice"),
        ("(\"id\" INT, \"ID\" TEXT)", "LOCATION 'a'", "\"ID\"", "differ only by case"),
        ("(userId INT)", "LOCATION 'a'", "userId", "write userid, or \"userId\""),
        ("(a INT NOT NULL)", "LOCATION 'a'", "a INT", "NOT NULL is not supported yet"),
        ("(a INT[])", "LOCATION 'a'", "INT[]", "no nested columns"),
        ("(a STRUCT<x INT>)", "LOCATION 'a'", "STRUCT", "no nested columns"),
        ("(a JSON)", "LOCATION 'a'", "JSON", "declare it TEXT"),
        ("(a TIME)", "LOCATION 'a'", "TIME", "declare it TEXT"),
        ("(a UUID)", "LOCATION 'a'", "UUID", "tables keep TEXT"),
        ("(a TINYINT)", "LOCATION 'a'", "TINYINT", "write INT"),
        ("(a SMALLINT)", "LOCATION 'a'", "SMALLINT", "write INT"),
        ("(a INT(11))", "LOCATION 'a'", "INT(11)", "write INT"),
        ("(a INT UNSIGNED)", "LOCATION 'a'", "INT UNSIGNED", "write BIGINT"),
        ("(a BIGINT UNSIGNED)", "LOCATION 'a'", "BIGINT UNSIGNED", "write DECIMAL(20, 0)"),
        ("(a VARCHAR(10))", "LOCATION 'a'", "VARCHAR(10)", "write TEXT"),
        ("(a CHAR)", "LOCATION 'a'", "CHAR)", "write TEXT"),
        ("(a TIMESTAMP(3))", "LOCATION 'a'", "TIMESTAMP(3)", "write TIMESTAMP"),
        ("(a FLOAT(54))", "LOCATION 'a'", "FLOAT(54)", "write REAL or DOUBLE"),
        ("(a DECIMAL(40, 2))", "LOCATION 'a'", "DECIMAL", "1 to 38 digits"),
        ("(a INT)", "PARTITIONED BY (a) LOCATION 'a'", "PARTITIONED", "PARTITIONED BY is not supported here"),
        ("(a INT)", "WITH ORDER (a ASC) LOCATION 'a'", "WITH", "WITH ORDER is not supported here"),
    ] {
        refused(&format!("{}{insert}", source(columns, rest)), at, words);
    }
    let of = |text: &str| format!("{text}{insert}");
    refused(
        &of("CREATE EXTERNAL TABLE s STORED AS PARQUET LOCATION 'a';"),
        "PARQUET",
        "STORED AS PARQUET is not supported",
    );
    refused(&of("CREATE EXTERNAL TABLE s STORED AS KAFKAA LOCATION 'a';"), "KAFKAA", "did you mean `KAFKA`");
    refused(&of("CREATE EXTERNAL TABLE a.s STORED AS KAFKA LOCATION 'a';"), "a.s", "plain name");
    refused(&of("CREATE UNBOUNDED EXTERNAL TABLE s STORED AS KAFKA LOCATION 'a';"), "UNBOUNDED", "not supported here");
    refused(&of("CREATE OR REPLACE EXTERNAL TABLE s STORED AS KAFKA LOCATION 'a';"), "OR", "not supported here");
    refused(&of("CREATE EXTERNAL TABLE s LOCATION 'a';"), "CREATE", "add STORED AS KAFKA for a source");
    refused(&of("CREATE EXTERNAL TABLE s STORED AS KAFKA;"), "CREATE", "add LOCATION 'topic'");
    refused(&of("CREATE EXTERNAL TABLE s STORED AS KAFKA LOCATION 'a' LOCATION 'b';"), "LOCATION 'b'", "said twice");
    refused(
        &of("CREATE EXTERNAL TABLE s STORED AS KAFKA DELIMITER ',' LOCATION 'a';"),
        "DELIMITER",
        "not supported here (leave it out)",
    );
    refused("CREATE EXTERNAL TABLE s STORED AS KAFKA LOCATION 'a';", "s STORED", "source s is never read");
    refused(
        "CREATE EXTERNAL TABLE clicks STORED AS KAFKA LOCATION 'a';",
        "clicks",
        "declared already, at test.sql:1:23",
    );
}

#[test]
fn domains_are_declared_with_what_they_can_do() {
    let insert = "\nINSERT INTO domains SELECT * FROM clicks;";
    let phrases = "OPTIONS ('phrases' 'order number; basket')";
    for (create, at, words) in [
        (format!("orders (a TEXT) STORED AS TIERED LOCATION 'order' {phrases}"), "'order'", "write LOCATION 'orders'"),
        ("orders (a TEXT) STORED AS TIERED LOCATION 'orders'".to_owned(), "orders", "needs the option 'phrases'"),
        (format!("events (a TEXT) STORED AS TIERED LOCATION 'events' {phrases}"), "events", "cannot be a domain"),
        (format!("domains STORED AS TIERED LOCATION 'domains' {phrases}"), "domains", "cannot be a domain"),
        (format!("system (a TEXT) STORED AS TIERED LOCATION 'system' {phrases}"), "system", "cannot be a domain"),
        (format!("public (a TEXT) STORED AS TIERED LOCATION 'public' {phrases}"), "public", "cannot be a domain"),
        (
            format!("information_schema (a TEXT) STORED AS TIERED LOCATION 'information_schema' {phrases}"),
            "information_schema",
            "cannot be a domain",
        ),
        (
            format!("metrics.t (a TEXT) STORED AS TIERED LOCATION 'metrics.t' {phrases}"),
            "metrics.t",
            "not the name of a domain",
        ),
        (format!("o (_offset BIGINT) STORED AS TIERED LOCATION 'o' {phrases}"), "_offset", "system column"),
        (format!("o (event_time TIMESTAMP) STORED AS TIERED LOCATION 'o' {phrases}"), "event_time", "system column"),
        (format!("o (\"_Key\" TEXT) STORED AS TIERED LOCATION 'o' {phrases}"), "\"_Key\"", "system column"),
        (format!("o (\"a b\" TEXT) STORED AS TIERED LOCATION 'o' {phrases}"), "\"a b\"", "cannot keep a column"),
        ("chat (text INT) STORED AS TIERED LOCATION 'chat'".to_owned(), "text", "of type TEXT"),
        ("chat (\"Text\" TEXT) STORED AS TIERED LOCATION 'chat'".to_owned(), "\"Text\"", "differ only by case"),
        (
            "chat STORED AS TIERED LOCATION 'chat' OPTIONS ('hot_for' '9 days', 'warm_for' '8 days')".to_owned(),
            "TIERED",
            "hot_for is longer than warm_for",
        ),
        (
            "chat STORED AS TIERED LOCATION 'chat' OPTIONS ('text_columns' 'txet')".to_owned(),
            "'txet'",
            "did you mean `text`",
        ),
        (
            "metrics STORED AS TIERED LOCATION 'metrics' OPTIONS ('text_columns' 'value')".to_owned(),
            "'value'",
            "not TEXT",
        ),
        (
            "chat STORED AS TIERED LOCATION 'chat' OPTIONS ('hotfor' '1 day')".to_owned(),
            "'hotfor'",
            "did you mean `hot_for`",
        ),
    ] {
        refused(&format!("CREATE EXTERNAL TABLE {create};{insert}"), at, words);
    }
}

#[test]
fn what_does_not_parse_is_refused_where_the_parser_stops() {
    refused("INSERT INTO domains SELEC * FROM clicks;", "SELEC", "expected");
    refused("INSERT INTO metrics.t SELECT n AS order FROM clicks WHERE;", ";", "expected an expression");
    refused("INSERT INTO metrics.t SELECT 'x FROM clicks;", "'x", "Unterminated");
    refused("CREATE EXTERNAL TABLE s STORED AS KAFKA LOCATION;", ";", "expected");
    let deep = format!("INSERT INTO metrics.t SELECT {}1{} AS x FROM clicks;", "(".repeat(200), ")".repeat(200));
    refused(&deep, "INSERT", "nested too deep");
}

#[test]
fn all_refusals_of_all_files_come_in_one_report_and_the_registry_stays() {
    let first = "CREATE EXTERNAL TABLE a STORED AS KAFKA LOCATION 'a' OPTIONS ('x' 'y');\nSELEC 1;\n";
    let second = "CREATE EXTERNAL TABLE o (a TEXT) STORED AS TIERED LOCATION 'o' OPTIONS ('phrases' 'p');\n\
                  INSERT INTO domains SELECT now() AS x FROM a ORDER BY 1;\nINSERT INTO domains SELECT * FROM b;\n";
    let mut registry = Registry::shipped();
    let before = registry.len();
    let refusals = load(&[("one.sql", first), ("two.sql", second)], &mut registry, |_| vec![]).unwrap_err();
    let places: Vec<(&str, usize, usize)> = refusals
        .iter()
        .map(|refusal| (&*refusal.position.file, refusal.position.line, refusal.position.column))
        .collect();
    assert_eq!(
        places,
        [("one.sql", 1, 63), ("one.sql", 2, 1), ("two.sql", 2, 28), ("two.sql", 2, 46), ("two.sql", 3, 35)],
        "{}",
        render_all(&refusals, &[("one.sql", first), ("two.sql", second)])
    );
    assert_eq!(registry.len(), before);
}

#[test]
fn an_empty_file_is_refused() {
    for text in ["", "-- nothing\n", ";;"] {
        let refusals = plan(text).unwrap_err();
        assert_eq!(refusals[0].message, "there is no INSERT");
    }
}

#[test]
fn places_count_characters_and_reports_underline_them() {
    let text = "CREATE EXTERNAL TABLE s STORED AS KAFKA LOCATION 'a';\r\nINSERT INTO metrics.t\r\n  \
                SELECT 'größe: ✓' AS x, now() AS y FROM s;\r\n";
    let refusals: Vec<Refusal> = plan(text).unwrap_err();
    assert_eq!((refusals[0].position.line, refusals[0].position.column, refusals[0].length), (3, 27, 3));
    insta::assert_snapshot!(render(&refusals[0], "test.sql", text));
}

#[test]
fn reports_read_like_those_of_a_compiler() {
    let text = "CREATE EXTERNAL TABLE clicks (user_id BIGINT, url TEXT, ts TIMESTAMP)\n  \
                STORED AS KAFKA LOCATION 'clicks'\n  \
                OPTIONS ('format' 'json', 'event_time' 'tts', 'max_dissorder' '5 seconds');\n\n\
                INSERT INTO metrics.clicks_per_minute\n  SELECT url, count(*) AS clicks\n  \
                FROM clicks GROUP BY url;\n\n\
                INSERT INTO cat SELECT user_id, url AS text FROM clicks WHERE user_id > 3 AND random() < 0.1;\n";
    let refusals = plan(text).unwrap_err();
    insta::assert_snapshot!(render_all(&refusals, &[("test.sql", text)]));
}

#[test]
fn refusals_of_the_planner_have_places_too() {
    let text = format!(
        "{CLICKS}INSERT INTO metrics.t\n  SELECT user_id,\n    urrl, n\n  FROM clicks\n  WHERE upper(url, 1) = 'X';\n"
    );
    let refusals = plan(&text).unwrap_err();
    insta::assert_snapshot!(render_all(&refusals, &[("test.sql", &text)]));
}

/// Everything that the language has, in one file.
const WHOLE: &str = concat!(
    include_str!("../../../sql/events.sql"),
    include_str!("../../../sql/examples/clicks.sql"),
    include_str!("../../../sql/examples/orders.sql"),
);

/// The nearest place in [`WHOLE`] at `byte` or behind it where it can be cut.
fn cut(byte: usize) -> usize {
    (byte..WHOLE.len()).find(|byte| WHOLE.is_char_boundary(*byte)).unwrap_or(WHOLE.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_is_refused_at_a_place_inside_it(
        at in 0..WHOLE.len(),
        length in 0..40usize,
        put in "[-(),;'\"* a-z0-9.é]{0,4}",
    ) {
        let text = format!("{}{put}{}", &WHOLE[..cut(at)], &WHOLE[cut(at + length)..]);
        if let Err(refusals) = plan(&text) {
            prop_assert!(!refusals.is_empty());
            for refusal in refusals {
                let line = text.split('\n').nth(refusal.position.line - 1);
                let characters = line.map_or(0, |line| line.chars().count());
                prop_assert!(refusal.position.column <= characters + 1, "{refusal} in a line of {characters}");
                prop_assert!(!render(&refusal, "test.sql", &text).is_empty());
            }
        }
    }
}
