//! The function behind `count(DISTINCT (a, b))`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, BinaryBuilder};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

/// Bytes that are the same for rows that are.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct RowKey(Signature);

impl Default for RowKey {
    fn default() -> Self {
        Self(Signature::any(1, Volatility::Immutable))
    }
}

impl ScalarUDFImpl for RowKey {
    fn name(&self) -> &str {
        "row_key"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.args[0].to_array(args.number_rows)?;
        let converter = RowConverter::new(vec![SortField::new(rows.data_type().clone())])?;
        let bytes = converter.convert_columns(&[Arc::clone(&rows)])?;
        let mut keys = BinaryBuilder::with_capacity(rows.len(), bytes.size());
        for (place, key) in bytes.iter().enumerate() {
            keys.append_option(rows.is_valid(place).then_some(key));
        }
        Ok(ColumnarValue::Array(Arc::new(keys.finish())))
    }
}
