//! `verify` adds up what is there, and must find what is wrong: bookkeeping is damaged by hand, the data is not.

use serde_json::Value;
use std::process::Command;
use thermocline_tests::{Broker, Site, on_both_brokers};

on_both_brokers!(
    a_statement_that_changed_answers_for_its_own_time_only,
    figures_of_all_branches_into_domains_are_added_up,
    rows_that_nobody_sees_any_more_are_missing,
    rows_that_are_staged_and_rolled_up_at_once_are_duplicates,
);

/// A site with 100 rows, all rolled up.
fn rolled_up(broker: &Broker) -> Site {
    let topic = broker.topic("counted", 1);
    broker.produce_lines(
        &topic,
        (0..100).map(|n| format!("{{\"channel\":\"a\",\"author\":\"b\",\"text\":\"line {n}\"}}")),
    );
    let site = Site::reading(broker).routing(&topic).rule(&topic, "chat");
    site.up_once();
    assert_eq!(site.verify()["rows"], 100);
    site
}

/// Runs `sql` on the metadata store, behind the back of everybody.
fn damage(site: &Site, sql: &str) {
    let script =
        "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as db: print(db.execute(sys.argv[2]).rowcount)";
    let store = site.data().join("metadata.db");
    let done = Command::new("python3").args(["-c", script]).arg(store).arg(sql).output().expect("Python runs");
    let changed = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    assert!(done.status.success() && changed != "0", "{sql} changed {changed} rows: {done:?}");
}

/// `verify --json` of a site with which something is wrong; the words say it, too.
fn found(site: &Site) -> Value {
    let words = site.command("verify").run().ended_with(1).stdout;
    assert!(words.contains("problem: ") && words.contains("the law of conservation does not hold"), "{words}");
    let verified = site.command("verify").arg("--json").run().ended_with(1).json();
    assert_eq!(verified["ok"], false, "{verified:#}");
    assert!(verified["problems"].as_array().is_some_and(|problems| !problems.is_empty()), "{verified:#}");
    verified
}

fn figures_of_all_branches_into_domains_are_added_up(broker: &Broker) {
    let (orders, said) = (broker.topic("orders", 2), broker.topic("said", 1));
    broker.produce_lines(&orders, (0..100).map(|n| format!("{{\"id\":{n}}}")));
    broker.produce_lines(&said, (0..40).map(|n| format!("{{\"text\":\"say {n}\"}}")));
    broker.produce_lines(&said, ["{\"text\":", "{"]);
    let site = Site::reading(broker)
        .pipeline(&format!(
            "CREATE EXTERNAL TABLE orders (id BIGINT) STORED AS KAFKA LOCATION '{orders}' OPTIONS ('format' 'json');
             INSERT INTO domains SELECT * FROM orders WHERE id >= 30;
             INSERT INTO integration.large SELECT id FROM orders WHERE id >= 90;"
        ))
        .pipeline(&format!(
            "CREATE EXTERNAL TABLE said STORED AS KAFKA LOCATION '{said}';
             INSERT INTO domains SELECT * FROM said;"
        ));
    site.up_once();
    let verified = site.verify();
    let branches = verified["branches"].as_array().expect("the branches");
    let into_domains: Vec<&Value> = branches.iter().filter(|branch| branch["target"] == "domains").collect();
    assert_eq!((branches.len(), into_domains.len()), (3, 2), "{verified:#}");
    let expected = [
        ("read", 142),
        ("rows", 110),
        ("windowed", 0),
        ("filtered", 30),
        ("late", 0),
        ("dead_letters", 2),
        ("open", 0),
        ("duplicates", 0),
        ("missing", 0),
        ("again", 0),
    ];
    for (figure, expected) in expected {
        let parts: Option<u64> = into_domains.iter().map(|branch| branch[figure].as_u64()).sum();
        assert_eq!((verified[figure].as_u64(), parts), (Some(expected), Some(expected)), "{figure}: {verified:#}");
    }
}

fn a_statement_that_changed_answers_for_its_own_time_only(broker: &Broker) {
    let topic = broker.topic("orders", 1);
    let pipeline = |columns: &str| {
        format!(
            "CREATE EXTERNAL TABLE orders (id BIGINT) STORED AS KAFKA LOCATION '{topic}' OPTIONS ('format' 'json');
             INSERT INTO integration.orders SELECT {columns} FROM orders;"
        )
    };
    let figures = |site: &Site| -> Vec<[Option<u64>; 3]> {
        let verified = site.verify();
        let branches = verified["branches"].as_array().expect("the branches").iter();
        branches.map(|branch| ["read", "rows", "dead_letters"].map(|figure| branch[figure].as_u64())).collect()
    };
    broker.produce_lines(&topic, ["{\"id\":1}", "cut off", "{\"id\":2}"]);
    let site = Site::reading(broker).pipeline(&pipeline("id"));
    site.up_once();
    assert_eq!(figures(&site), [[Some(3), Some(2), Some(1)]]);
    let site = site.without_pipelines().pipeline(&pipeline("id, 2 * id AS twice"));
    site.up_once();
    assert_eq!(figures(&site), [[Some(3), Some(2), Some(1)], [Some(0); 3]], "it has read nothing yet");
    broker.produce_lines(&topic, ["cut off too", "{\"id\":3}"]);
    site.up_once();
    assert_eq!(figures(&site), [[Some(3), Some(2), Some(1)], [Some(2), Some(1), Some(1)]]);
}

fn rows_that_nobody_sees_any_more_are_missing(broker: &Broker) {
    let site = rolled_up(broker);
    damage(&site, "UPDATE versions SET removed_cut = added_cut WHERE name = 'chat'");
    let verified = found(&site);
    let figure = |name: &str| verified[name].as_u64();
    assert_eq!((figure("read"), figure("rows"), figure("missing")), (Some(100), Some(0), Some(100)), "{verified:#}");
    assert_eq!(figure("duplicates"), Some(0), "{verified:#}");
}

fn rows_that_are_staged_and_rolled_up_at_once_are_duplicates(broker: &Broker) {
    let site = rolled_up(broker);
    damage(&site, "UPDATE parts SET removed_cut = NULL WHERE name = 'chat'");
    let verified = found(&site);
    let figure = |name: &str| verified[name].as_u64();
    assert_eq!(
        (figure("rows"), figure("duplicates"), figure("missing")),
        (Some(100), Some(100), Some(0)),
        "{verified:#}"
    );
}
