//! The decoder of a declared source: JSON objects straight into the columns that were declared.
//!
//! Each payload is exactly one object, or it is rejected by itself; a value of the wrong type rejects its record and is
//! never a silent null; fields that are not declared are dropped and counted. A record is scanned first and appended
//! second, and what was appended of a record that fails is taken back, so that row *n* of the batch is always
//! `accepted[n]` of the input.
//!
//! | column | JSON |
//! | --- | --- |
//! | text | text |
//! | integers | a number without a fraction (`1.0` and `1e3` too) that fits |
//! | floats | a number |
//! | boolean | `true`, `false` |
//! | timestamp | ISO 8601 text, or a number since 1970 whose magnitude tells its unit |
//! | date | `2026-11-21` |
//! | decimal | a number, or a number in a text, that loses no digit |
//! | binary | base64 text |

mod column;

use super::Rejected;
use super::scan::{ScanError, Scanner, Value, unescape};
use crate::SchemaError;
use ahash::AHashMap;
use arrow::array::{Array, BinaryArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::SchemaRef;
use column::Column;
pub use column::decimal;
use std::sync::Arc;

/// What a batch of payloads became. `batch` and `accepted` have the same length, and with `rejected` that of the input.
#[derive(Debug)]
pub struct Decoded {
    /// The accepted records, of the declared schema.
    pub batch: RecordBatch,
    /// Which row of the input each of them was.
    pub accepted: UInt32Array,
    /// The others, and why.
    pub rejected: Vec<Rejected>,
    /// How many fields of accepted records were not declared, and dropped.
    pub unknown_fields: u64,
}

/// Decodes the records of one declared source; see the module.
#[derive(Debug)]
pub struct JsonDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    by_name: AHashMap<Box<str>, usize>,
    /// The n-th field of the record before, as it was written, and its column: the next record is mostly the same.
    predicted: Vec<(Box<[u8]>, Option<usize>)>,
    found: Vec<Option<Found>>,
}

/// A value of the current record.
#[derive(Debug, Clone, Copy)]
struct Found {
    value: Value,
    start: usize,
    end: usize,
}

/// No longer memory of fields than this.
const MOST_PREDICTED: usize = 1_024;

impl JsonDecoder {
    /// A decoder into `schema`.
    ///
    /// # Errors
    /// [`SchemaError::ColumnType`] for a type that the table above does not name.
    pub fn new(schema: SchemaRef) -> Result<Self, SchemaError> {
        let columns = schema.fields().iter().map(|field| Column::new(field)).collect::<Result<Vec<_>, _>>()?;
        let by_name =
            schema.fields().iter().enumerate().map(|(at, field)| (field.name().as_str().into(), at)).collect();
        let found = vec![None; columns.len()];
        Ok(Self { schema, columns, by_name, predicted: vec![], found })
    }

    /// The declared columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Decodes every payload. Null and empty payloads are rejected.
    pub fn decode(&mut self, payloads: &BinaryArray) -> Decoded {
        let mut accepted = Vec::with_capacity(payloads.len());
        let mut rejected = vec![];
        let mut unknown_fields = 0;
        for column in &mut self.columns {
            column.reserve(payloads.len());
        }
        for row in 0..payloads.len() {
            let bytes = if payloads.is_null(row) { &[] } else { payloads.value(row) };
            match self.record(bytes) {
                Ok(unknown) => {
                    accepted.push(row as u32);
                    unknown_fields += unknown;
                }
                Err(error) => {
                    self.columns.iter_mut().for_each(|column| column.truncate(accepted.len()));
                    rejected.push(Rejected { row, error });
                }
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(accepted.len()));
        let arrays = self.columns.iter_mut().map(Column::finish).collect();
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .expect("every column was built for its field, and has a value or null for every accepted record");
        Decoded { batch, accepted: accepted.into(), rejected, unknown_fields }
    }

    /// Appends one record; returns how many of its fields are not declared.
    fn record(&mut self, bytes: &[u8]) -> Result<u64, String> {
        if bytes.is_empty() {
            return Err("line 1, column 1: the payload is empty, but should be one JSON object".to_owned());
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| format!("byte {}: the payload is not UTF-8", error.valid_up_to() + 1))?;
        let unknown = self.scan(text).map_err(|error| error.message(text))?;
        for (column, found) in self.columns.iter_mut().zip(&self.found) {
            column.append(text, *found).map_err(|error| error.message(text))?;
        }
        Ok(unknown)
    }

    /// Finds the values of the columns in one record.
    fn scan(&mut self, text: &str) -> Result<u64, ScanError> {
        self.found.fill(None);
        let mut scanner = Scanner::new(text);
        scanner.expect(b'{', "one JSON object should be here")?;
        let (mut unknown, mut member) = (0, 0);
        if scanner.peek() == b'}' {
            scanner.at += 1;
        } else {
            loop {
                let (start, end, _) = scanner.key()?;
                let column = self.column(member, &text[start..end]);
                let (value, start, end) = scanner.skip(1)?;
                match column {
                    Some(column) => self.found[column] = Some(Found { value, start, end }),
                    None => unknown += 1,
                }
                member += 1;
                if !scanner.more(b'}', "a comma or } should follow a value")? {
                    break;
                }
            }
        }
        if scanner.at_end() {
            Ok(unknown)
        } else {
            Err(scanner.error("one JSON object is a record, but more follows it"))
        }
    }

    /// The column of the field that stands `member`-th in its record under the raw name `name`.
    fn column(&mut self, member: usize, name: &str) -> Option<usize> {
        if let Some((predicted, column)) = self.predicted.get(member)
            && predicted.as_ref() == name.as_bytes()
        {
            return *column;
        }
        let column = self.by_name.get(unescape(name).as_ref()).copied();
        if let Some(predicted) = self.predicted.get_mut(member) {
            *predicted = (name.as_bytes().into(), column);
        } else if self.predicted.len() < MOST_PREDICTED {
            self.predicted.push((name.as_bytes().into(), column));
        }
        column
    }
}

#[cfg(test)]
mod tests;
