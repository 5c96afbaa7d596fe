//! The book of open epochs: what the sources closed, what the workers wrote, and the manifest this makes.
//!
//! Pure: no clock, no store. Manifests leave strictly in the order of their epochs, each once every worker has reported.

use crate::coordinator::breaker::{Breaker, Health};
use crate::dataflow::tally::Tally;
use crate::dataflow::writer::Written;
use crate::source::ingress::{ClosedEpoch, PartitionState};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thermocline_schemas::metadata::{BranchId, Conservation, Gap, Manifest, Pause, Progress};
use thermocline_schemas::{Epoch, EventTime, TopicPartition};

/// What the book knows of a source.
#[derive(Debug, Clone)]
pub struct SourceInfo {
    /// Its name.
    pub name: String,
    /// How far a row may lag behind the newest of its partition before the watermark passes it, µs.
    pub max_disorder: i64,
    /// How long a partition must be quiet, at its end, to count as idle.
    pub idle_after: Duration,
    /// The branches that read it.
    pub branches: Vec<BranchId>,
}

/// A closed epoch of all sources.
#[derive(Debug)]
pub struct Closing {
    /// The epoch.
    pub epoch: Epoch,
    /// When it opened, µs UTC.
    pub opened_at: EventTime,
    /// When it closed: idleness is judged by it.
    pub closed_at: Instant,
    /// What each source's ingress said, in the order of the sources.
    pub sources: Vec<ClosedEpoch>,
    /// Whether each source's broker answers: without an answer, silence does not make a partition idle.
    pub healthy: Vec<bool>,
}

/// An epoch that is ready to commit.
#[derive(Debug)]
pub struct Ready {
    /// What to commit; none if nothing happened in it.
    pub manifest: Option<Manifest>,
    /// The epoch.
    pub epoch: Epoch,
    /// Budget that comes back when it is durable.
    pub charged_bytes: usize,
    /// Records in it.
    pub records: u64,
}

/// The epochs that are closed and not yet committed.
#[derive(Debug)]
pub struct Book {
    sources: Vec<SourceInfo>,
    workers: usize,
    open: BTreeMap<Epoch, (Closing, Vec<Written>)>,
    /// As of the newest manifest, by source.
    known: HashMap<(usize, TopicPartition), Progress>,
    breaker: Breaker,
}

impl Book {
    /// An empty book; `known` is where the newest cut left the sources.
    pub fn new(sources: Vec<SourceInfo>, workers: usize, known: &[Progress]) -> Self {
        let number = |name: &str| sources.iter().position(|source| source.name == name);
        let known = known
            .iter()
            .filter_map(|at| {
                let key = (number(&at.source)?, TopicPartition::new(at.topic.as_str(), at.partition));
                Some((key, at.clone()))
            })
            .collect();
        Self { sources, workers, open: BTreeMap::new(), known, breaker: Breaker::default() }
    }

    /// Epochs that are closed and not yet committed.
    pub fn open_epochs(&self) -> usize {
        self.open.len()
    }

    /// Notes a closed epoch. Workers may have reported it already only if it was noted before they could see it close.
    pub fn close(&mut self, closing: Closing) {
        self.open.insert(closing.epoch, (closing, vec![]));
    }

    /// Notes what a worker wrote.
    pub fn written(&mut self, written: Written) {
        if let Some((_, reports)) = self.open.get_mut(&written.epoch) {
            reports.push(written);
        }
    }

    /// The oldest open epoch, if every worker has reported it.
    pub fn next_ready(&mut self) -> Option<Ready> {
        let entry = self.open.first_entry().filter(|entry| entry.get().1.len() == self.workers)?;
        let (closing, reports) = entry.remove();
        Some(self.ready(closing, reports))
    }

    /// Lets the breaker forget a topic that was resumed.
    pub fn resumed(&mut self, source: usize, topic: &Arc<str>) {
        self.breaker.reset(source, topic);
    }

    fn ready(&mut self, closing: Closing, reports: Vec<Written>) -> Ready {
        let (mut tally, mut segments) = (Tally::default(), vec![]);
        for written in reports {
            tally.add(written.tally);
            segments.extend(written.segment);
        }
        let manifest = Manifest {
            epoch: closing.epoch,
            opened_at: closing.opened_at,
            segments,
            progress: self.progress(&closing, &tally),
            gaps: self.gaps(&closing),
            conservation: conservation(&tally),
            dropped_fields: self.dropped_fields(&tally),
            pauses: self.pauses(&tally),
        };
        let nothing = manifest.segments.is_empty() && manifest.progress.is_empty() && manifest.conservation.is_empty();
        Ready {
            manifest: (!nothing).then_some(manifest),
            epoch: closing.epoch,
            charged_bytes: closing.sources.iter().map(|source| source.charged_bytes).sum(),
            records: closing.sources.iter().map(|source| source.records).sum(),
        }
    }

