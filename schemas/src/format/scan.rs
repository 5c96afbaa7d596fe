//! A strict JSON scanner over one text: tells values apart and where they end, and builds nothing.
//!
//! It accepts what RFC 8259 accepts and `serde_json` can hold: no lone surrogates, no number beyond an f64, nesting up
//! to [`MAX_DEPTH`]. The text is a `str`, so UTF-8 has been checked before.

use std::borrow::Cow;

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 127;

/// Why a text is not JSON, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanError {
    /// The byte where it went wrong.
    pub at: usize,
    /// What is wrong there.
    pub what: Cow<'static, str>,
}

impl ScanError {
    pub(crate) fn new(at: usize, what: impl Into<Cow<'static, str>>) -> Self {
        Self { at, what: what.into() }
    }

    /// The message with its place in `text`: `line 1, column 57: ...`. Columns count characters, from 1.
    pub fn message(&self, text: &str) -> String {
        let mut at = self.at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &text[..at];
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        format!("line {line}, column {}: {}", before[start..].chars().count() + 1, self.what)
    }
}

/// What kind of value stands at a place. Ranges of texts are those between the quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number without fraction or exponent.
    Integer,
    /// A number with fraction or exponent.
    Float,
    /// A text; `escaped` if it holds a backslash.
    Text {
        /// Whether there is something to unescape.
        escaped: bool,
    },
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A position in a text that is read as JSON.
#[derive(Debug, Clone)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    /// The next byte to read.
    pub at: usize,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

