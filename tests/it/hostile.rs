//! Records that nobody would write on purpose: each is a row or a dead letter at its own offset, and nothing stops.

use std::collections::{BTreeMap, BTreeSet};
use thermocline_tests::{Broker, Record, Site, consume_all, on_both_brokers};

/// What becomes of a record of a source without columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Row,
    Dead,
    /// Either; the formats that ship do not say.
    Either,
}
use Fate::{Dead, Either, Row};

fn hostile() -> Vec<(Record, Fate)> {
    let text = |payload: &str| Record::new(payload);
    let million = format!("{{\"text\":\"{}\"}}", "long ".repeat(180_000));
    let nested = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    vec![
        (text("{\"text\":\"hello\"}"), Row),
        (text("{\"text\":"), Dead),
        (text("{\"a\":1}{\"a\":2}"), Dead),
        (text("{\"a\":1} and more"), Dead),
        (text("{\"a\":1,}"), Dead),
        (text("{'a':1}"), Dead),
        (text("{"), Dead),
        (text(""), Row),
        (Record::default(), Row),
        (text("   "), Either),
        (text("[1,2,3]"), Row),
        (text("42"), Row),
        (text("\"a text\""), Row),
        (text("null"), Row),
        (text("[ERROR] this is no JSON"), Row),
        (text("plain words, \"quoted\", and a }"), Row),
        (Record::new(*b"\xff\xfe\x00"), Dead),
        (Record::new(*b"{\"a\":\"\xc3\x28\"}"), Dead),
        (
            text(
                "{\"pos\":1,\"_partition\":7,\"_tier\":\"x\",\"_offset\":\"no\",\"file_path\":\"/a\",\
                 \"event_time\":\"never\"}",
            ),
            Row,
        ),
        (text("{\"attributes\":{\"x\":1},\"_event_id\":1,\"_embedding\":[1,2],\"_domain\":null}"), Row),
        (text(&million), Row),
        (text(&nested), Either),
        (text("{\"value\":1e999,\"ts\":99999999999999999999999,\"text\":12,\"user_id\":{\"a\":[]}}"), Either),
        (text("{\"text\":\"nul \\u0000 and tab \\t\"}"), Either),
        (text("{\"text\":\"half a pair \\ud800\"}"), Either),
        (text("{\"a\":1,\"a\":2}"), Either),
        (text("{\"\":1,\" \":2,\"a.b\":3,\"a\":{\"b\":4}}"), Row),
        (text("\u{feff}{\"a\":1}"), Either),
        (text("{}"), Row),
        (text("[]"), Row),
    ]
}

