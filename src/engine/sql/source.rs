//! The text of a statement and the places in it.

use datafusion::sql::sqlparser::tokenizer::{Location, Span as TokenSpan};

use crate::error::Span;

/// A SQL text with the start of every line, to turn the tokenizer's lines and columns into bytes.
#[derive(Debug, Default)]
pub struct Source {
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    /// Indexes the lines of `text`.
    pub fn new(text: &str) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Self { text: text.to_owned(), line_starts }
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Byte offset of a location (line and column counted from 1, columns in characters).
    pub fn offset(&self, location: Location) -> Option<usize> {
        let line = usize::try_from(location.line.checked_sub(1)?).ok()?;
        let column = usize::try_from(location.column.checked_sub(1)?).ok()?;
        let start = *self.line_starts.get(line)?;
        let bytes: usize = self.text[start..].chars().take(column).map(char::len_utf8).sum();
        Some(start + bytes)
    }

    /// Bytes of a token span, when it points into this text.
    pub fn span(&self, span: TokenSpan) -> Option<Span> {
        let (start, end) = (self.offset(span.start)?, self.offset(span.end)?);
        (start <= end).then_some(Span { start, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_offsets_count_bytes() {
        let source = Source::new("select 'é',\n  x");
        let start = source.offset(Location { line: 2, column: 3 });
        assert_eq!(start, Some("select 'é',\n  ".len()));
        assert_eq!(source.offset(Location { line: 0, column: 0 }), None);
    }
}
