//! One declared column while it is built: values are appended one by one, and the last can be taken back.

use super::Found;
use crate::SchemaError;
use crate::format::scan::{ScanError, Value, unescape, unescape_into};
use crate::format::timestamp;
use crate::table::timestamp_type;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field};
use base64::Engine;
use std::borrow::Cow;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub(super) struct Column {
    name: Box<str>,
    nullable: bool,
    valid: Vec<bool>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Text(Vec<i32>, String),
    Binary(Vec<i32>, Vec<u8>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Boolean(Vec<bool>),
    Timestamp(Vec<i64>),
    Date(Vec<i32>),
    Decimal(Vec<i128>, u8, i8),
}

/// Why a value does not fit: what the column takes.
type Wanted = Cow<'static, str>;

impl Column {
    pub(super) fn new(field: &Field) -> Result<Self, SchemaError> {
        let values = match field.data_type() {
            DataType::Utf8 => Values::Text(vec![0], String::new()),
            DataType::Binary => Values::Binary(vec![0], vec![]),
            DataType::Int32 => Values::Int32(vec![]),
            DataType::Int64 => Values::Int64(vec![]),
            DataType::Float32 => Values::Float32(vec![]),
            DataType::Float64 => Values::Float64(vec![]),
            DataType::Boolean => Values::Boolean(vec![]),
            DataType::Date32 => Values::Date(vec![]),
            DataType::Decimal128(precision, scale) => Values::Decimal(vec![], *precision, *scale),
            kind if *kind == timestamp_type() => Values::Timestamp(vec![]),
            other => {
                return Err(SchemaError::ColumnType {
                    column: field.name().clone(),
                    wanted: "text, a number, boolean, timestamp (µs, UTC), date, decimal or binary".to_owned(),
                    found: other.to_string(),
                });
            }
        };
        Ok(Self { name: field.name().as_str().into(), nullable: field.is_nullable(), valid: vec![], values })
    }

    pub(super) fn reserve(&mut self, rows: usize) {
        self.valid.reserve(rows);
        match &mut self.values {
            Values::Text(offsets, _) | Values::Binary(offsets, _) => offsets.reserve(rows),
            Values::Int32(values) | Values::Date(values) => values.reserve(rows),
            Values::Int64(values) | Values::Timestamp(values) => values.reserve(rows),
            Values::Float32(values) => values.reserve(rows),
            Values::Float64(values) => values.reserve(rows),
            Values::Boolean(values) => values.reserve(rows),
            Values::Decimal(values, ..) => values.reserve(rows),
        }
    }

    /// Takes back what lies behind the first `rows` rows.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.valid.truncate(rows);
        match &mut self.values {
            Values::Text(offsets, bytes) => {
                offsets.truncate(rows + 1);
                bytes.truncate(offsets[rows] as usize);
            }
            Values::Binary(offsets, bytes) => {
                offsets.truncate(rows + 1);
                bytes.truncate(offsets[rows] as usize);
            }
            Values::Int32(values) | Values::Date(values) => values.truncate(rows),
            Values::Int64(values) | Values::Timestamp(values) => values.truncate(rows),
            Values::Float32(values) => values.truncate(rows),
            Values::Float64(values) => values.truncate(rows),
            Values::Boolean(values) => values.truncate(rows),
            Values::Decimal(values, ..) => values.truncate(rows),
        }
    }

    /// Appends what was found in `text`, or null.
    pub(super) fn append(&mut self, text: &str, found: Option<Found>) -> Result<(), ScanError> {
        match found {
            None if self.nullable => self.append_null(),
            None => return Err(ScanError::new(0, format!("{:?} is missing", self.name))),
            Some(Found { value: Value::Null, start, .. }) => {
                if !self.nullable {
                    return Err(ScanError::new(start, format!("{:?} should not be null", self.name)));
                }
                self.append_null();
            }
            Some(found) => {
                self.values.append(&text[found.start..found.end], found.value).map_err(|wanted| {
                    let start = found.start - usize::from(matches!(found.value, Value::Text { .. }));
                    ScanError::new(start, format!("{:?} should be {wanted}, found {}", self.name, excerpt(text, found)))
                })?;
                self.valid.push(true);
            }
        }
        Ok(())
    }

    fn append_null(&mut self) {
        self.valid.push(false);
        match &mut self.values {
            Values::Text(offsets, _) | Values::Binary(offsets, _) => offsets.push(offsets[offsets.len() - 1]),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Timestamp(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Boolean(values) => values.push(false),
            Values::Decimal(values, ..) => values.push(0),
        }
    }

    /// The array of what was appended; the column is empty afterwards.
    pub(super) fn finish(&mut self) -> ArrayRef {
        let nulls = Some(NullBuffer::from(std::mem::take(&mut self.valid))).filter(|nulls| nulls.null_count() > 0);
        fn all<T>(values: &mut Vec<T>) -> ScalarBuffer<T>
        where
            T: arrow::datatypes::ArrowNativeType,
        {
            ScalarBuffer::from(std::mem::take(values))
        }
        fn ends(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
            OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])))
        }
        match &mut self.values {
            Values::Text(offsets, text) => {
                let text = std::mem::take(text).into_bytes();
                Arc::new(StringArray::new(ends(offsets), text.into(), nulls))
            }
            Values::Binary(offsets, bytes) => {
                Arc::new(BinaryArray::new(ends(offsets), std::mem::take(bytes).into(), nulls))
            }
            Values::Int32(values) => Arc::new(Int32Array::new(all(values), nulls)),
            Values::Int64(values) => Arc::new(Int64Array::new(all(values), nulls)),
            Values::Float32(values) => Arc::new(Float32Array::new(all(values), nulls)),
            Values::Float64(values) => Arc::new(Float64Array::new(all(values), nulls)),
            Values::Boolean(values) => Arc::new(BooleanArray::new(std::mem::take(values).into(), nulls)),
            Values::Date(values) => Arc::new(Date32Array::new(all(values), nulls)),
            Values::Timestamp(values) => {
                Arc::new(TimestampMicrosecondArray::new(all(values), nulls).with_timezone("UTC"))
            }
            Values::Decimal(values, precision, scale) => Arc::new(
                Decimal128Array::new(all(values), nulls).with_data_type(DataType::Decimal128(*precision, *scale)),
            ),
        }
    }
}

