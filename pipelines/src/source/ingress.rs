//! The door from the broker's threads into the dataflow: one bounded queue a source, shared by all workers, that deals
//! raw batches out to whoever is free and knows which epoch is open.
//!
//! A batch belongs to the epoch that is open when a worker takes it. Batches of a partition leave in the order of their
//! offsets, so what belongs to the epochs up to *E* is a prefix of every partition: closing *E* reads off the resume
//! offsets under the same lock. Taking and closing never wait; only [`Ingress::push`] does.

use crate::raw::{RawBatch, Topic};
use crate::source::budget::Budget;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use thermocline_schemas::{Epoch, EventTime, TopicPartition};

/// Bytes that one raw byte stands for while its epoch is open, for a source with so many branches: the batch itself, its
/// decoded columns, and what each branch makes of it.
fn bytes_a_raw_byte(branches: usize) -> usize {
    2 + branches.max(1)
}

/// What a worker found.
#[derive(Debug)]
pub struct Taken {
    /// The epoch that is open: no batch of an earlier one will ever be handed out again.
    pub epoch: Epoch,
    /// When it opened, µs UTC.
    pub opened_at: EventTime,
    /// The next batch, of exactly that epoch.
    pub batch: Option<RawBatch>,
}

/// Where one partition stands as an epoch closes.
#[derive(Debug, Clone)]
pub struct PartitionState {
    /// The topic.
    pub topic: Arc<Topic>,
    /// Where this run began to read.
    pub first_offset: i64,
    /// Resume offset: everything before it was handed out in this epoch or an earlier one.
    pub next_offset: i64,
    /// The consumer has reached the partition's end, and nothing came since.
    pub at_end_since: Option<Instant>,
    /// True while the topic is paused.
    pub paused: bool,
}

/// Everything the coordinator needs to know about a source's closed epoch.
#[derive(Debug, Default)]
pub struct ClosedEpoch {
    /// All partitions the source reads.
    pub partitions: BTreeMap<TopicPartition, PartitionState>,
    /// Offsets found missing in this epoch.
    pub absent: Vec<(TopicPartition, Range<i64>)>,
    /// Records handed out in this epoch.
    pub records: u64,
    /// Budget that comes back when the epoch is durable.
    pub charged_bytes: usize,
}

/// What waits in the queue, in the order of each partition's offsets.
#[derive(Debug)]
enum Queued {
    Batch(Box<RawBatch>),
    /// Offsets at the end of a partition that hold no record.
    Hole(TopicPartition, Range<i64>),
}

#[derive(Debug)]
struct State {
    open: Epoch,
    opened_at: EventTime,
    queue: VecDeque<Queued>,
    /// Batches and holes that were ever put into the queue.
    pushed: u64,
    partitions: HashMap<TopicPartition, PartitionState>,
    closing: ClosedEpoch,
}

impl State {
    fn push(&mut self, queued: Queued) {
        self.queue.push_back(queued);
        self.pushed += 1;
    }

    /// Takes the next batch, and the holes before it.
    fn next_batch(&mut self) -> Option<RawBatch> {
        loop {
            match self.queue.pop_front()? {
                Queued::Batch(batch) => return Some(*batch),
                Queued::Hole(key, offsets) => {
                    if let Some(partition) = self.partitions.get_mut(&key) {
                        partition.next_offset = offsets.end;
                    }
                    self.closing.absent.push((key, offsets));
                }
            }
        }
    }
}

/// The queue of one source.
#[derive(Debug)]
pub struct Ingress {
    source: String,
    bytes_a_raw_byte: usize,
    budget: Arc<Budget>,
    state: Mutex<State>,
    stopped: AtomicBool,
    wake: Mutex<Vec<Arc<dyn Wake>>>,
}

/// Wakes a worker that may be parked.
pub trait Wake: Send + Sync + std::fmt::Debug {
    /// Something is there to take, or an epoch has closed.
    fn wake(&self);
}

