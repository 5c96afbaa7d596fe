//! The source against real brokers.

pub(in crate::source) mod bench;
mod speed;

use super::*;
use crate::plan::TopicPattern;
use bench::*;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};

on_each_broker!(
    every_record_arrives_once_and_in_order,
    keys_headers_nulls_and_times_come_as_they_were_sent,
    a_new_topic_and_a_new_partition_are_read_from_their_first_record,
    many_partitions_that_appear_later_share_the_same_budget,
    topics_of_kafka_itself_are_never_read,
    a_topic_called_like_those_of_kafka_is_read_by_its_exact_name,
    a_second_run_goes_on_where_the_first_one_stopped,
    a_topic_made_anew_stops_the_next_start_and_the_running_source,
    a_deleted_topic_is_left_and_the_others_flow_on,
    another_cluster_and_an_offset_beyond_the_end_stop_the_start,
    a_paused_topic_waits_while_the_others_flow_and_loses_nothing,
    a_small_budget_holds_the_source_back,
);

fn all(numbers: std::ops::Range<i64>) -> Vec<i64> {
    numbers.collect()
}

fn fails(run: &Run) -> SourceError {
    run.source.errors().recv_timeout(Duration::from_secs(60)).expect("the source reports an error")
}

fn refuses(config: KafkaConfig, resume: Vec<Progress>) -> SourceError {
    KafkaSource::start(config, door(1 << 20).0, resume).expect_err("the source refuses to start")
}

fn every_record_arrives_once_and_in_order(bootstrap: &str) {
    let topic = unique("orders");
    create_topic(bootstrap, &topic, 4);
    send(bootstrap, &topic, 4, 0..20_000);
    let mut run = Run::start(config(bootstrap, &topic), vec![]);
    assert_eq!(run.source.noted_ends().values().sum::<i64>(), 20_000);
    run.take_noted();
    assert_eq!(run.numbers(&topic), all(0..20_000));
    for arrived in run.arrived.values() {
        assert!(arrived.iter().map(|record| record.offset).eq(0..5_000));
    }
    assert!(run.absent.is_empty());
    assert!(run.source.lag().iter().all(|lag| lag.offsets() == 0));
    run.take_until(|run| {
        let closed = run.ingress.close_epoch(0);
        closed.partitions.len() == 4 && closed.partitions.values().all(|state| state.at_end_since.is_some())
    });
    // Later records follow, soon.
    let sent = Instant::now();
    send(bootstrap, &topic, 4, 20_000..20_004);
    run.take_until(|run| run.count() == 20_004);
    assert!(sent.elapsed() < Duration::from_secs(5));
    assert!(run.source.healthy() && run.source.errors().is_empty());
    run.source.stop();
}

fn keys_headers_nulls_and_times_come_as_they_were_sent(bootstrap: &str) {
    let topic = unique("shapes");
    create_topic(bootstrap, &topic, 1);
    let producer = producer(bootstrap, &[("compression.type", "zstd")]);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "trace", value: Some("a\"b") })
        .insert(Header { key: "trace", value: None::<&[u8]> })
        .insert(Header { key: "raw", value: Some(&[0xff_u8, 0x00]) });
    let plain: BaseRecord<'_, str, str> = BaseRecord::to(&topic).partition(0);
    producer.send(plain.payload("{}").key("k").headers(headers).timestamp(1_600_000_000_123)).expect("sent");
    let tombstone: BaseRecord<'_, str, str> = BaseRecord::to(&topic).partition(0);
    producer.send(tombstone.key("gone")).expect("sent");
    let empty: BaseRecord<'_, str, str> = BaseRecord::to(&topic).partition(0);
    producer.send(empty.payload("")).expect("sent");
    let large = "x".repeat(900_000);
    (0..3).for_each(|_| send_one(&producer, &topic, 0, &large));
    flush(&producer);
    let mut run = Run::start(config(bootstrap, &topic), vec![]);
    run.take_noted();
    let arrived = &run.arrived[&TopicPartition::new(topic.as_str(), 0)];
    assert_eq!(arrived.len(), 6);
    assert_eq!(arrived[0].timestamp, Some(1_600_000_000_123_000));
    assert_eq!((arrived[0].key.as_deref(), arrived[0].payload.as_deref()), (Some(&b"k"[..]), Some(&b"{}"[..])));
    let headers = r#"[{"key":"trace","value":"a\"b"},{"key":"trace","value":null},{"base64":"/wA=","key":"raw"}]"#;
    let found: serde_json::Value = serde_json::from_str(arrived[0].headers.as_deref().expect("headers")).expect("json");
    assert_eq!(found, serde_json::from_str::<serde_json::Value>(headers).expect("json"));
    assert_eq!((arrived[1].key.as_deref(), arrived[1].payload.as_deref()), (Some(&b"gone"[..]), None));
    assert_eq!((arrived[2].key.as_deref(), arrived[2].payload.as_deref()), (None, Some(&b""[..])));
    assert_eq!(arrived[2].headers, None);
    assert!(arrived[3..].iter().all(|record| record.payload.as_deref() == Some(large.as_bytes())));
}

