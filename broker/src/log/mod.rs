//! The log of one partition: files of record batches, and how to find one by offset or by time.
//!
//! A partition is a folder of segments, `<first offset>.log`, each followed by a checkpoint `<first offset>.index` once
//! its bytes are known to be on the disk. Only the last segment is written to. Batches lie in it as the producer sent
//! them, with their base offset and leader epoch written over; offsets have no gaps within a log.

mod batch;
mod checkpoint;
mod index;
mod partition_log;
mod producers;
mod read;
mod recover;
mod segment;

pub(crate) use batch::{BatchError, BatchHeader};
pub(crate) use partition_log::{Appended, LogOptions, PartitionLog};
pub(crate) use producers::SequenceError;

#[cfg(test)]
pub(crate) use batch::testing;
