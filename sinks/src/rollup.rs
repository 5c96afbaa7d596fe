//! Rollups: staged parts become well-sized data files, under an intent.
//!
//! [`due`] decides, [`Committer::roll_up`] plans and writes, `lanes` deals the parts out, `merge` streams them together,
//! `commit` carries the intent through the table commit and the flip.

mod commit;
pub(crate) mod lanes;
mod merge;

pub(crate) use commit::Settled;

use crate::committer::{ATTEMPTS, Committer};
use crate::{SinkError, crash_point};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use thermocline_schemas::metadata::{Advice, CutView, Intent, IntentKind, IntentPlan, MetaError, Part, PartId};
use thermocline_schemas::{Cut, EventTime, TableId, TableSchema, Tier};
use tracing::{info, warn};

/// When staged rows reach the tables. Durations are text, as `30s` or `10m`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RollupConfig {
    /// Longest time that rows for hot stay staged. Default 30s. Shorter keeps vector search on its index and makes more,
    /// smaller fragments.
    #[serde(with = "duration")]
    pub hot_after: Duration,
    /// Staged bytes at which a hot table is rolled up at once. Default 64 MiB. Larger makes fewer fragments.
    pub hot_target_bytes: u64,
    /// Longest time that rows for warm stay staged. Default 30s. Shorter lets external readers see them sooner, and makes
    /// more, smaller files.
    #[serde(with = "duration")]
    pub warm_after: Duration,
    /// Staged bytes at which a warm table is rolled up at once. Default 128 MiB.
    pub warm_target_bytes: u64,
    /// Longest time that rows for cold stay staged. Default 10m. Every commit leaves a metadata file, so seldom is better.
    #[serde(with = "duration")]
    pub cold_after: Duration,
    /// Staged bytes at which a cold table is rolled up at once. Default 512 MiB.
    pub cold_target_bytes: u64,
    /// Bytes that all segments may hold. Default 2 GiB. Above it the oldest segments are emptied at once, in every tier.
    pub staged_max_bytes: u64,
    /// Segments that one worker may leave. Default 120. Above it the oldest are emptied at once, in every tier. A query
    /// opens every segment that has rows it wants.
    pub staged_max_files: usize,
    /// How long a cut stays readable after a newer one has come. Default 15m. Longer keeps more segments and versions.
    #[serde(with = "duration")]
    pub history: Duration,
    /// Lanes of rollups at the same time, of one table or of several: in warm and cold each writes a data file. Default 2.
    /// More uses more processors, memory and disk at once.
    pub concurrency: usize,
}

impl Default for RollupConfig {
    fn default() -> Self {
        Self {
            hot_after: Duration::from_secs(30),
            hot_target_bytes: 64 << 20,
            warm_after: Duration::from_secs(30),
            warm_target_bytes: 128 << 20,
            cold_after: Duration::from_secs(600),
            cold_target_bytes: 512 << 20,
            staged_max_bytes: 2 << 30,
            staged_max_files: 120,
            history: Duration::from_secs(900),
            concurrency: 2,
        }
    }
}

impl RollupConfig {
    fn tier(&self, tier: Tier) -> (Duration, u64) {
        match tier {
            Tier::Hot => (self.hot_after, self.hot_target_bytes),
            Tier::Warm => (self.warm_after, self.warm_target_bytes),
            Tier::Cold => (self.cold_after, self.cold_target_bytes),
        }
    }
}

