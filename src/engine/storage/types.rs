//! Which column types tables keep, and how the types of a query are widened to them without loss.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};

use crate::error::{Error, Result, Subject};

/// The type that stores a column declared with `data_type` in CREATE TABLE.
pub fn declared(column: &str, data_type: &DataType) -> Result<DataType> {
    match data_type {
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 | DataType::Float16 => {
            Err(refused(column, data_type))
        }
        DataType::Null => Err(refused(column, data_type)),
        _ => stored(column, data_type, &declared),
    }
}

/// The type that stores a column of a query in CREATE TABLE AS; every value fits.
pub fn from_query(column: &str, data_type: &DataType) -> Result<DataType> {
    Ok(match data_type {
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Date32,
        DataType::Null => DataType::Utf8,
        DataType::Dictionary(_, values) => from_query(column, values)?,
        DataType::RunEndEncoded(_, values) => from_query(column, values.data_type())?,
        _ => stored(column, data_type, &from_query)?,
    })
}

/// The type in which a scan returns a stored column: strings and bytes as views, the rest as stored.
pub fn scanned(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        other => other.clone(),
    }
}

type Inner<'a> = &'a dyn Fn(&str, &DataType) -> Result<DataType>;

fn stored(column: &str, data_type: &DataType, inner: Inner<'_>) -> Result<DataType> {
    Ok(match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32 => data_type.clone(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => decimal(column, data_type, *p, *s)?,
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => decimal(column, data_type, *p, *s)?,
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(nested(column, item, Some("element"), inner)?)
        }
        DataType::ListView(item) | DataType::LargeListView(item) => {
            DataType::List(nested(column, item, Some("element"), inner)?)
        }
        DataType::Struct(fields) => DataType::Struct(
            fields.iter().map(|f| nested(column, f, None, inner)).collect::<Result<Vec<_>>>()?.into(),
        ),
        _ => return Err(refused(column, data_type)),
    })
}

fn nested(column: &str, field: &FieldRef, name: Option<&str>, inner: Inner<'_>) -> Result<FieldRef> {
    let name = name.unwrap_or(field.name());
    Ok(Arc::new(Field::new(name, inner(column, field.data_type())?, field.is_nullable())))
}

fn decimal(column: &str, data_type: &DataType, precision: u8, scale: i8) -> Result<DataType> {
    if precision > 38 || scale < 0 || scale as u8 > precision {
        return Err(refused(column, data_type));
    }
    Ok(DataType::Decimal128(precision, scale))
}

fn refused(column: &str, data_type: &DataType) -> Error {
    let instead = match data_type {
        DataType::Time32(_) | DataType::Time64(_) => "TIMESTAMP, or TEXT",
        DataType::Interval(_) | DataType::Duration(_) => "BIGINT with a count of the unit you need",
        DataType::UInt8 => "SMALLINT",
        DataType::UInt16 => "INTEGER",
        DataType::UInt32 => "BIGINT",
        DataType::UInt64 => "DECIMAL(20, 0)",
        DataType::Float16 => "REAL",
        DataType::Decimal128(..) | DataType::Decimal256(..) => {
            "DECIMAL with at most 38 digits and a scale from 0 to the number of digits"
        }
        DataType::Map(..) => "a list of structs",
        DataType::Null => "a type such as TEXT",
        _ => "a number, TEXT, BYTEA, BOOLEAN, DATE, TIMESTAMP, a list or a struct",
    };
    let message =
        format!("column {column} has type {}, which tables cannot store; use {instead}", sql_name(data_type));
    Error::input(Subject::Type, message)
}

/// The name SQL has for a type.
pub fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 => "SMALLINT".into(),
        DataType::Int32 => "INTEGER".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::UInt8 => "TINYINT UNSIGNED".into(),
        DataType::UInt16 => "SMALLINT UNSIGNED".into(),
        DataType::UInt32 => "INTEGER UNSIGNED".into(),
        DataType::UInt64 => "BIGINT UNSIGNED".into(),
        DataType::Float32 => "REAL".into(),
        DataType::Float64 => "DOUBLE PRECISION".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "TEXT".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "BYTEA".into()
        }
        DataType::Date32 | DataType::Date64 => "DATE".into(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".into(),
        DataType::Interval(_) => "INTERVAL".into(),
        DataType::Timestamp(_, None) => "TIMESTAMP".into(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMPTZ".into(),
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => format!("DECIMAL({p}, {s})"),
        DataType::List(item) | DataType::LargeList(item) => format!("{}[]", sql_name(item.data_type())),
        DataType::Dictionary(_, values) => sql_name(values),
        DataType::Map(..) => "MAP".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::IntervalUnit;

    use super::*;

    #[test]
    fn unsigned_types_of_a_query_are_widened_and_declared_ones_refused() {
        assert_eq!(from_query("a", &DataType::UInt32).unwrap(), DataType::Int64);
        assert_eq!(from_query("a", &DataType::UInt64).unwrap(), DataType::Decimal128(20, 0));
        let error = declared("a", &DataType::UInt32).unwrap_err();
        assert_eq!(
            error.message(),
            "column a has type INTEGER UNSIGNED, which tables cannot store; use BIGINT"
        );
    }

    #[test]
    fn types_without_a_stored_form_are_refused_by_name() {
        let error = declared("t", &DataType::Time64(TimeUnit::Nanosecond)).unwrap_err();
        assert_eq!(
            error.message(),
            "column t has type TIME, which tables cannot store; use TIMESTAMP, or TEXT"
        );
        assert!(from_query("i", &DataType::Interval(IntervalUnit::MonthDayNano)).is_err());
        let list = DataType::List(Arc::new(Field::new("item", DataType::Time32(TimeUnit::Second), true)));
        assert!(from_query("l", &list).is_err());
    }

    #[test]
    fn zones_become_utc_and_units_become_microseconds() {
        let berlin = DataType::Timestamp(TimeUnit::Second, Some("Europe/Berlin".into()));
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(declared("t", &berlin).unwrap(), utc);
        let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
        assert_eq!(from_query("t", &nanoseconds).unwrap(), DataType::Timestamp(TimeUnit::Microsecond, None));
    }
}
