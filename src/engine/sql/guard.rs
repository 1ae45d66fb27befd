//! Refuses texts that would exhaust the stack or the planner, before anything is parsed.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use crate::engine::sql::source::Source;
use crate::error::{Error, ErrorKind, Result, Subject};

/// Longest SQL text in bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Longest text of several statements in bytes; a file of more is COPY's.
const TEXTS_BYTES_MAX: usize = 8 << 20;
/// Deepest nesting of parentheses, brackets, angle brackets and CASE.
const NESTING_MAX: usize = 64;
/// Most operators of one statement outside any list, most casts in a row, and most relations of one FROM.
const CHAIN_MAX: usize = 2_000;
/// Most statements of one text.
pub const STATEMENTS_MAX: usize = 10_000;

/// What is told of such a text.
pub fn too_complex(message: String) -> Error {
    Error::new(ErrorKind::Input, Subject::Statement, message)
        .with_hint("split the statement, or put long lists of values into a table")
}

/// Fails when the text is longer than [`TEXT_BYTES_MAX`].
pub fn check_length(sql: &str) -> Result<()> {
    if sql.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    Err(too_complex(format!("statement has {} bytes; the limit is {TEXT_BYTES_MAX}", sql.len())))
}

/// Fails when a text of several statements is too long to be taken apart.
pub fn check_texts_length(sql: &str) -> Result<()> {
    if sql.len() <= TEXTS_BYTES_MAX {
        return Ok(());
    }
    let message = format!("statements have {} bytes together; the limit is {TEXTS_BYTES_MAX}", sql.len());
    Err(Error::new(ErrorKind::Input, Subject::Statement, message)
        .with_hint("send them one after the other; COPY reads rows of any number"))
}

/// Fails when one statement nests or chains deeper than parsing and planning can take.
pub fn check_shape(tokens: &[TokenWithSpan], source: &Source) -> Result<()> {
    match broken_at(tokens.iter().map(|t| &t.token)) {
        Some((at, error)) => Err(error.at(source.span(tokens[at].span))),
        None => Ok(()),
    }
}

/// As [`check_length`] and [`check_shape`], of a text in a text: an argument that is read as SQL.
pub fn check_inner(sql: &str, tokens: &[Token]) -> Result<()> {
    check_length(sql)?;
    broken_at(tokens).map_or(Ok(()), |(_, error)| Err(error))
}

/// The first token that is too deep, by its place, and why.
fn broken_at<'a>(tokens: impl IntoIterator<Item = &'a Token>) -> Option<(usize, Error)> {
    let mut shape = Shape { chains: vec![Chain::default()], angles: 0 };
    let mut previous = &Token::EOF;
    for (at, token) in tokens.into_iter().enumerate() {
        if matches!(token, Token::Whitespace(_)) {
            continue;
        }
        shape.step(previous, token);
        previous = token;
        let broken = if shape.depth() > NESTING_MAX {
            format!("statement nests deeper than {NESTING_MAX} levels")
        } else if shape.chain() > CHAIN_MAX {
            format!("statement chains more than {CHAIN_MAX} operators")
        } else {
            continue;
        };
        return Some((at, too_complex(broken)));
    }
    None
}

/// What has been seen so far inside every open bracket, and open angle brackets of types.
struct Shape {
    chains: Vec<Chain>,
    angles: usize,
}

/// Operators of the current item of a list, or relations of FROM: these are joined, one after the other.
#[derive(Clone, Copy, Default)]
struct Chain {
    links: usize,
    in_from: bool,
}

impl Shape {
    fn depth(&self) -> usize {
        self.chains.len() - 1 + self.angles
    }

    fn chain(&self) -> usize {
        self.chains.last().map_or(0, |chain| chain.links)
    }

