//! Holidays of European countries.

use chrono::NaiveDate;
use chrono::Weekday::{Fri, Mon, Sat, Sun};
use chrono::{Datelike, Weekday};

use crate::ml::holidays::rule::{Rule, by, easter, fixed, listed, nth, on_or_after};

const NEW_YEAR: Rule = fixed("New Year's Day", 1, 1);
const EPIPHANY: Rule = fixed("Epiphany", 1, 6);
const MAUNDY_THURSDAY: Rule = easter("Maundy Thursday", -3);
const GOOD_FRIDAY: Rule = easter("Good Friday", -2);
const EASTER_SUNDAY: Rule = easter("Easter Sunday", 0);
const EASTER_MONDAY: Rule = easter("Easter Monday", 1);
const LABOUR_DAY: Rule = fixed("Labour Day", 5, 1);
const ASCENSION: Rule = easter("Ascension Day", 39);
const WHIT_SUNDAY: Rule = easter("Whit Sunday", 49);
const WHIT_MONDAY: Rule = easter("Whit Monday", 50);
const CORPUS_CHRISTI: Rule = easter("Corpus Christi", 60);
const ASSUMPTION: Rule = fixed("Assumption Day", 8, 15);
const ALL_SAINTS: Rule = fixed("All Saints' Day", 11, 1);
const IMMACULATE_CONCEPTION: Rule = fixed("Immaculate Conception", 12, 8);
const CHRISTMAS: Rule = fixed("Christmas Day", 12, 25);
const SECOND_CHRISTMAS: Rule = fixed("Second Day of Christmas", 12, 26);

/// Those of all states.
pub(super) const AUSTRIA: &[Rule] = &[
    NEW_YEAR,
    EPIPHANY,
    EASTER_MONDAY,
    LABOUR_DAY,
    ASCENSION,
    WHIT_MONDAY,
    CORPUS_CHRISTI,
    ASSUMPTION,
    fixed("National Day", 10, 26),
    ALL_SAINTS,
    IMMACULATE_CONCEPTION,
    CHRISTMAS,
    fixed("St. Stephen's Day", 12, 26),
];

pub(super) const BELGIUM: &[Rule] = &[
    NEW_YEAR,
    EASTER_SUNDAY,
    EASTER_MONDAY,
    LABOUR_DAY,
    ASCENSION,
    WHIT_SUNDAY,
    WHIT_MONDAY,
    fixed("National Day", 7, 21),
    ASSUMPTION,
    ALL_SAINTS,
    fixed("Armistice Day", 11, 11),
    CHRISTMAS,
];

/// Those of all cantons.
pub(super) const SWITZERLAND: &[Rule] =
    &[NEW_YEAR, ASCENSION, fixed("National Day", 8, 1).from(1994), CHRISTMAS];

pub(super) const CZECHIA: &[Rule] = &[
    NEW_YEAR,
    GOOD_FRIDAY.from(2016),
    EASTER_MONDAY,
    LABOUR_DAY,
    fixed("Victory Day", 5, 8).from(1992),
    fixed("Saints Cyril and Methodius Day", 7, 5),
    fixed("Jan Hus Day", 7, 6),
    fixed("Statehood Day", 9, 28).from(2000),
    fixed("Independence Day", 10, 28),
    fixed("Freedom and Democracy Day", 11, 17),
    fixed("Christmas Eve", 12, 24),
    CHRISTMAS,
    SECOND_CHRISTMAS,
];

/// Those of all states.
pub(super) const GERMANY: &[Rule] = &[
    NEW_YEAR,
    GOOD_FRIDAY,
    EASTER_MONDAY,
    LABOUR_DAY,
    ASCENSION,
    WHIT_MONDAY,
    fixed("German Unity Day", 10, 3).from(1990),
    listed("Reformation Day", &[20171031]),
    // The Wednesday before 23 November.
    on_or_after("Repentance and Prayer Day", 11, 16, Weekday::Wed).until(1994),
    CHRISTMAS,
    SECOND_CHRISTMAS,
];

