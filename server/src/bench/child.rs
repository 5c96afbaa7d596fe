//! Whole processes, measured: wall, CPU, and the most memory they held.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

/// What one process took.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Took {
    /// From its start to its end, in seconds.
    pub(super) wall_s: f64,
    /// User and system time of all its threads, in seconds.
    pub(super) cpu_s: f64,
    /// Its largest resident set, in MiB.
    pub(super) peak_mib: u64,
}

/// Runs this program with `args` until it ends.
pub(super) fn run(args: &[&str]) -> Result<Took> {
    let mut command = own()?;
    let child = command.args(args).stdout(Stdio::null()).spawn()?;
    let started = Instant::now();
    let (status, usage) = wait(&child)?;
    let wall_s = started.elapsed().as_secs_f64();
    if status != 0 {
        bail!("`thermocline {}` ended with status {status}", args.join(" "));
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(Took {
        wall_s,
        cpu_s: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak_mib: usage.ru_maxrss as u64 / 1024,
    })
}

/// A broker in a process of its own; gone when dropped.
#[derive(Debug)]
pub(super) struct BrokerProcess {
    child: Child,
    /// Open as long as the broker runs, which may have more to say.
    _output: BufReader<ChildStdout>,
    /// Where it listens.
    pub(super) bootstrap: String,
}

impl BrokerProcess {
    /// Starts it over `data`.
    pub(super) fn start(data: &str) -> Result<Self> {
        let mut child = own()?.args(["broker", "--data", data, "--port", "0"]).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("a piped output is there")?;
        let (mut output, mut line) = (BufReader::new(output), String::new());
        output.read_line(&mut line)?;
        let bootstrap = line.split_whitespace().last().context("the broker does not say where it listens")?.to_owned();
        Ok(Self { child, _output: output, bootstrap })
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn own() -> Result<Command> {
    Ok(Command::new(std::env::current_exe().context("this program does not know its own file")?))
}

/// Waits for the child, and reads what it used.
fn wait(child: &Child) -> Result<(i32, libc::rusage)> {
    let mut status = 0;
    // SAFETY: both pointers are to values of ours that live through the call; zeroes are a valid rusage.
    let (waited, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(child.id() as libc::pid_t, &raw mut status, 0, &raw mut usage), usage)
    };
    if waited < 0 {
        return Err(std::io::Error::last_os_error()).context("the measured process cannot be waited for");
    }
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
    Ok((code, usage))
}

/// The median by wall time.
pub(super) fn median(mut runs: Vec<Took>) -> Took {
    runs.sort_by(|a, b| a.wall_s.total_cmp(&b.wall_s));
    runs[runs.len() / 2]
}
