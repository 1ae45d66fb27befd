//! Countries by their ISO 3166 codes, and their holidays of a year.

use chrono::{Datelike, Days, NaiveDate, Weekday};

use crate::error::{Error, Result, Subject, did_you_mean};
use crate::ml::holidays::rule::Rule;
use crate::ml::holidays::{americas, asia, europe};

/// What stands in for holidays that fall on a weekend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Observance {
    /// Friday for Saturday, Monday for Sunday.
    Nearest,
    /// The next day that is neither weekend nor holiday.
    NextFree,
    /// For Sunday the next day that is no holiday; a day between two holidays is one, too.
    Japanese,
}

/// A country whose holidays are known.
#[derive(Debug)]
pub struct Country {
    /// Its ISO 3166 code, two capital letters.
    pub code: &'static str,
    /// Its name in English.
    pub name: &'static str,
    pub(super) observance: Observance,
    pub(super) rules: &'static [Rule],
}

/// A day off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holiday {
    /// When.
    pub date: NaiveDate,
    /// Which.
    pub name: &'static str,
    /// True for a day that stands in for one on a weekend.
    pub observed: bool,
}

impl Holiday {
    /// The name, with a note where the day stands in for another.
    pub fn title(&self) -> String {
        if self.observed { format!("{} (observed)", self.name) } else { self.name.to_owned() }
    }
}

/// All countries whose holidays are known, by code.
pub fn countries() -> &'static [Country] {
    COUNTRIES
}

/// The country of a code in any case; UK is GB.
pub fn parse_country(code: &str) -> Result<&'static Country> {
    // ISO 3166 keeps UK for the United Kingdom beside GB.
    let wanted = if code.trim().eq_ignore_ascii_case("uk") { "GB" } else { code.trim() };
    let found = COUNTRIES.iter().find(|country| country.code.eq_ignore_ascii_case(wanted));
    found.ok_or_else(|| {
        let named = COUNTRIES.iter().find(|country| country.name.eq_ignore_ascii_case(code.trim()));
        let suggestion = match named {
            Some(country) => format!("; did you mean {}?", country.code),
            None => did_you_mean(&code.to_uppercase(), COUNTRIES.iter().map(|country| country.code)),
        };
        let codes: Vec<&str> = COUNTRIES.iter().map(|country| country.code).collect();
        Error::input(Subject::Value, format!("the holidays of country {code} are not known{suggestion}"))
            .with_hint(format!("known countries: {}", codes.join(", ")))
    })
}

const fn country(
    code: &'static str,
    name: &'static str,
    observance: Observance,
    rules: &'static [Rule],
) -> Country {
    Country { code, name, observance, rules }
}

const COUNTRIES: &[Country] = &[
    country("AT", "Austria", Observance::NextFree, europe::AUSTRIA),
    country("AU", "Australia", Observance::NextFree, asia::AUSTRALIA),
    country("BE", "Belgium", Observance::NextFree, europe::BELGIUM),
    country("BR", "Brazil", Observance::NextFree, americas::BRAZIL),
    country("CA", "Canada", Observance::NextFree, americas::CANADA),
    country("CH", "Switzerland", Observance::NextFree, europe::SWITZERLAND),
    country("CN", "China", Observance::NextFree, asia::CHINA),
    country("CZ", "Czechia", Observance::NextFree, europe::CZECHIA),
    country("DE", "Germany", Observance::NextFree, europe::GERMANY),
    country("DK", "Denmark", Observance::NextFree, europe::DENMARK),
    country("ES", "Spain", Observance::NextFree, europe::SPAIN),
    country("FI", "Finland", Observance::NextFree, europe::FINLAND),
    country("FR", "France", Observance::NextFree, europe::FRANCE),
    country("GB", "United Kingdom", Observance::NextFree, europe::UNITED_KINGDOM),
    country("IE", "Ireland", Observance::NextFree, europe::IRELAND),
    country("IN", "India", Observance::NextFree, asia::INDIA),
    country("IT", "Italy", Observance::NextFree, europe::ITALY),
    country("JP", "Japan", Observance::Japanese, asia::JAPAN),
    country("MX", "Mexico", Observance::NextFree, americas::MEXICO),
    country("NL", "Netherlands", Observance::NextFree, europe::NETHERLANDS),
    country("NO", "Norway", Observance::NextFree, europe::NORWAY),
    country("PL", "Poland", Observance::NextFree, europe::POLAND),
    country("PT", "Portugal", Observance::NextFree, europe::PORTUGAL),
    country("SE", "Sweden", Observance::NextFree, europe::SWEDEN),
    country("US", "United States", Observance::Nearest, americas::UNITED_STATES),
];

