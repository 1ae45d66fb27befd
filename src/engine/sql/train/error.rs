//! Why a statement could not be read.

use datafusion::sql::sqlparser::parser::ParserError;

use crate::error::Error;

/// Why a statement could not be read.
pub enum ParseError {
    /// PostgreSQL's own grammar failed.
    Parser(ParserError),
    /// One of our rules failed.
    Ours(Box<Error>),
}

impl From<ParserError> for ParseError {
    fn from(error: ParserError) -> Self {
        Self::Parser(error)
    }
}

impl From<Error> for ParseError {
    fn from(error: Error) -> Self {
        Self::Ours(Box::new(error))
    }
}

/// What reading a part of a statement gives.
pub(super) type Parsed<T> = Result<T, ParseError>;
