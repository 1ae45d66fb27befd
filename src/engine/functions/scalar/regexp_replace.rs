//! `regexp_replace(…)` whose replacement is read as PostgreSQL reads it: `\&` and `\1` to `\9`, and `$` is a plain character.
//!
//! Source: PostgreSQL 15, `appendStringInfoRegexpSubstr` in varlena.c.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::functions::regex::regexpreplace::RegexpReplaceFunc;
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature};
use datafusion::scalar::ScalarValue;

use crate::engine::methods::delegate;

/// DataFusion's function, with PostgreSQL's replacements.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct RegexpReplace(RegexpReplaceFunc);

impl ScalarUDFImpl for RegexpReplace {
    delegate! {
        to 0:
        name() -> &str;
        signature() -> &Signature;
        return_type(arg_types: &[DataType]) -> Result<DataType>;
        documentation() -> Option<&Documentation>;
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(replacement) = args.args.get_mut(2) {
            *replacement = translated(replacement)?;
        }
        self.0.invoke_with_args(args)
    }
}

/// Replacements with Rust's references, in texts of the same type.
fn translated(replacement: &ColumnarValue) -> Result<ColumnarValue> {
    let given = replacement.data_type();
    Ok(match replacement {
        ColumnarValue::Scalar(value) => match value.try_as_str() {
            Some(Some(text)) => {
                ColumnarValue::Scalar(ScalarValue::from(with_references(text)).cast_to(&given)?)
            }
            _ => replacement.clone(),
        },
        ColumnarValue::Array(values) => {
            let texts = cast(values, &DataType::Utf8)?;
            let texts: StringArray =
                texts.as_string::<i32>().iter().map(|text| text.map(with_references)).collect();
            let texts: ArrayRef = Arc::new(texts);
            ColumnarValue::Array(cast(&texts, &given)?)
        }
    })
}

/// The replacement with `${1}` for `\1`, `${0}` for `\&`, `$$` for `$`, and one backslash for two.
fn with_references(replacement: &str) -> String {
    let (mut written, mut characters) = (String::new(), replacement.chars().peekable());
    while let Some(character) = characters.next() {
        match character {
            '$' => written.push_str("$$"),
            '\\' => {
                if let Some(group) = characters.next_if(|c| ('1'..='9').contains(c)) {
                    written.push_str("${");
                    written.push(group);
                    written.push('}');
                } else if characters.next_if_eq(&'&').is_some() {
                    written.push_str("${0}");
                } else {
                    characters.next_if_eq(&'\\');
                    // The group without a name, which is empty: DataFusion takes a backslash and a number for a group.
                    written.push_str("\\${}");
                }
            }
            c => written.push(c),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_have_references_of_rust() {
        for (replacement, expected) in [
            ("<\\&>", "<${0}>"),
            ("\\12x", "${1}2x"),
            ("a$0${b}", "a$$0$${b}"),
            ("\\\\1", "\\${}1"),
            ("\\0\\", "\\${}0\\${}"),
        ] {
            assert_eq!(with_references(replacement), expected, "{replacement}");
        }
    }
}