impl Country {
    /// The holidays of a year by date, observed days among them; one day may have two.
    pub fn of_year(&self, year: i32) -> Vec<Holiday> {
        // A day in the last week of a year may stand in for one of the next, and one in the first for one before.
        let rules = self.rules.iter();
        let mut found: Vec<(Holiday, bool)> = rules
            .flat_map(|rule| {
                (year - 1..=year + 1).flat_map(|year| rule.of_year(year)).map(move |d| (rule, d))
            })
            .map(|(rule, date)| (Holiday { date, name: rule.name, observed: false }, rule.observed))
            .collect();
        found.sort_by_key(|(holiday, _)| holiday.date);
        let actual: Vec<Holiday> = found.iter().map(|(holiday, _)| holiday.clone()).collect();
        let mut all = actual;
        for (holiday, _) in found.iter().filter(|(_, observed)| *observed) {
            if let Some(date) = self.instead_of(holiday.date, &all) {
                all.push(Holiday { date, name: holiday.name, observed: true });
            }
        }
        if self.observance == Observance::Japanese {
            all.extend(between(&all));
        }
        all.retain(|holiday| holiday.date.year() == year);
        all.sort_by_key(|holiday| holiday.date);
        all
    }

    /// The day off for a holiday on this date, where that is a weekend.
    fn instead_of(&self, date: NaiveDate, taken: &[Holiday]) -> Option<NaiveDate> {
        let is_taken = |date: NaiveDate| taken.iter().any(|holiday| holiday.date == date);
        let next = |is_free: &dyn Fn(NaiveDate) -> bool| {
            (1..=10).map(|n| date + Days::new(n)).find(|date| is_free(*date))
        };
        match (self.observance, date.weekday()) {
            (Observance::Nearest, Weekday::Sat) => date.pred_opt(),
            (Observance::Nearest, Weekday::Sun) => date.succ_opt(),
            (Observance::NextFree, Weekday::Sat | Weekday::Sun) => {
                next(&|date| !is_weekend(date) && !is_taken(date))
            }
            // Before 2007 only the Monday stood in.
            (Observance::Japanese, Weekday::Sun) if date.year() < 2007 => {
                date.succ_opt().filter(|monday| !is_taken(*monday))
            }
            (Observance::Japanese, Weekday::Sun) => next(&|date| !is_taken(date)),
            _ => None,
        }
    }
}

fn is_weekend(date: NaiveDate) -> bool {
    matches!(date.weekday(), Weekday::Sat | Weekday::Sun)
}

/// The days between two holidays, which are days off in Japan.
fn between(all: &[Holiday]) -> Vec<Holiday> {
    let is_taken =
        |date: Option<NaiveDate>| all.iter().any(|holiday| Some(holiday.date) == date && !holiday.observed);
    let off = |date: NaiveDate| all.iter().any(|holiday| holiday.date == date);
    let after = all.iter().filter(|holiday| !holiday.observed).filter_map(|holiday| holiday.date.succ_opt());
    after
        .filter(|date| !off(*date) && date.weekday() != Weekday::Sun && is_taken(date.succ_opt()))
        .map(|date| Holiday { date, name: "Citizens' Holiday", observed: false })
        .collect()
}
