//! `interval_times(interval, number)` and `interval_over`, which `interval * number` and `/` become.
//!
//! Source: PostgreSQL 15, `interval_mul` and `interval_div` in timestamp.c.

use std::sync::Arc;

use datafusion::arrow::array::IntervalMonthDayNanoArray;
use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit};
use datafusion::common::cast::{as_float64_array, as_interval_mdn_array};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{Error, Subject};

const DAYS_PER_MONTH: f64 = 30.0;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// What is done with an interval and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scaling {
    /// `interval * number`.
    Times,
    /// `interval / number`.
    Over,
}

/// An interval so many times, or a part of it, with the rules of PostgreSQL: what is left of a month is days of a
/// month of 30, what is left of a day is hours.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ScaledInterval {
    scaling: Scaling,
    signature: Signature,
    documentation: Documentation,
}

impl ScaledInterval {
    /// The function.
    pub fn new(scaling: Scaling) -> Self {
        let section = DocSection { include: true, label: "Intervals", description: None };
        let (name, description) = match scaling {
            Scaling::Times => ("interval_times", "The interval so many times, as interval * number."),
            Scaling::Over => ("interval_over", "The interval divided by the number, as interval / number."),
        };
        let documentation = Documentation::builder(section, description, format!("{name}(interval, number)"))
            .with_sql_example(format!("SELECT {name}(INTERVAL '4 days', 2);"))
            .with_argument("interval", "the interval")
            .with_argument("number", "the number")
            .build();
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        let signature = Signature::exact(vec![interval, DataType::Float64], Volatility::Immutable)
            .with_parameter_names(vec!["interval", "number"])
            .expect("there are two names for two arguments");
        Self { scaling, signature, documentation }
    }
}

impl Scaling {
    fn of(self, value: f64, number: f64) -> f64 {
        match self {
            Self::Times => value * number,
            Self::Over => value / number,
        }
    }

    fn apply(self, interval: IntervalMonthDayNano, number: f64) -> Result<IntervalMonthDayNano> {
        if self == Self::Over && number == 0.0 {
            return Err(Error::data("division by zero").into());
        }
        let (months, days) = (f64::from(interval.months), f64::from(interval.days));
        self.of_parts(months, days, interval.nanoseconds as f64 / 1e3, number)
    }

    /// The interval of so many months, days and microseconds, which may be more than one holds.
    pub fn of_parts(self, months: f64, days: f64, micros: f64, number: f64) -> Result<IntervalMonthDayNano> {
        let months = self.of(months, number);
        let days_of_months = rounded(months.fract() * DAYS_PER_MONTH);
        let days = self.of(days, number);
        let seconds = rounded((days.fract() + days_of_months - days_of_months.trunc()) * SECONDS_PER_DAY);
        let days_of_seconds = (seconds / SECONDS_PER_DAY).trunc();
        let whole_days = days.trunc() + days_of_months.trunc() + days_of_seconds;
        let micros = self.of(micros, number) + (seconds - days_of_seconds * SECONDS_PER_DAY) * 1e6;
        let fits = |value: f64, limit: f64| value.is_finite() && value.abs() <= limit;
        if fits(months, f64::from(i32::MAX)) && fits(whole_days, f64::from(i32::MAX)) && fits(micros, 9.2e15)
        {
            let (months, days) = (months.trunc() as i32, whole_days as i32);
            return Ok(IntervalMonthDayNano::new(months, days, micros.round_ties_even() as i64 * 1000));
        }
        Err(Error::input(Subject::Type, "interval out of range").into())
    }
}

/// Days or seconds to a millionth, so that 0.1 month is 3 days and not 2.999….
fn rounded(value: f64) -> f64 {
    (value * 1e6).round_ties_even() / 1e6
}

impl ScalarUDFImpl for ScaledInterval {
    fn name(&self) -> &str {
        match self.scaling {
            Scaling::Times => "interval_times",
            Scaling::Over => "interval_over",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (intervals, numbers) = (as_interval_mdn_array(&arrays[0])?, as_float64_array(&arrays[1])?);
        let values: IntervalMonthDayNanoArray = intervals
            .iter()
            .zip(numbers)
            .map(|(interval, number)| interval.zip(number).map(|(i, n)| self.scaling.apply(i, n)).transpose())
            .collect::<Result<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(values)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}
