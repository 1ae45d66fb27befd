//! Statements that are short for a SELECT: SHOW MODELS, DESCRIBE MODEL, EVALUATE MODEL and friends.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::engine::sql::words::{accept, fold, is_word_at, starts_with};

type Parsed = Result<ast::Statement, ParserError>;

/// The SELECT behind the statement that comes next, when it is one of ours.
pub fn parse(parser: &mut Parser<'_>) -> Option<Parsed> {
    let build: fn(&mut Parser<'_>) -> Parsed = if starts_with(parser, &["show", "models"]) {
        show_models
    } else if starts_with(parser, &["show", "model", "versions"]) {
        show_versions
    } else if starts_with(parser, &["show", "training", "runs"]) {
        show_runs
    } else if starts_with(parser, &["show", "training", "jobs"]) {
        show_jobs
    } else if starts_with(parser, &["describe", "model"]) || starts_with(parser, &["show", "model"]) {
        describe_model
    } else if starts_with(parser, &["describe", "history"]) {
        describe_history
    } else if starts_with(parser, &["show", "columns", "from"]) || describes_table(parser) {
        describe_table
    } else if starts_with(parser, &["evaluate", "model"]) {
        evaluate_model
    } else {
        return None;
    };
    Some(build(parser))
}

/// Parses without places: those of this text are not those of the user's.
fn select(sql: &str) -> Parsed {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize()?;
    let mut parser = Parser::new(&PostgreSqlDialect {}).with_tokens(tokens);
    Ok(ast::Statement::Query(parser.parse_query()?))
}

fn show_models(parser: &mut Parser<'_>) -> Parsed {
    accept(parser, &["show", "models"]);
    let filter = if accept(parser, &["like"]) {
        format!(" WHERE name LIKE '{}'", parser.parse_literal_string()?.replace('\'', "''"))
    } else {
        String::new()
    };
    select(&format!(
        "SELECT name, family, active_version AS version, target, keys, time, every, horizon, metric, value, skill, \
         trained_at, comment FROM ml.models{filter} ORDER BY name"
    ))
}

fn show_versions(parser: &mut Parser<'_>) -> Parsed {
    accept(parser, &["show", "model", "versions"]);
    let name = parser.parse_identifier()?;
    let text = fold(&name).replace('\'', "''");
    // describe_model makes a name that is no model's an error.
    select(&format!(
        "SELECT version, active, family, metric, value, skill, trained_at, seconds, seed, engine_version \
         FROM ml.model_versions WHERE name = '{text}' AND EXISTS (SELECT 1 FROM describe_model({name})) \
         ORDER BY version"
    ))
}

fn show_runs(parser: &mut Parser<'_>) -> Parsed {
    accept(parser, &["show", "training", "runs"]);
    select("SELECT * FROM ml.training_runs ORDER BY started_at")
}

fn show_jobs(parser: &mut Parser<'_>) -> Parsed {
    accept(parser, &["show", "training", "jobs"]);
    select("SELECT * FROM ml.training_jobs ORDER BY job")
}

fn describe_model(parser: &mut Parser<'_>) -> Parsed {
    let _ = accept(parser, &["describe", "model"]) || accept(parser, &["show", "model"]);
    let name = parser.parse_object_name(false)?;
    select(&format!("SELECT * FROM describe_model({name})"))
}

/// DESCRIBE of a table; DESCRIBE of a statement is EXPLAIN.
fn describes_table(parser: &Parser<'_>) -> bool {
    let verb = is_word_at(parser, 0, "describe") || is_word_at(parser, 0, "desc");
    let end = matches!(parser.peek_nth_token_ref(2).token, Token::EOF | Token::SemiColon | Token::Period);
    verb && (end || is_word_at(parser, 1, "table"))
}

fn describe_table(parser: &mut Parser<'_>) -> Parsed {
    if !accept(parser, &["show", "columns", "from"]) {
        parser.advance_token();
        accept(parser, &["table"]);
    }
    let name = parser.parse_object_name(false)?;
    select(&format!("SELECT * FROM describe_table({name})"))
}

fn describe_history(parser: &mut Parser<'_>) -> Parsed {
    accept(parser, &["describe", "history"]);
    let name = parser.parse_object_name(false)?;
    select(&format!("SELECT * FROM table_history({name})"))
}

fn evaluate_model(parser: &mut Parser<'_>) -> Parsed {
    accept(parser, &["evaluate", "model"]);
    let name = parser.parse_object_name(false)?;
    let on = if accept(parser, &["on"]) {
        let relation = if parser.consume_token(&Token::LParen) {
            let query = parser.parse_query()?;
            parser.expect_token(&Token::RParen)?;
            format!("({query})")
        } else {
            format!("(SELECT * FROM {})", parser.parse_object_name(false)?)
        };
        format!(", on => {relation}")
    } else {
        String::new()
    };
    select(&format!("SELECT * FROM evaluate({name}{on})"))
}
