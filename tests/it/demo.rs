//! `thermocline demo`, as `make demo` runs it: the first thing a newcomer sees has to be there, and has to be true.

use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use thermocline_tests::{Done, Site, micros_of, now, repository, wait_until};

/// In µs.
const HOUR: i64 = 3_600_000_000;

/// The topics that ship, as `topics.json` describes them.
fn topics() -> Vec<Value> {
    let path = repository().join("deploy/demo/topics.json");
    let manifest = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let manifest: Value = serde_json::from_str(&manifest).expect("the manifest is JSON");
    manifest["topics"].as_array().expect("it lists topics").clone()
}

fn demo(site: &Site) -> Done {
    let records = repository().join("deploy/demo");
    site.command("demo").arg("--records").arg(records).patience(Duration::from_secs(300)).run()
}

/// A number as `123,405`.
#[track_caller]
fn number(text: &str) -> u64 {
    text.replace(',', "").parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// The line that begins with `word`, by words.
#[track_caller]
fn line<'a>(shown: &'a str, word: &str) -> Vec<&'a str> {
    let words = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut found = words.filter(|words| words.first() == Some(&word));
    found.next().unwrap_or_else(|| panic!("no line begins with {word:?}:\n{shown}"))
}

#[test]
fn demo_loads_the_records_that_ship_into_three_tiers_and_leaves_them_to_ask_on() {
    let site = Site::with_own_broker();
    let done = demo(&site).ended_with(0);
    let parts: Vec<&str> = ["\n2. ", "\n3. ", "\n4. "].iter().fold(vec![&*done.stdout], |mut parts, heading| {
        let rest = parts.pop().unwrap_or_default();
        let (part, rest) = rest.split_once(heading).unwrap_or_else(|| panic!("no part {heading:?}:\n{done}"));
        parts.extend([part, rest]);
        parts
    });
    let [produced, landed, conserved, asked] = parts[..] else { unreachable!("three headings make four parts") };

    let read = says_what_was_produced(produced);
    assert!(read >= 80_000, "{read} records are too few:\n{produced}");
    let verified = site.verify();
    assert_eq!(verified["read"], read);
    says_the_law(conserved, &verified);
    says_where_the_rows_lie(&site, landed, read);
    answers_every_question(asked);

    let ask_on = asked.lines().find(|line| line.starts_with("ask on:")).expect("it says how to ask on");
    assert!(ask_on.contains(&format!("--data {}", site.data().display())), "{ask_on}");
    let rows = site.sql(ask_on.split('"').nth(1).expect("a statement stands in quotes"));
    let sum: Option<u64> = rows.iter().map(|row| row["count(*)"].as_u64()).sum();
    assert_eq!(sum, verified["rows"].as_u64(), "{rows:?}");
    old_records_are_an_hour_old_or_as_old_as_they_were(&site);
}

/// Each topic with its records and, if its times were moved, by how much. Returns the sum of the records.
fn says_what_was_produced(produced: &str) -> u64 {
    let (mut sum, mut sources) = (0, BTreeSet::new());
    for topic in topics() {
        let text = |name: &str| topic[name].as_str().unwrap_or_else(|| panic!("no {name}: {topic:#}")).to_owned();
        // `owner/repository @ commit`, or `recorded: program`.
        sources.insert(text("source").split([' ', ':']).next().map(str::to_owned));
        let words = line(produced, &text("topic"));
        let records = number(words[1].trim_end_matches(','));
        assert_eq!(Some(records), topic["records"].as_u64(), "{words:?}");
        sum += records;
        if topic["newest_age_seconds"].is_null() {
            assert_eq!(words.len(), 2, "its times are kept: {words:?}");
        } else {
            let [.., "moved", "in", "time", "by", days, "days"] = words[..] else { panic!("by how much? {words:?}") };
            assert!(days.parse::<f64>().is_ok(), "{words:?}");
        }
    }
    assert!(sources.len() >= 8, "too few sources: {sources:?}");
    assert_eq!(number(line(produced, "all")[1]), sum);
    sum
}

/// The law with the figures that `verify` finds.
fn says_the_law(conserved: &str, verified: &Value) {
    let law = line(conserved, "read").join(" ").replace(',', "");
    let [read, rows, windowed, filtered, late, dead_letters] =
        ["read", "rows", "windowed", "filtered", "late", "dead_letters"].map(|name| &verified[name]);
    let expected = format!(
        "read {read} = rows {rows} + windowed {windowed} + filtered {filtered} + late {late} + dead letters {dead_letters}"
    );
    assert_eq!(law, expected);
}

