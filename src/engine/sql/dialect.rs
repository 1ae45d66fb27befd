//! PostgreSQL's dialect with our statements, hooked in before any other is tried.

use std::any::TypeId;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

use crate::engine::dialect::{PlainDialect, reads_as};
use crate::engine::methods::delegate;
use crate::engine::sql::source::Source;
use crate::engine::sql::words::{accept, starts_with};
use crate::engine::sql::{form, grouping, sugar, train};
use crate::error::Error;

type Parsed = Result<ast::Statement, ParserError>;

/// The dialect of one text; collects the TRAIN statements that it met.
#[derive(Debug)]
pub struct ForetellDialect {
    plain: PlainDialect,
    source: Arc<Source>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    trains: Vec<Arc<train::TrainStatement>>,
    error: Option<Error>,
}

impl ForetellDialect {
    /// A dialect for one text.
    pub fn new(source: Arc<Source>) -> Self {
        Self { plain: PlainDialect::of(source.text()), source, state: Mutex::default() }
    }

    /// A dialect for a text in a text.
    pub fn of(text: &str) -> Self {
        Self::new(Arc::new(Source::new(text)))
    }

    /// The TRAIN statements met so far, in the order of the numbers in their markers.
    pub fn trains(&self) -> Vec<Arc<train::TrainStatement>> {
        self.state().trains.clone()
    }

    /// The error behind a parser error of ours, with its hint and place.
    pub fn take_error(&self) -> Option<Error> {
        self.state().error.take()
    }

    /// True where the text was given up.
    pub fn is_exhausted(&self) -> bool {
        self.plain.is_exhausted()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: Error) -> ParserError {
        let text = error.message().to_owned();
        self.state().error = Some(error);
        ParserError::ParserError(text)
    }

    fn parse_train(&self, parser: &mut Parser<'_>) -> Parsed {
        let statement = train::parse(parser, &self.source).map_err(|e| match e {
            train::ParseError::Parser(e) => e,
            train::ParseError::Ours(e) => self.fail(*e),
        })?;
        let statement = Arc::new(statement);
        let marker = train::marker(&statement, self.state().trains.len());
        self.state().trains.push(statement);
        Ok(marker)
    }
}

impl Dialect for ForetellDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    reads_as!(plain);

    fn supports_table_versioning(&self) -> bool {
        true
    }

    // The text of a view may have it: a star over columns of USING is written so.
    fn supports_select_wildcard_exclude(&self) -> bool {
        true
    }

    // `SELECT 1 FOR UPDATE` has no column that is called "for".
    fn is_column_alias(&self, word: &Keyword, parser: &mut Parser<'_>) -> bool {
        *word != Keyword::FOR && self.plain.is_column_alias(word, parser)
    }

    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        self.plain.supports_named_fn_args_with_expr_name()
    }

    // The parser takes a parenthesis that begins an element of ROLLUP for the whole of it: `ROLLUP ((a)::date)`.
    fn supports_group_by_expr(&self) -> bool {
        false
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<ast::Expr, ParserError>> {
        self.plain.parse_prefix(parser).or_else(|| grouping::parse(parser))
    }

    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        left: &ast::Expr,
        precedence: u8,
    ) -> Option<Result<ast::Expr, ParserError>> {
        let negated = accept(parser, &["not", "between", "symmetric"]);
        if negated || accept(parser, &["between", "symmetric"]) {
            return Some(between_either(parser, left, self.prec_value(Precedence::Between), negated));
        }
        parse_distinction(parser, left, precedence)
    }

    fn parse_statement(&self, parser: &mut Parser<'_>) -> Option<Parsed> {
        if let Some(parsed) = form::parse(parser) {
            return Some(parsed);
        }
        if starts_with(parser, &["train"]) {
            return Some(self.parse_train(parser));
        }
        sugar::parse(parser)
    }
}

