//! `justify_days`, `justify_hours` and `justify_interval`: intervals whose days are less than a month, whose hours are
//! less than a day, or both, and whose parts have one sign.
//!
//! Source: PostgreSQL 15, `interval_justify_interval` and its neighbours in timestamp.c.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, IntervalMonthDayNanoArray};
use datafusion::arrow::datatypes::{
    DataType, DurationMicrosecondType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::engine::functions::scalar::argument_types::mismatch;
use crate::error::Error;

const DAYS_PER_MONTH: i64 = 30;
const DAY_NANOS: i64 = 86_400_000_000_000;

/// Which parts are to be less than one of the next part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parts {
    /// Days.
    Days,
    /// Hours, with minutes and seconds.
    Hours,
    /// Both.
    All,
}

/// An interval of the same length, a month of which is 30 days, and a day 24 hours.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Justify {
    parts: Parts,
    signature: Signature,
}

impl Justify {
    /// The function.
    pub fn new(parts: Parts) -> Self {
        Self { parts, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

fn interval() -> DataType {
    DataType::Interval(IntervalUnit::MonthDayNano)
}

impl ScalarUDFImpl for Justify {
    fn name(&self) -> &str {
        match self.parts {
            Parts::Days => "justify_days",
            Parts::Hours => "justify_hours",
            Parts::All => "justify_interval",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Interval(_)] => Ok(vec![interval()]),
            // The difference of timestamps.
            [DataType::Duration(_)] => Ok(vec![DataType::Duration(TimeUnit::Microsecond)]),
            [text] if text.is_string() || text.is_null() => Ok(vec![interval()]),
            _ => Err(mismatch(self.name(), types)),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(interval())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values = args.args[0].to_array(rows(&args))?;
        let justified = |[months, days, nanos]: [i64; 3]| self.parts.justified(months, days, nanos);
        let intervals: IntervalMonthDayNanoArray = match values.as_primitive_opt::<DurationMicrosecondType>()
        {
            Some(durations) => {
                let day = DAY_NANOS / 1_000;
                let parts = |micros: i64| [0, micros / day, micros % day * 1_000];
                let values = durations.iter().map(|value| value.map(parts).map(justified).transpose());
                values.collect::<Result<_>>()?
            }
            None => {
                let parts = |value: IntervalMonthDayNano| {
                    [i64::from(value.months), i64::from(value.days), value.nanoseconds]
                };
                let values = values.as_primitive::<IntervalMonthDayNanoType>();
                let values = values.iter().map(|value| value.map(parts).map(justified).transpose());
                values.collect::<Result<_>>()?
            }
        };
        answer(Arc::new(intervals), is_one(&args))
    }
}

impl Parts {
    fn justified(self, mut months: i64, mut days: i64, mut nanos: i64) -> Result<IntervalMonthDayNano> {
        if self != Self::Days {
            days += nanos / DAY_NANOS;
            nanos %= DAY_NANOS;
        }
        if self != Self::Hours {
            months += days / DAYS_PER_MONTH;
            days %= DAYS_PER_MONTH;
            // Days that are none have the sign of the hours, where these count.
            let sign = if days == 0 && self == Self::All { nanos.signum() } else { days.signum() };
            let borrowed = borrowed(months, sign);
            months -= borrowed;
            days += borrowed * DAYS_PER_MONTH;
        }
        if self != Self::Days {
            let borrowed = borrowed(days, nanos.signum());
            days -= borrowed;
            nanos += borrowed * DAY_NANOS;
        }
        match (months.try_into(), days.try_into()) {
            (Ok(months), Ok(days)) => Ok(IntervalMonthDayNano::new(months, days, nanos)),
            _ => Err(Error::data("interval out of range").into()),
        }
    }
}

/// What is taken of a part, 1, 0 or -1, so that one of this sign has the same sign.
fn borrowed(part: i64, sign: i64) -> i64 {
    if part.signum() * sign < 0 { part.signum() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_one_sign() {
        let hours = |hours: i64| hours * 3_600_000_000_000;
        for (parts, [months, days, nanos], expected) in [
            (Parts::Days, [0, 35, hours(30)], (1, 5, hours(30))),
            (Parts::Days, [1, -1, 0], (0, 29, 0)),
            (Parts::Days, [-1, 1, 0], (0, -29, 0)),
            (Parts::Hours, [1, 1, hours(-1)], (1, 0, hours(23))),
            (Parts::Hours, [0, 0, hours(-50)], (0, -2, hours(-2))),
            (Parts::All, [1, 0, hours(-1)], (0, 29, hours(23))),
            (Parts::All, [-1, 0, hours(1)], (0, -29, hours(-23))),
            (Parts::All, [0, 35, hours(50)], (1, 7, hours(2))),
        ] {
            let (m, d, n) = expected;
            assert_eq!(parts.justified(months, days, nanos).unwrap(), IntervalMonthDayNano::new(m, d, n));
        }
        assert!(Parts::Days.justified(i64::from(i32::MAX), 30, 0).is_err());
    }
}
