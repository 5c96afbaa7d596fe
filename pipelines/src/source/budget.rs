//! The budget in bytes for what the clients have handed over: raw batches, decoded rows, open epochs, writers.
//!
//! It is the larger part of the run's one budget. The other part bounds the clients' own queues, inside librdkafka:
//! [`KafkaSource::queue_bytes`](crate::source::kafka::KafkaSource::queue_bytes).

use parking_lot::{Condvar, Mutex};
use std::time::Duration;

/// Counts bytes out, and makes the source wait for them. Bytes come back when their epoch is durable.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: Mutex<usize>,
    freed: Condvar,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, used: Mutex::new(0), freed: Condvar::new() }
    }

    /// The limit, in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that are out.
    pub fn used(&self) -> usize {
        *self.used.lock()
    }

    /// Takes `bytes` if they fit, waiting at most `patience`. A single request above the whole limit is granted when
    /// nothing else is out, so that one large batch cannot wait for ever.
    pub fn take(&self, bytes: usize, patience: Duration) -> bool {
        let mut used = self.used.lock();
        if !self.fits(*used, bytes) {
            self.freed.wait_while_for(&mut used, |used| !self.fits(*used, bytes), patience);
        }
        if !self.fits(*used, bytes) {
            return false;
        }
        *used += bytes;
        true
    }

    /// Gives `bytes` back.
    pub fn give_back(&self, bytes: usize) {
        let mut used = self.used.lock();
        *used = used.saturating_sub(bytes);
        self.freed.notify_all();
    }

    fn fits(&self, used: usize, bytes: usize) -> bool {
        used == 0 || used + bytes <= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_budget_makes_the_taker_wait_and_a_giant_is_let_through_alone() {
        let budget = Budget::new(100);
        assert!(budget.take(80, Duration::ZERO));
        assert!(!budget.take(30, Duration::from_millis(1)));
        budget.give_back(80);
        assert!(budget.take(500, Duration::ZERO));
        assert!(!budget.take(1, Duration::ZERO));
    }
}
