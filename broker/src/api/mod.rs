//! From the bytes of a request to the bytes of its answer.
//!
//! Each file answers a few APIs; this one knows which versions there are, and turns requests into calls.

mod cluster;
mod configs;
mod fetch;
mod group_admin;
mod group_offsets;
mod membership;
mod offsets;
mod produce;
mod shape;
mod topics;
mod versions;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

use crate::node::Node;

/// A request's surroundings.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) node: Arc<Node>,
    pub(crate) version: i16,
    pub(crate) client_id: String,
    /// The client.
    pub(crate) peer: SocketAddr,
    /// The address that it connected to.
    pub(crate) local: SocketAddr,
}

/// What to do with a connection after a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Send this, length included.
    Reply(BytesMut),
    /// The client wants no answer.
    Silence,
    /// The client cannot be answered in a way that it would understand.
    Close(String),
}

/// Answers one request.
pub(crate) async fn answer(node: &Arc<Node>, mut frame: Bytes, peer: SocketAddr, local: SocketAddr) -> Outcome {
    if frame.len() < 8 {
        return Outcome::Close(format!("a request of {} bytes has no header", frame.len()));
    }
    let (key, version) = (i16::from_be_bytes([frame[0], frame[1]]), i16::from_be_bytes([frame[2], frame[3]]));
    let correlation = i32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
    let Some(api) = ApiKey::try_from(key).ok().filter(|api| versions::range(*api).is_some()) else {
        return Outcome::Close(format!("API {key} is not supported"));
    };
    if !versions::supports(api, version) {
        if api == ApiKey::ApiVersions {
            // The one question that is answered in its oldest form, so that any client learns what to ask instead.
            return reply(api, 0, correlation, &versions::api_versions(Some(ResponseError::UnsupportedVersion)));
        }
        return Outcome::Close(format!("version {version} of {api:?} is not supported"));
    }
    let header = match RequestHeader::decode(&mut frame, api.request_header_version(version)) {
        Ok(header) => header,
        Err(error) => return Outcome::Close(format!("header of {api:?}: {error:#}")),
    };
    if !shape::fits(api, version, &frame) {
        return Outcome::Close(format!("{api:?} version {version} does not have the shape of that request"));
    }
    let client_id = header.client_id.map(|id| id.to_string()).unwrap_or_default();
    let call = Call { node: Arc::clone(node), version, client_id, peer, local };
    match dispatch(&call, api, frame, correlation).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Close(format!("{api:?} version {version}: {error:#}")),
    }
}

async fn dispatch(call: &Call, api: ApiKey, mut body: Bytes, correlation: i32) -> Result<Outcome, String> {
    macro_rules! decoded {
        () => {
            Decodable::decode(&mut body, call.version).map_err(|error| format!("{error:#}"))?
        };
    }
    macro_rules! replied {
        ($response:expr) => {
            reply(api, call.version, correlation, &$response)
        };
    }
    Ok(match api {
        ApiKey::ApiVersions => replied!(versions::api_versions(None)),
        ApiKey::Metadata => replied!(cluster::metadata(call, decoded!()).await),
        ApiKey::DescribeCluster => replied!(cluster::describe_cluster(call, decoded!())),
        ApiKey::FindCoordinator => replied!(cluster::find_coordinator(call, decoded!())),
        ApiKey::CreateTopics => replied!(topics::create_topics(call, decoded!()).await),
        ApiKey::CreatePartitions => replied!(topics::create_partitions(call, decoded!()).await),
        ApiKey::DeleteTopics => replied!(topics::delete_topics(call, decoded!()).await),
        ApiKey::DescribeConfigs => replied!(configs::describe_configs(call, decoded!())),
        ApiKey::InitProducerId => replied!(produce::init_producer_id(call, decoded!()).await),
        ApiKey::Produce => match produce::produce(call, decoded!()).await {
            produce::Produced::Answer(response) => replied!(response),
            produce::Produced::Unasked => Outcome::Silence,
            produce::Produced::UnaskedFailure => Outcome::Close("a batch without acknowledgement failed".to_string()),
        },
        ApiKey::Fetch => replied!(fetch::fetch(call, decoded!()).await),
        ApiKey::ListOffsets => replied!(offsets::list_offsets(call, decoded!()).await),
        ApiKey::OffsetForLeaderEpoch => replied!(offsets::offset_for_leader_epoch(call, decoded!())),
        ApiKey::JoinGroup => replied!(membership::join_group(call, decoded!()).await),
        ApiKey::SyncGroup => replied!(membership::sync_group(call, decoded!()).await),
        ApiKey::Heartbeat => replied!(membership::heartbeat(call, decoded!())),
        ApiKey::LeaveGroup => replied!(membership::leave_group(call, decoded!())),
        ApiKey::OffsetCommit => replied!(group_offsets::offset_commit(call, decoded!()).await),
        ApiKey::OffsetFetch => replied!(group_offsets::offset_fetch(call, decoded!())),
        ApiKey::ListGroups => replied!(group_admin::list_groups(call, decoded!())),
        ApiKey::DescribeGroups => replied!(group_admin::describe_groups(call, decoded!())),
        ApiKey::DeleteGroups => replied!(group_admin::delete_groups(call, decoded!()).await),
        _ => Outcome::Close(format!("{api:?} is not supported")),
    })
}

/// Length, header and body of a response, in one buffer of the right size.
fn reply<R: Encodable + HeaderVersion>(api: ApiKey, version: i16, correlation: i32, response: &R) -> Outcome {
    let header = ResponseHeader::default().with_correlation_id(correlation);
    let header_version = R::header_version(version);
    let encoded = || {
        let bytes = header.compute_size(header_version)? + response.compute_size(version)?;
        let mut buffer = BytesMut::with_capacity(bytes + 4);
        buffer.put_i32(0);
        header.encode(&mut buffer, header_version)?;
        response.encode(&mut buffer, version)?;
        let length = i32::try_from(buffer.len() - 4)?;
        buffer[..4].copy_from_slice(&length.to_be_bytes());
        Ok(buffer)
    };
    match encoded() {
        Ok::<_, Box<dyn std::error::Error + Send + std::marker::Sync>>(buffer) => Outcome::Reply(buffer),
        Err(error) => Outcome::Close(format!("answer to {api:?} version {version}: {error}")),
    }
}

/// Runs something that waits for files, where that hurts nobody.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ResponseError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ResponseError::UnknownServerError)
}

/// The code of an error, 0 for none.
fn code(error: Option<ResponseError>) -> i16 {
    error.map_or(0, |error| error.code())
}

/// A text in the form that the codec wants.
fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}
