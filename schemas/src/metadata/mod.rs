//! What we remember: cuts, parts, table versions, offsets, watermarks, intents, pins, conservation.
//!
//! One sequence of cuts a data directory. Everything a reader sees has the cut that added it and, later, the cut that
//! removed it; nothing else of it ever changes. One transaction adds one cut.

mod error;
mod model;
mod sqlite;
#[cfg(test)]
mod suite;

pub use error::{Advice, MetaError};
pub use model::*;
pub use sqlite::SqliteMeta;

use crate::{Cut, Generation, TableId, TableSchema};
use std::time::Duration;
use uuid::Uuid;

/// The metadata store. Every writing method takes the generation of its run and checks it inside its own transaction:
/// a run that has been superseded gets [`MetaError::Fenced`] and has changed nothing.
///
/// An error other than a fence or a refusal leaves the outcome unknown; every method may be repeated, or its effect
/// looked up, before deciding.
#[async_trait::async_trait]
pub trait Meta: Send + Sync + std::fmt::Debug {
    /// The identity of this store; every table carries it.
    fn store(&self) -> Uuid;

    /// Takes over: bumps the generation and remembers who runs. Everyone before is fenced.
    async fn begin(&self, run: &RunInfo) -> Result<Generation, MetaError>;

    /// The fence alone: fails with [`MetaError::Fenced`] when a newer run has begun.
    async fn check(&self, generation: Generation) -> Result<(), MetaError>;

    /// Adds an epoch: its parts, offsets, watermarks and counts. **This transaction is the commit.** Epochs come strictly
    /// in order; one that is not newer than the newest is refused.
    async fn commit_manifest(&self, generation: Generation, manifest: &Manifest) -> Result<Cut, MetaError>;

    /// Makes a logical table known, or adds nullable columns to it. Anything else that differs is refused.
    async fn register_table(&self, generation: Generation, schema: &TableSchema) -> Result<(), MetaError>;

    /// Finds the branch of this identity, or adds it with the source's resume offsets of this moment.
    async fn register_branch(&self, generation: Generation, branch: &NewBranch) -> Result<BranchId, MetaError>;

    /// Closes the branches that are not among `live`: their statement is gone from the pipelines.
    async fn close_branches(&self, generation: Generation, live: &[BranchId]) -> Result<(), MetaError>;

    /// Keeps decisions of the mapper for `thermocline mappings`; the same key again replaces.
    async fn save_mappings(&self, generation: Generation, mappings: &[Mapping]) -> Result<(), MetaError>;

    /// Pauses a topic of a source, or resumes it (`None`). `thermocline resume` and `reset-offsets` come from other
    /// processes, which have no generation: they leave a request that the run picks up.
    async fn set_pause(&self, source: &str, topic: &str, reason: Option<&str>) -> Result<(), MetaError>;

    /// Moves the resume offsets of partitions and lists the records this skips, or reads again, as gaps. One transaction:
    /// where one of `resets` is refused, none is done and nobody is fenced. Only while no run is alive; bumps the
    /// generation, once, so that a run which is alive all the same stops.
    async fn reset_offsets(&self, resets: &[OffsetReset]) -> Result<(), MetaError>;

    /// Step one of an intent: *planned*. Refused while the table has an open one.
    async fn plan_intent(&self, generation: Generation, plan: &IntentPlan) -> Result<Intent, MetaError>;

    /// Step two: *staged*, with what the table commit needs. From here the commit may exist. The same again changes
    /// nothing.
    async fn stage_intent(&self, generation: Generation, id: &IntentId, payload: &[u8]) -> Result<(), MetaError>;

    /// Decides to give a staged intent up, before its empty commit: only for a run that has never tried the payload with
    /// an unknown outcome. See [`Intent::given_up`].
    async fn give_up(&self, generation: Generation, id: &IntentId) -> Result<(), MetaError>;

    /// Last step: *flipped*. Removes the intent's parts and adds the new table version, at a new cut. The same again
    /// returns the same cut.
    async fn flip(&self, generation: Generation, id: &IntentId, flip: &Flip) -> Result<Cut, MetaError>;

    /// Deletes an intent that was never staged: nobody can have committed it.
    async fn drop_planned(&self, generation: Generation, id: &IntentId) -> Result<(), MetaError>;

    /// All open intents, oldest first.
    async fn open_intents(&self) -> Result<Vec<Intent>, MetaError>;

    /// What is paused now: cheap enough to ask once a second.
    async fn pauses(&self) -> Result<Vec<Pause>, MetaError>;

    /// The gaps so far: one a hole in a log, so there may be many.
    async fn gaps(&self) -> Result<Vec<Gap>, MetaError>;

    /// The mapper's newest decisions; of many thousands the oldest are forgotten.
    async fn mappings(&self) -> Result<Vec<Mapping>, MetaError>;

    /// The newest flip of a table: where the search for a mark starts.
    async fn last_flip(&self, table: &TableId) -> Result<Option<LastFlip>, MetaError>;

    /// Everything as of the newest cut, without a pin: for the run itself, and for reports.
    async fn newest(&self) -> Result<CutView, MetaError>;

    /// Takes the newest cut and pins it, in one write transaction.
    async fn pin(&self, holder: &str, expires_after: Duration) -> Result<(Pin, CutView), MetaError>;

    /// Renews a pin. [`MetaError::PinLost`] when it has expired and been cleaned up.
    async fn renew(&self, pin: &Pin, expires_after: Duration) -> Result<(), MetaError>;

    /// Removes a pin.
    async fn unpin(&self, pin: &Pin) -> Result<(), MetaError>;

    /// What may be deleted: in one transaction that checks pins, open intents and the history window, forgets parts and
    /// versions that no cut within reach shows, and returns what lay under them. Also folds old cuts.
    async fn take_victims(&self, generation: Generation, keep_history: Duration) -> Result<Victims, MetaError>;

    /// Segments and versions that anything still refers to: for sweepers, which list files first and this second.
    async fn references(&self) -> Result<References, MetaError>;
}
