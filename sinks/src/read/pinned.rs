//! A cut that stays readable: pinned, renewed by a thread of its own, released when nothing uses it any more.

use crate::SinkError;
use crate::read::logical::{LogicalTable, Sources};
use crate::tier::ReadTables;
use datafusion::common::{DataFusionError, Result};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thermocline_schemas::metadata::{CutView, Meta, MetaError, Pin};
use thermocline_schemas::{Cut, TableName};

/// A pin that is not renewed for so long may be cleaned up.
const EXPIRES_AFTER: Duration = Duration::from_secs(60);
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(15);
/// How soon a renewal that failed is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A pin, held for as long as this lives. Plans and their streams share it, so that a cut outlives whoever asked for it
/// until the last row is read.
#[derive(Debug)]
pub struct PinHold {
    cut: Cut,
    state: Arc<State>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    lost: AtomicBool,
    renewed: Mutex<Instant>,
    expires_after: Duration,
}

impl PinHold {
    /// Takes the newest cut, pins it, and keeps renewing. `expires_after` is 60 s but in tests.
    pub async fn take(
        meta: Arc<dyn Meta>,
        holder: &str,
        expires_after: Option<Duration>,
    ) -> std::result::Result<(Arc<Self>, CutView), MetaError> {
        let expires_after = expires_after.unwrap_or(EXPIRES_AFTER);
        let asked = Instant::now();
        let (pin, view) = meta.pin(holder, expires_after).await?;
        let state = State { lost: AtomicBool::new(false), renewed: Mutex::new(asked), expires_after };
        let state = Arc::new(state);
        let (stop, stopped) = mpsc::channel();
        let (shared, cut) = (Arc::clone(&state), pin.cut);
        let thread = std::thread::Builder::new()
            .name("pin".to_owned())
            .spawn(move || renew(meta.as_ref(), &pin, &shared, &stopped))
            .map_err(|source| MetaError::Unavailable { source: Box::new(source) })?;
        Ok((Arc::new(Self { cut, state, stop: Some(stop), thread: Some(thread) }), view))
    }

    /// Fails once the pin is lost.
    ///
    /// # Errors
    /// [`MetaError::PinLost`], as the source of an external error.
    pub fn check(&self) -> Result<()> {
        if self.state.lost.load(Ordering::Relaxed) { Err(self.lost()) } else { Ok(()) }
    }

    /// `error`, or what lies behind it: that the cut was cleaned up while it was read.
    pub fn explain(&self, error: DataFusionError) -> DataFusionError {
        let overdue = self.state.renewed.lock().elapsed() > self.state.expires_after;
        if overdue || self.state.lost.load(Ordering::Relaxed) { self.lost() } else { error }
    }

    fn lost(&self) -> DataFusionError {
        DataFusionError::External(Box::new(SinkError::Meta(MetaError::PinLost { cut: self.cut })))
    }
}

impl PinHold {
    /// Lets go, and waits until the pin is removed: for a process that is about to end. Whoever else still holds it
    /// keeps it.
    pub async fn release(self: Arc<Self>) {
        let Some(mut last) = Arc::into_inner(self) else { return };
        drop(last.stop.take());
        if let Some(thread) = last.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::warn!(cut = %last.cut, "a pin was not removed; it expires by itself");
            }
        }
    }
}

impl Drop for PinHold {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The thread unpins by itself; waiting for it here could be waiting on the runtime that drops us.
        drop(self.thread.take());
    }
}

fn renew(meta: &dyn Meta, pin: &Pin, state: &State, stopped: &mpsc::Receiver<()>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "a pin cannot be renewed");
            state.lost.store(true, Ordering::Relaxed);
            return;
        }
    };
    let every = RENEW_EVERY.min(state.expires_after / 4);
    let mut wait = every;
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(wait) {
        let asked = Instant::now();
        match runtime.block_on(meta.renew(pin, state.expires_after)) {
            Ok(()) => {
                *state.renewed.lock() = asked;
                wait = every;
            }
            Err(MetaError::PinLost { .. }) => {
                state.lost.store(true, Ordering::Relaxed);
                return;
            }
            Err(error) => {
                tracing::warn!(cut = %pin.cut, %error, "a pin was not renewed");
                wait = TRY_AGAIN_AFTER.min(every);
            }
        }
    }
    if let Err(error) = runtime.block_on(meta.unpin(pin)) {
        tracing::warn!(cut = %pin.cut, %error, "a pin was not removed; it expires by itself");
    }
}

/// The reading face at one cut: pinned once for all queries on it.
#[derive(Debug, Clone)]
pub struct PinnedReader {
    sources: Sources,
}

impl PinnedReader {
    /// Pins the newest cut. `holder` names this process to whoever wonders why something is not cleaned up.
    pub async fn open(
        meta: Arc<dyn Meta>,
        tables: Arc<dyn ReadTables>,
        data_dir: PathBuf,
        holder: &str,
    ) -> std::result::Result<Self, SinkError> {
        let (hold, view) = PinHold::take(meta, holder, None).await?;
        Ok(Self { sources: Sources { view: Arc::new(view), tables, data_dir, hold: Some(hold) } })
    }

    /// Everything as of the cut.
    pub fn view(&self) -> &Arc<CutView> {
        &self.sources.view
    }

    /// The logical table `name`, if it is known at the cut.
    pub fn table(&self, name: &TableName) -> Option<LogicalTable> {
        let schema = self.sources.view.table(name)?.clone();
        Some(LogicalTable::new(schema, self.sources.clone()))
    }

    /// All logical tables that are known at the cut.
    pub fn tables(&self) -> Vec<LogicalTable> {
        let tables = self.sources.view.tables.iter().cloned();
        tables.map(|schema| LogicalTable::new(schema, self.sources.clone())).collect()
    }

    /// Releases the pin and waits for it, once no table or plan of this reader is left; else the last of them does.
    pub async fn finish(self) {
        if let Some(hold) = self.sources.hold {
            hold.release().await;
        }
    }
}
