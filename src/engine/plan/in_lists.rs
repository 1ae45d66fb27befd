//! A repair of two conditions `x IN (…)` that are made one.
//!
//! DataFusion 55 compares the items of both lists as they are written, which says nothing of columns, and loses a NULL:
//! where lists with such items meet, they are spelled out as comparisons.

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

/// The rule that simplifies expressions, but makes one list of lists of values alone.
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

/// The node with its lists spelled out where they would be made one wrongly.
fn with_comparisons(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !has_meeting_lists(&plan)? {
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

fn has_meeting_lists(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        found = meet(&lists_of(expr)?);
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

/// `x IN (1, 2, y)` as `x IN (1, 2) OR x = y`.
fn as_comparisons(expr: Expr) -> Result<Transformed<Expr>> {
    let InList { expr, list, negated } = match expr {
        Expr::InList(list) if !list.list.iter().all(is_value) && !list.expr.is_volatile() => list,
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
