//! The container of every edge: a batch, its source columns beside it, and what it says about event time.

use crate::raw::{RawBatch, Topic};
use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use std::sync::{Arc, LazyLock};
use thermocline_schemas::format::Parsed;
use thermocline_schemas::metadata::BranchId;
use thermocline_schemas::table::{system, timestamp_type};
use thermocline_schemas::{EventTime, TableName, TopicPartition};
use timely::bytes::arc::Bytes;
use timely::container::Accountable;
use timely::dataflow::channels::ContainerBytes;

/// The name of the raw payload among the source columns.
pub const PAYLOAD: &str = "payload";

/// The source columns of every batch, in this order: offset, key, headers, the broker's timestamp, and the raw payload,
/// which only a dead letter needs later.
pub static SOURCE_COLUMNS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new(system::OFFSET, DataType::Int64, false),
        Field::new(system::KEY, DataType::Binary, true),
        Field::new(system::HEADERS, DataType::Utf8, true),
        Field::new(system::TIMESTAMP, timestamp_type(), true),
        Field::new(PAYLOAD, DataType::Binary, true),
    ]))
});

/// Where rows are on their way to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Raw: no columns but the source columns.
    Raw,
    /// Decoded: the source's columns.
    Decoded,
    /// A branch's rows for one table: the table's own columns between `event_time` and `attributes`, `_confidence`, and
    /// `_tier` as a number, an index into [`thermocline_schemas::Tier::ALL`].
    Written {
        /// Who wrote them.
        branch: BranchId,
        /// Where they belong.
        table: TableName,
    },
    /// Dead letters: the columns `stage`, `error` and `source`.
    Dead {
        /// Which branch could not use them; none before the branches.
        branch: Option<BranchId>,
    },
}

/// One batch of one partition on its way through the dataflow. All rows come from the same epoch.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The topic.
    pub topic: Arc<Topic>,
    /// The partition.
    pub partition: i32,
    /// When the epoch opened, µs UTC: what tiers are chosen by.
    pub opened_at: EventTime,
    /// How far the rows have come.
    pub stage: Stage,
    /// The columns of that stage, `n` rows.
    pub batch: RecordBatch,
    /// [`SOURCE_COLUMNS`], `n` rows.
    pub source: RecordBatch,
    /// The parsed records of an `auto` source, `n` rows. A cache: it does not travel between processes.
    pub parsed: Option<Arc<Parsed>>,
}

impl Rows {
    /// A raw batch as it enters the dataflow. Copies nothing.
    pub fn raw(raw: RawBatch, opened_at: EventTime) -> Result<Self, ArrowError> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(raw.offsets),
            Arc::new(raw.keys),
            Arc::new(raw.headers),
            Arc::new(raw.timestamps.with_timezone("UTC")),
            Arc::new(raw.payloads),
        ];
        let source = RecordBatch::try_new(SOURCE_COLUMNS.clone(), columns)?;
        let none = RecordBatch::try_new_with_options(
            Arc::new(Schema::empty()),
            vec![],
            &arrow::array::RecordBatchOptions::new().with_row_count(Some(source.num_rows())),
        )?;
        let (topic, partition) = (raw.topic, raw.partition);
        Ok(Self { topic, partition, opened_at, stage: Stage::Raw, batch: none, source, parsed: None })
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.source.num_rows()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The partition they come from.
    pub fn origin(&self) -> TopicPartition {
        TopicPartition::new(self.topic.name.clone(), self.partition)
    }

    /// The source columns of `selection`; all of them, uncopied, for none.
    pub fn source_of(&self, selection: Option<&UInt32Array>) -> Result<RecordBatch, ArrowError> {
        match selection {
            None => Ok(self.source.clone()),
            Some(rows) => take_record_batch(&self.source, rows),
        }
    }

    /// As [`Rows::source_of`], without the payload: what is written has what it needs of it in its own columns.
    pub fn kept_of(&self, selection: Option<&UInt32Array>) -> Result<RecordBatch, ArrowError> {
        let fields = self.source.schema();
        let kept: Vec<usize> = (0..fields.fields().len()).filter(|at| fields.field(*at).name() != PAYLOAD).collect();
        let source = self.source.project(&kept)?;
        selection.map_or_else(|| Ok(source.clone()), |rows| take_record_batch(&source, rows))
    }

    /// The same rows' origin with other columns.
    pub fn with(&self, stage: Stage, batch: RecordBatch, source: RecordBatch) -> Self {
        let (topic, partition, opened_at) = (self.topic.clone(), self.partition, self.opened_at);
        Self { topic, partition, opened_at, stage, batch, source, parsed: None }
    }
}

impl Default for Rows {
    /// No rows: what timely leaves behind where a container was taken.
    fn default() -> Self {
        let topic = Topic { cluster_id: "".into(), name: "".into(), id: uuid::Uuid::nil() };
        let source = RecordBatch::new_empty(SOURCE_COLUMNS.clone());
        let batch = RecordBatch::new_empty(Arc::new(Schema::empty()));
        Self { topic: Arc::new(topic), partition: 0, opened_at: 0, stage: Stage::Raw, batch, source, parsed: None }
    }
}

