//! Warm: Delta Lake. Adds are staged as JSON and committed with a `txn` action, onto exactly the searched version.
//!
//! The log is the catalog: version *n* is the file `_delta_log/n.json`, made by a put that fails when it exists. With
//! no retries inside, a commit either becomes the version after the searched head or does not happen.

use crate::SinkError;
use crate::disk::{self, Columns, Durability, check_store, conformed, found_mark, key, mark_properties};
use crate::error::Cause;
use crate::read::canonical::Canonical;
use crate::tier::{CommitOutcome, Found, FoundMark, Mark, Searched, Staged};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::physical_plan::SendableRecordBatchStream;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake::kernel::{Action, Add, MetadataExt, StructField, StructType, Transaction};
use deltalake::logstore::LogStoreRef;
use deltalake::operations::create::CreateBuilder;
use deltalake::operations::get_num_idx_cols_and_stats_columns;
use deltalake::operations::write::writer::{DeltaWriter, WriterConfig};
use deltalake::parquet::basic::{Compression, ZstdLevel};
use deltalake::parquet::file::properties::WriterProperties;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use futures::TryStreamExt;
use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use thermocline_schemas::metadata::{IntentId, TableVersion};
use thermocline_schemas::{EventTime, TableId, TableName, TableSchema};
use url::Url;
use uuid::Uuid;

/// A checkpoint for so many versions, so that opening a table reads one checkpoint and at most so many small files.
const CHECKPOINT_EVERY: u64 = 20;
/// Parquet files roll at this size.
const TARGET_FILE_BYTES: NonZeroU64 = NonZeroU64::new(128 << 20).expect("not zero");
/// Rows come in long runs sorted by event time: small row groups prune well, and bound what a writer holds in memory.
const ROW_GROUP_ROWS: usize = 256 << 10;
/// The same for rows of large texts.
const ROW_GROUP_BYTES: usize = 32 << 20;
/// Rows handed to the Parquet encoder at a time.
const WRITE_BATCH_ROWS: usize = 8192;

/// The Delta tables of one data directory.
#[derive(Debug, Clone)]
pub struct Warm {
    root: PathBuf,
    store: Uuid,
    durability: Durability,
}

/// How both Parquet formats compress: zstd at level 1, the fastest. Encoding Parquet is the dearest step on the way of
/// a record, and the machine that ingests pays for it.
pub(crate) fn parquet_properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a level")))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_created_by(format!("thermocline {}", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Writes one lane into files of its own; returns how many rows there were, and the files.
async fn write_lane(mut writer: DeltaWriter, mut rows: SendableRecordBatchStream) -> Result<(u64, Vec<Add>), Cause> {
    let mut count = 0;
    while let Some(batch) = rows.try_next().await? {
        if batch.num_rows() > 0 {
            count += batch.num_rows() as u64;
            writer.write(&batch).await?;
        }
    }
    Ok((count, writer.close().await?))
}

fn number(version: &TableVersion) -> Result<u64, std::num::ParseIntError> {
    version.0.parse()
}

/// Which columns have their least and greatest value written to the log: numbers and times. Text never leaves the data
/// files, so that erasing rows does not mean rewriting the log.
fn statistics_columns(disk: &Schema) -> String {
    let told = |kind: &DataType| kind.is_numeric() || kind.is_temporal();
    let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let fields = disk.fields().iter().filter(|field| told(field.data_type()) && plain(field.name()));
    fields.map(|field| field.name().as_str()).collect::<Vec<_>>().join(",")
}

impl Warm {
    /// The tables under `root`, which need not exist yet.
    pub fn new(root: PathBuf, store: Uuid, durability: Durability) -> Self {
        Self { root, store, durability }
    }

    fn folder(&self, name: &TableName) -> PathBuf {
        disk::folder(&self.root, name)
    }

    fn url(&self, table: &TableId) -> Result<Url, SinkError> {
        let folder = self.folder(&table.name);
        Url::from_directory_path(&folder)
            .map_err(|()| SinkError::store(format!("opening {table}"), "the data directory is not an absolute path"))
    }

