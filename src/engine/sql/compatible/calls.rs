//! Calls of functions that have another name or another form here.

use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, DataType, DateTimeField, ExactNumberInfo, Expr, Function, FunctionArgumentList,
    FunctionArguments, ObjectNamePart, Query, SetExpr, TableFactor, TimezoneInfo, UnaryOperator, Value,
};

use crate::engine::sql::compatible::arrays::collect_rows;
use crate::engine::sql::compatible::build::{call, case, is_text, plain_arguments, strip_schema, taken};
use crate::engine::sql::compatible::comparisons::match_at_lines;
use crate::engine::sql::compatible::rows::rows_as_structs;
use crate::engine::sql::naming::narrow_expr;
use crate::engine::sql::parameters::cast;
use crate::engine::sql::words::{fold, last_word};

pub(super) fn rewrite_function(function: &mut Function) {
    strip_schema(&mut function.name);
    if let FunctionArguments::List(list) = &mut function.args {
        drop_constant_keys(list);
    }
    let Some(ObjectNamePart::Identifier(word)) = function.name.0.last_mut() else { return };
    // Special words are functions without parentheses.
    let special = ["current_user", "session_user", "user", "current_catalog"];
    if matches!(function.args, FunctionArguments::None)
        && special.contains(&word.value.to_lowercase().as_str())
    {
        word.value = word.value.to_lowercase();
        let args = FunctionArgumentList { duplicate_treatment: None, args: vec![], clauses: vec![] };
        function.args = FunctionArguments::List(args);
    }
}

/// A value that is written in the order of an aggregate is not the place of a column, and orders nothing.
fn drop_constant_keys(list: &mut FunctionArgumentList) {
    list.clauses.retain_mut(|clause| {
        let ast::FunctionArgumentClause::OrderBy(order) = clause else { return true };
        order.retain(|key| !is_written(&key.expr));
        for key in order.iter_mut().filter(|key| matches!(key.expr, Expr::Value(_))) {
            // A parameter, whose number would be a place once it stands there alone.
            key.expr = Expr::Nested(Box::new(taken(&mut key.expr)));
        }
        !order.is_empty()
    });
}

/// True for a value, but not for a parameter.
fn is_written(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_written(inner),
        Expr::Value(value) => !matches!(value.value, Value::Placeholder(_)),
        _ => false,
    }
}

