//! Giving a leg's rows the columns of their table, by name.

use crate::PipelineError;
use crate::plan::leg::{batch_of, columns_error};
use crate::plan::{BranchSpec, Failed, Input, Output, Target};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, TimestampMicrosecondArray, UInt32Array, new_null_array};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{filter_record_batch, is_null, take};
use arrow::datatypes::{Schema, SchemaRef, TimestampMicrosecondType};
use std::sync::Arc;
use thermocline_schemas::TableSchema;
use thermocline_schemas::table::system;

/// Where a row's event time comes from. Where that is null, it is the broker's timestamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTimeFrom {
    /// The leg's output column of this number, called `event_time`.
    Output(usize),
    /// This column of the source: its option `event_time`.
    Source(String),
    /// The broker's timestamp.
    Broker,
}

/// Which output column fills which column of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// For each of the table's own columns, in order, and then for `attributes`: the number of the leg's output column,
    /// which has just the type; none: null.
    pub columns: Vec<Option<usize>>,
    /// The columns of a bound batch: `event_time`, the table's own, `attributes`: what [`TableSchema::stored`] begins
    /// with.
    pub schema: SchemaRef,
}

impl Binding {
    /// Binds the columns of `output` to those of `table`, by name.
    pub(super) fn new(table: &TableSchema, output: &Schema) -> Self {
        let stored = table.stored();
        let bound = Schema::new(stored.fields()[..table.columns.len() + 2].to_vec());
        let columns = bound.fields()[1..].iter().map(|field| output.index_of(field.name()).ok()).collect();
        Self { columns, schema: Arc::new(bound) }
    }
}

impl BranchSpec {
    /// The columns of its source that it uses, source columns among them: those of the leg, its event time, and the
    /// broker's timestamp, which stands in for it.
    pub fn columns_used(&self) -> Vec<&str> {
        let mut used: Vec<&str> = self.leg.input.fields().iter().map(|field| field.name().as_str()).collect();
        if let EventTimeFrom::Source(column) = &self.event_time {
            used.push(column);
        }
        used.push(system::TIMESTAMP);
        used.sort_unstable();
        used.dedup();
        used
    }

    /// The event times of the rows of `output`, µs UTC: null where neither the row nor the broker says any.
    ///
    /// # Errors
    /// When `input` has not the columns of [`BranchSpec::columns_used`].
    pub fn event_times(&self, input: &Input<'_>, output: &Output) -> Result<TimestampMicrosecondArray, PipelineError> {
        let times = match &self.event_time {
            EventTimeFrom::Output(column) => output.batch.column(*column).clone(),
            EventTimeFrom::Source(column) => output.select(input.column(column)?)?,
            EventTimeFrom::Broker => output.select(broker_time(input)?)?,
        };
        if times.null_count() == 0 || self.event_time == EventTimeFrom::Broker {
            return Ok(times.as_primitive::<TimestampMicrosecondType>().clone());
        }
        let broker = output.select(broker_time(input)?)?;
        let mask = is_null(&times).map_err(|source| columns_error("event times", source))?;
        let times = zip(&mask, &broker, &times).map_err(|source| columns_error("event times", source))?;
        Ok(times.as_primitive::<TimestampMicrosecondType>().clone())
    }

    /// Gives the rows of `output` the columns of the target's [`Binding`]: `event_time`, the table's own, `attributes`.
    /// A row that has no event time, neither its own nor the broker's, is failed. Columns are shared unless rows fail.
    ///
    /// The rows of a branch into `domains` are not bound: their records are mapped, and `output` comes back as it is.
    ///
    /// # Errors
    /// When `input` has not the columns of [`BranchSpec::columns_used`]: never because of a row.
    pub fn bind(&self, input: &Input<'_>, output: Output) -> Result<Output, PipelineError> {
        let Target::Table { binding, .. } = &self.target else { return Ok(output) };
        let times: ArrayRef = Arc::new(self.event_times(input, &output)?);
        let mut output = output;
        let timeless = times.null_count() > 0;
        let times = if timeless { drop_timeless(&mut output, &times)? } else { times };
        let rows = output.batch.num_rows();
        let mut columns = Vec::with_capacity(binding.schema.fields().len());
        columns.push(times);
        for (field, from) in binding.schema.fields()[1..].iter().zip(&binding.columns) {
            columns.push(match from {
                Some(column) => output.batch.column(*column).clone(),
                None => new_null_array(field.data_type(), rows),
            });
        }
        output.batch = batch_of(&binding.schema, columns, rows)?;
        Ok(output)
    }
}

fn broker_time<'a>(input: &'a Input<'_>) -> Result<&'a ArrayRef, PipelineError> {
    Ok(thermocline_schemas::columns::column(input.source, system::TIMESTAMP)?)
}

/// Fails the rows whose time is null, and returns the times of the others.
fn drop_timeless(output: &mut Output, times: &ArrayRef) -> Result<ArrayRef, PipelineError> {
    let failure = |source| columns_error("rows with an event time", source);
    let keep = BooleanArray::from_iter((0..times.len()).map(|row| Some(times.is_valid(row))));
    let (kept, lost): (Vec<usize>, Vec<usize>) = (0..times.len()).partition(|row| keep.value(*row));
    let error = "event_time is null, and the broker gave no timestamp";
    let failed: Vec<Failed> = lost
        .into_iter()
        .map(|row| Failed { row: output.input_row(row), stage: "bind", error: error.to_owned() })
        .collect();
    let selection: UInt32Array = kept.iter().map(|row| output.input_row(*row) as u32).collect();
    let rows: UInt32Array = kept.iter().map(|row| *row as u32).collect();
    output.batch = filter_record_batch(&output.batch, &keep).map_err(failure)?;
    output.selection = Some(selection);
    output.failed.extend(failed);
    output.failed.sort_by_key(|failed| failed.row);
    take(times, &rows, None).map_err(failure)
}
