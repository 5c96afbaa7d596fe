//! Which field names mean which column of one domain.

use super::{Filled, Reason, Source, Template};
use ahash::AHashMap;
use std::sync::Arc;
use thermocline_schemas::domain::words::normal;
use thermocline_schemas::domain::{Domain, Takes, Unit};
use thermocline_schemas::format::{FieldKind, Shape, ShapeField};

/// The names of one domain's columns, ready to be looked up.
#[derive(Debug)]
pub struct Dictionary {
    /// A name in normal form, its column, and its place among the names of the column: 0 is the column's own.
    plain: AHashMap<String, (usize, usize)>,
    /// Names of columns with a unit, without theirs. A column with a unit says it in its own name, which is in `plain`.
    measured: AHashMap<String, (usize, usize)>,
    takes: Vec<Takes>,
    units: Vec<Option<Unit>>,
}

/// Outer names that say nothing about what is inside them: envelopes. The name of another thing is none: what
/// `resource.name` names is the resource, not the record.
const WRAPPERS: &[&str] = &[
    "data",
    "payload",
    "event",
    "body",
    "record",
    "fields",
    "attributes",
    "properties",
    "props",
    "context",
    "after",
    "detail",
    "details",
    "params",
    "doc",
    "json",
    "args",
    "metadata",
    "meta",
    "info",
    "log",
];

/// How well a name says a column; less is better. A record's own fields go before what lies in its envelopes, whatever
/// either is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// The outer wrappers that were left out of the path.
    unwrapped: usize,
    /// The name's place among the names of the column.
    place: usize,
}

impl Rank {
    fn reason(self) -> Reason {
        if self == (Self { unwrapped: 0, place: 0 }) { Reason::Exact } else { Reason::Synonym }
    }
}

/// A field that could fill a column.
struct Match {
    rank: Rank,
    column: usize,
    leaf: usize,
    factor: Option<f64>,
}

impl Dictionary {
    /// The names of `domain`.
    pub fn new(domain: &Domain) -> Self {
        let (mut plain, mut measured) = (AHashMap::new(), AHashMap::new());
        // All own names go first: a column that a user adds may have a name that was a synonym of another.
        for (column, words) in domain.lexicon.iter().enumerate() {
            plain.entry(normal(&words.column)).or_insert((column, 0));
        }
        for (column, words) in domain.lexicon.iter().enumerate() {
            if words.unit.is_none() {
                for (at, name) in words.synonyms.iter().enumerate() {
                    plain.entry(name.clone()).or_insert((column, at + 1));
                }
                continue;
            }
            let own = normal(&words.column);
            for (at, name) in std::iter::once(&own).chain(&words.synonyms).enumerate() {
                let name = split_unit(name).map_or(name.as_str(), |(name, ..)| name);
                measured.entry(name.to_owned()).or_insert((column, at + 1));
            }
        }
        let takes = domain.lexicon.iter().map(|words| words.takes).collect();
        let units = domain.lexicon.iter().map(|words| words.unit).collect();
        Self { plain, measured, takes, units }
    }

    /// Fills the columns of `filled` that are still free from the leaves that are not `taken`.
    pub(super) fn fill(&self, shape: &Shape, filled: &mut [Option<Filled>], taken: &mut [bool]) {
        let mut matches: Vec<Match> = vec![];
        for (leaf, field) in shape.fields.iter().enumerate() {
            if !taken[leaf] && !field.shadowed {
                matches.extend(self.best(leaf, field));
            }
        }
        matches.sort_by_key(|found| (found.rank, shape.fields[found.leaf].raw_names.len(), found.leaf));
        for Match { rank, column, leaf, factor } in matches {
            if filled[column].is_none() && !taken[leaf] {
                taken[leaf] = true;
                let path = shape.fields[leaf].path.clone();
                filled[column] = Some(Filled { source: Source::Leaf { leaf, factor }, path, reason: rank.reason() });
            }
        }
        self.fill_objects(shape, filled, taken);
    }

    /// The best column for one field, by any of its names.
    fn best(&self, leaf: usize, field: &ShapeField) -> Option<Match> {
        let names = names_of(&field.raw_names);
        names.iter().enumerate().find_map(|(unwrapped, name)| self.look_up(name, unwrapped, leaf, field))
    }

    fn look_up(&self, name: &str, unwrapped: usize, leaf: usize, field: &ShapeField) -> Option<Match> {
        if let Some(&(column, place)) = self.plain.get(name)
            && fits(self.takes[column], field.kind)
        {
            return Some(Match { rank: Rank { unwrapped, place }, column, leaf, factor: None });
        }
        let (base, unit, size) = split_unit(name)?;
        let &(column, place) = self.measured.get(base)?;
        let (kind, own_size) = size_of(self.units[column]?);
        if kind != unit || field.kind != FieldKind::Number {
            return None;
        }
        let factor = Some(size / own_size).filter(|factor| *factor != 1.0);
        Some(Match { rank: Rank { unwrapped, place }, column, leaf, factor })
    }

