//! `array_has(array, value)`, which `value = ANY (array)` is: NULL where an element is, and no other one is equal.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, BooleanArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::functions_nested::array_has::ArrayHas as Has;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature,
};
use datafusion::scalar::ScalarValue;

use crate::engine::methods::delegate;

/// DataFusion's function, which takes NULL among the elements for a value.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct ArrayHas(Has);

impl ScalarUDFImpl for ArrayHas {
    delegate! {
        to 0:
        name() -> &str;
        aliases() -> &[String];
        signature() -> &Signature;
        return_type(arg_types: &[DataType]) -> Result<DataType>;
        simplify(args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult>;
        documentation() -> Option<&Documentation>;
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let lists = args.args[0].to_array(1)?;
        let found = self.0.invoke_with_args(args)?;
        let Some(lists) = lists.as_list_opt::<i32>() else { return Ok(found) };
        if lists.values().null_count() == 0 {
            return Ok(found);
        }
        let has_null = |row: usize| {
            let row = if lists.len() == 1 { 0 } else { row };
            lists.is_valid(row) && lists.value(row).null_count() > 0
        };
        let told = |row: usize, found: Option<bool>| found.filter(|found| *found || !has_null(row));
        Ok(match found {
            ColumnarValue::Scalar(ScalarValue::Boolean(found)) => {
                ColumnarValue::Scalar(ScalarValue::Boolean(told(0, found)))
            }
            ColumnarValue::Array(found) => {
                let rows = found.as_boolean().iter().enumerate();
                let told: BooleanArray = rows.map(|(row, found)| told(row, found)).collect();
                ColumnarValue::Array(Arc::new(told))
            }
            found => found,
        })
    }
}
