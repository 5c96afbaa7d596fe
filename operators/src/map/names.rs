//! Which field names mean which column of one domain.

use super::{Filled, Reason, Source, Template};
use ahash::AHashMap;
use thermocline_schemas::domain::words::normal;
use thermocline_schemas::domain::{Domain, Takes, Unit};
use thermocline_schemas::format::{FieldKind, Shape, ShapeField};

/// The names of one domain's columns, ready to be looked up.
#[derive(Debug)]
pub struct Dictionary {
    /// A name in normal form, its column, and how good it is: 0 is the column's own.
    plain: AHashMap<String, (usize, u32)>,
    /// The same for columns with a unit; names and columns without their unit.
    measured: AHashMap<String, (usize, u32)>,
    takes: Vec<Takes>,
    units: Vec<Option<Unit>>,
}

/// Outer names that say nothing about what is inside them.
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
    "source",
    "item",
    "result",
    "json",
    "args",
    "metadata",
    "meta",
    "info",
    "object",
    "resource",
    "value",
    "log",
    "entity",
];

/// How much worse a name is that matches with its last two parts alone.
const TAIL_PENALTY: u32 = 40;

/// A field that could fill a column.
struct Match {
    rank: u32,
    column: usize,
    leaf: usize,
    factor: Option<f64>,
}

impl Dictionary {
    /// The names of `domain`.
    pub fn new(domain: &Domain) -> Self {
        let (mut plain, mut measured) = (AHashMap::new(), AHashMap::new());
        for (column, words) in domain.lexicon.iter().enumerate() {
            let own = normal(&words.column);
            for (rank, name) in std::iter::once(&own).chain(&words.synonyms).enumerate() {
                let entry = (column, rank as u32);
                if words.unit.is_none() {
                    plain.entry(name.clone()).or_insert(entry);
                } else {
                    let name = split_unit(name).map_or(name.as_str(), |(name, ..)| name);
                    measured.entry(name.to_owned()).or_insert(entry);
                }
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
                let reason = if rank == 0 { Reason::Exact } else { Reason::Synonym };
                let path = shape.fields[leaf].path.clone();
                filled[column] = Some(Filled { source: Source::Leaf { leaf, factor }, path, reason });
            }
        }
        self.fill_objects(shape, filled, taken);
    }

    /// The best column for one field, by any of its names.
    fn best(&self, leaf: usize, field: &ShapeField) -> Option<Match> {
        let parts: Vec<String> =
            field.raw_names.iter().map(|name| normal(name)).filter(|name| !name.is_empty()).collect();
        let bare = bare(&parts);
        let tail = &bare[bare.len().saturating_sub(2)..];
        let names = [
            (joined(bare), 0),
            (joined(&parts), 0),
            (joined(tail), if tail.len() < bare.len() { TAIL_PENALTY } else { 0 }),
        ];
        names
            .iter()
            .filter_map(|(name, penalty)| self.look_up(name, *penalty, leaf, field))
            .min_by_key(|found| found.rank)
    }

    fn look_up(&self, name: &str, penalty: u32, leaf: usize, field: &ShapeField) -> Option<Match> {
        if let Some(&(column, rank)) = self.plain.get(name)
            && fits(self.takes[column], field.kind)
        {
            return Some(Match { rank: rank + penalty, column, leaf, factor: None });
        }
        let (base, unit, size) = split_unit(name)?;
        let &(column, rank) = self.measured.get(base)?;
        let (kind, own_size) = size_of(self.units[column]?);
        if kind != unit || field.kind != FieldKind::Number {
            return None;
        }
        let factor = Some(size / own_size).filter(|factor| *factor != 1.0);
        Some(Match { rank: rank + penalty, column, leaf, factor })
    }

    /// Columns of JSON take whole inner objects: `labels.a`, `labels.b` are both in the object `labels`.
    fn fill_objects(&self, shape: &Shape, filled: &mut [Option<Filled>], taken: &mut [bool]) {
        for first in 0..shape.fields.len() {
            let names = &shape.fields[first].raw_names;
            for depth in 1..names.len() {
                let parts: Vec<String> = names[..depth].iter().map(|name| normal(name)).collect();
                let Some(&(column, rank)) = self.plain.get(&joined(bare(&parts))) else { continue };
                let inside = |leaf: usize| shape.fields[leaf].raw_names.starts_with(&names[..depth]);
                if self.takes[column] != Takes::Json || filled[column].is_some() || taken[first] {
                    continue;
                }
                let template = Template::inside(shape, depth, |leaf| inside(leaf) && !taken[leaf]);
                template.leaves().for_each(|leaf| taken[leaf] = true);
                let path = shape.fields[first].path.split('.').take(depth).collect::<Vec<_>>().join(".");
                let reason = if rank == 0 { Reason::Exact } else { Reason::Synonym };
                filled[column] = Some(Filled { source: Source::Object(template), path, reason });
            }
        }
    }
}

/// A path without its outer wrappers; at least its last part.
fn bare(parts: &[String]) -> &[String] {
    let wrappers = parts.iter().take_while(|part| WRAPPERS.contains(&part.as_str())).count();
    &parts[wrappers.min(parts.len().saturating_sub(1))..]
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

/// A name that ends in a unit: the rest, the unit's kind, and its size. `kb` may be 1,000 or 1,024, so it is none.
fn split_unit(name: &str) -> Option<(&str, Kind, f64)> {
    let (rest, unit) = name.rsplit_once('_')?;
    let (kind, size) = match unit {
        "s" | "sec" | "secs" | "second" | "seconds" => (Kind::Time, 1.0),
        "ms" | "msec" | "msecs" | "millis" | "millisecond" | "milliseconds" => (Kind::Time, 0.001),
        "us" | "usec" | "usecs" | "micros" | "microsecond" | "microseconds" => (Kind::Time, 1e-6),
        "ns" | "nsec" | "nanos" | "nanosecond" | "nanoseconds" => (Kind::Time, 1e-9),
        "min" | "mins" | "minutes" => (Kind::Time, 60.0),
        "hours" | "hrs" => (Kind::Time, 3_600.0),
        "bytes" => (Kind::Bytes, 1.0),
        "kib" => (Kind::Bytes, 1_024.0),
        "mib" => (Kind::Bytes, 1_048_576.0),
        _ => return None,
    };
    Some((rest, kind, size))
}
