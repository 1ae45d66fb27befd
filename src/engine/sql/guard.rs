//! Refuses texts that would exhaust the stack or the planner, before anything is parsed.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use crate::engine::sql::source::Source;
use crate::error::{Error, ErrorKind, Result, Subject};

/// Longest SQL text in bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting of parentheses, brackets, angle brackets and CASE.
const NESTING_MAX: usize = 64;
/// Most operators of one statement outside any list, and most casts in a row.
const CHAIN_MAX: usize = 2_000;
/// Most statements of one text.
pub const STATEMENTS_MAX: usize = 10_000;

fn too_complex(message: String) -> Error {
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

/// Fails when one statement nests or chains deeper than parsing and planning can take.
pub fn check_shape(tokens: &[TokenWithSpan], source: &Source) -> Result<()> {
    let mut shape = Shape { chains: vec![0], angles: 0 };
    let mut previous = &Token::EOF;
    for token in tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))) {
        shape.step(previous, &token.token);
        previous = &token.token;
        let broken = if shape.depth() > NESTING_MAX {
            format!("statement nests deeper than {NESTING_MAX} levels")
        } else if shape.chain() > CHAIN_MAX {
            format!("statement chains more than {CHAIN_MAX} operators")
        } else {
            continue;
        };
        let error = too_complex(broken);
        return Err(error.at(source.span(token.span)));
    }
    Ok(())
}

/// Operators seen so far in the current item of every open bracket, and open angle brackets of types.
struct Shape {
    chains: Vec<usize>,
    angles: usize,
}

impl Shape {
    fn depth(&self) -> usize {
        self.chains.len() - 1 + self.angles
    }

    fn chain(&self) -> usize {
        self.chains.last().copied().unwrap_or(0)
    }

    fn step(&mut self, previous: &Token, token: &Token) {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => self.chains.push(0),
            Token::RParen | Token::RBracket | Token::RBrace => self.close(),
            Token::Lt if opens_type(previous) => self.angles += 1,
            Token::Gt if self.angles > 0 => self.angles -= 1,
            Token::ShiftRight if self.angles > 1 => self.angles -= 2,
            Token::Comma => self.set_chain(0),
            Token::Word(w) if is_word(w, &["case"]) => self.chains.push(0),
            Token::Word(w) if is_word(w, &["end"]) => self.close(),
            other if is_link(other) => self.set_chain(self.chain() + 1),
            _ => {}
        }
    }

    fn close(&mut self) {
        if self.chains.len() > 1 {
            self.chains.pop();
        }
    }

    fn set_chain(&mut self, links: usize) {
        if let Some(last) = self.chains.last_mut() {
            *last = links;
        }
    }
}

fn is_word(word: &Word, list: &[&str]) -> bool {
    word.quote_style.is_none() && list.iter().any(|k| word.value.eq_ignore_ascii_case(k))
}

fn opens_type(previous: &Token) -> bool {
    matches!(previous, Token::Word(w) if is_word(w, &["array", "struct", "map", "nested", "nullable", "tuple"]))
}

fn is_link(token: &Token) -> bool {
    match token {
        Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::StringConcat
        | Token::DoubleColon
        | Token::Eq
        | Token::Neq
        | Token::Lt
        | Token::Gt
        | Token::LtEq
        | Token::GtEq
        | Token::ExclamationMark
        | Token::Tilde
        | Token::Caret
        | Token::Ampersand
        | Token::Pipe => true,
        Token::Word(w) => is_word(
            w,
            &[
                "and",
                "or",
                "not",
                "union",
                "intersect",
                "except",
                "between",
                "join",
                "is",
                "when",
                "with",
                "explain",
            ],
        ),
        _ => false,
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
        assert!(check("select a < b, b < c, c < d from t where x < 1 and y < 2").is_ok());
    }
}
