//! What is refused once: a mistake of a declaration is not told again by the statements that name it.

use super::{CLICKS, refused_once};

#[test]
fn what_is_wrong_with_a_source_is_told_once() {
    for (declaration, words) in [
        ("t (a INTT) STORED AS KAFKA LOCATION 't'", "a column cannot be INTT"),
        ("t (a INT[]) STORED AS KAFKA LOCATION 't'", "tables keep no nested columns"),
        ("t (a STRUCT<x INT>) STORED AS KAFKA LOCATION 't'", "tables keep no nested columns"),
        ("t (a INT, a TEXT) STORED AS KAFKA LOCATION 't'", "column a is declared twice"),
        ("t (a INT) STORED AS KAFKA LOCATION 't' OPTIONS ('max_dissorder' '5s')", "did you mean `max_disorder`?"),
        ("t (a INT) STORED AS KAFKA LOCATION 't' OPTIONS ('max_disorder' 'soon')", "is no duration"),
        ("t (a INT) STORED AS KAFKA LOCATION 't' OPTIONS ('format' 'avro')", "format 'avro' is not supported yet"),
        ("t (a INT) STORED AS KAFKA LOCATION 't' OPTIONS ('format' 'jsno')", "did you mean `json`?"),
        ("t STORED AS KAFKA LOCATION 't' OPTIONS ('format' 'json')", "format 'json' needs columns"),
        (
            "t (a INT) STORED AS KAFKA LOCATION 't' OPTIONS ('event_time' 'b')",
            "event_time 'b' is not among the columns",
        ),
        ("t (a INT) STORED AS KAFKA LOCATION 't' OPTIONS ('event_time' 'a')", "event_time 'a' is a INT column"),
        ("t (a INT) STORED AS KAFKA LOCATION 't,u'", "cannot stand in a topic's name"),
        ("t (a INT) STORED AS KAFKAA LOCATION 't'", "did you mean `KAFKA`?"),
        ("t (a INT) STORED AS KAFKA", "this CREATE EXTERNAL TABLE has no LOCATION"),
        ("t (a INT) LOCATION 't'", "this CREATE EXTERNAL TABLE has no STORED AS"),
        ("t (a INT STORED AS KAFKA LOCATION 't'", "expected"),
    ] {
        for insert in [
            "INSERT INTO domains SELECT * FROM t",
            "INSERT INTO metrics.m SELECT a FROM t WHERE a > 1",
            "INSERT INTO metrics.m SELECT b FROM (SELECT a AS b FROM t) AS u",
            "INSERT INTO metrics.m WITH u AS (SELECT a FROM t) SELECT a FROM u",
        ] {
            refused_once(&format!("CREATE EXTERNAL TABLE {declaration};\n{insert};\n"), words);
        }
    }
    let broken = "CREATE EXTERNAL TABLE t (a INTT) STORED AS KAFKA LOCATION 't';\n";
    refused_once(
        &format!("{CLICKS}{broken}INSERT INTO domains SELECT url FROM clicks UNION ALL SELECT a FROM t;"),
        "INTT",
    );
    refused_once(
        "CREATE EXTERNAL TABLE a.t STORED AS KAFKA LOCATION 't';\nINSERT INTO domains SELECT * FROM a.t;",
        "plain name",
    );
}

#[test]
fn what_is_wrong_with_a_domain_is_told_once() {
    for (declaration, target, words) in [
        ("o (a INTT) STORED AS TIERED LOCATION 'o' OPTIONS ('phrases' 'p')", "o", "a column cannot be INTT"),
        ("o (a INT) STORED AS TIERED LOCATION 'o'", "o", "needs the option 'phrases'"),
        ("o (a INT) STORED AS TIERED LOCATION 'o'", "o.raw", "needs the option 'phrases'"),
        ("o (a INT) STORED AS TIERD LOCATION 'o'", "o", "did you mean `TIERED`?"),
        ("o (a INT) STORED AS TIERED", "o", "add LOCATION 'o'"),
        ("chat (mood INTT) STORED AS TIERED LOCATION 'chat'", "chat", "a column cannot be INTT"),
    ] {
        let insert = format!("INSERT INTO {target} SELECT url AS mood FROM clicks;\n");
        refused_once(&format!("{CLICKS}CREATE EXTERNAL TABLE {declaration};\n{insert}"), words);
    }
}

#[test]
fn a_source_that_only_a_refused_insert_reads_is_not_refused_too() {
    for (insert, words) in [
        ("INSERT INTO domains SELEC * FROM clicks", "expected"),
        ("INSERT INTO domains SELECT * FROM tumble(clicks, ts, INTERVAL '1 minute')", "windows are not supported yet"),
        ("SELECT * FROM clicks", "SELECT is not supported in a pipeline"),
    ] {
        refused_once(&format!("{CLICKS}{insert};\n"), words);
    }
}
