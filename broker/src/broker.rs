//! Start and stop of the broker.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::clock::now_ms;
use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::group::Groups;
use crate::identity::Identity;
use crate::lock::DataDirLock;
use crate::net;
use crate::node::Node;
use crate::topics::{MAX_PARTITIONS, Topics};

/// How often consumer groups look at the clock.
const GROUP_TICK: Duration = Duration::from_millis(50);
/// How often ended segments are brought to the disk.
const SEAL_TICK: Duration = Duration::from_secs(1);

/// A running broker. Call [`Broker::shutdown`] to end it well; a dropped one stops serving, and its next start has a
/// little more to read.
#[derive(Debug)]
pub struct Broker {
    node: Arc<Node>,
    tasks: TaskTracker,
}

impl Broker {
    /// Opens the data directory, recovers the log and starts to listen; tasks run on the current tokio runtime.
    ///
    /// Waits up to `lock_wait` for another process to let go of the directory. No segment is touched before.
    ///
    /// # Errors
    /// Every [`BrokerError`]; nothing runs in that case. May be dropped half-way.
    pub async fn start(config: BrokerConfig) -> Result<Broker, BrokerError> {
        let advertised = check(&config)?;
        let config = Arc::new(config);
        fs::create_dir_all(&config.data_dir).map_err(BrokerError::io("create", &config.data_dir))?;
        let lock = DataDirLock::take(&config.data_dir, config.lock_wait).await?;
        let opening = Arc::clone(&config);
        let started = Instant::now();
        let opened = tokio::task::spawn_blocking(move || -> Result<_, BrokerError> {
            let identity = Identity::open(&opening.data_dir)?;
            let groups = Groups::open(&opening)?;
            Ok((identity, groups, Topics::open(opening)?))
        });
        let (identity, groups, topics) =
            opened.await.map_err(|error| BrokerError::Config(format!("opening was interrupted: {error}")))??;
        let listen = |source| BrokerError::Listen { host: config.host.clone(), port: config.port, source };
        let listener = TcpListener::bind((config.host.as_str(), config.port)).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let stop = CancellationToken::new();
        let config = Arc::clone(&config);
        let node = Arc::new(Node { config, identity, topics, groups, address, advertised, stop, _lock: lock });
        let tasks = TaskTracker::new();
        tasks.spawn(net::accept(listener, Arc::clone(&node), tasks.clone()));
        tasks.spawn(keep_groups(Arc::clone(&node)));
        tasks.spawn(keep_segments(Arc::clone(&node)));
        let (topics, elapsed_ms) = (node.topics.all().len(), started.elapsed().as_millis() as u64);
        info!(%address, data_dir = %node.config.data_dir.display(), topics, elapsed_ms, "broker listens");
        Ok(Broker { node, tasks })
    }

    /// Where the broker listens, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.node.address
    }

    /// What clients call `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        let (host, port) = self.node.host_and_port(self.node.address);
        format!("{host}:{port}")
    }

    /// The id of this cluster of one; it lives as long as the data directory.
    pub fn cluster_id(&self) -> &str {
        self.node.identity.cluster_id()
    }

    /// Stops serving, brings everything to the disk and lets go of the data directory.
    ///
    /// Requests that are being answered are answered; those that wait for records or members are sent home.
    pub async fn shutdown(self) {
        self.node.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let node = Arc::clone(&self.node);
        let closed = tokio::task::spawn_blocking(move || {
            for partition in node.topics.all_partitions() {
                if let Err(error) = partition.close() {
                    error!(topic = partition.topic, partition = partition.index, %error, "log could not be closed");
                }
            }
            if let Err(error) = node.groups.close() {
                error!(%error, "committed offsets could not be synced");
            }
        });
        if closed.await.is_err() {
            error!("closing was interrupted");
        }
        info!(address = %self.node.address, "broker stopped");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.node.stop.cancel();
    }
}

/// Refuses settings that make no sense, all at once; takes the advertised address apart.
fn check(config: &BrokerConfig) -> Result<Option<(String, u16)>, BrokerError> {
    let mut problems = Vec::new();
    if !(1..=MAX_PARTITIONS).contains(&config.default_partitions) {
        problems.push(format!("default_partitions must be 1 to {MAX_PARTITIONS}, found {}", config.default_partitions));
    }
    if config.segment_bytes < 4096 {
        problems.push(format!("segment_bytes must be at least 4096, found {}", config.segment_bytes));
    }
    if config.max_batch_bytes < 1024 {
        problems.push(format!("max_batch_bytes must be at least 1024, found {}", config.max_batch_bytes));
    }
    if config.max_request_bytes < config.max_batch_bytes {
        problems.push("max_request_bytes must be at least max_batch_bytes".to_string());
    }
    if config.retention_check.is_zero() {
        problems.push("retention_check must be longer than nothing".to_string());
    }
    let advertised = config
        .advertised
        .as_deref()
        .map(|told| told.rsplit_once(':').and_then(|(host, port)| Some((host.to_string(), port.parse().ok()?))));
    if advertised == Some(None) {
        problems.push(format!("advertised must be host:port, found {:?}", config.advertised.as_deref().unwrap_or("")));
    }
    if problems.is_empty() { Ok(advertised.flatten()) } else { Err(BrokerError::Config(problems.join("; "))) }
}

/// Lets time pass in consumer groups.
async fn keep_groups(node: Arc<Node>) {
    let mut ticks = tokio::time::interval(GROUP_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => node.groups.tick(Instant::now()),
            () = node.stop.cancelled() => return,
        }
    }
}

/// Brings ended segments to the disk and deletes old ones.
async fn keep_segments(node: Arc<Node>) {
    let mut ticks = tokio::time::interval(SEAL_TICK.min(node.config.retention_check));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut checked = Instant::now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = node.stop.cancelled() => return,
        }
        let check_retention = checked.elapsed() >= node.config.retention_check;
        if check_retention {
            checked = Instant::now();
        }
        let work = Arc::clone(&node);
        let kept = tokio::task::spawn_blocking(move || {
            for partition in work.topics.all_partitions() {
                partition.maintain(check_retention.then(now_ms));
            }
        });
        if kept.await.is_err() {
            warn!("segment maintenance was interrupted");
        }
    }
}
