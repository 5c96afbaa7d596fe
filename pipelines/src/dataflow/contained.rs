//! Containing what a record does: work that fails or panics on a batch is done again on its halves, down to the record.
//!
//! Without this, one record would stop the run, and every start after it, when it is read again.

use crate::PipelineError;
use crate::dataflow::rows::{PAYLOAD, Rows};
use arrow::array::{AsArray, BinaryArray};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use thermocline_schemas::columns;
use thermocline_schemas::format::{ShapeTable, parse};

/// The rows of one batch, in pieces that add up to it.
pub(super) struct Contained<T> {
    /// Pieces on which the work was done, with what came of it, in order.
    pub(super) done: Vec<(Rows, T)>,
    /// Rows on which it fails, and what it says.
    pub(super) failed: Vec<(usize, String)>,
}

/// Does `work` on `rows`; where it fails or panics, on halves of halves. `shapes` is for records that were parsed before.
///
/// `work` must leave nothing behind that a repetition on a part of the rows would do twice.
pub(super) fn contain<T>(
    rows: &Rows,
    shapes: &ShapeTable,
    mut work: impl FnMut(&Rows) -> Result<T, PipelineError>,
) -> Contained<T> {
    let mut contained = Contained { done: vec![], failed: vec![] };
    match guarded(&mut work, rows) {
        Ok(outcome) => contained.done.push((rows.clone(), outcome)),
        Err(error) if rows.len() <= 1 => contained.failed.extend((0..rows.len()).map(|row| (row, error.clone()))),
        Err(error) => {
            let (topic, partition) = (&rows.topic.name, rows.partition);
            tracing::warn!(%topic, partition, rows = rows.len(), error, "a batch fails as a whole and is taken apart");
            let middle = rows.len() / 2;
            bisect(rows, shapes, 0..middle, &mut work, &mut contained);
            bisect(rows, shapes, middle..rows.len(), &mut work, &mut contained);
        }
    }
    contained
}

fn bisect<T>(
    rows: &Rows,
    shapes: &ShapeTable,
    range: std::ops::Range<usize>,
    work: &mut impl FnMut(&Rows) -> Result<T, PipelineError>,
    contained: &mut Contained<T>,
) {
    let piece = slice(rows, shapes, range.clone());
    match piece.and_then(|piece| guarded(work, &piece).map(|outcome| (piece, outcome))) {
        Ok(done) => contained.done.push(done),
        Err(error) if range.len() == 1 => contained.failed.push((range.start, error)),
        Err(_) => {
            let middle = range.start + range.len() / 2;
            bisect(rows, shapes, range.start..middle, work, contained);
            bisect(rows, shapes, middle..range.end, work, contained);
        }
    }
}

fn guarded<T>(work: &mut impl FnMut(&Rows) -> Result<T, PipelineError>, rows: &Rows) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(|| work(rows))) {
        Ok(outcome) => outcome.map_err(|error| in_words(&error)),
        Err(panic) => {
            let what = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(format!("a bug of ours, please report it: {}", what.unwrap_or("a panic without words")))
        }
    }
}

/// An error with its causes, on one line.
fn in_words(error: &PipelineError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A part of the rows. Its records are parsed again: parsed ones cannot be cut.
fn slice(rows: &Rows, shapes: &ShapeTable, range: std::ops::Range<usize>) -> Result<Rows, String> {
    let (batch, source) = (rows.batch.slice(range.start, range.len()), rows.source.slice(range.start, range.len()));
    let mut piece = rows.with(rows.stage.clone(), batch, source);
    if rows.parsed.is_some() {
        let payloads = columns::column(&piece.batch, PAYLOAD).map_err(|error| error.to_string())?;
        let payloads = BinaryArray::from(payloads.as_string::<i32>().clone());
        let parsed = catch_unwind(AssertUnwindSafe(|| parse(&payloads, shapes).0));
        piece.parsed = Some(Arc::new(parsed.map_err(|_| "the record cannot be parsed again".to_owned())?));
    }
    Ok(piece)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataflow::rows::offsets;
    use crate::raw::{RawBatch, Topic};
    use arrow::array::{Int64Array, StringArray, TimestampMicrosecondArray};

    fn rows(offsets: std::ops::Range<i64>) -> Rows {
        let count = offsets.clone().count();
        let topic = Arc::new(Topic { cluster_id: "c".into(), name: "t".into(), id: uuid::Uuid::nil() });
        let raw = RawBatch {
            topic,
            partition: 0,
            offsets: Int64Array::from_iter_values(offsets),
            timestamps: TimestampMicrosecondArray::new_null(count),
            keys: BinaryArray::new_null(count),
            headers: StringArray::new_null(count),
            payloads: BinaryArray::new_null(count),
            absent: vec![],
        };
        Rows::raw(raw, 0).unwrap()
    }

    /// Offsets on which the work was done, and rows on which it failed.
    fn run(rows: &Rows, work: impl FnMut(&Rows) -> Result<(), PipelineError>) -> (Vec<i64>, Vec<(usize, String)>) {
        let contained = contain(rows, &ShapeTable::default(), work);
        let done = contained.done.iter().flat_map(|(piece, ())| offsets(&piece.source).to_vec());
        (done.collect(), contained.failed)
    }

    #[test]
    fn a_record_that_panics_is_told_apart_from_all_others() {
        let (done, failed) = run(&rows(100..111), |piece| {
            assert!(!offsets(&piece.source).contains(&107), "this panic is part of the test");
            Ok(())
        });
        assert_eq!(done, [100, 101, 102, 103, 104, 105, 106, 108, 109, 110]);
        assert_eq!(failed, [(7, "a bug of ours, please report it: this panic is part of the test".to_owned())]);
    }

    #[test]
    fn errors_are_contained_as_panics_are_and_every_row_may_fail() {
        let (done, failed) = run(&rows(0..4), |_| Err(PipelineError::Workers { what: "no".into() }));
        assert_eq!((done, failed.len()), (vec![], 4));
        assert_eq!(failed[3], (3, "the workers could not be started: no".to_owned()));
        let (done, failed) = run(&rows(0..0), |_| panic!("this panic is part of the test"));
        assert_eq!((done, failed), (vec![], vec![]));
    }

    #[test]
    fn what_succeeds_is_done_once_and_whole() {
        let mut calls = 0;
        let (done, failed) = run(&rows(0..5), |_| {
            calls += 1;
            Ok(())
        });
        assert_eq!((done.len(), failed.len(), calls), (5, 0, 1));
    }
}
