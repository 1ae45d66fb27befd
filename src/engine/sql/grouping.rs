//! `ROLLUP`, `CUBE` and `GROUPING SETS` in GROUP BY, with any expressions in them, and one within the other.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::engine::sql::words::{accept, is_word_at};

/// Keys of CUBE, of which there are as many sets as their number is a power of two.
const CUBE_MAX: usize = 12;
/// Most sets of one GROUPING SETS.
const SETS_MAX: usize = 4096;

type Keys = Vec<Expr>;

/// What an element of GROUP BY is called, and what it is.
type Kind = (&'static [&'static str], fn(Vec<Keys>) -> Expr);

/// The element of GROUP BY that comes next, where it is none of the expressions of a query.
pub fn parse(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    if is_no_key(parser) {
        parser.advance_token();
        parser.advance_token();
        return Some(Ok(Expr::Tuple(vec![])));
    }
    let kinds: [Kind; 3] =
        [(&["rollup"], Expr::Rollup), (&["cube"], Expr::Cube), (&["grouping", "sets"], Expr::GroupingSets)];
    let is_next = |words: &[&str]| {
        words.iter().enumerate().all(|(place, word)| is_word_at(parser, place, word))
            && parser.peek_nth_token_ref(words.len()).token == Token::LParen
    };
    let (words, kind) = kinds.into_iter().find(|(words, _)| is_next(words))?;
    accept(parser, words);
    Some(elements(parser).and_then(|elements| match words {
        ["grouping", "sets"] => Ok(kind(all_sets(elements)?)),
        _ if elements.iter().flatten().any(is_sets) => Err(misplaced()),
        _ => Ok(kind(elements)),
    }))
}

/// True for sets of keys.
pub fn is_sets(key: &Expr) -> bool {
    matches!(key, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_))
}

/// Where sets of keys may not stand.
pub const MISPLACED: &str =
    "ROLLUP, CUBE and GROUPING SETS are keys of GROUP BY, or elements of GROUPING SETS";

fn misplaced() -> ParserError {
    ParserError::ParserError(MISPLACED.to_owned())
}

/// `()` where a key of GROUP BY may stand.
fn is_no_key(parser: &Parser<'_>) -> bool {
    let is_place = match &parser.get_current_token().token {
        Token::Comma => true,
        Token::Word(word) => word.keyword == Keyword::BY,
        _ => false,
    };
    is_place
        && parser.peek_token_ref().token == Token::LParen
        && parser.peek_nth_token_ref(1).token == Token::RParen
}

fn elements(parser: &mut Parser<'_>) -> Result<Vec<Keys>, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let elements = parser.parse_comma_separated(element)?;
    parser.expect_token(&Token::RParen)?;
    Ok(elements)
}

/// One key, or several in parentheses.
fn element(parser: &mut Parser<'_>) -> Result<Keys, ParserError> {
    if parser.consume_tokens(&[Token::LParen, Token::RParen]) {
        return Ok(vec![]);
    }
    Ok(match parser.parse_expr()? {
        Expr::Tuple(keys) => keys,
        Expr::Nested(key) => vec![*key],
        key => vec![key],
    })
}

fn all_sets(elements: Vec<Keys>) -> Result<Vec<Keys>, ParserError> {
    let mut all = vec![];
    for element in elements {
        all.extend(sets_of(element)?);
        if all.len() > SETS_MAX {
            let message = format!("too many grouping sets present (maximum {SETS_MAX})");
            return Err(ParserError::ParserError(message));
        }
    }
    Ok(all)
}

/// The sets that an element of GROUPING SETS is: `ROLLUP (a, b)` is `(a, b), (a), ()`.
fn sets_of(element: Keys) -> Result<Vec<Keys>, ParserError> {
    let [only] = element.as_slice() else {
        return if element.iter().any(is_sets) { Err(misplaced()) } else { Ok(vec![element]) };
    };
    Ok(match only {
        Expr::GroupingSets(sets) => sets.clone(),
        Expr::Rollup(keys) => (0..=keys.len()).rev().map(|count| keys[..count].concat()).collect(),
        Expr::Cube(keys) if keys.len() <= CUBE_MAX => {
            let is_in = |set: usize, place: usize| set >> (keys.len() - 1 - place) & 1 == 1;
            let keys_of = |set: usize| (0..keys.len()).filter(move |place| is_in(set, *place));
            (0..1 << keys.len())
                .rev()
                .map(|set| keys_of(set).flat_map(|place| keys[place].clone()).collect())
                .collect()
        }
        Expr::Cube(_) => {
            let message = format!("CUBE is limited to {CUBE_MAX} elements");
            return Err(ParserError::ParserError(message));
        }
        _ => vec![element],
    })
}
