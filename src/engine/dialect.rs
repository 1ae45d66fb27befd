//! PostgreSQL's dialect, in which no text is read without end.
//!
//! The parser tries what a text may be, one after the other, and begins again when it was something else: what is nested
//! is read twice as often with every level, or more. Here it has so many expressions to begin with, and no more.

use std::any::TypeId;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

use crate::engine::methods::delegate;

/// Expressions that the parser may begin in any text, and for each byte of it.
const EXPRESSIONS: u64 = 200_000;
const EXPRESSIONS_PER_BYTE: u64 = 20;

/// What is told of a text that has begun them all.
pub const TOO_NESTED: &str = "statement nests too deep to be read";

/// Methods of a dialect that reads as the one in its field does.
macro_rules! reads_as {
    ($field:ident) => {
        delegate! {
            to $field:
            identifier_quote_style(identifier: &str) -> Option<char>;
            is_delimited_identifier_start(ch: char) -> bool;
            is_identifier_start(ch: char) -> bool;
            is_identifier_part(ch: char) -> bool;
            supports_unicode_string_literal() -> bool;
            is_reserved_for_identifier(keyword: Keyword) -> bool;
            is_custom_operator_part(ch: char) -> bool;
            get_next_precedence(parser: &Parser<'_>) -> Option<Result<u8, ParserError>>;
            supports_filter_during_aggregation() -> bool;
            prec_value(precedence: Precedence) -> u8;
            allow_extract_custom() -> bool;
            allow_extract_single_quotes() -> bool;
            supports_create_index_with_clause() -> bool;
            supports_explain_with_utility_options() -> bool;
            supports_listen_notify() -> bool;
            supports_factorial_operator() -> bool;
            supports_bitwise_shift_operators() -> bool;
            supports_comment_on() -> bool;
            supports_load_extension() -> bool;
            supports_named_fn_args_with_colon_operator() -> bool;
            supports_empty_projections() -> bool;
            supports_nested_comments() -> bool;
            supports_string_escape_constant() -> bool;
            supports_numeric_literal_underscores() -> bool;
            supports_array_typedef_with_brackets() -> bool;
            supports_geometric_types() -> bool;
            supports_set_names() -> bool;
            supports_alter_column_type_using() -> bool;
            supports_notnull_operator() -> bool;
            supports_interval_options() -> bool;
            supports_insert_table_alias() -> bool;
            supports_create_table_like_parenthesized() -> bool;
            supports_select_wildcard_with_alias() -> bool;
            supports_comma_separated_trim() -> bool;
            supports_xml_expressions() -> bool;
            supports_comment_optimizer_hint() -> bool;
        }
    };
}

pub(super) use reads_as;

/// The dialect of one text.
#[derive(Debug)]
pub struct PlainDialect {
    postgres: PostgreSqlDialect,
    left: AtomicU64,
}

impl PlainDialect {
    /// The dialect of this text.
    pub fn of(text: &str) -> Self {
        let left = EXPRESSIONS + EXPRESSIONS_PER_BYTE * text.len() as u64;
        Self { postgres: PostgreSqlDialect {}, left: AtomicU64::new(left) }
    }

    /// True where the text was given up: what the parser says of it then may be anything.
    pub fn is_exhausted(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }
}

impl Dialect for PlainDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    reads_as!(postgres);

    fn supports_group_by_expr(&self) -> bool {
        self.postgres.supports_group_by_expr()
    }

    // PostgreSQL's names of arguments are words. An expression in such a place is read twice.
    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    fn parse_prefix(&self, _parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let one_less = |left: u64| left.checked_sub(1);
        let begun = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        begun.is_err().then(|| Err(ParserError::ParserError(TOO_NESTED.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the parser says of so many of one thing within the other, and how many expressions it began.
    fn read(open: &str, inner: &str, close: &str, depth: usize) -> (Option<String>, u64) {
        let text = format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
        let dialect = PlainDialect::of(&text);
        let all = dialect.left.load(Ordering::Relaxed);
        let mut parser = Parser::new(&dialect).with_recursion_limit(1_000).try_with_sql(&text).unwrap();
        let told = parser.parse_expr().err().map(|error| error.to_string());
        (told, all - dialect.left.load(Ordering::Relaxed))
    }

    #[test]
    fn calls_within_calls_are_read_once() {
        let (told, begun) = read("abs(", "1", ")", 60);
        assert_eq!(told, None);
        assert!(begun < 200, "{begun}");
    }

    #[test]
    fn what_is_tried_again_and_again_is_given_up() {
        for open in ["cast(", "not (", "interval (", "ceil("] {
            let (told, begun) = read(open, "1 <<day<%<<", ")", 60);
            assert!(told.is_some(), "{open}");
            assert!(begun > EXPRESSIONS && begun < EXPRESSIONS * 2, "{open} {begun}");
        }
    }
}
