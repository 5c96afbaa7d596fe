//! Which domain a record belongs to, and how sure that is.
//!
//! A domain is known by its describing phrases alone. Field names vote one by one ([`names`]): each is compared with
//! every name that the phrases list, by the embedding table. Free text is compared with the phrases' texts ([`texts`]),
//! and cheap features of structure help where words do not reach. Names are judged once a shape; text is read only
//! where names do not decide. The outcome is a function of the topic, the shape and the record: the same record always
//! gets the same domain.

pub mod names;
pub mod structure;
pub mod texts;

use crate::embed::Scratch;
use names::Names;
use std::cell::RefCell;
use std::sync::{Arc, LazyLock};
use texts::Texts;
use thermocline_schemas::domain::{Registry, UNCLASSIFIED};
use thermocline_schemas::format::{Body, FieldKind, LeafKind, Parsed, Shape, scan::unescape_into};

/// Below this a record is unclassified rather than guessed.
pub const LEAST_CONFIDENCE: f32 = 0.3;

/// By how much scores are flattened, so that a confidence of 0.8 is right about eight times in ten.
const TEMPERATURE: f32 = 2.5;

/// A domain that is ahead by this much is not overtaken by the meaning of the text, which then is not looked up.
const FAR_AHEAD: f32 = 5.0;

/// What a record that is nothing but text costs the domains that have no column for such.
const NO_PLACE_FOR_TEXT: f32 = -4.0;

/// A domain, by its place in the registry, and how sure that is, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The domain's place in the registry.
    pub domain: usize,
    /// How sure.
    pub confidence: f32,
}

/// What a shape alone says.
#[derive(Debug, Clone)]
pub struct ShapeVerdict {
    /// The outcome, where the text of a record changes nothing.
    pub decided: Option<Verdict>,
    /// The leaves in which a record may say that it belongs to an audit trail, and the outcome if it does.
    audit: Option<(Vec<usize>, Verdict)>,
    scores: Vec<f32>,
    text_leaves: Vec<usize>,
}

/// Knows the domains of a registry by their phrases.
#[derive(Debug)]
pub struct Classifier {
    domains: Vec<Arc<str>>,
    unclassified: usize,
    /// Whether a domain has a column for records that are nothing but text.
    takes_text: Vec<bool>,
    names: Names,
    texts: Texts,
}

static SHIPPED: LazyLock<Arc<Classifier>> = LazyLock::new(|| Arc::new(Classifier::new(&Registry::shipped())));

thread_local! {
    /// Reused from record to record: the encoder's, the text, the scores.
    static SCRATCH: RefCell<(Scratch, String, Vec<f32>)> = RefCell::default();
}

impl Classifier {
    /// A classifier into the domains of `registry`.
    pub fn new(registry: &Registry) -> Self {
        let domains: Vec<Arc<str>> = registry.iter().map(|domain| Arc::clone(&domain.name)).collect();
        let unclassified = domains.iter().position(|name| name.as_ref() == UNCLASSIFIED).unwrap_or_default();
        let takes_text = registry.iter().map(|domain| domain.whole_text.is_some()).collect();
        Self { domains, unclassified, takes_text, names: Names::new(registry), texts: Texts::new(registry) }
    }

    /// The one into the shipped domains, made once.
    pub fn shipped() -> Arc<Self> {
        Arc::clone(&SHIPPED)
    }

    /// The name of a domain by its place.
    pub fn name(&self, domain: usize) -> &str {
        &self.domains[domain]
    }

    /// The place of `unclassified`.
    pub fn unclassified(&self) -> usize {
        self.unclassified
    }

