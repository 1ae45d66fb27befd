//! Filters that are moved below a node look for its columns by name: with two columns of one name they find the
//! wrong one. Here such filters stay above.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::JoinSide;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::JoinType;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_optimizer::{PhysicalOptimizerContext, PhysicalOptimizerRule};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::buffer::BufferExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::joins::utils::{ColumnIndex, build_join_schema};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, PlanProperties,
    ReplaceChildrenOptions, replace_children_if_necessary,
};

use super::nulled::is_nulled_input;
use super::replaced::replaced;
use crate::engine::methods::delegate;

/// A rule that moves filters, kept from those that would reach another column.
#[derive(Debug)]
pub struct FiltersByPlace(pub Arc<dyn PhysicalOptimizerRule + Send + Sync>);

impl PhysicalOptimizerRule for FiltersByPlace {
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
        self.0.optimize(guarded(plan)?, config)
    }

    fn optimize_with_context(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &dyn PhysicalOptimizerContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.optimize_with_context(guarded(plan)?, context)
    }
}

/// The plan, in which nodes that would lead filters astray are guarded.
fn guarded(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    replaced(plan, |node| {
        let astray = astray(node);
        Ok((!astray.is_empty()).then(|| Arc::new(Guard { node: Arc::clone(node), astray }) as _))
    })
}

/// The columns of a node's output whose names lead filters to another column below it.
fn astray(node: &Arc<dyn ExecutionPlan>) -> HashSet<usize> {
    let schema = node.schema();
    if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        // Filters look for the column in the output itself, before they get its expression, whose columns they look for
        // in the input. Of several columns of one name the first is taken for the last.
        let (names, input) = (counted_names(&schema), projection.input().schema());
        let below = first_places(&input);
        let is_found = |column: &Column| below.get(column.name()) == Some(&column.index());
        return columns_where(&schema, |name, index| {
            let expr = projection.expr().get(index).map(|projected| &projected.expr);
            names.get(name) != Some(&1) || !expr.is_some_and(|e| collect_columns(e).iter().all(is_found))
        });
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        return astray_in_join(join);
    }
    let Some(sources) = sources(node) else { return HashSet::new() };
    let inputs: Vec<_> = node.children().into_iter().map(|input| input.schema()).collect();
    let places: Vec<_> = inputs.iter().map(|input| first_places(input)).collect();
    columns_where(&schema, |name, index| {
        let source = sources.get(index).copied().flatten();
        places.iter().filter_map(|places| places.get(name)).any(|place| source != Some(*place))
    })
}

/// Which column of its inputs each column of a node's output is; `None` for a node that lets no filters through.
fn sources(node: &Arc<dyn ExecutionPlan>) -> Option<Vec<Option<usize>>> {
    let same = || -> Vec<Option<usize>> { (0..node.schema().fields().len()).map(Some).collect() };
    if let Some(filter) = node.downcast_ref::<FilterExec>() {
        let projection = filter.projection().as_ref();
        return Some(projection.map_or_else(same, |places| places.iter().copied().map(Some).collect()));
    }
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
        return Some(aggregate.group_expr().expr().iter().map(|(group, _)| place(group)).collect());
    }
    let is_same = node.is::<RepartitionExec>()
        || node.is::<CoalescePartitionsExec>()
        || node.is::<SortExec>()
        || node.is::<UnionExec>()
        || node.is::<CooperativeExec>()
        || node.is::<BufferExec>()
        || is_nulled_input(node);
    is_same.then(same)
}

/// Filters go to the side that a column is of, and below semi joins by their keys to the other one, too.
fn astray_in_join(join: &HashJoinExec) -> HashSet<usize> {
    let inputs = [join.left().schema(), join.right().schema()];
    let places = [first_places(&inputs[0]), first_places(&inputs[1])];
    let (_, columns) = build_join_schema(&inputs[0], &inputs[1], join.join_type());
    let columns: Vec<ColumnIndex> = match join.projection.as_ref() {
        Some(projection) => projection.iter().filter_map(|index| columns.get(*index).cloned()).collect(),
        None => columns,
    };
    let keys: Vec<_> = join.on().iter().map(|(left, right)| [place(left), place(right)]).collect();
    let is_semi = matches!(join.join_type(), JoinType::LeftSemi | JoinType::RightSemi);
    columns_where(&join.schema(), |name, index| {
        let Some(column) = columns.get(index) else { return true };
        let (own, other) = match column.side {
            JoinSide::Left => (0, 1),
            JoinSide::Right => (1, 0),
            JoinSide::None => return false,
        };
        if places[own].get(name).is_some_and(|place| *place != column.index) {
            return true;
        }
        let partners: Vec<_> =
            keys.iter().filter(|key| key[own] == Some(column.index)).map(|key| key[other]).collect();
        let namesake = places[other].get(name).filter(|_| is_semi && !partners.is_empty());
        namesake.is_some_and(|place| !partners.contains(&Some(*place)))
    })
}

