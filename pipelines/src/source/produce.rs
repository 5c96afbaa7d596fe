//! Lines to records: the library half of `thermocline produce`.
//!
//! Each line of the input becomes one record, byte for byte; plain or gzip, told apart by the first two bytes. Lines of
//! nothing but blanks are left out and counted, as every reader of JSON lines does. The producer is idempotent: what is
//! acknowledged is in the log once and in order. Topics that are missing are created.

use crate::source::error::SourceError;
use crate::source::kafka::listening;
use crate::source::kafka::native::{Client, refused};
use crate::source::topics;
use fields::Envelope;
use input::Lines;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use shift::Shifts;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tracing::debug;

mod fields;
mod input;
mod name;
mod shift;
#[cfg(test)]
mod tests;

pub use input::Input;
pub use shift::ShiftTime;

/// What to produce, and where to.
#[derive(Clone)]
pub struct Produce {
    /// `host:port`, or several with commas between.
    pub bootstrap: String,
    /// More properties for librdkafka; they win over ours.
    pub properties: BTreeMap<String, String>,
    /// Which topic.
    pub target: Target,
    /// Partitions of a topic that has to be created; none leaves it to the broker.
    pub partitions: Option<i32>,
    /// Every record into this partition; none spreads them by key, or at random where there is none.
    pub partition: Option<i32>,
    /// The field of a JSON object that becomes the key; dots lead into inner objects. Records without it get no key.
    pub key_field: Option<String>,
    /// What the broker notes as the record's time.
    pub timestamps: Timestamps,
    /// Moves the records in time.
    pub shift_time: Option<ShiftTime>,
    /// How long to wait for the broker at the start. Default 30 s; 3 s at most where nobody listens at all.
    pub patience: Duration,
}

/// Which topic a line goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// All lines to one topic; the line is the payload.
    Topic(String),
    /// Each line is an object `{"topic", "ts", "payload"[, "key"]}` and goes to its own topic, named with `prefix` before.
    /// A payload that is a JSON string is sent as the text it holds, any other as it stands there.
    Envelope {
        /// Put before each topic's name; may be empty.
        prefix: String,
    },
}

/// What the broker notes as a record's time. Brokers delete by these times: records with times of years ago may be gone
/// at the next clean-up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Timestamps {
    /// The time of producing.
    #[default]
    Now,
    /// The time in a field of the payload, after moving it; dots lead into inner objects.
    Field(String),
    /// The envelope's `ts`, after moving it.
    Envelope,
}

impl Produce {
    /// One topic, no key, the time of producing.
    pub fn new(bootstrap: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            properties: BTreeMap::new(),
            target: Target::Topic(topic.into()),
            partitions: None,
            partition: None,
            key_field: None,
            timestamps: Timestamps::Now,
            shift_time: None,
            patience: Duration::from_secs(30),
        }
    }
}

/// What was produced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Produced {
    /// Records that the broker has acknowledged.
    pub records: u64,
    /// Their payloads' bytes.
    pub bytes: u64,
    /// Records by topic.
    pub topics: BTreeMap<String, u64>,
    /// Lines of nothing but blanks, which were left out.
    pub blank_lines: u64,
    /// Topics that were created.
    pub created: Vec<String>,
    /// Records without the field that was to be the key.
    pub without_key: u64,
    /// By how much each topic was moved in time, in µs.
    pub moved_by: BTreeMap<String, i64>,
}

/// Sends every line of `input` that is not blank, and waits until all are acknowledged. `progress` hears of records and
/// payload bytes so far, every thousand records and at the end.
///
/// # Errors
/// - [`SourceError::TopicName`] when no topic can have the name: no broker was asked.
/// - [`SourceError::Unreachable`] when no broker answers: nothing was sent.
/// - [`SourceError::Refused`] when the broker will not tell of a topic.
/// - [`SourceError::Line`] names a line that cannot be sent; those before it are acknowledged.
/// - [`SourceError::NotTaken`] names a line that the broker refused; records after it may have been taken.
/// - [`SourceError::Input`] when the input cannot be read or breaks off; the lines before that are acknowledged.
pub fn produce(options: &Produce, input: Input, progress: impl FnMut(u64, u64)) -> Result<Produced, SourceError> {
    let name = input.name();
    produce_unnamed(options, input, progress).map_err(|error| error.of(&name))
}

