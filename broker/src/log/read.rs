//! Reading batches of one segment: walking over headers, and cutting out whole batches.
//!
//! Everything here works on an open file and a number of bytes that were whole batches when the log was asked, so it
//! needs no lock: bytes before that point are never changed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use super::batch::{BatchHeader, HEADER_BYTES, plain_records};

/// Bytes that a walk reads at once.
const WINDOW_BYTES: usize = 64 << 10;

/// A piece of a segment to be searched.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) file: Arc<File>,
    /// Where the search starts: the start of a batch.
    pub(crate) position: u64,
    /// Where the whole batches end.
    pub(crate) end: u64,
}

impl Span {
    /// Walks over the headers until `wanted` says yes; gives that batch and its position.
    fn find(&self, mut wanted: impl FnMut(&BatchHeader) -> bool) -> io::Result<Option<(BatchHeader, u64)>> {
        let (mut window, mut start, mut position) = (Vec::new(), self.position, self.position);
        while position < self.end {
            let mut skip = (position - start) as usize;
            if skip + HEADER_BYTES > window.len() {
                (start, skip) = (position, 0);
                window.resize(WINDOW_BYTES.min((self.end - start) as usize), 0);
                self.file.read_exact_at(&mut window, start)?;
            }
            let header = BatchHeader::parse(&window[skip..]).map_err(io::Error::other)?;
            if wanted(&header) {
                return Ok(Some((header, position)));
            }
            position += header.bytes as u64;
        }
        Ok(None)
    }

    /// Reads whole batches from the one that holds `offset` on: at most `max_bytes`, but the first one in any case if
    /// `at_least_one`; none that starts at `visible_end` or later.
    pub(crate) fn read(
        &self,
        offset: i64,
        visible_end: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> io::Result<Bytes> {
        let Some((first, position)) = self.find(|batch| batch.next_offset() > offset)? else {
            return Ok(Bytes::new());
        };
        if first.base_offset >= visible_end || (first.bytes > max_bytes && !at_least_one) {
            return Ok(Bytes::new());
        }
        let wanted = max_bytes.max(first.bytes).min((self.end - position) as usize);
        let mut bytes = vec![0; wanted];
        self.file.read_exact_at(&mut bytes, position)?;
        bytes.truncate(whole_batches(&bytes, visible_end));
        Ok(Bytes::from(bytes))
    }

    /// The first record with a timestamp of at least `timestamp`, as timestamp and offset. In a compressed batch that is
    /// the first record of the batch, so that a reader who starts there misses nothing.
    pub(crate) fn record_at_time(&self, timestamp: i64) -> io::Result<Option<(i64, i64)>> {
        let Some((batch, position)) = self.find(|batch| batch.max_timestamp >= timestamp)? else { return Ok(None) };
        let first = self.plain_record(&batch, position, |time| time >= timestamp)?;
        Ok(Some(first.unwrap_or((batch.base_timestamp.max(timestamp), batch.base_offset))))
    }

    /// The record with the timestamp `newest`, the greatest of the segment, as timestamp and offset. In a compressed
    /// batch that is its last record.
    pub(crate) fn newest_record(&self, newest: i64) -> io::Result<Option<(i64, i64)>> {
        let Some((batch, position)) = self.find(|batch| batch.max_timestamp >= newest)? else { return Ok(None) };
        let exact = self.plain_record(&batch, position, |time| time >= newest)?;
        Ok(Some(exact.unwrap_or((newest, batch.next_offset() - 1))))
    }

    fn plain_record(
        &self,
        batch: &BatchHeader,
        position: u64,
        wanted: impl Fn(i64) -> bool,
    ) -> io::Result<Option<(i64, i64)>> {
        if !batch.is_plain() {
            return Ok(None);
        }
        let mut bytes = vec![0; batch.bytes];
        self.file.read_exact_at(&mut bytes, position)?;
        let absolute = |(offset, time): (i64, i64)| {
            (batch.base_timestamp.saturating_add(time), batch.base_offset.saturating_add(offset))
        };
        Ok(plain_records(&bytes).map(absolute).find(|(time, _)| wanted(*time)))
    }
}

/// How many of `bytes` are whole batches that start before `visible_end`.
fn whole_batches(bytes: &[u8], visible_end: i64) -> usize {
    let mut end = 0;
    while let Ok(header) = BatchHeader::parse(&bytes[end..]) {
        if header.base_offset >= visible_end || end + header.bytes > bytes.len() {
            break;
        }
        end += header.bytes;
    }
    end
}
