//! Tables in memory that lie as the formats do.
//!
//! The one model of a table that is allowed, and only here. A commit may fail without effect, lose its answer after the
//! effect, land late, meet a commit by a stranger; Iceberg (cold) answers Ok for a commit that was rolled back; Lance (hot)
//! commits onto whatever is newest unless it is held to a version.

use super::{Chaos, Mutant};
use crate::SinkError;
use crate::tier::{CommitOutcome, Found, FoundMark, Mark, Searched, Staged, Tables};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use thermocline_schemas::columns::{event_time, int64};
use thermocline_schemas::metadata::{IntentId, TableVersion};
use thermocline_schemas::table::system;
use thermocline_schemas::{EventTime, Generation, TableId, TableSchema, Tier};
use uuid::Uuid;

/// All tables of one world.
#[derive(Debug)]
pub(super) struct ModelTables {
    store: Uuid,
    chaos: Arc<Chaos>,
    tables: Mutex<BTreeMap<TableId, Table>>,
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Table {
    /// From version 0 on; none where clean-up has been.
    versions: Vec<Option<Version>>,
    in_flight: Vec<Commit>,
}

#[derive(Debug, Clone)]
struct Version {
    mark: Option<Mark>,
    rows: Arc<Vec<i64>>,
}

/// A commit that is held to a version, and what it adds.
#[derive(Debug, Clone)]
struct Commit {
    mark: Mark,
    onto: usize,
    rows: Vec<i64>,
}

/// Data files that were written: their rows, and which of them every commit refuses.
#[derive(Debug, Default)]
struct Files {
    rows: HashMap<u64, Vec<i64>>,
    refused: BTreeSet<u64>,
    next: u64,
}

fn version(number: usize) -> TableVersion {
    TableVersion(number.to_string())
}

fn number(version: &TableVersion) -> usize {
    version.0.parse().expect("the model's versions are numbers")
}

fn file_of(payload: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(payload.try_into().ok()?))
}

impl Table {
    fn head(&self) -> usize {
        self.versions.len() - 1
    }

    fn append(&mut self, mark: Option<Mark>, rows: &[i64]) -> usize {
        let before = self.versions.last().and_then(Option::as_ref).expect("the head is never cleaned up");
        let rows = Arc::new(before.rows.iter().chain(rows).copied().collect());
        self.versions.push(Some(Version { mark, rows }));
        self.head()
    }
}

impl ModelTables {
    pub(super) fn new(store: Uuid, chaos: Arc<Chaos>) -> Self {
        Self { store, chaos, tables: Mutex::default(), files: Mutex::default() }
    }

    /// The rows of a version, by their offsets.
    pub(super) fn rows(&self, table: &TableId, at: &TableVersion) -> Result<Arc<Vec<i64>>, SinkError> {
        let tables = self.tables.lock();
        let kept = tables.get(table).and_then(|kept| kept.versions.get(number(at))?.as_ref());
        let missing =
            || SinkError::NoVersion { table: table.clone(), version: at.clone(), source: "it was cleaned up".into() };
        kept.map(|version| Arc::clone(&version.rows)).ok_or_else(missing)
    }

    /// Commits whose answer was lost before they took effect may take it now, and strangers commit when they like.
    pub(super) fn land(&self) {
        let mut tables = self.tables.lock();
        for (id, table) in tables.iter_mut() {
            if self.chaos.one_in(40) {
                table.append(None, &[]);
                self.chaos.count("commits by strangers", 1);
            }
            for commit in std::mem::take(&mut table.in_flight) {
                if self.chaos.one_in(3) {
                    let landed = self.apply(id, table, commit).is_some();
                    self.chaos.count("commits that landed late", usize::from(landed));
                } else {
                    table.in_flight.push(commit);
                }
            }
        }
    }

    /// The atomic step: adds a version if the head is still the one that the commit is held to.
    fn apply(&self, id: &TableId, table: &mut Table, commit: Commit) -> Option<usize> {
        let rebases = id.tier == Tier::Hot && self.chaos.mutant == Mutant::NoOnlyVersion;
        if table.head() != commit.onto && !rebases {
            self.chaos.count("commits onto a head that moved", 1);
            return None;
        }
        Some(table.append(Some(commit.mark), &commit.rows))
    }

