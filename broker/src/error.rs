//! What can go wrong outside of the protocol. What a client did wrong it is told by an error code instead.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Another process holds the data directory. Stop it, or choose another directory.
    #[error("{} is in use by {holder}, waited {waited:?} for it; stop that process or choose another data directory", data_dir.display())]
    Locked {
        /// The directory that was asked for.
        data_dir: PathBuf,
        /// Who holds it, as far as the lock file tells.
        holder: String,
        /// How long the start has waited.
        waited: Duration,
    },
    /// A setting makes no sense.
    #[error("broker configuration: {0}")]
    Config(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {host}:{port}; choose another port, or 0 for a free one")]
    Listen {
        /// The host that was asked for.
        host: String,
        /// The port that was asked for.
        port: u16,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A file or folder of the data directory could not be used.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A file of the data directory is not what this program wrote.
    #[error("{} is damaged: {detail}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

impl BrokerError {
    /// Wraps an I/O error with what was tried and where.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BrokerError {
        let path = path.to_path_buf();
        move |source| BrokerError::Io { action, path, source }
    }

    /// What the caller can do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            BrokerError::Locked { .. } => "stop the other process, or choose another data directory",
            BrokerError::Config(_) => "fix the configuration",
            BrokerError::Listen { .. } => "choose another port, or 0 for a free one",
            BrokerError::Io { .. } => {
                "check that the disk has space and the directory may be written, then start again"
            }
            BrokerError::Damaged { .. } => "restore the file from a backup, or start with an empty data directory",
        }
    }
}

/// Why a partition did not take or give records.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("offset {offset} is outside of {start}..{end}")]
    OutOfRange { offset: i64, start: i64, end: i64 },
    #[error(transparent)]
    Sequence(#[from] crate::log::SequenceError),
    #[error("the partition was deleted")]
    Deleted,
    #[error("the partition takes no more writes after a failed one; see the log, free the disk, restart the broker")]
    Broken,
    #[error("segment file")]
    Io(#[from] io::Error),
}
