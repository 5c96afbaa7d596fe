//! What a record looks like, as marks that a linear model weighs: words of its field names, words of its values, kinds of
//! values, the look of a line of text.
//!
//! A mark is the hash of a kind and a word, so that the model's table needs no text. Marks of a record are a set.

use super::texts::whole_escapes;
use std::cell::RefCell;
use thermocline_schemas::domain::words::{normal, spelled};
use thermocline_schemas::format::scan::unescape;
use thermocline_schemas::format::{FieldKind, Leaf, LeafKind, Shape};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// One mark.
pub type Mark = u64;

/// What a mark tells of. Part of the hash: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A word of a leaf's own name.
    NameWord = 1,
    /// A leaf's own name.
    Name = 2,
    /// A word of a name above a leaf.
    Above = 3,
    /// The first name of a path.
    Root = 4,
    /// How many leaves, how deep, which types.
    Structure = 5,
    /// A word of a short value.
    ValueWord = 6,
    /// A word of a long value, or of a record that is text.
    TextWord = 7,
    /// What a value looks like: an address, a time, a constant.
    ValueLook = 8,
    /// What the first words of a text look like.
    Start = 9,
    /// Punctuation and figures of a text.
    Text = 10,
    /// A place in a vector, or a domain's score by its phrases; see [`super::model`].
    Dense = 11,
}

/// The marks of one record, or of one shape.
#[derive(Debug, Default)]
pub struct Marks {
    marks: Vec<Mark>,
    /// Those that are words.
    words: Vec<Mark>,
}

/// Words of one text that are read.
const MOST_TEXT_WORDS: usize = 60;
/// Words of one value of a record that are read.
const MOST_VALUE_WORDS: usize = 30;
/// Bytes of one value that are read.
const LONGEST_VALUE_BYTES: usize = 240;
/// Leaves of one record whose values are read.
const MOST_VALUES: usize = 48;
/// Longer words are cut.
const LONGEST_WORD_BYTES: usize = 24;

