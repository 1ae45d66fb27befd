//! Comparisons: ANY and ALL of an array, operators with a schema, the escape of LIKE, NOT and CASE of a text.

use datafusion::sql::sqlparser::ast::{self, ArrayElemTypeDef, BinaryOperator, DataType, Expr, Value};

use crate::engine::sql::compatible::build::{call, is_text, taken};
use crate::engine::sql::literal::literal;
use crate::engine::sql::parameters::cast;

/// `x = ANY (array)` and `x <> ALL (array)`, which are about being an element.
pub(super) fn rewrite_quantified(expr: &mut Expr) {
    let (left, op, right, any) = match expr {
        Expr::AnyOp { left, compare_op, right, .. } => (left, compare_op, right, true),
        Expr::AllOp { left, compare_op, right } => (left, compare_op, right, false),
        _ => return,
    };
    rewrite_operator(op);
    let contained = match (any, &*op) {
        (true, BinaryOperator::Eq) => true,
        (false, BinaryOperator::NotEq) => false,
        _ => return,
    };
    let mut array = taken(right);
    while let Expr::Nested(inner) = array {
        array = *inner;
    }
    if let Expr::Subquery(query) = array {
        let subquery = Expr::InSubquery { expr: Box::new(taken(left)), subquery: query, negated: !contained };
        *expr = subquery;
        return;
    }
    // A literal of an array has the type of what it is compared with; elements are compared as text where it is not told.
    if let Expr::Value(value) = &array
        && let Value::SingleQuotedString(text) = &value.value
    {
        let texts = DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None));
        if let Ok(list) = literal(Some(text), &texts) {
            *expr = match elements(list) {
                Ok(list) if !list.is_empty() => {
                    Expr::InList { expr: Box::new(taken(left)), list, negated: !contained }
                }
                _ => Expr::Value(Value::Boolean(!contained).with_empty_span()),
            };
            return;
        }
    }
    let (array, left) = match elements(array) {
        Ok(list) if !list.is_empty() => {
            *expr = Expr::InList { expr: Box::new(taken(left)), list, negated: !contained };
            return;
        }
        Ok(_) => {
            *expr = Expr::Value(Value::Boolean(!contained).with_empty_span());
            return;
        }
        Err(array) => (*array, taken(left)),
    };
    let found = call("array_has", vec![array, left]);
    *expr = match contained {
        true => found,
        false => Expr::UnaryOp { op: ast::UnaryOperator::Not, expr: Box::new(found) },
    };
}

/// The elements of an array that is written out, cast to the array's element type where it is cast.
fn elements(array: Expr) -> Result<Vec<Expr>, Box<Expr>> {
    match array {
        Expr::Array(array) => Ok(array.elem),
        Expr::Cast { kind, expr, data_type, array, format } => {
            let element = match &data_type {
                DataType::Array(ArrayElemTypeDef::SquareBracket(inner, _)) => Some(inner.as_ref().clone()),
                _ => None,
            };
            match (*expr, element) {
                (Expr::Array(list), Some(element)) => {
                    Ok(list.elem.into_iter().map(|e| cast(e, element.clone())).collect())
                }
                (inner, _) => {
                    Err(Box::new(Expr::Cast { kind, expr: Box::new(inner), data_type, array, format }))
                }
            }
        }
        other => Err(Box::new(other)),
    }
}

/// `OPERATOR(pg_catalog.~)` is the operator.
pub(super) fn rewrite_operator(op: &mut BinaryOperator) {
    let BinaryOperator::PGCustomBinaryOperator(parts) = op else { return };
    let plain = match parts.last().map(String::as_str) {
        Some("~") => BinaryOperator::PGRegexMatch,
        Some("~*") => BinaryOperator::PGRegexIMatch,
        Some("!~") => BinaryOperator::PGRegexNotMatch,
        Some("!~*") => BinaryOperator::PGRegexNotIMatch,
        Some("=") => BinaryOperator::Eq,
        Some("<>") => BinaryOperator::NotEq,
        Some("<") => BinaryOperator::Lt,
        Some(">") => BinaryOperator::Gt,
        Some("<=") => BinaryOperator::LtEq,
        Some(">=") => BinaryOperator::GtEq,
        Some("+") => BinaryOperator::Plus,
        Some("-") => BinaryOperator::Minus,
        Some("||") => BinaryOperator::StringConcat,
        Some("~~") => BinaryOperator::PGLikeMatch,
        _ => return,
    };
    *op = plain;
}

/// LIKE with another escape than a backslash: the pattern with backslashes.
pub(super) fn escape_by_backslash(pattern: &mut Box<Expr>, escape: &mut Option<ast::ValueWithSpan>) {
    let text = |text: &str| Expr::Value(Value::SingleQuotedString(text.to_owned()).with_empty_span());
    let Some(Value::SingleQuotedString(character)) = escape.as_ref().map(|value| value.value.clone()) else {
        return;
    };
    if character == "\\" {
        return;
    }
    *escape = None;
    if let Expr::Value(value) = pattern.as_ref()
        && let Value::SingleQuotedString(plain) = &value.value
    {
        **pattern = text(&with_backslashes(plain, character.chars().next()));
        return;
    }
    // What the pattern says of itself is marked first, so that it stays apart from what marks it.
    let replaced = |pattern, from: &str, to: &str| call("replace", vec![pattern, text(from), text(to)]);
    let pattern_of = taken(pattern);
    **pattern = match character.as_str() {
        "" => replaced(pattern_of, "\\", "\\\\"),
        escape => {
            let twice = replaced(pattern_of, &escape.repeat(2), "\u{1}");
            let doubled = replaced(twice, "\\", "\\\\");
            replaced(replaced(doubled, escape, "\\"), "\u{1}", escape)
        }
    };
}

/// The pattern with a backslash before what another character escapes.
fn with_backslashes(pattern: &str, escape: Option<char>) -> String {
    let (mut written, mut characters) = (String::new(), pattern.chars());
    while let Some(character) = characters.next() {
        match character {
            c if Some(c) == escape => written.extend(characters.next().into_iter().flat_map(escaped)),
            '\\' => written.push_str("\\\\"),
            c => written.push(c),
        }
    }
    written
}

/// A character that stands for itself in a pattern.
fn escaped(character: char) -> impl Iterator<Item = char> {
    let special = matches!(character, '%' | '_' | '\\');
    special.then_some('\\').into_iter().chain([character])
}

/// A text or a parameter behind NOT is a boolean: `NOT 'f'`, `NOT ($1)`.
pub(super) fn make_boolean(condition: &mut Expr) {
    let inner = match condition {
        Expr::Nested(inner) => inner.as_mut(),
        plain => plain,
    };
    if is_text(inner) || is_parameter(inner) {
        *inner = Expr::Cast {
            kind: ast::CastKind::DoubleColon,
            expr: Box::new(taken(inner)),
            data_type: DataType::Boolean,
            array: false,
            format: None,
        };
    }
}

fn is_parameter(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::Placeholder(_)))
}

/// `CASE x WHEN 't' THEN …` as `CASE WHEN x = 't' THEN …`, which compares what it compares by their types.
pub(super) fn search_cases(expr: &mut Expr) {
    let Expr::Case { operand, conditions, .. } = expr else { return };
    let text = |when: &ast::CaseWhen| matches!(&when.condition, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)));
    if !conditions.iter().all(text) {
        return;
    }
    let Some(operand) = operand.take() else { return };
    for when in conditions {
        let right = Box::new(taken(&mut when.condition));
        when.condition = Expr::BinaryOp { left: operand.clone(), op: BinaryOperator::Eq, right };
    }
}
