//! A backlog larger than the memory that may be used.

use std::time::Duration;
use thermocline_tests::{Broker, Site, demo_lines};

// On one broker: it is about the memory of our own process, and half a gigabyte of records takes long to write and read.
#[test]
fn a_backlog_larger_than_the_budget_runs_through_within_it() {
    let small = most_resident_mib("backlog-small", 80_000);
    let large = most_resident_mib("backlog-large", 240_000);
    assert!(small > 0, "the memory of the process should be known");
    // Both are enough for two lanes of a rollup. Three times the backlog, and no more memory but for what allocators and caches scatter.
    assert!(large <= small + small / 4 + 32, "{small} MiB for the smaller backlog, {large} MiB for the larger");
}

/// Reads `records` records of about a kilobyte and a half with a budget of 32 MiB, and returns the most memory held.
fn most_resident_mib(topic: &str, records: usize) -> u64 {
    let broker = Broker::embedded();
    let topic = broker.topic(topic, 4);
    let questions = demo_lines("bank.questions", 1_800);
    let padding = "and so on ".repeat(140);
    for chunk in 0..records / 5_000 {
        let line =
            |n: usize| questions[(chunk * 5_000 + n) % questions.len()].replace("\"}", &format!(" {padding}{n}\"}}"));
        broker.produce_lines(&topic, (0..5_000).map(line));
    }
    let site = Site::reading(&broker).routing(&topic).rule("*", "chat").flag("--memory-mib=32").flag("--no-sync");
    let mut up = thermocline_tests::Running::start(site.up().arg("--once"));
    let run_file = site.data().join("run.json");
    let (mut most, mut seen, mut resident) = (0, 0, 0);
    thermocline_tests::wait_until("the end of the run", Duration::from_secs(240), || {
        if let Some(run) =
            std::fs::read(&run_file).ok().and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
        {
            let (used, budget) = (run["run"]["used_bytes"].as_u64(), run["run"]["budget_bytes"].as_u64());
            assert_eq!(budget, Some(32 << 20), "the whole budget is shown: {run:#}");
            // Two clients share 8 MiB for sixteen partitions each: the four that there are may queue 256 KiB each.
            assert!(used >= Some(1 << 20) && used <= budget, "the clients' queues count too: {run:#}");
            (most, seen) = (most.max(used.unwrap_or_default()), seen + 1);
        }
        resident = resident.max(resident_mib(up.pid()));
        !up.is_running()
    });
    up.wait(Duration::from_secs(5)).ended_with(0);
    println!("{records} records: {seen} looks, at most {most} bytes under way, {resident} MiB resident");
    assert!(seen > 0 && most > 0, "the run should be seen while it works");
    assert_eq!(site.verify()["rows"], records);
    resident
}

/// The most that a process has had in memory.
fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() / 1024
}
