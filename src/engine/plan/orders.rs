//! Orders with PostgreSQL's meaning: intervals come by their length, and values without a distance have peers, too.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, IntervalUnit};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    AggregateUDF, Expr, ExprSchemable, LogicalPlan, Sort, SortExpr, WindowFrame, WindowFrameBound,
    WindowFrameUnits, WindowFunctionDefinition, cast,
};
use datafusion::optimizer::analyzer::AnalyzerRule;

use crate::engine::functions;

/// The rule that has DataFusion sort intervals by their length, and take windows over values of any type.
#[derive(Debug)]
pub struct Orders;

impl AnalyzerRule for Orders {
    fn name(&self) -> &str {
        "orders"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let analyzed = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Sort(sort)
                if sort.expr.iter().any(|key| is_list_turned(key, sort.input.schema())) =>
            {
                Ok(Transformed::yes(ordered(LogicalPlan::Sort(nulls_apart(sort)))?.data))
            }
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
            Expr::WindowFunction(window) => Ok(in_window(*window, &schema)),
            Expr::AggregateFunction(aggregate) => Ok(in_aggregate(aggregate, &schema)),
            part => Ok(Transformed::no(part)),
        })?;
        Ok(if changed.transformed { changed.update_data(|expr| name.restore(expr)) } else { changed })
    })
}

/// True for a list that is sorted with NULL where the NULLs in lists are not, which are larger than any value.
fn is_list_turned(key: &SortExpr, schema: &DFSchema) -> bool {
    key.asc == key.nulls_first && matches!(key.expr.get_type(schema), Ok(DataType::List(_)))
}

/// Sorts by what is NULL first, where DataFusion would put the NULLs in lists there, too.
fn nulls_apart(sort: Sort) -> Sort {
    let Sort { expr, input, fetch } = sort;
    let keys = expr.into_iter().flat_map(|key| match is_list_turned(&key, input.schema()) {
        true => vec![
            SortExpr::new(key.expr.clone().is_null(), !key.nulls_first, false),
            SortExpr::new(key.expr, key.asc, !key.asc),
        ],
        false => vec![key],
    });
    Sort { expr: keys.collect(), input, fetch }
}

/// True for an interval, but not for a difference of timestamps, which has one form alone.
pub fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Interval(_)))
}

/// The length of an interval, anything else as it is.
pub fn measured(key: Expr, schema: &DFSchema) -> Transformed<Expr> {
    if !is_interval(&key, schema) {
        return Transformed::no(key);
    }
    let interval = cast(key, DataType::Interval(IntervalUnit::MonthDayNano));
    Transformed::yes(functions::interval_length().call(vec![interval]))
}

/// True when a key was an interval.
pub fn measure_keys(order: &mut [SortExpr], schema: &DFSchema) -> bool {
    order.iter_mut().fold(false, |changed, key| {
        let measured = measured(std::mem::take(&mut key.expr), schema);
        key.expr = measured.data;
        changed | measured.transformed
    })
}

fn in_aggregate(mut aggregate: AggregateFunction, schema: &DFSchema) -> Transformed<Expr> {
    let AggregateFunction { func, params } = &mut aggregate;
    let mut changed = measure_keys(&mut params.order_by, schema);
    let of_intervals = extreme(func.name(), &mut params.args, schema)
        .or_else(|| params.distinct.then(|| of_distinct(func.name(), &mut params.args, schema)).flatten());
    match of_intervals {
        Some(of_intervals) => {
            *func = of_intervals;
            params.order_by.clear();
            params.distinct = false;
            changed = true;
        }
        None if params.distinct && func.name() == "count" => {
            changed |= measure_fields(&mut params.args, schema);
        }
        None => {}
    }
    Transformed::new_transformed(Expr::AggregateFunction(aggregate), changed)
}

/// What finds the least or greatest interval, and has its argument.
fn extreme(function: &str, args: &mut [Expr], schema: &DFSchema) -> Option<Arc<AggregateUDF>> {
    let least = is_least(function)?;
    only_interval(args, schema).then(|| Arc::new(functions::interval_extreme(least)))
}

