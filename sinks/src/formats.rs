//! The three formats behind one face: each table goes to its tier's.

#[cfg(test)]
pub(crate) mod tests;

use crate::SinkError;
use crate::cold::Cold;
use crate::disk::Durability;
use crate::hot::Hot;
use crate::tier::{CommitOutcome, Mark, ReadTables, Searched, Staged, Tables};
use crate::warm::Warm;
use datafusion::catalog::TableProvider;
use datafusion::physical_plan::SendableRecordBatchStream;
use std::path::Path;
use std::sync::Arc;
use thermocline_schemas::metadata::{IntentId, TableVersion};
use thermocline_schemas::{EventTime, TableId, TableSchema, Tier};
use uuid::Uuid;

/// All tables of one data directory: `hot/<name>.lance`, `warm/<name>`, `cold/<name>` with the catalog `iceberg.db`.
#[derive(Debug, Clone)]
pub struct Formats {
    hot: Hot,
    warm: Warm,
    cold: Cold,
}

impl Formats {
    /// The tables under `data_dir` that belong to the metadata store `store`. Nothing is made or opened yet.
    ///
    /// # Errors
    /// [`SinkError::Store`] when the directory is not there: all locations on disk are absolute.
    pub fn open(data_dir: &Path, store: Uuid, durability: Durability) -> Result<Self, SinkError> {
        let root = data_dir
            .canonicalize()
            .map_err(|error| SinkError::store(format!("opening the data directory {}", data_dir.display()), error))?;
        Ok(Self {
            hot: Hot::new(root.join(Tier::Hot.as_str()), store, durability),
            warm: Warm::new(root.join(Tier::Warm.as_str()), store, durability),
            cold: Cold::new(root.join(Tier::Cold.as_str()), root.join("iceberg.db"), store, durability),
        })
    }
}

#[async_trait::async_trait]
impl Tables for Formats {
    async fn exists(&self, table: &TableId) -> Result<Option<TableVersion>, SinkError> {
        match table.tier {
            Tier::Hot => self.hot.exists(table).await,
            Tier::Warm => self.warm.exists(table).await,
            Tier::Cold => self.cold.exists(table).await,
        }
    }

    async fn create(&self, schema: &TableSchema, mark: &Mark) -> Result<CommitOutcome, SinkError> {
        match mark.intent.table.tier {
            Tier::Hot => self.hot.create(schema, mark).await,
            Tier::Warm => self.warm.create(schema, mark).await,
            Tier::Cold => self.cold.create(schema, mark).await,
        }
    }

    async fn evolve(&self, schema: &TableSchema, mark: &Mark, at: &Searched) -> Result<CommitOutcome, SinkError> {
        match mark.intent.table.tier {
            Tier::Hot => self.hot.evolve(schema, mark, at).await,
            Tier::Warm => self.warm.evolve(schema, mark, at).await,
            Tier::Cold => self.cold.evolve(schema, mark, at).await,
        }
    }

    async fn stage(
        &self,
        schema: &TableSchema,
        id: &IntentId,
        rows: Vec<SendableRecordBatchStream>,
    ) -> Result<Staged, SinkError> {
        match id.table.tier {
            Tier::Hot => self.hot.stage(schema, id, rows).await,
            Tier::Warm => self.warm.stage(schema, id, rows).await,
            Tier::Cold => self.cold.stage(schema, id, rows).await,
        }
    }

    async fn search(&self, id: &IntentId, since: Option<&TableVersion>) -> Result<Searched, SinkError> {
        match id.table.tier {
            Tier::Hot => self.hot.search(id, since).await,
            Tier::Warm => self.warm.search(id, since).await,
            Tier::Cold => self.cold.search(id, since).await,
        }
    }

    async fn commit(&self, mark: &Mark, payload: &[u8], at: &Searched) -> Result<CommitOutcome, SinkError> {
        match mark.intent.table.tier {
            Tier::Hot => self.hot.commit(mark, payload, at).await,
            Tier::Warm => self.warm.commit(mark, payload, at).await,
            Tier::Cold => self.cold.commit(mark, payload, at).await,
        }
    }

    async fn maintain(
        &self,
        mark: &Mark,
        keep_from: &TableVersion,
        started_at: EventTime,
    ) -> Result<Option<TableVersion>, SinkError> {
        match mark.intent.table.tier {
            Tier::Hot => self.hot.maintain(mark, keep_from).await.map(|()| None),
            Tier::Warm => self.warm.maintain(mark, keep_from, started_at).await.map(|()| None),
            Tier::Cold => self.cold.maintain(mark, keep_from, started_at).await,
        }
    }

    async fn discard(&self, id: &IntentId, payload: &[u8]) -> Result<(), SinkError> {
        match id.table.tier {
            Tier::Hot => self.hot.discard(id, payload),
            Tier::Warm => self.warm.discard(id, payload),
            Tier::Cold => self.cold.discard(id, payload).await,
        }
    }
}

#[async_trait::async_trait]
impl ReadTables for Formats {
    async fn open(
        &self,
        schema: &TableSchema,
        table: &TableId,
        version: &TableVersion,
    ) -> Result<Arc<dyn TableProvider>, SinkError> {
        match table.tier {
            Tier::Hot => self.hot.open(schema, table, version).await,
            Tier::Warm => self.warm.open(schema, table, version).await,
            Tier::Cold => self.cold.open(schema, table, version).await,
        }
    }
}
