//! Rows counted and summed so that two readers can compare, in whatever order they read.

use crate::SinkError;
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use thermocline_schemas::columns;
use thermocline_schemas::table::system;
use xxhash_rust::xxh3::xxh3_64;

/// How many rows, and the sum of their hashes modulo 2^64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// How many.
    pub(super) rows: u64,
    /// The sum. Independent of order; a row that is there twice counts twice.
    pub(super) checksum: u64,
}

impl Fingerprint {
    /// Adds the rows of `batch`: topic, partition, offset, ordinal, event time, attributes, and all other text columns
    /// by name, headers apart. What is computed or constant when read does not count, nor do numbers: their text
    /// differs from reader to reader.
    ///
    /// # Errors
    /// [`SinkError::Schema`] when a system column is missing.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        let topic = columns::text(batch, system::TOPIC)?;
        let partition = columns::int32(batch, system::PARTITION)?;
        let offset = columns::int64(batch, system::OFFSET)?;
        let ordinal = columns::int32(batch, system::ORDINAL)?;
        let event_time = columns::event_time(batch)?;
        let schema = batch.schema();
        let is_other = |name: &str| !system::is_system(name);
        let mut others: Vec<&str> = schema
            .fields()
            .iter()
            .filter(|field| field.data_type() == &DataType::Utf8 && is_other(field.name()))
            .map(|field| field.name().as_str())
            .collect();
        others.sort_unstable();
        let texts = [system::ATTRIBUTES].into_iter().chain(others).map(|name| columns::text(batch, name));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        let mut line = Vec::new();
        for row in 0..batch.num_rows() {
            use std::io::Write;
            line.clear();
            let numbers = (partition.value(row), offset.value(row), ordinal.value(row), event_time.value(row));
            write!(
                line,
                "{}\x1f{}\x1f{}\x1f{}\x1f{}\x1f",
                topic.value(row),
                numbers.0,
                numbers.1,
                numbers.2,
                numbers.3
            )
            .expect("a vector takes what is written");
            for text in &texts {
                match text.is_null(row) {
                    true => line.push(0xff),
                    false => line.extend_from_slice(text.value(row).as_bytes()),
                }
                line.push(0x1f);
            }
            self.checksum = self.checksum.wrapping_add(xxh3_64(&line));
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }
}