fn a_new_topic_and_a_new_partition_are_read_from_their_first_record(bootstrap: &str) {
    let (first, second) = (unique("first"), unique("second"));
    let part = first["first-".len()..].to_owned();
    let second = format!("second-{part}{}", &second[..0]);
    create_topic(bootstrap, &first, 1);
    let mut run = Run::start(config(bootstrap, &part), vec![]);
    assert!(run.source.has_reached_noted_ends());
    create_topic(bootstrap, &second, 2);
    send(bootstrap, &second, 2, 0..100);
    run.take_until(|run| run.count() == 100);
    grow_topic(bootstrap, &first, 3);
    until(|| (run.source.topics().iter().map(|topic| topic.partitions).sum::<usize>() == 5).then_some(()));
    send(bootstrap, &first, 3, 0..300);
    run.take_until(|run| run.count() == 400);
    assert_eq!((run.numbers(&first), run.numbers(&second)), (all(0..300), all(0..100)));
    let names: Vec<String> = run.source.topics().iter().map(|topic| topic.name.to_string()).collect();
    assert_eq!(names, [first, second]);
}

fn many_partitions_that_appear_later_share_the_same_budget(bootstrap: &str) {
    let part = unique("m");
    let (early, late) = (format!("early-{part}"), format!("late-{part}"));
    create_topic(bootstrap, &early, 1);
    send(bootstrap, &early, 1, 0..20_000);
    let mut config = config(bootstrap, &part);
    config.clients = 1;
    let mut run = Run::start(config, vec![]);
    run.take_until(|run| run.count() > 0);
    let client = run.source.readers[0].client_address();
    create_topic(bootstrap, &late, 40);
    send(bootstrap, &late, 40, 0..40_000);
    run.take_until(|run| run.count() == 60_000);
    // The reader has gone over to a client with smaller queues, and nothing was lost or read twice.
    assert_ne!(run.source.readers[0].client_address(), client);
    assert_eq!((run.numbers(&early), run.numbers(&late)), (all(0..20_000), all(0..40_000)));
    assert!(run.absent.is_empty());
}

fn topics_of_kafka_itself_are_never_read(bootstrap: &str) {
    let topic = unique("mine");
    let internal = format!("__{topic}");
    create_topic(bootstrap, &topic, 1);
    create_topic(bootstrap, &internal, 1);
    send(bootstrap, &internal, 1, 0..10);
    send(bootstrap, &topic, 1, 0..10);
    let mut config = config(bootstrap, &topic);
    let glob = TopicPattern::new(&format!("*{topic}")).expect("a pattern");
    config.pattern = Arc::new(move |topic| glob.matches(topic));
    assert!(!config.takes("__consumer_offsets") && !config.takes(&internal) && config.takes(&topic));
    let mut run = Run::start(config, vec![]);
    run.take_noted();
    assert_eq!(run.source.topics().len(), 1);
    assert_eq!(run.arrived.len(), 1);
}

