//! How answers and logs look.

use crate::cli::{Format, LogFormat};
use anyhow::{Result, ensure};
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::util::display::FormatOptions;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::time::Instant;
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
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
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
pub(crate) async fn print_answer(rows: Rows, format: Format, asked: Instant) -> Result<()> {
    match format {
        Format::Table => {
            let answer = rows.collect().await?;
            print_table(&answer)?;
            say!("{}, {} ms", counted(answer.rows() as u64, "row"), asked.elapsed().as_millis());
            Ok(())
        }
        Format::Json => print_json_rows(rows).await,
        Format::Csv => print_csv(rows).await,
    }
}

/// An object of two fields with one name would lose one of them in every reader.
fn names_differ(schema: &Schema) -> Result<()> {
    let mut names = BTreeSet::new();
    for field in schema.fields() {
        let name = field.name();
        ensure!(names.insert(name), "two columns are called {name}, which JSON cannot hold; give one a name with AS");
    }
    Ok(())
}

/// A field of CSV is one value.
fn is_flat(schema: &Schema) -> Result<()> {
    let nested = schema.fields().iter().find(|field| field.data_type().is_nested());
    let name = nested.map_or("", |field| field.name());
    ensure!(nested.is_none(), "column {name} is a list or a struct, which CSV cannot hold; ask with --format json");
    Ok(())
}

async fn print_json_rows(mut rows: Rows) -> Result<()> {
    names_differ(&rows.schema())?;
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(std::io::stdout().lock());
    while let Some(batch) = rows.next().await? {
        writer.write(&batch)?;
    }
    Ok(writer.finish()?)
}

async fn print_csv(mut rows: Rows) -> Result<()> {
    is_flat(&rows.schema())?;
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

/// `1 row`, `1,234 rows`.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", thousands(number), if number == 1 { "" } else { "s" })
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
    fn one_thing_is_one() {
        let text = [0, 1, 2_000].map(|number| super::counted(number, "row"));
        assert_eq!(text, ["0 rows", "1 row", "2,000 rows"]);
    }

    #[test]
    fn thousands_are_set_apart() {
        let text = [0, 999, 1_000, 1_234_567].map(super::thousands);
        assert_eq!(text, ["0", "999", "1,000", "1,234,567"]);
    }
}
