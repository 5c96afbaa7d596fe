//! Topics in, tables out: every record is one row, in the domain and the tier where it belongs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thermocline_tests::{
    Broker, Record, Running, Site, demo_lines, micros_of, on_both_brokers, unique, wait_for, wait_until,
};

const DAY: i64 = 86_400_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// The tier of a row of this age under the default policy.
fn tier(age: i64) -> &'static str {
    match age {
        age if age < 7 * DAY => "hot",
        age if age < 90 * DAY => "warm",
        _ => "cold",
    }
}

/// A field of a line of JSON.
fn field(line: &str, name: &str) -> serde_json::Value {
    let record: serde_json::Value = serde_json::from_str(line).expect("the demo's records are JSON");
    record[name].clone()
}

fn counted(site: &Site, sql: &str) -> BTreeMap<String, i64> {
    let pair = |row: &serde_json::Value| {
        let key = row["k"].as_str().expect("a key").to_owned();
        (key, row["n"].as_i64().expect("a count"))
    };
    site.sql(sql).iter().map(pair).collect()
}

on_both_brokers!(
    every_record_is_one_row_in_its_domain_and_tier,
    topics_and_partitions_that_appear_are_picked_up_while_it_runs,
    several_inserts_filters_and_expressions_add_up_by_branch,
    ctrl_c_finishes_the_open_epoch_and_prints_rows_by_domain_and_tier,
    a_run_that_reads_once_ends_while_producers_write_on,
    a_run_that_reads_once_and_is_interrupted_says_so_and_the_next_one_reads_the_rest,
);

/// Records of four kinds, of which it is known where they belong.
struct Workload {
    prefix: String,
    /// Of 2014 and of 2015: the day after the newest one, they are hot, warm and cold.
    readings: Vec<String>,
    questions: Vec<String>,
    requests: Vec<String>,
    /// No rule settles where these belong.
    accounts: Vec<String>,
    /// The day after the newest reading.
    now: i64,
    /// The readings by tier.
    tiers: BTreeMap<String, i64>,
}

impl Workload {
    /// Writes all of it, to a topic for each kind.
    fn produced(broker: &Broker) -> Self {
        let readings: Vec<String> = [demo_lines("cloud.readings", 800), demo_lines("road.sensors", 6_000)].concat();
        let times: Vec<i64> =
            readings.iter().map(|line| micros_of(field(line, "timestamp").as_str().expect("a time"))).collect();
        let now = times.iter().max().expect("there are readings") + DAY;
        let mut tiers: BTreeMap<String, i64> = BTreeMap::new();
        for time in &times {
            *tiers.entry(tier(now - time).to_owned()).or_default() += 1;
        }
        assert_eq!(tiers.len(), 3, "the readings should fall into all tiers: {tiers:?}");
        let (questions, requests) = (demo_lines("bank.questions", 600), demo_lines("edge.requests", 400));
        let accounts = demo_lines("crm.accounts", 500);
        let workload = Self { prefix: unique("e2e"), readings, questions, requests, accounts, now, tiers };
        for (name, lines) in [
            ("readings", &workload.readings),
            ("questions", &workload.questions),
            ("requests", &workload.requests),
            ("free", &workload.accounts),
        ] {
            broker.create(&workload.topic(name), 3);
            broker.produce_lines(&workload.topic(name), lines);
        }
        workload
    }

    fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// All its records.
    fn records(&self) -> i64 {
        let kinds = [&self.readings, &self.questions, &self.requests, &self.accounts];
        kinds.iter().map(|lines| lines.len() as i64).sum()
    }

    fn site(&self, broker: &Broker) -> Site {
        let site = Site::reading(broker).routing(&format!("{}.*", self.prefix)).at(self.now);
        let domains = [("readings", "metrics"), ("questions", "chat"), ("requests", "logs")];
        domains.into_iter().fold(site, |site, (name, domain)| site.rule(&self.topic(name), domain))
    }
}

fn every_record_is_one_row_in_its_domain_and_tier(broker: &Broker) {
    let workload = Workload::produced(broker);
    let site = workload.site(broker);
    site.up_once();
    let verified = site.verify();
    assert_eq!((&verified["read"], &verified["rows"]), (&workload.records().into(), &workload.records().into()));
    readings_lie_in_the_tiers_of_their_age_with_their_values(&site, &workload);
    rules_settle_the_domains(&site, &workload);
    every_place_is_there_once(&site, workload.records());
    status_counts_the_same(&site, workload.records());
    another_number_of_threads_goes_on_behind_it(site, broker, &workload);
}

