//! The header of a record batch: the only part of a batch that this broker reads.
//!
//! Layout of format 2, big-endian: base offset (8), length of what follows (4), partition leader epoch (4), magic (1),
//! CRC-32C of all that follows it (4), attributes (2), last offset delta (4), base timestamp (8), max timestamp (8),
//! producer id (8), producer epoch (2), base sequence (4), record count (4), records. Base offset and leader epoch lie
//! before the checksum, so the broker can write its own without touching the records.

use bytes::Buf;

/// Bytes of a batch before its first record.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes before those that the length field counts.
pub(crate) const LENGTH_PREFIX_BYTES: usize = 12;
/// Bytes that the broker writes itself: base offset, length and leader epoch.
pub(crate) const OWN_BYTES: usize = 16;
/// Where the checksum starts to cover the batch.
const CHECKED_FROM: usize = 21;

const ATTRIBUTE_COMPRESSION: i16 = 0b111;
const ATTRIBUTE_TRANSACTIONAL: i16 = 1 << 4;
const ATTRIBUTE_CONTROL: i16 = 1 << 5;

/// The fields of a batch header that the broker needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) base_offset: i64,
    /// The whole batch, this header included.
    pub(crate) bytes: usize,
    pub(crate) crc: u32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) records: i32,
}

/// What is wrong with bytes that should be a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchError {
    #[error("{0} bytes are too few for a record batch")]
    TooShort(usize),
    #[error("message format {0} is not supported, only 2 (clients of Kafka 0.11 and later)")]
    Magic(i8),
    #[error("the batch says it has {said} bytes, there are {are}")]
    Length { said: i64, are: usize },
    #[error("the checksum of the batch is {computed:08x}, its header says {said:08x}")]
    Checksum { said: u32, computed: u32 },
    #[error("{0}")]
    Invalid(&'static str),
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may go on behind the batch.
    pub(crate) fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        // The magic byte stands at the same place in every format, and old formats have shorter headers.
        if bytes.len() > 16 && bytes[16] != 2 {
            return Err(BatchError::Magic(bytes[16] as i8));
        }
        if bytes.len() < HEADER_BYTES {
            return Err(BatchError::TooShort(bytes.len()));
        }
        let mut rest = bytes;
        let base_offset = rest.get_i64();
        let length = rest.get_i32();
        rest.advance(5);
        let header = BatchHeader {
            base_offset,
            bytes: usize::try_from(length).unwrap_or(0).saturating_add(LENGTH_PREFIX_BYTES),
            crc: rest.get_u32(),
            attributes: rest.get_i16(),
            last_offset_delta: rest.get_i32(),
            base_timestamp: rest.get_i64(),
            max_timestamp: rest.get_i64(),
            producer_id: rest.get_i64(),
            producer_epoch: rest.get_i16(),
            base_sequence: rest.get_i32(),
            records: rest.get_i32(),
        };
        if header.bytes < HEADER_BYTES {
            return Err(BatchError::Length { said: i64::from(length), are: bytes.len() });
        }
        if header.last_offset_delta < 0 || header.records < 0 {
            return Err(BatchError::Invalid("the batch counts a negative number of records"));
        }
        Ok(header)
    }

    /// Compares the checksum of `batch`, which must be exactly this batch.
    pub(crate) fn verify(&self, batch: &[u8]) -> Result<(), BatchError> {
        if batch.len() != self.bytes {
            return Err(BatchError::Length { said: self.bytes as i64, are: batch.len() });
        }
        let computed = crc32c::crc32c(&batch[CHECKED_FROM..]);
        if computed != self.crc {
            return Err(BatchError::Checksum { said: self.crc, computed });
        }
        Ok(())
    }

    /// Reads and checks a batch that a producer sends: whole, sound, of this format, without transactions.
    pub(crate) fn accept(batch: &[u8]) -> Result<BatchHeader, BatchError> {
        let header = BatchHeader::parse(batch)?;
        if batch.len() > header.bytes {
            return Err(BatchError::Invalid("a produce request may carry only one record batch for a partition"));
        }
        header.verify(batch)?;
        if header.records == 0 || header.last_offset_delta.checked_add(1) != Some(header.records) {
            return Err(BatchError::Invalid("the record count of the batch does not fit its last offset delta"));
        }
        if header.attributes & (ATTRIBUTE_TRANSACTIONAL | ATTRIBUTE_CONTROL) != 0 {
            return Err(BatchError::Invalid("this broker does not support transactions"));
        }
        if header.attributes & ATTRIBUTE_COMPRESSION > 4 {
            return Err(BatchError::Invalid("the batch names an unknown compression"));
        }
        if header.producer_id >= 0 && (header.producer_epoch < 0 || header.base_sequence < 0) {
            return Err(BatchError::Invalid("the batch has a producer id but no epoch or sequence number"));
        }
        if header.is_plain() && !records_add_up(batch, header.records) {
            return Err(BatchError::Invalid("the records of the batch do not add up to what its header says"));
        }
        Ok(header)
    }

    /// The offset after the last record.
    pub(crate) fn next_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta)).saturating_add(1)
    }

    /// The sequence number of the last record; numbers go round after `i32::MAX`.
    pub(crate) fn last_sequence(&self) -> i32 {
        (self.base_sequence.wrapping_add(self.last_offset_delta)) & i32::MAX
    }

    /// Whether the records lie there uncompressed.
    pub(crate) fn is_plain(&self) -> bool {
        self.attributes & ATTRIBUTE_COMPRESSION == 0
    }

    /// The first bytes of the batch as they are stored at `base_offset`.
    pub(crate) fn stored_prefix(&self, base_offset: i64) -> [u8; OWN_BYTES] {
        let mut prefix = [0; OWN_BYTES];
        prefix[..8].copy_from_slice(&base_offset.to_be_bytes());
        let length = (self.bytes - LENGTH_PREFIX_BYTES) as i32;
        prefix[8..12].copy_from_slice(&length.to_be_bytes());
        // One node, one leader, epoch 0 for ever: the last four bytes stay zero.
        prefix
    }
}

