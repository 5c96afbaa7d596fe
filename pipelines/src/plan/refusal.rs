//! Why a pipeline file cannot run, and the way out: printed as rustc prints its errors.

use crate::plan::Position;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::fmt;
use std::ops::Range;

/// One reason why a pipeline file cannot run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Where it stands.
    pub position: Position,
    /// How many characters it takes on that line, at least 1.
    pub length: usize,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position, self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// The report for a terminal: the line, what is wrong with it, and the way out.
pub fn render(refusal: &Refusal, file: &str, text: &str) -> String {
    let line = text.split('\n').nth(refusal.position.line.saturating_sub(1)).unwrap_or_default();
    let line = line.strip_suffix('\r').unwrap_or(line);
    let snippet = Snippet::source(line)
        .line_start(refusal.position.line)
        .path(file)
        .annotation(AnnotationKind::Primary.span(bytes_of(line, refusal.position.column, refusal.length)));
    let mut group = Level::ERROR.primary_title(&refusal.message).element(snippet);
    if let Some(help) = &refusal.help {
        group = group.element(Level::HELP.message(help));
    }
    Renderer::plain().render(&[group])
}

/// All reports, one after the other, each with the text of its own file out of `files`, and how many there are.
pub fn render_all(refusals: &[Refusal], files: &[(&str, &str)]) -> String {
    let mut report = String::new();
    for refusal in refusals {
        let text = files.iter().find(|(path, _)| *path == &*refusal.position.file).map_or("", |(_, text)| text);
        report.push_str(&render(refusal, &refusal.position.file, text));
        report.push_str("\n\n");
    }
    let count = refusals.len();
    report.push_str(&format!("{count} {}: nothing was started\n", if count == 1 { "error" } else { "errors" }));
    report
}

/// The bytes of `length` characters from the 1-based `column` on, kept within `line`.
fn bytes_of(line: &str, column: usize, length: usize) -> Range<usize> {
    let byte = |characters: usize| line.char_indices().nth(characters).map_or(line.len(), |(byte, _)| byte);
    let start = byte(column.saturating_sub(1));
    start..byte(column.saturating_sub(1) + length.max(1)).max(start)
}