    /// The partitions whose offset, watermark or idleness changed.
    fn progress(&mut self, closing: &Closing, tally: &Tally) -> Vec<Progress> {
        let mut changed = vec![];
        for (number, closed) in closing.sources.iter().enumerate() {
            let joins_at = self.least_watermark(number);
            let mut now = BTreeMap::new();
            for (partition, state) in &closed.partitions {
                let before = self.known.get(&(number, partition.clone()));
                now.insert(partition, self.progress_of(number, (partition, state), closing, tally, before, joins_at));
            }
            self.hold(number, &mut now);
            for (partition, now) in now {
                let key = (number, partition.clone());
                if self.known.get(&key) != Some(&now) {
                    changed.push(now.clone());
                    self.known.insert(key, now);
                }
            }
        }
        changed
    }

    /// When the last partitions go idle, those that were idle before are raised to where the source stood: whichever goes on
    /// first then goes on from there.
    fn hold(&self, number: usize, now: &mut BTreeMap<&TopicPartition, Progress>) {
        if now.values().any(|progress| !progress.idle) {
            return;
        }
        let was_active =
            |partition: &TopicPartition| self.known.get(&(number, partition.clone())).is_none_or(|before| !before.idle);
        let active = now.iter().filter(|(partition, _)| was_active(partition));
        let stood = active.filter_map(|(_, progress)| progress.watermark).min();
        now.values_mut().for_each(|progress| progress.watermark = progress.watermark.max(stood));
    }

    /// The watermark of a source as of the newest manifest: that of the partition that holds it back.
    fn least_watermark(&self, number: usize) -> Option<EventTime> {
        let active = self.known.iter().filter(|((source, _), progress)| *source == number && !progress.idle);
        active.filter_map(|(_, progress)| progress.watermark).min()
    }

    /// `joins_at`: where a partition stands that is new, or was idle. What is closed already stays closed.
    fn progress_of(
        &self,
        number: usize,
        (partition, state): (&TopicPartition, &PartitionState),
        closing: &Closing,
        tally: &Tally,
        before: Option<&Progress>,
        joins_at: Option<EventTime>,
    ) -> Progress {
        let source = &self.sources[number];
        let newest = tally.newest.get(&(number, partition.clone())).copied().flatten();
        // A row from the future says nothing of what has arrived until then.
        let reached = newest.map(|newest| newest.min(closing.opened_at).saturating_sub(source.max_disorder));
        let joins_at = joins_at.filter(|_| before.is_none_or(|before| before.idle));
        let quiet = |since: Instant| closing.closed_at.saturating_duration_since(since) >= source.idle_after;
        Progress {
            source: source.name.clone(),
            cluster_id: state.topic.cluster_id.to_string(),
            topic: partition.topic.to_string(),
            topic_id: state.topic.id,
            partition: partition.partition,
            first_offset: before.map_or(state.first_offset, |before| before.first_offset),
            next_offset: state.next_offset,
            watermark: before.and_then(|before| before.watermark).max(joins_at).max(reached),
            idle: closing.healthy[number] && !state.paused && state.at_end_since.is_some_and(quiet),
        }
    }

    fn gaps(&self, closing: &Closing) -> Vec<Gap> {
        let gap = |source: &SourceInfo, (partition, offsets): &(TopicPartition, std::ops::Range<i64>)| Gap {
            source: source.name.clone(),
            topic: partition.topic.to_string(),
            partition: partition.partition,
            offsets: offsets.clone(),
            kind: "absent".to_owned(),
        };
        let both = self.sources.iter().zip(&closing.sources);
        both.flat_map(|(source, closed)| closed.absent.iter().map(move |absent| gap(source, absent))).collect()
    }

    fn dropped_fields(&self, tally: &Tally) -> Vec<(String, u64)> {
        let dropped = tally.dropped_fields.iter().filter(|(_, fields)| **fields > 0);
        dropped.map(|(source, fields)| (self.sources[*source].name.clone(), *fields)).collect()
    }

    fn pauses(&mut self, tally: &Tally) -> Vec<Pause> {
        let mut branches: BTreeMap<(usize, Arc<str>), HashMap<BranchId, Health>> = BTreeMap::new();
        for ((branch, partition), counts) in &tally.counts {
            let Some(source) = self.sources.iter().position(|source| source.branches.contains(branch)) else {
                continue;
            };
            let topic = branches.entry((source, partition.topic.clone())).or_default();
            let sum = topic.entry(*branch).or_default();
            sum.records += counts.read;
            sum.dead += counts.dead_letters;
        }
        let mut pauses = vec![];
        for ((source, topic), branches) in branches {
            if let Some(window) = self.breaker.epoch(source, &topic, branches) {
                let reason = format!(
                    "{} of the newest {} records of topic {topic} are dead letters",
                    window.dead, window.records
                );
                pauses.push(Pause { source: self.sources[source].name.clone(), topic: topic.to_string(), reason });
            }
        }
        pauses
    }
}

fn conservation(tally: &Tally) -> Vec<Conservation> {
    let mut all: Vec<Conservation> = tally
        .counts
        .iter()
        .map(|((branch, origin), counts)| Conservation {
            branch: *branch,
            topic: origin.topic.to_string(),
            partition: origin.partition,
            counts: *counts,
        })
        .collect();
    all.sort_by(|a, b| (a.branch, &a.topic, a.partition).cmp(&(b.branch, &b.topic, b.partition)));
    all
}

#[cfg(test)]
mod tests;