/// Calls that are written as other expressions here.
pub(super) fn rewrite_call(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    let Some(name) = function.name.0.last().and_then(|part| part.as_ident()) else { return };
    if name.quote_style.is_some() {
        return;
    }
    let name = fold(name);
    if name == "array"
        && let FunctionArguments::Subquery(query) = &mut function.args
    {
        if let Some(numbers) = names_of_roles(query) {
            *expr = call("role_names", vec![numbers]);
            return;
        }
        collect_rows(query);
        // No rows are an empty array.
        let empty = Expr::Value(Value::SingleQuotedString("{}".to_owned()).with_empty_span());
        *expr = call("coalesce", vec![Expr::Subquery(query.clone()), empty]);
        return;
    }
    if name == "count" {
        return rows_as_structs(function);
    }
    if let Some(data_type) = local_time(&name) {
        *expr = cast(call("now", vec![]), data_type);
        return;
    }
    let mut arguments = match &function.args {
        FunctionArguments::List(list) if function.over.is_none() => plain_arguments(list),
        _ => return,
    };
    let one = || Expr::Value(Value::Number("1".to_owned(), false).with_empty_span());
    match (name.as_str(), arguments.len()) {
        ("array_length" | "array_upper", 2) => {
            *expr = cast(length_of_filled(arguments), DataType::Integer(None));
        }
        ("array_lower", 2) => {
            let condition = Expr::IsNotNull(Box::new(length_of_filled(arguments)));
            let result = cast(one(), DataType::Integer(None));
            *expr = case(vec![ast::CaseWhen { condition, result }]);
        }
        ("cardinality", 1) => *expr = cast(call("cardinality", arguments), DataType::Integer(None)),
        ("mod", 2) => {
            let (right, left) = (arguments.pop(), arguments.pop());
            if let (Some(left), Some(right)) = (left, right) {
                let nested = |expr| Box::new(Expr::Nested(Box::new(expr)));
                let rest =
                    Expr::BinaryOp { left: nested(left), op: BinaryOperator::Modulo, right: nested(right) };
                *expr = Expr::Nested(Box::new(rest));
            }
        }
        ("generate_subscripts", 2 | 3) => {
            arguments.truncate(2);
            let length = cast(call("array_length", arguments), DataType::BigInt(None));
            *expr = call("unnest", vec![call("generate_series", vec![one(), length])]);
        }
        ("to_hex", 1) => {
            arguments.iter_mut().for_each(narrow_expr);
            *expr = call("to_hex", arguments);
        }
        ("generate_series", _) => *expr = call("unnest", vec![call("generate_series", arguments)]),
        ("substring" | "substr", 2) if is_text(&arguments[1]) => *expr = call("regexp_substring", arguments),
        ("aclexplode", 1) => *expr = call("unnest", vec![call("acl_items", arguments)]),
        ("pg_partition_ancestors", 1) => {
            *expr = call("unnest", vec![call("pg_partition_ancestors", arguments)])
        }
        ("regexp_like", 2) => {
            let (pattern, text) = (arguments.pop(), arguments.pop());
            if let (Some(text), Some(mut pattern)) = (text, pattern) {
                let op = BinaryOperator::PGRegexMatch;
                match_at_lines(&op, &mut pattern);
                let matched = Expr::BinaryOp { left: Box::new(text), op, right: Box::new(pattern) };
                *expr = Expr::Nested(Box::new(matched));
            }
        }
        ("regexp_matches", 2 | 3) => *expr = call("unnest", vec![call("regexp_groups", arguments)]),
        ("regexp_split_to_table", 2 | 3) => {
            *expr = call("unnest", vec![call("regexp_split_to_array", arguments)])
        }
        ("_pg_expandarray", 1) => *expr = call("unnest", vec![call("expanded_array", arguments)]),
        _ => {}
    }
}

/// The length of an array that has elements; an empty one has none.
fn length_of_filled(array: Vec<Expr>) -> Expr {
    let length = cast(call("array_length", array), DataType::BigInt(None));
    let none = Expr::Value(Value::Number("0".to_owned(), false).with_empty_span());
    call("nullif", vec![length, none])
}

/// What the clocks of the session's zone show.
fn local_time(word: &str) -> Option<DataType> {
    match word {
        "localtimestamp" => Some(DataType::Timestamp(None, TimezoneInfo::None)),
        "localtime" => Some(DataType::Time(None, TimezoneInfo::None)),
        _ => None,
    }
}

/// The function that an operator before a number is.
pub(super) fn function_of(operator: UnaryOperator) -> Option<&'static str> {
    match operator {
        UnaryOperator::PGSquareRoot => Some("sqrt"),
        UnaryOperator::PGCubeRoot => Some("cbrt"),
        UnaryOperator::PGAbs => Some("abs"),
        _ => None,
    }
}

/// `extract(field FROM time)`, a number with the digits that it has in PostgreSQL.
pub(super) fn part(field: &DateTimeField, time: Expr) -> Expr {
    let field = field.to_string().to_lowercase();
    let (precision, scale) = match field.as_str() {
        "epoch" => (20, 6),
        "second" | "seconds" => (8, 6),
        "millisecond" | "milliseconds" => (8, 3),
        _ => (10, 0),
    };
    let name = Expr::Value(Value::SingleQuotedString(field).with_empty_span());
    let info = ExactNumberInfo::PrecisionAndScale(precision, scale);
    cast(call("date_part", vec![name, time]), DataType::Numeric(info))
}

/// The array of which `SELECT rolname FROM pg_roles WHERE oid = ANY (array)` tells the names: psql asks so for every
/// table, and the array is one of the outer query.
fn names_of_roles(query: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [table] = select.from.as_slice() else { return None };
    let TableFactor::Table { name, .. } = &table.relation else { return None };
    let roles = last_word(name)? == "pg_roles";
    let Some(Expr::Function(Function { name, args: FunctionArguments::List(list), .. })) = &select.selection
    else {
        return None;
    };
    let contained = last_word(name)? == "array_has";
    (roles && contained).then(|| plain_arguments(list).into_iter().next()).flatten()
}
