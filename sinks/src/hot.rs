//! Hot: Lance. One append with all fragments, committed only at the very version whose history was searched.
//!
//! Lance rebases appends silently and never takes two of them for a conflict, so a late or repeated commit would add
//! its rows twice. [`OnlyVersion`] stands in the way: it lets through the one version that follows the searched head.
//! The mark is a property of the transaction, which stays readable as long as its version does.

use crate::SinkError;
use crate::disk::{self, Columns, Durability, check_store, conformed, found_mark, key, mark_properties};
use crate::read::canonical::Canonical;
use crate::tier::{CommitOutcome, Found, FoundMark, Mark, Searched, Staged};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use lance::Dataset;
use lance::datafusion::LanceTableProvider;
use lance::dataset::builder::DatasetBuilder;
use lance::dataset::cleanup::CleanupPolicy;
use lance::dataset::transaction::{Operation, Transaction, TransactionBuilder};
use lance::dataset::{CommitBuilder, InsertBuilder, WriteMode, WriteParams};
use lance::session::Session;
use lance_core::Error as LanceError;
use lance_io::object_store::ObjectStore;
use lance_table::format::{IndexMetadata, Manifest, Transaction as StoredTransaction, pb};
use lance_table::io::commit::{
    CommitError, CommitHandler, ConditionalPutCommitHandler, ManifestLocation, ManifestNamingScheme, ManifestWriter,
};
use prost::Message;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use thermocline_schemas::metadata::{IntentId, TableVersion};
use thermocline_schemas::table::{EMBEDDING_DIMENSIONS, system};
use thermocline_schemas::{TableId, TableName, TableSchema};
use uuid::Uuid;

/// Memory for opened indices, shared by all hot tables. Lance's own default is 6 GiB.
const INDEX_CACHE_BYTES: usize = 256 << 20;
/// Memory for manifests, transactions and file footers, shared by all hot tables. Lance's own default is 1 GiB.
const METADATA_CACHE_BYTES: usize = 128 << 20;

/// The Lance tables of one data directory.
#[derive(Clone)]
pub struct Hot {
    root: PathBuf,
    store: Uuid,
    durability: Durability,
    session: Arc<Session>,
}

impl std::fmt::Debug for Hot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hot").field("root", &self.root).field("store", &self.store).finish_non_exhaustive()
    }
}

/// The column that only hot tables have.
pub fn embedding_field() -> Field {
    let item = Field::new("item", DataType::Float32, true);
    Field::new(system::EMBEDDING, DataType::FixedSizeList(Arc::new(item), EMBEDDING_DIMENSIONS), true)
}

/// The columns of a hot table under their logical names: the stored ones and `_embedding`.
pub fn hot_schema(schema: &TableSchema) -> SchemaRef {
    let stored = schema.stored();
    Arc::new(Schema::new(stored.fields().iter().cloned().chain([Arc::new(embedding_field())]).collect::<Vec<_>>()))
}

fn number(version: &TableVersion) -> Result<u64, std::num::ParseIntError> {
    version.0.parse()
}

fn version_of(dataset: &Dataset) -> TableVersion {
    TableVersion(dataset.version().version.to_string())
}

fn is_missing(error: &LanceError) -> bool {
    matches!(
        error,
        LanceError::DatasetNotFound { .. } | LanceError::NotFound { .. } | LanceError::VersionNotFound { .. }
    )
}

impl Hot {
    /// The tables under `root`, which need not exist yet.
    pub fn new(root: PathBuf, store: Uuid, durability: Durability) -> Self {
        let session = Arc::new(Session::new(INDEX_CACHE_BYTES, METADATA_CACHE_BYTES, Arc::default()));
        Self { root, store, durability, session }
    }

    fn folder(&self, name: &TableName) -> PathBuf {
        self.root.join(format!("{}.lance", name.as_path()))
    }

    fn uri(&self, name: &TableName) -> String {
        self.folder(name).to_string_lossy().into_owned()
    }