impl Ingress {
    /// An empty queue for `source`, which so many `branches` read, with `open` as its first epoch, which opens at `opened_at`.
    pub fn new(
        source: impl Into<String>,
        branches: usize,
        budget: Arc<Budget>,
        open: Epoch,
        opened_at: EventTime,
    ) -> Self {
        let bytes_a_raw_byte = bytes_a_raw_byte(branches);
        let (queue, partitions, closing) = (VecDeque::new(), HashMap::new(), ClosedEpoch::default());
        let state = State { open, opened_at, queue, pushed: 0, partitions, closing };
        let (stopped, wake) = (AtomicBool::new(false), Mutex::new(vec![]));
        Self { source: source.into(), bytes_a_raw_byte, budget, state: Mutex::new(state), stopped, wake }
    }

    /// The source's name.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Has `worker` woken whenever there is something to take.
    pub fn wake_also(&self, worker: Arc<dyn Wake>) {
        self.wake.lock().push(worker);
    }

    /// Starts a partition at its resume offset. The first thing to call for a partition, before any push.
    pub fn assign(&self, topic: &Arc<Topic>, partition: i32, next_offset: i64) {
        let key = TopicPartition::new(topic.name.clone(), partition);
        let (topic, first_offset) = (topic.clone(), next_offset);
        let fresh = PartitionState { topic, first_offset, next_offset, at_end_since: None, paused: false };
        self.state.lock().partitions.insert(key, fresh);
    }

    /// Hands a batch over, waiting while the budget is spent. False when the run stops: the batch was not taken.
    pub fn push(&self, batch: RawBatch) -> bool {
        let bytes = batch.bytes() * self.bytes_a_raw_byte;
        while !self.budget.take(bytes, Duration::from_millis(100)) {
            if self.is_stopped() {
                return false;
            }
        }
        if self.is_stopped() {
            self.budget.give_back(bytes);
            return false;
        }
        let mut state = self.state.lock();
        let key = TopicPartition::new(batch.topic.name.clone(), batch.partition);
        if let Some(partition) = state.partitions.get_mut(&key) {
            partition.at_end_since = None;
        }
        state.push(Queued::Batch(Box::new(batch)));
        drop(state);
        self.wake_workers();
        true
    }

    /// Moves a partition on over offsets behind its last record that hold none, such as the marker that ends a
    /// transaction. They belong to an epoch like a batch, but no worker gets to see them. Never waits.
    pub fn push_hole(&self, partition: &TopicPartition, offsets: Range<i64>) {
        self.state.lock().push(Queued::Hole(partition.clone(), offsets));
        self.wake_workers();
    }

    /// The consumer has reached the end of a partition whose records up to there have all been pushed.
    pub fn reached_end(&self, partition: &TopicPartition, now: Instant) {
        if let Some(state) = self.state.lock().partitions.get_mut(partition) {
            state.at_end_since.get_or_insert(now);
        }
    }

    /// Marks a topic as paused or not; what is queued of it still flows. Whether its partitions are at their ends must be
    /// heard of anew: records may come in meanwhile.
    pub fn set_paused(&self, topic: &str, paused: bool) {
        let mut state = self.state.lock();
        for (_, partition) in state.partitions.iter_mut().filter(|(key, _)| &*key.topic == topic) {
            partition.paused = paused;
            partition.at_end_since = None;
        }
    }

    /// Partitions at their ends count as such from `now` on: the broker was away, and what came in meanwhile may be on
    /// its way.
    pub fn restart_ends(&self, now: Instant) {
        let mut state = self.state.lock();
        state.partitions.values_mut().filter_map(|it| it.at_end_since.as_mut()).for_each(|since| *since = now);
    }

