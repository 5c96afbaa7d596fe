//! The broker as clients written by others, in other languages, see it.
//!
//! Each is skipped, and says so, where it is not installed; `tests/foreign/setup.sh` fetches them. Under
//! `THERMOCLINE_REQUIRE_FOREIGN=1` a skip is a failure.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use thermocline_broker::{Broker, BrokerConfig, Fsync};

/// Longer than any of the scripts waits for anything.
const PATIENCE: Duration = Duration::from_secs(180);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name)
}

/// Where `setup.sh` and `tests/kafka.sh` put things.
fn cache() -> PathBuf {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from).join("thermocline")
}

/// Whether a command runs and succeeds.
fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Runs a script with the bootstrap address of a fresh broker as its last argument, if `installed`.
async fn judge(name: &str, installed: bool, command: Command) {
    if !installed {
        let required = std::env::var("THERMOCLINE_REQUIRE_FOREIGN").is_ok_and(|value| value == "1");
        assert!(!required, "{name} is not installed; run broker/tests/foreign/setup.sh");
        // Not `println!`: the test runner keeps that to itself when a test passes.
        let why = "is not installed; broker/tests/foreign/setup.sh installs it";
        writeln!(std::io::stdout(), "\nskipped: {name} {why}").expect("standard output is open");
        return;
    }
    for fsync in [Fsync::Never, Fsync::EveryBatch] {
        let folder = TempDir::new().expect("folder");
        // Small segments, so that every client reads across many.
        let segment_bytes = 256 << 10;
        let data_dir = folder.path().to_path_buf();
        let config = BrokerConfig { data_dir, fsync, segment_bytes, ..BrokerConfig::default() };
        let broker = Broker::start(config).await.expect("broker starts");
        let mut run = tokio::process::Command::new(command.get_program());
        run.args(command.get_args()).arg(broker.bootstrap()).kill_on_drop(true);
        run.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        let output = tokio::time::timeout(PATIENCE, run.output()).await.expect("ends in time").expect("starts");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{name} with {fsync:?}: {}\n{out}\n{err}", output.status);
        println!("{name} with {fsync:?}: {}", out.trim());
        broker.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kcat_is_content() {
    let installed = works(Command::new("kcat").arg("-V"));
    judge("kcat", installed, Command::new(script("kcat.sh"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_is_content() {
    let own = cache().join("foreign/py/bin/python");
    let python = if own.exists() { own } else { PathBuf::from("python3") };
    let installed = works(Command::new(&python).args(["-c", "import confluent_kafka"]));
    let mut command = Command::new(python);
    command.arg(script("confluent.py"));
    judge("confluent-kafka for Python", installed, command).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_is_content() {
    let modules = cache().join("foreign/js/node_modules");
    let mut command = Command::new("node");
    command.env("NODE_PATH", &modules).arg(script("kafkajs.js"));
    let installed = works(Command::new("node").env("NODE_PATH", &modules).args(["-e", "require('kafkajs')"]));
    judge("kafkajs", installed, command).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn java_is_content() {
    let libs = cache().join("kafka/libs");
    let installed = libs.join("pom.xml").exists() && works(Command::new("java").arg("-version"));
    let mut command = Command::new(script("java.sh"));
    command.env("KAFKA_LIBS", libs);
    judge("the Java tools of Apache Kafka", installed, command).await;
}
