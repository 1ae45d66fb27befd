//! Flags of regular expressions as PostgreSQL reads them: the last one that tells a mode counts.
//!
//! Source: PostgreSQL 15, `parse_re_flags` in regexp.c.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::ColumnarValue;
use datafusion::scalar::ScalarValue;

use crate::error::{Error, Result, Subject};

/// What flags say of an expression; a point is any character and `^` is the beginning of the text if nothing else is said.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Flags {
    /// All matches are asked for.
    pub all: bool,
    any_case: bool,
    expanded: bool,
    /// `^` and `$` match at lines, too.
    at_lines: bool,
    /// A point is no end of a line.
    within_lines: bool,
}

impl Flags {
    /// Reads the letters.
    pub fn parse(letters: &str) -> Result<Self> {
        let mut flags = Self::default();
        for letter in letters.chars() {
            match letter {
                'g' => flags.all = true,
                'i' => flags.any_case = true,
                'c' => flags.any_case = false,
                'x' => flags.expanded = true,
                't' => flags.expanded = false,
                's' => (flags.at_lines, flags.within_lines) = (false, false),
                'n' | 'm' => (flags.at_lines, flags.within_lines) = (true, true),
                'p' => (flags.at_lines, flags.within_lines) = (false, true),
                'w' => (flags.at_lines, flags.within_lines) = (true, false),
                other => {
                    let message = format!("invalid regular expression option: \"{other}\"");
                    return Err(Error::input(Subject::Value, message)
                        .with_hint("Flags are g, i, c, n, m, s, p, w, x and t."));
                }
            }
        }
        Ok(flags)
    }

    /// The modes that Rust's expressions have between `(?` and `)`.
    pub fn modes(self) -> String {
        let on = [('i', self.any_case), ('x', self.expanded), ('m', self.at_lines)];
        let on = on.into_iter().filter(|(_, is_on)| *is_on).map(|(mode, _)| mode);
        on.chain(if self.within_lines { "-s" } else { "s" }.chars()).collect()
    }
}

/// The pattern whose points are ends of lines, too, as they are without flags.
pub fn at_all_characters(pattern: &str) -> String {
    format!("{}{pattern}", if pattern.contains('.') { "(?s)" } else { "" })
}

/// The texts as others, of the same type.
pub fn translated(
    texts: &ColumnarValue,
    translate: impl Fn(&str) -> DataFusionResult<String>,
) -> DataFusionResult<ColumnarValue> {
    let given = texts.data_type();
    Ok(match texts {
        ColumnarValue::Scalar(value) => match value.try_as_str() {
            Some(Some(text)) => ColumnarValue::Scalar(ScalarValue::from(translate(text)?).cast_to(&given)?),
            _ => texts.clone(),
        },
        ColumnarValue::Array(values) => {
            let plain = cast(values, &DataType::Utf8)?;
            let written = plain.as_string::<i32>().iter().map(|text| text.map(&translate).transpose());
            let written: ArrayRef = Arc::new(written.collect::<DataFusionResult<StringArray>>()?);
            ColumnarValue::Array(cast(&written, &given)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_all_characters() {
        assert_eq!(at_all_characters("a.b"), "(?s)a.b");
        assert_eq!(at_all_characters("^ab"), "^ab");
    }

    #[test]
    fn the_last_flag_that_tells_a_mode_counts() {
        for (letters, expected) in [
            ("", "s"),
            ("s", "s"),
            ("ii", "is"),
            ("icxx", "xs"),
            ("xti", "is"),
            ("n", "m-s"),
            ("nw", "ms"),
            ("wp", "-s"),
            ("ms", "s"),
            ("sg", "s"),
        ] {
            assert_eq!(Flags::parse(letters).unwrap().modes(), expected, "{letters}");
            assert_eq!(Flags::parse(letters).unwrap().all, letters.contains('g'));
        }
        assert!(Flags::parse("u").is_err());
    }
}
