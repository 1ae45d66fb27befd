//! `regexp_replace(…)` whose replacement is read as PostgreSQL reads it: `\&` and `\1` to `\9`, and `$` is a plain character.
//!
//! Source: PostgreSQL 15, `appendStringInfoRegexpSubstr` in varlena.c.

use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::functions::regex::regexpreplace::RegexpReplaceFunc;
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature};
use datafusion::scalar::ScalarValue;

use crate::engine::functions::scalar::regexp_flags::{Flags, translated};
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
        args.args[2] = translated(&args.args[2], |text| Ok(with_references(text)))?;
        if args.args.len() > 3 {
            args.args[3] = translated(&args.args[3], modes)?;
        } else if has_lines(&args.args[0])? {
            // Elsewhere a point is any character as it is, and DataFusion is faster without flags.
            let modes = ScalarValue::from(Flags::default().modes()).cast_to(&args.args[1].data_type())?;
            args.args.push(ColumnarValue::Scalar(modes));
        }
        self.0.invoke_with_args(args)
    }
}

/// PostgreSQL's flags as those that DataFusion puts before the expression.
fn modes(letters: &str) -> Result<String> {
    let flags = Flags::parse(letters)?;
    Ok(format!("{}{}", if flags.all { "g" } else { "" }, flags.modes()))
}

/// True where a text has more than one line.
fn has_lines(texts: &ColumnarValue) -> Result<bool> {
    let texts = cast(&texts.to_array(1)?, &DataType::Utf8View)?;
    Ok(texts.as_string_view().iter().flatten().any(|text| text.contains('\n')))
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
