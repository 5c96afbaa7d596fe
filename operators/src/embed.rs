//! Text to vector: BERT word pieces, an int8 table with one scale a row, mean, unit length.
//!
//! The table ships in `models/static-minilm` and is compiled in. No text, or nothing known, gives zeros, which stand
//! for "no vector" and become null in columns.

use ahash::AHashMap;
use arrow::array::{Array, FixedSizeListArray, Float32Array, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field};
use std::sync::{Arc, LazyLock};
use thermocline_schemas::table::EMBEDDING_DIMENSIONS;
use unicode_categories::UnicodeCategories;
use unicode_normalization::UnicodeNormalization;

/// Numbers in one vector.
pub const DIMENSIONS: usize = EMBEDDING_DIMENSIONS as usize;

/// BERT gives up on longer words; so does the table.
const LONGEST_WORD_CHARS: usize = 100;

static SHIPPED: LazyLock<Encoder> = LazyLock::new(|| {
    Encoder::from_bytes(
        include_bytes!("../models/static-minilm/tokenizer.json"),
        include_bytes!("../models/static-minilm/model.safetensors"),
    )
    .expect("the shipped table is whole, which a test checks")
});

/// A static embedding table with its tokeniser.
#[derive(Debug)]
pub struct Encoder {
    /// Pieces that begin a word.
    starts: AHashMap<Box<str>, u32>,
    /// Pieces that go on with one, without their `##`.
    continues: AHashMap<Box<str>, u32>,
    longest_piece_bytes: usize,
    rows: Vec<i8>,
    scales: Vec<f32>,
}

/// Reused between calls, so that encoding allocates nothing.
#[derive(Debug, Default)]
pub struct Scratch {
    word: String,
    ids: Vec<u32>,
}

impl Encoder {
    /// The table that ships. Loading it, at the first call, takes about 25 ms.
    pub fn shipped() -> &'static Self {
        &SHIPPED
    }

    /// From the bytes of `tokenizer.json` and `model.safetensors`, in the layout of Model2Vec with 256 columns of int8.
    ///
    /// # Errors
    /// If they are not of that layout, or do not belong together.
    pub fn from_bytes(tokenizer: &[u8], model: &[u8]) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let json: serde_json::Value = serde_json::from_slice(tokenizer)?;
        let vocabulary = json["model"]["vocab"].as_object().ok_or("tokenizer.json has no model.vocab")?;
        let (mut starts, mut continues, mut longest_piece_bytes) = (AHashMap::new(), AHashMap::new(), 0);
        for (piece, id) in vocabulary {
            let id = u32::try_from(id.as_u64().ok_or("a vocabulary id is not a number")?)?;
            longest_piece_bytes = longest_piece_bytes.max(piece.len());
            match piece.strip_prefix("##").filter(|rest| !rest.is_empty()) {
                Some(rest) => continues.insert(rest.into(), id),
                None => starts.insert(piece.as_str().into(), id),
            };
        }
        let tensors = safetensors::SafeTensors::deserialize(model)?;
        let table = tensors.tensor("embeddings")?;
        let scales: Vec<f32> =
            tensors.tensor("weights")?.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        if table.shape() != [scales.len(), DIMENSIONS] || scales.len() != vocabulary.len() {
            let (words, scales) = (vocabulary.len(), scales.len());
            return Err(format!("{words} words, a table of {:?}, {scales} scales", table.shape()).into());
        }
        let rows = table.data().iter().map(|byte| byte.cast_signed()).collect();
        Ok(Self { starts, continues, longest_piece_bytes, rows, scales })
    }

    /// Writes the unit-length vector of `text` into `out`; all zeros when no piece is known.
    pub fn encode_into(&self, text: &str, scratch: &mut Scratch, out: &mut [f32; DIMENSIONS]) {
        self.tokenize(text, scratch);
        self.sum(&scratch.ids, out);
    }

    /// The unit-length vector of `text`; all zeros when no piece is known.
    pub fn encode(&self, text: &str) -> [f32; DIMENSIONS] {
        let mut out = [0.0; DIMENSIONS];
        self.encode_into(text, &mut Scratch::default(), &mut out);
        out
    }

    fn sum(&self, ids: &[u32], out: &mut [f32; DIMENSIONS]) {
        out.fill(0.0);
        let (rows, _) = self.rows.as_chunks::<DIMENSIONS>();
        for &id in ids {
            let scale = self.scales[id as usize];
            for (sum, value) in out.iter_mut().zip(&rows[id as usize]) {
                *sum += f32::from(*value) * scale;
            }
        }
        let length = dot(out, out).sqrt().max(1e-12);
        out.iter_mut().for_each(|value| *value /= length);
    }

    /// The ids of the known pieces of `text`, left in `scratch`.
    pub fn tokenize<'s>(&self, text: &str, scratch: &'s mut Scratch) -> &'s [u32] {
        scratch.ids.clear();
        scratch.word.clear();
        if text.is_ascii() {
            text.chars().for_each(|character| self.push(character, scratch));
        } else {
            let clean = text.chars().filter(|character| !is_removed(*character));
            clean
                .nfd()
                .filter(|character| !character.is_mark_nonspacing())
                .for_each(|character| self.push(character, scratch));
        }
        self.flush(scratch);
        &scratch.ids
    }

    fn push(&self, character: char, scratch: &mut Scratch) {
        if character.is_ascii_alphanumeric() {
            scratch.word.push(character.to_ascii_lowercase());
        } else if character.is_whitespace() {
            self.flush(scratch);
        } else if is_removed(character) {
        } else if character.is_ascii_punctuation() || character.is_punctuation() || is_cjk(character) {
            self.flush(scratch);
            scratch.word.push(character);
            self.flush(scratch);
        } else {
            scratch.word.extend(character.to_lowercase());
        }
    }

    /// Greedy longest match. A word with an unknown part gives no piece at all.
    fn flush(&self, Scratch { word, ids }: &mut Scratch) {
        let (before, mut from) = (ids.len(), 0);
        if word.len() > LONGEST_WORD_CHARS && word.chars().count() > LONGEST_WORD_CHARS {
            word.clear();
        }
        while from < word.len() {
            let pieces = if from == 0 { &self.starts } else { &self.continues };
            let longest = word.len().min(from + self.longest_piece_bytes);
            let found = (from + 1..=longest)
                .rev()
                .filter(|&to| word.is_char_boundary(to))
                .find_map(|to| Some((to, *pieces.get(&word[from..to])?)));
            let Some((to, id)) = found else {
                ids.truncate(before);
                break;
            };
            ids.push(id);
            from = to;
        }
        word.clear();
    }
}

