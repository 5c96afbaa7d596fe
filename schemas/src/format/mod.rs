//! Formats: bytes to batches, or to dead letters.
//!
//! One strict scanner ([`scan`]) stands under both: [`json`] decodes declared sources into typed columns, [`auto`]
//! reads whatever comes and hands on each record's [`shape`] with its leaves, so that nothing parses a record twice.

pub mod auto;
pub mod json;
pub mod scan;
pub mod shape;
pub mod timestamp;

pub use auto::{Leaf, LeafKind, Parsed, parse};
pub use json::{Decoded, JsonDecoder};
pub use shape::{Body, FieldKind, Shape, ShapeField, ShapeTable};

/// A record that cannot be used: which one, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its row in the input.
    pub row: usize,
    /// Why, with the place: `line 1, column 57: "amount" should be a number, found "twelve"`.
    pub error: String,
}
