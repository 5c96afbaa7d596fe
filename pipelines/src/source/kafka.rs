//! The Kafka source: every partition of every matching topic, in order, each record once, into the [`Ingress`].
//!
//! Partitions are assigned explicitly and never committed: resume offsets come from the newest manifest. `clients`
//! librdkafka clients read, each with one thread that drains one queue in arrays; a client of its own
//! asks which topics there are. Nothing ever jumps: an offset that is out of range, a topic made anew and another
//! cluster stop the source with an error that says so.

use crate::source::error::SourceError;
use crate::source::ingress::Ingress;
use board::Board;
use control::{Control, PATIENCE};
use crossbeam_channel::Receiver;
use native::Client;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use reader::{Command, Reader};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thermocline_schemas::TopicPartition;
use thermocline_schemas::metadata::Progress;
use tracing::{info, warn};

mod batch;
mod board;
mod control;
pub(in crate::source) mod listening;
pub(in crate::source) mod native;
mod reader;
#[cfg(test)]
pub(in crate::source) mod tests;

/// Says whether a source reads a topic.
pub type TopicPattern = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// How a source reads.
#[derive(Clone)]
pub struct KafkaConfig {
    /// `host:port`, or several with commas between.
    pub bootstrap: String,
    /// Which topics. Those that begin with `__` belong to Kafka itself and are never asked about.
    pub pattern: TopicPattern,
    /// More properties for librdkafka, such as `security.protocol`. Those that reading once rests upon are refused.
    pub properties: BTreeMap<String, String>,
    /// librdkafka clients, each with one reading thread. Default 1; one for each worker is a good number.
    pub clients: usize,
    /// What the clients may fetch ahead, all together, in bytes. Default 64 MiB.
    pub queue_bytes: usize,
    /// How often new topics and partitions are looked for. Default 5 s.
    pub discover_every: Duration,
    /// How long the start waits for the broker. Default 30 s; 3 s at most where nobody listens at all.
    pub patience: Duration,
    /// Topics that are not read until [`KafkaSource::resume`].
    pub paused: BTreeSet<String>,
}

impl KafkaConfig {
    /// The defaults.
    pub fn new(bootstrap: impl Into<String>, pattern: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            pattern: Arc::new(pattern),
            properties: BTreeMap::new(),
            clients: 1,
            queue_bytes: 64 << 20,
            discover_every: Duration::from_secs(5),
            patience: Duration::from_secs(30),
            paused: BTreeSet::new(),
        }
    }

    /// True if the source reads `topic`. Which names that leaves out is the pattern's own rule: see
    /// [`TopicPattern::matches`](crate::plan::TopicPattern::matches).
    pub fn takes(&self, topic: &str) -> bool {
        (self.pattern)(topic)
    }
}

impl fmt::Debug for KafkaConfig {
    /// Property values are left out: some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("bootstrap", &self.bootstrap)
            .field("properties", &self.properties.keys())
            .field("clients", &self.clients)
            .field("queue_bytes", &self.queue_bytes)
            .field("discover_every", &self.discover_every)
            .field("paused", &self.paused)
            .finish_non_exhaustive()
    }
}

/// A topic that the source reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadTopic {
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions.
    pub partitions: usize,
    /// True while it is not read for now.
    pub paused: bool,
    /// True if the broker has it no more.
    pub gone: bool,
}

/// How far one partition is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionLag {
    /// The partition.
    pub partition: TopicPartition,
    /// The next offset to push: everything before it was handed to the ingress.
    pub next_offset: i64,
    /// The end of the log as last seen, at most `discover_every` ago while the broker answers.
    pub end_offset: i64,
}

impl PartitionLag {
    /// Offsets that are still to come; some of them may hold no record.
    pub fn offsets(&self) -> u64 {
        u64::try_from(self.end_offset - self.next_offset).unwrap_or(0)
    }
}

/// A running source. Dropping it stops it.
#[derive(Debug)]
pub struct KafkaSource {
    config: KafkaConfig,
    cluster_id: Arc<str>,
    client: Arc<Client>,
    board: Arc<Board>,
    readers: Arc<Vec<Reader>>,
    /// How many partitions each reader's client was made for.
    made_for: Arc<Mutex<Vec<usize>>>,
    control: Mutex<Option<JoinHandle<()>>>,
}

