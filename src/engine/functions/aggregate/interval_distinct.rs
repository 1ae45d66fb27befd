//! What `sum(DISTINCT x)` and `avg(DISTINCT x)` of intervals become: of those that are as long, one counts.

use std::collections::BTreeMap;
use std::mem::size_of_val;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use crate::engine::functions::scalar::{Scaling, micros_of_interval};
use crate::error::Error;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// The sum or the average of intervals of different lengths.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct IntervalDistinct {
    averages: bool,
    signature: Signature,
}

impl IntervalDistinct {
    /// The aggregate.
    pub fn new(averages: bool) -> Self {
        Self { averages, signature: Signature::exact(vec![INTERVAL], Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for IntervalDistinct {
    fn name(&self) -> &str {
        if self.averages { "interval_distinct_avg" } else { "interval_distinct_sum" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(INTERVAL)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "intervals");
        Ok(vec![Arc::new(Field::new_list(name, Field::new_list_field(INTERVAL, true), true))])
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Lengths { averages: self.averages, by_length: BTreeMap::new() }))
    }
}

/// The first interval of each length.
#[derive(Debug)]
struct Lengths {
    averages: bool,
    by_length: BTreeMap<i64, IntervalMonthDayNano>,
}

impl Accumulator for Lengths {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for interval in values[0].as_primitive::<IntervalMonthDayNanoType>().iter().flatten() {
            self.by_length.entry(micros_of_interval(interval)).or_insert(interval);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        states[0].as_list::<i32>().iter().flatten().try_for_each(|intervals| self.update_batch(&[intervals]))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let intervals = self.by_length.values().map(|value| ScalarValue::IntervalMonthDayNano(Some(*value)));
        let intervals: Vec<ScalarValue> = intervals.collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list(&intervals, &INTERVAL, true))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.by_length.is_empty() {
            return Ok(ScalarValue::IntervalMonthDayNano(None));
        }
        let (mut months, mut days, mut nanoseconds) = (0_i64, 0_i64, 0_i128);
        for interval in self.by_length.values() {
            months += i64::from(interval.months);
            days += i64::from(interval.days);
            nanoseconds += i128::from(interval.nanoseconds);
        }
        let value = match self.averages {
            true => {
                let micros = nanoseconds as f64 / 1e3;
                Scaling::Over.of_parts(months as f64, days as f64, micros, self.by_length.len() as f64)?
            }
            false => sum(months, days, nanoseconds)
                .ok_or_else(|| Error::data("interval out of range"))
                .map(|(months, days, rest)| IntervalMonthDayNano::new(months, days, rest))?,
        };
        Ok(ScalarValue::IntervalMonthDayNano(Some(value)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.by_length.len() * size_of::<(i64, IntervalMonthDayNano)>()
    }
}

/// The parts of a sum, when they fit.
fn sum(months: i64, days: i64, nanoseconds: i128) -> Option<(i32, i32, i64)> {
    Some((months.try_into().ok()?, days.try_into().ok()?, nanoseconds.try_into().ok()?))
}