pub(super) const DENMARK: &[Rule] = &[
    NEW_YEAR,
    MAUNDY_THURSDAY,
    GOOD_FRIDAY,
    EASTER_SUNDAY,
    EASTER_MONDAY,
    easter("Great Prayer Day", 26).until(2023),
    ASCENSION,
    WHIT_SUNDAY,
    WHIT_MONDAY,
    CHRISTMAS,
    SECOND_CHRISTMAS,
];

/// Those of all regions; one on a Sunday is moved as each region likes.
pub(super) const SPAIN: &[Rule] = &[
    NEW_YEAR,
    EPIPHANY,
    GOOD_FRIDAY,
    LABOUR_DAY,
    ASSUMPTION,
    fixed("National Day", 10, 12),
    ALL_SAINTS,
    fixed("Constitution Day", 12, 6),
    IMMACULATE_CONCEPTION,
    CHRISTMAS,
];

pub(super) const FINLAND: &[Rule] = &[
    NEW_YEAR,
    EPIPHANY,
    GOOD_FRIDAY,
    EASTER_SUNDAY,
    EASTER_MONDAY,
    LABOUR_DAY,
    ASCENSION,
    WHIT_SUNDAY,
    on_or_after("Midsummer Eve", 6, 19, Fri),
    on_or_after("Midsummer Day", 6, 20, Sat),
    on_or_after("All Saints' Day", 10, 31, Sat),
    fixed("Independence Day", 12, 6),
    fixed("Christmas Eve", 12, 24),
    CHRISTMAS,
    SECOND_CHRISTMAS,
];

pub(super) const FRANCE: &[Rule] = &[
    NEW_YEAR,
    EASTER_MONDAY,
    LABOUR_DAY,
    fixed("Victory Day", 5, 8),
    ASCENSION,
    WHIT_MONDAY.except(&[2005, 2006, 2007]),
    fixed("Bastille Day", 7, 14),
    ASSUMPTION,
    ALL_SAINTS,
    fixed("Armistice Day", 11, 11),
    CHRISTMAS,
];

/// Bank holidays of England and Wales.
pub(super) const UNITED_KINGDOM: &[Rule] = &[
    fixed("New Year's Day", 1, 1).observed(),
    GOOD_FRIDAY,
    EASTER_MONDAY,
    nth("Early May Bank Holiday", 5, Mon, 1).except(&[1995, 2020]),
    listed("Early May Bank Holiday", &[19950508, 20200508]),
    nth("Spring Bank Holiday", 5, Mon, -1).except(&[2002, 2012, 2022]),
    listed("Spring Bank Holiday", &[20020604, 20120604, 20220602]),
    listed("Golden Jubilee", &[20020603]),
    listed("Royal Wedding", &[20110429]),
    listed("Diamond Jubilee", &[20120605]),
    listed("Platinum Jubilee", &[20220603]),
    listed("State Funeral of Queen Elizabeth II", &[20220919]),
    listed("Coronation of King Charles III", &[20230508]),
    nth("Summer Bank Holiday", 8, Mon, -1),
    fixed("Christmas Day", 12, 25).observed(),
    fixed("Boxing Day", 12, 26).observed(),
    listed("Millennium Celebrations", &[19991231]),
];

pub(super) const IRELAND: &[Rule] = &[
    NEW_YEAR,
    by("St. Brigid's Day", st_brigid).from(2023),
    fixed("St. Patrick's Day", 3, 17),
    EASTER_MONDAY,
    nth("May Bank Holiday", 5, Mon, 1).from(1994).except(&[1995]),
    listed("May Bank Holiday", &[19950508]),
    nth("June Bank Holiday", 6, Mon, 1),
    nth("August Bank Holiday", 8, Mon, 1),
    nth("October Bank Holiday", 10, Mon, -1),
    CHRISTMAS,
    fixed("St. Stephen's Day", 12, 26),
    listed("Millennium Celebrations", &[19991231]),
    listed("National Day of Mourning", &[20010914]),
    listed("Day of Remembrance and Recognition", &[20220318]),
];

/// The first Monday of February, or its first day where that is a Friday.
fn st_brigid(year: i32) -> Option<NaiveDate> {
    let first = NaiveDate::from_ymd_opt(year, 2, 1)?;
    match first.weekday() {
        Weekday::Fri => Some(first),
        weekday => first.checked_add_days(chrono::Days::new(u64::from(Mon.days_since(weekday)))),
    }
}

