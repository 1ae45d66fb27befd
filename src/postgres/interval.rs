//! The text form of intervals, read.

/// Microseconds of an hour, a minute and a second.
const HOUR: f64 = 3_600e6;
const MINUTE: f64 = 60e6;
const SECOND: f64 = 1e6;

/// Months, days and microseconds that are being added up.
#[derive(Debug, Default)]
struct Sum {
    months: f64,
    days: f64,
    micros: f64,
}

/// Months, days and microseconds of an interval: `1 year 2 mons -3 days 04:05:06.5`, `1.5 hours ago`, `1-2`, `P1DT2H`.
///
/// Source: PostgreSQL 15 documentation, "Interval Input".
pub fn parse_interval(text: &str) -> Option<(i32, i32, i64)> {
    let text = text.trim().to_lowercase();
    let mut sum = Sum::default();
    match text.strip_prefix('p') {
        Some(rest) => designated(rest, &mut sum)?,
        None => worded(&text, &mut sum)?,
    }
    let within = |value: f64, limit: f64| (value.abs() <= limit).then_some(value);
    let months = within(sum.months, f64::from(i32::MAX))? as i32;
    let days = within(sum.days, f64::from(i32::MAX))? as i32;
    Some((months, days, within(sum.micros.round(), i64::MAX as f64 / 1_000.0)? as i64))
}

impl Sum {
    /// Adds so many of a unit; parts of months and days go on as days and microseconds.
    fn add(&mut self, count: f64, unit: &str) -> Option<()> {
        let unit = if unit.len() > 2 { unit.trim_end_matches('s') } else { unit };
        match unit {
            "millennium" | "millennia" | "mil" => self.add_months((count * 12_000.0).round()),
            "century" | "centurie" | "c" | "cent" => self.add_months((count * 1_200.0).round()),
            "decade" | "dec" => self.add_months((count * 120.0).round()),
            "year" | "yr" | "y" => self.add_months((count * 12.0).round()),
            "month" | "mon" => self.add_months(count),
            "week" | "w" => self.add_days(count * 7.0),
            "day" | "d" => self.add_days(count),
            "hour" | "hr" | "h" => self.micros += count * HOUR,
            "minute" | "min" | "m" => self.micros += count * MINUTE,
            "second" | "sec" | "s" => self.micros += count * SECOND,
            "millisecond" | "msec" | "msecond" | "ms" => self.micros += count * 1e3,
            "microsecond" | "usec" | "usecond" | "us" => self.micros += count,
            _ => return None,
        }
        Some(())
    }

    fn add_months(&mut self, count: f64) {
        self.months += count.trunc();
        self.add_days(count.fract() * 30.0);
    }

    fn add_days(&mut self, count: f64) {
        self.days += count.trunc();
        self.micros += count.fract() * 24.0 * HOUR;
    }
}

/// `1 year 2 mons 04:05:06`, each part with its own sign, `ago` turns all around.
fn worded(text: &str, sum: &mut Sum) -> Option<()> {
    let (text, ago) = text.strip_suffix("ago").map_or((text, false), |rest| (rest, true));
    let words = with_signs(text);
    let mut words = words.iter().map(String::as_str).peekable();
    words.peek()?;
    while let Some(word) = words.next() {
        if word.contains(':') {
            sum.micros += clock(word)?;
        } else if let Some((years, months)) = year_and_month(word) {
            sum.months += years * 12.0 + months;
        } else {
            let end = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
            let count = number(&word[..end])?;
            match (&word[end..], words.peek()) {
                ("", Some(unit)) if unit.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                    sum.add(count, unit)?;
                    words.next();
                }
                // `1 02:03` is a day and a time; a number alone is seconds.
                ("", Some(next)) if next.contains(':') => sum.add_days(count),
                ("", _) => sum.micros += count * SECOND,
                (unit, _) => sum.add(count, unit)?,
            }
        }
    }
    if ago {
        *sum = Sum { months: -sum.months, days: -sum.days, micros: -sum.micros };
    }
    Some(())
}

