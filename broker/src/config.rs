//! What a broker is told at its start.

use std::path::PathBuf;
use std::time::Duration;

/// Everything that can be set. `BrokerConfig { data_dir, ..BrokerConfig::default() }` is a good start.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// Where the log, the topics and the committed offsets live. One running broker per directory, held by a file lock.
    pub data_dir: PathBuf,
    /// The address to listen on. Default `127.0.0.1`: this broker knows no passwords, so think before opening it wider.
    pub host: String,
    /// The port to listen on; 0 (the default) takes a free one, which [`crate::Broker::address`] then tells.
    pub port: u16,
    /// The `host:port` that clients are told to connect to. Default: the address they came in by. Set it where clients
    /// reach the broker through a forwarded port.
    pub advertised: Option<String>,
    /// Partitions of a topic that is created without saying how many. Default 4.
    pub default_partitions: i32,
    /// Create a topic when a client that allows it asks for one that does not exist. Default true.
    pub auto_create_topics: bool,
    /// When written records are forced to the disk.
    pub fsync: Fsync,
    /// How long [`crate::Broker::start`] waits for another process to let go of `data_dir`. Default 10 s.
    pub lock_wait: Duration,
    /// A partition starts a new segment file beyond this size. Default 128 MiB. Retention deletes whole segments.
    pub segment_bytes: u64,
    /// Which old segments are deleted. Default: none.
    pub retention: Retention,
    /// How often old segments are looked for. Default 30 s.
    pub retention_check: Duration,
    /// How long the first member of a consumer group waits for others to join it. Default 100 ms; longer saves
    /// rebalances where many members start together, and delays all.
    pub group_first_wait: Duration,
    /// The largest record batch that is accepted. Default 16 MiB.
    pub max_batch_bytes: usize,
    /// The largest request that is read; a larger one closes its connection. Default 100 MiB, as with Kafka.
    pub max_request_bytes: usize,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        BrokerConfig {
            data_dir: PathBuf::from("data/broker"),
            host: "127.0.0.1".to_string(),
            port: 0,
            advertised: None,
            default_partitions: 4,
            auto_create_topics: true,
            fsync: Fsync::Never,
            lock_wait: Duration::from_secs(10),
            segment_bytes: 128 << 20,
            retention: Retention::default(),
            retention_check: Duration::from_secs(30),
            group_first_wait: Duration::from_millis(100),
            max_batch_bytes: 16 << 20,
            max_request_bytes: 100 << 20,
        }
    }
}

/// When written records are forced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// The operating system decides. Nothing acknowledged is lost when the process dies; the newest records may be lost
    /// when the machine loses power.
    #[default]
    Never,
    /// Before a batch is acknowledged and before a reader may see it. Producers that wait at the same time share one
    /// fsync. Nothing acknowledged is lost when the machine loses power either.
    EveryBatch,
}

/// Which old segments are deleted. A topic's `retention.ms` and `retention.bytes` override these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Delete a segment when its newest record is older than this. Default: never.
    pub age: Option<Duration>,
    /// Delete the oldest segments while a partition is larger than this. Default: never.
    pub bytes: Option<u64>,
}
