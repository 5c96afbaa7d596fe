//! A statement sees one cut: whatever is committed and rolled up meanwhile, all its figures fit together.

use serde_json::Value;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thermocline_tests::{Broker, Site, on_both_brokers, wait_until};

const PATIENCE: Duration = Duration::from_secs(120);
/// So many statements at least, over so many rollups.
const ASKED: usize = 20;
const ROLLUPS: usize = 2;

/// Each partition as its rows show it and as the metadata store counts it, and where all the rows lie.
const STATEMENT: &str = "
    SELECT seen._topic, seen._partition, seen.found, seen.places, seen.least, seen.beyond,
           progress.next_offset, counted.committed, staged.n AS staged, rolled_up.n AS rolled_up
    FROM (SELECT _topic, _partition, count(*) AS found, count(DISTINCT _offset) AS places,
                 min(_offset) AS least, max(_offset) + 1 AS beyond
          FROM events GROUP BY _topic, _partition) AS seen
    JOIN (SELECT topic AS t, partition AS p, next_offset FROM system.offsets) AS progress
      ON progress.t = seen._topic AND progress.p = seen._partition
    JOIN (SELECT topic AS t, partition AS p, rows AS committed FROM system.conservation) AS counted
      ON counted.t = seen._topic AND counted.p = seen._partition
    CROSS JOIN (SELECT coalesce(sum(rows), 0) AS n FROM system.parts) AS staged
    CROSS JOIN (SELECT coalesce(sum(rows), 0) AS n FROM system.versions) AS rolled_up";

/// What one answer says of all partitions together.
struct Seen {
    found: i64,
    rolled_up: i64,
}

/// Asks once; everything that comes back must be of one cut.
fn ask(site: &Site) -> Seen {
    let rows = site.sql(STATEMENT);
    let figure = |row: &Value, name: &str| row[name].as_i64().unwrap_or_else(|| panic!("no {name}: {row}"));
    let mut seen = Seen { found: 0, rolled_up: 0 };
    for row in &rows {
        let found = figure(row, "found");
        let offsets = figure(row, "beyond") - figure(row, "least");
        // The topic is read from its first record on, and nothing of it is filtered or a dead letter.
        let others = ["places", "beyond", "next_offset", "committed"].map(|name| figure(row, name));
        assert_eq!((offsets, others), (found, [found; 4]), "{row}");
        seen.found += found;
        seen.rolled_up = figure(row, "rolled_up");
    }
    for row in &rows {
        assert_eq!(figure(row, "staged") + figure(row, "rolled_up"), seen.found, "{rows:#?}");
    }
    seen
}

on_both_brokers!(every_statement_beside_a_busy_run_sees_one_cut,);

fn every_statement_beside_a_busy_run_sees_one_cut(broker: &Broker) {
    let topic = broker.topic("cut", 3);
    // With one worker and epochs as short as this, there are soon so many segments that the oldest are rolled up at once.
    let site = Site::reading(broker)
        .routing(&topic)
        .rule("*", "chat")
        .flag("--epoch-interval=20ms")
        .flag("--no-sync")
        .workers(1);
    let up = site.start();
    let over = AtomicBool::new(false);
    let written: usize = std::thread::scope(|scope| {
        let write = || {
            let mut written = 0_usize;
            while !over.load(Ordering::Relaxed) {
                broker.produce_lines(&topic, (0..60).map(|n| format!("{{\"text\":\"say {}\"}}", written + n)));
                written += 60;
            }
            written
        };
        let writers = [(); 3].map(|()| scope.spawn(write));
        let asked = std::panic::catch_unwind(AssertUnwindSafe(|| ask_over_rollups(&site)));
        over.store(true, Ordering::Relaxed);
        let written = writers.map(|writer| writer.join().expect("the writer does not fail"));
        asked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.into_iter().sum()
    });
    up.stop();
    site.up_once();
    let (seen, written) = (ask(&site), i64::try_from(written).expect("a count fits"));
    assert_eq!((seen.found, seen.rolled_up), (written, written));
    site.verify();
}

/// Asks until enough was committed and rolled up under the questions.
fn ask_over_rollups(site: &Site) {
    wait_until("the data directory", PATIENCE, || site.data().join("run.json").exists());
    let (mut asked, mut growths, mut rollups) = (0, 0, 0);
    let mut last = Seen { found: 0, rolled_up: 0 };
    wait_until("enough statements and rollups", PATIENCE, || {
        let seen = ask(site);
        assert!(seen.found >= last.found && seen.rolled_up >= last.rolled_up, "a later cut has no fewer rows");
        asked += 1;
        growths += usize::from(seen.found > last.found);
        rollups += usize::from(seen.rolled_up > last.rolled_up);
        last = seen;
        asked >= ASKED && rollups >= ROLLUPS
    });
    println!("{asked} statements over {growths} cuts with more rows and {rollups} rollups");
    assert!(growths >= ASKED / 2, "the run should be busy: {growths} of {asked} answers had more rows than before");
}
