//! Joins that stop when their statement is cancelled.
//!
//! A join over a few rows can work for hours without returning to the runtime, so that aborting its task has no
//! effect (DataFusion issue 19358). Every join gives way after each batch of its output, and looks at the
//! statement's control whenever its condition is evaluated.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, PiecewiseMergeJoinExec,
    SortMergeJoinExec, SymmetricHashJoinExec,
};

use crate::ml::Control;

/// The plan with joins that stop once `control` says so.
pub fn cancellable(plan: Arc<dyn ExecutionPlan>, control: &Arc<Control>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        Ok(match checked(&node, control)? {
            Some(join) => Transformed::yes(Arc::new(CooperativeExec::new(join)) as _),
            None => Transformed::no(node),
        })
    })
    .data()
}

/// A join with a condition that checks; `None` for other operators.
fn checked(node: &Arc<dyn ExecutionPlan>, control: &Arc<Control>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let check = |filter: &JoinFilter| {
        let expression = Arc::clone(filter.expression());
        let expression = Arc::new(Checked { expression, control: Arc::clone(control) });
        JoinFilter::new(expression, filter.column_indices().to_vec(), Arc::clone(filter.schema()))
    };
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        let filter = join.filter().map(check);
        return Ok(Some(Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(filter).build()?)));
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        return Ok(Some(match join.filter().map(check) {
            Some(filter) => join.builder().with_filter(Some(filter)).build_exec()?,
            None => Arc::clone(node),
        }));
    }
    let other = node.is::<CrossJoinExec>()
        || node.is::<SortMergeJoinExec>()
        || node.is::<SymmetricHashJoinExec>()
        || node.is::<PiecewiseMergeJoinExec>();
    Ok(other.then(|| Arc::clone(node)))
}

/// A condition that fails once its statement is to stop.
#[derive(Debug)]
struct Checked {
    expression: Arc<dyn PhysicalExpr>,
    control: Arc<Control>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expression.fmt(f)
    }
}

impl PartialEq for Checked {
    fn eq(&self, other: &Self) -> bool {
        self.expression.eq(&other.expression) && Arc::ptr_eq(&self.control, &other.control)
    }
}

impl Eq for Checked {}

impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expression.hash(state);
    }
}

impl PhysicalExpr for Checked {
    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.expression.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.control.check().map_err(DataFusionError::from)?;
        self.expression.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.expression]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let control = Arc::clone(&self.control);
        let expression = children.pop().unwrap_or_else(|| Arc::clone(&self.expression));
        Ok(Arc::new(Self { expression, control }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expression.fmt_sql(f)
    }
}
