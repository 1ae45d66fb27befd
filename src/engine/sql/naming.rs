//! Names of output columns as PostgreSQL gives them, and its type of whole numbers in results.
//!
//! Source: PostgreSQL 15, `FigureColname` in parse_target.c.

use datafusion::sql::sqlparser::ast::{
    self, AccessExpr, DataType, Expr, Ident, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, Subscript, UnaryOperator, Value,
};

use crate::engine::sql::ordering::before_order;
use crate::engine::sql::parameters::cast;
use crate::engine::sql::words::{fold, last_word};

/// What follows a name that another column of the same SELECT has already: results show the name before it.
pub const TWIN: char = '\u{1}';

/// The name of an expression that has none.
const UNNAMED: &str = "?column?";

/// The name that users see.
pub fn shown(name: &str) -> &str {
    name.split(TWIN).next().unwrap_or(name)
}

/// Gives every column of a SELECT a name, the one that PostgreSQL would give it; `inner` is one whose columns others may
/// name.
pub fn name_columns(select: &mut Select, inner: bool) {
    let stars = Stars::of(select);
    let mut taken: Vec<String> = vec![];
    for item in &mut select.projection {
        let is_twin = stars.may_have(item, inner);
        let (name, explicit) = match item {
            SelectItem::UnnamedExpr(expr) => (name_of(expr), false),
            SelectItem::ExprWithAlias { alias, .. } => (fold(alias), true),
            _ => continue,
        };
        let twins = taken.iter().filter(|other| **other == name).count();
        let unique = match twins {
            0 if !is_twin || explicit => name.clone(),
            n => format!("{name}{TWIN}{n}"),
        };
        taken.push(name);
        rename(item, &unique, explicit);
    }
}

/// The stars of a SELECT; what they stand for is not known here.
struct Stars {
    /// `*` is among them.
    all: bool,
    /// The tables of `t.*`.
    tables: Vec<String>,
    /// Nothing is joined.
    of_one: bool,
}

impl Stars {
    fn of(select: &Select) -> Self {
        let mut stars = Self { all: false, tables: vec![], of_one: false };
        for item in &select.projection {
            match item {
                SelectItem::Wildcard(_) => stars.all = true,
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    stars.tables.extend(last_word(name));
                }
                SelectItem::QualifiedWildcard(..) => stars.all = true,
                _ => {}
            }
        }
        stars.of_one = matches!(select.from.as_slice(), [one] if one.joins.is_empty());
        stars
    }

    /// Whether a column may have the name of one of theirs. Where others name columns, only a column that is surely one of
    /// theirs is told apart from it.
    fn may_have(&self, item: &SelectItem, inner: bool) -> bool {
        match item {
            _ if !self.all && self.tables.is_empty() => false,
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) if parts.len() > 1 => {
                self.all || self.tables.contains(&fold(&parts[parts.len() - 2]))
            }
            SelectItem::UnnamedExpr(Expr::Identifier(_)) => self.all || self.of_one || !inner,
            _ => !inner,
        }
    }
}

/// What an output column can be named by.
pub fn output_name(item: &SelectItem) -> Option<Ident> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.clone()),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.clone()),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().cloned(),
        _ => None,
    }
}

fn rename(item: &mut SelectItem, name: &str, explicit: bool) {
    let keeps = |expr: &Expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    match item {
        SelectItem::UnnamedExpr(expr) if keeps(expr) && !name.contains(TWIN) => {}
        SelectItem::UnnamedExpr(expr) => {
            let expr = std::mem::replace(expr, Expr::Value(Value::Null.with_empty_span()));
            *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
        }
        SelectItem::ExprWithAlias { alias, .. } if explicit && name.contains(TWIN) => {
            *alias = Ident { span: alias.span, ..Ident::with_quote('"', name) };
        }
        _ => {}
    }
}

fn name_of(expr: &Expr) -> String {
    figured(expr).map_or_else(|| UNNAMED.to_owned(), |(name, _)| name)
}