    /// The next batch if there is one, and the open epoch in any case. Never waits. Once stopped, what is queued stays on
    /// the broker's side of the door.
    pub fn take(&self) -> Taken {
        let mut state = self.state.lock();
        let (epoch, opened_at) = (state.open, state.opened_at);
        if self.is_stopped() {
            return Taken { epoch, opened_at, batch: None };
        }
        let Some(batch) = state.next_batch() else { return Taken { epoch, opened_at, batch: None } };
        let key = TopicPartition::new(batch.topic.name.clone(), batch.partition);
        state.closing.records += batch.len() as u64;
        state.closing.charged_bytes += batch.bytes() * self.bytes_a_raw_byte;
        state.closing.absent.extend(batch.absent.iter().map(|range| (key.clone(), range.clone())));
        if let (Some(partition), Some(next)) = (state.partitions.get_mut(&key), batch.next_offset()) {
            partition.next_offset = next;
        }
        Taken { epoch, opened_at, batch: Some(batch) }
    }

    /// Closes the open epoch, with or without rows, and opens the next at `next_opens_at`. Never waits.
    pub fn close_epoch(&self, next_opens_at: EventTime) -> ClosedEpoch {
        let mut state = self.state.lock();
        state.open = state.open.next();
        state.opened_at = next_opens_at;
        let mut closed = std::mem::take(&mut state.closing);
        closed.partitions = state.partitions.iter().map(|(key, at)| (key.clone(), at.clone())).collect();
        drop(state);
        self.wake_workers();
        closed
    }

    /// Bytes charged for what the open epoch has handed out.
    pub fn open_bytes(&self) -> usize {
        self.state.lock().closing.charged_bytes
    }

    /// So many batches and holes have come so far; see [`Ingress::has_handed_out`].
    pub fn pushed(&self) -> u64 {
        self.state.lock().pushed
    }

    /// True when the first `pushed` batches and holes have been taken, whatever came after them.
    pub fn has_handed_out(&self, pushed: u64) -> bool {
        let state = self.state.lock();
        state.pushed - state.queue.len() as u64 >= pushed
    }

    /// True when nothing waits to be taken.
    #[cfg(test)]
    pub(crate) fn is_drained(&self) -> bool {
        self.state.lock().queue.is_empty()
    }

