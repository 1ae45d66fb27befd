//! Text measured in terminal columns: padded, cut and wrapped.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Terminal columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// `text` filled with spaces to `columns`, on its left when `right_aligned`.
pub(crate) fn pad(text: &str, columns: usize, right_aligned: bool) -> String {
    let fill = " ".repeat(columns.saturating_sub(width(text)));
    if right_aligned { fill + text } else { text.to_owned() + &fill }
}

/// `text` shortened to `columns`, the last one an ellipsis when something was cut.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let head = &text[..fitting(text, columns.saturating_sub(1))];
    format!("{head}…")
}

/// `text` in lines of at most `columns`, broken at spaces where there are any.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    while width(rest) > columns {
        let limit = fitting(rest, columns).max(rest.chars().next().map_or(0, char::len_utf8));
        let (end, next) = match rest[..limit].rfind(' ') {
            _ if rest[limit..].starts_with(' ') => (limit, limit + 1),
            Some(space) if !rest[..space].trim().is_empty() => (space, space + 1),
            _ => (limit, limit),
        };
        lines.push(rest[..end].to_owned());
        rest = &rest[next..];
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(rest.to_owned());
    }
    lines
}

/// Bytes of the longest head of `text` that takes at most `columns`.
fn fitting(text: &str, columns: usize) -> usize {
    let mut used = 0;
    text.char_indices()
        .find(|(_, c)| {
            used += c.width().unwrap_or(0);
            used > columns
        })
        .map_or(text.len(), |(byte, _)| byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(width("東京"), 4);
        assert_eq!(width("🍎 apple"), 8);
        assert_eq!(pad("東", 4, false), "東  ");
        assert_eq!(pad("7", 3, true), "  7");
        assert_eq!(cut("東京都", 5), "東京…");
        assert_eq!(cut("abc", 3), "abc");
    }

    #[test]
    fn lines_break_at_spaces_and_inside_long_words() {
        assert_eq!(wrap("red running shoe", 8), ["red", "running", "shoe"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("  indented text", 10), ["  indented", "text"]);
        assert_eq!(wrap("running shoe", 7), ["running", "shoe"]);
        assert_eq!(wrap("東京", 1), ["東", "京"]);
    }
}
