//! Produce and InitProducerId.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse, ProducerId,
};
use tokio::task::JoinSet;
use tracing::warn;

use super::{Call, blocking, text};
use crate::clock::now_ms;
use crate::config::Fsync;
use crate::error::LogError;
use crate::log::{BatchError, BatchHeader, SequenceError};
use crate::node::Node;
use crate::partition::Partition;

/// How a produce request ends.
#[derive(Debug)]
pub(super) enum Produced {
    Answer(ProduceResponse),
    /// Stored, and the client wants no answer (`acks=0`).
    Unasked,
    /// Not stored, and the client wants no answer: only a closed connection tells it.
    UnaskedFailure,
}

/// An error as a producer is told it.
type Refusal = (ResponseError, String);

/// Stores the batches of a request.
pub(super) async fn produce(call: &Call, request: ProduceRequest) -> Produced {
    let refusal = refuse_whole(&request);
    let acks = request.acks;
    let node = Arc::clone(&call.node);
    let stored = blocking(move || store(&node, request, refusal)).await;
    let Ok(mut stored) = stored else { return Produced::UnaskedFailure };
    if call.node.config.fsync == Fsync::EveryBatch {
        commit(&mut stored).await;
    }
    if acks == 0 {
        let failed = stored.iter().flat_map(|(_, partitions)| partitions).any(|(_, result)| result.error_code != 0);
        return if failed { Produced::UnaskedFailure } else { Produced::Unasked };
    }
    let responses = stored.into_iter().map(|(topic, partitions)| {
        topic.with_partition_responses(partitions.into_iter().map(|(_, result)| result).collect())
    });
    Produced::Answer(ProduceResponse::default().with_responses(responses.collect()))
}

/// What is wrong with the request as a whole.
fn refuse_whole(request: &ProduceRequest) -> Option<Refusal> {
    if request.transactional_id.is_some() {
        let why = "this broker does not support transactions; produce without a transactional id";
        return Some((ResponseError::TransactionalIdAuthorizationFailed, why.to_string()));
    }
    if !(-1..=1).contains(&request.acks) {
        let why = format!("acks is -1, 0 or 1, found {}", request.acks);
        return Some((ResponseError::InvalidRequiredAcks, why));
    }
    None
}

type Stored = Vec<(TopicProduceResponse, Vec<(Option<Arc<Partition>>, PartitionProduceResponse)>)>;

/// Appends every batch; blocks on files.
fn store(node: &Node, request: ProduceRequest, refusal: Option<Refusal>) -> Stored {
    let now = now_ms();
    let store_one = |topic: &str, data: PartitionProduceData| {
        let result = PartitionProduceResponse::default().with_index(data.index).with_base_offset(-1);
        let partition = node.topics.partition(topic, data.index);
        let appended = match (&refusal, &partition) {
            (Some(refusal), _) => Err(refusal.clone()),
            (None, None) => {
                Err((ResponseError::UnknownTopicOrPartition, format!("{topic}/{} does not exist", data.index)))
            }
            (None, Some(partition)) => append(node, partition, &data, now),
        };
        match appended {
            Ok((base_offset, start_offset)) => {
                (partition, result.with_base_offset(base_offset).with_log_start_offset(start_offset))
            }
            Err((error, why)) => {
                warn!(topic, partition = data.index, error = why, "batch refused");
                (None, result.with_error_code(error.code()).with_error_message(Some(text(why))))
            }
        }
    };
    let store_topic = |topic: kafka_protocol::messages::produce_request::TopicProduceData| {
        let partitions = topic.partition_data.into_iter().map(|data| store_one(&topic.name, data)).collect();
        (TopicProduceResponse::default().with_name(topic.name.clone()), partitions)
    };
    request.topic_data.into_iter().map(store_topic).collect()
}

fn append(node: &Node, partition: &Partition, data: &PartitionProduceData, now_ms: i64) -> Result<(i64, i64), Refusal> {
    let batch = data.records.as_deref().unwrap_or_default();
    let header = BatchHeader::accept(batch).map_err(|error| (batch_error(&error), error.to_string()))?;
    if header.bytes > node.config.max_batch_bytes {
        let why = format!("the batch has {} bytes, at most {} are taken", header.bytes, node.config.max_batch_bytes);
        return Err((ResponseError::MessageTooLarge, why));
    }
    let appended = partition.append(batch, &header, now_ms).map_err(|error| (log_error(&error), error.to_string()))?;
    Ok((appended.base_offset, partition.start_offset()))
}

/// Waits until what was stored may be acknowledged; partitions wait for the disk side by side.
async fn commit(stored: &mut Stored) {
    let mut syncs = JoinSet::new();
    for (at, (_, partitions)) in stored.iter().enumerate() {
        for (index, (partition, _)) in partitions.iter().enumerate() {
            if let Some(partition) = partition.clone() {
                syncs.spawn_blocking(move || (at, index, partition.commit()));
            }
        }
    }
    while let Some(synced) = syncs.join_next().await {
        if let Ok((at, index, Err(error))) = synced {
            let result = &mut stored[at].1[index].1;
            result.error_code = log_error(&error).code();
            result.base_offset = -1;
            result.error_message = Some(text(error.to_string()));
        }
    }
}

fn batch_error(error: &BatchError) -> ResponseError {
    match error {
        BatchError::Magic(_) => ResponseError::UnsupportedForMessageFormat,
        BatchError::TooShort(_) | BatchError::Length { .. } | BatchError::Checksum { .. } => {
            ResponseError::CorruptMessage
        }
        BatchError::Invalid(_) => ResponseError::InvalidRecord,
    }
}

/// The code for an error of a log.
pub(super) fn log_error(error: &LogError) -> ResponseError {
    match error {
        LogError::OutOfRange { .. } => ResponseError::OffsetOutOfRange,
        LogError::Sequence(SequenceError::StaleEpoch { .. }) => ResponseError::InvalidProducerEpoch,
        LogError::Sequence(SequenceError::OutOfOrder { .. }) => ResponseError::OutOfOrderSequenceNumber,
        LogError::Deleted => ResponseError::UnknownTopicOrPartition,
        LogError::Broken | LogError::Io(_) => ResponseError::KafkaStorageError,
    }
}

/// Gives an idempotent producer its id; there are no transactional ones.
pub(super) async fn init_producer_id(call: &Call, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let refused = |error: ResponseError| {
        InitProducerIdResponse::default()
            .with_error_code(error.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    };
    if request.transactional_id.is_some() {
        return refused(ResponseError::TransactionalIdAuthorizationFailed);
    }
    let node = Arc::clone(&call.node);
    match blocking(move || node.identity.new_producer_id()).await {
        Ok(Ok(id)) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0),
        Ok(Err(_)) => refused(ResponseError::KafkaStorageError),
        Err(error) => refused(error),
    }
}
