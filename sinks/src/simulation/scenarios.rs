//! The same faults, played once each on real tables: three formats, real segments, a real metadata store.
//!
//! [`play_all`] takes a way to open the tables of a data directory, as a process does when it starts, and a tier.

use super::{branch, manifest, rows, staged_offsets, wrong};
use crate::SinkError;
use crate::committer::{Committer, Stores};
use crate::formats::Formats;
use crate::rollup::RollupConfig;
use crate::segment::{Durability, write_segment};
use crate::tier::{CommitOutcome, Mark, ReadTables, Searched, Staged, Tables};
use arrow::datatypes::{DataType, Field};
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::SessionContext;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thermocline_schemas::columns::int64;
use thermocline_schemas::metadata::{CutView, IntentId, Meta, RunInfo, SqliteMeta, TableVersion};
use thermocline_schemas::table::system;
use thermocline_schemas::time::{Clock, SystemClock};
use thermocline_schemas::{Epoch, EventTime, TableId, TableName, TableSchema, Tier};
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

/// Opens the tables of a data directory that belong to a store.
pub(crate) type Opener = Arc<dyn Fn(&Path, Uuid) -> (Arc<dyn Tables>, Arc<dyn ReadTables>) + Send + Sync>;

/// Where a run can be held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// Planned; no file is written.
    BeforeFiles,
    /// Files are written; the payload is not kept.
    AfterFiles,
    /// Staged; the table is not committed.
    BeforeCommit,
    /// The table is committed; nobody knows.
    AfterCommit,
}

const POINTS: [Point; 4] = [Point::BeforeFiles, Point::AfterFiles, Point::BeforeCommit, Point::AfterCommit];

/// A fault that a run meets.
#[derive(Debug, Default)]
struct Faults {
    hold_at: Option<Point>,
    lose_answer: bool,
    refuse: bool,
}

/// Tables with faults.
#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn Tables>,
    faults: Mutex<Faults>,
    reached: mpsc::UnboundedSender<()>,
    go_on: Arc<Notify>,
}

impl Faulty {
    async fn pass(&self, point: Point) {
        let is_here = {
            let mut faults = self.faults.lock();
            faults.hold_at.take_if(|hold_at| *hold_at == point).is_some()
        };
        if is_here {
            let _ = self.reached.send(());
            self.go_on.notified().await;
        }
    }
}

#[async_trait::async_trait]
impl Tables for Faulty {
    async fn exists(&self, table: &TableId) -> Result<Option<TableVersion>, SinkError> {
        self.inner.exists(table).await
    }

    async fn create(&self, schema: &TableSchema, mark: &Mark) -> Result<CommitOutcome, SinkError> {
        self.inner.create(schema, mark).await
    }

    async fn evolve(&self, schema: &TableSchema, mark: &Mark, at: &Searched) -> Result<CommitOutcome, SinkError> {
        self.inner.evolve(schema, mark, at).await
    }

    async fn stage(
        &self,
        schema: &TableSchema,
        id: &IntentId,
        rows: Vec<SendableRecordBatchStream>,
    ) -> Result<Staged, SinkError> {
        self.pass(Point::BeforeFiles).await;
        let staged = self.inner.stage(schema, id, rows).await;
        self.pass(Point::AfterFiles).await;
        staged
    }

    async fn search(&self, id: &IntentId, since: Option<&TableVersion>) -> Result<Searched, SinkError> {
        self.inner.search(id, since).await
    }

    async fn commit(&self, mark: &Mark, payload: &[u8], at: &Searched) -> Result<CommitOutcome, SinkError> {
        self.pass(Point::BeforeCommit).await;
        if self.faults.lock().refuse && !payload.is_empty() {
            return Err(SinkError::store("committing", "these files are refused"));
        }
        let outcome = self.inner.commit(mark, payload, at).await;
        self.pass(Point::AfterCommit).await;
        if std::mem::take(&mut self.faults.lock().lose_answer) {
            return Err(SinkError::unknown(&mark.intent, "the answer is lost"));
        }
        outcome
    }