/// What adds up intervals of different lengths, and has its argument.
fn of_distinct(function: &str, args: &mut [Expr], schema: &DFSchema) -> Option<Arc<AggregateUDF>> {
    let averages = match function {
        "sum" => false,
        "avg" => true,
        _ => return None,
    };
    only_interval(args, schema).then(|| Arc::new(functions::interval_distinct(averages)))
}

/// True where the only argument is an interval, which is one of DataFusion's widest form then.
fn only_interval(args: &mut [Expr], schema: &DFSchema) -> bool {
    let [interval] = args else { return false };
    let is_interval = is_interval(interval, schema);
    if is_interval {
        *interval = cast(std::mem::take(interval), DataType::Interval(IntervalUnit::MonthDayNano));
    }
    is_interval
}

/// True when an expression was an interval.
fn measure_all(exprs: &mut [Expr], schema: &DFSchema) -> bool {
    exprs.iter_mut().fold(false, |changed, expr| {
        let measured = measured(std::mem::take(expr), schema);
        *expr = measured.data;
        changed | measured.transformed
    })
}

/// As [`measure_all`], in rows as well.
fn measure_fields(exprs: &mut [Expr], schema: &DFSchema) -> bool {
    let in_rows = exprs.iter_mut().fold(false, |changed, expr| match expr {
        Expr::ScalarFunction(row) if row.func.name() == "struct" => {
            changed | measure_fields(&mut row.args, schema)
        }
        _ => changed,
    });
    in_rows | measure_all(exprs, schema)
}

/// True for what finds the least value, false for what finds the greatest.
fn is_least(function: &str) -> Option<bool> {
    match function {
        "min" => Some(true),
        "max" => Some(false),
        _ => None,
    }
}

fn in_window(mut window: WindowFunction, schema: &DFSchema) -> Transformed<Expr> {
    let WindowFunction { fun, params } = &mut window;
    let mut changed = measure_keys(&mut params.order_by, schema);
    changed |= measure_all(&mut params.partition_by, schema);
    if let Some(extreme) = extreme(fun.name(), &mut params.args, schema) {
        *fun = WindowFunctionDefinition::AggregateUDF(extreme);
        params.distinct = false;
        changed = true;
    }
    changed |= by_peers(&mut params.window_frame, &params.order_by, schema);
    changed |= widen_key(&params.window_frame, &mut params.order_by, schema);
    Transformed::new_transformed(Expr::from(window), changed)
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

/// Gives a key of decimals the digits of the bounds of RANGE, which DataFusion rounds to those of the key, or refuses.
fn widen_key(frame: &WindowFrame, order: &mut [SortExpr], schema: &DFSchema) -> bool {
    let [key] = order else { return false };
    let Ok(DataType::Decimal128(precision, scale)) = key.expr.get_type(schema) else { return false };
    let bounds = [&frame.start_bound, &frame.end_bound];
    let scales = bounds.into_iter().filter_map(digits_behind_the_point);
    let Some(most) = scales.max().filter(|_| frame.units == WindowFrameUnits::Range) else { return false };
    let wide = DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale.max(most));
    if wide == DataType::Decimal128(precision, scale) {
        return false;
    }
    key.expr = cast(std::mem::take(&mut key.expr), wide);
    true
}

fn digits_behind_the_point(bound: &WindowFrameBound) -> Option<i8> {
    let (WindowFrameBound::Preceding(distance) | WindowFrameBound::Following(distance)) = bound else {
        return None;
    };
    let written =
        distance.try_as_str().map_or_else(|| Some(distance.to_string()), |text| text.map(str::to_owned))?;
    let (mantissa, exponent) = written.split_once(['e', 'E']).unwrap_or((&written, "0"));
    let digits = mantissa.split_once('.').map_or(0, |(_, digits)| digits.len());
    let digits = (digits as i64 - exponent.parse::<i64>().ok()?).clamp(0, DECIMAL128_MAX_PRECISION.into());
    (!distance.is_null()).then(|| i8::try_from(digits).ok()).flatten()
}