    async fn head(&self, table: &TableId) -> Result<Option<Dataset>, SinkError> {
        if !self.folder(&table.name).exists() {
            return Ok(None);
        }
        match DatasetBuilder::from_uri(self.uri(&table.name)).with_session(Arc::clone(&self.session)).load().await {
            Ok(dataset) => Ok(Some(dataset)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(SinkError::store(format!("opening {table}"), error)),
        }
    }

    async fn at(&self, table: &TableId, version: &TableVersion) -> Result<Dataset, SinkError> {
        let missing = |source: crate::error::Cause| SinkError::NoVersion {
            table: table.clone(),
            version: version.clone(),
            source,
        };
        let version = number(version).map_err(|error| missing(error.into()))?;
        DatasetBuilder::from_uri(self.uri(&table.name))
            .with_session(Arc::clone(&self.session))
            .with_version(version)
            .load()
            .await
            .map_err(|error| {
                if is_missing(&error) {
                    return missing(error.into());
                }
                SinkError::store(format!("opening {table} at version {version}"), error)
            })
    }

    async fn must_head(&self, table: &TableId) -> Result<Dataset, SinkError> {
        let gone = || SinkError::store(format!("opening {table}"), "there is no such table");
        self.head(table).await?.ok_or_else(gone)
    }

    fn columns(table: &TableId, dataset: &Dataset) -> Result<Columns, SinkError> {
        Columns::from_property(table, dataset.schema().metadata.get(key::COLUMNS).map(String::as_str))
    }

    /// The head, when the table exists.
    pub async fn exists(&self, table: &TableId) -> Result<Option<TableVersion>, SinkError> {
        let Some(dataset) = self.head(table).await? else { return Ok(None) };
        check_store(table, self.store, dataset.schema().metadata.get(key::STORE).map(String::as_str))?;
        Ok(Some(version_of(&dataset)))
    }

    /// Creates the table at version 1.
    pub async fn create(&self, schema: &TableSchema, mark: &Mark) -> Result<CommitOutcome, SinkError> {
        let table = &mark.intent.table;
        if self.exists(table).await?.is_some() {
            let searched = self.search(&mark.intent, None).await?;
            return Ok(searched
                .found
                .map_or(CommitOutcome::Conflict, |found| CommitOutcome::AlreadyCommitted(found.version)));
        }
        let columns = Columns::new(schema);
        let metadata = [
            (key::STORE, self.store.to_string()),
            (key::TABLE, schema.name.to_string()),
            (key::COLUMNS, columns.to_property()),
        ];
        let fields = self.disk_fields(&columns, schema).expect("Columns::new names every column");
        let disk = Schema::new(fields).with_metadata(metadata.map(|(key, value)| (key.to_owned(), value)).into());
        let empty = RecordBatchStreamAdapter::new(Arc::new(disk), stream::empty());
        let params = WriteParams { session: Some(Arc::clone(&self.session)), ..self.params(WriteMode::Create) };
        let mut transaction = InsertBuilder::new(self.uri(&table.name).as_str())
            .with_params(&params)
            .execute_uncommitted_stream(Box::pin(empty) as SendableRecordBatchStream)
            .await
            .map_err(|error| SinkError::store(format!("creating {table}"), error))?;
        transaction.transaction_properties = Some(Arc::new(mark_properties(mark)));
        let uri = self.uri(&table.name);
        let builder = CommitBuilder::new(uri.as_str()).with_session(Arc::clone(&self.session));
        self.commit_at(mark, builder, transaction, 1).await
    }

    fn disk_fields(&self, columns: &Columns, schema: &TableSchema) -> Option<Vec<Arc<Field>>> {
        let disk = columns.disk_schema(&schema.stored())?;
        Some(disk.fields().iter().cloned().chain([Arc::new(embedding_field())]).collect())
    }

    fn params(&self, mode: WriteMode) -> WriteParams {
        WriteParams { mode, skip_auto_cleanup: true, ..Default::default() }
    }

    /// Commits `transaction` as `version` or not at all.
    async fn commit_at(
        &self,
        mark: &Mark,
        builder: CommitBuilder<'_>,
        transaction: Transaction,
        version: u64,
    ) -> Result<CommitOutcome, SinkError> {
        let table = &mark.intent.table;
        let handler = Arc::new(OnlyVersion { version, state: AtomicU8::new(NOT_REACHED) });
        let result = builder
            .with_commit_handler(Arc::clone(&handler) as Arc<dyn CommitHandler>)
            .with_max_retries(1)
            .with_skip_auto_cleanup(true)
            .execute(transaction)
            .await;
        let state = handler.state.load(Ordering::SeqCst);
        match result {
            Ok(dataset) => {
                let synced = self.sync_commit(table, &dataset).await;
                synced.map_err(|error| SinkError::unknown(&mark.intent, error))?;
                Ok(CommitOutcome::Committed(version_of(&dataset)))
            }
            Err(_) if matches!(state, REFUSED | TAKEN) => Ok(CommitOutcome::Conflict),
            Err(LanceError::CommitConflict { .. } | LanceError::RetryableCommitConflict { .. })
            | Err(LanceError::IncompatibleTransaction { .. })
                if state == NOT_REACHED =>
            {
                Ok(CommitOutcome::Conflict)
            }
            Err(error) if state == NOT_REACHED => Err(SinkError::store(format!("committing to {table}"), error)),
            Err(error) => Err(SinkError::unknown(&mark.intent, error)),
        }
    }

    async fn sync_commit(&self, table: &TableId, dataset: &Dataset) -> std::io::Result<()> {
        let folder = self.folder(&table.name);
        let manifest = dataset.manifest_location().path.filename().map(|name| folder.join("_versions").join(name));
        let transaction =
            dataset.manifest().transaction_file.as_ref().map(|name| folder.join("_transactions").join(name));
        let files = manifest.into_iter().chain(transaction).collect();
        disk::sync_blocking(self.durability, self.root.clone(), files).await
    }

    /// Adds columns of nulls: changes metadata alone.
    pub async fn evolve(&self, schema: &TableSchema, mark: &Mark, at: &Searched) -> Result<CommitOutcome, SinkError> {
        if let Some(found) = &at.found {
            return Ok(CommitOutcome::AlreadyCommitted(found.version.clone()));
        }
        let table = &mark.intent.table;
        let failed = |error: LanceError| SinkError::store(format!("adding columns to {table}"), error);
        let dataset = self.at(table, &at.head).await?;
        let before = Self::columns(table, &dataset)?;
        let columns = before.extended(schema);
        let stored = schema.stored();
        let added = stored.fields().iter().filter(|field| before.on_disk(field.name()).is_none());
        let added = Schema::new(added.cloned().collect::<Vec<_>>());
        let added = columns.disk_schema(&added).expect("extended() names every column");
        let mut merged = dataset.schema().merge(added.as_ref()).map_err(failed)?;
        merged.set_field_id(Some(dataset.manifest().max_field_id()));
        merged.metadata.insert(key::COLUMNS.to_owned(), columns.to_property());
        let operation = Operation::Merge { fragments: dataset.fragments().as_ref().clone(), schema: merged };
        self.commit_onto(mark, dataset, operation).await
    }

    async fn commit_onto(
        &self,
        mark: &Mark,
        dataset: Dataset,
        operation: Operation,
    ) -> Result<CommitOutcome, SinkError> {
        let head = dataset.version().version;
        let transaction = TransactionBuilder::new(head, operation)
            .transaction_properties(Some(Arc::new(mark_properties(mark))))
            .build();
        self.commit_at(mark, CommitBuilder::new(Arc::new(dataset)), transaction, head + 1).await
    }

    /// Writes fragments. `rows` may bring `_embedding`; without it the column is null.
    pub async fn stage(
        &self,
        schema: &TableSchema,
        id: &IntentId,
        rows: Vec<SendableRecordBatchStream>,
    ) -> Result<Staged, SinkError> {
        let table = &id.table;
        let failed = |error: LanceError| SinkError::store(format!("writing fragments of {table}"), error);
        let dataset = self.must_head(table).await?;
        let columns = Self::columns(table, &dataset)?;
        let fields = self.disk_fields(&columns, schema).ok_or_else(|| {
            SinkError::store(format!("writing fragments of {table}"), "the table lacks columns; it must evolve first")
        })?;
        let disk: SchemaRef = Arc::new(Schema::new(fields));
        let source = rows.first().map_or_else(|| hot_schema(schema), |lane| lane.schema());
        let from: Vec<Option<usize>> =
            hot_schema(schema).fields().iter().map(|field| source.index_of(field.name()).ok()).collect();
        // Lance encodes on threads of its own; what lanes do at the same time are the vectors.
        let written = conformed(stream::select_all(rows), from, disk);
        let params = self.params(WriteMode::Append);
        let transaction = InsertBuilder::new(Arc::new(dataset))
            .with_params(&params)
            .execute_uncommitted_stream(written)
            .await
            .map_err(failed)?;
        let files = self.data_files(table, &transaction);
        disk::sync_blocking(self.durability, self.root.clone(), files)
            .await
            .map_err(|error| SinkError::store(format!("syncing fragments of {table}"), error))?;
        let Operation::Append { fragments } = &transaction.operation else {
            return Err(SinkError::store(format!("writing fragments of {table}"), "Lance staged no append"));
        };
        let rows = fragments.iter().map(|fragment| fragment.physical_rows.unwrap_or_default() as u64).sum();
        Ok(Staged { payload: pb::Transaction::from(&transaction).encode_to_vec(), rows })
    }

    fn data_files(&self, table: &TableId, transaction: &Transaction) -> Vec<PathBuf> {
        let Operation::Append { fragments } = &transaction.operation else { return vec![] };
        let folder = self.folder(&table.name).join("data");
        fragments.iter().flat_map(|fragment| &fragment.files).map(|file| folder.join(&file.path)).collect()
    }

    async fn mark_at(&self, table: &TableId, dataset: &Dataset) -> Result<Option<FoundMark>, SinkError> {
        let transaction = dataset
            .read_transaction()
            .await
            .map_err(|error| SinkError::store(format!("reading the history of {table}"), error))?;
        Ok(transaction.and_then(|transaction| {
            let properties = transaction.transaction_properties?;
            found_mark(|key| properties.get(key).map(String::as_str))
        }))
    }

    /// Walks back from the head to `since`, version by version.
    pub async fn search(&self, id: &IntentId, since: Option<&TableVersion>) -> Result<Searched, SinkError> {
        let table = &id.table;
        let mut dataset = self.must_head(table).await?;
        let mut searched = Searched { head: version_of(&dataset), newest_mark: None, found: None };
        let last = since.map(number).transpose().map_err(|error| {
            SinkError::store(format!("searching {table} back to version {}", since.map_or("", |v| &v.0)), error)
        })?;
        loop {
            if let Some(mark) = self.mark_at(table, &dataset).await? {
                if mark.intent == id.number {
                    // Whoever wrote it may have died before it was on disk.
                    let synced = self.sync_commit(table, &dataset).await;
                    synced.map_err(|error| SinkError::store(format!("syncing a commit of {table}"), error))?;
                    searched.found = Some(Found { version: version_of(&dataset), generation: mark.generation });
                }
                searched.newest_mark.get_or_insert(mark);
            }
            let version = dataset.version().version;
            if version <= last.unwrap_or(1).max(1) {
                return Ok(searched);
            }
            match dataset.checkout_version(version - 1).await {
                Ok(before) => dataset = before,
                // Without a flip to stop at, the history begins where clean-up left it.
                Err(error) if is_missing(&error) && last.is_none() => return Ok(searched),
                Err(error) => {
                    let version = TableVersion((version - 1).to_string());
                    return Err(SinkError::NoVersion { table: table.clone(), version, source: error.into() });
                }
            }
        }
    }

    /// Appends the staged fragments, or none.
    pub async fn commit(&self, mark: &Mark, payload: &[u8], at: &Searched) -> Result<CommitOutcome, SinkError> {
        if let Some(found) = &at.found {
            return Ok(CommitOutcome::AlreadyCommitted(found.version.clone()));
        }
        let table = &mark.intent.table;
        let operation = if payload.is_empty() {
            Operation::Append { fragments: vec![] }
        } else {
            decode(table, payload)?.operation
        };
        let dataset = self.at(table, &at.head).await?;
        self.commit_onto(mark, dataset, operation).await
    }

    /// Forgets versions before `keep_from`. Lance itself spares files that nothing names for seven days.
    pub async fn maintain(&self, mark: &Mark, keep_from: &TableVersion) -> Result<(), SinkError> {
        let table = &mark.intent.table;
        let failed = format!("cleaning up {table}");
        let dataset = self.must_head(table).await?;
        let before = number(keep_from).map_err(|error| SinkError::store(failed.clone(), error))?;
        let policy =
            CleanupPolicy { before_version: Some(before), error_if_tagged_old_versions: false, ..Default::default() };
        dataset.cleanup_with_policy(policy).await.map_err(|error| SinkError::store(failed, error))?;
        Ok(())
    }

    /// Deletes the fragments of a payload that was never committed.
    pub fn discard(&self, id: &IntentId, payload: &[u8]) -> Result<(), SinkError> {
        if payload.is_empty() {
            return Ok(());
        }
        let transaction = decode(&id.table, payload)?;
        self.data_files(&id.table, &transaction)
            .iter()
            .try_for_each(|file| disk::delete(file))
            .map_err(|error| SinkError::store(format!("deleting staged fragments of {}", id.table), error))
    }

    /// The table at exactly `version`.
    pub async fn open(
        &self,
        schema: &TableSchema,
        table: &TableId,
        version: &TableVersion,
    ) -> Result<Arc<dyn TableProvider>, SinkError> {
        let dataset = self.at(table, version).await?;
        let columns = Self::columns(table, &dataset)?;
        let provider = LanceTableProvider::new_with_ordering(Arc::new(dataset), false, false, false);
        let on_disk = |name: &str| match name {
            system::EMBEDDING => Some(system::EMBEDDING.to_owned()),
            name => columns.on_disk(name).map(str::to_owned),
        };
        Ok(Arc::new(Canonical::new(Arc::new(provider), hot_schema(schema), on_disk)))
    }
}

fn decode(table: &TableId, payload: &[u8]) -> Result<Transaction, SinkError> {
    let damaged = |error: crate::error::Cause| SinkError::store(format!("reading what was staged for {table}"), error);
    let message = pb::Transaction::decode(payload).map_err(|error| damaged(error.into()))?;
    Transaction::try_from(message).map_err(|error| damaged(error.into()))
}

const NOT_REACHED: u8 = 0;
const REFUSED: u8 = 1;
const WRITING: u8 = 2;
const TAKEN: u8 = 3;
const WRITTEN: u8 = 4;

/// A commit handler that lets one version through, and remembers how far a commit came.
#[derive(Debug)]
struct OnlyVersion {
    version: u64,
    state: AtomicU8,
}

#[async_trait::async_trait]
impl CommitHandler for OnlyVersion {
    async fn commit(
        &self,
        manifest: &mut Manifest,
        indices: Option<Vec<IndexMetadata>>,
        base_path: &object_store::path::Path,
        object_store: &ObjectStore,
        manifest_writer: ManifestWriter,
        naming_scheme: ManifestNamingScheme,
        transaction: Option<StoredTransaction>,
    ) -> Result<ManifestLocation, CommitError> {
        if manifest.version != self.version {
            self.state.store(REFUSED, Ordering::SeqCst);
            let moved = format!("the head moved: this commit would be version {}", manifest.version);
            return Err(CommitError::OtherError(LanceError::internal(moved)));
        }
        self.state.store(WRITING, Ordering::SeqCst);
        let written = ConditionalPutCommitHandler
            .commit(manifest, indices, base_path, object_store, manifest_writer, naming_scheme, transaction)
            .await;
        match &written {
            Ok(_) => self.state.store(WRITTEN, Ordering::SeqCst),
            Err(CommitError::CommitConflict) => self.state.store(TAKEN, Ordering::SeqCst),
            Err(CommitError::OtherError(_)) => {}
        }
        written
    }
}
