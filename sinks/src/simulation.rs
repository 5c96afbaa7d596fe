//! A seeded simulation of committer, rollup, clean-up and recovery.
//!
//! Real: the committer, the SQLite store, the segments on disk. Modelled: the tables ([`model`]), which lie as the formats
//! do. Actors (runs that write and roll up, readers with pins) go step by step; every call of a trait waits for its turn,
//! and a seeded scheduler says whose turn it is, who crashes, who sleeps and wakes after the next run has finished.
//!
//! What must hold: a reader finds every committed row exactly once, at every cut; nothing that a pin needs is deleted; an
//! older run ends fenced; after recovery nothing is open, staged or orphaned.
//!
//! A failure prints its seed; `THERMOCLINE_SEED=… cargo test` replays it, `THERMOCLINE_SEEDS=1000` runs more of them.

mod meta;
mod model;
pub(crate) mod scenarios;
mod turns;

use crate::SinkError;
use crate::committer::{Committer, Stores};
use crate::rollup::RollupConfig;
use crate::segment::{Durability, read_part, write_segment};
use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array};
use arrow::array::{Int32Array, Int64Array};
use arrow::datatypes::{DataType, Field};
use meta::SimMeta;
use model::{ModelTables, SimTables};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use thermocline_schemas::columns::int64;
use thermocline_schemas::metadata::{
    BranchId, Conservation, Counts, CutView, Manifest, Meta, MetaError, NewBranch, NewSegment, Progress, RunInfo,
    SqliteMeta,
};
use thermocline_schemas::table::system;
use thermocline_schemas::time::Clock;
use thermocline_schemas::{Epoch, EventTime, Generation, TableId, TableName, TableSchema, Tier};
use turns::Slot;
use uuid::Uuid;

/// Steps before the last run, which has no faults.
const STEPS: usize = 1_000;

/// What is left out of the protocol, to see that the simulation notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Nothing.
    None,
    /// Nobody is ever fenced.
    NoFence,
    /// A staged payload is kept in the run's memory only.
    NoIntent,
    /// The committer believes the table's answer and does not look for its mark.
    NoSearch,
    /// Lance commits without `OnlyVersion`: onto whatever version is newest.
    NoOnlyVersion,
}

/// A clock that the scheduler moves.
#[derive(Debug, Default)]
pub(crate) struct SimClock(AtomicI64);

impl SimClock {
    pub(crate) fn pass(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> EventTime {
        self.0.load(Ordering::Relaxed)
    }
}

/// Draws every fault, from the seed.
#[derive(Debug)]
pub(crate) struct Chaos {
    random: Mutex<StdRng>,
    on: AtomicBool,
    pub(crate) mutant: Mutant,
    pub(crate) newest_generation: AtomicU64,
    /// The actor that goes on now.
    current: Mutex<Arc<Slot>>,
    violation: Mutex<Option<String>>,
    /// What happened, and how often: that the simulation reaches what it is for.
    counted: Mutex<Counted>,
}

type Counted = BTreeMap<&'static str, u64>;

impl Chaos {
    fn new(seed: u64, mutant: Mutant) -> Self {
        Self {
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            on: AtomicBool::new(true),
            mutant,
            newest_generation: AtomicU64::new(0),
            current: Mutex::default(),
            violation: Mutex::new(None),
            counted: Mutex::default(),
        }
    }

    /// True once in so many times, while there are faults.
    pub(crate) fn one_in(&self, times: u32) -> bool {
        self.on.load(Ordering::Relaxed) && self.random.lock().random_range(0..times) == 0
    }

    fn below(&self, limit: usize) -> usize {
        self.random.lock().random_range(0..limit)
    }

    /// Notes that `what` happened.
    pub(crate) fn count(&self, what: &'static str, times: usize) {
        *self.counted.lock().entry(what).or_default() += times as u64;
    }

    /// Notes that an invariant is broken.
    pub(crate) fn violated(&self, what: impl Into<String>) {
        self.violation.lock().get_or_insert(what.into());
    }

