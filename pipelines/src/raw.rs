//! Records as they came from the broker, in columns.

use arrow::array::{Array, BinaryArray, Int64Array, StringArray, TimestampMicrosecondArray};
use std::ops::Range;
use std::sync::Arc;
use uuid::Uuid;

/// A topic as the broker knows it now.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic {
    /// The cluster's id.
    pub cluster_id: Arc<str>,
    /// The topic's name.
    pub name: Arc<str>,
    /// The topic's id: a topic made anew under its old name has another.
    pub id: Uuid,
}

/// Records of one partition in the order of their offsets: at most 4,096 of them, or about 1 MB.
#[derive(Debug, Clone)]
pub struct RawBatch {
    /// Where they come from.
    pub topic: Arc<Topic>,
    /// The partition.
    pub partition: i32,
    /// Strictly ascending; holes are possible.
    pub offsets: Int64Array,
    /// The broker's timestamps, µs UTC; null where the broker gave none.
    pub timestamps: TimestampMicrosecondArray,
    /// The keys.
    pub keys: BinaryArray,
    /// The headers, as the JSON text of the column `_headers`; null where there are none.
    pub headers: StringArray,
    /// The payloads; null for a tombstone.
    pub payloads: BinaryArray,
    /// Offsets found missing before or within these records.
    pub absent: Vec<Range<i64>>,
}

impl RawBatch {
    /// How many records.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// True without records.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The offset after the last record.
    pub fn next_offset(&self) -> Option<i64> {
        self.offsets.values().last().map(|last| last + 1)
    }

    /// The memory the columns take.
    pub fn bytes(&self) -> usize {
        let columns: [&dyn Array; 5] = [&self.offsets, &self.timestamps, &self.keys, &self.headers, &self.payloads];
        columns.iter().map(|column| column.get_buffer_memory_size()).sum()
    }
}
