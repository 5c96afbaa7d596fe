//! A data directory, opened for asking: beside a run in another process, or alone.

use crate::functions::Functions;
use crate::{Session, SqlError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thermocline_schemas::Clock;
use thermocline_schemas::metadata::{Meta, SqliteMeta};
use thermocline_sinks::disk::Durability;
use thermocline_sinks::formats::Formats;

/// Opens sessions. Bumps no generation and holds no lock between statements.
#[derive(Debug, Clone)]
pub struct Engine {
    data: PathBuf,
    meta: Arc<dyn Meta>,
    formats: Arc<Formats>,
    functions: Functions,
}

/// The metadata store in the data directory `data`. Nothing is made.
///
/// # Errors
/// [`SqlError::NoData`] when nobody has ever run there.
pub fn existing_store(data: &Path) -> Result<PathBuf, SqlError> {
    let store = data.join(thermocline_sinks::METADATA_FILE);
    if store.exists() { Ok(store) } else { Err(SqlError::NoData { path: data.display().to_string() }) }
}

impl Engine {
    /// Opens the data directory at `data`.
    ///
    /// # Errors
    /// [`SqlError::NoData`] when nobody has ever run there.
    pub async fn open(data: &Path, clock: Arc<dyn Clock>) -> Result<Self, SqlError> {
        let store = existing_store(data)?;
        let meta: Arc<dyn Meta> = Arc::new(SqliteMeta::open(&store, clock).await?);
        let formats = Arc::new(Formats::open(data, meta.store(), Durability::Disk)?);
        Ok(Self::over(data, meta, formats))
    }

    /// Over stores that are open already: the run's own.
    pub fn over(data: &Path, meta: Arc<dyn Meta>, formats: Arc<Formats>) -> Self {
        Self { data: data.to_owned(), meta, formats, functions: Functions::default() }
    }

    /// The metadata store.
    pub fn meta(&self) -> &Arc<dyn Meta> {
        &self.meta
    }

    /// Pins the newest cut and opens a session on it.
    pub async fn session(&self) -> Result<Session, SqlError> {
        Session::open(&self.data, self.meta.clone(), self.formats.clone(), &self.functions).await
    }
}