    /// Columns of JSON take whole inner objects: `labels.a`, `labels.b` are both in the object `labels`.
    fn fill_objects(&self, shape: &Shape, filled: &mut [Option<Filled>], taken: &mut [bool]) {
        // Rank, depth, first leaf, column: in the order in which they are better.
        let mut objects: Vec<(Rank, usize, usize, usize)> = vec![];
        for (first, field) in shape.fields.iter().enumerate() {
            for depth in 1..field.raw_names.len() {
                let names = names_of(&field.raw_names[..depth]);
                let found = names.iter().enumerate().find_map(|(unwrapped, name)| {
                    let &(column, place) = self.plain.get(name)?;
                    (self.takes[column] == Takes::Json).then_some((Rank { unwrapped, place }, depth, first, column))
                });
                objects.extend(found);
            }
        }
        objects.sort_unstable();
        for (rank, depth, first, column) in objects {
            if filled[column].is_some() || taken[first] {
                continue;
            }
            let names = &shape.fields[first].raw_names[..depth];
            let inside = |leaf: usize| shape.fields[leaf].raw_names.starts_with(names);
            let template = Template::inside(shape, depth, |leaf| inside(leaf) && !taken[leaf]);
            template.leaves().for_each(|leaf| taken[leaf] = true);
            let path = shape.fields[first].path.split('.').take(depth).collect::<Vec<_>>().join(".");
            filled[column] = Some(Filled { source: Source::Object(template), path, reason: rank.reason() });
        }
    }
}

/// The names that a path stands for: the whole of it as one name, then without its first outer wrapper, and so on.
fn names_of(path: &[Arc<str>]) -> Vec<String> {
    let parts: Vec<String> = path.iter().map(|name| normal(name)).filter(|name| !name.is_empty()).collect();
    let wrappers = parts.iter().take_while(|part| WRAPPERS.contains(&part.as_str())).count();
    (0..=wrappers.min(parts.len().saturating_sub(1))).map(|unwrapped| joined(&parts[unwrapped..])).collect()
}

/// A path as one name; a part that the next one repeats is left out (`user.user_id`).
fn joined(parts: &[String]) -> String {
    let mut name = String::new();
    for (at, part) in parts.iter().enumerate() {
        let repeated = parts
            .get(at + 1)
            .is_some_and(|next| next.strip_prefix(part.as_str()).is_some_and(|rest| rest.starts_with('_')));
        if !repeated {
            if !name.is_empty() {
                name.push('_');
            }
            name.push_str(part);
        }
    }
    name
}

fn fits(takes: Takes, kind: FieldKind) -> bool {
    match takes {
        Takes::Text => kind == FieldKind::Text,
        Takes::Code | Takes::Time => matches!(kind, FieldKind::Text | FieldKind::Number),
        Takes::Number | Takes::Integer => kind == FieldKind::Number,
        Takes::Boolean => kind == FieldKind::Bool,
        Takes::Json => matches!(kind, FieldKind::Array | FieldKind::Map | FieldKind::Text),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Time,
    Bytes,
}

/// The kind of a unit, and how many seconds or bytes it is.
fn size_of(unit: Unit) -> (Kind, f64) {
    match unit {
        Unit::Seconds => (Kind::Time, 1.0),
        Unit::Milliseconds => (Kind::Time, 0.001),
        Unit::Bytes => (Kind::Bytes, 1.0),
    }
}

/// A name that ends in a unit: the rest, the unit's kind, and its size. `kb` may be 1,000 or 1,024, and `min` is mostly
/// the least, so they are none.
fn split_unit(name: &str) -> Option<(&str, Kind, f64)> {
    let (rest, unit) = name.rsplit_once('_')?;
    let (kind, size) = match unit {
        "s" | "sec" | "secs" | "second" | "seconds" => (Kind::Time, 1.0),
        "ms" | "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => (Kind::Time, 0.001),
        "us" | "usec" | "usecs" | "micros" | "microsecond" | "microseconds" => (Kind::Time, 1e-6),
        "ns" | "nsec" | "nanos" | "nanosecond" | "nanoseconds" => (Kind::Time, 1e-9),
        "mins" | "minutes" => (Kind::Time, 60.0),
        "hours" | "hrs" => (Kind::Time, 3_600.0),
        "bytes" => (Kind::Bytes, 1.0),
        "kib" => (Kind::Bytes, 1_024.0),
        "mib" => (Kind::Bytes, 1_048_576.0),
        _ => return None,
    };
    Some((rest, kind, size))
}
