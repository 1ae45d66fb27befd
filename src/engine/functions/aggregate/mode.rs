//! `mode() WITHIN GROUP (ORDER BY x)`: the value that is there most often.

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::partition;
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::scalar::ScalarValue;

use crate::engine::functions::aggregate::sorted_values::OfSortedValues;

/// The most frequent value, the first of those that are there equally often.
pub const MODE: OfSortedValues = OfSortedValues { name: "mode", arguments: one, pick: most_frequent };

fn one(types: &[DataType]) -> Option<Vec<DataType>> {
    match types {
        [DataType::Null] => Some(vec![DataType::Utf8]),
        [_] => Some(types.to_vec()),
        _ => None,
    }
}

fn most_frequent(sorted: &ArrayRef, _argument: &ScalarValue) -> Result<ScalarValue> {
    let runs = partition(std::slice::from_ref(sorted))?.ranges();
    // Of equal ones the last is taken, which is the first from behind.
    let longest = runs.into_iter().rev().max_by_key(ExactSizeIterator::len);
    ScalarValue::try_from_array(sorted, longest.map_or(0, |run| run.start))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::StringArray;

    use super::*;

    #[test]
    fn the_first_of_the_most_frequent_values_is_the_mode() {
        let sorted: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "b", "c", "d", "d"]));
        assert_eq!(most_frequent(&sorted, &ScalarValue::Null).unwrap(), ScalarValue::from("b"));
    }
}
