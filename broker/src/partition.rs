//! A partition as requests see it: its log behind a lock, the high watermark, and who waits for new records.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::error;

use crate::config::Fsync;
use crate::error::LogError;
use crate::log::{Appended, BatchHeader, LogOptions, PartitionLog};

/// One partition of a topic. Reading and writing block on files: call them where that is allowed.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) topic: String,
    pub(crate) index: i32,
    fsync: Fsync,
    log: Mutex<PartitionLog>,
    /// Held during an fsync, so that those who wait behind it find their records synced.
    syncing: Mutex<()>,
    /// Readers see what lies before it. It trails the end of the log only while an fsync is due.
    high_watermark: AtomicI64,
    /// Bytes that became visible since the start; lets a waiting fetch see how much came without reading it.
    visible_bytes: AtomicU64,
    /// Bytes appended since the start.
    appended_bytes: AtomicU64,
    waiting: Mutex<Vec<Weak<Notify>>>,
    deleted: AtomicBool,
}

impl Partition {
    /// Opens the partition's log in `folder`; what a restart finds there counts as visible.
    pub(crate) fn open(
        topic: &str,
        index: i32,
        folder: &Path,
        options: LogOptions,
        fsync: Fsync,
        now_ms: i64,
    ) -> io::Result<Partition> {
        let log = PartitionLog::open(folder, options, now_ms)?;
        if fsync == Fsync::EveryBatch {
            log.sync_point().0.sync_data()?;
        }
        Ok(Partition {
            topic: topic.to_string(),
            index,
            fsync,
            high_watermark: AtomicI64::new(log.end_offset()),
            log: Mutex::new(log),
            syncing: Mutex::new(()),
            visible_bytes: AtomicU64::new(0),
            appended_bytes: AtomicU64::new(0),
            waiting: Mutex::new(Vec::new()),
            deleted: AtomicBool::new(false),
        })
    }

    /// Stores a checked batch. It may be acknowledged after [`Partition::commit`].
    pub(crate) fn append(&self, batch: &[u8], header: &BatchHeader, now_ms: i64) -> Result<Appended, LogError> {
        let mut log = self.log.lock();
        self.check_not_deleted()?;
        let appended = log.append(batch, header, now_ms)?;
        if !appended.duplicate {
            self.appended_bytes.fetch_add(header.bytes as u64, Ordering::Relaxed);
        }
        if self.fsync == Fsync::Never {
            self.show(log.end_offset(), self.appended_bytes.load(Ordering::Relaxed));
        }
        Ok(appended)
    }

    /// Makes everything appended so far as durable as the fsync policy promises, and visible.
    ///
    /// After a failed fsync this refuses for good: a second fsync may succeed although the pages of the first were
    /// dropped, and would acknowledge records that the disk does not hold.
    pub(crate) fn commit(&self) -> Result<(), LogError> {
        if self.fsync == Fsync::Never {
            return Ok(());
        }
        let target = {
            let log = self.log.lock();
            log.check_sound()?;
            log.end_offset()
        };
        if self.high_watermark() >= target {
            return Ok(());
        }
        let _one_at_a_time = self.syncing.lock();
        if self.high_watermark() >= target {
            return Ok(());
        }
        let (seals, (file, end), bytes) = {
            let mut log = self.log.lock();
            self.check_not_deleted()?;
            log.check_sound()?;
            (log.take_seals(), log.sync_point(), self.appended_bytes.load(Ordering::Relaxed))
        };
        let synced = seals.into_iter().try_for_each(|seal| seal.run()).and_then(|()| file.sync_data());
        if let Err(problem) = synced {
            self.log.lock().mark_broken();
            error!(topic = self.topic, partition = self.index, error = %problem, "fsync failed; no more writes here");
            return Err(problem.into());
        }
        self.show(end, bytes);
        Ok(())
    }

    fn show(&self, end: i64, bytes: u64) {
        self.visible_bytes.store(bytes, Ordering::Release);
        self.high_watermark.store(end, Ordering::Release);
        self.wake();
    }

    /// Finishes segments that ended, if nothing else will: where each batch is synced, [`Partition::commit`] does it.
    pub(crate) fn seal_ended(&self) -> io::Result<()> {
        let _one_at_a_time = self.syncing.lock();
        let seals = self.log.lock().take_seals();
        let sealed = seals.into_iter().try_for_each(|seal| seal.run());
        if sealed.is_err() && self.fsync == Fsync::EveryBatch {
            // A commit would acknowledge what the sealed segment was to make durable.
            self.log.lock().mark_broken();
        }
        sealed
    }

    /// Brings everything to the disk, so that the next start need not read it.
    pub(crate) fn close(&self) -> io::Result<()> {
        self.seal_ended()?;
        if self.log.lock().check_sound().is_err() {
            return Ok(()); // The next start shall read what the disk holds.
        }
        let seal = self.log.lock().seal_active();
        seal.run()
    }

