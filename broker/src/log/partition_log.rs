//! The log of one partition: append at the end, find a place to read, drop the oldest segments.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{error, info};

use super::batch::BatchHeader;
use super::producers::{Producers, Verdict};
use super::read::Span;
use super::recover::recover;
use super::segment::{Seal, Segment};
use crate::config::Retention;
use crate::durable;
use crate::error::LogError;

/// How long an idempotent producer is remembered after its last batch.
const PRODUCER_MEMORY_MS: i64 = 24 * 60 * 60 * 1000;

/// What a log has to know about its surroundings.
#[derive(Debug, Clone)]
pub(crate) struct LogOptions {
    pub(crate) segment_bytes: u64,
    pub(crate) retention: Retention,
}

/// Where a batch was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// It was stored by an earlier request already.
    pub(crate) duplicate: bool,
}

/// One partition's segments and idempotent producers. The caller brings the lock.
#[derive(Debug)]
pub(crate) struct PartitionLog {
    folder: PathBuf,
    options: LogOptions,
    /// In order, at least one; the last is the one that is written to.
    segments: Vec<Segment>,
    active: Arc<File>,
    producers: Producers,
    /// The sealed segment that was read last, so that a reader of history does not open it each time.
    reading: Option<(i64, Arc<File>)>,
    seals: Vec<Seal>,
    /// A write or an fsync went wrong and could not be undone; only reading is allowed.
    broken: bool,
}

impl PartitionLog {
    /// Opens the partition in `folder`, and creates it where it is missing.
    pub(crate) fn open(folder: &Path, options: LogOptions, now_ms: i64) -> io::Result<PartitionLog> {
        let recovered = recover(folder, now_ms)?;
        let mut segments = recovered.segments;
        let last = segments.last_mut().ok_or_else(|| io::Error::other("a log has at least one segment"))?;
        let active = last.open_for_append()?;
        durable::sync_folder(folder)?;
        Ok(PartitionLog {
            folder: folder.to_path_buf(),
            options,
            segments,
            active,
            producers: recovered.producers,
            reading: None,
            seals: Vec::new(),
            broken: false,
        })
    }

    /// The oldest offset that can be read.
    pub(crate) fn start_offset(&self) -> i64 {
        self.segments[0].base_offset
    }

