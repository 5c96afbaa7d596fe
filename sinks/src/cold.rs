//! Cold: Apache Iceberg, with its SQL catalog in SQLite. Data files are staged as JSON and committed by one fast append
//! that carries the mark both in the snapshot's summary and as a table property.
//!
//! A version is a metadata location. The catalog's row points at the newest one, and a commit is a compare-and-swap of
//! that row from exactly the searched head. Two habits of the library stand in the way, and [`Guard`] before them: a
//! transaction reloads the table and rebases onto whatever it finds; and its SQL catalog drops the error of a COMMIT,
//! so that an answer of success proves nothing. The guard answers the reload with the searched head or an error, and
//! does the swap itself, in one statement whose error is seen, after metadata and manifests are synced.

mod guard;

use self::guard::Guard;
use crate::SinkError;
use crate::disk::{self, Columns, Durability, check_store, conformed, found_mark, key, mark_properties};
use crate::error::Cause;
use crate::read::canonical::Canonical;
use crate::tier::{CommitOutcome, Found, FoundMark, Mark, Searched, Staged};
use crate::warm::{parquet_properties, source_columns};
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::TryStreamExt;
use iceberg::arrow::{arrow_schema_to_schema_auto_assign_ids, schema_to_arrow_schema};
use iceberg::io::{FileIO, LocalFsStorageFactory};
use iceberg::spec::{
    DataFile, DataFileFormat, FormatVersion, TableMetadata, TableMetadataBuilder, deserialize_data_file_from_json,
    serialize_data_file_to_json,
};
use iceberg::table::Table;
use iceberg::transaction::{AddColumn, ApplyTransactionAction, Transaction};
use iceberg::writer::base_writer::data_file_writer::DataFileWriterBuilder;
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::location_generator::{DefaultFileNameGenerator, DefaultLocationGenerator};
use iceberg::writer::file_writer::rolling_writer::RollingFileWriterBuilder;
use iceberg::writer::{IcebergWriter, IcebergWriterBuilder};
use iceberg::{
    Catalog, CatalogBuilder, Error as IcebergError, MetadataLocation, NamespaceIdent, Runtime, TableCreation,
    TableIdent,
};
use iceberg_catalog_sql::{SqlBindStyle, SqlCatalogBuilder};
use iceberg_datafusion::IcebergStaticTableProvider;
use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thermocline_schemas::metadata::{IntentId, TableVersion};
use thermocline_schemas::{EventTime, TableId, TableName, TableSchema};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// The catalog's name: part of the key of every table in it, so external readers must use the same.
pub const CATALOG: &str = "thermocline";
/// The namespace of all tables.
pub const NAMESPACE: &str = "thermocline";
/// Parquet files roll at this size.
const TARGET_FILE_BYTES: usize = 512 << 20;

type Files = RollingFileWriterBuilder<ParquetWriterBuilder, DefaultLocationGenerator, DefaultFileNameGenerator>;

/// Writes one lane into files of its own; returns how many rows there were, and the files.
async fn write_lane(files: Files, mut rows: SendableRecordBatchStream) -> Result<(u64, Vec<DataFile>), Cause> {
    let mut writer = DataFileWriterBuilder::new(files).build(None).await?;
    let mut count = 0;
    while let Some(batch) = rows.try_next().await? {
        if batch.num_rows() > 0 {
            count += batch.num_rows() as u64;
            writer.write(batch).await?;
        }
    }
    Ok((count, writer.close().await?))
}

/// The Iceberg tables of one data directory.
#[derive(Debug, Clone)]
pub struct Cold {
    root: PathBuf,
    database: PathBuf,
    store: Uuid,
    durability: Durability,
    catalog: Arc<OnceCell<SqlitePool>>,
}

/// Staged data files, and what they were written for.
#[derive(Debug, Serialize, Deserialize)]
struct Pending {
    spec_id: i32,
    schema_id: i32,
    files: Vec<String>,
}

fn location(path: &Path) -> String {
    format!("file://{}", path.display())
}

fn path_of(location: &str) -> PathBuf {
    PathBuf::from(location.strip_prefix("file://").unwrap_or(location))
}

/// The counter in `…/00012-<uuid>.metadata.json`.
fn metadata_number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.ends_with(".metadata.json").then(|| name.split_once('-')?.0.parse().ok())?
}

fn mark_of(metadata: &TableMetadata) -> Option<FoundMark> {
    found_mark(|key| metadata.properties().get(key).map(String::as_str))
}