impl Values {
    /// Appends one value that is not null. `raw` is as it is written, between the quotes of a text.
    #[inline]
    fn append(&mut self, raw: &str, value: Value) -> Result<(), Wanted> {
        let number = matches!(value, Value::Integer | Value::Float);
        match self {
            Values::Text(offsets, text) => {
                match value {
                    Value::Text { escaped: false } => text.push_str(raw),
                    Value::Text { escaped: true } => unescape_into(raw, text),
                    _ => return Err("text".into()),
                }
                offsets.push(text.len() as i32);
            }
            Values::Int64(values) => values.push(integer(raw, value).ok_or("an integer of 64 bits")?),
            Values::Int32(values) => {
                let number = integer(raw, value).and_then(|number| i32::try_from(number).ok());
                values.push(number.ok_or("an integer of 32 bits")?);
            }
            Values::Float64(values) => values.push(raw.parse().ok().filter(|_| number).ok_or("a number")?),
            Values::Float32(values) => {
                let small = raw.parse::<f32>().ok().filter(|parsed| number && parsed.is_finite());
                values.push(small.ok_or("a number of 32 bits")?);
            }
            Values::Boolean(values) => match value {
                Value::Bool(value) => values.push(value),
                _ => return Err("true or false".into()),
            },
            Values::Timestamp(values) => {
                let time = match value {
                    Value::Text { .. } => timestamp::from_text(&unescape(raw)),
                    _ if number => timestamp::from_number_text(raw),
                    _ => None,
                };
                values.push(time.ok_or("a time")?);
            }
            Values::Date(values) => {
                let days = Some(raw).filter(|_| matches!(value, Value::Text { .. })).and_then(date);
                values.push(days.ok_or("a date like 2026-11-21")?);
            }
            Values::Decimal(values, precision, scale) => {
                let texts = number || matches!(value, Value::Text { escaped: false });
                let decimal = Some(raw).filter(|_| texts).and_then(|raw| decimal(raw, *precision, *scale));
                values.push(
                    decimal
                        .ok_or_else(|| format!("a number of {precision} digits, {scale} of them after the point"))?,
                );
            }
            Values::Binary(offsets, bytes) => {
                let engine = &base64::engine::general_purpose::STANDARD;
                let text = Some(raw).filter(|_| matches!(value, Value::Text { .. }));
                let decoded = text.and_then(|raw| engine.decode(unescape(raw).as_ref()).ok());
                bytes.extend(decoded.ok_or("base64 text")?);
                offsets.push(bytes.len() as i32);
            }
        }
        Ok(())
    }
}

fn integer(raw: &str, value: Value) -> Option<i64> {
    match value {
        Value::Integer => raw.parse().ok(),
        // 2^53 and beyond, a float no longer tells neighbours apart.
        Value::Float => {
            let number: f64 = raw.parse().ok()?;
            (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
        }
        _ => None,
    }
}

fn date(raw: &str) -> Option<i32> {
    if raw.len() != 10 || raw.as_bytes()[4] != b'-' {
        return None;
    }
    i32::try_from(timestamp::from_text(raw)? / crate::time::MICROS_PER_DAY).ok()
}

/// A number as it is written, times ten to the `scale`, if no digit other than 0 is lost and it has at most
/// `precision`.
pub fn decimal(raw: &str, precision: u8, scale: i8) -> Option<i128> {
    let (mantissa, exponent) = match raw.find(['e', 'E']) {
        Some(at) => (&raw[..at], raw[at + 1..].parse::<i32>().ok()?),
        None => (raw, 0),
    };
    let (negative, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut number: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        number = number.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let mut shift = exponent.checked_sub(fraction.len() as i32)?.checked_add(i32::from(scale))?;
    while number != 0 && shift != 0 {
        if shift > 0 {
            number = number.checked_mul(10)?;
            shift -= 1;
        } else if number % 10 == 0 {
            number /= 10;
            shift += 1;
        } else {
            return None;
        }
    }
    let fits = number < 10i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX);
    fits.then_some(if negative { -number } else { number })
}

/// The value as it is written, cut short.
fn excerpt(text: &str, found: Found) -> String {
    let quotes = usize::from(matches!(found.value, Value::Text { .. }));
    let whole = &text[found.start - quotes..found.end + quotes];
    match whole.char_indices().nth(60) {
        Some((cut, _)) => format!("{}...", &whole[..cut]),
        None => whole.to_owned(),
    }
}
