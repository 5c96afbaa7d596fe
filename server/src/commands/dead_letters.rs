//! `thermocline dead-letters list`.

use crate::cli::DeadLettersArgs;
use crate::report::print_json;
use anyhow::Result;
use arrow::array::Array;
use serde::Serialize;
use std::process::ExitCode;
use std::sync::Arc;
use thermocline_schemas::columns;
use thermocline_schemas::time::SystemClock;
use thermocline_sql::{Answer, Engine};

/// Bytes of a payload that a line for people shows.
const SHOWN_BYTES: usize = 120;

/// One dead letter, as it is shown.
#[derive(Debug, Serialize)]
struct Letter {
    record: String,
    source: String,
    branch: Option<i32>,
    stage: String,
    error: String,
    /// As text; what is not UTF-8 is replaced. `SELECT payload FROM dead_letters` has the bytes.
    payload: Option<String>,
}

pub(crate) async fn run(args: DeadLettersArgs) -> Result<ExitCode> {
    let engine = Engine::open(&args.data.data, Arc::new(SystemClock)).await?;
    let session = engine.session().await?;
    let only = args.topic.map(|topic| format!("WHERE _topic = '{}'", topic.replace('\'', "''"))).unwrap_or_default();
    let sql = format!(
        "SELECT _topic, _partition, _offset, source, _branch, stage, error, payload FROM dead_letters {only} \
         ORDER BY _epoch DESC, _topic, _partition, _offset DESC LIMIT {}",
        args.limit
    );
    let answer = session.query(&sql).await;
    session.close().await;
    let letters = letters(&answer?)?;
    if args.json {
        print_json(&serde_json::json!({ "dead_letters": letters }))?;
    } else if letters.is_empty() {
        println!("no dead letters");
    }
    for letter in letters.iter().filter(|_| !args.json) {
        println!("{}: {}: {}", letter.record, letter.stage, letter.error);
        let payload = letter.payload.as_deref().unwrap_or("(null)");
        println!("    {}", shown(payload));
    }
    Ok(ExitCode::SUCCESS)
}

/// The beginning of a payload, with nothing in it that a terminal would obey.
fn shown(payload: &str) -> String {
    let mut shown = String::new();
    for char in payload.chars() {
        if shown.len() >= SHOWN_BYTES {
            shown.push('…');
            break;
        }
        if char.is_control() { shown.extend(char.escape_default()) } else { shown.push(char) }
    }
    shown
}

fn letters(answer: &Answer) -> Result<Vec<Letter>> {
    let mut letters = vec![];
    for batch in &answer.batches {
        let text = |name| columns::text(batch, name);
        let (topics, sources, stages, errors) = (text("_topic")?, text("source")?, text("stage")?, text("error")?);
        let (partitions, offsets) = (columns::int32(batch, "_partition")?, columns::int64(batch, "_offset")?);
        let (branches, payloads) = (columns::int32(batch, "_branch")?, columns::bytes(batch, "payload")?);
        for row in 0..batch.num_rows() {
            letters.push(Letter {
                record: format!("{}/{}@{}", topics.value(row), partitions.value(row), offsets.value(row)),
                source: sources.value(row).to_owned(),
                branch: branches.is_valid(row).then(|| branches.value(row)),
                stage: stages.value(row).to_owned(),
                error: errors.value(row).to_owned(),
                payload: payloads.is_valid(row).then(|| String::from_utf8_lossy(payloads.value(row)).into_owned()),
            });
        }
    }
    Ok(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_says_nothing_to_the_terminal() {
        assert_eq!(shown("{\"a\":\"é\"}"), "{\"a\":\"é\"}");
        assert_eq!(shown("\u{1b}[31m\n"), "\\u{1b}[31m\\n");
        assert_eq!(shown(&"x".repeat(SHOWN_BYTES + 1)), "x".repeat(SHOWN_BYTES) + "…");
        assert_eq!(shown(&"x".repeat(SHOWN_BYTES)), "x".repeat(SHOWN_BYTES));
    }
}