impl Accountable for Rows {
    /// One container is one message; rows are counted by the tally. Never 0: timely drops what counts nothing.
    fn record_count(&self) -> i64 {
        1
    }
}

/// What travels beside the two Arrow streams when rows go to another process.
#[derive(serde::Serialize, serde::Deserialize)]
struct Envelope {
    cluster_id: Arc<str>,
    topic: Arc<str>,
    topic_id: uuid::Uuid,
    partition: i32,
    opened_at: EventTime,
    /// `(kind, branch, table)`: kinds in the order of [`Stage`].
    stage: (u8, Option<BranchId>, Option<TableName>),
}

impl ContainerBytes for Rows {
    fn from_bytes(bytes: Bytes) -> Self {
        // These bytes were written by `into_bytes` of the same binary: timely's own channel, not the outside world.
        decode_bytes(&bytes).expect("rows from another process are as this binary wrote them")
    }

    fn length_in_bytes(&self) -> usize {
        encode_bytes(self).map_or(0, |bytes| bytes.len())
    }

    fn into_bytes<W: std::io::Write>(&self, writer: &mut W) {
        let bytes = encode_bytes(self).expect("rows in memory can be encoded");
        writer.write_all(&bytes).expect("timely's buffer takes what was announced");
    }
}

fn encode_bytes(rows: &Rows) -> Result<Vec<u8>, ArrowError> {
    let stage = match &rows.stage {
        Stage::Raw => (0, None, None),
        Stage::Decoded => (1, None, None),
        Stage::Written { branch, table } => (2, Some(*branch), Some(table.clone())),
        Stage::Dead { branch } => (3, *branch, None),
    };
    let envelope = Envelope {
        cluster_id: rows.topic.cluster_id.clone(),
        topic: rows.topic.name.clone(),
        topic_id: rows.topic.id,
        partition: rows.partition,
        opened_at: rows.opened_at,
        stage,
    };
    let envelope = serde_json::to_vec(&envelope).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
    let mut bytes = (envelope.len() as u64).to_le_bytes().to_vec();
    bytes.extend(envelope);
    for batch in [&rows.source, &rows.batch] {
        let mut stream = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
        stream.write(batch)?;
        let stream = stream.into_inner()?;
        bytes.extend((stream.len() as u64).to_le_bytes());
        bytes.extend(stream);
    }
    // timely wants whole words.
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    Ok(bytes)
}

fn decode_bytes(bytes: &[u8]) -> Result<Rows, ArrowError> {
    let short = || ArrowError::IpcError("a message of rows is cut short".to_owned());
    let mut rest = bytes;
    let mut block = || -> Result<&[u8], ArrowError> {
        let (length, after) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| short())?;
        let (block, after) = after.split_at_checked(length).ok_or_else(short)?;
        rest = after;
        Ok(block)
    };
    let envelope: Envelope =
        serde_json::from_slice(block()?).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
    let mut batch =
        || -> Result<RecordBatch, ArrowError> { StreamReader::try_new(block()?, None)?.next().ok_or_else(short)? };
    let (source, batch) = (batch()?, batch()?);
    let stage = match envelope.stage {
        (0, ..) => Stage::Raw,
        (1, ..) => Stage::Decoded,
        (2, Some(branch), Some(table)) => Stage::Written { branch, table },
        (_, branch, _) => Stage::Dead { branch },
    };
    let topic = Topic { cluster_id: envelope.cluster_id, name: envelope.topic, id: envelope.topic_id };
    let (partition, opened_at) = (envelope.partition, envelope.opened_at);
    Ok(Rows { topic: Arc::new(topic), partition, opened_at, stage, batch, source, parsed: None })
}

/// The `_offset` of each source row.
pub fn offsets(source: &RecordBatch) -> &[i64] {
    source.column(0).as_primitive::<arrow::datatypes::Int64Type>().values()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryArray, Int64Array, StringArray, TimestampMicrosecondArray};

    #[test]
    fn rows_survive_the_way_to_another_process() {
        let topic = Arc::new(Topic { cluster_id: "c".into(), name: "t".into(), id: uuid::Uuid::from_u128(7) });
        let raw = RawBatch {
            topic,
            partition: 3,
            offsets: Int64Array::from(vec![4, 6]),
            timestamps: TimestampMicrosecondArray::from(vec![Some(1), None]),
            keys: BinaryArray::from(vec![Some(&b"k"[..]), None]),
            headers: StringArray::from(vec![None, Some("[]")]),
            payloads: BinaryArray::from(vec![Some(&b"{}"[..]), None]),
            absent: vec![],
        };
        let mut rows = Rows::raw(raw, 9).unwrap();
        rows.stage = Stage::Written { branch: BranchId(2), table: TableName::new("chat").unwrap() };
        let bytes = encode_bytes(&rows).unwrap();
        assert_eq!(bytes.len() % 8, 0);
        let back = decode_bytes(&bytes).unwrap();
        assert_eq!((back.topic, back.partition, back.opened_at), (rows.topic, 3, 9));
        assert_eq!((back.stage, back.source, back.batch.num_rows()), (rows.stage, rows.source, 2));
        assert!(decode_bytes(&bytes[..20]).is_err());
    }
}
