//! The data directory, as the commands open it that write.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thermocline_schemas::Clock;
use thermocline_schemas::metadata::{Durability, Meta, RunInfo, SqliteMeta};
use thermocline_schemas::time::{FixedClock, SystemClock};
use thermocline_sinks::METADATA_FILE;
use thermocline_sql::engine::existing_store;

/// A data directory with its metadata store.
#[derive(Debug)]
pub(crate) struct DataDir {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its metadata store.
    pub(crate) meta: Arc<dyn Meta>,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
}

impl DataDir {
    /// Opens it where somebody has run before; where nobody has, nothing is made. Otherwise as [`DataDir::open`].
    ///
    /// # Errors
    /// [`thermocline_sql::SqlError::NoData`] besides those of [`DataDir::open`].
    pub(crate) async fn open_existing(path: &Path, durability: Durability) -> Result<Self> {
        existing_store(path)?;
        Self::open(path, durability).await
    }

    /// Creates or opens it; `durability` says what a commit outlives. Opening alone fences nobody: [`Meta::begin`] and
    /// [`Meta::reset_offsets`] do.
    pub(crate) async fn open(path: &Path, durability: Durability) -> Result<Self> {
        std::fs::create_dir_all(path)
            .with_context(|| format!("cannot create the data directory {}", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("cannot open {}", path.display()))?;
        let clock = clock()?;
        let meta = SqliteMeta::open_with(&path.join(METADATA_FILE), clock.clone(), durability).await?;
        let meta: Arc<dyn Meta> = Arc::new(meta);
        Ok(Self { path, meta, clock })
    }

    /// Who runs, for whoever is fenced.
    pub(crate) fn run_info(&self) -> RunInfo {
        RunInfo { host: host(), pid: std::process::id(), started_at: self.clock.now() }
    }
}

/// The machine's clock, or the time in `THERMOCLINE_NOW` (µs since the Unix epoch) for runs that must be repeatable.
pub(crate) fn clock() -> Result<Arc<dyn Clock>> {
    match std::env::var("THERMOCLINE_NOW") {
        Err(_) => Ok(Arc::new(SystemClock)),
        Ok(text) => {
            let now =
                text.parse().with_context(|| format!("THERMOCLINE_NOW is {text:?}, no number of µs since 1970"))?;
            Ok(Arc::new(FixedClock(now)))
        }
    }
}

/// The host's name, for messages.
fn host() -> String {
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "this host".to_owned() } else { name.to_owned() }
}
