//! The days of the generated shops: weekdays, season of the year and holidays.

use std::f64::consts::TAU;

use chrono::{Datelike, Days, NaiveDate, Weekday};

use crate::engine::functions::table::synthetic_sales::catalogue::{CATEGORIES, Category};
use crate::ml::holidays::easter_sunday;

/// 1970-01-01 counted from the first day of the common era.
const EPOCH: i32 = 719_163;
/// Days before Christmas Eve on which gifts are bought.
const GIFT_DAYS: i64 = 28;

/// Names of the holidays with the share of a usual day's visitors.
pub const HOLIDAYS: [(&str, f64); 10] = [
    ("New Year's Day", 0.3),
    ("Valentine's Day", 1.15),
    ("Good Friday", 0.6),
    ("Easter Sunday", 0.25),
    ("Labour Day", 0.5),
    ("Halloween", 1.2),
    ("Black Friday", 1.9),
    ("Christmas Eve", 1.3),
    ("Christmas Day", 0.1),
    ("New Year's Eve", 1.4),
];

/// How a shop's week looks.
pub const STORE_KINDS: usize = 2;

/// Consecutive days with the demand that every category has on them.
#[derive(Debug)]
pub struct Calendar {
    /// Days since the epoch of the first day.
    pub start: i32,
    /// Per day, 0 or the number of its holiday in [`HOLIDAYS`] plus 1.
    pub holidays: Vec<u32>,
    /// Per category and kind of store: a factor per day, about 1 on average.
    factors: Vec<Vec<f64>>,
}

impl Calendar {
    /// `days` days from `start` (days since the epoch) on.
    pub fn new(start: i32, days: usize) -> Self {
        let dates: Vec<NaiveDate> = (0..days).map_while(|d| date(start, d)).collect();
        let holidays: Vec<u32> = dates.iter().map(|d| holiday(*d)).collect();
        let gifts: Vec<f64> = dates.iter().map(|d| gift_share(*d)).collect();
        let mut factors = vec![];
        for category in &CATEGORIES {
            for kind in 0..STORE_KINDS {
                let day = |((date, holiday), gifts): ((&NaiveDate, &u32), &f64)| {
                    factor(category, kind, *date, *holiday, *gifts)
                };
                factors.push(dates.iter().zip(&holidays).zip(&gifts).map(day).collect());
            }
        }
        Self { start, holidays, factors }
    }

    /// The factors of a category in a kind of store, one per day.
    pub fn factors(&self, category: usize, kind: usize) -> &[f64] {
        &self.factors[category * STORE_KINDS + kind]
    }
}

/// The date `days` days after `start` days since the epoch.
pub fn date(start: i32, days: usize) -> Option<NaiveDate> {
    NaiveDate::from_num_days_from_ce_opt(start.checked_add(EPOCH)?)?.checked_add_days(Days::new(days as u64))
}

fn factor(category: &Category, kind: usize, date: NaiveDate, holiday: u32, gifts: f64) -> f64 {
    let weekday = date.weekday().num_days_from_monday() as usize;
    let weekend = weekday >= 5;
    let store = if (kind == 1) == weekend { 1.12 } else { 0.94 };
    let angle = TAU * (f64::from(date.ordinal0()) - category.peak_day) / 365.25;
    let visitors = match holiday {
        0 => 1.0,
        h => HOLIDAYS[h as usize - 1].1.powf(category.holiday_response),
    };
    category.week[weekday] * store * visitors * (category.season * angle.cos() + category.gift * gifts).exp()
}

fn holiday(date: NaiveDate) -> u32 {
    let from_easter = easter_sunday(date.year()).map(|easter| (date - easter).num_days());
    let number = match (date.month(), date.day()) {
        (1, 1) => 0,
        (2, 14) => 1,
        (5, 1) => 4,
        (10, 31) => 5,
        (11, day) if date.weekday() == Weekday::Fri && (23..=29).contains(&day) => 6,
        (12, 24) => 7,
        (12, 25) => 8,
        (12, 31) => 9,
        _ if from_easter == Some(-2) => 2,
        _ if from_easter == Some(0) => 3,
        _ => return 0,
    };
    number + 1
}

/// Rises from 0 to 1 in the weeks before Christmas.
fn gift_share(date: NaiveDate) -> f64 {
    let Some(eve) = NaiveDate::from_ymd_opt(date.year(), 12, 24) else { return 0.0 };
    let left = (eve - date).num_days();
    if (0..GIFT_DAYS).contains(&left) { 1.0 - left as f64 / GIFT_DAYS as f64 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holidays_of_2024_fall_on_their_dates() {
        let name = |m, d| {
            let number = holiday(NaiveDate::from_ymd_opt(2024, m, d).unwrap());
            (number > 0).then(|| HOLIDAYS[number as usize - 1].0)
        };
        assert_eq!(name(3, 29), Some("Good Friday"));
        assert_eq!(name(3, 31), Some("Easter Sunday"));
        assert_eq!(name(11, 29), Some("Black Friday"));
        assert_eq!(name(12, 24), Some("Christmas Eve"));
        assert_eq!(name(6, 12), None);
    }
}
