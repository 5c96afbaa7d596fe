//! `verify` must find what is wrong: bookkeeping is damaged by hand, the data is not.

use serde_json::Value;
use std::process::Command;
use thermocline_tests::{Broker, Site};

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

#[test]
fn rows_that_nobody_sees_any_more_are_missing() {
    let site = rolled_up(&Broker::embedded());
    damage(&site, "UPDATE versions SET removed_cut = added_cut WHERE name = 'chat'");
    let verified = found(&site);
    let figure = |name: &str| verified[name].as_u64();
    assert_eq!((figure("read"), figure("rows"), figure("missing")), (Some(100), Some(0), Some(100)), "{verified:#}");
    assert_eq!(figure("duplicates"), Some(0), "{verified:#}");
}

#[test]
fn rows_that_are_staged_and_rolled_up_at_once_are_duplicates() {
    let site = rolled_up(&Broker::embedded());
    damage(&site, "UPDATE parts SET removed_cut = NULL WHERE name = 'chat'");
    let verified = found(&site);
    let figure = |name: &str| verified[name].as_u64();
    assert_eq!(
        (figure("rows"), figure("duplicates"), figure("missing")),
        (Some(100), Some(100), Some(0)),
        "{verified:#}"
    );
}
