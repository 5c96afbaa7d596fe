//! One client and its thread: drains the client's queue in arrays, gathers batches by partition, and pushes them.
//!
//! Back-pressure is not polling: a push that waits for the budget keeps the thread from draining, librdkafka's bounded
//! queues fill up, and it stops fetching.

use super::batch::Pending;
use super::board::Board;
use super::control::Trouble;
use super::native::{Client, Message, Queue, TopicHandle};
use crate::raw::Topic;
use crate::source::error::SourceError;
use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka_sys::rd_kafka_resp_err_t as code;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thermocline_schemas::TopicPartition;
use tracing::{debug, warn};

/// Messages taken from the queue at once.
const ARRAY: usize = 1_000;
/// How long a first message waits for company.
const LINGER: Duration = Duration::from_millis(10);
/// How long a message may wait for its batch to fill while other partitions are busy.
const LONGEST_WAIT: Duration = Duration::from_millis(40);
/// How long an idle reader sleeps; whoever wants something wakes it.
const IDLE: Duration = Duration::from_millis(250);

/// What a reader is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Read a partition from `offset` on, now or, if `paused`, when it is resumed.
    Assign { topic: Arc<Topic>, partition: i32, offset: i64, paused: bool },
    /// Stop fetching it; what was taken from the queue is still pushed.
    Pause(TopicPartition),
    /// Go on exactly where it stopped.
    Resume(TopicPartition),
    /// Read through a new client with these properties: queue bounds are fixed when a client is made.
    Replace(ClientConfig),
}

/// The queue of the reader's client, which may be replaced.
type SharedQueue = Arc<Mutex<Arc<Queue>>>;

/// The handle of a reader.
#[derive(Debug)]
pub(super) struct Reader {
    queue: SharedQueue,
    commands: Sender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Reader {
    /// Starts the thread of `client`.
    pub(super) fn spawn(
        name: String,
        client: Arc<Client>,
        board: Arc<Board>,
        troubles: Sender<Trouble>,
    ) -> Result<Self, SourceError> {
        let queue = Arc::new(Queue::new(&client));
        let shared = Arc::new(Mutex::new(queue.clone()));
        let (commands, inbox) = crossbeam_channel::unbounded();
        let (slots, index) = (vec![], HashMap::new());
        let work = Work { queue, shared: shared.clone(), inbox, board, troubles, slots, index };
        let failed = |error: std::io::Error| SourceError::Client { what: name.clone(), reason: error.to_string() };
        let thread = std::thread::Builder::new().name(name.clone()).spawn(move || work.run()).map_err(failed)?;
        Ok(Self { queue: shared, commands, thread: Mutex::new(Some(thread)) })
    }

    /// Tells it something.
    pub(super) fn tell(&self, command: Command) {
        // A reader that has gone home needs no commands any more.
        let _ = self.commands.send(command);
        self.queue.lock().wake();
    }

    /// The end of a partition as the newest fetch has seen it.
    pub(super) fn cached_end(&self, partition: &TopicPartition) -> Option<i64> {
        self.queue.lock().client().cached_end(&partition.topic, partition.partition)
    }

    /// Tells one client from another.
    #[cfg(test)]
    pub(super) fn client_address(&self) -> usize {
        self.queue.lock().client().ptr() as usize
    }

    /// Messages that are fetched ahead.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.queue.lock().length()
    }

    /// Waits until the thread has ended; whoever calls has told the board to stop.
    pub(super) fn join(&self) {
        self.queue.lock().wake();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            warn!("a reader of the source panicked");
        }
    }
}

#[derive(Debug)]
struct Slot {
    key: TopicPartition,
    fetching: bool,
    // Before the handle: messages must be gone before their client.
    pending: Pending,
    handle: TopicHandle,
}

/// What the thread owns.
struct Work {
    queue: Arc<Queue>,
    shared: SharedQueue,
    inbox: Receiver<Command>,
    board: Arc<Board>,
    troubles: Sender<Trouble>,
    slots: Vec<Slot>,
    /// From what a message carries to its slot. Each slot holds a topic handle, so that no other topic gets its address.
    index: HashMap<(usize, i32), usize>,
}

impl Work {
    fn run(mut self) {
        let _alarm = self.board.alarm();
        let mut array: Vec<Message> = Vec::with_capacity(ARRAY);
        while !self.board.is_stopping() {
            while let Ok(command) = self.inbox.try_recv() {
                self.obey(command);
            }
            let mut dry = true;
            if self.queue.drain(1, IDLE, &mut array) > 0 {
                dry = self.queue.drain(ARRAY - 1, LINGER, &mut array) < ARRAY - 1;
            }
            let now = Instant::now();
            if !self.sort(&mut array, now) || !self.flush(dry, now) {
                break;
            }
        }
        array.clear();
        self.leave();
    }

    /// Sorts an array into its partitions. False when the run stops.
    fn sort(&mut self, array: &mut Vec<Message>, now: Instant) -> bool {
        let mut last = ((0, 0), None);
        for message in array.drain(..) {
            let key = (message.topic(), message.partition());
            if last.0 != key || last.1.is_none() {
                last = (key, self.slot_of(&message));
            }
            let Some(slot) = last.1 else {
                if message.event().is_some() {
                    debug!(reason = message.event_text(), "an event of no partition");
                }
                continue;
            };
            let delivered = match message.event() {
                None => self.add(slot, message, now),
                Some(code::RD_KAFKA_RESP_ERR__PARTITION_EOF) => self.reached_end(slot, message.offset(), now),
                Some(event) => self.trouble(slot, event, message.event_text()),
            };
            if !delivered {
                return false;
            }
        }
        true
    }

