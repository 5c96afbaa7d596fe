//! The vocabulary of Thermocline: what things are called, what columns they have, and what we remember of them.
//!
//! In reading order. Only [`metadata`] touches the world; the rest is values without clock or threads.

pub mod columns;
pub mod domain;
pub mod epoch;
mod error;
pub mod format;
pub mod metadata;
pub mod offset;
mod shell;
pub mod table;
pub mod tier;
pub mod time;

pub use epoch::{Cut, Epoch, Generation};
pub use error::SchemaError;
pub use offset::{RecordId, TopicPartition};
pub use shell::shell_word;
pub use table::{TableId, TableName, TableSchema};
pub use tier::Tier;
pub use time::{Clock, EventTime};