    fn violation(&self) -> Option<String> {
        self.violation.lock().clone()
    }
}

/// One seed's world.
struct World {
    data_dir: PathBuf,
    clock: Arc<SimClock>,
    chaos: Arc<Chaos>,
    meta: Arc<SqliteMeta>,
    tables: Arc<ModelTables>,
    /// The newest run that has taken over.
    begun: AtomicUsize,
}

fn schema(name: &str, columns: usize) -> TableSchema {
    let columns = (0..columns).map(|number| Field::new(format!("c{number}"), DataType::Utf8, true)).collect();
    TableSchema::new(TableName::new(name).expect("a good name"), columns)
}

/// Rows of these offsets, an event time each second.
pub(crate) fn rows(schema: &TableSchema, offsets: &[i64], epoch: Epoch) -> RecordBatch {
    let stored = schema.stored();
    let number = offsets.len();
    let column = |field: &Arc<Field>| -> ArrayRef {
        match field.name().as_str() {
            system::EVENT_TIME => {
                let times = offsets.iter().map(|offset| offset * 1_000_000);
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
            }
            system::TOPIC => Arc::new(StringArray::from_iter_values((0..number).map(|_| "talk"))),
            system::PARTITION | system::ORDINAL => Arc::new(Int32Array::from(vec![0; number])),
            system::OFFSET => Arc::new(Int64Array::from(offsets.to_vec())),
            system::EPOCH => Arc::new(Int64Array::from(vec![epoch.0 as i64; number])),
            _ => new_null_array(field.data_type(), number),
        }
    };
    let columns = stored.fields().iter().map(column).collect();
    RecordBatch::try_new(stored, columns).expect("the columns are those of the schema")
}

/// The manifest of an epoch that read up to `next_offset`, `read` records of it.
pub(crate) fn manifest(
    epoch: Epoch,
    segments: Vec<NewSegment>,
    branch: BranchId,
    read: u64,
    next_offset: i64,
) -> Manifest {
    let counts = Counts { read, rows: read, ..Counts::default() };
    Manifest {
        epoch,
        opened_at: 0,
        segments,
        progress: vec![Progress {
            source: "talk".into(),
            cluster_id: "cluster".into(),
            topic: "talk".into(),
            topic_id: Uuid::from_u128(1),
            partition: 0,
            first_offset: 0,
            next_offset,
            watermark: Some(next_offset),
            idle: false,
        }],
        gaps: vec![],
        conservation: vec![Conservation { branch, topic: "talk".into(), partition: 0, counts }],
        dropped_fields: vec![],
        pauses: vec![],
    }
}

pub(crate) fn branch() -> NewBranch {
    NewBranch { source: "talk".into(), target: "domains".into(), statement: "INSERT".into(), filters: false }
}

/// Rows of a staged part, by their offsets.
pub(crate) fn staged_offsets(
    data_dir: &Path,
    part: &thermocline_schemas::metadata::Part,
) -> Result<Vec<i64>, SinkError> {
    let mut offsets: Vec<i64> = Vec::new();
    for batch in read_part(data_dir, part)? {
        offsets.extend(int64(&batch, system::OFFSET)?.values());
    }
    Ok(offsets)
}

/// What is wrong with the rows that a cut shows, if anything: it must show every record below its resume offset, once.
pub(crate) fn wrong(view: &CutView, mut found: Vec<i64>) -> Option<String> {
    let expected = view.progress.first().map_or(0, |progress| progress.next_offset);
    found.sort_unstable();
    if found.iter().copied().eq(0..expected) {
        return None;
    }
    let twice: Vec<i64> = found.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    let missing: Vec<i64> = (0..expected).filter(|offset| found.binary_search(offset).is_err()).collect();
    let extra: Vec<i64> = found.iter().copied().filter(|offset| *offset >= expected).collect();
    Some(format!("cut {} of {expected} rows: twice {twice:?}, missing {missing:?}, uncommitted {extra:?}", view.cut))
}

impl World {
    /// One run's view of the stores: each call waits for a turn.
    fn stores(&self) -> Stores {
        Stores {
            meta: Arc::new(SimMeta::new(self.meta.clone(), self.chaos.clone())),
            tables: Arc::new(SimTables::new(self.tables.clone(), self.chaos.clone())),
            clock: self.clock.clone(),
            embedder: None,
            data_dir: self.data_dir.clone(),
            durability: Durability::Process,
        }
    }

