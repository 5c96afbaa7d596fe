//! The coordinator: closes epochs on all sources at once, waits for every worker's word, and commits in order.
//!
//! A tick closes the open epoch on every source, with or without rows, paused or not, broker up or down. It comes with
//! time, or early when the open epoch has taken its share of the budget, and never while [`MOST_OPEN_EPOCHS`] are not
//! durable: under overload epochs grow instead of piling up.

pub mod book;
pub mod breaker;
mod commands;
mod watch;

use commands::list_dead_letters;
pub use commands::{data_flag, way_out};
pub use watch::{Snapshot, SourceSnapshot};

use crate::PipelineError;
use crate::dataflow::LastEpoch;
use crate::dataflow::writer::Written;
use crate::failures::Failures;
use crate::source::budget::Budget;
use crate::source::ingress::Ingress;
use crate::source::kafka::KafkaSource;
use book::{Book, Closing};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thermocline_operators::{Decision, Router};
use thermocline_schemas::metadata::{Advice, Manifest, Mapping, Pause};
use thermocline_schemas::{Clock, Epoch, EventTime};
use thermocline_sinks::committer::Committer;
use tokio::sync::{mpsc, watch as channel};

/// So many epochs may be closed and not yet durable.
pub const MOST_OPEN_EPOCHS: usize = 3;

/// How often the coordinator looks whether a tick is due.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often it looks for resumed topics and failed sources, and shows its state.
const LOOK_AROUND_EVERY: Duration = Duration::from_millis(500);

/// How long a commit waits for the broker to confirm that its topics are the ones that were assigned.
const CONFIRM_PATIENCE: Duration = Duration::from_millis(500);

/// The open epoch closes early when it holds this part of the budget.
const EARLY_SHARE: usize = 4;

/// A source as the coordinator sees it.
#[derive(Debug)]
pub struct SourceRun {
    /// Its queue.
    pub ingress: Arc<Ingress>,
    /// Its client.
    pub kafka: KafkaSource,
    /// What the queue had got when the client was seen to have reached the noted ends; none again when a topic is resumed.
    reached_at: Option<u64>,
}

impl SourceRun {
    /// A source whose client feeds `ingress`.
    pub fn new(ingress: Arc<Ingress>, kafka: KafkaSource) -> Self {
        Self { ingress, kafka, reached_at: None }
    }

    /// True when everything up to the noted ends is in the dataflow. What producers write meanwhile stands behind it in the
    /// queue and is not waited for.
    fn has_handed_out_the_noted(&mut self) -> bool {
        if !self.kafka.has_reached_noted_ends() {
            return false;
        }
        let pushed = self.ingress.pushed();
        let reached_at = *self.reached_at.get_or_insert(pushed);
        self.ingress.has_handed_out(reached_at)
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Everything up to the noted end offsets is committed.
    CaughtUp,
    /// Somebody asked it to stop; its last epoch is committed.
    Stopped,
    /// It had to end and could not read everything: these topics are paused.
    Paused(Vec<Pause>),
}

/// What the coordinator is told at its start.
#[derive(Debug)]
pub struct Coordinator {
    /// Writes manifests, owns the generation.
    pub committer: Arc<Committer>,
    /// The sources, in the order of their numbers.
    pub sources: Vec<SourceRun>,
    /// The open epochs.
    pub book: Book,
    /// The whole budget, client queues among it, in bytes.
    pub budget_bytes: usize,
    /// Its part for what the clients have handed over.
    pub budget: Arc<Budget>,
    /// The data directory, for the commands that a person is told to paste.
    pub data: PathBuf,
    /// Lists its decisions.
    pub router: Arc<Router>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The epoch that is open.
    pub open: Epoch,
    /// When it opened.
    pub opened_at: EventTime,
    /// Tells the dataflow where to end.
    pub last: LastEpoch,
    /// A tick at least every so often.
    pub epoch_interval: Duration,
    /// End when everything up to the noted offsets is read.
    pub once: bool,
    /// The topics that are paused.
    pub paused: Vec<Pause>,
    /// The dead letters of this run by topic: each counts in every branch that could not use it.
    pub dead_letters: BTreeMap<String, u64>,
    /// Where a reader of the run's state looks.
    pub snapshots: channel::Sender<Snapshot>,
    /// Where threads leave their errors.
    pub failures: Failures,
}

impl Coordinator {
    /// Runs until everything is read (`once`), somebody stops it, or something fails. Not to be dropped half-way: what is
    /// committed stays committed, but the threads it feeds are only ended by its return.
    ///
    /// # Errors
    /// The first failure of any thread, a fence, or a store that does not answer.
    pub async fn run(
        mut self,
        written: mpsc::UnboundedReceiver<Written>,
        stop: channel::Receiver<bool>,
    ) -> Result<Ended, PipelineError> {
        let ended = self.work(written, stop).await;
        // A client that waits in a full queue could not be joined.
        self.sources.iter().for_each(|source| source.ingress.stop());
        ended
    }

