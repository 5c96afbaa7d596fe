//! The thread that asks: which topics match, are they still the same, where do they end, is the broker there. It deals
//! partitions out to the readers, and decides what to do about what they meet.

use super::board::{Board, Status};
use super::native::Client;
use super::reader::{Command, Reader};
use super::{KafkaConfig, client_config};
use crate::raw::Topic;
use crate::source::error::SourceError;
use crate::source::topics::{self, Described, Where};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use parking_lot::Mutex;
use rdkafka_sys::rd_kafka_resp_err_t as code;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thermocline_schemas::TopicPartition;
use thermocline_schemas::metadata::Progress;
use tracing::{debug, info, warn};

/// How long one question to the broker may take while it is believed to be there.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// The same, while it is not.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);
/// How often callbacks are served and the end of the run is looked for.
const PULSE: Duration = Duration::from_millis(100);
/// The broker is looked at this often at least.
const LONGEST_PERIOD: Duration = Duration::from_secs(3_600);
/// A topic that was not seen so many times in a row is gone: one time may be a broker that is just starting.
const MISSES: u32 = 2;
/// A partition without backlog weighs this many records when partitions are balanced.
const PARTITION_WEIGHT: i64 = 1_000;

/// Something that a reader met in a partition.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) partition: TopicPartition,
    /// The next offset to read.
    pub(super) offset: i64,
    pub(super) code: code,
    pub(super) reason: String,
}

/// The broker's topics at one moment.
#[derive(Debug)]
pub(super) struct Look {
    cluster_id: String,
    topics: Vec<Described>,
}

impl Look {
    /// Partitions of all topics that match.
    pub(super) fn partitions(&self) -> usize {
        self.topics.iter().map(|topic| topic.partitions.len()).sum()
    }

    /// The cluster that was looked at.
    pub(super) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// True if the topic is there, and matches.
    pub(super) fn has(&self, name: &str) -> bool {
        self.topic(name).is_some()
    }

    fn topic(&self, name: &str) -> Option<&Described> {
        self.topics.iter().find(|topic| topic.name == name)
    }
}

/// Asks for all topics that match.
pub(super) fn look(client: &Client, config: &KafkaConfig, patience: Duration) -> Result<Look, SourceError> {
    let cluster_id = topics::cluster_id(client, patience)?;
    let mut names = topics::names(client, patience)?;
    names.retain(|name| config.takes(name));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Ok(Look { cluster_id, topics: topics::describe(client, &names, patience)? })
}

/// Everything the thread owns.
pub(super) struct Control {
    pub(super) config: KafkaConfig,
    pub(super) client: Arc<Client>,
    pub(super) board: Arc<Board>,
    pub(super) readers: Arc<Vec<Reader>>,
    pub(super) resume: Vec<Progress>,
    pub(super) misses: HashMap<Arc<str>, u32>,
    /// How many partitions each reader's client was made for.
    pub(super) made_for: Arc<Mutex<Vec<usize>>>,
}

