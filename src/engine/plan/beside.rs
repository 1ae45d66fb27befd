//! Parts of functions of many rows that are computed below them, where DataFusion has them in a projection alone.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection, SortExpr, Window};

/// Which parts of a function are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What it is sorted and divided by.
    Keys,
    /// Its arguments and its filter, too.
    All,
}

/// The columns of a plan, and expressions that are computed beside them.
pub struct Beside {
    input: Arc<LogicalPlan>,
    taken: Vec<Expr>,
    is_taken: fn(&Expr) -> bool,
    /// The number of the first column that is computed here; those before are in the input already.
    first: usize,
}

impl Beside {
    /// Nothing beside the columns of the input yet; what is taken is asked of each expression.
    pub fn new(input: Arc<LogicalPlan>, is_taken: fn(&Expr) -> bool) -> Self {
        let numbers = input.schema().fields().iter().filter_map(|field| number(field.name()));
        let first = numbers.max().map_or(0, |last| last + 1);
        Self { input, taken: Vec::new(), is_taken, first }
    }

    /// The window functions over what is computed below them, with the columns that there were before.
    pub fn windowed(
        window: Window,
        is_taken: fn(&Expr) -> bool,
        part: Part,
    ) -> Result<Transformed<LogicalPlan>> {
        let Window { input, window_expr, schema } = window;
        let mut beside = Self::new(input, is_taken);
        let functions =
            window_expr.into_iter().map(|expr| beside.function(expr, part)).collect::<Result<_>>()?;
        let window = LogicalPlan::Window(Window::try_new(functions, beside.plan()?)?);
        let columns = schema.columns().into_iter().map(Expr::Column).collect();
        Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(window))?)))
    }

    /// The aggregates of what is computed below them.
    pub fn aggregated(
        aggregate: Aggregate,
        is_taken: fn(&Expr) -> bool,
        part: Part,
    ) -> Result<Transformed<LogicalPlan>> {
        let Aggregate { input, group_expr, aggr_expr, .. } = aggregate;
        let mut beside = Self::new(input, is_taken);
        let functions =
            aggr_expr.into_iter().map(|expr| beside.function(expr, part)).collect::<Result<_>>()?;
        let aggregate = Aggregate::try_new(beside.plan()?, group_expr, functions)?;
        Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
    }

    /// The columns of the input.
    pub fn columns(&self) -> Vec<Expr> {
        self.input.schema().columns().into_iter().map(Expr::Column).collect()
    }

    /// The order by columns that will hold its keys.
    pub fn order(&mut self, order: Vec<SortExpr>) -> Vec<SortExpr> {
        order.into_iter().map(|key| SortExpr { expr: self.expr(key.expr), ..key }).collect()
    }

    /// The input with what was taken beside its columns.
    pub fn plan(self) -> Result<Arc<LogicalPlan>> {
        let mut columns = self.columns();
        let names = (self.first..).map(name);
        columns.extend(self.taken.into_iter().zip(names).map(|(expr, name)| expr.unalias().alias(name)));
        Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(columns, self.input)?)))
    }

    /// The column that will hold an expression, if it was taken.
    pub fn column(&self, expr: &Expr) -> Option<Expr> {
        let place = self.taken.iter().position(|taken| taken == expr)?;
        Some(Expr::Column(Column::new_unqualified(name(self.first + place))))
    }

    /// The expression itself, or the column that will hold it.
    pub fn expr(&mut self, expr: Expr) -> Expr {
        if !(self.is_taken)(&expr) {
            return expr;
        }
        self.column(&expr).unwrap_or_else(|| {
            self.taken.push(expr);
            Expr::Column(Column::new_unqualified(name(self.first + self.taken.len() - 1)))
        })
    }

    /// Each expression itself, or the column that will hold it.
    pub fn exprs(&mut self, exprs: Vec<Expr>) -> Vec<Expr> {
        exprs.into_iter().map(|expr| self.expr(expr)).collect()
    }

    /// The function of such columns, named as before.
    fn function(&mut self, function: Expr, part: Part) -> Result<Expr> {
        let (relation, name) = function.qualified_name();
        let changed = function.transform_down(|expr| match expr {
            Expr::WindowFunction(mut window) => {
                let params = &mut window.params;
                if part == Part::All {
                    params.args = self.exprs(std::mem::take(&mut params.args));
                    params.filter = params.filter.take().map(|filter| Box::new(self.expr(*filter)));
                }
                params.partition_by = self.exprs(std::mem::take(&mut params.partition_by));
                params.order_by = self.order(std::mem::take(&mut params.order_by));
                Ok(Transformed::new(Expr::WindowFunction(window), true, TreeNodeRecursion::Jump))
            }
            Expr::AggregateFunction(mut aggregate) => {
                let params = &mut aggregate.params;
                if part == Part::All {
                    params.args = self.exprs(std::mem::take(&mut params.args));
                    params.filter = params.filter.take().map(|filter| Box::new(self.expr(*filter)));
                }
                params.order_by = self.order(std::mem::take(&mut params.order_by));
                Ok(Transformed::new(Expr::AggregateFunction(aggregate), true, TreeNodeRecursion::Jump))
            }
            expr => Ok(Transformed::no(expr)),
        })?;
        Ok(changed.data.unalias().alias_qualified(relation, name))
    }
}

/// No name that SQL can say.
fn name(number: usize) -> String {
    format!("beside {number}\u{1}")
}

/// The number in such a name.
fn number(name: &str) -> Option<usize> {
    name.strip_prefix("beside ")?.strip_suffix('\u{1}')?.parse().ok()
}