    fn app_id(&self, table: &TableId) -> String {
        format!("thermocline/{}/{}", self.store, table.name)
    }

    async fn load(&self, table: &TableId, version: Option<u64>) -> Result<DeltaTable, DeltaTableError> {
        let url = self.url(table).map_err(|error| DeltaTableError::GenericError { source: Box::new(error) })?;
        let builder = DeltaTableBuilder::from_url(url)?;
        match version {
            Some(version) => builder.with_version(version).load().await,
            None => builder.load().await,
        }
    }

    async fn at(&self, table: &TableId, version: &TableVersion) -> Result<DeltaTable, SinkError> {
        let missing = |source: crate::error::Cause| SinkError::NoVersion {
            table: table.clone(),
            version: version.clone(),
            source,
        };
        let version = number(version).map_err(|error| missing(error.into()))?;
        let failed = match self.load(table, Some(version)).await {
            Ok(delta) => return Ok(delta),
            Err(error) => error,
        };
        if self.log_files(table)?.iter().any(|file| file.version == version) {
            return Err(SinkError::store(format!("opening {table} at version {version}"), failed));
        }
        Err(missing(failed.into()))
    }

    /// The newest version by the names of the log's files, without reading any.
    fn head_version(&self, table: &TableId) -> Result<Option<u64>, SinkError> {
        let files = self.log_files(table)?;
        Ok(files.iter().filter(|file| file.is_commit).map(|file| file.version).max())
    }

    fn log_folder(&self, table: &TableId) -> PathBuf {
        self.folder(&table.name).join("_delta_log")
    }

    fn log_files(&self, table: &TableId) -> Result<Vec<LogFile>, SinkError> {
        let files = disk::list_files(&self.log_folder(table))
            .map_err(|error| SinkError::store(format!("listing the log of {table}"), error))?;
        Ok(files.into_iter().filter_map(|(path, _)| LogFile::new(path)).collect())
    }

    fn properties(table: &DeltaTable) -> Result<HashMap<String, String>, DeltaTableError> {
        Ok(table.snapshot()?.metadata().configuration().clone())
    }

    fn columns(table: &TableId, delta: &DeltaTable) -> Result<Columns, SinkError> {
        let properties =
            Self::properties(delta).map_err(|error| SinkError::store(format!("opening {table}"), error))?;
        Columns::from_property(table, properties.get(key::COLUMNS).map(String::as_str))
    }

    /// The head, when the table exists.
    pub async fn exists(&self, table: &TableId) -> Result<Option<TableVersion>, SinkError> {
        if self.head_version(table)?.is_none() {
            return Ok(None);
        }
        let failed = |error: DeltaTableError| SinkError::store(format!("opening {table}"), error);
        let delta = self.load(table, None).await.map_err(failed)?;
        check_store(table, self.store, Self::properties(&delta).map_err(failed)?.get(key::STORE).map(String::as_str))?;
        Ok(delta.version().map(|version| TableVersion(version.to_string())))
    }

