//! A repair of nodes that put NULL into columns of their input: grouping sets, and outer joins.
//!
//! DataFusion 55 takes what is known of the rows below, that a column is a constant, or equal to something else, for true
//! of the rows above, too: `ORDER BY` left such columns out.

use std::fmt;
use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};
use datafusion::physical_plan::filter_pushdown::{FilterDescription, FilterPushdownPhase};
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    replace_children_if_necessary,
};

use super::replaced::replaced;
use crate::engine::methods::{rows_of_input, rule_named};

/// Lets such nodes know no more of their input than what stays true.
#[derive(Debug)]
pub struct NulledColumns;

impl PhysicalOptimizerRule for NulledColumns {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        replaced(plan, |node| {
            let children = node.children().into_iter().enumerate().map(|(place, input)| {
                let stays = what_stays(node, place).filter(|stays| !is_kept(input, *stays));
                stays.map_or_else(|| Arc::clone(input), |stays| forgetting(Arc::clone(input), stays))
            });
            let children: Vec<_> = children.collect();
            let is_same =
                node.children().into_iter().zip(&children).all(|(one, other)| Arc::ptr_eq(one, other));
            (!is_same).then(|| replace_children_if_necessary(Arc::clone(node), children)).transpose()
        })
    }

    rule_named!("NulledColumns");
}

/// What is still true of an input some of whose columns are NULL above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stays {
    Nothing,
    /// The order of its rows.
    Order,
}

/// What stays true of an input of a node; `None` where its columns stay what they are.
fn what_stays(node: &Arc<dyn ExecutionPlan>, place: usize) -> Option<Stays> {
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        let sets = aggregate.group_expr().has_grouping_set();
        return (sets && aggregate.mode().input_mode() == AggregateInputMode::Raw).then_some(Stays::Nothing);
    }
    let is_nulled = match join_type(node)? {
        JoinType::Left => place == 1,
        JoinType::Right => place == 0,
        JoinType::Full => true,
        _ => false,
    };
    is_nulled.then_some(Stays::Order)
}

fn join_type(node: &Arc<dyn ExecutionPlan>) -> Option<JoinType> {
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        return Some(*join.join_type());
    }
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        return Some(*join.join_type());
    }
    node.downcast_ref::<SortMergeJoinExec>().map(SortMergeJoinExec::join_type)
}

/// True where all that is known of an input stays: columns that are equal are NULL together.
fn is_kept(input: &Arc<dyn ExecutionPlan>, stays: Stays) -> bool {
    let known = input.equivalence_properties();
    let are_columns = || known.eq_group().iter().all(|class| class.iter().all(is_column));
    stays == Stays::Order && known.constants().is_empty() && are_columns()
}

fn is_column(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.is::<Column>()
}

fn forgetting(input: Arc<dyn ExecutionPlan>, stays: Stays) -> Arc<dyn ExecutionPlan> {
    let known = match stays {
        Stays::Nothing => EquivalenceProperties::new(input.schema()),
        Stays::Order => {
            let orders = input.equivalence_properties().oeq_class().iter().cloned();
            EquivalenceProperties::new_with_orderings(input.schema(), orders)
        }
    };
    let mut properties = PlanProperties::clone(input.properties()).with_eq_properties(known);
    if stays == Stays::Nothing {
        let partitions = input.output_partitioning().partition_count();
        properties = properties.with_partitioning(Partitioning::UnknownPartitioning(partitions));
    }
    Arc::new(NulledInputExec { input, stays, properties: Arc::new(properties) })
}

/// True for rows of which less is known than below.
pub fn is_nulled_input(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.is::<NulledInputExec>()
}

/// The rows of its input, of which less is known.
#[derive(Debug)]
struct NulledInputExec {
    input: Arc<dyn ExecutionPlan>,
    stays: Stays,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for NulledInputExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for NulledInputExec {
    rows_of_input!();

    fn name(&self) -> &str {
        "NulledInputExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(forgetting(children.pop().unwrap_or_else(|| Arc::clone(&self.input)), self.stays))
    }

    /// What a join asks of its rows before it has them may be asked below.
    fn gather_filters_for_pushdown(
        &self,
        _phase: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> Result<FilterDescription> {
        FilterDescription::from_children(parent_filters, &self.children())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}
