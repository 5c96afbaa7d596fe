//! The first error of a run. Threads that meet one leave it here; the coordinator stops the run with it.

use crate::PipelineError;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Shared by all threads of a run.
#[derive(Debug, Clone, Default)]
pub struct Failures(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    first: Mutex<Option<PipelineError>>,
    some: Notify,
    /// The run is over, for whatever reason: threads go home.
    over: AtomicBool,
}

impl Failures {
    /// Leaves `error`, if it is the first.
    pub fn report(&self, error: impl Into<PipelineError>) {
        let error = error.into();
        let mut first = self.0.first.lock();
        if first.is_none() {
            *first = Some(error);
        }
        drop(first);
        self.finish();
        self.0.some.notify_one();
    }

    /// Sends all threads home.
    pub fn finish(&self) {
        self.0.over.store(true, Ordering::SeqCst);
    }

    /// True once somebody has failed, or the run is over.
    pub fn any(&self) -> bool {
        self.0.over.load(Ordering::SeqCst)
    }

    /// Waits for the first error. May be dropped half-way.
    pub async fn wait(&self) -> PipelineError {
        loop {
            let some = self.0.some.notified();
            if let Some(error) = self.0.first.lock().take() {
                return error;
            }
            some.await;
        }
    }
}
