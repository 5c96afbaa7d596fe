//! `kill -9` at any moment: after a restart every record is there, once, and all is as in a run that nobody killed.
//!
//! Moments are counted in steps of the protocol, not in time. Both runs read one broker with one log, into two data
//! directories, at one fixed time.

use rand::Rng;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use thermocline_tests::{
    Broker, Done, Dump, Record, Site, demo_lines, dump, micros_of, on_both_brokers, repository, seed, unique,
};

on_both_brokers!(
    killed_at_twenty_seeded_steps_all_is_as_without_a_kill,
    killed_at_every_named_point_all_is_as_without_a_kill,
    a_run_that_is_killed_and_started_over_and_over_gets_through,
);

/// So many seeded moments.
const KILLS: usize = 20;

/// What all tests here read, and what a run that nobody kills makes of it.
struct Workload {
    broker: Broker,
    prefix: String,
    untouched: Dump,
    steps: u64,
    read: u64,
}

/// When all this happens: the demo's readings of 2013 are warm and cold then, and what comes later is hot.
fn now() -> i64 {
    micros_of("2013-11-08 00:00:00")
}

impl Workload {
    /// Made once a broker for the tests that run at the time.
    fn get(broker: &Broker) -> Arc<Self> {
        static SHARED: Mutex<Vec<Weak<Workload>>> = Mutex::new(vec![]);
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.retain(|workload| workload.strong_count() > 0);
        let mut made = shared.iter().filter_map(Weak::upgrade);
        if let Some(workload) = made.find(|workload| workload.broker.bootstrap() == broker.bootstrap()) {
            return workload;
        }
        let workload = Arc::new(Self::make(broker.clone()));
        shared.push(Arc::downgrade(&workload));
        workload
    }

    fn make(broker: Broker) -> Self {
        let prefix = unique("kill");
        let topics = [
            ("office.climate", 1_200),
            ("bank.questions", 500),
            ("edge.requests", 500),
            ("wiki.edits", 200),
            ("crm.accounts", 300),
            ("github.hooks", 60),
        ];
        let mut read = 0;
        for (topic, most) in topics {
            let name = format!("{prefix}.{topic}");
            broker.create(&name, 2);
            let mut records: Vec<Record> = demo_lines(topic, most).into_iter().map(Record::new).collect();
            // Every topic has dead letters too.
            records.insert(records.len() / 2, Record::new("{\"cut\": off").with_key("k"));
            records.push(Record::new(*b"\xff\xfe"));
            read += records.len() as u64;
            broker.produce(&name, &records);
        }
        let mut workload = Self { broker, prefix, untouched: Dump::new(), steps: 0, read };
        let site = workload.site();
        let count = site.file("steps", "");
        site.up().arg("--once").env("THERMOCLINE_COUNT_STEPS", &count).ok();
        let text = std::fs::read_to_string(&count).expect("the count is there");
        workload.steps = text.trim().parse().unwrap_or_else(|error| panic!("{text:?} steps: {error}"));
        assert!(workload.steps > 30, "a run should pass many steps of the protocol: {}", workload.steps);
        workload.check(&site);
        workload.untouched = dump(&site);
        let tiers = site.texts("SELECT DISTINCT _tier FROM events ORDER BY 1");
        assert_eq!(tiers, ["cold", "hot", "warm"], "the workload should reach all tiers");
        workload
    }

    fn site(&self) -> Site {
        Site::reading(&self.broker)
            .routing(&format!("{}.*", self.prefix))
            .at(now())
            .flag("--epoch-interval=20ms")
            .flag("--no-sync")
    }

    /// Every record is there, once.
    fn check(&self, site: &Site) {
        let verified = site.verify();
        assert_eq!(verified["read"], self.read);
        assert_eq!(site.status()["staged_parts"], 0);
    }

    /// As [`Self::check`], and every table is as if nobody had killed anything.
    fn compare(&self, site: &Site) {
        self.check(site);
        let found = dump(site);
        assert_eq!(found.keys().collect::<Vec<_>>(), self.untouched.keys().collect::<Vec<_>>());
        for (table, rows) in &found {
            let wanted = &self.untouched[table];
            let odd = || {
                let (rows, wanted): (BTreeSet<_>, BTreeSet<_>) = (rows.iter().collect(), wanted.iter().collect());
                let more = rows.difference(&wanted).take(3).copied().cloned().collect::<Vec<_>>();
                let less = wanted.difference(&rows).take(3).copied().cloned().collect::<Vec<_>>();
                format!("only after the kill: {more:#?}\nonly without: {less:#?}")
            };
            assert!(rows == wanted, "{table}: {} rows, {} without a kill\n{}", rows.len(), wanted.len(), odd());
        }
    }
}

