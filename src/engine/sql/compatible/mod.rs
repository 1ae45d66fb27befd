//! PostgreSQL's ways of writing that DataFusion does not read, most of them from queries on the catalogue.

mod arrays;
mod build;
mod calls;
mod casts;
mod comparisons;
mod defaults;
mod depths;
mod from;
mod groups;
mod hidden;
mod outer_aggregates;
mod row_members;
mod rows;
mod subqueries;
mod ties;
mod twins;
mod using;
mod widths;
mod windows;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, Query, Select, TableFactor, Value, VisitMut, VisitorMut,
};

use crate::engine::sql::compatible::arrays::call_array;
use crate::engine::sql::compatible::build::{call, is_text, strip_schema, taken};
use crate::engine::sql::compatible::calls::{function_of, part, rewrite_call, rewrite_function};
use crate::engine::sql::compatible::casts::{rewrite_cast, rewrite_interval, wide_number};
use crate::engine::sql::compatible::comparisons::{
    make_boolean, match_at_lines, match_similar, rewrite_like, rewrite_operator, rewrite_quantified,
    search_cases,
};
use crate::engine::sql::compatible::defaults::fill_arguments;
use crate::engine::sql::compatible::depths::Depths;
use crate::engine::sql::compatible::from::{
    label_schemas, rewrite_lateral, rewrite_table_function, rewrite_unnest, select_from_scalar,
};
use crate::engine::sql::compatible::groups::drop_empty_groups;
use crate::engine::sql::compatible::hidden::replace_hidden;
use crate::engine::sql::compatible::outer_aggregates::OuterAggregates;
use crate::engine::sql::compatible::row_members::{search_rows, search_rows_in_condition};
use crate::engine::sql::compatible::rows::rewrite_rows;
use crate::engine::sql::compatible::subqueries::{
    as_value, only_expression, put_back, set_apart, take_array_query, unwrap_array_query,
};
use crate::engine::sql::compatible::ties::keep_ties;
use crate::engine::sql::compatible::twins::{tell_casts_apart, tell_casts_apart_in_query};
use crate::engine::sql::compatible::using::{merge_columns, merge_in_query};
use crate::engine::sql::compatible::widths::Widths;
use crate::engine::sql::compatible::windows::{write_out_windows, write_out_windows_in_query};
use crate::engine::sql::words::fold;
use crate::error::{Error, Result, Subject};

pub use outer_aggregates::outer_aggregate;
pub use using::{Merged, label, labels, merged_column, merged_in, named};

/// Rewrites the statement, or the query, and everything in it.
pub fn make_compatible(node: &mut impl VisitMut) -> Result<()> {
    node.visit(&mut Widths::default()).break_value().map_or(Ok(()), Err)?;
    node.visit(&mut OuterAggregates::default()).break_value().map_or(Ok(()), Err)?;
    node.visit(&mut Depths::default()).break_value().map_or(Ok(()), Err)?;
    node.visit(&mut Rewrites::default()).break_value().map_or(Ok(()), Err)
}

#[derive(Default)]
struct Rewrites {
    /// What the WITH clauses around name.
    withs: Vec<Vec<String>>,
    /// Table functions around, which read their arguments as they are written.
    functions: usize,
}

impl VisitorMut for Rewrites {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.withs.push(tables.map(|table| fold(&table.alias.name)).collect());
        if let Err(error) = write_out_windows_in_query(query) {
            return ControlFlow::Break(error);
        }
        merge_in_query(query);
        tell_casts_apart_in_query(query);
        keep_ties(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.withs.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        if let Err(error) = write_out_windows(select) {
            return ControlFlow::Break(error);
        }
        merge_columns(select);
        tell_casts_apart(select);
        label_schemas(select);
        drop_empty_groups(select);
        let mut conditions = [&mut select.selection, &mut select.having].into_iter().flatten();
        match conditions.try_for_each(search_rows_in_condition) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    /// Subqueries first: a name is one of their tables before it is one of those around.
    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        replace_hidden(select, &self.withs);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        rewrite_lateral(factor);
        if let TableFactor::Table { name, args: Some(_), .. } = factor {
            strip_schema(name);
        }
        rewrite_table_function(factor);
        rewrite_unnest(factor);
        select_from_scalar(factor);
        self.functions += usize::from(is_function(factor));
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        self.functions -= usize::from(is_function(factor));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        unwrap_array_query(expr);
        if let Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } = expr {
            take_array_query(right);
            set_apart(right);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        // The one of GROUP BY is gone.
        if matches!(expr, Expr::Tuple(fields) if fields.is_empty()) {
            let message = "syntax error: expected: an expression, found: )";
            return ControlFlow::Break(Error::input(Subject::Syntax, message));
        }
        rewrite(expr);
        rewrite_rows(expr);
        if let Err(error) = search_rows(expr) {
            return ControlFlow::Break(error);
        }
        if self.functions == 0 {
            call_array(expr);
        }
        ControlFlow::Continue(())
    }
}

