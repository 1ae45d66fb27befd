//! Comparisons: ANY and ALL of an array, operators with a schema, LIKE and SIMILAR TO, NOT and CASE of a text.

use datafusion::sql::sqlparser::ast::{
    self, ArrayElemTypeDef, BinaryOperator, DataType, Expr, Function, FunctionArguments, Value,
};

use crate::engine::functions;
use crate::engine::sql::compatible::arrays::MAKE_ARRAY;
use crate::engine::sql::compatible::build::{balanced, call, is_text, plain_arguments, taken};
use crate::engine::sql::literal::literal;
use crate::engine::sql::parameters::cast;
use crate::engine::sql::words::last_word;

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
        (_, op) if is_match(op) => {
            if let Some(patterns) = written_elements(right.as_ref().clone()) {
                let left = taken(left);
                let matched = |mut pattern| {
                    match_at_lines(op, &mut pattern);
                    let (left, right) = (Box::new(left.clone()), Box::new(pattern));
                    Expr::BinaryOp { left, op: op.clone(), right }
                };
                *expr = any_or_all(patterns.into_iter().map(matched).collect(), any);
            }
            return;
        }
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
        && let Ok(list) = literal(Some(text), &array_of_texts())
    {
        *expr = match elements(list) {
            Ok(list) if !list.is_empty() => {
                Expr::InList { expr: Box::new(taken(left)), list, negated: !contained }
            }
            _ => Expr::Value(Value::Boolean(!contained).with_empty_span()),
        };
        return;
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

/// A point in a regular expression is the end of a line, too.
pub(super) fn match_at_lines(op: &BinaryOperator, pattern: &mut Expr) {
    use BinaryOperator::{PGRegexIMatch, PGRegexMatch, PGRegexNotIMatch, PGRegexNotMatch};
    if !matches!(op, PGRegexMatch | PGRegexIMatch | PGRegexNotMatch | PGRegexNotIMatch) {
        return;
    }
    let text = |text: String| Expr::Value(Value::SingleQuotedString(text).with_empty_span());
    if let Expr::Value(value) = &*pattern
        && let Some(written) = value.value.clone().into_string()
    {
        *pattern = text(functions::at_all_characters(&written));
        return;
    }
    let (left, right) = (Box::new(text("(?s)".to_owned())), Box::new(taken(pattern)));
    let joined = Expr::BinaryOp { left, op: BinaryOperator::StringConcat, right };
    *pattern = Expr::Nested(Box::new(joined));
}

/// True for an operator with a pattern behind it.
fn is_match(op: &BinaryOperator) -> bool {
    use BinaryOperator::{
        PGILikeMatch, PGLikeMatch, PGNotILikeMatch, PGNotLikeMatch, PGRegexIMatch, PGRegexMatch,
        PGRegexNotIMatch, PGRegexNotMatch,
    };
    matches!(
        op,
        PGLikeMatch
            | PGILikeMatch
            | PGNotLikeMatch
            | PGNotILikeMatch
            | PGRegexMatch
            | PGRegexIMatch
            | PGRegexNotMatch
            | PGRegexNotIMatch
    )
}

fn any_or_all(conditions: Vec<Expr>, any: bool) -> Expr {
    let op = if any { BinaryOperator::Or } else { BinaryOperator::And };
    balanced(conditions, &op)
}

/// The elements of an array that is written out, or is a literal of texts.
fn written_elements(mut array: Expr) -> Option<Vec<Expr>> {
    while let Expr::Nested(inner) = array {
        array = *inner;
    }
    if let Expr::Value(value) = &array
        && let Value::SingleQuotedString(text) = &value.value
    {
        array = literal(Some(text), &array_of_texts()).ok()?;
    }
    elements(array).ok()
}

fn array_of_texts() -> DataType {
    DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None))
}

/// The elements of an array that is written out, cast to the array's element type where it is cast.
fn elements(array: Expr) -> Result<Vec<Expr>, Box<Expr>> {
    match array {
        Expr::Array(array) => Ok(array.elem),
        Expr::Function(Function { name, args: FunctionArguments::List(list), .. })
            if last_word(&name).as_deref() == Some(MAKE_ARRAY) =>
        {
            Ok(plain_arguments(&list))
        }
        Expr::Cast { kind, expr, data_type, array, format } => {
            let element = match &data_type {
                DataType::Array(ArrayElemTypeDef::SquareBracket(inner, _)) => Some(inner.as_ref().clone()),
                _ => None,
            };
            match (elements(*expr), element) {
                (Ok(list), Some(element)) => Ok(list.into_iter().map(|e| cast(e, element.clone())).collect()),
                (Ok(list), None) => {
                    let expr = Box::new(call(MAKE_ARRAY, list));
                    Err(Box::new(Expr::Cast { kind, expr, data_type, array, format }))
                }
                (Err(expr), _) => Err(Box::new(Expr::Cast { kind, expr, data_type, array, format })),
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

/// `x LIKE ANY (array)` and `x LIKE ALL (array)` as one LIKE for each element of an array that is written out.
pub(super) fn rewrite_like(expr: &mut Expr) {
    if let Some((patterns, is_any)) = quantified_patterns(expr) {
        let mut like = expr.clone();
        let each = patterns.into_iter().map(|element| {
            if let Expr::Like { any, pattern, .. } | Expr::ILike { any, pattern, .. } = &mut like {
                *any = false;
                **pattern = element;
            }
            let mut like = like.clone();
            rewrite_like(&mut like);
            like
        });
        *expr = any_or_all(each.collect(), is_any);
    } else if let Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } = expr {
        escape_by_backslash(pattern, escape_char);
    }
}

/// The patterns of a LIKE with ANY, or with ALL, which the parser takes for a function.
fn quantified_patterns(like: &Expr) -> Option<(Vec<Expr>, bool)> {
    let (Expr::Like { any, pattern, .. } | Expr::ILike { any, pattern, .. }) = like else { return None };
    if *any {
        return Some((written_elements(pattern.as_ref().clone())?, true));
    }
    let Expr::Function(function) = pattern.as_ref() else { return None };
    let is_any = match last_word(&function.name).as_deref() {
        Some("all") => false,
        Some("some") => true,
        _ => return None,
    };
    let FunctionArguments::List(list) = &function.args else { return None };
    Some((written_elements(plain_arguments(list).pop()?)?, is_any))
}

/// SIMILAR TO is a match with the regular expression that its pattern is.
pub(super) fn match_similar(expr: &mut Expr) {
    let Expr::SimilarTo { negated, expr: text, pattern, escape_char } = expr else { return };
    let op = if *negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
    let mut arguments = vec![taken(pattern)];
    arguments.extend(escape_char.take().map(Expr::Value));
    let (left, right) = (Box::new(taken(text)), Box::new(call("similar_to_escape", arguments)));
    *expr = Expr::BinaryOp { left, op, right };
}

/// LIKE with another escape than a backslash: the pattern with backslashes.
fn escape_by_backslash(pattern: &mut Box<Expr>, escape: &mut Option<ast::ValueWithSpan>) {
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
