//! What can be typed: help that a newcomer can follow, answers for people and for scripts, errors that say the way out.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use thermocline_tests::{Broker, Command, Site, consume_all, on_both_brokers, repository};

/// Every command, with words that its help must have.
const COMMANDS: &[(&[&str], &[&str])] = &[
    (
        &[],
        &[
            "up",
            "broker",
            "produce",
            "sql",
            "check",
            "status",
            "verify",
            "mappings",
            "dead-letters",
            "resume",
            "reset-offsets",
            "bench",
            "demo",
        ],
    ),
    (&["up"], &["--data", "--kafka", "--kafka-port", "--pipeline", "--workers", "--once", "9092"]),
    (&["broker"], &["--data", "--port"]),
    (&["produce"], &["--kafka", "--topic", "--key-field", "--partition", "--shift-time", "FILE", "gzip"]),
    (&["sql"], &["--data", "--format", "table", "json", "csv"]),
    (&["check"], &["FILE", "--json"]),
    (&["status"], &["--data", "--json"]),
    (&["verify"], &["--data", "--json", "status 1"]),
    (&["mappings"], &["--data", "--json"]),
    (&["dead-letters"], &["list"]),
    (&["dead-letters", "list"], &["--data", "--topic", "--limit", "--json"]),
    (&["resume"], &["--data", "--topic"]),
    (&["reset-offsets"], &["--data", "--topic", "--to", "earliest", "latest", "OFFSET"]),
    (&["bench"], &["classify", "stream"]),
    (&["bench", "classify"], &["--json"]),
    (&["bench", "stream"], &["--json"]),
    (&["demo"], &["--data"]),
];

fn words(line: &[&str]) -> Command {
    match line {
        [] => unreachable!("a command has a name"),
        [name, rest @ ..] => Command::new(name).args(rest),
    }
}

#[test]
fn every_command_has_help_for_a_newcomer() {
    for (command, wanted) in COMMANDS {
        let line: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        let help = words(&line).ok();
        for word in *wanted {
            assert!(help.stdout.contains(word), "{command:?} --help should say {word:?}:\n{help}");
        }
        // Every option says what it does: clap puts the text on the same line or below.
        let said = help.stdout.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        assert!(said.len() > 15 && !said.starts_with("Usage"), "help begins with what the command does:\n{help}");
    }
}

#[test]
fn errors_say_the_way_out() {
    let site = Site::with_own_broker();
    let data = site.data();
    let reset: &[&str] = &["reset-offsets", "--topic", "t", "--to", "earliest"];
    let others: [&[&str]; 5] = [&["status"], &["verify"], &["mappings"], &["resume"], &["dead-letters", "list"]];
    for line in others.into_iter().chain([reset]) {
        let done = words(line).arg("--data").arg(&data).run().ended_with(1);
        done.says(&["error: ", &data.display().to_string(), "thermocline up --data"]);
    }
    site.command("sql").arg("SELECT 1").run().ended_with(1).says(&["thermocline up --data"]);
    assert!(!data.exists(), "asking makes no data directory");

    let missing = site.data().join("missing.jsonl");
    let broker = Broker::embedded();
    let produce = Command::new("produce").args(["--kafka", broker.bootstrap(), "--topic", "t"]);
    produce.arg(&missing).run().ended_with(1).says(&["missing.jsonl"]);
    let missing = site.data().join("missing.sql");
    site.command("up").arg("--pipeline").arg(&missing).run().ended_with(1).says(&["missing.sql"]);
    site.command("up").args(["--kafka-property", "nothing"]).run().ended_with(2).says(&["NAME=VALUE"]);
    Command::new("upp").run().ended_with(2).says(&["up"]);
}

#[test]
fn an_address_where_nobody_answers_is_named() {
    let site = Site::with_own_broker();
    let nobody = "127.0.0.1:1";
    let records = site.file("records.jsonl", "{\"a\":1}\n");
    let produce = Command::new("produce").args(["--kafka", nobody, "--topic", "t"]).arg(&records);
    let up = site.command("up").args(["--once", "--kafka", nobody]);
    // Both wait for the broker for a while.
    std::thread::scope(|scope| {
        for command in [produce, up] {
            scope.spawn(|| command.run().ended_with(1).says(&["error: ", nobody, "correct the address"]));
        }
    });
}