    async fn work(
        &mut self,
        mut written: mpsc::UnboundedReceiver<Written>,
        mut stop: channel::Receiver<bool>,
    ) -> Result<Ended, PipelineError> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let (mut ticked_at, mut looked_at) = (Instant::now(), Instant::now());
        let failures = self.failures.clone();
        let mut ending = None;
        loop {
            tokio::select! {
                biased;
                error = failures.wait() => return Err(error),
                Some(report) = written.recv() => {
                    self.book.written(report);
                    self.commit_ready().await?;
                }
                _ = look.tick() => {}
            }
            if let Some(ended) = ending.take_if(|_| self.book.open_epochs() == 0) {
                return Ok(self.verdict(ended));
            }
            if ending.is_none() {
                ending = self.ending(*stop.borrow_and_update());
                if ending.is_some() {
                    self.close_last();
                } else if self.tick_is_due(ticked_at) {
                    self.close_epoch();
                    ticked_at = Instant::now();
                }
            }
            if looked_at.elapsed() >= LOOK_AROUND_EVERY {
                self.look_for_resumed().await?;
                self.raise_source_errors()?;
                self.publish();
                looked_at = Instant::now();
            }
        }
    }

    fn tick_is_due(&self, ticked_at: Instant) -> bool {
        let held: usize = self.sources.iter().map(|source| source.ingress.open_bytes()).sum();
        let early = held * EARLY_SHARE >= self.budget.limit();
        self.book.open_epochs() < MOST_OPEN_EPOCHS && (early || ticked_at.elapsed() >= self.epoch_interval)
    }

    /// Whether the run should end now, and as what.
    fn ending(&mut self, stopped: bool) -> Option<Ended> {
        if stopped {
            return Some(Ended::Stopped);
        }
        let read = self.once && self.sources.iter_mut().all(SourceRun::has_handed_out_the_noted);
        read.then_some(Ended::CaughtUp)
    }

    fn verdict(&self, ended: Ended) -> Ended {
        if ended == Ended::CaughtUp && !self.paused.is_empty() { Ended::Paused(self.paused.clone()) } else { ended }
    }

    fn close_epoch(&mut self) {
        let next_opens_at = self.clock.now();
        let closing = Closing {
            epoch: self.open,
            opened_at: self.opened_at,
            closed_at: Instant::now(),
            healthy: self.sources.iter().map(|source| source.kafka.healthy()).collect(),
            sources: self.sources.iter().map(|source| source.ingress.close_epoch(next_opens_at)).collect(),
        };
        self.book.close(closing);
        (self.open, self.opened_at) = (self.open.next(), next_opens_at);
    }

    /// Closes the run's last epoch. What is queued but was not taken stays on the broker.
    fn close_last(&mut self) {
        self.last.set(self.open);
        // First, so that nobody takes a batch in the epoch after the last.
        self.sources.iter().for_each(|source| source.ingress.stop());
        self.close_epoch();
    }

    async fn commit_ready(&mut self) -> Result<(), PipelineError> {
        while let Some(ready) = self.book.next_ready() {
            // A thread that failed may have dropped records whose offsets this epoch would pass.
            if self.failures.any() {
                return Err(self.failures.wait().await);
            }
            self.save_mappings().await;
            self.raise_source_errors()?;
            if let Some(manifest) = ready.manifest {
                if ready.records > 0 {
                    self.confirm_topics()?;
                }
                let started = Instant::now();
                let rows: u64 = manifest.segments.iter().flat_map(|it| &it.parts).map(|part| part.rows).sum();
                self.committer.commit_manifest(&manifest).await?;
                let elapsed_ms = started.elapsed().as_millis() as u64;
                tracing::info!(epoch = %ready.epoch, records = ready.records, rows, elapsed_ms, "epoch committed");
                self.tell_dead_letters(&manifest);
                self.pause(manifest.pauses);
            }
            self.budget.give_back(ready.charged_bytes);
        }
        Ok(())
    }

