//! A repair of `x IN (…)` whose items are not all values.
//!
//! DataFusion 55 makes one list of two, and compares their items as they are written, which says nothing of columns, and
//! loses a NULL. An item it takes for the same in all rows if it is without rows, as CASE is, whatever is behind WHEN.
//! Such lists are spelled out as comparisons.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::engine::methods::delegate;
use crate::engine::plan::computed_keys::is_computed;

/// The rule that simplifies expressions, in which such lists are spelled out.
#[derive(Debug)]
pub struct InLists(pub Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for InLists {
    delegate! {
        to 0:
        name() -> &str;
        apply_order() -> Option<ApplyOrder>;
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        with_comparisons(plan)?.transform_data(|plan| self.0.rewrite(plan, config))
    }
}

/// The node with its lists spelled out where one of them would be taken for another.
fn with_comparisons(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !has_mistaken_lists(&plan)? {
        return Ok(Transformed::no(plan));
    }
    let names = NamePreserver::new(&plan);
    let mut spell = |expr: Expr| {
        let name = names.save(&expr);
        Ok(expr.transform_up(as_comparisons)?.update_data(|expr| name.restore(expr)))
    };
    plan.map_expressions(|expr| match expr {
        // A set of keys has no name.
        Expr::GroupingSet(_) => expr.map_children(&mut spell),
        expr => spell(expr),
    })
}

fn has_mistaken_lists(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        let lists = lists_of(expr)?;
        found = meet(&lists) || lists.iter().any(|list| list.list.iter().any(is_computed));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn lists_of(expr: &Expr) -> Result<Vec<&InList>> {
    let mut lists = vec![];
    expr.apply(|part| {
        if let Expr::InList(list) = part {
            lists.push(list);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(lists)
}

/// True for lists that the same columns are looked for in, with casts or without, one of them with other items than values.
fn meet(lists: &[&InList]) -> bool {
    let is_met = |list: &InList| {
        let columns = list.expr.column_refs();
        lists.iter().filter(|other| other.expr.column_refs() == columns).count() > 1
    };
    lists.iter().any(|&list| !list.list.iter().all(is_value) && is_met(list))
}

fn is_value(item: &Expr) -> bool {
    matches!(item, Expr::Literal(value, _) if !value.is_null())
}

/// True for what may be written once for each item: what is a list itself would be doubled by each around it.
fn is_plain(expr: &Expr) -> Result<bool> {
    Ok(!expr.is_volatile() && !expr.exists(|part| Ok(matches!(part, Expr::InList(_))))?)
}

/// `x IN (1, 2, y)` as `x IN (1, 2) OR x = y`.
fn as_comparisons(expr: Expr) -> Result<Transformed<Expr>> {
    let InList { expr, list, negated } = match expr {
        Expr::InList(list) if !list.list.iter().all(is_value) && is_plain(&list.expr)? => list,
        expr => return Ok(Transformed::no(expr)),
    };
    let (values, others): (Vec<Expr>, Vec<Expr>) = list.into_iter().partition(is_value);
    let in_values = (!values.is_empty()).then(|| expr.as_ref().clone().in_list(values, negated));
    let compared = others.into_iter().map(|other| match negated {
        true => expr.as_ref().clone().not_eq(other),
        false => expr.as_ref().clone().eq(other),
    });
    let all = in_values.into_iter().chain(compared);
    let spelled = if negated { conjunction(all) } else { disjunction(all) };
    Ok(Transformed::yes(spelled.unwrap_or_else(|| lit(negated))))
}
