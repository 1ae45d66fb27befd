//! The tables and views that the columns of a result come from.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::logical_expr::{Expr, LogicalPlan, Statement};

use crate::engine::access::DefinerNode;
use crate::engine::plan::authorize::stored_table;
use crate::engine::plan::marks::carried;
use crate::engine::plan::node::extension;
use crate::engine::storage::{Contents, TableName};
use crate::postgres::PG_ORIGIN;

/// A table or view, and the place of a column in it, counted from 1; none for what is computed.
pub type Origin = Option<(TableName, usize)>;

/// The origins of the columns of a plan, whose definers tell of its views.
///
/// Source: PostgreSQL 15 documentation, section 55.7 (RowDescription).
pub fn origins(plan: &LogicalPlan) -> Vec<Origin> {
    let all_of = |name: &TableName, columns: usize| (1..=columns).map(|n| Some((name.clone(), n))).collect();
    let found: Vec<Origin> = match plan {
        LogicalPlan::TableScan(scan) => match (stored_table(&scan.source), &scan.projection) {
            (Some(name), None) => all_of(&name, scan.source.schema().fields().len()),
            (Some(name), Some(columns)) => columns.iter().map(|n| Some((name.clone(), n + 1))).collect(),
            (None, _) => vec![],
        },
        LogicalPlan::Extension(_) => match extension::<DefinerNode>(plan).and_then(|d| d.view.as_ref()) {
            Some(view) => all_of(view, plan.schema().fields().len()),
            None => vec![],
        },
        LogicalPlan::Statement(Statement::Prepare(prepare)) => origins(&prepare.input),
        plan => carried(plan, origins, of_exprs),
    };
    let columns = plan.schema().fields().len();
    if found.len() == columns { found } else { vec![None; columns] }
}

fn of_exprs(exprs: &[Expr], input: &LogicalPlan) -> Vec<Origin> {
    let (schema, inner) = (input.schema(), origins(input));
    let origin = |expr: &Expr| match expr.clone().unalias() {
        Expr::Column(column) => inner.get(schema.maybe_index_of_column(&column)?).cloned().flatten(),
        _ => None,
    };
    exprs.iter().map(origin).collect()
}

/// The columns with the numbers of their origins, as far as the catalog knows them.
pub fn with_origins(columns: SchemaRef, origins: &[Origin], contents: &Contents) -> SchemaRef {
    if origins.len() != columns.fields().len() || origins.iter().all(Option::is_none) {
        return columns;
    }
    let mut numbers: HashMap<&TableName, u32> = HashMap::new();
    let fields = columns.fields().iter().zip(origins).map(|(field, origin)| {
        let Some((name, column)) = origin else { return Arc::clone(field) };
        let number = || contents.find(name).map_or(0, |entry| contents.oids.entry(name, entry));
        let relation = *numbers.entry(name).or_insert_with(number);
        let mut metadata = field.metadata().clone();
        metadata.insert(PG_ORIGIN.to_owned(), format!("{relation}.{column}"));
        Arc::new(field.as_ref().clone().with_metadata(metadata))
    });
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), columns.metadata().clone()))
}
