//! Finishing what a run before us began: the first thing that a new generation does.
//!
//! Open intents first, then segments that no manifest names. What a table says is compared with what the metadata store
//! says; where the table knows more, the process stops rather than starting over.

use crate::committer::{Committer, must_stop};
use crate::disk::delete;
use crate::tier::Searched;
use crate::{SinkError, crash_point};
use futures::{StreamExt, TryStreamExt};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use thermocline_schemas::metadata::{Intent, IntentId, LastFlip};
use thermocline_schemas::{Generation, TableId, Tier};
use tracing::{info, warn};

/// What a start found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Intents that were only planned: dropped, their rows are still staged.
    pub dropped: Vec<IntentId>,
    /// Intents that were committed, by us or by the run before.
    pub finished: Vec<IntentId>,
    /// Intents whose payload the table refused: their rows are still staged.
    pub given_up: Vec<IntentId>,
    /// Intents that cannot be finished for now: their tables are tried again later, like a rollup that fails.
    pub left: Vec<IntentId>,
    /// Segments that no manifest names: deleted.
    pub orphans: usize,
}

impl Committer {
    /// Finishes every open intent, checks every table against the metadata store, and sweeps the segments of older runs.
    /// Call it once, before anything else of this generation. May be dropped; the next start does it again.
    ///
    /// # Errors
    /// [`SinkError::Newer`] and [`SinkError::Foreign`] when the tables are not those of this store or know more than it,
    /// and a metadata store that does not answer. A table that fails holds up no other.
    pub async fn recover(&self) -> Result<Recovered, SinkError> {
        let open = self.open_intents().await?;
        if let Err(error) = self.verify_tables(&open).await {
            return Err(self.or_fence(error).await);
        }
        let mut recovered = Recovered::default();
        let finishing = open.iter().map(|intent| self.finish_first(intent));
        let mut finishing = futures::stream::iter(finishing).buffer_unordered(self.config.concurrency.max(1));
        while let Some((intent, outcome)) = finishing.try_next().await? {
            let list = match outcome {
                Outcome::Dropped => &mut recovered.dropped,
                Outcome::Finished => &mut recovered.finished,
                Outcome::GivenUp => &mut recovered.given_up,
                Outcome::Left => &mut recovered.left,
            };
            list.push(intent);
        }
        drop(finishing);
        recovered.orphans = self.sweep_segments().await?;
        info!(
            generation = %self.generation, dropped = recovered.dropped.len(), finished = recovered.finished.len(),
            given_up = recovered.given_up.len(), left = recovered.left.len(), orphans = recovered.orphans, "recovered"
        );
        Ok(recovered)
    }

    async fn finish_first(&self, intent: &Intent) -> Result<(IntentId, Outcome), SinkError> {
        let _gate = self.gate(&intent.id.table).await;
        if intent.payload.is_none() {
            self.finish(intent).await?;
            return Ok((intent.id.clone(), Outcome::Dropped));
        }
        let outcome = match self.settle_or_give_up(intent).await {
            Ok(settled) if settled.took_parts => Outcome::Finished,
            Ok(_) => Outcome::GivenUp,
            Err(error) if must_stop(&error) || matches!(error, SinkError::Meta(_)) => return Err(error),
            Err(error) => {
                warn!(intent = %intent.id, error = &error as &dyn std::error::Error, "an intent stays open");
                Outcome::Left
            }
        };
        Ok((intent.id.clone(), outcome))
    }

    /// Compares every table at rest with the metadata store. Only a staged intent may have changed its table since the
    /// last flip: a table whose open intent is merely planned is at rest too, unless the metadata is a copy from before.
    async fn verify_tables(&self, open: &[Intent]) -> Result<(), SinkError> {
        let view = self.newest().await?;
        let is_staged =
            |table: &TableId| open.iter().any(|intent| intent.payload.is_some() && intent.id.table == *table);
        for live in view.versions.iter().filter(|live| !is_staged(&live.table)) {
            let Some(last) = self.repeat(|| self.stores.meta.last_flip(&live.table)).await? else { continue };
            let id = IntentId { table: live.table.clone(), number: last.intent };
            let at = self.stores.tables.search(&id, Some(&last.version)).await?;
            self.verify_newest(&live.table, &last, &at)?;
        }
        let tables = view
            .tables
            .iter()
            .flat_map(|schema| Tier::ALL.into_iter().map(|tier| TableId::new(schema.name.clone(), tier)));
        for table in tables.filter(|table| view.version(table).is_none() && !is_staged(table)) {
            self.refuse_unknown(&table).await?;
        }
        Ok(())
    }

