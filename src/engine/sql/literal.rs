//! Values in PostgreSQL's text form as expressions.

use datafusion::arrow::compute::cast_single_string_to_boolean_default;
use datafusion::sql::sqlparser::ast::{self, DataType, ExactNumberInfo, Expr, Value};

use crate::engine::sql::parameters::cast;
use crate::error::{Error, Result, Subject};
use crate::postgres::{ArrayItem as Item, array_items, bytea_of, parse_interval};

/// Most digits of a number with an exponent that is kept digit by digit.
const DIGITS_MAX: usize = 38;

/// The value of this type that a text means; `None` is NULL.
pub fn literal(text: Option<&str>, data_type: &DataType) -> Result<Expr> {
    let Some(text) = text else { return Ok(cast(value(Value::Null), data_type.clone())) };
    let invalid = || invalid(text, data_type);
    Ok(match data_type {
        DataType::BigInt(_) | DataType::Int8(_) => {
            let number: i64 = text.trim().parse().map_err(|_| invalid())?;
            value(Value::Number(number.to_string(), false))
        }
        DataType::Text | DataType::Varchar(None) | DataType::CharacterVarying(None) => {
            value(Value::SingleQuotedString(text.to_owned()))
        }
        DataType::Boolean | DataType::Bool => {
            let truth = cast_single_string_to_boolean_default(text).ok_or_else(invalid)?;
            value(Value::Boolean(truth))
        }
        DataType::Numeric(ExactNumberInfo::None)
        | DataType::Decimal(ExactNumberInfo::None)
        | DataType::Dec(ExactNumberInfo::None) => numeric(text).ok_or_else(invalid)?,
        DataType::Bytea => value(Value::HexStringLiteral(hex(&bytea_of(text).ok_or_else(invalid)?))),
        DataType::Interval { fields: None, precision: None } => {
            cast(value(Value::SingleQuotedString(interval(text).ok_or_else(invalid)?)), data_type.clone())
        }
        DataType::Array(element) => array(text, element, data_type)?,
        _ => cast(value(Value::SingleQuotedString(text.to_owned())), data_type.clone()),
    })
}

/// An interval in words that DataFusion reads.
pub fn interval(text: &str) -> Option<String> {
    let (months, days, micros) = parse_interval(text)?;
    Some(format!("{months} months {days} days {micros} microseconds"))
}

fn value(value: Value) -> Expr {
    Expr::Value(value.with_empty_span())
}

fn invalid(text: &str, data_type: &DataType) -> Error {
    let name = data_type.to_string().to_lowercase();
    Error::input(Subject::Value, format!("invalid input syntax for type {name}: \"{text}\""))
}

