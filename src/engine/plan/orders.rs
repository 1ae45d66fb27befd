//! Orders with PostgreSQL's meaning: intervals come by their length, and values without a distance have peers, too.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, SortExpr, WindowFrame, WindowFrameBound, WindowFrameUnits, cast,
};
use datafusion::optimizer::analyzer::AnalyzerRule;

use crate::engine::functions;
use crate::error::Error;

/// The rule that has DataFusion sort intervals by their length, and take windows over values of any type.
#[derive(Debug)]
pub struct Orders;

impl AnalyzerRule for Orders {
    fn name(&self) -> &str {
        "orders"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let analyzed = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Sort(_) | LogicalPlan::Window(_) | LogicalPlan::Aggregate(_) => ordered(plan),
            plan => Ok(Transformed::no(plan)),
        })?;
        Ok(analyzed.data)
    }
}

fn ordered(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let is_sort = matches!(plan, LogicalPlan::Sort(_));
    let Some(schema) = plan.inputs().first().map(|input| Arc::clone(input.schema())) else {
        return Ok(Transformed::no(plan));
    };
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        if is_sort {
            return Ok(measured(expr, &schema));
        }
        let name = names.save(&expr);
        let changed = expr.transform_up(|part| match part {
            Expr::WindowFunction(window) => in_window(*window, &schema),
            Expr::AggregateFunction(aggregate) => Ok(in_aggregate(aggregate, &schema)),
            part => Ok(Transformed::no(part)),
        })?;
        Ok(if changed.transformed { changed.update_data(|expr| name.restore(expr)) } else { changed })
    })
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Interval(_)))
}

/// The length of an interval, anything else as it is.
fn measured(key: Expr, schema: &DFSchema) -> Transformed<Expr> {
    if !is_interval(&key, schema) {
        return Transformed::no(key);
    }
    let interval = cast(key, DataType::Interval(IntervalUnit::MonthDayNano));
    Transformed::yes(functions::interval_length().call(vec![interval]))
}

/// True when a key was an interval.
fn measure_keys(order: &mut [SortExpr], schema: &DFSchema) -> bool {
    order.iter_mut().fold(false, |changed, key| {
        let measured = measured(std::mem::take(&mut key.expr), schema);
        key.expr = measured.data;
        changed | measured.transformed
    })
}

fn in_aggregate(mut aggregate: AggregateFunction, schema: &DFSchema) -> Transformed<Expr> {
    let mut changed = measure_keys(&mut aggregate.params.order_by, schema);
    let ascending = is_least(aggregate.func.name());
    if let (Some(asc), [interval]) = (ascending, aggregate.params.args.as_slice())
        && is_interval(interval, schema)
    {
        let length = measured(interval.clone(), schema).data;
        aggregate.func = first_value_udaf();
        aggregate.params.order_by = vec![length.sort(asc, false)];
        aggregate.params.distinct = false;
        changed = true;
    }
    Transformed::new_transformed(Expr::AggregateFunction(aggregate), changed)
}

/// True for what finds the least value, false for what finds the greatest.
fn is_least(function: &str) -> Option<bool> {
    match function {
        "min" => Some(true),
        "max" => Some(false),
        _ => None,
    }
}

fn in_window(mut window: WindowFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let function = window.fun.name();
    if is_least(function).is_some() && window.params.args.iter().any(|value| is_interval(value, schema)) {
        let message = format!("{function}() of intervals is not supported as a window function");
        let hint = "Take the least or greatest of extract(epoch FROM …), or group by what the window is of.";
        return Err(Error::unsupported(message).with_hint(hint).into());
    }
    let measured = measure_keys(&mut window.params.order_by, schema);
    let framed = by_peers(&mut window.params.window_frame, &window.params.order_by, schema);
    Ok(Transformed::new_transformed(Expr::from(window), measured || framed))
}

/// Counts peers where the frame ends at peers and DataFusion wants a distance that values of the type do not have.
fn by_peers(frame: &mut WindowFrame, order: &[SortExpr], schema: &DFSchema) -> bool {
    let Some(Ok(first)) = order.first().map(|key| key.expr.get_type(schema)) else { return false };
    let has_distance = first.is_numeric()
        || first.is_string()
        || first.is_null()
        || matches!(first, DataType::Boolean | DataType::Date32 | DataType::Date64 | DataType::Timestamp(..));
    if has_distance || frame.units != WindowFrameUnits::Range {
        return false;
    }
    let is_peers = |bound: &WindowFrameBound| *bound == WindowFrameBound::CurrentRow || bound.is_unbounded();
    let ends_at_peers = is_peers(&frame.start_bound) && is_peers(&frame.end_bound);
    if ends_at_peers {
        frame.units = WindowFrameUnits::Groups;
    }
    ends_at_peers
}
