//! The columns of one domain from the leaves of many records, a column at a time.

use super::{Plan, Source};
use crate::event_time::{How, event_time, is_lossless, leaf_time};
use ahash::AHashMap;
use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder, Int32Builder,
    Int64Builder, StringBuilder, TimestampMicrosecondBuilder, new_null_array,
};
use arrow::datatypes::{DataType, Field};
use std::sync::Arc;
use thermocline_schemas::EventTime;
use thermocline_schemas::domain::Domain;
use thermocline_schemas::format::json::decimal;
use thermocline_schemas::format::scan::unescape_into;
use thermocline_schemas::format::{Body, Leaf, LeafKind, Parsed};
use thermocline_schemas::table::timestamp_type;
use thermocline_schemas::time::MICROS_PER_DAY;

/// Records on their way into one domain: row *n* of `parsed.row(rows[n])` follows `plans[plan_of[n]]`.
pub(crate) struct Rows<'a> {
    pub(crate) parsed: &'a Parsed,
    pub(crate) rows: Vec<u32>,
    pub(crate) plan_of: Vec<u32>,
    pub(crate) plans: Vec<Arc<Plan>>,
}

/// What the records became.
pub(crate) struct Built {
    pub(crate) event_times: Vec<EventTime>,
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) attributes: ArrayRef,
}

/// Leaves that fill a column, but not without loss, or not after all: by row, they go into `attributes` too.
type Kept = AHashMap<usize, Vec<usize>>;

impl<'a> Rows<'a> {
    fn plan(&self, at: usize) -> &Plan {
        &self.plans[self.plan_of[at] as usize]
    }

    fn record(&self, at: usize) -> (&'a str, &'a [Leaf]) {
        let row = self.rows[at] as usize;
        (self.parsed.text(row), self.parsed.leaves(row))
    }

    /// Builds all columns of `domain`; `fallback` is the time of a record that does not say its own.
    pub(crate) fn build(&self, domain: &Domain, fallback: impl Fn(usize) -> EventTime) -> Built {
        let mut kept = Kept::new();
        let columns: Vec<ArrayRef> =
            domain.columns.iter().enumerate().map(|(column, field)| self.column(column, field, &mut kept)).collect();
        let mut event_times = Vec::with_capacity(self.rows.len());
        let mut attributes = StringBuilder::with_capacity(self.rows.len(), self.rows.len() * 128);
        let mut json = String::new();
        for at in 0..self.rows.len() {
            let plan = self.plan(at);
            let (record, leaves) = self.record(at);
            let said = event_time(&plan.event_time, record, leaves);
            event_times.push(said.map_or_else(|| fallback(at), |(time, _)| time));
            let said = said.map(|(_, candidate)| candidate);
            json.clear();
            self.write_attributes(plan, record, leaves, said, kept.get(&at), &mut json);
            attributes.append_option(Some(&json).filter(|json| !json.is_empty()));
        }
        Built { event_times, columns, attributes: Arc::new(attributes.finish()) }
    }

    fn write_attributes(
        &self,
        plan: &Plan,
        record: &str,
        leaves: &[Leaf],
        said: Option<usize>,
        kept: Option<&Vec<usize>>,
        json: &mut String,
    ) {
        match plan.shape.body {
            Body::Empty => return,
            Body::Wide => return json.push_str(record),
            Body::Text if plan.unmapped.is_empty() => return,
            Body::Text => return json.push_str(&serde_json::Value::from(record).to_string()),
            Body::Object | Body::Value => {}
        }
        let said = said.filter(|said| {
            let candidate = plan.event_time[*said];
            candidate.how == How::Whole && is_lossless(&leaves[candidate.leaf], record)
        });
        let template = said.map_or(&plan.attributes, |said| &plan.attributes_without_time[said]);
        match kept {
            None => template.write(record, leaves, json),
            Some(kept) => {
                let mut keep = vec![false; leaves.len()];
                template.leaves().chain(kept.iter().copied()).for_each(|leaf| keep[leaf] = true);
                super::Template::new(&plan.shape, |leaf| keep[leaf]).write(record, leaves, json);
            }
        }
    }