impl Cold {
    /// The tables under `root`, with the catalog in the file `database`. Neither need exist yet.
    pub fn new(root: PathBuf, database: PathBuf, store: Uuid, durability: Durability) -> Self {
        Self { root, database, store, durability, catalog: Arc::default() }
    }

    fn ident(name: &TableName) -> TableIdent {
        TableIdent::new(NamespaceIdent::new(NAMESPACE.to_owned()), name.as_path())
    }

    fn folder(&self, name: &TableName) -> PathBuf {
        disk::folder(&self.root, name)
    }

    async fn catalog(&self) -> Result<&SqlitePool, SinkError> {
        self.catalog
            .get_or_try_init(|| self.open_catalog())
            .await
            .map_err(|error| SinkError::store(format!("opening the catalog {}", self.database.display()), error))
    }

    /// Lets the library make its own tables, so that they are exactly those that other readers expect.
    async fn open_catalog(&self) -> Result<SqlitePool, Cause> {
        std::fs::create_dir_all(&self.root)?;
        let options = SqliteConnectOptions::new()
            .filename(&self.database)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(if self.durability == Durability::Disk {
                SqliteSynchronous::Full
            } else {
                SqliteSynchronous::Normal
            })
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new().max_connections(2).connect_with(options).await?;
        let url =
            url::Url::from_file_path(&self.database).map_err(|()| "the data directory is not an absolute path")?;
        let library = SqlCatalogBuilder::default()
            .uri(format!("sqlite://{}?mode=rwc", url.path()))
            .warehouse_location(location(&self.root))
            .sql_bind_style(SqlBindStyle::QMark)
            .prop("pool.max-connections", "1")
            .with_storage_factory(Arc::new(LocalFsStorageFactory))
            .load(CATALOG, HashMap::new())
            .await?;
        let namespace = NamespaceIdent::new(NAMESPACE.to_owned());
        if !library.namespace_exists(&namespace).await? {
            match library.create_namespace(&namespace, HashMap::new()).await {
                // Two processes may open one data directory for the first time at once.
                Err(error) if !library.namespace_exists(&namespace).await? => return Err(error.into()),
                _ => {}
            }
        }
        Ok(pool)
    }

    /// Where the catalog says the table is.
    async fn head(&self, table: &TableId) -> Result<Option<String>, SinkError> {
        if !self.database.exists() {
            return Ok(None);
        }
        let sql = "SELECT metadata_location FROM iceberg_tables \
                   WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?";
        sqlx::query_scalar(sql)
            .bind(CATALOG)
            .bind(NAMESPACE)
            .bind(table.name.as_path())
            .fetch_optional(self.catalog().await?)
            .await
            .map_err(|error| SinkError::store(format!("looking {table} up in the catalog"), error))
    }

    async fn must_head(&self, table: &TableId) -> Result<String, SinkError> {
        let gone = || SinkError::store(format!("opening {table}"), "there is no such table");
        self.head(table).await?.ok_or_else(gone)
    }

    async fn metadata(&self, table: &TableId, location: &str) -> Result<TableMetadata, SinkError> {
        TableMetadata::read_from(&FileIO::new_with_fs(), location).await.map_err(|error| {
            if path_of(location).try_exists().unwrap_or(true) {
                return SinkError::store(format!("reading the metadata of {table} at {location}"), error);
            }
            let version = TableVersion(location.to_owned());
            SinkError::NoVersion { table: table.clone(), version, source: error.into() }
        })
    }

    async fn at(&self, table: &TableId, location: &str) -> Result<Table, SinkError> {
        let metadata = self.metadata(table, location).await?;
        let build = || {
            Table::builder()
                .file_io(FileIO::new_with_fs())
                .identifier(Self::ident(&table.name))
                .metadata_location(location)
                .metadata(metadata)
                .runtime(Runtime::try_current()?)
                .build()
        };
        build().map_err(|error| SinkError::store(format!("opening {table}"), error))
    }

    fn columns(table: &TableId, metadata: &TableMetadata) -> Result<Columns, SinkError> {
        Columns::from_property(table, metadata.properties().get(key::COLUMNS).map(String::as_str))
    }

    /// The head, when the table exists.
    pub async fn exists(&self, table: &TableId) -> Result<Option<TableVersion>, SinkError> {
        let Some(location) = self.head(table).await? else { return Ok(None) };
        let metadata = self.metadata(table, &location).await?;
        check_store(table, self.store, metadata.properties().get(key::STORE).map(String::as_str))?;
        Ok(Some(TableVersion(location)))
    }

