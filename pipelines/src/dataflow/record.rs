//! The records that a branch into `domains` classifies: those of the source, or those that the branch has made.

use crate::PipelineError;
use crate::dataflow::rows::Rows;
use crate::plan::{Failed, Leg, Output, PAYLOAD};
use arrow::array::{AsArray, BinaryArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::DataType;
use std::sync::Arc;
use thermocline_schemas::format::{Parsed, Rejected, ShapeTable, parse};
use thermocline_schemas::table::system;

/// Parsed records, and which of them are the rows of the branch.
pub(super) struct Records {
    /// The records.
    pub(super) parsed: Arc<Parsed>,
    /// For each row of the branch, its record; none: one for one.
    pub(super) selection: Option<UInt32Array>,
}

/// The records of a leg's output. Those of an `auto` source that pass through untouched were parsed when they were
/// decoded, and are not parsed again. A payload that an expression has broken fails, and leaves the output.
pub(super) fn of_output(
    rows: &Rows,
    leg: &Leg,
    output: &mut Output,
    shapes: &Arc<ShapeTable>,
) -> Result<Records, PipelineError> {
    if let Some(parsed) = rows.parsed.as_ref().filter(|_| passes_payload(leg)) {
        return Ok(Records { parsed: parsed.clone(), selection: output.selection.clone() });
    }
    let own = own_columns(&output.batch)?;
    let fields = own.schema();
    let parsed = match fields.fields().as_ref() {
        [only] if only.name() == PAYLOAD && only.data_type() == &DataType::Utf8 && rows.parsed.is_some() => {
            let (parsed, rejected) = parse(&BinaryArray::from(own.column(0).as_string::<i32>().clone()), shapes);
            narrow(output, parsed.accepted(), rejected)?;
            parsed
        }
        _ => Parsed::from_batch(&own, shapes)?,
    };
    Ok(Records { parsed: Arc::new(parsed), selection: None })
}

/// Fails the rows whose payload was rejected.
fn narrow(output: &mut Output, accepted: &UInt32Array, rejected: Vec<Rejected>) -> Result<(), PipelineError> {
    if rejected.is_empty() {
        return Ok(());
    }
    let failed =
        rejected.into_iter().map(|it| Failed { row: output.input_row(it.row), stage: "route", error: it.error });
    let failed: Vec<Failed> = failed.collect();
    let kept = accepted.values().iter().map(|row| output.input_row(*row as usize) as u32);
    let selection = UInt32Array::from_iter_values(kept);
    output.batch = take_record_batch(&output.batch, accepted)?;
    output.selection = Some(selection);
    output.failed.extend(failed);
    Ok(())
}

/// The fields of the records: all that the leg gives but the event time, which becomes the row's own. What rides beside
/// every row has been left out when the leg was planned; what is merely called so is the user's.
fn own_columns(batch: &RecordBatch) -> Result<RecordBatch, PipelineError> {
    let keep: Vec<usize> = (0..batch.num_columns()).filter(|at| is_own(batch.schema().field(*at).name())).collect();
    Ok(batch.project(&keep)?)
}

fn is_own(name: &str) -> bool {
    name != system::EVENT_TIME
}

/// True when the leg's only own column is the source's `payload`, whatever filters stand between.
fn passes_payload(leg: &Leg) -> bool {
    let own = leg.output.fields().iter().map(|field| field.name().as_str()).filter(|name| is_own(name));
    let place = leg.output.index_of(PAYLOAD).ok();
    own.eq([PAYLOAD]) && place.and_then(|place| leg.untouched(place)) == Some(PAYLOAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, StringArray};

    #[test]
    fn fields_that_are_called_like_system_columns_are_fields() {
        let texts = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
        let names = ["_key", "_timestamp", "_partition", "pos", system::EVENT_TIME];
        let batch = RecordBatch::try_from_iter(names.map(|name| (name, texts(name)))).unwrap();
        let own = own_columns(&batch).unwrap().schema();
        let own: Vec<&str> = own.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(own, names[..4]);
    }
}