    fn step(&mut self, previous: &Token, token: &Token) {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => self.chains.push(Chain::default()),
            Token::RParen | Token::RBracket | Token::RBrace => self.close(),
            Token::Lt if opens_type(previous) => self.angles += 1,
            Token::Gt if self.angles > 0 => self.angles -= 1,
            Token::ShiftRight if self.angles > 1 => self.angles -= 2,
            Token::Comma => self.comma(),
            Token::Word(w) if is_word(w, &["case"]) => self.chains.push(Chain::default()),
            Token::Word(w) if is_word(w, &["end"]) => self.close(),
            // IS DISTINCT FROM is an operator.
            Token::Word(w) if is_word(w, &["from"]) => {
                let operator = matches!(previous, Token::Word(w) if is_word(w, &["distinct"]));
                self.set_in_from(!operator);
            }
            Token::Word(w)
                if is_word(w, &["select", "where", "group", "order", "having", "limit", "set"]) =>
            {
                self.set_in_from(false);
            }
            other if is_link(other) => self.link(),
            _ => {}
        }
    }

    fn close(&mut self) {
        if self.chains.len() > 1 {
            self.chains.pop();
        }
    }

    fn link(&mut self) {
        if let Some(last) = self.chains.last_mut() {
            last.links += 1;
        }
    }

    fn comma(&mut self) {
        if let Some(last) = self.chains.last_mut() {
            last.links = if last.in_from { last.links + 1 } else { 0 };
        }
    }

    fn set_in_from(&mut self, in_from: bool) {
        if let Some(last) = self.chains.last_mut() {
            last.in_from = in_from;
        }
    }
}

fn is_word(word: &Word, list: &[&str]) -> bool {
    word.quote_style.is_none() && list.iter().any(|k| word.value.eq_ignore_ascii_case(k))
}

fn opens_type(previous: &Token) -> bool {
    matches!(previous, Token::Word(w) if is_word(w, &["array", "struct", "map", "nested", "nullable", "tuple"]))
}

/// Words that are operators, or stand before or after what they apply to.
const LINK_WORDS: &[&str] = &[
    "and",
    "at",
    "between",
    "collate",
    "except",
    "explain",
    "ilike",
    "in",
    "intersect",
    "is",
    "isnull",
    "join",
    "like",
    "not",
    "notnull",
    "operator",
    "or",
    "overlaps",
    "regexp",
    "rlike",
    "similar",
    "union",
    "when",
    "with",
];

/// True for what may make an expression or a query one level deeper: all that is no value, no name and no bracket.
fn is_link(token: &Token) -> bool {
    match token {
        Token::Word(w) => is_word(w, LINK_WORDS),
        Token::EOF
        | Token::Number(..)
        | Token::Char(_)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::DollarQuotedString(_)
        | Token::NationalStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::Placeholder(_)
        | Token::Period
        | Token::RArrow
        | Token::Assignment
        | Token::SemiColon
        | Token::Comma
        | Token::LParen
        | Token::RParen
        | Token::LBracket
        | Token::RBracket
        | Token::LBrace
        | Token::RBrace
        | Token::Whitespace(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    fn check(sql: &str) -> Result<()> {
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().unwrap();
        check_shape(&tokens, &Source::new(sql))
    }

    #[test]
    fn deep_and_long_chains_are_refused_and_long_lists_are_not() {
        assert!(check(&format!("select {}1", "1+".repeat(CHAIN_MAX + 1))).is_err());
        assert!(check(&format!("select {}1{}", "(".repeat(65), ")".repeat(65))).is_err());
        assert!(check(&format!("select cast(a as {}int)", "array<".repeat(70))).is_err());
        assert!(check(&format!("select * from t where a in ({}-1)", "-1, ".repeat(100_000))).is_ok());
        assert!(check(&format!("insert into t values (1, -1){}", ", (2, -2)".repeat(50_000))).is_ok());
        for operator in ["#", "<<", ">>", " like ", " at time zone ", "->", "^@", " collate ", "&&", " in "] {
            assert!(check(&format!("select {}1", format!("1{operator}").repeat(CHAIN_MAX + 1))).is_err());
        }
        assert!(check(&format!("select * from t{}", ", t".repeat(CHAIN_MAX + 1))).is_err());
        assert!(check(&format!("select a is distinct from b{} from t", ", 1".repeat(10_000))).is_ok());
        assert!(check(&format!("select (select 1 from t){} from t, t", ", 1".repeat(10_000))).is_ok());
        assert!(check("select a < b, b < c, c < d from t where x < 1 and y < 2").is_ok());
    }
}