/// The name of an expression, and whether it is more than its type or its kind.
fn figured(expr: &Expr) -> Option<(String, bool)> {
    let strong = |name: &str| Some((name.to_owned(), true));
    let weak = |name: &str| Some((name.to_owned(), false));
    match expr {
        Expr::Identifier(column) => strong(&fold(column)),
        Expr::CompoundIdentifier(parts) => strong(&fold(parts.last()?)),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figured(inner),
        Expr::Function(function) => strong(&last_word(&function.name)?),
        Expr::Cast { expr, data_type, .. } => match figured(expr) {
            Some((name, true)) => strong(&name),
            _ => weak(&type_name(data_type)),
        },
        Expr::TypedString(typed) => weak(&type_name(&typed.data_type)),
        Expr::Interval(_) => weak("interval"),
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figured) {
            Some((name, true)) => strong(&name),
            _ => weak("case"),
        },
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(field)) => Some(fold(field)),
                AccessExpr::Subscript(Subscript::Index { index: Expr::Value(value) }) => {
                    value.value.clone().into_string()
                }
                _ => None,
            });
            field.map_or_else(|| figured(root), |field| strong(&field))
        }
        Expr::Extract { .. } => strong("extract"),
        Expr::Substring { .. } => strong("substring"),
        Expr::Position { .. } => strong("position"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(ast::TrimWhereField::Leading) => "ltrim",
            Some(ast::TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Array(_) => strong("array"),
        Expr::Tuple(_) => strong("row"),
        Expr::Exists { .. } => strong("exists"),
        Expr::Subquery(query) => figured_query(query),
        _ => None,
    }
}

/// The name of a scalar subquery: its column's.
fn figured_query(query: &Query) -> Option<(String, bool)> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.first()? {
        SelectItem::UnnamedExpr(expr) => figured(expr),
        SelectItem::ExprWithAlias { alias, .. } => Some((shown(&fold(alias)).to_owned(), true)),
        _ => None,
    }
}

/// PostgreSQL's own name of a type.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => "int4".to_owned(),
        DataType::BigInt(_) | DataType::Int8(_) => "int8".to_owned(),
        DataType::SmallInt(_) | DataType::Int2(_) | DataType::TinyInt(_) => "int2".to_owned(),
        DataType::Real | DataType::Float4 => "float4".to_owned(),
        DataType::Float(_) | DataType::Double(_) | DataType::DoublePrecision | DataType::Float8 => {
            "float8".to_owned()
        }
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => "numeric".to_owned(),
        DataType::Boolean | DataType::Bool => "bool".to_owned(),
        DataType::Varchar(_) | DataType::CharacterVarying(_) | DataType::CharVarying(_) => {
            "varchar".to_owned()
        }
        DataType::Char(_) | DataType::Character(_) => "bpchar".to_owned(),
        DataType::Timestamp(_, ast::TimezoneInfo::WithTimeZone | ast::TimezoneInfo::Tz) => {
            "timestamptz".to_owned()
        }
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Time(..) => "time".to_owned(),
        DataType::Interval { .. } => "interval".to_owned(),
        DataType::Array(element) => match element {
            ast::ArrayElemTypeDef::SquareBracket(inner, _)
            | ast::ArrayElemTypeDef::AngleBracket(inner)
            | ast::ArrayElemTypeDef::Parenthesis(inner) => type_name(inner),
            ast::ArrayElemTypeDef::None => "array".to_owned(),
        },
        DataType::Custom(name, _) => last_word(name).unwrap_or_default(),
        other => other.to_string().to_lowercase(),
    }
}

/// Makes the whole numbers that a query gives as they stand four bytes wide, as in PostgreSQL; inside of expressions
/// they stay wide.
pub fn narrow_literals(query: &mut Query) {
    narrow(&mut query.body);
    narrow_keys(query);
}

/// The keys of DISTINCT ON are those of ORDER BY, which may be columns of the result.
fn narrow_keys(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let Some(ast::Distinct::On(keys)) = &mut select.distinct else { return };
    let order = match query.order_by.as_mut().map(|order| &mut order.kind) {
        Some(ast::OrderByKind::Expressions(order)) => order.as_mut_slice(),
        _ => &mut [],
    };
    let keys = keys.iter_mut().chain(order.iter_mut().map(|key| &mut key.expr));
    keys.filter(|key| matches!(key, Expr::Case { .. })).for_each(narrow_expr);
}

