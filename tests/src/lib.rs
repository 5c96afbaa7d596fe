//! The harness of the end-to-end tests: the real binary, real brokers, real tables.
//!
//! A test makes a [`Site`]: a data directory of its own, the broker it reads, the pipelines it runs. On it, it runs
//! commands ([`Command`], [`Done`]) and long runs ([`Running`]), fills topics ([`Broker`], [`Record`]), and asks.
//! Nothing here sleeps for a guess: [`wait_for`] polls with a deadline.

mod binary;
mod broker;
mod command;
mod dump;
mod records;
mod running;
mod seed;
mod site;
mod wait;

pub use broker::{Broker, Record, consume_all, unique};
pub use command::{Command, Done};
pub use dump::{Dump, dump};
pub use records::{demo_lines, micros_of};
pub use running::Running;
pub use seed::seed;
pub use site::Site;
pub use wait::{now, wait_for, wait_until};

use std::path::{Path, PathBuf};

/// The binary under test, for a test that runs it in a way of its own.
pub fn binary() -> &'static Path {
    binary::thermocline()
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}

/// Says why a test does not run here. It counts as skipped, or fails where skipping is not allowed.
///
/// # Panics
/// Under `THERMOCLINE_REQUIRE_KAFKA=1`.
pub fn skipped(why: &str) {
    use std::io::Write;
    // Not `println!`: the test runner keeps that to itself when a test passes.
    let _ = writeln!(std::io::stdout(), "\nskipped: {why}");
    let required = std::env::var("THERMOCLINE_REQUIRE_KAFKA").is_ok_and(|value| value == "1");
    assert!(!required, "skipped, which THERMOCLINE_REQUIRE_KAFKA=1 forbids: {why}");
}

/// Makes two tests of each function `fn name(broker: &Broker)`: `name::embedded`, and `name::apache_kafka`, which
/// counts as skipped where there is none.
///
/// The rule: what reads records from a broker runs against both. Against one run tests of the embedded broker itself, of
/// what needs no record read, and what takes too long to do it twice.
#[macro_export]
macro_rules! on_both_brokers {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn embedded() {
                super::$name(&$crate::Broker::embedded());
            }

            #[test]
            fn apache_kafka() {
                if let Some(broker) = $crate::Broker::apache_kafka() {
                    super::$name(&broker);
                }
            }
        }
    )+};
}
