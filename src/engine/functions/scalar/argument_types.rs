//! Types of arguments, as functions of PostgreSQL take them.

use datafusion::arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};

use crate::engine::storage::sql_name;
use crate::error::{Error, Subject};

/// The error of a function that takes no values of these types.
pub fn mismatch(name: &str, types: &[DataType]) -> DataFusionError {
    let types: Vec<String> = types.iter().map(|t| sql_name(t).to_lowercase()).collect();
    let message = format!("no function {name}({}) takes values of these types", types.join(", "));
    Error::input(Subject::Function, message).into()
}

/// The types of whole numbers and, behind them, of one float, as 64 bits each; a text that is written out may be either.
pub fn whole_and_float(name: &str, types: &[DataType], whole: usize) -> Result<Vec<DataType>> {
    let coerced = types.iter().enumerate().map(|(n, given)| match given {
        text if text.is_string() || text.is_null() => Some(n < whole),
        number if n < whole => number.is_integer().then_some(true),
        number => number.is_numeric().then_some(false),
    });
    let is_whole = coerced.collect::<Option<Vec<bool>>>().ok_or_else(|| mismatch(name, types))?;
    Ok(is_whole.into_iter().map(|whole| if whole { DataType::Int64 } else { DataType::Float64 }).collect())
}
