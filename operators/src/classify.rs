//! Which domain a record belongs to, and how sure that is.
//!
//! Two kinds of evidence. A domain's describing phrases: field names vote one by one ([`names`]), free text is compared
//! with the phrases' texts ([`texts`]), and cheap features of structure help where words do not reach ([`structure`]).
//! And a linear model ([`model`]) over the record's marks ([`marks`]), its vectors and those scores, fitted ([`fit`]) to
//! records of some two thousand systems. The model knows the domains that ship; a user's domain is known by its phrases
//! alone, and wins where they put it ahead of every other.
//!
//! Names are judged once a shape. Where they leave a doubt, or a record says of itself that it belongs to an audit
//! trail, its values are read. The outcome is a function of the topic, the shape and the record: the same record always
//! gets the same domain.

pub mod fit;
pub mod marks;
pub mod model;
pub mod names;
mod nearest;
pub mod structure;
pub mod texts;

use crate::embed::{DIMENSIONS, Encoder, Scratch};
use marks::Marks;
use model::{LANES, Lanes, Model};
use names::Names;
use std::cell::RefCell;
use std::sync::{Arc, LazyLock};
use texts::Texts;
use thermocline_schemas::domain::words::spelled;
use thermocline_schemas::domain::{Registry, UNCLASSIFIED};
use thermocline_schemas::format::{Body, FieldKind, Parsed, Shape};

/// Below this a record is unclassified rather than guessed.
pub const LEAST_CONFIDENCE: f32 = 0.4;

/// A shape that is as sure as this is decided; the values of its records are not read, unless one says that it belongs to
/// an audit trail.
const SURE: f32 = 0.9;

/// By how much scores by phrases are flattened, so that they are evidence in natural logarithms.
const TEMPERATURE: f32 = 2.5;

/// What a record that is nothing but text costs the domains that have no column for such.
const NO_PLACE_FOR_TEXT: f32 = -4.0;

/// A domain, by its place in the registry, and how sure that is, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The domain's place in the registry.
    pub domain: usize,
    /// How sure: of a hundred records with 0.8, about eighty are right.
    pub confidence: f32,
}

/// What a shape alone says.
#[derive(Debug, Clone)]
pub struct ShapeVerdict {
    /// The outcome, where names and structure are sure of it or there is nothing else to go by. A record that says of
    /// itself that it belongs to an audit trail is judged by its values all the same.
    decided: Option<Verdict>,
    /// The domains' scores by phrases, without the text of a record.
    scores: Vec<f32>,
    /// What the topic's name says of each domain.
    topic: Vec<f32>,
    /// What the names and the structure say to the model by record.
    names: Lanes,
    /// Whether the model knows a word of the names.
    known: bool,
    /// The leaves whose text is compared with the phrases' texts.
    free_text: Vec<usize>,
    /// The leaves in which a record may say what it is.
    kinds: Vec<usize>,
    body: Body,
}

/// Knows the domains of a registry.
#[derive(Debug)]
pub struct Classifier {
    domains: Vec<Arc<str>>,
    unclassified: usize,
    /// Whether a domain has a column for records that are nothing but text.
    takes_text: Vec<bool>,
    /// The lane of each domain in the model; none for a user's.
    lanes: Vec<Option<usize>>,
    names: Names,
    texts: Texts,
    model: Arc<Model>,
}

static SHIPPED: LazyLock<Arc<Classifier>> = LazyLock::new(|| Arc::new(Classifier::new(&Registry::shipped())));

/// Reused from record to record.
#[derive(Debug, Default)]
struct Buffers {
    encoder: Scratch,
    text: String,
    scores: Vec<f32>,
    marks: Marks,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

impl Classifier {
    /// A classifier into the domains of `registry`.
    pub fn new(registry: &Registry) -> Self {
        Self::with_model(registry, Model::shipped())
    }

