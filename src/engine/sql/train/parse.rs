//! Reading a statement, whether the user wrote it or we did.

use datafusion::sql::sqlparser::ast::{self, Ident, Spanned};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::engine::sql::dialect::ForetellDialect;
use crate::engine::sql::guard;
use crate::engine::sql::source::Source;
use crate::engine::sql::train::clauses::Clauses;
use crate::engine::sql::train::error::{ParseError, Parsed};
use crate::engine::sql::train::items::{Item, item};
use crate::engine::sql::train::statement::TrainStatement;
use crate::engine::sql::words::{accept, at_end};
use crate::error::{Error, Result, Subject};

/// Reads the statement from its first word on.
pub fn parse(parser: &mut Parser<'_>, source: &Source) -> Parsed<TrainStatement> {
    accept(parser, &["train"]);
    let or_replace = accept(parser, &["or", "replace"]);
    if !accept(parser, &["forecast", "model"]) {
        return Err(kind_error(parser, source).into());
    }
    let if_not_exists = accept(parser, &["if", "not", "exists"]);
    let name = model_name(parser, source)?;
    let mut clauses = Clauses::new(source);
    while !at_end(parser) {
        clauses.parse_next(parser)?;
    }
    clauses.finish(or_replace, if_not_exists, name)
}

/// Reads a canonical text again, as it was stored with a model.
pub fn parse_text(sql: &str) -> Result<TrainStatement> {
    let source = Source::new(sql);
    let corrupt = |m: String| Error::corrupt(Subject::Model, format!("stored TRAIN statement: {m}"));
    let dialect = ForetellDialect::of(sql);
    let mut parser = Parser::new(&dialect).try_with_sql(sql).map_err(|e| corrupt(e.to_string()))?;
    parse(&mut parser, &source).map_err(|e| match e {
        ParseError::Parser(e) => corrupt(e.to_string()),
        ParseError::Ours(e) => corrupt(e.message().to_owned()),
    })
}

/// A parser of a text in a text, which may be no deeper than a statement.
fn inner_parser<'a>(dialect: &'a ForetellDialect, sql: &str) -> Result<Parser<'a>> {
    let tokens = Tokenizer::new(dialect, sql).tokenize();
    let tokens = tokens.map_err(|e| Error::input(Subject::Syntax, format!("{e} in {sql}")))?;
    guard::check_inner(sql, &tokens)?;
    Ok(Parser::new(dialect).with_tokens(tokens))
}

/// Reads a text that is not the user's own; errors have no places.
pub fn parse_written(sql: &str) -> Result<TrainStatement> {
    let dialect = ForetellDialect::of(sql);
    let mut parser = inner_parser(&dialect, sql)?;
    parse(&mut parser, &Source::default()).map_err(|e| match e {
        ParseError::Parser(ParserError::ParserError(m) | ParserError::TokenizerError(m)) => {
            Error::input(Subject::Syntax, format!("{m} in {sql}"))
        }
        ParseError::Parser(e) => Error::input(Subject::Syntax, format!("{e} in {sql}")),
        ParseError::Ours(e) => *e,
    })
}

/// Reads expressions with commas between them that are not the user's own text; errors have no places.
pub fn items_written(text: &str) -> Result<Vec<Item>> {
    let broken = |e: String| Error::input(Subject::Syntax, format!("{e} in {text}"));
    let dialect = ForetellDialect::of(text);
    let mut parser = inner_parser(&dialect, text)?;
    let source = Source::default();
    let items = parser.parse_comma_separated(|parser| item(parser, &source));
    let items = items.map_err(|e| match e {
        ParserError::ParserError(m) | ParserError::TokenizerError(m) => broken(m),
        e => broken(e.to_string()),
    })?;
    match parser.next_token().token {
        Token::EOF => Ok(items),
        token => Err(broken(format!("unexpected {token}"))
            .with_hint("expressions are separated by commas; or is it the word of a clause, misspelt?")),
    }
}

fn kind_error(parser: &Parser<'_>, source: &Source) -> Error {
    let token = parser.peek_token_ref();
    let message =
        format!("expected FORECAST, CLASSIFICATION or REGRESSION MODEL after TRAIN, found {}", token.token);
    Error::input(Subject::Syntax, message)
        .with_hint("TRAIN FORECAST MODEL name ON table TARGET column")
        .at(source.span(token.span))
}

fn model_name(parser: &mut Parser<'_>, source: &Source) -> Parsed<Ident> {
    let name = parser.parse_object_name(false)?;
    let span = source.span(name.span());
    match name.0.as_slice() {
        [ast::ObjectNamePart::Identifier(ident)] => Ok(ident.clone()),
        _ => Err(Error::input(Subject::Model, format!("model names have no schema: {name}")).at(span).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_in_texts_are_as_shallow_as_statements() {
        assert_eq!(items_written("a + 1, b").unwrap().len(), 2);
        let chain = format!("{}1", "1+".repeat(200_000));
        let error = items_written(&chain).unwrap_err();
        assert_eq!(error.message(), "statement chains more than 2000 operators");
        let nested =
            format!("TRAIN FORECAST MODEL m ON t TARGET {}y{}", "(".repeat(90_000), ")".repeat(90_000));
        let error = parse_written(&nested).unwrap_err();
        assert_eq!(error.message(), "statement nests deeper than 64 levels");
        let long = format!("'{}'", "x".repeat(1 << 20));
        assert!(items_written(&long).unwrap_err().message().starts_with("statement has 1048578 bytes"));
    }
}