thread_local! {
    static WORD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Marks {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.marks.clear();
        self.words.clear();
    }

    /// The marks, each once, in no order that means anything.
    pub fn set(&mut self) -> &[Mark] {
        self.marks.sort_unstable();
        self.marks.dedup();
        &self.marks
    }

    /// The marks that are words of names, values or text.
    pub fn words(&self) -> &[Mark] {
        &self.words
    }

    fn add(&mut self, kind: Kind, word: &[u8]) {
        let mark = mark(kind, word);
        self.marks.push(mark);
        if matches!(kind, Kind::NameWord | Kind::ValueWord | Kind::TextWord) {
            self.words.push(mark);
        }
    }

    /// A mark of a figure: the power of two below it, up to `most`.
    fn add_size(&mut self, kind: Kind, what: &str, size: usize, most: u32) {
        let power = (size + 1).ilog2().min(most);
        self.add(kind, format!("{what}{power}").as_bytes());
    }

    /// Names and types of `shape`.
    pub fn of_shape(&mut self, shape: &Shape) {
        let mut kinds = [0_usize; 6];
        let mut deepest = 1;
        for field in &shape.fields {
            let names: Vec<&str> = field.raw_names.iter().map(AsRef::as_ref).collect();
            self.path(&names);
            kinds[number(field.kind)] += 1;
            deepest = deepest.max(names.len());
        }
        for path in &shape.element_names {
            self.path(&path.split('.').collect::<Vec<_>>());
        }
        self.add_size(Kind::Structure, "leaves", shape.fields.len(), 6);
        self.add_size(Kind::Structure, "elements", shape.element_names.len(), 4);
        self.add(Kind::Structure, format!("deep{}", deepest.min(4)).as_bytes());
        for (kind, count) in kinds.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.add(Kind::Structure, format!("has{kind}").as_bytes());
            self.add(Kind::Structure, format!("share{kind}.{}", count * 4 / shape.fields.len()).as_bytes());
        }
    }

    fn path(&mut self, names: &[&str]) {
        let Some((own, above)) = names.split_last() else { return };
        for word in spelled(own) {
            self.add(Kind::NameWord, word.as_bytes());
        }
        self.add(Kind::Name, normal(own).as_bytes());
        for name in above {
            for word in spelled(name) {
                self.add(Kind::Above, word.as_bytes());
            }
        }
        self.add(Kind::Root, normal(names[0]).as_bytes());
    }

    /// What the values of a record say.
    pub fn of_values(&mut self, record: &str, leaves: &[Leaf]) {
        let texts = leaves.iter().filter(|leaf| matches!(leaf.kind, LeafKind::Text | LeafKind::EscapedText));
        for leaf in texts.take(MOST_VALUES) {
            let raw = cut(leaf.raw(record), LONGEST_VALUE_BYTES);
            let value = match leaf.kind {
                LeafKind::EscapedText => unescape(whole_escapes(raw)),
                _ => raw.into(),
            };
            let value = value.as_ref();
            let look = look(value);
            self.add(Kind::ValueLook, &[look as u8]);
            match look {
                Look::Sentence | Look::Long => self.add_words(Kind::TextWord, value, MOST_VALUE_WORDS),
                _ if look.is_worded() || matches!(look, Look::Path | Look::Url) => {
                    self.add_words(Kind::ValueWord, value, 8);
                }
                _ => {}
            }
        }
    }

    /// What a record that is text looks like.
    pub fn of_text(&mut self, text: &str) {
        let words = text.split_ascii_whitespace().count();
        self.add_size(Kind::Text, "words", words, 8);
        self.add_words(Kind::TextWord, text, MOST_TEXT_WORDS);
        for (place, word) in text.split_ascii_whitespace().take(4).enumerate() {
            self.add(Kind::Start, outline(place, word).as_bytes());
        }
        let mut counts = [0_u32; 256];
        text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
        for sign in b"|;,\t=<>{}[]\"'#*?!:/@" {
            let count = counts[usize::from(*sign)];
            if count > 0 {
                self.add(Kind::Text, &[*sign]);
            }
            if count >= 3 {
                self.add(Kind::Text, &[*sign, b'3']);
            }
        }
        if text.trim_end().ends_with('?') {
            self.add(Kind::Text, b"asks");
        }
        if text.trim().contains('\n') {
            self.add(Kind::Text, b"lines");
        }
        let share = |from: u8, to: u8| {
            let count: u32 = counts[usize::from(from)..=usize::from(to)].iter().sum();
            count as usize * 6 / text.len().max(1)
        };
        self.add(Kind::Text, format!("figures{}", share(b'0', b'9')).as_bytes());
        self.add(Kind::Text, format!("capitals{}", share(b'A', b'Z')).as_bytes());
    }

    /// The words of `text` in lower case, without figures; `orderPlaced` is two.
    fn add_words(&mut self, kind: Kind, text: &str, most: usize) {
        WORD.with_borrow_mut(|word| {
            word.clear();
            let (mut left, mut small) = (most, false);
            for character in text.chars().chain([' ']) {
                let ends = !character.is_alphabetic() || (small && character.is_uppercase());
                if ends && !word.is_empty() {
                    self.add(kind, word);
                    word.clear();
                    left -= 1;
                    if left == 0 {
                        return;
                    }
                }
                if word.len() < LONGEST_WORD_BYTES {
                    if character.is_ascii_alphabetic() {
                        word.push((character as u8).to_ascii_lowercase());
                    } else if character.is_alphabetic() {
                        let mut bytes = [0; 4];
                        for lower in character.to_lowercase() {
                            word.extend_from_slice(lower.encode_utf8(&mut bytes).as_bytes());
                        }
                    }
                }
                small = character.is_lowercase();
            }
        });
    }
}

/// The number of a type. Part of the hash: never renumber.
fn number(kind: FieldKind) -> usize {
    match kind {
        FieldKind::Null => 0,
        FieldKind::Bool => 1,
        FieldKind::Number => 2,
        FieldKind::Text => 3,
        FieldKind::Array => 4,
        FieldKind::Map => 5,
    }
}

/// The hash of a kind and a word.
pub fn mark(kind: Kind, word: &[u8]) -> Mark {
    xxh3_64_with_seed(word, kind as u64)
}

/// The first `most` bytes of `text`, whole characters.
pub fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// What a value looks like. Part of the hash: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Look {
    /// Nothing.
    Empty = 0,
    /// Eight, four, four, four and twelve hexadecimal figures.
    Uuid = 1,
    /// A date and a time.
    Time = 2,
    /// A date.
    Date = 3,
    /// With `://`.
    Url = 4,
    /// Of mail.
    Address = 5,
    /// Of version 4, with or without a port.
    Ip = 6,
    /// A number, or several.
    Figures = 7,
    /// With blanks, brackets or a plus.
    Telephone = 8,
    /// A long one.
    Hex = 9,
    /// From the root.
    Path = 10,
    /// `IN_CAPITALS`
    Constant = 11,
    /// Letters and figures.
    Code = 12,
    /// One.
    Word = 13,
    /// Up to five words.
    Phrase = 14,
    /// Up to 24 words.
    Sentence = 15,
    /// More.
    Long = 16,
}

