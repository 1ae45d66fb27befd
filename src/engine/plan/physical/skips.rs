//! Sorts that are moved below OFFSET, or taken away there, change which rows it skips: DataFusion sees a limit in
//! what has a LIMIT alone, forgets the OFFSET beside it, and no order that a projection hides. While sorts are placed,
//! such a limit stands directly above the order of its rows and holds it.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, OrderingRequirements, PhysicalExpr};
use datafusion::physical_optimizer::output_requirements::OutputRequirementExec;
use datafusion::physical_optimizer::{PhysicalOptimizerContext, PhysicalOptimizerRule};
use datafusion::physical_plan::execution_plan::Boundedness;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{
    ChildStats, DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, Partitioning, PlanProperties, StatisticsArgs,
    replace_children_if_necessary,
};

use super::replaced::replaced;
use crate::engine::methods::delegate;

/// A rule that places sorts, kept from those that OFFSET needs.
#[derive(Debug)]
pub struct HeldSkips(pub Arc<dyn PhysicalOptimizerRule + Send + Sync>);

impl PhysicalOptimizerRule for HeldSkips {
    delegate! {
        to 0:
        name() -> &str;
        schema_check() -> bool;
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        released(self.0.optimize(held(plan)?, config)?)
    }

    fn optimize_with_context(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &dyn PhysicalOptimizerContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        released(self.0.optimize_with_context(held(plan)?, context)?)
    }
}

/// The plan with our nodes for limits that skip rows.
fn held(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    replaced(plan, |node| {
        let limit = node.downcast_ref::<GlobalLimitExec>().filter(|limit| limit.skip() > 0);
        limit.map_or(Ok(None), skip_below_projections)
    })
}

/// The plan with DataFusion's limits again.
fn released(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    replaced(plan, |node| {
        let skip = node.downcast_ref::<SkipExec>();
        Ok(skip.map(|skip| Arc::new(skip.limit.clone()) as _))
    })
}

/// The limit and the projections below it, changed about; `None` where the order is the statement's own and held so.
fn skip_below_projections(limit: &GlobalLimitExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let mut projections = vec![];
    let mut input = limit.input();
    while let Some(projection) = input.downcast_ref::<ProjectionExec>() {
        projections.push(Arc::clone(input));
        input = projection.input();
    }
    if input.is::<OutputRequirementExec>() {
        return Ok(None);
    }
    let order = match input.downcast_ref::<SortExec>() {
        Some(sort) => Some(sort.expr().clone()),
        None => input.output_ordering().cloned(),
    };
    let limit = GlobalLimitExec::new(Arc::clone(input), limit.skip(), limit.fetch());
    let mut plan: Arc<dyn ExecutionPlan> =
        Arc::new(SkipExec::new(limit, order.map(OrderingRequirements::from)));
    for projection in projections.into_iter().rev() {
        plan = replace_children_if_necessary(projection, vec![plan])?;
    }
    Ok(Some(plan))
}

/// A limit whose rows must come in an order, and which promises none, so that nobody asks it for another one.
#[derive(Debug)]
struct SkipExec {
    limit: GlobalLimitExec,
    order: Option<OrderingRequirements>,
    properties: Arc<PlanProperties>,
}

impl SkipExec {
    fn new(limit: GlobalLimitExec, order: Option<OrderingRequirements>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(limit.input().schema()),
            Partitioning::UnknownPartitioning(1),
            limit.input().pipeline_behavior(),
            Boundedness::Bounded,
        );
        Self { limit, order, properties: Arc::new(properties) }
    }
}

impl DisplayAs for SkipExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.limit.fmt_as(t, f)
    }
}

impl ExecutionPlan for SkipExec {
    delegate! {
        to limit:
        child_stats_requests(partition: Option<usize>) -> Vec<ChildStats>;
        statistics_from_inputs(inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>>;
        execute(partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream>;
    }

    fn name(&self) -> &str {
        "SkipExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![self.limit.input()]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.order.clone()]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().unwrap_or_else(|| Arc::clone(self.limit.input()));
        let limit = GlobalLimitExec::new(input, self.limit.skip(), self.limit.fetch());
        Ok(Arc::new(Self::new(limit, self.order.clone())))
    }
}
