//! Reading a topic from another offset, and topics that are not what they were.

use thermocline_tests::{Broker, Record, Site, on_both_brokers};

fn say(range: std::ops::Range<usize>) -> Vec<Record> {
    range.map(|n| Record::new(format!("{{\"text\":\"say {n}\"}}"))).collect()
}

fn reading(broker: &Broker, topic: &str) -> Site {
    Site::reading(broker).routing(topic).rule("*", "chat").flag("--epoch-interval=50ms")
}

/// `reset-offsets`, with the broker.
fn reset(site: &Site, broker: &Broker, topic: &str, to: &str) -> thermocline_tests::Command {
    site.command("reset-offsets").args(["--topic", topic, "--to", to, "--kafka", broker.bootstrap()])
}

/// Source, topic, partition, offsets and kind of every gap.
fn gaps(site: &Site) -> Vec<(i64, i64, i64, String)> {
    let gaps = site.sql("SELECT partition, first_offset, end_offset, kind FROM system.gaps ORDER BY 1, 2");
    let number = |gap: &serde_json::Value, name: &str| gap[name].as_i64().expect("a number");
    gaps.iter()
        .map(|gap| {
            let kind = gap["kind"].as_str().expect("a kind").to_owned();
            (number(gap, "partition"), number(gap, "first_offset"), number(gap, "end_offset"), kind)
        })
        .collect()
}

on_both_brokers!(
    records_that_a_reset_skips_are_listed_as_a_gap,
    records_that_a_reset_reads_again_are_listed_and_verify_stays_meaningful,
    a_topic_made_anew_stops_the_run_until_its_offsets_are_reset,
    a_topic_made_anew_with_fewer_partitions_is_reset_as_a_whole,
    a_wrong_reset_says_what_there_is,
);

fn records_that_a_reset_skips_are_listed_as_a_gap(broker: &Broker) {
    let topic = broker.topic("skip", 1);
    let site = reading(broker, &topic);
    broker.produce(&topic, &say(0..100));
    site.up_once();
    broker.produce(&topic, &say(100..200));
    let answer = reset(&site, broker, &topic, "150").json();
    assert_eq!(answer["reset"][0]["next_offset"], 150, "{answer:#}");
    assert_eq!(gaps(&site), [(0, 100, 150, "reset".into())]);
    site.up_once();
    assert_eq!(site.verify()["rows"], 150);
    assert_eq!(site.number("SELECT count(*) FROM chat WHERE _offset BETWEEN 100 AND 149"), 0);

    broker.produce(&topic, &say(200..300));
    reset(&site, broker, &topic, "latest").ok();
    broker.produce(&topic, &say(300..310));
    site.up_once();
    assert_eq!(site.verify()["rows"], 160);
    assert_eq!(gaps(&site), [(0, 100, 150, "reset".into()), (0, 200, 300, "reset".into())]);
}

fn records_that_a_reset_reads_again_are_listed_and_verify_stays_meaningful(broker: &Broker) {
    let topic = broker.topic("again", 1);
    let site = reading(broker, &topic);
    broker.produce(&topic, &say(0..100));
    site.up_once();
    reset(&site, broker, &topic, "earliest").ok();
    assert_eq!(gaps(&site), [(0, 0, 100, "again".into())]);
    broker.produce(&topic, &say(100..120));
    site.up_once();
    // What was read again is there again, and known to be; anything else twice would still be found.
    let ids = site.number("SELECT count(DISTINCT _event_id) FROM chat");
    assert_eq!(ids, 120, "the same record has the same id");
    let verified = site.verify();
    assert_eq!((&verified["read"], &verified["again"]), (&120.into(), &100.into()), "{verified:#}");
    let words = site.command("verify").ok().stdout;
    assert!(
        words.contains("read 120 = rows 120") && words.contains("100 offsets that reset-offsets had read again"),
        "{words}"
    );
}

fn a_topic_made_anew_stops_the_run_until_its_offsets_are_reset(broker: &Broker) {
    let topic = broker.topic("anew", 1);
    let site = reading(broker, &topic);
    broker.produce(&topic, &say(0..50));
    site.up_once();
    broker.delete(&topic);
    broker.create(&topic, 1);
    broker.produce(&topic, &say(1_000..1_200));
    let stopped = site.up().arg("--once").run().ended_with(1);
    stopped.says(&["made anew", &topic, "thermocline reset-offsets --topic", "--to earliest"]);
    assert_eq!(
        site.number("SELECT count(*) FROM chat"),
        50,
        "nothing of the new topic is read as if it were the old one"
    );
    reset(&site, broker, &topic, "earliest").ok();
    site.up_once();
    assert_eq!(site.number("SELECT count(*) FROM chat"), 250);
    assert_eq!(
        site.number("SELECT count(DISTINCT _event_id) FROM chat"),
        250,
        "offsets of two topics are not confused"
    );
    let done = site.command("verify").run();
    assert_eq!(done.code(), Some(0), "{done}");
}

fn a_topic_made_anew_with_fewer_partitions_is_reset_as_a_whole(broker: &Broker) {
    let topic = broker.topic("fewer", 4);
    let site = reading(broker, &topic);
    broker.produce(&topic, &say(0..40));
    site.up_once();
    broker.delete(&topic);
    broker.create(&topic, 2);
    broker.produce(&topic, &say(1_000..1_100));
    site.up().arg("--once").run().ended_with(1).says(&["made anew", &topic, "--data", "--kafka"]);
    let part = reset(&site, broker, &topic, "earliest").args(["--partition", "0"]).run();
    part.ended_with(1).says(&["made anew", "--partition"]);
    let property = ["--kafka-property", "client.id=reset"];
    let answer = reset(&site, broker, &topic, "earliest").args(property).json();
    assert_eq!(answer["reset"].as_array().map(Vec::len), Some(2), "{answer:#}");
    site.up_once();
    assert_eq!(site.number("SELECT count(*) FROM chat"), 140);
}

fn a_wrong_reset_says_what_there_is(broker: &Broker) {
    let topic = broker.topic("wrong", 2);
    let site = reading(broker, &topic);
    broker.produce(&topic, &say(0..10));
    site.up_once();
    reset(&site, broker, &topic, "yesterday").run().ended_with(1).says(&["yesterday", "earliest", "latest"]);
    reset(&site, broker, &topic, "5000").run().ended_with(1).says(&[&topic, "5000"]);
    reset(&site, broker, "nothing-here", "earliest").run().ended_with(1).says(&["nothing-here"]);
    reset(&site, broker, &topic, "earliest").args(["--partition", "7"]).run().ended_with(1).says(&["7", "2"]);
    reset(&site, broker, &topic, "earliest").args(["--source", "other"]).run().ended_with(1).says(&["incoming"]);
    assert_eq!(gaps(&site), []);
}

#[test]
fn the_embedded_broker_needs_no_address_to_reset() {
    let site = Site::with_own_broker().rule("*", "chat").flag("--epoch-interval=50ms");
    let mut up = site.start();
    let broker = up.own_broker();
    broker.create("said", 1);
    broker.produce("said", &say(0..20));
    thermocline_tests::wait_until("the rows", std::time::Duration::from_secs(60), || {
        site.number("SELECT count(*) FROM chat") == 20
    });
    up.stop();
    site.command("reset-offsets").args(["--topic", "said", "--to", "5"]).ok();
    assert_eq!(gaps(&site), [(0, 5, 20, "again".into())]);
}
