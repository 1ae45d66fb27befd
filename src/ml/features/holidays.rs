//! Holidays as known covariates: the same columns for training and forecasting, for every period of a panel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Subject};
use crate::ml::holidays::{Calendar, date_of_day, parse_country};
use crate::ml::series::{Covariate, Frequency, Panel, Values};

/// Distances to holidays beyond this count as this.
const DISTANCE_MAX: i32 = 14;
/// Days around the periods of a panel in which holidays are looked for.
const DAYS_AROUND: i32 = 400;
/// What a period without a holiday is called.
const NO_HOLIDAY: &str = "none";

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Which holidays a model sees; stored with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holidays {
    /// Those of countries, each a set of columns of its own.
    Countries(Vec<String>),
    /// Those of the country that this static column of the panel gives for every series.
    ByCountry {
        /// The column, which is left out of the panel once it has been read.
        column: String,
    },
    /// Those of a table.
    Listed {
        /// The static column of the panel that gives the country of every series, where the table has countries.
        column: Option<String>,
        /// The rows of the table.
        days: Vec<ListedDay>,
    },
}

/// A row of a table of holidays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedDay {
    /// Days since 1970-01-01.
    pub day: i32,
    /// Its name.
    pub name: String,
    /// Whose it is; everyone's where that is not said.
    pub country: Option<String>,
}

/// Calendars of a set of columns, and which of them is whose.
struct Calendars {
    /// What the names of the columns end in.
    suffix: String,
    calendars: Vec<Calendar>,
    /// The calendar of every series.
    of_series: Vec<usize>,
}

impl Holidays {
    /// The holidays in words.
    pub fn describe(&self) -> String {
        match self {
            Self::Countries(codes) => codes.join(", "),
            Self::ByCountry { column } => format!("by {column}"),
            Self::Listed { column, days } => {
                let day =
                    |day: Option<i32>| day.and_then(date_of_day).map_or_else(String::new, |d| d.to_string());
                let (first, last) = (days.iter().map(|d| d.day).min(), days.iter().map(|d| d.day).max());
                let by = column.as_ref().map_or_else(String::new, |column| format!(" by {column}"));
                format!("{} rows from {} to {}{by}", days.len(), day(first), day(last))
            }
        }
    }

    /// Adds the columns to all rows of a panel, future ones too; returns their names.
    pub fn extend(&self, panel: &mut Panel) -> Result<Vec<String>> {
        if matches!(panel.frequency, Frequency::Integer(_)) {
            let message = "HOLIDAYS needs a time column of dates or timestamps; this one holds numbers";
            return Err(Error::input(Subject::Option, message));
        }
        let countries = self.take_countries(panel);
        let days = days_around(panel);
        let mut added = Vec::new();
        for set in self.calendars(panel, &countries, days)? {
            added.extend(add_columns(panel, &set));
        }
        Ok(added)
    }

    /// The country of every series, taken out of the static columns.
    fn take_countries(&self, panel: &mut Panel) -> Vec<Option<String>> {
        let column = match self {
            Self::Countries(_) => None,
            Self::ByCountry { column } => Some(column),
            Self::Listed { column, .. } => column.as_ref(),
        };
        let found = column.and_then(|column| panel.statics.iter().position(|c| c.name == *column));
        match found.map(|at| panel.statics.remove(at).values) {
            Some(Values::Category { codes, labels }) => {
                codes.iter().map(|code| labels.get(*code as usize).cloned()).collect()
            }
            _ => vec![None; panel.len()],
        }
    }

