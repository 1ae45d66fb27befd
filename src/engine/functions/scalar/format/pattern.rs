//! Patterns of dates and times, taken apart.

/// What a part of a pattern stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Era {
        dots: bool,
    },
    HalfDay {
        dots: bool,
    },
    Century,
    DayName,
    ShortDayName,
    DayOfYear,
    DayOfMonth,
    DayOfWeek,
    Fraction(u32),
    Exact,
    Hour24,
    Hour12,
    IsoDayOfYear,
    IsoDayOfWeek,
    IsoWeek,
    /// Its last digits, all for 4.
    IsoYear(u32),
    JulianDay,
    Minute,
    Month,
    MonthName,
    ShortMonthName,
    Milliseconds,
    Offset,
    Quarter,
    RomanMonth,
    SecondOfDay,
    Second,
    ZoneHours,
    ZoneMinutes,
    Zone,
    Microseconds,
    WeekOfYear,
    WeekOfMonth,
    GroupedYear,
    /// Its last digits, all for 4.
    Year(u32),
}

impl Field {
    /// True for a field that is digits only.
    pub fn is_digits(self) -> bool {
        !matches!(
            self,
            Self::Era { .. }
                | Self::HalfDay { .. }
                | Self::DayName
                | Self::ShortDayName
                | Self::Exact
                | Self::MonthName
                | Self::ShortMonthName
                | Self::Offset
                | Self::RomanMonth
                | Self::ZoneHours
                | Self::ZoneMinutes
                | Self::Zone
        )
    }

    /// Digits that the field has at most where digits follow it.
    pub fn width(self) -> usize {
        match self {
            Self::Year(n) | Self::IsoYear(n) | Self::Fraction(n) => n as usize,
            Self::DayOfYear | Self::IsoDayOfYear | Self::Milliseconds => 3,
            Self::Microseconds => 6,
            Self::SecondOfDay => 5,
            Self::JulianDay => 10,
            Self::DayOfWeek | Self::IsoDayOfWeek | Self::WeekOfMonth | Self::Quarter => 1,
            _ => 2,
        }
    }
}

/// How letters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    Upper,
    Lower,
    Title,
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A character as it is; `true` where it stood in quotes.
    Text(char, bool),
    /// A field.
    Field(FieldPart),
}

/// A field with what stands around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPart {
    pub field: Field,
    /// As it was written.
    pub word: &'static str,
    pub case: Case,
    /// `FM`: without blanks and zeros before or behind.
    pub fill: bool,
    /// `th`: an ordinal number, in this case.
    pub ordinal: Option<Case>,
}

/// Words of patterns in capitals, those before others that they begin with.
const WORDS: &[(&str, Field)] = &[
    ("A.D.", Field::Era { dots: true }),
    ("A.M.", Field::HalfDay { dots: true }),
    ("AD", Field::Era { dots: false }),
    ("AM", Field::HalfDay { dots: false }),
    ("B.C.", Field::Era { dots: true }),
    ("BC", Field::Era { dots: false }),
    ("CC", Field::Century),
    ("DAY", Field::DayName),
    ("DDD", Field::DayOfYear),
    ("DD", Field::DayOfMonth),
    ("DY", Field::ShortDayName),
    ("D", Field::DayOfWeek),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("FX", Field::Exact),
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("HH", Field::Hour12),
    ("IDDD", Field::IsoDayOfYear),
    ("ID", Field::IsoDayOfWeek),
    ("IW", Field::IsoWeek),
    ("IYYY", Field::IsoYear(4)),
    ("IYY", Field::IsoYear(3)),
    ("IY", Field::IsoYear(2)),
    ("I", Field::IsoYear(1)),
    ("J", Field::JulianDay),
    ("MI", Field::Minute),
    ("MM", Field::Month),
    ("MONTH", Field::MonthName),
    ("MON", Field::ShortMonthName),
    ("MS", Field::Milliseconds),
    ("OF", Field::Offset),
    ("P.M.", Field::HalfDay { dots: true }),
    ("PM", Field::HalfDay { dots: false }),
    ("Q", Field::Quarter),
    ("RM", Field::RomanMonth),
    ("SSSSS", Field::SecondOfDay),
    ("SSSS", Field::SecondOfDay),
    ("SS", Field::Second),
    ("TZH", Field::ZoneHours),
    ("TZM", Field::ZoneMinutes),
    ("TZ", Field::Zone),
    ("US", Field::Microseconds),
    ("WW", Field::WeekOfYear),
    ("W", Field::WeekOfMonth),
    ("Y,YYY", Field::GroupedYear),
    ("YYYY", Field::Year(4)),
    ("YYY", Field::Year(3)),
    ("YY", Field::Year(2)),
    ("Y", Field::Year(1)),
];

