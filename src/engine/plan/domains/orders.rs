//! Nodes that look at the rows of the same outer values in an order, or compare them with each other.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Distinct, DistinctOn, Expr, ExprFunctionExt, Filter, Limit, LogicalPlan, Operator, Sort,
    SortExpr, Window, WindowFrameUnits, cast, lit,
};

use super::{Carried, Domain, columns_of, projected};

impl Domain {
    /// The rows numbered in their order: a sort for all outer values together would be of no use above it.
    pub(super) fn sort(&mut self, sort: &Sort) -> Result<Carried> {
        let input = self.input(&sort.input, sort.expr.iter().map(|key| &key.expr))?;
        let mut keys = self.sort_keys(&sort.expr, &input.values)?;
        keys.retain(|key| !matches!(key.expr, Expr::Literal(..)));
        let sorted = if keys.is_empty() { input } else { self.numbered(input, keys)? };
        match sort.fetch {
            None => Ok(sorted),
            Some(fetch) => self.limited(sorted, None, Some(lit(fetch as u64))),
        }
    }

    pub(super) fn limit(&mut self, limit: &Limit) -> Result<Carried> {
        let counts = limit.skip.as_deref().into_iter().chain(limit.fetch.as_deref());
        let input = self.input(&limit.input, counts)?;
        self.crosses |= input.order.is_empty() && !limit.input.as_ref().exists(is_narrow)?;
        let skip = self.count(limit.skip.as_deref(), &input.values)?;
        let fetch = self.count(limit.fetch.as_deref(), &input.values)?;
        self.limited(input, skip, fetch)
    }

    /// A number of rows; one below zero fails when it is cast.
    fn count(&self, count: Option<&Expr>, values: &[Column]) -> Result<Option<Expr>> {
        let count = count.map(|count| self.bound(count, values)).transpose()?;
        Ok(count.map(|count| cast(count, DataType::UInt64)))
    }

    /// The rows after the first `skip` ones, and no more than `fetch`.
    fn limited(&mut self, rows: Carried, skip: Option<Expr>, fetch: Option<Expr>) -> Result<Carried> {
        let rows = if rows.numbered { rows } else { self.renumbered(rows)? };
        let number: Vec<Expr> = rows.order.iter().cloned().map(Expr::Column).collect();
        let [number] = number.as_slice() else { return Ok(rows) };
        let skip = skip.map(|skip| coalesce(vec![skip, lit(0_u64)]));
        let above = skip.clone().map(|skip| number.clone().gt(skip));
        let up_to = fetch.map(|fetch| {
            let last = skip.map_or(fetch.clone(), |skip| skip + fetch.clone());
            fetch.is_null().or(number.clone().lt_eq(last))
        });
        let Some(kept) = above.into_iter().chain(up_to).reduce(Expr::and) else { return Ok(rows) };
        let plan = Filter::try_new(kept, Arc::clone(&rows.plan))?;
        Ok(rows.with(LogicalPlan::Filter(plan)))
    }

    pub(super) fn distinct(&mut self, input: &LogicalPlan) -> Result<Carried> {
        let rows = self.carry(input)?;
        let columns = columns_of(input.schema()).into_iter().chain([rows.id()]);
        let plan = projected(columns, rows.plan)?;
        Ok(Carried::of(LogicalPlan::Distinct(Distinct::All(Arc::new(plan))), rows.id))
    }

    /// DISTINCT ON: the first of the rows that are alike.
    pub(super) fn first_rows(&mut self, distinct: &DistinctOn) -> Result<Carried> {
        let DistinctOn { on_expr, select_expr, sort_expr, input, .. } = distinct;
        let order = sort_expr.as_deref().unwrap_or_default();
        let keys = order.iter().map(|key| &key.expr);
        let input = self.input(input, on_expr.iter().chain(select_expr).chain(keys))?;
        let keys = self.sort_keys(order, &input.values)?;
        let rows = if keys.is_empty() { self.renumbered(input)? } else { self.numbered(input, keys)? };
        let mut alike = vec![rows.id()];
        for expr in on_expr {
            alike.push(self.bound(expr, &rows.values)?);
        }
        let (plan, number) = self.counted(Arc::clone(&rows.plan), alike, rows.keys())?;
        let first = Filter::try_new(Expr::Column(number).eq(lit(1_u64)), plan)?;
        let mut columns: Vec<Expr> =
            select_expr.iter().map(|expr| self.named(expr, &rows.values)).collect::<Result<_>>()?;
        columns.extend(rows.columns());
        let plan = projected(columns, Arc::new(LogicalPlan::Filter(first)))?;
        Ok(rows.with(plan))
    }