/// [`produce`], with errors that do not know yet what the input is called.
fn produce_unnamed(
    options: &Produce,
    input: Input,
    mut progress: impl FnMut(u64, u64),
) -> Result<Produced, SourceError> {
    if let Target::Topic(topic) = &options.target {
        name::check(topic)?;
    }
    let (input, shifts) = match &options.shift_time {
        None => (input, Shifts::none()),
        Some(shift) => {
            let (first, second) = input.twice()?;
            (second, shift::measure(shift, &options.target, Lines::new(first)?)?)
        }
    };
    let lines = Lines::new(input)?;
    let mut sender = Sender::new(options)?;
    let mut produced = Produced { moved_by: shifts.by_topic(), ..Produced::default() };
    if let Err(error) = send_lines(&mut sender, lines, &shifts, &mut produced, &mut progress) {
        return Err(sender.settle(error));
    }
    sender.finish()?;
    produced.created = sender.created;
    progress(produced.records, produced.bytes);
    Ok(produced)
}

fn send_lines(
    sender: &mut Sender<'_>,
    mut lines: Lines,
    shifts: &Shifts,
    produced: &mut Produced,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), SourceError> {
    let options = sender.options;
    while let Some((number, line)) = lines.next()? {
        let record = record(options, shifts, line).map_err(|reason| SourceError::line(number, reason))?;
        if options.key_field.is_some() && record.key.is_none() {
            produced.without_key += 1;
        }
        sender.send(number, &record)?;
        produced.records += 1;
        produced.bytes += record.payload.len() as u64;
        match produced.topics.get_mut(&*record.topic) {
            Some(count) => *count += 1,
            None => drop(produced.topics.insert(record.topic.into_owned(), 1)),
        }
        if produced.records.is_multiple_of(1_000) {
            progress(produced.records, produced.bytes);
        }
    }
    produced.blank_lines = lines.blank();
    Ok(())
}

struct Record<'a> {
    topic: Cow<'a, str>,
    key: Option<Cow<'a, str>>,
    payload: Cow<'a, [u8]>,
    timestamp_ms: Option<i64>,
}

fn record<'a>(options: &'a Produce, shifts: &Shifts, line: &'a [u8]) -> Result<Record<'a>, String> {
    let (topic, key, payload, envelope_time) = match &options.target {
        Target::Topic(topic) => (Cow::Borrowed(topic.as_str()), None, Cow::Borrowed(line), None),
        Target::Envelope { prefix } => {
            let envelope = Envelope::read(line)?;
            let topic = if prefix.is_empty() { envelope.topic } else { format!("{prefix}{}", envelope.topic).into() };
            (topic, envelope.key, envelope.payload, envelope.ts)
        }
    };
    let payload = shifts.apply(&topic, payload)?;
    let key = match &options.key_field {
        None => key,
        Some(field) => fields::text_at(&payload, field).map(|text| Cow::Owned(text.into_owned())),
    };
    let time = match &options.timestamps {
        Timestamps::Now => None,
        Timestamps::Field(field) => fields::text_at(&payload, field).map(|text| text.into_owned()),
        Timestamps::Envelope => envelope_time.map(|text| shifts.move_text(&topic, &text)).transpose()?,
    };
    let timestamp_ms = match time {
        None => None,
        Some(text) => Some(shift::micros_of(&text).ok_or_else(|| format!("{text:?} is no time"))? / 1_000),
    };
    Ok(Record { topic, key, payload, timestamp_ms })
}

/// Hears what became of each record.
struct Deliveries {
    acknowledged: AtomicU64,
    failure: Mutex<Option<(u64, String)>>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        debug!(level = level as i32, facility, "librdkafka: {line}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, "librdkafka: {reason}");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, line: usize) {
        match result {
            Ok(_) => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                self.failure.lock().get_or_insert_with(|| (line as u64, error.to_string()));
            }
        }
    }
}

/// What the broker itself has said, where `error` is its answer. librdkafka begins its words for the codes that brokers
/// send with `Broker: `, and for its own, such as a time-out, with `Local: `.
fn refusal(error: &SourceError) -> Option<&str> {
    let SourceError::NoAnswer { reason, .. } = error else { return None };
    reason.split_once("Broker: ").map(|(_, said)| said)
}

struct Sender<'a> {
    options: &'a Produce,
    config: ClientConfig,
    producer: BaseProducer<Deliveries>,
    client: Arc<Client>,
    known: HashSet<String>,
    created: Vec<String>,
    sent: u64,
}

