//! `HIERARCHY`.

use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::engine::sql::train::clauses::Clauses;
use crate::engine::sql::train::error::Parsed;
use crate::engine::sql::train::items::parenthesised;
use crate::engine::sql::words::{accept, fold};
use crate::error::{Error, Subject};
use crate::ml::reconciliation::Reconciliation;

impl Clauses<'_> {
    /// `(region, store_id), (item_id) RECONCILE MINT`.
    pub(super) fn parse_hierarchy(&mut self, parser: &mut Parser<'_>) -> Parsed<()> {
        let mut seen = vec![];
        loop {
            let span = self.source.span(parser.peek_token_ref().span);
            let hint = "HIERARCHY (region, store_id), (item_id)";
            if parser.peek_token_ref().token != Token::LParen {
                let error = Error::input(Subject::Syntax, "HIERARCHY takes lists of keys in parentheses");
                return Err(error.with_hint(hint).at(span).into());
            }
            if parser.peek_nth_token_ref(1).token == Token::RParen {
                let error = Error::input(Subject::Syntax, "a list of HIERARCHY has no key");
                return Err(error.with_hint(hint).at(span).into());
            }
            let list = parenthesised(parser, |p| p.parse_identifier())?;
            for key in &list {
                if seen.contains(&fold(key)) {
                    let error = Error::input(Subject::Column, format!("HIERARCHY names {key} twice"));
                    return Err(error.at(self.source.span(key.span)).into());
                }
                seen.push(fold(key));
            }
            self.hierarchy.push(list);
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        if accept(parser, &["reconcile"]) {
            self.reconcile = Some(self.word(parser, Reconciliation::parse)?);
        }
        Ok(())
    }
}
