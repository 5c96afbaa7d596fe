//! The one that owns a generation: it commits manifests in order, watches its fence, and tends the tables.
//!
//! Pipelines hand it sealed epochs; [`tend`](Committer::tend) runs beside them, off the latency path. Everything here may
//! be dropped at any await: what was begun is an open intent, and is finished before the next one of its table.

use crate::rollup::RollupConfig;
use crate::rollup::lanes::LANE_BYTES;
use crate::segment::{Durability, create_staging};
use crate::tier::Tables;
use crate::{SinkError, crash_point};
use arrow::array::RecordBatch;
use futures::StreamExt;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thermocline_schemas::metadata::{Advice, CutView, Intent, Manifest, Meta, MetaError, RunInfo};
use thermocline_schemas::time::{Clock, MICROS_PER_SECOND};
use thermocline_schemas::{Cut, EventTime, Generation, TableId, TableSchema};
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::{debug, info, warn};

/// Adds `_embedding` to rows that go to hot: a column of 256 floats, last. Called on a thread that may compute.
pub type Embedder = Arc<dyn Fn(&TableSchema, RecordBatch) -> Result<RecordBatch, crate::Cause> + Send + Sync>;

/// How often the fence is read, also while nothing happens.
const FENCE_EVERY: Duration = Duration::from_millis(500);
/// How often [`Committer::tend`] looks whether a rollup is due.
const TEND_EVERY: Duration = Duration::from_millis(500);
/// How often what nobody can see any more is deleted.
const CLEAN_EVERY: Duration = Duration::from_secs(30);
/// See [`Committer::clean_up`].
const MAINTAIN_EVERY: u64 = 20;
/// How often a step is tried before its intent is left open for later.
pub(crate) const ATTEMPTS: u32 = 6;
/// Longest wait before a table that failed is tried again.
const MAX_BACKOFF_SECONDS: i64 = 60;

/// What a committer works with.
#[derive(Clone)]
pub struct Stores {
    /// The metadata store.
    pub meta: Arc<dyn Meta>,
    /// The tables.
    pub tables: Arc<dyn Tables>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Vectors for hot rows; none leaves the column to be null.
    pub embedder: Option<Embedder>,
    /// Where `staged/` lies.
    pub data_dir: PathBuf,
    /// What a commit outlives.
    pub durability: Durability,
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

/// The owner of a generation. Shared by reference: manifests and rollups go on beside each other.
#[derive(Debug)]
pub struct Committer {
    pub(crate) stores: Stores,
    pub(crate) config: RollupConfig,
    pub(crate) generation: Generation,
    pub(crate) started_at: EventTime,
    /// Wait before the first repetition of a failed step; it doubles.
    pub(crate) pause: Duration,
    /// A table is looked after when so many of its intents came since the last time: a Delta checkpoint, Lance and Iceberg
    /// clean-up.
    pub(crate) maintain_every: u64,
    /// See [`crate::rollup::lanes`].
    pub(crate) lane_bytes: u64,
    /// One at a time works on a table.
    gates: Mutex<HashMap<TableId, Arc<tokio::sync::Mutex<()>>>>,
    /// Tables that failed: how often, and when to try again.
    failing: Mutex<HashMap<TableId, (u32, EventTime)>>,
    /// One permit for each lane that may be worked on at the same time.
    pub(crate) lanes: Semaphore,
    /// Segments that could not be deleted yet.
    pub(crate) undeleted: Mutex<BTreeSet<String>>,
}

impl Committer {
    /// Takes over: whoever ran before is fenced from here on. Call [`recover`](Committer::recover) next.
    ///
    /// # Errors
    /// [`SinkError::Meta`] when the store does not answer, [`SinkError::Store`] when `staged/` cannot be made.
    pub async fn begin(stores: Stores, config: RollupConfig, run: &RunInfo) -> Result<Self, SinkError> {
        let generation = stores.meta.begin(run).await?;
        create_staging(&stores.data_dir, generation, stores.durability)?;
        let lanes = Semaphore::new(config.concurrency.max(1));
        info!(%generation, "generation begun");
        Ok(Self {
            stores,
            config,
            generation,
            started_at: run.started_at,
            pause: Duration::from_millis(100),
            maintain_every: MAINTAIN_EVERY,
            lane_bytes: LANE_BYTES,
            gates: Mutex::default(),
            failing: Mutex::default(),
            lanes,
            undeleted: Mutex::default(),
        })
    }

