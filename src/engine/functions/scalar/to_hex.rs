//! `to_hex(n)` that gives an integer of four bytes eight digits at most.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, UInt32Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int32Type, UInt32Type};
use datafusion::error::Result;
use datafusion::functions::string::to_hex::ToHexFunc;
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};
use crate::engine::methods::delegate;

/// DataFusion's function, which widens what is negative to eight bytes.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct ToHex(ToHexFunc);

impl ScalarUDFImpl for ToHex {
    delegate! {
        to 0:
        name() -> &str;
        signature() -> &Signature;
        return_type(arg_types: &[DataType]) -> Result<DataType>;
        documentation() -> Option<&Documentation>;
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if matches!(args.args[0].data_type(), DataType::Int8 | DataType::Int16 | DataType::Int32) {
            let numbers = cast(&args.args[0].to_array(rows(&args))?, &DataType::Int32)?;
            let bits: UInt32Array =
                numbers.as_primitive::<Int32Type>().unary::<_, UInt32Type>(i32::cast_unsigned);
            args.args[0] = answer(Arc::new(bits), is_one(&args))?;
        }
        self.0.invoke_with_args(args)
    }
}