    /// Creates the table.
    pub async fn create(&self, schema: &TableSchema, mark: &Mark) -> Result<CommitOutcome, SinkError> {
        let table = &mark.intent.table;
        let catalog = self.catalog().await?;
        if self.exists(table).await?.is_some() {
            let searched = self.search(&mark.intent, None).await?;
            return Ok(searched
                .found
                .map_or(CommitOutcome::Conflict, |found| CommitOutcome::AlreadyCommitted(found.version)));
        }
        let failed = |error: Cause| SinkError::store(format!("creating {table}"), error);
        let written = self.write_first_metadata(schema, mark).await.map_err(failed)?;
        let sql = "INSERT INTO iceberg_tables \
                   (catalog_name, table_namespace, table_name, metadata_location, iceberg_type) \
                   VALUES (?, ?, ?, ?, 'TABLE') ON CONFLICT DO NOTHING";
        let inserted = sqlx::query(sql)
            .bind(CATALOG)
            .bind(NAMESPACE)
            .bind(table.name.as_path())
            .bind(&written)
            .execute(catalog)
            .await
            .map_err(|error| SinkError::unknown(&mark.intent, error))?;
        if inserted.rows_affected() == 0 {
            return Ok(CommitOutcome::Conflict);
        }
        Ok(CommitOutcome::Committed(TableVersion(written)))
    }

    async fn write_first_metadata(&self, schema: &TableSchema, mark: &Mark) -> Result<String, Cause> {
        let columns = Columns::new(schema);
        let disk = columns.disk_schema(&schema.stored()).expect("Columns::new names every column");
        let properties = mark_properties(mark).into_iter().chain([
            (key::COLUMNS.to_owned(), columns.to_property()),
            ("commit.retry.num-retries".to_owned(), "0".to_owned()),
            ("write.parquet.compression-codec".to_owned(), "zstd".to_owned()),
            ("write.parquet.compression-level".to_owned(), "1".to_owned()),
        ]);
        let folder = location(&self.folder(&schema.name));
        let creation = TableCreation::builder()
            .name(schema.name.as_path())
            .location(folder.clone())
            .schema(arrow_schema_to_schema_auto_assign_ids(&disk)?)
            .properties(properties)
            .format_version(FormatVersion::V2)
            .build();
        let metadata = TableMetadataBuilder::from_table_creation(creation)?.build()?.metadata;
        let place = MetadataLocation::new_with_metadata(folder, &metadata);
        metadata.write_to(&FileIO::new_with_fs(), &place).await?;
        let written = place.to_string();
        disk::sync_blocking(self.durability, self.root.clone(), vec![path_of(&written)]).await?;
        Ok(written)
    }

    /// Runs `transaction` onto the version at `head`, or not at all.
    async fn commit_onto(
        &self,
        mark: &Mark,
        head: Table,
        transaction: Transaction,
    ) -> Result<CommitOutcome, SinkError> {
        let table = &mark.intent.table;
        self.catalog().await?;
        let guard = Guard { cold: self, table, head, moved: AtomicBool::new(false), swapping: AtomicBool::new(false) };
        match transaction.commit(&guard).await {
            Ok(committed) => {
                let version = committed.metadata_location().unwrap_or_default().to_owned();
                // An answer is not a proof: what the catalog says is.
                let now = self.head(table).await.map_err(|error| SinkError::unknown(&mark.intent, error))?;
                if now.as_deref() == Some(version.as_str()) {
                    return Ok(CommitOutcome::Committed(TableVersion(version)));
                }
                Err(SinkError::unknown(&mark.intent, "the catalog does not show what it said it committed"))
            }
            Err(_) if guard.moved.load(Ordering::SeqCst) => Ok(CommitOutcome::Conflict),
            Err(error) if guard.swapping.load(Ordering::SeqCst) => Err(SinkError::unknown(&mark.intent, error)),
            Err(error) => Err(SinkError::store(format!("committing to {table}"), error)),
        }
    }

