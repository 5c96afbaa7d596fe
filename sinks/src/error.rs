//! What can go wrong between a sealed epoch and a table, and what to do about it.

use crate::tier::FoundMark;
use thermocline_schemas::metadata::{Advice, IntentId, MetaError, TableVersion};
use thermocline_schemas::{SchemaError, TableId};
use uuid::Uuid;

/// Anything below: a store, a format's library, the file system.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A sink could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The metadata store refused or failed; its own message says which.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// A name or a column is not what it should be.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The commit may exist: reload the table and search for the mark before trying again.
    #[error("the commit of {intent} has an unknown outcome")]
    Unknown {
        /// The mark to search for.
        intent: IntentId,
        /// What was heard instead of an answer.
        #[source]
        source: Cause,
    },
    /// The table belongs to another metadata store, or exists where ours knows of none.
    #[error("table {table} belongs to store {theirs}, this is store {ours}; use another data directory")]
    Foreign {
        /// The table.
        table: TableId,
        /// This store.
        ours: Uuid,
        /// What the table says.
        theirs: String,
    },
    /// The table is newer than the metadata store: it was restored from a backup, or the directory is the wrong one.
    #[error(
        "table {table} carries the mark of intent {} by generation {}, which the metadata store does not know; \
         metadata.db is older than the table: restore one as new as the tables, or begin with a new data directory", newest.intent, newest.generation
    )]
    Newer {
        /// The table.
        table: TableId,
        /// Its newest mark.
        newest: FoundMark,
    },
    /// A version that the metadata store names cannot be opened.
    #[error(
        "version {version} of table {table} cannot be opened; restore files that were moved or deleted, or begin with a new \
         data directory"
    )]
    NoVersion {
        /// The table.
        table: TableId,
        /// The version.
        version: TableVersion,
        /// Why.
        #[source]
        source: Cause,
    },
    /// Writing, reading or deleting failed; nothing was committed.
    #[error("{what}")]
    Store {
        /// What was being done, and to which file or table.
        what: String,
        /// Why it failed.
        #[source]
        source: Cause,
    },
    /// A segment is not what its index says.
    #[error("segment {segment} is damaged: {what}; restore the file, or begin with a new data directory")]
    Damaged {
        /// The segment.
        segment: String,
        /// What is wrong.
        what: String,
    },
}

impl SinkError {
    /// A failure while doing `what`; nothing was committed.
    pub fn store(what: impl Into<String>, source: impl Into<Cause>) -> Self {
        SinkError::Store { what: what.into(), source: source.into() }
    }

    /// What the caller should do.
    pub fn advice(&self) -> Advice {
        match self {
            SinkError::Meta(error) => error.advice(),
            SinkError::Unknown { .. } => Advice::ReadBack,
            SinkError::Store { .. } => Advice::Retry,
            SinkError::Schema(_) | SinkError::Damaged { .. } | SinkError::Foreign { .. } => Advice::FixConfig,
            SinkError::Newer { .. } | SinkError::NoVersion { .. } => Advice::Stop,
        }
    }

    /// The commit of `intent` may exist.
    pub fn unknown(intent: &IntentId, source: impl Into<Cause>) -> Self {
        SinkError::Unknown { intent: intent.clone(), source: source.into() }
    }
}
