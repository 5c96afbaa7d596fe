//! A topic that is mostly unusable pauses with a clear message instead of being dead-lettered to its end.

use std::time::Duration;
use thermocline_tests::{Broker, Site, on_both_brokers, unique, wait_until};

const DEAD: usize = 12_000;
const GOOD: usize = 3_000;

on_both_brokers!(
    a_topic_of_dead_letters_pauses_survives_a_restart_and_goes_on_after_resume,
    a_topic_resumes_while_up_runs,
);

fn a_topic_of_dead_letters_pauses_survives_a_restart_and_goes_on_after_resume(broker: &Broker) {
    let prefix = unique("breaker");
    let (bad, good) = (format!("{prefix}.bad"), format!("{prefix}.good"));
    broker.create(&bad, 1);
    broker.create(&good, 1);
    broker.produce_lines(&bad, (0..DEAD).map(|n| format!("{{\"text\": {n}")));
    broker.produce_lines(&bad, (0..GOOD).map(|n| format!("{{\"text\":\"good {n}\"}}")));
    broker.produce_lines(&good, (0..500).map(|n| format!("{{\"text\":\"other {n}\"}}")));
    let site = Site::reading(broker).routing(&format!("{prefix}.*")).rule("*", "chat").flag("--epoch-interval=50ms");
    let once = || site.up().arg("--once").announce("topic paused");
    let of = |topic: &str, table: &str| site.number(&format!("SELECT count(*) FROM {table} WHERE _topic = '{topic}'"));

    let paused = once().run().ended_with(4).says(&["paused: ", &bad, "dead letters", "thermocline resume"]);
    assert!(!paused.stderr.contains(&good), "the other topic is fine: {paused}");
    let data = site.data().canonicalize().expect("it is there");
    let commands = ["dead-letters list", "resume"]
        .map(|command| format!("`thermocline {command} --topic {bad} --data {}`", data.display()));
    let told = paused.stderr.lines().find(|line| line.starts_with("paused: ")).expect("it was told").to_owned();
    let status = site.command("status").ok().stdout;
    for command in &commands {
        assert!(told.contains(command) && status.contains(command), "to paste: {command}\n{told}\n{status}");
        assert!(paused.errors()[0].contains(command), "{paused}");
    }
    let dead = of(&bad, "dead_letters");
    assert!(dead >= 10_000, "{dead} dead letters were committed");
    assert_eq!(of(&good, "chat"), 500, "the other topic flowed on");
    site.verify();
    assert_eq!(site.status()["paused"][0]["topic"], bad.as_str());

    // It stays paused over a restart, and the other topic goes on.
    broker.produce_lines(&good, ["{\"text\":\"one more\"}"]);
    let read = site.verify()["read"].clone();
    once().run().ended_with(4).says(&["paused: ", &bad]);
    assert_eq!(of(&good, "chat"), 501);
    assert_eq!(
        site.verify()["read"].as_i64(),
        read.as_i64().map(|read| read + 1),
        "nothing of the paused topic is read"
    );

    let wrong = site.command("resume").args(["--topic", "nothing"]).run().ended_with(1);
    assert!(wrong.stderr.contains("not paused") && wrong.stderr.contains(&bad), "{wrong}");
    let resumed = site.command("resume").args(["--topic", &bad]).json();
    assert_eq!(resumed["resumed"], serde_json::json!([bad]));
    site.up_once();
    assert_eq!((of(&bad, "dead_letters"), of(&bad, "chat")), (DEAD as i64, GOOD as i64));
    assert_eq!(site.verify()["dead_letters"], DEAD);
}

fn a_topic_resumes_while_up_runs(broker: &Broker) {
    let topic = broker.topic("resume", 1);
    broker.produce_lines(&topic, (0..11_000).map(|n| format!("{{{n}")));
    let site = Site::reading(broker).routing(&topic).rule("*", "chat").flag("--epoch-interval=50ms");
    let patience = Duration::from_secs(60);
    let up = thermocline_tests::Running::start(site.up().announce("topic paused"));
    wait_until("the data directory", patience, || site.data().join("run.json").exists());
    wait_until("the pause", patience, || {
        !site.status()["running"]["run"]["paused"].as_array().is_none_or(Vec::is_empty)
    });
    site.command("resume").ok();
    broker.produce_lines(&topic, ["{\"text\":\"good\"}"]);
    wait_until("the row behind the dead letters", patience, || site.number("SELECT count(*) FROM chat") == 1);
    assert_eq!(site.number("SELECT count(*) FROM dead_letters"), 11_000);
    up.stop();
    site.verify();
}