/// Rows by domain and tier, of which each has some.
fn says_where_the_rows_lie(site: &Site, landed: &str, read: u64) {
    assert!(landed.contains(" s until everything was committed and rolled up"), "{landed}");
    assert_eq!(line(landed, "rows"), ["rows", "hot", "warm", "cold"]);
    let all: Vec<u64> = line(landed, "all")[1..].iter().map(|rows| number(rows)).collect();
    assert_eq!(all.iter().sum::<u64>(), read, "dead letters are rows too, and nothing else is left out:\n{landed}");
    let rows = site.sql("SELECT _domain, _tier, count(*) AS rows FROM events GROUP BY 1, 2");
    for row in &rows {
        let (Some(domain), Some(tier)) = (row["_domain"].as_str(), row["_tier"].as_str()) else { panic!("{row}") };
        let column = ["hot", "warm", "cold"].iter().position(|name| *name == tier).expect("there are three tiers");
        assert_eq!(Some(number(line(landed, domain)[1 + column])), row["rows"].as_u64(), "{row}");
    }
    assert!(all.iter().all(|rows| *rows >= 1_000), "every tier holds rows: {all:?}");
}

/// Each question with its statement, a table, and how many rows came after how long.
fn answers_every_question(asked: &str) {
    let file = std::fs::read_to_string(repository().join("deploy/demo/questions.sql")).expect("the questions ship");
    let questions: Vec<&str> = file.lines().filter_map(|line| line.strip_prefix("-- question: ")).collect();
    assert!(questions.len() >= 3, "{questions:?}");
    for question in &questions {
        let (_, answer) = asked.split_once(question).unwrap_or_else(|| panic!("{question:?} is not asked:\n{asked}"));
        assert!(answer.trim_start().starts_with("SELECT"), "{question}:\n{answer}");
        let last = answer.lines().find(|line| line.ends_with(" ms"));
        let last: Vec<&str> = last.unwrap_or_default().split_whitespace().collect();
        let [rows, "rows,", took, "ms"] = last[..] else { panic!("how many rows, how long? {question}:\n{answer}") };
        assert!(number(rows) > 0, "{question} has no answer:\n{answer}");
        number(took);
    }
}

/// A source that is moved in time, and one that is not.
fn old_records_are_an_hour_old_or_as_old_as_they_were(site: &Site) {
    let newest = |topic: &str| {
        site.number(&format!("SELECT CAST(max(event_time) AS BIGINT) AS newest FROM events WHERE _topic = '{topic}'"))
    };
    // An hour at the moment of producing; the rest of the run comes on top.
    let age = now() - newest("wiki.edits");
    assert!((HOUR..HOUR + HOUR / 4).contains(&age), "the newest edit is {age} µs old");
    assert_eq!(newest("sales.targets"), micros_of("2013-09-29 00:00:00"));
}

#[test]
fn demo_empties_no_directory_that_is_not_its_own() {
    // Somebody else's, under names of the demo's too.
    for name in ["mine.txt", "demo/mine.txt", ".thermocline-demo/mine.txt", ".thermocline-demo"] {
        let site = Site::with_own_broker();
        let mine = site.file(&format!("data/{name}"), "kept");
        demo(&site).ended_with(1).says(&["something else than a demo", "--data"]);
        assert_eq!(std::fs::read_to_string(&mine).ok().as_deref(), Some("kept"), "{name}");
    }
}

#[test]
fn demo_empties_no_directory_in_which_something_runs() {
    let site = Site::with_own_broker().rule("said", "chat").flag("--epoch-interval=200ms");
    let mark = site.file("data/.thermocline-demo", "`thermocline demo` may empty this directory\n");
    let mut up = site.start();
    let broker = up.own_broker();
    broker.create("said", 1);
    broker.produce_lines("said", ["{\"text\":\"hello\"}"]);
    // A run shows itself twice a second.
    wait_until("the run and its row", Duration::from_secs(60), || {
        site.data().join("run.json").exists() && site.number("SELECT count(*) FROM chat") == 1
    });
    let pid = format!("process {}", up.pid());
    demo(&site).ended_with(1).says(&[&pid, "is running in", &site.data().display().to_string()]);
    assert!(mark.exists() && up.is_running());
    assert_eq!(site.number("SELECT count(*) FROM chat"), 1);
    broker.produce_lines("said", ["{\"text\":\"and on\"}"]);
    wait_until("another row", Duration::from_secs(60), || site.number("SELECT count(*) FROM chat") == 2);
    up.stop();
    assert_eq!(site.verify()["rows"], 2);
}

#[test]
fn records_that_ship_agree_with_their_manifest() {
    let check = repository().join("deploy/demo/check.py");
    let done = std::process::Command::new("python3").arg(&check).output().expect("python3 can be started");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}: {}\n{said}", check.display(), done.status);
}