/// The columns of a schema for which `wanted` holds.
fn columns_where(schema: &Schema, wanted: impl Fn(&str, usize) -> bool) -> HashSet<usize> {
    let columns = schema.fields().iter().enumerate();
    columns.filter(|(index, field)| wanted(field.name(), *index)).map(|(index, _)| index).collect()
}

/// Where the first column of each name stands.
fn first_places(schema: &Schema) -> HashMap<&str, usize> {
    let mut places = HashMap::new();
    for (index, field) in schema.fields().iter().enumerate() {
        places.entry(field.name().as_str()).or_insert(index);
    }
    places
}

/// How many columns of a schema have each name.
fn counted_names(schema: &Schema) -> HashMap<&str, usize> {
    let mut counted = HashMap::new();
    for field in schema.fields() {
        *counted.entry(field.name().as_str()).or_insert(0) += 1;
    }
    counted
}

/// The place of an expression that is a column.
fn place(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expr.downcast_ref::<Column>().map(Column::index)
}

/// A node through which filters on some columns do not go; it stands aside when the filters below it are settled.
#[derive(Debug)]
struct Guard {
    node: Arc<dyn ExecutionPlan>,
    astray: HashSet<usize>,
}

impl Guard {
    fn holds_back(&self, filter: &Arc<dyn PhysicalExpr>) -> bool {
        collect_columns(filter).iter().any(|column| self.astray.contains(&column.index()))
    }
}

impl DisplayAs for Guard {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.fmt_as(t, f)
    }
}

impl ExecutionPlan for Guard {
    delegate! {
        to node:
        name() -> &str;
        properties() -> &Arc<PlanProperties>;
        children() -> Vec<&Arc<dyn ExecutionPlan>>;
        input_distribution_requirements() -> InputDistributionRequirements;
        maintains_input_order() -> Vec<bool>;
        execute(partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream>;
        apply_expressions(
            f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>
        ) -> Result<TreeNodeRecursion>;
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let node = Arc::clone(&self.node).replace_children(children, options)?;
        Ok(Arc::new(Self { node, astray: self.astray.clone() }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let node = replace_children_if_necessary(Arc::clone(&self.node), children)?;
        Ok(Arc::new(Self { node, astray: self.astray.clone() }))
    }

    /// The node sees a column that it does not have in the place of a filter that must not pass.
    fn gather_filters_for_pushdown(
        &self,
        phase: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let nowhere: Arc<dyn PhysicalExpr> = Arc::new(Column::new("", usize::MAX));
        let passed = |filter: Arc<dyn PhysicalExpr>| {
            if self.holds_back(&filter) { Arc::clone(&nowhere) } else { filter }
        };
        let filters = parent_filters.into_iter().map(passed).collect();
        self.node.gather_filters_for_pushdown(phase, filters, config)
    }

    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        child_pushdown_result: ChildPushdownResult,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let ChildPushdownResult { parent_filters, self_filters } = child_pushdown_result;
        let held: Vec<bool> = parent_filters.iter().map(|result| self.holds_back(&result.filter)).collect();
        let passed = parent_filters.into_iter().zip(&held).filter(|(_, held)| !**held);
        let passed = ChildPushdownResult { parent_filters: passed.map(|(r, _)| r).collect(), self_filters };
        let settled = self.node.handle_child_pushdown_result(phase, passed, config)?;
        let mut passed = settled.filters.into_iter();
        let mut answer = |held: bool| if held { None } else { passed.next() };
        let filters = held.into_iter().map(|held| answer(held).unwrap_or(PushedDown::No)).collect();
        let node = settled.updated_node.unwrap_or_else(|| Arc::clone(&self.node));
        Ok(FilterPushdownPropagation { filters, updated_node: Some(node) })
    }
}
