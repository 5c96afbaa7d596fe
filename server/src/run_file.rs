//! What a run shows of itself for `status` and for whoever asks whether somebody runs here: a file in the data directory.

use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use thermocline_pipelines::coordinator::Snapshot;

const NAME: &str = "run.json";

/// Older than this, and whoever wrote it is gone: a run writes it every half second.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// A run, as of a moment ago.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunFile {
    /// Its process.
    pub(crate) pid: u32,
    /// What tells it from another process of that number, where the system says.
    started: Option<String>,
    /// What it does.
    pub(crate) run: Snapshot,
}

impl RunFile {
    /// Shows this process in the data directory `data`. A reader never sees half of it.
    pub(crate) fn write(data: &Path, run: &Snapshot) -> std::io::Result<()> {
        let pid = std::process::id();
        let text = serde_json::to_string(&Self { pid, started: start_of(pid), run: run.clone() })?;
        let half = data.join(format!("{NAME}.new"));
        std::fs::write(&half, text)?;
        std::fs::rename(&half, data.join(NAME))
    }

    /// At the end of a run.
    pub(crate) fn remove(data: &Path) {
        let _ = std::fs::remove_file(data.join(NAME));
    }

    /// The run in the data directory `data`, if it goes on.
    pub(crate) fn living(data: &Path) -> Option<Self> {
        let path = data.join(NAME);
        let file: Self = serde_json::from_str(&std::fs::read_to_string(&path).ok()?).ok()?;
        let lives = match (&file.started, own_namespace()) {
            (Some(started), Some(own)) if started.starts_with(&own) => start_of(file.pid).as_ref() == Some(started),
            // Another system's process, or a system that does not say: then the file tells by its age.
            _ => path.metadata().ok()?.modified().ok()?.elapsed().is_ok_and(|age| age < STALE_AFTER),
        };
        lives.then_some(file)
    }
}

/// The space of process numbers that this process lives in: containers have spaces of their own.
fn own_namespace() -> Option<String> {
    Some(std::fs::read_link("/proc/self/ns/pid").ok()?.display().to_string())
}

/// Namespace and start of a process, in clock ticks since the system's.
fn start_of(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; behind it the start is the 20th field.
    let ticks = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?;
    Some(format!("{} {ticks}", own_namespace()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_lives_as_long_as_its_process() {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        assert!(RunFile::living(folder.path()).is_none());
        RunFile::write(folder.path(), &Snapshot::default()).expect("the folder can be written");
        assert_eq!(RunFile::living(folder.path()).expect("this process lives").pid, std::process::id());

        // Another process of the same number, which began at another time.
        let path = folder.path().join(NAME);
        let mut file = RunFile::living(folder.path()).expect("this process lives");
        file.started = file.started.map(|started| started + "1");
        let known = file.started.is_some();
        std::fs::write(&path, serde_json::to_string(&file).expect("it is JSON")).expect("the folder can be written");
        assert_eq!(RunFile::living(folder.path()).is_none(), known);

        // One whose start nobody knows lives while it writes.
        file.started = None;
        std::fs::write(&path, serde_json::to_string(&file).expect("it is JSON")).expect("the folder can be written");
        assert!(RunFile::living(folder.path()).is_some());
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(long_ago)).expect("a time");
        assert!(RunFile::living(folder.path()).is_none());

        RunFile::remove(folder.path());
        assert!(!path.exists());
    }
}