    /// Lets every pusher go home.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.wake_workers();
    }

    /// True after [`Ingress::stop`].
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn wake_workers(&self) {
        self.wake.lock().iter().for_each(|worker| worker.wake());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryArray, Int64Array, StringArray, TimestampMicrosecondArray};

    fn batch(topic: &Arc<Topic>, offsets: Range<i64>) -> RawBatch {
        let rows = offsets.clone().count();
        RawBatch {
            topic: topic.clone(),
            partition: 0,
            offsets: Int64Array::from_iter_values(offsets),
            timestamps: TimestampMicrosecondArray::new_null(rows),
            keys: BinaryArray::new_null(rows),
            headers: StringArray::new_null(rows),
            payloads: BinaryArray::from_iter_values(std::iter::repeat_n(b"{}", rows)),
            absent: vec![],
        }
    }

    #[test]
    fn closing_an_epoch_reads_off_exactly_what_was_taken() {
        let topic = Arc::new(Topic { cluster_id: "c".into(), name: "t".into(), id: uuid::Uuid::nil() });
        let ingress = Ingress::new("s", 1, Arc::new(Budget::new(1 << 20)), Epoch(7), 0);
        ingress.assign(&topic, 0, 0);
        assert!(ingress.push(batch(&topic, 0..3)));
        assert!(ingress.push(batch(&topic, 3..5)));
        assert_eq!(ingress.take().epoch, Epoch(7));
        let closed = ingress.close_epoch(0);
        let key = TopicPartition::new("t", 0);
        assert_eq!((closed.partitions[&key].next_offset, closed.records), (3, 3));
        let taken = ingress.take();
        assert_eq!((taken.epoch, taken.batch.map(|batch| batch.len())), (Epoch(8), Some(2)));
        let closed = ingress.close_epoch(0);
        assert_eq!((closed.partitions[&key].next_offset, closed.records), (5, 2));
        assert!(closed.charged_bytes > 0);
        assert_eq!(ingress.close_epoch(0).charged_bytes, 0);
    }

    #[test]
    fn what_every_branch_makes_of_a_batch_is_charged() {
        let topic = Arc::new(Topic { cluster_id: "c".into(), name: "t".into(), id: uuid::Uuid::nil() });
        for (branches, times) in [(0, 3), (1, 3), (8, 10)] {
            let budget = Arc::new(Budget::new(1 << 20));
            let ingress = Ingress::new("s", branches, budget.clone(), Epoch(7), 0);
            ingress.assign(&topic, 0, 0);
            let batch = batch(&topic, 0..3);
            let charged = batch.bytes() * times;
            assert!(ingress.push(batch));
            assert_eq!(budget.used(), charged, "{branches} branches");
            assert!(ingress.take().batch.is_some());
            assert_eq!(ingress.close_epoch(0).charged_bytes, charged, "{branches} branches");
        }
    }

    #[test]
    fn what_was_pushed_until_a_moment_is_handed_out_although_more_keeps_coming() {
        let topic = Arc::new(Topic { cluster_id: "c".into(), name: "t".into(), id: uuid::Uuid::nil() });
        let ingress = Ingress::new("s", 1, Arc::new(Budget::new(1 << 20)), Epoch(7), 0);
        ingress.assign(&topic, 0, 0);
        assert!(ingress.has_handed_out(ingress.pushed()), "nothing has come yet");
        assert!(ingress.push(batch(&topic, 0..3)));
        ingress.push_hole(&TopicPartition::new("t", 0), 3..4);
        let noted = ingress.pushed();
        for more in 4..9 {
            assert!(ingress.push(batch(&topic, more..more + 1)));
            assert_eq!(ingress.has_handed_out(noted), more >= 6, "before batch {more}");
            assert!(ingress.take().batch.is_some());
            assert!(!ingress.is_drained());
        }
    }

    #[test]
    fn a_hole_at_the_end_moves_the_offset_in_its_turn_and_without_a_record() {
        let topic = Arc::new(Topic { cluster_id: "c".into(), name: "t".into(), id: uuid::Uuid::nil() });
        let ingress = Ingress::new("s", 1, Arc::new(Budget::new(1 << 20)), Epoch(7), 0);
        let key = TopicPartition::new("t", 0);
        ingress.assign(&topic, 0, 0);
        assert!(ingress.push(batch(&topic, 0..3)));
        ingress.push_hole(&key, 3..4);
        assert!(ingress.take().batch.is_some());
        let closed = ingress.close_epoch(0);
        assert_eq!((closed.partitions[&key].next_offset, closed.absent), (3, vec![]));
        assert!(!ingress.is_drained());
        assert!(ingress.take().batch.is_none() && ingress.is_drained());
        let closed = ingress.close_epoch(0);
        assert_eq!((closed.partitions[&key].next_offset, closed.records), (4, 0));
        assert_eq!(closed.absent, [(key, 3..4)]);
    }

    #[test]
    fn a_pause_or_an_outage_forgets_how_long_a_partition_was_at_its_end() {
        let topic = Arc::new(Topic { cluster_id: "c".into(), name: "t".into(), id: uuid::Uuid::nil() });
        let ingress = Ingress::new("s", 1, Arc::new(Budget::new(1 << 20)), Epoch(7), 0);
        let key = TopicPartition::new("t", 0);
        ingress.assign(&topic, 0, 0);
        let at_end_since = || ingress.close_epoch(0).partitions[&key].at_end_since;
        let then = Instant::now();
        let later = then + Duration::from_secs(60);
        ingress.restart_ends(later);
        assert_eq!(at_end_since(), None);
        ingress.reached_end(&key, then);
        ingress.restart_ends(later);
        assert_eq!(at_end_since(), Some(later));
        ingress.set_paused("t", true);
        ingress.set_paused("t", false);
        assert_eq!(at_end_since(), None);
    }
}