/// Durations as people write them.
mod duration {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        humantime::parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A rollup takes no more than this many times its tier's target: the rest waits for the next.
const MAX_TARGETS: u64 = 4;

/// The tables whose staged parts should be rolled up now: old enough, large enough, or in the way.
pub fn due(view: &CutView, config: &RollupConfig, now: EventTime) -> BTreeSet<TableId> {
    let mut staged: BTreeMap<&TableId, (EventTime, u64)> = BTreeMap::new();
    for part in &view.parts {
        let (oldest, bytes) = staged.entry(&part.part.table).or_insert((part.added_at, 0));
        *oldest = part.added_at.min(*oldest);
        *bytes += part.part.bytes.end - part.part.bytes.start;
    }
    let crowded = crowded(view, config);
    let is_due = |(table, (oldest, bytes)): &(&TableId, (EventTime, u64))| {
        let (after, target) = config.tier(table.tier);
        now.saturating_sub(*oldest) >= after.as_micros() as i64 || *bytes >= target || crowded.contains(table)
    };
    staged.into_iter().filter(is_due).map(|(table, _)| table.clone()).collect()
}

/// The tables with parts in the oldest segments, as many of these as are too many.
fn crowded<'a>(view: &'a CutView, config: &RollupConfig) -> BTreeSet<&'a TableId> {
    let worker = |path: &str| path.rsplit('-').next().unwrap_or_default().to_owned();
    let workers = view.segments.iter().map(|segment| worker(&segment.path)).collect::<BTreeSet<_>>().len();
    let mut bytes: u64 = view.segments.iter().map(|segment| segment.bytes).sum();
    let mut files = view.segments.len();
    let mut oldest = BTreeSet::new();
    for segment in &view.segments {
        if bytes <= config.staged_max_bytes && files <= config.staged_max_files * workers {
            break;
        }
        bytes -= segment.bytes;
        files -= 1;
        oldest.insert(segment.path.as_str());
    }
    view.parts.iter().filter(|part| oldest.contains(&*part.segment)).map(|part| &part.part.table).collect()
}

/// The staged parts that a rollup of `table` takes: the oldest, up to a few times the target.
fn taken<'a>(view: &'a CutView, table: &TableId, config: &RollupConfig) -> Vec<&'a Part> {
    let limit = config.tier(table.tier).1.saturating_mul(MAX_TARGETS);
    let mut all = 0_u64;
    let staged = view.parts.iter().filter(|part| part.part.table == *table);
    let fits = |part: &&Part| {
        let first = all == 0;
        all = all.saturating_add(part.part.bytes.end - part.part.bytes.start);
        first || all <= limit
    };
    staged.take_while(fits).collect()
}

impl Committer {
    /// Rolls up what `table` has staged: finishes its open intent, creates the table or adds columns where that is due,
    /// then moves the rows. Returns the cut of the flip; none when nothing was staged.
    ///
    /// # Errors
    /// A failure before the commit leaves no intent; one after it leaves an open one, which the next call finishes.
    pub async fn roll_up(&self, table: &TableId) -> Result<Option<Cut>, SinkError> {
        let _gate = self.gate(table).await;
        self.finish_open(table).await?;
        let mut view = self.newest().await?;
        if taken(&view, table, &self.config).is_empty() {
            return Ok(None);
        }
        let schema = schema_of(&view, table)?;
        if view.version(table).is_none() {
            self.create(table, &schema).await?;
            view = self.newest().await?;
        } else if view.lagging.contains(table) {
            self.at_once(table, IntentKind::Evolve, to_payload(&schema)?).await?;
            view = self.newest().await?;
        }
        self.take(table, &schema_of(&view, table)?, &view).await.map(Some)
    }

    /// Finishes what an earlier call, or run, left open on this table.
    pub(crate) async fn finish_open(&self, table: &TableId) -> Result<(), SinkError> {
        let open = self.open_intents().await?.into_iter().find(|intent| intent.id.table == *table);
        match open {
            None => Ok(()),
            Some(intent) => self.finish(&intent).await.map(drop),
        }
    }

    /// Finishes an open intent: one that was only planned is dropped, nobody can have committed it.
    pub(crate) async fn finish(&self, intent: &Intent) -> Result<Option<Settled>, SinkError> {
        if intent.payload.is_none() {
            self.repeat(|| self.stores.meta.drop_planned(self.generation, &intent.id)).await?;
            return Ok(None);
        }
        self.settle(intent, None).await.map(Some)
    }

    /// Creates the table, which nobody may have made before.
    async fn create(&self, table: &TableId, schema: &TableSchema) -> Result<(), SinkError> {
        if let Err(error) = self.refuse_unknown(table).await {
            return Err(self.or_fence(error).await);
        }
        self.at_once(table, IntentKind::Create, to_payload(schema)?).await
    }

    /// Performs an intent that moves no rows: planned and staged at once, then settled.
    pub(crate) async fn at_once(&self, table: &TableId, kind: IntentKind, payload: Vec<u8>) -> Result<(), SinkError> {
        let mut intent = self.plan(&IntentPlan { table: table.clone(), kind, parts: vec![] }).await?;
        self.repeat(|| self.stores.meta.stage_intent(self.generation, &intent.id, &payload)).await?;
        crash_point!("intent::staged");
        intent.payload = Some(payload.clone());
        self.settle(&intent, None).await.map(drop)
    }

