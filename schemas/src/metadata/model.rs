//! The rows of the metadata store, as values.

use crate::{Cut, Epoch, EventTime, Generation, TableId, TableName, TableSchema};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use uuid::Uuid;

/// Who runs, for messages to whoever is fenced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The host's name.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// When it started, µs UTC.
    pub started_at: EventTime,
}

/// What a commit outlives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Loss of power: files, folders and the metadata store are synced to disk. The default.
    #[default]
    Disk,
    /// The end of the process (`kill -9`), but not of the machine: nothing is synced.
    Process,
}

/// A table's rows in a segment, not yet in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPart {
    /// Where the rows belong.
    pub table: TableId,
    /// Their place in the segment file.
    pub bytes: Range<u64>,
    /// How many rows.
    pub rows: u64,
    /// Least and greatest event time, both inclusive.
    pub event_time: (EventTime, EventTime),
}

/// One worker's file of an epoch, written and synced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSegment {
    /// Relative to the data directory: `staged/<generation>/<epoch>-<worker>`.
    pub path: String,
    /// The file's length.
    pub bytes: u64,
    /// What is in it.
    pub parts: Vec<NewPart>,
}

/// How far a source has come in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The declared source.
    pub source: String,
    /// The cluster's id, as the broker says.
    pub cluster_id: String,
    /// The topic's name.
    pub topic: String,
    /// The topic's id: a topic made anew under its old name has another.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: i32,
    /// Where reading began: the store keeps the one that it heard first.
    pub first_offset: i64,
    /// Resume offset: the next to read.
    pub next_offset: i64,
    /// Event time up to which everything is believed to have arrived; none before the first record.
    pub watermark: Option<EventTime>,
    /// True while the partition does not hold the watermark back.
    pub idle: bool,
}

/// The id of a topic from some epoch on: one that is made anew under its old name gets another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicId {
    /// The topic's name.
    pub topic: String,
    /// Its id.
    pub id: Uuid,
    /// The first epoch whose rows are of this topic; oldest first for each name.
    pub since: Epoch,
}

/// Offsets that were never delivered, or delivered again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The declared source.
    pub source: String,
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offsets, half-open.
    pub offsets: Range<i64>,
    /// `absent`: the log has no such records (transactions, compaction, retention). `reset`: somebody moved the offset
    /// forward. `again`: somebody moved it back, these are read once more.
    pub kind: String,
}

/// A branch's number: one `INSERT` of one pipeline, kept with every row as `_branch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BranchId(pub i32);

impl fmt::Display for BranchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What makes a branch the same branch after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewBranch {
    /// The declared source it reads.
    pub source: String,
    /// `domains`, or the target table.
    pub target: String,
    /// The `INSERT`, normalised.
    pub statement: String,
    /// True when records may leave by a filter; only then may `read` exceed the sum of the scanned.
    pub filters: bool,
}

/// A branch as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// Its number.
    pub id: BranchId,
    /// What it is.
    pub identity: NewBranch,
    /// The resume offsets of its source when it was added: `(topic, partition, offset)`; partitions that are not listed
    /// are read from their first record.
    pub started_at: Vec<(String, i32, i64)>,
    /// The first epoch that it read in.
    pub first_epoch: Epoch,
    /// The first epoch that it no longer read in, because its statement is gone; none while it is live.
    pub closed_epoch: Option<Epoch>,
}

impl Branch {
    /// Whether its statement is still among the pipelines.
    pub fn is_live(&self) -> bool {
        self.closed_epoch.is_none()
    }

    /// Whether what its source read in `epoch` went through it.
    pub fn read_in(&self, epoch: Epoch) -> bool {
        self.first_epoch <= epoch && self.closed_epoch.is_none_or(|closed| epoch < closed)
    }
}

/// Records, not rows: `read = rows + windowed + filtered + late + dead_letters`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records delivered to the branch.
    pub read: u64,
    /// Records that became rows.
    pub rows: u64,
    /// Records inside window rows, and in windows that are still open.
    pub windowed: u64,
    /// Records that a filter dropped.
    pub filtered: u64,
    /// Records behind the watermark.
    pub late: u64,
    /// Records we could not use.
    pub dead_letters: u64,
    /// Of `windowed`, those in windows that are still open.
    pub open: u64,
}

