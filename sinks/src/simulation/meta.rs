//! The real metadata store, seen by one run: every call waits for its turn, and may fail before or after its effect.

use super::{Chaos, Mutant};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use thermocline_schemas::metadata::*;
use thermocline_schemas::{Cut, Generation, TableId, TableSchema};
use uuid::Uuid;

#[derive(Debug)]
pub(super) struct SimMeta {
    inner: Arc<SqliteMeta>,
    chaos: Arc<Chaos>,
    /// Payloads that only this run knows of: [`Mutant::NoIntent`].
    remembered: Mutex<HashMap<IntentId, Vec<u8>>>,
}

fn lost() -> MetaError {
    MetaError::Unavailable { source: "the answer is lost".into() }
}

impl SimMeta {
    pub(super) fn new(inner: Arc<SqliteMeta>, chaos: Arc<Chaos>) -> Self {
        Self { inner, chaos, remembered: Mutex::default() }
    }

    /// A turn, and perhaps a failure before or after the effect of `call`.
    async fn step<T>(&self, call: impl Future<Output = Result<T, MetaError>>) -> Result<T, MetaError> {
        self.chaos.turn().await;
        if self.chaos.one_in(60) {
            self.chaos.count("questions to the store lost", 1);
            return Err(lost());
        }
        let outcome = call.await;
        if self.chaos.one_in(60) {
            self.chaos.count("answers of the store lost", 1);
            return Err(lost());
        }
        outcome
    }

    /// The generation that the store is told.
    fn as_(&self, ours: Generation) -> Generation {
        match self.chaos.mutant {
            Mutant::NoFence => Generation(self.chaos.newest_generation.load(Ordering::Relaxed)),
            _ => ours,
        }
    }

    fn remembers(&self) -> bool {
        self.chaos.mutant == Mutant::NoIntent
    }
}

#[async_trait::async_trait]
impl Meta for SimMeta {
    fn store(&self) -> Uuid {
        self.inner.store()
    }

    async fn begin(&self, run: &RunInfo) -> Result<Generation, MetaError> {
        let begin = async {
            let generation = self.inner.begin(run).await?;
            self.chaos.newest_generation.store(generation.0, Ordering::Relaxed);
            Ok(generation)
        };
        self.step(begin).await
    }

    async fn check(&self, generation: Generation) -> Result<(), MetaError> {
        self.step(async { self.inner.check(self.as_(generation)).await }).await
    }

    async fn commit_manifest(&self, generation: Generation, manifest: &Manifest) -> Result<Cut, MetaError> {
        self.step(async { self.inner.commit_manifest(self.as_(generation), manifest).await }).await
    }

    async fn register_table(&self, generation: Generation, schema: &TableSchema) -> Result<(), MetaError> {
        self.step(async { self.inner.register_table(self.as_(generation), schema).await }).await
    }

    async fn register_branch(&self, generation: Generation, branch: &NewBranch) -> Result<BranchId, MetaError> {
        self.step(async { self.inner.register_branch(self.as_(generation), branch).await }).await
    }

    async fn close_branches(&self, generation: Generation, live: &[BranchId]) -> Result<(), MetaError> {
        self.step(async { self.inner.close_branches(self.as_(generation), live).await }).await
    }

    async fn save_mappings(&self, generation: Generation, mappings: &[Mapping]) -> Result<(), MetaError> {
        self.step(async { self.inner.save_mappings(self.as_(generation), mappings).await }).await
    }

    async fn set_pause(&self, source: &str, topic: &str, reason: Option<&str>) -> Result<(), MetaError> {
        self.step(self.inner.set_pause(source, topic, reason)).await
    }

    async fn reset_offsets(&self, resets: &[OffsetReset]) -> Result<(), MetaError> {
        self.step(self.inner.reset_offsets(resets)).await
    }

    async fn plan_intent(&self, generation: Generation, plan: &IntentPlan) -> Result<Intent, MetaError> {
        self.step(async { self.inner.plan_intent(self.as_(generation), plan).await }).await
    }

    async fn stage_intent(&self, generation: Generation, id: &IntentId, payload: &[u8]) -> Result<(), MetaError> {
        if self.remembers() {
            self.remembered.lock().insert(id.clone(), payload.to_vec());
            return self.step(async { Ok(()) }).await;
        }
        self.step(async { self.inner.stage_intent(self.as_(generation), id, payload).await }).await
    }

    async fn give_up(&self, generation: Generation, id: &IntentId) -> Result<(), MetaError> {
        self.step(async { self.inner.give_up(self.as_(generation), id).await }).await
    }

    async fn flip(&self, generation: Generation, id: &IntentId, flip: &Flip) -> Result<Cut, MetaError> {
        let late = async {
            let remembered = self.remembered.lock().get(id).cloned();
            if let Some(payload) = remembered {
                let _ = self.inner.stage_intent(generation, id, &payload).await;
            }
            self.inner.flip(self.as_(generation), id, flip).await
        };
        self.step(late).await
    }

    async fn drop_planned(&self, generation: Generation, id: &IntentId) -> Result<(), MetaError> {
        self.step(async { self.inner.drop_planned(self.as_(generation), id).await }).await
    }

    async fn open_intents(&self) -> Result<Vec<Intent>, MetaError> {
        let mut open = self.step(self.inner.open_intents()).await?;
        for intent in &mut open {
            intent.payload = intent.payload.take().or_else(|| self.remembered.lock().get(&intent.id).cloned());
        }
        Ok(open)
    }

    async fn pauses(&self) -> Result<Vec<Pause>, MetaError> {
        self.step(self.inner.pauses()).await
    }

    async fn gaps(&self) -> Result<Vec<Gap>, MetaError> {
        self.step(self.inner.gaps()).await
    }

    async fn mappings(&self) -> Result<Vec<Mapping>, MetaError> {
        self.step(self.inner.mappings()).await
    }

    async fn last_flip(&self, table: &TableId) -> Result<Option<LastFlip>, MetaError> {
        self.step(self.inner.last_flip(table)).await
    }

    async fn newest(&self) -> Result<CutView, MetaError> {
        self.step(self.inner.newest()).await
    }

    async fn pin(&self, holder: &str, expires_after: Duration) -> Result<(Pin, CutView), MetaError> {
        self.step(self.inner.pin(holder, expires_after)).await
    }

    async fn renew(&self, pin: &Pin, expires_after: Duration) -> Result<(), MetaError> {
        self.step(self.inner.renew(pin, expires_after)).await
    }

    async fn unpin(&self, pin: &Pin) -> Result<(), MetaError> {
        self.step(self.inner.unpin(pin)).await
    }

    async fn take_victims(&self, generation: Generation, keep_history: Duration) -> Result<Victims, MetaError> {
        self.step(async { self.inner.take_victims(self.as_(generation), keep_history).await }).await
    }

    async fn references(&self) -> Result<References, MetaError> {
        self.step(self.inner.references()).await
    }
}