    /// Moves staged rows into data files.
    async fn take(&self, table: &TableId, schema: &TableSchema, view: &CutView) -> Result<Cut, SinkError> {
        let parts: Vec<PartId> = taken(view, table, &self.config).into_iter().map(|part| part.id).collect();
        let mut intent = self.plan(&IntentPlan { table: table.clone(), kind: IntentKind::Rollup, parts }).await?;
        let payload = match self.write(schema, &intent).await {
            Ok(payload) => payload,
            Err(error) => {
                // Best effort: a planned intent that stays is dropped by whoever comes next.
                let dropped = self.repeat(|| self.stores.meta.drop_planned(self.generation, &intent.id)).await;
                dropped.unwrap_or_else(|error| warn!(intent = %intent.id, %error, "a planned intent stays"));
                return Err(error);
            }
        };
        crash_point!("intent::files_written");
        self.repeat(|| self.stores.meta.stage_intent(self.generation, &intent.id, &payload)).await?;
        crash_point!("intent::staged");
        intent.payload = Some(payload.clone());
        let settled = self.settle(&intent, Some(view)).await?;
        let rows: u64 = intent.parts.iter().map(|part| part.part.rows).sum();
        info!(%table, intent = intent.id.number, parts = intent.parts.len(), rows, version = %settled.version, "rolled up");
        Ok(settled.cut)
    }

    /// Writes the data files, and proves that every row is in them.
    async fn write(&self, schema: &TableSchema, intent: &Intent) -> Result<Vec<u8>, SinkError> {
        let table = &intent.id.table;
        let embedder = self.stores.embedder.as_ref().filter(|_| table.tier == Tier::Hot);
        let mut free = self.free_lanes(lanes::wanted(&intent.parts, self.lane_bytes)).await;
        let source = merge::Source::new(&self.stores.data_dir, schema, embedder);
        let lanes = lanes::lanes(&intent.parts, free.num_permits());
        // Uneven parts make fewer lanes than there might be.
        drop(free.split(free.num_permits().saturating_sub(lanes.len())));
        let rows = lanes.iter().map(|lane| source.rows(lanes::rounds(lane))).collect();
        let staged = self.stores.tables.stage(schema, &intent.id, rows).await?;
        drop(free);
        let expected: u64 = intent.parts.iter().map(|part| part.part.rows).sum();
        if staged.rows != expected {
            let what = format!("{} rows were written for {expected} that are staged", staged.rows);
            self.stores.tables.discard(&intent.id, &staged.payload).await?;
            return Err(SinkError::store(format!("writing data files of {table}"), what));
        }
        Ok(staged.payload)
    }

    /// Plans an intent; when the answer is lost, looks whether it is there. Call it under the table's gate.
    async fn plan(&self, plan: &IntentPlan) -> Result<Intent, SinkError> {
        let mut attempt = 0;
        loop {
            match self.stores.meta.plan_intent(self.generation, plan).await {
                Ok(intent) => {
                    crash_point!("intent::planned");
                    return Ok(intent);
                }
                Err(error) if error.advice() == Advice::ReadBack && attempt < ATTEMPTS => {
                    warn!(table = %plan.table, %error, "the plan's outcome is unknown");
                    let mine = |intent: &Intent| {
                        intent.id.table == plan.table
                            && intent.generation == self.generation
                            && intent.kind == plan.kind
                            && intent.payload.is_none()
                    };
                    if let Some(intent) = self.open_intents().await?.into_iter().find(mine) {
                        return Ok(intent);
                    }
                }
                Err(error) => return Err(error.into()),
            }
            self.wait(attempt).await;
            attempt += 1;
        }
    }
}

fn schema_of(view: &CutView, table: &TableId) -> Result<TableSchema, SinkError> {
    let known = view.table(&table.name).cloned();
    known.ok_or_else(|| MetaError::Refused { what: format!("table {} is not registered", table.name) }.into())
}

fn to_payload(schema: &TableSchema) -> Result<Vec<u8>, SinkError> {
    serde_json::to_vec(schema)
        .map_err(|error| SinkError::store(format!("keeping the columns of {}", schema.name), error))
}

#[cfg(test)]
mod tests;