impl Counts {
    /// True when the law of conservation holds.
    pub fn holds(&self) -> bool {
        self.read == self.rows + self.windowed + self.filtered + self.late + self.dead_letters
    }

    /// Adds `other` to these.
    pub fn add(&mut self, other: &Counts) {
        self.read += other.read;
        self.rows += other.rows;
        self.windowed += other.windowed;
        self.filtered += other.filtered;
        self.late += other.late;
        self.dead_letters += other.dead_letters;
        self.open += other.open;
    }
}

/// The counts of one branch in one partition: of one epoch in a manifest, of all time in a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conservation {
    /// The branch.
    pub branch: BranchId,
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The figures.
    pub counts: Counts,
}

/// What one epoch adds at its cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The epoch.
    pub epoch: Epoch,
    /// When it opened, µs UTC: what tiers were chosen by.
    pub opened_at: EventTime,
    /// The workers' files.
    pub segments: Vec<NewSegment>,
    /// Partitions that moved, or whose watermark or idleness changed.
    pub progress: Vec<Progress>,
    /// Offsets that were found missing.
    pub gaps: Vec<Gap>,
    /// The epoch's counts.
    pub conservation: Vec<Conservation>,
    /// Fields that declared sources do not name and that were dropped: `(source, fields)`.
    pub dropped_fields: Vec<(String, u64)>,
    /// Topics that pause with this epoch: over half of their newest records are dead letters.
    pub pauses: Vec<Pause>,
}

/// A topic that a source does not read for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The declared source.
    pub source: String,
    /// The topic.
    pub topic: String,
    /// Why, in words for its operator.
    pub reason: String,
}

/// One decision of the mapper, as JSON, under the key it replaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// Source, shape and domain.
    pub key: String,
    /// The decision.
    pub json: String,
}

/// A request to read a partition from another offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetReset {
    /// The declared source.
    pub source: String,
    /// The cluster's id.
    pub cluster_id: String,
    /// The topic's name.
    pub topic: String,
    /// The id the topic has now.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: i32,
    /// How many partitions the topic has now: what is kept of any beyond them is of a topic that is no more, and goes.
    pub partitions: i32,
    /// The offset to read next.
    pub next_offset: i64,
}

/// A part's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartId(pub i64);

/// A table's rows inside a segment: durable and visible, staged until a rollup takes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its number.
    pub id: PartId,
    /// The segment, relative to the data directory.
    pub segment: String,
    /// Table, place, rows and bounds.
    pub part: NewPart,
    /// The epoch that wrote it.
    pub epoch: Epoch,
    /// The cut that added it.
    pub added: Cut,
    /// When the cut was added, µs UTC.
    pub added_at: EventTime,
}

/// A segment that holds at least one staged part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveSegment {
    /// Relative to the data directory: `staged/<generation>/<epoch>-<worker>`.
    pub path: String,
    /// The file's length; it stays until the last part is rolled up.
    pub bytes: u64,
}

/// A version of a physical table: a Lance version, a Delta version, an Iceberg metadata location.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TableVersion(pub String);

impl fmt::Display for TableVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A table version that a cut shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveVersion {
    /// The physical table.
    pub table: TableId,
    /// The exact version.
    pub version: TableVersion,
    /// All its rows.
    pub rows: u64,
    /// Least and greatest event time of all its rows; none for an empty table.
    pub event_time: Option<(EventTime, EventTime)>,
    /// The cut that added it.
    pub added: Cut,
}

/// What an intent does to its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IntentKind {
    /// Makes the table.
    Create,
    /// Takes staged parts into data files.
    Rollup,
    /// Adds nullable columns.
    Evolve,
    /// Checkpoints, expires, cleans: changes no row.
    Maintain,
}

/// One intent of one table: the counter is the mark inside the table's commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IntentId {
    /// The physical table.
    pub table: TableId,
    /// From 1, without end, one counter a table.
    pub number: u64,
}

