//! What is asked of the generator.

use crate::engine::functions::table::synthetic_sales::calendar;
use crate::error::{Error, Result, Subject};

const SERIES_MAX: usize = 1_000_000;
const DAYS_MAX: usize = 36_525;
/// 2023-01-01.
const START: i32 = 19_358;
/// 1900-01-01 and 2200-01-01: all days lie between them.
const FIRST_DAY: i32 = -25_567;
const LAST_DAY: i32 = 84_006;

/// Arguments of the generator; `checked` makes sure that they are in range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SyntheticSales {
    /// Pairs of a store and an item.
    pub series: usize,
    /// Days from the first to the last.
    pub days: usize,
    /// Seed of all randomness.
    pub seed: u64,
    /// Days since the epoch of the first day.
    pub start: i32,
}

impl Default for SyntheticSales {
    fn default() -> Self {
        Self { series: 50, days: 730, seed: 1, start: START }
    }
}

impl SyntheticSales {
    /// These arguments, when all are in range.
    pub fn checked(series: i64, days: i64, seed: i64, start: i32) -> Result<Self> {
        let series = in_range("series", series, SERIES_MAX)?;
        let days = in_range("days", days, DAYS_MAX)?;
        let end = i64::from(start) + days as i64;
        if start < FIRST_DAY || end > i64::from(LAST_DAY) {
            let text = calendar::date(start, 0).map_or_else(|| format!("day {start}"), |d| d.to_string());
            let message = format!(
                "the days of synthetic_sales must lie between 1900-01-01 and 2200-01-01, got {days} days from {text}"
            );
            return Err(Error::input(Subject::Option, message));
        }
        Ok(Self { series, days, seed: seed.cast_unsigned(), start })
    }

    /// Stores; every store but perhaps the last sells all items.
    pub fn stores(&self) -> usize {
        ((self.series as f64 / 2.0).sqrt().round() as usize).clamp(1, 500)
    }

    /// Items.
    pub fn items(&self) -> usize {
        self.series.div_ceil(self.stores())
    }
}

fn in_range(name: &str, value: i64, most: usize) -> Result<usize> {
    match usize::try_from(value) {
        Ok(n) if (1..=most).contains(&n) => Ok(n),
        _ => {
            let message = format!("{name} must be between 1 and {most}, got {value}");
            Err(Error::input(Subject::Option, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_out_of_range_are_named() {
        let message = |series, days, start| {
            SyntheticSales::checked(series, days, 1, start).unwrap_err().message().to_owned()
        };
        assert_eq!(message(0, 10, 0), "series must be between 1 and 1000000, got 0");
        assert_eq!(message(1, 40_000, 0), "days must be between 1 and 36525, got 40000");
        assert!(message(1, 10, LAST_DAY).starts_with("the days of synthetic_sales must lie between"));
        assert_eq!(calendar::date(FIRST_DAY, 0).unwrap().to_string(), "1900-01-01");
        assert_eq!(calendar::date(LAST_DAY, 0).unwrap().to_string(), "2200-01-01");
        assert_eq!(calendar::date(START, 0).unwrap().to_string(), "2023-01-01");
    }
}
