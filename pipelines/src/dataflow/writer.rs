//! The writer: a thread beside each worker that turns its sealed epochs into segments.
//!
//! Rows are gathered once a table and tier, in the order of their event time, straight from the batches they came in.

use crate::PipelineError;
use crate::dataflow::rows::{Rows, Stage};
use crate::dataflow::seal::Sealed;
use crate::dataflow::tally::Tally;
use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType, UInt8Type};
use arrow::error::ArrowError;
use std::collections::{BTreeMap, HashMap};
use std::iter::repeat_n;
use std::path::PathBuf;
use std::sync::Arc;
use thermocline_schemas::metadata::{BranchId, NewSegment};
use thermocline_schemas::table::system;
use thermocline_schemas::{Epoch, Generation, TableId, TableName, TableSchema, Tier, columns};
use thermocline_sinks::disk::Durability;
use thermocline_sinks::segment;

/// Rows in one block of a segment.
const ROWS_A_BLOCK: usize = 8_192;

/// Writes a worker's segments.
#[derive(Debug)]
pub struct Writer {
    /// The data directory.
    pub data: PathBuf,
    /// The run.
    pub generation: Generation,
    /// Whether files are synced.
    pub durability: Durability,
    /// The columns of every table that a branch may write.
    pub tables: Arc<HashMap<TableName, TableSchema>>,
}

/// A worker's epoch, durable.
#[derive(Debug)]
pub struct Written {
    /// The epoch.
    pub epoch: Epoch,
    /// The worker.
    pub worker: usize,
    /// The file; none when there was nothing to write.
    pub segment: Option<NewSegment>,
    /// What became of its records.
    pub tally: Tally,
}

impl Writer {
    /// Writes and syncs what `sealed` holds.
    ///
    /// # Errors
    /// A full disk, or rows that do not fit their table: nothing of the epoch counts then.
    pub fn write(&self, sealed: Sealed) -> Result<Written, PipelineError> {
        let Sealed { epoch, worker, rows, tally } = sealed;
        let parts = self.parts(epoch, &rows)?;
        let segment = if parts.is_empty() {
            None
        } else {
            Some(segment::write_segment(&self.data, self.generation, epoch, worker, parts, self.durability)?)
        };
        Ok(Written { epoch, worker, segment, tally })
    }

    /// The rows of each physical table, sorted by event time, in blocks.
    fn parts(&self, epoch: Epoch, rows: &[Rows]) -> Result<Vec<(TableId, Vec<RecordBatch>)>, PipelineError> {
        let mut tables: BTreeMap<&TableName, Vec<&Rows>> = BTreeMap::new();
        let dead_letters = TableName::dead_letters();
        for rows in rows {
            let table = if let Stage::Written { table, .. } = &rows.stage { table } else { &dead_letters };
            tables.entry(table).or_default().push(rows);
        }
        let mut parts = vec![];
        for (name, rows) in tables {
            let schema = self.tables.get(name).ok_or_else(|| PipelineError::UnknownTable { table: name.clone() })?;
            let stored = schema.stored();
            let batches: Vec<RecordBatch> =
                rows.iter().map(|rows| stored_rows(&stored, epoch, rows)).collect::<Result<_, _>>()?;
            for (tier, order) in order_by_tier(&rows, &batches)? {
                parts.push((TableId::new(name.clone(), tier), blocks(&batches, &order)?));
            }
        }
        Ok(parts)
    }
}

/// `(batch, row)` of every row of each tier, by event time.
fn order_by_tier(
    rows: &[&Rows],
    batches: &[RecordBatch],
) -> Result<BTreeMap<Tier, Vec<(usize, usize)>>, PipelineError> {
    let mut tiers: [Vec<(i64, u32, u32)>; 3] = Default::default();
    for (index, (rows, batch)) in rows.iter().zip(batches).enumerate() {
        let times = columns::event_time(batch)?.values();
        let keyed = times.iter().enumerate().map(|(row, time)| (*time, index as u32, row as u32));
        match rows.batch.column_by_name(system::TIER) {
            // Dead letters are kept warm.
            None => tiers[Tier::Warm as usize].extend(keyed),
            Some(tier) => {
                let tier = tier.as_primitive::<UInt8Type>().values();
                keyed.zip(tier).for_each(|(key, tier)| tiers[usize::from(*tier).min(2)].push(key));
            }
        }
    }
    let mut sorted = BTreeMap::new();
    for (tier, mut keys) in Tier::ALL.into_iter().zip(tiers) {
        if !keys.is_empty() {
            if !keys.is_sorted() {
                keys.sort_unstable();
            }
            sorted.insert(tier, keys.into_iter().map(|(_, batch, row)| (batch as usize, row as usize)).collect());
        }
    }
    Ok(sorted)
}

fn blocks(batches: &[RecordBatch], order: &[(usize, usize)]) -> Result<Vec<RecordBatch>, ArrowError> {
    let batches: Vec<&RecordBatch> = batches.iter().collect();
    order.chunks(ROWS_A_BLOCK).map(|chunk| interleave_record_batch(&batches, chunk)).collect()
}

/// A batch on its way, with the system columns that are the same for all its rows, in the order of the stored schema.
fn stored_rows(stored: &SchemaRef, epoch: Epoch, rows: &Rows) -> Result<RecordBatch, PipelineError> {
    let n = rows.len();
    let branch = match &rows.stage {
        Stage::Written { branch, .. } => Some(*branch),
        Stage::Dead { branch } => *branch,
        Stage::Raw | Stage::Decoded => None,
    };
    let array = |name: &str| -> Result<ArrayRef, PipelineError> {
        Ok(match name {
            system::TOPIC => Arc::new(StringArray::from_iter_values(repeat_n(&*rows.topic.name, n))),
            system::PARTITION => Arc::new(Int32Array::from_value(rows.partition, n)),
            system::ORDINAL => Arc::new(Int32Array::from_value(0, n)),
            system::EPOCH => Arc::new(Int64Array::from_value(epoch.0 as i64, n)),
            system::BRANCH => branch_column(branch, n),
            system::EVENT_TIME if rows.batch.column_by_name(name).is_none() => timestamps(rows)?,
            _ => match rows.batch.column_by_name(name).or_else(|| rows.source.column_by_name(name)) {
                Some(column) => column.clone(),
                None => arrow::array::new_null_array(stored.field_with_name(name)?.data_type(), n),
            },
        })
    };
    let columns: Vec<ArrayRef> = stored.fields().iter().map(|field| array(field.name())).collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(stored.clone(), columns)?)
}

fn branch_column(branch: Option<BranchId>, n: usize) -> ArrayRef {
    match branch {
        Some(branch) => Arc::new(Int32Array::from_value(branch.0, n)),
        None => Arc::new(Int32Array::new_null(n)),
    }
}

/// The event time of a dead letter: the broker's timestamp, else when the epoch opened.
fn timestamps(rows: &Rows) -> Result<ArrayRef, PipelineError> {
    let broker = columns::timestamp(&rows.source, system::TIMESTAMP)?;
    let filled = broker.iter().map(|time| time.unwrap_or(rows.opened_at));
    let filled = arrow::array::PrimitiveArray::<TimestampMicrosecondType>::from_iter_values(filled);
    Ok(Arc::new(filled.with_timezone("UTC")))
}
