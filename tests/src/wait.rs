//! Waiting: poll, with a deadline.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Polls `look` until it has something to show.
///
/// # Panics
/// When `within` is over, saying that `what` did not happen.
#[track_caller]
pub fn wait_for<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Polls `look` until it is true.
///
/// # Panics
/// As [`wait_for`].
#[track_caller]
pub fn wait_until(what: &str, within: Duration, mut look: impl FnMut() -> bool) {
    wait_for(what, within, || look().then_some(()));
}

/// The machine's time, in µs since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "a test of the whole process lives in real time")]
pub fn now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}
