//! ApiVersions: which requests this broker understands, in which versions.
//!
//! Every API that is missing here is one that the broker does not have: transactions, ACLs, replication, quotas, the
//! group protocol of KIP-848. Clients read this table first and do without.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};

use super::code;

/// API, oldest and newest version.
///
/// Fetch ends at 12 because 13 names topics by id; Produce ends at 11 for the same reason. The others end where later
/// versions only serve features that this broker has not.
const SUPPORTED: [(ApiKey, i16, i16); 22] = [
    (ApiKey::Produce, 3, 11),
    (ApiKey::Fetch, 4, 12),
    (ApiKey::ListOffsets, 1, 8),
    (ApiKey::Metadata, 0, 12),
    (ApiKey::OffsetCommit, 2, 8),
    (ApiKey::OffsetFetch, 1, 8),
    (ApiKey::FindCoordinator, 0, 5),
    (ApiKey::JoinGroup, 0, 9),
    (ApiKey::Heartbeat, 0, 4),
    (ApiKey::LeaveGroup, 0, 5),
    (ApiKey::SyncGroup, 0, 5),
    (ApiKey::DescribeGroups, 0, 5),
    (ApiKey::ListGroups, 0, 5),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::DeleteTopics, 1, 6),
    (ApiKey::InitProducerId, 0, 4),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::CreatePartitions, 0, 3),
    (ApiKey::DeleteGroups, 0, 2),
    (ApiKey::DescribeCluster, 0, 1),
];

/// Oldest and newest version of an API, if the broker has it.
pub(super) fn range(api: ApiKey) -> Option<(i16, i16)> {
    SUPPORTED.iter().find(|(known, _, _)| *known == api).map(|(_, oldest, newest)| (*oldest, *newest))
}

/// Whether the broker understands this version of an API.
pub(super) fn supports(api: ApiKey, version: i16) -> bool {
    range(api).is_some_and(|(oldest, newest)| (oldest..=newest).contains(&version))
}

/// The answer to ApiVersions.
pub(super) fn api_versions(error: Option<ResponseError>) -> ApiVersionsResponse {
    let told = |(api, oldest, newest): &(ApiKey, i16, i16)| {
        // librdkafka takes a broker that does not claim Produce 0 for one without message format 2, although it never
        // sends it; Apache Kafka 4 claims it for the same reason (KAFKA-18659).
        let oldest = if *api == ApiKey::Produce { 0 } else { *oldest };
        ApiVersion::default().with_api_key(*api as i16).with_min_version(oldest).with_max_version(*newest)
    };
    ApiVersionsResponse::default().with_error_code(code(error)).with_api_keys(SUPPORTED.iter().map(told).collect())
}