/// Runs until `at`. True when the process was killed there, false when it ended well before.
#[track_caller]
fn killed(site: &Site, at: &str) -> bool {
    let done: Done = site.up().arg("--once").env("THERMOCLINE_CRASH_AT", at).run();
    if done.was_killed() {
        done.logged_no_other_error();
        return true;
    }
    done.ended_with(0);
    false
}

fn killed_at_twenty_seeded_steps_all_is_as_without_a_kill(broker: &Broker) {
    let workload = Workload::get(broker);
    let mut random = seed();
    println!("a run without a kill passes {} steps", workload.steps);
    let mut kills = 0;
    for number in 0..2 * KILLS {
        if kills == KILLS {
            break;
        }
        // One of twenty equal shares of the run each, so that every phase is met; then, for those that were not
        // reached, from the first share on.
        let share = workload.steps as f64 / KILLS as f64;
        let step = (((number % KILLS) as f64 + random.random::<f64>()) * share) as u64 + 1;
        let site = workload.site();
        print!("step {step}: ");
        if !killed(&site, &format!("step:{step}")) {
            // Epochs are made by the clock: this run had fewer of them.
            println!("not reached");
            continue;
        }
        kills += 1;
        // Some are killed again while they recover.
        let again = random.random_range(1..12_u64);
        if number % 3 == 0 && killed(&site, &format!("step:{again}")) {
            print!("again at {again}: ");
        }
        site.up_once();
        workload.compare(&site);
        println!("as without a kill");
    }
    assert_eq!(kills, KILLS, "so many runs got to their step");
}

/// The names of all crash points in the sources.
fn crash_points() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders: Vec<_> =
        ["schemas", "sinks", "pipelines", "server"].map(|it| repository().join(it).join("src")).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of sources can be read") {
            let path = entry.expect("its entries too").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("sources are text");
                let calls = text.split("crash_point!(\"").skip(1);
                names.extend(calls.filter_map(|rest| rest.split_once('"')).map(|(name, _)| name.to_owned()));
            }
        }
    }
    names
}

fn killed_at_every_named_point_all_is_as_without_a_kill(broker: &Broker) {
    let workload = Workload::get(broker);
    let names = crash_points();
    assert!(names.len() >= 5, "the protocol has more steps than {names:?}");
    let mut unmet = vec![];
    for name in &names {
        let mut site = workload.site();
        let mut met = killed(&site, &format!("{name}:1"));
        if !met {
            // A point that only recovery passes: there must be something to recover.
            site = workload.site();
            let before = names
                .iter()
                .find(|name| name.ends_with("::staged"))
                .map_or("step:20".into(), |name| format!("{name}:1"));
            assert!(killed(&site, &before), "{before} is passed by every run");
            met = killed(&site, &format!("{name}:1"));
        }
        if !met {
            // A point of the clean-up: there must be history that is long past.
            site = workload.site();
            site.up_once();
            site = site.at(now() + 3_600_000_000);
            met = killed(&site, &format!("{name}:1"));
        }
        site.up_once();
        workload.compare(&site);
        println!("{name}: {}", if met { "as without a kill" } else { "not met" });
        if !met {
            unmet.push(name);
        }
    }
    assert!(unmet.is_empty(), "no run passes these: {unmet:?}");
}

fn a_run_that_is_killed_and_started_over_and_over_gets_through(broker: &Broker) {
    let workload = Workload::get(broker);
    let mut random = seed();
    let site = workload.site();
    for _ in 0..8 {
        killed(&site, &format!("step:{}", random.random_range(2..workload.steps / 4)));
    }
    site.up_once();
    workload.compare(&site);
}

#[test]
fn a_run_that_is_killed_with_its_own_broker_loses_no_acknowledged_record() {
    const WANTED: usize = 6;
    const LINES: usize = 400;
    let mut random = seed();
    // As by default: the broker inside `up`, the pipeline that ships, everything synced.
    let site = Site::with_own_broker().rule("*", "chat");
    let (mut written, mut kills) = (0, 0);
    for round in 0..3 * WANTED {
        if kills == WANTED {
            break;
        }
        let mut up = site.start();
        let broker = up.own_broker();
        if round == 0 {
            broker.create("said", 2);
        }
        broker.produce_lines("said", (written..written + LINES).map(|n| format!("{{\"text\":\"say {n}\"}}")));
        written += LINES;
        // What is acknowledged stays, wherever the run and its broker are with it.
        up.kill();
        // The next run has these records to read, commit and roll up, and dies of it too.
        let step = random.random_range(1..=10_u64);
        let met = killed(&site, &format!("step:{step}"));
        println!("step {step}: {}", if met { "killed" } else { "not reached" });
        kills += usize::from(met);
    }
    assert_eq!(kills, WANTED, "so many runs got to their step");
    site.up_once();
    let written = i64::try_from(written).expect("a count fits");
    assert_eq!(site.verify()["rows"], written);
    assert_eq!(site.number("SELECT count(*) FROM chat"), written);
    assert_eq!(site.number("SELECT count(DISTINCT text) FROM chat"), written);
}
