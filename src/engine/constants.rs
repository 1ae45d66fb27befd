//! Statements that say constants only, such as the `SELECT 1` by which pools ask whether a connection lives.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan};
use datafusion::scalar::ScalarValue;
use parking_lot::Mutex;

use crate::engine::query::{Query, QueryContext, Tag};

/// Texts that are kept.
const TEXTS_MAX: usize = 256;

/// Longest text that is kept, in bytes.
const TEXT_MAX: usize = 256;

/// The row of a statement, which is the same every time and for everybody.
#[derive(Debug)]
pub struct Constant {
    schema: SchemaRef,
    row: RecordBatch,
}

impl Constant {
    /// The row of a plan that is nothing but literals, with or without names; `schema` is how it is told.
    pub fn of(plan: &LogicalPlan, schema: impl FnOnce() -> SchemaRef) -> Option<Self> {
        let LogicalPlan::Projection(projection) = plan else { return None };
        let LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, .. }) =
            projection.input.as_ref()
        else {
            return None;
        };
        let arrays = projection.expr.iter().map(|expr| literal(expr)?.to_array().ok());
        let arrays = arrays.collect::<Option<Vec<_>>>()?;
        let schema = schema();
        let row = RecordBatch::try_new(Arc::clone(&schema), arrays).ok()?;
        Some(Self { schema, row })
    }

    /// The statement that gives the row.
    pub fn query(&self, context: Arc<QueryContext>) -> Query {
        Query::ready(Arc::clone(&self.schema), vec![self.row.clone()], context, Tag::Rows)
    }
}

/// The value of a literal; a whole number may be cast to another type of whole numbers.
fn literal(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Alias(alias) => literal(&alias.expr),
        Expr::Cast(cast) if cast.field.data_type().is_integer() => {
            let value = literal(&cast.expr).filter(|value| value.data_type().is_integer())?;
            value.cast_to(cast.field.data_type()).ok()
        }
        Expr::Literal(value, _) => Some(value.clone()),
        _ => None,
    }
}

/// The rows of constant statements, by their texts.
#[derive(Debug, Default)]
pub struct Constants(Mutex<HashMap<String, Arc<Constant>>>);

impl Constants {
    /// What this text says, when it has been said before.
    pub fn get(&self, text: &str) -> Option<Arc<Constant>> {
        if text.len() > TEXT_MAX { None } else { self.0.lock().get(text).map(Arc::clone) }
    }

    /// Keeps what a text says; it must be a query without parameters, and say the same in every session.
    pub fn keep(&self, text: &str, constant: Constant) {
        if text.len() > TEXT_MAX {
            return;
        }
        let mut kept = self.0.lock();
        if kept.len() == TEXTS_MAX {
            kept.clear();
        }
        kept.insert(text.to_owned(), Arc::new(constant));
    }
}
