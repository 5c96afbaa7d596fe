//! Where rows land by their age, and that a query reads no tier it does not need.

use std::collections::BTreeMap;
use thermocline_tests::{Broker, Site, on_both_brokers};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// 15 June 2024, noon.
const NOW: i64 = 1_718_452_800_000_000;

/// Ages, with the tier where the default policy puts them.
const AGES: &[(i64, &str)] = &[
    (HOUR, "hot"),
    (-DAY, "hot"),
    (7 * DAY - 1_000_000, "hot"),
    (7 * DAY, "warm"),
    (30 * DAY, "warm"),
    (90 * DAY - 1_000_000, "warm"),
    (90 * DAY, "cold"),
    (400 * DAY, "cold"),
    (9_000 * DAY, "cold"),
];

/// Records of all `ages`, a few of each; their `value` is the index of the age.
fn lines(ages: &[(i64, &str)]) -> Vec<String> {
    let line = |(index, (age, _)): (usize, &(i64, &str))| {
        let time = chrono::DateTime::from_timestamp_micros(NOW - age).expect("a time").to_rfc3339();
        format!("{{\"metric\":\"load\",\"value\":{index},\"timestamp\":\"{time}\"}}")
    };
    (0..4).flat_map(|_| ages.iter().enumerate().map(line).collect::<Vec<_>>()).collect()
}

fn tiers_by_value(site: &Site) -> BTreeMap<i64, Vec<String>> {
    let mut tiers: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for row in site.sql("SELECT DISTINCT value, _tier FROM metrics ORDER BY 1, 2") {
        let value = row["value"].as_f64().expect("a value") as i64;
        tiers.entry(value).or_default().push(row["_tier"].as_str().expect("a tier").to_owned());
    }
    tiers
}

/// The tiers that the plan of a statement scans.
fn scanned(site: &Site, sql: &str) -> Vec<&'static str> {
    let rows = site.sql(&format!("EXPLAIN {sql}"));
    let physical =
        rows.iter().find(|row| row["plan_type"] == "physical_plan").expect("EXPLAIN shows the physical plan");
    let plan = physical["plan"].as_str().expect("a plan is text");
    ["hot", "warm", "cold"].into_iter().filter(|tier| plan.contains(&format!("tier={tier}"))).collect()
}

on_both_brokers!(
    old_and_new_records_of_one_domain_land_by_their_age,
    a_tier_or_a_time_range_reads_only_what_it_needs,
    a_domain_can_say_how_long_its_rows_stay_hot_and_warm,
);

fn old_and_new_records_of_one_domain_land_by_their_age(broker: &Broker) {
    let topic = broker.topic("ages", 2);
    broker.produce_lines(&topic, lines(AGES));
    let site = Site::reading(broker).routing(&topic).rule(&topic, "metrics").at(NOW);
    site.up_once();
    site.verify();
    let expected: BTreeMap<i64, Vec<String>> =
        AGES.iter().enumerate().map(|(index, (_, tier))| (index as i64, vec![(*tier).to_owned()])).collect();
    assert_eq!(tiers_by_value(&site), expected);
    let rows = &site.status()["rows"]["metrics"];
    assert_eq!(rows, &serde_json::json!({"hot": 12, "warm": 12, "cold": 12}));
}

fn a_tier_or_a_time_range_reads_only_what_it_needs(broker: &Broker) {
    let topic = broker.topic("pruned", 1);
    broker.produce_lines(&topic, lines(AGES));
    let site = Site::reading(broker).routing(&topic).rule(&topic, "metrics").at(NOW);
    // Staged first: prunes by the bounds of parts; then rolled up: by those of table versions.
    let mut up = site.start();
    up.wait_for_line("topic ", std::time::Duration::from_secs(60));
    thermocline_tests::wait_until("all rows", std::time::Duration::from_secs(60), || {
        site.number("SELECT count(*) FROM metrics") == 4 * AGES.len() as i64
    });
    up.stop();
    assert!(site.status()["staged_parts"].as_u64() > Some(0), "nothing is rolled up yet");
    for rolled_up in [false, true] {
        if rolled_up {
            site.up_once();
            assert_eq!(site.status()["staged_parts"], 0);
        }
        let cases: [(&str, &[&str], i64); 8] = [
            ("true", &["hot", "warm", "cold"], 36),
            ("_tier = 'cold'", &["cold"], 12),
            ("_tier IN ('hot', 'warm')", &["hot", "warm"], 24),
            ("_tier <> 'hot'", &["warm", "cold"], 24),
            ("event_time >= TIMESTAMP '2024-06-10T00:00:00Z'", &["hot"], 8),
            ("event_time < TIMESTAMP '2024-01-01T00:00:00Z'", &["cold"], 8),
            (
                "event_time >= TIMESTAMP '2024-04-01T00:00:00Z' AND event_time < TIMESTAMP '2024-06-01T00:00:00Z'",
                &["warm"],
                4,
            ),
            ("event_time > TIMESTAMP '2030-01-01T00:00:00Z'", &[], 0),
        ];
        for (predicate, tiers, rows) in cases {
            let from = format!("FROM metrics WHERE {predicate}");
            assert_eq!(site.number(&format!("SELECT count(*) {from}")), rows, "{predicate}, rolled up: {rolled_up}");
            assert_eq!(scanned(&site, &format!("SELECT value {from}")), tiers, "{predicate}, rolled up: {rolled_up}");
            let events = format!("SELECT _event_id FROM events WHERE _domain = 'metrics' AND ({predicate})");
            assert_eq!(scanned(&site, &events), tiers, "events, {predicate}, rolled up: {rolled_up}");
        }
        assert_eq!(scanned(&site, "SELECT 1 FROM events WHERE _domain = 'chat'"), [""; 0]);
    }
}

fn a_domain_can_say_how_long_its_rows_stay_hot_and_warm(broker: &Broker) {
    let topic = broker.topic("policy", 1);
    broker.produce_lines(&topic, lines(&[(HOUR / 2, "hot"), (2 * HOUR, "warm"), (5 * HOUR, "cold")]));
    let site = Site::reading(broker).rule(&topic, "metrics").at(NOW).pipeline(&format!(
        "CREATE EXTERNAL TABLE metrics STORED AS TIERED LOCATION 'metrics'
           OPTIONS ('hot_for' '1 hour', 'warm_for' '4 hours');
         CREATE EXTERNAL TABLE incoming STORED AS KAFKA LOCATION '{topic}';
         INSERT INTO domains SELECT * FROM incoming;"
    ));
    site.up_once();
    let expected = [(0, "hot"), (1, "warm"), (2, "cold")].map(|(value, tier)| (value, vec![tier.to_owned()]));
    assert_eq!(tiers_by_value(&site), expected.into());
}
