//! Brokers to test against, and what a test does to them.

use crate::raw::RawBatch;
use crate::source::budget::Budget;
use crate::source::ingress::Ingress;
use crate::source::kafka::{KafkaConfig, KafkaSource};
use arrow::array::Array;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thermocline_broker::{Broker, BrokerConfig};
use thermocline_schemas::metadata::Progress;
use thermocline_schemas::{Epoch, TopicPartition};
use uuid::Uuid;

/// Longest that anything in a test may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// The embedded broker of one test; ends with it.
pub(in crate::source) struct Embedded {
    runtime: tokio::runtime::Runtime,
    broker: Option<Broker>,
    pub(in crate::source) bootstrap: String,
}

impl Embedded {
    pub(in crate::source) fn start(data_dir: &Path, change: impl FnOnce(&mut BrokerConfig)) -> Self {
        let mut config = BrokerConfig { data_dir: data_dir.to_owned(), ..BrokerConfig::default() };
        change(&mut config);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
        let broker = runtime.block_on(Broker::start(config)).expect("the broker starts");
        Self { runtime, bootstrap: broker.bootstrap(), broker: Some(broker) }
    }

    /// The port, to start again on.
    pub(in crate::source) fn port(&self) -> u16 {
        self.bootstrap.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("host:port")
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            self.runtime.block_on(broker.shutdown());
        }
    }
}

/// Apache Kafka, if there is one. A test that needs it says so when there is none, and counts as skipped.
pub(in crate::source) fn apache() -> Option<String> {
    let found = std::env::var("THERMOCLINE_KAFKA_BOOTSTRAP").ok();
    if found.is_none() {
        let why = "THERMOCLINE_KAFKA_BOOTSTRAP names no broker";
        assert!(
            std::env::var("THERMOCLINE_REQUIRE_KAFKA").as_deref() != Ok("1"),
            "THERMOCLINE_REQUIRE_KAFKA=1, but {why}"
        );
        // Not `println!`: the test runner keeps that to itself when a test passes.
        let _ = writeln!(std::io::stdout(), "\nskipped: {why}");
    }
    found
}

/// Makes two tests of each function: against the embedded broker, and against Apache Kafka where there is one.
macro_rules! on_each_broker {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use crate::source::kafka::tests::bench::{Embedded, apache};

            #[test]
            fn embedded() {
                let directory = tempfile::tempdir().expect("a directory");
                let embedded = Embedded::start(directory.path(), |_| {});
                super::$name(&embedded.bootstrap);
            }

            #[test]
            fn apache_kafka() {
                if let Some(bootstrap) = apache() {
                    super::$name(&bootstrap);
                }
            }
        }
    )+};
}
pub(in crate::source) use on_each_broker;

/// A topic name of this test's own.
pub(in crate::source) fn unique(name: &str) -> String {
    format!("{name}-{}", Uuid::new_v4().simple())
}

fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", bootstrap).create().expect("an admin client")
}

pub(in crate::source) fn create_topic(bootstrap: &str, topic: &str, partitions: i32) {
    // Tests send times of years ago, which Kafka would delete at its next clean-up.
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    until(|| {
        // A topic of the same name that was just deleted may still be on its way out.
        let results = futures::executor::block_on(admin(bootstrap).create_topics([&new], &AdminOptions::new()));
        results.expect("an answer").remove(0).is_ok().then_some(())
    });
}

pub(in crate::source) fn delete_topic(bootstrap: &str, topic: &str) {
    let results = futures::executor::block_on(admin(bootstrap).delete_topics(&[topic], &AdminOptions::new()));
    results.expect("an answer").remove(0).expect("the topic is deleted");
}

pub(in crate::source) fn grow_topic(bootstrap: &str, topic: &str, partitions: usize) {
    let new = NewPartitions::new(topic, partitions);
    let results = futures::executor::block_on(admin(bootstrap).create_partitions([&new], &AdminOptions::new()));
    results.expect("an answer").remove(0).expect("the topic grows");
}

/// Deletes the records before `offset`, where the broker can.
pub(in crate::source) fn delete_records(bootstrap: &str, topic: &str, partition: i32, offset: i64) {
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(offset)).expect("an offset");
    let results = futures::executor::block_on(admin(bootstrap).delete_records(&list, &AdminOptions::new()));
    results.expect("records are deleted");
}

pub(in crate::source) fn producer(bootstrap: &str, properties: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("enable.idempotence", "true").set("linger.ms", "5");
    properties.iter().for_each(|(name, value)| {
        config.set(*name, *value);
    });
    config.create().expect("a producer")
}

/// Sends the payload `{n}` for each `n` to partition `n % partitions`, and waits until all are there.
pub(in crate::source) fn send(bootstrap: &str, topic: &str, partitions: i32, numbers: Range<i64>) {
    let producer = producer(bootstrap, &[]);
    for number in numbers {
        send_one(&producer, topic, number as i32 % partitions, &number.to_string());
    }
    flush(&producer);
}

pub(in crate::source) fn send_one(producer: &BaseProducer, topic: &str, partition: i32, payload: &str) {
    let mut record: BaseRecord<'_, str, str> = BaseRecord::to(topic).partition(partition).payload(payload);
    while let Err((_, back)) = producer.send(record) {
        record = back;
        producer.poll(Duration::from_millis(10));
    }
}

pub(in crate::source) fn flush(producer: &BaseProducer) {
    producer.flush(DEADLINE).expect("everything is acknowledged");
}

