//! Field names vote for domains.

use super::nearest::Nearest;
use crate::embed::{DIMENSIONS, Encoder, Scratch, dot};
use ahash::AHashMap;
use std::sync::{PoisonError, RwLock};
use thermocline_schemas::domain::words::{normal, spelled};
use thermocline_schemas::domain::{Registry, UNCLASSIFIED};
use thermocline_schemas::format::Shape;

/// How sharply a name that is nearer to one domain than to others votes for it.
const SHARPNESS: f32 = 12.0;
/// As near to the nearest listed name as this, a name votes with all its weight; as far as that, not at all.
const KNOWN: f32 = 0.6;
const UNKNOWN: f32 = 0.3;
/// How much the names together count, against the text and the structure.
const NAMES_WEIGHT: f32 = 2.4;
/// Many names are surer than few, but not without end: they are not independent of each other.
const MOST_SWAY: f32 = 4.0;
/// How much the whole list of names, against all of a phrase, counts.
const PHRASE_WEIGHT: f32 = 10.0;
/// How much the topic's name counts.
const TOPIC_WEIGHT: f32 = 1.0;
/// Names of one shape that vote.
const MOST_NAMES: usize = 96;
/// Votes that are remembered, and the longest name of one: together some 15 MiB.
const MOST_REMEMBERED: usize = 32_768;
const LONGEST_REMEMBERED_BYTES: usize = 256;

/// The describing names of all domains.
#[derive(Debug)]
pub struct Names {
    domains: usize,
    /// The vector of each listed name, and its domain.
    names: Vec<([f32; DIMENSIONS], usize)>,
    /// The whole phrases.
    phrases: Nearest,
    silent: usize,
    /// Votes of names seen before.
    votes: RwLock<AHashMap<String, Vec<f32>>>,
}

impl Names {
    /// The names that the phrases of `registry` list.
    pub fn new(registry: &Registry) -> Self {
        let encoder = Encoder::shipped();
        let (mut names, mut phrases, mut silent) = (vec![], vec![], 0);
        for (domain, described) in registry.iter().enumerate() {
            if described.name.as_ref() == UNCLASSIFIED {
                silent = domain;
                continue;
            }
            for phrase in &described.phrases.names {
                let listed: Vec<String> = phrase.split(',').map(|name| spelled(name).join(" ")).collect();
                names.extend(listed.iter().map(|name| (encoder.encode(name), domain)));
                phrases.push((encoder.encode(&listed.join(" ")), domain));
            }
        }
        Self {
            domains: registry.len(),
            names,
            phrases: Nearest::new(phrases, registry.len()),
            silent,
            votes: RwLock::default(),
        }
    }

    /// Adds what the names of `shape` say to `scores`.
    pub fn vote(&self, shape: &Shape, scores: &mut [f32]) {
        let mut names: Vec<(String, f32)> = vec![];
        let paths = shape.fields.iter().map(|field| {
            let names: Vec<&str> = field.raw_names.iter().map(AsRef::as_ref).collect();
            (names, field.raw_names.len())
        });
        for (path, depth) in paths {
            push(&mut names, &path, depth);
        }
        for path in &shape.element_names {
            let path: Vec<&str> = path.split('.').collect();
            push(&mut names, &path, path.len());
        }
        let weight: f32 = names.iter().map(|(_, weight)| weight).sum();
        let scale = NAMES_WEIGHT * weight.sqrt().min(MOST_SWAY) / weight.max(0.1);
        for (name, weight) in &names {
            self.with_vote(name, |vote| {
                for (score, vote) in scores.iter_mut().zip(vote) {
                    *score += vote * weight * scale;
                }
            });
        }
        let all: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        self.phrases.score(&Encoder::shipped().encode(&all.join(" ")), PHRASE_WEIGHT, scores);
    }

    /// Adds what the words of a topic's name say.
    pub fn vote_topic(&self, topic: &str, scores: &mut [f32]) {
        self.with_vote(&spelled(topic).join(" "), |vote| {
            for (score, vote) in scores.iter_mut().zip(vote) {
                *score += vote * TOPIC_WEIGHT;
            }
        });
    }

