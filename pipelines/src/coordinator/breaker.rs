//! The breaker: a topic that turns out mostly unusable pauses, instead of being dead-lettered to its end.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

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

/// Watches each topic's newest epochs that hold at least [`WINDOW_RECORDS`] records together.
#[derive(Debug, Default)]
pub struct Breaker {
    topics: HashMap<(usize, Arc<str>), Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    epochs: VecDeque<Health>,
    /// The topic pauses. Epochs that were closed before it did say nothing new.
    tripped: bool,
}

impl Breaker {
    /// Adds an epoch's figures of one topic of a source. Returns the window's, once, if the topic must pause.
    pub fn epoch(&mut self, source: usize, topic: &Arc<str>, health: Health) -> Option<Health> {
        let Watched { epochs, tripped } = self.topics.entry((source, topic.clone())).or_default();
        epochs.push_back(health);
        let mut sum = Health::default();
        for epoch in epochs.iter() {
            sum.records += epoch.records;
            sum.dead += epoch.dead;
        }
        while let Some(oldest) = epochs.front().filter(|oldest| sum.records - oldest.records >= WINDOW_RECORDS) {
            sum.records -= oldest.records;
            sum.dead -= oldest.dead;
            epochs.pop_front();
        }
        let trips = !*tripped && sum.records >= WINDOW_RECORDS && sum.dead * 2 > sum.records;
        *tripped |= trips;
        trips.then_some(sum)
    }

    /// Forgets a topic: it was resumed.
    pub fn reset(&mut self, source: usize, topic: &Arc<str>) {
        self.topics.remove(&(source, topic.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether each of these epochs, `(records, dead)`, trips a fresh breaker.
    fn trips(epochs: &[(u64, u64)]) -> Vec<bool> {
        let (mut breaker, topic) = (Breaker::default(), Arc::from("t"));
        let mut epoch = |(records, dead)| breaker.epoch(0, &topic, Health { records, dead }).is_some();
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
    fn a_topic_trips_once_until_it_is_reset() {
        let (mut breaker, topic) = (Breaker::default(), Arc::from("t"));
        let bad = Health { records: 10_000, dead: 9_000 };
        assert_eq!(breaker.epoch(0, &topic, bad), Some(bad));
        assert_eq!(breaker.epoch(0, &topic, bad), None, "an epoch that was closed before the pause");
        breaker.reset(0, &topic);
        assert_eq!(breaker.epoch(0, &topic, bad), Some(bad));
    }
}
