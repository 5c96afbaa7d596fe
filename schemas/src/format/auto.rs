//! Reading records whose source declares no columns: JSON objects, JSON values, or plain text, told apart by looking.
//!
//! - First byte after blanks is `{`: exactly one JSON object, or the record is rejected. One with very many fields or
//!   long names, or that is a map from ids, is not taken apart.
//! - Anything else that is JSON as a whole: one value.
//! - The rest, if it is UTF-8: text. Many log lines begin with `[`.
//! - Empty and null payloads are rows too, without text. Invalid UTF-8 is rejected.
//!
//! One pass over each record leaves its shape and, beside it, the place of every leaf; mapping needs no second parse.

use super::Rejected;
use super::scan::{ScanError, Scanner, Value};
use super::shape::{FieldKind, Shape, ShapeTable, mark};
use ahash::AHashMap;
use arrow::array::{Array, BinaryArray, RecordBatch, RecordBatchOptions, StringArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use std::sync::Arc;

/// The JSON type of one leaf of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafKind {
    /// `null`
    Null,
    /// `false`
    False,
    /// `true`
    True,
    /// A number without fraction or exponent, of any length.
    Integer,
    /// A number with fraction or exponent.
    Float,
    /// A text without escapes; the range is between the quotes. Also a whole record of plain text, which has none.
    Text,
    /// A text with escapes, as it is written; the range is between the quotes.
    EscapedText,
    /// An array.
    Array,
    /// An object that is kept whole.
    Map,
}

/// Where one leaf stands in the text of its record, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
    /// What it is.
    pub kind: LeafKind,
}

impl Leaf {
    fn new(kind: LeafKind, start: usize, end: usize) -> Self {
        let at = |at: usize| u32::try_from(at).expect("an Arrow array of bytes ends below 2 GiB");
        Self { start: at(start), end: at(end), kind }
    }

    /// The leaf's part of `record`, as it is written; without the quotes of a text.
    pub fn raw<'a>(&self, record: &'a str) -> &'a str {
        &record[self.start as usize..self.end as usize]
    }
}

/// Records that were accepted, in order. Immutable, and cheap to share.
#[derive(Debug)]
pub struct Parsed {
    payload: StringArray,
    accepted: UInt32Array,
    shapes: Vec<Arc<Shape>>,
    shape_of_row: Vec<u32>,
    leaves: Vec<Leaf>,
    leaf_ends: Vec<u32>,
}

impl Parsed {
    /// How many records were accepted.
    pub fn len(&self) -> usize {
        self.shape_of_row.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The records as text; null where the payload was null or empty.
    pub fn payload(&self) -> &StringArray {
        &self.payload
    }

    /// Which rows of the input were accepted.
    pub fn accepted(&self) -> &UInt32Array {
        &self.accepted
    }

    /// The shapes that occur, each once, in the order of their first record.
    pub fn shapes(&self) -> &[Arc<Shape>] {
        &self.shapes
    }

    /// The place of row `row`'s shape in [`Self::shapes`].
    pub fn shape_index(&self, row: usize) -> usize {
        self.shape_of_row[row] as usize
    }

    /// The shape of row `row`.
    pub fn shape(&self, row: usize) -> &Arc<Shape> {
        &self.shapes[self.shape_index(row)]
    }

    /// The text of row `row`; empty for an empty record.
    pub fn text(&self, row: usize) -> &str {
        if self.payload.is_null(row) { "" } else { self.payload.value(row) }
    }

    /// The leaves of row `row`, one for each field of its shape, in the same order.
    pub fn leaves(&self, row: usize) -> &[Leaf] {
        let start = if row == 0 { 0 } else { self.leaf_ends[row - 1] };
        &self.leaves[start as usize..self.leaf_ends[row] as usize]
    }

    /// Typed rows as records: columns become fields. For a source with declared columns that goes to `domains`.
    ///
    /// # Errors
    /// If a column has a type that JSON cannot say.
    pub fn from_batch(batch: &RecordBatch, shapes: &ShapeTable) -> Result<Self, ArrowError> {
        let mut writer = arrow_json::LineDelimitedWriter::new(Vec::new());
        writer.write(&with_numeric_zone(batch)?)?;
        writer.finish()?;
        let lines = writer.into_inner();
        let payloads = BinaryArray::from_iter_values(lines.split(|byte| *byte == b'\n').take(batch.num_rows()));
        let (parsed, rejected) = parse(&payloads, shapes);
        match rejected.first() {
            None if parsed.len() == batch.num_rows() => Ok(parsed),
            first => Err(ArrowError::JsonError(format!(
                "{} rows became {} records: {}",
                batch.num_rows(),
                parsed.len(),
                first.map_or("", |rejected| &rejected.error)
            ))),
        }
    }
}

/// The same rows with the zone `UTC` called `+00:00`, which needs no table of zones to print.
fn with_numeric_zone(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let column = match column.data_type() {
            DataType::Timestamp(unit, Some(zone)) if zone.as_ref() == "UTC" => {
                cast(column, &DataType::Timestamp(*unit, Some("+00:00".into())))?
            }
            _ => column.clone(),
        };
        Ok((Field::new(field.name(), column.data_type().clone(), field.is_nullable()), column))
    });
    let (fields, columns): (Vec<_>, Vec<_>) = columns.collect::<Result<Vec<_>, ArrowError>>()?.into_iter().unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

