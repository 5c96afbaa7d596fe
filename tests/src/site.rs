//! A data directory, the broker it reads, the pipelines it runs.

use crate::broker::Broker;
use crate::command::{Command, Done};
use crate::running::Running;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Everything one test needs. The directory goes with it, unless the test fails.
#[derive(Debug)]
pub struct Site {
    dir: Option<TempDir>,
    kafka: Option<String>,
    pipelines: Vec<PathBuf>,
    workers: usize,
    flags: Vec<String>,
    now: Option<i64>,
}

impl Site {
    /// A new data directory that reads `broker`.
    pub fn reading(broker: &Broker) -> Self {
        let mut site = Self::with_own_broker();
        site.kafka = Some(broker.bootstrap().to_owned());
        site
    }

    /// A new data directory with the embedded broker inside `up`.
    pub fn with_own_broker() -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        Self { dir: Some(dir), kafka: None, pipelines: vec![], workers: 2, flags: vec![], now: None }
    }

    /// Runs this pipeline too, instead of the one that ships.
    #[must_use]
    pub fn pipeline(mut self, sql: &str) -> Self {
        let path = self.file(&format!("{}.sql", crate::unique("pipeline")), sql);
        self.pipelines.push(path);
        self
    }

    /// Runs a pipeline that classifies every record of the topics that match `pattern`, whatever its format.
    #[must_use]
    pub fn routing(self, pattern: &str) -> Self {
        self.pipeline(&format!(
            "CREATE EXTERNAL TABLE incoming STORED AS KAFKA LOCATION '{pattern}';
             INSERT INTO domains SELECT * FROM incoming;"
        ))
    }

    /// Forgets the pipelines, to run others from now on.
    #[must_use]
    pub fn without_pipelines(mut self) -> Self {
        self.pipelines.clear();
        self
    }

    /// Runs with so many threads; two unless this is said.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// One more argument of `up`.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// `up` believes that it is `now`, µs since the Unix epoch.
    #[must_use]
    pub fn at(mut self, now: i64) -> Self {
        self.now = Some(now);
        self
    }

    /// Writes `pattern = domain` into the rules of this directory.
    #[must_use]
    pub fn rule(self, pattern: &str, domain: &str) -> Self {
        let path = self.data().join("topics.toml");
        let mut rules = std::fs::read_to_string(&path).unwrap_or_default();
        rules.push_str(&format!("[[topic]]\npattern = \"{pattern}\"\ndomain = \"{domain}\"\n"));
        self.file("data/topics.toml", &rules);
        self
    }

    fn root(&self) -> &Path {
        self.dir.as_ref().expect("it goes with the site").path()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    /// The segments on disk, of all generations.
    pub fn segments(&self) -> BTreeSet<PathBuf> {
        let entries =
            |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        entries(self.data().join("staged")).flat_map(entries).collect()
    }

    /// Writes a file beside the data directory, or in it (`data/…`).
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.root().join(name);
        std::fs::create_dir_all(path.parent().expect("it lies in the directory")).expect("a folder can be made");
        std::fs::write(&path, text).expect("a file can be written");
        path
    }

    /// `thermocline <name> --data DIR`.
    pub fn command(&self, name: &str) -> Command {
        Command::new(name).arg("--data").arg(self.data())
    }

    /// `thermocline up` with everything this site says.
    pub fn up(&self) -> Command {
        let mut command = self.command("up");
        command = match &self.kafka {
            Some(bootstrap) => command.args(["--kafka", bootstrap]),
            None => command.args(["--kafka-port", "0"]),
        };
        for pipeline in &self.pipelines {
            command = command.arg("--pipeline").arg(pipeline);
        }
        command = command.args(["--workers", &self.workers.to_string()]).args(&self.flags);
        match self.now {
            Some(now) => command.env("THERMOCLINE_NOW", now.to_string()),
            None => command,
        }
    }

    /// `up --once`; it must succeed.
    #[track_caller]
    pub fn up_once(&self) -> Done {
        self.up().arg("--once").ok()
    }

    /// Starts `up`.
    pub fn start(&self) -> Running {
        Running::start(self.up())
    }

    /// The rows of an answer, by column name.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> Vec<Value> {
        let done = self.command("sql").args(["--format", "json", sql]).ok();
        let row = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        done.stdout.lines().filter(|line| !line.is_empty()).map(row).collect()
    }

    /// The one number that a statement answers.
    ///
    /// # Panics
    /// When it answers something else.
    #[track_caller]
    pub fn number(&self, sql: &str) -> i64 {
        let rows = self.sql(sql);
        let only = rows.first().and_then(Value::as_object).and_then(|row| row.values().next());
        only.and_then(Value::as_i64).filter(|_| rows.len() == 1).unwrap_or_else(|| panic!("{sql}: {rows:?}"))
    }

    /// The first column of an answer, as text.
    #[track_caller]
    pub fn texts(&self, sql: &str) -> Vec<String> {
        let first = |row: &Value| row.as_object().and_then(|row| row.values().next()).cloned().unwrap_or_default();
        let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        self.sql(sql).iter().map(|row| text(first(row))).collect()
    }

    /// `verify --json`, which must find nothing wrong and whose figures must add up. Returns them.
    ///
    /// # Panics
    /// When they do not.
    #[track_caller]
    pub fn verify(&self) -> Value {
        let done = self.command("verify").arg("--json").run();
        assert_eq!(done.code(), Some(0), "{done}");
        let verified = done.logged_no_other_error().json();
        assert_eq!(verified["ok"], true, "{verified:#}");
        for figures in verified["branches"].as_array().into_iter().flatten().chain([&verified]) {
            let figure = |name: &str| figures[name].as_u64().unwrap_or_else(|| panic!("no figure {name}: {figures:#}"));
            let sum =
                figure("rows") + figure("windowed") + figure("filtered") + figure("late") + figure("dead_letters");
            assert_eq!(figure("read"), sum, "{figures:#}");
            assert_eq!((figure("missing"), figure("duplicates")), (0, 0), "{figures:#}");
            assert!(figure("open") <= figure("windowed"), "{figures:#}");
        }
        verified
    }

    /// `status --json`.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.command("status").json()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("THERMOCLINE_KEEP").is_some() {
            let kept = self.dir.take().map(TempDir::keep);
            eprintln!("the directory was kept: {}", kept.unwrap_or_default().display());
        }
    }
}
