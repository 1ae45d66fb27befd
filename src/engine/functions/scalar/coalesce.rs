//! `coalesce(…)` that takes a text such as `'{}'` beside arrays.

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::functions::core::coalesce::CoalesceFunc;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
};

use crate::engine::methods::delegate;

/// DataFusion's function, but texts beside arrays stay as they are until the plan's rewrite reads them as arrays.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Coalesce(CoalesceFunc);

impl ScalarUDFImpl for Coalesce {
    delegate! {
        to 0:
        name() -> &str;
        signature() -> &Signature;
        return_type(arg_types: &[DataType]) -> Result<DataType>;
        simplify(args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult>;
        invoke_with_args(args: ScalarFunctionArgs) -> Result<ColumnarValue>;
        short_circuits() -> bool;
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let list = args.arg_fields.iter().find(|field| matches!(field.data_type(), DataType::List(_)));
        let Some(list) = list else { return self.0.return_field_from_args(args) };
        let nullable = args.arg_fields.iter().all(|field| field.is_nullable());
        Ok(list.as_ref().clone().with_name(self.name()).with_nullable(nullable).into())
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let has_list = arg_types.iter().any(|t| matches!(t, DataType::List(_)));
        match has_list && arg_types.iter().any(DataType::is_string) {
            true => Ok(arg_types.to_vec()),
            false => self.0.coerce_types(arg_types),
        }
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.0.conditional_arguments(args)
    }
}