/// The product of two vectors: their cosine, if both have unit length. In lanes, so that it needs no order of
/// additions.
pub fn dot(a: &[f32; DIMENSIONS], b: &[f32; DIMENSIONS]) -> f32 {
    let mut lanes = [0.0f32; 16];
    for (a, b) in a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0) {
        for lane in 0..16 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum()
}

fn is_removed(character: char) -> bool {
    !matches!(character, '\t' | '\n' | '\r') && (character == '\0' || character == '\u{fffd}' || character.is_other())
}

fn is_cjk(character: char) -> bool {
    matches!(character as u32, 0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F
        | 0x2B740..=0x2B81F | 0x2B920..=0x2CEAF | 0xF900..=0xFAFF | 0x2F800..=0x2FA1F)
}

/// The type of a column of vectors.
pub fn embedding_type() -> DataType {
    DataType::FixedSizeList(Arc::new(Field::new_list_field(DataType::Float32, true)), EMBEDDING_DIMENSIONS)
}

/// The vectors of `texts`: a fixed-size list of [`DIMENSIONS`] each, null where the text is null or has no known word.
pub fn embed_texts(texts: &StringArray) -> FixedSizeListArray {
    let encoder = Encoder::shipped();
    let mut scratch = Scratch::default();
    let mut values = vec![0.0f32; texts.len() * DIMENSIONS];
    let (rows, _) = values.as_chunks_mut::<DIMENSIONS>();
    let mut valid = Vec::with_capacity(texts.len());
    for (row, text) in rows.iter_mut().zip(texts) {
        if let Some(text) = text {
            encoder.encode_into(text, &mut scratch, row);
        }
        valid.push(!scratch.ids.is_empty() && text.is_some());
    }
    let field = Arc::new(Field::new_list_field(DataType::Float32, true));
    let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
    FixedSizeListArray::new(field, EMBEDDING_DIMENSIONS, Arc::new(Float32Array::from(values)), nulls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_texts_have_their_tokens_and_numbers() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../models/static-minilm/golden.json")).unwrap();
        let mut scratch = Scratch::default();
        for case in golden.as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let ids: Vec<u64> = case["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
            let got = Encoder::shipped().tokenize(text, &mut scratch);
            assert_eq!(got.iter().map(|id| u64::from(*id)).collect::<Vec<_>>(), ids, "{text:?}");
            let vector = Encoder::shipped().encode(text);
            for (got, expected) in vector.iter().zip(case["first8"].as_array().unwrap()) {
                assert!((f64::from(*got) - expected.as_f64().unwrap()).abs() < 1e-3, "{text:?}");
            }
        }
    }

    #[test]
    fn no_text_has_no_vector() {
        let vectors = embed_texts(&StringArray::from(vec![Some("a cat"), None, Some(""), Some("a dog")]));
        assert_eq!((0..4).map(|row| vectors.is_null(row)).collect::<Vec<_>>(), [false, true, true, false]);
        assert_eq!(vectors.data_type(), &embedding_type());
    }

    #[test]
    fn near_meanings_are_near() {
        let [cat, kitten, invoice] =
            ["a cat", "a kitten", "unpaid invoices"].map(|text| Encoder::shipped().encode(text));
        assert!(dot(&cat, &kitten) > dot(&cat, &invoice) + 0.2);
    }
}
