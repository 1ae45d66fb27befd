//! What DataFusion 55 would answer wrongly, written so that it answers it right.

use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::{OptimizerContext, OptimizerRule};

use crate::engine::analysis::with_types;
use crate::engine::plan::apply::has_subqueries;
use crate::engine::plan::counted_sets::with_counted_sets;
use crate::engine::plan::grouped::with_keys_in_columns;
use crate::engine::plan::may_be_null::with_nullable_values;
use crate::engine::plan::not_in::with_exists;
use crate::engine::plan::outer_aggregates::refuse_outer_aggregates;
use crate::engine::plan::outer_keys::with_distinct_outer_keys;
use crate::engine::plan::own_laterals::with_own_laterals;
use crate::engine::plan::own_values::with_own_values;
use crate::engine::plan::set_conditions::with_set_conditions;
use crate::engine::plan::single_rows::with_single_rows;
use crate::engine::plan::subqueries::has_set_comparisons;
use crate::engine::plan::subqueries_below::with_subqueries_below;
use crate::engine::plan::unjoined::with_unjoined;

/// The plan of a statement as it is meant.
pub fn with_repairs(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let plan = with_keys_in_columns(plan)?;
    if !has_subqueries(&plan)? {
        return with_types(state, with_counted_sets(plan)?);
    }
    refuse_outer_aggregates(&plan)?;
    let plan = with_subqueries_below(with_own_laterals(plan)?)?;
    let plan = with_set_conditions(with_single_rows(plan)?)?;
    // As EXISTS, comparisons with ANY and ALL may be run for the values of each outer row.
    let plan = match has_set_comparisons(&plan)? {
        true => RewriteSetComparison::new().rewrite(plan, &OptimizerContext::new())?.data,
        false => plan,
    };
    let plan = with_counted_sets(with_distinct_outer_keys(with_exists(plan)?)?)?;
    let plan = with_nullable_values(with_own_values(with_unjoined(plan)?)?)?;
    with_types(state, plan)
}
