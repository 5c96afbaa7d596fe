//! The source operator: takes raw batches from the ingress and says how far its epoch has come.

use crate::dataflow::rows::Rows;
use crate::failures::Failures;
use crate::source::ingress::{Ingress, Wake};
use std::sync::Arc;
use thermocline_schemas::Epoch;
use timely::container::NoopBuilder;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::{Scope, Stream};
use timely::scheduling::SyncActivator;

/// Wakes a parked worker and has it run this operator.
#[derive(Debug)]
struct WakeOperator(SyncActivator);

impl Wake for WakeOperator {
    fn wake(&self) {
        // A worker that is gone needs no waking.
        let _ = self.0.activate();
    }
}

/// Adds the source operator of one ingress: one batch a call, under the epoch that was open when it was taken.
///
/// The operator always holds a capability of the open epoch, until the run stops and `last` epoch is behind it.
pub(super) fn add<'scope>(
    scope: Scope<'scope, u64>,
    ingress: Arc<Ingress>,
    last: LastEpoch,
    failures: Failures,
) -> Stream<'scope, u64, Rows> {
    let name = format!("source {}", ingress.source());
    source::<u64, NoopBuilder<Rows>, _, _>(scope, &name, move |capability, info| {
        let again = scope.worker().activator_for(info.address.clone());
        ingress.wake_also(Arc::new(WakeOperator(scope.worker().sync_activator_for(info.address.to_vec()))));
        let mut capability = Some(capability);
        move |output| {
            let Some(held) = capability.as_mut() else { return };
            let taken = ingress.take();
            held.downgrade(&taken.epoch.0);
            if let Some(batch) = taken.batch {
                match Rows::raw(batch, taken.opened_at) {
                    Ok(mut rows) => output.session_with_builder(held).give_container(&mut rows),
                    Err(error) => failures.report(error),
                }
                again.activate();
            } else if last.is_past(taken.epoch) || failures.any() {
                capability = None;
            }
        }
    })
}

/// The last epoch of a run that is stopping; none while it runs.
#[derive(Debug, Clone, Default)]
pub struct LastEpoch(Arc<std::sync::OnceLock<Epoch>>);

impl LastEpoch {
    /// Ends the dataflow after `epoch`. Only the first call counts.
    pub fn set(&self, epoch: Epoch) {
        let _ = self.0.set(epoch);
    }

    /// The last epoch, once it is known.
    pub fn get(&self) -> Option<Epoch> {
        self.0.get().copied()
    }

    /// True when `epoch` comes after the last.
    pub fn is_past(&self, epoch: Epoch) -> bool {
        self.0.get().is_some_and(|last| epoch > *last)
    }
}
