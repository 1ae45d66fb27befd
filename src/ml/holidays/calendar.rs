//! Holidays of some countries or of a table, looked up by day.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};

use crate::ml::holidays::country::Country;

/// 1970-01-01, counted from the begin of the Common Era.
const EPOCH: i32 = 719_163;

/// Days since 1970-01-01 and the names of the holidays on them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calendar {
    days: BTreeMap<i32, String>,
}

/// Days since 1970-01-01.
pub fn day_number(date: NaiveDate) -> i32 {
    date.num_days_from_ce() - EPOCH
}

/// The date so many days after 1970-01-01; `None` beyond the calendar.
pub fn date_of_day(day: i32) -> Option<NaiveDate> {
    NaiveDate::from_num_days_from_ce_opt(day.checked_add(EPOCH)?)
}

impl Calendar {
    /// The holidays of a country in these years.
    pub fn of_country(country: &Country, years: std::ops::RangeInclusive<i32>) -> Self {
        let mut calendar = Self::default();
        calendar.add_country(country, years);
        calendar
    }

    /// Adds the holidays of a country in these years.
    pub fn add_country(&mut self, country: &Country, years: std::ops::RangeInclusive<i32>) {
        for holiday in years.flat_map(|year| country.of_year(year)) {
            self.add(day_number(holiday.date), &holiday.title());
        }
    }

    /// Adds a holiday; a day keeps its first name.
    pub fn add(&mut self, day: i32, name: &str) {
        self.days.entry(day).or_insert_with(|| name.to_owned());
    }

    /// The holiday on a day.
    pub fn name(&self, day: i32) -> Option<&str> {
        self.days.get(&day).map(String::as_str)
    }

    /// True when a day is a holiday.
    pub fn is_holiday(&self, day: i32) -> bool {
        self.days.contains_key(&day)
    }

    /// Days until the next holiday, 0 on one.
    pub fn days_to(&self, day: i32) -> Option<i32> {
        self.days.range(day..).next().map(|(next, _)| next - day)
    }

    /// Days since the last holiday, 0 on one.
    pub fn days_since(&self, day: i32) -> Option<i32> {
        self.days.range(..=day).next_back().map(|(last, _)| day - last)
    }

    /// The holidays of the days from `first` up to, but not including, `end`.
    pub fn between(&self, first: i32, end: i32) -> impl Iterator<Item = (i32, &str)> {
        self.days.range(first..end.max(first)).map(|(day, name)| (*day, name.as_str()))
    }

    /// Number of days that are holidays.
    pub fn len(&self) -> usize {
        self.days.len()
    }

