//! Aggregates, of groups and of all rows.

use std::iter::once;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{
    Aggregate, Expr, ExprFunctionExt, Filter, LogicalPlan, bitwise_and, cast, lit,
};

use super::{Carried, Domain};
use crate::engine::plan::above_totals::gives_a_total;
use crate::error::Error;

/// Functions that say something else in another order of rows.
const OF_AN_ORDER: [&str; 5] = ["array_agg", "first_value", "last_value", "nth_value", "string_agg"];

impl Domain {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Carried> {
        let Aggregate { input, group_expr, aggr_expr, .. } = aggregate;
        let is_set = |expr: &Expr| matches!(expr, Expr::GroupingSet(_));
        if group_expr.iter().any(|expr| is_set(expr) && expr.contains_outer()) {
            return Err(Error::unsupported("outer values in grouping sets").into());
        }
        // A total is there for outer values without rows, too.
        let (rows, has_row) = if gives_a_total(aggregate) {
            let rows = self.carry(input)?;
            let (rows, has_row) = self.with_all(rows)?;
            (rows, Some(has_row))
        } else {
            (self.input(input, group_expr.iter().chain(aggr_expr))?, None)
        };
        let named = group_expr.iter().map(|expr| self.named(expr, &rows.values));
        let groups: Vec<Expr> = once(Ok(rows.id())).chain(named).collect::<Result<_>>()?;
        let of_rows = |expr: &Expr| self.of_rows(expr, &rows, has_row.as_ref());
        let functions: Vec<Expr> = aggr_expr.iter().map(of_rows).collect::<Result<_>>()?;
        let id = rows.id.clone();
        let plan = match has_row.filter(|_| group_expr.iter().any(is_set)) {
            Some(has_row) => self.with_totals(rows.plan, groups, functions, has_row)?,
            None => LogicalPlan::Aggregate(Aggregate::try_new(rows.plan, groups, functions)?),
        };
        Ok(Carried::of(plan, id))
    }

    /// A function of the rows that there are, in their order.
    fn of_rows(&self, function: &Expr, rows: &Carried, has_row: Option<&Expr>) -> Result<Expr> {
        let name = NamePreserver::new_for_projection().save(function);
        let function = self.bound(function, &rows.values)?.transform_up(|part| match part {
            Expr::AggregateFunction(mut call) => {
                let (function, params) = (call.func.name(), &mut call.params);
                if let Some(has_row) = has_row.filter(|_| function != "grouping") {
                    let filter = params.filter.take().map(|filter| has_row.clone().and(*filter));
                    params.filter = Some(Box::new(filter.unwrap_or_else(|| has_row.clone())));
                }
                if OF_AN_ORDER.contains(&function) && params.order_by.is_empty() && !params.distinct {
                    params.order_by = rows.keys();
                }
                Ok(Transformed::yes(Expr::AggregateFunction(call)))
            }
            part => Ok(Transformed::no(part)),
        });
        Ok(name.restore(function.data()?))
    }

    /// Groups of rows and, among them, totals: outer values without rows have these alone.
    fn with_totals(
        &mut self,
        rows: Arc<LogicalPlan>,
        groups: Vec<Expr>,
        mut functions: Vec<Expr>,
        has_row: Expr,
    ) -> Result<LogicalPlan> {
        let present = self.name("rows");
        functions.push(count(lit(1_i64)).filter(has_row).build()?.alias(&present));
        let aggregate = Aggregate::try_new(rows, groups, functions)?;
        let keys = grouping_set_to_exprlist(&aggregate.group_expr)?.len().saturating_sub(1);
        // A bit of the identifier says that a key is not one of the group; the first key is the outer values.
        let all = 1_i64.checked_shl(u32::try_from(keys).unwrap_or(u32::MAX)).map(|bit| bit.wrapping_sub(1));
        let all = lit(all.ok_or_else(|| Error::unsupported("grouping sets of so many keys"))?);
        let set = Expr::Column(Column::from_name(Aggregate::INTERNAL_GROUPING_ID));
        let is_total = bitwise_and(cast(set, DataType::Int64), all.clone()).eq(all);
        let kept = Expr::Column(Column::from_name(present)).gt(lit(0_i64)).or(is_total);
        let aggregate = Arc::new(LogicalPlan::Aggregate(aggregate));
        Ok(LogicalPlan::Filter(Filter::try_new(kept, aggregate)?))
    }
}