    async fn begin(&self, number: usize) -> Result<Committer, SinkError> {
        let second = Duration::from_secs(1);
        let config = RollupConfig {
            hot_after: second,
            warm_after: second * 2,
            cold_after: second * 4,
            history: second * 3,
            concurrency: 1,
            ..RollupConfig::default()
        };
        let run = RunInfo { host: format!("run {number}"), pid: number as u32, started_at: self.clock.now() };
        let mut committer = Committer::begin(self.stores(), config, &run).await?;
        self.begun.store(number, Ordering::Relaxed);
        committer.pause = Duration::ZERO;
        committer.maintain_every = 2;
        // Whatever has two parts is written in two lanes; an actor still does one thing after the other.
        committer.lane_bytes = 1;
        committer.lanes.add_permits(1);
        let recovered = committer.recover().await?;
        self.chaos.count("runs recovered", 1);
        self.chaos.count("intents dropped at a start", recovered.dropped.len());
        self.chaos.count("intents finished at a start", recovered.finished.len());
        self.chaos.count("intents given up at a start", recovered.given_up.len());
        self.chaos.count("orphans swept", recovered.orphans);
        // A column comes with the second run, so that tables have to follow.
        for name in ["chat", "logs"] {
            let schema = schema(name, 1 + usize::from(number > 1));
            committer.repeat(|| committer.meta().register_table(committer.generation(), &schema)).await?;
        }
        Ok(committer)
    }

    /// Writes epochs of a few rows each, where the last run left off.
    async fn ingest(&self, committer: &Committer, number: usize) -> Result<(), SinkError> {
        let view = committer.newest().await?;
        let generation = committer.generation();
        let identity = branch();
        let branch = committer.repeat(|| committer.meta().register_branch(generation, &identity)).await?;
        let mut next = view.progress.first().map_or(0, |progress| progress.next_offset);
        let mut epoch = view.epoch.map_or(Epoch(0), Epoch::next);
        for _ in 0..30 {
            self.chaos.turn().await;
            let read = 1 + self.chaos.below(5) as i64;
            let segment = self.segment(generation, epoch, number, next..next + read)?;
            self.chaos.turn().await;
            next += read;
            let manifest = manifest(epoch, vec![segment], branch, read as u64, next);
            committer.commit_manifest(&manifest).await?;
            epoch = epoch.next();
        }
        Ok(())
    }

    fn segment(
        &self,
        generation: Generation,
        epoch: Epoch,
        number: usize,
        offsets: std::ops::Range<i64>,
    ) -> Result<NewSegment, SinkError> {
        let tables = [("chat", Tier::Hot), ("chat", Tier::Warm), ("logs", Tier::Cold), ("logs", Tier::Hot)];
        let mut parts = Vec::new();
        for (place, (name, tier)) in tables.into_iter().enumerate() {
            let mine: Vec<i64> = offsets.clone().filter(|offset| (offset * 7 / 3) as usize % 4 == place).collect();
            if !mine.is_empty() {
                let schema = schema(name, 1 + usize::from(number > 1));
                parts.push((TableId::new(schema.name.clone(), tier), vec![rows(&schema, &mine, epoch)]));
            }
        }
        write_segment(&self.data_dir, generation, epoch, 0, parts, Durability::Process)
    }

    /// Rolls up and cleans up, as `tend` does, without its sleeps.
    async fn tend(&self, committer: &Committer) -> Result<(), SinkError> {
        for _ in 0..40 {
            self.chaos.turn().await;
            self.chaos.count("rollups", ignore_delays(committer.roll_up_due().await)?);
            if self.chaos.below(3) == 0 {
                let cleaned = ignore_delays(committer.clean_up().await)?;
                self.chaos.count("segments deleted", cleaned.segments);
                self.chaos.count("tables maintained", cleaned.tables.len());
            }
        }
        Ok(())
    }

    /// Pins a cut, reads it in pieces while the others go on, and compares.
    async fn read(&self) -> Result<(), SinkError> {
        let meta = SimMeta::new(self.meta.clone(), self.chaos.clone());
        let Ok((pin, view)) = meta.pin("reader", Duration::from_secs(20)).await else { return Ok(()) };
        let outcome = self.read_cut(&view).await;
        let problem = match outcome {
            Ok(found) => {
                self.chaos.count("cuts read", 1);
                wrong(&view, found)
            }
            Err(error) => Some(format!("cut {} cannot be read: {error}", view.cut)),
        };
        if let Some(problem) = problem {
            match self.meta.renew(&pin, Duration::from_secs(20)).await {
                Err(MetaError::PinLost { .. }) => self.chaos.count("pins lost", 1),
                _ => self.chaos.violated(problem),
            }
        }
        let _ = meta.unpin(&pin).await;
        Ok(())
    }