    pub(super) fn window(&mut self, window: &Window) -> Result<Carried> {
        let input = self.input(&window.input, &window.window_expr)?;
        // Without an order of its own, a window sees the rows as they come.
        let order = if window.window_expr.iter().all(takes_rows) { input.keys() } else { vec![] };
        let mut functions = Vec::with_capacity(window.window_expr.len());
        for function in &window.window_expr {
            let name = NamePreserver::new_for_projection().save(function);
            let parted = self.bound(function, &input.values)?.transform_up(|part| match part {
                Expr::WindowFunction(mut call) => {
                    call.params.partition_by.insert(0, input.id());
                    if call.params.order_by.is_empty() {
                        call.params.order_by = order.clone();
                    }
                    Ok(Transformed::yes(Expr::WindowFunction(call)))
                }
                part => Ok(Transformed::no(part)),
            });
            functions.push(name.restore(parted.data()?));
        }
        let plan = LogicalPlan::Window(Window::try_new(functions, Arc::clone(&input.plan))?);
        Ok(Carried { plan: Arc::new(plan), ..input })
    }

    /// The rows of the same outer values numbered from 1 in an order.
    fn numbered(&mut self, rows: Carried, order: Vec<SortExpr>) -> Result<Carried> {
        let (plan, number) = self.counted(Arc::clone(&rows.plan), vec![rows.id()], order)?;
        Ok(Carried { plan, order: vec![number], numbered: true, ..rows })
    }

    /// As [`Self::numbered`], in the order that they have.
    fn renumbered(&mut self, rows: Carried) -> Result<Carried> {
        let rows = if rows.order.is_empty() { self.as_they_come(rows)? } else { rows };
        let order = rows.keys();
        self.numbered(rows, order)
    }

    /// The rows, those without an order between them in the order in which they come.
    pub(super) fn as_they_come(&mut self, rows: Carried) -> Result<Carried> {
        let (plan, number) = self.counted(Arc::clone(&rows.plan), vec![], vec![])?;
        let order = rows.order.iter().cloned().chain([number]).collect();
        Ok(Carried { plan, order, numbered: false, ..rows })
    }

    /// A plan with the column that numbers its rows.
    fn counted(
        &mut self,
        plan: Arc<LogicalPlan>,
        parts: Vec<Expr>,
        order: Vec<SortExpr>,
    ) -> Result<(Arc<LogicalPlan>, Column)> {
        let name = self.name("number");
        let number = row_number().partition_by(parts);
        let number = if order.is_empty() { number } else { number.order_by(order) };
        let number = number.build()?.alias(&name);
        let window = Window::try_new(vec![number], plan)?;
        Ok((Arc::new(LogicalPlan::Window(window)), Column::from_name(name)))
    }
}

/// True for a node that looks at all rows anyway, or has a few of them for each of the outer values.
fn is_narrow(node: &LogicalPlan) -> Result<bool> {
    Ok(match node {
        LogicalPlan::Aggregate(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Window(_) => true,
        LogicalPlan::Filter(filter) => split_conjunction(&filter.predicate).into_iter().any(is_key),
        LogicalPlan::Join(join) => {
            join.filter.as_ref().is_some_and(|filter| split_conjunction(filter).into_iter().any(is_key))
        }
        _ => false,
    })
}

/// True for a column that is to be equal to an outer value.
fn is_key(condition: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return false };
    let is_pair = |inner: &Expr, outer: &Expr| {
        inner.any_column_refs()
            && !inner.contains_outer()
            && outer.contains_outer()
            && !outer.any_column_refs()
    };
    is_pair(left, right) || is_pair(right, left)
}

/// True for a window function without an order, whose frame is the same with one.
fn takes_rows(function: &Expr) -> bool {
    match function {
        Expr::Alias(alias) => takes_rows(&alias.expr),
        Expr::WindowFunction(call) => {
            call.params.order_by.is_empty() && call.params.window_frame.units == WindowFrameUnits::Rows
        }
        _ => false,
    }
}