    fn calendars(
        &self,
        panel: &Panel,
        countries: &[Option<String>],
        (first, last): (i32, i32),
    ) -> Result<Vec<Calendars>> {
        let year = |day: i32| date_of_day(day).map_or(1970, |date| chrono::Datelike::year(&date));
        let of_country =
            |code: &str| Ok(Calendar::of_country(parse_country(code)?, year(first)..=year(last)));
        match self {
            Self::Countries(codes) => {
                let set = |code: &String| {
                    let suffix =
                        if codes.len() > 1 { format!("_{}", code.to_lowercase()) } else { String::new() };
                    let of_series = vec![0; panel.len()];
                    Ok(Calendars { suffix, calendars: vec![of_country(code)?], of_series })
                };
                codes.iter().map(set).collect()
            }
            Self::ByCountry { column } => by_country(countries, |country, series| match country {
                None => Ok(Calendar::default()),
                Some(code) => of_country(code).map_err(|error| at_series(error, column, &panel.keys[series])),
            }),
            Self::Listed { column, days } => by_country(countries, |country, series| {
                let known = country.is_none_or(|c| days.iter().any(|d| d.country.as_deref() == Some(c)));
                if let (false, Some(country), Some(column)) = (known, country, column) {
                    let message = format!("the calendar has no holiday of country {country}");
                    let error = Error::data(message)
                        .with_hint("add rows of it, or rows whose country is NULL, which are for all");
                    return Err(at_series(error, column, &panel.keys[series]));
                }
                let is_own = |day: &&ListedDay| match (&day.country, country) {
                    (Some(of), Some(own)) => of == own,
                    (of, _) => of.is_none() || column.is_none(),
                };
                let mut calendar = Calendar::default();
                days.iter().filter(is_own).for_each(|day| calendar.add(day.day, &day.name));
                Ok(calendar)
            }),
        }
    }
}

/// One calendar for each country that occurs.
fn by_country(
    countries: &[Option<String>],
    mut calendar: impl FnMut(Option<&str>, usize) -> Result<Calendar>,
) -> Result<Vec<Calendars>> {
    let mut index: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    let mut set = Calendars { suffix: String::new(), calendars: Vec::new(), of_series: Vec::new() };
    for (series, country) in countries.iter().enumerate() {
        let country = country.as_deref();
        let place = match index.get(&country) {
            Some(place) => *place,
            None => {
                set.calendars.push(calendar(country, series)?);
                index.insert(country, set.calendars.len() - 1);
                set.calendars.len() - 1
            }
        };
        set.of_series.push(place);
    }
    Ok(vec![set])
}

fn at_series(error: Error, column: &str, key: &str) -> Error {
    let of = if key.is_empty() { String::new() } else { format!(" of {key}") };
    let hint = error.hint().unwrap_or_default().to_owned();
    Error::data(format!("{column}{of}: {}", error.message())).with_hint(hint)
}

/// The first and last day of all periods, with room on both sides for the next and the last holiday.
fn days_around(panel: &Panel) -> (i32, i32) {
    let first = panel.start.iter().min().copied().unwrap_or(0);
    let last = (0..panel.len()).map(|i| panel.start[i] + panel.rows_of(i).len() as i64).max().unwrap_or(0);
    let day = |period: i64| panel.instant(period).map_or(0, day_of);
    (day(first).saturating_sub(DAYS_AROUND), day(last).saturating_add(DAYS_AROUND))
}

/// The day of an instant, within what calendars know.
fn day_of(instant: i64) -> i32 {
    const LIMIT: i64 = 100_000_000;
    instant.div_euclid(MICROS_PER_DAY).clamp(-LIMIT, LIMIT) as i32
}

/// What a period says of holidays.
#[derive(Clone, Copy)]
struct Period {
    /// Whether it is a holiday, or how many it holds.
    holidays: f32,
    to: f32,
    since: f32,
    name: u32,
}

