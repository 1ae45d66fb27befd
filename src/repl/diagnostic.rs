//! Errors for people: the message, the words of the SQL it is about, and the way out.

use crate::error::{Error, Span};

use super::output::{cut, width};
use super::terminal::Style;

/// Columns of SQL shown around the words that an error is about.
const SHOWN_COLUMNS: usize = 100;
/// Lines of SQL shown when an error is about several.
const SHOWN_LINES: usize = 4;

/// The text that an error's place refers to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    /// The file it came from, when it came from one.
    pub(super) file: Option<&'a str>,
    /// All of it.
    pub(super) text: &'a str,
    /// Where in it the failed statement starts.
    pub(super) statement: usize,
}

/// The error in lines, the last one ended by a line break.
pub(super) fn render(error: &Error, source: Source<'_>, style: Style) -> String {
    let span = error.span().map(|span| place(span, source));
    let mut text = String::new();
    if let Some(file) = source.file {
        let start = span.map_or_else(|| floor(source.text, source.statement), |span| span.start);
        let (line, column) = position(source.text, start);
        text += &style.bold(&format!("{file}:{line}:{column}: "));
    }
    text += &format!("{} {}\n", style.red("ERROR:"), error.message());
    if let Some(span) = span {
        text += &underlined(source.text, span, style);
    }
    if let Some(detail) = error.detail() {
        text += &format!("{} {detail}\n", style.bold("DETAIL:"));
    }
    if let Some(hint) = error.hint() {
        text += &format!("{} {hint}\n", style.bold("HINT:"));
    }
    text
}

/// The span in the whole text, on character boundaries and never empty unless at the end.
fn place(span: Span, source: Source<'_>) -> Span {
    let text = source.text;
    let start = floor(text, span.start.saturating_add(source.statement));
    let end = floor(text, span.end.saturating_add(source.statement)).max(start);
    let one = text[start..].chars().next().map_or(0, char::len_utf8);
    Span { start, end: end.max(start + one) }
}

fn floor(text: &str, byte: usize) -> usize {
    let mut byte = byte.min(text.len());
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    byte
}

/// Line and column, both from 1, the column in characters.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..byte];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The lines of the span, each with carets under its part.
fn underlined(text: &str, span: Span, style: Style) -> String {
    let (first_line, _) = position(text, span.start);
    let mut start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let mut shown = Vec::new();
    for (index, line) in text[start..].split('\n').enumerate() {
        if start > span.start && start >= span.end {
            break;
        }
        let from = span.start.clamp(start, start + line.len()) - start;
        let to = span.end.clamp(start, start + line.len()) - start;
        shown.push((first_line + index, line, from, to));
        start += line.len() + 1;
    }
    let more = shown.len() > SHOWN_LINES;
    shown.truncate(SHOWN_LINES);
    let gutter = shown.last().map_or(1, |(number, ..)| number.to_string().len()) + 1;
    let mut lines = String::new();
    for (number, line, from, to) in shown {
        let (sql, carets) = line_and_carets(line, from, to);
        lines += &style.dim(&format!("{number:>gutter$} | "));
        lines += &format!("{sql}\n");
        lines += &style.dim(&format!("{:>gutter$} | ", ""));
        lines += &format!("{}{}\n", " ".repeat(carets.0), style.red(&"^".repeat(carets.1)));
    }
    if more {
        lines += &style.dim(&format!("{:>gutter$} | …\n", ""));
    }
    lines
}

/// The line as shown, and the columns before and under the carets.
fn line_and_carets(line: &str, from: usize, to: usize) -> (String, (usize, usize)) {
    let shown = |part: &str| part.trim_end_matches('\r').replace('\t', "    ").replace(char::is_control, "·");
    let (mut head, mut middle, mut tail) = (shown(&line[..from]), shown(&line[from..to]), shown(&line[to..]));
    let indent = middle.len() - middle.trim_start().len();
    if from == 0 && indent < middle.len() {
        head = middle[..indent].to_owned();
        middle = middle[indent..].to_owned();
    }
    if width(&head) + width(&middle) + width(&tail) > SHOWN_COLUMNS {
        head = last_columns(&head, SHOWN_COLUMNS / 2);
        middle = cut(&middle, SHOWN_COLUMNS);
        tail = cut(&tail, SHOWN_COLUMNS.saturating_sub(width(&head) + width(&middle)).max(1));
    }
    let carets = (width(&head), width(&middle).max(1));
    ((head + &middle + &tail).trim_end().to_owned(), carets)
}

/// The end of `text` that takes at most `columns`, the first one an ellipsis when something was cut.
fn last_columns(text: &str, columns: usize) -> String {
    let total = width(text);
    if total <= columns {
        return text.to_owned();
    }
    let tail = text.char_indices().map(|(at, _)| &text[at..]).find(|tail| width(tail) < columns);
    format!("…{}", tail.unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use crate::error::Subject;

    use super::*;

    fn rendered(text: &str, statement: usize, words: &str, file: Option<&str>) -> String {
        let start = text[statement..].find(words).unwrap();
        let span = Span { start, end: start + words.len() };
        let error = Error::input(Subject::Column, "no column unit in sales").with_span(span);
        render(&error, Source { file, text, statement }, Style::PLAIN)
    }

    #[test]
    fn carets_stand_under_the_words() {
        let text = "SELECT 1;\nTRAIN FORECAST MODEL m\n  ON sales TARGET unit;";
        let expected = "\
ERROR: no column unit in sales
 3 |   ON sales TARGET unit;
   |                   ^^^^
";
        assert_eq!(rendered(text, 10, "unit", None), expected);
        let with_file = rendered(text, 10, "unit", Some("a.sql"));
        assert!(with_file.starts_with("a.sql:3:19: ERROR: no column"), "{with_file}");
    }

    #[test]
    fn tabs_and_wide_characters_keep_the_carets_in_place() {
        let expected = "\
ERROR: no column unit in sales
 1 |     SELECT '東京', unit
   |                    ^^^^
";
        assert_eq!(rendered("\tSELECT '東京', unit", 0, "unit", None), expected);
    }

    #[test]
    fn several_lines_are_underlined_each() {
        let expected = "\
ERROR: no column unit in sales
 1 | SELECT (a,
   |        ^^^
 2 |   b)
   |   ^^
";
        assert_eq!(rendered("SELECT (a,\n  b)", 0, "(a,\n  b)", None), expected);
    }

    #[test]
    fn long_lines_are_shown_around_the_words() {
        let text = format!("SELECT {}, unit, {}", "a, ".repeat(200), "b, ".repeat(200));
        let shown = rendered(&text, 0, "unit", None);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].contains("…") && width(lines[1]) < 120, "{shown}");
        assert_eq!(lines[1].find("unit").map(|at| width(&lines[1][..at])), lines[2].find('^'));
    }

    #[test]
    fn the_end_of_the_text_and_wild_spans_are_harmless() {
        let error = Error::input(Subject::Syntax, "unexpected end").with_span(Span { start: 8, end: 8 });
        let shown = render(&error, Source { file: None, text: "SELECT 東", statement: 0 }, Style::PLAIN);
        assert!(shown.contains(" 1 | SELECT 東\n"), "{shown}");
        let error = Error::input(Subject::Syntax, "x").with_span(Span { start: 90, end: 2 }).with_hint("y");
        let shown = render(&error, Source { file: Some("f"), text: "", statement: 7 }, Style::PLAIN);
        assert_eq!(shown, "f:1:1: ERROR: x\n 1 | \n   | ^\nHINT: y\n");
    }
}