    /// What the names and the structure of `shape`, and the topic if it is not blank, say.
    pub fn shape(&self, topic: &str, shape: &Shape) -> ShapeVerdict {
        let mut scores = vec![0.0; self.domains.len()];
        let mut text_leaves = vec![];
        let mut decided = None;
        match shape.body {
            Body::Empty | Body::Wide => decided = Some(self.nothing()),
            Body::Text | Body::Value if shape.fields[0].kind == FieldKind::Text => {
                text_leaves.push(0);
                for (score, takes) in scores.iter_mut().zip(&self.takes_text) {
                    *score += if *takes { 0.0 } else { NO_PLACE_FOR_TEXT };
                }
            }
            Body::Object | Body::Value | Body::Text => {
                self.names.vote(shape, &mut scores);
                structure::of_shape(shape, &mut |name, score| self.add(name, score, &mut scores));
                text_leaves = texts::free_text_leaves(shape);
                if text_leaves.is_empty() {
                    decided = Some(self.verdict(&scores));
                }
            }
        }
        if !topic.is_empty() {
            self.names.vote_topic(topic, &mut scores);
            decided = decided.map(|_| self.verdict(&scores));
        }
        let kinds = structure::kind_leaves(shape);
        let audit = decided.filter(|_| !kinds.is_empty()).map(|_| {
            let mut scores = scores.clone();
            self.add("compliance", structure::AUDIT_SCORE, &mut scores);
            (kinds, self.verdict(&scores))
        });
        ShapeVerdict { decided, audit, scores, text_leaves }
    }

    /// The domain of row `row` of `parsed`, whose shape has been judged.
    pub fn record(&self, shape: &ShapeVerdict, parsed: &Parsed, row: usize) -> Verdict {
        if let Some((kinds, verdict)) = &shape.audit {
            let (record, leaves) = (parsed.text(row), parsed.leaves(row));
            if kinds.iter().any(|leaf| structure::says_audit(leaves[*leaf].raw(record))) {
                return *verdict;
            }
        }
        if let Some(verdict) = shape.decided {
            return verdict;
        }
        SCRATCH.with_borrow_mut(|(scratch, text, scores)| {
            text.clear();
            let (record, leaves) = (parsed.text(row), parsed.leaves(row));
            for leaf in &shape.text_leaves {
                let leaf = &leaves[*leaf];
                if !text.is_empty() {
                    text.push('\n');
                }
                let raw = texts::cut(leaf.raw(record));
                match leaf.kind {
                    LeafKind::EscapedText => unescape_into(texts::whole_escapes(raw), text),
                    _ => text.push_str(raw),
                }
            }
            scores.clone_from(&shape.scores);
            structure::of_text(text, &mut |name, score| self.add(name, score, scores));
            if self.lead(scores) < FAR_AHEAD {
                self.texts.score(text, scratch, scores);
            }
            self.verdict(scores)
        })
    }

    /// How far the best domain is ahead of the next.
    fn lead(&self, scores: &[f32]) -> f32 {
        let (mut best, mut next) = (f32::MIN, f32::MIN);
        for (domain, score) in scores.iter().enumerate() {
            if domain != self.unclassified {
                next = next.max(score.min(best));
                best = best.max(*score);
            }
        }
        best - next
    }

    fn add(&self, name: &str, score: f32, scores: &mut [f32]) {
        if let Some(domain) = self.domains.iter().position(|domain| domain.as_ref() == name) {
            scores[domain] += score;
        }
    }

    fn nothing(&self) -> Verdict {
        Verdict { domain: self.unclassified, confidence: 0.0 }
    }

    /// The best domain by softmax; `unclassified` if that is not sure enough.
    fn verdict(&self, scores: &[f32]) -> Verdict {
        let known = || scores.iter().enumerate().filter(|(domain, _)| *domain != self.unclassified);
        let Some((domain, best)) = known().max_by(|a, b| a.1.total_cmp(b.1)) else { return self.nothing() };
        let sum: f32 = known().map(|(_, score)| ((score - best) / TEMPERATURE).exp()).sum();
        let confidence = 1.0 / sum;
        Verdict { domain: if confidence < LEAST_CONFIDENCE { self.unclassified } else { domain }, confidence }
    }
}
