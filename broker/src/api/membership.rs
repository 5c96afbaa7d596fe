//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;

use super::{Call, code, text};
use crate::group::{Join, Joined, Sync, Synced};

/// Session time-outs that are accepted; Kafka starts at 6 s, tests like it shorter.
const SESSION_MS: std::ops::RangeInclusive<i32> = 10..=1_800_000;

/// Waits for a rebalance, but not beyond the end of the broker.
async fn answered<T>(call: &Call, answer: oneshot::Receiver<T>) -> Result<T, ResponseError> {
    tokio::select! {
        answer = answer => answer.map_err(|_| ResponseError::CoordinatorNotAvailable),
        () = call.node.stop.cancelled() => Err(ResponseError::CoordinatorNotAvailable),
    }
}

fn named(text: Option<StrBytes>) -> Option<String> {
    text.map(|text| text.to_string())
}

/// Answers JoinGroup, when all members have come or the time is over.
pub(super) async fn join_group(call: &Call, request: JoinGroupRequest) -> JoinGroupResponse {
    let refused =
        |error, member_id: String| Joined { error: Some(error), generation: -1, member_id, ..Joined::default() };
    let member_id = request.member_id.to_string();
    let joined = if request.group_id.is_empty() {
        refused(ResponseError::InvalidGroupId, member_id)
    } else if !SESSION_MS.contains(&request.session_timeout_ms) {
        refused(ResponseError::InvalidSessionTimeout, member_id)
    } else {
        let group = request.group_id.to_string();
        match answered(call, call.node.groups.join(&group, join_of(call, request))).await {
            Ok(joined) => joined,
            Err(error) => refused(error, member_id),
        }
    };
    let member = |(id, instance_id, metadata): (String, Option<String>, _)| {
        JoinGroupResponseMember::default()
            .with_member_id(text(id))
            .with_group_instance_id(instance_id.map(text))
            .with_metadata(metadata)
    };
    // Before version 7 the name of the protocol must not be null.
    let protocol = joined.protocol.map(text).or_else(|| (call.version < 7).then(StrBytes::default));
    JoinGroupResponse::default()
        .with_error_code(code(joined.error))
        .with_generation_id(joined.generation)
        .with_protocol_type(joined.protocol_type.map(text))
        .with_protocol_name(protocol)
        .with_leader(text(joined.leader))
        .with_member_id(text(joined.member_id))
        .with_members(joined.members.into_iter().map(member).collect())
}

fn join_of(call: &Call, request: JoinGroupRequest) -> Join {
    let millis = |asked: i32| Duration::from_millis(u64::try_from(asked).unwrap_or(0));
    let session_timeout = millis(request.session_timeout_ms);
    Join {
        member_id: request.member_id.to_string(),
        instance_id: named(request.group_instance_id),
        client_id: call.client_id.clone(),
        client_host: format!("/{}", call.peer.ip()),
        session_timeout,
        rebalance_timeout: if call.version >= 1 { millis(request.rebalance_timeout_ms) } else { session_timeout },
        protocol_type: request.protocol_type.to_string(),
        protocols: request.protocols.into_iter().map(|known| (known.name.to_string(), known.metadata)).collect(),
        takes_id_first: call.version >= 4,
    }
}

/// Answers SyncGroup, when the leader has brought the assignment.
pub(super) async fn sync_group(call: &Call, request: SyncGroupRequest) -> SyncGroupResponse {
    let assignments = request.assignments.into_iter();
    let sync = Sync {
        member_id: request.member_id.to_string(),
        instance_id: named(request.group_instance_id),
        generation: request.generation_id,
        protocol_type: named(request.protocol_type),
        protocol: named(request.protocol_name),
        assignments: assignments.map(|part| (part.member_id.to_string(), part.assignment)).collect(),
    };
    let synced = match answered(call, call.node.groups.sync(&request.group_id, sync)).await {
        Ok(synced) => synced,
        Err(error) => Synced { error: Some(error), ..Synced::default() },
    };
    SyncGroupResponse::default()
        .with_error_code(code(synced.error))
        .with_protocol_type(synced.protocol_type.map(text))
        .with_protocol_name(synced.protocol.map(text))
        .with_assignment(synced.assignment)
}

/// Answers Heartbeat.
pub(super) fn heartbeat(call: &Call, request: HeartbeatRequest) -> HeartbeatResponse {
    let instance_id = request.group_instance_id.as_deref();
    let alive = call.node.groups.with_group(&request.group_id, |group, now| {
        group.heartbeat(&request.member_id, instance_id, request.generation_id, now)
    });
    HeartbeatResponse::default().with_error_code(code(alive.err()))
}

/// Answers LeaveGroup.
pub(super) fn leave_group(call: &Call, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let leave = |member_id: &str, instance_id: Option<&str>| {
        let left =
            call.node.groups.with_group(&request.group_id, |group, now| group.leave(member_id, instance_id, now));
        code(left.err())
    };
    if call.version < 3 {
        return LeaveGroupResponse::default().with_error_code(leave(&request.member_id, None));
    }
    let one = |member: &kafka_protocol::messages::leave_group_request::MemberIdentity| {
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(leave(&member.member_id, member.group_instance_id.as_deref()))
    };
    LeaveGroupResponse::default().with_members(request.members.iter().map(one).collect())
}
