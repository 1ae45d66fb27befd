//! Tokens that are written anew before they are parsed.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// Functions with a grammar of their own, which the parser does not know behind a schema.
const KEYWORD_FUNCTIONS: [&str; 6] = ["substring", "position", "overlay", "trim", "extract", "coalesce"];

/// The places of the tokens that are no white space.
pub fn solid(tokens: &[TokenWithSpan]) -> Vec<usize> {
    (0..tokens.len()).filter(|n| !matches!(tokens[*n].token, Token::Whitespace(_))).collect()
}

/// A token's text in lower case; quoted names with their quotes.
pub fn text(token: &Token) -> String {
    match token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
        other => other.to_string().to_lowercase(),
    }
}

/// Takes `pg_catalog.` away before such functions.
pub fn strip_schema_of_keywords(tokens: &mut Vec<TokenWithSpan>) {
    let is_called = |four: &[TokenWithSpan]| {
        four[1].token == Token::Period
            && four[3].token == Token::LParen
            && text(&four[0].token) == "pg_catalog"
            && KEYWORD_FUNCTIONS.contains(&text(&four[2].token).as_str())
    };
    let places: Vec<usize> =
        tokens.windows(4).enumerate().filter(|(_, four)| is_called(four)).map(|(n, _)| n).collect();
    for place in places.into_iter().rev() {
        tokens.drain(place..place + 2);
    }
}

/// Quotes the name `at`, which the parser takes for the beginning of a version of the table before it.
pub fn quote_at(tokens: &mut [TokenWithSpan]) {
    let is_keyword = |token: &Token, keyword| matches!(token, Token::Word(word) if word.keyword == keyword);
    for pair in solid(tokens).windows(2) {
        let (at, next) = (&tokens[pair[0]].token, &tokens[pair[1]].token);
        if is_keyword(at, Keyword::AT) && *next != Token::LParen && !is_keyword(next, Keyword::TIME) {
            let name = Word { value: "at".to_owned(), quote_style: Some('"'), keyword: Keyword::NoKeyword };
            tokens[pair[0]].token = Token::Word(name);
        }
    }
}