    fn commit_properties(&self, mark: &Mark) -> CommitProperties {
        let number = i64::try_from(mark.intent.number).unwrap_or(i64::MAX);
        let metadata = mark_properties(mark).into_iter().map(|(key, value)| (key, value.into()));
        CommitProperties::default()
            .with_application_transaction(Transaction::new(self.app_id(&mark.intent.table), number))
            .with_metadata(metadata.chain([("isBlindAppend".to_owned(), true.into())]))
            .with_max_retries(0)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false))
    }

    /// Creates the table at version 0.
    pub async fn create(&self, schema: &TableSchema, mark: &Mark) -> Result<CommitOutcome, SinkError> {
        let table = &mark.intent.table;
        if self.exists(table).await?.is_some() {
            let searched = self.search(&mark.intent, None).await?;
            return Ok(searched
                .found
                .map_or(CommitOutcome::Conflict, |found| CommitOutcome::AlreadyCommitted(found.version)));
        }
        let failed = format!("creating {table}");
        std::fs::create_dir_all(self.folder(&table.name)).map_err(|error| SinkError::store(failed.clone(), error))?;
        let columns = Columns::new(schema);
        let disk = columns.disk_schema(&schema.stored()).expect("Columns::new names every column");
        let delta: StructType =
            disk.as_ref().try_into_kernel().map_err(|error| SinkError::store(failed, Box::new(error)))?;
        let properties = [
            (key::STORE, self.store.to_string()),
            (key::TABLE, schema.name.to_string()),
            (key::COLUMNS, columns.to_property()),
            ("delta.checkpointInterval", CHECKPOINT_EVERY.to_string()),
            ("delta.dataSkippingStatsColumns", statistics_columns(&disk)),
        ];
        let result = CreateBuilder::new()
            .with_location(self.url(table)?)
            .with_table_name(schema.name.as_str())
            .with_columns(delta.fields().cloned())
            .with_configuration(properties.map(|(key, value)| (key, Some(value))))
            .with_raise_if_key_not_exists(false)
            .with_save_mode(SaveMode::ErrorIfExists)
            .with_commit_properties(self.commit_properties(mark))
            .await;
        self.outcome(mark, 0, result.map(|_| 0)).await
    }

    /// What became of a commit that should be `version`.
    async fn outcome(
        &self,
        mark: &Mark,
        version: u64,
        result: Result<u64, DeltaTableError>,
    ) -> Result<CommitOutcome, SinkError> {
        let conflict = |error: &DeltaTableError| {
            matches!(
                error,
                DeltaTableError::VersionAlreadyExists(_)
                    | DeltaTableError::Transaction {
                        source: TransactionError::MaxCommitAttempts(_)
                            | TransactionError::CommitConflict(_)
                            | TransactionError::VersionAlreadyExists(_)
                    }
            )
        };
        match result {
            Ok(committed) if committed == version => {
                let synced = self.sync_commit(&mark.intent.table, version).await;
                synced.map_err(|error| SinkError::unknown(&mark.intent, error))?;
                Ok(CommitOutcome::Committed(TableVersion(version.to_string())))
            }
            Ok(committed) => {
                let moved = format!("the commit became version {committed} instead of {version}");
                Err(SinkError::unknown(&mark.intent, moved))
            }
            Err(error) if conflict(&error) => Ok(CommitOutcome::Conflict),
            // A hook that fails after the put is reported like a put that failed: read back.
            Err(error) => Err(SinkError::unknown(&mark.intent, error)),
        }
    }

    async fn sync_commit(&self, table: &TableId, version: u64) -> std::io::Result<()> {
        let file = self.log_folder(table).join(format!("{version:020}.json"));
        disk::sync_blocking(self.durability, self.root.clone(), vec![file]).await
    }

    async fn commit_onto(
        &self,
        mark: &Mark,
        delta: &DeltaTable,
        actions: Vec<Action>,
        operation: DeltaOperation,
    ) -> Result<CommitOutcome, SinkError> {
        let failed = |error: DeltaTableError| SinkError::store(format!("committing to {}", mark.intent.table), error);
        let snapshot = delta.snapshot().map_err(failed)?;
        let version = snapshot.version() + 1;
        let result = CommitBuilder::from(self.commit_properties(mark))
            .with_actions(actions)
            .build(Some(snapshot), delta.log_store(), operation)
            .await;
        self.outcome(mark, version, result.map(|commit| commit.version())).await
    }

    /// Adds columns: a new schema in the log, no file is touched.
    pub async fn evolve(&self, schema: &TableSchema, mark: &Mark, at: &Searched) -> Result<CommitOutcome, SinkError> {
        if let Some(found) = &at.found {
            return Ok(CommitOutcome::AlreadyCommitted(found.version.clone()));
        }
        let table = &mark.intent.table;
        let delta = self.at(table, &at.head).await?;
        let before = Self::columns(table, &delta)?;
        let columns = before.extended(schema);
        let stored = schema.stored();
        let added = stored.fields().iter().filter(|field| before.on_disk(field.name()).is_none());
        let added = Schema::new(added.cloned().collect::<Vec<_>>());
        let new = columns.disk_schema(&added).expect("extended() names every column");
        let metadata = || {
            let snapshot = delta.snapshot()?;
            let added: StructType = new.as_ref().try_into_kernel()?;
            let fields: Vec<StructField> = snapshot.schema().fields().chain(added.fields()).cloned().collect();
            let disk = snapshot.snapshot().arrow_schema();
            let told: Vec<Arc<Field>> = disk.fields().iter().chain(new.fields()).cloned().collect();
            let metadata = snapshot
                .metadata()
                .clone()
                .with_schema(&StructType::try_new(fields)?)?
                .add_config_key(key::COLUMNS.to_owned(), columns.to_property())?
                .add_config_key("delta.dataSkippingStatsColumns".to_owned(), statistics_columns(&Schema::new(told)))?;
            Ok::<_, DeltaTableError>((metadata, added.fields().cloned().collect::<Vec<_>>()))
        };
        let (metadata, fields) =
            metadata().map_err(|error| SinkError::store(format!("adding columns to {table}"), error))?;
        self.commit_onto(mark, &delta, vec![Action::Metadata(metadata)], DeltaOperation::AddColumn { fields }).await
    }

    /// Writes Parquet files.
    pub async fn stage(
        &self,
        schema: &TableSchema,
        id: &IntentId,
        rows: Vec<SendableRecordBatchStream>,
    ) -> Result<Staged, SinkError> {
        let table = &id.table;
        let failed = |error: Cause| SinkError::store(format!("writing files of {table}"), error);
        let delta = self.load(table, None).await.map_err(|error| failed(error.into()))?;
        let columns = Self::columns(table, &delta)?;
        let snapshot = delta.snapshot().map_err(|error| failed(error.into()))?;
        let target = snapshot.snapshot().arrow_schema();
        let from = source_columns(&columns, schema, &target)
            .ok_or_else(|| failed("the table lacks columns; it must evolve first".into()))?;
        let (indexed, statistics) =
            get_num_idx_cols_and_stats_columns(Some(snapshot.table_config()), HashMap::default());
        let config = WriterConfig::new(
            Arc::clone(&target),
            vec![],
            Some(parquet_properties()),
            Some(TARGET_FILE_BYTES),
            Some(WRITE_BATCH_ROWS),
            indexed,
            statistics,
        );
        let store = delta.log_store().object_store(None);
        let write = |rows| {
            let writer = DeltaWriter::new(Arc::clone(&store), config.clone());
            write_lane(writer, conformed(rows, from.clone(), Arc::clone(&target)))
        };
        let written = disk::write_lanes(rows, write).await.map_err(failed)?;
        let count = written.iter().map(|(rows, _)| rows).sum();
        let adds: Vec<Add> = written.into_iter().flat_map(|(_, adds)| adds).collect();
        let files = adds.iter().map(|add| self.folder(&table.name).join(&add.path)).collect();
        disk::sync_blocking(self.durability, self.root.clone(), files).await.map_err(|error| failed(error.into()))?;
        let payload = serde_json::to_vec(&adds).map_err(|error| failed(error.into()))?;
        Ok(Staged { payload, rows: count })
    }

    async fn mark_at(&self, log: &LogStoreRef, version: u64) -> Result<Entry, DeltaTableError> {
        let Some(bytes) = log.read_commit_entry(version).await? else { return Ok(Entry::Missing) };
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let action: serde_json::Value = serde_json::from_slice(line).map_err(|json_err| {
                DeltaTableError::InvalidJsonLog { json_err, line: String::from_utf8_lossy(line).into_owned(), version }
            })?;
            if let Some(info) = action.get("commitInfo") {
                let mark = found_mark(|key| info.get(key).and_then(|value| value.as_str()));
                if mark.is_some() {
                    return Ok(Entry::Read(mark));
                }
            }
        }
        Ok(Entry::Read(None))
    }

    /// Walks back from the head to `since`, commit by commit.
    pub async fn search(&self, id: &IntentId, since: Option<&TableVersion>) -> Result<Searched, SinkError> {
        let table = &id.table;
        let failed = |error: crate::error::Cause| SinkError::store(format!("reading the history of {table}"), error);
        let head = self.head_version(table)?.ok_or_else(|| failed("there is no such table".into()))?;
        let last = since.map(number).transpose().map_err(|error| failed(error.into()))?;
        let log = DeltaTableBuilder::from_url(self.url(table)?)
            .and_then(|builder| builder.build_storage())
            .map_err(|error| failed(error.into()))?;
        let mut searched = Searched { head: TableVersion(head.to_string()), newest_mark: None, found: None };
        for version in (last.unwrap_or(0)..=head).rev() {
            match self.mark_at(&log, version).await.map_err(|error| failed(error.into()))? {
                Entry::Read(None) => {}
                Entry::Read(Some(mark)) => {
                    if mark.intent == id.number {
                        // Whoever wrote it may have died before it was on disk.
                        self.sync_commit(table, version).await.map_err(|error| failed(error.into()))?;
                        let version = TableVersion(version.to_string());
                        searched.found = Some(Found { version, generation: mark.generation });
                    }
                    searched.newest_mark.get_or_insert(mark);
                }
                // Without a flip to stop at, the history begins where clean-up left it.
                Entry::Missing if last.is_none() => break,
                Entry::Missing => {
                    let version = TableVersion(version.to_string());
                    let source = "its commit is gone from the log".into();
                    return Err(SinkError::NoVersion { table: table.clone(), version, source });
                }
            }
        }
        Ok(searched)
    }

    /// Adds the staged files, or none.
    pub async fn commit(&self, mark: &Mark, payload: &[u8], at: &Searched) -> Result<CommitOutcome, SinkError> {
        if let Some(found) = &at.found {
            return Ok(CommitOutcome::AlreadyCommitted(found.version.clone()));
        }
        let table = &mark.intent.table;
        let adds = decode(table, payload)?;
        let delta = self.at(table, &at.head).await?;
        let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
        self.commit_onto(mark, &delta, adds.into_iter().map(Action::Add).collect(), operation).await
    }

    /// Checkpoints, deletes the log before the newest checkpoint that `keep_from` can be read from, and files that no
    /// version from there on names and that are older than this run.
    pub async fn maintain(
        &self,
        mark: &Mark,
        keep_from: &TableVersion,
        started_at: EventTime,
    ) -> Result<(), SinkError> {
        let table = &mark.intent.table;
        let failed = |error: crate::error::Cause| SinkError::store(format!("maintaining {table}"), error);
        let keep_from = number(keep_from).map_err(|error| failed(error.into()))?;
        let data = disk::list_files(&self.folder(&table.name)).map_err(|error| failed(error.into()))?;
        self.checkpoint(table).await.map_err(failed)?;
        let log = self.log_files(table)?;
        let readable_from =
            log.iter().filter(|file| file.is_checkpoint && file.version <= keep_from).map(|file| file.version).max();
        let named = self.named_files(table, keep_from).await.map_err(failed)?;
        let old = log.into_iter().filter(|file| readable_from.is_some_and(|from| file.version < from));
        let orphans = data.into_iter().filter(|(path, changed)| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_data = path.parent() == Some(&self.folder(&table.name)) && name.ends_with(".parquet");
            is_data && *changed < started_at && !named.contains(name)
        });
        old.map(|file| file.path)
            .chain(orphans.map(|(path, _)| path))
            .try_for_each(|path| disk::delete(&path))
            .map_err(|error| failed(error.into()))
    }

    /// Writes a checkpoint of the head, unless it has one.
    async fn checkpoint(&self, table: &TableId) -> Result<(), crate::error::Cause> {
        let delta = self.load(table, None).await?;
        let head = delta.version().ok_or("the table has no version")?;
        if self.log_files(table)?.iter().any(|file| file.is_checkpoint && file.version == head) {
            return Ok(());
        }
        deltalake::checkpoints::create_checkpoint(&delta, None).await?;
        let hint = self.log_folder(table).join("_last_checkpoint");
        let made = self.log_files(table)?.into_iter().filter(|file| file.is_checkpoint && file.version == head);
        let files = made.map(|file| file.path).chain([hint]).collect();
        Ok(disk::sync_blocking(self.durability, self.root.clone(), files).await?)
    }

    /// The data files of every version from `keep_from` on. We only ever append, but others may rewrite files that a
    /// pinned version still shows.
    async fn named_files(&self, table: &TableId, keep_from: u64) -> Result<BTreeSet<String>, crate::error::Cause> {
        let mut named = BTreeSet::new();
        let head = self.head_version(table)?.unwrap_or(keep_from);
        for version in keep_from..=head {
            let delta = self.load(table, Some(version)).await?;
            named.extend(delta.get_file_uris()?.filter_map(|uri| uri.rsplit('/').next().map(str::to_owned)));
        }
        Ok(named)
    }

    /// Deletes the files of a payload that was never committed.
    pub fn discard(&self, id: &IntentId, payload: &[u8]) -> Result<(), SinkError> {
        let folder = self.folder(&id.table.name);
        decode(&id.table, payload)?
            .iter()
            .try_for_each(|add| disk::delete(&folder.join(&add.path)))
            .map_err(|error| SinkError::store(format!("deleting staged files of {}", id.table), error))
    }

    /// The table at exactly `version`.
    pub async fn open(
        &self,
        schema: &TableSchema,
        table: &TableId,
        version: &TableVersion,
    ) -> Result<Arc<dyn TableProvider>, SinkError> {
        let delta = self.at(table, version).await?;
        let columns = Self::columns(table, &delta)?;
        let provider = delta
            .table_provider()
            .await
            .map_err(|error| SinkError::store(format!("opening {table} at version {version}"), error))?;
        Ok(Arc::new(Canonical::new(provider, schema.stored(), |name| columns.on_disk(name).map(str::to_owned))))
    }
}

