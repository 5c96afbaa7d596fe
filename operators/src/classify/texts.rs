//! Free text speaks for domains.

use super::marks::{cut, look};
use super::nearest::Nearest;
use crate::embed::{DIMENSIONS, Encoder};
use thermocline_schemas::domain::Registry;
use thermocline_schemas::domain::words::normal;
use thermocline_schemas::format::scan::unescape_into;
use thermocline_schemas::format::{Body, FieldKind, Leaf, LeafKind, Shape};

/// How much the text counts.
const TEXT_WEIGHT: f32 = 12.0;
/// Bytes of a free text that are read, and of another value.
const LONGEST_TEXT_BYTES: usize = 320;
const LONGEST_VALUE_BYTES: usize = 48;
/// Bytes of all values of a record that are read.
const MOST_BYTES: usize = 320;

/// The describing texts of all domains.
#[derive(Debug)]
pub struct Texts(Nearest);

impl Texts {
    /// The texts that the phrases of `registry` give.
    pub fn new(registry: &Registry) -> Self {
        let encoder = Encoder::shipped();
        let texts = registry.iter().enumerate().flat_map(|(domain, described)| {
            described.phrases.texts.iter().map(move |text| (encoder.encode(text), domain))
        });
        Self(Nearest::new(texts.collect(), registry.len()))
    }

    /// Adds what a text with this vector says to `scores`.
    pub fn score(&self, vector: &[f32; DIMENSIONS], scores: &mut [f32]) {
        self.0.score(vector, TEXT_WEIGHT, scores);
    }
}

/// The leaves of `shape` whose text is compared with the phrases' texts, because the names say little.
pub fn free_text_leaves(shape: &Shape) -> Vec<usize> {
    const FREE: &[&str] = &[
        "text",
        "message",
        "msg",
        "body",
        "content",
        "utterance",
        "query",
        "question",
        "description",
        "comment",
        "summary",
        "prompt",
        "transcript",
        "note",
        "notes",
        "log",
        "line",
        "raw",
        "input",
        "sentence",
        "title",
    ];
    match shape.body {
        Body::Text | Body::Value => return vec![0],
        Body::Object if shape.fields.len() <= 4 => {}
        Body::Object | Body::Empty | Body::Wide => return vec![],
    }
    let texts = shape.fields.iter().enumerate().filter(|(_, field)| field.kind == FieldKind::Text);
    texts.filter(|(_, field)| FREE.contains(&normal(&field.name).as_str())).map(|(leaf, _)| leaf).collect()
}

/// Puts the texts of a record that are words, not codes, into `text`, a line each: as much of them as is read.
pub fn gather(record: &str, leaves: &[Leaf], free_text: &[usize], text: &mut String) {
    text.clear();
    for (place, leaf) in leaves.iter().enumerate() {
        let free = free_text.contains(&place);
        let raw = leaf.raw(record);
        let worded = || matches!(leaf.kind, LeafKind::Text | LeafKind::EscapedText) && look(raw).is_worded();
        if text.len() >= MOST_BYTES || !(free || worded()) {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        let raw = cut(raw, if free { LONGEST_TEXT_BYTES } else { LONGEST_VALUE_BYTES });
        match leaf.kind {
            LeafKind::EscapedText => unescape_into(whole_escapes(raw), text),
            _ => text.push_str(raw),
        }
    }
}

/// A text that was cut, without an escape that the cut went through.
pub fn whole_escapes(raw: &str) -> &str {
    let from = raw.len().saturating_sub(12);
    let mut at = 0;
    let bytes = raw.as_bytes();
    while at < bytes.len() {
        if bytes[at] == b'\\' {
            let long = bytes.get(at + 1) == Some(&b'u');
            let length = if long { 6 } else { 2 };
            if at + length > bytes.len() || (long && at >= from && at + 12 > bytes.len() && is_high(&raw[at..])) {
                return &raw[..at];
            }
            at += length;
        } else {
            at += 1;
        }
    }
    raw
}

fn is_high(escape: &str) -> bool {
    matches!(escape.as_bytes().get(2..4), Some([b'd' | b'D', b'8' | b'9' | b'a' | b'A' | b'b' | b'B']))
}
