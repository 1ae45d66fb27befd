//! Texts of dates and times that arrow does not read, in the form that it reads.

/// `2026-1-5 9:05+2` as `2026-01-05 09:05:00+02:00`; `None` for a text that needs no change, or that is no time.
///
/// Source: PostgreSQL 15 documentation, "Date/Time Input", ISO 8601 dates with times and offsets.
pub fn plain_time(text: &str) -> Option<String> {
    let trimmed = text.trim();
    if trimmed.eq_ignore_ascii_case("epoch") {
        return Some("1970-01-01 00:00:00+00:00".to_owned());
    }
    let (date, rest) = match trimmed.find([' ', 'T', 't']) {
        Some(at) => (&trimmed[..at], trimmed[at + 1..].trim_start()),
        None => (trimmed, ""),
    };
    let date = plain_date(date)?;
    if rest.is_empty() {
        return Some(date).filter(|plain| plain != text);
    }
    let clock_end = rest.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.').unwrap_or(rest.len());
    let clock = plain_clock(&rest[..clock_end])?;
    let zone = plain_zone(rest[clock_end..].trim())?;
    Some(format!("{date} {clock}{zone}")).filter(|plain| plain != text)
}

/// Days since 1970 of a date, also one before Christ or after the year 9999.
pub fn parse_date(text: &str) -> Option<i32> {
    let text = text.trim();
    let (date, before) = match text.strip_suffix("BC").or_else(|| text.strip_suffix("bc")) {
        Some(date) => (date.trim_end(), true),
        None => (text, false),
    };
    let plain = plain_date(date)?;
    let mut parts = plain.split('-');
    let year: i32 = parts.next()?.parse().ok()?;
    let (month, day) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let year = if before { 1 - year } else { year };
    let date = chrono::NaiveDate::from_ymd_opt(year, month, day)?;
    Some(chrono::Datelike::num_days_from_ce(&date) - 719_163)
}

fn digits(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// `2026-1-5`, `2026/01/05` or `20260105`.
fn plain_date(text: &str) -> Option<String> {
    if text.len() == 8 && digits(text, 8) {
        return Some(format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..]));
    }
    let parts: Vec<&str> = text.split(['-', '/']).collect();
    match parts.as_slice() {
        [year, month, day] if digits(year, 6) && year.len() > 3 && digits(month, 2) && digits(day, 2) => {
            Some(format!("{year}-{month:0>2}-{day:0>2}"))
        }
        _ => None,
    }
}

/// `9:05`, `09:05:03` or `09:05:03.25`.
fn plain_clock(text: &str) -> Option<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<&str> = whole.split(':').collect();
    let (hour, minute, second) = match parts.as_slice() {
        [hour, minute] if fraction.is_empty() => (hour, minute, "00"),
        [hour, minute, second] => (hour, minute, *second),
        _ => return None,
    };
    if !digits(hour, 2) || !digits(minute, 2) || !digits(second, 2) {
        return None;
    }
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{hour:0>2}:{minute:0>2}:{second:0>2}{point}{fraction}"))
}

/// `+2`, `+0200`, `-03:30`, `Z`, or the name of a zone behind a blank.
fn plain_zone(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some(String::new());
    }
    if ["z", "utc", "gmt"].contains(&text.to_lowercase().as_str()) {
        return Some("+00:00".to_owned());
    }
    let Some(offset) = text.strip_prefix(['+', '-']) else { return Some(format!(" {text}")) };
    let sign = &text[..1];
    let (hours, minutes) = match offset.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None if offset.len() == 4 => offset.split_at(2),
        None => (offset, "00"),
    };
    (digits(hours, 2) && digits(minutes, 2)).then(|| format!("{sign}{hours:0>2}:{minutes:0>2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_full() {
        for (text, expected) in [
            ("2026-1-5", Some("2026-01-05")),
            ("20260105", Some("2026-01-05")),
            ("2026/01/05 9:05", Some("2026-01-05 09:05:00")),
            ("2026-01-01 00:00+00", Some("2026-01-01 00:00:00+00:00")),
            ("2026-01-01T00:00:00.5-0330", Some("2026-01-01 00:00:00.5-03:30")),
            ("2026-01-01 10:00 Europe/Berlin", Some("2026-01-01 10:00:00 Europe/Berlin")),
            ("2026-01-01 10:00:00Z", Some("2026-01-01 10:00:00+00:00")),
            ("epoch", Some("1970-01-01 00:00:00+00:00")),
            ("2026-01-01", None),
            ("2026-01-01 10:00:00", None),
            ("01/05/2026", None),
            ("noon", None),
        ] {
            assert_eq!(plain_time(text).as_deref(), expected, "{text}");
        }
    }
}
