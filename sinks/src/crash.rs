//! Named steps of the protocol at which a test can end the process as `kill -9` would.
//!
//! - `THERMOCLINE_CRASH_AT=intent::staged:2` ends it at the second passing of that step,
//!   `THERMOCLINE_CRASH_AT=step:17` at the seventeenth step whatever its name.
//! - `THERMOCLINE_COUNT_STEPS=FILE` writes to FILE, when the process ends, how many steps it passed.
//!
//! Without either variable a step costs one branch. Always compiled: what is tested is what runs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use parking_lot::Mutex;

/// Passes the protocol step `$name`: see [`crash`](crate::crash).
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::crash::passed($name)
    };
}

static PLAN: LazyLock<Option<Plan>> = LazyLock::new(|| {
    let at = std::env::var("THERMOCLINE_CRASH_AT").ok();
    let count_to = std::env::var_os("THERMOCLINE_COUNT_STEPS").map(PathBuf::from);
    if at.is_none() && count_to.is_none() {
        return None;
    }
    if count_to.is_some() {
        // SAFETY: `write_count` is a plain function without arguments, as atexit wants, and does not unwind.
        unsafe { libc::atexit(write_count) };
    }
    let at = at.map(|text| At::parse(&text).unwrap_or_else(|| panic!("THERMOCLINE_CRASH_AT={text} is no NAME:NUMBER")));
    Some(Plan { at, count_to, passed: Mutex::default() })
});

#[derive(Debug)]
struct Plan {
    at: Option<At>,
    count_to: Option<PathBuf>,
    passed: Mutex<Passed>,
}

#[derive(Debug, Default)]
struct Passed {
    steps: u64,
    by_name: HashMap<&'static str, u64>,
}

/// Where to end.
#[derive(Debug, PartialEq, Eq)]
struct At {
    name: String,
    hit: u64,
}

impl At {
    fn parse(text: &str) -> Option<Self> {
        let (name, hit) = text.rsplit_once(':')?;
        Some(At { name: name.to_owned(), hit: hit.parse().ok().filter(|hit| *hit > 0)? })
    }

    fn is_here(&self, name: &str, hits: u64, steps: u64) -> bool {
        if self.name == "step" { self.hit == steps } else { self.name == name && self.hit == hits }
    }
}

/// Passes a step; what [`crash_point!`] expands to.
pub fn passed(name: &'static str) {
    if let Some(plan) = &*PLAN {
        plan.pass(name);
    }
}

impl Plan {
    fn pass(&self, name: &'static str) {
        let mut passed = self.passed.lock();
        passed.steps += 1;
        let steps = passed.steps;
        let hits = passed.by_name.entry(name).or_default();
        *hits += 1;
        if self.at.as_ref().is_some_and(|at| at.is_here(name, *hits, steps)) {
            end();
        }
    }
}

/// Ends the process as `kill -9` would: no destructor runs, nothing is flushed.
fn end() -> ! {
    // SAFETY: a signal to ourselves; SIGKILL cannot be caught, so nothing of ours runs after it.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    loop {
        std::thread::park();
    }
}

extern "C" fn write_count() {
    if let Some(Plan { count_to: Some(file), passed, .. }) = PLAN.as_ref() {
        let _ = std::fs::write(file, passed.lock().steps.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_named_by_its_name_or_its_number() {
        let third = At::parse("intent::staged:3").unwrap();
        assert_eq!(third, At { name: "intent::staged".into(), hit: 3 });
        assert!(third.is_here("intent::staged", 3, 20) && !third.is_here("intent::planned", 3, 3));
        assert!(At::parse("step:17").unwrap().is_here("intent::planned", 2, 17));
        for wrong in ["", "step", "step:0", "step:x"] {
            assert_eq!(At::parse(wrong), None, "{wrong}");
        }
    }

    /// Not a test of its own: what the next two run in a process of their own.
    #[test]
    #[ignore = "passes steps for the tests beside it"]
    fn steps() {
        for name in ["one", "two", "one"] {
            passed(name);
            println!("passed {name}");
        }
    }

    fn child(variable: &str, value: &std::ffi::OsStr) -> std::process::Output {
        let program = std::env::current_exe().unwrap();
        let arguments = ["--exact", "crash::tests::steps", "--ignored", "--nocapture"];
        std::process::Command::new(program).args(arguments).env(variable, value).output().unwrap()
    }

    #[test]
    fn the_process_is_killed_at_the_step() {
        use std::os::unix::process::ExitStatusExt;
        for (at, passes) in [("one:2", 2), ("step:2", 1), ("step:4", 3), ("two:2", 3)] {
            let output = child("THERMOCLINE_CRASH_AT", at.as_ref());
            let text = String::from_utf8_lossy(&output.stdout);
            assert_eq!(text.matches("passed ").count(), passes, "{at}: {text}");
            assert_eq!(output.status.signal(), (passes < 3).then_some(libc::SIGKILL), "{at}");
        }
    }

    #[test]
    fn steps_are_counted_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("count");
        assert!(child("THERMOCLINE_COUNT_STEPS", file.as_os_str()).status.success());
        assert_eq!(std::fs::read_to_string(file).unwrap(), "3");
    }
}
