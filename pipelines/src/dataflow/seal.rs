//! The seal operator: keeps a worker's rows by epoch, and hands each epoch over, once, when nothing can arrive for it.
//!
//! It keeps the capability of every epoch that is not written yet, so that a probe behind it never shows more than is
//! true.

use crate::dataflow::rows::{Rows, Stage};
use crate::dataflow::tally::{Ledger, Tally};
use std::collections::BTreeMap;
use thermocline_schemas::Epoch;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

/// Everything one worker has for one epoch.
#[derive(Debug)]
pub struct Sealed {
    /// The epoch; nothing more will come for it.
    pub epoch: Epoch,
    /// The worker's number.
    pub worker: usize,
    /// Rows to write: [`Stage::Written`] and [`Stage::Dead`].
    pub rows: Vec<Rows>,
    /// What became of its records.
    pub tally: Tally,
}

/// The pure half: rows in, whole epochs out, in order, without a gap.
struct Seal {
    worker: usize,
    next: Epoch,
    open: BTreeMap<Epoch, Vec<Rows>>,
    ledger: Ledger,
}

impl Seal {
    fn push(&mut self, epoch: Epoch, rows: Rows) {
        if matches!(rows.stage, Stage::Written { .. } | Stage::Dead { .. }) {
            self.open.entry(epoch).or_default().push(rows);
        }
    }

    /// All epochs before `frontier`, also those without rows: the coordinator waits for every worker's word on each.
    fn seal_before(&mut self, frontier: Epoch) -> Vec<Sealed> {
        let mut sealed = vec![];
        while self.next < frontier {
            let (epoch, worker) = (self.next, self.worker);
            let rows = self.open.remove(&epoch).unwrap_or_default();
            sealed.push(Sealed { epoch, worker, rows, tally: self.ledger.take(epoch) });
            self.next = epoch.next();
        }
        sealed
    }
}

/// Adds the operator. `first` is the run's first epoch; `hand_over` must not wait.
pub(super) fn add<'scope>(
    stream: Stream<'scope, u64, Rows>,
    first: Epoch,
    last: super::LastEpoch,
    ledger: Ledger,
    hand_over: impl Fn(Sealed) + 'static,
) -> Stream<'scope, u64, Rows> {
    let worker = stream.scope().index();
    let mut seal = Seal { worker, next: first, open: BTreeMap::new(), ledger };
    stream.unary_frontier::<NoopBuilder<Rows>, _, _, _>(Pipeline, "seal", move |_, _| {
        move |(input, frontier), _output| {
            input.for_each(|capability, rows| seal.push(Epoch(*capability.time()), std::mem::take(rows)));
            // An empty frontier: the run is over, and its last epoch is complete.
            let complete = frontier.frontier().iter().next().copied().map(Epoch);
            let before = complete.unwrap_or_else(|| last.get().map_or(seal.next, Epoch::next));
            seal.seal_before(before).into_iter().for_each(&hand_over);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_is_sealed_once_and_in_order_with_or_without_rows() {
        let mut seal = Seal { worker: 0, next: Epoch(3), open: BTreeMap::new(), ledger: Ledger::default() };
        seal.ledger.note(Epoch(4), |tally| *tally.dropped_fields.entry(0).or_default() = 9);
        assert!(seal.seal_before(Epoch(3)).is_empty());
        let sealed = seal.seal_before(Epoch(6));
        assert_eq!(sealed.iter().map(|it| it.epoch.0).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(sealed[1].tally.dropped_fields[&0], 9);
        assert!(seal.seal_before(Epoch(6)).is_empty());
    }
}