fn a_topic_called_like_those_of_kafka_is_read_by_its_exact_name(bootstrap: &str) {
    let topic = format!("__{}", unique("mine"));
    create_topic(bootstrap, &topic, 1);
    send(bootstrap, &topic, 1, 0..10);
    let mut config = config(bootstrap, &topic);
    let exact = TopicPattern::new(&topic).expect("a pattern");
    config.pattern = Arc::new(move |topic| exact.matches(topic));
    let mut run = Run::start(config, vec![]);
    run.take_noted();
    assert_eq!(run.numbers(&topic), all(0..10));
}

fn a_second_run_goes_on_where_the_first_one_stopped(bootstrap: &str) {
    let topic = unique("resumed");
    create_topic(bootstrap, &topic, 3);
    send(bootstrap, &topic, 3, 0..30_000);
    let mut first = Run::start(config(bootstrap, &topic), vec![]);
    first.take_until(|run| run.count() > 10_000);
    first.source.stop();
    assert!(!first.ingress.push(crate::raw::RawBatch { absent: vec![], ..empty_batch(&first.source, &topic) }));
    let mut second = Run::start(config(bootstrap, &topic), first.progress.clone());
    second.take_noted();
    assert!(second.count() < 20_000);
    let mut numbers = first.numbers(&topic);
    numbers.extend(second.numbers(&topic));
    numbers.sort_unstable();
    assert_eq!(numbers, all(0..30_000));
    assert!(second.absent.is_empty());
    // At the very end there is nothing to read, and that is fine.
    let third = Run::start(config(bootstrap, &topic), second.progress.clone());
    assert!(third.source.has_reached_noted_ends());
}

fn empty_batch(source: &KafkaSource, topic: &str) -> crate::raw::RawBatch {
    let topic = crate::raw::Topic { cluster_id: source.cluster_id().into(), name: topic.into(), id: uuid::Uuid::nil() };
    let nothing = arrow::array::BinaryArray::new_null(0);
    crate::raw::RawBatch {
        topic: Arc::new(topic),
        partition: 0,
        offsets: Vec::<i64>::new().into(),
        timestamps: Vec::<i64>::new().into(),
        keys: nothing.clone(),
        headers: arrow::array::StringArray::new_null(0),
        payloads: nothing,
        absent: vec![],
    }
}

fn a_topic_made_anew_stops_the_next_start_and_the_running_source(bootstrap: &str) {
    let topic = unique("anew");
    create_topic(bootstrap, &topic, 1);
    send(bootstrap, &topic, 1, 0..10);
    let mut run = Run::start(config(bootstrap, &topic), vec![]);
    run.take_noted();
    assert!(run.source.confirm_topics(Duration::from_secs(5)).expect("the same topic"));
    delete_topic(bootstrap, &topic);
    create_topic(bootstrap, &topic, 1);
    // More records than before: the old offset is within range.
    send(bootstrap, &topic, 1, 100..200);
    assert!(matches!(run.source.confirm_topics(Duration::from_secs(5)), Err(SourceError::Recreated { .. })));
    let error = fails(&run);
    assert!(matches!(&error, SourceError::Recreated { topic: found, .. } if *found == topic), "{error}");
    let error = refuses(config(bootstrap, &topic), run.progress.clone());
    assert!(matches!(&error, SourceError::Recreated { .. }), "{error}");
    assert!(error.to_string().contains(&format!("thermocline reset-offsets --topic {topic}")), "{error}");
}

fn a_deleted_topic_is_left_and_the_others_flow_on(bootstrap: &str) {
    let part = unique("x");
    let (stays, goes) = (format!("stays-{part}"), format!("goes-{part}"));
    create_topic(bootstrap, &stays, 1);
    create_topic(bootstrap, &goes, 1);
    send(bootstrap, &goes, 1, 0..10);
    let mut run = Run::start(config(bootstrap, &part), vec![]);
    run.take_noted();
    delete_topic(bootstrap, &goes);
    until(|| run.source.topics().iter().any(|topic| topic.gone).then_some(()));
    send(bootstrap, &stays, 1, 0..10);
    run.take_until(|run| run.count() == 20);
    assert!(run.source.errors().is_empty());
    // A later start does without it, too.
    let later = Run::start(config(bootstrap, &part), run.progress.clone());
    assert_eq!(later.source.topics().len(), 1);
}

