//! What a run shows of itself while it runs.

use crate::coordinator::SourceRun;
use std::collections::BTreeMap;
use thermocline_schemas::Epoch;
use thermocline_schemas::metadata::Pause;

/// A run, now.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Snapshot {
    /// The epoch that is open.
    pub open_epoch: Epoch,
    /// Epochs that are closed and not yet committed.
    pub epochs_not_durable: usize,
    /// The budget for everything that is under way, in bytes, as it was configured.
    pub budget_bytes: usize,
    /// What of it is taken: all that the clients' queues may hold, and what they handed over and is not durable yet.
    pub used_bytes: usize,
    /// Topics that are not read for now.
    pub paused: Vec<Pause>,
    /// The dead letters of this run by topic: each counts in every branch that could not use it.
    pub dead_letters: BTreeMap<String, u64>,
    /// The sources.
    pub sources: Vec<SourceSnapshot>,
}

/// A source, now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceSnapshot {
    /// Its name.
    pub name: String,
    /// The topics it reads.
    pub topics: Vec<String>,
    /// Records between what was read and the end of the log.
    pub lag: u64,
    /// Whether its broker answers.
    pub healthy: bool,
}

impl SourceSnapshot {
    pub(super) fn of(source: &SourceRun) -> Self {
        Self {
            name: source.ingress.source().to_owned(),
            topics: source.kafka.topics().into_iter().map(|topic| topic.name.to_string()).collect(),
            lag: source.kafka.lag().iter().map(|partition| partition.offsets()).sum(),
            healthy: source.kafka.healthy(),
        }
    }
}
