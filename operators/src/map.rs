//! From a record's own fields to its domain's columns.
//!
//! Which field fills which column is a [`Plan`], made once for a shape and a domain: by a column's exact name, then by
//! the lexicon's other names, always with a check of the JSON type, and of the unit where the column has one. Of a
//! nested field the whole path counts (`user.id` is `user_id`); outer wrappers such as `data` may be left out, but then
//! any name of a field outside them goes before. Two fields never fill one column. What fills no column, or does not fit
//! after all, stays in `attributes` as it was written; [`columns`] builds both.

pub mod attributes;
pub mod columns;
mod names;

use crate::event_time::{self, Candidate, How};
use crate::rules::{BROKER, IGNORE, MappingOverrides};
use attributes::Template;
pub use names::Dictionary;
use std::sync::Arc;
use thermocline_schemas::domain::Domain;
use thermocline_schemas::format::{Body, FieldKind, Shape};

/// Why a field fills a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// It has the column's name, by its whole path.
    Exact,
    /// It has another name that means the column.
    Synonym,
    /// The record as a whole is a text.
    Whole,
    /// A file says so.
    Override,
}

/// What fills a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// One leaf, times a factor where its unit is another.
    Leaf {
        /// The leaf.
        leaf: usize,
        /// What its number is multiplied by.
        factor: Option<f64>,
    },
    /// The fields of an inner object, as JSON.
    Object(Template),
}

/// A field of a shape that fills a column.
#[derive(Debug, Clone, PartialEq)]
pub struct Filled {
    /// What fills it.
    pub source: Source,
    /// The field's path; empty for a whole record.
    pub path: String,
    /// Why.
    pub reason: Reason,
}

/// How the records of one shape become rows of one domain.
#[derive(Debug)]
pub struct Plan {
    /// The shape.
    pub shape: Arc<Shape>,
    /// What fills each column, in the order of the domain's columns.
    pub filled: Vec<Option<Filled>>,
    /// The fields that may say when, best first.
    pub event_time: Vec<Candidate>,
    /// The leaves that fill no column.
    pub unmapped: Vec<usize>,
    /// `attributes`: the unmapped leaves.
    pub attributes: Template,
    /// The same without the leaf of each candidate of `event_time`, for when nothing of it is lost.
    pub attributes_without_time: Vec<Template>,
}

impl Plan {
    /// The plan for records of `shape`, read from `topic`, that are of `domain`, whose names are in `dictionary`.
    pub fn new(
        topic: &str,
        shape: &Arc<Shape>,
        domain: &Domain,
        dictionary: &Dictionary,
        files: &MappingOverrides,
    ) -> Self {
        let mut filled: Vec<Option<Filled>> = vec![None; domain.columns.len()];
        let mut taken = vec![false; shape.fields.len()];
        let mut named_time: Option<Vec<Candidate>> = None;
        for entry in files.matching(topic, &shape.id(), &domain.name) {
            named_time = named_time.or_else(|| named_event_time(shape, entry.event_time.as_deref()?));
            for (path, column) in &entry.fields {
                let Some(leaf) = leaf_at(shape, path).filter(|leaf| !taken[*leaf]) else { continue };
                let at = domain.columns.iter().position(|field| field.name() == column);
                if let (Some(at), true) = (at, column != IGNORE) {
                    let source = Source::Leaf { leaf, factor: None };
                    filled[at].get_or_insert(Filled { source, path: path.clone(), reason: Reason::Override });
                }
                taken[leaf] = column == IGNORE || at.is_some();
            }
        }
        let event_time = named_time.unwrap_or_else(|| event_time::candidates(shape));
        match shape.body {
            Body::Object => dictionary.fill(shape, &mut filled, &mut taken),
            Body::Text | Body::Value => fill_whole(shape, domain, &mut filled, &mut taken),
            Body::Empty | Body::Wide => {}
        }
        // What a file ignores is taken from the lexicon, but it fills no column.
        let mut fills = vec![false; shape.fields.len()];
        for column in filled.iter().flatten() {
            match &column.source {
                Source::Leaf { leaf, .. } => fills[*leaf] = true,
                Source::Object(template) => template.leaves().for_each(|leaf| fills[leaf] = true),
            }
        }
        let unmapped: Vec<usize> = (0..fills.len()).filter(|leaf| !fills[*leaf]).collect();
        let attributes = Template::new(shape, |leaf| !fills[leaf]);
        let attributes_without_time = event_time
            .iter()
            .map(|candidate| {
                Template::new(shape, |leaf| !fills[leaf] && (leaf != candidate.leaf || candidate.how != How::Whole))
            })
            .collect();
        Self { shape: Arc::clone(shape), filled, event_time, unmapped, attributes, attributes_without_time }
    }
}

fn leaf_at(shape: &Shape, path: &str) -> Option<usize> {
    shape.fields.iter().position(|field| field.path == path && !field.shadowed)
}

/// What is left of the candidates if a file names `path`: that field, or none for the broker's time. Not an answer at
/// all where `shape` has no such field, or one that can be no time.
fn named_event_time(shape: &Shape, path: &str) -> Option<Vec<Candidate>> {
    if path == BROKER {
        return Some(vec![]);
    }
    let leaf = leaf_at(shape, path)?;
    let may_be_time = matches!(shape.fields[leaf].kind, FieldKind::Text | FieldKind::Number);
    may_be_time.then(|| vec![Candidate { leaf, how: How::Whole }])
}

/// A record that is nothing but text fills the domain's column for that.
fn fill_whole(shape: &Shape, domain: &Domain, filled: &mut [Option<Filled>], taken: &mut [bool]) {
    let Some(whole) = &domain.whole_text else { return };
    let column = domain.columns.iter().position(|field| field.name() == whole);
    if let (Some(column), [field]) = (column, &shape.fields[..])
        && field.kind == FieldKind::Text
        && !taken[0]
    {
        let source = Source::Leaf { leaf: 0, factor: None };
        filled[column] = Some(Filled { source, path: String::new(), reason: Reason::Whole });
        taken[0] = true;
    }
}

#[cfg(test)]
mod tests;