    fn commit(&self, mark: &Mark, rows: Vec<i64>, at: &Searched) -> Result<CommitOutcome, SinkError> {
        let id = &mark.intent.table;
        let mut tables = self.tables.lock();
        let table = tables.get_mut(id).ok_or_else(|| SinkError::store("committing", "there is no such table"))?;
        let commit = Commit { mark: mark.clone(), onto: number(&at.head), rows };
        if self.chaos.one_in(20) {
            return Err(SinkError::store("committing", "the store is read-only for a moment"));
        }
        if self.chaos.one_in(20) {
            table.in_flight.push(commit);
            self.chaos.count("commits in flight", 1);
            return Err(SinkError::unknown(&mark.intent, "a time-out"));
        }
        if id.tier == Tier::Cold && self.chaos.one_in(10) {
            self.chaos.count("commits rolled back with Ok", 1);
            return Ok(CommitOutcome::Committed(version(commit.onto + 1)));
        }
        if self.chaos.one_in(20) {
            table.append(None, &[]);
            self.chaos.count("commits by strangers", 1);
        }
        let Some(head) = self.apply(id, table, commit) else { return Ok(CommitOutcome::Conflict) };
        if self.chaos.one_in(12) {
            self.chaos.count("answers lost after a commit", 1);
            return Err(SinkError::unknown(&mark.intent, "the answer is lost"));
        }
        Ok(CommitOutcome::Committed(version(head)))
    }

    fn create(&self, mark: &Mark) -> Result<CommitOutcome, SinkError> {
        if self.chaos.one_in(20) {
            return Err(SinkError::store("creating", "the store is read-only for a moment"));
        }
        let mut tables = self.tables.lock();
        if tables.contains_key(&mark.intent.table) {
            return Ok(CommitOutcome::Conflict);
        }
        let first = Version { mark: Some(mark.clone()), rows: Arc::default() };
        tables.insert(mark.intent.table.clone(), Table { versions: vec![Some(first)], in_flight: vec![] });
        if self.chaos.one_in(12) {
            return Err(SinkError::unknown(&mark.intent, "the answer is lost"));
        }
        Ok(CommitOutcome::Committed(version(0)))
    }

    fn search(&self, id: &IntentId, since: Option<&TableVersion>) -> Result<Searched, SinkError> {
        if self.chaos.one_in(60) {
            return Err(SinkError::store("searching", "the store does not answer for a moment"));
        }
        let tables = self.tables.lock();
        let table = tables.get(&id.table).ok_or_else(|| SinkError::store("searching", "there is no such table"))?;
        let mut searched = Searched { head: version(table.head()), newest_mark: None, found: None };
        for place in (since.map_or(0, number)..=table.head()).rev() {
            let Some(kept) = &table.versions[place] else {
                if since.is_none() {
                    break;
                }
                let source = "its history was cleaned up".into();
                return Err(SinkError::NoVersion { table: id.table.clone(), version: version(place), source });
            };
            if let Some(mark) = &kept.mark {
                let found = FoundMark { store: mark.store, intent: mark.intent.number, generation: mark.generation };
                if found.intent == id.number {
                    searched.found = Some(Found { version: version(place), generation: mark.generation });
                }
                searched.newest_mark.get_or_insert(found);
            }
        }
        debug_assert!(searched.newest_mark.as_ref().is_none_or(|mark| mark.store == self.store));
        Ok(searched)
    }

    fn maintain(&self, mark: &Mark, keep_from: &TableVersion) -> Result<Option<TableVersion>, SinkError> {
        if self.chaos.one_in(10) {
            return Err(SinkError::store("maintaining", "the store is read-only for a moment"));
        }
        let mut tables = self.tables.lock();
        let table = tables.get_mut(&mark.intent.table).expect("a table that is maintained exists");
        let head = table.head();
        for place in &mut table.versions[..number(keep_from).min(head)] {
            *place = None;
        }
        // Only Iceberg's expiry is a commit.
        let made = (mark.intent.table.tier == Tier::Cold).then(|| table.append(Some(mark.clone()), &[]));
        if self.chaos.one_in(10) {
            return Err(SinkError::unknown(&mark.intent, "the answer is lost"));
        }
        Ok(made.map(version))
    }

    async fn write(&self, lanes: Vec<SendableRecordBatchStream>) -> Result<Staged, SinkError> {
        let mut offsets = Vec::new();
        self.chaos.count("lanes beside others", lanes.len() - 1);
        for mut rows in lanes {
            let mut newest = EventTime::MIN;
            while let Some(batch) = rows.next().await {
                let batch = batch.map_err(|error| SinkError::store("writing data files", error))?;
                for time in event_time(&batch)?.values() {
                    if *time < newest {
                        self.chaos.violated("a lane of a rollup is not sorted by event time");
                    }
                    newest = *time;
                }
                offsets.extend(int64(&batch, system::OFFSET)?.values().iter());
            }
        }
        if self.chaos.one_in(20) {
            return Err(SinkError::store("writing data files", "no space left for a moment"));
        }
        let mut files = self.files.lock();
        let file = files.next;
        files.next += 1;
        if self.chaos.one_in(30) {
            files.refused.insert(file);
            self.chaos.count("files that every commit refuses", 1);
        }
        let rows = offsets.len() as u64;
        files.rows.insert(file, offsets);
        Ok(Staged { payload: file.to_le_bytes().to_vec(), rows })
    }

