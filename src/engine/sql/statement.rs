//! A text of several statements, taken apart and parsed one by one.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{
    CopyToSource, CopyToStatement, DFParserBuilder, ParserInput, Statement as DfStatement,
};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::engine::dialect::TOO_NESTED;
use crate::engine::sql::command::{self, CommandStatement};
use crate::engine::sql::dialect::ForetellDialect;
use crate::engine::sql::explain::plain_options;
use crate::engine::sql::guard;
use crate::engine::sql::naming::narrow_literals;
use crate::engine::sql::repair::repair;
use crate::engine::sql::select_into;
use crate::engine::sql::session::{self, SessionStatement};
use crate::engine::sql::source::Source;
use crate::engine::sql::tokens;
use crate::engine::sql::train::TrainStatement;
use crate::engine::sql::words::fold;
use crate::error::{Error, Result, Span, Subject};

/// What a statement says.
#[derive(Debug, Clone)]
pub enum Body {
    /// DataFusion's language, TRAIN included (as a marker that a number of [`Statement::trains`] stands behind).
    Sql(Box<DfStatement>),
    /// One of our commands.
    Command(Box<CommandStatement>),
    /// A statement about the session.
    Session(Box<SessionStatement>),
    /// `PREPARE name [(types)] AS statement`.
    Prepare { name: String, types: Vec<ast::DataType>, body: Box<Body> },
}

/// One parsed statement.
#[derive(Debug, Clone)]
pub struct Statement {
    pub(crate) body: Body,
    pub(crate) trains: Vec<Arc<TrainStatement>>,
    pub(crate) source: Arc<Source>,
}

impl Statement {
    /// The query that it is, when it is nothing else.
    fn query(&self) -> Option<&ast::Query> {
        let Body::Sql(body) = &self.body else { return None };
        let DfStatement::Statement(inner) = body.as_ref() else { return None };
        if let ast::Statement::Query(query) = inner.as_ref() { Some(query) } else { None }
    }

    /// True for a query and nothing else.
    pub fn is_query(&self) -> bool {
        self.query().is_some()
    }

    /// True for an UPDATE or DELETE.
    pub fn changes_rows(&self) -> bool {
        matches!(&self.body, Body::Sql(body) if changes_rows(body))
    }

    /// True for a query that asks for locks on its rows.
    pub fn locks_rows(&self) -> bool {
        self.query().is_some_and(|query| !query.locks.is_empty())
    }
}

/// True for an UPDATE or DELETE, also below EXPLAIN.
fn changes_rows(statement: &DfStatement) -> bool {
    match statement {
        DfStatement::Statement(inner) => {
            matches!(inner.as_ref(), ast::Statement::Update(_) | ast::Statement::Delete(_))
        }
        DfStatement::Explain(explain) => changes_rows(&explain.statement),
        _ => false,
    }
}

/// The text of one statement and where it began.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The text, without the semicolon.
    pub text: String,
    /// Where it begins in the whole text, in bytes.
    pub offset: usize,
}

/// Takes a text of at most 8 MiB apart at its semicolons, without parsing it.
pub fn split(sql: &str) -> Result<Vec<Piece>> {
    guard::check_texts_length(sql)?;
    let source = Arc::new(Source::new(sql));
    let tokens = tokenize(&source)?;
    let mut pieces = vec![];
    for piece in tokens.split(|token| token.token == Token::SemiColon) {
        let mut solid = piece.iter().filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF));
        let Some(first) = solid.next() else { continue };
        let last = solid.next_back().unwrap_or(first);
        let start = source.offset(first.span.start).unwrap_or(0);
        let end = source.offset(last.span.end).unwrap_or(sql.len());
        pieces.push(Piece { text: sql[start..end].to_owned(), offset: start });
    }
    if pieces.len() > guard::STATEMENTS_MAX {
        let message = format!("text has {} statements; the limit is {}", pieces.len(), guard::STATEMENTS_MAX);
        return Err(Error::input(Subject::Statement, message));
    }
    Ok(pieces)
}

