//! ListOffsets and OffsetForLeaderEpoch.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};

use super::cluster::LEADER_EPOCH;
use super::produce::log_error;
use super::{Call, blocking};
use crate::error::LogError;
use crate::node::Node;
use crate::partition::Partition;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
/// Earliest offset on this node, where Kafka may keep older segments elsewhere.
const EARLIEST_LOCAL: i64 = -4;

/// Answers ListOffsets.
pub(super) async fn list_offsets(call: &Call, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let (node, version) = (Arc::clone(&call.node), call.version);
    let of_topics = move || -> Vec<ListOffsetsTopicResponse> {
        let of_topic = |topic: kafka_protocol::messages::list_offsets_request::ListOffsetsTopic| {
            let partitions =
                topic.partitions.iter().map(|asked| list_one(&node, &topic.name, asked, version)).collect();
            ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
        };
        request.topics.into_iter().map(of_topic).collect()
    };
    ListOffsetsResponse::default().with_topics(blocking(of_topics).await.unwrap_or_default())
}

fn list_one(node: &Node, topic: &str, asked: &ListOffsetsPartition, version: i16) -> ListOffsetsPartitionResponse {
    let result = ListOffsetsPartitionResponse::default()
        .with_partition_index(asked.partition_index)
        .with_timestamp(-1)
        .with_offset(-1);
    let found = match node.topics.partition(topic, asked.partition_index) {
        None => Err(ResponseError::UnknownTopicOrPartition),
        Some(_) if asked.current_leader_epoch > LEADER_EPOCH => Err(ResponseError::UnknownLeaderEpoch),
        Some(partition) => find(&partition, asked.timestamp).map_err(|error| log_error(&error)),
    };
    match found {
        Ok(Some((timestamp, offset))) => {
            let epoch = if version >= 4 { LEADER_EPOCH } else { -1 };
            result.with_timestamp(timestamp).with_offset(offset).with_leader_epoch(epoch)
        }
        Ok(None) => result,
        Err(error) => result.with_error_code(error.code()),
    }
}

/// Timestamp (-1 where it was not asked for) and offset.
fn find(partition: &Partition, asked: i64) -> Result<Option<(i64, i64)>, LogError> {
    match asked {
        LATEST => Ok(Some((-1, partition.high_watermark()))),
        EARLIEST | EARLIEST_LOCAL => Ok(Some((-1, partition.start_offset()))),
        MAX_TIMESTAMP => partition.newest_record(),
        timestamp if timestamp >= 0 => partition.record_at_time(timestamp),
        _ => Ok(None),
    }
}

/// Answers OffsetForLeaderEpoch: there was only ever one leader.
pub(super) fn offset_for_leader_epoch(
    call: &Call,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let of_topic = |topic: kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderTopic| {
        let partitions = topic.partitions.iter().map(|asked| epoch_end(&call.node, &topic.topic, asked)).collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions)
    };
    OffsetForLeaderEpochResponse::default().with_topics(request.topics.into_iter().map(of_topic).collect())
}

fn epoch_end(node: &Node, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let result = EpochEndOffset::default().with_partition(asked.partition);
    let Some(partition) = node.topics.partition(topic, asked.partition) else {
        return result.with_error_code(ResponseError::UnknownTopicOrPartition.code());
    };
    if asked.current_leader_epoch > LEADER_EPOCH {
        return result.with_error_code(ResponseError::UnknownLeaderEpoch.code());
    }
    if asked.leader_epoch != LEADER_EPOCH {
        return result; // Unknown epoch: both fields stay -1.
    }
    result.with_leader_epoch(LEADER_EPOCH).with_end_offset(partition.high_watermark())
}