fn readings_lie_in_the_tiers_of_their_age_with_their_values(site: &Site, workload: &Workload) {
    let of_readings = format!("WHERE _topic = '{}'", workload.topic("readings"));
    let tiers = counted(site, &format!("SELECT _tier AS k, count(*) AS n FROM metrics {of_readings} GROUP BY 1"));
    assert_eq!(tiers, workload.tiers);
    let readings = &workload.readings;
    let sum: f64 = readings.iter().map(|line| field(line, "value").as_f64().expect("a number")).sum();
    let found = &site
        .sql(&format!("SELECT sum(value) AS s, count(value) AS n, count(name) AS m FROM metrics {of_readings}"))[0];
    assert!((found["s"].as_f64().expect("a sum") - sum).abs() < 1e-6 * sum.abs(), "{found} should be {sum}");
    assert_eq!((found["n"].as_u64(), found["m"].as_u64()), (Some(readings.len() as u64), Some(readings.len() as u64)));
}

fn rules_settle_the_domains(site: &Site, workload: &Workload) {
    let free = workload.topic("free");
    let domains =
        counted(site, &format!("SELECT _domain AS k, count(*) AS n FROM events WHERE _topic <> '{free}' GROUP BY 1"));
    let settled = [("chat", &workload.questions), ("logs", &workload.requests), ("metrics", &workload.readings)];
    assert_eq!(domains, settled.map(|(domain, lines)| (domain.to_owned(), lines.len() as i64)).into());
    let texts = site.number("SELECT count(*) FROM chat WHERE text LIKE '%card%'");
    assert_eq!(texts, workload.questions.iter().filter(|line| line.contains("card")).count() as i64);
}

fn every_place_is_there_once(site: &Site, all: i64) {
    let once = &site.sql(
        "SELECT count(*) AS n, count(DISTINCT _event_id) AS ids,
         count(DISTINCT concat(_topic, '/', _partition, '@', _offset)) AS places FROM events",
    )[0];
    assert_eq!((once["n"].as_i64(), once["ids"].as_i64(), once["places"].as_i64()), (Some(all), Some(all), Some(all)));
}

fn status_counts_the_same(site: &Site, all: i64) {
    let status = site.status();
    assert_eq!(status["staged_parts"], 0, "{status:#}");
    let tables = status["rows"].as_object().expect("rows by table").values();
    let rows = tables.flat_map(|tiers| tiers.as_object().expect("rows by tier").values());
    assert_eq!(rows.map(|rows| rows.as_i64().expect("a count")).sum::<i64>(), all);
    let next = status["progress"].as_array().expect("progress").iter().map(|it| it["next_offset"].as_i64().unwrap());
    assert_eq!(next.sum::<i64>(), all);
}

fn another_number_of_threads_goes_on_behind_it(site: Site, broker: &Broker, workload: &Workload) {
    let more = demo_lines("office.climate", 300);
    broker.produce_lines(&workload.topic("readings"), &more);
    let all = workload.records() + more.len() as i64;
    let site = site.workers(3);
    site.up_once();
    assert_eq!(site.verify()["read"], all);
    every_place_is_there_once(&site, all);
}

fn topics_and_partitions_that_appear_are_picked_up_while_it_runs(broker: &Broker) {
    let prefix = unique("appear");
    let site = Site::reading(broker)
        .routing(&format!("{prefix}.*"))
        .rule(&format!("{prefix}.*"), "chat")
        .flag("--epoch-interval=200ms");
    let mut up = site.start();
    up.wait_for_line("broker ", PATIENCE);
    up.wait_for_line("no topics yet", PATIENCE);
    let say = |text: &str| Record::new(format!("{{\"text\":\"{text}\"}}"));
    let (first, second) = (format!("{prefix}.first"), format!("{prefix}.second"));

    broker.create(&first, 1);
    broker.produce(&first, &[say("one"), say("two")]);
    wait_until("rows of a new topic", PATIENCE, || site.number("SELECT count(*) FROM chat") == 2);
    broker.grow(&first, 2);
    // A producer may still know the topic with one partition.
    broker.produce(&first, &[say("three").in_partition(1)]);
    wait_until("rows of a new partition", PATIENCE, || site.number("SELECT count(*) FROM chat") == 3);
    broker.create(&second, 2);
    broker.produce(&second, &[say("four")]);
    wait_until("rows of another topic", PATIENCE, || site.number("SELECT count(*) FROM chat") == 4);

    let status = site.status();
    assert_eq!(status["running"]["pid"], up.pid());
    let run = &status["running"]["run"];
    assert_eq!(run["sources"][0]["topics"], serde_json::json!([first, second]), "{run:#}");
    assert!(run["used_bytes"].as_u64() <= run["budget_bytes"].as_u64(), "{run:#}");
    // What is asked beside the run is asked of staged rows; nothing has been rolled up so soon.
    assert_eq!(site.texts("SELECT text FROM chat ORDER BY text"), ["four", "one", "three", "two"]);
    let done = up.stop();
    assert!(done.stdout.contains(&format!("incoming <- {first}")) && done.stdout.contains("chat"), "{done}");
    assert_eq!(site.verify()["rows"], 4);
    assert!(site.status()["running"].is_null());
}

