//! How answers and logs look.

use crate::cli::{Format, LogFormat};
use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::util::display::FormatOptions;
use thermocline_sql::{Answer, Rows};
use tracing_subscriber::EnvFilter;

/// Starts logging on standard error. Without -v only what a person should look at.
pub(crate) fn start_logging(format: LogFormat, verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "warn,thermocline=info,thermocline_pipelines=info,thermocline_sinks=info,thermocline_broker=info",
        _ => "info,thermocline=debug,thermocline_pipelines=debug,thermocline_sinks=debug,thermocline_broker=debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// A line on standard output for whoever reads it, if anybody still does: what serves outlives its terminal.
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($line)*);
    }};
}
pub(crate) use say;

/// Prints the rows of an answer to standard output: JSON and CSV as they come, a table when all are there.
pub(crate) async fn print_answer(rows: Rows, format: Format) -> Result<()> {
    match format {
        Format::Table => print_table(&rows.collect().await?),
        Format::Json => print_json_rows(rows).await,
        Format::Csv => print_csv(rows).await,
    }
}

async fn print_json_rows(mut rows: Rows) -> Result<()> {
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(std::io::stdout().lock());
    while let Some(batch) = rows.next().await? {
        writer.write(&batch)?;
    }
    Ok(writer.finish()?)
}

async fn print_csv(mut rows: Rows) -> Result<()> {
    let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(std::io::stdout().lock());
    // The header comes with the first batch, and there may be none.
    writer.write(&RecordBatch::new_empty(rows.schema()))?;
    while let Some(batch) = rows.next().await? {
        writer.write(&batch)?;
    }
    Ok(())
}

/// Prints an answer as a table for people.
pub(crate) fn print_table(answer: &Answer) -> Result<()> {
    let options = FormatOptions::default().with_display_error(true);
    let empty = [RecordBatch::new_empty(answer.schema.clone())];
    let batches = if answer.batches.is_empty() { &empty } else { &*answer.batches };
    say!("{}", arrow::util::pretty::pretty_format_batches_with_options(batches, &options)?);
    Ok(())
}

/// Prints one JSON object to standard output.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    say!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_set_apart() {
        let text = [0, 999, 1_000, 1_234_567].map(super::thousands);
        assert_eq!(text, ["0", "999", "1,000", "1,234,567"]);
    }
}
