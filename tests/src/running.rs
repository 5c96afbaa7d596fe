//! A command that runs until it is told to end: `up` without `--once`, `broker`.

use crate::broker::Broker;
use crate::command::{Command, Done, ended};
use crate::wait::wait_for;
use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long `up` may take until it has printed where its broker is.
const BANNER_WITHIN: Duration = Duration::from_secs(60);

/// A running command. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    expected: crate::command::Expected,
    stdout: Lines,
    stderr: Lines,
}

/// What comes out of a pipe, line by line, as it comes.
#[derive(Debug)]
struct Lines {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let text: Arc<Mutex<String>> = Arc::default();
        let sink = text.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let mut text = sink.lock().expect("nobody panics with it");
                text.push_str(&String::from_utf8_lossy(&line));
                text.push('\n');
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        self.text.lock().expect("nobody panics with it").clone()
    }

    fn all(mut self) -> Vec<u8> {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reading a pipe does not panic");
        }
        self.so_far().into_bytes()
    }
}

impl Running {
    /// Starts it.
    pub fn start(command: Command) -> Self {
        let (mut child, expected) = command.spawn();
        let stdout = Lines::of(child.stdout.take().expect("it is piped"));
        let stderr = Lines::of(child.stderr.take().expect("it is piped"));
        Self { child, expected, stdout, stderr }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    /// Whether it runs still.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Waits for a line on its standard output that begins with `start`, and returns the rest of it.
    ///
    /// # Panics
    /// When it ends before, or `within` is over.
    #[track_caller]
    pub fn wait_for_line(&mut self, start: &str, within: Duration) -> String {
        let line = self.expected.line.clone();
        wait_for(&format!("a line {start:?} of `{line}`"), within, || {
            // Asked before the output is looked at: what it printed last is not overlooked.
            let over = !self.is_running();
            let text = self.stdout.so_far();
            let found = text.lines().find_map(|line| line.strip_prefix(start)).map(|rest| rest.trim().to_owned());
            assert!(found.is_some() || !over, "`{line}` has ended:\n{text}\n{}", self.stderr.so_far());
            found
        })
    }

    /// The broker inside this `up`, once it has printed its address.
    ///
    /// # Panics
    /// When it ends before, takes too long, or reads another broker.
    #[track_caller]
    pub fn own_broker(&mut self) -> Broker {
        let line = self.wait_for_line("broker ", BANNER_WITHIN);
        let Some(address) = line.strip_suffix(" (embedded)") else { panic!("{line:?} is not its own broker") };
        Broker::at(address.trim())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a process id fits");
        // SAFETY: a plain call on numbers; the child has not been waited for, so its id is its own.
        unsafe { libc::kill(pid, signal) };
    }

    /// The processor time it has used, as seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let ticks: f64 = after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        // SAFETY: a plain call on a number.
        ticks / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not within `patience`.
    #[track_caller]
    pub fn wait(mut self, patience: Duration) -> Done {
        let status = ended(&mut self.child, &self.expected.line, patience);
        let take = |lines: &mut Lines| std::mem::replace(lines, Lines { text: Arc::default(), reader: None }).all();
        let (stdout, stderr) = (take(&mut self.stdout), take(&mut self.stderr));
        Done::new(self.expected.clone(), status, stdout, stderr)
    }

    /// Ends it as Ctrl-C does; it must end well.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn stop(self) -> Done {
        self.signal(libc::SIGINT);
        self.wait(Duration::from_secs(60)).ended_with(0)
    }

    /// Ends it as `kill -9` does.
    pub fn kill(self) {
        self.signal(libc::SIGKILL);
        self.wait(Duration::from_secs(20));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("`{}` said:\n{}{}", self.expected.line, self.stdout.so_far(), self.stderr.so_far());
        }
    }
}
