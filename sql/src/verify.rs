//! Recounting everything by scanning: no record lost, none twice.
//!
//! Per branch and partition the law must hold: `read = rows + windowed + filtered + late + dead_letters`. `rows` and
//! `dead_letters` are counted in the tables, as distinct offsets; only `filtered` rests on counters.

use crate::{Session, SqlError};
use arrow::array::{Array, RecordBatch};
use roaring::RoaringTreemap;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use thermocline_schemas::metadata::{Branch, BranchId, Counts, CutView, Gap};
use thermocline_schemas::table::{DEAD_LETTERS, system};
use thermocline_schemas::{Epoch, columns};

/// So many places are listed; all are counted.
const MOST_LISTED: usize = 100;

/// The recount.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verified {
    /// True when the law holds everywhere, nothing is missing and nothing there twice.
    pub ok: bool,
    /// The figures of all branches into `domains` together.
    #[serde(flatten)]
    pub domains: Figures,
    /// Every branch.
    pub branches: Vec<VerifiedBranch>,
    /// What is wrong, in words, at most [`MOST_LISTED`] places.
    pub problems: Vec<String>,
}

/// Records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Delivered, less `again`. What a filter dropped and was read again counts each time, here and in `filtered`.
    pub read: u64,
    /// Found as rows.
    pub rows: u64,
    /// Inside window rows, and in open windows.
    pub windowed: u64,
    /// Dropped by a filter.
    pub filtered: u64,
    /// Behind the watermark.
    pub late: u64,
    /// Found as dead letters.
    pub dead_letters: u64,
    /// Of `windowed`, those in windows that are still open.
    pub open: u64,
    /// Found more than once.
    pub duplicates: u64,
    /// Delivered and found nowhere.
    pub missing: u64,
    /// Offsets that are there a second time because `reset-offsets` moved back. Of a topic that was made anew these are
    /// other records.
    pub again: u64,
}

impl Figures {
    fn add(&mut self, other: &Figures) {
        self.read += other.read;
        self.rows += other.rows;
        self.windowed += other.windowed;
        self.filtered += other.filtered;
        self.late += other.late;
        self.dead_letters += other.dead_letters;
        self.open += other.open;
        self.duplicates += other.duplicates;
        self.missing += other.missing;
        self.again += other.again;
    }
}

/// One branch's recount.
#[derive(Debug, Clone, Serialize)]
pub struct VerifiedBranch {
    /// Its number.
    pub branch: BranchId,
    /// Its source.
    pub source: String,
    /// Its target.
    pub target: String,
    /// Whether its statement is still among the pipelines.
    pub live: bool,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Which branch wrote what: offsets by place.
type Offsets<K> = BTreeMap<(K, String, i32), RoaringTreemap>;

/// What should be there: the cut, and where its logs have holes.
struct Expected<'a> {
    view: &'a CutView,
    gaps: &'a [Gap],
}

/// What the tables hold.
#[derive(Debug, Default)]
struct Scanned {
    /// Rows, by branch and ordinal.
    rows: Offsets<(BranchId, i32)>,
    /// Dead letters, by branch. What could not be decoded counts in each branch that its source had then.
    dead: Offsets<BranchId>,
    /// Dead letters of sources that had no branch then, by source.
    strays: BTreeMap<String, u64>,
    /// Offsets that were found again, by branch, though nobody has asked for it.
    duplicates: BTreeMap<BranchId, u64>,
    /// Records that were found again because `reset-offsets` had them read again.
    again: BTreeMap<(BranchId, String, i32), u64>,
    problems: Vec<String>,
}

/// Recounts what `session` sees.
///
/// # Errors
/// A scan that fails, or a cut that was cleaned up meanwhile. What is merely wrong is in the answer.
pub async fn verify(session: &Session) -> Result<Verified, SqlError> {
    let expected = Expected { view: session.view(), gaps: session.gaps() };
    let mut scanned = Scanned::default();
    for table in &session.view().tables {
        let dead = table.name.as_str() == DEAD_LETTERS;
        let more = if dead { "source, _epoch" } else { system::ORDINAL };
        let name = table.name.as_str().replace('.', "\".\"");
        let sql = format!("SELECT _branch, _topic, _partition, _offset, {more} FROM \"{name}\"");
        let mut rows = session.stream(&sql).await?;
        while let Some(batch) = rows.next().await? {
            if dead { scanned.dead_letters(&expected, &batch)? } else { scanned.rows(&expected, &batch)? }
        }
    }
    Ok(judge(&expected, scanned))
}

impl Scanned {
    fn rows(&mut self, expected: &Expected<'_>, batch: &RecordBatch) -> Result<(), SqlError> {
        let (branches, topics) = (columns::int32(batch, system::BRANCH)?, columns::text(batch, system::TOPIC)?);
        let partitions = columns::int32(batch, system::PARTITION)?;
        let (offsets, ordinals) = (columns::int64(batch, system::OFFSET)?, columns::int32(batch, system::ORDINAL)?);
        for row in 0..batch.num_rows() {
            let branch = BranchId(branches.value(row));
            let key = ((branch, ordinals.value(row)), topics.value(row).to_owned(), partitions.value(row));
            if !self.rows.entry(key).or_default().insert(offsets.value(row) as u64) {
                self.twice(expected, branch, topics.value(row), partitions.value(row), offsets.value(row));
            }
        }
        Ok(())
    }

