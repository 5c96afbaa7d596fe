//! A small Kafka broker: one node, one data directory, a log on disk.
//!
//! It exists so that nothing else has to be installed to use Thermocline, and it speaks the protocol well enough for
//! other people's clients: librdkafka and all that builds on it, the Java clients and tools, kafkajs. It runs inside
//! another process's tokio runtime:
//!
//! ```no_run
//! # async fn run() -> Result<(), thermocline_broker::BrokerError> {
//! use thermocline_broker::{Broker, BrokerConfig};
//!
//! let broker = Broker::start(BrokerConfig { data_dir: "data/broker".into(), ..BrokerConfig::default() }).await?;
//! println!("bootstrap.servers={}", broker.bootstrap());
//! broker.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - A batch is acknowledged after it was written to the file, whatever `acks` says. The death of the process loses
//!   nothing acknowledged. With [`Fsync::EveryBatch`] neither does the loss of power, and no reader sees a record before
//!   it is on the disk.
//! - Batches stay as the producer sent them, compression included. Each is checked by its CRC-32C when it comes in and
//!   again at a start, unless a checkpoint vouches for it. A torn end of the log is cut off with a warning.
//! - A batch that an idempotent producer sends twice is stored once, across restarts of the broker as well.
//! - Topic ids and the cluster id live as long as the data directory; a topic that is created again gets another id.
//! - One process at a time uses a data directory, by a file lock that is taken before any segment is opened.
//!
//! # What it does not do, and says so
//!
//! - **Transactions.** FindCoordinator, InitProducerId and Produce refuse a transactional id with
//!   `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`, the code at which clients give up at once, and a text that gives the
//!   reason. Transactional batches are refused with `INVALID_RECORD`.
//! - **Replication.** There is one node; a replication factor other than 1 is refused.
//! - **Passwords, TLS, ACLs, quotas.** It listens on the loopback interface unless told otherwise.
//! - **Compacted topics.** `cleanup.policy=compact` is refused with `INVALID_CONFIG`.
//! - **Message formats before 2** (clients before Kafka 0.11): `UNSUPPORTED_FOR_MESSAGE_FORMAT`.
//! - **Requests that it does not list in ApiVersions**: the connection is closed, with a warning in the log. That
//!   includes the group protocol of KIP-848, changing configurations, and fetching by topic id.
//! - A search by time finds the exact record in uncompressed batches, and the first record of the right batch in
//!   compressed ones.
//!
//! Who outgrows one machine uses Apache Kafka, by the same configuration key.
//!
//! # The data directory
//!
//! ```text
//! lock                                    held while a broker runs; the holder's process id
//! broker.json                             cluster id, producer ids given out
//! groups.log                              committed offsets of consumer groups
//! topics/<name>/topic.json                topic id, partitions, settings
//! topics/<name>/<partition>/<offset>.log  record batches from that offset on
//! topics/<name>/<partition>/<offset>.index  what is known to be good of it; may be deleted, then it is read again
//! staging/                                topics on their way in or out
//! ```
//!
//! Each partition keeps a file open, and a second one while history is read: mind `ulimit -n` with many partitions.

mod broker;
mod config;
mod error;

mod api;
mod group;
mod identity;
mod lock;
mod log;
mod net;
mod node;
mod partition;
mod topics;

mod clock;
mod durable;

pub use broker::Broker;
pub use config::{BrokerConfig, Fsync, Retention};
pub use error::BrokerError;