    /// The offset that the next record gets.
    pub(crate) fn end_offset(&self) -> i64 {
        self.last().next_offset
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    fn last(&self) -> &Segment {
        &self.segments[self.segments.len() - 1]
    }

    /// Stores a batch that was checked by [`BatchHeader::accept`].
    pub(crate) fn append(&mut self, batch: &[u8], header: &BatchHeader, now_ms: i64) -> Result<Appended, LogError> {
        // First: of a broken log it is not known whether a batch that looks stored will be there after a crash.
        self.check_sound()?;
        if let Verdict::Duplicate { base_offset } = self.producers.check(header)? {
            return Ok(Appended { base_offset, duplicate: true });
        }
        if self.last().bytes > 0 && self.last().bytes + header.bytes as u64 > self.options.segment_bytes {
            self.roll()?;
        }
        let base_offset = self.end_offset();
        let last = self.segments.len() - 1;
        if let Err(problem) = self.segments[last].write(&self.active, batch, header) {
            self.undo_write(&problem);
            return Err(problem.into());
        }
        self.producers.record(header, base_offset, now_ms);
        Ok(Appended { base_offset, duplicate: false })
    }

    /// Cuts off what a failed write may have left.
    fn undo_write(&mut self, problem: &io::Error) {
        let (path, bytes) = (self.last().path.display().to_string(), self.last().bytes);
        match self.active.set_len(bytes) {
            Ok(()) => error!(%path, error = %problem, "write failed and was undone"),
            Err(second) => {
                self.broken = true;
                error!(%path, error = %problem, %second, "write failed and could not be undone; no more writes here");
            }
        }
    }

    /// Refuses once a write or an fsync went wrong for good.
    pub(crate) fn check_sound(&self) -> Result<(), LogError> {
        if self.broken { Err(LogError::Broken) } else { Ok(()) }
    }

    /// Stops all writing: what the disk holds is no longer known.
    pub(crate) fn mark_broken(&mut self) {
        self.broken = true;
    }

    /// Ends the segment that is written to and starts the next.
    fn roll(&mut self) -> io::Result<()> {
        let fresh = Segment::empty(&self.folder, self.end_offset());
        let file = fresh.open_for_append()?;
        self.seals.push(self.last().seal(&self.active, &self.producers));
        self.active = file;
        self.segments.push(fresh);
        Ok(())
    }

    /// Segments that ended and wait for the disk. Whoever takes them must run them, in order.
    pub(crate) fn take_seals(&mut self) -> Vec<Seal> {
        std::mem::take(&mut self.seals)
    }

    /// The file that is written to, with the offset behind its last record: what an fsync now would make durable.
    pub(crate) fn sync_point(&self) -> (Arc<File>, i64) {
        (Arc::clone(&self.active), self.end_offset())
    }

    /// What to run so that the next start need not read the last segment.
    pub(crate) fn seal_active(&self) -> Seal {
        self.last().seal(&self.active, &self.producers)
    }

    /// Where to look for the batch that holds `offset`; `None` at the end of the log.
    pub(crate) fn span_of(&mut self, offset: i64) -> Result<Option<Span>, LogError> {
        let (start, end) = (self.start_offset(), self.end_offset());
        if offset < start || offset > end {
            return Err(LogError::OutOfRange { offset, start, end });
        }
        let behind = self.segments.partition_point(|segment| segment.base_offset <= offset);
        let at = behind.max(1) - 1;
        if offset == end {
            return Ok(None);
        }
        let position = self.segments[at].index.position_before(offset);
        self.span(at, position).map(Some)
    }

    /// Where to look for the first record with a timestamp of at least `timestamp`; `None` if there is none.
    pub(crate) fn span_of_time(&mut self, timestamp: i64) -> Result<Option<Span>, LogError> {
        let Some(at) = self.segments.iter().position(|segment| segment.max_timestamp >= timestamp) else {
            return Ok(None);
        };
        let position = self.segments[at].index.position_before_time(timestamp);
        self.span(at, position).map(Some)
    }

    /// The greatest timestamp of the log, and where to look for it; `None` in an empty log.
    pub(crate) fn span_of_newest(&mut self) -> Result<Option<(i64, Span)>, LogError> {
        let newest = self.segments.iter().map(|segment| segment.max_timestamp).max().unwrap_or(i64::MIN);
        if newest == i64::MIN {
            return Ok(None);
        }
        Ok(self.span_of_time(newest)?.map(|span| (newest, span)))
    }

    fn span(&mut self, at: usize, position: u64) -> Result<Span, LogError> {
        let segment = &self.segments[at];
        let file = if at + 1 == self.segments.len() {
            Arc::clone(&self.active)
        } else {
            match &self.reading {
                Some((base_offset, file)) if *base_offset == segment.base_offset => Arc::clone(file),
                _ => {
                    let file = Arc::new(File::open(&segment.path)?);
                    self.reading = Some((segment.base_offset, Arc::clone(&file)));
                    file
                }
            }
        };
        Ok(Span { file, position, end: self.segments[at].bytes })
    }

    /// Deletes the oldest segments as far as `retention` asks and forgets producers of yesterday; says how many segments
    /// went. A whole log may become empty; its offsets go on.
    pub(crate) fn retain(&mut self, now_ms: i64) -> Result<usize, LogError> {
        self.producers.forget(now_ms.saturating_sub(PRODUCER_MEMORY_MS));
        let retention = self.options.retention;
        let oldest = retention.age.map(|age| now_ms.saturating_sub(age.as_millis().try_into().unwrap_or(i64::MAX)));
        let too_old =
            |segment: &Segment| segment.bytes > 0 && oldest.is_some_and(|least| segment.max_timestamp < least);
        if !self.broken && too_old(self.last()) {
            self.roll()?;
        }
        let mut bytes = self.bytes();
        let mut deleted = 0;
        while self.segments.len() > 1 {
            let first = &self.segments[0];
            let too_much = retention.bytes.is_some_and(|most| bytes - first.bytes >= most);
            if !too_old(first) && !too_much {
                break;
            }
            first.delete()?;
            info!(path = %first.path.display(), bytes = first.bytes, "old segment deleted");
            bytes -= first.bytes;
            self.segments.remove(0);
            deleted += 1;
        }
        self.reading = None;
        Ok(deleted)
    }
}

#[cfg(test)]
#[path = "partition_log/tests.rs"]
mod tests;
