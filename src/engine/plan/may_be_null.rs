//! A repair of subqueries as values, `(SELECT 1 FROM t WHERE …)`, which are NULL where there is no row.
//!
//! DataFusion 55 takes such a value for one that is never NULL where the column of the subquery never is, so that
//! `IS NULL` said false of it. A function around it says that it may be.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use crate::engine::plan::single_rows::is_one_row;
use crate::engine::plan::subqueries::with_subqueries;

/// The plan with such values in that function.
pub fn with_nullable_values(plan: LogicalPlan) -> Result<LogicalPlan> {
    with_subqueries(plan, nullable)
}

fn nullable(expr: Expr) -> Result<Transformed<Expr>> {
    Ok(match &expr {
        Expr::ScalarSubquery(subquery) if may_have_no_row(&subquery.subquery) => {
            Transformed::yes(ScalarUDF::new_from_impl(MayBeNull::default()).call(vec![expr]))
        }
        _ => Transformed::no(expr),
    })
}

/// True for a query that may have no row, whose column is never NULL.
fn may_have_no_row(plan: &LogicalPlan) -> bool {
    let is_never_null = plan.schema().fields().first().is_some_and(|field| !field.is_nullable());
    is_never_null && !is_one_row(plan)
}

/// The function that gives its argument, which may be NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct MayBeNull(Signature);

impl Default for MayBeNull {
    fn default() -> Self {
        Self(Signature::any(1, Volatility::Immutable))
    }
}

impl ScalarUDFImpl for MayBeNull {
    fn name(&self) -> &str {
        "may_be_null"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(args.arg_fields[0].as_ref().clone().with_name(self.name()).with_nullable(true)))
    }

    fn simplify(&self, mut args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        // The column of a join knows it by itself.
        if info.nullable(&args[0])? {
            return Ok(ExprSimplifyResult::Simplified(args.swap_remove(0)));
        }
        Ok(ExprSimplifyResult::Original(args))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(args.args[0].clone())
    }
}
