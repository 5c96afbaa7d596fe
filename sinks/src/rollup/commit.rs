//! A staged intent's way through the table commit and the flip.
//!
//! No answer of a table is trusted, neither an error (the commit may exist) nor a success (a catalog may have rolled it
//! back): the loop ends only when a search has *seen* the mark. A commit extends exactly the version whose history was
//! searched, so whoever else commits the same intent, now or later, conflicts.

use crate::committer::{ATTEMPTS, Committer, must_stop};
use crate::tier::{CommitOutcome, FoundMark, Mark, Searched};
use crate::{SinkError, crash_point};
use thermocline_schemas::metadata::{CutView, Flip, Intent, IntentKind, TableVersion};
use thermocline_schemas::{Cut, Generation, TableSchema};
use tracing::{error, warn};

/// How an intent ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settled {
    /// The version with its mark.
    pub(crate) version: TableVersion,
    /// The cut of its flip.
    pub(crate) cut: Cut,
    /// False when it was given up.
    pub(crate) took_parts: bool,
}

/// A mark that was seen in the table.
struct Seen {
    version: TableVersion,
    marked_by: Generation,
}

/// What came of trying to commit.
enum Tried {
    Seen(Seen),
    /// Every attempt was refused for certain; the last error says why. The commit does not exist.
    Refused(SinkError),
}

impl Committer {
    /// Commits a staged intent and flips it. `planned_at`: the view that it was planned on, for what the mark says of
    /// completeness.
    pub(crate) async fn settle(&self, intent: &Intent, planned_at: Option<&CutView>) -> Result<Settled, SinkError> {
        match self.commit(intent, planned_at).await? {
            Tried::Seen(seen) => self.flip(intent, seen).await,
            Tried::Refused(error) if intent.kind == IntentKind::Maintain => self.abandon(intent, error).await,
            Tried::Refused(error) => Err(error),
        }
    }

    /// Maintenance that fails must not hold up its table: it changes no row, so it ends where the table was.
    async fn abandon(&self, intent: &Intent, error: SinkError) -> Result<Settled, SinkError> {
        warn!(intent = %intent.id, error = &error as &dyn std::error::Error, "maintenance is put off");
        let last = self.repeat(|| self.stores.meta.last_flip(&intent.id.table)).await?.ok_or(error)?;
        self.flip(intent, Seen { version: last.version, marked_by: self.generation }).await
    }

    /// As [`Committer::settle`], and gives the intent up when the table refuses its payload for certain. Only for a run
    /// that has not tried this payload before: [`Intent::given_up`] tells the two commits apart by their generation.
    pub(crate) async fn settle_or_give_up(&self, intent: &Intent) -> Result<Settled, SinkError> {
        let refused = match self.commit(intent, None).await? {
            Tried::Seen(seen) => return self.flip(intent, seen).await,
            Tried::Refused(error) => error,
        };
        if intent.kind == IntentKind::Maintain {
            return self.abandon(intent, refused).await;
        }
        if intent.kind != IntentKind::Rollup || intent.given_up.is_some() || must_stop(&refused) {
            return Err(refused);
        }
        error!(intent = %intent.id, error = &refused as &dyn std::error::Error, "giving an intent up: its rows stay staged");
        self.repeat(|| self.stores.meta.give_up(self.generation, &intent.id)).await?;
        let given_up = Intent { given_up: Some(self.generation), ..intent.clone() };
        self.settle(&given_up, None).await
    }

