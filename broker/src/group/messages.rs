//! What members ask of a group and what they are told, without the protocol's versions.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;

/// A request to become, or stay, a member.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    /// Empty for a member that has no id yet.
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocol_type: String,
    /// Names of assignment strategies in order of preference, each with the member's metadata for it.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// The client can be told to come again with the id it is given (protocol version 4 and later).
    pub(crate) takes_id_first: bool,
}

/// The answer to a [`Join`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Joined {
    pub(crate) error: Option<ResponseError>,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: String,
    pub(crate) member_id: String,
    /// For the leader: every member's id, instance id and metadata.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

/// A request for the own assignment; the leader's brings everybody's.
#[derive(Debug, Clone)]
pub(crate) struct Sync {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignments: Vec<(String, Bytes)>,
}

/// The answer to a [`Sync`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Synced {
    pub(crate) error: Option<ResponseError>,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignment: Bytes,
}
