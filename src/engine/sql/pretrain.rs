//! `PRETRAIN FORECAST MODEL`, which is short for a SELECT from `pretrain_forecast_model(…)`.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::engine::options::PRETRAIN_OPTIONS;
use crate::engine::sql::words::{accept, at_end, starts_with};
use crate::error::did_you_mean;

/// The clauses, and the arguments that they are.
pub const CLAUSES: [(&str, &str); 13] = [
    ("FROM", "from"),
    ("ON", "on"),
    ("WHERE", "filter"),
    ("TARGET", "target"),
    ("PARTITION BY", "partition_by"),
    ("ORDER BY", "order_by"),
    ("KNOWN", "known"),
    ("IGNORE", "ignore"),
    ("GAPS", "gaps"),
    ("HORIZON", "horizon"),
    ("OBJECTIVE", "objective"),
    ("WITH", "with"),
    ("COMMENT", "comment"),
];

/// Reads the statement from its first word on.
pub fn parse(parser: &mut Parser<'_>) -> Result<ast::Statement, ParserError> {
    accept(parser, &["pretrain"]);
    let mut arguments = vec![];
    if accept(parser, &["or", "replace"]) {
        arguments.push("replace => true".to_owned());
    }
    if !accept(parser, &["forecast", "model"]) {
        return parser.expected("FORECAST MODEL after PRETRAIN", parser.peek_token());
    }
    if accept(parser, &["if", "not", "exists"]) {
        arguments.push("if_not_exists => true".to_owned());
    }
    let name = parser.parse_identifier()?;
    let mut seen = vec![];
    while !at_end(parser) {
        let (clause, argument) = next_clause(parser, &seen)?;
        seen.push(clause);
        arguments.push(match argument {
            "on" => format!("on => {}", relations(parser)?),
            "with" => options(parser)?,
            "from" => format!("base => {}", parser.parse_identifier()?),
            "horizon" => format!("horizon => {}", parser.parse_literal_uint()?),
            "objective" => format!("objective => '{}'", parser.parse_identifier()?.value),
            "comment" => format!("comment => {}", quoted(&parser.parse_literal_string()?)),
            _ => format!("{argument} => {}", quoted(&text(parser))),
        });
    }
    let arguments: String = arguments.iter().map(|argument| format!(", {argument}")).collect();
    let sql = format!("SELECT * FROM pretrain_forecast_model({name}{arguments})");
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, &sql).tokenize()?;
    let mut parser = Parser::new(&PostgreSqlDialect {}).with_tokens(tokens);
    Ok(ast::Statement::Query(parser.parse_query()?))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn begins(parser: &Parser<'_>, clause: &str) -> bool {
    starts_with(parser, &clause.split(' ').collect::<Vec<_>>())
}

fn next_clause(parser: &mut Parser<'_>, seen: &[&str]) -> Result<(&'static str, &'static str), ParserError> {
    let Some((clause, argument)) = CLAUSES.iter().find(|(clause, _)| begins(parser, clause)) else {
        let found = parser.peek_token_ref().token.to_string().to_uppercase();
        let firsts = CLAUSES.iter().filter_map(|(clause, _)| clause.split(' ').next());
        let suggestion = did_you_mean(&found, firsts);
        let all = CLAUSES.map(|(clause, _)| clause).join(", ");
        let message = format!("unknown clause {found} of PRETRAIN{suggestion}; clauses: {all}");
        return Err(ParserError::ParserError(message));
    };
    if seen.contains(clause) {
        return Err(ParserError::ParserError(format!("clause {clause} is given twice")));
    }
    clause.split(' ').for_each(|_| parser.advance_token());
    Ok((clause, argument))
}

/// Tables and queries in parentheses.
fn relations(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let mut found = vec![];
    loop {
        found.push(if parser.consume_token(&Token::LParen) {
            let query = parser.parse_query()?;
            parser.expect_token(&Token::RParen)?;
            format!("({query})")
        } else {
            parser.parse_object_name(false)?.to_string()
        });
        if !parser.consume_token(&Token::Comma) {
            return Ok(match found.as_slice() {
                [one] => one.clone(),
                several => format!("({})", several.join(", ")),
            });
        }
    }
}

/// `(name = value, …)` as arguments.
fn options(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let mut found = vec![];
    loop {
        let name = parser.parse_identifier()?;
        let known = PRETRAIN_OPTIONS.iter().map(|option| option.name);
        if !known.clone().any(|option| option.eq_ignore_ascii_case(&name.value)) {
            let suggestion = did_you_mean(&name.value, known.clone());
            let all = known.collect::<Vec<_>>().join(", ");
            let message = format!("unknown option {name}{suggestion}; options of PRETRAIN: {all}");
            return Err(ParserError::ParserError(message));
        }
        parser.expect_token(&Token::Eq)?;
        found.push(format!("{name} => {}", parser.parse_expr()?));
        if !parser.consume_token(&Token::Comma) {
            parser.expect_token(&Token::RParen)?;
            return Ok(found.join(", "));
        }
    }
}

/// The words up to the next clause outside parentheses.
fn text(parser: &mut Parser<'_>) -> String {
    let (mut words, mut depth) = (vec![], 0i32);
    while !at_end(parser) && (depth > 0 || !CLAUSES.iter().any(|(clause, _)| begins(parser, clause))) {
        let token = parser.next_token().token;
        depth += match token {
            Token::LParen => 1,
            Token::RParen => -1,
            _ => 0,
        };
        words.push(token.to_string());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Result<String, ParserError> {
        let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql)?;
        parse(&mut parser).map(|statement| statement.to_string())
    }

    #[test]
    fn clauses_become_arguments() {
        let sql = "PRETRAIN OR REPLACE FORECAST MODEL base ON sales, (SELECT * FROM web WHERE x > 1) WHERE ok \
                   TARGET sum(units) AS units PARTITION BY store, item ORDER BY day EVERY DAY OBJECTIVE masked_patch \
                   WITH (steps = 100, device = cpu) COMMENT 'it''s'";
        assert_eq!(
            read(sql).unwrap(),
            "SELECT * FROM pretrain_forecast_model(base, replace => true, \
             on => (sales, (SELECT * FROM web WHERE x > 1)), filter => 'ok', target => 'sum ( units ) AS units', \
             partition_by => 'store , item', order_by => 'day EVERY DAY', objective => 'masked_patch', steps => 100, \
             device => cpu, comment => 'it''s')"
        );
        assert_eq!(read("PRETRAIN FORECAST MODEL m").unwrap(), "SELECT * FROM pretrain_forecast_model(m)");
    }

    #[test]
    fn mistakes_are_named() {
        let says = |sql: &str, text: &str| {
            let error = read(sql).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        says(
            "PRETRAIN FORECAST MODEL m ON a TARGT b",
            "unknown clause TARGT of PRETRAIN; did you mean TARGET?",
        );
        says("PRETRAIN FORECAST MODEL m ON a ON b", "clause ON is given twice");
        says("PRETRAIN MODEL m", "FORECAST MODEL after PRETRAIN");
    }
}
