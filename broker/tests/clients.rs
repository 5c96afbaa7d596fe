//! The broker as librdkafka sees it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use tempfile::TempDir;
use thermocline_broker::{Broker, BrokerConfig, BrokerError, Fsync, Retention};

const PATIENCE: Duration = Duration::from_secs(30);

async fn start(folder: &TempDir) -> Broker {
    start_with(folder, BrokerConfig::default()).await
}

async fn start_with(folder: &TempDir, config: BrokerConfig) -> Broker {
    Broker::start(BrokerConfig { data_dir: folder.path().to_path_buf(), ..config }).await.expect("broker starts")
}

fn client(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap()).set("broker.address.family", "v4");
    config
}

/// Produces `values` to `topic` with `settings`, all acknowledged; keys are the values' numbers.
async fn produce(broker: &Broker, topic: &str, settings: &[(&str, &str)], values: std::ops::Range<usize>) {
    let mut config = client(broker);
    config.set("linger.ms", "5").set("acks", "all");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    let producer: FutureProducer = config.create().expect("producer");
    let rows: Vec<(String, String)> = values.map(|n| (n.to_string(), format!("{topic}-{n}"))).collect();
    let mut sent = Vec::new();
    for (key, value) in &rows {
        let record = FutureRecord::to(topic).key(key).payload(value);
        sent.push(producer.send_result(record).map_err(|(error, _)| error).expect("queued"));
    }
    for delivery in sent {
        delivery.await.expect("answered").expect("acknowledged");
    }
}

/// Reads everything between the first offset and the end as of now: values by partition.
fn read_all(broker: &Broker, topic: &str) -> BTreeMap<i32, Vec<(i64, String)>> {
    let mut config = client(broker);
    config
        .set("group.id", "unused")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true")
        .set("auto.offset.reset", "error");
    let consumer: BaseConsumer = config.create().expect("consumer");
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("metadata");
    let partitions: Vec<i32> = metadata.topics()[0].partitions().iter().map(|partition| partition.id()).collect();
    let mut assignment = TopicPartitionList::new();
    for partition in &partitions {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning).expect("offset");
    }
    consumer.assign(&assignment).expect("assigned");
    let (mut open, mut found, started) = (partitions.len(), BTreeMap::<i32, Vec<_>>::new(), Instant::now());
    while open > 0 {
        assert!(started.elapsed() < PATIENCE, "only {found:?}");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let value = message.payload_view::<str>().expect("payload").expect("text").to_string();
                found.entry(message.partition()).or_default().push((message.offset(), value));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    found
}

fn values(found: &BTreeMap<i32, Vec<(i64, String)>>) -> Vec<String> {
    let mut values: Vec<String> = found.values().flatten().map(|(_, value)| value.clone()).collect();
    values.sort();
    values
}

fn expected(topic: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut values: Vec<String> = numbers.map(|n| format!("{topic}-{n}")).collect();
    values.sort();
    values
}

fn offsets_have_no_gaps(found: &BTreeMap<i32, Vec<(i64, String)>>) {
    for rows in found.values() {
        assert!(rows.iter().enumerate().all(|(at, (offset, _))| at as i64 == *offset));
    }
}

fn admin(broker: &Broker) -> AdminClient<DefaultClientContext> {
    client(broker).create().expect("admin client")
}

