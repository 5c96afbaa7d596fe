//! What is known of every partition, shared by the threads of a source and by whoever asks.

use crate::raw::Topic;
use crate::source::error::SourceError;
use crate::source::ingress::Ingress;
use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use thermocline_schemas::TopicPartition;

/// One partition.
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) topic: Arc<Topic>,
    /// Which reader has it.
    pub(super) reader: usize,
    /// The next offset to push: everything before is in the ingress.
    pub(super) next_offset: i64,
    /// The end of the log when it was last asked for.
    pub(super) end: i64,
    /// The end noted before anything was read; none for partitions that appeared later.
    pub(super) noted_end: Option<i64>,
    /// The consumer was at the end of the partition at least once.
    pub(super) was_at_end: bool,
    /// The topic has gone.
    pub(super) gone: bool,
}

impl Status {
    /// Everything up to the noted end is in the ingress.
    pub(super) fn has_reached_noted_end(&self) -> bool {
        self.gone || self.was_at_end || self.noted_end.is_none_or(|end| self.next_offset >= end)
    }
}

/// The shared board of one source.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) ingress: Arc<Ingress>,
    pub(super) partitions: Mutex<BTreeMap<TopicPartition, Status>>,
    /// Topics that are not read for now, known or not.
    pub(super) paused: Mutex<BTreeSet<Arc<str>>>,
    stopping: AtomicBool,
    healthy: AtomicBool,
    /// The broker answered the last question that preceded a commit.
    confirming: AtomicBool,
    report: Sender<SourceError>,
    reports: Receiver<SourceError>,
}

impl Board {
    pub(super) fn new(ingress: Arc<Ingress>, paused: BTreeSet<Arc<str>>) -> Self {
        let (report, reports) = crossbeam_channel::unbounded();
        let (stopping, healthy) = (AtomicBool::new(false), AtomicBool::new(true));
        let confirming = AtomicBool::new(true);
        let (partitions, paused) = (Mutex::default(), Mutex::new(paused));
        Self { ingress, partitions, paused, stopping, healthy, confirming, report, reports }
    }

    /// The run cannot go on.
    pub(super) fn fail(&self, error: SourceError) {
        if !self.is_stopping() {
            let _ = self.report.send(error);
        }
    }

    /// To be held by a thread of the source for as long as it runs.
    pub(super) fn alarm(self: &Arc<Self>) -> Alarm {
        Alarm(self.clone())
    }

    pub(super) fn failures(&self) -> Receiver<SourceError> {
        self.reports.clone()
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst) || self.ingress.is_stopped()
    }

    /// Returns true if that is news.
    pub(super) fn set_healthy(&self, healthy: bool) -> bool {
        self.healthy.swap(healthy, Ordering::SeqCst) != healthy
    }

    /// Returns true if that is news.
    pub(super) fn set_confirming(&self, confirming: bool) -> bool {
        self.confirming.swap(confirming, Ordering::SeqCst) != confirming
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::SeqCst)
    }

    pub(super) fn is_paused(&self, topic: &str) -> bool {
        self.paused.lock().contains(topic)
    }

    pub(super) fn update(&self, partition: &TopicPartition, change: impl FnOnce(&mut Status)) {
        if let Some(status) = self.partitions.lock().get_mut(partition) {
            change(status);
        }
    }
}

/// Ends the run when the thread that holds it panics: without that thread, nothing more would be read and nobody told.
#[derive(Debug)]
pub(super) struct Alarm(Arc<Board>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let thread = std::thread::current().name().unwrap_or("of no name").to_owned();
            self.0.fail(SourceError::Panicked { thread });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::budget::Budget;
    use thermocline_schemas::Epoch;

    #[test]
    fn a_thread_of_the_source_that_panics_fails_the_run() {
        let ingress = Arc::new(Ingress::new("s", 1, Arc::new(Budget::new(1)), Epoch(1), 0));
        let board = Arc::new(Board::new(ingress, BTreeSet::new()));
        let alarm = board.alarm();
        let thread = std::thread::Builder::new().name("source-7".to_owned()).spawn(move || {
            let _alarm = alarm;
            panic!("this panic is part of the test");
        });
        assert!(thread.expect("a thread").join().is_err());
        let failures = board.failures();
        let found = failures.try_recv();
        assert!(matches!(&found, Ok(SourceError::Panicked { thread }) if thread == "source-7"), "{found:?}");
        drop(board.alarm());
        assert!(failures.try_recv().is_err(), "a thread that ends well fails nothing");
    }
}
