//! COPY between tables and files, in PostgreSQL's words and DataFusion's.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Query, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{IsOptional, Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::engine::sql::select::{select_columns, table};
use crate::engine::sql::words::{accept, at_end, is_word_at};

type Options = Vec<(String, String)>;

/// The other end of a COPY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A file.
    File(String),
    /// STDIN or STDOUT: the client of the session.
    Client,
}

/// What is copied where.
#[derive(Debug, Clone, PartialEq)]
pub enum Copy {
    /// `COPY table [(columns)] FROM 'file' | STDIN [WITH (options)]`.
    From { table: ObjectName, columns: Vec<Ident>, end: End, options: Options },
    /// `COPY table [(columns)] | (query) TO 'file' | STDOUT [PARTITIONED BY (columns)] [WITH (options)]`.
    To { query: Box<Query>, end: End, partitioned_by: Vec<Ident>, options: Options },
}

impl Copy {
    /// Visits the query whose rows are copied.
    pub fn visit_query(&mut self, visitor: &mut impl VisitorMut) -> ControlFlow<()> {
        if let Self::To { query, .. } = self {
            let _ = query.visit(visitor);
        }
        ControlFlow::Continue(())
    }
}

/// Reads the statement from its first word on.
pub fn parse(parser: &mut Parser<'_>) -> Result<Copy, ParserError> {
    accept(parser, &["copy"]);
    let source = source(parser)?;
    let reads = parser.parse_keyword(Keyword::FROM);
    if !reads {
        parser.expect_keyword(Keyword::TO)?;
    }
    let end = other_end(parser, if reads { "stdin" } else { "stdout" })?;
    let (mut partitioned_by, mut options) = (vec![], vec![]);
    while !at_end(parser) {
        if accept(parser, &["stored", "as"]) {
            options.push(("format".to_owned(), parser.parse_identifier()?.value.to_lowercase()));
        } else if accept(parser, &["partitioned", "by"]) {
            partitioned_by = parser.parse_parenthesized_column_list(IsOptional::Mandatory, false)?;
        } else if let Some(option) = old_option(parser)? {
            options.push(option);
        } else {
            options.extend(with_options(parser)?);
        }
    }
    match (source, reads) {
        (Source::Table(table, columns), true) if partitioned_by.is_empty() => {
            Ok(Copy::From { table, columns, end, options })
        }
        (_, true) => {
            Err(ParserError::ParserError("COPY reads a file into a table: COPY table FROM 'file'".into()))
        }
        (source, false) => Ok(Copy::To { query: source.into_query(), end, partitioned_by, options }),
    }
}

/// What stands after COPY.
enum Source {
    Table(ObjectName, Vec<Ident>),
    Query(Box<Query>),
}

impl Source {
    fn into_query(self) -> Box<Query> {
        match self {
            Self::Query(query) => query,
            Self::Table(name, columns) => Box::new(select_columns(table(name), columns)),
        }
    }
}

fn source(parser: &mut Parser<'_>) -> Result<Source, ParserError> {
    if parser.consume_token(&Token::LParen) {
        let query = parser.parse_query()?;
        parser.expect_token(&Token::RParen)?;
        return Ok(Source::Query(query));
    }
    let name = parser.parse_object_name(false)?;
    let columns = parser.parse_parenthesized_column_list(IsOptional::Optional, false)?;
    Ok(Source::Table(name, columns))
}

fn other_end(parser: &mut Parser<'_>, stream: &str) -> Result<End, ParserError> {
    if accept(parser, &[stream]) {
        return Ok(End::Client);
    }
    parser.parse_literal_string().map(End::File)
}

/// An option as it was written before PostgreSQL 9: `WITH CSV HEADER`, `DELIMITER AS ';'`, `BINARY`.
fn old_option(parser: &mut Parser<'_>) -> Result<Option<(String, String)>, ParserError> {
    let n = usize::from(is_word_at(parser, 0, "with"));
    let is = |word: &str| is_word_at(parser, n, word);
    let found =
        ["csv", "binary", "header", "delimiter", "null", "quote", "escape"].into_iter().find(|w| is(w));
    let Some(word) = found else { return Ok(None) };
    accept(parser, &["with"]);
    accept(parser, &[word]);
    Ok(Some(match word {
        "csv" | "binary" => ("format".to_owned(), word.to_owned()),
        "header" => (word.to_owned(), "true".to_owned()),
        _ => {
            accept(parser, &["as"]);
            (word.to_owned(), parser.parse_literal_string()?)
        }
    }))
}

fn with_options(parser: &mut Parser<'_>) -> Result<Options, ParserError> {
    let _ = accept(parser, &["with"]) || accept(parser, &["options"]);
    parser.expect_token(&Token::LParen)?;
    let options = parser.parse_comma_separated(option)?;
    parser.expect_token(&Token::RParen)?;
    Ok(options)
}

/// `key value`, `key = value` or `key` alone (true), as PostgreSQL and DataFusion write them.
fn option(parser: &mut Parser<'_>) -> Result<(String, String), ParserError> {
    let token = parser.next_token();
    let key = match token.token {
        Token::Word(w) => dotted(parser, w.value)?.to_lowercase(),
        Token::SingleQuotedString(s) => s.to_lowercase(),
        _ => return parser.expected("an option of COPY", token),
    };
    let _ = parser.consume_token(&Token::Eq);
    if matches!(parser.peek_token_ref().token, Token::Comma | Token::RParen) {
        return Ok((key, "true".to_owned()));
    }
    let token = parser.next_token();
    let value = match token.token {
        Token::Word(w) => w.value,
        Token::SingleQuotedString(s) | Token::EscapedStringLiteral(s) => s,
        Token::Number(n, _) => n,
        _ => return parser.expected("a value of the option", token),
    };
    Ok((key, value))
}

/// `format.has_header`: words with dots between them.
fn dotted(parser: &mut Parser<'_>, first: String) -> Result<String, ParserError> {
    let mut name = first;
    while parser.consume_token(&Token::Period) {
        name = format!("{name}.{}", parser.parse_identifier()?.value);
    }
    Ok(name)
}
