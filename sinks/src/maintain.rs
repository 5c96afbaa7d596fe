//! Deleting what nobody can see, and looking after the tables: checkpoints, expiry, clean-up.
//!
//! The metadata store decides, in one transaction that checks pins, open intents and the history window; only then are
//! files deleted. A crash in between leaves files that nobody names, which the next start sweeps.

use crate::committer::{Committer, must_stop};
use crate::disk::delete;
use crate::{SinkError, crash_point};
use thermocline_schemas::TableId;
use thermocline_schemas::metadata::{IntentKind, LastFlip, TableVersion};
use tracing::{debug, warn};

/// What a clean-up did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Segments that were deleted.
    pub segments: usize,
    /// Tables that were looked after.
    pub tables: Vec<TableId>,
}

impl Committer {
    /// Deletes segments that no cut within reach shows, and looks after tables that are due. May be dropped at any time.
    ///
    /// # Errors
    /// A fence, or a store that does not answer. A file or a table that fails is tried again by the next call.
    pub async fn clean_up(&self) -> Result<Cleaned, SinkError> {
        let history = self.config.history;
        let victims = self.repeat(|| self.stores.meta.take_victims(self.generation, history)).await?;
        self.undeleted.lock().extend(victims.segments);
        let mut cleaned = Cleaned { segments: self.delete_segments().await?, tables: vec![] };
        for (table, keep_from) in victims.keep_from {
            match self.maintain_table(&table, &keep_from).await {
                Ok(true) => cleaned.tables.push(table),
                Ok(false) => {}
                Err(error) if must_stop(&error) => return Err(error),
                // Its turn comes again; the others must not wait for it.
                Err(error) => warn!(%table, error = &error as &dyn std::error::Error, "maintenance failed"),
            }
        }
        Ok(cleaned)
    }

    async fn delete_segments(&self) -> Result<usize, SinkError> {
        let segments: Vec<String> = self.undeleted.lock().iter().cloned().collect();
        let mut deleted = 0;
        for segment in segments {
            self.check().await?;
            crash_point!("cleanup::before_delete");
            let path = self.stores.data_dir.join(&segment);
            let outcome = tokio::task::spawn_blocking(move || delete(&path)).await;
            match outcome.expect("deleting a file does not panic, and is not aborted") {
                Ok(()) => {
                    self.undeleted.lock().remove(&segment);
                    deleted += 1;
                }
                Err(error) => warn!(%segment, %error, "a segment that nobody can see stays for now"),
            }
        }
        debug!(deleted, "segments deleted");
        Ok(deleted)
    }

    /// Looks after `table` when it is due, sparing every version from `keep_from` on.
    async fn maintain_table(&self, table: &TableId, keep_from: &TableVersion) -> Result<bool, SinkError> {
        let is_due = async || {
            let last = self.repeat(|| self.stores.meta.last_flip(table)).await?;
            let intents_since = |last: LastFlip| last.intent.saturating_sub(last.maintained);
            Ok::<_, SinkError>(last.is_some_and(|last| intents_since(last) >= self.maintain_every))
        };
        if !is_due().await? {
            return Ok(false);
        }
        let _gate = self.gate(table).await;
        self.finish_open(table).await?;
        if !is_due().await? {
            return Ok(false);
        }
        self.at_once(table, IntentKind::Maintain, keep_from.0.clone().into_bytes()).await?;
        Ok(true)
    }
}
