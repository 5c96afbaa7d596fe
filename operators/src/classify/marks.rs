//! What a record looks like, as marks that a linear model weighs: words of its field names, words of its values, kinds of
//! values, the look of a line of text.
//!
//! A mark is the hash of a kind and a word, so that the model's table needs no text. Marks of a record are a set.

use super::structure::says_audit;
use std::cell::RefCell;
use thermocline_schemas::domain::words::{normal, spelled};
use thermocline_schemas::format::{Leaf, LeafKind, Shape};
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
            kinds[field.kind as usize] += 1;
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

    /// What the values of a record say; `kinds` are the leaves in which it may say what it is.
    pub fn of_values(&mut self, kinds: &[usize], record: &str, leaves: &[Leaf]) {
        if kinds.iter().any(|leaf| says_audit(leaves[*leaf].raw(record))) {
            self.add(Kind::ValueLook, b"audit");
        }
        let texts = leaves.iter().filter(|leaf| matches!(leaf.kind, LeafKind::Text | LeafKind::EscapedText));
        for leaf in texts.take(MOST_VALUES) {
            let value = cut(leaf.raw(record), LONGEST_VALUE_BYTES);
            let look = look(value);
            self.add(Kind::ValueLook, look.as_bytes());
            match look {
                "sentence" | "long" => self.add_words(Kind::TextWord, value, MOST_VALUE_WORDS),
                "word" | "constant" | "phrase" | "code" | "path" | "url" => self.add_words(Kind::ValueWord, value, 8),
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
        for sign in b"|;,\t=<>{}[]\"'#*?!:/@" {
            let count = text.bytes().filter(|byte| byte == sign).count();
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
        let share = |count: usize| count * 6 / text.len().max(1);
        let figures = share(text.bytes().filter(u8::is_ascii_digit).count());
        let capitals = share(text.bytes().filter(u8::is_ascii_uppercase).count());
        self.add(Kind::Text, format!("figures{figures}").as_bytes());
        self.add(Kind::Text, format!("capitals{capitals}").as_bytes());
        let filling = text.split(|c: char| !c.is_alphanumeric()).take(MOST_TEXT_WORDS);
        let filling = filling.filter(|word| FILLING.iter().any(|it| it.eq_ignore_ascii_case(word))).count();
        self.add(Kind::Text, format!("filling{}", filling.min(5)).as_bytes());
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
                if character.is_alphabetic() && word.len() < LONGEST_WORD_BYTES {
                    let mut bytes = [0; 4];
                    for lower in character.to_lowercase() {
                        word.extend_from_slice(lower.encode_utf8(&mut bytes).as_bytes());
                    }
                }
                small = character.is_lowercase();
            }
        });
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

/// Words that fill sentences.
const FILLING: &[&str] = &[
    "the", "of", "and", "to", "in", "is", "a", "for", "on", "that", "with", "was", "are", "as", "be", "it", "this",
    "by", "from", "at", "or", "an", "have", "has", "not", "you", "i", "we", "he", "she", "they", "his", "her", "their",
    "its",
];

/// What a value looks like.
fn look(value: &str) -> &'static str {
    let bytes = value.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let at = |place: usize, byte: u8| bytes.get(place) == Some(&byte);
    let all = |fits: fn(&u8) -> bool| bytes.iter().all(fits);
    let figures = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    if bytes.is_empty() {
        "empty"
    } else if bytes.len() == 36 && at(8, b'-') && at(13, b'-') && at(18, b'-') {
        "uuid"
    } else if (0..4).all(digit) && at(4, b'-') && digit(5) && digit(6) && at(7, b'-') {
        if bytes.len() > 10 { "time" } else { "date" }
    } else if value.contains("://") {
        "url"
    } else if value.contains('@') && value.contains('.') && !value.contains(' ') {
        "address"
    } else if figures >= 4 && value.matches('.').count() == 3 && all(|b| b.is_ascii_digit() || matches!(b, b'.' | b':'))
    {
        "ip"
    } else if figures > 0 && all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-')) {
        "figures"
    } else if figures >= 7 && all(|b| b.is_ascii_digit() || matches!(b, b'+' | b' ' | b'(' | b')' | b'-' | b'.')) {
        "telephone"
    } else if bytes.len() >= 16 && all(u8::is_ascii_hexdigit) {
        "hex"
    } else if bytes[0] == b'/' && !value.contains(' ') {
        "path"
    } else if bytes.len() > 1
        && bytes[0].is_ascii_uppercase()
        && all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_')
    {
        "constant"
    } else {
        match value.split_ascii_whitespace().count() {
            0 | 1 if figures > 0 => "code",
            0 | 1 => "word",
            2..=5 => "phrase",
            6..=24 => "sentence",
            _ => "long",
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
            ("", "empty"),
            ("6f1c2a9e-1111-4222-8333-444455556666", "uuid"),
            ("2024-05-01T10:00:00Z", "time"),
            ("2024-05-01", "date"),
            ("https://example.org/a", "url"),
            ("a.b@example.org", "address"),
            ("10.0.0.1:80", "ip"),
            ("-12.5", "figures"),
            ("+49 211 5550123", "telephone"),
            ("deadbeefdeadbeef", "hex"),
            ("/var/log/syslog", "path"),
            ("ORDER_PLACED", "constant"),
            ("sess_9f2", "code"),
            ("active", "word"),
            ("Great Wall Motors", "phrase"),
            ("the lid does not close any more", "sentence"),
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
