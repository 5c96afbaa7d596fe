//! Two runs on one data directory: the older one stops, soon and clearly, and the newer one loses nothing.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thermocline_tests::{Broker, Running, Site, on_both_brokers, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);
/// The older run is gone so soon after the newer one's generation has begun.
const FENCED_WITHIN: Duration = Duration::from_secs(2);

/// The generations that have begun and whose folder is still there: a run makes its own as the first thing after it has
/// taken over, before it starts a broker and recovers.
fn generations(site: &Site) -> BTreeSet<OsString> {
    let folders = std::fs::read_dir(site.data().join("staged")).expect("the older run has made it");
    folders.map(|folder| folder.expect("a folder can be listed").file_name()).collect()
}

/// From the moment the newer run's generation has begun, the older one may live for two seconds more. With brokers of
/// their own the newer one waits meanwhile: for the lock that the older one lets go of at its end.
fn newer_evicts_older(site: &Site, mut older: Running) -> Running {
    let before = generations(site);
    let mut newer = site.start();
    wait_until("the newer generation", PATIENCE, || !generations(site).is_subset(&before));
    wait_until("the end of the older run", FENCED_WITHIN, || !older.is_running());
    // What follows is not part of the two seconds: a broker, and what the older run left open.
    newer.wait_for_line("data ", PATIENCE);
    let done = older.wait(PATIENCE).ended_with(3);
    let pid = format!("process {}", newer.pid());
    assert!(done.stderr.contains("error: ") && done.stderr.contains("fenced"), "{done}");
    assert!(done.stderr.contains(&pid), "it names the newer run, {pid}: {done}");
    newer
}

on_both_brokers!(
    an_idle_run_is_fenced_within_two_seconds,
    a_busy_run_is_fenced_and_no_record_is_lost_or_doubled,
    commands_that_read_fence_nobody,
);

fn an_idle_run_is_fenced_within_two_seconds(broker: &Broker) {
    let topic = broker.topic("idle", 1);
    let site = Site::reading(broker).routing(&topic).rule("*", "chat").flag("--epoch-interval=200ms");
    broker.produce_lines(&topic, ["{\"text\":\"first\"}"]);
    let older = site.start();
    wait_until("the first row", PATIENCE, || site.data().join("metadata.db").exists() && rows(&site) == 1);
    let newer = newer_evicts_older(&site, older);
    broker.produce_lines(&topic, ["{\"text\":\"second\"}"]);
    wait_until("a row of the newer run", PATIENCE, || rows(&site) == 2);
    newer.stop();
    assert_eq!(site.verify()["rows"], 2);
}

fn rows(site: &Site) -> i64 {
    let done = site.command("sql").args(["--format", "csv", "SELECT count(*) AS n FROM chat"]).run();
    // Before the first run has made its tables, the question is an error.
    done.stdout.lines().nth(1).and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn a_busy_run_is_fenced_and_no_record_is_lost_or_doubled(broker: &Broker) {
    let topic = broker.topic("busy", 3);
    let site = Site::reading(broker).routing(&topic).rule("*", "chat").flag("--epoch-interval=50ms");
    let older = site.start();
    let (over, mut written) = (AtomicBool::new(false), 0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = 0_usize;
            while !over.load(Ordering::Relaxed) {
                broker.produce_lines(&topic, (0..200).map(|n| format!("{{\"text\":\"say {}\"}}", written + n)));
                written += 200;
            }
            written
        });
        let newer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until("the first rows", PATIENCE, || rows(&site) > 0);
            let seen = rows(&site);
            let newer = newer_evicts_older(&site, older);
            wait_until("rows of the newer run", PATIENCE, || rows(&site) > seen + 200);
            newer
        }));
        over.store(true, Ordering::Relaxed);
        written = writer.join().expect("the writer does not fail");
        newer.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).stop();
    });
    site.up_once();
    assert_eq!(rows(&site), i64::try_from(written).unwrap());
    assert_eq!(site.number("SELECT count(DISTINCT text) FROM chat"), i64::try_from(written).unwrap());
    site.verify();
}

#[test]
fn two_runs_with_embedded_brokers_on_two_ports_hand_over() {
    let site = Site::with_own_broker().rule("*", "chat").flag("--epoch-interval=200ms");
    let say = |up: &mut Running, text: &str| {
        up.own_broker().produce_lines("said", [format!("{{\"text\":\"{text}\"}}")]);
    };
    let mut older = site.start();
    older.own_broker().create("said", 1);
    say(&mut older, "first");
    wait_until("the first row", PATIENCE, || rows(&site) == 1);
    let mut newer = newer_evicts_older(&site, older);
    say(&mut newer, "second");
    wait_until("a row of the newer run", PATIENCE, || rows(&site) == 2);
    newer.stop();
    assert_eq!(site.verify()["rows"], 2);
}

fn commands_that_read_fence_nobody(broker: &Broker) {
    let topic = broker.topic("beside", 1);
    broker.produce_lines(&topic, ["{\"text\":\"first\"}"]);
    let site = Site::reading(broker).routing(&topic).rule("*", "chat").flag("--epoch-interval=200ms");
    let mut up = site.start();
    wait_until("the first row", PATIENCE, || site.data().join("metadata.db").exists() && rows(&site) == 1);
    for command in ["verify", "status", "mappings", "resume"] {
        site.command(command).json();
    }
    broker.produce_lines(&topic, ["{\"text\":\"second\"}"]);
    wait_until("the second row", PATIENCE, || rows(&site) == 2);
    assert!(up.is_running());
    up.stop();
}