    async fn maintain(
        &self,
        mark: &Mark,
        keep_from: &TableVersion,
        started_at: EventTime,
    ) -> Result<Option<TableVersion>, SinkError> {
        self.inner.maintain(mark, keep_from, started_at).await
    }

    async fn discard(&self, id: &IntentId, payload: &[u8]) -> Result<(), SinkError> {
        self.inner.discard(id, payload).await
    }
}

/// One data directory and what was written there.
struct Play {
    folder: tempfile::TempDir,
    open: Opener,
    meta: Arc<SqliteMeta>,
    table: TableId,
    columns: usize,
    epoch: Epoch,
    next: i64,
}

/// A run, and the handles on its faults.
struct Run {
    committer: Arc<Committer>,
    tables: Arc<Faulty>,
    reached: mpsc::UnboundedReceiver<()>,
}

impl Run {
    /// Rolls up in the background, until it comes to `point`.
    async fn hold_at(&mut self, point: Point, table: &TableId) -> tokio::task::JoinHandle<Result<(), SinkError>> {
        self.tables.faults.lock().hold_at = Some(point);
        let (committer, table) = (Arc::clone(&self.committer), table.clone());
        let work = tokio::spawn(async move { committer.roll_up(&table).await.map(drop) });
        self.reached.recv().await.expect("the run comes to the point");
        work
    }
}

