//! The breaker: a topic that turns out mostly unusable pauses, instead of being dead-lettered to its end.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use thermocline_schemas::metadata::BranchId;

/// So many of the newest records decide.
pub const WINDOW_RECORDS: u64 = 10_000;

/// Of so many records, so many are dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Records read.
    pub records: u64,
    /// Of these, those that could not be used.
    pub dead: u64,
}

/// Small epochs are taken together up to so many records, so that a topic of few records takes little memory.
const GRAIN_RECORDS: u64 = WINDOW_RECORDS / 64;

/// Watches each topic's newest epochs that hold at least [`WINDOW_RECORDS`] records together.
#[derive(Debug, Default)]
pub struct Breaker {
    topics: HashMap<(usize, Arc<str>), Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    branches: HashMap<BranchId, Window>,
    /// The topic pauses. Epochs that were closed before it did say nothing new.
    tripped: bool,
}

/// The newest records of one topic in one branch.
#[derive(Debug, Default)]
struct Window {
    epochs: VecDeque<Health>,
    sum: Health,
}

impl Window {
    /// Adds an epoch; all that the window holds now.
    fn add(&mut self, epoch: Health) -> Health {
        match self.epochs.back_mut().filter(|newest| newest.records + epoch.records <= GRAIN_RECORDS) {
            Some(newest) => newest.add(epoch),
            None => self.epochs.push_back(epoch),
        }
        self.sum.add(epoch);
        let is_past = |oldest: &&Health, sum: Health| sum.records - oldest.records >= WINDOW_RECORDS;
        while let Some(oldest) = self.epochs.front().filter(|oldest| is_past(oldest, self.sum)).copied() {
            self.sum.records -= oldest.records;
            self.sum.dead -= oldest.dead;
            self.epochs.pop_front();
        }
        self.sum
    }
}

impl Health {
    fn add(&mut self, other: Health) {
        self.records += other.records;
        self.dead += other.dead;
    }

    fn is_mostly_dead(&self) -> bool {
        self.records >= WINDOW_RECORDS && self.dead * 2 > self.records
    }
}

impl Breaker {
    /// Adds an epoch's figures of one topic of a source, by branch: the topic is as healthy as the branch that can use the
    /// least of it. Returns that one's window, once, if the topic must pause.
    pub fn epoch(
        &mut self,
        source: usize,
        topic: &Arc<str>,
        branches: impl IntoIterator<Item = (BranchId, Health)>,
    ) -> Option<Health> {
        let watched = self.topics.entry((source, topic.clone())).or_default();
        let windows = branches.into_iter().map(|(id, health)| watched.branches.entry(id).or_default().add(health));
        let worst = windows.filter(Health::is_mostly_dead).max_by_key(|window| window.dead);
        let trips = worst.filter(|_| !watched.tripped);
        watched.tripped |= worst.is_some();
        trips
    }

    /// Forgets a topic: it was resumed.
    pub fn reset(&mut self, source: usize, topic: &Arc<str>) {
        self.topics.remove(&(source, topic.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(health: Health) -> [(BranchId, Health); 1] {
        [(BranchId(1), health)]
    }

    /// Whether each of these epochs, `(records, dead)`, trips a fresh breaker.
    fn trips(epochs: &[(u64, u64)]) -> Vec<bool> {
        let (mut breaker, topic) = (Breaker::default(), Arc::from("t"));
        let mut epoch = |(records, dead)| breaker.epoch(0, &topic, one(Health { records, dead })).is_some();
        epochs.iter().map(|figures| epoch(*figures)).collect()
    }

    #[test]
    fn only_the_newest_ten_thousand_records_decide() {
        assert_eq!(trips(&[(9_000, 9_000), (1_000, 0)]), [false, true], "too few to decide, then 9,000 of 10,000");
        // With the first epoch, 10,000 of 19,500 would be over half; without it, 5,100 of 10,500 are not.
        let left = [(9_000, 4_900), (1_000, 0), (9_500, 5_100)];
        assert_eq!(trips(&left), [false, false, false], "the first epoch has left the window");
        assert_eq!(trips(&[(1_000, 0), (9_500, 100), (500, 500)]), [false, false, false]);
        assert_eq!(trips(&[(20_000, 10_001)]), [true]);
        assert_eq!(trips(&[(20_000, 10_000)]), [false], "half is not over half");
    }

    #[test]
    fn every_branch_has_a_window_of_its_own() {
        let (mut breaker, topic) = (Breaker::default(), Arc::from("t"));
        let epoch = |first, second| {
            let health = |dead| Health { records: 2_500, dead };
            [(BranchId(1), health(first)), (BranchId(2), health(second))]
        };
        // In every epoch one of the two can use nothing; over all of them each uses half.
        for _ in 0..4 {
            assert_eq!(breaker.epoch(0, &topic, epoch(2_500, 0)), None);
            assert_eq!(breaker.epoch(0, &topic, epoch(0, 2_500)), None);
        }
        let tripped = breaker.epoch(0, &topic, epoch(2_500, 2_500));
        assert_eq!(
            tripped,
            Some(Health { records: 10_000, dead: 7_500 }),
            "the second: 2,500 of its last 5,000 before"
        );
        assert_eq!(breaker.epoch(0, &topic, epoch(2_500, 2_500)), None, "the topic pauses once");
    }

    #[test]
    fn a_topic_of_few_records_takes_little_memory() {
        let mut window = Window::default();
        for second in 0..30_000 {
            window.add(Health { records: 1, dead: second % 2 });
        }
        assert!(window.epochs.len() <= 66, "{}", window.epochs.len());
        assert!((10_000..10_000 + GRAIN_RECORDS).contains(&window.sum.records), "{:?}", window.sum);
        assert_eq!(window.sum.dead, window.sum.records / 2);
    }

    #[test]
    fn a_topic_trips_once_until_it_is_reset() {
        let (mut breaker, topic) = (Breaker::default(), Arc::from("t"));
        let bad = Health { records: 10_000, dead: 9_000 };
        assert_eq!(breaker.epoch(0, &topic, one(bad)), Some(bad));
        assert_eq!(breaker.epoch(0, &topic, one(bad)), None, "an epoch that was closed before the pause");
        breaker.reset(0, &topic);
        assert_eq!(breaker.epoch(0, &topic, one(bad)), Some(bad));
    }
}
