//! The records of the stream benchmark: web events of about 250 bytes, the same on every run.

use anyhow::{Context, Result};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::Duration;

/// The declared columns, as SQL. The ceiling reads the same.
pub(super) const COLUMNS: &str = "user_id BIGINT, session_id TEXT, url TEXT, ts BIGINT, event TEXT, amount DOUBLE, \
                                  country TEXT, device TEXT, ok BOOLEAN, ref TEXT";

/// How long a producer waits for room in its queue.
const ROOM: Duration = Duration::from_millis(20);
const MILLIS_PER_DAY: i64 = 86_400_000;
const EVENTS: [&str; 6] = ["page_view", "click", "add_to_cart", "purchase", "search", "scroll"];
const COUNTRIES: [&str; 8] = ["DE", "US", "FR", "GB", "IN", "BR", "JP", "SE"];
const DEVICES: [&str; 3] = ["mobile", "desktop", "tablet"];

/// How old the records are: what decides their tier.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ages {
    /// All a month old: warm.
    Warm,
    /// A third each an hour, a month and a year old.
    AllTiers,
}

/// Makes a topic and fills it. Returns the bytes of all payloads.
pub(super) async fn fill(
    bootstrap: &str,
    topic: &str,
    partitions: i32,
    records: u64,
    ages: Ages,
    now: i64,
) -> Result<u64> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("compression.type", "zstd")
        .set("linger.ms", "20")
        .set("batch.size", "262144")
        .set("queue.buffering.max.messages", "200000");
    let admin: AdminClient<_> = config.create().context("no client for the broker")?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for created in admin.create_topics([&new], &AdminOptions::new()).await? {
        created.map_err(|(topic, code)| anyhow::anyhow!("topic {topic} cannot be created: {code}"))?;
    }
    let producer: BaseProducer = config.create()?;
    let (mut random, mut bytes, mut payload) = (SmallRng::seed_from_u64(42), 0, String::new());
    for record in 0..records {
        write(&mut payload, &mut random, record, ages, now);
        bytes += payload.len() as u64;
        let partition = (record % partitions as u64) as i32;
        let mut message = BaseRecord::<(), str>::to(topic).payload(&payload).partition(partition);
        while let Err((error, back)) = producer.send(message) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error).context("the broker takes no more records");
            }
            producer.poll(ROOM);
            message = back;
        }
        if record % 10_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(60))?;
    Ok(bytes)
}

fn write(out: &mut String, random: &mut SmallRng, record: u64, ages: Ages, now: i64) {
    use std::fmt::Write;
    let days = match ages {
        Ages::Warm => 30,
        Ages::AllTiers => [0, 30, 365][(record % 3) as usize],
    };
    let at = now / 1_000 - days * MILLIS_PER_DAY - 3_600_000 + (record % 1_000_000) as i64;
    let user: u32 = random.random_range(0..100_000);
    let (event, country) = (EVENTS[random.random_range(0..6)], COUNTRIES[random.random_range(0..8)]);
    out.clear();
    write!(
        out,
        r#"{{"user_id":{user},"session_id":"{:016x}","url":"https://shop.example/products/{}?page={}","ts":{at},"event":"{event}","amount":{:.2},"country":"{country}","device":"{}","ok":{},"ref":"https://search.example/?q=item{}"}}"#,
        random.random::<u64>(),
        random.random_range(0..5_000),
        random.random_range(0..9),
        random.random_range(0.0..500.0),
        DEVICES[random.random_range(0..3)],
        random.random_bool(0.97),
        random.random_range(0..100_000),
    )
    .expect("a String takes everything");
}
