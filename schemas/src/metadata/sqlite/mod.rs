//! The metadata store in one SQLite file, the default.
//!
//! Two connections: one writes, with `BEGIN IMMEDIATE` and (by default) a sync at every commit; the other reads and pins
//! without a sync, for a pin need not survive a loss of power. Neither holds a transaction while it waits for anything
//! else: whoever reads copies what its cut says, and closes.

mod branches;
mod intents;
mod manifest;
mod pins;
mod tables;
#[cfg(test)]
mod tests;
mod view;

use super::{
    BranchId, CutView, Durability, Flip, Gap, Intent, IntentId, IntentPlan, LastFlip, Manifest, Mapping, Meta,
    MetaError, NewBranch, OffsetReset, Pause, Pin, References, RunInfo, Victims,
};
use crate::time::Clock;
use crate::{Cut, EventTime, Generation, TableId, TableSchema};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Executor, Sqlite, SqliteConnection, Transaction, TransactionManager};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

/// The file's format, in SQLite's `user_version`.
const FORMAT: i64 = 3;
/// Records with names for data make ever new shapes; the list of what was decided is for people.
const MOST_MAPPINGS: i64 = 10_000;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection steps back that met another one turning the new file to WAL.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// [`Meta`] in one SQLite file.
#[derive(Debug)]
pub struct SqliteMeta {
    path: PathBuf,
    id: Uuid,
    clock: Arc<dyn Clock>,
    writer: Mutex<Link>,
    reader: Mutex<Link>,
}

/// A connection, and how to make it anew.
#[derive(Debug)]
struct Link {
    connection: SqliteConnection,
    synchronous: SqliteSynchronous,
}

impl Link {
    async fn new(path: &Path, synchronous: SqliteSynchronous) -> Result<Self, MetaError> {
        Ok(Self { connection: connect(path, synchronous).await?, synchronous })
    }
}

impl Deref for Link {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Link {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

impl SqliteMeta {
    /// Opens the store at `path`, or creates it. Commits survive a loss of power.
    ///
    /// # Errors
    /// [`MetaError::ReadOnly`] when it cannot be written, [`MetaError::Format`] when another version wrote it.
    pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, MetaError> {
        Self::open_with(path, clock, Durability::Disk).await
    }

    /// Opens or creates the store; `durability` says what a commit outlives.
    ///
    /// # Errors
    /// As [`SqliteMeta::open`].
    pub async fn open_with(path: &Path, clock: Arc<dyn Clock>, durability: Durability) -> Result<Self, MetaError> {
        let (written, pinned) = match durability {
            Durability::Disk => (SqliteSynchronous::Full, SqliteSynchronous::Normal),
            Durability::Process => (SqliteSynchronous::Off, SqliteSynchronous::Off),
        };
        let mut writer = Link::new(path, written).await?;
        let id = create(&mut writer, path, clock.now()).await.map_err(|error| explain(error, path))?;
        let reader = Link::new(path, pinned).await?;
        let (writer, reader) = (Mutex::new(writer), Mutex::new(reader));
        Ok(Self { path: path.to_owned(), id, clock, writer, reader })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a transaction of the run `generation`, and checks inside it that nobody newer has begun.
    async fn fenced<'a>(
        &self,
        writer: &'a mut Link,
        generation: Generation,
    ) -> Result<Transaction<'a, Sqlite>, MetaError> {
        let mut transaction = self.write(writer).await?;
        check(&mut transaction, generation).await?;
        Ok(transaction)
    }

    async fn write<'a>(&self, link: &'a mut Link) -> Result<Transaction<'a, Sqlite>, MetaError> {
        link.begin_with("BEGIN IMMEDIATE").await.map_err(|error| explain(error.into(), &self.path))
    }

    async fn writer(&self) -> Result<MutexGuard<'_, Link>, MetaError> {
        self.take(&self.writer).await
    }

    async fn reader(&self) -> Result<MutexGuard<'_, Link>, MetaError> {
        self.take(&self.reader).await
    }

    /// The connection, in no transaction. A future that was dropped between the answer to BEGIN and its last step leaves one
    /// that nobody owns. Where the disk was full, SQLite has rolled back by itself and sqlx still believes in a transaction:
    /// then the connection is made anew.
    async fn take<'a>(&self, link: &'a Mutex<Link>) -> Result<MutexGuard<'a, Link>, MetaError> {
        let mut link = link.lock().await;
        if link.is_in_transaction() {
            let rolled_back = <Sqlite as sqlx::Database>::TransactionManager::rollback(&mut link).await;
            if rolled_back.is_err() {
                link.connection = connect(&self.path, link.synchronous).await?;
            }
        }
        Ok(link)
    }
}

