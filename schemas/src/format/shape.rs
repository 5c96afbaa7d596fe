//! The shape of a record: which fields it has, to any depth, and of which JSON type. What a producer's code writes has
//! few shapes, so whatever depends only on names and types is decided once a shape.
//!
//! A shape *is* its signature, a byte string that the scanner writes as it goes: for every field a dot, its name, a
//! quote, and a letter for its type. Equal signatures are one [`Shape`], shared through a [`ShapeTable`]. The
//! fingerprint is the signature's hash, the same in every run and on every machine, so that it may stand in a file.

use super::scan::unescape;
use ahash::{AHashMap, AHashSet};
use std::sync::{Arc, RwLock};
use xxhash_rust::xxh3::xxh3_64;

/// What a record as a whole is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// No payload, or an empty one: no leaves.
    Empty,
    /// Text that is not JSON: one leaf, the whole.
    Text,
    /// One JSON value that is no object: one leaf.
    Value,
    /// One JSON object: a leaf for every field that is not itself an object.
    Object,
    /// One JSON object that is kept whole, because it has too many fields or too long names, or is a map
    /// from ids: no leaves.
    Wide,
}

/// The JSON type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A text.
    Text,
    /// An array, kept whole.
    Array,
    /// An object that is kept whole: an empty one, or one whose keys look like data (ids, or hundreds of them).
    Map,
}

impl FieldKind {
    pub(super) fn letter(self) -> u8 {
        match self {
            FieldKind::Null => b'n',
            FieldKind::Bool => b'b',
            FieldKind::Number => b'#',
            FieldKind::Text => b's',
            FieldKind::Array => b'[',
            FieldKind::Map => b'm',
        }
    }

    fn of_letter(letter: u8) -> Self {
        match letter {
            b'b' => FieldKind::Bool,
            b'#' => FieldKind::Number,
            b's' => FieldKind::Text,
            b'[' => FieldKind::Array,
            b'm' => FieldKind::Map,
            _ => FieldKind::Null,
        }
    }
}

/// One leaf of a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeField {
    /// The names from the root to here, joined by dots.
    pub path: String,
    /// The names from the root to here as they are written between quotes, escapes and all.
    pub raw_names: Vec<Arc<str>>,
    /// The last name.
    pub name: String,
    /// Its type.
    pub kind: FieldKind,
    /// Whether a later field has the same path: JSON allows it, and the last one counts.
    pub shadowed: bool,
}

/// The fields of a record and their types; see the module.
#[derive(Debug, PartialEq, Eq)]
pub struct Shape {
    /// The signature's hash, stable for ever.
    pub fingerprint: u64,
    /// What the record as a whole is.
    pub body: Body,
    /// The leaves, in the order of the record.
    pub fields: Vec<ShapeField>,
    /// Names found in the first elements of arrays, as `items.price`: for telling what a record is about, not for
    /// mapping.
    pub element_names: Vec<String>,
    signature: Box<[u8]>,
}

/// Marks of the signature's first byte.
pub(super) mod mark {
    pub(in crate::format) const EMPTY: u8 = b'0';
    pub(in crate::format) const TEXT: u8 = b't';
    pub(in crate::format) const VALUE: u8 = b'=';
    pub(in crate::format) const OBJECT: u8 = b'{';
    pub(in crate::format) const CLOSE: u8 = b'}';
    pub(in crate::format) const WIDE: u8 = b'w';
    /// Before every name, so that no name is taken for a mark.
    pub(in crate::format) const NAME: u8 = b'.';
    /// After an array's letter: the names of its first element, up to [`ELEMENT_END`].
    pub(in crate::format) const ELEMENT: u8 = b'(';
    pub(in crate::format) const ELEMENT_END: u8 = b')';
}