    /// The newest mark of a table at rest is the one of its last flip; maintenance alone may come without one.
    fn verify_newest(&self, table: &TableId, last: &LastFlip, at: &Searched) -> Result<(), SinkError> {
        let Some(newest) = &at.newest_mark else {
            let what = format!("neither version {} nor a later one carries a mark of ours", last.version);
            return Err(SinkError::NoVersion {
                table: table.clone(),
                version: last.version.clone(),
                source: what.into(),
            });
        };
        self.verify_store(table.clone(), newest)?;
        // An older generation's is late maintenance, which changed no row.
        let is_other = newest.intent == last.intent && newest.generation > last.generation;
        if newest.intent > last.intent || is_other {
            return Err(SinkError::Newer { table: table.clone(), newest: newest.clone() });
        }
        Ok(())
    }

    /// A table that exists while the metadata store has neither a version nor an open intent for it stops the process.
    pub(crate) async fn refuse_unknown(&self, table: &TableId) -> Result<(), SinkError> {
        if self.stores.tables.exists(table).await?.is_none() {
            return Ok(());
        }
        let nothing = IntentId { table: table.clone(), number: 0 };
        let at = self.stores.tables.search(&nothing, None).await?;
        match &at.newest_mark {
            Some(newest) => {
                self.verify_store(table.clone(), newest)?;
                Err(SinkError::Newer { table: table.clone(), newest: newest.clone() })
            }
            None => {
                let theirs = "nobody: it has no mark".to_owned();
                Err(SinkError::Foreign { table: table.clone(), ours: self.stores.meta.store(), theirs })
            }
        }
    }

    /// Deletes segments of older generations that no manifest names. Files are listed first and references second: what
    /// a manifest adds in between is spared. Older generations are fenced, so they add none.
    async fn sweep_segments(&self) -> Result<usize, SinkError> {
        let (data_dir, generation) = (self.stores.data_dir.clone(), self.generation);
        let failed = |error: io::Error| SinkError::store("sweeping staged segments", error);
        let listed = tokio::task::spawn_blocking(move || list_older(&data_dir, generation))
            .await
            .expect("listing files does not panic, and is not aborted")
            .map_err(failed)?;
        let referred = self.repeat(|| self.stores.meta.references()).await?.segments;
        let referred: BTreeSet<String> = referred.into_iter().collect();
        let orphans: Vec<String> = listed.into_iter().filter(|path| !referred.contains(path)).collect();
        let swept = orphans.len();
        if swept > 0 {
            self.check().await?;
            crash_point!("cleanup::before_delete");
        }
        let (data_dir, generation) = (self.stores.data_dir.clone(), self.generation);
        tokio::task::spawn_blocking(move || {
            for orphan in &orphans {
                delete(&data_dir.join(orphan))?;
            }
            remove_empty(&data_dir, generation)
        })
        .await
        .expect("deleting files does not panic, and is not aborted")
        .map_err(failed)?;
        Ok(swept)
    }
}

enum Outcome {
    Dropped,
    Finished,
    GivenUp,
    Left,
}

/// What lies in a folder that another run, which sweeps too, may just have deleted.
fn entries(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(error),
    }
}

/// The folders of runs before `generation`.
fn older_runs(data_dir: &Path, generation: Generation) -> io::Result<Vec<Generation>> {
    let mut runs = Vec::new();
    for entry in fs::read_dir(data_dir.join("staged"))? {
        let run = entry?.file_name().to_str().and_then(|name| name.parse().ok()).map(Generation);
        runs.extend(run.filter(|run| *run < generation));
    }
    Ok(runs)
}

/// The files of runs before `generation`, whole or temporary, relative to the data directory.
fn list_older(data_dir: &Path, generation: Generation) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    for run in older_runs(data_dir, generation)? {
        let folder = format!("staged/{run}");
        for entry in entries(&data_dir.join(&folder))? {
            if let Some(name) = entry?.file_name().to_str() {
                files.push(format!("{folder}/{name}"));
            }
        }
    }
    Ok(files)
}

fn remove_empty(data_dir: &Path, generation: Generation) -> io::Result<()> {
    for run in older_runs(data_dir, generation)? {
        let folder = data_dir.join("staged").join(run.to_string());
        if entries(&folder)?.next().is_none() {
            // Somebody may have written meanwhile: then it is not empty, and stays.
            let _ = fs::remove_dir(&folder);
        }
    }
    Ok(())
}