    /// `transaction` with the mark as table properties and an append of `files` that carries it too.
    fn append(transaction: Transaction, mark: &Mark, files: Vec<DataFile>) -> iceberg::Result<Transaction> {
        let properties = mark_properties(mark);
        let mut update = transaction.update_table_properties();
        for (key, value) in &properties {
            update = update.set(key.clone(), value.clone());
        }
        if mark.least_watermark.is_none() {
            update = update.remove(key::LEAST_WATERMARK.to_owned());
        }
        let transaction = update.apply(transaction)?;
        let append = transaction
            .fast_append()
            .add_data_files(files)
            .set_snapshot_properties(properties)
            .with_check_duplicate(false);
        append.apply(transaction)
    }

    /// Adds columns, and appends nothing in the same commit: a scan uses the schema of the newest snapshot.
    pub async fn evolve(&self, schema: &TableSchema, mark: &Mark, at: &Searched) -> Result<CommitOutcome, SinkError> {
        if let Some(found) = &at.found {
            return Ok(CommitOutcome::AlreadyCommitted(found.version.clone()));
        }
        let table = &mark.intent.table;
        let head = self.at(table, &at.head.0).await?;
        let before = Self::columns(table, head.metadata())?;
        let columns = before.extended(schema);
        let stored = schema.stored();
        let added = stored.fields().iter().filter(|field| before.on_disk(field.name()).is_none());
        let added = ArrowSchema::new(added.cloned().collect::<Vec<_>>());
        let added = columns.disk_schema(&added).expect("extended() names every column");
        let build = || {
            let transaction = Transaction::new(&head);
            let mut update = transaction.update_schema();
            for field in arrow_schema_to_schema_auto_assign_ids(&added)?.as_struct().fields() {
                update = update.add_column(AddColumn::optional(&field.name, field.field_type.as_ref().clone()));
            }
            let transaction = if added.fields().is_empty() { transaction } else { update.apply(transaction)? };
            let names = transaction.update_table_properties().set(key::COLUMNS.to_owned(), columns.to_property());
            Self::append(names.apply(transaction)?, mark, vec![])
        };
        let transaction =
            build().map_err(|error: IcebergError| SinkError::store(format!("adding columns to {table}"), error))?;
        self.commit_onto(mark, head, transaction).await
    }

    /// Writes Parquet files.
    pub async fn stage(
        &self,
        schema: &TableSchema,
        id: &IntentId,
        rows: Vec<SendableRecordBatchStream>,
    ) -> Result<Staged, SinkError> {
        let table = &id.table;
        let head = self.at(table, &self.must_head(table).await?).await?;
        let columns = Self::columns(table, head.metadata())?;
        self.write(&head, &columns, schema, rows)
            .await
            .map_err(|error| SinkError::store(format!("writing files of {table}"), error))
    }

    async fn write(
        &self,
        head: &Table,
        columns: &Columns,
        schema: &TableSchema,
        rows: Vec<SendableRecordBatchStream>,
    ) -> Result<Staged, Cause> {
        let metadata = head.metadata();
        let target: SchemaRef = Arc::new(schema_to_arrow_schema(metadata.current_schema())?);
        let from = source_columns(columns, schema, &target).ok_or("the table lacks columns; it must evolve first")?;
        let location = DefaultLocationGenerator::new(metadata)?;
        let write = |rows| {
            // The library counts its files from 0 and truncates what is there: the name must be new on every attempt.
            let names = DefaultFileNameGenerator::new(Uuid::now_v7().to_string(), None, DataFileFormat::Parquet);
            let parquet = ParquetWriterBuilder::new(parquet_properties(), Arc::clone(metadata.current_schema()));
            let (file_io, location) = (head.file_io().clone(), location.clone());
            let files = RollingFileWriterBuilder::new(parquet, TARGET_FILE_BYTES, file_io, location, names);
            write_lane(files, conformed(rows, from.clone(), Arc::clone(&target)))
        };
        let written = disk::write_lanes(rows, write).await?;
        let count = written.iter().map(|(rows, _)| rows).sum();
        let files: Vec<DataFile> = written.into_iter().flat_map(|(_, files)| files).collect();
        let paths = files.iter().map(|file| path_of(file.file_path())).collect();
        disk::sync_blocking(self.durability, self.root.clone(), paths).await?;
        let partition = metadata.default_partition_type();
        let files = files.into_iter().map(|file| serialize_data_file_to_json(file, partition, FormatVersion::V2));
        let pending = Pending {
            spec_id: metadata.default_partition_spec_id(),
            schema_id: metadata.current_schema_id(),
            files: files.collect::<Result<_, _>>()?,
        };
        Ok(Staged { payload: serde_json::to_vec(&pending)?, rows: count })
    }

