//! Lines of a file or a stream, plain or gzip.

use crate::source::error::SourceError;
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Chain, Cursor, Read};
use std::path::PathBuf;

/// Longest line that is read: no broker would take more.
const LONGEST_LINE: u64 = 100 << 20;
/// What gzip begins with (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Where lines come from.
pub enum Input {
    /// A file, which can be read twice.
    Path(PathBuf),
    /// A stream; errors call it standard input.
    Stream(Box<dyn Read>),
}

impl Input {
    /// What errors call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Stream(_) => "standard input".to_owned(),
        }
    }

    /// The same input two times over.
    pub(super) fn twice(self) -> Result<(Self, Self), SourceError> {
        match self {
            Self::Path(path) => Ok((Self::Path(path.clone()), Self::Path(path))),
            Self::Stream(_) => {
                let reason = "moving times reads the input twice: give a file rather than a stream";
                Err(SourceError::input(0, reason.to_owned()))
            }
        }
    }

    fn open(self) -> std::io::Result<Box<dyn Read>> {
        match self {
            Self::Path(path) => Ok(Box::new(File::open(path)?)),
            Self::Stream(stream) => Ok(stream),
        }
    }
}

/// Line after line, into one buffer. Lines of nothing but blanks are left out and counted.
pub(super) struct Lines {
    from: Box<dyn BufRead>,
    number: u64,
    blank: u64,
    line: Vec<u8>,
}

impl Lines {
    pub(super) fn new(input: Input) -> Result<Self, SourceError> {
        let failed = |error: std::io::Error| SourceError::input(0, error.to_string());
        let mut raw = input.open().map_err(failed)?;
        let mut start = [0; 2];
        let mut known = 0;
        while known < start.len() {
            match raw.read(&mut start[known..]).map_err(failed)? {
                0 => break,
                count => known += count,
            }
        }
        let whole: Chain<Cursor<Vec<u8>>, _> = Cursor::new(start[..known].to_vec()).chain(raw);
        let plain = BufReader::with_capacity(256 << 10, whole);
        let from: Box<dyn BufRead> = if start == GZIP {
            Box::new(BufReader::with_capacity(256 << 10, MultiGzDecoder::new(plain)))
        } else {
            Box::new(plain)
        };
        Ok(Self { from, number: 0, blank: 0, line: vec![] })
    }

    /// The next line that is not blank, without its end (`\n` or `\r\n`), and its number among all lines, from 1.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &[u8])>, SourceError> {
        while self.read()? {
            if !self.line.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some((self.number, &self.line)));
            }
            self.blank += 1;
        }
        Ok(None)
    }

    /// How many blank lines were left out so far.
    pub(super) fn blank(&self) -> u64 {
        self.blank
    }

    /// Reads one line into the buffer; false at the end.
    fn read(&mut self) -> Result<bool, SourceError> {
        self.line.clear();
        let read = self.from.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut self.line);
        let read = read.map_err(|error| SourceError::input(self.number, error.to_string()))?;
        if read == 0 {
            return Ok(false);
        }
        self.number += 1;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            if self.line.last() == Some(&b'\r') {
                self.line.pop();
            }
        } else if read as u64 == LONGEST_LINE {
            return Err(SourceError::line(self.number, format!("longer than {LONGEST_LINE} bytes")));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_are_left_out_and_counted_and_the_others_keep_their_numbers() {
        let text = "\n  first \r\n\r\n \t\r\n\u{c}\nsecond\n\n  ";
        let mut lines = Lines::new(Input::Stream(Box::new(Cursor::new(text)))).expect("it can be read");
        let mut found = vec![];
        while let Some((number, line)) = lines.next().expect("it can be read") {
            found.push((number, String::from_utf8_lossy(line).into_owned()));
        }
        assert_eq!(found, [(2, "  first ".to_owned()), (6, "second".to_owned())]);
        assert_eq!(lines.blank(), 6);
    }
}
