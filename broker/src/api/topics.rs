//! CreateTopics, CreatePartitions, DeleteTopics.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, TopicName,
};
use tracing::warn;
use uuid::Uuid;

use super::configs::topic_configs;
use super::{Call, blocking, text};
use crate::node::Node;
use crate::topics::{Topic, TopicError};

fn error_code(error: &TopicError) -> ResponseError {
    match error {
        TopicError::Exists(_) => ResponseError::TopicAlreadyExists,
        TopicError::Unknown(_) => ResponseError::UnknownTopicOrPartition,
        TopicError::Name(_) => ResponseError::InvalidTopicException,
        TopicError::Partitions(_) => ResponseError::InvalidPartitions,
        TopicError::Setting(_) => ResponseError::InvalidConfig,
        TopicError::Io(_) => ResponseError::KafkaStorageError,
    }
}

/// Answers CreateTopics.
pub(super) async fn create_topics(call: &Call, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let (node, name, only_check) = (Arc::clone(&call.node), topic.name.clone(), request.validate_only);
        let refused = |error: ResponseError, why: String| {
            CreatableTopicResult::default()
                .with_name(name.clone())
                .with_error_code(error.code())
                .with_error_message(Some(text(why)))
        };
        results.push(match blocking(move || create_one(&node, topic, only_check)).await {
            Ok(Ok(created)) => created,
            Ok(Err((error, why))) => refused(error, why),
            Err(error) => refused(error, "the broker is shutting down".to_string()),
        });
    }
    CreateTopicsResponse::default().with_topics(results)
}

fn create_one(
    node: &Node,
    asked: CreatableTopic,
    only_check: bool,
) -> Result<CreatableTopicResult, (ResponseError, String)> {
    let partitions = partitions_asked(node, &asked)?;
    let settings: BTreeMap<String, String> = asked
        .configs
        .iter()
        .filter_map(|config| Some((config.name.to_string(), config.value.as_ref()?.to_string())))
        .collect();
    let told = |error: TopicError| (error_code(&error), error.to_string());
    let result = CreatableTopicResult::default()
        .with_name(asked.name.clone())
        .with_num_partitions(partitions)
        .with_replication_factor(1);
    if only_check {
        node.topics.check_new(&asked.name, partitions, settings).map_err(told)?;
        return Ok(result.with_configs(Some(Vec::new())));
    }
    let topic = node.topics.create(&asked.name, partitions, settings).map_err(told)?;
    Ok(result.with_topic_id(topic.id).with_configs(Some(created_configs(node, &topic))))
}

/// How many partitions are meant: a number, -1 for the default, or as many as are assigned to nodes.
fn partitions_asked(node: &Node, asked: &CreatableTopic) -> Result<i32, (ResponseError, String)> {
    if !asked.assignments.is_empty() {
        let ours = |ids: &[kafka_protocol::messages::BrokerId]| ids.iter().all(|id| id.0 == crate::identity::NODE_ID);
        if !asked.assignments.iter().all(|assigned| assigned.broker_ids.len() == 1 && ours(&assigned.broker_ids)) {
            let why = "there is one node, 1; leave the replica assignment out".to_string();
            return Err((ResponseError::InvalidReplicaAssignment, why));
        }
        return Ok(asked.assignments.len() as i32);
    }
    if !matches!(asked.replication_factor, -1 | 1) {
        let why = format!("there is one node, so the replication factor is 1, not {}", asked.replication_factor);
        return Err((ResponseError::InvalidReplicationFactor, why));
    }
    Ok(if asked.num_partitions == -1 { node.config.default_partitions } else { asked.num_partitions })
}

fn created_configs(node: &Node, topic: &Topic) -> Vec<CreatableTopicConfigs> {
    let told = |config: super::configs::Setting| {
        CreatableTopicConfigs::default()
            .with_name(text(config.name))
            .with_value(Some(text(config.value)))
            .with_config_source(config.source)
    };
    topic_configs(node, topic).into_iter().map(told).collect()
}

/// Answers CreatePartitions.
pub(super) async fn create_partitions(call: &Call, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    for CreatePartitionsTopic { name, count, .. } in request.topics {
        let (node, topic, only_check) = (Arc::clone(&call.node), name.to_string(), request.validate_only);
        let result = CreatePartitionsTopicResult::default().with_name(name);
        results.push(match blocking(move || node.topics.grow(&topic, count, only_check)).await {
            Ok(Ok(())) => result,
            Ok(Err(error)) => {
                result.with_error_code(error_code(&error).code()).with_error_message(Some(text(error.to_string())))
            }
            Err(error) => result.with_error_code(error.code()),
        });
    }
    CreatePartitionsResponse::default().with_results(results)
}

/// Answers DeleteTopics; committed offsets of the topic go with it.
pub(super) async fn delete_topics(call: &Call, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let by_name = request.topic_names.into_iter().map(|name| (Some(name), Uuid::nil()));
    let by_either = request.topics.into_iter().map(|topic| (topic.name, topic.topic_id));
    let mut responses = Vec::new();
    for (name, id) in by_name.chain(by_either) {
        let known = name.clone().or_else(|| {
            let topic = call.node.topics.get_by_id(id)?;
            Some(TopicName(text(topic.name.as_str())))
        });
        let result = DeletableTopicResult::default().with_topic_id(id);
        let Some(known) = known else {
            responses.push(result.with_error_code(ResponseError::UnknownTopicId.code()).with_name(None));
            continue;
        };
        let (node, topic) = (Arc::clone(&call.node), known.to_string());
        let result = result.with_name(Some(known));
        responses.push(match blocking(move || delete_one(&node, &topic)).await {
            Ok(Ok(id)) => result.with_topic_id(id),
            Ok(Err(error)) => {
                result.with_error_code(error_code(&error).code()).with_error_message(Some(text(error.to_string())))
            }
            Err(error) => result.with_error_code(error.code()),
        });
    }
    DeleteTopicsResponse::default().with_responses(responses)
}

fn delete_one(node: &Node, name: &str) -> Result<Uuid, TopicError> {
    let id = node.topics.get(name).map(|topic| topic.id).unwrap_or_default();
    node.topics.delete(name)?;
    if let Err(error) = node.groups.forget_topic(name) {
        warn!(topic = name, %error, "committed offsets of a deleted topic could not be forgotten");
    }
    Ok(id)
}
