//! `to_hex(n)` that gives an integer of four bytes eight digits at most.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, UInt32Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int32Type, UInt32Type};
use datafusion::error::Result;
use datafusion::functions::string::to_hex::ToHexFunc;
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use crate::engine::functions::scalar::answer::{answer, is_one, rows};

/// DataFusion's function, which widens what is negative to eight bytes.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct ToHex(ToHexFunc);

impl ScalarUDFImpl for ToHex {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.0.return_type(arg_types)
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

    fn documentation(&self) -> Option<&Documentation> {
        self.0.documentation()
    }
}