/// One connection, in the mode we ask for.
async fn connect(path: &Path, synchronous: SqliteSynchronous) -> Result<SqliteConnection, MetaError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(false)
        .log_statements(tracing::log::LevelFilter::Trace);
    let mut connection = patiently(&options).await.map_err(|error| explain(error.into(), path))?;
    let (mode,): (String,) = sqlx::query_as("PRAGMA journal_mode").fetch_one(&mut connection).await?;
    if mode != "wal" {
        let what = format!("{} uses journal mode {mode}, not wal; is it on a network drive?", path.display());
        return Err(MetaError::refused(what));
    }
    Ok(connection)
}

/// Opens the file. SQLite's own timeout does not cover the turn of a new file to WAL: it would have to wait with a shared
/// lock in its hands, and fails at once instead. Where it does wait, the whole may take twice as long.
async fn patiently(options: &SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
    let until = Instant::now() + BUSY_TIMEOUT;
    loop {
        match options.connect().await {
            Err(error) if primary_code(&error) == Some(BUSY) && Instant::now() < until => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// Makes the tables where there are none; returns the identity of the store.
async fn create(writer: &mut SqliteConnection, path: &Path, now: EventTime) -> Result<Uuid, MetaError> {
    let (format,): (i64,) = sqlx::query_as("PRAGMA user_version").fetch_one(&mut *writer).await?;
    if format != FORMAT {
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        let (found,): (i64,) = sqlx::query_as("PRAGMA user_version").fetch_one(&mut *transaction).await?;
        let (others,): (i64,) =
            sqlx::query_as("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *transaction).await?;
        if found == 0 && others == 0 {
            // Not `raw_sql`: the compiler cannot prove its future `Send` for callers that spawn this.
            transaction.execute(include_str!("tables.sql")).await?;
            sqlx::query("INSERT INTO store (only, id, created_at) VALUES (1, ?, ?)")
                .bind(Uuid::new_v4().to_string())
                .bind(now)
                .execute(&mut *transaction)
                .await?;
            transaction.execute(format!("PRAGMA user_version = {FORMAT}").as_str()).await?;
        } else if found != FORMAT {
            return Err(MetaError::Format { path: path.to_owned(), found, wanted: FORMAT });
        }
        transaction.commit().await?;
    }
    let (id,): (String,) = sqlx::query_as("SELECT id FROM store").fetch_one(&mut *writer).await?;
    parse_uuid(&id)
}

/// SQLite's primary result codes that mean something to us.
const BUSY: i64 = 5;
const READONLY: i64 = 8;
const CANTOPEN: i64 = 14;

/// SQLite's primary result code, without what an extended one adds.
fn primary_code(error: &sqlx::Error) -> Option<i64> {
    let sqlx::Error::Database(error) = error else { return None };
    error.code()?.parse::<i64>().ok().map(|code| code & 0xff)
}

/// Says so when a failure means that the file cannot be written.
fn explain(error: MetaError, path: &Path) -> MetaError {
    let MetaError::Unavailable { source } = error else { return error };
    match source.downcast_ref::<sqlx::Error>().and_then(primary_code) {
        Some(READONLY | CANTOPEN) => MetaError::ReadOnly { path: path.to_owned(), source },
        _ => MetaError::Unavailable { source },
    }
}

/// The fence.
async fn check(connection: &mut SqliteConnection, ours: Generation) -> Result<(), MetaError> {
    let newest: Option<(i64, String, i64, i64)> =
        sqlx::query_as("SELECT generation, host, pid, started_at FROM generations ORDER BY generation DESC LIMIT 1")
            .fetch_optional(connection)
            .await?;
    let Some((generation, host, pid, started_at)) = newest else {
        return Err(MetaError::refused(format!("generation {ours} has not begun in this store")));
    };
    let theirs = Generation(count(generation)?);
    if theirs == ours {
        return Ok(());
    }
    let holder = Box::new(RunInfo { host, pid: u32::try_from(pid).unwrap_or_default(), started_at });
    Err(MetaError::Fenced { ours, theirs, holder })
}

/// Adds the next generation.
async fn bump(connection: &mut SqliteConnection, run: &RunInfo) -> Result<Generation, MetaError> {
    let (generation,): (i64,) = sqlx::query_as(
        "INSERT INTO generations (generation, host, pid, started_at)
         SELECT coalesce(max(generation), 0) + 1, ?, ?, ? FROM generations RETURNING generation",
    )
    .bind(&run.host)
    .bind(i64::from(run.pid))
    .bind(run.started_at)
    .fetch_one(connection)
    .await?;
    Ok(Generation(count(generation)?))
}

/// Adds the next cut.
async fn add_cut(
    connection: &mut SqliteConnection,
    kind: &str,
    generation: Generation,
    now: EventTime,
) -> Result<Cut, MetaError> {
    let (cut,): (i64,) = sqlx::query_as("INSERT INTO cuts (kind, added_at, generation) VALUES (?, ?, ?) RETURNING cut")
        .bind(kind)
        .bind(now)
        .bind(int(generation.0)?)
        .fetch_one(connection)
        .await?;
    Ok(Cut(count(cut)?))
}

/// A number as SQLite keeps it.
fn int(number: u64) -> Result<i64, MetaError> {
    i64::try_from(number).map_err(|_| MetaError::refused(format!("{number} is too large to be kept")))
}

/// A number as SQLite kept it.
fn count(number: i64) -> Result<u64, MetaError> {
    u64::try_from(number).map_err(|_| MetaError::Damaged { what: format!("{number} should not be negative") })
}

fn parse_uuid(text: &str) -> Result<Uuid, MetaError> {
    Uuid::parse_str(text).map_err(|_| MetaError::Damaged { what: format!("{text:?} is no uuid") })
}

fn table_id(name: &str, tier: &str) -> Result<TableId, MetaError> {
    let damaged = |error: crate::SchemaError| MetaError::Damaged { what: error.to_string() };
    Ok(TableId::new(crate::TableName::new(name).map_err(damaged)?, tier.parse().map_err(damaged)?))
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String, MetaError> {
    serde_json::to_string(value).map_err(|error| MetaError::refused(format!("cannot be kept as JSON: {error}")))
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, MetaError> {
    serde_json::from_str(text).map_err(|error| MetaError::Damaged { what: error.to_string() })
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[async_trait::async_trait]
impl Meta for SqliteMeta {
    fn store(&self) -> Uuid {
        self.id
    }

    async fn begin(&self, run: &RunInfo) -> Result<Generation, MetaError> {
        let mut writer = self.writer().await?;
        let mut transaction = self.write(&mut writer).await?;
        let generation = bump(&mut transaction, run).await?;
        transaction.commit().await?;
        Ok(generation)
    }

    async fn check(&self, generation: Generation) -> Result<(), MetaError> {
        check(&mut *self.reader().await?, generation).await
    }

    async fn commit_manifest(&self, generation: Generation, manifest: &Manifest) -> Result<Cut, MetaError> {
        manifest::check(manifest)?;
        let mut writer = self.writer().await?;
        let mut transaction = self.fenced(&mut writer, generation).await?;
        let cut = manifest::commit(&mut transaction, generation, manifest, self.clock.now()).await?;
        transaction.commit().await?;
        Ok(cut)
    }

    async fn register_table(&self, generation: Generation, schema: &TableSchema) -> Result<(), MetaError> {
        let mut writer = self.writer().await?;
        let mut transaction = self.fenced(&mut writer, generation).await?;
        tables::register(&mut transaction, generation, schema, self.clock.now()).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn register_branch(&self, generation: Generation, branch: &NewBranch) -> Result<BranchId, MetaError> {
        let mut writer = self.writer().await?;
        let mut transaction = self.fenced(&mut writer, generation).await?;
        let id = branches::register(&mut transaction, branch).await?;
        transaction.commit().await?;
        Ok(id)
    }

    async fn close_branches(&self, generation: Generation, live: &[BranchId]) -> Result<(), MetaError> {
        let mut writer = self.writer().await?;
        let mut transaction = self.fenced(&mut writer, generation).await?;
        branches::close(&mut transaction, live).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn save_mappings(&self, generation: Generation, mappings: &[Mapping]) -> Result<(), MetaError> {
        let mut writer = self.writer().await?;
        let mut transaction = self.fenced(&mut writer, generation).await?;
        for mapping in mappings {
            sqlx::query(
                "INSERT INTO mappings (key, json) VALUES (?, ?) ON CONFLICT DO UPDATE SET json = excluded.json",
            )
            .bind(&mapping.key)
            .bind(&mapping.json)
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query("DELETE FROM mappings WHERE rowid <= (SELECT max(rowid) FROM mappings) - ?")
            .bind(MOST_MAPPINGS)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn set_pause(&self, source: &str, topic: &str, reason: Option<&str>) -> Result<(), MetaError> {
        let mut writer = self.writer().await?;
        let mut transaction = self.write(&mut writer).await?;
        branches::pause(&mut transaction, source, topic, reason).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn reset_offsets(&self, resets: &[OffsetReset]) -> Result<(), MetaError> {
        let mut writer = self.writer().await?;
        let mut transaction = self.write(&mut writer).await?;
        let run = RunInfo { host: "reset-offsets".into(), pid: std::process::id(), started_at: self.clock.now() };
        bump(&mut transaction, &run).await?;
        for reset in resets {
            manifest::reset_offset(&mut transaction, reset).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    async fn plan_intent(&self, generation: Generation, plan: &IntentPlan) -> Result<Intent, MetaError> {
        let mut writer = self.writer().await?;
        let mut transaction = self.fenced(&mut writer, generation).await?;
        let intent = intents::plan(&mut transaction, generation, plan, self.clock.now()).await?;
        transaction.commit().await?;
        Ok(intent)
    }

    async fn stage_intent(&self, generation: Generation, id: &IntentId, payload: &[u8]) -> Result<(), MetaError> {
        let mut writer = self.writer().await?;
        let mut transaction = self.fenced(&mut writer, generation).await?;
        intents::stage(&mut transaction, id, payload).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn give_up(&self, generation: Generation, id: &IntentId) -> Result<(), MetaError> {
        let mut writer = self.writer().await?;
        let mut transaction = self.fenced(&mut writer, generation).await?;
        intents::give_up(&mut transaction, generation, id).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn flip(&self, generation: Generation, id: &IntentId, flip: &Flip) -> Result<Cut, MetaError> {
        let mut writer = self.writer().await?;
        let mut transaction = self.fenced(&mut writer, generation).await?;
        let cut = intents::flip(&mut transaction, generation, id, flip, self.clock.now()).await?;
        transaction.commit().await?;
        Ok(cut)
    }

    async fn drop_planned(&self, generation: Generation, id: &IntentId) -> Result<(), MetaError> {
        let mut writer = self.writer().await?;
        let mut transaction = self.fenced(&mut writer, generation).await?;
        intents::drop_planned(&mut transaction, id).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn open_intents(&self) -> Result<Vec<Intent>, MetaError> {
        let mut reader = self.reader().await?;
        let mut transaction = reader.begin().await?;
        intents::open(&mut transaction).await
    }

    async fn pauses(&self) -> Result<Vec<Pause>, MetaError> {
        branches::pauses(&mut *self.reader().await?).await
    }

    async fn gaps(&self) -> Result<Vec<Gap>, MetaError> {
        view::gaps(&mut *self.reader().await?).await
    }

    async fn mappings(&self) -> Result<Vec<Mapping>, MetaError> {
        view::mappings(&mut *self.reader().await?).await
    }

    async fn last_flip(&self, table: &TableId) -> Result<Option<LastFlip>, MetaError> {
        intents::last_flip(&mut *self.reader().await?, table).await
    }

    async fn newest(&self) -> Result<CutView, MetaError> {
        let mut reader = self.reader().await?;
        let mut transaction = reader.begin().await?;
        view::newest(&mut transaction).await
    }

    async fn pin(&self, holder: &str, expires_after: Duration) -> Result<(Pin, CutView), MetaError> {
        let mut reader = self.reader().await?;
        let mut transaction = self.write(&mut reader).await?;
        let view = view::newest(&mut transaction).await?;
        let expires_at = self.clock.now().saturating_add(micros(expires_after));
        let id = pins::add(&mut transaction, view.cut, holder, expires_at)
            .await
            .map_err(|error| explain(error, &self.path))?;
        transaction.commit().await?;
        Ok((Pin { id, cut: view.cut }, view))
    }

    async fn renew(&self, pin: &Pin, expires_after: Duration) -> Result<(), MetaError> {
        let expires_at = self.clock.now().saturating_add(micros(expires_after));
        pins::renew(&mut *self.reader().await?, pin, expires_at).await
    }

    async fn unpin(&self, pin: &Pin) -> Result<(), MetaError> {
        pins::remove(&mut *self.reader().await?, pin).await
    }

    async fn take_victims(&self, generation: Generation, keep_history: Duration) -> Result<Victims, MetaError> {
        let mut writer = self.writer().await?;
        let mut transaction = self.fenced(&mut writer, generation).await?;
        let victims = pins::take_victims(&mut transaction, self.clock.now(), micros(keep_history)).await?;
        transaction.commit().await?;
        Ok(victims)
    }

    async fn references(&self) -> Result<References, MetaError> {
        let mut reader = self.reader().await?;
        let mut transaction = reader.begin().await?;
        pins::references(&mut transaction).await
    }
}
