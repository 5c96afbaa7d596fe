//! Dead letters: rows we could not use, with their raw bytes and the reason.

use crate::dataflow::rows::{Rows, Stage};
use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use std::sync::{Arc, LazyLock};
use thermocline_schemas::metadata::BranchId;

/// The columns of [`Stage::Dead`].
pub(super) static COLUMNS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![text("stage"), text("error"), text("source")]))
});

/// Why one row of a batch is a dead letter.
pub(super) struct Cause {
    /// The row, among the batch's.
    pub(super) row: usize,
    /// `decode`, `filter`, `project`, `bind` or `route`.
    pub(super) stage: &'static str,
    /// What is wrong, and where.
    pub(super) error: String,
}

/// Makes dead letters of the rows of `source` that `causes` name; none of no causes.
pub(super) fn letters(
    rows: &Rows,
    source: &str,
    branch: Option<BranchId>,
    causes: &[Cause],
) -> Result<Option<Rows>, ArrowError> {
    if causes.is_empty() {
        return Ok(None);
    }
    let stages = StringArray::from_iter_values(causes.iter().map(|cause| cause.stage));
    let errors = StringArray::from_iter_values(causes.iter().map(|cause| cause.error.as_str()));
    let sources = StringArray::from_iter_values(std::iter::repeat_n(source, causes.len()));
    let columns: [ArrayRef; 3] = [Arc::new(stages), Arc::new(errors), Arc::new(sources)];
    let batch = RecordBatch::try_new(COLUMNS.clone(), columns.to_vec())?;
    let which = UInt32Array::from_iter_values(causes.iter().map(|cause| cause.row as u32));
    Ok(Some(rows.with(Stage::Dead { branch }, batch, rows.source_of(Some(&which))?)))
}
