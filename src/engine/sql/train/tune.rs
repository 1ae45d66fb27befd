//! `TUNE`.

use std::fmt::{self, Display};

use datafusion::sql::sqlparser::ast::{self, Ident};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::engine::sql::train::clauses::Clauses;
use crate::engine::sql::train::display::{list, write_clause};
use crate::engine::sql::train::error::Parsed;
use crate::engine::sql::words::{accept, fold};
use crate::error::{Error, Result, Subject, did_you_mean};
use crate::ml::models::Search;

/// `TUNE`: options whose best values are searched for.
#[derive(Debug, Clone, PartialEq)]
pub struct TuneClause {
    /// The options, and what they may be.
    pub parameters: Vec<(Ident, TuneValues)>,
    /// `SEARCH`: how the values are chosen.
    pub search: Option<Search>,
    /// `TRIALS`: how many combinations are tried.
    pub trials: Option<ast::Expr>,
    /// `WITHIN`: how long the search may take.
    pub within: Option<ast::Expr>,
}

/// What an option may be.
#[derive(Debug, Clone, PartialEq)]
pub enum TuneValues {
    /// One of these.
    In(Vec<ast::Expr>),
    /// Any between two.
    Between(Box<[ast::Expr; 2]>),
}

const SEARCHES: [(&str, Search); 3] =
    [("GRID", Search::Grid), ("RANDOM", Search::Random), ("HALVING", Search::Halving)];

impl TuneClause {
    /// Its values and bounds.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut ast::Expr> {
        let values = self.parameters.iter_mut().flat_map(|(_, values)| match values {
            TuneValues::In(list) => list.iter_mut().collect::<Vec<_>>(),
            TuneValues::Between(bounds) => bounds.iter_mut().collect(),
        });
        values.chain(&mut self.trials).chain(&mut self.within)
    }
}

impl Clauses<'_> {
    /// `(layers IN (2, 4), learning_rate BETWEEN 0.0001 AND 0.01) SEARCH RANDOM TRIALS 12 WITHIN INTERVAL '5 minutes'`.
    pub(super) fn parse_tune(&self, parser: &mut Parser<'_>) -> Parsed<TuneClause> {
        let mut tune = TuneClause { parameters: vec![], search: None, trials: None, within: None };
        parser.expect_token(&Token::LParen)?;
        loop {
            let span = self.source.span(parser.peek_token_ref().span);
            let (option, values) = tune_values(parser.parse_expr()?).map_err(|e| e.at(span))?;
            if tune.parameters.iter().any(|(other, _)| fold(other) == fold(&option)) {
                return Err(Error::input(Subject::Option, format!("TUNE names {option} twice"))
                    .at(span)
                    .into());
            }
            tune.parameters.push((option, values));
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        parser.expect_token(&Token::RParen)?;
        loop {
            if tune.search.is_none() && accept(parser, &["search"]) {
                tune.search = Some(self.word(parser, parse_search)?);
            } else if tune.trials.is_none() && accept(parser, &["trials"]) {
                tune.trials = Some(parser.parse_expr()?);
            } else if tune.within.is_none() && accept(parser, &["within"]) {
                tune.within = Some(parser.parse_expr()?);
            } else {
                return Ok(tune);
            }
        }
    }
}

/// An option of TUNE and what it may be.
fn tune_values(expr: ast::Expr) -> Result<(Ident, TuneValues)> {
    let told = match expr {
        ast::Expr::InList { expr, list, negated: false } => (*expr, TuneValues::In(list)),
        ast::Expr::Between { expr, low, high, negated: false } => {
            (*expr, TuneValues::Between(Box::new([*low, *high])))
        }
        other => (other, TuneValues::In(vec![])),
    };
    match told {
        (ast::Expr::Identifier(option), values) if values != TuneValues::In(vec![]) => Ok((option, values)),
        (other, _) => {
            let message = format!("TUNE takes options with the values to try, got {other}");
            Err(Error::input(Subject::Syntax, message)
                .with_hint("TUNE (layers IN (2, 4), learning_rate BETWEEN 0.0001 AND 0.01) TRIALS 12"))
        }
    }
}

/// The word of a search.
fn parse_search(word: &str) -> Result<Search> {
    let known = SEARCHES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    known.map(|(_, search)| *search).ok_or_else(|| {
        let names = SEARCHES.map(|(name, _)| name);
        let message = format!("unknown search {word}{}", did_you_mean(word, names));
        Error::input(Subject::Option, message).with_hint(format!("SEARCH knows {}", names.join(", ")))
    })
}

impl Display for TuneClause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameter = |(option, values): &(Ident, TuneValues)| match values {
            TuneValues::In(values) => format!("{option} IN ({})", list(values)),
            TuneValues::Between(bounds) => format!("{option} BETWEEN {} AND {}", bounds[0], bounds[1]),
        };
        let parameters: Vec<String> = self.parameters.iter().map(parameter).collect();
        write!(f, "({})", parameters.join(", "))?;
        if let Some((word, _)) = SEARCHES.iter().find(|(_, search)| Some(*search) == self.search) {
            write!(f, " SEARCH {word}")?;
        }
        write_clause(f, "TRIALS", self.trials.as_ref())?;
        write_clause(f, "WITHIN", self.within.as_ref())
    }
}