fn add_columns(panel: &mut Panel, set: &Calendars) -> Vec<String> {
    let first = panel.start.iter().min().copied().unwrap_or(0);
    let end = (0..panel.len()).map(|i| panel.start[i] + panel.rows_of(i).len() as i64).max().unwrap_or(first);
    let mut labels = vec![NO_HOLIDAY.to_owned()];
    let tables: Vec<Vec<Period>> = set
        .calendars
        .iter()
        .map(|calendar| (first..end).map(|period| describe(panel, calendar, period, &mut labels)).collect())
        .collect();
    let rows = (0..panel.len()).flat_map(|i| {
        let from = (panel.start[i] - first) as usize;
        &tables[set.of_series[i]][from..from + panel.rows_of(i).len()]
    });
    let rows: Vec<Period> = rows.copied().collect();
    let numbers = |name: &str, value: fn(&Period) -> f32| Covariate {
        name: format!("{name}{}", set.suffix),
        values: Values::Number(rows.iter().map(value).collect()),
    };
    let names = Covariate {
        name: format!("holiday_name{}", set.suffix),
        values: Values::Category { codes: rows.iter().map(|row| row.name).collect(), labels },
    };
    let columns = match (is_daily(panel.frequency), is_weekly(panel.frequency)) {
        (true, _) => vec![
            numbers("holiday", |row| row.holidays),
            numbers("days_to_holiday", |row| row.to),
            numbers("days_since_holiday", |row| row.since),
            names,
        ],
        (_, true) => vec![numbers("holidays", |row| row.holidays), names],
        _ => vec![numbers("holidays", |row| row.holidays)],
    };
    let added = columns.iter().map(|column| column.name.clone()).collect();
    panel.known.extend(columns);
    added
}

/// Periods of a day or less have a distance to the next holiday.
fn is_daily(frequency: Frequency) -> bool {
    matches!(frequency, Frequency::Seconds(_) | Frequency::Days(1))
}

/// In periods of a week or less a holiday has a name of its own; in longer ones there are several.
fn is_weekly(frequency: Frequency) -> bool {
    matches!(frequency, Frequency::Days(n) if n <= 7)
}