    /// True when no day is a holiday.
    pub fn is_empty(&self) -> bool {
        self.days.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::holidays::parse_country;

    fn dates(code: &str, year: i32) -> String {
        let all = parse_country(code).unwrap().of_year(year);
        let mut days: Vec<String> = all.iter().map(|h| h.date.format("%m-%d").to_string()).collect();
        days.dedup();
        days.join(" ")
    }

    #[test]
    fn distances_count_days_between_holidays() {
        let calendar = Calendar::of_country(parse_country("de").unwrap(), 2024..=2025);
        let day = |y, m, d| day_number(NaiveDate::from_ymd_opt(y, m, d).unwrap());
        assert_eq!(day_number(NaiveDate::from_ymd_opt(1970, 1, 1).unwrap()), 0);
        assert_eq!(calendar.name(day(2024, 4, 1)), Some("Easter Monday"));
        assert_eq!(calendar.days_to(day(2024, 3, 30)), Some(2));
        assert_eq!(calendar.days_since(day(2024, 3, 31)), Some(2));
        assert_eq!((calendar.days_to(day(2026, 1, 1)), calendar.days_since(day(2023, 1, 1))), (None, None));
        assert_eq!(calendar.between(day(2024, 12, 23), day(2024, 12, 30)).count(), 2);
    }

    #[test]
    fn an_unknown_country_is_told_with_those_that_are_known() {
        let error = parse_country("XX").unwrap_err();
        assert_eq!(error.message(), "the holidays of country XX are not known; did you mean MX?");
        assert!(error.hint().unwrap().starts_with("known countries: AT, AU, BE, "));
        assert!(parse_country("germany").unwrap_err().message().ends_with("; did you mean DE?"));
    }

    /// Dates of the Python package `holidays` 0.109, which follows the laws and gazettes of the countries.
    #[test]
    fn dates_are_those_of_published_calendars() {
        let published = [
            ("AT", 2024, "01-01 01-06 04-01 05-01 05-09 05-20 05-30 08-15 10-26 11-01 12-08 12-25 12-26"),
            ("AU", 2024, "01-01 01-26 03-29 04-01 04-25 12-25 12-26"),
            ("BE", 2024, "01-01 03-31 04-01 05-01 05-09 05-19 05-20 07-21 08-15 11-01 11-11 12-25"),
            ("BR", 2024, "01-01 03-29 04-21 05-01 09-07 10-12 11-02 11-15 11-20 12-25"),
            ("CA", 2024, "01-01 03-29 05-20 07-01 09-02 09-30 10-14 11-11 12-25 12-26"),
            ("CH", 2024, "01-01 05-09 08-01 12-25"),
            ("CN", 2024, "01-01 02-10 02-11 02-12 04-04 05-01 06-10 09-17 10-01 10-02 10-03"),
            ("CZ", 2024, "01-01 03-29 04-01 05-01 05-08 07-05 07-06 09-28 10-28 11-17 12-24 12-25 12-26"),
            ("DE", 2024, "01-01 03-29 04-01 05-01 05-09 05-20 10-03 12-25 12-26"),
            ("DK", 2024, "01-01 03-28 03-29 03-31 04-01 05-09 05-19 05-20 12-25 12-26"),
            (
                "FI",
                2024,
                "01-01 01-06 03-29 03-31 04-01 05-01 05-09 05-19 06-21 06-22 11-02 12-06 12-24 12-25 12-26",
            ),
            ("FR", 2024, "01-01 04-01 05-01 05-08 05-09 05-20 07-14 08-15 11-01 11-11 12-25"),
            ("GB", 2024, "01-01 03-29 04-01 05-06 05-27 08-26 12-25 12-26"),
            ("IE", 2024, "01-01 02-05 03-17 04-01 05-06 06-03 08-05 10-28 12-25 12-26"),
            ("IT", 2024, "01-01 01-06 03-31 04-01 04-25 05-01 06-02 08-15 11-01 12-08 12-25 12-26"),
            (
                "JP",
                2024,
                "01-01 01-08 02-11 02-12 02-23 03-20 04-29 05-03 05-04 05-05 05-06 07-15 08-11 08-12 09-16 09-22 09-23 10-14 11-03 11-04 11-23",
            ),
            ("MX", 2024, "01-01 02-05 03-18 05-01 09-16 10-01 11-18 12-25"),
            ("NL", 2024, "01-01 03-29 03-31 04-01 04-27 05-09 05-19 05-20 12-25 12-26"),
            ("NO", 2024, "01-01 03-28 03-29 03-31 04-01 05-01 05-09 05-17 05-19 05-20 12-25 12-26"),
            ("PL", 2024, "01-01 01-06 03-31 04-01 05-01 05-03 05-19 05-30 08-15 11-01 11-11 12-25 12-26"),
            ("PT", 2024, "01-01 03-29 03-31 04-25 05-01 05-30 06-10 08-15 10-05 11-01 12-01 12-08 12-25"),
            ("SE", 2024, "01-01 01-06 03-29 03-31 04-01 05-01 05-09 05-19 06-06 06-22 11-02 12-25 12-26"),
            ("US", 2024, "01-01 01-15 02-19 05-27 06-19 07-04 09-02 10-14 11-11 11-28 12-25"),
            (
                "US",
                2021,
                "01-01 01-18 02-15 05-31 06-18 06-19 07-04 07-05 09-06 10-11 11-11 11-25 12-24 12-25 12-31",
            ),
            ("GB", 2021, "01-01 04-02 04-05 05-03 05-31 08-30 12-25 12-26 12-27 12-28"),
            (
                "JP",
                2021,
                "01-01 01-11 02-11 02-23 03-20 04-29 05-03 05-04 05-05 07-22 07-23 08-08 08-09 09-20 09-23 11-03 11-23",
            ),
            ("CN", 2021, "01-01 02-12 02-13 02-14 04-04 05-01 06-14 09-21 10-01 10-02 10-03"),
            (
                "JP",
                2019,
                "01-01 01-14 02-11 03-21 04-29 04-30 05-01 05-02 05-03 05-04 05-05 05-06 07-15 08-11 08-12 09-16 09-23 10-14 10-22 11-03 11-04 11-23",
            ),
            ("GB", 2022, "01-01 01-03 04-15 04-18 05-02 06-02 06-03 08-29 09-19 12-25 12-26 12-27"),
        ];
        for (code, year, days) in published {
            assert_eq!(dates(code, year), days, "{code} {year}");
        }
    }
}