impl Control {
    /// Asks on and on until the run stops.
    pub(super) fn run(mut self, troubles: &Receiver<Trouble>) {
        let _alarm = self.board.alarm();
        let mut waiting: Vec<Trouble> = vec![];
        let every = self.config.discover_every.min(LONGEST_PERIOD);
        let mut due = Instant::now() + every;
        loop {
            match troubles.recv_timeout(PULSE) {
                Ok(trouble) => waiting.push(trouble),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.board.is_stopping() {
                return;
            }
            if self.client.poll() {
                self.broker_is_away("all brokers are down");
            }
            waiting.extend(troubles.try_iter());
            waiting.retain(|trouble| !is_transient(trouble.code));
            if waiting.is_empty() && Instant::now() < due {
                continue;
            }
            let done = self.look_again().and_then(|()| waiting.iter().try_for_each(|trouble| self.judge(trouble)));
            due = Instant::now() + every;
            match done {
                Ok(()) => waiting.clear(),
                Err(SourceError::NoAnswer { what, reason }) => {
                    let reason = self.client.last_complaint().unwrap_or(reason);
                    self.broker_is_away(&format!("{what}: {reason}"));
                    due = due.min(Instant::now() + SHORT_PATIENCE);
                }
                Err(error) => {
                    self.stop_reading();
                    self.board.fail(error);
                    return;
                }
            }
        }
    }

    fn look_again(&mut self) -> Result<(), SourceError> {
        let patience = if self.board.is_healthy() { PATIENCE } else { SHORT_PATIENCE };
        let look = look(&self.client, &self.config, patience)?;
        self.broker_is_back();
        self.adopt(&look, false)?;
        self.refresh_ends(patience)
    }

    /// Takes over what the broker has now: checks what is known, and deals out what is new. The first time, every
    /// partition must answer, and its end is noted.
    ///
    /// # Errors
    /// [`SourceError::NoAnswer`] where asking again may help; anything else is for good.
    pub(super) fn adopt(&mut self, look: &Look, first: bool) -> Result<(), SourceError> {
        self.check_cluster(look)?;
        self.check_known(look)?;
        let fresh = self.fresh_partitions(look);
        let keys: Vec<TopicPartition> = fresh.iter().map(|(key, _)| key.clone()).collect();
        let earliest = topics::offsets(&self.client, &keys, Where::Earliest, PATIENCE)?;
        let ends = topics::offsets(&self.client, &keys, Where::End, PATIENCE)?;
        let mut starts = Vec::with_capacity(fresh.len());
        for (key, topic) in fresh {
            let (Some(earliest), Some(end)) = (earliest.get(&key), ends.get(&key)) else {
                if first {
                    return Err(SourceError::NoAnswer { what: "ListOffsets", reason: format!("{key} has no leader") });
                }
                debug!(partition = %key, "no leader yet");
                continue;
            };
            let start = self.start_of(&key, &topic, *earliest, *end)?;
            starts.push((key, topic, start, *end));
        }
        starts.sort_by_key(|(.., start, end)| std::cmp::Reverse(end - start));
        for (key, topic, start, end) in starts {
            self.assign(key, topic, start, end, first);
        }
        self.keep_queues_within_budget()
    }

    /// Queues are bounded by partition and for the life of a client: a reader that got more partitions than its client
    /// was made for gets a new client with smaller queues.
    fn keep_queues_within_budget(&mut self) -> Result<(), SourceError> {
        let mut partitions = vec![0_usize; self.readers.len()];
        for status in self.board.partitions.lock().values().filter(|status| !status.gone) {
            partitions[status.reader] += 1;
        }
        let mut made_for = self.made_for.lock();
        for (reader, count) in partitions.into_iter().enumerate() {
            if count <= made_for[reader] {
                continue;
            }
            made_for[reader] = count.next_power_of_two();
            debug!(reader, partitions = count, "the reader's queues get smaller");
            let config = client_config(&self.config, made_for[reader])?;
            self.readers[reader].tell(Command::Replace(config));
        }
        Ok(())
    }

    /// Topics that we read, or are to resume and that are there, must be of the cluster that answers. One that is not there,
    /// or matches no more, holds nobody up: no `reset-offsets` could mend it. Where none is there, the address is wrong.
    fn check_cluster(&self, look: &Look) -> Result<(), SourceError> {
        let known = self.board.partitions.lock().values().next().map(|status| status.topic.clone());
        let known = known.map(|topic| (topic.cluster_id.to_string(), topic.name.to_string()));
        let none_is_there = !self.resume.iter().any(|progress| look.has(&progress.topic));
        let resumed = self.resume.iter().filter(|progress| none_is_there || look.has(&progress.topic));
        let resumed = resumed.map(|progress| (progress.cluster_id.clone(), progress.topic.clone()));
        match known.into_iter().chain(resumed).find(|(cluster, _)| *cluster != look.cluster_id) {
            None => Ok(()),
            Some((expected, topic)) => Err(SourceError::OtherCluster {
                origin: self.board.ingress.source().to_owned(),
                bootstrap: self.config.bootstrap.clone(),
                topic,
                expected,
                found: look.cluster_id.clone(),
            }),
        }
    }

    /// Topics that we read or are to resume must be the same ones; those that are gone are left.
    fn check_known(&mut self, look: &Look) -> Result<(), SourceError> {
        for progress in self.resume.iter() {
            if let Some(found) = look.topic(&progress.topic) {
                same_topic(&progress.topic, progress.topic_id, found.id)?;
            }
        }
        let known: BTreeMap<Arc<str>, (Arc<Topic>, bool)> = {
            let partitions = self.board.partitions.lock();
            partitions.values().map(|status| (status.topic.name.clone(), (status.topic.clone(), status.gone))).collect()
        };
        for (name, (topic, gone)) in known {
            match look.topic(&name) {
                Some(found) => {
                    same_topic(&name, topic.id, found.id)?;
                    self.misses.remove(&name);
                    if gone {
                        self.topic_is_back(&name);
                    }
                }
                None if !gone => {
                    let misses = self.misses.entry(name.clone()).or_default();
                    *misses += 1;
                    if *misses >= MISSES {
                        self.topic_is_gone(&name);
                    }
                }
                None => {}
            }
        }
        Ok(())
    }

    fn topic_is_gone(&self, name: &str) {
        warn!(topic = name, "the topic was deleted: reading it ends here; what was read of it stays");
        self.each_partition(name, |key, status| {
            status.gone = true;
            self.readers[status.reader].tell(Command::Pause(key.clone()));
        });
    }

    fn topic_is_back(&self, name: &str) {
        info!(topic = name, "the topic is there again");
        let paused = self.board.is_paused(name);
        self.each_partition(name, |key, status| {
            status.gone = false;
            if !paused {
                self.readers[status.reader].tell(Command::Resume(key.clone()));
            }
        });
    }

    fn each_partition(&self, topic: &str, mut change: impl FnMut(&TopicPartition, &mut Status)) {
        let mut partitions = self.board.partitions.lock();
        partitions.iter_mut().filter(|(key, _)| &*key.topic == topic).for_each(|(key, status)| change(key, status));
    }

    fn fresh_partitions(&self, look: &Look) -> Vec<(TopicPartition, Arc<Topic>)> {
        let known = self.board.partitions.lock();
        let mut fresh = vec![];
        for found in &look.topics {
            let name: Arc<str> = found.name.as_str().into();
            let same = known.values().find(|status| status.topic.name == name).map(|status| status.topic.clone());
            let topic = same.unwrap_or_else(|| {
                let cluster_id = look.cluster_id.as_str().into();
                Arc::new(Topic { cluster_id, name: name.clone(), id: found.id })
            });
            let keys = found.partitions.iter().map(|partition| TopicPartition::new(name.clone(), *partition));
            fresh.extend(keys.filter(|key| !known.contains_key(key)).map(|key| (key, topic.clone())));
        }
        fresh
    }

    /// The offset at which to begin: where the newest manifest says, else at the earliest record.
    fn start_of(&self, key: &TopicPartition, topic: &Topic, earliest: i64, end: i64) -> Result<i64, SourceError> {
        let progress = self.resume.iter().find(|progress| {
            progress.topic == *key.topic && progress.partition == key.partition && progress.topic_id == topic.id
        });
        let Some(resume) = progress.map(|progress| progress.next_offset) else { return Ok(earliest) };
        in_range(key, resume, earliest, end)?;
        Ok(resume)
    }

    fn assign(&self, key: TopicPartition, topic: Arc<Topic>, start: i64, end: i64, first: bool) {
        let reader = self.lightest_reader();
        let paused = self.board.is_paused(&key.topic);
        self.board.ingress.assign(&topic, key.partition, start);
        if paused {
            self.board.ingress.set_paused(&key.topic, true);
        }
        let noted_end = first.then_some(end);
        let status =
            Status { topic: topic.clone(), reader, next_offset: start, end, noted_end, was_at_end: false, gone: false };
        let partition = key.partition;
        if first {
            debug!(topic = %key.topic, partition, offset = start, end, reader, "partition assigned");
        } else {
            info!(topic = %key.topic, partition, offset = start, "a new partition is read from its first record");
        }
        self.board.partitions.lock().insert(key, status);
        self.readers[reader].tell(Command::Assign { topic, partition, offset: start, paused });
    }

    fn lightest_reader(&self) -> usize {
        let mut loads = vec![0_i64; self.readers.len()];
        for status in self.board.partitions.lock().values().filter(|status| !status.gone) {
            loads[status.reader] += (status.end - status.next_offset).max(0) + PARTITION_WEIGHT;
        }
        (0..loads.len()).min_by_key(|reader| loads[*reader]).unwrap_or_default()
    }

    fn refresh_ends(&self, patience: Duration) -> Result<(), SourceError> {
        let keys: Vec<TopicPartition> = {
            let partitions = self.board.partitions.lock();
            partitions.iter().filter(|(_, status)| !status.gone).map(|(key, _)| key.clone()).collect()
        };
        let ends = topics::offsets(&self.client, &keys, Where::End, patience)?;
        ends.into_iter().for_each(|(key, end)| self.board.update(&key, |status| status.end = end));
        Ok(())
    }

    /// What to do about something that waiting will not mend. Whatever it was, the topics have been looked at since.
    fn judge(&self, trouble: &Trouble) -> Result<(), SourceError> {
        let key = &trouble.partition;
        if self.board.partitions.lock().get(key).is_none_or(|status| status.gone) {
            return Ok(());
        }
        match trouble.code {
            code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID
            | code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
            | code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION => Ok(()),
            code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET | code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE => {
                let keys = [key.clone()];
                let earliest = topics::offsets(&self.client, &keys, Where::Earliest, PATIENCE)?;
                let end = topics::offsets(&self.client, &keys, Where::End, PATIENCE)?;
                let (Some(earliest), Some(end)) = (earliest.get(key), end.get(key)) else {
                    return Err(SourceError::NoAnswer { what: "ListOffsets", reason: format!("{key} has no leader") });
                };
                in_range(key, trouble.offset, *earliest, *end)?;
                // Once the offset was not in the log. What stands there now nobody can know to be what stood there.
                let (partition, offset, reason) = (key.clone(), trouble.offset, trouble.reason.clone());
                Err(SourceError::Truncated { partition, offset, reason })
            }
            _ => Err(SourceError::Unreadable {
                partition: key.clone(),
                offset: trouble.offset,
                reason: trouble.reason.clone(),
            }),
        }
    }

    fn broker_is_away(&self, reason: &str) {
        if self.board.set_healthy(false) {
            let bootstrap = self.config.bootstrap.as_str();
            warn!(bootstrap, reason, "the broker does not answer; trying on");
        }
    }

    fn broker_is_back(&self) {
        if !self.board.is_healthy() {
            self.board.ingress.restart_ends(Instant::now());
        }
        if self.board.set_healthy(true) {
            info!(bootstrap = self.config.bootstrap.as_str(), "the broker answers again");
        }
    }

    /// Before the run ends with an error, nothing more is read: it might be another topic's records.
    fn stop_reading(&self) {
        for (key, status) in self.board.partitions.lock().iter() {
            self.readers[status.reader].tell(Command::Pause(key.clone()));
        }
    }
}

pub(super) fn same_topic(topic: &str, expected: uuid::Uuid, found: uuid::Uuid) -> Result<(), SourceError> {
    if expected == found { Ok(()) } else { Err(SourceError::Recreated { topic: topic.to_owned(), expected, found }) }
}

fn in_range(key: &TopicPartition, resume: i64, earliest: i64, end: i64) -> Result<(), SourceError> {
    let partition = key.clone();
    if resume < earliest {
        return Err(SourceError::Gone { partition, resume, earliest, missing: earliest - resume });
    }
    if resume > end {
        return Err(SourceError::BeyondEnd { partition, resume, end });
    }
    Ok(())
}

/// librdkafka repairs these itself.
fn is_transient(event: code) -> bool {
    use code::*;
    matches!(
        event,
        RD_KAFKA_RESP_ERR__TRANSPORT
            | RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN
            | RD_KAFKA_RESP_ERR__RESOLVE
            | RD_KAFKA_RESP_ERR__TIMED_OUT
            | RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE
            | RD_KAFKA_RESP_ERR__MSG_TIMED_OUT
            | RD_KAFKA_RESP_ERR__DESTROY_BROKER
            | RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
            | RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION
            | RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT
            | RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE
            | RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE
            | RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION
            | RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR
            | RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH
            | RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH
            | RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE
    )
}
