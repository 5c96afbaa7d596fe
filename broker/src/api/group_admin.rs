//! ListGroups, DescribeGroups, DeleteGroups.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    ListGroupsRequest, ListGroupsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{Call, blocking, text};

/// The only kind of group here; Kafka calls those of KIP-848 `consumer`.
const GROUP_TYPE: &str = "classic";

/// Answers ListGroups.
pub(super) fn list_groups(call: &Call, request: ListGroupsRequest) -> ListGroupsResponse {
    let passes = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let groups = call.node.groups.list().into_iter();
    let listed = groups
        .filter(|(_, _, state)| passes(&request.states_filter, state) && passes(&request.types_filter, GROUP_TYPE))
        .map(|(name, kind, state)| {
            ListedGroup::default()
                .with_group_id(GroupId(text(name)))
                .with_protocol_type(text(kind))
                .with_group_state(text(state))
                .with_group_type(text(GROUP_TYPE))
        });
    ListGroupsResponse::default().with_groups(listed.collect())
}

/// Answers DescribeGroups.
pub(super) fn describe_groups(call: &Call, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter().map(|group| describe(call, group)).collect();
    DescribeGroupsResponse::default().with_groups(groups)
}

fn describe(call: &Call, id: GroupId) -> DescribedGroup {
    let name = id.to_string();
    let result = DescribedGroup::default().with_group_id(id);
    let described = call.node.groups.with_group(&name, |group, _| {
        let members = group.members().map(|(id, member, metadata)| {
            DescribedGroupMember::default()
                .with_member_id(text(id.as_str()))
                .with_group_instance_id(member.instance_id.clone().map(text))
                .with_client_id(text(member.client_id.as_str()))
                .with_client_host(text(member.client_host.as_str()))
                .with_member_metadata(metadata)
                .with_member_assignment(member.assignment.clone())
        });
        Ok(DescribedGroup::default()
            .with_group_state(text(group.phase_name()))
            .with_protocol_type(text(group.protocol_type().unwrap_or_default()))
            .with_protocol_data(text(group.protocol().unwrap_or_default()))
            .with_members(members.collect()))
    });
    match described {
        Ok(described) => described.with_group_id(result.group_id),
        // Without members: known by its offsets, or not at all.
        Err(_) if call.node.groups.committed(&name).is_empty() => result.with_group_state(text("Dead")),
        Err(_) => result.with_group_state(text("Empty")).with_protocol_type(text("consumer")),
    }
}

/// Answers DeleteGroups.
pub(super) async fn delete_groups(call: &Call, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group in request.groups_names {
        let (node, name) = (Arc::clone(&call.node), group.to_string());
        let deleted: Result<(), ResponseError> = blocking(move || node.groups.delete(&name)).await.flatten();
        let result = DeletableGroupResult::default().with_group_id(group);
        results.push(result.with_error_code(super::code(deleted.err())));
    }
    DeleteGroupsResponse::default().with_results(results)
}
