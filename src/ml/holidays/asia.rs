//! Holidays of Asian countries and of Australia.

use chrono::NaiveDate;
use chrono::Weekday::Mon;

use crate::ml::holidays::lunar;
use crate::ml::holidays::rule::{Rule, by, easter, fixed, listed, nth};

/// Those of all states and territories; a weekend gives the next working day, but for ANZAC Day.
pub(super) const AUSTRALIA: &[Rule] = &[
    fixed("New Year's Day", 1, 1).observed(),
    fixed("Australia Day", 1, 26).observed(),
    easter("Good Friday", -2),
    easter("Easter Monday", 1),
    fixed("ANZAC Day", 4, 25),
    fixed("Christmas Day", 12, 25).observed(),
    fixed("Boxing Day", 12, 26).observed(),
    listed("National Day of Mourning", &[20220922]),
];

/// Statutory days; which weekends are worked for longer breaks is announced year by year and is not among them.
pub(super) const CHINA: &[Rule] = &[
    fixed("New Year's Day", 1, 1),
    by("Spring Festival Eve", |year| spring_festival(year, -1)).from(2008).until(2013),
    by("Spring Festival Eve", |year| spring_festival(year, -1)).from(2025),
    by("Spring Festival", |year| spring_festival(year, 0)),
    by("Spring Festival", |year| spring_festival(year, 1)),
    by("Spring Festival", |year| spring_festival(year, 2)).until(2007),
    by("Spring Festival", |year| spring_festival(year, 2)).from(2014),
    by("Qingming Festival", qingming).from(2008),
    fixed("Labour Day", 5, 1),
    fixed("Labour Day", 5, 2).from(2000).until(2007).and_days(1),
    fixed("Labour Day", 5, 2).from(2025),
    listed("Dragon Boat Festival", lunar::DRAGON_BOAT).from(2008),
    listed("Mid-Autumn Festival", lunar::MID_AUTUMN).from(2008),
    listed("Victory Day", &[20150903]),
    fixed("National Day", 10, 1).and_days(1),
    fixed("National Day", 10, 3).from(2000),
];

/// So many days after the first day of the Chinese year.
fn spring_festival(year: i32, days: i64) -> Option<NaiveDate> {
    let first = listed("", lunar::SPRING_FESTIVAL).of_year(year).first().copied()?;
    first.checked_add_signed(chrono::Duration::days(days))
}

/// The fourth or fifth of April, when the sun stands at 15 degrees; right from 2000 to 2099.
fn qingming(year: i32) -> Option<NaiveDate> {
    let years = f64::from(year - 2000);
    let day = (years * 0.2422 + 4.81).floor() - (years / 4.0).floor();
    NaiveDate::from_ymd_opt(year, 4, day as u32)
}

/// Gazetted holidays of the central government.
pub(super) const INDIA: &[Rule] = &[
    fixed("Republic Day", 1, 26),
    listed("Maha Shivaratri", lunar::MAHA_SHIVARATRI),
    listed("Holi", lunar::HOLI),
    listed("Ram Navami", lunar::RAM_NAVAMI),
    listed("Mahavir Jayanti", lunar::MAHAVIR_JAYANTI),
    easter("Good Friday", -2),
    listed("Buddha Purnima", lunar::BUDDHA_PURNIMA),
    listed("Eid al-Fitr", lunar::EID_AL_FITR),
    listed("Eid al-Adha", lunar::EID_AL_ADHA),
    listed("Muharram", lunar::ASHURA),
    fixed("Independence Day", 8, 15),
    listed("Janmashtami", lunar::JANMASHTAMI),
    listed("Prophet's Birthday", lunar::PROPHETS_BIRTHDAY),
    fixed("Gandhi Jayanti", 10, 2),
    listed("Dussehra", lunar::DUSSEHRA),
    listed("Diwali", lunar::DIWALI),
    listed("Guru Nanak Jayanti", lunar::GURU_NANAK_JAYANTI),
    fixed("Christmas Day", 12, 25),
];

/// National holidays by the act of 1948 with its changes.
pub(super) const JAPAN: &[Rule] = &[
    fixed("New Year's Day", 1, 1).observed(),
    fixed("Coming of Age Day", 1, 15).until(1999).observed(),
    nth("Coming of Age Day", 1, Mon, 2).from(2000),
    fixed("Foundation Day", 2, 11).observed(),
    fixed("Emperor's Birthday", 2, 23).from(2020).observed(),
    by("Vernal Equinox Day", |year| equinox(year, 3, 20.8431)).observed(),
    fixed("Greenery Day", 4, 29).until(2006).observed(),
    fixed("Showa Day", 4, 29).from(2007).observed(),
    listed("Enthronement Day", &[20190501]),
    fixed("Constitution Day", 5, 3).observed(),
    fixed("Greenery Day", 5, 4).from(2007).observed(),
    fixed("Children's Day", 5, 5).observed(),
    listed("Wedding of the Crown Prince", &[19930609]),
    fixed("Marine Day", 7, 20).from(1996).until(2002).observed(),
    nth("Marine Day", 7, Mon, 3).from(2003).except(&[2020, 2021]),
    listed("Marine Day", &[20200723, 20210722]),
    fixed("Mountain Day", 8, 11).from(2016).except(&[2020, 2021]).observed(),
    listed("Mountain Day", &[20200810, 20210808]).observed(),
    fixed("Respect for the Aged Day", 9, 15).until(2002).observed(),
    nth("Respect for the Aged Day", 9, Mon, 3).from(2003),
    by("Autumnal Equinox Day", |year| equinox(year, 9, 23.2488)).observed(),
    fixed("Health and Sports Day", 10, 10).until(1999).observed(),
    nth("Health and Sports Day", 10, Mon, 2).from(2000).until(2019),
    nth("Sports Day", 10, Mon, 2).from(2022),
    listed("Sports Day", &[20200724, 20210723]),
    listed("Enthronement Ceremony", &[19901112, 20191022]),
    fixed("Culture Day", 11, 3).observed(),
    fixed("Labor Thanksgiving Day", 11, 23).observed(),
    fixed("Emperor's Birthday", 12, 23).from(1989).until(2018).observed(),
];

/// The day of an equinox in Japan; right from 1980 to 2099 (Japan Coast Guard, Suiro-bu).
fn equinox(year: i32, month: u32, in_1980: f64) -> Option<NaiveDate> {
    let years = f64::from(year - 1980);
    let day = (in_1980 + 0.242194 * years).floor() - (years / 4.0).floor();
    NaiveDate::from_ymd_opt(year, month, day as u32)
}