    fn column(&self, column: usize, field: &Field, kept: &mut Kept) -> ArrayRef {
        let rows = self.rows.len();
        if self.plans.iter().all(|plan| plan.filled[column].is_none()) {
            return new_null_array(field.data_type(), rows);
        }
        match field.data_type() {
            DataType::Utf8 => self.texts(column),
            DataType::Int64 => {
                let mut builder = Int64Builder::with_capacity(rows);
                self.values(column, kept, integer, |value| builder.append_option(value));
                Arc::new(builder.finish())
            }
            DataType::Int32 => {
                let mut builder = Int32Builder::with_capacity(rows);
                let small =
                    |cell: Cell<'_>| integer(cell).and_then(|(value, exact)| Some((i32::try_from(value).ok()?, exact)));
                self.values(column, kept, small, |value| builder.append_option(value));
                Arc::new(builder.finish())
            }
            DataType::Float64 => {
                let mut builder = Float64Builder::with_capacity(rows);
                self.values(column, kept, number, |value| builder.append_option(value));
                Arc::new(builder.finish())
            }
            DataType::Float32 => {
                let mut builder = Float32Builder::with_capacity(rows);
                let small = |cell: Cell<'_>| {
                    let value = number(cell)?.0 as f32;
                    value.is_finite().then_some((value, false))
                };
                self.values(column, kept, small, |value| builder.append_option(value));
                Arc::new(builder.finish())
            }
            DataType::Boolean => {
                let mut builder = BooleanBuilder::with_capacity(rows);
                self.values(column, kept, boolean, |value| builder.append_option(value));
                Arc::new(builder.finish())
            }
            DataType::Date32 => {
                let mut builder = Date32Builder::with_capacity(rows);
                self.values(column, kept, day, |value| builder.append_option(value));
                Arc::new(builder.finish())
            }
            DataType::Decimal128(precision, scale) => {
                let (precision, scale) = (*precision, *scale);
                let mut builder = Decimal128Builder::with_capacity(rows).with_data_type(field.data_type().clone());
                let exact = |cell: Cell<'_>| Some((decimal(cell.raw(), precision, scale)?, true));
                self.values(column, kept, exact, |value| builder.append_option(value));
                Arc::new(builder.finish())
            }
            kind if *kind == timestamp_type() => {
                let mut builder = TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(timestamp_type());
                self.values(column, kept, time, |value| builder.append_option(value));
                Arc::new(builder.finish())
            }
            _ => {
                self.values::<()>(column, kept, |_| None, |_| {});
                new_null_array(field.data_type(), rows)
            }
        }
    }

    /// Every row's value by `read`, which also says whether it is exact; what is not, or cannot be read, is kept.
    fn values<T>(
        &self,
        column: usize,
        kept: &mut Kept,
        read: impl Fn(Cell<'_>) -> Option<(T, bool)>,
        mut append: impl FnMut(Option<T>),
    ) {
        for at in 0..self.rows.len() {
            let Some(Source::Leaf { leaf, factor }) =
                self.plan(at).filled[column].as_ref().map(|filled| &filled.source)
            else {
                append(None);
                continue;
            };
            let (record, leaves) = self.record(at);
            let value = read(Cell { record, leaf: leaves[*leaf], factor: *factor });
            if value.as_ref().is_none_or(|(_, exact)| !exact) {
                kept.entry(at).or_default().push(*leaf);
            }
            append(value.map(|(value, _)| value));
        }
    }

    fn texts(&self, column: usize) -> ArrayRef {
        let mut builder = StringBuilder::with_capacity(self.rows.len(), self.rows.len() * 16);
        let mut text = String::new();
        for at in 0..self.rows.len() {
            let (record, leaves) = self.record(at);
            match self.plan(at).filled[column].as_ref().map(|filled| &filled.source) {
                None => builder.append_null(),
                Some(Source::Object(template)) => {
                    text.clear();
                    template.write(record, leaves, &mut text);
                    builder.append_value(&text);
                }
                Some(Source::Leaf { leaf, .. }) => match leaves[*leaf].kind {
                    LeafKind::EscapedText => {
                        text.clear();
                        unescape_into(leaves[*leaf].raw(record), &mut text);
                        builder.append_value(&text);
                    }
                    LeafKind::Null => builder.append_null(),
                    _ => builder.append_value(leaves[*leaf].raw(record)),
                },
            }
        }
        Arc::new(builder.finish())
    }
}

/// One value on its way into a column.
#[derive(Clone, Copy)]
struct Cell<'a> {
    record: &'a str,
    leaf: Leaf,
    factor: Option<f64>,
}

impl<'a> Cell<'a> {
    fn raw(&self) -> &'a str {
        self.leaf.raw(self.record)
    }
}

fn integer(cell: Cell<'_>) -> Option<(i64, bool)> {
    match cell.leaf.kind {
        LeafKind::Integer => Some((cell.raw().parse().ok()?, true)),
        // `1.0` and `1e3`; an i64 has at most 19 digits.
        LeafKind::Float => Some((i64::try_from(decimal(cell.raw(), 19, 0)?).ok()?, true)),
        _ => None,
    }
}

/// Exact if an f64 holds all digits; none if it is too large for one.
fn number(cell: Cell<'_>) -> Option<(f64, bool)> {
    if !matches!(cell.leaf.kind, LeafKind::Integer | LeafKind::Float) {
        return None;
    }
    let written: f64 = cell.raw().parse().ok()?;
    let number = written * cell.factor.unwrap_or(1.0);
    number.is_finite().then(|| (number, cell.factor.is_none() && holds_all_digits(written, cell.raw())))
}

/// Whether nothing was lost when `raw` became `number`: 15 digits always fit, unless the number is too near to 0.
fn holds_all_digits(number: f64, raw: &str) -> bool {
    let digits = || {
        let mantissa = raw.find(['e', 'E']).map_or(raw, |exponent| &raw[..exponent]);
        mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').count()
    };
    if number.is_normal() { raw.len() <= 15 || digits() <= 15 } else { digits() == 0 }
}

fn boolean(cell: Cell<'_>) -> Option<(bool, bool)> {
    match cell.leaf.kind {
        LeafKind::True => Some((true, true)),
        LeafKind::False => Some((false, true)),
        _ => None,
    }
}

fn time(cell: Cell<'_>) -> Option<(EventTime, bool)> {
    Some((leaf_time(&cell.leaf, cell.record)?, is_lossless(&cell.leaf, cell.record)))
}

/// Exact if nothing but the day was written; a number is a moment within it.
fn day(cell: Cell<'_>) -> Option<(i32, bool)> {
    let (time, lossless) = time(cell)?;
    let day = i32::try_from(time.div_euclid(MICROS_PER_DAY)).ok()?;
    Some((day, lossless && cell.leaf.kind == LeafKind::Text && cell.raw().len() == 10))
}