/// True when a text that is being typed ends outside quotes, comments and parentheses with a semicolon.
pub fn is_complete(sql: &str) -> bool {
    let source = Source::new(sql);
    let dialect = ForetellDialect::new(Arc::new(Source::default()));
    let Ok(tokens) = Tokenizer::new(&dialect, source.text()).tokenize() else { return false };
    let depth = tokens.iter().fold(0i64, |depth, token| match token {
        Token::LParen => depth + 1,
        Token::RParen => depth - 1,
        _ => depth,
    });
    let last = tokens.iter().rev().find(|t| !matches!(t, Token::Whitespace(_) | Token::EOF));
    last.is_none_or(|t| *t == Token::SemiColon) && depth <= 0
}

fn tokenize(source: &Arc<Source>) -> Result<Vec<TokenWithSpan>> {
    let dialect = ForetellDialect::new(Arc::clone(source));
    Tokenizer::new(&dialect, source.text()).tokenize_with_location().map_err(|e| {
        let error = Error::input(Subject::Syntax, e.message.clone());
        match source.offset(e.location) {
            Some(start) => error.with_span(Span { start, end: (start + 1).min(source.text().len()) }),
            None => error,
        }
    })
}

/// What a session calls its database and the schemas in it.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// The database.
    pub database: String,
    /// Schemas besides those that every database has.
    pub schemas: Vec<String>,
}

/// Parses one statement; spans count from the beginning of its text. `qualify` completes the names in it.
pub fn parse_one(
    piece: &Piece,
    names: &Names,
    qualify: impl FnOnce(&mut Statement) -> Result<()>,
) -> Result<Statement> {
    guard::check_length(&piece.text)?;
    let source = Arc::new(Source::new(&piece.text));
    let mut tokens = tokenize(&source)?;
    guard::check_shape(&tokens, &source)?;
    tokens::strip_schema_of_keywords(&mut tokens);
    tokens::strip_database(&mut tokens, &names.database, &names.schemas);
    plain_options(&mut tokens)?;
    tokens::quote_at(&mut tokens);
    tokens::expand_tables(&mut tokens);
    let dialect = ForetellDialect::new(Arc::clone(&source));
    let body = parse_tokens(tokens, &dialect);
    // What was read of such a text may be anything, an error or not.
    if dialect.is_exhausted() {
        return Err(guard::too_complex(TOO_NESTED.to_owned()));
    }
    let body = body.map_err(|e| dialect.take_error().unwrap_or_else(|| syntax_error(&e, &source)))?;
    let mut statement = Statement { body, trains: dialect.trains(), source };
    if let Body::Sql(body) = &mut statement.body
        && let DfStatement::Statement(inner) = body.as_mut()
    {
        select_into::create_table(inner);
    }
    qualify(&mut statement)?;
    repair_body(&mut statement.body)?;
    Ok(statement)
}

fn repair_body(body: &mut Body) -> Result<()> {
    match body {
        Body::Sql(statement) => {
            repair_all(statement)?;
            narrow_results(statement);
            Ok(())
        }
        Body::Prepare { body, .. } => repair_body(body),
        Body::Session(statement) => match statement.as_mut() {
            SessionStatement::Declare { query, .. } => repair(query.as_mut()),
            _ => Ok(()),
        },
        Body::Command(_) => Ok(()),
    }
}

/// Only what a query itself gives is narrowed: inside, wide numbers do not overflow.
fn narrow_results(statement: &mut DfStatement) {
    if let DfStatement::Statement(inner) = statement
        && let ast::Statement::Query(query) = inner.as_mut()
    {
        narrow_literals(query);
    }
}

