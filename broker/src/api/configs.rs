//! DescribeConfigs: the few settings that this broker has, under Kafka's names.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::{Call, text};
use crate::identity::NODE_ID;
use crate::node::Node;
use crate::topics::Topic;

const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;
const SOURCE_TOPIC: i8 = 1;
const SOURCE_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;
/// Where Kafka says "no limit" it says -1.
const NO_LIMIT: i64 = -1;

/// One setting as clients see it.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) source: i8,
}

/// The settings that are in force for a topic.
pub(super) fn topic_configs(node: &Node, topic: &Topic) -> Vec<Setting> {
    let retention = topic.settings.retention(node.config.retention);
    let segment_bytes = topic.settings.segment_bytes.unwrap_or(node.config.segment_bytes);
    let age = retention.age.map_or(NO_LIMIT, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    let bytes = retention.bytes.map_or(NO_LIMIT, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let setting = |name: &'static str, value: String| {
        let given = topic.settings.given().contains_key(name);
        Setting { name, value, source: if given { SOURCE_TOPIC } else { SOURCE_DEFAULT } }
    };
    vec![
        setting("cleanup.policy", "delete".to_string()),
        setting("compression.type", "producer".to_string()),
        setting("max.message.bytes", node.config.max_batch_bytes.to_string()),
        setting("message.timestamp.type", "CreateTime".to_string()),
        setting("min.insync.replicas", "1".to_string()),
        setting("retention.bytes", bytes.to_string()),
        setting("retention.ms", age.to_string()),
        setting("segment.bytes", segment_bytes.to_string()),
    ]
}

fn broker_configs(node: &Node) -> Vec<Setting> {
    let setting = |name, value: String| Setting { name, value, source: SOURCE_BROKER };
    vec![
        setting("auto.create.topics.enable", node.config.auto_create_topics.to_string()),
        setting("default.replication.factor", "1".to_string()),
        setting("log.dirs", node.config.data_dir.display().to_string()),
        setting("log.segment.bytes", node.config.segment_bytes.to_string()),
        setting("message.max.bytes", node.config.max_batch_bytes.to_string()),
        setting("num.partitions", node.config.default_partitions.to_string()),
        setting("socket.request.max.bytes", node.config.max_request_bytes.to_string()),
    ]
}

/// Answers DescribeConfigs.
pub(super) fn describe_configs(call: &Call, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let results = request.resources.into_iter().map(|resource| describe(&call.node, resource)).collect();
    DescribeConfigsResponse::default().with_results(results)
}

fn describe(node: &Node, asked: DescribeConfigsResource) -> DescribeConfigsResult {
    let result = DescribeConfigsResult::default()
        .with_resource_type(asked.resource_type)
        .with_resource_name(asked.resource_name.clone());
    let settings = match asked.resource_type {
        RESOURCE_TOPIC => match node.topics.get(&asked.resource_name) {
            Some(topic) => topic_configs(node, &topic),
            None => return result.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
        },
        RESOURCE_BROKER if ["", &NODE_ID.to_string()].contains(&asked.resource_name.as_str()) => broker_configs(node),
        _ => {
            let why = format!("only topics and the one broker, {NODE_ID}, have settings here");
            return result.with_error_code(ResponseError::InvalidRequest.code()).with_error_message(Some(text(why)));
        }
    };
    let wanted = |setting: &Setting| match &asked.configuration_keys {
        Some(keys) => keys.iter().any(|key| key.as_str() == setting.name),
        None => true,
    };
    let told = |setting: Setting| {
        DescribeConfigsResourceResult::default()
            .with_name(text(setting.name))
            .with_value(Some(text(setting.value)))
            .with_read_only(true)
            .with_config_source(setting.source)
    };
    result.with_configs(settings.into_iter().filter(wanted).map(told).collect())
}