/// A number with as many digits as were written.
pub fn numeric(text: &str) -> Option<Expr> {
    let text = text.trim();
    let digits = text.trim_start_matches(['-', '+']);
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole) || !plain(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let exponent: i32 = exponent.parse().ok()?;
    let Some((whole, fraction)) = shifted(whole, fraction, exponent) else {
        return Some(cast(value(Value::SingleQuotedString(text.to_owned())), DataType::DoublePrecision));
    };
    let info =
        ExactNumberInfo::PrecisionAndScale((whole.len() + fraction.len()) as u64, fraction.len() as i64);
    let sign = if text.starts_with('-') { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    let plain = format!("{sign}{whole}{point}{fraction}");
    Some(cast(value(Value::SingleQuotedString(plain)), DataType::Numeric(info)))
}

/// The digits before and behind the point once it has moved; `None` when an exponent makes too many of them.
fn shifted(whole: &str, fraction: &str, exponent: i32) -> Option<(String, String)> {
    if exponent == 0 {
        return Some((whole.to_owned(), fraction.to_owned()));
    }
    let places = usize::try_from(exponent.unsigned_abs()).ok().filter(|places| *places <= DIGITS_MAX)?;
    let zeros = "0".repeat(places);
    let (digits, point) = match exponent > 0 {
        true => (format!("{whole}{fraction}{zeros}"), whole.len() + places),
        false => (format!("{zeros}{whole}{fraction}"), whole.len()),
    };
    let (before, behind) = digits.split_at(point);
    let before = before.trim_start_matches('0');
    // Digits that are written stay, those that were only room for the point to move go.
    let behind = match exponent > 0 {
        true => &behind[..fraction.len().saturating_sub(places)],
        false => behind,
    };
    let before = if before.is_empty() { "0" } else { before };
    (before.len() + behind.len() <= DIGITS_MAX).then(|| (before.to_owned(), behind.to_owned()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn array(text: &str, element: &ast::ArrayElemTypeDef, whole: &DataType) -> Result<Expr> {
    let inner = match element {
        ast::ArrayElemTypeDef::SquareBracket(inner, _)
        | ast::ArrayElemTypeDef::AngleBracket(inner)
        | ast::ArrayElemTypeDef::Parenthesis(inner) => inner.as_ref(),
        ast::ArrayElemTypeDef::None => return Err(invalid(text, whole)),
    };
    let items = array_items(text).ok_or_else(|| malformed(text))?;
    let elem = items.iter().map(|item| element_of(item, inner, whole)).collect::<Result<Vec<_>>>()?;
    let list = Expr::Array(ast::Array { elem, named: true });
    let nested =
        items.iter().any(|item| matches!(item, Item::List(_))) && !matches!(inner, DataType::Array(_));
    let depth = if nested { text.trim().chars().take_while(|c| *c == '{').count() } else { 1 };
    // Arrays of all dimensions have one type in PostgreSQL.
    let list_of = |element| DataType::Array(ast::ArrayElemTypeDef::SquareBracket(Box::new(element), None));
    Ok(cast(list, (1..depth).fold(whole.clone(), |element, _| list_of(element))))
}

fn malformed(text: &str) -> Error {
    Error::input(Subject::Value, format!("malformed array literal: \"{text}\""))
        .with_hint("write the elements in braces: '{a,b}'")
}

fn element_of(item: &Item, inner: &DataType, whole: &DataType) -> Result<Expr> {
    match item {
        Item::Null => literal(None, inner),
        Item::Text(text) => literal(Some(text), inner),
        Item::List(text) => match inner {
            DataType::Array(_) => literal(Some(text), inner),
            _ => literal(Some(text), whole),
        },
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn data_type(name: &str) -> DataType {
        Parser::new(&PostgreSqlDialect {}).try_with_sql(name).unwrap().parse_data_type().unwrap()
    }

    #[test]
    fn texts_become_expressions_of_their_type() {
        for (text, name, expected) in [
            ("-5", "BIGINT", "-5"),
            ("o'k", "TEXT", "'o''k'"),
            ("t", "BOOLEAN", "true"),
            (" Of ", "BOOLEAN", "false"),
            ("-12.50", "NUMERIC", "CAST('-12.50' AS NUMERIC(4,2))"),
            ("1e3", "NUMERIC", "CAST('1000' AS NUMERIC(4,0))"),
            ("-1.25E1", "NUMERIC", "CAST('-12.5' AS NUMERIC(3,1))"),
            ("1.5e-3", "NUMERIC", "CAST('0.0015' AS NUMERIC(5,4))"),
            ("1e300", "NUMERIC", "CAST('1e300' AS DOUBLE PRECISION)"),
            ("\\x00ff", "BYTEA", "X'00FF'"),
            ("a\\\\\\001", "BYTEA", "X'615C01'"),
            ("2026-01-31", "DATE", "CAST('2026-01-31' AS DATE)"),
            ("{1,NULL, 2}", "BIGINT[]", "CAST(ARRAY[1, CAST(NULL AS BIGINT), 2] AS BIGINT[])"),
            ("{}", "TEXT[]", "CAST(ARRAY[] AS TEXT[])"),
            (
                r#"{"a,b","c\"d",NULL,"NULL"}"#,
                "TEXT[]",
                "CAST(ARRAY['a,b', 'c\"d', CAST(NULL AS TEXT), 'NULL'] AS TEXT[])",
            ),
        ] {
            assert_eq!(literal(Some(text), &data_type(name)).unwrap().to_string(), expected);
        }
        for (text, name) in [("x", "BIGINT"), ("maybe", "BOOLEAN"), ("1..2", "NUMERIC"), ("{1", "INT[]")] {
            assert!(literal(Some(text), &data_type(name)).is_err(), "{text}");
        }
    }
}
