//! `attributes`: what fills no column, as JSON, every value as it was written and in its place.

use std::sync::Arc;
use thermocline_schemas::format::{Leaf, LeafKind, Shape};

/// A JSON text with holes for leaves, made once for a shape.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(Box<str>),
    Leaf(usize),
}

impl Template {
    /// The leaves of `shape` that `keep` wants, in their objects; empty without any.
    pub fn new(shape: &Shape, keep: impl Fn(usize) -> bool) -> Self {
        Self::inside(shape, 0, keep)
    }

    /// The same, where the leaves lie inside one object `depth` levels down, which becomes the whole.
    pub fn inside(shape: &Shape, depth: usize, keep: impl Fn(usize) -> bool) -> Self {
        let mut pieces = vec![];
        let mut text = String::new();
        let mut open: &[Arc<str>] = &[];
        let mut first = true;
        for (leaf, field) in shape.fields.iter().enumerate().filter(|(leaf, _)| keep(*leaf)) {
            let Some((name, parents)) = field.raw_names[depth..].split_last() else {
                // The record is this one value.
                return Self { pieces: vec![Piece::Leaf(leaf)] };
            };
            let shared = open.iter().zip(parents).take_while(|(a, b)| a == b).count();
            if first {
                text.push('{');
            } else {
                (shared..open.len()).for_each(|_| text.push('}'));
                text.push(',');
            }
            for parent in &parents[shared..] {
                text.push_str(&format!("\"{parent}\":{{"));
            }
            text.push_str(&format!("\"{name}\":"));
            pieces.push(Piece::Text(std::mem::take(&mut text).into()));
            pieces.push(Piece::Leaf(leaf));
            (open, first) = (parents, false);
        }
        if !first {
            pieces.push(Piece::Text("}".repeat(open.len() + 1).into()));
        }
        Self { pieces }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The leaves it writes.
    pub fn leaves(&self) -> impl Iterator<Item = usize> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Leaf(leaf) => Some(*leaf),
            Piece::Text(_) => None,
        })
    }

    /// Appends the JSON of one record.
    pub fn write(&self, record: &str, leaves: &[Leaf], out: &mut String) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Leaf(leaf) => out.push_str(as_written(&leaves[*leaf], record)),
            }
        }
    }
}

/// A leaf with its quotes.
fn as_written<'a>(leaf: &Leaf, record: &'a str) -> &'a str {
    let quotes = usize::from(matches!(leaf.kind, LeafKind::Text | LeafKind::EscapedText));
    &record[leaf.start as usize - quotes..leaf.end as usize + quotes]
}