impl<'a> Scanner<'a> {
    /// At the beginning of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0 }
    }

    /// Skips blanks and returns the byte that follows, 0 at the end of the text.
    #[inline]
    pub fn peek(&mut self) -> u8 {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return *byte;
            }
            self.at += 1;
        }
        0
    }

    /// Whether nothing but blanks is left.
    #[inline]
    pub fn at_end(&mut self) -> bool {
        self.peek();
        self.at >= self.bytes.len()
    }

    /// Takes `byte` after blanks.
    ///
    /// # Errors
    /// Where something else stands.
    #[inline]
    pub fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), ScanError> {
        if self.peek() == byte {
            self.at += 1;
            Ok(())
        } else {
            Err(self.error(what))
        }
    }

    /// Takes a text, which begins at this byte; returns the range between the quotes, and whether it has escapes.
    ///
    /// # Errors
    /// If it does not end, or holds a control character or a wrong escape.
    #[inline]
    pub fn text(&mut self) -> Result<(usize, usize, bool), ScanError> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.skip_plain();
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok((start, self.at - 1, escaped));
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.error("a control character inside a text must be escaped")),
                None => return Err(ScanError::new(start - 1, "this text does not end")),
            }
        }
    }

    /// Moves to the next quote, backslash or control character, eight bytes at a time.
    #[inline]
    fn skip_plain(&mut self) {
        let (words, _) = self.bytes[self.at..].as_chunks::<8>();
        for word in words {
            let word = u64::from_le_bytes(*word);
            let quote = word ^ (ONES * b'"' as u64);
            let slash = word ^ (ONES * b'\\' as u64);
            let found = ((quote.wrapping_sub(ONES) & !quote)
                | (slash.wrapping_sub(ONES) & !slash)
                | (word.wrapping_sub(ONES * 0x20) & !word))
                & HIGH;
            if found != 0 {
                self.at += (found.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
        while self.bytes.get(self.at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)) {
            self.at += 1;
        }
    }

    /// Takes one escape, from its backslash; a surrogate must come as a pair.
    fn escape(&mut self) -> Result<(), ScanError> {
        let start = self.at;
        let wrong = || ScanError::new(start, "this is no escape that JSON knows");
        match self.bytes.get(start + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let first = self.hex(start + 2).ok_or_else(wrong)?;
                self.at = start + 6;
                match first {
                    0xDC00..=0xDFFF => Err(ScanError::new(start, "half of a surrogate pair")),
                    0xD800..=0xDBFF => {
                        let pair = self.bytes.get(self.at..self.at + 2) == Some(b"\\u");
                        match self.hex(self.at + 2).filter(|_| pair) {
                            Some(0xDC00..=0xDFFF) => {
                                self.at += 6;
                                Ok(())
                            }
                            _ => Err(ScanError::new(start, "half of a surrogate pair")),
                        }
                    }
                    _ => Ok(()),
                }
            }
            _ => Err(wrong()),
        }
    }

    fn hex(&self, at: usize) -> Option<u32> {
        let digits = self.bytes.get(at..at + 4)?;
        digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
    }

    /// Takes one scalar, or stops in front of an array or object, which is left to the caller. Returns its kind, and
    /// its range: between the quotes for a text.
    ///
    /// # Errors
    /// Where no value begins, or it is malformed.
    #[inline]
    pub fn value(&mut self) -> Result<(Value, usize, usize), ScanError> {
        let start = {
            self.peek();
            self.at
        };
        let kind = match self.bytes.get(start) {
            Some(b'"') => {
                let (start, end, escaped) = self.text()?;
                return Ok((Value::Text { escaped }, start, end));
            }
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'{') => Value::Object,
            Some(b'[') => Value::Array,
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            Some(b'N' | b'I') => return Err(self.error("NaN and Infinity are not JSON")),
            Some(_) => return Err(self.error("a value should begin here")),
            None => return Err(self.error("a value is missing at the end")),
        };
        Ok((kind, start, self.at))
    }

    #[inline]
    fn word(&mut self, word: &'static str, value: Value) -> Result<Value, ScanError> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.error("a value should begin here"))
        }
    }

    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - start
    }

    #[inline]
    fn number(&mut self) -> Result<Value, ScanError> {
        let start = self.at;
        if self.bytes[self.at] == b'-' {
            self.at += 1;
        }
        let leading_zero = self.bytes.get(self.at) == Some(&b'0');
        let digits = self.digits();
        if digits == 0 || (leading_zero && digits > 1) {
            return Err(ScanError::new(start, "this is no number that JSON knows"));
        }
        let mut kind = Value::Integer;
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            kind = Value::Float;
            if self.digits() == 0 {
                return Err(ScanError::new(start, "a digit should follow the point of a number"));
            }
        }
        let mut exponent = false;
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            (kind, exponent) = (Value::Float, true);
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(ScanError::new(start, "a digit should follow the exponent of a number"));
            }
        }
        if exponent || self.at - start > 300 {
            let number = std::str::from_utf8(&self.bytes[start..self.at]).expect("digits and signs are ASCII");
            if number.parse::<f64>().is_ok_and(f64::is_infinite) {
                return Err(ScanError::new(start, "this number is out of range"));
            }
        }
        Ok(kind)
    }

    /// Takes the key of a member and its colon; returns the range between the quotes, and whether it has escapes.
    ///
    /// # Errors
    /// Where no key begins, or the colon is missing.
    #[inline]
    pub fn key(&mut self) -> Result<(usize, usize, bool), ScanError> {
        if self.peek() != b'"' {
            return Err(self.error("the name of a field should begin here"));
        }
        let key = self.text()?;
        self.expect(b':', "a colon should follow the name of a field")?;
        Ok(key)
    }

    /// Takes one value of any kind, with all that is in it; `depth` is how deep it already is. Returns its kind and
    /// range, between the quotes for a text.
    ///
    /// # Errors
    /// Where it is malformed or nested too deep.
    pub fn skip(&mut self, depth: usize) -> Result<(Value, usize, usize), ScanError> {
        let (kind, start, end) = self.value()?;
        match kind {
            Value::Array => self.skip_array(depth + 1)?,
            Value::Object => self.skip_object(depth + 1)?,
            _ => return Ok((kind, start, end)),
        }
        Ok((kind, start, self.at))
    }

    fn skip_array(&mut self, depth: usize) -> Result<(), ScanError> {
        self.enter(depth)?;
        if self.peek() == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip(depth)?;
            if !self.more(b']', "a comma or ] should follow a value")? {
                return Ok(());
            }
        }
    }

    fn skip_object(&mut self, depth: usize) -> Result<(), ScanError> {
        self.enter(depth)?;
        if self.peek() == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.key()?;
            self.skip(depth)?;
            if !self.more(b'}', "a comma or } should follow a value")? {
                return Ok(());
            }
        }
    }

    /// Takes the bracket that opens an array or object at `depth`, from 1.
    ///
    /// # Errors
    /// If that is too deep.
    #[inline]
    pub fn enter(&mut self, depth: usize) -> Result<(), ScanError> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested deeper than 127 levels"));
        }
        self.at += 1;
        Ok(())
    }

    /// Takes a comma (true) or `close` (false).
    ///
    /// # Errors
    /// Where neither stands.
    #[inline]
    pub fn more(&mut self, close: u8, what: &'static str) -> Result<bool, ScanError> {
        let byte = self.peek();
        if byte == b',' || byte == close {
            self.at += 1;
            return Ok(byte == b',');
        }
        if self.at >= self.bytes.len() {
            return Err(self.error("the text ends inside a value"));
        }
        Err(self.error(what))
    }

    /// An error at this place.
    pub fn error(&self, what: impl Into<Cow<'static, str>>) -> ScanError {
        ScanError::new(self.at, what)
    }
}

/// The text that stands between quotes, without its escapes. `raw` has been scanned before.
pub fn unescape(raw: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    unescape_into(raw, &mut out);
    Cow::Owned(out)
}

/// Appends the text that stands between quotes to `out`, without its escapes. `raw` has been scanned before.
pub fn unescape_into(raw: &str, out: &mut String) {
    let mut rest = raw;
    while let Some(slash) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..slash]);
        let (character, used) = unescape_one(&rest[slash..]);
        out.push(character);
        rest = &rest[slash + used..];
    }
    out.push_str(rest);
}

/// The character that an escape stands for, and the escape's length.
fn unescape_one(escape: &str) -> (char, usize) {
    let hex =
        |at: usize| escape.get(at..at + 4).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0xFFFD);
    let plain = match escape.as_bytes().get(1) {
        Some(b'u') => {
            let first = hex(2);
            if !(0xD800..0xDC00).contains(&first) {
                return (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6);
            }
            let second = hex(8);
            let code = 0x10000 + ((first & 0x3FF) << 10) + (second & 0x3FF);
            return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
        }
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(other) => char::from(*other),
        None => char::REPLACEMENT_CHARACTER,
    };
    (plain, 2)
}