impl Play {
    async fn new(open: &Opener, tier: Tier) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata.db");
        let meta = SqliteMeta::open_with(&path, Arc::new(SystemClock), Durability::Process).await.unwrap();
        let table = TableId::new(TableName::new("chat").unwrap(), tier);
        let (open, meta) = (Arc::clone(open), Arc::new(meta));
        Self { folder, open, meta, table, columns: 1, epoch: Epoch(0), next: 0 }
    }

    fn schema(&self) -> TableSchema {
        let columns = (0..self.columns).map(|number| Field::new(format!("c{number}"), DataType::Utf8, true)).collect();
        TableSchema::new(self.table.name.clone(), columns)
    }

    /// A new process: takes over, and has not recovered yet.
    async fn start(&self) -> Run {
        let (tables, _) = (self.open)(self.folder.path(), self.meta.store());
        let (reached, receiver) = mpsc::unbounded_channel();
        let tables = Arc::new(Faulty { inner: tables, faults: Mutex::default(), reached, go_on: Arc::default() });
        let stores = Stores {
            meta: self.meta.clone(),
            tables: tables.clone(),
            clock: Arc::new(SystemClock),
            embedder: None,
            data_dir: self.folder.path().to_owned(),
            durability: Durability::Process,
        };
        let config = RollupConfig { history: Duration::ZERO, ..RollupConfig::default() };
        let run = RunInfo { host: "here".into(), pid: 1, started_at: SystemClock.now() };
        let mut committer = Committer::begin(stores, config, &run).await.unwrap();
        committer.pause = Duration::from_millis(1);
        committer.maintain_every = 2;
        // Whatever has two parts is written in two lanes.
        committer.lane_bytes = 1;
        Run { committer: Arc::new(committer), tables, reached: receiver }
    }

    /// A new process that has recovered.
    async fn recovered(&self) -> Run {
        let run = self.start().await;
        run.committer.recover().await.unwrap();
        run.committer.meta().register_table(run.committer.generation(), &self.schema()).await.unwrap();
        run
    }

    /// Commits epochs of three rows each.
    async fn epochs(&mut self, run: &Run, epochs: usize) {
        let generation = run.committer.generation();
        let branch = self.meta.register_branch(generation, &branch()).await.unwrap();
        for _ in 0..epochs {
            // Out of order within the epoch, and across epochs.
            let offsets: Vec<i64> = (self.next..self.next + 3).rev().collect();
            let parts = vec![(self.table.clone(), vec![rows(&self.schema(), &offsets, self.epoch)])];
            let segment =
                write_segment(self.folder.path(), generation, self.epoch, 0, parts, Durability::Process).unwrap();
            self.next += 3;
            let manifest = manifest(self.epoch, vec![segment], branch, 3, self.next);
            run.committer.commit_manifest(&manifest).await.unwrap();
            self.epoch = self.epoch.next();
        }
    }

    /// All rows that a view shows, by their offsets: staged ones, and the tables' at exact versions.
    async fn offsets(&self, view: &CutView) -> Vec<i64> {
        let mut found = Vec::new();
        for part in &view.parts {
            found.extend(staged_offsets(self.folder.path(), part).unwrap());
        }
        let (_, read) = (self.open)(self.folder.path(), self.meta.store());
        for live in &view.versions {
            let provider = read.open(&self.schema(), &live.table, &live.version).await.unwrap();
            let rows = SessionContext::new().read_table(provider).unwrap();
            let before = found.len();
            for batch in rows.select_columns(&[system::OFFSET]).unwrap().collect().await.unwrap() {
                found.extend(int64(&batch, system::OFFSET).unwrap().values().iter().copied());
            }
            assert_eq!((found.len() - before) as u64, live.rows, "rows of {}", live.table);
        }
        // Two files of a table are read in any order.
        found.sort_unstable();
        found
    }

    /// Every committed row is there once.
    async fn check(&self, what: &str) -> CutView {
        let view = self.meta.newest().await.unwrap();
        if let Some(problem) = wrong(&view, self.offsets(&view).await) {
            panic!("{} {what}: {problem}", self.table);
        }
        assert_eq!(view.progress[0].next_offset, self.next);
        view
    }

    /// The metadata store as of now, in a file of its own.
    fn copy_metadata(&self) -> PathBuf {
        let copy = self.folder.path().join("older.db");
        for suffix in ["", "-wal"] {
            let from = format!("{}{suffix}", self.meta.path().display());
            std::fs::copy(from, format!("{}{suffix}", copy.display())).unwrap();
        }
        copy
    }

    /// A start over the copy finds that the table knows more.
    async fn is_refused_as_older(&mut self, copy: &Path) {
        let meta = SqliteMeta::open_with(copy, Arc::new(SystemClock), Durability::Process).await.unwrap();
        self.meta = Arc::new(meta);
        let error = self.start().await.committer.recover().await.expect_err("the table knows more");
        assert!(matches!(error, SinkError::Newer { .. }), "{error}");
    }

    /// As [`Play::check`], after everything was rolled up.
    async fn check_rolled_up(&self, run: &Run, what: &str) {
        run.committer.roll_up_all().await.unwrap();
        let view = self.check(what).await;
        assert!(
            view.parts.is_empty() && self.meta.open_intents().await.unwrap().is_empty(),
            "{what}: all is rolled up"
        );
    }
}

/// Plays every scenario on the tables of one tier.
pub(crate) async fn play_all(open: Opener, tier: Tier) {
    rows_move_once(&open, tier).await;
    a_lost_answer_commits_once(&open, tier).await;
    for point in POINTS {
        a_crash_is_recovered(&open, tier, point).await;
        a_zombie_finds_it_taken(&open, tier, point).await;
    }
    refused_files_are_given_up(&open, tier).await;
    columns_come_with_time(&open, tier).await;
    a_pinned_cut_stays_readable(&open, tier).await;
    older_metadata_stops(&open, tier).await;
    metadata_from_before_an_intent_was_staged_stops(&open, tier).await;
    maintenance_comes_however_many_rollups_lie_between_two_looks(&open, tier).await;
    another_store_stops(&open, tier).await;
}

async fn rows_move_once(open: &Opener, tier: Tier) {
    let mut play = Play::new(open, tier).await;
    let run = play.recovered().await;
    play.epochs(&run, 3).await;
    play.check("staged").await;
    assert!(run.committer.roll_up(&play.table).await.unwrap().is_some());
    assert!(run.committer.roll_up(&play.table).await.unwrap().is_none(), "nothing is left");
    let live = play.check("rolled up").await.versions[0].clone();
    assert_eq!((live.rows, live.event_time), (9, Some((0, 8_000_000))));
    play.epochs(&run, 2).await;
    play.check("partly rolled up").await;
    play.check_rolled_up(&run, "a second rollup").await;
}