    async fn read_cut(&self, view: &CutView) -> Result<Vec<i64>, SinkError> {
        let mut found = Vec::new();
        for part in &view.parts {
            if self.chaos.below(3) == 0 {
                self.chaos.turn().await;
            }
            found.extend(staged_offsets(&self.data_dir, part)?);
        }
        for live in &view.versions {
            self.chaos.turn().await;
            let rows = self.tables.rows(&live.table, &live.version)?;
            if rows.len() as u64 != live.rows {
                self.chaos.violated(format!("{} has {} rows, its version says {}", live.table, rows.len(), live.rows));
            }
            found.extend(rows.iter());
        }
        Ok(found)
    }
}

/// A failure of the metadata store, or of a table, that the next round may not meet.
fn ignore_delays<T: Default>(outcome: Result<T, SinkError>) -> Result<T, SinkError> {
    match outcome {
        Err(error) if !crate::committer::must_stop(&error) => Ok(T::default()),
        other => other,
    }
}

/// Plays one seed; the violation, if there is one, and what happened.
async fn play(seed: u64, mutant: Mutant) -> (Option<String>, Counted) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let clock = Arc::new(SimClock::default());
    let path = folder.path().join("metadata.db");
    let meta = SqliteMeta::open_with(&path, clock.clone(), Durability::Process).await.expect("a new store");
    let chaos = Arc::new(Chaos::new(seed, mutant));
    let tables = Arc::new(ModelTables::new(meta.store(), chaos.clone()));
    let data_dir = folder.path().to_owned();
    let world = Arc::new(World { data_dir, clock, chaos, meta: Arc::new(meta), tables, begun: AtomicUsize::new(0) });
    turns::schedule(&world).await;
    (world.chaos.violation(), world.chaos.counted.lock().clone())
}

fn play_blocking(seed: u64, mutant: Mutant) -> (Option<String>, Counted) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(play(seed, mutant))
}

/// The seeds to play: one that is asked for, or the first so many.
fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match number("THERMOCLINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("THERMOCLINE_SEEDS").unwrap_or(default),
    }
}

/// Plays seeds on two threads until one is violated; the least that is known to be, and what happened in all of them.
fn first_violation(seeds: std::ops::Range<u64>, mutant: Mutant) -> (Option<(u64, String)>, Counted) {
    let next = AtomicU64::new(seeds.start);
    let found: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let all = Mutex::new(Counted::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while found.lock().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let (violation, counted) = play_blocking(seed, mutant);
                    for (what, times) in counted {
                        *all.lock().entry(what).or_default() += times;
                    }
                    if let Some(what) = violation {
                        let mut found = found.lock();
                        if found.as_ref().is_none_or(|(other, _)| seed < *other) {
                            *found = Some((seed, what));
                        }
                    }
                }
            });
        }
    });
    (found.into_inner(), all.into_inner())
}

#[test]
fn the_protocol_survives_every_seed() {
    let seeds = seeds(300);
    let (violation, counted) = first_violation(seeds.clone(), Mutant::None);
    if let Some((seed, what)) = violation {
        panic!("THERMOCLINE_SEED={seed}: {what}");
    }
    println!("{} seeds: {counted:#?}", seeds.end - seeds.start);
    if seeds.end - seeds.start >= 100 {
        let never: Vec<_> = counted.iter().filter(|(_, times)| **times == 0).collect();
        assert!(counted.len() >= 20 && never.is_empty(), "the simulation never reaches {never:?} of {counted:?}");
    }
}

fn is_caught(mutant: Mutant) {
    let (violation, _) = first_violation(seeds(1_000), mutant);
    let (seed, what) = violation.expect("the simulation does not notice");
    println!("{mutant:?} is caught by seed {seed}: {what}");
}

#[test]
fn without_the_fence_it_does_not() {
    is_caught(Mutant::NoFence);
}

#[test]
fn without_durable_intents_it_does_not() {
    is_caught(Mutant::NoIntent);
}

#[test]
fn without_the_search_for_marks_it_does_not() {
    is_caught(Mutant::NoSearch);
}

#[test]
fn with_silent_rebases_it_does_not() {
    is_caught(Mutant::NoOnlyVersion);
}

#[test]
fn a_seed_plays_the_same_twice() {
    for seed in [3, 4] {
        let mutant = Mutant::NoSearch;
        assert_eq!(play_blocking(seed, mutant), play_blocking(seed, mutant), "seed {seed}");
    }
}

/// The segments on disk, relative to the data directory.
fn segments_on_disk(data_dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for run in std::fs::read_dir(data_dir.join("staged")).expect("staged/ is there").flatten() {
        for file in std::fs::read_dir(run.path()).expect("a run's folder").flatten() {
            let (run, file) = (run.file_name(), file.file_name());
            found.insert(format!("staged/{}/{}", run.to_string_lossy(), file.to_string_lossy()));
        }
    }
    found
}
