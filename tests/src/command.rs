//! One command of the binary: run to its end, with a deadline, its output kept.

use crate::binary::thermocline;
use crate::wait::wait_for;
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a command may take unless a test says otherwise: far beyond what is usual, so that only a hang fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// A command of the binary that has not run yet.
#[derive(Debug)]
pub struct Command {
    pub(crate) command: std::process::Command,
    line: String,
    stdin: Option<Vec<u8>>,
    patience: Duration,
    announced: Vec<String>,
}

impl Command {
    /// `thermocline <name>`. Its environment holds nothing that would change what it does, and its log is JSON.
    pub fn new(name: &str) -> Self {
        let mut command = std::process::Command::new(thermocline());
        for variable in
            ["RUST_LOG", "THERMOCLINE_DATA", "THERMOCLINE_NOW", "THERMOCLINE_CRASH_AT", "THERMOCLINE_COUNT_STEPS"]
        {
            command.env_remove(variable);
        }
        command.args(["--log-format", "json", name]);
        die_with_parent(&mut command);
        let line = format!("thermocline {name}");
        Self { command, line, stdin: None, patience: PATIENCE, announced: vec![] }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.line.push_str(&format!(" {}", argument.as_ref().display()));
        self.command.arg(argument);
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args(self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.line = format!("{name}={} {}", value.as_ref().display(), self.line);
        self.command.env(name, value);
        self
    }

    /// What it reads from standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// How long it may take.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// An error line that this command is expected to log: one that contains `text`.
    #[must_use]
    pub fn announce(mut self, text: &str) -> Self {
        self.announced.push(text.to_owned());
        self
    }

    /// Starts it, its pipes in our hands.
    pub(crate) fn spawn(mut self) -> (Child, Expected) {
        let stdin = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{} cannot start: {error}", self.line));
        if let (Some(bytes), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            // A command that does not read to the end has its reasons; its status tells.
            std::thread::spawn(move || pipe.write_all(&bytes));
        }
        (child, Expected { line: self.line, announced: self.announced })
    }

    /// Runs it to its end, whatever that is.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn run(self) -> Done {
        let patience = self.patience;
        let (mut child, expected) = self.spawn();
        let stdout = read_all(child.stdout.take().expect("it is piped"));
        let stderr = read_all(child.stderr.take().expect("it is piped"));
        let status = ended(&mut child, &expected.line, patience);
        let text = |reader: JoinHandle<Vec<u8>>| reader.join().expect("reading a pipe does not panic");
        Done::new(expected, status, text(stdout), text(stderr))
    }

    /// Runs it; it must succeed.
    ///
    /// # Panics
    /// When it fails, logs an error that was not announced, or does not end in time.
    #[track_caller]
    pub fn ok(self) -> Done {
        self.run().ended_with(0)
    }

    /// Runs it with `--json`; it must succeed. Returns its object.
    ///
    /// # Panics
    /// As [`Command::ok`], and when what it prints is not one JSON object.
    #[track_caller]
    pub fn json(self) -> Value {
        self.arg("--json").ok().json()
    }
}

/// What is known of a command before it ends.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub(crate) line: String,
    pub(crate) announced: Vec<String>,
}

/// Ends the child when the test process ends, however that comes about.
fn die_with_parent(command: &mut std::process::Command) {
    // SAFETY: between fork and exec only one system call is made, on plain numbers.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = vec![];
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// Waits for the child; kills it when it takes too long, and panics then.
#[track_caller]
pub(crate) fn ended(child: &mut Child, line: &str, patience: Duration) -> ExitStatus {
    let deadline = std::time::Instant::now() + patience;
    wait_for(&format!("the end of `{line}`"), patience + Duration::from_secs(5), || {
        let status = child.try_wait().expect("a child can be waited for");
        if status.is_none() && std::time::Instant::now() > deadline {
            let _ = child.kill();
            panic!("`{line}` did not end within {patience:?}");
        }
        status
    })
}

/// A command that has ended.
#[derive(Debug)]
pub struct Done {
    line: String,
    announced: Vec<String>,
    status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// Its log, and its last words.
    pub stderr: String,
}

impl Done {
    pub(crate) fn new(expected: Expected, status: ExitStatus, stdout: Vec<u8>, stderr: Vec<u8>) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { line: expected.line, announced: expected.announced, status, stdout: text(stdout), stderr: text(stderr) }
    }

    /// The exit status; none if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// True when SIGKILL ended it: a crash point.
    pub fn was_killed(&self) -> bool {
        self.status.signal() == Some(libc::SIGKILL)
    }

    /// Checks its exit status and its log.
    ///
    /// # Panics
    /// When it ended otherwise, or logged an error that was not announced.
    #[track_caller]
    pub fn ended_with(self, code: i32) -> Self {
        assert!(self.code() == Some(code), "it should end with status {code}:\n{self}");
        self.logged_no_other_error()
    }

    /// Checks its log alone.
    ///
    /// # Panics
    /// When it logged an error that was not announced.
    #[track_caller]
    pub fn logged_no_other_error(self) -> Self {
        let unexpected = self.errors().into_iter().find(|line| !self.announced.iter().any(|text| line.contains(text)));
        assert!(unexpected.is_none(), "it logged an error: {}\n{self}", unexpected.unwrap_or_default());
        self
    }

    /// The error lines of its log.
    pub fn errors(&self) -> Vec<String> {
        let is_error = |line: &&str| {
            let object: Option<Value> = serde_json::from_str(line).ok();
            object.is_some_and(|object| object["level"] == "ERROR") || line.contains("panicked at")
        };
        self.stderr.lines().filter(is_error).map(str::to_owned).collect()
    }

    /// Checks that its last words contain every one of `texts`.
    ///
    /// # Panics
    /// When one is not there.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "it should say {text:?}:\n{self}");
        }
        self
    }

    /// What it printed, as one JSON object.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        let value: Value =
            serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON was printed: {error}\n{self}"));
        assert!(value.is_object(), "one JSON object should be printed:\n{self}");
        value
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "`{}` ended with {}", self.line, self.status)?;
        for (name, text) in [("standard output", &self.stdout), ("standard error", &self.stderr)] {
            if !text.trim().is_empty() {
                let shown: String = text.chars().take(8_000).collect();
                writeln!(f, "--- {name}\n{}", shown.trim_end())?;
            }
        }
        Ok(())
    }
}
