//! `sum(x)`: DataFusion's, with an error where a sum of whole numbers or lengths of time is none, which would wrap around.

use std::mem::size_of_val;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::error::Result;
use datafusion::functions_aggregate::sum::Sum as Wrapping;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF, SetMonotonicity,
    Signature, StatisticsArgs,
};
use datafusion::scalar::ScalarValue;
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

use crate::engine::methods::delegate;
use crate::error::Error;

/// The sum of numbers, durations or intervals.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Sum(Wrapping);

fn is_whole(args: &AccumulatorArgs<'_>) -> bool {
    args.return_field.data_type() == &DataType::Int64 && !args.is_distinct
}

/// True for differences of timestamps.
fn is_length(args: &AccumulatorArgs<'_>) -> bool {
    matches!(args.return_field.data_type(), DataType::Duration(_)) && !args.is_distinct
}

fn overflow<T>() -> Result<T> {
    Err(Error::data("bigint out of range").with_hint("sum(x::numeric) has no such limit").into())
}

impl AggregateUDFImpl for Sum {
    delegate! {
        to 0:
        name() -> &str;
        signature() -> &Signature;
        return_type(types: &[DataType]) -> Result<DataType>;
        state_fields(args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>>;
        reverse_expr() -> ReversedUDAF;
        order_sensitivity() -> AggregateOrderSensitivity;
        documentation() -> Option<&Documentation>;
        set_monotonicity(data_type: &DataType) -> SetMonotonicity;
        value_from_stats(args: &StatisticsArgs<'_>) -> Option<ScalarValue>;
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if is_whole(&args) {
            Ok(Box::new(WholeSum::default()))
        } else if is_length(&args) {
            Ok(Box::new(LengthSum::new(args.return_field.data_type())))
        } else {
            self.0.accumulator(args)
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if is_whole(&args) || is_length(&args) {
            self.accumulator(args)
        } else {
            self.0.create_sliding_accumulator(args)
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !is_length(&args) && self.0.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        if is_whole(&args) { Ok(Box::new(WholeSums::new())) } else { self.0.create_groups_accumulator(args) }
    }
}

/// The sum of all rows, or of those in a window's frame.
#[derive(Debug, Default)]
struct WholeSum {
    sum: i128,
    values: usize,
}

/// The sum of values that may be beyond 64 bits, by halves of 32 so that the loop is one of vectors.
pub(super) fn total(numbers: &Int64Array) -> i128 {
    if numbers.null_count() > 0 {
        return numbers.iter().flatten().map(i128::from).sum();
    }
    let of_chunk = |chunk: &[i64]| {
        let (mut high, mut low) = (0_i64, 0_u64);
        for number in chunk {
            high += number >> 32;
            low += u64::from(*number as u32);
        }
        (i128::from(high) << 32) + i128::from(low)
    };
    numbers.values().chunks(1 << 20).map(of_chunk).sum()
}

impl Accumulator for WholeSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let numbers = values[0].as_primitive::<Int64Type>();
        self.sum += total(numbers);
        self.values += numbers.len() - numbers.null_count();
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let numbers = values[0].as_primitive::<Int64Type>();
        self.sum -= total(numbers);
        self.values -= numbers.len() - numbers.null_count();
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match (self.values, i64::try_from(self.sum)) {
            (0, _) => Ok(ScalarValue::Int64(None)),
            (_, Ok(sum)) => Ok(ScalarValue::Int64(Some(sum))),
            (_, Err(_)) => overflow(),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The sum of lengths of time, each a whole number of its unit.
#[derive(Debug)]
struct LengthSum {
    sum: WholeSum,
    data_type: DataType,
}

impl LengthSum {
    fn new(data_type: &DataType) -> Self {
        Self { sum: WholeSum::default(), data_type: data_type.clone() }
    }
}

fn whole(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    values.iter().map(|lengths| Ok(cast(lengths, &DataType::Int64)?)).collect()
}

impl Accumulator for LengthSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.sum.update_batch(&whole(values)?)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.sum.merge_batch(&whole(states)?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.sum.retract_batch(&whole(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if i64::try_from(self.sum.sum).is_err() {
            let hint = "sum(extract(epoch FROM x)) has no such limit";
            return Err(Error::data("interval out of range").with_hint(hint).into());
        }
        self.sum.evaluate()?.cast_to(&self.data_type)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The sums of groups; one that does not fit on its way is an error, too.
struct WholeSums {
    sums: Box<dyn GroupsAccumulator>,
    overflowed: Arc<AtomicBool>,
}

impl WholeSums {
    fn new() -> Self {
        let overflowed = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&overflowed);
        let add = move |sum: &mut i64, number: i64| {
            let (next, wraps) = sum.overflowing_add(number);
            if wraps {
                noted.store(true, Ordering::Relaxed);
            }
            *sum = next;
        };
        let sums = PrimitiveGroupsAccumulator::<Int64Type, _>::new(&DataType::Int64, add);
        Self { sums: Box::new(sums), overflowed }
    }

    fn checked(&self) -> Result<()> {
        if self.overflowed.load(Ordering::Relaxed) { overflow() } else { Ok(()) }
    }
}

impl GroupsAccumulator for WholeSums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.sums.update_batch(values, groups, filter, total)?;
        self.checked()
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.sums.merge_batch(states, groups, total)?;
        self.checked()
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        self.sums.evaluate(emit)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        self.sums.state(emit)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.sums.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        self.sums.size()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::DurationMicrosecondArray;

    use super::*;

    #[test]
    fn halves_add_up() {
        let edges =
            [i64::MAX, i64::MIN, -1, 0, 1, i64::from(u32::MAX), -i64::from(u32::MAX), 1 << 32, i64::MAX];
        let expected: i128 = edges.iter().copied().map(i128::from).sum();
        assert_eq!(total(&Int64Array::from(edges.to_vec())), expected);
        let with_null = Int64Array::from(vec![Some(i64::MAX), None, Some(i64::MAX)]);
        assert_eq!(total(&with_null), 2 * i128::from(i64::MAX));
    }

    #[test]
    fn sums_of_lengths_are_lengths_or_errors() {
        let most: ArrayRef = Arc::new(DurationMicrosecondArray::from(vec![Some(i64::MAX), None]));
        let mut sum = LengthSum::new(most.data_type());
        sum.update_batch(&[Arc::clone(&most)]).unwrap();
        assert_eq!(sum.evaluate().unwrap(), ScalarValue::DurationMicrosecond(Some(i64::MAX)));
        sum.update_batch(&[most]).unwrap();
        assert!(sum.evaluate().unwrap_err().to_string().contains("interval out of range"));
    }

    #[test]
    fn sums_that_do_not_fit_are_errors() {
        let most: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX]));
        let mut sum = WholeSum::default();
        sum.update_batch(&[Arc::clone(&most)]).unwrap();
        assert_eq!(sum.evaluate().unwrap(), ScalarValue::Int64(Some(i64::MAX)));
        sum.update_batch(&[Arc::clone(&most)]).unwrap();
        assert!(sum.evaluate().unwrap_err().to_string().contains("bigint out of range"));
        sum.retract_batch(&[Arc::clone(&most)]).unwrap();
        assert_eq!(sum.evaluate().unwrap(), ScalarValue::Int64(Some(i64::MAX)));
        let mut sums = WholeSums::new();
        sums.update_batch(&[Arc::clone(&most)], &[0], None, 2).unwrap();
        sums.update_batch(&[Arc::clone(&most)], &[1], None, 2).unwrap();
        assert!(sums.update_batch(&[most], &[1], None, 2).is_err());
    }
}
