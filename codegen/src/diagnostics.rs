//! What is wrong with the IDL, shown where it is wrong.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The text of one IDL file and where it came from.
#[derive(Debug)]
pub struct Source {
    /// The file, as the caller of codegen named it.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

/// A piece of a source.
#[derive(Debug, Clone)]
pub struct Span {
    /// The file.
    pub source: Arc<Source>,
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Span {
    /// The line and the column, both from 1; the column counts characters.
    #[must_use]
    pub fn line_column(&self) -> (usize, usize) {
        let before = self
            .source
            .text
            .get(..self.start)
            .unwrap_or(&self.source.text);
        let line = before.matches('\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before
            .get(line_start..)
            .map_or(0, |text| text.chars().count())
            + 1;
        (line, column)
    }

    /// The line that the span begins in, and how many characters of it the span covers (at least one).
    fn line_and_width(&self) -> (&str, usize) {
        let text = &self.source.text;
        let start = self.start.min(text.len());
        let line_start = text
            .get(..start)
            .and_then(|before| before.rfind('\n'))
            .map_or(0, |newline| newline + 1);
        let line_end = text
            .get(start..)
            .and_then(|after| after.find('\n'))
            .map_or(text.len(), |length| start + length);
        let line = text
            .get(line_start..line_end)
            .unwrap_or_default()
            .trim_end_matches('\r');
        let covered = text
            .get(start..self.end.clamp(start, line_end))
            .unwrap_or_default();
        (line, covered.chars().count().max(1))
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// Where; `None` if it is not about a piece of text.
    pub span: Option<Span>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Something wrong at `span`.
    pub fn new(span: &Span, message: impl Into<String>) -> Self {
        Self {
            span: Some(span.clone()),
            message: message.into(),
            hint: None,
        }
    }

    /// Something wrong that has no place in a file.
    pub fn general(message: impl Into<String>) -> Self {
        Self {
            span: None,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what to do about it, if that is known.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(span) = &self.span else {
            writeln!(f, "error: {}", self.message)?;
            return match &self.hint {
                Some(hint) => writeln!(f, "     hint: {hint}"),
                None => Ok(()),
            };
        };
        let (number, column) = span.line_column();
        let (line, width) = span.line_and_width();
        writeln!(
            f,
            "{}:{number}:{column}: error: {}",
            span.source.path.display(),
            self.message
        )?;
        writeln!(f, "{number:5} | {line}")?;
        // Tabs are kept, so that the caret stands below its text at any tab width.
        let indent: String = line
            .chars()
            .take(column.saturating_sub(1))
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        writeln!(f, "      | {indent}{}", "^".repeat(width))?;
        match &self.hint {
            Some(hint) => writeln!(f, "      = hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong; never empty when it is an error.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Adds those of `other`.
    pub fn extend(&mut self, other: impl IntoIterator<Item = Diagnostic>) {
        self.list.extend(other);
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What is wrong, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Sorts by file and place, as a reader works through them.
    pub fn sort(&mut self) {
        self.list.sort_by(|a, b| {
            let key = |d: &Diagnostic| d.span.as_ref().map(|s| (s.source.path.clone(), s.start));
            key(a).cmp(&key(b))
        });
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.list {
            writeln!(f, "{diagnostic}")?;
        }
        match self.list.len() {
            1 => write!(f, "1 error"),
            n => write!(f, "{n} errors"),
        }
    }
}

impl std::error::Error for Diagnostics {}