    /// This run's right to write.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The metadata store.
    pub fn meta(&self) -> &Arc<dyn Meta> {
        &self.stores.meta
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.stores.data_dir
    }

    /// Watches the fence, twice a second; returns when this run has lost its right to write. A store that does not answer
    /// is asked again.
    pub async fn fence(&self) -> SinkError {
        loop {
            match self.stores.meta.check(self.generation).await {
                Err(error) if error.is_fenced() => return error.into(),
                Err(error) => warn!(%error, "the fence could not be read"),
                Ok(()) => {}
            }
            tokio::time::sleep(FENCE_EVERY).await;
        }
    }

    /// Does `work` while this run has its right to write: when a newer run takes over, `work` is dropped half-way.
    ///
    /// # Errors
    /// The fence, or those of `work`.
    pub async fn while_ours<T, E: From<SinkError>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        tokio::select! {
            fenced = self.fence() => Err(fenced.into()),
            ended = work => ended,
        }
    }

    /// The fence, if a newer run has taken over. A store that does not answer says nothing.
    pub async fn lost(&self) -> Option<SinkError> {
        self.check().await.err().filter(must_stop)
    }

    /// Commits an epoch: from the return on it is durable and visible. An outcome that is unknown is looked up.
    ///
    /// # Errors
    /// [`SinkError::Meta`]: fenced, out of order, not conserved; or no answer in spite of repetition, and then the epoch
    /// may be committed: stop, and let the next start find out.
    pub async fn commit_manifest(&self, manifest: &Manifest) -> Result<Cut, SinkError> {
        let mut attempt = 0;
        let cut = loop {
            match self.stores.meta.commit_manifest(self.generation, manifest).await {
                Ok(cut) => break cut,
                Err(error) if error.advice() == Advice::ReadBack && attempt < ATTEMPTS => {
                    warn!(epoch = %manifest.epoch, %error, "the manifest's outcome is unknown");
                }
                // Tried before with an unknown outcome, and now it is there: nobody else commits in this generation.
                Err(MetaError::OutOfOrder { newest, .. }) if attempt > 0 && newest == manifest.epoch => {
                    break self.newest().await?.cut;
                }
                Err(error) => return Err(error.into()),
            }
            self.wait(attempt).await;
            attempt += 1;
        };
        crash_point!("meta::after_manifest");
        debug!(epoch = %manifest.epoch, %cut, "epoch committed");
        Ok(cut)
    }

    /// Rolls up what is due and deletes what nobody can see, for ever. Returns on what no repetition helps: a fence, a
    /// table of another store, metadata older than a table. May be dropped at any time.
    pub async fn tend(&self) -> SinkError {
        let mut cleaned_at = Instant::now();
        loop {
            if let Err(error) = self.roll_up_due().await {
                if must_stop(&error) {
                    return error;
                }
                warn!(error = &error as &dyn std::error::Error, "rollups are delayed");
            }
            if cleaned_at.elapsed() >= CLEAN_EVERY {
                cleaned_at = Instant::now();
                if let Err(error) = self.clean_up().await {
                    if must_stop(&error) {
                        return error;
                    }
                    warn!(error = &error as &dyn std::error::Error, "clean-up is delayed");
                }
            }
            tokio::time::sleep(TEND_EVERY).await;
        }
    }

    /// Rolls up the tables that are due, different ones at once; returns how many. A table that fails is tried again
    /// later, at growing intervals.
    ///
    /// # Errors
    /// Those after which the process must stop, and a metadata store that does not answer.
    pub async fn roll_up_due(&self) -> Result<usize, SinkError> {
        let view = self.newest().await?;
        let now = self.stores.clock.now();
        let mut tables = crate::rollup::due(&view, &self.config, now);
        tables.extend(self.open_intents().await?.into_iter().map(|intent| intent.id.table));
        tables.retain(|table| self.failing.lock().get(table).is_none_or(|(_, retry_at)| *retry_at <= now));
        let work = tables.into_iter().map(|table| async move {
            let outcome = self.roll_up(&table).await;
            (table, outcome)
        });
        let mut work = futures::stream::iter(work).buffer_unordered(self.config.concurrency.max(1));
        let mut rolled = 0;
        while let Some((table, outcome)) = work.next().await {
            match outcome {
                Ok(taken) => {
                    self.failing.lock().remove(&table);
                    rolled += usize::from(taken.is_some());
                }
                Err(error) if must_stop(&error) => return Err(error),
                Err(error) => {
                    let mut failing = self.failing.lock();
                    let (failures, retry_at) = failing.entry(table.clone()).or_insert((0, now));
                    let seconds = (1_i64 << (*failures).min(6)).min(MAX_BACKOFF_SECONDS);
                    *failures += 1;
                    *retry_at = now + seconds * MICROS_PER_SECOND;
                    let error = &error as &dyn std::error::Error;
                    warn!(%table, failures, retry_in_seconds = seconds, error, "rollup failed");
                }
            }
        }
        Ok(rolled)
    }