pub(super) const ITALY: &[Rule] = &[
    NEW_YEAR,
    EPIPHANY,
    EASTER_SUNDAY,
    EASTER_MONDAY,
    fixed("Liberation Day", 4, 25),
    LABOUR_DAY,
    nth("Republic Day", 6, Sun, 1).until(2000),
    fixed("Republic Day", 6, 2).from(2001),
    ASSUMPTION,
    fixed("St. Francis of Assisi", 10, 4).from(2026),
    ALL_SAINTS,
    IMMACULATE_CONCEPTION,
    CHRISTMAS,
    fixed("St. Stephen's Day", 12, 26),
    listed("150 Years of Unification", &[20110317]),
];

/// With Good Friday, on which offices are closed and shops are not.
pub(super) const NETHERLANDS: &[Rule] = &[
    NEW_YEAR,
    GOOD_FRIDAY,
    EASTER_SUNDAY,
    EASTER_MONDAY,
    by("Queen's Day", |year| before_sunday(year, 30)).until(2013),
    by("King's Day", |year| before_sunday(year, 27)).from(2014),
    by("Liberation Day", |year| NaiveDate::from_ymd_opt(year, 5, 5).filter(|_| year % 5 == 0)).from(1990),
    ASCENSION,
    WHIT_SUNDAY,
    WHIT_MONDAY,
    CHRISTMAS,
    SECOND_CHRISTMAS,
];

/// This day of April, or the one before where it is a Sunday.
fn before_sunday(year: i32, day: u32) -> Option<NaiveDate> {
    let date = NaiveDate::from_ymd_opt(year, 4, day)?;
    if date.weekday() == Sun { date.pred_opt() } else { Some(date) }
}

pub(super) const NORWAY: &[Rule] = &[
    NEW_YEAR,
    MAUNDY_THURSDAY,
    GOOD_FRIDAY,
    EASTER_SUNDAY,
    EASTER_MONDAY,
    LABOUR_DAY,
    fixed("Constitution Day", 5, 17),
    ASCENSION,
    WHIT_SUNDAY,
    WHIT_MONDAY,
    CHRISTMAS,
    SECOND_CHRISTMAS,
];

pub(super) const POLAND: &[Rule] = &[
    NEW_YEAR,
    EPIPHANY.from(2011),
    EASTER_SUNDAY,
    EASTER_MONDAY,
    LABOUR_DAY,
    fixed("Constitution Day", 5, 3),
    WHIT_SUNDAY,
    CORPUS_CHRISTI,
    ASSUMPTION,
    ALL_SAINTS,
    fixed("Independence Day", 11, 11),
    listed("Independence Day", &[20181112]),
    fixed("Christmas Eve", 12, 24).from(2025),
    CHRISTMAS,
    SECOND_CHRISTMAS,
];

pub(super) const PORTUGAL: &[Rule] = &[
    NEW_YEAR,
    GOOD_FRIDAY,
    EASTER_SUNDAY,
    fixed("Freedom Day", 4, 25),
    LABOUR_DAY,
    CORPUS_CHRISTI.except(&[2013, 2014, 2015]),
    fixed("Portugal Day", 6, 10),
    ASSUMPTION,
    fixed("Republic Day", 10, 5).except(&[2013, 2014, 2015]),
    ALL_SAINTS.except(&[2013, 2014, 2015]),
    fixed("Restoration of Independence", 12, 1).except(&[2013, 2014, 2015]),
    IMMACULATE_CONCEPTION,
    CHRISTMAS,
];

pub(super) const SWEDEN: &[Rule] = &[
    NEW_YEAR,
    EPIPHANY,
    GOOD_FRIDAY,
    EASTER_SUNDAY,
    EASTER_MONDAY,
    LABOUR_DAY,
    ASCENSION,
    fixed("National Day", 6, 6).from(2005),
    WHIT_SUNDAY,
    WHIT_MONDAY.until(2004),
    on_or_after("Midsummer Day", 6, 20, Sat),
    on_or_after("All Saints' Day", 10, 31, Sat),
    CHRISTMAS,
    SECOND_CHRISTMAS,
];
