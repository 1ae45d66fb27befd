//! The text of a statement and the places in it.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Span as TokenSpan, Token, TokenWithSpan, Tokenizer};

use crate::error::Span;

/// Characters from one mark to the next.
const MARK_EVERY: usize = 64;

/// A SQL text with the start of every line, to turn the tokenizer's lines and columns into bytes.
#[derive(Debug, Default)]
pub struct Source {
    text: String,
    /// Characters before each line.
    line_starts: Vec<usize>,
    /// Byte offset of every 64th character, so that a place in a long line is found at once.
    marks: Vec<usize>,
}

impl Source {
    /// Indexes the lines of `text`.
    pub fn new(text: &str) -> Self {
        let (mut line_starts, mut marks) = (vec![0], vec![]);
        for (n, (byte, c)) in text.char_indices().enumerate() {
            if n % MARK_EVERY == 0 {
                marks.push(byte);
            }
            if c == '\n' {
                line_starts.push(n + 1);
            }
        }
        Self { text: text.to_owned(), line_starts, marks }
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Byte offset of a location (line and column counted from 1, columns in characters).
    pub fn offset(&self, location: Location) -> Option<usize> {
        let line = usize::try_from(location.line.checked_sub(1)?).ok()?;
        let column = usize::try_from(location.column.checked_sub(1)?).ok()?;
        let character = self.line_starts.get(line)? + column;
        let Some(mark) = self.marks.get(character / MARK_EVERY) else { return Some(self.text.len()) };
        let bytes: usize = self.text[*mark..].chars().take(character % MARK_EVERY).map(char::len_utf8).sum();
        Some(mark + bytes)
    }

    /// Where this name stands, when it does so once.
    pub fn only_place(&self, name: &str) -> Option<Span> {
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, &self.text).tokenize_with_location().ok()?;
        let is_name = |token: &&TokenWithSpan| match &token.token {
            Token::Word(word) if word.quote_style.is_some() => word.value == name,
            Token::Word(word) => word.value.to_lowercase() == name,
            _ => false,
        };
        let mut found = tokens.iter().filter(is_name);
        let first = found.next().filter(|_| found.next().is_none())?;
        self.span(first.span)
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
    fn a_name_has_a_place_where_it_stands_once() {
        let source = Source::new("SELECT é, B FROM \"B\" t ORDER BY Nothing -- nothing");
        let found = source.only_place("nothing").map(|span| &source.text()[span.start..span.end]);
        assert_eq!((found, source.only_place("x")), (Some("Nothing"), None));
        assert_eq!(Source::new("SELECT a, a").only_place("a"), None);
    }

    #[test]
    fn columns_count_characters_and_offsets_count_bytes() {
        let source = Source::new("select 'é',\n  x");
        let start = source.offset(Location { line: 2, column: 3 });
        assert_eq!(start, Some("select 'é',\n  ".len()));
        assert_eq!(source.offset(Location { line: 0, column: 0 }), None);
        let long = format!("{}é\nx{}y", "é".repeat(200), " ".repeat(127));
        let source = Source::new(&long);
        assert_eq!(source.offset(Location { line: 1, column: 201 }), Some(400));
        assert_eq!(source.offset(Location { line: 2, column: 129 }), long.find('y'));
        assert_eq!(source.offset(Location { line: 2, column: 130 }), Some(long.len()));
        assert_eq!(source.offset(Location { line: 2, column: 900 }), Some(long.len()));
    }
}
