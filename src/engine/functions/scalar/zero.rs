//! What would make a zero below zero, such as `0 * -1.5` and `round(-0.2)`, gives zero: PostgreSQL has such a zero, which is
//! equal to zero, where Arrow compares and sorts it as a smaller value.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::utils::{normalize_float_zero, normalize_float_zero_scalar};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};

use crate::engine::methods::delegate;

/// DataFusion's functions that round small numbers below zero to what they call zero.
const ROUNDING: [&str; 4] = ["ceil", "floor", "round", "trunc"];

/// Registers these functions anew, with one zero.
pub fn round_to_one_zero(state: &mut SessionState) -> Result<()> {
    for name in ROUNDING {
        let function = state.udf(name)?;
        state.register_udf(Arc::new(ScalarUDF::new_from_impl(OneZero { function })))?;
    }
    Ok(())
}

/// Floats, of which none is a zero below zero; other values as they are.
pub fn with_one_zero(value: ColumnarValue) -> ColumnarValue {
    match value {
        ColumnarValue::Array(array) => ColumnarValue::Array(normalize_float_zero(&array)),
        ColumnarValue::Scalar(value) => ColumnarValue::Scalar(normalize_float_zero_scalar(value)),
    }
}

/// A function whose results have one zero.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OneZero {
    function: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for OneZero {
    delegate! {
        to function:
        name() -> &str;
        aliases() -> &[String];
        signature() -> &Signature;
        return_type(types: &[DataType]) -> Result<DataType>;
        return_field_from_args(args: ReturnFieldArgs<'_>) -> Result<FieldRef>;
        coerce_types(types: &[DataType]) -> Result<Vec<DataType>>;
        simplify(args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult>;
        output_ordering(inputs: &[ExprProperties]) -> Result<SortProperties>;
        is_strict() -> bool;
        evaluate_bounds(inputs: &[&Interval]) -> Result<Interval>;
        preimage(args: &[Expr], value: &Expr, info: &SimplifyContext) -> Result<PreimageResult>;
        documentation() -> Option<&Documentation>;
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(with_one_zero(self.function.invoke_with_args(args)?))
    }
}
