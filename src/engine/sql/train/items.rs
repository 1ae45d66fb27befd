//! Columns, tables and options, as they stand in clauses.

use std::fmt::{self, Display};

use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName, Query, Spanned};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::engine::sql::source::Source;
use crate::engine::sql::train::error::Parsed;
use crate::engine::sql::words::is_word_at;
use crate::error::Span;

/// An expression with the name of its column, and its place in the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The expression over the columns of the relation.
    pub expr: ast::Expr,
    /// `AS name`.
    pub alias: Option<Ident>,
    /// Where it stands.
    pub span: Option<Span>,
}

/// What is trained on.
#[derive(Debug, Clone, PartialEq)]
pub enum Relation {
    /// A table or view.
    Table(ObjectName),
    /// A query in parentheses.
    Query(Box<Query>),
}

impl Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.alias {
            Some(alias) => write!(f, "{} AS {alias}", self.expr),
            None => write!(f, "{}", self.expr),
        }
    }
}

impl Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(name) => write!(f, "{name}"),
            Self::Query(query) => write!(f, "({query})"),
        }
    }
}

/// An expression with the name of its column.
pub(super) fn item(parser: &mut Parser<'_>, source: &Source) -> Result<Item, ParserError> {
    let expr = parser.parse_expr()?;
    let alias = if parser.parse_keyword(Keyword::AS) { Some(parser.parse_identifier()?) } else { None };
    let span = source.span(expr.span());
    Ok(Item { expr, alias, span })
}

/// A table, or a query in parentheses.
pub(super) fn relation_of(parser: &mut Parser<'_>) -> Result<Relation, ParserError> {
    if !parser.consume_token(&Token::LParen) {
        return Ok(Relation::Table(parser.parse_object_name(false)?));
    }
    let query = parser.parse_query()?;
    parser.expect_token(&Token::RParen)?;
    Ok(Relation::Query(query))
}

/// `key = value`.
pub(super) fn option(parser: &mut Parser<'_>) -> Result<(Ident, ast::Expr), ParserError> {
    let key = parser.parse_identifier()?;
    parser.expect_token(&Token::Eq)?;
    Ok((key, parser.parse_expr()?))
}

/// Things in parentheses, with commas between them.
pub(super) fn parenthesised<T>(
    parser: &mut Parser<'_>,
    parse: impl FnMut(&mut Parser<'_>) -> Result<T, ParserError>,
) -> Parsed<Vec<T>> {
    parser.expect_token(&Token::LParen)?;
    let items = parser.parse_comma_separated(parse)?;
    parser.expect_token(&Token::RParen)?;
    Ok(items)
}

/// True when the parenthesis that comes next wraps a whole list rather than one expression.
pub(super) fn closes_after_comma(parser: &Parser<'_>) -> bool {
    let mut depth = 0usize;
    let mut comma = false;
    for n in 0.. {
        match &parser.peek_nth_token_ref(n).token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 1 => return comma || !is_operator_at(parser, n + 1),
            Token::RParen => depth -= 1,
            Token::Comma if depth == 1 => comma = true,
            Token::EOF => break,
            _ => {}
        }
    }
    false
}

fn is_operator_at(parser: &Parser<'_>, n: usize) -> bool {
    !matches!(parser.peek_nth_token_ref(n).token, Token::Word(_) | Token::EOF | Token::SemiColon)
        || ["and", "or", "is", "in", "like", "between"].iter().any(|w| is_word_at(parser, n, w))
}