impl Shape {
    /// The shape that `signature` describes.
    pub(super) fn from_signature(signature: &[u8]) -> Self {
        let mut shape = Self {
            fingerprint: xxh3_64(signature),
            body: match signature[0] {
                mark::TEXT => Body::Text,
                mark::VALUE => Body::Value,
                mark::OBJECT => Body::Object,
                mark::WIDE => Body::Wide,
                _ => Body::Empty,
            },
            fields: vec![],
            element_names: vec![],
            signature: signature.into(),
        };
        match shape.body {
            Body::Object => shape.read_object(),
            Body::Value => {
                shape.leaf(&[], FieldKind::of_letter(signature[1]));
                shape.read_elements(2, "");
            }
            Body::Text => shape.leaf(&[], FieldKind::Text),
            Body::Empty | Body::Wide => {}
        }
        shape.mark_shadowed();
        shape
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The fingerprint as it is printed and written in files: 16 hexadecimal digits.
    pub fn id(&self) -> String {
        format!("{:016x}", self.fingerprint)
    }

    /// The memory that it takes: rather more than in truth, because names that fields share count at each of them.
    pub fn memory_bytes(&self) -> usize {
        let fields = self.fields.iter().map(|field| {
            let names = field.raw_names.iter().map(|name| piece(2 * size_of::<usize>() + name.len())).sum::<usize>();
            let list = piece(size_of_val(field.raw_names.as_slice()));
            piece(field.path.capacity()) + piece(field.name.capacity()) + list + names
        });
        let element_names = self.element_names.iter().map(|name| piece(name.capacity()));
        piece(size_of::<Self>())
            + piece(self.signature.len())
            + piece(self.fields.capacity() * size_of::<ShapeField>())
            + piece(self.element_names.capacity() * size_of::<String>())
            + fields.sum::<usize>()
            + element_names.sum::<usize>()
    }

    fn read_object(&mut self) {
        let mut at = 1;
        let mut names: Vec<Arc<str>> = vec![];
        while at < self.signature.len() {
            if self.signature[at] == mark::CLOSE {
                names.pop();
                at += 1;
                continue;
            }
            let (name, next) = self.read_name(at + 1);
            names.push(name);
            at = next + 1;
            match self.signature[next] {
                mark::OBJECT => {}
                letter => {
                    self.leaf(&names, FieldKind::of_letter(letter));
                    let path = self.fields.last().map(|field| field.path.clone()).unwrap_or_default();
                    at = self.read_elements(at, &path);
                    names.pop();
                }
            }
        }
    }

    /// The name that begins at `at`, and where its letter stands. A raw name may hold an escaped quote.
    fn read_name(&self, at: usize) -> (Arc<str>, usize) {
        let mut end = at;
        while self.signature[end] != b'"' {
            end += if self.signature[end] == b'\\' { 2 } else { 1 };
        }
        (String::from_utf8_lossy(&self.signature[at..end]).into(), end + 1)
    }

    fn read_elements(&mut self, mut at: usize, path: &str) -> usize {
        if self.signature.get(at) != Some(&mark::ELEMENT) {
            return at;
        }
        at += 1;
        while self.signature[at] != mark::ELEMENT_END {
            let (name, next) = self.read_name(at + 1);
            self.element_names.push(if path.is_empty() {
                unescape(&name).into_owned()
            } else {
                format!("{path}.{}", unescape(&name))
            });
            at = next;
        }
        at + 1
    }

    fn leaf(&mut self, raw_names: &[Arc<str>], kind: FieldKind) {
        let names: Vec<_> = raw_names.iter().map(|name| unescape(name)).collect();
        self.fields.push(ShapeField {
            path: names.join("."),
            raw_names: raw_names.to_vec(),
            name: names.last().map(|name| name.to_string()).unwrap_or_default(),
            kind,
            shadowed: false,
        });
    }

    fn mark_shadowed(&mut self) {
        let mut seen = AHashSet::new();
        let shadowed: Vec<bool> =
            self.fields.iter().rev().map(|field| !seen.insert(field.raw_names.as_slice())).collect();
        for (field, shadowed) in self.fields.iter_mut().rev().zip(shadowed) {
            field.shadowed = shadowed;
        }
    }
}

/// What `bytes` of their own allocation take, with the most that an allocator adds to a small one.
fn piece(bytes: usize) -> usize {
    bytes + 32
}

/// The shapes seen so far, shared by all threads. Bounded in number and in bytes: records whose names are ever new cost
/// the time to make their shapes, and beyond these bounds no memory but that of the batches that are at work.
#[derive(Debug)]
pub struct ShapeTable {
    kept: RwLock<Kept>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Kept {
    by_fingerprint: AHashMap<u64, Arc<Shape>>,
    /// The sum of their [`Shape::memory_bytes`].
    bytes: usize,
}

/// Longer signatures are not kept in the table.
const LONGEST_KEPT_SIGNATURE_BYTES: usize = 16 * 1024;

/// Memory of all shapes of a table. Signatures would be the wrong measure: a field takes ten times its part of the
/// signature, fifty times with a short name, and hundreds of times where it lies a hundred objects deep.
const MOST_KEPT_BYTES: usize = 64 << 20;

impl Default for ShapeTable {
    /// Room for 8,192 shapes.
    fn default() -> Self {
        Self::with_capacity(8_192)
    }
}

impl ShapeTable {
    /// Room for `capacity` shapes that take 64 MiB together; when it is full it forgets all and begins again.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { kept: RwLock::default(), capacity: capacity.max(1) }
    }

