//! `avg(x)`: DataFusion's of numbers, and PostgreSQL's of intervals, which it rounds.

use std::mem::size_of_val;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Field, FieldRef, Int64Type, IntervalMonthDayNanoType,
    IntervalUnit, TimeUnit,
};
use datafusion::error::Result;
use datafusion::functions_aggregate::average::Avg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Coercion, Documentation, GroupsAccumulator, ReversedUDAF, Signature,
    TypeSignature, TypeSignatureClass,
};
use datafusion::scalar::ScalarValue;

use crate::engine::functions::scalar::Scaling;

/// The average of numbers, durations or intervals.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Average {
    numbers: Avg,
    signature: Signature,
}

impl Default for Average {
    fn default() -> Self {
        let numbers = Avg::new();
        let mut signature = numbers.signature().clone();
        if let TypeSignature::OneOf(kinds) = &mut signature.type_signature {
            let interval = Coercion::new_exact(TypeSignatureClass::Interval);
            kinds.push(TypeSignature::Coercible(vec![interval]));
        }
        Self { numbers, signature }
    }
}

/// True for intervals and differences of timestamps.
fn is_length(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Duration(_) | DataType::Interval(_))
}

fn averages_lengths(args: &AccumulatorArgs<'_>) -> bool {
    is_length(args.return_field.data_type()) && !args.is_distinct
}

impl AggregateUDFImpl for Average {
    fn name(&self) -> &str {
        self.numbers.name()
    }

    fn aliases(&self) -> &[String] {
        self.numbers.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Interval(_)] => Ok(DataType::Interval(IntervalUnit::MonthDayNano)),
            types => self.numbers.return_type(types),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if !is_length(args.return_type()) || args.is_distinct {
            return self.numbers.state_fields(args);
        }
        let field = |part: &&str| {
            let whole = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0);
            Arc::new(Field::new(format_state_name(args.name, part), whole, true))
        };
        Ok(["count", "months", "days", "rest"].iter().map(field).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match averages_lengths(&args) {
            true => Ok(Box::new(MeanLength::new(args.return_field.data_type()))),
            false => self.numbers.accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !averages_lengths(&args) && self.numbers.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        self.numbers.create_groups_accumulator(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.numbers.reverse_expr()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.numbers.order_sensitivity()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.numbers.documentation()
    }
}

/// The average of all rows, or of those in a window's frame.
#[derive(Debug)]
struct MeanLength {
    count: i128,
    months: i128,
    days: i128,
    /// Nanoseconds of intervals, and what durations count behind their days.
    rest: i128,
    data_type: DataType,
}

impl MeanLength {
    fn new(data_type: &DataType) -> Self {
        Self { count: 0, months: 0, days: 0, rest: 0, data_type: data_type.clone() }
    }

    /// Adds values, or takes them away where the sign is negative.
    fn add(&mut self, values: &ArrayRef, sign: i128) -> Result<()> {
        if let DataType::Interval(_) = self.data_type {
            let intervals = cast(values, &self.data_type)?;
            for interval in intervals.as_primitive::<IntervalMonthDayNanoType>().iter().flatten() {
                self.count += sign;
                self.months += sign * i128::from(interval.months);
                self.days += sign * i128::from(interval.days);
                self.rest += sign * i128::from(interval.nanoseconds);
            }
            return Ok(());
        }
        let lengths = cast(values, &DataType::Int64)?;
        let day = NANOS_PER_DAY / nanos(&self.data_type);
        for length in lengths.as_primitive::<Int64Type>().iter().flatten() {
            self.count += sign;
            self.days += sign * i128::from(length / day);
            self.rest += sign * i128::from(length % day);
        }
        Ok(())
    }
}

const NANOS_PER_DAY: i64 = 86_400_000_000_000;

/// Nanoseconds of what durations of a type count, and of what intervals do.
fn nanos(data_type: &DataType) -> i64 {
    match data_type {
        DataType::Duration(TimeUnit::Second) => 1_000_000_000,
        DataType::Duration(TimeUnit::Millisecond) => 1_000_000,
        DataType::Duration(TimeUnit::Microsecond) => 1_000,
        _ => 1,
    }
}

impl Accumulator for MeanLength {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0], 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let sum = |state: &ArrayRef| state.as_primitive::<Decimal128Type>().iter().flatten().sum::<i128>();
        self.count += sum(&states[0]);
        self.months += sum(&states[1]);
        self.days += sum(&states[2]);
        self.rest += sum(&states[3]);
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0], -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let whole = |number: i128| ScalarValue::Decimal128(Some(number), DECIMAL128_MAX_PRECISION, 0);
        Ok([self.count, self.months, self.days, self.rest].map(whole).into())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.count == 0 {
            return ScalarValue::try_from(&self.data_type);
        }
        let nanos = nanos(&self.data_type);
        let micros = self.rest as f64 * (nanos as f64 / 1e3);
        let mean = Scaling::Over.of_parts(self.months as f64, self.days as f64, micros, self.count as f64)?;
        if let DataType::Interval(_) = self.data_type {
            return Ok(ScalarValue::IntervalMonthDayNano(Some(mean)));
        }
        let length = i128::from(mean.days) * i128::from(NANOS_PER_DAY) + i128::from(mean.nanoseconds);
        ScalarValue::Int64(i64::try_from(length / i128::from(nanos)).ok()).cast_to(&self.data_type)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