    async fn commit(&self, intent: &Intent, planned_at: Option<&CutView>) -> Result<Tried, SinkError> {
        let payload = intent.payload.as_deref().unwrap_or_default();
        let view = match planned_at {
            Some(view) => view.clone(),
            None => self.newest().await?,
        };
        let mark = mark(intent, &view, self.stores.meta.store(), self.generation);
        let since = self.repeat(|| self.stores.meta.last_flip(&intent.id.table)).await?.map(|flip| flip.version);
        let mut certain = true;
        let mut attempt = 0;
        loop {
            self.check().await?;
            let failed = match self.attempt(intent, payload, &mark, since.as_ref()).await {
                Ok(Attempt::Seen(seen)) => {
                    crash_point!("table::committed");
                    return Ok(Tried::Seen(seen));
                }
                Ok(Attempt::Answered) => {
                    certain = false;
                    None
                }
                Ok(Attempt::Conflict) => {
                    let what = format!("committing {}", intent.id);
                    Some(SinkError::store(what, "somebody else commits to the table at the same time"))
                }
                Err(error) if must_stop(&error) => return Err(self.or_fence(error).await),
                Err(error) => {
                    certain &= matches!(error, SinkError::Store { .. } | SinkError::Schema(_));
                    warn!(intent = %intent.id, attempt, error = &error as &dyn std::error::Error, "commit failed");
                    Some(error)
                }
            };
            if attempt >= ATTEMPTS {
                let error = failed.unwrap_or_else(|| {
                    SinkError::unknown(&intent.id, "the table answers that it committed, but shows no mark")
                });
                return if certain { self.refused(intent, since.as_ref(), error).await } else { Err(error) };
            }
            if failed.is_some() {
                self.wait(attempt).await;
            }
            attempt += 1;
        }
    }

    /// Every attempt was refused, unless what the last one met was a commit of its own.
    async fn refused(
        &self,
        intent: &Intent,
        since: Option<&TableVersion>,
        error: SinkError,
    ) -> Result<Tried, SinkError> {
        if intent.kind != IntentKind::Rollup {
            return Ok(Tried::Refused(error));
        }
        match self.look(intent, since).await {
            Ok(Looked::Seen(seen)) => Ok(Tried::Seen(seen)),
            Ok(Looked::Nothing(_)) => Ok(Tried::Refused(error)),
            Err(error) if must_stop(&error) => Err(self.or_fence(error).await),
            Err(error) => Err(error),
        }
    }

    /// Looks for the mark; where it is not, commits once.
    async fn attempt(
        &self,
        intent: &Intent,
        payload: &[u8],
        mark: &Mark,
        since: Option<&TableVersion>,
    ) -> Result<Attempt, SinkError> {
        let tables = &self.stores.tables;
        if intent.kind == IntentKind::Create && tables.exists(&intent.id.table).await?.is_none() {
            return tables.create(&to_schema(intent, payload)?, mark).await.map(Attempt::of);
        }
        let at = match self.look(intent, since).await? {
            Looked::Seen(seen) => return Ok(Attempt::Seen(seen)),
            Looked::Nothing(at) => at,
        };
        match intent.kind {
            IntentKind::Create => Err(self.unknown_table(intent, &at)),
            IntentKind::Evolve => tables.evolve(&to_schema(intent, payload)?, mark, &at).await.map(Attempt::of),
            IntentKind::Maintain => self.perform_maintenance(intent, payload, mark, since).await,
            IntentKind::Rollup => {
                let payload = if intent.given_up.is_some() { &[] } else { payload };
                tables.commit(mark, payload, &at).await.map(Attempt::of)
            }
        }
    }

    /// Looks for the mark.
    async fn look(&self, intent: &Intent, since: Option<&TableVersion>) -> Result<Looked, SinkError> {
        let mut at = self.stores.tables.search(&intent.id, since).await?;
        self.verify(intent, &at)?;
        let Some(found) = at.found.take() else { return Ok(Looked::Nothing(at)) };
        let marked_by = if intent.kind == IntentKind::Maintain { self.generation } else { found.generation };
        Ok(Looked::Seen(Seen { version: found.version, marked_by }))
    }

    /// Maintenance needs no mark to be safe to repeat; where it makes a version, that carries one. An older run that wakes
    /// late may make another with the same number: the flip keeps the newest generation that can have done so.
    async fn perform_maintenance(
        &self,
        intent: &Intent,
        payload: &[u8],
        mark: &Mark,
        since: Option<&TableVersion>,
    ) -> Result<Attempt, SinkError> {
        let keep_from = TableVersion(String::from_utf8_lossy(payload).into_owned());
        let made = self.stores.tables.maintain(mark, &keep_from, self.started_at).await?;
        let at = self.stores.tables.search(&intent.id, since).await?;
        self.verify(intent, &at)?;
        // Without a commit of ours the table stays where it was: the head may be somebody else's, and carry no mark.
        let version = made.or_else(|| since.cloned()).unwrap_or(at.head);
        Ok(Attempt::Seen(Seen { version, marked_by: self.generation }))
    }