async fn a_lost_answer_commits_once(open: &Opener, tier: Tier) {
    let mut play = Play::new(open, tier).await;
    let run = play.recovered().await;
    play.epochs(&run, 2).await;
    run.tables.faults.lock().lose_answer = true;
    play.check_rolled_up(&run, "after a lost answer").await;
}

async fn a_crash_is_recovered(open: &Opener, tier: Tier, point: Point) {
    let mut play = Play::new(open, tier).await;
    let mut run = play.recovered().await;
    play.epochs(&run, 2).await;
    let work = run.hold_at(point, &play.table).await;
    work.abort();
    assert!(work.await.unwrap_err().is_cancelled());
    play.check(&format!("crashed at {point:?}")).await;
    let next = play.start().await;
    let recovered = next.committer.recover().await.unwrap();
    let was_staged = matches!(point, Point::BeforeCommit | Point::AfterCommit);
    assert_eq!(
        (recovered.finished.len(), recovered.dropped.len()),
        (usize::from(was_staged), usize::from(!was_staged))
    );
    play.check(&format!("recovered from {point:?}")).await;
    play.epochs(&next, 1).await;
    play.check_rolled_up(&next, &format!("after {point:?}")).await;
}

async fn a_zombie_finds_it_taken(open: &Opener, tier: Tier, point: Point) {
    let mut play = Play::new(open, tier).await;
    let mut zombie = play.recovered().await;
    play.epochs(&zombie, 2).await;
    let work = zombie.hold_at(point, &play.table).await;
    let next = play.recovered().await;
    play.epochs(&next, 1).await;
    play.check_rolled_up(&next, &format!("while one sleeps at {point:?}")).await;
    zombie.tables.go_on.notify_one();
    let error = work.await.unwrap().expect_err("a zombie is fenced");
    assert!(matches!(&error, SinkError::Meta(error) if error.is_fenced()), "{tier} {point:?}: {error}");
    play.epochs(&next, 1).await;
    play.check_rolled_up(&next, &format!("after a zombie woke at {point:?}")).await;
}

async fn refused_files_are_given_up(open: &Opener, tier: Tier) {
    let mut play = Play::new(open, tier).await;
    let run = play.recovered().await;
    play.epochs(&run, 2).await;
    run.tables.faults.lock().refuse = true;
    run.committer.roll_up(&play.table).await.expect_err("the files are refused");
    let next = play.start().await;
    next.tables.faults.lock().refuse = true;
    let recovered = next.committer.recover().await.unwrap();
    assert_eq!(recovered.given_up.len(), 1, "{recovered:?}");
    let view = play.check("given up").await;
    assert_eq!((view.parts.len(), view.versions[0].rows), (2, 0));
    next.tables.faults.lock().refuse = false;
    play.check_rolled_up(&next, "after an intent was given up").await;
}

async fn columns_come_with_time(open: &Opener, tier: Tier) {
    let mut play = Play::new(open, tier).await;
    let run = play.recovered().await;
    play.epochs(&run, 2).await;
    run.committer.roll_up(&play.table).await.unwrap();
    play.epochs(&run, 1).await;
    play.columns = 2;
    run.committer.meta().register_table(run.committer.generation(), &play.schema()).await.unwrap();
    assert_eq!(play.check("with a new column").await.lagging, [play.table.clone()]);
    play.epochs(&run, 1).await;
    play.check_rolled_up(&run, "after the table followed").await;
    assert_eq!(play.check("after the table followed").await.lagging, []);
}

