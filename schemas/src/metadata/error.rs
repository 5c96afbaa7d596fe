//! What the metadata store answers when it cannot do what it was asked.

use super::{BranchId, Counts, IntentId, RunInfo};
use crate::{Cut, Epoch, Generation, TableName};
use std::path::PathBuf;

/// What the caller of a failed operation should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Advice {
    /// Nothing happened: do it again.
    Retry,
    /// It may have happened: look its effect up, then do it again.
    ReadBack,
    /// Somebody must change the configuration, or move files; trying again will not help.
    FixConfig,
    /// This run has lost its right to write, or what it believes is wrong. Stop.
    Stop,
}

/// The metadata store refused, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// A newer run has begun. Stop writing; restarting would only evict that one.
    #[error(
        "generation {ours} is fenced: generation {theirs} has begun on {} (process {}); this run ends, and must not be started \
         again while that one lives", holder.host, holder.pid
    )]
    Fenced {
        /// This run.
        ours: Generation,
        /// The newest.
        theirs: Generation,
        /// Who runs it.
        holder: Box<RunInfo>,
    },
    /// Epochs are committed strictly in order.
    #[error("epoch {epoch} comes after epoch {newest}, which is committed already")]
    OutOfOrder {
        /// The epoch of the manifest.
        epoch: Epoch,
        /// The newest in the store.
        newest: Epoch,
    },
    /// A manifest breaks the law of conservation: records were lost or counted twice on the way.
    #[error(
        "epoch {epoch} does not add up: branch {branch} of {topic}/{partition} read {} records, but has {} in rows, {} in \
         windows, {} filtered, {} late and {} dead letters",
        counts.read, counts.rows, counts.windowed, counts.filtered, counts.late, counts.dead_letters
    )]
    NotConserved {
        /// The epoch.
        epoch: Epoch,
        /// The branch.
        branch: BranchId,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The figures of the epoch.
        counts: Box<Counts>,
    },
    /// The table has an open intent already; finish that one first.
    #[error("intent {open} is open; its table takes no other before it is flipped")]
    IntentOpen {
        /// The open one.
        open: IntentId,
    },
    /// The intent is neither open nor the newest flip of its table.
    #[error("there is no open intent {id}")]
    NoIntent {
        /// The one that was asked for.
        id: IntentId,
    },
    /// A change of columns that is neither a new nullable column nor a wider type.
    #[error("table {table} cannot change: {what}")]
    Columns {
        /// The logical table.
        table: TableName,
        /// Which column, and why.
        what: String,
    },
    /// The topic is not the one it was when its offsets were kept.
    #[error(
        "topic {topic} was deleted and made anew (its id was {kept}, now it is {found}); `thermocline reset-offsets --topic \
         {topic} --to earliest --data DIR`, with the --kafka and --kafka-property of `up`, starts it over"
    )]
    Recreated {
        /// The topic.
        topic: String,
        /// The id that is kept with its offsets.
        kept: uuid::Uuid,
        /// The id it has.
        found: uuid::Uuid,
    },
    /// What was asked contradicts what is stored.
    #[error("refused: {what}")]
    Refused {
        /// What was asked, and what stands against it.
        what: String,
    },
    /// The pin expired and what it held may be gone.
    #[error("cut {cut} was cleaned up while it was read; run the query again")]
    PinLost {
        /// The cut that was pinned.
        cut: Cut,
    },
    /// Readers pin their cut, so they write too.
    #[error(
        "{} cannot be written; runs and queries, which pin their cut there, need write access to the file and its folder",
        path.display()
    )]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file was written by another version of this program, or is not ours at all.
    #[error(
        "{} has format {found}, this program reads {wanted}; use the program that wrote it, or another data directory",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// Ours.
        wanted: i64,
    },
    /// A stored value is not what this program writes.
    #[error("the metadata store is damaged: {what}; restore metadata.db, or begin with a new data directory")]
    Damaged {
        /// What was read.
        what: String,
    },
    /// No answer, or a failure inside the store. What was asked may have happened.
    #[error("the metadata store did not answer")]
    Unavailable {
        /// What was heard instead.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl MetaError {
    /// What the caller should do.
    pub fn advice(&self) -> Advice {
        match self {
            MetaError::Unavailable { .. } => Advice::ReadBack,
            MetaError::PinLost { .. } | MetaError::IntentOpen { .. } => Advice::Retry,
            MetaError::Columns { .. }
            | MetaError::Recreated { .. }
            | MetaError::ReadOnly { .. }
            | MetaError::Format { .. } => Advice::FixConfig,
            MetaError::Fenced { .. }
            | MetaError::OutOfOrder { .. }
            | MetaError::NotConserved { .. }
            | MetaError::NoIntent { .. }
            | MetaError::Refused { .. }
            | MetaError::Damaged { .. } => Advice::Stop,
        }
    }

    /// True when a newer run has begun: exit status 3, not to be restarted by a supervisor.
    pub fn is_fenced(&self) -> bool {
        matches!(self, MetaError::Fenced { .. })
    }

    pub(super) fn refused(what: impl Into<String>) -> Self {
        MetaError::Refused { what: what.into() }
    }
}

impl From<sqlx::Error> for MetaError {
    fn from(source: sqlx::Error) -> Self {
        MetaError::Unavailable { source: Box::new(source) }
    }
}
