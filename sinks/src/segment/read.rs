//! Reading a part: just its bytes, verified, with only the columns that are wanted.

use super::{BLOCK_BYTES, CHECKSUM, MAGIC, SegmentIndex};
use crate::SinkError;
use crate::disk::conform;
use arrow::array::RecordBatch;
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::{self, MessageHeader, MetadataVersion, root_as_message};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thermocline_schemas::metadata::Part;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

/// Bytes that a stream reads at once, unless a single block is longer: a block and its header.
const CHUNK: u64 = BLOCK_BYTES as u64 + (64 << 10);
/// Continuation marker and length before every IPC message.
const PREFIX: u64 = 8;
/// An IPC message of metadata is small; what says otherwise is damage.
const MAX_MESSAGE: u64 = 64 << 20;

/// All batches of a part, verified before any is returned, with its columns as they lie. Blocks.
///
/// # Errors
/// [`SinkError::Damaged`] when the bytes are not what was written, [`SinkError::Store`] when the file cannot be read; its
/// source is the [`std::io::Error`], of kind `NotFound` when the segment was cleaned up.
pub fn read_part(data_dir: &Path, part: &Part) -> Result<Vec<RecordBatch>, SinkError> {
    PartReader::new(data_dir, part, None, u64::MAX).collect()
}