impl Look {
    /// Whether it holds words that mean something.
    pub fn is_worded(self) -> bool {
        matches!(self, Look::Constant | Look::Code | Look::Word | Look::Phrase | Look::Sentence | Look::Long)
    }
}

/// What `value` looks like.
pub fn look(value: &str) -> Look {
    let bytes = cut(value, LONGEST_VALUE_BYTES).as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let at = |place: usize, byte: u8| bytes.get(place) == Some(&byte);
    let all = |fits: fn(&u8) -> bool| bytes.iter().all(fits);
    let count = |byte: u8| bytes.iter().filter(|it| **it == byte).count();
    let Some(first) = bytes.first() else { return Look::Empty };
    let figures = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    if bytes.len() == 36 && at(8, b'-') && at(13, b'-') && at(18, b'-') {
        Look::Uuid
    } else if (0..4).all(digit) && at(4, b'-') && digit(5) && digit(6) && at(7, b'-') {
        if bytes.len() > 10 { Look::Time } else { Look::Date }
    } else if bytes.iter().position(|byte| *byte == b':').is_some_and(|at| bytes[at..].starts_with(b"://")) {
        Look::Url
    } else if count(b'@') > 0 && count(b'.') > 0 && count(b' ') == 0 {
        Look::Address
    } else if figures >= 4 && count(b'.') == 3 && all(|b| b.is_ascii_digit() || matches!(b, b'.' | b':')) {
        Look::Ip
    } else if figures > 0 && all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-')) {
        Look::Figures
    } else if figures >= 7 && all(|b| b.is_ascii_digit() || matches!(b, b'+' | b' ' | b'(' | b')' | b'-' | b'.')) {
        Look::Telephone
    } else if bytes.len() >= 16 && all(u8::is_ascii_hexdigit) {
        Look::Hex
    } else if *first == b'/' && count(b' ') == 0 {
        Look::Path
    } else if bytes.len() > 1
        && first.is_ascii_uppercase()
        && all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_')
    {
        Look::Constant
    } else {
        match bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).take(25).count() {
            0 | 1 if figures > 0 => Look::Code,
            0 | 1 => Look::Word,
            2..=5 => Look::Phrase,
            6..=24 => Look::Sentence,
            _ => Look::Long,
        }
    }
}

/// A word's outline at its place: `2024-05-01` is `9-9-9`, `INFO` is `A`.
fn outline(place: usize, word: &str) -> String {
    let mut outline = format!("{place}:");
    for character in word.chars().take(40) {
        let sign = match character {
            '0'..='9' => '9',
            _ if character.is_uppercase() => 'A',
            _ if character.is_alphabetic() => 'a',
            _ => character,
        };
        if !outline.ends_with(sign) {
            outline.push(sign);
        }
    }
    cut(&outline, 14).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_looks() {
        for (value, expected) in [
            ("", Look::Empty),
            ("6f1c2a9e-1111-4222-8333-444455556666", Look::Uuid),
            ("2024-05-01T10:00:00Z", Look::Time),
            ("2024-05-01", Look::Date),
            ("https://example.org/a", Look::Url),
            ("a.b@example.org", Look::Address),
            ("10.0.0.1:80", Look::Ip),
            ("-12.5", Look::Figures),
            ("+49 211 5550123", Look::Telephone),
            ("deadbeefdeadbeef", Look::Hex),
            ("/var/log/syslog", Look::Path),
            ("ORDER_PLACED", Look::Constant),
            ("sess_9f2", Look::Code),
            ("active", Look::Word),
            ("Great Wall Motors", Look::Phrase),
            ("the lid does not close any more", Look::Sentence),
        ] {
            assert_eq!(look(value), expected, "{value}");
        }
    }

    #[test]
    fn words_are_split_as_names_are() {
        let of = |text: &str| {
            let mut marks = Marks::default();
            marks.add_words(Kind::ValueWord, text, 8);
            marks.marks
        };
        let word = |word: &str| mark(Kind::ValueWord, word.as_bytes());
        assert_eq!(of("session.createdAt 42 Ärger"), ["session", "created", "at", "ärger"].map(word));
        assert_eq!(of("a b c d e f g h i j").len(), 8);
        assert!(of("42 - 7").is_empty());
    }

    #[test]
    fn an_outline_is_short() {
        assert_eq!(outline(0, "2024-05-01"), "0:9-9-9");
        assert_eq!(outline(1, "INFO:"), "1:A:");
        assert!(outline(3, "ö-ä-ü-ß-a-B-c-D-e").len() <= 14);
    }
}
