//! The one face of a table format to the committer: create, stage, search for a mark, commit.
//!
//! Every table commit carries its intent's number as a mark, inside the same atomic commit. That makes it safe to repeat:
//! whoever is unsure reloads, searches for the mark and decides.

use crate::SinkError;
use datafusion::physical_plan::SendableRecordBatchStream;
use std::sync::Arc;
use thermocline_schemas::metadata::{IntentId, TableVersion};
use thermocline_schemas::{Cut, EventTime, Generation, TableId, TableSchema};
use uuid::Uuid;

/// What a table commit says of itself, for recovery and for external readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The metadata store that the table belongs to.
    pub store: Uuid,
    /// The intent; its number is the mark that is searched for.
    pub intent: IntentId,
    /// The run that commits.
    pub generation: Generation,
    /// The newest cut whose rows the table holds after this commit.
    pub cut: Cut,
    /// Event time up to which the table is believed complete, if known.
    pub least_watermark: Option<EventTime>,
}

/// Data files that are written and synced, and named by nobody yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// What the commit needs, serialised: Delta's adds, Iceberg's data files, Lance's transaction.
    pub payload: Vec<u8>,
    /// Rows in the files.
    pub rows: u64,
}

/// The result of a search: the head whose whole history, back to the last flip, was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Searched {
    /// The newest version of the table. A commit must extend exactly this one.
    pub head: TableVersion,
    /// The newest mark in the table, whoever made it.
    pub newest_mark: Option<FoundMark>,
    /// Where the intent's mark is, if it is there.
    pub found: Option<Found>,
}

/// The version with an intent's mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The version.
    pub version: TableVersion,
    /// The run that committed it.
    pub generation: Generation,
}

/// A mark as it was read from a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundMark {
    /// The store that the table belongs to.
    pub store: Uuid,
    /// The intent's number.
    pub intent: u64,
    /// The run that committed it.
    pub generation: Generation,
}

/// What became of a commit. None of these is an error; [`SinkError::Unknown`] is: reload and search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The table has a new version with the mark.
    Committed(TableVersion),
    /// The mark was there already, at this version.
    AlreadyCommitted(TableVersion),
    /// The head moved since the search: search again. Nothing was committed.
    Conflict,
}

/// The writing face of the three formats behind one trait.
#[async_trait::async_trait]
pub trait Tables: Send + Sync + std::fmt::Debug {
    /// The table's head, when it exists.
    ///
    /// # Errors
    /// [`SinkError::Foreign`] when it belongs to another store.
    async fn exists(&self, table: &TableId) -> Result<Option<TableVersion>, SinkError>;

    /// Creates the table, empty and marked; safe to repeat.
    async fn create(&self, schema: &TableSchema, mark: &Mark) -> Result<CommitOutcome, SinkError>;

    /// Adds the nullable columns that `schema` has and the table has not, marked; safe to repeat.
    async fn evolve(&self, schema: &TableSchema, mark: &Mark, at: &Searched) -> Result<CommitOutcome, SinkError>;

    /// Writes and syncs data files of `rows` (stored schema, logical names, long runs sorted by event time; at least one
    /// stream), and commits nothing. Each stream is a lane: where the format can, they are written at the same time, into
    /// files of their own.
    async fn stage(
        &self,
        schema: &TableSchema,
        id: &IntentId,
        rows: Vec<SendableRecordBatchStream>,
    ) -> Result<Staged, SinkError>;

    /// Reads the table's head and its history back to `since` (the last flip), looking for the mark of `id`.
    async fn search(&self, id: &IntentId, since: Option<&TableVersion>) -> Result<Searched, SinkError>;

    /// Commits `payload` under `mark`, only onto `at.head`. An empty payload commits no rows: it gives the intent up, so
    /// that a zombie's late commit finds the mark taken.
    async fn commit(&self, mark: &Mark, payload: &[u8], at: &Searched) -> Result<CommitOutcome, SinkError>;

    /// Checkpoints, and forgets versions before `keep_from` and files that only those name. Changes no row. Returns the
    /// version that carries `mark`, where this needed a commit. `started_at`: files that are younger than this run may be
    /// somebody's staged work; leave them.
    async fn maintain(
        &self,
        mark: &Mark,
        keep_from: &TableVersion,
        started_at: EventTime,
    ) -> Result<Option<TableVersion>, SinkError>;

    /// Deletes the files of a staged payload that was given up and never committed.
    async fn discard(&self, id: &IntentId, payload: &[u8]) -> Result<(), SinkError>;
}

/// The reading face: a table at exactly one version, as a DataFusion provider with the stored schema under logical names
/// (a hot one with `_embedding` besides).
#[async_trait::async_trait]
pub trait ReadTables: Send + Sync + std::fmt::Debug {
    /// Opens `table` at `version`, never newer, never the catalog's.
    async fn open(
        &self,
        schema: &TableSchema,
        table: &TableId,
        version: &TableVersion,
    ) -> Result<Arc<dyn datafusion::catalog::TableProvider>, SinkError>;
}
