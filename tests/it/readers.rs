//! Independent readers: Python's deltalake, pyiceberg and pylance see the same rows as `thermocline sql`.

use serde_json::{Value, json};
use std::process::Command;
use thermocline_tests::{Broker, Site, demo_lines, micros_of, on_both_brokers, repository, unique};
use xxhash_rust::xxh3::xxh3_64;

/// The columns that the checksum begins with; every other text column that is kept follows, by name.
const FIRST: [&str; 6] = ["_topic", "_partition", "_offset", "_ordinal", "event_time", "attributes"];
/// Text that is computed when it is read, or that the checksum leaves out.
const NOT_KEPT: [&str; 4] = ["_event_id", "_domain", "_tier", "_headers"];

/// What `tests/readers/check.py` finds in the tables on disk.
fn found_by_others(site: &Site) -> Value {
    let readers = repository().join("tests/readers");
    let run = |command: &mut Command| {
        let done = command.output().expect("it can be started");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{command:?}: {}\n{said}", done.status);
        String::from_utf8(done.stdout).expect("it prints text")
    };
    let python = run(&mut Command::new(readers.join("setup.sh")));
    let found = run(Command::new(python.trim()).arg(readers.join("check.py")).arg(site.data()));
    serde_json::from_str(&found).unwrap_or_else(|error| panic!("{error}: {found}"))
}

/// Rows and checksum of one table in one tier, as check.py computes them, from what `thermocline sql` answers.
fn found_by_us(site: &Site, table: &str, tier: &str) -> Value {
    let columns = format!(
        "SELECT column_name FROM information_schema.columns
         WHERE table_name = '{table}' AND table_schema = 'public' AND data_type = 'Utf8' ORDER BY column_name"
    );
    let text: Vec<String> = site.texts(&columns);
    let others = text.iter().map(String::as_str).filter(|name| !FIRST.contains(name) && !NOT_KEPT.contains(name));
    let columns: Vec<&str> = FIRST.into_iter().chain(others).collect();
    let list: Vec<String> = columns
        .iter()
        .map(|name| match *name {
            "event_time" => "CAST(event_time AS BIGINT) AS event_time".to_owned(),
            name => format!("\"{name}\""),
        })
        .collect();
    let rows = site.sql(&format!("SELECT {} FROM \"{table}\" WHERE _tier = '{tier}'", list.join(", ")));
    let mut sum = 0_u64;
    for row in &rows {
        let mut bytes = vec![];
        for name in &columns {
            match &row[*name] {
                Value::Null => bytes.push(0xff),
                Value::String(text) => bytes.extend_from_slice(text.as_bytes()),
                number => bytes.extend_from_slice(number.to_string().as_bytes()),
            }
            bytes.push(0x1f);
        }
        sum = sum.wrapping_add(xxh3_64(&bytes));
    }
    json!({"rows": rows.len(), "checksum": format!("{sum:016x}"), "table": table})
}

on_both_brokers!(independent_readers_see_the_same_rows_in_every_table,);

fn independent_readers_see_the_same_rows_in_every_table(broker: &Broker) {
    let prefix = unique("readers");
    let site = Site::reading(broker).routing(&format!("{prefix}.*")).at(micros_of("2013-11-08 00:00:00"));
    for (name, most) in
        [("office.climate", 2_000), ("bank.questions", 400), ("wiki.edits", 300), ("edge.requests", 300)]
    {
        let topic = format!("{prefix}.{name}");
        broker.create(&topic, 2);
        broker.produce_lines(&topic, demo_lines(name, most));
        broker.produce_lines(&topic, ["{\"cut\":"]);
    }
    site.up_once();
    // A second rollup into the same tables.
    broker.produce_lines(&format!("{prefix}.bank.questions"), demo_lines("helper.queries", 200));
    site.up_once();
    site.verify();

    let others = found_by_others(&site);
    let rows = site.status()["rows"].clone();
    let mut compared = vec![];
    for (table, tiers) in rows.as_object().expect("rows by table") {
        for tier in ["hot", "warm", "cold"].into_iter().filter(|tier| tiers[tier].as_u64() > Some(0)) {
            let theirs = &others[format!("{tier}.{table}")];
            assert_eq!(theirs, &found_by_us(&site, table, tier), "{tier}.{table}");
            assert_eq!(theirs["rows"], tiers[tier], "{tier}.{table}");
            compared.push(tier);
        }
    }
    for tier in ["hot", "warm", "cold"] {
        assert!(compared.contains(&tier), "every format should hold rows: {rows:#}");
    }
    let counted: u64 = others.as_object().expect("tables").values().filter_map(|table| table["rows"].as_u64()).sum();
    assert_eq!(counted, 3_204, "nothing else is there: {others:#}");
}