/// Offset delta and timestamp delta of each record of an uncompressed batch, until the bytes end or make no sense.
pub(crate) fn plain_records(batch: &[u8]) -> impl Iterator<Item = (i64, i64)> + '_ {
    let mut rest = batch.get(HEADER_BYTES..).unwrap_or(&[]);
    std::iter::from_fn(move || {
        let length = usize::try_from(varint(&mut rest)?).ok()?;
        let mut record = rest.get(..length)?;
        rest = &rest[length..];
        record = record.get(1..)?;
        let timestamp_delta = varint(&mut record)?;
        let offset_delta = varint(&mut record)?;
        Some((offset_delta, timestamp_delta))
    })
}

/// Whether the bytes behind the header are exactly `count` records with the offsets 0, 1, 2 and so on. A batch with a
/// right checksum over wrong records would stop every reader of its partition, for ever.
fn records_add_up(batch: &[u8], count: i32) -> bool {
    let mut rest = batch.get(HEADER_BYTES..).unwrap_or(&[]);
    (0..i64::from(count)).all(|index| skip_record(&mut rest, index).is_some()) && rest.is_empty()
}

/// Takes one record off `bytes`, if it is whole and has this offset delta.
fn skip_record(bytes: &mut &[u8], index: i64) -> Option<()> {
    let length = usize::try_from(varint(bytes)?).ok()?;
    let mut record = bytes.get(..length)?;
    *bytes = &bytes[length..];
    record = record.get(1..)?;
    let _timestamp_delta = varint(&mut record)?;
    if varint(&mut record)? != index {
        return None;
    }
    skip_bytes(&mut record)?;
    skip_bytes(&mut record)?;
    for _ in 0..u64::try_from(varint(&mut record)?).ok()? {
        skip_bytes(&mut record)?;
        skip_bytes(&mut record)?;
    }
    record.is_empty().then_some(())
}

/// Takes a length and so many bytes off `record`; -1 stands for none.
fn skip_bytes(record: &mut &[u8]) -> Option<()> {
    match varint(record)? {
        -1 => {}
        length => *record = record.get(usize::try_from(length).ok()?..)?,
    }
    Some(())
}