#[test]
fn check_prints_the_graph_of_what_ships() {
    let file = repository().join("pipelines/sql/events.sql");
    let checked = Command::new("check").arg(&file).ok();
    for word in ["source ", "branch at ", "classify", "domains"] {
        assert!(checked.stdout.contains(word), "{checked}");
    }
    let json = Command::new("check").arg(&file).json();
    assert_eq!((&json["ok"], json["graph"].as_str()), (&true.into(), Some(checked.stdout.as_str())));
}

#[test]
fn check_refuses_with_line_column_reason_and_status_1() {
    let site = Site::with_own_broker();
    let source =
        "CREATE EXTERNAL TABLE clicks (user_id BIGINT, url TEXT, ts TIMESTAMP)\n  STORED AS KAFKA LOCATION 'clicks';\n";
    let cases = [
        ("INSERT INTO domains SELECT url FROM click;", "3:37", "click"),
        ("INSERT INTO domains SELECT urll FROM clicks;", "3:28", "urll"),
        ("INSERT INTO metrics.n SELECT url, count(*) AS n FROM clicks GROUP BY url;", "3:", "not supported yet"),
        ("INSERT INTO domains SELECT now() AS n FROM clicks;", "3:28", "now"),
        ("INSERT INTO domains SELECT random() AS n FROM clicks;", "3:28", "random"),
        ("INSERT INTO domains SELECT * FROM tumble(clicks, ts, INTERVAL '1 minute');", "3:", "not supported yet"),
        ("INSERT INTO domains SELECT a.url FROM clicks a JOIN clicks b ON a.url = b.url;", "3:", "JOIN"),
        ("INSERT INTO domains SELECT DISTINCT url FROM clicks;", "3:", "DISTINCT"),
        ("INSERT INTO domains SELECT url FROM clicks ORDER BY url;", "3:", "ORDER BY"),
        ("INSERT INTO domains SELECT url FROM clicks LIMIT 3;", "3:", "LIMIT"),
        ("SELECT 1;", "3:1", ""),
        ("DROP TABLE clicks;", "3:1", ""),
        ("INSERT INTO domains SELECT url FROM clicks WHERE;", "3:", ""),
        ("CREATE EXTERNAL TABLE x (a BIGINT) STORED AS KAFKA LOCATION 'x' OPTIONS ('formt' 'json');", "3:", "formt"),
    ];
    for (number, (statement, place, reason)) in cases.iter().enumerate() {
        let file = site.file(&format!("refused-{number}.sql"), &format!("{source}{statement}\n"));
        let refused = Command::new("check").arg(&file).run().ended_with(1);
        assert!(
            refused.stderr.contains(&format!(".sql:{place}")),
            "{statement} should be refused at {place}:\n{refused}"
        );
        assert!(refused.stderr.contains(reason), "{statement} should be refused for {reason}:\n{refused}");
        let json = Command::new("check").arg(&file).arg("--json").run();
        assert_eq!((json.code(), &json.json()["ok"]), (Some(1), &false.into()), "{json}");
        // A run refuses the same, and touches nothing.
        let up = site.command("up").args(["--once", "--kafka-port", "0", "--pipeline"]).arg(&file).run().ended_with(1);
        assert!(up.stderr.contains(&format!(".sql:{place}")), "{up}");
        assert!(!site.data().join("metadata.db").exists(), "{up}");
    }
}

on_both_brokers!(
    produce_takes_lines_plain_or_gzip_from_a_file_or_standard_input,
    answers_come_as_table_json_and_csv,
    metadata_that_is_older_than_the_tables_stops_the_run,
);