    /// Counts them, and says so at a topic's first.
    fn tell_dead_letters(&mut self, manifest: &Manifest) {
        for line in manifest.conservation.iter().filter(|line| line.counts.dead_letters > 0) {
            let known = self.dead_letters.entry(line.topic.clone()).or_insert_with(|| {
                let look = list_dead_letters(&line.topic, &self.data);
                tracing::warn!(
                    topic = line.topic,
                    "records cannot be used and are kept as dead letters; look at them with {look}"
                );
                0
            });
            *known += line.counts.dead_letters;
        }
    }

    fn pause(&mut self, pauses: Vec<Pause>) {
        for pause in pauses {
            let reason = format!("{}; {}", pause.reason, way_out(&pause.topic, &self.data));
            tracing::error!(topic = pause.topic, source = pause.source, reason, "topic paused");
            if let Some(source) = self.source(&pause.source) {
                source.kafka.pause(&pause.topic);
            }
            self.paused.push(pause);
        }
    }

    /// `thermocline resume` in another process takes pauses out of the metadata store.
    async fn look_for_resumed(&mut self) -> Result<(), PipelineError> {
        if self.paused.is_empty() {
            return Ok(());
        }
        let still = match self.committer.meta().pauses().await {
            Ok(still) => still,
            Err(error) if error.advice() == Advice::ReadBack => {
                tracing::warn!(%error, "whether topics were resumed is asked again");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let (kept, resumed): (Vec<Pause>, Vec<Pause>) =
            std::mem::take(&mut self.paused).into_iter().partition(|pause| {
                still.iter().any(|still| (&still.source, &still.topic) == (&pause.source, &pause.topic))
            });
        self.paused = kept;
        for pause in resumed {
            tracing::info!(topic = pause.topic, source = pause.source, "topic resumed");
            let Some(number) = self.sources.iter().position(|it| it.ingress.source() == pause.source) else { continue };
            self.book.resumed(number, &pause.topic.as_str().into());
            self.sources[number].kafka.resume(&pause.topic);
            self.sources[number].reached_at = None;
        }
        Ok(())
    }

    fn source(&self, name: &str) -> Option<&SourceRun> {
        self.sources.iter().find(|source| source.ingress.source() == name)
    }

    /// Lists the mapper's new decisions. They are for people: a store that does not answer loses a line of the list, and
    /// holds no epoch up.
    async fn save_mappings(&self) {
        let as_line = |decision: Decision| Ok(Mapping { key: decision.key(), json: serde_json::to_string(&decision)? });
        let decisions = self.router.take_new_decisions().into_iter();
        let saved = match decisions.map(as_line).collect::<Result<Vec<_>, serde_json::Error>>() {
            Ok(mappings) if mappings.is_empty() => return,
            Ok(mappings) => self.committer.meta().save_mappings(self.committer.generation(), &mappings).await,
            Err(error) => return tracing::warn!(%error, "a mapping cannot be listed"),
        };
        if let Err(error) = saved {
            tracing::warn!(%error, "mappings are not listed");
        }
    }

    /// Proves that no record of a topic that was made anew meanwhile is in the epoch. A broker that does not answer
    /// proves nothing either way; then the offsets are compared at the next start.
    fn confirm_topics(&self) -> Result<(), PipelineError> {
        for source in &self.sources {
            tokio::task::block_in_place(|| source.kafka.confirm_topics(CONFIRM_PATIENCE))?;
        }
        Ok(())
    }

    fn raise_source_errors(&self) -> Result<(), PipelineError> {
        for source in &self.sources {
            if let Ok(error) = source.kafka.errors().try_recv() {
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn publish(&self) {
        let queue_bytes: usize = self.sources.iter().map(|source| source.kafka.queue_bytes()).sum();
        let snapshot = Snapshot {
            open_epoch: self.open,
            epochs_not_durable: self.book.open_epochs(),
            budget_bytes: self.budget_bytes,
            used_bytes: self.budget.used() + queue_bytes,
            paused: self.paused.clone(),
            dead_letters: self.dead_letters.clone(),
            sources: self.sources.iter().map(SourceSnapshot::of).collect(),
        };
        self.snapshots.send_replace(snapshot);
    }
}
