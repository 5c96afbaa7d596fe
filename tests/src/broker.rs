//! Brokers: the embedded one, shared by the tests that run at the time, and Apache Kafka where it can be had.

use crate::command::Command;
use crate::running::Running;
use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a broker may take for one thing.
const PATIENCE: Duration = Duration::from_secs(30);

/// A broker that runs.
#[derive(Debug, Clone)]
pub struct Broker {
    bootstrap: String,
    _embedded: Option<Arc<Embedded>>,
}

/// `thermocline broker`, and its data.
#[derive(Debug)]
struct Embedded {
    bootstrap: String,
    // Dropped in this order: the broker ends before its data goes.
    _running: Mutex<Running>,
    _data: TempDir,
}

impl Broker {
    /// The embedded broker in a process of its own. Tests that run at the same time share one.
    pub fn embedded() -> Self {
        static SHARED: Mutex<Weak<Embedded>> = Mutex::new(Weak::new());
        // A test that failed here before has not left it half-made.
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let embedded = shared.upgrade().unwrap_or_else(|| Arc::new(Embedded::start()));
        *shared = Arc::downgrade(&embedded);
        Self { bootstrap: embedded.bootstrap.clone(), _embedded: Some(embedded) }
    }

    /// Apache Kafka, if `THERMOCLINE_KAFKA_BOOTSTRAP` says where; else the test counts as skipped.
    pub fn apache_kafka() -> Option<Self> {
        match std::env::var("THERMOCLINE_KAFKA_BOOTSTRAP") {
            Ok(bootstrap) if !bootstrap.is_empty() => Some(Self { bootstrap, _embedded: None }),
            _ => {
                crate::skipped(
                    "THERMOCLINE_KAFKA_BOOTSTRAP is not set: no Apache Kafka; `tests/kafka.sh start` starts one",
                );
                None
            }
        }
    }

    /// A broker that something else runs: the one inside `up`.
    pub fn at(bootstrap: &str) -> Self {
        Self { bootstrap: bootstrap.to_owned(), _embedded: None }
    }

    /// Its address, for `--kafka`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().expect("an admin client can be made")
    }

    /// Creates a topic of exactly this name.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn create(&self, topic: &str, partitions: i32) {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let answers = block_on(self.admin().create_topics([&new], &patient())).expect("the broker answers");
        answers.into_iter().for_each(|answer| drop(answer.expect("the topic can be created")));
    }

    /// Creates a topic with a name of its own that begins with `name`.
    #[track_caller]
    pub fn topic(&self, name: &str, partitions: i32) -> String {
        let topic = unique(name);
        self.create(&topic, partitions);
        topic
    }

    /// Deletes a topic, and waits until the broker has forgotten it.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn delete(&self, topic: &str) {
        let admin = self.admin();
        let answers = block_on(admin.delete_topics(&[topic], &patient())).expect("the broker answers");
        answers.into_iter().for_each(|answer| drop(answer.expect("the topic can be deleted")));
        crate::wait_until("the end of a deleted topic", PATIENCE, || {
            let metadata = admin.inner().fetch_metadata(None, PATIENCE).expect("the broker answers");
            !metadata.topics().iter().any(|it| it.name() == topic)
        });
    }

    /// Gives a topic `total` partitions.
    ///
    /// # Panics
    /// When the broker refuses.
    #[track_caller]
    pub fn grow(&self, topic: &str, total: usize) {
        let more = NewPartitions::new(topic, total);
        let answers = block_on(self.admin().create_partitions([&more], &patient())).expect("the broker answers");
        answers.into_iter().for_each(|answer| drop(answer.expect("partitions can be added")));
    }

    /// Writes records in order, and waits until all are acknowledged. Returns partition and offset of each.
    ///
    /// # Panics
    /// When the broker does not take one.
    #[track_caller]
    pub fn produce(&self, topic: &str, records: &[Record]) -> Vec<(i32, i64)> {
        let acknowledged = Acknowledged(Mutex::new(vec![None; records.len()]));
        let mut config = self.config();
        config.set("enable.idempotence", "true").set("linger.ms", "5").set("message.max.bytes", "8000000");
        let producer: BaseProducer<Acknowledged> =
            config.create_with_context(acknowledged).expect("a producer can be made");
        let deadline = Instant::now() + PATIENCE;
        for (number, record) in records.iter().enumerate() {
            let mut message = record.message(topic, Box::new(number));
            while let Err((error, back)) = producer.send(message) {
                let full = error.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull);
                assert!(full && Instant::now() < deadline, "the producer does not take record {number}: {error}");
                message = back;
                producer.poll(Duration::from_millis(50));
            }
        }
        producer.flush(PATIENCE).expect("the broker acknowledges");
        let acknowledged = producer.context().0.lock().expect("nobody panics with it").clone();
        acknowledged.into_iter().map(|place| place.expect("the broker takes every record")).collect()
    }

    /// Writes each line as one record.
    ///
    /// # Panics
    /// As [`Broker::produce`].
    #[track_caller]
    pub fn produce_lines(&self, topic: &str, lines: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<(i32, i64)> {
        let records: Vec<Record> = lines.into_iter().map(|line| Record::new(line.as_ref())).collect();
        self.produce(topic, &records)
    }
}

