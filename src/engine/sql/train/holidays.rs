//! `HOLIDAYS`.

use std::fmt::{self, Display};

use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::engine::sql::train::clauses::Clauses;
use crate::engine::sql::train::error::Parsed;
use crate::engine::sql::train::items::{Item, Relation, item, relation_of};
use crate::engine::sql::words::accept;
use crate::error::{Error, Subject};
use crate::ml::holidays::parse_country;

/// `HOLIDAYS`: whose holidays a model sees.
#[derive(Debug, Clone, PartialEq)]
pub enum HolidaysClause {
    /// Those of countries, by their codes.
    Countries(Vec<String>),
    /// Those of the country in a column, from our rules or from a table.
    Column(Box<Item>, Option<Relation>),
    /// Those of a table.
    Table(Relation),
}

impl HolidaysClause {
    /// The column that holds the country of a series.
    pub fn column(&self) -> Option<&Item> {
        match self {
            Self::Column(item, _) => Some(item),
            _ => None,
        }
    }

    /// The table of holidays.
    pub fn table(&self) -> Option<&Relation> {
        match self {
            Self::Column(_, table) => table.as_ref(),
            Self::Table(table) => Some(table),
            Self::Countries(_) => None,
        }
    }

    /// The same, to change its names.
    pub fn table_mut(&mut self) -> Option<&mut Relation> {
        match self {
            Self::Column(_, table) => table.as_mut(),
            Self::Table(table) => Some(table),
            Self::Countries(_) => None,
        }
    }
}

impl Clauses<'_> {
    /// `('DE', 'US')`, a column, or `FROM` a table, with a column before where the table has countries.
    pub(super) fn parse_holidays(&self, parser: &mut Parser<'_>) -> Parsed<HolidaysClause> {
        let quoted = |n: usize, parser: &Parser<'_>| {
            matches!(parser.peek_nth_token_ref(n).token, Token::SingleQuotedString(_))
        };
        let wrapped = parser.peek_token_ref().token == Token::LParen;
        if quoted(usize::from(wrapped), parser) {
            return Ok(HolidaysClause::Countries(self.countries(parser, wrapped)?));
        }
        if accept(parser, &["from"]) {
            return Ok(HolidaysClause::Table(relation_of(parser)?));
        }
        if self.at_clause(parser) {
            let error = Error::input(Subject::Syntax, "HOLIDAYS does not say whose")
                .with_hint("HOLIDAYS ('DE', 'US') · HOLIDAYS column with the country · HOLIDAYS FROM table");
            return Err(error.at(self.source.span(parser.peek_token_ref().span)).into());
        }
        let column = item(parser, self.source)?;
        let table = if accept(parser, &["from"]) { Some(relation_of(parser)?) } else { None };
        Ok(HolidaysClause::Column(Box::new(column), table))
    }

    /// Codes of countries, each known and named once.
    fn countries(&self, parser: &mut Parser<'_>, wrapped: bool) -> Parsed<Vec<String>> {
        let mut codes: Vec<String> = vec![];
        if wrapped {
            parser.advance_token();
        }
        loop {
            let span = self.source.span(parser.peek_token_ref().span);
            let text = parser.parse_literal_string()?;
            let country = parse_country(&text).map_err(|e| e.at(span))?;
            if codes.iter().any(|code| code == country.code) {
                let message = format!("HOLIDAYS names {} twice", country.code);
                return Err(Error::input(Subject::Value, message).at(span).into());
            }
            codes.push(country.code.to_owned());
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        if wrapped {
            parser.expect_token(&Token::RParen)?;
        }
        Ok(codes)
    }
}

impl Display for HolidaysClause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Countries(codes) => {
                let quoted: Vec<String> = codes.iter().map(|code| format!("'{code}'")).collect();
                write!(f, "({})", quoted.join(", "))
            }
            Self::Column(column, None) => write!(f, "{column}"),
            Self::Column(column, Some(table)) => write!(f, "{column} FROM {table}"),
            Self::Table(table) => write!(f, "FROM {table}"),
        }
    }
}
