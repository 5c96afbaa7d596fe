//! What a partition remembers of idempotent producers, so that a batch sent twice is stored once.
//!
//! A producer numbers its records per partition. The broker keeps, for each producer id, its newest epoch and its last
//! five batches (clients keep at most five requests in flight). A batch that equals one of the five is a repetition and
//! is answered with the offset it got; otherwise it must continue where the last one ended.
//!
//! Source: KIP-98 and KIP-360.

use std::collections::{HashMap, VecDeque};

use bytes::{Buf, BufMut};

use super::batch::BatchHeader;

/// Batches remembered for each producer.
const REMEMBERED: usize = 5;

/// Why a batch of an idempotent producer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SequenceError {
    /// A newer session of the same producer has written already.
    #[error("producer {producer_id} writes with epoch {theirs}, its epoch here is {ours}")]
    StaleEpoch { producer_id: i64, ours: i16, theirs: i16 },
    /// Something between the last batch and this one is missing.
    #[error("producer {producer_id} sent sequence number {found}, {expected} was expected")]
    OutOfOrder { producer_id: i64, expected: i32, found: i32 },
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is new.
    Append,
    /// It is stored already, at this offset.
    Duplicate { base_offset: i64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    first: i32,
    last: i32,
    base_offset: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// When it wrote last by the clock of the broker, in milliseconds since the Unix epoch.
    written_ms: i64,
    seen: VecDeque<Seen>,
}

/// The producers of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
}

impl Producers {
    /// Says what to do with a batch; changes nothing.
    pub(crate) fn check(&self, batch: &BatchHeader) -> Result<Verdict, SequenceError> {
        let producer_id = batch.producer_id;
        let Some(producer) = self.by_id.get(&producer_id) else { return Ok(Verdict::Append) };
        if producer_id < 0 {
            return Ok(Verdict::Append);
        }
        let (ours, theirs) = (producer.epoch, batch.producer_epoch);
        if theirs < ours {
            return Err(SequenceError::StaleEpoch { producer_id, ours, theirs });
        }
        let expected = match producer.seen.back() {
            Some(last) if theirs == ours => last.last.wrapping_add(1) & i32::MAX,
            _ => 0,
        };
        if theirs == ours {
            let same = |seen: &&Seen| seen.first == batch.base_sequence && seen.last == batch.last_sequence();
            if let Some(seen) = producer.seen.iter().find(same) {
                return Ok(Verdict::Duplicate { base_offset: seen.base_offset });
            }
        }
        if batch.base_sequence != expected {
            return Err(SequenceError::OutOfOrder { producer_id, expected, found: batch.base_sequence });
        }
        Ok(Verdict::Append)
    }