/// Words that may also begin with one capital.
const TITLES: [(&str, &str, Field); 4] = [
    ("Day", "DAY", Field::DayName),
    ("Dy", "DY", Field::ShortDayName),
    ("Month", "MONTH", Field::MonthName),
    ("Mon", "MON", Field::ShortMonthName),
];

/// The parts of a pattern.
pub fn parts(pattern: &str) -> Vec<Part> {
    let mut found = vec![];
    let mut rest = pattern;
    while !rest.is_empty() {
        let (after, fill) = prefixes(rest);
        if let Some((word, field, case)) = word(after) {
            let (ordinal, next) = ordinal(&after[word.len()..]);
            found.push(Part::Field(FieldPart { field, word, case, fill, ordinal }));
            rest = next;
        } else if let Some(inner) = after.strip_prefix('"') {
            rest = quoted(inner, &mut found);
        } else {
            let after = if after.starts_with("\\\"") { &after[1..] } else { after };
            let mut chars = after.chars();
            found.extend(chars.next().map(|c| Part::Text(c, false)));
            rest = chars.as_str();
        }
    }
    found
}

/// `FM` and `TM` before a field; the second is for other languages, of which there are none.
fn prefixes(text: &str) -> (&str, bool) {
    let one =
        |word: &str| text.strip_prefix(word).or_else(|| text.strip_prefix(word.to_lowercase().as_str()));
    match (one("FM"), one("TM")) {
        (Some(after), _) => (after, true),
        (None, Some(after)) => (after, true),
        (None, None) => (text, false),
    }
}

fn word(text: &str) -> Option<(&'static str, Field, Case)> {
    let begins = |word: &str, lower: bool| {
        let part = text.as_bytes().get(..word.len());
        part.is_some_and(|part| match lower {
            true => part == word.to_lowercase().as_bytes(),
            false => part == word.as_bytes(),
        })
    };
    let of_case = |lower, case| {
        let found = WORDS.iter().find(|(word, _)| begins(word, lower));
        found.map(|(word, field)| (*word, *field, case))
    };
    let title = || {
        let found = TITLES.iter().find(|(title, _, _)| begins(title, false));
        found.map(|(_, word, field)| (*word, *field, Case::Title))
    };
    // `D` begins `Day` too.
    title().or_else(|| of_case(false, Case::Upper)).or_else(|| of_case(true, Case::Lower))
}

fn ordinal(text: &str) -> (Option<Case>, &str) {
    match (text.strip_prefix("TH"), text.strip_prefix("th")) {
        (Some(after), _) => (Some(Case::Upper), after),
        (_, Some(after)) => (Some(Case::Lower), after),
        _ => (None, text.strip_prefix("SP").unwrap_or(text)),
    }
}

/// Adds the text behind a quote up to the next one; gives what follows.
fn quoted<'a>(text: &'a str, found: &mut Vec<Part>) -> &'a str {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return chars.as_str(),
            '\\' => found.extend(chars.next().map(|c| Part::Text(c, true))),
            c => found.push(Part::Text(c, true)),
        }
    }
    ""
}

/// The ending of an ordinal number.
pub fn ending(digits: &str, case: Case) -> &'static str {
    let mut last = digits.bytes().rev();
    let (last, before) = (last.next(), last.next());
    let lower = match (before, last) {
        (Some(b'1'), _) => "th",
        (_, Some(b'1')) => "st",
        (_, Some(b'2')) => "nd",
        (_, Some(b'3')) => "rd",
        _ => "th",
    };
    match (lower, case) {
        (_, Case::Lower | Case::Title) => lower,
        ("st", _) => "ST",
        ("nd", _) => "ND",
        ("rd", _) => "RD",
        _ => "TH",
    }
}