    fn with_vote(&self, name: &str, mut use_vote: impl FnMut(&[f32])) {
        if let Some(vote) = self.votes.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return use_vote(vote);
        }
        let vote = self.compute(name);
        use_vote(&vote);
        if name.len() > LONGEST_REMEMBERED_BYTES {
            return;
        }
        let mut votes = self.votes.write().unwrap_or_else(PoisonError::into_inner);
        if votes.len() >= MOST_REMEMBERED {
            votes.clear();
        }
        votes.insert(name.to_owned(), vote);
    }

    /// The logarithm of each domain's share, above an even share, of one name.
    fn compute(&self, name: &str) -> Vec<f32> {
        let mut vector = [0.0; DIMENSIONS];
        let mut scratch = Scratch::default();
        Encoder::shipped().encode_into(name, &mut scratch, &mut vector);
        let mut near = vec![0.0f32; self.domains];
        for (listed, domain) in &self.names {
            near[*domain] = near[*domain].max(dot(listed, &vector));
        }
        let nearest = near.iter().copied().fold(0.0, f32::max);
        // A name that is near to nothing says nothing.
        let known = ((nearest - UNKNOWN) / (KNOWN - UNKNOWN)).clamp(0.0, 1.0);
        let shares: Vec<f32> = near.iter().map(|near| (near * SHARPNESS).exp()).collect();
        let others = (self.domains - 1) as f32;
        let sum: f32 = shares.iter().sum::<f32>() - shares[self.silent];
        let mut vote: Vec<f32> = shares.iter().map(|share| (share / sum * others).max(0.1).ln() * known).collect();
        vote[self.silent] = 0.0;
        vote
    }
}

/// One name with as much of its path as says something; deeper ones weigh less. Those after [`MOST_NAMES`] are left out.
fn push(names: &mut Vec<(String, f32)>, path: &[&str], depth: usize) {
    if names.len() >= MOST_NAMES {
        return;
    }
    let tail = &path[path.len().saturating_sub(2)..];
    let mut words: Vec<String> = vec![];
    for part in tail {
        for word in normal(part).split('_').filter(|word| !word.is_empty()) {
            let word = thermocline_schemas::domain::words::expand(word);
            if words.last().is_none_or(|last| last != word) {
                words.push(word.to_owned());
            }
        }
    }
    let name = words.join(" ");
    if !name.is_empty() && !names.iter().any(|(known, _)| *known == name) {
        names.push((name, 1.0 / depth as f32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::BinaryArray;
    use thermocline_schemas::format::{ShapeTable, parse};

    #[test]
    fn long_names_vote_but_are_not_remembered() {
        let names = Names::new(&Registry::shipped());
        let long = "invoice amount ".repeat(100);
        for name in ["invoice amount", long.as_str()] {
            let mut voted = vec![];
            names.with_vote(name, |vote| voted.extend_from_slice(vote));
            assert_eq!(voted, names.compute(name));
        }
        let votes = names.votes.read().unwrap();
        assert_eq!(votes.keys().collect::<Vec<_>>(), ["invoice amount"]);
    }

    #[test]
    fn names_after_the_last_that_votes_change_nothing() {
        let names = Names::new(&Registry::shipped());
        let scores = |fields: usize| {
            let fields: Vec<String> = (0..fields).map(|n| format!(r#""order_{n}":1"#)).collect();
            let record = format!(r#"{{{},"items":[{{"price":1,"currency":"EUR"}}]}}"#, fields.join(","));
            let (parsed, _) = parse(&BinaryArray::from_iter_values([&record]), &ShapeTable::default());
            let mut scores = vec![0.0; names.domains];
            names.vote(parsed.shape(0), &mut scores);
            scores
        };
        assert_eq!(scores(MOST_NAMES), scores(MOST_NAMES + 200));
        assert_ne!(scores(MOST_NAMES), scores(MOST_NAMES - 1));
    }
}
