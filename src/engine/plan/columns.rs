//! The columns of a plan's rows, as users see them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;

use crate::engine::plan::marks::marks;
use crate::engine::sql;
use crate::postgres::PG_TYPE;

/// The columns with the names that the logical plan has, twins alike, and the types of its rows.
pub fn columns(plan: &LogicalPlan, rows: &SchemaRef) -> SchemaRef {
    let names = plan.schema().as_arrow();
    if names.fields().len() != rows.fields().len() {
        return Arc::clone(rows);
    }
    let shown = names.fields().iter().zip(rows.fields()).zip(marks(plan)).map(|((field, given), mark)| {
        let mut metadata = field.metadata().clone();
        // What a mark says of a number does not hold for another type that it has become in a choice.
        match mark.filter(|_| is_alike(field.data_type(), given.data_type())) {
            Some(mark) => metadata.insert(PG_TYPE.to_owned(), mark),
            None => metadata.remove(PG_TYPE),
        };
        let shown = field.as_ref().clone().with_name(sql::shown(field.name())).with_metadata(metadata);
        shown.with_data_type(given.data_type().clone())
    });
    Arc::new(Schema::new_with_metadata(shown.collect::<Vec<_>>(), names.metadata().clone()))
}

fn is_alike(planned: &DataType, given: &DataType) -> bool {
    planned == given || (planned.is_string() || planned.is_null()) && given.is_string() || given.is_nested()
}