impl fmt::Display for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.table, self.number)
    }
}

/// What an intent will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntentPlan {
    /// The table.
    pub table: TableId,
    /// What to.
    pub kind: IntentKind,
    /// The parts a rollup takes.
    pub parts: Vec<PartId>,
}

/// An open intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Its mark.
    pub id: IntentId,
    /// What it does.
    pub kind: IntentKind,
    /// The parts it takes.
    pub parts: Vec<Part>,
    /// The run that planned it.
    pub generation: Generation,
    /// *Planned* while none; *staged* with what the table commit needs.
    pub payload: Option<Vec<u8>>,
    /// The run that decided to give it up. A mark in the table by an older run says that the payload was committed; by
    /// this run or a newer one, that the empty commit was.
    pub given_up: Option<Generation>,
}

/// How an intent ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flip {
    /// The version that carries its mark.
    pub version: TableVersion,
    /// The run that the mark names: not always the one that flips.
    pub marked_by: Generation,
    /// False when the intent was given up by an empty commit: its parts stay staged.
    pub took_parts: bool,
}

/// The newest flip of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFlip {
    /// The mark of its intent.
    pub intent: u64,
    /// The version it made.
    pub version: TableVersion,
    /// The run that its mark in the table names.
    pub generation: Generation,
    /// The newest [`IntentKind::Maintain`] that was flipped; 0 before the first.
    pub maintained: u64,
}

/// A reader's claim on a cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Its number.
    pub id: i64,
    /// What it holds.
    pub cut: Cut,
}

/// Everything as of one cut.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutView {
    /// The cut.
    pub cut: Cut,
    /// The newest epoch in it; none before the first.
    pub epoch: Option<Epoch>,
    /// The logical tables that are known.
    pub tables: Vec<TableSchema>,
    /// Staged parts, oldest first.
    pub parts: Vec<Part>,
    /// The segments they lie in, oldest first.
    pub segments: Vec<LiveSegment>,
    /// Table versions, one a physical table.
    pub versions: Vec<LiveVersion>,
    /// Physical tables that lack columns of their logical table; an [`IntentKind::Evolve`] adds them.
    pub lagging: Vec<TableId>,
    /// How far each source has come.
    pub progress: Vec<Progress>,
    /// The ids that topics have had.
    pub topic_ids: Vec<TopicId>,
    /// The branches.
    pub branches: Vec<Branch>,
    /// The counts of all time.
    pub conservation: Vec<Conservation>,
    /// Dropped fields of all time, by source.
    pub dropped_fields: Vec<(String, u64)>,
    /// What is paused.
    pub pauses: Vec<Pause>,
}

impl CutView {
    /// The columns of `name`, if the table is known.
    pub fn table(&self, name: &TableName) -> Option<&TableSchema> {
        self.tables.iter().find(|schema| schema.name == *name)
    }

    /// The version of a physical table, if it exists at this cut.
    pub fn version(&self, table: &TableId) -> Option<&LiveVersion> {
        self.versions.iter().find(|live| live.table == *table)
    }

    /// The least watermark of all partitions that are not idle; none while one of them has none.
    pub fn least_watermark(&self) -> Option<EventTime> {
        let mut active = self.progress.iter().filter(|progress| !progress.idle).peekable();
        active.peek()?;
        active.map(|progress| progress.watermark).min().flatten()
    }
}

/// What no cut within reach shows any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Victims {
    /// Segments without a part that anybody can see: delete the files.
    pub segments: Vec<String>,
    /// For each physical table, the least version that must stay readable: pinned, or within history, or of the last flip.
    pub keep_from: Vec<(TableId, TableVersion)>,
}

/// What is still referred to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct References {
    /// Segments.
    pub segments: Vec<String>,
    /// Versions of tables that are pinned, within history, or of the last flip.
    pub versions: Vec<(TableId, TableVersion)>,
    /// Payloads of open intents.
    pub payloads: Vec<(IntentId, Vec<u8>)>,
}
