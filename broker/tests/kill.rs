//! The broker dies in the middle of its work, and nothing that it acknowledged is missing afterwards.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 4;

/// The broker as a process of its own: the example of this crate.
fn broker(data_dir: &Path, port: u16, fsync: bool) -> (Child, String) {
    // Tests lie in target/<profile>/deps, examples beside it.
    let here = std::env::current_exe().expect("test binary");
    let example: PathBuf = here.ancestors().nth(2).expect("profile folder").join("examples/broker");
    let mut command = Command::new(&example);
    command.arg(data_dir).arg(port.to_string()).args(fsync.then_some("--fsync"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("{}: {error}; build it with --example broker, in the profile of this test", example.display())
    });
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("bootstrap address");
    assert!(!line.is_empty(), "the broker did not start");
    (child, line.trim().to_string())
}

/// Partition and offset of each acknowledged number.
type Acknowledged = Arc<Mutex<HashMap<usize, (i32, i64)>>>;

struct Deliveries {
    acknowledged: Acknowledged,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Box<usize>) {
        let message = result.as_ref().map_err(|(error, _)| error.clone()).expect("retried until it is acknowledged");
        let before = self.acknowledged.lock().expect("lock").insert(*number, (message.partition(), message.offset()));
        assert_eq!(before, None);
    }
}

/// What the log holds: number by partition and offset.
fn read_all(bootstrap: &str) -> HashMap<(i32, i64), usize> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "unused")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true")
        .create()
        .expect("consumer");
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset("t", partition, Offset::Beginning).expect("added");
    }
    consumer.assign(&assignment).expect("assigned");
    let (mut open, mut found, started) = (PARTITIONS, HashMap::new(), Instant::now());
    while open > 0 {
        assert!(started.elapsed() < PATIENCE, "reading takes too long");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let text = message.payload_view::<str>().expect("payload").expect("text");
                let number = text.trim_start_matches('x').parse().expect("number");
                found.insert((message.partition(), message.offset()), number);
            }
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(KafkaError::MessageConsumption(_))) | None => {}
            Some(Err(error)) => panic!("{error}"),
        }
    }
    found
}

/// Produces while the broker is killed several times; then compares what was acknowledged with what is there.
fn kill_and_compare(fsync: bool) {
    let folder = TempDir::new().expect("folder");
    let (mut child, bootstrap) = broker(folder.path(), 0, fsync);
    let port: u16 = bootstrap.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("port");
    let acknowledged = Acknowledged::default();
    let producer: ThreadedProducer<Deliveries> = ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .set("batch.size", "20000")
        .set("message.timeout.ms", "120000")
        .set("retry.backoff.ms", "20")
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "100")
        .create_with_context(Deliveries { acknowledged: Arc::clone(&acknowledged) })
        .expect("producer");
    let (total, kills) = (200_000, 5);
    let padding = "x".repeat(100);
    for number in 0..total {
        let payload = format!("{padding}{number}");
        let mut record = BaseRecord::with_opaque_to("t", Box::new(number)).key("").payload(&payload);
        record = record.partition(number as i32 % PARTITIONS);
        while let Err((error, again)) = producer.send(record) {
            assert!(matches!(error, KafkaError::MessageProduction(_)), "{error}");
            record = again;
            std::thread::yield_now();
        }
        if number % (total / (kills + 1)) == total / (kills + 1) - 1 && number < total - kills {
            // Wait until some of this round is acknowledged, so that the kill falls into the middle of production.
            let started = Instant::now();
            while acknowledged.lock().expect("lock").len() < number / 2 {
                assert!(started.elapsed() < PATIENCE, "nothing is acknowledged any more");
                std::thread::yield_now();
            }
            child.kill().expect("killed");
            child.wait().expect("gone");
            child = broker(folder.path(), port, fsync).0;
        }
    }
    producer.flush(PATIENCE).expect("everything is acknowledged");
    child.kill().expect("killed");
    child.wait().expect("gone");
    let (mut child, bootstrap) = broker(folder.path(), 0, fsync);
    let found = read_all(&bootstrap);
    let acknowledged = acknowledged.lock().expect("lock");
    assert_eq!(acknowledged.len(), total);
    // Everything that was acknowledged is there, at its offset where the client learnt one, and exactly once.
    let mut times: HashMap<usize, u32> = HashMap::new();
    found.values().for_each(|number| *times.entry(*number).or_default() += 1);
    for (number, (partition, offset)) in acknowledged.iter() {
        assert_eq!(times.get(number), Some(&1), "number {number}, acknowledged at t/{partition}@{offset}");
        if *offset >= 0 {
            assert_eq!(found.get(&(*partition, *offset)), Some(number), "t/{partition}@{offset}");
        }
    }
    assert_eq!(found.len(), total);
    child.kill().expect("killed");
    child.wait().expect("gone");
}

#[test]
fn kill_minus_nine_loses_nothing_acknowledged() {
    kill_and_compare(false);
}

#[test]
fn kill_minus_nine_loses_nothing_acknowledged_with_fsync() {
    kill_and_compare(true);
}
