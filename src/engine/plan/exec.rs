//! What our physical operators have in common.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, OrderingRequirements, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{Partitioning, PlanProperties};

use crate::engine::query::QueryContext;

/// Properties of an operator with one output partition.
pub fn single_partition(schema: SchemaRef) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(1),
        EmissionType::Final,
        Boundedness::Bounded,
    ))
}

/// Rows sorted by the first `columns` columns, ascending.
pub fn sorted_by(schema: &SchemaRef, columns: usize) -> Option<OrderingRequirements> {
    let exprs = schema.fields().iter().take(columns).enumerate().map(|(i, field)| {
        PhysicalSortExpr::new_default(Arc::new(Column::new(field.name(), i))).asc().nulls_last()
    });
    LexOrdering::new(exprs).map(OrderingRequirements::from)
}

/// The running statement that a task belongs to.
pub fn query_context(context: &TaskContext) -> Arc<QueryContext> {
    context.session_config().get_extension::<QueryContext>().unwrap_or_default()
}