async fn create(broker: &Broker, topic: &str, partitions: i32) {
    let wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let created = admin(broker).create_topics(&[wanted], &AdminOptions::new()).await.expect("answered");
    assert_eq!(created, vec![Ok(topic.to_string())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_compression_comes_back_as_it_went_in() {
    let folder = TempDir::new().expect("folder");
    let broker = start(&folder).await;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("codec-{codec}");
        produce(&broker, &topic, &[("compression.type", codec)], 0..5_000).await;
        let found = read_all(&broker, &topic);
        assert_eq!((found.len(), values(&found)), (4, expected(&topic, 0..5_000)));
        offsets_have_no_gaps(&found);
    }
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_of_every_kind_store_records() {
    let folder = TempDir::new().expect("folder");
    let config = BrokerConfig { fsync: Fsync::EveryBatch, segment_bytes: 64 << 10, ..BrokerConfig::default() };
    let broker = start_with(&folder, config).await;
    for (acks, idempotence) in [("1", "false"), ("all", "false"), ("all", "true")] {
        let topic = format!("acks-{acks}-{idempotence}");
        produce(&broker, &topic, &[("acks", acks), ("enable.idempotence", idempotence)], 0..3_000).await;
        assert_eq!(values(&read_all(&broker, &topic)), expected(&topic, 0..3_000));
    }
    // Without acknowledgement there is nothing to wait for but the records.
    produce(&broker, "acks-0", &[("acks", "0")], 0..100).await;
    let started = Instant::now();
    while values(&read_all(&broker, "acks-0")).len() < 100 {
        assert!(started.elapsed() < PATIENCE);
    }
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_outlives_a_restart() {
    let folder = TempDir::new().expect("folder");
    let config = BrokerConfig { segment_bytes: 64 << 10, ..BrokerConfig::default() };
    let broker = start_with(&folder, config.clone()).await;
    let cluster_id = broker.cluster_id().to_string();
    produce(&broker, "t", &[("batch.size", "4096")], 0..20_000).await;
    let before = read_all(&broker, "t");
    broker.shutdown().await;
    let broker = start_with(&folder, config).await;
    assert_eq!(broker.cluster_id(), cluster_id);
    assert_eq!(read_all(&broker, "t"), before);
    produce(&broker, "t", &[], 20_000..20_100).await;
    assert_eq!(values(&read_all(&broker, "t")), expected("t", 0..20_100));
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_goes_on_where_it_committed() {
    let folder = TempDir::new().expect("folder");
    let broker = start(&folder).await;
    produce(&broker, "t", &[], 0..1_000).await;
    let consume = |broker: &Broker, wanted: usize| {
        let mut config = client(broker);
        config.set("group.id", "g").set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().expect("consumer");
        consumer.subscribe(&["t"]).expect("subscribed");
        let (mut found, started) = (Vec::new(), Instant::now());
        while found.len() < wanted {
            assert!(started.elapsed() < PATIENCE, "{} of {wanted}", found.len());
            if let Some(message) = consumer.poll(Duration::from_millis(100)) {
                let message = message.expect("message");
                found.push(message.payload_view::<str>().expect("payload").expect("text").to_string());
            }
        }
        consumer.commit_consumer_state(CommitMode::Sync).expect("committed");
        found.sort();
        found
    };
    assert_eq!(consume(&broker, 1_000), expected("t", 0..1_000));
    produce(&broker, "t", &[], 1_000..1_010).await;
    assert_eq!(consume(&broker, 10), expected("t", 1_000..1_010));
    broker.shutdown().await;
    let broker = start(&folder).await;
    produce(&broker, "t", &[], 1_010..1_020).await;
    assert_eq!(consume(&broker, 10), expected("t", 1_010..1_020));
    let groups = client(&broker).create::<BaseConsumer>().expect("client");
    let listed = groups.fetch_group_list(None, PATIENCE).expect("listed");
    assert_eq!(listed.groups().iter().map(|group| group.name()).collect::<Vec<_>>(), vec!["g"]);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_created_grown_described_and_deleted() {
    let folder = TempDir::new().expect("folder");
    let broker = start_with(&folder, BrokerConfig { auto_create_topics: false, ..BrokerConfig::default() }).await;
    create(&broker, "t", 3).await;
    let admin = admin(&broker);
    let options = AdminOptions::new();
    let again = NewTopic::new("t", 3, TopicReplication::Fixed(1));
    let replicated = NewTopic::new("r", 3, TopicReplication::Fixed(3));
    let compacted = NewTopic::new("c", 3, TopicReplication::Fixed(1)).set("cleanup.policy", "compact");
    let refused = admin.create_topics(&[again, replicated, compacted], &options).await.expect("answered");
    let codes: Vec<RDKafkaErrorCode> = refused.into_iter().map(|result| result.expect_err("refused").1).collect();
    use RDKafkaErrorCode::{InvalidConfig, InvalidReplicationFactor, TopicAlreadyExists};
    assert_eq!(codes, vec![TopicAlreadyExists, InvalidReplicationFactor, InvalidConfig]);
    admin.create_partitions(&[NewPartitions::new("t", 5)], &options).await.expect("answered");
    let metadata = admin.inner().fetch_metadata(Some("t"), PATIENCE).expect("metadata");
    assert_eq!(metadata.topics()[0].partitions().len(), 5);
    let configs = admin.describe_configs([&ResourceSpecifier::Topic("t")], &options).await.expect("answered");
    let config = configs.into_iter().next().expect("one").expect("described");
    assert_eq!(config.get("cleanup.policy").and_then(|entry| entry.value.as_deref()), Some("delete"));
    admin.delete_topics(&["t"], &options).await.expect("answered");
    let metadata = admin.inner().fetch_metadata(None, PATIENCE).expect("metadata");
    assert_eq!(metadata.topics().len(), 0);
    // Nothing is created behind the back of who forbade it.
    let producer: BaseProducer = client(&broker).set("message.timeout.ms", "2000").create().expect("producer");
    producer.send(BaseRecord::<str, str>::to("absent").payload("x")).expect("queued");
    producer.flush(PATIENCE).expect("flushed");
    assert!(!folder.path().join("topics/absent").exists());
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_are_listed_and_found_by_time() {
    let folder = TempDir::new().expect("folder");
    let broker = start(&folder).await;
    create(&broker, "t", 1).await;
    let producer: FutureProducer = client(&broker).set("linger.ms", "0").create().expect("producer");
    for n in 0..100i64 {
        let record = FutureRecord::<str, str>::to("t").payload("x").timestamp(1_000 * (n + 1));
        producer.send(record, PATIENCE).await.map_err(|(error, _)| error).expect("acknowledged");
    }
    let consumer: BaseConsumer = client(&broker).set("group.id", "g").create().expect("consumer");
    assert_eq!(consumer.fetch_watermarks("t", 0, PATIENCE).expect("watermarks"), (0, 100));
    let at = |timestamp: i64| {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset("t", 0, Offset::Offset(timestamp)).expect("added");
        let found = consumer.offsets_for_times(asked, PATIENCE).expect("answered");
        found.elements()[0].offset()
    };
    assert_eq!((at(0), at(50_000), at(50_001)), (Offset::Offset(0), Offset::Offset(49), Offset::Offset(50)));
    assert_eq!(at(100_001), Offset::End);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_that_is_gone_is_an_error_and_not_a_jump() {
    let folder = TempDir::new().expect("folder");
    let config = BrokerConfig {
        segment_bytes: 16 << 10,
        retention: Retention { age: None, bytes: Some(32 << 10) },
        retention_check: Duration::from_millis(50),
        ..BrokerConfig::default()
    };
    let broker = start_with(&folder, config).await;
    create(&broker, "t", 1).await;
    produce(&broker, "t", &[("batch.size", "2000")], 0..20_000).await;
    let mut config = client(&broker);
    config.set("group.id", "g").set("auto.offset.reset", "error");
    let consumer: BaseConsumer = config.create().expect("consumer");
    let started = Instant::now();
    while consumer.fetch_watermarks("t", 0, PATIENCE).expect("watermarks").0 == 0 {
        assert!(started.elapsed() < PATIENCE, "retention deletes nothing");
    }
    let (_, end) = consumer.fetch_watermarks("t", 0, PATIENCE).expect("watermarks");
    assert_eq!(end, 20_000);
    for gone in [0, 20_001] {
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset("t", 0, Offset::Offset(gone)).expect("added");
        consumer.assign(&assignment).expect("assigned");
        let error = loop {
            assert!(started.elapsed() < PATIENCE);
            match consumer.poll(Duration::from_millis(100)) {
                Some(Err(error)) => break error,
                Some(Ok(message)) => panic!("jumped to {}", message.offset()),
                None => {}
            }
        };
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::AutoOffsetReset), "{error}");
    }
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_are_refused_with_the_reason() {
    let folder = TempDir::new().expect("folder");
    let broker = start(&folder).await;
    let producer: BaseProducer = client(&broker).set("transactional.id", "x").create().expect("producer");
    let error = producer.init_transactions(PATIENCE).expect_err("refused");
    assert!(error.to_string().contains("does not support transactions"), "{error}");
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_broker_waits_for_the_first() {
    let folder = TempDir::new().expect("folder");
    let broker = start(&folder).await;
    let impatient = BrokerConfig {
        data_dir: folder.path().to_path_buf(),
        lock_wait: Duration::from_millis(100),
        ..BrokerConfig::default()
    };
    match Broker::start(impatient.clone()).await {
        Err(BrokerError::Locked { holder, .. }) => assert_eq!(holder, format!("process {}", std::process::id())),
        other => panic!("{other:?}"),
    }
    let patient = tokio::spawn(Broker::start(BrokerConfig { lock_wait: PATIENCE, ..impatient }));
    broker.shutdown().await;
    patient.await.expect("no panic").expect("started").shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_does_not_wait_for_clients_that_wait() {
    let folder = TempDir::new().expect("folder");
    let broker = start(&folder).await;
    create(&broker, "t", 2).await;
    let mut config = client(&broker);
    config.set("group.id", "g").set("fetch.wait.max.ms", "60000").set("socket.timeout.ms", "90000");
    let consumer: BaseConsumer = config.create().expect("consumer");
    consumer.subscribe(&["t"]).expect("subscribed");
    let started = Instant::now();
    while consumer.assignment().expect("assignment").count() < 2 {
        assert!(started.elapsed() < PATIENCE);
        let _ = consumer.poll(Duration::from_millis(50));
    }
    let _ = consumer.poll(Duration::from_millis(300));
    let stopping = Instant::now();
    broker.shutdown().await;
    assert!(stopping.elapsed() < Duration::from_secs(5), "{:?}", stopping.elapsed());
}
