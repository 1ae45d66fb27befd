//! The function that casts of texts to bytes and arrays become: `\\x00ff`, `{1,2}`.

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::error::{Error, Subject};
use crate::postgres::parse;

/// Values of this type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct FromText {
    signature: Signature,
    target: DataType,
}

impl FromText {
    /// As values of this type.
    pub fn to(target: DataType) -> Self {
        Self { signature: Signature::string(1, Volatility::Immutable), target }
    }
}

/// True for types whose text arrow does not read.
pub fn is_read_otherwise(data_type: &DataType) -> bool {
    data_type.is_binary() || matches!(data_type, DataType::List(_) | DataType::LargeList(_))
}

impl ScalarUDFImpl for FromText {
    fn name(&self) -> &str {
        "from_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.target.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let texts = args.args[0].to_array(rows(&args))?;
        let texts = cast(&texts, &DataType::Utf8)?;
        let values: ArrayRef = parse(texts.as_string::<i32>(), &self.target)
            .map_err(|e| Error::input(Subject::Value, e.message()))?;
        answer(values, is_one(&args))
    }
}