    /// One with a model of its own: for fitting.
    pub fn with_model(registry: &Registry, model: Arc<Model>) -> Self {
        assert!(model.domains.len() <= LANES, "a lane for each domain of the model");
        let domains: Vec<Arc<str>> = registry.iter().map(|domain| Arc::clone(&domain.name)).collect();
        let lane = |name: &Arc<str>| model.lane(name);
        Self {
            unclassified: domains.iter().position(|name| name.as_ref() == UNCLASSIFIED).unwrap_or_default(),
            takes_text: registry.iter().map(|domain| domain.whole_text.is_some()).collect(),
            lanes: domains.iter().map(lane).collect(),
            names: Names::new(registry),
            texts: Texts::new(registry),
            domains,
            model,
        }
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
        let mut verdict = ShapeVerdict {
            decided: None,
            scores: self.shape_scores(shape),
            topic: vec![0.0; self.domains.len()],
            names: Lanes::default(),
            known: false,
            free_text: texts::free_text_leaves(shape),
            kinds: structure::kind_leaves(shape),
            body: shape.body,
        };
        if !topic.is_empty() {
            self.names.vote_topic(topic, &mut verdict.topic);
        }
        match shape.body {
            Body::Empty | Body::Wide => {
                verdict.decided = Some(Verdict { domain: self.unclassified, confidence: 0.0 });
            }
            Body::Object => {
                let (mut marks, vector, mut sum) = (Marks::default(), names_vector(shape), Lanes::default());
                marks.of_shape(shape);
                self.model.by_shape.add_marks(marks.set(), &mut sum);
                self.model.by_shape.add_names(&vector, &mut sum);
                self.model.by_shape.add_scores(&self.in_lanes(&verdict.scores), &mut sum);
                self.model.by_record.add_marks(marks.set(), &mut verdict.names);
                self.model.by_record.add_names(&vector, &mut verdict.names);
                verdict.known = self.model.by_record.know(marks.words());
                let alone = self.verdict(&sum, &verdict.scores, &verdict.topic);
                let sure = verdict.known && alone.confidence >= SURE && verdict.free_text.is_empty();
                verdict.decided = Some(alone).filter(|_| sure);
            }
            Body::Text | Body::Value => {}
        }
        verdict
    }

    /// The domain of row `row` of `parsed`, whose shape has been judged.
    pub fn record(&self, shape: &ShapeVerdict, parsed: &Parsed, row: usize) -> Verdict {
        let (record, leaves) = (parsed.text(row), parsed.leaves(row));
        let says_audit = shape.kinds.iter().any(|leaf| structure::says_audit(leaves[*leaf].raw(record)));
        if let Some(verdict) = shape.decided
            && !says_audit
        {
            return verdict;
        }
        BUFFERS.with_borrow_mut(|buffers| {
            let vector = self.read(shape, parsed, row, buffers);
            let scores = self.in_lanes(&buffers.scores);
            let by_record = &self.model.by_record;
            // Without a word that the model knows, its guess would be that of an average record.
            let mut sum = scores.map(|score| score / TEMPERATURE);
            // A line of text may be nothing but figures.
            let figures = || shape.body == Body::Text && buffers.text.bytes().any(|byte| byte.is_ascii_digit());
            if shape.known || by_record.know(buffers.marks.words()) || figures() {
                sum = shape.names;
                by_record.add_marks(buffers.marks.set(), &mut sum);
                by_record.add_values(&vector, &mut sum);
                by_record.add_scores(&scores, &mut sum);
            }
            if says_audit && let Some(lane) = self.model.lane("compliance") {
                sum[lane] += structure::AUDIT_EVIDENCE;
            }
            self.verdict(&sum, &buffers.scores, &shape.topic)
        })
    }

    /// The domains' scores by phrases, as far as the shape tells them.
    fn shape_scores(&self, shape: &Shape) -> Vec<f32> {
        let mut scores = vec![0.0; self.domains.len()];
        match shape.body {
            Body::Empty | Body::Wide => {}
            Body::Text | Body::Value if shape.fields[0].kind == FieldKind::Text => {
                for ((score, takes), lane) in scores.iter_mut().zip(&self.takes_text).zip(&self.lanes) {
                    // A user's domain has said by its phrases what it takes.
                    *score += if *takes || lane.is_none() { 0.0 } else { NO_PLACE_FOR_TEXT };
                }
            }
            Body::Object | Body::Value | Body::Text => {
                self.names.vote(shape, &mut scores);
                structure::of_shape(shape, &mut |name, score| self.add(name, score, &mut scores));
            }
        }
        scores
    }