enum Entry {
    Missing,
    Read(Option<FoundMark>),
}

/// A file of the log that belongs to a version.
struct LogFile {
    path: PathBuf,
    version: u64,
    is_commit: bool,
    is_checkpoint: bool,
}

impl LogFile {
    fn new(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (version, kind) = name.split_once('.')?;
        let version = (version.len() == 20).then(|| version.parse().ok())??;
        let is_checkpoint = kind.starts_with("checkpoint.") && kind.ends_with("parquet");
        Some(Self { version, is_commit: kind == "json", is_checkpoint, path })
    }
}

fn decode(table: &TableId, payload: &[u8]) -> Result<Vec<Add>, SinkError> {
    if payload.is_empty() {
        return Ok(vec![]);
    }
    serde_json::from_slice(payload)
        .map_err(|error| SinkError::store(format!("reading what was staged for {table}"), error))
}

/// For each column of `target` (names on disk), its place among the stored columns of `schema` (logical names): `None` in
/// the list where it is not among them, no list at all where the table lacks one of them.
pub(crate) fn source_columns(
    columns: &Columns,
    schema: &TableSchema,
    target: &SchemaRef,
) -> Option<Vec<Option<usize>>> {
    let mut logical = HashMap::new();
    for (position, field) in schema.stored().fields().iter().enumerate() {
        let name = columns.on_disk(field.name())?;
        target.index_of(name).ok()?;
        logical.insert(name.to_owned(), position);
    }
    Some(target.fields().iter().map(|field| logical.get(field.name()).copied()).collect())
}
