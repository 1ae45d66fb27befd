//! Plans that are right for all values of their parameters.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{BinaryExpr, InList, Like, ScalarFunction};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, TableScan, Volatility};

use crate::engine::histories::KeptRows;
use crate::engine::plan::apply::has_subqueries;
use crate::engine::plan::forecast::ForecastNode;
use crate::engine::plan::node::{extension, has_parameter};
use crate::engine::plan::past::Kept;
use crate::engine::storage::StoredTableProvider;

/// The histories in memory that a plan reads, when the plan can be kept: it is right for all values of its parameters
/// while these histories, the catalog, the models and the settings stay as they are. `None` for all others.
pub fn generic(plan: &LogicalPlan) -> Result<Option<Vec<Arc<Kept>>>> {
    let (mut kept, mut generic) = (vec![], !has_subqueries(plan)? && !filters_one_row(plan, false));
    plan.apply(|node| {
        generic = generic && reads_what_stays(node, &mut kept)? && has_generic_expressions(node)?;
        Ok(if generic { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(generic.then_some(kept))
}

/// True when a parameter decides over the row of an aggregate without groups: a condition about no column would be
/// pushed below, where it decides over what is aggregated.
fn filters_one_row(plan: &LogicalPlan, filtered: bool) -> bool {
    let filtered = filtered
        || match plan {
            LogicalPlan::Filter(filter) => has_parameter(&filter.predicate),
            LogicalPlan::Join(join) => join.filter.as_ref().is_some_and(has_parameter),
            _ => false,
        };
    let one_row = matches!(plan, LogicalPlan::Aggregate(aggregate)
        if aggregate.group_expr.is_empty() || matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]));
    filtered && one_row || plan.inputs().into_iter().any(|input| filters_one_row(input, filtered))
}

/// True for a node of a query over stored tables and histories in memory, which are added to `kept`.
fn reads_what_stays(node: &LogicalPlan, kept: &mut Vec<Arc<Kept>>) -> Result<bool> {
    Ok(match node {
        LogicalPlan::TableScan(scan) => is_stored(scan),
        LogicalPlan::Extension(_) => {
            let Some(forecast) = extension::<ForecastNode>(node) else { return Ok(false) };
            let Some(history) = forecast.kept() else { return Ok(false) };
            kept.push(Arc::clone(history));
            true
        }
        // Rows that are sorted are cut early where it is known how many are wanted.
        LogicalPlan::Limit(limit) => {
            let mut counts = limit.skip.iter().chain(&limit.fetch);
            counts.all(|count| !has_parameter(count))
        }
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(_) => true,
        _ => false,
    })
}

/// True for the newest version of a stored table, which is looked for when the plan runs, and for a history.
fn is_stored(scan: &TableScan) -> bool {
    let Ok(provider) = source_as_provider(&scan.source) else { return false };
    let stored = provider.downcast_ref::<StoredTableProvider>();
    stored.is_some_and(|stored| stored.latest_table().is_some()) || provider.is::<KeptRows>()
}

/// True when the expressions of a node mean the same with parameters of their types as with literals: functions say
/// the same at any time, and parameters that are texts stand where no literal would be read as another type.
fn has_generic_expressions(node: &LogicalPlan) -> Result<bool> {
    let schema = merge_schema(&node.inputs());
    let (mut fixed, mut texts, mut compared) = (true, 0, 0);
    node.apply_expressions(|expr| {
        expr.apply(|expr| {
            match expr {
                Expr::ScalarFunction(f) => {
                    fixed &= f.func.signature().volatility == Volatility::Immutable && !has_open_scale(f);
                }
                Expr::Placeholder(parameter) => match &parameter.field {
                    Some(field) => texts += usize::from(field.data_type().is_string()),
                    None => fixed = false,
                },
                expr => compared += compared_texts(expr, &schema),
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(fixed && texts == compared)
}

/// True where the type of a rounded number depends on a parameter.
fn has_open_scale(call: &ScalarFunction) -> bool {
    matches!(call.func.name(), "round" | "trunc") && call.args.iter().skip(1).any(has_parameter)
}

/// How many of the parts of an expression are parameters that are texts and compared with a text.
fn compared_texts(expr: &Expr, schema: &DFSchema) -> usize {
    let is_text = |expr: &Expr| expr.get_type(schema).is_ok_and(|data_type| data_type.is_string());
    let beside = |text: &Expr, parameter: &Expr| usize::from(is_text_parameter(parameter) && is_text(text));
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, right, op }) if is_comparison(*op) => {
            beside(left, right) + beside(right, left)
        }
        Expr::InList(InList { expr, list, .. }) => list.iter().map(|item| beside(expr, item)).sum(),
        Expr::Like(Like { expr, pattern, .. }) => beside(expr, pattern),
        _ => 0,
    }
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

/// A parameter that is a text, with or without a cast that says so.
fn is_text_parameter(expr: &Expr) -> bool {
    match expr {
        Expr::Cast(cast) => cast.field.data_type().is_string() && is_text_parameter(&cast.expr),
        Expr::Placeholder(parameter) => {
            parameter.field.as_ref().is_some_and(|field| field.data_type().is_string())
        }
        _ => false,
    }
}
