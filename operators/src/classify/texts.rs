//! Free text speaks for domains.

use crate::embed::{DIMENSIONS, Encoder, Scratch, dot};
use thermocline_schemas::domain::Registry;
use thermocline_schemas::domain::words::normal;
use thermocline_schemas::format::{FieldKind, Shape};

/// How much the text counts.
const TEXT_WEIGHT: f32 = 12.0;
/// Bytes of one text that are read.
const LONGEST_TEXT_BYTES: usize = 320;

/// The describing texts of all domains.
#[derive(Debug)]
pub struct Texts {
    domains: usize,
    texts: Vec<([f32; DIMENSIONS], usize)>,
}

impl Texts {
    /// The texts that the phrases of `registry` give.
    pub fn new(registry: &Registry) -> Self {
        let encoder = Encoder::shipped();
        let texts = registry.iter().enumerate().flat_map(|(domain, described)| {
            described.phrases.texts.iter().map(move |text| (encoder.encode(text), domain))
        });
        Self { domains: registry.len(), texts: texts.collect() }
    }

    /// Adds what `text` says to `scores`: the mean of the two nearest texts of each domain.
    pub fn score(&self, text: &str, scratch: &mut Scratch, scores: &mut [f32]) {
        let mut vector = [0.0; DIMENSIONS];
        Encoder::shipped().encode_into(text, scratch, &mut vector);
        let mut best = vec![[0.0f32; 2]; self.domains];
        for (described, domain) in &self.texts {
            let near = dot(described, &vector);
            let [first, second] = &mut best[*domain];
            if near > *first {
                (*first, *second) = (near, *first);
            } else if near > *second {
                *second = near;
            }
        }
        for (score, [first, second]) in scores.iter_mut().zip(best) {
            *score += (first + second) / 2.0 * TEXT_WEIGHT;
        }
    }
}

/// The leaves of `shape` whose text has to be read, because the names say little.
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
    if shape.fields.len() > 4 {
        return vec![];
    }
    let texts = shape.fields.iter().enumerate().filter(|(_, field)| field.kind == FieldKind::Text);
    texts.filter(|(_, field)| FREE.contains(&normal(&field.name).as_str())).map(|(leaf, _)| leaf).collect()
}

/// As much of a text as is read, whole characters.
pub fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
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
