//! EXCEPT ALL and INTERSECT ALL that count.
//!
//! DataFusion 55 keeps or drops all rows that are alike by whether there is one on the other side. The first of them is
//! to be compared with the first there, the second with the second: they are numbered.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, NullEquality};
use datafusion::error::Result;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{Expr, ExprFunctionExt, Join, LogicalPlan, LogicalPlanBuilder};

use crate::engine::branches::is_set_operation;

/// Numbers of rows that are alike.
const NUMBER: &str = "number among its like";

/// The plan with such sets counted.
pub fn with_counted_sets(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan
        .transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Join(join) => match keys(&join) {
                Some((left, right)) => Ok(Transformed::yes(counted(&join, left, right)?)),
                None => Ok(Transformed::no(LogicalPlan::Join(join))),
            },
            plan => Ok(Transformed::no(plan)),
        })?
        .data)
}

/// The columns of both sides, where the join is a set operation of all rows.
fn keys(join: &Join) -> Option<(Vec<Column>, Vec<Column>)> {
    // Of distinct rows there are no second ones.
    if !is_set_operation(join) || matches!(join.left.as_ref(), LogicalPlan::Distinct(_)) {
        return None;
    }
    let column = |expr: &Expr| expr.try_as_col().cloned();
    let pairs = join.on.iter().map(|(left, right)| Some((column(left)?, column(right)?)));
    let (left, right): (Vec<_>, Vec<_>) = pairs.collect::<Option<Vec<_>>>()?.into_iter().unzip();
    (!left.iter().any(|column| column.name == NUMBER)).then_some((left, right))
}

fn counted(join: &Join, mut left: Vec<Column>, mut right: Vec<Column>) -> Result<LogicalPlan> {
    let columns = join.left.schema().columns();
    let (first, second) = (numbered(&join.left, &left)?, numbered(&join.right, &right)?);
    left.push(Column::from_name(NUMBER));
    right.push(Column::from_name(NUMBER));
    LogicalPlanBuilder::from(first)
        .join_detailed(second, join.join_type, (left, right), None, NullEquality::NullEqualsNull)?
        .project(columns.into_iter().map(Expr::Column))?
        .build()
}

/// The rows, those that are alike numbered.
fn numbered(rows: &Arc<LogicalPlan>, keys: &[Column]) -> Result<LogicalPlan> {
    let keys = keys.iter().cloned().map(Expr::Column).collect();
    let number = row_number().partition_by(keys).build()?;
    let name = number.schema_name().to_string();
    let mut columns: Vec<Expr> = rows.schema().columns().into_iter().map(Expr::Column).collect();
    columns.push(Expr::Column(Column::from_name(name)).alias(NUMBER));
    LogicalPlanBuilder::from(Arc::clone(rows)).window(vec![number])?.project(columns)?.build()
}
