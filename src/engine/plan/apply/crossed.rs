//! How large the tables are that outer values are put beside.

use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs, StatisticsContext};

/// The most rows that one of the tables of a plan is known to have.
pub(super) fn most_rows(plan: &dyn ExecutionPlan) -> usize {
    let children = plan.children();
    if !children.is_empty() {
        return children.into_iter().map(|child| most_rows(child.as_ref())).max().unwrap_or(0);
    }
    let statistics = StatisticsContext::new().compute(plan, &StatisticsArgs::new()).ok();
    statistics.and_then(|statistics| statistics.num_rows.get_value().copied()).unwrap_or(0)
}
