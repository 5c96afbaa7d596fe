//! What is known to be good of a segment: `<first offset>.index`.
//!
//! A checkpoint is written only after the bytes that it speaks of are on the disk. So a start trusts them without
//! reading them, and reads (and checks) only what lies behind. It carries the index and the idempotent producers as of
//! its end. A missing or damaged checkpoint costs time, not data: the segment is read as a whole.

use bytes::{Buf, BufMut};

use super::index::{Entry, Index};
use super::producers::Producers;

/// The first bytes of the file, with its version.
const MAGIC: &[u8; 8] = b"tclogix1";

/// The known state of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) base_offset: i64,
    /// Bytes of the segment that are sound and on the disk.
    pub(crate) bytes: u64,
    /// The offset after the last record in those bytes.
    pub(crate) next_offset: i64,
    /// Their greatest timestamp, `i64::MIN` if there is no batch.
    pub(crate) max_timestamp: i64,
    pub(crate) index: Index,
    pub(crate) producers: Producers,
}

impl Checkpoint {
    /// The bytes of the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.index.entries().len() * 24);
        out.put_slice(MAGIC);
        out.put_i64(self.base_offset);
        out.put_u64(self.bytes);
        out.put_i64(self.next_offset);
        out.put_i64(self.max_timestamp);
        out.put_u32(self.index.entries().len() as u32);
        for entry in self.index.entries() {
            out.put_i64(entry.offset);
            out.put_u64(entry.position);
            out.put_i64(entry.timestamp_before);
        }
        self.producers.encode(&mut out);
        out.put_u32(crc32c::crc32c(&out));
        out
    }

    /// Reads what [`Checkpoint::encode`] wrote; `None` when the bytes are something else.
    pub(crate) fn decode(file: &[u8]) -> Option<Checkpoint> {
        let (body, mut crc) = file.split_at_checked(file.len().checked_sub(4)?)?;
        if crc.get_u32() != crc32c::crc32c(body) {
            return None;
        }
        let mut bytes = body.strip_prefix(MAGIC)?;
        let base_offset = bytes.try_get_i64().ok()?;
        let size = bytes.try_get_u64().ok()?;
        let next_offset = bytes.try_get_i64().ok()?;
        let max_timestamp = bytes.try_get_i64().ok()?;
        let mut entries = Vec::new();
        for _ in 0..bytes.try_get_u32().ok()? {
            let offset = bytes.try_get_i64().ok()?;
            let position = bytes.try_get_u64().ok()?;
            entries.push(Entry { offset, position, timestamp_before: bytes.try_get_i64().ok()? });
        }
        let index = Index::from_entries(entries)?;
        let producers = Producers::decode(&mut bytes)?;
        Some(Checkpoint { base_offset, bytes: size, next_offset, max_timestamp, index, producers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_comes_back_and_damage_is_noticed() {
        let entries = vec![
            Entry { offset: 5, position: 0, timestamp_before: i64::MIN },
            Entry { offset: 9, position: 70_000, timestamp_before: 12 },
        ];
        let index = Index::from_entries(entries).expect("in order");
        let producers = Producers::default();
        let known = Checkpoint { base_offset: 5, bytes: 80_000, next_offset: 11, max_timestamp: 40, index, producers };
        let bytes = known.encode();
        assert_eq!(Checkpoint::decode(&bytes), Some(known));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert_eq!(Checkpoint::decode(&damaged), None, "byte {at}");
            assert_eq!(Checkpoint::decode(&bytes[..at]), None, "cut at {at}");
        }
    }
}