fn describe(panel: &Panel, calendar: &Calendar, period: i64, labels: &mut Vec<String>) -> Period {
    let distance = |days: Option<i32>| days.map_or(DISTANCE_MAX, |days| days.min(DISTANCE_MAX)) as f32;
    let Some(begin) = panel.instant(period).map(day_of) else {
        return Period { holidays: 0.0, to: distance(None), since: distance(None), name: 0 };
    };
    let end = match is_daily(panel.frequency) {
        true => begin + 1,
        false => panel.instant(period + 1).map_or(begin + 1, day_of),
    };
    let name = calendar.between(begin, end).next().map_or(0, |(_, name)| {
        let known = labels.iter().position(|label| label == name);
        known.unwrap_or_else(|| {
            labels.push(name.to_owned());
            labels.len() - 1
        }) as u32
    });
    Period {
        holidays: calendar.between(begin, end).count() as f32,
        to: distance(calendar.days_to(begin)),
        since: distance(calendar.days_since(begin)),
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::features::featurizer::tests::panel;

    fn numbers<'a>(panel: &'a Panel, name: &str) -> &'a [f32] {
        match &panel.known.iter().find(|c| c.name == name).unwrap().values {
            Values::Number(numbers) => numbers,
            Values::Category { .. } => panic!("numbers"),
        }
    }

    fn name(panel: &Panel, row: usize) -> &str {
        match &panel.known.last().unwrap().values {
            Values::Category { codes, labels } => &labels[codes[row] as usize],
            Values::Number(_) => panic!("words"),
        }
    }

    #[test]
    fn days_know_their_holiday_and_the_distance_to_others() {
        let mut year = panel(1, 366);
        // 2024-01-01.
        year.origin = 19_723 * MICROS_PER_DAY;
        let added = Holidays::Countries(vec!["US".into()]).extend(&mut year).unwrap();
        assert_eq!(added, ["holiday", "days_to_holiday", "days_since_holiday", "holiday_name"]);
        assert_eq!(numbers(&year, "holiday").iter().sum::<f32>(), 11.0);
        // 4 July is day 185; the one before is 19 June, the one after 2 September.
        assert_eq!((name(&year, 185), name(&year, 186)), ("Independence Day", "none"));
        assert_eq!(numbers(&year, "days_to_holiday")[183..187], [2.0, 1.0, 0.0, 14.0]);
        assert_eq!(numbers(&year, "days_since_holiday")[183..187], [13.0, 14.0, 0.0, 1.0]);
        // New Year's Day of the next year is known on the last day.
        assert_eq!(numbers(&year, "days_to_holiday")[365], 1.0);
    }

    #[test]
    fn weeks_and_months_count_their_holidays() {
        let mut weeks = panel(1, 52);
        (weeks.frequency, weeks.origin) = (Frequency::Days(7), 19_723 * MICROS_PER_DAY);
        let added = Holidays::Countries(vec!["DE".into(), "US".into()]).extend(&mut weeks).unwrap();
        assert_eq!(added, ["holidays_de", "holiday_name_de", "holidays_us", "holiday_name_us"]);
        // The week of 25 March holds Good Friday, the one after Easter Monday, the one of 23 December two days.
        assert_eq!(
            (numbers(&weeks, "holidays_de")[12..14].to_vec(), numbers(&weeks, "holidays_de")[51]),
            (vec![1.0, 1.0], 2.0)
        );
        assert_eq!(name(&weeks, 47), "Thanksgiving Day");
        let mut months = panel(1, 12);
        (months.frequency, months.origin) = (Frequency::Months(1), 19_723 * MICROS_PER_DAY);
        assert_eq!(Holidays::Countries(vec!["DE".into()]).extend(&mut months).unwrap(), ["holidays"]);
        assert_eq!(
            numbers(&months, "holidays"),
            [1.0, 0.0, 1.0, 1.0, 3.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 2.0]
        );
    }

    #[test]
    fn every_series_has_the_holidays_of_its_country() {
        let base = || {
            let mut two = panel(2, 366);
            two.origin = 19_723 * MICROS_PER_DAY;
            let labels = vec!["de".to_owned(), "US".to_owned()];
            let values = Values::Category { codes: vec![0, 1], labels };
            two.statics.push(Covariate { name: "country".into(), values });
            two
        };
        let by_country = Holidays::ByCountry { column: "country".into() };
        let mut two = base();
        by_country.extend(&mut two).unwrap();
        assert_eq!((two.statics.len(), name(&two, 276)), (2, "German Unity Day"));
        assert_eq!((name(&two, 366 + 276), name(&two, 366 + 185)), ("none", "Independence Day"));
        let mut wrong = base();
        if let Values::Category { labels, .. } = &mut wrong.statics[2].values {
            labels[1] = "USA".into();
        }
        let error = by_country.extend(&mut wrong).unwrap_err();
        assert!(error.message().starts_with("country of s=001: the holidays of country USA are not known"));
        let day = |day, country: Option<&str>| ListedDay {
            day,
            name: "feast".into(),
            country: country.map(Into::into),
        };
        let days = vec![day(19_730, None), day(19_740, Some("US"))];
        let listed = Holidays::Listed { column: Some("country".into()), days };
        assert_eq!(
            listed.extend(&mut base()).unwrap_err().message(),
            "country of s=000: the calendar has no holiday of country de"
        );
        let mut both = base();
        if let Values::Category { codes, .. } = &mut both.statics[2].values {
            codes[0] = crate::ml::series::MISSING;
        }
        listed.extend(&mut both).unwrap();
        let holidays = numbers(&both, "holiday");
        assert_eq!((holidays[..366].iter().sum::<f32>(), holidays[366..].iter().sum::<f32>()), (1.0, 2.0));
    }

    #[test]
    fn numbers_have_no_holidays() {
        let mut numbered = panel(1, 20);
        numbered.frequency = Frequency::Integer(1);
        let error = Holidays::Countries(vec!["DE".into()]).extend(&mut numbered).unwrap_err();
        assert_eq!(
            error.message(),
            "HOLIDAYS needs a time column of dates or timestamps; this one holds numbers"
        );
    }
}