fn another_cluster_and_an_offset_beyond_the_end_stop_the_start(bootstrap: &str) {
    let topic = unique("beyond");
    create_topic(bootstrap, &topic, 1);
    send(bootstrap, &topic, 1, 0..10);
    let mut run = Run::start(config(bootstrap, &topic), vec![]);
    run.take_noted();
    let mut beyond = run.progress.clone();
    beyond[0].next_offset = 11;
    let error = refuses(config(bootstrap, &topic), beyond);
    assert!(matches!(error, SourceError::BeyondEnd { resume: 11, end: 10, .. }), "{error}");
    let mut other = run.progress.clone();
    other[0].cluster_id = "another".to_owned();
    let error = refuses(config(bootstrap, &topic), other.clone());
    assert!(matches!(error, SourceError::OtherCluster { .. }), "{error}");
    // Where none of the topics is there, the address leads elsewhere.
    let mut absent = other.clone();
    absent[0].topic = unique("absent");
    let error = refuses(config(bootstrap, &topic), absent.clone());
    assert!(matches!(error, SourceError::OtherCluster { .. }), "{error}");
    // One that is not there among others that are holds nobody up: nothing could be reset.
    absent.extend(run.progress.clone());
    assert!(KafkaSource::start(config(bootstrap, &topic), door(1 << 20).0, absent).is_ok());
    // Offsets of another source mean nothing here.
    other[0].source = "another".to_owned();
    let mut run = Run::start(config(bootstrap, &topic), other);
    run.take_noted();
    assert_eq!(run.numbers(&topic), all(0..10));
}

fn first_records_are_gone(bootstrap: &str, topic: &str, mut progress: Vec<Progress>, earliest: i64) {
    progress[0].next_offset = 2;
    let error = refuses(config(bootstrap, topic), progress.clone());
    let SourceError::Gone { resume, earliest: found, missing, .. } = &error else { panic!("{error}") };
    assert_eq!((*resume, *found, *missing), (2, earliest, earliest - 2));
    assert!(error.to_string().contains("thermocline reset-offsets"), "{error}");
    progress[0].next_offset = earliest;
    assert!(KafkaSource::start(config(bootstrap, topic), door(1 << 20).0, progress).is_ok());
}

#[test]
fn records_that_retention_took_stop_the_start_with_apache_kafka() {
    let Some(bootstrap) = apache() else { return };
    let topic = unique("retained");
    create_topic(&bootstrap, &topic, 1);
    send(&bootstrap, &topic, 1, 0..10);
    let mut run = Run::start(config(&bootstrap, &topic), vec![]);
    run.take_noted();
    delete_records(&bootstrap, &topic, 0, 5);
    first_records_are_gone(&bootstrap, &topic, run.progress.clone(), 5);
    let mut fresh = Run::start(config(&bootstrap, &topic), vec![]);
    fresh.take_noted();
    assert_eq!(fresh.numbers(&topic), all(5..10));
    assert!(fresh.absent.is_empty());
}

