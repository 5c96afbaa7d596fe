//! Whose turn it is: actors go on one at a time, from one call of a trait to the next.

use super::{Chaos, STEPS, World, segments_on_disk, wrong};
use crate::SinkError;
use crate::committer::must_stop;
use parking_lot::Mutex;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};
use thermocline_schemas::metadata::Meta;

/// An actor's place in the queue.
#[derive(Debug, Default)]
pub(super) struct Slot {
    waiting: Mutex<Option<Waker>>,
    granted: AtomicBool,
}

impl Chaos {
    /// Waits until the scheduler picks the actor that calls this. What an actor does is sequential, so it waits once.
    pub(super) async fn turn(&self) {
        poll_fn(|context| {
            let slot = Arc::clone(&self.current.lock());
            if slot.granted.swap(false, Ordering::Relaxed) {
                return Poll::Ready(());
            }
            *slot.waiting.lock() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

type Work = Pin<Box<dyn Future<Output = Result<(), SinkError>>>>;

/// Somebody who takes turns: a part of a run, or a reader.
struct Actor {
    run: Option<usize>,
    slot: Arc<Slot>,
    work: Work,
    asleep: bool,
}

impl Actor {
    fn new(run: Option<usize>, work: impl Future<Output = Result<(), SinkError>> + 'static) -> Self {
        Self { run, slot: Arc::default(), work: Box::pin(work), asleep: false }
    }
}

struct Scheduler {
    world: Arc<World>,
    actors: Vec<Actor>,
    /// What a run becomes once it has recovered.
    spawned: Arc<Mutex<Vec<Actor>>>,
    newest: usize,
    /// One step in so many is a crash, one a run that falls asleep: some seeds are hectic, in others runs come far.
    calm: u32,
}

/// Plays a world to its end, or to its first violation.
pub(super) async fn schedule(world: &Arc<World>) {
    let spawned = Arc::default();
    let calm = [60, 150, 300][world.chaos.below(3)];
    let mut scheduler = Scheduler { world: Arc::clone(world), actors: Vec::new(), spawned, newest: 0, calm };
    scheduler.start_run();
    for _ in 0..STEPS {
        scheduler.disturb();
        scheduler.step().await;
        if world.chaos.violation().is_some() {
            return;
        }
    }
    scheduler.finish().await;
}

impl Scheduler {
    fn start_run(&mut self) {
        self.newest += 1;
        let (number, world, spawned) = (self.newest, Arc::clone(&self.world), Arc::clone(&self.spawned));
        self.actors.push(Actor::new(Some(number), async move {
            let committer = world.begin(number).await?;
            let committer = Arc::new(committer);
            let (other_world, other) = (Arc::clone(&world), Arc::clone(&committer));
            let ingest = Actor::new(Some(number), async move { world.ingest(&committer, number).await });
            let tend = Actor::new(Some(number), async move { other_world.tend(&other).await });
            spawned.lock().extend([ingest, tend]);
            Ok(())
        }));
    }

    fn is_newest(&self, actor: &Actor) -> bool {
        actor.run == Some(self.newest)
    }

    /// Time passes; crashes, sleepers, readers.
    fn disturb(&mut self) {
        let chaos = Arc::clone(&self.world.chaos);
        self.world.clock.pass(chaos.below(300_000) as i64);
        self.world.tables.land();
        if chaos.one_in(self.calm) {
            let newest = self.newest;
            self.actors.retain(|actor| actor.run != Some(newest));
            chaos.count("crashes", 1);
            self.start_run();
        } else if chaos.one_in(self.calm) && self.world.begun.load(Ordering::Relaxed) == self.newest {
            // One that has not taken over yet would do so when it wakes, and rightly fence the next.
            let newest = self.newest;
            self.actors.iter_mut().filter(|actor| actor.run == Some(newest)).for_each(|actor| actor.asleep = true);
            chaos.count("runs put to sleep", 1);
            self.start_run();
        }
        if chaos.one_in(30) && self.actors.iter().filter(|actor| actor.run.is_none()).count() < 2 {
            let world = Arc::clone(&self.world);
            self.actors.push(Actor::new(None, async move { world.read().await }));
        }
        if chaos.one_in(60) {
            let sleepers: Vec<usize> = (0..self.actors.len()).filter(|place| self.actors[*place].asleep).collect();
            if !sleepers.is_empty() {
                self.actors[sleepers[chaos.below(sleepers.len())]].asleep = false;
            }
        }
    }

    /// One actor goes on to its next turn.
    async fn step(&mut self) {
        self.actors.append(&mut self.spawned.lock());
        if !self.actors.iter().any(|actor| self.is_newest(actor)) {
            self.start_run();
        }
        let awake: Vec<usize> = (0..self.actors.len()).filter(|place| !self.actors[*place].asleep).collect();
        let chosen = awake[self.world.chaos.below(awake.len())];
        if let Some(outcome) = self.drive(chosen).await {
            let actor = self.actors.remove(chosen);
            self.judge(&actor, outcome);
        }
    }

    /// Lets an actor go on; its outcome when it has come to its end.
    async fn drive(&mut self, place: usize) -> Option<Result<(), SinkError>> {
        let Actor { slot, work, .. } = &mut self.actors[place];
        *self.world.chaos.current.lock() = Arc::clone(slot);
        slot.granted.store(true, Ordering::Relaxed);
        if let Some(waker) = slot.waiting.lock().take() {
            waker.wake();
        }
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if slot.waiting.lock().is_some() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Only a run that is not the newest may be fenced, and that is all that may stop it.
    fn judge(&mut self, actor: &Actor, outcome: Result<(), SinkError>) {
        let Err(error) = outcome else { return };
        let is_fenced = matches!(&error, SinkError::Meta(error) if error.is_fenced());
        self.world.chaos.count("parts of runs fenced", usize::from(is_fenced));
        if self.is_newest(actor) == is_fenced && (is_fenced || must_stop(&error)) {
            self.world.chaos.violated(format!("run {:?} of {} stops: {error}", actor.run, self.newest));
        } else if self.is_newest(actor) {
            let newest = self.newest;
            self.actors.retain(|actor| actor.run != Some(newest));
        } else if must_stop(&error) && !is_fenced {
            self.world.chaos.violated(format!("run {:?} of {} is not fenced, but: {error}", actor.run, self.newest));
        }
    }

    /// A run without faults; then whoever still sleeps goes on to its end; then another run, which finds all in order.
    async fn finish(&mut self) {
        let world = Arc::clone(&self.world);
        world.chaos.on.store(false, Ordering::Relaxed);
        self.last_run().await;
        while let Some(place) = self.actors.len().checked_sub(1) {
            self.actors.append(&mut self.spawned.lock());
            world.tables.land();
            if let Some(outcome) = self.drive(place).await {
                let actor = self.actors.remove(place);
                self.judge(&actor, outcome);
            }
            if world.chaos.violation().is_some() {
                return;
            }
        }
        // Past every pin and all history.
        world.clock.pass(100_000_000);
        self.last_run().await;
        if let Err(error) = self.check_all().await {
            world.chaos.violated(format!("after the end: {error}"));
        }
    }

    async fn last_run(&mut self) {
        self.newest += 1;
        let (number, world) = (self.newest, Arc::clone(&self.world));
        let work = async move {
            let committer = world.begin(number).await?;
            committer.roll_up_all().await?;
            world.clock.pass(10_000_000);
            committer.clean_up().await.map(drop)
        };
        self.actors.push(Actor::new(Some(number), work));
        let place = self.actors.len() - 1;
        loop {
            if let Some(outcome) = self.drive(place).await {
                self.actors.remove(place);
                if let Err(error) = outcome {
                    self.world.chaos.violated(format!("the last run stops: {error}"));
                }
                return;
            }
        }
    }

    async fn check_all(&self) -> Result<(), SinkError> {
        let World { meta, tables, chaos, data_dir, .. } = &*self.world;
        let view = meta.newest().await?;
        let mut found = Vec::new();
        for live in &view.versions {
            found.extend(tables.rows(&live.table, &live.version)?.iter());
        }
        if let Some(problem) = wrong(&view, found) {
            chaos.violated(format!("after the end: {problem}"));
        }
        let read: u64 = view.conservation.iter().map(|line| line.counts.read).sum();
        if read as i64 != view.progress.first().map_or(0, |progress| progress.next_offset) {
            chaos.violated(format!("{read} records are counted"));
        }
        if !view.parts.is_empty() || !meta.open_intents().await?.is_empty() {
            chaos.violated("parts or intents are left");
        }
        let left = segments_on_disk(data_dir);
        if !left.is_empty() {
            chaos.violated(format!("segments are left: {left:?}"));
        }
        Ok(())
    }
}
