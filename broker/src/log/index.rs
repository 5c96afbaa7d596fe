//! A sparse index of one segment: where to start looking for an offset or a time.
//!
//! One entry for about 64 KiB of batches; the rest of the way is a walk over batch headers. It is kept in memory, saved
//! with the segment's checkpoint, and rebuilt by reading the segment where that is missing.

use super::batch::BatchHeader;

/// Bytes of batches between two entries.
const INTERVAL_BYTES: u64 = 64 << 10;

/// A batch that the index knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Base offset of the batch.
    pub(crate) offset: i64,
    /// Where it starts in the segment file.
    pub(crate) position: u64,
    /// The greatest timestamp of all batches before it in the segment; `i64::MIN` for the first.
    pub(crate) timestamp_before: i64,
}

/// The sparse index of one segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    entries: Vec<Entry>,
}

impl Index {
    /// Puts an index together from its entries, which must be in order.
    pub(crate) fn from_entries(entries: Vec<Entry>) -> Option<Index> {
        let ordered =
            entries.windows(2).all(|pair| pair[0].offset < pair[1].offset && pair[0].position < pair[1].position);
        ordered.then_some(Index { entries })
    }

    /// The entries, in order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Notes a batch that was appended at `position`, if it is far enough from the last one noted.
    pub(crate) fn observe(&mut self, batch: &BatchHeader, position: u64, timestamp_before: i64) {
        let due = self.entries.last().is_none_or(|last| position >= last.position + INTERVAL_BYTES);
        if due {
            self.entries.push(Entry { offset: batch.base_offset, position, timestamp_before });
        }
    }

    /// Where to start the walk to the batch that holds `offset`.
    pub(crate) fn position_before(&self, offset: i64) -> u64 {
        let behind = self.entries.partition_point(|entry| entry.offset <= offset);
        self.entries[..behind].last().map_or(0, |entry| entry.position)
    }

    /// Where to start the walk to the first batch with a timestamp of at least `timestamp`.
    pub(crate) fn position_before_time(&self, timestamp: i64) -> u64 {
        let behind = self.entries.partition_point(|entry| entry.timestamp_before < timestamp);
        self.entries[..behind].last().map_or(0, |entry| entry.position)
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::testing::{Wanted, batch};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The walk from where the index says always meets the batch that a search of everything finds.
        #[test]
        fn no_lookup_starts_behind_its_batch(
            shapes in proptest::collection::vec((1i32..4, 0i64..1_000, 1u64..40_000), 1..60),
            offset in 0i64..150,
            time in 0i64..1_000,
        ) {
            let (mut index, mut end, mut position, mut newest, mut all) = (Index::default(), 0i64, 0u64, i64::MIN, vec![]);
            for (records, timestamp, bytes) in shapes {
                let mut header = BatchHeader::parse(&batch(Wanted { records, timestamp, ..Wanted::default() })).unwrap();
                header.base_offset = end;
                index.observe(&header, position, newest);
                all.push((header, position));
                end = header.next_offset();
                newest = newest.max(header.max_timestamp);
                position += bytes;
            }
            if let Some((_, at)) = all.iter().find(|(header, _)| header.next_offset() > offset) {
                prop_assert!(index.position_before(offset) <= *at);
                prop_assert!(*at < index.position_before(offset) + INTERVAL_BYTES + 40_000);
            }
            if let Some((_, at)) = all.iter().find(|(header, _)| header.max_timestamp >= time) {
                prop_assert!(index.position_before_time(time) <= *at);
            }
            prop_assert_eq!(Index::from_entries(index.entries().to_vec()), Some(index));
        }
    }
}