fn narrow(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            if let Some(rows) = before_order(select) {
                return narrow(rows);
            }
            for item in &mut select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                    narrow_expr(expr);
                }
            }
        }
        SetExpr::Values(values) => {
            values.rows.iter_mut().flat_map(|row| row.content.iter_mut()).for_each(narrow_expr)
        }
        SetExpr::SetOperation { left, right, .. } => {
            narrow(left);
            narrow(right);
        }
        SetExpr::Query(query) => narrow(&mut query.body),
        _ => {}
    }
}

/// Makes a whole number that is written out, and fits, four bytes wide.
pub fn narrow_expr(expr: &mut Expr) {
    if is_narrow(expr) {
        let literal = std::mem::replace(expr, Expr::Value(Value::Null.with_empty_span()));
        *expr = cast(literal, DataType::Int(None));
    }
}

/// True for numbers that fit four bytes, and for choices between such.
fn is_narrow(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, false) => digits.parse::<i32>().is_ok(),
            _ => false,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } | Expr::Nested(expr) => is_narrow(expr),
        Expr::Case { conditions, else_result, .. } => {
            let is_value = |expr: &&Expr| !matches!(expr, Expr::Value(value) if value.value == Value::Null);
            let results = conditions.iter().map(|when| &when.result);
            let mut values = results.clone().chain(else_result.as_deref()).filter(is_value);
            results.clone().any(|result| is_value(&result)) && values.all(is_narrow)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn named(sql: &str) -> String {
        let statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
        let ast::Statement::Query(mut query) = statement else { panic!("no query") };
        if let SetExpr::Select(select) = query.body.as_mut() {
            name_columns(select, false);
        }
        query.to_string()
    }

    /// The names are what PostgreSQL 15 answers.
    #[test]
    fn columns_have_the_names_that_postgresql_gives() {
        for (expr, name) in [
            ("count(*)", "count"),
            ("1 + 1", UNNAMED),
            ("a.b::text", "b"),
            ("1::text", "text"),
            ("length(x)::int", "length"),
            ("CAST('1' AS bigint)", "int8"),
            ("CASE WHEN a THEN 1 END", "case"),
            ("CASE WHEN a THEN 1 ELSE length(b) END", "length"),
            ("(SELECT max(x) FROM t)", "max"),
            ("(SELECT 2)", UNNAMED),
            ("extract(year FROM d)", "extract"),
            ("trim(x)", "btrim"),
            ("ARRAY[1]", "array"),
            ("DATE '2026-01-01'", "date"),
            ("pg_catalog.version()", "version"),
            ("x IN (1)", UNNAMED),
            ("'{1}'::int[]", "int4"),
        ] {
            let sql = named(&format!("SELECT {expr}"));
            assert!(sql.ends_with(&format!(" AS \"{name}\"")), "{sql}");
        }
        assert_eq!(named("SELECT a, t.b, c AS d FROM t"), "SELECT a, t.b, c AS d FROM t");
    }

    #[test]
    fn twins_are_told_apart_and_shown_alike() {
        let sql = named("SELECT 1, 1, a, t.a, b AS a FROM t");
        let names = ["?column?", "?column?\u{1}1", "a\u{1}1", "a\u{1}2"];
        assert!(names.iter().all(|name| sql.contains(&format!("\"{name}\""))), "{sql}");
        assert_eq!(shown("a\u{1}2"), "a");
        assert!(named("SELECT n.oid, n.* FROM n").contains("n.oid AS \"oid\u{1}0\""));
        assert_eq!(
            named("SELECT s.*, a.p FROM s JOIN a USING (k)"),
            "SELECT s.*, a.p FROM s JOIN a USING(k)"
        );
    }

    #[test]
    fn whole_numbers_of_results_are_four_bytes_wide() {
        let narrowed = |sql: &str| {
            let statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
            let ast::Statement::Query(mut query) = statement else { panic!("no query") };
            narrow_literals(&mut query);
            query.to_string()
        };
        assert_eq!(
            narrowed("SELECT 1, -2, 3000000000, a + 1"),
            "SELECT CAST(1 AS INT), CAST(-2 AS INT), 3000000000, a + 1"
        );
        assert_eq!(narrowed("VALUES (1, 'a')"), "VALUES (CAST(1 AS INT), 'a')");
        assert!(narrowed("SELECT CASE WHEN a THEN 1 ELSE NULL END").starts_with("SELECT CAST(CASE"));
    }
}
