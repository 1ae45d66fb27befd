//! Words as SQL reads them, and words ahead of the parser: our clause words are contextual, never reserved.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

/// An identifier as SQL reads it: folded to lower case unless quoted.
pub fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The last part of a name, without its schema.
pub fn last_word(name: &ObjectName) -> Option<String> {
    name.0.last()?.as_ident().map(fold)
}

/// True when token `n` ahead is this word, unquoted.
pub fn is_word_at(parser: &Parser<'_>, n: usize, word: &str) -> bool {
    matches!(&parser.peek_nth_token_ref(n).token,
        Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// True when the next tokens are these words, unquoted.
pub fn starts_with(parser: &Parser<'_>, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(n, word)| is_word_at(parser, n, word))
}

/// Consumes these words when they come next.
pub fn accept(parser: &mut Parser<'_>, words: &[&str]) -> bool {
    let found = starts_with(parser, words);
    if found {
        for _ in words {
            parser.advance_token();
        }
    }
    found
}

/// True at the end of the statement.
pub fn at_end(parser: &Parser<'_>) -> bool {
    matches!(parser.peek_token_ref().token, Token::EOF | Token::SemiColon)
}
