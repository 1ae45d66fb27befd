//! `percentile_disc(fraction) WITHIN GROUP (ORDER BY x)`: the first value that so large a part of the values has come with.
//!
//! Source: PostgreSQL 15, `percentile_disc_final` in orderedsetaggs.c.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::error::Result;
use datafusion::scalar::ScalarValue;

use crate::engine::functions::aggregate::sorted_values::{OfSortedValues, one_list};
use crate::error::Error;

/// The value at a fraction, or those at each fraction of an array.
pub const PERCENTILE_DISC: OfSortedValues =
    OfSortedValues { name: "percentile_disc", arguments: value_and_fraction, pick: at_fraction };

fn value_and_fraction(types: &[DataType]) -> Option<Vec<DataType>> {
    let [value, fraction] = types else { return None };
    let fraction = match fraction {
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            DataType::new_list(DataType::Float64, true)
        }
        number if number.is_numeric() || number.is_string() || number.is_null() => DataType::Float64,
        _ => return None,
    };
    Some(vec![if value.is_null() { DataType::Utf8 } else { value.clone() }, fraction])
}

fn at_fraction(sorted: &ArrayRef, fraction: &ScalarValue) -> Result<ScalarValue> {
    match fraction {
        ScalarValue::Float64(Some(fraction)) => {
            ScalarValue::try_from_array(sorted, place(*fraction, sorted.len())? as usize)
        }
        ScalarValue::List(fractions) if !fraction.is_null() => {
            let fractions = fractions.value(0);
            let places = fractions.as_primitive::<Float64Type>().iter();
            let places = places.map(|fraction| fraction.map(|f| place(f, sorted.len())).transpose());
            let places: UInt64Array = places.collect::<Result<_>>()?;
            Ok(ScalarValue::List(Arc::new(one_list(take(sorted, &places, None)?)?)))
        }
        ScalarValue::List(_) => ScalarValue::try_from(&DataType::new_list(sorted.data_type().clone(), true)),
        _ => ScalarValue::try_from(sorted.data_type()),
    }
}

/// The place of the value at a fraction of so many.
fn place(fraction: f64, values: usize) -> Result<u64> {
    Ok(((checked(fraction)? * values as f64).ceil() as u64).max(1) - 1)
}

/// A fraction, which is none unless it is between 0 and 1.
pub fn checked(fraction: f64) -> Result<f64> {
    if !(0.0..=1.0).contains(&fraction) {
        let message = format!("percentile value {fraction} is not between 0 and 1");
        return Err(Error::data(message).into());
    }
    Ok(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_the_first_that_reach_the_fraction() {
        for (fraction, values, expected) in
            [(0.0, 4, 0), (0.25, 4, 0), (0.26, 4, 1), (0.5, 5, 2), (1.0, 4, 3), (0.5, 1, 0)]
        {
            assert_eq!(place(fraction, values).unwrap(), expected, "{fraction} of {values}");
        }
        for fraction in [-0.1, 1.1, f64::NAN] {
            assert!(place(fraction, 4).is_err());
        }
    }
}