fn produce_takes_lines_plain_or_gzip_from_a_file_or_standard_input(broker: &Broker) {
    let site = Site::reading(broker);
    let lines = ["{\"id\":\"a\",\"n\":{\"m\":7}}", "plain text", "[1,2]"];
    let text = lines.join("\n\n") + "\n \r\n";
    let file = site.file("records.jsonl", &text);
    let mut gzip = GzEncoder::new(vec![], Compression::fast());
    gzip.write_all(text.as_bytes()).expect("memory takes it");
    let gzip = gzip.finish().expect("memory takes it");
    let topic = thermocline_tests::unique("produced");
    let produce = || Command::new("produce").args(["--kafka", broker.bootstrap(), "--topic", &topic]);

    let first = produce().args(["--partitions", "3", "--partition", "1"]).arg(&file).json();
    assert_eq!((&first["records"], &first["created"]), (&3.into(), &true.into()), "{first:#}");
    assert_eq!(first["blank_lines"], 3, "{first:#}");
    let said = produce().args(["--partition", "2"]).arg("-").stdin(text.clone()).ok();
    assert!(said.stdout.contains("3 records to ") && said.stdout.contains(", 3 blank lines left out"), "{said}");
    let packed = site.data();
    std::fs::create_dir_all(&packed).expect("a folder can be made");
    std::fs::write(packed.join("records.jsonl.gz"), &gzip).expect("a file can be written");
    produce().args(["--partition", "0", "--key-field", "n.m"]).arg(packed.join("records.jsonl.gz")).ok();
    let again = produce().args(["--partition", "0"]).arg("-").stdin(gzip).json();
    assert_eq!((&again["records"], &again["created"]), (&3.into(), &false.into()), "{again:#}");

    let log = consume_all(broker, &topic);
    assert_eq!(log.len(), 12);
    for (number, (partition, offset, record)) in log.iter().enumerate() {
        let line = lines[number % 3];
        assert_eq!(record.payload.as_deref().unwrap_or_default(), line.as_bytes(), "{topic}/{partition}@{offset}");
    }
    assert_eq!(log[0].2.key.as_deref(), Some(&b"7"[..]), "the key is a field of the record");
    assert_eq!(log[1].2.key, None);
    assert_eq!(log.iter().map(|(partition, ..)| *partition).max(), Some(2), "three partitions, as was said");
}

fn answers_come_as_table_json_and_csv(broker: &Broker) {
    let topic = broker.topic("formats", 1);
    broker.produce_lines(&topic, ["{\"text\":\"a, \\\"b\\\"\",\"author\":\"ann\"}", "{\"text\":\"c\"}"]);
    let site = Site::reading(broker).routing(&topic).rule("*", "chat");
    site.up_once();
    let sql = "SELECT _offset, text, author FROM chat ORDER BY 1";
    let ask = |format: &str, sql: &str| site.command("sql").args(["--format", format, sql]).ok().stdout;
    assert_eq!(ask("csv", sql), "_offset,text,author\n0,\"a, \"\"b\"\"\",ann\n1,c,\n");
    assert_eq!(ask("csv", "SELECT text FROM chat WHERE false"), "text\n");
    let json: Vec<serde_json::Value> =
        ask("json", sql).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(json[1], serde_json::json!({"_offset": 1, "text": "c", "author": null}));
    let table = ask("table", sql);
    assert!(table.contains("| _offset | text") && table.contains("| ann") && table.starts_with('+'), "{table}");
    let from_stdin = site.command("sql").args(["--format", "csv", "-"]).stdin(sql).ok();
    assert_eq!(from_stdin.stdout, ask("csv", sql));
    let everything = ask("json", "SELECT * FROM chat");
    assert!(everything.lines().count() == 2 && !everything.contains("_embedding"), "{everything}");

    for (wrong, said) in [
        ("SELECT nothing FROM chat", "nothing"),
        ("SELECT * FROM chatt", "chatt"),
        ("SELEC 1", "SELEC"),
        ("INSERT INTO chat SELECT * FROM chat", "only statements that read"),
        ("DROP TABLE chat", "only statements that read"),
        ("CREATE TABLE x AS SELECT 1", "only statements that read"),
        ("COPY chat TO '/tmp/x.csv'", "only statements that read"),
        ("SET datafusion.execution.batch_size = 1", "only statements that read"),
    ] {
        site.command("sql").arg(wrong).run().ended_with(1).says(&["error: ", said]);
    }
}

fn metadata_that_is_older_than_the_tables_stops_the_run(broker: &Broker) {
    let topic = broker.topic("taken", 1);
    broker.produce_lines(&topic, (0..50).map(|n| format!("{{\"text\":\"say {n}\"}}")));
    let site = Site::reading(broker).routing(&topic).rule("*", "chat").flag("--epoch-interval=50ms");
    site.up_once();
    site.verify();
    // An old copy of the metadata beside newer tables must not pass for the truth.
    let files = ["metadata.db", "metadata.db-wal", "metadata.db-shm"].map(|name| site.data().join(name));
    let copies = files.each_ref().map(|file| std::fs::read(file).ok());
    broker.produce_lines(&topic, ["{\"text\":\"one more\"}"]);
    site.up_once();
    for (file, copy) in files.iter().zip(copies) {
        let _ = std::fs::remove_file(file);
        copy.into_iter().for_each(|copy| std::fs::write(file, copy).expect("the store can be put back"));
    }
    let stopped = site.up().arg("--once").run().ended_with(1);
    assert!(stopped.stderr.contains("chat"), "a table that is newer than the metadata stops the process: {stopped}");
}