fn several_inserts_filters_and_expressions_add_up_by_branch(broker: &Broker) {
    let topic = broker.topic("orders", 2);
    let orders: Vec<String> = (0..900)
        .map(|n| {
            format!(
                "{{\"id\":{n},\"amount\":{}.5,\"country\":\"{}\",\"unknown\":true}}",
                n % 100,
                ["DE", "FR", "IT"][n % 3]
            )
        })
        .collect();
    broker.produce_lines(&topic, &orders);
    let site = Site::reading(broker).pipeline(&format!(
        "CREATE EXTERNAL TABLE orders (id BIGINT, amount DOUBLE, country TEXT)
           STORED AS KAFKA LOCATION '{topic}' OPTIONS ('format' 'json');
         INSERT INTO integration.large
           SELECT id, amount * 2 AS doubled, upper(country) AS country FROM orders WHERE amount > 50;
         INSERT INTO analytics.everything SELECT id FROM orders WHERE country = 'DE'
           UNION ALL SELECT id FROM orders WHERE country <> 'DE';
         INSERT INTO domains SELECT * FROM orders;"
    ));
    site.up_once();
    let verified = site.verify();
    let large = orders.len() as i64 / 2;
    let branches: Vec<(&str, u64, u64, u64)> = verified["branches"]
        .as_array()
        .expect("the branches")
        .iter()
        .map(|it| {
            let figure = |name: &str| it[name].as_u64().unwrap();
            (it["target"].as_str().unwrap(), figure("read"), figure("rows"), figure("filtered"))
        })
        .collect();
    assert_eq!(
        branches,
        [
            ("integration.large", 900, 450, 450),
            ("analytics.everything", 900, 300, 600),
            ("analytics.everything", 900, 600, 300),
            ("domains", 900, 900, 0),
        ]
    );
    assert_eq!(verified["read"], 900, "the top-level figures are those of `domains`");
    assert_eq!(site.number("SELECT count(*) FROM integration.large WHERE doubled > 100"), large);
    assert_eq!(site.number("SELECT count(DISTINCT id) FROM analytics.everything"), 900);
    assert_eq!(site.status()["dropped_fields"]["orders"], 900);
}

fn ctrl_c_finishes_the_open_epoch_and_prints_rows_by_domain_and_tier(broker: &Broker) {
    let prefix = unique("ctrl-c");
    let (readings, talk) = (format!("{prefix}.readings"), format!("{prefix}.talk"));
    broker.create(&readings, 2);
    broker.create(&talk, 2);
    // Of 2014, so long since cold.
    broker.produce_lines(&readings, demo_lines("cloud.readings", 200));
    broker.produce_lines(&talk, (0..300).map(|n| format!("{{\"text\":\"say {n}\"}}")));
    // Neither the clock nor its share of the memory ends the epoch: only Ctrl-C does.
    let site = Site::reading(broker)
        .routing(&format!("{prefix}.*"))
        .rule(&readings, "metrics")
        .rule(&talk, "chat")
        .flag("--epoch-interval=1h");
    let up = site.start();
    let topics = serde_json::json!([readings, talk]);
    wait_until("the end of both topics", PATIENCE, || {
        let source =
            site.data().join("run.json").exists().then(|| site.status()["running"]["run"]["sources"][0].clone());
        source.is_some_and(|source| source["topics"] == topics && source["lag"] == 0)
    });
    // What the clients had handed over by then, the workers have taken by the snapshot after the next.
    let shown_at = || std::fs::metadata(site.data().join("run.json")).and_then(|file| file.modified()).ok();
    for _ in 0..2 {
        let before = shown_at();
        wait_until("another snapshot", PATIENCE, || shown_at() != before);
    }
    let status = site.status();
    assert!(status["epoch"].is_null() && status["running"]["run"]["used_bytes"].as_u64() > Some(0), "{status:#}");
    assert_eq!(site.number("SELECT count(*) FROM events"), 0, "the epoch is still open");

    let done = up.stop();
    let lines: Vec<Vec<&str>> = done.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let table = [
        ["rows", "hot", "warm", "cold"],
        ["chat", "300", "0", "0"],
        ["metrics", "0", "0", "200"],
        ["all", "300", "0", "200"],
    ];
    assert!(lines.ends_with(&table.map(|line| line.to_vec())), "{done}");
    assert!(site.status()["running"].is_null());
    let found = counted(&site, "SELECT concat(_domain, ' ', _tier) AS k, count(*) AS n FROM events GROUP BY 1");
    assert_eq!(found, [("chat hot", 300), ("metrics cold", 200)].map(|(key, rows)| (key.to_owned(), rows)).into());
    let verified = site.verify();
    assert_eq!((&verified["read"], &verified["rows"]), (&500.into(), &500.into()), "{verified:#}");
}