/// Reads every payload; what cannot be used comes back as [`Rejected`], with its row in `payloads`. The accepted rows
/// and the rejected ones add up to all.
pub fn parse(payloads: &BinaryArray, shapes: &ShapeTable) -> (Parsed, Vec<Rejected>) {
    let mut tape = Tape::default();
    let mut known = Known { table: shapes, shapes: vec![], by_signature: AHashMap::new(), last: 0 };
    let mut rejected = vec![];
    let mut accepted = Vec::with_capacity(payloads.len());
    let mut shape_of_row = Vec::with_capacity(payloads.len());
    let mut leaf_ends = Vec::with_capacity(payloads.len());
    for row in 0..payloads.len() {
        let bytes = if payloads.is_null(row) { &[] } else { payloads.value(row) };
        let before = tape.leaves.len();
        match read(bytes, &mut tape) {
            Ok(()) => {
                accepted.push(row as u32);
                shape_of_row.push(known.index(&tape.signature));
                leaf_ends.push(tape.leaves.len() as u32);
            }
            Err(error) => {
                tape.leaves.truncate(before);
                rejected.push(Rejected { row, error });
            }
        }
    }
    let accepted = UInt32Array::from(accepted);
    let payload = texts(payloads, &accepted);
    (Parsed { payload, accepted, shapes: known.shapes, shape_of_row, leaves: tape.leaves, leaf_ends }, rejected)
}

/// The accepted payloads as text, null where empty. Nothing is copied when all were accepted.
fn texts(payloads: &BinaryArray, accepted: &UInt32Array) -> StringArray {
    let chosen = if accepted.len() == payloads.len() {
        payloads.clone()
    } else {
        let chosen = take(payloads, accepted, None).expect("accepted rows lie inside the array");
        chosen.as_any().downcast_ref::<BinaryArray>().expect("take keeps the type").clone()
    };
    let (offsets, values, nulls) = chosen.into_parts();
    let empty = offsets.lengths().any(|length| length == 0);
    let nulls = if empty {
        let filled = NullBuffer::from_iter(offsets.lengths().map(|length| length > 0));
        NullBuffer::union(nulls.as_ref(), Some(&filled))
    } else {
        nulls
    };
    StringArray::try_new(offsets.clone(), values.clone(), nulls.clone()).unwrap_or_else(|_| {
        // Bytes outside the rows (behind nulls, before a slice) need not be UTF-8; the rows themselves were checked.
        let rows = BinaryArray::new(offsets, values, nulls);
        rows.iter().map(|bytes| bytes.and_then(|bytes| std::str::from_utf8(bytes).ok())).collect()
    })
}

/// The shapes of one call: the shared table is asked once for each.
struct Known<'a> {
    table: &'a ShapeTable,
    shapes: Vec<Arc<Shape>>,
    by_signature: AHashMap<Box<[u8]>, u32>,
    last: u32,
}

impl Known<'_> {
    fn index(&mut self, signature: &[u8]) -> u32 {
        if self.shapes.get(self.last as usize).is_some_and(|shape| shape.signature() == signature) {
            return self.last;
        }
        self.last = match self.by_signature.get(signature) {
            Some(index) => *index,
            None => {
                self.shapes.push(self.table.intern(signature));
                let index = (self.shapes.len() - 1) as u32;
                self.by_signature.insert(signature.into(), index);
                index
            }
        };
        self.last
    }
}

