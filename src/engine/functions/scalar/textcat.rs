//! `textcat(a, b, …)`: the function behind `a || b || …` of texts, and of binary strings.

use datafusion::arrow::compute::kernels::concat_elements::concat_elements_dyn;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::error::Error;

/// Texts of one type behind each other, NULL where one of them is.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Textcat(Signature);

impl Default for Textcat {
    fn default() -> Self {
        Self(Signature::user_defined(Volatility::Immutable))
    }
}

fn no_texts() -> Error {
    Error::internal("textcat takes texts")
}

impl ScalarUDFImpl for Textcat {
    fn name(&self) -> &str {
        "textcat"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    /// The operator has given them one type.
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.iter().map(|_| types[0].clone()).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().ok_or_else(no_texts)?.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let first = args.arg_fields.first().ok_or_else(no_texts)?;
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Field::new(self.name(), first.data_type().clone(), nullable).into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = rows(&args);
        let (first, others) = args.args.split_first().ok_or_else(no_texts)?;
        let mut joined = first.to_array(rows)?;
        for text in others {
            joined = concat_elements_dyn(&joined, &text.to_array(rows)?)?;
        }
        answer(joined, is_one(&args))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{AsArray, StringViewArray};
    use datafusion::config::ConfigOptions;
    use datafusion::scalar::ScalarValue;

    use super::*;

    #[test]
    fn what_is_joined_to_null_is_null() {
        let texts = StringViewArray::from(vec![Some("a"), None, Some("a text that is long")]);
        let comma = ColumnarValue::Scalar(ScalarValue::Utf8View(Some(", ".to_owned())));
        let texts = ColumnarValue::Array(Arc::new(texts));
        let field = Arc::new(Field::new("text", DataType::Utf8View, true));
        let args = ScalarFunctionArgs {
            args: vec![comma.clone(), texts, comma],
            arg_fields: vec![Arc::clone(&field); 3],
            number_rows: 3,
            return_field: field,
            config_options: Arc::new(ConfigOptions::default()),
        };
        let joined = Textcat::default().invoke_with_args(args).unwrap().into_array(3).unwrap();
        let joined: Vec<_> = joined.as_string_view().iter().collect();
        assert_eq!(joined, [Some(", a, "), None, Some(", a text that is long, ")]);
    }
}