fn a_run_that_reads_once_ends_while_producers_write_on(broker: &Broker) {
    const EARLY: usize = 20_000;
    const MOST: usize = 500_000;
    let topic = broker.topic("endless", 2);
    broker.produce_lines(&topic, (0..EARLY).map(|n| format!("{{\"text\":\"early {n}\"}}")));
    let site = Site::reading(broker).routing(&topic).rule("*", "chat").flag("--epoch-interval=50ms").workers(1);
    let over = AtomicBool::new(false);
    let written: usize = std::thread::scope(|scope| {
        let write = || {
            let mut written = 0_usize;
            // An end nevertheless, so that a run that does not end fails alone.
            while !over.load(Ordering::Relaxed) && written < MOST {
                broker.produce_lines(&topic, (0..500).map(|n| format!("{{\"text\":\"late {n}\"}}")));
                written += 500;
            }
            written
        };
        let writers = [(); 3].map(|()| scope.spawn(write));
        let once = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            site.up().arg("--once").patience(PATIENCE).ok();
        }));
        over.store(true, Ordering::Relaxed);
        let written = writers.map(|writer| writer.join().expect("the writer does not fail"));
        once.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(written.iter().all(|written| *written < MOST), "the run should end while producers write: {written:?}");
        written.into_iter().sum()
    });
    // Everything that was there at its start, and of what came later no half epochs.
    assert_eq!(site.number("SELECT count(*) FROM chat WHERE text LIKE 'early %'"), EARLY as i64);
    assert_eq!(site.status()["staged_parts"], 0);
    assert!(site.verify()["read"].as_u64().is_some_and(|read| read >= EARLY as u64));
    // The next run goes on behind it.
    site.up_once();
    assert_eq!(site.verify()["rows"], EARLY + written);
    assert_eq!(site.number("SELECT count(DISTINCT _event_id) FROM chat"), (EARLY + written) as i64);
}

fn a_run_that_reads_once_and_is_interrupted_says_so_and_the_next_one_reads_the_rest(broker: &Broker) {
    const BACKLOG: usize = 60_000;
    /// So often a run may be done before it can be interrupted.
    const ROUNDS: usize = 5;
    let topic = broker.topic("interrupted", 2);
    // With so little memory a backlog is many epochs.
    let site = Site::reading(broker).routing(&topic).rule("*", "chat").flag("--memory-mib=16").workers(1);
    let padding = "and so on ".repeat(60);
    let mut written = 0;
    let interrupted = (0..ROUNDS).any(|_| {
        broker.produce_lines(&topic, (0..BACKLOG).map(|n| format!("{{\"text\":\"say {n} {padding}\"}}")));
        written += BACKLOG;
        let before = site.segments();
        let mut up = Running::start(site.up().arg("--once"));
        let runs = wait_for("the first segment", PATIENCE, || {
            let runs = up.is_running();
            (!runs || !site.segments().is_subset(&before)).then_some(runs)
        });
        if runs {
            up.signal(libc::SIGINT);
        }
        let done = up.wait(PATIENCE);
        if done.code() == Some(0) {
            println!("it had read everything before it was interrupted");
            return false;
        }
        done.ended_with(130).says(&["interrupted"]);
        true
    });
    assert!(interrupted, "a run should be interrupted while it reads");
    assert!(site.number("SELECT count(*) FROM chat") > 0, "its last epoch is finished");
    site.verify();
    site.up_once();
    assert_eq!(site.verify()["rows"], written);
    assert_eq!(site.number("SELECT count(DISTINCT _event_id) FROM chat"), written as i64);
    assert_eq!(site.status()["staged_parts"], 0);
}

#[test]
fn the_embedded_broker_inside_up_serves_producers_and_keeps_its_log() {
    let site = Site::with_own_broker().rule("said", "chat").flag("--epoch-interval=200ms");
    let mut up = site.start();
    let broker = up.own_broker();
    let hint = wait_for("the line to paste", PATIENCE, || {
        up.stdout().lines().find(|line| line.contains("thermocline produce")).map(str::to_owned)
    });
    assert!(hint.contains(&format!("--kafka {} --topic", broker.bootstrap())), "{hint}");
    broker.create("said", 1);
    broker.produce_lines("said", ["{\"text\":\"hello\"}"]);
    wait_until("a row", PATIENCE, || site.number("SELECT count(*) FROM chat") == 1);
    up.stop();
    // The next run finds the log, and nothing new in it.
    site.up_once();
    assert_eq!(site.number("SELECT count(*) FROM chat"), 1);
    assert_eq!(site.verify()["read"], 1);
}
