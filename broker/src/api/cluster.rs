//! Metadata, DescribeCluster, FindCoordinator: which topics there are, and that everything is on this one node.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeClusterResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    MetadataRequest, MetadataResponse, TopicName,
};
use uuid::Uuid;

use super::{Call, blocking, text};
use crate::identity::NODE_ID;
use crate::topics::{Topic, TopicError, check_name};

/// The epoch of every partition's leader: it never changed.
pub(super) const LEADER_EPOCH: i32 = 0;

/// Answers Metadata, and creates topics that are asked for where client and configuration allow it.
pub(super) async fn metadata(call: &Call, request: MetadataRequest) -> MetadataResponse {
    let node = &call.node;
    let may_create = node.config.auto_create_topics && (call.version < 4 || request.allow_auto_topic_creation);
    let topics = match request.topics {
        // Version 0 says "all" by an empty list, later ones by none.
        Some(asked) if !(asked.is_empty() && call.version == 0) => {
            let mut found = Vec::with_capacity(asked.len());
            for topic in asked {
                found.push(match topic.name {
                    Some(name) => described(&name.0.clone(), topic_or_create(call, &name, may_create).await),
                    None => by_id(call, topic.topic_id),
                });
            }
            found
        }
        _ => node.topics.all().iter().map(|topic| present(topic)).collect(),
    };
    let (host, port) = node.host_and_port(call.local);
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(NODE_ID))
        .with_host(text(host))
        .with_port(i32::from(port));
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(node.identity.cluster_id())))
        .with_controller_id(BrokerId(NODE_ID))
        .with_topics(topics)
}

async fn topic_or_create(call: &Call, name: &str, may_create: bool) -> Result<Arc<Topic>, ResponseError> {
    if let Some(topic) = call.node.topics.get(name) {
        return Ok(topic);
    }
    if check_name(name).is_err() {
        return Err(ResponseError::InvalidTopicException);
    }
    if !may_create {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    let (node, wanted) = (Arc::clone(&call.node), name.to_string());
    let created =
        blocking(move || node.topics.create(&wanted, node.config.default_partitions, BTreeMap::new())).await?;
    match created {
        Ok(topic) => Ok(topic),
        // Somebody else was faster.
        Err(TopicError::Exists(_)) => call.node.topics.get(name).ok_or(ResponseError::UnknownTopicOrPartition),
        Err(TopicError::Io(_)) => Err(ResponseError::KafkaStorageError),
        Err(_) => Err(ResponseError::InvalidTopicException),
    }
}

fn by_id(call: &Call, id: Uuid) -> MetadataResponseTopic {
    match call.node.topics.get_by_id(id) {
        Some(topic) => present(&topic),
        None => {
            MetadataResponseTopic::default().with_error_code(ResponseError::UnknownTopicId.code()).with_topic_id(id)
        }
    }
}

fn described(name: &str, topic: Result<Arc<Topic>, ResponseError>) -> MetadataResponseTopic {
    match topic {
        Ok(topic) => present(&topic),
        Err(error) => {
            MetadataResponseTopic::default().with_error_code(error.code()).with_name(Some(TopicName(text(name))))
        }
    }
}

fn present(topic: &Topic) -> MetadataResponseTopic {
    let everywhere = || vec![BrokerId(NODE_ID)];
    let partition = |index: usize| {
        MetadataResponsePartition::default()
            .with_partition_index(index as i32)
            .with_leader_id(BrokerId(NODE_ID))
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(everywhere())
            .with_isr_nodes(everywhere())
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(topic.name.as_str()))))
        .with_topic_id(topic.id)
        .with_partitions((0..topic.partitions().len()).map(partition).collect())
}

/// Answers DescribeCluster.
pub(super) fn describe_cluster(call: &Call, request: DescribeClusterRequest) -> DescribeClusterResponse {
    if request.endpoint_type != 1 {
        return DescribeClusterResponse::default()
            .with_error_code(ResponseError::UnsupportedEndpointType.code())
            .with_error_message(Some(text("this broker has no controllers to list; ask for brokers")));
    }
    let (host, port) = call.node.host_and_port(call.local);
    let broker = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(NODE_ID))
        .with_host(text(host))
        .with_port(i32::from(port));
    DescribeClusterResponse::default()
        .with_cluster_id(text(call.node.identity.cluster_id()))
        .with_controller_id(BrokerId(NODE_ID))
        .with_brokers(vec![broker])
}

/// Answers FindCoordinator: this node coordinates every group, and no transaction.
pub(super) fn find_coordinator(call: &Call, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let (host, port) = call.node.host_and_port(call.local);
    // This code is the one that makes clients give up at once, and show the text.
    let refusal = (request.key_type != 0).then(|| {
        let why = "this broker coordinates consumer groups only; it does not support transactions";
        (ResponseError::TransactionalIdAuthorizationFailed.code(), text(why))
    });
    if call.version >= 4 {
        let coordinator = |key| match &refusal {
            Some((code, why)) => Coordinator::default()
                .with_key(key)
                .with_node_id(BrokerId(-1))
                .with_port(-1)
                .with_error_code(*code)
                .with_error_message(Some(why.clone())),
            None => Coordinator::default()
                .with_key(key)
                .with_node_id(BrokerId(NODE_ID))
                .with_host(text(host.as_str()))
                .with_port(i32::from(port)),
        };
        let coordinators = request.coordinator_keys.into_iter().map(coordinator).collect();
        return FindCoordinatorResponse::default().with_coordinators(coordinators);
    }
    match refusal {
        Some((code, why)) => FindCoordinatorResponse::default()
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(code)
            .with_error_message((call.version >= 1).then_some(why)),
        None => FindCoordinatorResponse::default()
            .with_node_id(BrokerId(NODE_ID))
            .with_host(text(host))
            .with_port(i32::from(port)),
    }
}
