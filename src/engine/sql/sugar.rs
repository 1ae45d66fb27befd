//! Statements that are short for a SELECT: SHOW MODELS, DESCRIBE MODEL, EVALUATE MODEL, BACKTEST MODEL and friends.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::engine::sql::dialect::ForetellDialect;
use crate::engine::sql::words::{accept, at_end, fold, is_word_at, starts_with};

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
    } else if starts_with(parser, &["backtest", "model"]) {
        backtest_model
    } else {
        return None;
    };
    Some(build(parser))
}

/// Parses without places: those of this text are not those of the user's.
fn select(sql: &str) -> Parsed {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize()?;
    let dialect = ForetellDialect::of(sql);
    let mut parser = Parser::new(&dialect).with_tokens(tokens);
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
    let mut arguments = vec![models(parser)?];
    while let Some(clause) = clause(parser, &["ON", "BY"], &arguments)? {
        arguments.push(match clause {
            "ON" => format!("on => {}", relation(parser)?),
            _ => format!("by => {}", names(parser)?),
        });
    }
    select(&format!("SELECT * FROM evaluate({})", arguments.join(", ")))
}

fn backtest_model(parser: &mut Parser<'_>) -> Parsed {
    const CLAUSES: &[&str] = &["WINDOWS", "STEP", "HORIZON", "REFIT", "BY", "LEVEL"];
    accept(parser, &["backtest", "model"]);
    let mut arguments = vec![models(parser)?];
    while let Some(clause) = clause(parser, CLAUSES, &arguments)? {
        arguments.push(match clause {
            "REFIT" if accept(parser, &["every"]) => format!("refit => {}", parser.parse_number_value()?),
            "REFIT" => "refit => true".to_owned(),
            "BY" => format!("by => {}", names(parser)?),
            other => format!("{} => {}", other.to_lowercase(), parser.parse_number_value()?),
        });
    }
    select(&format!("SELECT * FROM backtest({})", arguments.join(", ")))
}

/// The clause that comes next, each at most once; `None` at the end.
fn clause(
    parser: &mut Parser<'_>,
    clauses: &[&'static str],
    before: &[String],
) -> Result<Option<&'static str>, ParserError> {
    if at_end(parser) {
        return Ok(None);
    }
    let found = clauses.iter().find(|clause| is_word_at(parser, 0, &clause.to_lowercase()));
    let Some(found) = found else {
        let expected = format!("{} or the end of the statement", clauses.join(", "));
        return parser.expected(&expected, parser.peek_token());
    };
    if before.iter().any(|argument| argument.starts_with(&format!("{} =>", found.to_lowercase()))) {
        return Err(ParserError::ParserError(format!("clause {found} is given twice")));
    }
    parser.advance_token();
    Ok(Some(found))
}

/// `m` or `m VERSION n` or `a, b`, as the first arguments of a function.
fn models(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let models = parser.parse_comma_separated(|p| p.parse_object_name(false))?;
    let list = match models.as_slice() {
        [only] => only.to_string(),
        several => {
            let names: Vec<String> = several.iter().map(ToString::to_string).collect();
            format!("({})", names.join(", "))
        }
    };
    Ok(match accept(parser, &["version"]) {
        true => format!("{list}, version => {}", parser.parse_number_value()?),
        false => list,
    })
}

/// Names of columns, as a list.
fn names(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let wrapped = parser.consume_token(&Token::LParen);
    let names = parser.parse_comma_separated(|p| p.parse_identifier())?;
    if wrapped {
        parser.expect_token(&Token::RParen)?;
    }
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    Ok(format!("({})", names.join(", ")))
}

/// A query in parentheses, or all of a table.
fn relation(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    if !parser.consume_token(&Token::LParen) {
        return Ok(format!("(SELECT * FROM {})", parser.parse_object_name(false)?));
    }
    let query = parser.parse_query()?;
    parser.expect_token(&Token::RParen)?;
    Ok(format!("({query})"))
}
