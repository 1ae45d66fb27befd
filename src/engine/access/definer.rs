//! A part of a plan that was written by someone else: a view, or the rows that a model was trained on.

use std::fmt;

use datafusion::common::DFSchemaRef;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::engine::storage::TableName;

/// A plan whose relations are read with the rights of `owner`; it is gone once they are checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DefinerNode {
    /// The view that whoever acts must be allowed to read, when it is one.
    pub view: Option<TableName>,
    /// Whose rights count inside; none for the owner of the database.
    pub owner: Option<String>,
    /// The plan.
    pub input: LogicalPlan,
}

impl PartialOrd for DefinerNode {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (self == other).then_some(std::cmp::Ordering::Equal)
    }
}

impl DefinerNode {
    /// As a plan.
    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: std::sync::Arc::new(self) })
    }
}

impl UserDefinedLogicalNodeCore for DefinerNode {
    fn name(&self) -> &str {
        "Definer"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Definer: {}", self.owner.as_deref().unwrap_or("owner of the database"))
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self { input: inputs.pop().unwrap_or_else(|| self.input.clone()), ..self.clone() })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}
