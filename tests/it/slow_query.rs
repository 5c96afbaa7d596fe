//! A query that takes long, in a process of its own, while rollups and clean-up go on under it.

use std::time::{Duration, Instant};
use thermocline_tests::{Broker, Running, Site, demo_lines, now, on_both_brokers, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: i64 = 3_600_000_000;
/// A query renews its pin so often, and hears then that it has none any more.
const RENEWS_EVERY: Duration = Duration::from_secs(15);

/// Computes first, for a while, and reads the rows behind that.
const SLOW: &str = "SELECT count(*) AS n, sum(character_length(text)) AS letters, max(busy.m) AS busy FROM
     (SELECT max((a.value * 7919 + b.value * 104729) % 1000003) AS m
        FROM generate_series(1, 36000) AS a CROSS JOIN generate_series(1, 36000) AS b) AS busy
     CROSS JOIN chat";

/// A site whose rows are staged, written by a run of `hours` ago: older than the history that is kept for readers.
fn staged(broker: &Broker, hours: i64) -> (Site, String, usize) {
    let topic = broker.topic("slow", 1);
    let lines = demo_lines("bank.questions", 1_500);
    broker.produce_lines(&topic, &lines);
    let site =
        Site::reading(broker).routing(&topic).rule("*", "chat").flag("--epoch-interval=100ms").at(now() - hours * HOUR);
    let mut up = site.start();
    up.wait_for_line("topic ", PATIENCE);
    wait_until("all rows", PATIENCE, || site.number("SELECT count(*) FROM chat") == 1_500);
    up.stop();
    assert!(site.status()["staged_parts"].as_u64() > Some(0), "nothing is rolled up yet");
    (site, topic, 1_500)
}

/// Starts the query and stops its process in the middle of its work, its cut pinned.
fn frozen(site: &Site) -> Running {
    let mut query = Running::start(site.command("sql").args(["--format", "csv", SLOW]));
    wait_until("the work of the query", PATIENCE, || {
        assert!(query.is_running(), "the query should take longer");
        query.cpu_seconds() > 0.7
    });
    query.signal(libc::SIGSTOP);
    query
}

on_both_brokers!(
    a_slow_query_in_another_process_survives_rollups_and_clean_up,
    a_query_that_outlives_its_pin_says_so_and_shows_no_row,
    an_answer_that_is_read_slowly_is_whole,
);

fn a_slow_query_in_another_process_survives_rollups_and_clean_up(broker: &Broker) {
    let (site, topic, rows) = staged(broker, 24);
    let letters = site.number("SELECT sum(character_length(text)) FROM chat");
    let segments = site.segments();
    let query = frozen(&site);

    // A run of half a day ago rolls everything up; a run of now cleans up. To it, all this is long past: only the pin
    // still holds what the query reads.
    let mut site = site;
    for hours in [12, 0] {
        broker.produce_lines(&topic, demo_lines("helper.queries", 300));
        site = site.at(now() - hours * HOUR);
        site.up_once();
    }
    assert_eq!(site.status()["staged_parts"], 0);
    assert!(segments.is_subset(&site.segments()), "what the query reads is still there");

    query.signal(libc::SIGCONT);
    let done = query.wait(PATIENCE).ended_with(0);
    let answer: Vec<&str> = done.stdout.lines().nth(1).expect("a row").split(',').collect();
    assert_eq!((answer[0], answer[1]), (rows.to_string().as_str(), letters.to_string().as_str()), "{done}");
    assert_eq!(site.number("SELECT count(*) FROM chat"), rows as i64 + 600);

    // Nobody holds it any more. The newest run's own segments are history that a reader may still want.
    site.up_once();
    let left = site.segments();
    assert!(left.is_disjoint(&segments), "what nobody needs is cleaned up: {left:?}");
    assert_eq!(site.number("SELECT count(*) FROM chat"), rows as i64 + 600);
    site.verify();
}

fn a_query_that_outlives_its_pin_says_so_and_shows_no_row(broker: &Broker) {
    let (mut site, topic, _) = staged(broker, 24);
    let segments = site.segments();
    let query = frozen(&site);
    let frozen_at = Instant::now();
    // For a run of tomorrow, nobody has renewed the pin for a day.
    for hours in [-12, -24] {
        broker.produce_lines(&topic, ["{\"text\":\"one more\"}"]);
        site = site.at(now() - hours * HOUR);
        site.up_once();
    }
    let left = site.segments();
    assert!(left.is_disjoint(&segments), "what the query reads should be gone: {left:?}");
    // Its renewal is due when it wakes, while it computes: it hears of its loss before it comes to the rows.
    wait_until("the time of a renewal", 2 * RENEWS_EVERY, || frozen_at.elapsed() > RENEWS_EVERY);
    query.signal(libc::SIGCONT);
    let done = query.wait(PATIENCE).ended_with(1).says(&["cleaned up while it was read; run the query again"]);
    assert!(done.stdout.lines().count() <= 1, "a header at most: {done}");
}

fn an_answer_that_is_read_slowly_is_whole(broker: &Broker) {
    let (site, topic, rows) = staged(broker, 0);
    // Nobody reads the pipe until everything below has happened: it holds a small part of the answer.
    let mut query = std::process::Command::new("sh")
        .args(["-c", "\"$@\" | { read -r first; kill -STOP $$; echo \"$first\"; cat; }", "sh"])
        .arg(thermocline_tests::binary())
        .args(["sql", "--format", "csv", "SELECT text, _offset, repeat(text, 20) AS long FROM chat", "--data"])
        .arg(site.data())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a shell runs");
    let pid = libc::pid_t::try_from(query.id()).expect("a process id fits");
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    wait_until("the first line", PATIENCE, || state().rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')));
    broker.produce_lines(&topic, demo_lines("helper.queries", 100));
    site.up_once();
    // SAFETY: a plain call on numbers; the child has not been waited for.
    unsafe { libc::kill(pid, libc::SIGCONT) };
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut query.stdout.take().expect("it is piped"), &mut answer).expect("it is text");
    assert!(query.wait().expect("it ends").success());
    let offsets = answer.lines().filter(|line| line.split(',').any(|field| field.parse::<i64>().is_ok()));
    assert_eq!(offsets.count(), rows, "{}", answer.lines().next().unwrap_or_default());
}