    /// Walks back from the head to `since` along the log of metadata files.
    pub async fn search(&self, id: &IntentId, since: Option<&TableVersion>) -> Result<Searched, SinkError> {
        let table = &id.table;
        let head = self.must_head(table).await?;
        let mut searched = Searched { head: TableVersion(head.clone()), newest_mark: None, found: None };
        let mut at = head;
        loop {
            let metadata = match self.metadata(table, &at).await {
                Ok(metadata) => metadata,
                // Without a flip to stop at, the history begins where clean-up left it.
                Err(_) if since.is_none() && at != searched.head.0 => return Ok(searched),
                Err(error) => return Err(error),
            };
            // The property outlives commits by others: the oldest metadata that still has it is the commit's own.
            if let Some(mark) = mark_of(&metadata) {
                if mark.intent == id.number {
                    searched.found = Some(Found { version: TableVersion(at.clone()), generation: mark.generation });
                }
                searched.newest_mark.get_or_insert(mark);
            }
            if since.is_some_and(|since| since.0 == at) {
                return Ok(searched);
            }
            match metadata.metadata_log().last() {
                Some(before) => at.clone_from(&before.metadata_file),
                None if since.is_none() => return Ok(searched),
                None => {
                    let version = since.cloned().unwrap_or_else(|| searched.head.clone());
                    let source = "it is not in the history of the table's metadata".into();
                    return Err(SinkError::NoVersion { table: table.clone(), version, source });
                }
            }
        }
    }

    /// Appends the staged files, or none.
    pub async fn commit(&self, mark: &Mark, payload: &[u8], at: &Searched) -> Result<CommitOutcome, SinkError> {
        if let Some(found) = &at.found {
            return Ok(CommitOutcome::AlreadyCommitted(found.version.clone()));
        }
        let table = &mark.intent.table;
        let head = self.at(table, &at.head.0).await?;
        let files = decode(table, payload, head.metadata())?;
        let transaction = Self::append(Transaction::new(&head), mark, files)
            .map_err(|error| SinkError::store(format!("committing to {table}"), error))?;
        self.commit_onto(mark, head, transaction).await
    }

    /// Expires the snapshots that only versions before `keep_from` show, then deletes their files, those versions'
    /// metadata, and files that no version names and that are older than this run.
    pub async fn maintain(
        &self,
        mark: &Mark,
        keep_from: &TableVersion,
        started_at: EventTime,
    ) -> Result<Option<TableVersion>, SinkError> {
        let table = &mark.intent.table;
        let failed = |error: Cause| SinkError::store(format!("maintaining {table}"), error);
        let head = self.must_head(table).await?;
        let from = metadata_number(&path_of(&keep_from.0)).ok_or_else(|| failed("no such version".into()))?;
        let metadata_folder = self.folder(&table.name).join("metadata");
        let files = disk::list_files(&metadata_folder).map_err(|error| failed(error.into()))?;
        // What every version from `keep_from` on shows: its newest snapshot, with the manifests below.
        let mut shown = BTreeSet::new();
        for (path, _) in files.iter().filter(|(path, _)| metadata_number(path).is_some_and(|number| number >= from)) {
            // A file that does not parse belongs to a commit that did not happen; one that cannot be read says nothing.
            std::fs::File::open(path).map_err(|error| failed(error.into()))?;
            let Ok(metadata) = self.metadata(table, &location(path)).await else { continue };
            if let Some(snapshot) = metadata.current_snapshot() {
                shown.insert(snapshot.snapshot_id());
            }
        }
        let now = self.at(table, &head).await?;
        shown.extend(now.metadata().current_snapshot_id());
        let data = disk::list_files(&self.folder(&table.name).join("data")).map_err(|error| failed(error.into()))?;
        let named = self.named_files(&now, &shown).await.map_err(failed)?;
        let expired: Vec<_> =
            now.metadata().snapshots().filter(|snapshot| !shown.contains(&snapshot.snapshot_id())).cloned().collect();
        let mut made = None;
        if !expired.is_empty() {
            let ids = expired.iter().map(|snapshot| snapshot.snapshot_id()).collect();
            made = Some(TableVersion(self.expire(mark, now, ids).await?));
        }
        let expired = expired.iter().map(|snapshot| path_of(snapshot.manifest_list()));
        let expired: BTreeSet<PathBuf> = expired.filter(|list| !named.contains(list)).collect();
        let stale = files.into_iter().filter(|(path, changed)| match metadata_number(path) {
            Some(number) => number < from,
            None => expired.contains(path) || (*changed < started_at && !named.contains(path)),
        });
        let orphans = data.into_iter().filter(|(path, changed)| *changed < started_at && !named.contains(path));
        stale.chain(orphans).try_for_each(|(path, _)| disk::delete(&path)).map_err(|error| failed(error.into()))?;
        Ok(made)
    }