    /// Rolls up every staged part of every table, until none is left: for `up --once`, after the last manifest.
    ///
    /// # Errors
    /// The first failure; what was rolled up before it stays.
    pub async fn roll_up_all(&self) -> Result<(), SinkError> {
        loop {
            let view = self.newest().await?;
            let open = self.open_intents().await?.into_iter().map(|intent| intent.id.table);
            let tables: BTreeSet<TableId> = view.parts.into_iter().map(|part| part.part.table).chain(open).collect();
            if tables.is_empty() {
                return Ok(());
            }
            let work = tables.into_iter().map(|table| async move { self.roll_up(&table).await });
            let mut work = futures::stream::iter(work).buffer_unordered(self.config.concurrency.max(1));
            while let Some(outcome) = work.next().await {
                outcome?;
            }
        }
    }

    /// The right to work on `table`, until it is dropped.
    pub(crate) async fn gate(&self, table: &TableId) -> tokio::sync::OwnedMutexGuard<()> {
        let gate = Arc::clone(self.gates.lock().entry(table.clone()).or_default());
        gate.lock_owned().await
    }

    /// The right to work on lanes: of `wanted` as many as are free, at least one.
    pub(crate) async fn free_lanes(&self, wanted: usize) -> SemaphorePermit<'_> {
        let mut held = self.lanes.acquire().await.expect("nobody closes it");
        while held.num_permits() < wanted
            && let Ok(more) = self.lanes.try_acquire()
        {
            held.merge(more);
        }
        held
    }

    /// The fence, before a table commit or a deletion.
    pub(crate) async fn check(&self) -> Result<(), SinkError> {
        self.repeat(|| self.stores.meta.check(self.generation)).await
    }

    /// `error`, or the fence where that is why: a newer run's marks look like those of a newer store.
    pub(crate) async fn or_fence(&self, error: SinkError) -> SinkError {
        self.lost().await.unwrap_or(error)
    }

    pub(crate) async fn newest(&self) -> Result<CutView, SinkError> {
        self.repeat(|| self.stores.meta.newest()).await
    }

    pub(crate) async fn open_intents(&self) -> Result<Vec<Intent>, SinkError> {
        self.repeat(|| self.stores.meta.open_intents()).await
    }

    /// Does `step` until it answers, a few times. Only for steps that may be repeated.
    pub(crate) async fn repeat<'a, T>(
        &'a self,
        step: impl Fn() -> futures::future::BoxFuture<'a, Result<T, MetaError>>,
    ) -> Result<T, SinkError> {
        let mut attempt = 0;
        loop {
            match step().await {
                Err(error) if error.advice() == Advice::ReadBack && attempt < ATTEMPTS => {
                    warn!(%error, attempt, "the metadata store is asked again");
                }
                other => return Ok(other?),
            }
            self.wait(attempt).await;
            attempt += 1;
        }
    }

    /// Waits before the repetition after `attempt`.
    pub(crate) async fn wait(&self, attempt: u32) {
        if !self.pause.is_zero() {
            tokio::time::sleep(self.pause * 2_u32.pow(attempt.min(5))).await;
        }
    }
}

/// True for what no repetition helps, and what says that this run's belief about the tables is wrong. A damaged segment
/// or a column that does not fit holds up its own table only.
pub(crate) fn must_stop(error: &SinkError) -> bool {
    let own_table_only = matches!(error, SinkError::Schema(_) | SinkError::Damaged { .. });
    !own_table_only && matches!(error.advice(), Advice::Stop | Advice::FixConfig)
}

#[cfg(test)]
mod tests;
