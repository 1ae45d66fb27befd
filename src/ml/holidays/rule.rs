//! On which days a holiday falls, and what happens when it falls on a weekend.

use chrono::{Datelike, Days, NaiveDate, Weekday};

use crate::ml::holidays::easter::easter_sunday;

/// How a holiday finds its day.
#[derive(Debug, Clone, Copy)]
enum Day {
    /// Month and day.
    Fixed(u32, u32),
    /// Days after Easter Sunday.
    Easter(i64),
    /// The n-th of a weekday in a month; from its end where n is negative.
    Nth(u32, Weekday, i8),
    /// The first of a weekday on or after a day.
    From(u32, u32, Weekday),
    /// What a function tells for the year.
    Rule(fn(i32) -> Option<NaiveDate>),
    /// These days and no others, as numbers of year, month and day.
    Listed(&'static [u32]),
}

/// A holiday and the years in which it is one.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its name in English.
    pub(super) name: &'static str,
    day: Day,
    first: i32,
    last: i32,
    except: &'static [i32],
    /// Days that follow it and are holidays of the same name.
    more: u64,
    /// A day off stands in for it when it falls on a weekend.
    pub(super) observed: bool,
}

const fn rule(name: &'static str, day: Day) -> Rule {
    Rule { name, day, first: i32::MIN, last: i32::MAX, except: &[], more: 0, observed: false }
}

/// The same day every year.
pub(super) const fn fixed(name: &'static str, month: u32, day: u32) -> Rule {
    rule(name, Day::Fixed(month, day))
}

/// So many days after Easter Sunday.
pub(super) const fn easter(name: &'static str, days: i64) -> Rule {
    rule(name, Day::Easter(days))
}

/// The n-th of a weekday in a month, counted from its end where n is negative.
pub(super) const fn nth(name: &'static str, month: u32, weekday: Weekday, n: i8) -> Rule {
    rule(name, Day::Nth(month, weekday, n))
}

/// The first of a weekday on or after a day.
pub(super) const fn on_or_after(name: &'static str, month: u32, day: u32, weekday: Weekday) -> Rule {
    rule(name, Day::From(month, day, weekday))
}

/// The day that a function tells for the year.
pub(super) const fn by(name: &'static str, day: fn(i32) -> Option<NaiveDate>) -> Rule {
    rule(name, Day::Rule(day))
}

/// These days, written as 20240210.
pub(super) const fn listed(name: &'static str, days: &'static [u32]) -> Rule {
    rule(name, Day::Listed(days))
}

impl Rule {
    /// From this year on.
    pub(super) const fn from(mut self, year: i32) -> Self {
        self.first = year;
        self
    }

    /// Up to this year.
    pub(super) const fn until(mut self, year: i32) -> Self {
        self.last = year;
        self
    }

    /// Not in these years.
    pub(super) const fn except(mut self, years: &'static [i32]) -> Self {
        self.except = years;
        self
    }

    /// So many days after it, too.
    pub(super) const fn and_days(mut self, more: u64) -> Self {
        self.more = more;
        self
    }

    /// With a day off in its place when it falls on a weekend.
    pub(super) const fn observed(mut self) -> Self {
        self.observed = true;
        self
    }

    /// Its days in a year.
    pub(super) fn of_year(&self, year: i32) -> Vec<NaiveDate> {
        if year < self.first || year > self.last || self.except.contains(&year) {
            return Vec::new();
        }
        let begins: Vec<NaiveDate> = match self.day {
            Day::Fixed(month, day) => NaiveDate::from_ymd_opt(year, month, day).into_iter().collect(),
            Day::Easter(days) => {
                easter_sunday(year).into_iter().map(|sunday| sunday + chrono::Duration::days(days)).collect()
            }
            Day::Nth(month, weekday, n) => nth_of(year, month, weekday, n).into_iter().collect(),
            Day::From(month, day, weekday) => {
                NaiveDate::from_ymd_opt(year, month, day).map(|day| next(day, weekday)).into_iter().collect()
            }
            Day::Rule(day) => day(year).into_iter().collect(),
            Day::Listed(days) => days.iter().filter_map(|day| date_of(*day)).collect(),
        };
        let all = begins.into_iter().flat_map(|day| (0..=self.more).map(move |n| day + Days::new(n)));
        all.filter(|day| day.year() == year).collect()
    }
}

/// The date of a number such as 20240210.
fn date_of(number: u32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt((number / 10_000) as i32, number / 100 % 100, number % 100)
}

/// The first of a weekday on or after a day.
fn next(day: NaiveDate, weekday: Weekday) -> NaiveDate {
    day + Days::new(u64::from(weekday.days_since(day.weekday())))
}

fn nth_of(year: i32, month: u32, weekday: Weekday, n: i8) -> Option<NaiveDate> {
    let first = next(NaiveDate::from_ymd_opt(year, month, 1)?, weekday);
    let weeks = |n: i8| first.checked_add_days(Days::new(7 * n.unsigned_abs() as u64));
    if n > 0 {
        return weeks(n - 1);
    }
    let last = (3..=4).filter_map(weeks).rfind(|day| day.month() == month)?;
    last.checked_sub_days(Days::new(7 * (n.unsigned_abs() as u64).saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_a_month_are_counted_from_either_end() {
        let days = |rule: Rule, year| {
            rule.of_year(year).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(days(nth("Thanksgiving", 11, Weekday::Thu, 4), 2024), "2024-11-28");
        assert_eq!(days(nth("Memorial Day", 5, Weekday::Mon, -1), 2024), "2024-05-27");
        assert_eq!(days(nth("Memorial Day", 5, Weekday::Mon, -1), 2021), "2021-05-31");
        assert_eq!(days(on_or_after("Midsummer", 6, 20, Weekday::Sat), 2026), "2026-06-20");
        assert_eq!(days(fixed("May Day", 5, 1).and_days(2), 2025), "2025-05-01 2025-05-02 2025-05-03");
        assert_eq!(days(fixed("May Day", 5, 1).from(2026), 2025), "");
        assert_eq!(days(listed("Feast", &[20240210, 20250129]), 2025), "2025-01-29");
    }
}
