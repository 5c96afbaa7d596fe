//! Counting: what became of every record of an epoch, on one worker.
//!
//! Operators of a worker share one ledger. A worker's entry for epoch *E* is complete when the frontier has passed *E*
//! everywhere upstream, which is when its seal operator takes the entry out.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use thermocline_schemas::metadata::{BranchId, Counts};
use thermocline_schemas::{Epoch, EventTime, TopicPartition};

/// What one worker saw in one epoch.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Records, by branch and partition.
    pub counts: HashMap<(BranchId, TopicPartition), Counts>,
    /// The newest event time of each partition of each source, by what its branches wrote. An entry without a time says
    /// that the partition was decoded and had none.
    pub newest: HashMap<(usize, TopicPartition), Option<EventTime>>,
    /// Fields dropped, by source.
    pub dropped_fields: HashMap<usize, u64>,
}

impl Tally {
    /// The counts of one branch in one partition.
    pub fn branch(&mut self, branch: BranchId, origin: &TopicPartition) -> &mut Counts {
        self.counts.entry((branch, origin.clone())).or_default()
    }

    /// Notes that a partition of a source was decoded, and how far its event time got.
    pub fn saw(&mut self, source: usize, origin: &TopicPartition, newest: Option<EventTime>) {
        let seen = self.newest.entry((source, origin.clone())).or_default();
        *seen = (*seen).max(newest);
    }

    /// Adds another worker's tally of the same epoch.
    pub fn add(&mut self, other: Tally) {
        for (key, counts) in other.counts {
            self.counts.entry(key).or_default().add(&counts);
        }
        for ((source, origin), newest) in other.newest {
            self.saw(source, &origin, newest);
        }
        for (source, fields) in other.dropped_fields {
            *self.dropped_fields.entry(source).or_default() += fields;
        }
    }
}

/// One worker's tallies of the epochs that are open.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Rc<RefCell<BTreeMap<Epoch, Tally>>>);

impl Ledger {
    /// Writes into the tally of `epoch`.
    pub fn note(&self, epoch: Epoch, write: impl FnOnce(&mut Tally)) {
        write(self.0.borrow_mut().entry(epoch).or_default());
    }

    /// Takes the tally of `epoch` out; empty when nothing happened in it.
    pub fn take(&self, epoch: Epoch) -> Tally {
        self.0.borrow_mut().remove(&epoch).unwrap_or_default()
    }
}