/// Polls until there is something, or the deadline passes.
pub(in crate::source) fn until<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "it did not happen in time");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A record as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source) struct Arrived {
    pub(in crate::source) offset: i64,
    pub(in crate::source) timestamp: Option<i64>,
    pub(in crate::source) key: Option<Vec<u8>>,
    pub(in crate::source) headers: Option<String>,
    pub(in crate::source) payload: Option<Vec<u8>>,
}

/// A source with an ingress of its own, and everything that has come through it.
pub(in crate::source) struct Run {
    pub(in crate::source) source: KafkaSource,
    pub(in crate::source) ingress: Arc<Ingress>,
    pub(in crate::source) budget: Arc<Budget>,
    pub(in crate::source) arrived: BTreeMap<TopicPartition, Vec<Arrived>>,
    pub(in crate::source) absent: Vec<(TopicPartition, Range<i64>)>,
    pub(in crate::source) progress: Vec<Progress>,
}

/// The ingress of a source named `events` with a budget.
pub(in crate::source) fn door(budget_bytes: usize) -> (Arc<Ingress>, Arc<Budget>) {
    let budget = Arc::new(Budget::new(budget_bytes));
    (Arc::new(Ingress::new("events", 1, budget.clone(), Epoch(1), 0)), budget)
}

/// Reads topics whose names contain `part`.
pub(in crate::source) fn config(bootstrap: &str, part: &str) -> KafkaConfig {
    let part = part.to_owned();
    let mut config = KafkaConfig::new(bootstrap, move |topic| topic.contains(&part));
    config.clients = 2;
    config.discover_every = Duration::from_millis(200);
    config
}

impl Run {
    pub(in crate::source) fn start(config: KafkaConfig, resume: Vec<Progress>) -> Self {
        Self::start_with_budget(config, resume, 64 << 20)
    }

    pub(in crate::source) fn start_with_budget(config: KafkaConfig, resume: Vec<Progress>, bytes: usize) -> Self {
        let (ingress, budget) = door(bytes);
        let source = KafkaSource::start(config, ingress.clone(), resume).expect("the source starts");
        Self { source, ingress, budget, arrived: BTreeMap::new(), absent: vec![], progress: vec![] }
    }

    /// How many records have come so far.
    pub(in crate::source) fn count(&self) -> usize {
        self.arrived.values().map(Vec::len).sum()
    }

    /// Takes one batch if there is one, closes its epoch (a hole needs no batch), and gives its budget back.
    pub(in crate::source) fn step(&mut self) -> bool {
        let batch = self.ingress.take().batch;
        if let Some(batch) = &batch {
            assert!(batch.len() <= 4_096 && !batch.is_empty());
            self.note(batch);
        }
        let closed = self.ingress.close_epoch(0);
        self.budget.give_back(closed.charged_bytes);
        self.absent.extend(closed.absent);
        self.progress = closed.partitions.into_iter().map(|(key, state)| progress(&key, &state)).collect();
        batch.is_some()
    }

    fn note(&mut self, batch: &RawBatch) {
        let key = TopicPartition::new(batch.topic.name.clone(), batch.partition);
        let arrived = self.arrived.entry(key).or_default();
        for row in 0..batch.len() {
            let bytes = |column: &arrow::array::BinaryArray| column.is_valid(row).then(|| column.value(row).to_vec());
            arrived.push(Arrived {
                offset: batch.offsets.value(row),
                timestamp: batch.timestamps.is_valid(row).then(|| batch.timestamps.value(row)),
                key: bytes(&batch.keys),
                headers: batch.headers.is_valid(row).then(|| batch.headers.value(row).to_owned()),
                payload: bytes(&batch.payloads),
            });
        }
    }

    /// Takes batches until `done`, or the deadline passes.
    pub(in crate::source) fn take_until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !done(self) {
            if !self.step() {
                assert!(began.elapsed() < DEADLINE, "it did not happen in time; {} records came", self.count());
                if let Ok(error) = self.source.errors().try_recv() {
                    panic!("{error}");
                }
                std::thread::park_timeout(Duration::from_millis(2));
            }
        }
    }

    /// Takes everything up to the ends that were noted at the start.
    pub(in crate::source) fn take_noted(&mut self) {
        self.take_until(|run| run.source.has_reached_noted_ends() && run.ingress.is_drained());
    }

    /// The numbers that came from all partitions of a topic, sorted; each partition must be in order, from `first` on.
    pub(in crate::source) fn numbers(&self, topic: &str) -> Vec<i64> {
        let mut numbers = vec![];
        for (key, arrived) in self.arrived.iter().filter(|(key, _)| &*key.topic == topic) {
            let of_partition: Vec<i64> = arrived.iter().map(number).collect();
            assert!(of_partition.is_sorted_by(|a, b| a < b), "{key} is out of order");
            assert!(arrived.is_sorted_by(|a, b| a.offset < b.offset), "{key} has offsets out of order");
            numbers.extend(of_partition);
        }
        numbers.sort_unstable();
        numbers
    }
}

fn number(arrived: &Arrived) -> i64 {
    let payload = arrived.payload.as_deref().expect("a payload");
    std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok()).expect("a number")
}

fn progress(key: &TopicPartition, state: &crate::source::ingress::PartitionState) -> Progress {
    Progress {
        source: "events".to_owned(),
        cluster_id: state.topic.cluster_id.to_string(),
        topic: key.topic.to_string(),
        topic_id: state.topic.id,
        partition: key.partition,
        first_offset: 0,
        next_offset: state.next_offset,
        watermark: None,
        idle: false,
    }
}
