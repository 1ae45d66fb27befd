//! Tokens that are written anew before they are parsed.

use datafusion::sql::sqlparser::keywords::{Keyword, RESERVED_FOR_COLUMN_ALIAS};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};

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

/// Writes `TABLE t` where a query may stand as `SELECT * FROM t`.
pub fn expand_tables(tokens: &mut Vec<TokenWithSpan>) {
    let is_table = |token: &Token| matches!(token, Token::Word(word) if word.keyword == Keyword::TABLE);
    let solid = solid(tokens);
    let begins_query = |n: usize| {
        let before = n.checked_sub(1).map(|n| text(&tokens[solid[n]].token));
        let opens = ["(", "union", "all", "except", "intersect", "as"];
        before.is_none_or(|before| opens.contains(&before.as_str()))
    };
    // Not so in `SELECT a AS table FROM …`.
    let is_name = |token: &Token| matches!(token, Token::Word(word) if !RESERVED_FOR_COLUMN_ALIAS.contains(&word.keyword));
    let is_named = |n: usize| solid.get(n + 1).is_some_and(|at| is_name(&tokens[*at].token));
    // A function's argument may be called table, too: `f(table => t)`.
    let is_argument = |n: usize| solid.get(n + 1).is_some_and(|at| tokens[*at].token == Token::RArrow);
    let places: Vec<usize> = (0..solid.len())
        .filter(|n| {
            is_table(&tokens[solid[*n]].token) && begins_query(*n) && is_named(*n) && !is_argument(*n)
        })
        .map(|n| solid[n])
        .collect();
    for place in places.into_iter().rev() {
        let span = tokens[place].span;
        let word = |word| TokenWithSpan { token: Token::make_keyword(word), span };
        let blank = || TokenWithSpan { token: Token::Whitespace(Whitespace::Space), span };
        let star = TokenWithSpan { token: Token::Mul, span };
        tokens.splice(place..=place, [word("SELECT"), blank(), star, blank(), word("FROM")]);
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
    strip_qualifiers(tokens, places);
}

/// Takes the names at these places away, with the points behind them.
fn strip_qualifiers(tokens: &mut Vec<TokenWithSpan>, places: Vec<usize>) {
    for place in places.into_iter().rev() {
        tokens.drain(place..place + 2);
    }
}

/// Schemas that every database has.
const SCHEMAS: [&str; 5] = ["public", "forecasts", "ml", "pg_catalog", "information_schema"];

/// Takes the name of the database away before `schema.name`.
pub fn strip_database(tokens: &mut Vec<TokenWithSpan>, database: &str, schemas: &[String]) {
    let name = |token: &Token| match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
        Token::Word(word) => Some(word.value.clone()),
        _ => None,
    };
    let is_schema = |name: &String| SCHEMAS.contains(&name.as_str()) || schemas.contains(name);
    let begins = |n: usize| n == 0 || tokens[n - 1].token != Token::Period;
    let is_qualified = |n: &usize| {
        tokens[*n + 1].token == Token::Period
            && tokens[*n + 3].token == Token::Period
            && begins(*n)
            && name(&tokens[*n].token).is_some_and(|name| name == database)
            && name(&tokens[*n + 2].token).as_ref().is_some_and(is_schema)
    };
    let places: Vec<usize> = (0..tokens.len().saturating_sub(4)).filter(is_qualified).collect();
    strip_qualifiers(tokens, places);
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
