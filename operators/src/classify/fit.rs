//! Fits the model to labelled records: multinomial logistic regression, every source counting as much as any other.
//!
//! Done by hand, when the records in `data` or the marks change: `cargo run --release --example fit`. Nothing here runs
//! in a pipeline.

use super::marks::{Mark, Marks};
use super::model::{Dense, LANES, Lanes, Model, SCORES_SCALE, Weights, each_of, to_bytes};
use super::{Buffers, Classifier, names_vector};
use ahash::{AHashMap, AHashSet};
use arrow::array::BinaryArray;
use std::collections::BTreeMap;
use std::sync::Arc;
use thermocline_schemas::domain::{Registry, UNCLASSIFIED};
use thermocline_schemas::format::{Body, Parsed, ShapeTable, parse};

/// A record and its domain.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Labelled {
    /// The system and the kind of record; records of one source are not independent.
    pub source: String,
    /// The right domain.
    pub domain: String,
    /// When it happened, if the record says so.
    #[serde(default)]
    pub ts: Option<String>,
    /// An object, or a string for a record that is text.
    pub payload: serde_json::Value,
}

impl Labelled {
    /// The records that the shipped model is fitted to: those in `data`, and the public ones of the tests.
    pub fn shipped() -> Vec<Self> {
        let record = |line: &str| {
            let mut record: serde_json::Value = serde_json::from_str(line).expect("a shipped record is JSON");
            // Public records come from repositories with many topics each.
            if let Some(topic) = record["topic"].as_str() {
                record["source"] = format!("{} {topic}", record["source"].as_str().unwrap_or_default()).into();
            }
            serde_json::from_value(record).expect("a shipped record is labelled")
        };
        SHIPPED.iter().flat_map(|file| file.lines()).map(record).collect()
    }

    /// The record as it arrives.
    pub fn bytes(&self) -> Vec<u8> {
        match &self.payload {
            serde_json::Value::String(text) => text.clone().into_bytes(),
            other => other.to_string().into_bytes(),
        }
    }
}

const SHIPPED: &[&str] = &[
    include_str!("../../data/analytics.jsonl"),
    include_str!("../../data/archive.jsonl"),
    include_str!("../../data/chat.jsonl"),
    include_str!("../../data/compliance.jsonl"),
    include_str!("../../data/content.jsonl"),
    include_str!("../../data/integration.jsonl"),
    include_str!("../../data/logs.jsonl"),
    include_str!("../../data/metrics.jsonl"),
    include_str!("../../data/session.jsonl"),
    include_str!("../../data/user.jsonl"),
    include_str!("../../data/workflow.jsonl"),
    include_str!("../../tests/data/records.jsonl"),
];

/// What became of a labelled record.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged<'a> {
    /// Its source.
    pub source: &'a str,
    /// The right domain.
    pub domain: &'a str,
    /// The domain that was said.
    pub said: String,
    /// How sure.
    pub confidence: f32,
}

impl Judged<'_> {
    /// Whether the right domain was said.
    pub fn is_right(&self) -> bool {
        self.said == self.domain
    }
}