    /// The rows of a payload; an error where every commit of it is refused.
    fn staged(&self, payload: &[u8]) -> Result<Vec<i64>, SinkError> {
        let Some(file) = file_of(payload) else { return Ok(vec![]) };
        let files = self.files.lock();
        if files.refused.contains(&file) {
            return Err(SinkError::store("committing", "the table's rules refuse these files"));
        }
        match files.rows.get(&file) {
            Some(rows) => Ok(rows.clone()),
            None => {
                self.chaos.violated(format!("file {file} is committed after it was deleted"));
                Ok(vec![])
            }
        }
    }
}

/// The tables as one run sees them: every call waits for its turn.
#[derive(Debug)]
pub(super) struct SimTables {
    inner: Arc<ModelTables>,
    chaos: Arc<Chaos>,
    /// What the tables answered to this run, which [`Mutant::NoSearch`] believes.
    answered: Mutex<HashMap<IntentId, TableVersion>>,
}

impl SimTables {
    pub(super) fn new(inner: Arc<ModelTables>, chaos: Arc<Chaos>) -> Self {
        Self { inner, chaos, answered: Mutex::default() }
    }

    fn hear(&self, mark: &Mark, outcome: &Result<CommitOutcome, SinkError>) {
        if let Ok(CommitOutcome::Committed(version)) = outcome {
            self.answered.lock().insert(mark.intent.clone(), version.clone());
        }
    }
}

#[async_trait::async_trait]
impl Tables for SimTables {
    async fn exists(&self, table: &TableId) -> Result<Option<TableVersion>, SinkError> {
        self.chaos.turn().await;
        Ok(self.inner.tables.lock().get(table).map(|table| version(table.head())))
    }

    async fn create(&self, _schema: &TableSchema, mark: &Mark) -> Result<CommitOutcome, SinkError> {
        self.chaos.turn().await;
        let outcome = self.inner.create(mark);
        self.hear(mark, &outcome);
        outcome
    }

    async fn evolve(&self, _schema: &TableSchema, mark: &Mark, at: &Searched) -> Result<CommitOutcome, SinkError> {
        self.chaos.turn().await;
        self.chaos.count("columns added", 1);
        let outcome = self.inner.commit(mark, vec![], at);
        self.hear(mark, &outcome);
        outcome
    }

    async fn stage(
        &self,
        _schema: &TableSchema,
        _id: &IntentId,
        rows: Vec<SendableRecordBatchStream>,
    ) -> Result<Staged, SinkError> {
        self.chaos.turn().await;
        self.inner.write(rows).await
    }

    async fn search(&self, id: &IntentId, since: Option<&TableVersion>) -> Result<Searched, SinkError> {
        self.chaos.turn().await;
        let mut searched = self.inner.search(id, since)?;
        if self.chaos.mutant == Mutant::NoSearch {
            let generation = searched.newest_mark.as_ref().map_or(Generation(0), |mark| mark.generation);
            let version = self.answered.lock().get(id).cloned();
            searched.found = version.map(|version| Found { version, generation });
        }
        Ok(searched)
    }

    async fn commit(&self, mark: &Mark, payload: &[u8], at: &Searched) -> Result<CommitOutcome, SinkError> {
        self.chaos.turn().await;
        let rows = self.inner.staged(payload)?;
        let outcome = self.inner.commit(mark, rows, at);
        self.hear(mark, &outcome);
        outcome
    }

    async fn maintain(
        &self,
        mark: &Mark,
        keep_from: &TableVersion,
        _started_at: EventTime,
    ) -> Result<Option<TableVersion>, SinkError> {
        self.chaos.turn().await;
        self.inner.maintain(mark, keep_from)
    }

    async fn discard(&self, _id: &IntentId, payload: &[u8]) -> Result<(), SinkError> {
        self.chaos.turn().await;
        if let Some(file) = file_of(payload) {
            self.inner.files.lock().rows.remove(&file);
        }
        Ok(())
    }
}
