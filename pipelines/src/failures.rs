//! The first error of a run. Threads that meet one leave it here; the coordinator stops the run with it.

use crate::PipelineError;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Shared by all threads of a run.
#[derive(Debug, Clone, Default)]
pub struct Failures(Arc<Inner>);

/// Held by a thread that others wait for: when it panics, the run ends instead of waiting for ever.
#[derive(Debug)]
pub(crate) struct PanicAlarm {
    /// Where the panic is reported.
    pub(crate) failures: Failures,
    /// Which thread this is.
    pub(crate) thread: String,
}

impl Drop for PanicAlarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.failures.report(PipelineError::Panicked { thread: self.thread.clone() });
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_panics_ends_the_run() {
        let failures = Failures::default();
        let alarm = PanicAlarm { failures: failures.clone(), thread: "worker 0".to_owned() };
        let panicking = std::thread::spawn(move || {
            let _alarm = alarm;
            panic!("this panic is part of the test");
        });
        assert!(panicking.join().is_err());
        assert!(failures.any());
        assert_eq!(failures.wait().await.to_string(), "worker 0 has panicked; its epochs cannot become durable");
    }
}
