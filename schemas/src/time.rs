//! Event time, and the clock that is handed in.

use std::time::{SystemTime, UNIX_EPOCH};

/// When something happened: µs since the Unix epoch, UTC.
pub type EventTime = i64;

/// Microseconds in one second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;
/// Microseconds in one day.
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Tells the time. Handed in, so that tests and replays decide what time it is.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Now, in µs since the Unix epoch, UTC.
    fn now(&self) -> EventTime;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else takes")]
    fn now(&self) -> EventTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}

/// A clock that stands still, for tests and for `THERMOCLINE_NOW`.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub EventTime);

impl Clock for FixedClock {
    fn now(&self) -> EventTime {
        self.0
    }
}