    fn dead_letters(&mut self, expected: &Expected<'_>, batch: &RecordBatch) -> Result<(), SqlError> {
        let (branches, topics) = (columns::int32(batch, system::BRANCH)?, columns::text(batch, system::TOPIC)?);
        let (partitions, sources) = (columns::int32(batch, system::PARTITION)?, columns::text(batch, "source")?);
        let (offsets, epochs) = (columns::int64(batch, system::OFFSET)?, columns::int64(batch, system::EPOCH)?);
        for row in 0..batch.num_rows() {
            let (topic, partition, offset) = (topics.value(row), partitions.value(row), offsets.value(row));
            let (source, epoch) = (sources.value(row), Epoch(epochs.value(row) as u64));
            let of_branches: Vec<BranchId> = if branches.is_valid(row) {
                vec![BranchId(branches.value(row))]
            } else {
                let read_it = |branch: &&Branch| branch.identity.source == source && branch.read_in(epoch);
                expected.view.branches.iter().filter(read_it).map(|branch| branch.id).collect()
            };
            if of_branches.is_empty() {
                *self.strays.entry(source.to_owned()).or_default() += 1;
            }
            for branch in of_branches {
                if !self.dead.entry((branch, topic.to_owned(), partition)).or_default().insert(offset as u64) {
                    self.twice(expected, branch, topic, partition, offset);
                }
            }
        }
        Ok(())
    }

    /// An offset that was there already. Where somebody had it read again, that is as it should be.
    fn twice(&mut self, expected: &Expected<'_>, branch: BranchId, topic: &str, partition: i32, offset: i64) {
        let known = expected.view.branches.iter().find(|known| known.id == branch);
        let source = known.map_or("", |branch| &branch.identity.source);
        let here = |gap: &&Gap| gap.source == source && gap.topic == topic && gap.partition == partition;
        let covers = |gap: &Gap| gap.kind == "again" && gap.offsets.contains(&offset);
        if expected.gaps.iter().filter(here).any(covers) {
            *self.again.entry((branch, topic.to_owned(), partition)).or_default() += 1;
            return;
        }
        *self.duplicates.entry(branch).or_default() += 1;
        if self.problems.len() < MOST_LISTED {
            self.problems.push(format!("{topic}/{partition}@{offset} is there more than once, in branch {branch}"));
        }
    }

    /// Rows and dead letters that say they come from a branch or a source that nobody knows.
    fn list_strays(&mut self, view: &CutView) {
        let branches: BTreeSet<BranchId> = view.branches.iter().map(|branch| branch.id).collect();
        let rows = self.rows.iter().map(|(((branch, _), ..), offsets)| (*branch, offsets));
        let dead = self.dead.iter().map(|((branch, ..), offsets)| (*branch, offsets));
        let mut strays: BTreeMap<String, u64> = BTreeMap::new();
        for (branch, offsets) in rows.chain(dead).filter(|(branch, _)| !branches.contains(branch)) {
            *strays.entry(format!("branch {branch}")).or_default() += offsets.len();
        }
        let sources = self.strays.iter().map(|(source, count)| (format!("source {source}"), *count));
        let told = strays.into_iter().chain(sources);
        let told = told.map(|(whose, count)| format!("{count} records are of {whose}, which is not known"));
        self.problems.extend(told);
    }

    /// The offsets of a branch's rows in one partition, whatever their ordinal.
    fn rows_of(&self, branch: BranchId, topic: &str, partition: i32) -> RoaringTreemap {
        let mine = |((it, _), at, number): &((BranchId, i32), String, i32)| {
            *it == branch && at == topic && *number == partition
        };
        let mut all = RoaringTreemap::new();
        self.rows.iter().filter(|(key, _)| mine(key)).for_each(|(_, offsets)| all |= offsets);
        all
    }
}

fn judge(expected: &Expected<'_>, mut scanned: Scanned) -> Verified {
    let mut verified = Verified::default();
    scanned.list_strays(expected.view);
    for branch in &expected.view.branches {
        let mut figures = Figures::default();
        for (topic, partition, counts) in partitions_of(expected.view, branch, &scanned) {
            let found = judge_partition(expected, branch, &topic, partition, &counts, &mut scanned);
            figures.add(&found);
        }
        figures.duplicates += scanned.duplicates.get(&branch.id).copied().unwrap_or_default();
        if branch.identity.target == "domains" {
            verified.domains.add(&figures);
        }
        verified.branches.push(VerifiedBranch {
            branch: branch.id,
            source: branch.identity.source.clone(),
            target: branch.identity.target.clone(),
            live: branch.is_live(),
            figures,
        });
    }
    verified.problems = scanned.problems;
    verified.ok = verified.problems.is_empty();
    verified
}

