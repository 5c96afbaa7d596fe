//! How near a vector is to what describes each domain.

use crate::embed::{DIMENSIONS, dot};

/// Vectors of describing phrases, and the domain of each.
#[derive(Debug)]
pub(super) struct Nearest {
    described: Vec<([f32; DIMENSIONS], usize)>,
    /// How many there are of each domain.
    counts: Vec<usize>,
}

impl Nearest {
    /// Over `described`, of `domains` domains.
    pub(super) fn new(described: Vec<([f32; DIMENSIONS], usize)>, domains: usize) -> Self {
        let mut counts = vec![0; domains];
        described.iter().for_each(|(_, domain)| counts[*domain] += 1);
        Self { described, counts }
    }

    /// Adds to each domain's score `weight` times the mean of its two nearest phrases, or of its only one.
    pub(super) fn score(&self, vector: &[f32; DIMENSIONS], weight: f32, scores: &mut [f32]) {
        let mut best = vec![[0.0f32; 2]; self.counts.len()];
        for (described, domain) in &self.described {
            let near = dot(described, vector);
            let [first, second] = &mut best[*domain];
            if near > *first {
                (*first, *second) = (near, *first);
            } else if near > *second {
                *second = near;
            }
        }
        for ((score, [first, second]), count) in scores.iter_mut().zip(best).zip(&self.counts) {
            *score += weight * if *count == 1 { first } else { (first + second) / 2.0 };
        }
    }
}
