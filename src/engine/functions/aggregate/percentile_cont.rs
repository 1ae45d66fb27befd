//! `percentile_cont(fraction) WITHIN GROUP (ORDER BY x)`: DataFusion's, which takes its rows in any order, but has all of
//! them sorted before; of an array of fractions, the values at each.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::error::Result;
use datafusion::functions_aggregate::percentile_cont::percentile_cont_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::engine::functions::aggregate::ahead::Ahead;
use crate::engine::functions::aggregate::percentile_disc::checked;
use crate::engine::functions::aggregate::sorted_values::{OfSortedValues, one_list};
use crate::engine::methods::delegate;

/// The value at a fraction, between two of them where it falls there, or those at each fraction of an array.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct PercentileCont {
    one: Arc<AggregateUDF>,
    each: AggregateUDF,
    signature: Signature,
}

impl Default for PercentileCont {
    fn default() -> Self {
        let each =
            OfSortedValues { name: "percentile_cont", arguments: value_and_fractions, pick: at_fractions };
        Self {
            one: percentile_cont_udaf(),
            each: each.into_udaf(),
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

/// True for arguments of which the second is an array.
fn are_for_each(fields: &[FieldRef]) -> bool {
    matches!(fields, [_, fractions] if matches!(fractions.data_type(), DataType::List(_)))
}

impl AggregateUDFImpl for PercentileCont {
    delegate! {
        to one:
        name() -> &str;
        aliases() -> &[String];
        create_groups_accumulator(args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>>;
        simplify() -> Option<AggregateFunctionSimplification>;
        supports_within_group_clause() -> bool;
        documentation() -> Option<&Documentation>;
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if let Some(types) = value_and_fractions(types) {
            return Ok(types);
        }
        let field = |data_type: &DataType| Arc::new(Field::new("value", data_type.clone(), true));
        let fields: Vec<FieldRef> = types.iter().map(field).collect();
        let coerced = fields_with_udf(&fields, self.one.as_ref())?;
        Ok(coerced.iter().map(|field| field.data_type().clone()).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [_, DataType::List(_)] => self.each.return_type(types),
            types => self.one.return_type(types),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if are_for_each(args.input_fields) {
            self.each.state_fields(args)
        } else {
            self.one.state_fields(args)
        }
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if are_for_each(args.expr_fields) {
            return self.each.accumulator(args);
        }
        let is_distinct = args.is_distinct;
        let values = self.one.accumulator(args)?;
        Ok(if is_distinct { values } else { Ahead::of(values, 0) })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !are_for_each(args.expr_fields) && self.one.groups_accumulator_supported(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

fn value_and_fractions(types: &[DataType]) -> Option<Vec<DataType>> {
    match types {
        [value, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)]
            if value.is_numeric() || value.is_null() =>
        {
            Some(vec![DataType::Float64, DataType::new_list(DataType::Float64, true)])
        }
        _ => None,
    }
}

fn at_fractions(sorted: &ArrayRef, fractions: &ScalarValue) -> Result<ScalarValue> {
    match fractions {
        ScalarValue::List(list) if !fractions.is_null() => {
            let sorted = sorted.as_primitive::<Float64Type>().values();
            let fractions = list.value(0);
            let found = fractions.as_primitive::<Float64Type>().iter();
            let found = found.map(|fraction| fraction.map(|f| at_fraction(sorted, f)).transpose());
            let found: Float64Array = found.collect::<Result<_>>()?;
            Ok(ScalarValue::List(Arc::new(one_list(Arc::new(found))?)))
        }
        _ => ScalarValue::try_from(&DataType::new_list(DataType::Float64, true)),
    }
}

/// The value at a fraction of these, of which there is one at least.
///
/// Source: PostgreSQL 15, `percentile_cont_multi_final_common` in orderedsetaggs.c.
fn at_fraction(sorted: &[f64], fraction: f64) -> Result<f64> {
    let place = checked(fraction)? * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    let part = place.fract();
    Ok(if part == 0.0 { low } else { low + part * (high - low) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_between_two_where_the_fraction_falls_there() {
        for (fraction, expected) in [(0.0, 1.0), (0.25, 1.75), (0.5, 2.5), (1.0, 4.0)] {
            assert_eq!(at_fraction(&[1.0, 2.0, 3.0, 4.0], fraction).unwrap(), expected);
        }
        assert_eq!(at_fraction(&[f64::INFINITY], 0.3).unwrap(), f64::INFINITY);
        assert!(at_fraction(&[1.0], 1.5).is_err());
    }
}
