//! Tests of the whole folder: what is refused and where, what is planned, and what comes out of a batch.

mod evaluating;
mod once;
mod planning;
mod refusing;

use super::{Pipelines, Refusal, load};
use thermocline_schemas::domain::Registry;

/// Reads one file with the shipped domains and DataFusion's own functions.
fn plan(text: &str) -> Result<Pipelines, Vec<Refusal>> {
    load(&[("test.sql", text)], &mut Registry::shipped(), |_| vec![])
}

/// Reads one file that must be right.
fn planned(text: &str) -> Pipelines {
    plan(text).unwrap_or_else(|refusals| panic!("{}", super::render_all(&refusals, &[("test.sql", text)])))
}

/// Asserts that `text` is refused for one reason only, with words that contain `words`.
fn refused_once(text: &str, words: &str) {
    let Err(refusals) = plan(text) else { panic!("not refused: {text}") };
    let report = super::render_all(&refusals, &[("test.sql", text)]);
    assert_eq!(refusals.len(), 1, "{text}\n{report}");
    assert!(report.contains(words), "wanted {words:?} for {text}\n{report}");
}

/// A declared source with a column of each common type.
const CLICKS: &str = "CREATE EXTERNAL TABLE clicks (user_id BIGINT, url TEXT, n INT, price DOUBLE, ok BOOLEAN, \
    ts TIMESTAMP)\nSTORED AS KAFKA LOCATION 'clicks' OPTIONS ('event_time' 'ts');\n";