    fn slot_of(&mut self, message: &Message) -> Option<usize> {
        let key = (message.topic(), message.partition());
        if let Some(slot) = self.index.get(&key) {
            return Some(*slot);
        }
        let name = message.topic_name();
        let found = self.slots.iter().position(|slot| *slot.key.topic == *name && slot.key.partition == key.1)?;
        self.index.insert(key, found);
        Some(found)
    }

    fn add(&mut self, slot: usize, message: Message, now: Instant) -> bool {
        if self.slots[slot].pending.is_full_for(&message) && !self.push(slot) {
            return false;
        }
        let offset = message.offset();
        let slot = &mut self.slots[slot];
        if !slot.pending.add(message, now) {
            warn!(topic = %slot.key.topic, partition = slot.key.partition, offset, "the broker repeats itself; skipped");
        }
        true
    }

    /// The partition ends at `end` for now. Markers of transactions and aborted records lie before that and never come,
    /// so the next offset moves over them: retention may take them, and nothing is lost by that.
    fn reached_end(&mut self, slot: usize, end: i64, now: Instant) -> bool {
        if !self.push(slot) {
            return false;
        }
        let slot = &mut self.slots[slot];
        if slot.fetching {
            if let Some(hole) = slot.pending.skip_to(end) {
                self.board.ingress.push_hole(&slot.key, hole);
            }
            let next_offset = slot.pending.next_offset();
            self.board.update(&slot.key, |status| {
                status.next_offset = next_offset;
                status.was_at_end = true;
            });
            self.board.ingress.reached_end(&slot.key, now);
        }
        true
    }

    fn trouble(&mut self, slot: usize, event: code, reason: String) -> bool {
        let slot = &self.slots[slot];
        debug!(partition = %slot.key, reason, "librdkafka reports");
        let (partition, offset) = (slot.key.clone(), slot.pending.next_offset());
        let _ = self.troubles.send(Trouble { partition, offset, code: event, reason });
        true
    }

    /// Pushes what has waited long enough, or everything if the queue is dry. False when the run stops.
    fn flush(&mut self, dry: bool, now: Instant) -> bool {
        (0..self.slots.len()).all(|slot| match self.slots[slot].pending.since() {
            Some(since) if dry || now.duration_since(since) >= LONGEST_WAIT => self.push(slot),
            _ => true,
        })
    }

    /// Pushes what a partition has gathered, waiting while the budget is spent. False when the run stops.
    fn push(&mut self, slot: usize) -> bool {
        let slot = &mut self.slots[slot];
        let Some(batch) = slot.pending.cut() else { return true };
        let next_offset = slot.pending.next_offset();
        if !self.board.ingress.push(batch) {
            return false;
        }
        self.board.update(&slot.key, |status| status.next_offset = next_offset);
        true
    }

    /// Between two arrays: nothing that was taken from the queue waits outside of `pending`.
    fn obey(&mut self, command: Command) {
        let done = match command {
            Command::Assign { topic, partition, offset, paused } => self.assign(topic, partition, offset, paused),
            Command::Pause(partition) => self.with_slot(&partition, |slot, _| {
                if std::mem::take(&mut slot.fetching) { slot.handle.stop(slot.key.partition) } else { Ok(()) }
            }),
            Command::Resume(partition) => self.with_slot(&partition, |slot, queue| {
                if std::mem::replace(&mut slot.fetching, true) {
                    return Ok(());
                }
                slot.handle.start(slot.key.partition, slot.pending.next_offset(), queue)
            }),
            Command::Replace(config) => self.replace(&config),
        };
        if let Err(error) = done {
            self.board.fail(error);
        }
    }

    fn assign(&mut self, topic: Arc<Topic>, partition: i32, offset: i64, paused: bool) -> Result<(), SourceError> {
        let key = TopicPartition::new(topic.name.clone(), partition);
        let handle = TopicHandle::new(self.queue.client(), &topic.name)?;
        if !paused {
            handle.start(partition, offset, &self.queue)?;
        }
        self.index.insert((handle.identity(), partition), self.slots.len());
        self.slots.push(Slot { key, handle, pending: Pending::new(topic, partition, offset), fetching: !paused });
        Ok(())
    }

    /// Goes over to a new client, every partition at exactly its next offset.
    fn replace(&mut self, config: &ClientConfig) -> Result<(), SourceError> {
        // Messages must be gone before their client.
        if !self.flush(true, Instant::now()) {
            return Ok(());
        }
        let queue = Arc::new(Queue::new(&Client::new(config)?));
        self.index.clear();
        for slot in &mut self.slots {
            let handle = TopicHandle::new(queue.client(), &slot.key.topic)?;
            if slot.fetching {
                slot.handle.stop(slot.key.partition)?;
                handle.start(slot.key.partition, slot.pending.next_offset(), &queue)?;
            }
            slot.handle = handle;
        }
        *self.shared.lock() = queue.clone();
        self.queue = queue;
        Ok(())
    }

    fn with_slot(
        &mut self,
        partition: &TopicPartition,
        change: impl FnOnce(&mut Slot, &Queue) -> Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        match self.slots.iter_mut().find(|slot| slot.key == *partition) {
            Some(slot) => change(slot, &self.queue),
            None => Ok(()),
        }
    }

    /// Stops every partition, or the client could not be closed.
    fn leave(self) {
        for slot in self.slots.iter().filter(|slot| slot.fetching) {
            if let Err(error) = slot.handle.stop(slot.key.partition) {
                debug!(%error, "while a reader stops");
            }
        }
    }
}
