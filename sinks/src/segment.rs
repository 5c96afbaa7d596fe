//! The one file that a worker writes at the end of an epoch: its rows of every table, one after the other, and an index.
//!
//! ```text
//! magic, padded to 64 bytes
//! part:   an Arrow IPC stream (uncompressed, blocks of about half a megabyte sorted by event time), its checksum (8 bytes)
//! part:   …                                                                   each starts at a multiple of 64 bytes
//! index:  JSON: generation, epoch, worker, and for each part its table, bytes, rows, event times and checksum
//! footer: length of the index (8 bytes), its checksum (8 bytes), magic
//! ```
//! Numbers are little-endian, checksums XXH3-64. A part's bytes stand alone: a reader that knows them from the metadata
//! store reads nothing else. The index serves whoever finds the file without the store.
//!
//! A segment is written under a temporary name, synced, renamed, and its folder synced: under its own name it is whole.

mod read;

pub use read::{PartReader, read_index, read_part, stream_part};
pub use thermocline_schemas::metadata::Durability;

use crate::{SinkError, crash_point};
use arrow::array::{Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::interleave_record_batch;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use thermocline_schemas::columns::event_time;
use thermocline_schemas::metadata::{NewPart, NewSegment};
use thermocline_schemas::{Epoch, Generation, TableId};
use xxhash_rust::xxh3::Xxh3Default;

const MAGIC: &[u8; 8] = b"THCLSEG1";
/// Parts start at multiples of this, so that what is read into an aligned buffer needs no copy.
const ALIGNMENT: u64 = 64;
/// Bytes of a checksum.
const CHECKSUM: u64 = 8;
/// Bytes of one IPC block, if its rows are as those of its batch on average. A merge holds a block or two of each part.
pub(crate) const BLOCK_BYTES: usize = 512 << 10;
/// Most rows of one IPC block.
const BLOCK_ROWS: usize = 8_192;

/// What a segment says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentIndex {
    /// The run that wrote it.
    pub generation: Generation,
    /// The epoch.
    pub epoch: Epoch,
    /// The worker.
    pub worker: usize,
    /// The parts, in order.
    pub parts: Vec<IndexedPart>,
}

/// A part and its checksum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedPart {
    /// The part.
    pub part: NewPart,
    /// XXH3-64 of its IPC stream.
    pub checksum: u64,
}

/// The segment's path relative to the data directory: `staged/<generation>/<epoch>-<worker>`.
pub fn segment_path(generation: Generation, epoch: Epoch, worker: usize) -> String {
    format!("staged/{generation}/{epoch}-{worker}")
}

/// Makes the folder of a run's segments.
///
/// # Errors
/// [`SinkError::Store`] with the folder.
pub fn create_staging(data_dir: &Path, generation: Generation, durability: Durability) -> Result<(), SinkError> {
    let staged = data_dir.join("staged");
    let folder = staged.join(generation.to_string());
    let create = || {
        fs::create_dir_all(&folder)?;
        for folder in [&*folder, &*staged, data_dir] {
            sync_folder(folder, durability)?;
        }
        Ok(())
    };
    create().map_err(|error: io::Error| SinkError::store(format!("creating {}", folder.display()), error))
}

/// Writes one worker's rows of an epoch, and returns what the manifest says of them. Blocks; call it from a thread that
/// may.
///
/// A table's batches should be sorted by event time, within and across batches; where they are not, they are sorted here,
/// which costs a copy. Tables without rows are left out. The same segment written again replaces the file.
///
/// # Errors
/// [`SinkError::Schema`] when a batch has no usable `event_time`, [`SinkError::Store`] when the file cannot be written. No
/// file exists under the segment's name then.
pub fn write_segment(
    data_dir: &Path,
    generation: Generation,
    epoch: Epoch,
    worker: usize,
    parts: Vec<(TableId, Vec<RecordBatch>)>,
    durability: Durability,
) -> Result<NewSegment, SinkError> {
    let path = segment_path(generation, epoch, worker);
    let target = data_dir.join(&path);
    let temporary = target.with_extension("tmp");
    let failed = |error: io::Error| SinkError::store(format!("writing segment {path}"), error);

    let file = create(&temporary).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let index = encode_segment(&mut out, generation, epoch, worker, parts)?;
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    let bytes = file.metadata().map_err(failed)?.len();
    if durability == Durability::Disk {
        file.sync_all().map_err(failed)?;
    }
    drop(file);
    fs::rename(&temporary, &target).map_err(failed)?;
    sync_folder(target.parent().expect("a segment lies in a folder"), durability).map_err(failed)?;
    crash_point!("segment::written");
    Ok(NewSegment { path, bytes, parts: index.parts.into_iter().map(|indexed| indexed.part).collect() })
}

/// The file, in a folder that [`create_staging`] made, or that is made here.
fn create(path: &PathBuf) -> io::Result<File> {
    match File::create(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().expect("a segment lies in a folder"))?;
            File::create(path)
        }
        other => other,
    }
}

fn sync_folder(folder: &Path, durability: Durability) -> io::Result<()> {
    match durability {
        Durability::Disk => File::open(folder)?.sync_all(),
        Durability::Process => Ok(()),
    }
}