async fn a_pinned_cut_stays_readable(open: &Opener, tier: Tier) {
    let mut play = Play::new(open, tier).await;
    let run = play.recovered().await;
    play.epochs(&run, 2).await;
    run.committer.roll_up_all().await.unwrap();
    play.epochs(&run, 1).await;
    let (pin, pinned) = play.meta.pin("a slow query", Duration::from_secs(600)).await.unwrap();
    let seen = play.offsets(&pinned).await;
    for _ in 0..4 {
        play.epochs(&run, 1).await;
        run.committer.roll_up_all().await.unwrap();
        run.committer.clean_up().await.unwrap();
        assert_eq!(play.offsets(&pinned).await, seen, "a pinned cut does not change");
    }
    play.meta.unpin(&pin).await.unwrap();
    run.committer.clean_up().await.unwrap();
    let staged: usize = super::segments_on_disk(play.folder.path()).len();
    assert_eq!(staged, 0, "nobody sees a segment any more");
    play.check_rolled_up(&run, "after clean-up").await;
    play.recovered().await;
    play.check("after clean-up and a restart").await;
}

async fn older_metadata_stops(open: &Opener, tier: Tier) {
    let mut play = Play::new(open, tier).await;
    let run = play.recovered().await;
    play.epochs(&run, 2).await;
    run.committer.roll_up_all().await.unwrap();
    play.epochs(&run, 1).await;
    let copy = play.copy_metadata();
    run.committer.roll_up_all().await.unwrap();
    play.is_refused_as_older(&copy).await;
}

async fn metadata_from_before_an_intent_was_staged_stops(open: &Opener, tier: Tier) {
    let mut play = Play::new(open, tier).await;
    let mut run = play.recovered().await;
    play.epochs(&run, 2).await;
    let work = run.hold_at(Point::AfterFiles, &play.table).await;
    let copy = play.copy_metadata();
    run.tables.go_on.notify_one();
    work.await.unwrap().unwrap();
    play.is_refused_as_older(&copy).await;
}

async fn maintenance_comes_however_many_rollups_lie_between_two_looks(open: &Opener, tier: Tier) {
    let mut play = Play::new(open, tier).await;
    let mut run = play.recovered().await;
    Arc::get_mut(&mut run.committer).expect("nobody else has it").maintain_every = 3;
    let mut maintained = vec![];
    for _ in 0..5 {
        for _ in 0..2 {
            play.epochs(&run, 1).await;
            run.committer.roll_up_all().await.unwrap();
        }
        maintained.push(run.committer.clean_up().await.unwrap().tables.len());
    }
    // Intents 1 to 3 are the creation and two rollups, 4 is maintenance, 5 to 8 are rollups, 9 is maintenance, and so on.
    assert_eq!(maintained, [1, 0, 1, 0, 1], "{tier}");
    play.check_rolled_up(&run, "after maintenance").await;
}

async fn another_store_stops(open: &Opener, tier: Tier) {
    let mut play = Play::new(open, tier).await;
    let run = play.recovered().await;
    play.epochs(&run, 1).await;
    run.committer.roll_up_all().await.unwrap();
    let other = play.folder.path().join("other.db");
    let meta = SqliteMeta::open_with(&other, Arc::new(SystemClock), Durability::Process).await.unwrap();
    play.meta = Arc::new(meta);
    let run = play.recovered().await;
    (play.epoch, play.next) = (Epoch(0), 0);
    play.epochs(&run, 1).await;
    for error in [
        run.committer.roll_up(&play.table).await.expect_err("the table is not ours"),
        play.start().await.committer.recover().await.expect_err("the table is not ours"),
    ] {
        assert!(matches!(error, SinkError::Foreign { .. }), "{error}");
    }
}

fn formats() -> Opener {
    Arc::new(|data_dir: &Path, store: Uuid| {
        let formats = Arc::new(Formats::open(data_dir, store, crate::disk::Durability::Process).unwrap());
        (Arc::clone(&formats) as Arc<dyn Tables>, formats as Arc<dyn ReadTables>)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hot_tables_stand_every_scenario() {
    play_all(formats(), Tier::Hot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warm_tables_stand_every_scenario() {
    play_all(formats(), Tier::Warm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cold_tables_stand_every_scenario() {
    play_all(formats(), Tier::Cold).await;
}
