//! A linear model: what each mark of a record, each place of its vectors and each score by phrases says for and against
//! the domains that ship.
//!
//! It ships in `models/domains`, fitted by [`super::fit`] to the records in `data`: see there. A user's domains are not
//! in it; they compete by their phrases ([`super::Classifier`]).

use super::marks::{Kind, Mark, mark};
use crate::embed::DIMENSIONS;
use ahash::AHashMap;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// The domains that ship, and room to a whole number of lanes.
pub const LANES: usize = 16;

/// Evidence for each domain, in the order of [`Model::domains`], in natural logarithms.
pub type Lanes = [f32; LANES];

type Failure = Box<dyn std::error::Error + Send + Sync>;

static SHIPPED: LazyLock<Arc<Model>> = LazyLock::new(|| {
    let model = Model::from_bytes(include_bytes!("../../models/domains/model.safetensors"));
    Arc::new(model.expect("the shipped model is whole, which a test checks"))
});

/// Which vector, or scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dense {
    /// The mean vector of the names.
    Names,
    /// The mean vector of the values, or of the text.
    Values,
    /// The domains' scores by their phrases.
    Scores,
    /// Always 1.
    Always,
}

impl Dense {
    /// The mark of place `at`.
    pub fn mark(self, at: usize) -> Mark {
        // Part of the hash: never rename.
        let name = match self {
            Dense::Names => "Names",
            Dense::Values => "Values",
            Dense::Scores => "Scores",
            Dense::Always => "Always",
        };
        mark(Kind::Dense, format!("{name}{at}").as_bytes())
    }
}

/// How much the marks of a record count beside its vectors, of length 1, and the scores.
const MARKS_LENGTH: f32 = 2.0;
/// How much the scores by phrases count.
pub const SCORES_SCALE: f32 = 0.1;

/// How much each of `count` marks counts: many do not outweigh the vectors.
pub fn each_of(count: usize) -> f32 {
    MARKS_LENGTH / (count.max(1) as f32).sqrt()
}

/// What one question, by shape or by record, weighs.
#[derive(Debug, Clone, Default)]
pub struct Weights {
    rows: AHashMap<Mark, u32>,
    weights: Vec<Lanes>,
    names: Vec<Lanes>,
    values: Vec<Lanes>,
    scores: Vec<Lanes>,
    always: Lanes,
}

impl Weights {
    /// From the weights of each mark.
    pub fn new(by_mark: &BTreeMap<Mark, Lanes>) -> Self {
        let dense = |dense: Dense, places: usize| -> Vec<Lanes> {
            (0..places).map(|at| by_mark.get(&dense.mark(at)).copied().unwrap_or_default()).collect()
        };
        Self {
            rows: by_mark.keys().enumerate().map(|(row, mark)| (*mark, row as u32)).collect(),
            weights: by_mark.values().copied().collect(),
            names: dense(Dense::Names, DIMENSIONS),
            values: dense(Dense::Values, DIMENSIONS),
            scores: dense(Dense::Scores, LANES),
            always: dense(Dense::Always, 1)[0],
        }
    }

    /// Whether one of `marks` is in the table.
    pub fn know(&self, marks: &[Mark]) -> bool {
        marks.iter().any(|mark| self.rows.contains_key(mark))
    }

    /// Adds what `marks`, a set, say.
    pub fn add_marks(&self, marks: &[Mark], sum: &mut Lanes) {
        let each = each_of(marks.len());
        for mark in marks {
            if let Some(row) = self.rows.get(mark) {
                add(sum, &self.weights[*row as usize], each);
            }
        }
    }

    /// Adds what the vector of the names says.
    pub fn add_names(&self, vector: &[f32; DIMENSIONS], sum: &mut Lanes) {
        vector.iter().zip(&self.names).for_each(|(value, row)| add(sum, row, *value));
    }

    /// Adds what the vector of the values says.
    pub fn add_values(&self, vector: &[f32; DIMENSIONS], sum: &mut Lanes) {
        vector.iter().zip(&self.values).for_each(|(value, row)| add(sum, row, *value));
    }

    /// Adds what the scores by phrases, in the order of the domains, say, and what is always so.
    pub fn add_scores(&self, scores: &Lanes, sum: &mut Lanes) {
        scores.iter().zip(&self.scores).for_each(|(value, row)| add(sum, row, value * SCORES_SCALE));
        add(sum, &self.always, 1.0);
    }
}