fn place(row: &serde_json::Value) -> (i32, i64) {
    let number = |name: &str| row[name].as_i64().expect("a number");
    (i32::try_from(number("_partition")).expect("a partition"), number("_offset"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

on_both_brokers!(
    every_hostile_record_is_a_row_or_a_dead_letter_at_its_own_offset,
    wrong_types_unknown_fields_and_failing_expressions_are_dead_letters_of_one_record,
    a_time_that_no_calendar_has_is_a_dead_letter_of_its_record,
    dead_letters_are_listed_with_their_place_and_reason,
);

fn every_hostile_record_is_a_row_or_a_dead_letter_at_its_own_offset(broker: &Broker) {
    let topic = broker.topic("hostile", 2);
    let mut records = vec![];
    for round in 0..3_i32 {
        for (number, (record, fate)) in hostile().into_iter().enumerate() {
            let record = Record {
                key: (number % 3 > 0).then(|| format!("key \u{e9} {round} {number}").into_bytes()),
                headers: vec![
                    ("trace".into(), Some(vec![0xff, number as u8])),
                    ("none".into(), None),
                    ("t".into(), Some(b"x".to_vec())),
                ],
                ..record.in_partition((number as i32 + round) % 2)
            };
            records.push((record, fate));
            let ordinary = Record::new(format!("{{\"text\":\"ordinary {number}\"}}")).in_partition(number as i32 % 2);
            records.push((ordinary, Row));
        }
    }
    let plain: Vec<Record> = records.iter().map(|(record, _)| record.clone()).collect();
    let places = broker.produce(&topic, &plain);
    let fates: BTreeMap<(i32, i64), Fate> = places.into_iter().zip(records.iter().map(|(_, fate)| *fate)).collect();

    let site = Site::reading(broker).routing(&topic).flag("--epoch-interval=100ms");
    site.up_once();

    let log = consume_all(broker, &topic);
    assert_eq!(log.len(), records.len());
    let rows: BTreeSet<(i32, i64)> = site.sql("SELECT _partition, _offset FROM events").iter().map(place).collect();
    let letters = site.sql(
        "SELECT _partition, _offset, encode(payload, 'hex') AS payload, encode(_key, 'hex') AS key, _headers,
                stage, error, source
         FROM dead_letters",
    );
    let letters: BTreeMap<(i32, i64), &serde_json::Value> = letters.iter().map(|row| (place(row), row)).collect();
    for (partition, offset, record) in &log {
        let at = (*partition, *offset);
        let shown = || {
            String::from_utf8_lossy(&record.payload.clone().unwrap_or_default()).chars().take(100).collect::<String>()
        };
        let found = (rows.contains(&at), letters.contains_key(&at));
        match fates[&at] {
            Row => assert_eq!(found, (true, false), "{at:?} is (row, dead letter): {}", shown()),
            Dead => assert_eq!(found, (false, true), "{at:?} is (row, dead letter): {}", shown()),
            Either => assert!(found.0 != found.1, "{at:?} is {found:?} (row, dead letter): {}", shown()),
        }
        let Some(letter) = letters.get(&at) else { continue };
        assert_eq!(letter["payload"].as_str(), record.payload.as_deref().map(hex).as_deref(), "{letter}");
        assert_eq!(letter["key"].as_str(), record.key.as_deref().map(hex).as_deref(), "{letter}");
        let headers: serde_json::Value =
            serde_json::from_str(letter["_headers"].as_str().expect("headers")).expect("JSON");
        assert_eq!(headers[0]["key"], "trace", "{letter}");
        assert!(headers[0]["base64"].is_string() && headers[1]["value"].is_null(), "{letter}");
        assert_eq!(headers[2], serde_json::json!({"key": "t", "value": "x"}), "{letter}");
        assert_eq!(
            (letter["stage"].as_str(), letter["source"].as_str()),
            (Some("decode"), Some("incoming")),
            "{letter}"
        );
        assert!(letter["error"].as_str().is_some_and(|error| !error.is_empty()), "{letter}");
    }
    let verified = site.verify();
    assert_eq!(verified["read"].as_u64(), Some(log.len() as u64));
    assert_eq!(verified["dead_letters"].as_u64(), Some(letters.len() as u64));
    let long = site.number("SELECT count(*) FROM events WHERE character_length(text) > 800000");
    assert_eq!(long, 3, "a record of a megabyte comes through whole");
}

fn wrong_types_unknown_fields_and_failing_expressions_are_dead_letters_of_one_record(broker: &Broker) {
    let topic = broker.topic("typed", 1);
    let lines: Vec<&str> = vec![
        "{\"id\":1,\"amount\":10.5,\"parts\":2,\"pos\":7,\"file_path\":\"/a\",\"ts\":\"2024-01-01T00:00:00Z\"}",
        "{\"id\":2,\"amount\":1,\"parts\":0}",
        "{\"id\":\"three\",\"amount\":1,\"parts\":1}",
        "{\"id\":4,\"amount\":\"much\",\"parts\":1}",
        "{\"id\":5,\"parts\":1,\"_partition\":9,\"unknown\":{\"deep\":[1]}}",
        "{\"id\":6}{\"id\":7}",
        "[1,2]",
        "",
        "{\"id\":9,\"parts\":1,\"ts\":\"not a time\"}",
        "{\"id\":10,\"parts\":1.5}",
        "{\"id\":11,\"parts\":99999999999}",
        "{\"id\":null,\"parts\":4,\"amount\":null}",
        "{}",
    ];
    let mut records: Vec<Record> = lines.iter().map(|line| Record::new(*line)).collect();
    records.push(Record::default());
    let places = broker.produce(&topic, &records);
    assert_eq!(places.last(), Some(&(0, 13)));
    let site = Site::reading(broker).pipeline(&format!(
        "CREATE EXTERNAL TABLE orders (id BIGINT, amount DOUBLE, parts INT, pos BIGINT, file_path TEXT, ts TIMESTAMP)
           STORED AS KAFKA LOCATION '{topic}' OPTIONS ('format' 'json', 'event_time' 'ts');
         INSERT INTO integration.shares SELECT id, 100 / parts AS share, pos, file_path, amount FROM orders;"
    ));
    site.up_once();

    let rows = site.sql(
        "SELECT _offset, id, share, pos, file_path, CAST(event_time AS TEXT) AS at FROM integration.shares ORDER BY 1",
    );
    let offsets: Vec<i64> = rows.iter().map(|row| row["_offset"].as_i64().unwrap()).collect();
    assert_eq!(offsets, [0, 4, 11, 12], "{rows:?}");
    assert_eq!((&rows[0]["share"], &rows[0]["pos"], &rows[0]["file_path"]), (&50.into(), &7.into(), &"/a".into()));
    assert!(rows[0]["at"].as_str().is_some_and(|at| at.starts_with("2024-01-01T00:00:00")), "{}", rows[0]);
    assert_eq!(rows[2]["share"], 25);
    let letters = site.sql("SELECT _offset, stage, error FROM dead_letters ORDER BY 1");
    let stages: Vec<(i64, &str)> =
        letters.iter().map(|row| (row["_offset"].as_i64().unwrap(), row["stage"].as_str().unwrap())).collect();
    let decode = |offset| (offset, "decode");
    let expected = [
        (1, "project"),
        decode(2),
        decode(3),
        decode(5),
        decode(6),
        decode(7),
        decode(8),
        decode(9),
        decode(10),
        decode(13),
    ];
    assert_eq!(stages, expected, "{letters:#?}");
    let error = |at: usize| letters[at]["error"].as_str().unwrap();
    assert!(error(0).to_lowercase().contains("zero"), "{}", error(0));
    assert!(error(1).contains("id") && error(1).contains("three"), "{}", error(1));
    let verified = site.verify();
    assert_eq!(verified["branches"][0]["read"], 14);
    assert_eq!(verified["branches"][0]["dead_letters"], 10);
    assert_eq!(site.status()["dropped_fields"]["orders"], 2);
}

fn a_time_that_no_calendar_has_is_a_dead_letter_of_its_record(broker: &Broker) {
    let topic = broker.topic("never", 1);
    broker.produce_lines(&topic, ["{\"t\":1}", "{\"t\":9223372036854775807}", "{\"t\":1700000000000000}"]);
    let site = Site::reading(broker).pipeline(&format!(
        "CREATE EXTERNAL TABLE visits (t BIGINT) STORED AS KAFKA LOCATION '{topic}' OPTIONS ('format' 'json');
         INSERT INTO domains SELECT to_timestamp_micros(t) AS at, 'a page was viewed' AS note FROM visits;"
    ));
    site.up_once();
    let letters = site.sql("SELECT _offset, stage, error FROM dead_letters");
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!((&letters[0]["_offset"], &letters[0]["stage"]), (&1.into(), &"route".into()), "{letters:?}");
    let verified = site.verify();
    assert_eq!((&verified["rows"], &verified["dead_letters"]), (&2.into(), &1.into()), "{verified:#}");
}

fn dead_letters_are_listed_with_their_place_and_reason(broker: &Broker) {
    let topic = broker.topic("listed", 1);
    broker.produce_lines(&topic, ["{\"text\":\"good\"}", "{\"text\":", "{\"a\":1}{\"a\":2}"]);
    let site = Site::reading(broker).routing(&topic);
    site.up_once();
    let list = || thermocline_tests::Command::new("dead-letters").args(["list", "--data"]).arg(site.data());
    let listed = list().json();
    let letters = listed["dead_letters"].as_array().expect("a list");
    let records: Vec<&str> = letters.iter().map(|letter| letter["record"].as_str().unwrap()).collect();
    assert_eq!(records, [format!("{topic}/0@2"), format!("{topic}/0@1")], "{listed:#}");
    assert_eq!(letters[1]["payload"], "{\"text\":");
    let words = list().args(["--limit", "1", "--topic", &topic]).ok();
    assert!(
        words.stdout.starts_with(&format!("{topic}/0@2: decode: ")) && words.stdout.lines().count() == 2,
        "{words}"
    );
    let others = list().args(["--topic", "nothing"]).ok();
    assert_eq!(others.stdout.trim(), "no dead letters");
}
