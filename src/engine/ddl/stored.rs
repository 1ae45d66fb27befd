//! The rows of a query as a table keeps them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Column, DFSchemaRef};
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::Alias;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, LogicalPlanBuilder, WriteOp, cast};

use crate::engine::analysis::{analyzed, with_types};

/// The rows of a query as a table keeps them: the types of all branches, and no more or fewer digits than were meant.
///
/// A decimal that is computed, and not a column or a cast, has the digits of the numbers that were written; a table
/// with such a column would round the next ones to them. It is kept as a float.
pub fn stored(state: &SessionState, plan: &LogicalPlan) -> Result<LogicalPlan> {
    let meant = with_types(state, plan.clone())?;
    let plan = analyzed(state, &meant);
    let computed: Vec<bool> = plan
        .schema()
        .fields()
        .iter()
        .enumerate()
        .map(|(n, field)| field.data_type().is_decimal() && is_computed(&meant, n))
        .collect();
    if !computed.contains(&true) {
        return Ok(plan);
    }
    let exprs = plan.schema().iter().zip(computed).map(|((table, field), computed)| {
        let column = Expr::Column(Column::from((table, field)));
        match computed {
            true => cast(column, DataType::Float64).alias_qualified(table.cloned(), field.name()),
            false => column,
        }
    });
    let exprs: Vec<Expr> = exprs.collect();
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}

/// True for a column of decimals whose digits nobody has declared.
fn is_computed(plan: &LogicalPlan, column: usize) -> bool {
    let is_decimal = plan.schema().field(column).data_type().is_decimal();
    match plan {
        LogicalPlan::Projection(p) => is_computed_by(&p.expr[column], &p.input).unwrap_or(is_decimal),
        LogicalPlan::Aggregate(a) => {
            let expr = a.group_expr.iter().chain(&a.aggr_expr).nth(column);
            expr.and_then(|expr| is_computed_by(expr, &a.input)).unwrap_or(is_decimal)
        }
        LogicalPlan::SubqueryAlias(a) => is_computed(&a.input, column),
        LogicalPlan::Filter(f) => is_computed(&f.input, column),
        LogicalPlan::Sort(s) => is_computed(&s.input, column),
        LogicalPlan::Limit(l) => is_computed(&l.input, column),
        LogicalPlan::Distinct(Distinct::All(input)) => is_computed(input, column),
        LogicalPlan::Union(u) => u.inputs.iter().any(|input| is_computed(input, column)),
        LogicalPlan::Join(j) => match j.left.schema().fields().len() {
            left if column < left => is_computed(&j.left, column),
            left => column - left < j.right.schema().fields().len() && is_computed(&j.right, column - left),
        },
        LogicalPlan::Window(w) => match w.input.schema().fields().len() {
            given if column < given => is_computed(&w.input, column),
            _ => is_decimal,
        },
        LogicalPlan::Values(_) => is_decimal,
        _ => false,
    }
}

/// The same of an expression over the columns of `input`; `None` for one that is more than columns and casts.
fn is_computed_by(expr: &Expr, input: &LogicalPlan) -> Option<bool> {
    let of_column = |column: &Column| {
        input.schema().maybe_index_of_column(column).map(|column| is_computed(input, column))
    };
    match without_names(expr) {
        Expr::Column(column) => of_column(column),
        Expr::Cast(_) => Some(false),
        Expr::AggregateFunction(call) => match (call.func.name(), call.params.args.as_slice()) {
            ("sum" | "min" | "max", [Expr::Column(column)]) => of_column(column),
            _ => None,
        },
        _ => None,
    }
}

fn without_names(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(Alias { expr, .. }) => without_names(expr),
        expr => expr,
    }
}

/// The types that the rows of an INSERT are planned in: those of the table. `None` for other plans, and for rows that are
/// written out.
pub fn meant_types(plan: &LogicalPlan) -> Option<DFSchemaRef> {
    match plan {
        LogicalPlan::Dml(insert)
            if matches!(insert.op, WriteOp::Insert(_)) && !is_written_out(&insert.input) =>
        {
            Some(Arc::clone(insert.input.schema()))
        }
        _ => None,
    }
}

fn is_written_out(rows: &LogicalPlan) -> bool {
    match rows {
        LogicalPlan::Projection(projection) => is_written_out(&projection.input),
        rows => matches!(rows, LogicalPlan::Values(_)),
    }
}

/// The plan, the rows of an INSERT in these types. A UNION, or CASE, is planned in the types of its first branch, and has
/// others once all branches count.
pub fn with_meant_types(
    state: &SessionState,
    plan: LogicalPlan,
    meant: Option<DFSchemaRef>,
) -> Result<LogicalPlan> {
    let (mut insert, meant) = match (plan, meant) {
        (LogicalPlan::Dml(insert), Some(meant)) => (insert, meant),
        (plan, _) => return Ok(plan),
    };
    let analyzed = analyzed(state, &insert.input);
    let is_meant = |(field, meant): (&FieldRef, &FieldRef)| field.data_type() == meant.data_type();
    if analyzed.schema().fields().iter().zip(meant.fields()).all(is_meant) {
        return Ok(LogicalPlan::Dml(insert));
    }
    let exprs = analyzed.schema().iter().zip(meant.fields()).map(|((table, field), meant)| {
        let column = Expr::Column(Column::from((table, field)));
        match field.data_type() == meant.data_type() {
            true => column,
            false => cast(column, meant.data_type().clone()).alias(meant.name()),
        }
    });
    let exprs: Vec<Expr> = exprs.collect();
    insert.input = Arc::new(LogicalPlanBuilder::from(analyzed).project(exprs)?.build()?);
    Ok(LogicalPlan::Dml(insert))
}
