//! Times in settings, written as PostgreSQL does: `500`, `500ms`, `5s`, `2min`, `1h`, `1d`.

use crate::error::{Error, Result, Subject};

/// Units in milliseconds, the largest first.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

/// The milliseconds that a text means, at most PostgreSQL's own limit of about 24 days.
pub fn parse(name: &str, text: &str) -> Result<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = (text[..digits].parse::<u64>().ok(), text[digits..].trim());
    let factor = if unit.is_empty() { Some(1) } else { UNITS.iter().find(|(u, _)| *u == unit).map(|u| u.1) };
    let milliseconds = count.zip(factor).and_then(|(count, factor)| count.checked_mul(factor));
    milliseconds.filter(|n| *n <= i32::MAX as u64).ok_or_else(|| {
        Error::input(Subject::Option, format!("{text} is no time for {name}"))
            .with_hint("write milliseconds or a unit: 500, 500ms, 5s, 2min, 1h, at most 24d; 0 for never")
    })
}

/// The shortest way to write so many milliseconds.
pub fn show(milliseconds: u64) -> String {
    match UNITS.iter().find(|(_, factor)| milliseconds > 0 && milliseconds.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", milliseconds / factor),
        None => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_are_shown_in_the_largest() {
        for (text, milliseconds, shown) in
            [("500", 500, "500ms"), ("2 min", 120_000, "2min"), ("3600s", 3_600_000, "1h"), ("0", 0, "0")]
        {
            assert_eq!(parse("t", text).unwrap(), milliseconds);
            assert_eq!(show(milliseconds), shown);
        }
        assert!(parse("t", "soon").is_err() && parse("t", "25d").is_err() && parse("t", "-1").is_err());
    }
}