/// For each domain the share of right records, as a mean over its sources, and how many of these there are.
pub fn shares_by_domain<'a>(judged: &'a [Judged<'a>]) -> BTreeMap<&'a str, (f64, usize)> {
    let mut domains: BTreeMap<&str, BTreeMap<&str, Vec<f64>>> = BTreeMap::new();
    for it in judged {
        let right = f64::from(u8::from(it.is_right()));
        domains.entry(it.domain).or_default().entry(it.source).or_default().push(right);
    }
    let share = |right: &Vec<f64>| right.iter().sum::<f64>() / right.len() as f64;
    let shares = domains.into_iter().map(|(domain, sources)| {
        (domain, (sources.values().map(share).sum::<f64>() / sources.len() as f64, sources.len()))
    });
    shares.collect()
}

/// Marks of fewer sources than this are not kept: they tell one system from another, not a domain.
const LEAST_SOURCES: usize = 2;
/// How much large weights cost.
const RIDGE: f32 = 3e-5;
/// Rounds over all examples, and the length of a step in the first of them.
const ROUNDS: usize = 160;
const FIRST_STEP: f32 = 0.12;

/// What a record is to the model: rows of its table, and how much of each.
type Inputs = Vec<(Mark, f32)>;

/// A record as the model sees it.
#[derive(Debug)]
struct Example {
    by_shape: Inputs,
    by_record: Inputs,
    lane: usize,
    source: usize,
}

/// Labelled records, read once, for fitting and judging.
#[derive(Debug)]
pub struct Examples {
    domains: Vec<String>,
    sources: Vec<String>,
    examples: Vec<Example>,
    parsed: Parsed,
}

impl Examples {
    /// Reads `records`; those that no source may hold (two objects in one) are left out.
    pub fn new(records: &[Labelled]) -> Self {
        let registry = Registry::shipped();
        let domains: Vec<String> =
            registry.iter().map(|domain| domain.name.to_string()).filter(|name| name != UNCLASSIFIED).collect();
        let empty = Model { domains: domains.clone(), by_shape: Weights::default(), by_record: Weights::default() };
        let classifier = Classifier::with_model(&registry, Arc::new(empty));
        let (parsed, _) =
            parse(&BinaryArray::from_iter_values(records.iter().map(Labelled::bytes)), &ShapeTable::default());
        let mut sources: Vec<String> = vec![];
        let mut places: AHashMap<&str, usize> = AHashMap::new();
        let mut examples = vec![];
        for (row, record) in parsed.accepted().values().iter().map(|at| &records[*at as usize]).enumerate() {
            let source = *places.entry(&record.source).or_insert_with(|| {
                sources.push(record.source.clone());
                sources.len() - 1
            });
            let lane = classifier.model.lane(&record.domain).expect("a label is a domain that ships");
            let (by_shape, by_record) = inputs(&classifier, &parsed, row);
            examples.push(Example { by_shape, by_record, lane, source });
        }
        Self { domains, sources, examples, parsed }
    }

    /// How many sources there are.
    pub fn sources(&self) -> usize {
        self.sources.len()
    }

    /// The fold of each source, of `folds`: those of one repository, or of one system under several numbers, are together.
    fn folds(&self, folds: usize) -> Vec<usize> {
        let mut families: AHashMap<&str, usize> = AHashMap::new();
        let mut fold = |family| {
            let next = families.len();
            *families.entry(family).or_insert(next) % folds
        };
        self.sources.iter().map(|source| fold(family(source))).collect()
    }

    /// Fits a model to all but each of `folds` parts of the sources in turn, and asks it about that part.
    pub fn cross_validate(&self, folds: usize) -> Vec<Judged<'_>> {
        let of_source = self.folds(folds);
        let judge = |fold| {
            let model = self.fit_to(|source| of_source[source] != fold).model();
            self.judge(Arc::new(model), |source| of_source[source] == fold)
        };
        (0..folds).flat_map(judge).collect()
    }

    /// What `model` says of each example.
    pub fn judge_all(&self, model: Arc<Model>) -> Vec<Judged<'_>> {
        self.judge(model, |_| true)
    }

    /// Fits to all sources.
    pub fn fit(&self) -> Fitted {
        self.fit_to(|_| true)
    }

    /// Fits to the sources that `takes` says.
    fn fit_to(&self, takes: impl Fn(usize) -> bool) -> Fitted {
        let taken: Vec<&Example> = self.examples.iter().filter(|example| takes(example.source)).collect();
        let objects: Vec<&Example> = taken.iter().copied().filter(|example| !example.by_shape.is_empty()).collect();
        std::thread::scope(|scope| {
            let by_shape = scope.spawn(|| fit(&objects, self.domains.len(), |example| &example.by_shape));
            let by_record = fit(&taken, self.domains.len(), |example| &example.by_record);
            let by_shape = by_shape.join().expect("fitting does not panic");
            Fitted { domains: self.domains.clone(), by_shape, by_record }
        })
    }

    /// What `model` says of each example of the sources that `takes` says.
    fn judge(&self, model: Arc<Model>, takes: impl Fn(usize) -> bool) -> Vec<Judged<'_>> {
        let classifier = Classifier::with_model(&Registry::shipped(), model);
        let judge = |(row, example): (usize, &Example)| {
            let shape = classifier.shape("", self.parsed.shape(row));
            let verdict = classifier.record(&shape, &self.parsed, row);
            Judged {
                source: &self.sources[example.source],
                domain: &self.domains[example.lane],
                said: classifier.name(verdict.domain).to_owned(),
                confidence: verdict.confidence,
            }
        };
        self.examples.iter().enumerate().filter(|(_, example)| takes(example.source)).map(judge).collect()
    }
}

/// What was fitted: the weights of each mark.
#[derive(Debug)]
pub struct Fitted {
    domains: Vec<String>,
    /// By shape.
    pub by_shape: BTreeMap<Mark, Lanes>,
    /// By record.
    pub by_record: BTreeMap<Mark, Lanes>,
}

impl Fitted {
    /// As a model to use at once, with all its digits.
    pub fn model(&self) -> Model {
        Model {
            domains: self.domains.clone(),
            by_shape: Weights::new(&self.by_shape),
            by_record: Weights::new(&self.by_record),
        }
    }

    /// As a file.
    ///
    /// # Errors
    /// If it cannot be serialised.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        to_bytes(&self.domains, &self.by_shape, &self.by_record)
    }
}

/// What sources of one origin have in common: the repository, or the name without a number or letter at its end.
fn family(source: &str) -> &str {
    let name = source.split(' ').next().unwrap_or(source);
    match name.rsplit_once('-') {
        Some((name, end)) if end.len() == 1 => name,
        _ => name,
    }
}