/// More fields than this, and an object is not taken apart.
const MOST_FIELDS: usize = 1_024;
/// A longer signature, and the object is not taken apart either: every field repeats the names above it.
const LONGEST_SIGNATURE_BYTES: usize = 128 * 1024;
/// More fields than this below an inner object, and it is kept whole.
const MOST_INNER_FIELDS: usize = 256;
/// Numbers that are longer than this are ids; shorter ones are also years, days, codes and columns without a name.
const LONGEST_CODE_BYTES: usize = 8;
/// Names of an array's first element that take part in the shape.
const MOST_ELEMENT_NAMES: usize = 32;

/// What scanning writes: the leaves of all records, and the signature of the current one.
#[derive(Default)]
struct Tape {
    leaves: Vec<Leaf>,
    signature: Vec<u8>,
}

fn read(bytes: &[u8], tape: &mut Tape) -> Result<(), String> {
    tape.signature.clear();
    let text = std::str::from_utf8(bytes)
        .map_err(|error| format!("byte {}: the payload is not UTF-8", error.valid_up_to() + 1))?;
    let mut scanner = Scanner::new(text);
    let before = tape.leaves.len();
    match scanner.peek() {
        _ if text.is_empty() => tape.signature.push(mark::EMPTY),
        b'{' => {
            let names = tape.record(&mut scanner, bytes).map_err(|error| error.message(text))?;
            let much = tape.leaves.len() - before > MOST_FIELDS || tape.signature.len() > LONGEST_SIGNATURE_BYTES;
            if much || names.are_ids() {
                tape.leaves.truncate(before);
                tape.signature.clear();
                tape.signature.push(mark::WIDE);
            }
        }
        b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'
            if tape.value(&mut scanner, bytes).is_ok() && scanner.at_end() => {}
        _ => {
            tape.leaves.truncate(before);
            tape.signature.clear();
            tape.signature.push(mark::TEXT);
            tape.leaves.push(Leaf::new(LeafKind::Text, 0, text.len()));
        }
    }
    Ok(())
}

/// The names of one object, counted.
#[derive(Default)]
struct Names {
    all: usize,
    /// Those that look like values.
    data: usize,
    /// Those that can be nothing but ids.
    ids: usize,
}

impl Names {
    fn count(&mut self, name: &[u8]) {
        self.all += 1;
        if looks_like_data(name) {
            let code = name.len() <= LONGEST_CODE_BYTES && name.iter().all(u8::is_ascii_digit);
            self.data += 1;
            self.ids += usize::from(!code);
        }
    }

    /// Whether a record with these names is a map from ids, which would be a new shape every time. Kept whole it loses
    /// its domain, its columns and its event time, so this asks for more than of an inner object, which loses a little:
    /// one thing under its id still says what it is and when, and so do the names among which an id or two occur. Only
    /// where ids are most of the names, and several, there are many things, which are of no one domain or time.
    fn are_ids(&self) -> bool {
        self.ids > 1 && self.ids * 2 > self.all
    }
}

impl Tape {
    /// Exactly one object. Returns its own names.
    fn record(&mut self, scanner: &mut Scanner<'_>, bytes: &[u8]) -> Result<Names, ScanError> {
        self.signature.push(mark::OBJECT);
        let names = self.object(scanner, bytes, 1)?;
        if scanner.at_end() {
            return Ok(names);
        }
        Err(scanner.error("one JSON object is a record, but more follows it"))
    }

    /// One value that is no object.
    fn value(&mut self, scanner: &mut Scanner<'_>, bytes: &[u8]) -> Result<(), ScanError> {
        self.signature.push(mark::VALUE);
        let (value, start, end) = scanner.value()?;
        self.leaf(value, start, end, scanner, bytes, 0)
    }

    /// The fields of an object at `depth`, from 1. Returns its own names.
    fn object(&mut self, scanner: &mut Scanner<'_>, bytes: &[u8], depth: usize) -> Result<Names, ScanError> {
        scanner.enter(depth)?;
        let mut names = Names::default();
        if scanner.peek() == b'}' {
            scanner.at += 1;
            return Ok(names);
        }
        loop {
            let (start, end, _) = scanner.key()?;
            names.count(&bytes[start..end]);
            self.name(&bytes[start..end]);
            let (value, start, end) = scanner.value()?;
            self.leaf(value, start, end, scanner, bytes, depth)?;
            if !scanner.more(b'}', "a comma or } should follow a value")? {
                return Ok(names);
            }
        }
    }