    /// Remembers a batch that was stored at `base_offset`, now.
    pub(crate) fn record(&mut self, batch: &BatchHeader, base_offset: i64, now_ms: i64) {
        if batch.producer_id < 0 {
            return;
        }
        let producer = self.by_id.entry(batch.producer_id).or_insert_with(|| Producer {
            epoch: batch.producer_epoch,
            written_ms: now_ms,
            seen: VecDeque::with_capacity(REMEMBERED),
        });
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.seen.clear();
        }
        if producer.seen.len() == REMEMBERED {
            producer.seen.pop_front();
        }
        producer.written_ms = now_ms;
        producer.seen.push_back(Seen { first: batch.base_sequence, last: batch.last_sequence(), base_offset });
    }

    /// Forgets producers that wrote nothing since `before_ms`.
    pub(crate) fn forget(&mut self, before_ms: i64) {
        self.by_id.retain(|_, producer| producer.written_ms >= before_ms);
    }

    /// Appends the state to `out`, for the checkpoint of a segment.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.by_id.len() as u32);
        for (id, producer) in &self.by_id {
            out.put_i64(*id);
            out.put_i16(producer.epoch);
            out.put_i64(producer.written_ms);
            out.put_u8(producer.seen.len() as u8);
            for seen in &producer.seen {
                out.put_i32(seen.first);
                out.put_i32(seen.last);
                out.put_i64(seen.base_offset);
            }
        }
    }

    /// Reads what [`Producers::encode`] wrote; `None` when the bytes are something else.
    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<Producers> {
        let mut by_id = HashMap::new();
        for _ in 0..bytes.try_get_u32().ok()? {
            let id = bytes.try_get_i64().ok()?;
            let epoch = bytes.try_get_i16().ok()?;
            let written_ms = bytes.try_get_i64().ok()?;
            let mut seen = VecDeque::with_capacity(REMEMBERED);
            for _ in 0..bytes.try_get_u8().ok()? {
                let first = bytes.try_get_i32().ok()?;
                let last = bytes.try_get_i32().ok()?;
                seen.push_back(Seen { first, last, base_offset: bytes.try_get_i64().ok()? });
            }
            by_id.insert(id, Producer { epoch, written_ms, seen });
        }
        Some(Producers { by_id })
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::testing::{Wanted, batch};
    use super::*;
    use proptest::prelude::*;

    fn header(epoch: i16, sequence: i32, records: i32) -> BatchHeader {
        let bytes = batch(Wanted { records, producer: (9, epoch, sequence), ..Wanted::default() });
        BatchHeader::accept(&bytes).expect("sound")
    }

    fn store(producers: &mut Producers, batch: BatchHeader, base_offset: i64) -> Result<Verdict, SequenceError> {
        let verdict = producers.check(&batch)?;
        if verdict == Verdict::Append {
            producers.record(&batch, base_offset, 0);
        }
        Ok(verdict)
    }

    #[test]
    fn a_repeated_batch_is_answered_with_its_old_offset() {
        let mut producers = Producers::default();
        assert_eq!(store(&mut producers, header(0, 0, 2), 100), Ok(Verdict::Append));
        assert_eq!(store(&mut producers, header(0, 2, 3), 102), Ok(Verdict::Append));
        assert_eq!(store(&mut producers, header(0, 0, 2), 105), Ok(Verdict::Duplicate { base_offset: 100 }));
        assert_eq!(store(&mut producers, header(0, 5, 1), 105), Ok(Verdict::Append));
    }

    #[test]
    fn gaps_and_old_epochs_are_refused() {
        let mut producers = Producers::default();
        store(&mut producers, header(1, 0, 1), 0).expect("first");
        let gap = SequenceError::OutOfOrder { producer_id: 9, expected: 1, found: 2 };
        assert_eq!(store(&mut producers, header(1, 2, 1), 1), Err(gap));
        let stale = SequenceError::StaleEpoch { producer_id: 9, ours: 1, theirs: 0 };
        assert_eq!(store(&mut producers, header(0, 1, 1), 1), Err(stale));
        assert!(matches!(store(&mut producers, header(2, 7, 1), 1), Err(SequenceError::OutOfOrder { .. })));
        assert_eq!(store(&mut producers, header(2, 0, 1), 1), Ok(Verdict::Append));
    }

    #[test]
    fn sequence_numbers_go_round() {
        let mut producers = Producers::default();
        store(&mut producers, header(0, i32::MAX - 1, 3), 0).expect("unknown producers start anywhere");
        assert_eq!(store(&mut producers, header(0, 1, 1), 3), Ok(Verdict::Append));
    }

    proptest! {
        /// Whatever is sent again, in whatever order within the five newest, every record is stored exactly once.
        #[test]
        fn retries_never_store_twice(sizes in proptest::collection::vec(1i32..5, 1..30), retry in any::<u64>()) {
            let (mut producers, mut sequence, mut end, mut sent) = (Producers::default(), 0, 0i64, Vec::new());
            for (turn, records) in sizes.iter().enumerate() {
                let batch = header(0, sequence, *records);
                prop_assert_eq!(store(&mut producers, batch, end), Ok(Verdict::Append));
                sent.push((batch, end));
                sequence += records;
                end += i64::from(*records);
                let back = (retry.rotate_left(turn as u32) as usize) % sent.len().min(REMEMBERED);
                let (again, base_offset) = sent[sent.len() - 1 - back];
                prop_assert_eq!(store(&mut producers, again, end), Ok(Verdict::Duplicate { base_offset }));
            }
            let mut bytes = Vec::new();
            producers.encode(&mut bytes);
            prop_assert_eq!(Producers::decode(&mut bytes.as_slice()), Some(producers));
        }
    }
}