/// A part in the columns of `schema` (see [`PartReader::new`]), as a stream that holds a block or two and keeps no file
/// open. Reads on the blocking pool. The stream's errors are those of [`read_part`].
pub fn stream_part(data_dir: &Path, part: &Part, schema: SchemaRef) -> SendableRecordBatchStream {
    let reader = PartReader::new(data_dir, part, Some(Arc::clone(&schema)), CHUNK);
    let rows = futures::stream::try_unfold(reader, |mut reader| async move {
        let read = tokio::task::spawn_blocking(move || (reader.next().transpose(), reader)).await;
        let (next, reader) = read.expect("reading a part does not panic, and is not aborted");
        let next = next.map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(next.map(|batch| (batch, reader)))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// Iterates over the blocks of one part, once its checksum was found to fit: a part that is longer than a chunk is read
/// twice for that. Opens the file anew for every chunk, so that a merge of a thousand parts needs no thousand descriptors.
pub struct PartReader {
    path: PathBuf,
    segment: String,
    wanted: Option<SchemaRef>,
    chunk_bytes: u64,
    chunk: Buffer,
    /// Where `chunk` begins in the file, and where the next message does.
    chunk_at: u64,
    position: u64,
    /// Where the stream ends and its checksum begins.
    end: u64,
    stored: Option<SchemaRef>,
    verified: bool,
    finished: bool,
}

impl std::fmt::Debug for PartReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartReader")
            .field("segment", &self.segment)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl PartReader {
    /// Reads `part`, `chunk_bytes` at a time, in the columns of `wanted`, else as they lie. The buffers of other columns are
    /// never looked at; columns that the part has not, because it is older than they are, are null.
    pub fn new(data_dir: &Path, part: &Part, wanted: Option<SchemaRef>, chunk_bytes: u64) -> Self {
        let bytes = &part.part.bytes;
        Self {
            path: data_dir.join(&part.segment),
            segment: part.segment.clone(),
            wanted,
            chunk_bytes,
            chunk: Buffer::default(),
            chunk_at: bytes.start,
            position: bytes.start,
            end: bytes.end.saturating_sub(CHECKSUM),
            stored: None,
            verified: false,
            finished: false,
        }
    }

    fn damaged(&self, what: impl Into<String>) -> SinkError {
        SinkError::Damaged { segment: self.segment.clone(), what: what.into() }
    }

    fn load(&mut self, start: u64, length: u64) -> Result<(), SinkError> {
        self.chunk = read_at(&self.path, start, length).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.damaged(format!("it ends before byte {}", start + length)),
            _ => SinkError::store(format!("reading segment {}", self.segment), error),
        })?;
        self.chunk_at = start;
        Ok(())
    }

    /// The next `bytes` bytes from `position` on, and moves past them.
    fn take(&mut self, bytes: u64) -> Result<Buffer, SinkError> {
        if bytes > self.end.saturating_sub(self.position) {
            return Err(self.damaged(format!("the part ends at byte {}, inside a block", self.end)));
        }
        if self.position < self.chunk_at || self.position + bytes > self.chunk_at + self.chunk.len() as u64 {
            self.load(self.position, bytes.max(self.chunk_bytes).min(self.end - self.position))?;
        }
        let buffer = self.chunk.slice_with_length((self.position - self.chunk_at) as usize, bytes as usize);
        self.position += bytes;
        Ok(buffer)
    }

    /// Sums the part, chunk by chunk, and compares. What is decoded afterwards is what was written.
    fn verify(&mut self) -> Result<(), SinkError> {
        if self.end < self.position {
            return Err(self.damaged(format!("a part that ends at byte {} has no room for a checksum", self.end)));
        }
        let mut checksum = Xxh3Default::new();
        let mut at = self.position;
        loop {
            let length = self.chunk_bytes.max(2 * CHECKSUM).min(self.end + CHECKSUM - at);
            self.load(at, length)?;
            let summed = (self.end.saturating_sub(at).min(length)) as usize;
            checksum.update(&self.chunk[..summed]);
            at += length;
            if at == self.end + CHECKSUM {
                break;
            }
        }
        // A last chunk of less than a checksum is read again with what stands before it.
        if (self.chunk.len() as u64) < CHECKSUM {
            self.load(self.end, CHECKSUM)?;
        }
        let kept = &self.chunk[self.chunk.len() - CHECKSUM as usize..];
        if kept != checksum.digest().to_le_bytes() {
            return Err(self.damaged(format!("the checksum of the part up to byte {} does not fit", self.end)));
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, SinkError> {
        if !std::mem::replace(&mut self.verified, true) {
            self.verify()?;
        }
        loop {
            let start = self.position;
            let prefix = self.take(PREFIX)?;
            let word = |at: usize| u32::from_le_bytes(prefix[at..at + 4].try_into().expect("four bytes"));
            if word(0) != u32::MAX {
                return Err(self.damaged(format!("no block begins at byte {start}")));
            }
            if word(4) == 0 {
                return Ok(None);
            }
            if u64::from(word(4)) > MAX_MESSAGE {
                return Err(self.damaged(format!("the block at byte {start} has a header of {} bytes", word(4))));
            }
            let header = self.take(u64::from(word(4)))?;
            let message = root_as_message(&header).map_err(|error| self.damaged(error.to_string()))?;
            let body_length = u64::try_from(message.bodyLength()).map_err(|_| self.damaged("a negative length"))?;
            let body = self.take(body_length)?;
            match message.header_type() {
                MessageHeader::Schema => {
                    let schema = message.header_as_schema().ok_or_else(|| self.damaged("a schema is missing"))?;
                    self.stored = Some(Arc::new(fb_to_schema(schema)));
                }
                MessageHeader::RecordBatch => {
                    let batch = message.header_as_record_batch().ok_or_else(|| self.damaged("a block is missing"))?;
                    return self.decode(&body, batch, message.version()).map(Some);
                }
                other => return Err(self.damaged(format!("a block of kind {other:?}"))),
            }
        }
    }

    fn decode(
        &self,
        body: &Buffer,
        batch: ipc::RecordBatch,
        version: MetadataVersion,
    ) -> Result<RecordBatch, SinkError> {
        let stored = self.stored.as_ref().ok_or_else(|| self.damaged("a block comes before its schema"))?;
        let decode = |projection: Option<&[usize]>| {
            read_record_batch(body, batch, Arc::clone(stored), &HashMap::new(), projection, &version)
                .map_err(|error| self.damaged(error.to_string()))
        };
        let Some(wanted) = &self.wanted else { return decode(None) };
        let places = |schema: &Schema| -> Vec<Option<usize>> {
            wanted.fields().iter().map(|field| schema.fields().find(field.name()).map(|(at, _)| at)).collect()
        };
        let projection: Vec<usize> = places(stored).into_iter().flatten().collect();
        let batch = decode(Some(&projection))?;
        conform(&batch, &places(batch.schema_ref()), wanted)
            .map_err(|error| SinkError::store(format!("reading segment {}", self.segment), error))
    }
}

impl Iterator for PartReader {
    type Item = Result<RecordBatch, SinkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let next = self.read().transpose();
        self.finished |= !matches!(next, Some(Ok(_)));
        next
    }
}

/// Bytes of a file, in a buffer that is aligned as Arrow likes it.
fn read_at(path: &Path, start: u64, length: u64) -> std::io::Result<Buffer> {
    let mut bytes = MutableBuffer::from_len_zeroed(length as usize);
    File::open(path)?.read_exact_at(bytes.as_slice_mut(), start)?;
    Ok(bytes.into())
}

/// What the segment at `path` says of itself: for whoever has the file and not the store. Blocks.
///
/// # Errors
/// [`SinkError::Damaged`] when it is no whole segment.
pub fn read_index(path: &Path) -> Result<SegmentIndex, SinkError> {
    let segment = path.display().to_string();
    let damaged = |what: &str| SinkError::Damaged { segment: segment.clone(), what: what.to_owned() };
    let bytes = std::fs::read(path).map_err(|error| SinkError::store(format!("reading segment {segment}"), error))?;
    let (rest, magic) = bytes.split_last_chunk::<8>().ok_or_else(|| damaged("it is too short"))?;
    let (rest, checksum) = rest.split_last_chunk::<8>().ok_or_else(|| damaged("it is too short"))?;
    let (rest, length) = rest.split_last_chunk::<8>().ok_or_else(|| damaged("it is too short"))?;
    if magic != MAGIC || !rest.starts_with(MAGIC) {
        return Err(damaged("it does not begin and end as a segment does"));
    }
    let start = usize::try_from(u64::from_le_bytes(*length)).ok().and_then(|length| rest.len().checked_sub(length));
    let index = &rest[start.ok_or_else(|| damaged("its index is longer than the file"))?..];
    if xxh3_64(index) != u64::from_le_bytes(*checksum) {
        return Err(damaged("the checksum of its index does not fit"));
    }
    serde_json::from_slice(index).map_err(|error| damaged(&format!("its index does not parse: {error}")))
}