fn repair_all(statement: &mut DfStatement) -> Result<()> {
    match statement {
        DfStatement::Statement(inner) => repair(inner.as_mut()),
        DfStatement::Explain(explain) => repair_all(&mut explain.statement),
        DfStatement::CopyTo(CopyToStatement { source: CopyToSource::Query(query), .. }) => {
            repair(query.as_mut())
        }
        _ => Ok(()),
    }
}

fn parse_tokens(tokens: Vec<TokenWithSpan>, dialect: &ForetellDialect) -> Result<Body, DataFusionError> {
    let prepares = tokens.iter().find_map(|token| match &token.token {
        Token::Whitespace(_) => None,
        Token::Word(word) => Some(word.value.eq_ignore_ascii_case("prepare")),
        _ => Some(false),
    });
    let again = if prepares == Some(true) { tokens.clone() } else { vec![] };
    let mut parser = DFParserBuilder::new(ParserInput::Tokens(tokens))
        .with_dialect(dialect)
        .with_recursion_limit(128)
        .build()?;
    let body = match command::parse(&mut parser.parser) {
        Some(command) => Body::Command(Box::new(command.map_err(sql_error)?)),
        None => match session::parse(&mut parser.parser) {
            Some(statement) => session_body(statement.map_err(sql_error)?, again, dialect)?,
            None => Body::Sql(Box::new(parser.parse_statement()?)),
        },
    };
    if parser.parser.peek_token_ref().token != Token::EOF {
        let found = parser.parser.peek_token();
        return parser.parser.expected("end of statement", found).map_err(sql_error);
    }
    Ok(body)
}

/// A statement about the session; what PREPARE prepares is parsed from its place in the text.
fn session_body(
    statement: SessionStatement,
    mut tokens: Vec<TokenWithSpan>,
    dialect: &ForetellDialect,
) -> Result<Body, DataFusionError> {
    Ok(match statement {
        SessionStatement::Prepare { name, types, begins } => {
            let body = Box::new(parse_tokens(tokens.split_off(begins.min(tokens.len())), dialect)?);
            Body::Prepare { name: fold(&name), types, body }
        }
        statement => Body::Session(Box::new(statement)),
    })
}

fn sql_error(error: ParserError) -> DataFusionError {
    DataFusionError::SQL(Box::new(error), None)
}

/// The parser's message without its tail ` at Line: 1, Column: 8`, which becomes the span.
fn syntax_error(error: &DataFusionError, source: &Source) -> Error {
    let text = match error {
        DataFusionError::SQL(e, _) => match e.as_ref() {
            ParserError::TokenizerError(m) | ParserError::ParserError(m) => m.clone(),
            ParserError::RecursionLimitExceeded => "statement nests too deeply".to_owned(),
        },
        DataFusionError::Diagnostic(_, inner) => return syntax_error(inner, source),
        other => other.strip_backtrace(),
    };
    let (message, place) = match text.rfind(" at Line: ") {
        Some(at) => (text[..at].to_owned(), parse_place(&text[at + " at Line: ".len()..])),
        None => (text, None),
    };
    let error = Error::input(Subject::Syntax, format!("syntax error: {}", lower_first(&message)));
    let start = place.and_then(|(line, column)| {
        source.offset(datafusion::sql::sqlparser::tokenizer::Location { line, column })
    });
    match start {
        Some(start) => error.with_span(Span { start, end: word_end(source.text(), start) }),
        None => error,
    }
}

fn parse_place(text: &str) -> Option<(u64, u64)> {
    let (line, rest) = text.split_once(", Column: ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((line.trim().parse().ok()?, digits.parse().ok()?))
}

/// The text with a small first letter, unless it begins with a word in capitals.
fn lower_first(text: &str) -> String {
    if text.chars().nth(1).is_some_and(char::is_uppercase) {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// The end of the word that begins at `start`.
pub fn word_end(text: &str, start: usize) -> usize {
    let rest = &text[start..];
    let word: usize = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').map(char::len_utf8).sum();
    start + word.max(rest.chars().next().map_or(0, char::len_utf8))
}