/// Every partition that the branch counts in, or is found in, or should be found in.
fn partitions_of(view: &CutView, branch: &Branch, scanned: &Scanned) -> Vec<(String, i32, Counts)> {
    let mut all: BTreeMap<(String, i32), Counts> = BTreeMap::new();
    for it in view.conservation.iter().filter(|it| it.branch == branch.id) {
        all.entry((it.topic.clone(), it.partition)).or_default().add(&it.counts);
    }
    let rows = scanned.rows.keys().filter(|((id, _), ..)| *id == branch.id).map(|(_, topic, at)| (topic, at));
    let dead = scanned.dead.keys().filter(|(id, ..)| *id == branch.id).map(|(_, topic, at)| (topic, at));
    let read = view.progress.iter().filter(|it| branch.is_live() && it.source == branch.identity.source);
    let read = read.map(|it| (&it.topic, &it.partition));
    for (topic, partition) in rows.chain(dead).chain(read) {
        all.entry((topic.clone(), *partition)).or_default();
    }
    all.into_iter().map(|((topic, partition), counts)| (topic, partition, counts)).collect()
}

/// Compares the counters of one partition with what the tables hold.
fn judge_partition(
    expected: &Expected<'_>,
    branch: &Branch,
    topic: &str,
    partition: i32,
    counts: &Counts,
    scanned: &mut Scanned,
) -> Figures {
    let place = (branch.id, topic.to_owned(), partition);
    let rows = scanned.rows_of(branch.id, topic, partition);
    let dead = scanned.dead.get(&place).cloned().unwrap_or_default();
    let again = scanned.again.get(&place).copied().unwrap_or_default();
    // Read again, a record may well have become something else the second time.
    let both =
        if again > 0 || was_read_again(expected, branch, topic, partition) { 0 } else { rows.intersection_len(&dead) };
    let found = Figures {
        read: counts.read.saturating_sub(again),
        rows: rows.len(),
        windowed: counts.windowed,
        filtered: counts.filtered,
        late: counts.late,
        dead_letters: dead.len(),
        open: counts.open,
        duplicates: both,
        missing: 0,
        again,
    };
    let accounted = found.rows + found.windowed + found.filtered + found.late + found.dead_letters;
    let mut missing = found.read.saturating_sub(accounted);
    let mut problem = |what: String| {
        if scanned.problems.len() < MOST_LISTED {
            scanned.problems.push(format!("branch {}, {topic}/{partition}: {what}", branch.id));
        }
    };
    if accounted != found.read {
        problem(format!(
            "{} records were read, but {} rows, {} windowed, {} filtered, {} late and {} dead letters make {accounted}",
            found.read, found.rows, found.windowed, found.filtered, found.late, found.dead_letters
        ));
    }
    if both > 0 {
        problem(format!("{both} records are rows and dead letters at once"));
    }
    if found.rows + found.dead_letters + again != counts.rows + counts.dead_letters {
        problem(format!(
            "{} rows and {} dead letters were committed, {} and {} are there",
            counts.rows, counts.dead_letters, found.rows, found.dead_letters
        ));
    }
    if !branch.identity.filters && counts.windowed == 0 {
        let holes = holes(expected, branch, topic, partition, &(rows | dead));
        missing = missing.max(holes.len());
        for hole in holes.iter().take(MOST_LISTED) {
            problem(format!("{topic}/{partition}@{hole} is missing"));
        }
    }
    Figures { missing, ..found }
}

/// True when somebody had records of this partition read again.
fn was_read_again(expected: &Expected<'_>, branch: &Branch, topic: &str, partition: i32) -> bool {
    expected.gaps.iter().any(|gap| {
        gap.kind == "again" && gap.source == branch.identity.source && gap.topic == topic && gap.partition == partition
    })
}

/// Offsets between where the branch began and the resume offset that are neither found nor listed as a gap.
fn holes(
    expected: &Expected<'_>,
    branch: &Branch,
    topic: &str,
    partition: i32,
    found: &RoaringTreemap,
) -> RoaringTreemap {
    let here =
        |source: &str, at: &str, number: i32| source == branch.identity.source && at == topic && number == partition;
    let progress = expected.view.progress.iter().find(|it| here(&it.source, &it.topic, it.partition));
    let Some(progress) = progress.filter(|_| branch.is_live()) else { return RoaringTreemap::new() };
    let started_at = branch.started_at.iter().find(|(at, number, _)| at == topic && *number == partition);
    let first = started_at.map_or(progress.first_offset, |(.., offset)| progress.first_offset.max(*offset));
    let edge = |offset: i64| u64::try_from(offset).unwrap_or_default();
    let mut missing = RoaringTreemap::new();
    missing.insert_range(edge(first)..edge(progress.next_offset));
    for gap in expected.gaps.iter().filter(|gap| here(&gap.source, &gap.topic, gap.partition)) {
        missing.remove_range(edge(gap.offsets.start)..edge(gap.offsets.end));
    }
    missing -= found;
    missing
}

#[cfg(test)]
mod tests;
