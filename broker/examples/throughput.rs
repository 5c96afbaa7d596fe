//! Measures the broker with librdkafka on the same machine:
//! `cargo run --release -p thermocline-broker --example throughput -- [RECORDS] [BYTES] [--fsync] [--codec=zstd]`.
//!
//! One producer and then one consumer thread, 8 partitions; the figures include the client's own work, which is the
//! larger part. CPU seconds are those of the whole process.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use thermocline_broker::{Broker, BrokerConfig, Fsync};

const PARTITIONS: i32 = 8;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (flags, numbers): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let records: usize = numbers.first().map_or(Ok(2_000_000), |text| text.parse())?;
    let bytes: usize = numbers.get(1).map_or(Ok(250), |text| text.parse())?;
    let fsync = if flags.iter().any(|flag| flag == "--fsync") { Fsync::EveryBatch } else { Fsync::Never };
    let codec = flags.iter().find_map(|flag| flag.strip_prefix("--codec=")).unwrap_or("none").to_string();
    let data_dir = std::env::temp_dir().join(format!("thermocline-throughput-{}", std::process::id()));
    let config =
        BrokerConfig { data_dir: data_dir.clone(), fsync, default_partitions: PARTITIONS, ..BrokerConfig::default() };
    let broker = Broker::start(config).await?;
    let bootstrap = broker.bootstrap();
    let measured = tokio::task::spawn_blocking(move || {
        measure("in", records, bytes, || produce(&bootstrap, &codec, records, bytes));
        measure("out", records, bytes, || consume(&bootstrap, records));
    });
    measured.await?;
    broker.shutdown().await;
    std::fs::remove_dir_all(data_dir)?;
    Ok(())
}

fn measure(name: &str, records: usize, bytes: usize, work: impl FnOnce()) {
    let (started, cpu) = (Instant::now(), cpu_seconds());
    work();
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let (rate, mega) = (records as f64 / seconds, (records * bytes) as f64 / seconds / 1e6);
    println!(
        "{name}: {records} records of {bytes} bytes in {seconds:.2} s, {rate:.0}/s, {mega:.0} MB/s, {cpu:.2} CPU-s"
    );
}

/// User and system time of this process, from Linux' own account.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn produce(bootstrap: &str, codec: &str, records: usize, bytes: usize) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("linger.ms", "20")
        .set("batch.num.messages", "50000")
        .set("queue.buffering.max.messages", "400000")
        .set("compression.type", codec)
        .create()
        .expect("producer");
    let payload: Vec<u8> = (0..bytes).map(|at| b'a' + (at * 7 % 26) as u8).collect();
    for number in 0..records {
        let mut record = BaseRecord::<(), [u8]>::to("t").partition(number as i32 % PARTITIONS).payload(&payload);
        while let Err((_, again)) = producer.send(record) {
            record = again;
            producer.poll(Duration::from_millis(1));
        }
    }
    producer.flush(Duration::from_secs(60)).expect("acknowledged");
}

fn consume(bootstrap: &str, records: usize) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "unused")
        .set("fetch.queue.backoff.ms", "5")
        .create()
        .expect("consumer");
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset("t", partition, Offset::Beginning).expect("added");
    }
    consumer.assign(&assignment).expect("assigned");
    let mut found = 0;
    while found < records {
        if let Some(message) = consumer.poll(Duration::from_secs(10)) {
            assert!(message.expect("message").payload().is_some());
            found += 1;
        }
    }
}