    fn name(&mut self, raw: &[u8]) {
        self.signature.push(mark::NAME);
        self.signature.extend_from_slice(raw);
        self.signature.push(b'"');
    }

    /// One value inside `depth` levels, whose scalar has been taken already.
    #[inline]
    fn leaf(
        &mut self,
        value: Value,
        start: usize,
        end: usize,
        scanner: &mut Scanner<'_>,
        bytes: &[u8],
        depth: usize,
    ) -> Result<(), ScanError> {
        let (field, kind) = match value {
            Value::Text { escaped: false } => (FieldKind::Text, LeafKind::Text),
            Value::Text { escaped: true } => (FieldKind::Text, LeafKind::EscapedText),
            Value::Integer => (FieldKind::Number, LeafKind::Integer),
            Value::Float => (FieldKind::Number, LeafKind::Float),
            Value::Null => (FieldKind::Null, LeafKind::Null),
            Value::Bool(false) => (FieldKind::Bool, LeafKind::False),
            Value::Bool(true) => (FieldKind::Bool, LeafKind::True),
            Value::Array => {
                self.signature.push(FieldKind::Array.letter());
                self.array(scanner, bytes, depth + 1)?;
                self.leaves.push(Leaf::new(LeafKind::Array, start, scanner.at));
                return Ok(());
            }
            Value::Object => {
                let (letter, first_leaf) = (self.signature.len(), self.leaves.len());
                self.signature.push(mark::OBJECT);
                let names = self.object(scanner, bytes, depth + 1)?;
                if names.all == 0 || names.data > 0 || self.leaves.len() - first_leaf > MOST_INNER_FIELDS {
                    self.signature.truncate(letter);
                    self.signature.push(FieldKind::Map.letter());
                    self.leaves.truncate(first_leaf);
                    self.leaves.push(Leaf::new(LeafKind::Map, start, scanner.at));
                } else {
                    self.signature.push(mark::CLOSE);
                }
                return Ok(());
            }
        };
        self.signature.push(field.letter());
        self.leaves.push(Leaf::new(kind, start, end));
        Ok(())
    }

    /// An array at `depth`: the names of its first element, if that is an object, go into the signature.
    fn array(&mut self, scanner: &mut Scanner<'_>, bytes: &[u8], depth: usize) -> Result<(), ScanError> {
        scanner.enter(depth)?;
        match scanner.peek() {
            b']' => {
                scanner.at += 1;
                return Ok(());
            }
            b'{' => self.first_element(scanner, bytes, depth + 1)?,
            _ => drop(scanner.skip(depth)?),
        }
        while scanner.more(b']', "a comma or ] should follow a value")? {
            scanner.skip(depth)?;
        }
        Ok(())
    }

    fn first_element(&mut self, scanner: &mut Scanner<'_>, bytes: &[u8], depth: usize) -> Result<(), ScanError> {
        scanner.enter(depth)?;
        self.signature.push(mark::ELEMENT);
        if scanner.peek() == b'}' {
            scanner.at += 1;
        } else {
            let mut names = 0;
            loop {
                let (start, end, _) = scanner.key()?;
                if names < MOST_ELEMENT_NAMES && !looks_like_data(&bytes[start..end]) {
                    self.name(&bytes[start..end]);
                    names += 1;
                }
                scanner.skip(depth)?;
                if !scanner.more(b'}', "a comma or } should follow a value")? {
                    break;
                }
            }
        }
        self.signature.push(mark::ELEMENT_END);
        Ok(())
    }
}

/// Whether a name is rather a value: a number, a UUID or other long hexadecimal, an address.
fn looks_like_data(name: &[u8]) -> bool {
    let Some(first) = name.first() else { return false };
    if name.len() < 16 {
        return first.is_ascii_digit() && name.iter().all(u8::is_ascii_digit)
            || name[1..].contains(&b'@') && name.contains(&b'.');
    }
    let hexadecimal = name.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    hexadecimal && name.iter().any(u8::is_ascii_digit) || name[1..].contains(&b'@') && name.contains(&b'.')
}

#[cfg(test)]
#[path = "auto/tests.rs"]
mod tests;