#[test]
fn records_that_retention_took_stop_the_start_with_the_embedded_broker() {
    let directory = tempfile::tempdir().expect("a directory");
    let broker = Embedded::start(directory.path(), |config| {
        config.segment_bytes = 4096;
        config.retention.bytes = Some(4096);
        config.retention_check = Duration::from_millis(100);
    });
    let topic = unique("retained");
    create_topic(&broker.bootstrap, &topic, 1);
    let producer = producer(&broker.bootstrap, &[]);
    for _ in 0..20 {
        send_one(&producer, &topic, 0, &"x".repeat(2_000));
        flush(&producer);
    }
    let info = || {
        let found = crate::source::topics::look_up(&broker.bootstrap, &BTreeMap::new(), &topic, PATIENCE);
        found.expect("the topic is there")
    };
    let mut earliest = 0;
    until(|| {
        let now = info().partitions[0].earliest;
        let settled = now > 2 && now == earliest;
        earliest = now;
        std::thread::park_timeout(Duration::from_millis(300));
        settled.then_some(())
    });
    let found = info();
    let progress = Progress {
        source: "events".to_owned(),
        cluster_id: found.topic.cluster_id.to_string(),
        topic: topic.clone(),
        topic_id: found.topic.id,
        partition: 0,
        first_offset: 0,
        next_offset: 0,
        watermark: None,
        idle: false,
    };
    first_records_are_gone(&broker.bootstrap, &topic, vec![progress], earliest);
}

fn a_paused_topic_waits_while_the_others_flow_and_loses_nothing(bootstrap: &str) {
    let part = unique("p");
    let (waits, flows) = (format!("waits-{part}"), format!("flows-{part}"));
    create_topic(bootstrap, &waits, 2);
    create_topic(bootstrap, &flows, 2);
    send(bootstrap, &waits, 2, 0..40_000);
    let mut config = config(bootstrap, &part);
    config.paused.insert(flows.clone());
    let mut run = Run::start(config, vec![]);
    run.take_until(|run| run.count() > 5_000);
    run.source.pause(&waits);
    run.source.resume(&flows);
    send(bootstrap, &flows, 2, 0..10_000);
    run.take_until(|run| run.numbers(&flows).len() == 10_000);
    let before = run.numbers(&waits).len();
    send(bootstrap, &waits, 2, 40_000..41_000);
    send(bootstrap, &flows, 2, 10_000..11_000);
    run.take_until(|run| run.numbers(&flows).len() == 11_000);
    assert_eq!(run.numbers(&waits).len(), before);
    assert!(run.ingress.close_epoch(0).partitions.iter().all(|(key, state)| state.paused == (*key.topic == *waits)));
    run.source.resume(&waits);
    run.take_until(|run| run.count() == 52_000);
    assert_eq!((run.numbers(&waits), run.numbers(&flows)), (all(0..41_000), all(0..11_000)));
    assert!(run.absent.is_empty());
}

fn a_small_budget_holds_the_source_back(bootstrap: &str) {
    let topic = unique("backlog");
    create_topic(bootstrap, &topic, 2);
    let producer = producer(bootstrap, &[]);
    let payload = "x".repeat(1_000);
    (0..60_000).for_each(|number| send_one(&producer, &topic, number % 2, &payload));
    flush(&producer);
    let mut config = config(bootstrap, &topic);
    config.queue_bytes = 2 << 20;
    let mut run = Run::start_with_budget(config, vec![], 10 << 20);
    // Nobody takes anything: what is pushed fits the budget, what is fetched ahead fits the queues.
    let mut before = 0;
    until(|| {
        std::thread::park_timeout(Duration::from_millis(300));
        let pushed: i64 = run.source.lag().iter().map(|lag| lag.next_offset).sum();
        let stands_still = pushed > 0 && pushed == before;
        before = pushed;
        stands_still.then_some(())
    });
    assert!(before < 10_000, "{before} records of 1 kB were pushed");
    assert!(run.budget.used() <= run.budget.limit());
    let queued: usize = run.source.readers.iter().map(Reader::queued).sum();
    assert!(queued < 10_000, "{queued} records of 1 kB are fetched ahead");
    run.take_noted();
    assert_eq!(run.count(), 60_000);
    // And a stop does not wait for a budget that never comes back.
    let run = Run::start_with_budget(bench::config(bootstrap, &topic), vec![], 1 << 20);
    until(|| (run.budget.used() > 0).then_some(()));
    run.source.stop();
}

