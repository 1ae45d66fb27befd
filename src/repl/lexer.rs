//! SQL in coloured pieces: enough of a lexer to highlight a line and to know where the cursor is.

/// What a piece of SQL is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A keyword or a name.
    Word,
    /// A name in double quotes.
    QuotedName,
    /// A string in single quotes or between dollar tags.
    String,
    /// A number.
    Number,
    /// To the end of the line, or between `/*` and `*/`.
    Comment,
    /// Blanks and line breaks.
    Space,
    /// Any other single character.
    Symbol,
}

/// One piece of the text; a string, name or comment without an end reaches to the end of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind,
    pub(super) text: &'a str,
    /// False when the closing quote or comment mark is missing.
    pub(super) closed: bool,
}

/// All of `sql` in order: the texts joined are `sql` again.
pub(super) fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = token(rest, first);
        let (text, tail) = rest.split_at(length.unwrap_or(rest.len()));
        tokens.push(Token { kind, text, closed: length.is_some() });
        rest = tail;
    }
    tokens
}

/// Kind and bytes of the token at the start of `rest`; no length when its end is missing.
fn token(rest: &str, first: char) -> (TokenKind, Option<usize>) {
    match first {
        '\'' => (TokenKind::String, quoted(rest, '\'')),
        '"' => (TokenKind::QuotedName, quoted(rest, '"')),
        '$' if dollar_tag(rest).is_some() => (TokenKind::String, dollar_quoted(rest)),
        '-' if rest.starts_with("--") => (TokenKind::Comment, Some(rest.find('\n').unwrap_or(rest.len()))),
        '/' if rest.starts_with("/*") => (TokenKind::Comment, block_comment(rest)),
        c if c.is_whitespace() => (TokenKind::Space, Some(run(rest, char::is_whitespace))),
        c if c.is_ascii_digit() => (TokenKind::Number, Some(number(rest))),
        c if c.is_alphabetic() || c == '_' => (TokenKind::Word, Some(run(rest, is_word_part))),
        c => (TokenKind::Symbol, Some(c.len_utf8())),
    }
}

fn is_word_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

fn number(text: &str) -> usize {
    let mantissa = run(text, |c| c.is_ascii_digit() || c == '_' || c == '.');
    let exponent = text[mantissa..].strip_prefix(['e', 'E']).map(|tail| {
        let sign = usize::from(tail.starts_with(['+', '-']));
        (sign, run(&tail[sign..], |c| c.is_ascii_digit()))
    });
    match exponent {
        Some((sign, digits)) if digits > 0 => mantissa + 1 + sign + digits,
        _ => mantissa,
    }
}

/// A doubled quote stands for itself.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut at = 1;
    loop {
        at += text[at..].find(quote)? + 1;
        if !text[at..].starts_with(quote) {
            return Some(at);
        }
        at += 1;
    }
}

fn dollar_tag(text: &str) -> Option<&str> {
    let name = run(&text[1..], |c| c.is_alphanumeric() || c == '_');
    let starts_with_digit = text[1..].starts_with(|c: char| c.is_ascii_digit());
    (text[1 + name..].starts_with('$') && !starts_with_digit).then(|| &text[..name + 2])
}

fn dollar_quoted(text: &str) -> Option<usize> {
    let tag = dollar_tag(text)?;
    let end = text[tag.len()..].find(tag)?;
    Some(end + 2 * tag.len())
}

fn block_comment(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        let next = at + text[at..].find(['/', '*'])?;
        let pair = text.get(next..next + 2).unwrap_or("");
        (depth, at) = match pair {
            "/*" => (depth + 1, next + 2),
            "*/" if depth == 1 => return Some(next + 2),
            "*/" => (depth - 1, next + 2),
            _ => (depth, next + 1),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(sql: &str) -> Vec<(TokenKind, &str)> {
        tokens(sql).into_iter().filter(|t| t.kind != TokenKind::Space).map(|t| (t.kind, t.text)).collect()
    }

    #[test]
    fn every_kind_is_told_apart() {
        let sql = "SELECT \"a \"\"b\", 'it''s', 1.5e-3 -- end\n/* x /* y */ z */ $t$ ; $t$ $1";
        let expected = [
            (TokenKind::Word, "SELECT"),
            (TokenKind::QuotedName, "\"a \"\"b\""),
            (TokenKind::Symbol, ","),
            (TokenKind::String, "'it''s'"),
            (TokenKind::Symbol, ","),
            (TokenKind::Number, "1.5e-3"),
            (TokenKind::Comment, "-- end"),
            (TokenKind::Comment, "/* x /* y */ z */"),
            (TokenKind::String, "$t$ ; $t$"),
            (TokenKind::Symbol, "$"),
            (TokenKind::Number, "1"),
        ];
        assert_eq!(kinds(sql), expected);
    }

    #[test]
    fn nothing_is_lost_and_open_ends_are_known() {
        for sql in ["'open", "/* open /* */", "\"", "a$b é 東 ;", "$x$ y", "1e", "", "/", "-"] {
            let pieces: String = tokens(sql).iter().map(|t| t.text).collect();
            assert_eq!(pieces, sql);
        }
        assert!(!tokens("'open")[0].closed);
        assert!(!tokens("/* /* */")[0].closed);
        assert!(tokens("'shut'")[0].closed);
    }
}
