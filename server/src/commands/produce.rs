//! `thermocline produce`.

use crate::cli::ProduceArgs;
use crate::commands::up::progress::status_bar;
use crate::data_dir::clock;
use crate::report::{counted, print_json, thousands};
use anyhow::Result;
use std::process::ExitCode;
use std::time::Duration;
use thermocline_pipelines::source::produce::{Input, Produce, Produced, ShiftTime, produce};

pub(crate) fn run(args: ProduceArgs) -> Result<ExitCode> {
    let input = if args.file.as_os_str() == "-" {
        Input::Stream(Box::new(std::io::stdin()))
    } else {
        Input::Path(args.file.clone())
    };
    let shift_time = match args.shift_time {
        None => None,
        Some(field) => Some(ShiftTime { fields: vec![field], newest_at: ago(args.newest_age)? }),
    };
    let options = Produce {
        partitions: Some(args.partitions),
        partition: args.partition,
        key_field: args.key_field,
        shift_time,
        ..Produce::new(&args.kafka, &args.topic)
    };
    // The producer's threads are its own: nothing here belongs to the async runtime.
    let produced = tokio::task::block_in_place(|| with_progress(&options, input))?;
    if args.json {
        print_json(&serde_json::json!({
            "topic": args.topic, "records": produced.records, "bytes": produced.bytes,
            "created": !produced.created.is_empty(), "without_key": produced.without_key,
            "blank_lines": produced.blank_lines,
            "moved_by_us": produced.moved_by.get(&args.topic),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let created = if produced.created.is_empty() { "" } else { " (created)" };
    let blank = left_out(produced.blank_lines);
    println!("{} to {}{created}{blank}", counted(produced.records, "record"), args.topic);
    if let Some(moved) = produced.moved_by.get(&args.topic) {
        println!("moved in time by {}", days(*moved));
    }
    if produced.without_key > 0 {
        println!("{} records have no key: the field is not there", thousands(produced.without_key));
    }
    Ok(ExitCode::SUCCESS)
}

/// What the line about the records says of the blank lines: nothing where there were none.
fn left_out(blank_lines: u64) -> String {
    match blank_lines {
        0 => String::new(),
        lines => format!(", {} left out", counted(lines, "blank line")),
    }
}

/// The moment `age` ago, µs UTC.
pub(crate) fn ago(age: Duration) -> Result<i64> {
    Ok(clock()?.now() - i64::try_from(age.as_micros())?)
}

/// A number of µs in days, for people.
pub(crate) fn days(micros: i64) -> String {
    format!("{:.1} days", micros as f64 / thermocline_schemas::time::MICROS_PER_DAY as f64)
}

/// Produces, with a bar when standard error is a terminal.
pub(crate) fn with_progress(options: &Produce, input: Input) -> Result<Produced> {
    let bar = status_bar();
    let produced = produce(options, input, |records, bytes| {
        bar.set_message(format!("{} records, {} MiB", thousands(records), bytes / (1 << 20)));
        bar.tick();
    });
    bar.finish_and_clear();
    Ok(produced?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_are_told_where_there_are_any() {
        let said: Vec<String> = [0, 1, 3, 1_200].into_iter().map(left_out).collect();
        assert_eq!(said, ["", ", 1 blank line left out", ", 3 blank lines left out", ", 1,200 blank lines left out"]);
    }
}
