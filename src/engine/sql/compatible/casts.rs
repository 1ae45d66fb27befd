//! Casts to PostgreSQL's types: those that have another name here, and the numbers of things that have names.

use datafusion::sql::sqlparser::ast::{self, ArrayElemTypeDef, DataType, Expr, Ident, ObjectName, Value};

use crate::engine::sql::compatible::build::{SYSTEM, call, taken};
use crate::engine::sql::literal::{interval, literal, numeric};
use crate::engine::sql::words::{fold, last_word};

/// Types whose values are numbers of things that have names.
const NAMED_THINGS: [&str; 5] = ["regclass", "regtype", "regnamespace", "regproc", "regrole"];

pub(super) fn rewrite_cast(expr: &mut Expr) {
    let Expr::Cast { expr: inner, data_type, .. } = expr else { return };
    if let Expr::Value(value) = inner.as_ref()
        && let Some(found) = written_out(&value.value, data_type)
    {
        *expr = found;
        return;
    }
    let text = matches!(data_type, DataType::Text | DataType::Varchar(_))
        || matches!(custom(data_type).as_deref(), Some("text" | "varchar" | "name"));
    if text && let Some(name) = named_thing(inner) {
        *expr = call(&format!("{name}_text"), vec![taken(inner)]);
        return;
    }
    let Some(name) = custom(data_type) else {
        match data_type {
            DataType::JSON | DataType::JSONB => *data_type = told("json"),
            DataType::Uuid => *data_type = DataType::Text,
            _ => {}
        }
        if let DataType::Array(_) = data_type {
            *data_type = if is_oids(data_type) { array_of(told("oid")) } else { plain_array(data_type) };
        }
        return;
    };
    if NAMED_THINGS.contains(&name.as_str()) {
        *expr = call(&name, vec![taken(inner)]);
        return;
    }
    match name.as_str() {
        "oid" | "cid" => *expr = call("oid", vec![taken(inner)]),
        "xid" => *expr = call("xid", vec![taken(inner)]),
        "name" | "char" => *data_type = told(&name),
        "json" | "jsonb" => *data_type = told("json"),
        "varchar" => *data_type = DataType::Varchar(None),
        "tid" | "cstring" | "text" | "unknown" | "citext" | "aclitem" | "uuid" | "regconfig"
        | "regprocedure" | "character_data" | "sql_identifier" | "yes_or_no" | "bpchar" => {
            *data_type = DataType::Text;
        }
        "int2" => *data_type = DataType::SmallInt(None),
        "int4" | "cardinal_number" => *data_type = DataType::Int(None),
        "int8" => *data_type = DataType::BigInt(None),
        "float4" => *data_type = DataType::Real,
        "float8" => *data_type = DataType::DoublePrecision,
        "bool" => *data_type = DataType::Boolean,
        "numeric" => *data_type = DataType::Numeric(ast::ExactNumberInfo::None),
        "timestamptz" => *data_type = DataType::Timestamp(None, ast::TimezoneInfo::Tz),
        "timestamp" => *data_type = DataType::Timestamp(None, ast::TimezoneInfo::None),
        "date" => *data_type = DataType::Date,
        _ => {}
    }
}

/// `'{a,b}'::text[]`, `'1 day 02:00'::interval` and `12.50::numeric` as what they are.
fn written_out(value: &Value, data_type: &DataType) -> Option<Expr> {
    match (value, data_type) {
        (Value::SingleQuotedString(text), DataType::Array(_)) => {
            literal(Some(text), &plain_array(data_type)).ok()
        }
        (Value::SingleQuotedString(text), DataType::Interval { .. }) => literal(Some(text), data_type).ok(),
        (
            Value::SingleQuotedString(text) | Value::Number(text, _),
            DataType::Numeric(ast::ExactNumberInfo::None) | DataType::Decimal(ast::ExactNumberInfo::None),
        ) => numeric(text),
        _ => None,
    }
}

/// A whole number that is too long for BIGINT, with all of its digits, or a number with an exponent.
pub(super) fn wide_number(value: &Value) -> Option<Expr> {
    let Value::Number(digits, _) = value else { return None };
    let fits = digits.contains('.') || digits.parse::<i64>().is_ok();
    (!fits || digits.contains(['e', 'E'])).then(|| numeric(digits)).flatten()
}

/// The value of `INTERVAL '1 day 02:00'` in words that DataFusion reads.
pub(super) fn rewrite_interval(written: &mut ast::Interval) {
    if written.leading_field.is_some() || written.last_field.is_some() {
        return;
    }
    if let Expr::Value(value) = written.value.as_mut()
        && let Value::SingleQuotedString(text) = &mut value.value
        && let Some(words) = interval(text)
    {
        *text = words;
    }
}

/// The last word of a type that is not one of SQL's.
fn custom(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::Regclass => Some("regclass".to_owned()),
        DataType::Custom(name, arguments) if arguments.is_empty() => {
            let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident().map(fold)).collect();
            match parts.as_slice() {
                [name] => Some(name.clone()),
                [schema, name] if SYSTEM.contains(&schema.as_str()) => Some(name.clone()),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A type that is stored as text, and that clients are told.
fn told(name: &str) -> DataType {
    let name = if name == "char" { Ident::with_quote('"', name) } else { Ident::new(name) };
    DataType::Custom(ObjectName::from(vec![name]), vec![])
}

/// The type that a call has made of an expression, where it is a number of a thing with a name.
fn named_thing(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::Nested(inner) => named_thing(inner),
        Expr::Function(function) => {
            let name = last_word(&function.name)?;
            NAMED_THINGS.into_iter().find(|known| *known == name)
        }
        _ => None,
    }
}

/// True for an array of numbers of things.
fn is_oids(data_type: &DataType) -> bool {
    let DataType::Array(ArrayElemTypeDef::SquareBracket(inner, _)) = data_type else { return false };
    custom(inner).as_deref() == Some("oid")
}

fn array_of(element: DataType) -> DataType {
    DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(element), None))
}

/// An array type over one of SQL's types.
fn plain_array(data_type: &DataType) -> DataType {
    let DataType::Array(
        ArrayElemTypeDef::SquareBracket(inner, _)
        | ArrayElemTypeDef::AngleBracket(inner)
        | ArrayElemTypeDef::Parenthesis(inner),
    ) = data_type
    else {
        return data_type.clone();
    };
    let plain = match custom(inner).as_deref() {
        Some("oid" | "xid" | "int8") => DataType::BigInt(None),
        Some("int2") => DataType::SmallInt(None),
        Some("int4") => DataType::Int(None),
        Some(_) => DataType::Text,
        None => plain_array(inner),
    };
    array_of(plain)
}