/// The results of a producer's records, by number.
struct Acknowledged(Mutex<Vec<Option<(i32, i64)>>>);

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Box<usize>) {
        if let Ok(message) = result {
            let place = Some((message.partition(), message.offset()));
            self.0.lock().expect("nobody panics with it")[*number] = place;
        }
    }
}

/// One record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its payload; none is a null payload.
    pub payload: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Its partition; none leaves it to the key.
    pub partition: Option<i32>,
    /// The broker's timestamp, ms since the Unix epoch; none is the time of producing.
    pub timestamp: Option<i64>,
}

impl Record {
    /// A payload and nothing else.
    pub fn new(payload: impl Into<Vec<u8>>) -> Self {
        Self { payload: Some(payload.into()), ..Self::default() }
    }

    /// The same, in this partition.
    #[must_use]
    pub fn in_partition(self, partition: i32) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// The same, with this key.
    #[must_use]
    pub fn with_key(self, key: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    fn message<'a>(&'a self, topic: &'a str, number: Box<usize>) -> BaseRecord<'a, [u8], [u8], Box<usize>> {
        let mut message = BaseRecord::with_opaque_to(topic, number);
        message.key = self.key.as_deref();
        message.payload = self.payload.as_deref();
        message.partition = self.partition;
        message.timestamp = self.timestamp;
        if !self.headers.is_empty() {
            message.headers = Some(self.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: value.as_deref() })
            }));
        }
        message
    }
}

/// What a plain consumer finds in a topic: partition, offset and record of each, in order of partition and offset.
///
/// # Panics
/// When the broker does not deliver what it says it has.
#[track_caller]
pub fn consume_all(broker: &Broker, topic: &str) -> Vec<(i32, i64, Record)> {
    let mut config = broker.config();
    config.set("group.id", unique("plain-consumer")).set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer can be made");
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("the broker answers");
    let mut assignment = TopicPartitionList::new();
    let mut wanted = 0;
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), PATIENCE).expect("the broker answers");
        assignment.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("the offset is one");
        wanted += usize::try_from(high - low).expect("a log ends behind its beginning");
    }
    consumer.assign(&assignment).expect("partitions can be assigned");
    let (mut found, deadline) = (vec![], Instant::now() + PATIENCE);
    while found.len() < wanted {
        assert!(Instant::now() < deadline, "{} of {wanted} records of {topic} came", found.len());
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.expect("records can be read");
        let headers = message.headers().map(|headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.map(ToOwned::to_owned))).collect()
        });
        let record = Record {
            key: message.key().map(ToOwned::to_owned),
            payload: message.payload().map(ToOwned::to_owned),
            headers: headers.unwrap_or_default(),
            partition: None,
            timestamp: message.timestamp().to_millis(),
        };
        found.push((message.partition(), message.offset(), record));
    }
    found.sort_by_key(|(partition, offset, _)| (*partition, *offset));
    found
}

impl Embedded {
    fn start() -> Self {
        let data = tempfile::tempdir().expect("a directory can be made");
        let command = Command::new("broker").args(["--port", "0", "--data"]).arg(data.path());
        // Started by a thread that lives as long as the process: a child dies with the thread that made it.
        let (send, started) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _ = send.send(Running::start(command));
            loop {
                std::thread::park();
            }
        });
        let mut running = started.recv().expect("the thread starts it");
        let bootstrap = running.wait_for_line("broker ", PATIENCE);
        Self { bootstrap, _running: Mutex::new(running), _data: data }
    }
}

/// `name` and a part that nobody else has.
pub fn unique(name: &str) -> String {
    format!("{name}-{}", &uuid::Uuid::new_v4().simple().to_string()[..12])
}

fn patient() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE))
}