/// The words, of which signs that stand apart begin the next: `1 month - 1 day`.
fn with_signs(text: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![];
    for word in text.split_whitespace().filter(|word| *word != "@") {
        match words.last_mut() {
            Some(sign) if matches!(sign.as_str(), "+" | "-") => sign.push_str(word),
            _ => words.push(word.to_owned()),
        }
    }
    words
}

fn number(text: &str) -> Option<f64> {
    let digits = text.trim_start_matches(['+', '-']);
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') && digits.len() + 1 >= text.len();
    text.parse().ok().filter(|_| plain)
}

/// Microseconds of `[-]hours:minutes[:seconds]`.
fn clock(text: &str) -> Option<f64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let parts: Vec<f64> = text.split(':').map(number).collect::<Option<_>>()?;
    let micros = match parts.as_slice() {
        [minutes, seconds] if seconds.fract() != 0.0 => minutes * MINUTE + seconds * SECOND,
        [hours, minutes] if *minutes < 60.0 => hours * HOUR + minutes * MINUTE,
        [hours, minutes, seconds] if *minutes < 60.0 && *seconds <= 60.0 => {
            hours * HOUR + minutes * MINUTE + seconds * SECOND
        }
        _ => return None,
    };
    Some(sign * micros)
}

/// `1-2`: years and months.
fn year_and_month(text: &str) -> Option<(f64, f64)> {
    let (sign, text) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    let (years, months) = text.split_once('-')?;
    let months = number(months).filter(|months| *months < 12.0)?;
    Some((sign * number(years)?, sign * months))
}

/// ISO 8601 behind its `P`: `1y2m3dt4h5m6s`.
fn designated(text: &str, sum: &mut Sum) -> Option<()> {
    let (date, time) = text.split_once('t').unwrap_or((text, ""));
    if date.is_empty() && time.is_empty() {
        return None;
    }
    for (part, is_time) in [(date, false), (time, true)] {
        let mut rest = part;
        while !rest.is_empty() {
            let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
            let unit = match (&rest[end..=end], is_time) {
                ("y", false) => "year",
                ("m", false) => "month",
                ("w", false) => "week",
                ("d", false) => "day",
                ("h", true) => "hour",
                ("m", true) => "minute",
                ("s", true) => "second",
                _ => return None,
            };
            sum.add(number(&rest[..end])?, unit)?;
            rest = &rest[end + 1..];
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every value is what PostgreSQL 15 makes of the text.
    #[test]
    fn intervals_are_read_as_postgresql_reads_them() {
        for (text, expected) in [
            ("1 year 2 mons 3 days 04:05:06.789", Some((14, 3, 14_706_789_000))),
            ("-3 days -01:02:03", Some((0, -3, -3_723_000_000))),
            ("-1 years -2 mons +3 days -00:00:01", Some((-14, 3, -1_000_000))),
            ("1 day ago", Some((0, -1, 0))),
            ("@ 1 hour 30 minutes", Some((0, 0, 5_400_000_000))),
            ("1 month - 1 day", Some((1, -1, 0))),
            ("- 2 days + 03:00", Some((0, -2, 10_800_000_000))),
            ("1.5 months", Some((1, 15, 0))),
            ("1.5 days", Some((0, 1, 43_200_000_000))),
            ("2 weeks", Some((0, 14, 0))),
            ("1-2", Some((14, 0, 0))),
            ("1 02:03", Some((0, 1, 7_380_000_000))),
            ("5", Some((0, 0, 5_000_000))),
            ("30d", Some((0, 30, 0))),
            ("P1Y2M3DT4H5M6S", Some((14, 3, 14_706_000_000))),
            ("PT36H", Some((0, 0, 129_600_000_000))),
            ("250 ms", Some((0, 0, 250_000))),
            ("25:00:00", Some((0, 0, 90_000_000_000))),
            ("1 apple", None),
            ("1 day -", None),
            ("", None),
            ("P", None),
        ] {
            assert_eq!(parse_interval(text), expected, "{text}");
        }
    }
}
