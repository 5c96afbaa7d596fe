//! The real records that ship.

use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader};

/// The first `most` records of the demo's topic `topic`, a line each.
///
/// # Panics
/// When the repository has no such file.
#[track_caller]
pub fn demo_lines(topic: &str, most: usize) -> Vec<String> {
    let path = crate::repository().join(format!("deploy/demo/data/{topic}.jsonl.gz"));
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = BufReader::new(GzDecoder::new(file)).lines().take(most);
    lines.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A time as `2014-04-10 00:02:00`, in µs since the Unix epoch.
///
/// # Panics
/// When it is none.
#[track_caller]
pub fn micros_of(time: &str) -> i64 {
    let time = time.replace('T', " ");
    let parsed = chrono::NaiveDateTime::parse_from_str(time.trim_end_matches('Z'), "%Y-%m-%d %H:%M:%S%.f");
    parsed.unwrap_or_else(|error| panic!("{time:?}: {error}")).and_utc().timestamp_micros()
}