    /// Reads the values of a record: leaves its marks and its scores by phrases in `buffers`, and returns its vector.
    fn read(&self, shape: &ShapeVerdict, parsed: &Parsed, row: usize, buffers: &mut Buffers) -> [f32; DIMENSIONS] {
        let Buffers { encoder, text, scores, marks } = buffers;
        let (record, leaves) = (parsed.text(row), parsed.leaves(row));
        marks.clear();
        scores.clone_from(&shape.scores);
        texts::gather(record, leaves, &shape.free_text, text);
        let mut vector = [0.0; DIMENSIONS];
        Encoder::shipped().encode_into(text, encoder, &mut vector);
        match shape.body {
            Body::Object => marks.of_values(record, leaves),
            _ => marks.of_text(text),
        }
        if !shape.free_text.is_empty() {
            structure::of_text(text, &mut |name, score| self.add(name, score, scores));
            self.texts.score(&vector, scores);
        }
        vector
    }

    fn add(&self, name: &str, score: f32, scores: &mut [f32]) {
        if let Some(domain) = self.domains.iter().position(|domain| domain.as_ref() == name) {
            scores[domain] += score;
        }
    }

    /// Scores by phrases in the order of the model, around their mean.
    fn in_lanes(&self, scores: &[f32]) -> Lanes {
        let (mut lanes, count) = (Lanes::default(), self.model.domains.len() as f32);
        let known = || self.lanes.iter().zip(scores).filter_map(|(lane, score)| Some(((*lane)?, *score)));
        let mean = known().map(|(_, score)| score).sum::<f32>() / count;
        known().for_each(|(lane, score)| lanes[lane] = score - mean);
        lanes
    }

    /// The best domain by softmax; `unclassified` if that is not sure enough. The model's domains stand by its evidence
    /// and the topic; a user's as far from the best of them as its phrases are from theirs.
    fn verdict(&self, sum: &Lanes, scores: &[f32], topic: &[f32]) -> Verdict {
        let mut evidence = vec![f32::NEG_INFINITY; self.domains.len()];
        let (mut best, mut best_score) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
        for (domain, lane) in self.lanes.iter().enumerate() {
            if let Some(lane) = lane {
                evidence[domain] = sum[*lane] + topic[domain] / TEMPERATURE;
                best = best.max(evidence[domain]);
                best_score = best_score.max(scores[domain] + topic[domain]);
            }
        }
        for (domain, lane) in self.lanes.iter().enumerate() {
            if lane.is_none() && domain != self.unclassified {
                evidence[domain] = best + (scores[domain] + topic[domain] - best_score) / TEMPERATURE;
            }
        }
        let (domain, most) = evidence
            .iter()
            .copied()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap_or((self.unclassified, f32::NEG_INFINITY));
        let confidence = 1.0 / evidence.iter().map(|evidence| (evidence - most).exp()).sum::<f32>();
        Verdict { domain: if confidence < LEAST_CONFIDENCE { self.unclassified } else { domain }, confidence }
    }
}

/// The mean vector of all names of a shape.
fn names_vector(shape: &Shape) -> [f32; DIMENSIONS] {
    let names: Vec<String> = shape.fields.iter().flat_map(|field| spelled(&field.path)).collect();
    Encoder::shipped().encode(&names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::BinaryArray;
    use thermocline_schemas::format::{ShapeTable, parse};

    fn parsed(records: &[&str]) -> Parsed {
        let (parsed, rejected) = parse(&BinaryArray::from_iter_values(records), &ShapeTable::default());
        assert!(rejected.is_empty(), "{rejected:?}");
        parsed
    }

    #[test]
    fn a_record_that_says_audit_is_read_although_its_shape_is_decided() {
        let parsed = parsed(&[
            r#"{"source_name":"kernel","level":"INFO","host":"a"}"#,
            r#"{"source_name":"Security-Auditing","level":"INFO","host":"a"}"#,
        ]);
        let classifier = Classifier::shipped();
        let decided = Verdict { domain: classifier.unclassified(), confidence: 0.625 };
        let shape = ShapeVerdict { decided: Some(decided), ..classifier.shape("", parsed.shape(0)) };
        assert_eq!(classifier.record(&shape, &parsed, 0), decided);
        assert_ne!(classifier.record(&shape, &parsed, 1), decided);
    }

    #[test]
    fn a_record_that_is_kept_whole_is_unclassified() {
        let parsed = parsed(&[r#"{"order-1@example.org":{"amount":1},"order-2@example.org":{"amount":2}}"#]);
        assert_eq!(parsed.shape(0).body, Body::Wide);
        let classifier = Classifier::shipped();
        let shape = classifier.shape("orders", parsed.shape(0));
        let expected = Verdict { domain: classifier.unclassified(), confidence: 0.0 };
        assert_eq!(classifier.record(&shape, &parsed, 0), expected);
    }
}