    /// The offset that a reader must stay below.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.high_watermark.load(Ordering::Acquire)
    }

    /// The oldest offset that can be read.
    pub(crate) fn start_offset(&self) -> i64 {
        self.log.lock().start_offset()
    }

    /// Counts the bytes that became visible; differences tell how much came meanwhile.
    pub(crate) fn visible_bytes(&self) -> u64 {
        self.visible_bytes.load(Ordering::Acquire)
    }

    /// Reads whole visible batches from the one that holds `offset` on; empty at the end.
    pub(crate) fn read(&self, offset: i64, max_bytes: usize, at_least_one: bool) -> Result<Bytes, LogError> {
        let visible_end = self.high_watermark();
        let span = {
            let mut log = self.log.lock();
            self.check_not_deleted()?;
            log.span_of(offset)?
        };
        match span {
            Some(span) if offset < visible_end => Ok(span.read(offset, visible_end, max_bytes, at_least_one)?),
            _ => Ok(Bytes::new()),
        }
    }

    /// The first visible record with a timestamp of at least `timestamp`, as timestamp and offset.
    pub(crate) fn record_at_time(&self, timestamp: i64) -> Result<Option<(i64, i64)>, LogError> {
        let span = self.log.lock().span_of_time(timestamp)?;
        let found = match span {
            Some(span) => span.record_at_time(timestamp)?,
            None => None,
        };
        Ok(found.filter(|(_, offset)| *offset < self.high_watermark()))
    }

    /// The record with the greatest timestamp, as timestamp and offset.
    pub(crate) fn newest_record(&self) -> Result<Option<(i64, i64)>, LogError> {
        let span = self.log.lock().span_of_newest()?;
        match span {
            Some((newest, span)) => Ok(span.newest_record(newest)?),
            None => Ok(None),
        }
    }

    /// Brings ended segments to the disk and, given the time, deletes old ones. Problems are logged.
    pub(crate) fn maintain(&self, retain_at_ms: Option<i64>) {
        let retain = |now_ms| self.log.lock().retain(now_ms).map(drop);
        let done = self.seal_ended().map_err(LogError::from).and_then(|()| retain_at_ms.map_or(Ok(()), retain));
        match done {
            Err(problem) if !self.is_deleted() => {
                let (topic, partition) = (self.topic.as_str(), self.index);
                error!(topic, partition, error = %problem, "segment maintenance failed, it is tried again");
            }
            _ => {}
        }
    }

    /// Refuses all further use; the files are about to go.
    pub(crate) fn mark_deleted(&self) {
        let _appends_are_over = self.log.lock();
        self.deleted.store(true, Ordering::Release);
        self.wake();
    }

    /// The topic was deleted.
    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    fn check_not_deleted(&self) -> Result<(), LogError> {
        if self.is_deleted() { Err(LogError::Deleted) } else { Ok(()) }
    }

    /// Lets `waiter` be notified once, at the next visible record. It must look again after this call.
    pub(crate) fn wake_on_change(&self, waiter: &Arc<Notify>) {
        let mut waiting = self.waiting.lock();
        let waiter = Arc::downgrade(waiter);
        waiting.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&waiter));
        waiting.push(waiter);
    }

    fn wake(&self) {
        for waiter in std::mem::take(&mut *self.waiting.lock()) {
            if let Some(waiter) = waiter.upgrade() {
                waiter.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Retention;
    use crate::log::testing::{Wanted, batch};
    use tempfile::TempDir;

    fn partition(folder: &TempDir, fsync: Fsync) -> Partition {
        let options = LogOptions { segment_bytes: 400, retention: Retention::default() };
        Partition::open("t", 0, folder.path(), options, fsync, 0).expect("opens")
    }

    fn append(partition: &Partition) {
        let bytes = batch(Wanted::default());
        partition.append(&bytes, &BatchHeader::accept(&bytes).expect("sound"), 0).expect("appended");
    }

    #[test]
    fn with_fsync_nothing_is_visible_before_it_is_on_the_disk() {
        let folder = TempDir::new().expect("folder");
        let partition = partition(&folder, Fsync::EveryBatch);
        for _ in 0..10 {
            append(&partition);
        }
        assert_eq!((partition.high_watermark(), partition.read(0, 1000, true).expect("read").len()), (0, 0));
        partition.commit().expect("synced");
        assert_eq!(partition.high_watermark(), 10);
        assert!(!partition.read(0, 1000, true).expect("read").is_empty());
    }

    #[test]
    fn after_a_failed_fsync_neither_a_retry_nor_another_fsync_acknowledges_anything() {
        let folder = TempDir::new().expect("folder");
        let partition = partition(&folder, Fsync::EveryBatch);
        let bytes = batch(Wanted { producer: (7, 0, 0), ..Wanted::default() });
        let header = BatchHeader::accept(&bytes).expect("sound");
        partition.append(&bytes, &header, 0).expect("appended");
        // What a failed fsync of this batch leaves behind.
        partition.log.lock().mark_broken();
        assert!(matches!(partition.append(&bytes, &header, 0), Err(LogError::Broken)), "the client tries again");
        assert!(matches!(partition.commit(), Err(LogError::Broken)));
        assert_eq!(partition.high_watermark(), 0);
        partition.close().expect("closed");
        let checkpoint = folder.path().join("00000000000000000000.index");
        assert!(!checkpoint.exists(), "the next start must read the segment");
    }

    #[test]
    fn waiters_are_notified_once_and_a_deleted_partition_refuses() {
        let folder = TempDir::new().expect("folder");
        let partition = partition(&folder, Fsync::Never);
        let waiter = Arc::new(Notify::new());
        partition.wake_on_change(&waiter);
        append(&partition);
        append(&partition);
        assert!(partition.waiting.lock().is_empty());
        partition.mark_deleted();
        assert!(matches!(partition.read(0, 1000, true), Err(LogError::Deleted)));
    }
}