impl<'a> Sender<'a> {
    fn new(options: &'a Produce) -> Result<Self, SourceError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &options.bootstrap)
            .set("client.id", "thermocline-produce")
            .set("reconnect.backoff.max.ms", "1000");
        options.properties.iter().for_each(|(property, value)| {
            config.set(property, value);
        });
        let mut producing = ClientConfig::new();
        producing
            .set("enable.idempotence", "true")
            .set("compression.type", "zstd")
            .set("linger.ms", "20")
            .set("queue.buffering.max.kbytes", "65536")
            // The broker decides what is too large.
            .set("message.max.bytes", "100000000")
            .set("message.timeout.ms", "120000");
        config.config_map().iter().for_each(|(property, value)| {
            producing.set(*property, *value);
        });
        let context = || Deliveries { acknowledged: AtomicU64::new(0), failure: Mutex::new(None) };
        let producer = producing.create_with_context(context()).or_else(|_| {
            // A librdkafka built without zstd.
            producing.set("compression.type", "lz4").create_with_context(context())
        });
        let producer = producer.map_err(refused)?;
        let client = Client::new(&config)?;
        let (known, created) = (HashSet::new(), vec![]);
        Ok(Self { options, config, producer, client, known, created, sent: 0 })
    }

    fn send(&mut self, line: u64, record: &Record<'_>) -> Result<(), SourceError> {
        if !self.known.contains(&*record.topic) {
            name::check(&record.topic).map_err(|error| SourceError::line(line, error.to_string()))?;
            self.ensure_topic(&record.topic)?;
            self.known.insert(record.topic.to_string());
        }
        let mut next: BaseRecord<'_, str, [u8], usize> =
            BaseRecord::with_opaque_to(&record.topic, line as usize).payload(&record.payload);
        next.partition = self.options.partition;
        next.key = record.key.as_deref();
        next.timestamp = record.timestamp_ms;
        loop {
            match self.producer.send(next) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    next = back;
                    self.producer.poll(Duration::from_millis(50));
                    self.check()?;
                }
                Err((error, _)) => return Err(SourceError::line(line, error.to_string())),
            }
        }
        self.sent += 1;
        if self.sent.is_multiple_of(1_000) {
            self.producer.poll(Duration::ZERO);
            self.check()?;
        }
        Ok(())
    }

    /// Creates the topic if it is missing; the first one also tells whether a broker is there at all.
    fn ensure_topic(&mut self, topic: &str) -> Result<(), SourceError> {
        if let Some(bootstrap) = self.config.get("bootstrap.servers").filter(|_| self.known.is_empty()) {
            listening::wait(bootstrap, self.options.patience)?;
        }
        let asked = Instant::now();
        let found = topics::describe(&self.client, &[topic], self.options.patience).map_err(|error| {
            let bootstrap = self.options.bootstrap.clone();
            if let Some(said) = refusal(&error) {
                let (what, reason) = (format!("to describe topic {topic}"), said.to_owned());
                return SourceError::Refused { bootstrap, what, reason };
            }
            self.client.poll();
            let reason = self.client.last_complaint().unwrap_or_else(|| error.to_string());
            SourceError::Unreachable { bootstrap, waited: asked.elapsed(), reason }
        })?;
        if !found.is_empty() {
            return Ok(());
        }
        let failed = |reason: String| SourceError::Client { what: format!("creating topic {topic}"), reason };
        let admin: AdminClient<DefaultClientContext> = self.config.create().map_err(refused)?;
        let new = NewTopic::new(topic, self.options.partitions.unwrap_or(-1), TopicReplication::Fixed(-1));
        let options = AdminOptions::new().request_timeout(Some(self.options.patience));
        let results = futures::executor::block_on(admin.create_topics([&new], &options));
        match results.map_err(|error| failed(error.to_string()))?.pop() {
            Some(Ok(_)) => self.created.push(topic.to_owned()),
            // Somebody was faster.
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {}
            Some(Err((_, error))) => return Err(failed(error.to_string())),
            None => return Err(failed("the broker said nothing about it".to_owned())),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), SourceError> {
        match self.producer.context().failure.lock().clone() {
            None => Ok(()),
            Some((line, reason)) => Err(SourceError::not_taken(line, reason)),
        }
    }

    /// Waits for what was sent before `error`, which a producer that is dropped would throw away, and says how much that
    /// was. Where an earlier record was not taken, that is the error.
    fn settle(&mut self, error: SourceError) -> SourceError {
        if matches!(error, SourceError::NotTaken { .. }) {
            return error;
        }
        match self.finish() {
            Ok(()) => error.after(self.sent),
            Err(earlier) => earlier,
        }
    }

    /// Waits for every acknowledgement; each record has its own time limit, so this ends.
    fn finish(&mut self) -> Result<(), SourceError> {
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(Duration::from_millis(100));
            self.check()?;
        }
        self.check()?;
        let acknowledged = self.producer.context().acknowledged.load(Ordering::Relaxed);
        if acknowledged != self.sent {
            let reason = format!("{} of {} records were acknowledged", acknowledged, self.sent);
            return Err(SourceError::Client { what: "producing".to_owned(), reason });
        }
        Ok(())
    }
}
