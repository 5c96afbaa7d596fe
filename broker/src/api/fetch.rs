//! Fetch: gives batches as they lie in the files, and waits for new ones where there are too few.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchRequest, FetchResponse, TopicName};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::produce::log_error;
use super::{Call, blocking};
use crate::error::LogError;
use crate::partition::Partition;

/// The longest wait that a client may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// The most that one answer carries, whatever a client asks for, except for a single larger batch.
const MOST_BYTES: usize = 64 << 20;

/// One partition of a request.
#[derive(Debug, Clone)]
struct Wanted {
    topic: TopicName,
    index: i32,
    partition: Option<Arc<Partition>>,
    offset: i64,
    max_bytes: usize,
}

/// What one partition gives.
#[derive(Debug)]
struct Found {
    error: Option<ResponseError>,
    records: Bytes,
    high_watermark: i64,
    start_offset: i64,
}

/// Answers Fetch. There are no fetch sessions: session id 0 tells clients to name all partitions each time.
pub(super) async fn fetch(call: &Call, request: FetchRequest) -> FetchResponse {
    let deadline = Instant::now() + millis(request.max_wait_ms).min(LONGEST_WAIT);
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(MOST_BYTES);
    let wanted: Arc<Vec<Wanted>> = Arc::new(wanted(call, request));
    let waiter = Arc::new(Notify::new());
    let found = loop {
        let visible_before = visible_bytes(&wanted);
        let found = read_all(&wanted, max_bytes).await;
        let bytes: usize = found.iter().map(|found| found.records.len()).sum();
        let failed = found.iter().any(|found| found.error.is_some());
        if bytes >= min_bytes || failed || wanted.is_empty() || Instant::now() >= deadline {
            break found;
        }
        let missing = (min_bytes - bytes) as u64;
        loop {
            for partition in wanted.iter().filter_map(|wanted| wanted.partition.as_ref()) {
                partition.wake_on_change(&waiter);
            }
            if visible_bytes(&wanted) - visible_before >= missing {
                break;
            }
            tokio::select! {
                () = waiter.notified() => {}
                () = tokio::time::sleep_until(deadline) => break,
                () = call.node.stop.cancelled() => return respond(&wanted, found),
            }
            if wanted.iter().filter_map(|wanted| wanted.partition.as_ref()).any(|partition| partition.is_deleted()) {
                break;
            }
        }
    };
    respond(&wanted, found)
}

fn millis(asked: i32) -> Duration {
    Duration::from_millis(u64::try_from(asked).unwrap_or(0))
}

fn wanted(call: &Call, request: FetchRequest) -> Vec<Wanted> {
    let topics = &call.node.topics;
    let of_topic = |topic: kafka_protocol::messages::fetch_request::FetchTopic| {
        let known = topics.get(&topic.topic);
        topic.partitions.into_iter().map(move |asked| Wanted {
            topic: topic.topic.clone(),
            index: asked.partition,
            partition: known.as_ref().and_then(|known| known.partition(asked.partition)),
            offset: asked.fetch_offset,
            max_bytes: usize::try_from(asked.partition_max_bytes).unwrap_or(0),
        })
    };
    request.topics.into_iter().flat_map(of_topic).collect()
}

/// Counts what became visible in all partitions.
fn visible_bytes(wanted: &[Wanted]) -> u64 {
    wanted.iter().filter_map(|wanted| wanted.partition.as_ref()).map(|partition| partition.visible_bytes()).sum()
}

async fn read_all(wanted: &Arc<Vec<Wanted>>, max_bytes: usize) -> Vec<Found> {
    let something =
        |wanted: &Wanted| wanted.partition.as_ref().is_some_and(|partition| wanted.offset < partition.high_watermark());
    if !wanted.iter().any(something) {
        return read_each(wanted, max_bytes); // Touches no file.
    }
    let work = Arc::clone(wanted);
    match blocking(move || read_each(&work, max_bytes)).await {
        Ok(found) => found,
        Err(error) => wanted.iter().map(|_| Found::failure(error)).collect(),
    }
}

fn read_each(wanted: &[Wanted], max_bytes: usize) -> Vec<Found> {
    let mut left = max_bytes;
    let mut nothing_yet = true;
    let mut read = |wanted: &Wanted| {
        let Some(partition) = &wanted.partition else {
            return Found::failure(ResponseError::UnknownTopicOrPartition);
        };
        let records = partition.read(wanted.offset, wanted.max_bytes.min(left), nothing_yet);
        let (start_offset, high_watermark) = (partition.start_offset(), partition.high_watermark());
        match records {
            Ok(records) => {
                nothing_yet &= records.is_empty();
                left = left.saturating_sub(records.len());
                Found { error: None, records, high_watermark, start_offset }
            }
            Err(error) => {
                if let LogError::Io(problem) = &error {
                    let (topic, partition) = (partition.topic.as_str(), partition.index);
                    tracing::error!(topic, partition, offset = wanted.offset, error = %problem, "read failed");
                }
                Found { high_watermark, start_offset, ..Found::failure(log_error(&error)) }
            }
        }
    };
    wanted.iter().map(&mut read).collect()
}

impl Found {
    fn failure(error: ResponseError) -> Found {
        Found { error: Some(error), records: Bytes::new(), high_watermark: -1, start_offset: -1 }
    }
}

fn respond(wanted: &[Wanted], found: Vec<Found>) -> FetchResponse {
    let mut topics: Vec<FetchableTopicResponse> = Vec::new();
    for (wanted, found) in wanted.iter().zip(found) {
        if topics.last().is_none_or(|last| last.topic != wanted.topic) {
            topics.push(FetchableTopicResponse::default().with_topic(wanted.topic.clone()));
        }
        let partition = PartitionData::default()
            .with_partition_index(wanted.index)
            .with_error_code(super::code(found.error))
            .with_high_watermark(found.high_watermark)
            .with_last_stable_offset(found.high_watermark)
            .with_log_start_offset(found.start_offset)
            .with_aborted_transactions(None)
            .with_records(Some(found.records));
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(partition);
        }
    }
    FetchResponse::default().with_responses(topics)
}
