//! What every request can reach.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::BrokerConfig;
use crate::group::Groups;
use crate::identity::Identity;
use crate::lock::DataDirLock;
use crate::topics::Topics;

/// The one node: its log, its groups, its identity.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Arc<BrokerConfig>,
    pub(crate) identity: Identity,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    /// Where the broker listens.
    pub(crate) address: SocketAddr,
    /// `config.advertised`, taken apart.
    pub(crate) advertised: Option<(String, u16)>,
    /// Cancelled at shutdown: whoever waits for something stops waiting.
    pub(crate) stop: CancellationToken,
    /// Goes with the last task that could touch a segment.
    pub(crate) _lock: DataDirLock,
}

impl Node {
    /// The host and port that a client which came in at `local` should use.
    pub(crate) fn host_and_port(&self, local: SocketAddr) -> (String, u16) {
        match &self.advertised {
            Some(told) => told.clone(),
            None if self.address.ip().is_unspecified() => (local.ip().to_string(), local.port()),
            None => (self.config.host.clone(), self.address.port()),
        }
    }
}