/// What the model sees of a record: from its shape alone, nothing where it is no object, and from all of it.
fn inputs(classifier: &Classifier, parsed: &Parsed, row: usize) -> (Inputs, Inputs) {
    let shape = parsed.shape(row);
    let verdict = classifier.shape("", shape);
    let mut buffers = Buffers::default();
    let values = classifier.read(&verdict, parsed, row, &mut buffers);
    let dense = |dense: Dense, values: &[f32], scale: f32| -> Inputs {
        values.iter().enumerate().map(|(at, value)| (dense.mark(at), value * scale)).collect()
    };
    let sparse = |marks: &[Mark]| -> Inputs {
        let each = each_of(marks.len());
        marks.iter().map(|mark| (*mark, each)).collect()
    };
    let scores = |scores: &[f32]| dense(Dense::Scores, &classifier.in_lanes(scores), SCORES_SCALE);
    let always = [(Dense::Always.mark(0), 1.0)];
    let mut names = vec![];
    if shape.body == Body::Object {
        let mut marks = Marks::default();
        marks.of_shape(shape);
        names.extend(sparse(marks.set()));
        names.extend(dense(Dense::Names, &names_vector(shape), 1.0));
    }
    let mut by_record = names.clone();
    by_record.extend(sparse(buffers.marks.set()));
    by_record.extend(dense(Dense::Values, &values, 1.0));
    by_record.extend(scores(&buffers.scores).into_iter().chain(always));
    if !names.is_empty() {
        names.extend(scores(&verdict.scores).into_iter().chain(always));
    }
    (names, by_record)
}

/// Fits one table, by Adam over all examples at once: no order of examples, no chance.
fn fit<'a>(
    examples: &[&'a Example],
    domains: usize,
    inputs: impl Fn(&'a Example) -> &'a Inputs,
) -> BTreeMap<Mark, Lanes> {
    let mut seen: AHashMap<Mark, AHashSet<usize>> = AHashMap::new();
    for example in examples {
        for (mark, _) in inputs(example) {
            seen.entry(*mark).or_default().insert(example.source);
        }
    }
    seen.retain(|_, sources| sources.len() >= LEAST_SOURCES);
    let mut marks: Vec<Mark> = seen.into_keys().collect();
    marks.sort_unstable();
    let rows: AHashMap<Mark, usize> = marks.iter().enumerate().map(|(row, mark)| (*mark, row)).collect();
    let known = |input: &(Mark, f32)| Some((*rows.get(&input.0)?, input.1));
    let compact: Vec<Vec<(usize, f32)>> =
        examples.iter().map(|example| inputs(example).iter().filter_map(known).collect()).collect();
    let counts = examples.iter().fold(AHashMap::<usize, f32>::new(), |mut counts, example| {
        *counts.entry(example.source).or_default() += 1.0;
        counts
    });
    let total = counts.len() as f32;

    let mut weights = vec![Lanes::default(); marks.len()];
    let (mut first, mut second) = (weights.clone(), weights.clone());
    for round in 1..=ROUNDS {
        let mut slope: Vec<Lanes> = weights.iter().map(|row| row.map(|weight| weight * RIDGE)).collect();
        for (example, inputs) in examples.iter().zip(&compact) {
            let importance = 1.0 / (counts[&example.source] * total);
            let mut miss = shares(&weights, inputs, domains);
            miss[example.lane] -= 1.0;
            for (row, value) in inputs {
                for lane in 0..LANES {
                    slope[*row][lane] += miss[lane] * value * importance;
                }
            }
        }
        let step = FIRST_STEP * (1.0 - (round - 1) as f32 / ROUNDS as f32);
        let (fade_first, fade_second) = (1.0 - 0.9_f32.powi(round as i32), 1.0 - 0.999_f32.powi(round as i32));
        for row in 0..weights.len() {
            for lane in 0..LANES {
                let slope = slope[row][lane];
                first[row][lane] = 0.9 * first[row][lane] + 0.1 * slope;
                second[row][lane] = 0.999 * second[row][lane] + 0.001 * slope * slope;
                let size = (second[row][lane] / fade_second).sqrt() + 1e-8;
                weights[row][lane] -= step * first[row][lane] / fade_first / size;
            }
        }
    }
    marks.into_iter().zip(weights).collect()
}

/// The share of each of the domains, by softmax; lanes without a domain have none.
fn shares(weights: &[Lanes], inputs: &[(usize, f32)], domains: usize) -> Lanes {
    let mut sum = Lanes::default();
    for (row, value) in inputs {
        for lane in 0..LANES {
            sum[lane] += weights[*row][lane] * value;
        }
    }
    sum[domains..].fill(f32::NEG_INFINITY);
    let most = sum.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut shares = sum.map(|evidence| (evidence - most).exp());
    let all: f32 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= all);
    shares
}