/// The parser takes all that follows for the right side, `a IS DISTINCT FROM b AND c` for a and (b AND c).
fn parse_distinction(
    parser: &mut Parser<'_>,
    left: &ast::Expr,
    precedence: u8,
) -> Option<Result<ast::Expr, ParserError>> {
    let negated = starts_with(parser, &["is", "not", "distinct", "from"]);
    let words: &[&str] =
        if negated { &["is", "not", "distinct", "from"] } else { &["is", "distinct", "from"] };
    if !accept(parser, words) {
        return None;
    }
    let pair = |right| (Box::new(left.clone()), Box::new(right));
    Some(parser.parse_subexpr(precedence).map(|right| match pair(right) {
        (left, right) if negated => ast::Expr::IsNotDistinctFrom(left, right),
        (left, right) => ast::Expr::IsDistinctFrom(left, right),
    }))
}

/// The bounds behind BETWEEN SYMMETRIC, either of which may be the lower one.
fn between_either(
    parser: &mut Parser<'_>,
    value: &ast::Expr,
    precedence: u8,
    negated: bool,
) -> Result<ast::Expr, ParserError> {
    let first = parser.parse_subexpr(precedence)?;
    parser.expect_keyword(Keyword::AND)?;
    let second = parser.parse_subexpr(precedence)?;
    let between = |low: &ast::Expr, high: &ast::Expr| {
        let (expr, low, high) = (Box::new(value.clone()), Box::new(low.clone()), Box::new(high.clone()));
        Box::new(ast::Expr::Between { expr, negated, low, high })
    };
    // Outside of both is outside of what they span.
    let op = if negated { ast::BinaryOperator::And } else { ast::BinaryOperator::Or };
    let (left, right) = (between(&first, &second), between(&second, &first));
    Ok(ast::Expr::Nested(Box::new(ast::Expr::BinaryOp { left, op, right })))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Statements that both dialects must read alike, so that a new method of PostgreSQL's is noticed.
    const CORPUS: &[&str] = &[
        "SELECT a ->> 'x', b::int, c ~ 'y', @ d, 5! FROM t WHERE e NOTNULL",
        "SELECT f(a, b := 2), array[1, 2][1], E'\\n', U&'\\0041' FROM t",
        "INSERT INTO t AS x (a, b) VALUES (1, 2) ON CONFLICT (a) DO UPDATE SET b = excluded.b RETURNING a",
        "SELECT count(*) FILTER (WHERE a > 0) FROM t GROUP BY (a), b",
        "SELECT EXTRACT(epoch FROM a), EXTRACT('year' FROM a), 1_000 & 3 | 4 << 2 FROM t",
        "CREATE TABLE t (a int NOT NULL DEFAULT 1, b text[] CHECK (b IS NOT NULL), c interval year)",
        "EXPLAIN (ANALYZE, FORMAT json) SELECT 1",
        "COMMENT ON TABLE t IS 'x'",
        "SELECT trim(both 'x' from a), a COLLATE \"C\", $1 FROM t FOR UPDATE",
        "ALTER TABLE t ALTER COLUMN a TYPE int USING a::int",
        "SELECT /* a /* b */ c */ 1",
    ];

    #[test]
    fn what_follows_a_distinction_stands_beside_it() {
        for (sql, outermost) in [
            ("a IS NOT DISTINCT FROM b AND c OR d", ast::BinaryOperator::Or),
            ("NOT a is distinct from b + 1 = 2 AND c", ast::BinaryOperator::And),
        ] {
            let text = format!("SELECT {sql}");
            let ours = ForetellDialect::new(Arc::new(Source::new(&text)));
            let ast::Statement::Query(query) = Parser::parse_sql(&ours, &text).unwrap().remove(0) else {
                panic!("{sql}")
            };
            let ast::SetExpr::Select(select) = *query.body else { panic!("{sql}") };
            let ast::SelectItem::UnnamedExpr(ast::Expr::BinaryOp { op, .. }) = &select.projection[0] else {
                panic!("{sql}: {select}")
            };
            assert_eq!(*op, outermost, "{sql}");
        }
    }

    #[test]
    fn dialect_reads_postgresql_as_postgresql_does() {
        for sql in CORPUS {
            let ours = ForetellDialect::new(Arc::new(Source::new(sql)));
            let expected = Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(|e| e.to_string());
            let actual = Parser::parse_sql(&ours, sql).map_err(|e| e.to_string());
            assert_eq!(actual, expected, "{sql}");
        }
    }
}
