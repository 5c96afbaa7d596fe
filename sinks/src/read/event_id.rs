//! The identity of a row: the same record gets the same id on replay.

use arrow::array::{Array, ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use std::collections::HashMap;
use std::sync::Arc;
use thermocline_schemas::columns;
use thermocline_schemas::metadata::{CutView, TopicId};
use thermocline_schemas::table::system;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

/// The stored columns that an id is made of; the epoch says which topic of this name it was.
pub const MADE_OF: [&str; 6] =
    [system::TOPIC, system::PARTITION, system::OFFSET, system::ORDINAL, system::BRANCH, system::EPOCH];

/// Computes ids: a 128-bit hash of topic id, partition, offset, ordinal and branch, written as a UUID.
#[derive(Debug, Clone, Default)]
pub struct EventIds {
    /// The ids of each topic, oldest first, with the first epoch of each.
    topics: HashMap<String, Vec<(i64, Uuid)>>,
    columns: [usize; 6],
}

impl EventIds {
    /// With the topic ids of `view`; of rows whose topic is not known there, the id is made of nil. `columns` are the
    /// places of [`MADE_OF`] in the batches to come.
    pub fn new(view: &CutView, columns: [usize; 6]) -> Self {
        let mut topics: HashMap<String, Vec<(i64, Uuid)>> = HashMap::new();
        for TopicId { topic, id, since } in &view.topic_ids {
            topics.entry(topic.clone()).or_default().push((since.0 as i64, *id));
        }
        Self { topics, columns }
    }

    /// The id that `topic` had in `epoch`.
    fn topic_id(&self, topic: &str, epoch: i64) -> Uuid {
        let ids = self.topics.get(topic).map_or(&[][..], Vec::as_slice);
        let then = ids.iter().rev().find(|(since, _)| *since <= epoch).or(ids.first());
        then.map_or_else(Uuid::nil, |(_, id)| *id)
    }

    /// The ids of the rows of `batch`.
    pub fn compute(&self, batch: &RecordBatch) -> Result<ArrayRef, ArrowError> {
        // The batch is the table's on disk or in a segment: take the columns under the names they are known by.
        let named = batch.project(&self.columns)?;
        let found = named.schema();
        let fields = MADE_OF.iter().zip(found.fields()).map(|(name, field)| field.as_ref().clone().with_name(*name));
        let schema = Schema::new(fields.collect::<Vec<_>>());
        let named = RecordBatch::try_new(Arc::new(schema), named.columns().to_vec())?;
        let wrong = |error: thermocline_schemas::SchemaError| ArrowError::SchemaError(error.to_string());
        let topics = columns::text(&named, system::TOPIC).map_err(wrong)?;
        let partitions = columns::int32(&named, system::PARTITION).map_err(wrong)?;
        let offsets = columns::int64(&named, system::OFFSET).map_err(wrong)?;
        let ordinals = columns::int32(&named, system::ORDINAL).map_err(wrong)?;
        let branches = columns::int32(&named, system::BRANCH).map_err(wrong)?;
        let mut ids = StringBuilder::with_capacity(batch.num_rows(), batch.num_rows() * 36);
        let mut text = Uuid::encode_buffer();
        let epochs = columns::int64(&named, system::EPOCH).map_err(wrong)?;
        let mut last: Option<(&str, i64, Uuid)> = None;
        for row in 0..batch.num_rows() {
            let topic = topics.value(row);
            let epoch = epochs.value(row);
            let topic_id = match last {
                Some((name, of, id)) if name == topic && of == epoch => id,
                _ => self.topic_id(topic, epoch),
            };
            last = Some((topic, epoch, topic_id));
            // A row from before the branches has none; no branch has this number.
            let branch = if branches.is_null(row) { i32::MIN } else { branches.value(row) };
            let mut bytes = [0; 36];
            bytes[..16].copy_from_slice(topic_id.as_bytes());
            bytes[16..20].copy_from_slice(&partitions.value(row).to_le_bytes());
            bytes[20..28].copy_from_slice(&offsets.value(row).to_le_bytes());
            bytes[28..32].copy_from_slice(&ordinals.value(row).to_le_bytes());
            bytes[32..].copy_from_slice(&branch.to_le_bytes());
            ids.append_value(Uuid::from_u128(xxh3_128(&bytes)).hyphenated().encode_lower(&mut text));
        }
        Ok(Arc::new(ids.finish()))
    }
}