fn is_function(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::Table { args: Some(_), .. })
}

fn rewrite(expr: &mut Expr) {
    match expr {
        Expr::Collate { expr: inner, .. } => *expr = taken(inner),
        Expr::Function(function) => {
            rewrite_function(function);
            fill_arguments(function);
            rewrite_call(expr);
        }
        Expr::BinaryOp { left, op: BinaryOperator::PGOverlap, right } => {
            *expr = call("array_has_any", vec![taken(left), taken(right)]);
        }
        Expr::BinaryOp { op, right, .. } => {
            rewrite_operator(op);
            match_at_lines(op, right);
        }
        Expr::Like { .. } | Expr::ILike { .. } => rewrite_like(expr),
        Expr::SimilarTo { .. } => match_similar(expr),
        Expr::Cast { .. } => rewrite_cast(expr),
        Expr::Interval(interval) => rewrite_interval(interval),
        Expr::Value(value) => {
            if let Some(number) = wide_number(&value.value) {
                *expr = number;
            }
        }
        Expr::UnaryOp { op: ast::UnaryOperator::Not, expr: condition } => make_boolean(condition),
        Expr::UnaryOp { op, expr: number } => {
            if let Some(name) = function_of(*op) {
                *expr = call(name, vec![taken(number)]);
            }
        }
        Expr::Extract { field, expr: time, .. } => *expr = part(field, taken(time)),
        Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => {
            put_back(right);
            rewrite_quantified(expr);
        }
        Expr::Identifier(word)
            if word.quote_style.is_none()
                && ["current_schema", "current_role"].contains(&word.value.to_lowercase().as_str()) =>
        {
            *expr = call(&word.value.to_lowercase(), vec![]);
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            *expr = call("timezone", vec![taken(time_zone), taken(timestamp)]);
        }
        Expr::Subquery(query) => {
            if let Some(inner) = only_expression(query) {
                *expr = Expr::Nested(Box::new(inner));
            } else if let Some(value) = as_value(query) {
                *expr = value;
            }
        }
        Expr::Case { .. } => search_cases(expr),
        Expr::Substring { expr: text, substring_from: Some(pattern), substring_for: None, .. }
            if is_text(pattern) =>
        {
            *expr = call("regexp_substring", vec![taken(text), taken(pattern)]);
        }
        Expr::CompoundFieldAccess { root, access_chain } => {
            if let [ast::AccessExpr::Dot(Expr::Identifier(field))] = access_chain.as_slice()
                && matches!(root.as_ref(), Expr::Nested(_) | Expr::Function(_))
            {
                let name = Expr::Value(Value::SingleQuotedString(fold(field)).with_empty_span());
                *expr = call("get_field", vec![taken(root), name]);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn postgresql_is_written_as_datafusion_reads_it() {
        for (sql, expected) in [
            ("SELECT a !~ 'b.', a ~* b, a ~ 'b'", "SELECT a !~ '(?s)b.', a ~* ('(?s)' || b), a ~ 'b'"),
            ("SELECT regexp_like(a, 'b.')", "SELECT (a ~ '(?s)b.')"),
            ("SELECT pg_catalog.f(a COLLATE pg_catalog.default)", "SELECT f(a)"),
            ("SELECT a OPERATOR(pg_catalog.~) 'x'", "SELECT a ~ 'x'"),
            ("SELECT 'pg_class'::regclass", "SELECT regclass('pg_class')"),
            ("SELECT a::pg_catalog.regclass::pg_catalog.text", "SELECT regclass_text(regclass(a))"),
            ("SELECT NOT ($1), NOT 'f', NOT a", "SELECT NOT ($1::BOOLEAN), NOT 'f'::BOOLEAN, NOT a"),
            ("SELECT a::pg_catalog.int4, b::name", "SELECT a::INT, b::name"),
            ("SELECT a = ANY (ARRAY['r', 'v'])", "SELECT a IN ('r', 'v')"),
            ("SELECT a = ANY ('{r,v}')", "SELECT a IN (CAST('r' AS TEXT), CAST('v' AS TEXT))"),
            ("SELECT a <> ALL (b)", "SELECT NOT array_has(b, a)"),
            ("SELECT a = ANY ('{1,2}'::oid[])", "SELECT a IN (CAST(1 AS BIGINT), CAST(2 AS BIGINT))"),
            (
                "SELECT (SELECT d.x FROM d WHERE d.i = o.i) FROM o",
                "SELECT single_value((SELECT struct(first_value(d.x), count(1)) FROM d WHERE d.i = o.i)) FROM o",
            ),
            (
                "SELECT (SELECT d.x FROM d WHERE d.i = o.i AND d.x > o.i / 2 AND (d.y < o.i OR d.z = o.i)) FROM o",
                "SELECT single_value((SELECT struct(first_value(d.x), count(1)) FROM d \
                 WHERE d.i = o.i AND d.x > o.i / 2 AND (d.y < d.i OR d.z = d.i))) FROM o",
            ),
            (
                "SELECT (SELECT count(*) FROM d WHERE d.i = o.i) FROM o",
                "SELECT (SELECT count(*) FROM d WHERE d.i = o.i) FROM o",
            ),
            ("SELECT c.tableoid FROM pg_class c", "SELECT regclass('pg_class') AS tableoid FROM pg_class c"),
            ("SELECT (SELECT a + 1) FROM t", "SELECT (a + 1) FROM t"),
            ("SELECT (SELECT a + 1 AS b) FROM t", "SELECT (a + 1) FROM t"),
            ("SELECT * FROM f((SELECT 1 AS b))", "SELECT * FROM f((SELECT 1 AS b))"),
            ("SELECT a = ANY (ARRAY (SELECT b FROM c))", "SELECT a IN (SELECT b FROM c)"),
            ("SELECT (t.k).x FROM t", "SELECT get_field((t.k), 'x') FROM t"),
            ("SELECT substring(a from 'b(.)')", "SELECT regexp_substring(a, 'b(.)')"),
            ("SELECT g FROM generate_series(1, 2) g", "SELECT g FROM generate_series(1, 2) g (g)"),
            ("SELECT * FROM unnest(f(1))", "SELECT * FROM UNNEST(f(1)) AS unnest (unnest)"),
            ("SELECT xmin FROM t", "SELECT xid(1) AS xmin FROM t"),
            ("SELECT t AT TIME ZONE 'UTC'", "SELECT timezone('UTC', t)"),
            ("SELECT (a, b) = (1, c + 2)", "SELECT (a = 1 AND b = c + 2)"),
            ("SELECT ROW(a, b) <= (1, 2)", "SELECT (a < 1 OR (a = 1 AND b <= 2))"),
            (
                "SELECT (a, b) NOT IN ((1, 2), (3, 4))",
                "SELECT (NOT (((a = 1 AND b = 2) OR (a = 3 AND b = 4))))",
            ),
            ("SELECT (a + 1, b) IS NULL", "SELECT (a + 1 IS NULL AND b IS NULL)"),
            ("SELECT count(DISTINCT (a + 1, b))", "SELECT count(DISTINCT struct(a + 1, b))"),
            ("SELECT a SIMILAR TO 'b%' ESCAPE '#'", "SELECT a ~ similar_to_escape('b%', '#')"),
            ("SELECT a NOT SIMILAR TO b", "SELECT a !~ similar_to_escape(b)"),
            ("SELECT a LIKE ANY (ARRAY['x%', b])", "SELECT (a LIKE 'x%' OR a LIKE b)"),
            ("SELECT a NOT ILIKE ALL (ARRAY['x%', b])", "SELECT (a NOT ILIKE 'x%' AND a NOT ILIKE b)"),
            ("SELECT a ~ ANY (ARRAY['x', 'y'])", "SELECT (a ~ 'x' OR a ~ 'y')"),
            ("SELECT array_agg(a ORDER BY 1 DESC, b)", "SELECT array_agg(a ORDER BY b)"),
            ("SELECT string_agg(a, ',' ORDER BY 1)", "SELECT string_agg(a, ',')"),
            ("SELECT sum(a) FROM t GROUP BY ()", "SELECT sum(a) FROM t HAVING count(1) >= 0"),
            ("SELECT a FROM t GROUP BY (), a", "SELECT a FROM t GROUP BY a"),
            (
                "SELECT a, b + 1 AS c FROM t ORDER BY c DESC, 1 OFFSET 2 FETCH FIRST 3 ROWS WITH TIES",
                "SELECT a, b + 1 AS c FROM t QUALIFY rank() OVER (ORDER BY b + 1 DESC, a) <= (3) + (2) ORDER BY c DESC, 1 OFFSET 2",
            ),
            ("SELECT to_hex(-1), to_hex(a)", "SELECT to_hex(CAST(-1 AS INT)), to_hex(a)"),
            (
                "SELECT sum(a) OVER (z ROWS 1 PRECEDING) FROM t WINDOW w AS (PARTITION BY k), z AS (w ORDER BY i) ORDER BY max(a) OVER w",
                "SELECT sum(a) OVER (PARTITION BY k ORDER BY i ROWS 1 PRECEDING) FROM t ORDER BY max(a) OVER (PARTITION BY k)",
            ),
            (
                "SELECT ARRAY[a, 1], ARRAY[1], ARRAY[[a], [2]], ARRAY[(SELECT 1 FROM t)] FROM f(by => ARRAY[a])",
                "SELECT make_array(a, 1), ARRAY[1], make_array(make_array(a), [2]), make_array((SELECT 1 FROM t)) FROM f(by => ARRAY[a])",
            ),
            ("SELECT a = ANY (ARRAY[b]::INT[])", "SELECT a IN (CAST(b AS INT))"),
            ("SELECT current_user, current_schema", "SELECT current_user(), current_schema()"),
        ] {
            let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
            make_compatible(&mut statement).unwrap();
            assert_eq!(statement.to_string(), expected);
        }
    }
}
