//! `similar_to_escape(pattern [, escape])`: the regular expression that a pattern of SIMILAR TO is.
//!
//! Source: PostgreSQL 15, `similar_escape_internal` in regexp.c.

use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::error::{Error, Subject};

/// Patterns as regular expressions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SimilarToEscape(Signature);

impl Default for SimilarToEscape {
    fn default() -> Self {
        let with_or_without = vec![TypeSignature::String(1), TypeSignature::String(2)];
        Self(Signature::one_of(with_or_without, Volatility::Immutable))
    }
}

impl ScalarUDFImpl for SimilarToEscape {
    fn name(&self) -> &str {
        "similar_to_escape"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = rows(&args);
        let texts = |value: &ColumnarValue| -> Result<ArrayRef> {
            Ok(cast(&value.to_array(rows)?, &DataType::Utf8)?)
        };
        let columns = args.args.iter().map(texts).collect::<Result<Vec<_>>>()?;
        let text = |column: usize, row: usize| {
            let texts = columns[column].as_string::<i32>();
            texts.is_valid(row).then(|| texts.value(row))
        };
        let expressions = (0..rows)
            .map(|row| {
                let escape = if columns.len() > 1 { text(1, row) } else { Some("\\") };
                let (Some(pattern), Some(escape)) = (text(0, row), escape) else { return Ok(None) };
                Ok(Some(expression(pattern, one_character(escape)?)))
            })
            .collect::<Result<StringArray>>()?;
        answer(Arc::new(expressions), is_one(&args))
    }
}

/// The character that escapes others; none where it is empty.
fn one_character(escape: &str) -> Result<Option<char>> {
    let mut characters = escape.chars();
    match (characters.next(), characters.next()) {
        (character, None) => Ok(character),
        _ => {
            let error = Error::input(Subject::Value, "invalid escape string");
            Err(error.with_hint("the escape string is empty or one character").into())
        }
    }
}

/// The expression that matches the whole of a text, lines and all.
fn expression(pattern: &str, escape: Option<char>) -> String {
    let (mut written, mut characters) = ("(?s)^(?:".to_owned(), pattern.chars().peekable());
    while let Some(character) = characters.next() {
        match character {
            c if Some(c) == escape => written.extend(characters.next().into_iter().flat_map(escaped)),
            '[' => write_class(&mut characters, escape, &mut written),
            '%' => written.push_str(".*"),
            '_' => written.push('.'),
            '(' => written.push_str("(?:"),
            '\\' | '.' | '^' | '$' => written.extend(escaped(character)),
            c => written.push(c),
        }
    }
    written + ")$"
}

/// A class of characters, whose opening bracket was read; brackets and operators of Rust's in it stand for themselves.
fn write_class(characters: &mut Peekable<Chars<'_>>, escape: Option<char>, written: &mut String) {
    written.push('[');
    written.extend(characters.next_if_eq(&'^'));
    written.extend(characters.next_if_eq(&']').into_iter().flat_map(escaped));
    while let Some(character) = characters.next() {
        match character {
            ']' => return written.push(']'),
            c if Some(c) == escape => written.extend(characters.next().into_iter().flat_map(escaped)),
            '[' if characters.peek() == Some(&':') => {
                written.push('[');
                while let Some(named) = characters.next_if(|c| *c != ']') {
                    written.push(named);
                }
                written.extend(characters.next());
            }
            '[' | '\\' | '&' | '~' => written.extend(escaped(character)),
            c => written.push(c),
        }
    }
}

/// A character behind a backslash, where it means something else without it, or is the letter of a class such as `\d`.
fn escaped(character: char) -> impl Iterator<Item = char> {
    let special = character.is_ascii_alphanumeric()
        || character.is_ascii_punctuation() && !matches!(character, '<' | '>');
    special.then_some('\\').into_iter().chain([character])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_regular_expressions() {
        for (pattern, expected) in [
            ("a%", "a.*"),
            ("_b.c_", ".b\\.c."),
            ("%(a|S)_", ".*(?:a|S)."),
            ("a{1,3}b*c+d?", "a{1,3}b*c+d?"),
            ("^a$", "\\^a\\$"),
            ("10\\%\\_\\d", "10\\%\\_\\d"),
            ("[a-c_%]", "[a-c_%]"),
            ("[^]a]", "[^\\]a]"),
            ("[[:digit:]_[&]", "[[:digit:]_\\[\\&]"),
        ] {
            assert_eq!(expression(pattern, Some('\\')), format!("(?s)^(?:{expected})$"), "{pattern}");
        }
        assert_eq!(expression("a#%\\", Some('#')), "(?s)^(?:a\\%\\\\)$");
        assert_eq!(expression("a\\", None), "(?s)^(?:a\\\\)$");
        assert!(one_character("ab").is_err());
    }
}