/// Encodes a whole segment; touches nothing but `out`.
///
/// # Errors
/// As [`write_segment`].
pub fn encode_segment(
    out: &mut impl Write,
    generation: Generation,
    epoch: Epoch,
    worker: usize,
    parts: Vec<(TableId, Vec<RecordBatch>)>,
) -> Result<SegmentIndex, SinkError> {
    let failed = |error: io::Error| SinkError::store(format!("encoding epoch {epoch} of worker {worker}"), error);
    let mut out = Encoder { inner: out, written: 0, checksum: Xxh3Default::new() };
    let mut index = SegmentIndex { generation, epoch, worker, parts: Vec::with_capacity(parts.len()) };
    out.write_all(MAGIC).map_err(failed)?;
    for (table, batches) in parts {
        if let Some(part) = encode_part(&mut out, table, batches)? {
            index.parts.push(part);
        }
    }
    let text = serde_json::to_vec(&index).map_err(|error| failed(error.into()))?;
    out.align().map_err(failed)?;
    out.checksum.reset();
    out.write_all(&text).map_err(failed)?;
    let footer = [&(text.len() as u64).to_le_bytes(), &out.checksum.digest().to_le_bytes(), MAGIC].map(|word| *word);
    out.write_all(footer.as_flattened()).map_err(failed)?;
    out.flush().map_err(failed)?;
    Ok(index)
}

fn encode_part<W: Write>(
    out: &mut Encoder<'_, W>,
    table: TableId,
    mut batches: Vec<RecordBatch>,
) -> Result<Option<IndexedPart>, SinkError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| SinkError::store(format!("encoding {table}"), error);
    batches.retain(|batch| batch.num_rows() > 0);
    if batches.is_empty() {
        return Ok(None);
    }
    if !is_sorted(&table, &batches)? {
        batches = vec![sort_by_event_time(&batches)?];
    }
    let least = event_time(&batches[0])?.value(0);
    let last = event_time(batches.last().expect("there is a batch"))?;
    let greatest = last.value(last.len() - 1);
    let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();

    out.align().map_err(|error| failed(error.into()))?;
    let start = out.written;
    out.checksum.reset();
    let mut writer = StreamWriter::try_new(&mut *out, &batches[0].schema()).map_err(|error| failed(error.into()))?;
    for batch in &batches {
        let rows = block_rows(batch).map_err(|error| failed(error.into()))?;
        for first in (0..batch.num_rows()).step_by(rows) {
            let block = batch.slice(first, rows.min(batch.num_rows() - first));
            writer.write(&block).map_err(|error| failed(error.into()))?;
        }
    }
    writer.finish().map_err(|error| failed(error.into()))?;
    drop(writer);
    let checksum = out.checksum.digest();
    out.write_all(&checksum.to_le_bytes()).map_err(|error| failed(error.into()))?;
    let part = NewPart { table, bytes: start..out.written, rows, event_time: (least, greatest) };
    Ok(Some(IndexedPart { part, checksum }))
}

/// How many rows of `batch` make a block, as its rows are on average: whoever merges parts holds a block of each.
fn block_rows(batch: &RecordBatch) -> Result<usize, ArrowError> {
    let columns = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size());
    let bytes = columns.sum::<Result<usize, _>>()?;
    Ok((BLOCK_BYTES * batch.num_rows() / bytes.max(1)).clamp(1, BLOCK_ROWS))
}

/// True when the event times never go back, within and across batches.
fn is_sorted(table: &TableId, batches: &[RecordBatch]) -> Result<bool, SinkError> {
    let mut greatest = i64::MIN;
    for batch in batches {
        let times = event_time(batch)?;
        if times.null_count() > 0 {
            let what = format!("{} of {} rows have no event time", times.null_count(), times.len());
            return Err(SinkError::store(format!("encoding {table}"), what));
        }
        let values = times.values();
        if values[0] < greatest || !values.is_sorted() {
            return Ok(false);
        }
        greatest = values[values.len() - 1];
    }
    Ok(true)
}

/// One batch of all rows of `batches`, sorted by event time; rows of the same time keep their order.
///
/// # Errors
/// [`SinkError::Schema`] when `event_time` is missing, [`SinkError::Store`] when the batches differ in their columns.
pub fn sort_by_event_time(batches: &[RecordBatch]) -> Result<RecordBatch, SinkError> {
    let times = batches.iter().map(event_time).collect::<Result<Vec<&TimestampMicrosecondArray>, _>>()?;
    let places = |(batch, times): (usize, &&TimestampMicrosecondArray)| (0..times.len()).map(move |row| (batch, row));
    let mut order: Vec<(usize, usize)> = times.iter().enumerate().flat_map(places).collect();
    order.sort_by_key(|(batch, row)| times[*batch].value(*row));
    interleave_record_batch(&batches.iter().collect::<Vec<_>>(), &order)
        .map_err(|error| SinkError::store("sorting rows by event time", error))
}

/// Counts and sums what goes through.
struct Encoder<'a, W: Write> {
    inner: &'a mut W,
    written: u64,
    checksum: Xxh3Default,
}

impl<W: Write> Encoder<'_, W> {
    fn align(&mut self) -> io::Result<()> {
        let padding = self.written.next_multiple_of(ALIGNMENT) - self.written;
        self.write_all(&[0; ALIGNMENT as usize][..padding as usize])
    }
}

impl<W: Write> Write for Encoder<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_all(bytes)?;
        self.checksum.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests;
