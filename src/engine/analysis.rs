//! The types that the columns of a plan have once it is analyzed.
//!
//! DataFusion 55 plans a UNION, or CASE, in the type of its first branch; the analyzer makes the types of all branches
//! one. A subquery keeps what it was told of the columns of the outer query, and compares and joins by it.

use std::sync::Arc;

use datafusion::common::DFSchemaRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Subquery};
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::optimizer::analyzer::function_rewrite::ApplyFunctionRewrites;

use crate::engine::branches::with_branch_types;

/// The plan with the types that its branches have together; as it is where the analyzer cannot tell. Whether it can be run
/// is not asked: some subqueries only run as functions.
pub fn analyzed(state: &SessionState, plan: &LogicalPlan) -> LogicalPlan {
    analyze(state, plan.clone()).unwrap_or_else(|_| plan.clone())
}

fn analyze(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    let (analyzer, config) = (state.analyzer(), state.config_options());
    let rewrites = ApplyFunctionRewrites::new(analyzer.function_rewrites.clone());
    let plan = rewrites.analyze(plan, config)?;
    analyzer.rules.iter().try_fold(plan, |plan, rule| rule.analyze(plan, config))
}

/// The plan with the types that it comes to where types decide what is planned: those of branches, and of the outer columns
/// of subqueries.
pub fn with_types(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    with_branch_types(with_outer_types(state, plan)?)
}

/// The plan with the outer columns of its subqueries in the types that they have once it is analyzed.
fn with_outer_types(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    match looks_outside(&plan)? {
        true => OuterTypes { state, around: vec![] }.plan(plan).data(),
        false => Ok(plan),
    }
}

/// True for a plan with columns of an outer query in it, or in its subqueries.
fn looks_outside(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.contains_outer();
            Ok(until(found))
        })?;
        Ok(until(found))
    })?;
    Ok(found)
}

/// True for a node with a subquery that looks outside.
fn is_looked_at(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    node.apply_subqueries(|subquery| {
        found |= looks_outside(subquery)?;
        Ok(until(found))
    })?;
    Ok(found)
}

fn until(found: bool) -> TreeNodeRecursion {
    if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue }
}

struct OuterTypes<'a> {
    state: &'a SessionState,
    /// The columns of the queries around, the nearest last.
    around: Vec<DFSchemaRef>,
}

impl OuterTypes<'_> {
    #[recursive::recursive]
    fn plan(&mut self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let inputs = match plan {
            LogicalPlan::Subquery(subquery) => return self.subquery(subquery),
            LogicalPlan::Join(join) => self.join(join)?,
            plan => plan.map_children(|input| self.plan(input))?,
        };
        let typed = inputs.transform_data(|node| self.expressions(node))?;
        if typed.transformed { typed.map_data(LogicalPlan::recompute_schema) } else { Ok(typed) }
    }

    fn subquery(&mut self, subquery: Subquery) -> Result<Transformed<LogicalPlan>> {
        let Subquery { subquery, outer_ref_columns, spans } = subquery;
        let outer_ref_columns =
            outer_ref_columns.into_iter().map(|column| self.column(column).data).collect();
        let plan = self.plan(Arc::unwrap_or_clone(subquery))?;
        Ok(plan.update_data(|plan| {
            LogicalPlan::Subquery(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans })
        }))
    }

    /// A join, whose right side may refer to the left one.
    fn join(&mut self, join: Join) -> Result<Transformed<LogicalPlan>> {
        let depth = self.around.len();
        let left = self.plan(Arc::unwrap_or_clone(join.left))?;
        if looks_outside(&join.right)? {
            self.around.push(self.columns(&left.data));
        }
        let right = self.plan(Arc::unwrap_or_clone(join.right))?;
        self.around.truncate(depth);
        let changed = left.transformed || right.transformed;
        let join = Join { left: Arc::new(left.data), right: Arc::new(right.data), ..join };
        Ok(Transformed::new_transformed(LogicalPlan::Join(join), changed))
    }

    /// A node whose inputs are typed.
    fn expressions(&mut self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let typed = node.map_expressions(|expr| expr.transform_up(|part| Ok(self.column(part))))?;
        if !is_looked_at(&typed.data)? {
            return Ok(typed);
        }
        let depth = self.around.len();
        let inputs: Vec<DFSchemaRef> = typed.data.inputs().into_iter().map(|i| self.columns(i)).collect();
        self.around.extend(inputs);
        let typed = typed.transform_data(|node| node.map_subqueries(|subquery| self.plan(subquery)))?;
        self.around.truncate(depth);
        Ok(typed)
    }

    fn columns(&self, plan: &LogicalPlan) -> DFSchemaRef {
        Arc::clone(analyzed(self.state, plan).schema())
    }

    /// An outer column as the nearest query that has it has it.
    fn column(&self, part: Expr) -> Transformed<Expr> {
        let Expr::OuterReferenceColumn(field, column) = &part else { return Transformed::no(part) };
        let found = self.around.iter().rev().find_map(|columns| {
            columns.maybe_index_of_column(column).map(|place| Arc::clone(columns.field(place)))
        });
        match found.filter(|found| found.data_type() != field.data_type()) {
            Some(found) => Transformed::yes(Expr::OuterReferenceColumn(found, column.clone())),
            None => Transformed::no(part),
        }
    }
}