#[test]
fn the_source_outlives_its_broker() {
    let directory = tempfile::tempdir().expect("a directory");
    let topic = unique("outlived");
    let broker = Embedded::start(directory.path(), |_| {});
    let (bootstrap, port) = (broker.bootstrap.clone(), broker.port());
    create_topic(&bootstrap, &topic, 2);
    send(&bootstrap, &topic, 2, 0..1_000);
    let mut run = Run::start(config(&bootstrap, &topic), vec![]);
    run.take_noted();
    drop(broker);
    until(|| (!run.source.healthy()).then_some(()));
    assert!(!run.source.confirm_topics(Duration::from_millis(200)).expect("no answer is no error"));
    let broker = Embedded::start(directory.path(), |config| config.port = port);
    send(&broker.bootstrap, &topic, 2, 1_000..2_000);
    run.take_until(|run| run.count() == 2_000);
    until(|| run.source.healthy().then_some(()));
    assert_eq!(run.numbers(&topic), all(0..2_000));
    assert!(run.source.errors().is_empty());
    drop(broker);
    run.source.stop();
}

#[test]
fn a_start_without_a_broker_says_where_it_looked() {
    let mut config = config("127.0.0.1:1", "x");
    config.patience = Duration::from_millis(300);
    let error = refuses(config.clone(), vec![]);
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    // The patience of 30 s is for brokers that are slow, not for addresses where nobody listens.
    let began = Instant::now();
    config.patience = Duration::from_secs(30);
    assert!(refuses(config.clone(), vec![]).to_string().contains("refused"));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    config.properties.insert("group.id".to_owned(), "x".to_owned());
    assert!(
        matches!(refuses(config.clone(), vec![]), SourceError::Property { property, .. } if property == "group.id")
    );
    config.properties.clear();
    config.properties.insert("no.such.property".to_owned(), "x".to_owned());
    let error = refuses(config, vec![]);
    assert!(matches!(&error, SourceError::Property { property, .. } if property == "no.such.property"), "{error}");
}

#[test]
fn aborted_transactions_leave_holes_that_are_listed() {
    let Some(bootstrap) = apache() else { return };
    let topic = unique("transactions");
    create_topic(&bootstrap, &topic, 1);
    let producer = producer(&bootstrap, &[("transactional.id", topic.as_str())]);
    producer.init_transactions(Duration::from_secs(60)).expect("a coordinator");
    // Offsets: 0-4 and a marker at 5; 6-8 aborted and a marker at 9; 10-11 and a marker at 12; 13 aborted, marker 14.
    for (payloads, commit) in [(0..5, true), (100..103, false), (5..7, true), (103..104, false)] {
        producer.begin_transaction().expect("a transaction");
        payloads.for_each(|number: i64| send_one(&producer, &topic, 0, &number.to_string()));
        flush(&producer);
        let done = match commit {
            true => producer.commit_transaction(Duration::from_secs(60)),
            false => producer.abort_transaction(Duration::from_secs(60)),
        };
        done.expect("the transaction ends");
    }
    let key = TopicPartition::new(topic.as_str(), 0);
    let mut run = Run::start(config(&bootstrap, &topic), vec![]);
    assert_eq!(run.source.noted_ends()[&key], 15);
    run.take_noted();
    assert_eq!(run.numbers(&topic), all(0..7));
    // The hole at the end comes with the end itself: retention may empty the log before a record follows.
    assert_eq!(run.absent, [(key.clone(), 5..10), (key.clone(), 12..15)]);
    assert_eq!(run.progress[0].next_offset, 15);
    assert!(run.source.lag().iter().all(|lag| lag.offsets() == 0));
    run.source.stop();
    delete_records(&bootstrap, &topic, 0, 15);
    assert!(KafkaSource::start(config(&bootstrap, &topic), door(1 << 20).0, run.progress.clone()).is_ok());
    producer.begin_transaction().expect("a transaction");
    send_one(&producer, &topic, 0, "7");
    producer.commit_transaction(Duration::from_secs(60)).expect("the transaction ends");
    let mut run = Run::start(config(&bootstrap, &topic), run.progress.clone());
    run.take_noted();
    assert_eq!((run.numbers(&topic), run.absent.clone()), (all(7..8), vec![(key, 16..17)]));
}
