//! `pg_typeof(x)`: the name of a value's type.

use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use crate::postgres::{format_type, of_field};

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct PgTypeof(Signature);

impl Default for PgTypeof {
    fn default() -> Self {
        Self(Signature::any(1, Volatility::Stable))
    }
}

impl ScalarUDFImpl for PgTypeof {
    fn name(&self) -> &str {
        "pg_typeof"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let field = &args.arg_fields[0];
        let name = match field.data_type() {
            DataType::Null => "unknown".to_owned(),
            _ => format_type(of_field(field).oid, None),
        };
        Ok(ColumnarValue::Scalar(ScalarValue::from(name)))
    }
}