    /// The shape of `signature`.
    pub(super) fn intern(&self, signature: &[u8]) -> Arc<Shape> {
        let fingerprint = xxh3_64(signature);
        if let Some(shape) = self.read().by_fingerprint.get(&fingerprint)
            && shape.signature() == signature
        {
            return shape.clone();
        }
        let shape = Arc::new(Shape::from_signature(signature));
        if signature.len() <= LONGEST_KEPT_SIGNATURE_BYTES {
            let mut kept = self.kept.write().unwrap_or_else(|poisoned| poisoned.into_inner());
            kept.insert(&shape, self.capacity);
        }
        shape
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Kept> {
        self.kept.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// How many shapes it holds now.
    pub fn len(&self) -> usize {
        self.read().by_fingerprint.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Kept {
    fn insert(&mut self, shape: &Arc<Shape>, capacity: usize) {
        let bytes = shape.memory_bytes();
        if self.by_fingerprint.len() >= capacity || self.bytes + bytes > MOST_KEPT_BYTES {
            *self = Self::default();
        }
        self.bytes += bytes;
        // Another thread may have been faster, and two signatures may have one fingerprint.
        if let Some(replaced) = self.by_fingerprint.insert(shape.fingerprint, Arc::clone(shape)) {
            self.bytes -= replaced.memory_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An object of numbers, `depth` objects deep; its names begin with `name`.
    fn signature(depth: usize, fields: usize, name: &str) -> Vec<u8> {
        let mut signature = vec![mark::OBJECT];
        signature.extend_from_slice(br#".a"{"#.repeat(depth).as_slice());
        for field in 0..fields {
            signature.extend_from_slice(format!(r##".{name}{field}"#"##).as_bytes());
        }
        signature.extend(std::iter::repeat_n(mark::CLOSE, depth));
        signature
    }

    /// What a shape takes at the very least: its fields and their texts, each once.
    fn least_bytes(shape: &Shape) -> usize {
        let of_field = |field: &ShapeField| {
            let names = size_of_val(field.raw_names.as_slice()) + field.raw_names.last().map_or(0, |name| name.len());
            size_of::<ShapeField>() + field.path.len() + field.name.len() + names
        };
        shape.signature.len() + shape.fields.iter().map(of_field).sum::<usize>()
    }

    #[test]
    fn ever_new_shapes_take_bounded_memory() {
        // Wide ones; and deep ones, whose signatures are short for what they take.
        for (depth, fields, name, records) in [(0, 300, "pressure_of_the_turbine_in_hall_", 2_500), (100, 400, "", 250)]
        {
            let table = ShapeTable::default();
            let mut offered = 0;
            for record in 0..records {
                let shape = table.intern(&signature(depth, fields, &format!("{name}{record}_")));
                assert_eq!(shape.fields.len(), fields);
                assert!(shape.memory_bytes() >= least_bytes(&shape));
                offered += least_bytes(&shape);
            }
            let held: usize = table.read().by_fingerprint.values().map(|shape| least_bytes(shape)).sum();
            assert!(offered > 128 << 20, "{offered} bytes would have fitted");
            assert!(held <= MOST_KEPT_BYTES && !table.is_empty(), "{held} bytes in {} shapes", table.len());
        }
    }

    #[test]
    fn equal_signatures_are_one_shape_and_counted_once() {
        let table = ShapeTable::default();
        let first = table.intern(&signature(1, 3, "x"));
        assert!(Arc::ptr_eq(&first, &table.intern(&signature(1, 3, "x"))));
        // As if two threads had made it at the same time.
        table.kept.write().unwrap().insert(&Arc::new(Shape::from_signature(first.signature())), 10);
        assert_eq!((table.len(), table.read().bytes), (1, first.memory_bytes()));
    }
}