impl KafkaSource {
    /// Looks at the broker, assigns every partition in `ingress`, notes where each ends, and begins to read.
    ///
    /// A partition begins where `resume` says (entries of other sources are ignored), else at its earliest record. Waits
    /// for the broker at most [`KafkaConfig::patience`]. Later topics and partitions are found while it runs.
    ///
    /// # Errors
    /// - [`SourceError::Unreachable`] when no broker answers in time.
    /// - [`SourceError::OtherCluster`], [`SourceError::Recreated`], [`SourceError::Gone`], [`SourceError::BeyondEnd`]
    ///   where the resume offsets do not fit what the broker has. Nothing has been read then.
    /// - [`SourceError::Property`] for a property that is unknown, or that is not yours to set.
    pub fn start(config: KafkaConfig, ingress: Arc<Ingress>, resume: Vec<Progress>) -> Result<Self, SourceError> {
        let client = Client::new(&client_config(&config, EXPECTED_PARTITIONS)?)?;
        let resume: Vec<_> = resume.into_iter().filter(|progress| progress.source == ingress.source()).collect();
        let paused = config.paused.iter().map(|topic| topic.as_str().into()).collect();
        let board = Arc::new(Board::new(ingress, paused));
        let began = Instant::now();
        let mut look =
            insist(&config, &client, began, || control::look(&client, &config, PATIENCE.min(config.patience)))?;
        let clients = config.clients.max(1);
        let made_for = look.partitions().div_ceil(clients).max(EXPECTED_PARTITIONS);
        let reading = client_config(&config, made_for)?;
        let (report, troubles) = crossbeam_channel::unbounded();
        let readers: Result<Vec<Reader>, SourceError> = (0..clients)
            .map(|reader| {
                Reader::spawn(format!("source-{reader}"), Client::new(&reading)?, board.clone(), report.clone())
            })
            .collect();
        let source = Self {
            cluster_id: look.cluster_id().into(),
            client: client.clone(),
            board: board.clone(),
            readers: Arc::new(readers?),
            made_for: Arc::new(Mutex::new(vec![made_for; clients])),
            control: Mutex::new(None),
            config: config.clone(),
        };
        for progress in resume.iter().filter(|progress| config.takes(&progress.topic) && !look.has(&progress.topic)) {
            let (topic, partition) = (progress.topic.as_str(), progress.partition);
            warn!(topic, partition, offset = progress.next_offset, "the topic is gone; what was read of it stays");
        }
        let readers = source.readers.clone();
        let (misses, made_for) = (HashMap::new(), source.made_for.clone());
        let mut control = Control { config, client, board, readers, resume, misses, made_for };
        let adopted = insist(&source.config, &source.client, began, || {
            let adopted = control.adopt(&look, true);
            if let Err(SourceError::NoAnswer { .. }) = adopted {
                look = control::look(&source.client, &source.config, PATIENCE)?;
            }
            adopted
        });
        if let Err(error) = adopted {
            source.stop();
            return Err(error);
        }
        let thread = std::thread::Builder::new().name("source-control".to_owned());
        let thread = thread
            .spawn(move || control.run(&troubles))
            .map_err(|error| SourceError::Client { what: "source-control".to_owned(), reason: error.to_string() })?;
        *source.control.lock() = Some(thread);
        let (topics, partitions) = (source.topics().len(), source.board.partitions.lock().len());
        info!(source = source.board.ingress.source(), topics, partitions, clients, "source started");
        Ok(source)
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The topics that match now, by name.
    pub fn topics(&self) -> Vec<ReadTopic> {
        let paused = self.board.paused.lock().clone();
        let mut topics: BTreeMap<Arc<str>, ReadTopic> = BTreeMap::new();
        for status in self.board.partitions.lock().values() {
            let name = status.topic.name.clone();
            let (is_paused, gone) = (paused.contains(&name), status.gone);
            let fresh = ReadTopic { name: name.clone(), partitions: 0, paused: is_paused, gone };
            topics.entry(name).or_insert(fresh).partitions += 1;
        }
        topics.into_values().collect()
    }

    /// Where each partition ended before anything was read. Partitions that appeared later have no such end.
    pub fn noted_ends(&self) -> BTreeMap<TopicPartition, i64> {
        let partitions = self.board.partitions.lock();
        partitions.iter().filter_map(|(key, status)| Some((key.clone(), status.noted_end?))).collect()
    }

    /// True when everything up to the noted ends has been pushed: the next offset is at the end or beyond, or the
    /// consumer has been at the partition's end (an aborted transaction leaves no record there). A topic that is paused
    /// or gone is not waited for.
    pub fn has_reached_noted_ends(&self) -> bool {
        let paused = self.board.paused.lock().clone();
        let partitions = self.board.partitions.lock();
        partitions.values().all(|status| paused.contains(&status.topic.name) || status.has_reached_noted_end())
    }

    /// How far each partition is behind.
    pub fn lag(&self) -> Vec<PartitionLag> {
        let partitions = self.board.partitions.lock().clone();
        let lag = partitions.into_iter().map(|(partition, status)| {
            let cached = self.readers[status.reader].cached_end(&partition).unwrap_or(status.end);
            let end_offset = cached.max(status.end);
            PartitionLag { partition, next_offset: status.next_offset, end_offset }
        });
        lag.collect()
    }

    /// Bytes that the clients' queues may hold, all partitions together: at most [`KafkaConfig::queue_bytes`], unless there
    /// are so many partitions that each gets the least that reading needs.
    pub fn queue_bytes(&self) -> usize {
        let made_for = self.made_for.lock().clone();
        let partitions = self.board.partitions.lock();
        let reading = partitions.values().filter(|status| !status.gone);
        reading.map(|status| partition_queue_bytes(&self.config, made_for[status.reader])).sum()
    }

    /// Stops reading a topic, also one that is yet to appear; the others flow on. Records that were fetched already may
    /// still come; none is lost.
    pub fn pause(&self, topic: &str) {
        if self.board.paused.lock().insert(topic.into()) {
            self.board.ingress.set_paused(topic, true);
            self.tell(topic, Command::Pause);
        }
    }

    /// Reads a paused topic again, from exactly the next record.
    pub fn resume(&self, topic: &str) {
        if self.board.paused.lock().remove(topic) {
            self.board.ingress.set_paused(topic, false);
            self.tell(topic, Command::Resume);
        }
    }

    fn tell(&self, topic: &str, command: impl Fn(TopicPartition) -> Command) {
        let partitions = self.board.partitions.lock();
        let of_topic = partitions.iter().filter(|(key, status)| &*key.topic == topic && !status.gone);
        of_topic.for_each(|(key, status)| self.readers[status.reader].tell(command(key.clone())));
    }

    /// Asks the broker whether every topic is still the one that was assigned: false if it does not answer within
    /// `patience`. Asked between the close of an epoch and its commit, it proves that no record of a topic made anew is
    /// in it; the periodic look alone would notice up to [`KafkaConfig::discover_every`] later.
    ///
    /// # Errors
    /// [`SourceError::Recreated`].
    pub fn confirm_topics(&self, patience: Duration) -> Result<bool, SourceError> {
        let known: BTreeMap<String, uuid::Uuid> = {
            let partitions = self.board.partitions.lock();
            let reading = partitions.values().filter(|status| !status.gone);
            reading.map(|status| (status.topic.name.to_string(), status.topic.id)).collect()
        };
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let found = match crate::source::topics::describe(&self.client, &names, patience) {
            Ok(found) => found,
            Err(error) => {
                if self.board.set_confirming(false) {
                    warn!(%error, "topics cannot be confirmed before a commit; their ids are compared when the broker answers");
                }
                return Ok(false);
            }
        };
        self.board.set_confirming(true);
        for topic in found {
            if let Some(id) = known.get(&topic.name) {
                control::same_topic(&topic.name, *id, topic.id)?;
            }
        }
        Ok(true)
    }

    /// False while the broker does not answer. Reading goes on by itself when it does again.
    pub fn healthy(&self) -> bool {
        self.board.is_healthy()
    }

    /// Errors for which the run must stop; nothing is read after the first.
    pub fn errors(&self) -> Receiver<SourceError> {
        self.board.failures()
    }

    /// Stops the ingress and all threads, and waits for them: a moment, or a few seconds when the broker is away.
    /// What was not pushed yet is read again by the next run.
    pub fn stop(&self) {
        self.board.stop();
        self.board.ingress.stop();
        self.readers.iter().for_each(Reader::join);
        let control = self.control.lock().take();
        if let Some(thread) = control
            && thread.join().is_err()
        {
            warn!("the control thread of the source panicked");
        }
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Asks until the broker answers or the start has waited long enough.
fn insist<T>(
    config: &KafkaConfig,
    client: &Client,
    began: Instant,
    mut ask: impl FnMut() -> Result<T, SourceError>,
) -> Result<T, SourceError> {
    let pause = Duration::from_millis(100);
    let mut told = false;
    loop {
        listening::wait(&config.bootstrap, config.patience)?;
        match ask() {
            Err(SourceError::NoAnswer { what, reason }) => {
                client.poll();
                let complaint = client.last_complaint().map(|complaint| format!("; {complaint}")).unwrap_or_default();
                let reason = format!("{what}: {reason}{complaint}");
                let bootstrap = config.bootstrap.clone();
                if began.elapsed() >= config.patience {
                    return Err(SourceError::Unreachable { bootstrap, waited: config.patience, reason });
                }
                if !std::mem::replace(&mut told, true) {
                    warn!(bootstrap, reason, "the broker does not answer; trying on");
                }
                // The broker's next answer cannot be waited for in any other way.
                std::thread::park_timeout(pause);
            }
            done => return done,
        }
    }
}

/// Properties that reading each record once rests upon, or that this file computes.
const OURS: [&str; 12] = [
    "bootstrap.servers",
    "auto.offset.reset",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "isolation.level",
    "group.id",
    "allow.auto.create.topics",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "fetch.message.max.bytes",
    "fetch.max.bytes",
];

/// What one partition may queue in a client made for `partitions` of them: queues are bounded by partition, so the client's
/// share is divided.
fn partition_queue_bytes(config: &KafkaConfig, partitions: usize) -> usize {
    (config.queue_bytes / config.clients.max(1) / partitions.max(1)).max(LEAST_QUEUE_BYTES)
}

/// A client that reads up to `partitions` partitions.
fn client_config(config: &KafkaConfig, partitions: usize) -> Result<ClientConfig, SourceError> {
    let share = config.queue_bytes / config.clients.max(1);
    let queue_bytes = partition_queue_bytes(config, partitions);
    let fetch_bytes = queue_bytes.min(1 << 20);
    let mut native = ClientConfig::new();
    native
        .set("bootstrap.servers", &config.bootstrap)
        .set("client.id", "thermocline")
        .set("auto.offset.reset", "error")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("allow.auto.create.topics", "false")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.message.max.bytes", fetch_bytes.to_string())
        .set("fetch.max.bytes", share.clamp(1 << 20, 50 << 20).to_string())
        .set("queued.max.messages.kbytes", (queue_bytes / 1024).to_string())
        .set("queued.min.messages", (queue_bytes / QUEUED_RECORD_BYTES).min(100_000).to_string())
        .set("reconnect.backoff.max.ms", "1000");
    for (property, value) in &config.properties {
        if OURS.contains(&property.as_str()) {
            let reason = "Thermocline sets it itself".to_owned();
            return Err(SourceError::Property { property: property.clone(), reason });
        }
        native.set(property, value);
    }
    Ok(native)
}

/// A client is made for at least so many partitions: many topics appear after the start.
const EXPECTED_PARTITIONS: usize = 16;
/// The least that a partition may queue; reading gets slow below. So small that the clients keep their share of the budget
/// with thousands of partitions.
const LEAST_QUEUE_BYTES: usize = 16 << 10;
/// What a small record takes in librdkafka's queue, beside its bytes.
const QUEUED_RECORD_BYTES: usize = 512;