    /// A table of another store, or one that is newer than our metadata, stops the process.
    fn verify(&self, intent: &Intent, at: &Searched) -> Result<(), SinkError> {
        let Some(newest) = &at.newest_mark else { return Ok(()) };
        self.verify_store(intent.id.table.clone(), newest)?;
        let is_newer = newest.intent > intent.id.number || newest.generation > self.generation;
        if is_newer {
            return Err(SinkError::Newer { table: intent.id.table.clone(), newest: newest.clone() });
        }
        Ok(())
    }

    pub(crate) fn verify_store(&self, table: thermocline_schemas::TableId, mark: &FoundMark) -> Result<(), SinkError> {
        let ours = self.stores.meta.store();
        if mark.store != ours {
            return Err(SinkError::Foreign { table, ours, theirs: mark.store.to_string() });
        }
        Ok(())
    }

    fn unknown_table(&self, intent: &Intent, at: &Searched) -> SinkError {
        let table = intent.id.table.clone();
        match &at.newest_mark {
            Some(newest) => SinkError::Newer { table, newest: newest.clone() },
            None => {
                SinkError::Foreign { table, ours: self.stores.meta.store(), theirs: "nobody: it has no mark".into() }
            }
        }
    }

    async fn flip(&self, intent: &Intent, seen: Seen) -> Result<Settled, SinkError> {
        let Seen { version, marked_by } = seen;
        // Before the decision, every commit carried the payload; from it on, every commit was empty.
        let took_parts = intent.given_up.is_none_or(|given_up| marked_by < given_up);
        let flip = Flip { version: version.clone(), marked_by, took_parts };
        let cut = self.repeat(|| self.stores.meta.flip(self.generation, &intent.id, &flip)).await?;
        crash_point!("intent::flipped");
        if !took_parts {
            let payload = intent.payload.as_deref().unwrap_or_default();
            if let Err(error) = self.stores.tables.discard(&intent.id, payload).await {
                // Maintenance finds what nothing names.
                warn!(intent = %intent.id, error = &error as &dyn std::error::Error, "given-up files stay for now");
            }
        }
        Ok(Settled { version, cut, took_parts })
    }
}

enum Looked {
    /// The mark is in the table.
    Seen(Seen),
    /// It is not in this history.
    Nothing(Searched),
}

enum Attempt {
    /// The mark is in the table.
    Seen(Seen),
    /// The table says that it committed: look.
    Answered,
    /// The head moved: look again.
    Conflict,
}

impl Attempt {
    fn of(outcome: CommitOutcome) -> Self {
        match outcome {
            CommitOutcome::Committed(_) | CommitOutcome::AlreadyCommitted(_) => Attempt::Answered,
            CommitOutcome::Conflict => Attempt::Conflict,
        }
    }
}

/// What the commit says of itself. The table is complete up to the cut before the oldest part that stays staged.
fn mark(intent: &Intent, view: &CutView, store: uuid::Uuid, generation: Generation) -> Mark {
    let takes = |id| intent.given_up.is_none() && intent.parts.iter().any(|part| part.id == id);
    let staged = view.parts.iter().filter(|part| part.part.table == intent.id.table && !takes(part.id));
    let (cut, least_watermark) = match staged.map(|part| part.added).min() {
        Some(first) => (Cut(first.0.saturating_sub(1)), None),
        None => (view.cut, view.least_watermark()),
    };
    Mark { store, intent: intent.id.clone(), generation, cut, least_watermark }
}

fn to_schema(intent: &Intent, payload: &[u8]) -> Result<TableSchema, SinkError> {
    serde_json::from_slice(payload)
        .map_err(|error| SinkError::store(format!("reading the columns of {}", intent.id), error))
}