/// A zigzag variable-length integer.
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// What a test wants of a batch.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Wanted {
        pub(crate) records: i32,
        pub(crate) timestamp: i64,
        pub(crate) producer: (i64, i16, i32),
        pub(crate) value_bytes: usize,
    }

    impl Default for Wanted {
        fn default() -> Self {
            Wanted { records: 1, timestamp: 1_000, producer: (-1, -1, -1), value_bytes: 10 }
        }
    }

    fn put_varint(out: &mut Vec<u8>, value: i64) {
        let mut value = ((value << 1) ^ (value >> 63)) as u64;
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    /// An uncompressed batch as a producer sends it; record `i` has timestamp `timestamp + i`.
    pub(crate) fn batch(wanted: Wanted) -> Vec<u8> {
        let mut out = vec![0u8; HEADER_BYTES];
        for index in 0..i64::from(wanted.records) {
            let mut record = vec![0u8];
            put_varint(&mut record, index);
            put_varint(&mut record, index);
            put_varint(&mut record, -1);
            put_varint(&mut record, wanted.value_bytes as i64);
            record.extend(std::iter::repeat_n(b'x', wanted.value_bytes));
            put_varint(&mut record, 0);
            put_varint(&mut out, record.len() as i64);
            out.extend(record);
        }
        let length = (out.len() - LENGTH_PREFIX_BYTES) as i32;
        out[8..12].copy_from_slice(&length.to_be_bytes());
        out[12..16].copy_from_slice(&(-1i32).to_be_bytes());
        out[16] = 2;
        out[23..27].copy_from_slice(&(wanted.records - 1).to_be_bytes());
        out[27..35].copy_from_slice(&wanted.timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&(wanted.timestamp + i64::from(wanted.records) - 1).to_be_bytes());
        out[43..51].copy_from_slice(&wanted.producer.0.to_be_bytes());
        out[51..53].copy_from_slice(&wanted.producer.1.to_be_bytes());
        out[53..57].copy_from_slice(&wanted.producer.2.to_be_bytes());
        out[57..61].copy_from_slice(&wanted.records.to_be_bytes());
        let crc = crc32c::crc32c(&out[CHECKED_FROM..]);
        out[17..21].copy_from_slice(&crc.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Wanted, batch};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_sound_batch_is_accepted_and_its_records_are_found() {
        let bytes = batch(Wanted { records: 3, timestamp: 50, ..Wanted::default() });
        let header = BatchHeader::accept(&bytes).expect("sound");
        assert_eq!((header.records, header.max_timestamp, header.next_offset()), (3, 52, 3));
        assert_eq!(plain_records(&bytes).collect::<Vec<_>>(), vec![(0, 0), (1, 1), (2, 2)]);
    }

    #[test]
    fn old_formats_damage_and_second_batches_are_told_apart() {
        let good = batch(Wanted::default());
        let mut old = good.clone();
        old[16] = 1;
        assert_eq!(BatchHeader::accept(&old), Err(BatchError::Magic(1)));
        assert_eq!(BatchHeader::accept(&old[..20]), Err(BatchError::Magic(1)));
        let mut flipped = good.clone();
        *flipped.last_mut().expect("bytes") ^= 1;
        assert!(matches!(BatchHeader::accept(&flipped), Err(BatchError::Checksum { .. })));
        let twice = [good.clone(), good.clone()].concat();
        assert!(matches!(BatchHeader::accept(&twice), Err(BatchError::Invalid(_))));
        assert!(matches!(BatchHeader::accept(&good[..good.len() - 1]), Err(BatchError::Length { .. })));
        let mut transactional = good.clone();
        transactional[22] |= 1 << 4;
        let crc = crc32c::crc32c(&transactional[21..]);
        transactional[17..21].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(BatchHeader::accept(&transactional), Err(BatchError::Invalid(_))));
    }

    /// The batch with a checksum that fits what it holds now.
    fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
        let crc = crc32c::crc32c(&bytes[CHECKED_FROM..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    #[test]
    fn records_that_do_not_add_up_are_refused_although_the_checksum_fits() {
        let good = batch(Wanted { records: 3, ..Wanted::default() });
        // The first record's length, its offset delta, its value's length, and the records' number.
        for (at, byte) in [(HEADER_BYTES, 2), (HEADER_BYTES + 3, 4), (HEADER_BYTES + 5, 126), (HEADER_BYTES + 5, 3)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(matches!(BatchHeader::accept(&signed(bad)), Err(BatchError::Invalid(_))), "byte {at} is {byte}");
        }
        let mut fewer = good.clone();
        fewer[23..27].copy_from_slice(&1_i32.to_be_bytes());
        fewer[57..61].copy_from_slice(&2_i32.to_be_bytes());
        assert!(matches!(BatchHeader::accept(&signed(fewer)), Err(BatchError::Invalid(_))));
        let mut compressed = good.clone();
        compressed[22] |= 1;
        compressed[HEADER_BYTES] = 2;
        assert!(BatchHeader::accept(&signed(compressed)).is_ok(), "compressed records are taken as they are");
        assert!(BatchHeader::accept(&signed(good)).is_ok());
    }

    #[test]
    fn the_stored_prefix_changes_nothing_that_the_checksum_covers() {
        let mut bytes = batch(Wanted::default());
        let header = BatchHeader::accept(&bytes).expect("sound");
        bytes[..OWN_BYTES].copy_from_slice(&header.stored_prefix(77));
        let stored = BatchHeader::parse(&bytes).expect("still a batch");
        assert_eq!(stored.base_offset, 77);
        assert_eq!(stored.verify(&bytes), Ok(()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = BatchHeader::accept(&bytes);
            let _ = plain_records(&bytes).count();
        }

        #[test]
        fn a_flipped_bit_behind_the_checksum_never_passes(at in 21usize..100, bit in 0u8..8) {
            let mut bytes = batch(Wanted { records: 4, value_bytes: 20, ..Wanted::default() });
            bytes[at] ^= 1 << bit;
            prop_assert!(BatchHeader::accept(&bytes).is_err());
        }
    }
}