fn add(sum: &mut Lanes, row: &Lanes, times: f32) {
    for lane in 0..LANES {
        sum[lane] += row[lane] * times;
    }
}

/// The whole model.
#[derive(Debug, Clone)]
pub struct Model {
    /// Names of the domains, in the order of the lanes.
    pub domains: Vec<String>,
    /// What is known from a shape alone.
    pub by_shape: Weights,
    /// What is known from a whole record.
    pub by_record: Weights,
}

impl Model {
    /// The one that ships.
    pub fn shipped() -> Arc<Self> {
        Arc::clone(&SHIPPED)
    }

    /// The lane of a domain that it knows.
    pub fn lane(&self, domain: &str) -> Option<usize> {
        self.domains.iter().position(|known| known == domain)
    }

    /// From the bytes that [`to_bytes`] made.
    ///
    /// # Errors
    /// If they are not of that layout.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Failure> {
        let (_, header) = safetensors::SafeTensors::read_metadata(bytes)?;
        let domains = header.metadata().as_ref().and_then(|it| it.get("domains")).ok_or("it names no domains")?;
        let domains: Vec<String> = domains.split(' ').map(str::to_owned).collect();
        let tensors = safetensors::SafeTensors::deserialize(bytes)?;
        let weights = |name: &str| -> Result<Weights, Failure> {
            let marks = tensors.tensor(&format!("{name}.marks"))?;
            let scales = tensors.tensor(&format!("{name}.scales"))?;
            let weights = tensors.tensor(&format!("{name}.weights"))?;
            let marks = marks.data().as_chunks().0.iter().map(|bytes| Mark::from_le_bytes(*bytes));
            let scales = scales.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            let rows = weights.data().chunks_exact(domains.len());
            if domains.len() > LANES || marks.len() != rows.len() || scales.len() != rows.len() {
                return Err(format!("{} marks, {} rows of {} domains", marks.len(), rows.len(), domains.len()).into());
            }
            let row = |(scale, row): (f32, &[u8])| {
                let mut lanes = Lanes::default();
                lanes.iter_mut().zip(row).for_each(|(lane, byte)| *lane = f32::from(byte.cast_signed()) * scale);
                lanes
            };
            Ok(Weights::new(&marks.zip(scales.zip(rows).map(row)).collect()))
        };
        Ok(Self { by_shape: weights("shape")?, by_record: weights("record")?, domains })
    }
}

/// A model as bytes: safetensors, the marks as 64-bit numbers, their weights as int8 with one scale a mark.
///
/// # Errors
/// If it cannot be serialised.
pub fn to_bytes(
    domains: &[String],
    by_shape: &BTreeMap<Mark, Lanes>,
    by_record: &BTreeMap<Mark, Lanes>,
) -> Result<Vec<u8>, Failure> {
    let mut parts: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = vec![];
    for (name, by_mark) in [("shape", by_shape), ("record", by_record)] {
        let scale = |row: &Lanes| row.iter().fold(0.0_f32, |most, value| most.max(value.abs())).max(1e-9) / 127.0;
        let marks = by_mark.keys().flat_map(|mark| mark.to_le_bytes()).collect();
        let scales = by_mark.values().flat_map(|row| scale(row).to_le_bytes()).collect();
        let small = |row: &Lanes| -> Vec<u8> {
            let scale = scale(row);
            row[..domains.len()].iter().map(|value| ((value / scale).round() as i8).cast_unsigned()).collect()
        };
        let weights = by_mark.values().flat_map(small).collect();
        parts.push((format!("{name}.marks"), Dtype::U64, vec![by_mark.len()], marks));
        parts.push((format!("{name}.scales"), Dtype::F32, vec![by_mark.len()], scales));
        parts.push((format!("{name}.weights"), Dtype::I8, vec![by_mark.len(), domains.len()], weights));
    }
    let views = parts.iter().map(|(name, dtype, shape, bytes)| {
        TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>()?;
    let metadata = std::collections::HashMap::from([("domains".to_owned(), domains.join(" "))]);
    Ok(safetensors::serialize(views, Some(metadata))?)
}
