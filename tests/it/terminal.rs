//! What a person at a terminal sees, and a pipe does not.

use std::io::Write;
use std::process::{Command, Stdio};
use thermocline_tests::{Broker, Site, binary, unique};

/// `produce` tells its progress every thousand records and at the end.
const LINES: usize = 2_001;

/// Runs `line` under a pseudo terminal; returns all that it draws. None where util-linux has no `script` for it.
fn under_a_terminal(line: &str) -> Option<String> {
    let version = Command::new("script").arg("--version").stderr(Stdio::null()).output();
    if !version.is_ok_and(|version| String::from_utf8_lossy(&version.stdout).contains("util-linux")) {
        // Not `println!`: the test runner keeps that to itself when a test passes.
        let _ = writeln!(std::io::stdout(), "\nskipped: there is no `script` of util-linux to make a terminal");
        return None;
    }
    let mut script = Command::new("script");
    script.args(["-qec", line, "/dev/null"]).env("TERM", "xterm").env("SHELL", "/bin/sh").stdin(Stdio::null());
    let done = script.output().expect("script runs");
    let drawn = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "`{line}` ended with {}:\n{drawn}", done.status);
    Some(drawn)
}

#[test]
fn produce_draws_its_progress_on_a_terminal_only() {
    let broker = Broker::embedded();
    let site = Site::reading(&broker);
    let lines: String = (0..LINES).map(|n| format!("say {n}\n")).collect();
    let file = site.file("lines.txt", &lines);
    let (drawn, piped) = (unique("drawn"), unique("piped"));
    let produce = ["produce", "--kafka", broker.bootstrap(), "--topic"];
    let progress = "2,000 records, 0 MiB";

    let plain = Command::new(binary()).args(produce).arg(&piped).arg(&file).output().expect("the binary runs");
    let (said, log) = (String::from_utf8_lossy(&plain.stdout), String::from_utf8_lossy(&plain.stderr));
    assert!(plain.status.success() && said.contains(&format!("2,001 records to {piped}")), "{said}{log}");
    assert!(!format!("{said}{log}").contains(progress) && !log.contains('\u{1b}'), "a pipe gets no bar: {said}{log}");

    let line = format!("'{}' {} {drawn} '{}'", binary().display(), produce.join(" "), file.display());
    let Some(seen) = under_a_terminal(&line) else { return };
    assert!(seen.contains(progress) && seen.contains("\r\u{1b}[2K"), "a bar is drawn, and drawn again: {seen:?}");
    assert!(seen.contains(&format!("2,001 records to {drawn}")), "{seen:?}");
}
