//! PostgreSQL's patterns of dates (`YYYY-MM-DD`) in the notation of DataFusion's functions (`%Y-%m-%d`).

use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::scalar::ScalarValue;

use crate::error::{Error, Subject};

/// Functions whose arguments after the first are patterns.
const FUNCTIONS: [&str; 7] = [
    "to_char",
    "to_date",
    "to_timestamp",
    "to_timestamp_seconds",
    "to_timestamp_millis",
    "to_timestamp_micros",
    "to_timestamp_nanos",
];

/// Patterns in any case, those before others that they begin with.
const NUMBERS: [(&str, &str); 19] = [
    ("IYYY", "%G"),
    ("YYYY", "%Y"),
    ("YY", "%y"),
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("HH", "%I"),
    ("MI", "%M"),
    ("MM", "%m"),
    ("MS", "%3f"),
    ("DDD", "%j"),
    ("DD", "%d"),
    ("IW", "%V"),
    ("ID", "%u"),
    ("SS", "%S"),
    ("US", "%6f"),
    ("AM", "%p"),
    ("PM", "%p"),
    ("Q", "%q"),
    ("TZ", "%Z"),
];

/// Patterns whose case is the case of what they give; the prefixes leave blanks out, which we never add.
const NAMES: [(&str, &str); 6] =
    [("FM", ""), ("TM", ""), ("Month", "%B"), ("Mon", "%b"), ("Day", "%A"), ("Dy", "%a")];

/// Translates literal patterns of a call in place; true when something was changed.
pub fn translate_call(call: &mut ScalarFunction) -> Result<bool> {
    if !FUNCTIONS.contains(&call.func.name()) {
        return Ok(false);
    }
    let mut changed = false;
    for argument in call.args.iter_mut().skip(1) {
        let Expr::Literal(value, _) = argument else { continue };
        let Some(Some(pattern)) = value.try_as_str() else { continue };
        if !pattern.contains('%') {
            *value = ScalarValue::from(translate(pattern)?);
            changed = true;
        }
    }
    Ok(changed)
}

fn translate(pattern: &str) -> Result<String> {
    let mut translated = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (text, after) = quoted.split_once('"').unwrap_or((quoted, ""));
            translated.push_str(text);
            rest = after;
        } else if let Some((length, to)) = known(rest) {
            translated.push_str(to);
            rest = &rest[length..];
        } else if first.is_alphabetic() {
            return Err(unknown(pattern, rest).into());
        } else {
            translated.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(translated)
}

/// The pattern that a text begins with: its length, and what it is called here.
fn known(text: &str) -> Option<(usize, &'static str)> {
    let name = NAMES.iter().find(|(name, _)| text.starts_with(name));
    let number = || {
        let begins = |name: &str| text.get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name));
        NUMBERS.iter().find(|(name, _)| begins(name))
    };
    name.or_else(number).map(|(name, to)| (name.len(), *to))
}

fn unknown(pattern: &str, rest: &str) -> Error {
    let word: String = rest.chars().take_while(|c| c.is_alphabetic()).collect();
    Error::input(Subject::Value, format!("the pattern '{pattern}' has {word}, which is not supported"))
        .with_hint("write it as '%Y-%m-%d %H:%M:%S', or with YYYY, MM, DD, Mon, Month, Dy, Day, IYYY, IW, Q, HH24, MI, SS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_postgresql_are_translated_and_unknown_ones_refused() {
        for (pattern, expected) in [
            ("YYYY-MM-DD", "%Y-%m-%d"),
            ("dd/mm/yy hh24:mi:ss", "%d/%m/%y %H:%M:%S"),
            ("IYYY\"-W\"IW", "%G-W%V"),
            ("FMMonth DD", "%B %d"),
            ("Dy, DDD Q", "%a, %j %q"),
            ("HH24:MI TZ", "%H:%M %Z"),
        ] {
            assert_eq!(translate(pattern).unwrap(), expected);
        }
        assert!(Error::from(translate("YYYY-WW").unwrap_err()).message().contains("has WW"));
    }
}
