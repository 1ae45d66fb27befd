//! What `min(x)` and `max(x)` of intervals become: the value that is shortest or longest.

use std::collections::{BTreeMap, VecDeque};
use std::mem::size_of_val;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use crate::engine::functions::scalar::micros_of_interval;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// The shortest or the longest interval, of those that are as long the last one.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct IntervalExtreme {
    least: bool,
    signature: Signature,
}

impl IntervalExtreme {
    /// The aggregate.
    pub fn new(least: bool) -> Self {
        Self { least, signature: Signature::exact(vec![INTERVAL], Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for IntervalExtreme {
    fn name(&self) -> &str {
        if self.least { "interval_min" } else { "interval_max" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(INTERVAL)
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Extreme { least: self.least, found: None }))
    }

    fn create_sliding_accumulator(&self, _args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(FrameExtreme { least: self.least, by_length: BTreeMap::new() }))
    }
}

fn intervals(values: &[ArrayRef]) -> impl Iterator<Item = IntervalMonthDayNano> + '_ {
    values[0].as_primitive::<IntervalMonthDayNanoType>().iter().flatten()
}

/// The extreme of rows that stay.
#[derive(Debug)]
struct Extreme {
    least: bool,
    found: Option<IntervalMonthDayNano>,
}

impl Accumulator for Extreme {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in intervals(values) {
            let order = self.found.map(|found| micros_of_interval(value).cmp(&micros_of_interval(found)));
            if order.is_none_or(|order| if self.least { order.is_le() } else { order.is_ge() }) {
                self.found = Some(value);
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::IntervalMonthDayNano(self.found))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The extreme of the rows in a window's frame, which leave it in the order in which they came.
#[derive(Debug)]
struct FrameExtreme {
    least: bool,
    by_length: BTreeMap<i64, VecDeque<IntervalMonthDayNano>>,
}

impl Accumulator for FrameExtreme {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in intervals(values) {
            self.by_length.entry(micros_of_interval(value)).or_default().push_back(value);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for length in intervals(values).map(micros_of_interval) {
            if let Some(alike) = self.by_length.get_mut(&length) {
                alike.pop_front();
                if alike.is_empty() {
                    self.by_length.remove(&length);
                }
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut lengths = self.by_length.values();
        let found = if self.least { lengths.next() } else { lengths.next_back() };
        Ok(ScalarValue::IntervalMonthDayNano(found.and_then(|alike| alike.back().copied())))
    }

    fn size(&self) -> usize {
        let alike = self.by_length.values();
        size_of_val(self)
            + alike.map(|a| size_of_val(a) + a.capacity() * size_of::<IntervalMonthDayNano>()).sum::<usize>()
    }
}
