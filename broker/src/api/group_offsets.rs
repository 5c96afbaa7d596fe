//! OffsetCommit and OffsetFetch.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
};

use super::{Call, blocking, code, text};
use crate::group::Committed;

/// The longest text that may come with a committed offset, as with Kafka.
const METADATA_BYTES: usize = 4096;

/// Answers OffsetCommit; the offsets are in the file when it does.
pub(super) async fn offset_commit(call: &Call, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let node = Arc::clone(&call.node);
    let (group, member_id) = (request.group_id.to_string(), request.member_id.to_string());
    let instance_id = request.group_instance_id.as_deref();
    let generation = request.generation_id_or_member_epoch;
    let allowed = if group.is_empty() {
        Err(ResponseError::InvalidGroupId)
    } else {
        node.groups.check_commit(&group, &member_id, instance_id, generation)
    };
    let mut offsets = Vec::new();
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let metadata = asked.committed_metadata.map(|text| text.to_string()).unwrap_or_default();
            let error = if let Err(error) = allowed {
                Some(error)
            } else if node.topics.partition(&topic.name, asked.partition_index).is_none() {
                Some(ResponseError::UnknownTopicOrPartition)
            } else if metadata.len() > METADATA_BYTES {
                Some(ResponseError::OffsetMetadataTooLarge)
            } else {
                let leader_epoch = asked.committed_leader_epoch;
                let committed = Committed { offset: asked.committed_offset, leader_epoch, metadata };
                offsets.push((topic.name.to_string(), asked.partition_index, committed));
                None
            };
            let result = OffsetCommitResponsePartition::default().with_partition_index(asked.partition_index);
            partitions.push(result.with_error_code(code(error)));
        }
        results.push(OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions));
    }
    if !offsets.is_empty() {
        let stored = blocking(move || node.groups.commit(&group, offsets)).await;
        if !matches!(stored, Ok(Ok(()))) {
            for partition in results.iter_mut().flat_map(|topic| &mut topic.partitions) {
                partition.error_code = ResponseError::KafkaStorageError.code();
            }
        }
    }
    OffsetCommitResponse::default().with_topics(results)
}

/// What was committed in the partitions asked for, by topic; offset -1 where nothing was.
fn committed(
    call: &Call,
    group: &str,
    asked: Option<Vec<(TopicName, Vec<i32>)>>,
) -> Vec<(TopicName, Vec<(i32, Committed)>)> {
    let known = call.node.groups.committed(group);
    let nothing = || Committed { offset: -1, leader_epoch: -1, metadata: String::new() };
    match asked {
        Some(asked) => {
            let of_topic = |(topic, partitions): (TopicName, Vec<i32>)| {
                let one = |index| (index, known.get(&(topic.to_string(), index)).cloned().unwrap_or_else(nothing));
                let found = partitions.into_iter().map(one).collect();
                (topic, found)
            };
            asked.into_iter().map(of_topic).collect()
        }
        None => {
            let mut by_topic: BTreeMap<String, Vec<(i32, Committed)>> = BTreeMap::new();
            for ((topic, index), committed) in known {
                by_topic.entry(topic).or_default().push((index, committed));
            }
            by_topic.into_iter().map(|(topic, found)| (TopicName(text(topic)), found)).collect()
        }
    }
}

/// Answers OffsetFetch: for one group up to version 7, for several after that.
pub(super) fn offset_fetch(call: &Call, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if call.version < 8 {
        let asked = request
            .topics
            .map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
        let one = |(index, committed): (i32, Committed)| {
            let epoch = if call.version >= 5 { committed.leader_epoch } else { -1 };
            OffsetFetchResponsePartition::default()
                .with_partition_index(index)
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(epoch)
                .with_metadata(Some(text(committed.metadata)))
        };
        let of_topic = |(topic, found): (TopicName, Vec<(i32, Committed)>)| {
            let partitions = found.into_iter().map(one).collect();
            OffsetFetchResponseTopic::default().with_name(topic).with_partitions(partitions)
        };
        let topics = committed(call, &request.group_id, asked).into_iter().map(of_topic).collect();
        return OffsetFetchResponse::default().with_topics(topics);
    }
    let one = |(index, committed): (i32, Committed)| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(index)
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_metadata(Some(text(committed.metadata)))
    };
    let of_topic = |(topic, found): (TopicName, Vec<(i32, Committed)>)| {
        OffsetFetchResponseTopics::default().with_name(topic).with_partitions(found.into_iter().map(one).collect())
    };
    let of_group = |group: kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup| {
        let asked =
            group.topics.map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
        let topics = committed(call, &group.group_id, asked).into_iter().map(of_topic).collect();
        OffsetFetchResponseGroup::default().with_group_id(group.group_id).with_topics(topics)
    };
    OffsetFetchResponse::default().with_groups(request.groups.into_iter().map(of_group).collect())
}