    async fn expire(&self, mark: &Mark, head: Table, snapshots: Vec<i64>) -> Result<String, SinkError> {
        let table = &mark.intent.table;
        let build = || {
            let transaction = Transaction::new(&head);
            // By name alone: age must not expire what a pinned version shows.
            let expire = transaction.expire_snapshots().expire_snapshot_ids(snapshots).expire_older_than_ms(0);
            let transaction = expire.apply(transaction)?;
            let mut update = transaction.update_table_properties();
            for (key, value) in mark_properties(mark) {
                update = update.set(key, value);
            }
            update.apply(transaction)
        };
        let transaction =
            build().map_err(|error: IcebergError| SinkError::store(format!("expiring snapshots of {table}"), error))?;
        match self.commit_onto(mark, head, transaction).await? {
            CommitOutcome::Committed(version) | CommitOutcome::AlreadyCommitted(version) => Ok(version.0),
            CommitOutcome::Conflict => {
                Err(SinkError::store(format!("expiring snapshots of {table}"), "somebody else committed meanwhile"))
            }
        }
    }

    /// Manifest lists, manifests and data files of the snapshots `shown`. We only ever append, but others may rewrite
    /// files that a pinned version still shows.
    async fn named_files(&self, table: &Table, shown: &BTreeSet<i64>) -> Result<BTreeSet<PathBuf>, Cause> {
        let mut named = BTreeSet::new();
        let snapshots = table.metadata().snapshots().filter(|snapshot| shown.contains(&snapshot.snapshot_id()));
        for snapshot in snapshots {
            named.insert(path_of(snapshot.manifest_list()));
            for manifest in table.manifest_list_reader(snapshot).load().await?.entries() {
                if named.insert(path_of(&manifest.manifest_path)) {
                    let manifest = manifest.load_manifest(table.file_io()).await?;
                    named.extend(manifest.entries().iter().map(|entry| path_of(entry.file_path())));
                }
            }
        }
        Ok(named)
    }

    /// Deletes the files of a payload that was never committed.
    pub async fn discard(&self, id: &IntentId, payload: &[u8]) -> Result<(), SinkError> {
        if payload.is_empty() {
            return Ok(());
        }
        let head = self.at(&id.table, &self.must_head(&id.table).await?).await?;
        decode(&id.table, payload, head.metadata())?
            .iter()
            .try_for_each(|file| disk::delete(&path_of(file.file_path())))
            .map_err(|error| SinkError::store(format!("deleting staged files of {}", id.table), error))
    }

    /// The table at exactly `version`; the catalog is not asked.
    pub async fn open(
        &self,
        schema: &TableSchema,
        table: &TableId,
        version: &TableVersion,
    ) -> Result<Arc<dyn TableProvider>, SinkError> {
        let iceberg = self.at(table, &version.0).await?;
        let columns = Self::columns(table, iceberg.metadata())?;
        let provider = IcebergStaticTableProvider::try_new_from_table(iceberg)
            .await
            .map_err(|error| SinkError::store(format!("opening {table} at version {version}"), error))?;
        let on_disk = |name: &str| columns.on_disk(name).map(str::to_owned);
        Ok(Arc::new(Canonical::new(Arc::new(provider), schema.stored(), on_disk)))
    }
}

fn decode(table: &TableId, payload: &[u8], metadata: &TableMetadata) -> Result<Vec<DataFile>, SinkError> {
    if payload.is_empty() {
        return Ok(vec![]);
    }
    let decode = || {
        let pending: Pending = serde_json::from_slice(payload)?;
        let schema = metadata.schema_by_id(pending.schema_id).ok_or("its schema is gone")?;
        let spec = metadata.partition_spec_by_id(pending.spec_id).ok_or("its partitioning is gone")?;
        let partition = spec.partition_type(schema)?;
        let files =
            pending.files.iter().map(|file| deserialize_data_file_from_json(file, pending.spec_id, &partition, schema));
        Ok::<_, Cause>(files.collect::<Result<_, _>>()?)
    };
    decode().map_err(|error| SinkError::store(format!("reading what was staged for {table}"), error))
}
