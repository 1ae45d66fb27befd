//! A subquery that refers to the outer query, as one plan for the values of many outer rows.
//!
//! After Neumann and Kemper, "Unnesting Arbitrary Queries" (BTW 2015), with a table of outer values that are known when
//! the plan runs. Every node of the plan gives its rows for all of them, each with the number of those it belongs to. The
//! table is joined as low as its columns are wanted, so that a condition on them becomes a join.

mod aggregates;
mod joins;
mod orders;
mod rows;

use std::iter::once;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::functions_aggregate::expr_fn::bool_or;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, LogicalPlan, LogicalPlanBuilder, Projection, Sort, SortExpr, TableScan,
};

use crate::engine::plan::apply::{Kind, is_volatile, outer_columns};
use crate::error::Error;

/// The table of outer values; no name that SQL can say, as those of the columns.
const OUTER: &str = "outer values\u{1}";
/// Whether a row is the wanted one, and whether that is not known.
const FOUND: [&str; 2] = ["is wanted\u{1}", "is unsure\u{1}"];

/// The plan of a subquery for the values of many outer rows.
#[derive(Debug)]
pub struct Domains {
    plan: LogicalPlan,
    values: SchemaRef,
    /// True where it takes the first of rows that it has for each of the outer values, in no order.
    pub crosses: bool,
}

impl Domains {
    /// The plan of what is asked of the rows of a subquery for values of these types, of which the last are those of
    /// the outer columns. Fails where a subquery can be run for one outer row at a time alone.
    pub fn try_new(
        kind: Kind,
        subquery: &LogicalPlan,
        outer: Vec<Column>,
        types: &[DataType],
        state: &SessionState,
    ) -> Result<Self> {
        if is_volatile(subquery)? {
            return Err(Error::unsupported("values that are others with every run").into());
        }
        let values = types.iter().enumerate().map(|(n, t)| Field::new(format!("value {n}"), t.clone(), true));
        let fields: Vec<Field> = once(Field::new("id", DataType::Int64, false)).chain(values).collect();
        let values = Arc::new(Schema::new(fields));
        let table = provider_as_source(Arc::new(MemTable::try_new(Arc::clone(&values), vec![vec![]])?));
        let scan = LogicalPlanBuilder::scan(TableReference::bare(OUTER), table, None)?.build()?;
        let before = types.len().saturating_sub(outer.len());
        let mut domain = Domain { outer, before, scan, names: 0, crosses: false };
        let rows = domain.carry(subquery)?;
        let plan = domain.asked(kind, rows, subquery.schema())?;
        Ok(Self { plan: state.optimize(&plan)?, values, crosses: domain.crosses })
    }

    /// The optimised plan for these values; the first column of its rows is the place of the values that a row is of.
    pub fn plan(&self, values: Vec<ArrayRef>) -> Result<LogicalPlan> {
        let count = values.first().map_or(0, |column| column.len()) as i64;
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        let rows =
            RecordBatch::try_new(Arc::clone(&self.values), once(ids).chain(values).collect::<Vec<_>>())?;
        let table = MemTable::try_new(Arc::clone(&self.values), vec![vec![rows]])?;
        let source = provider_as_source(Arc::new(table));
        let with_values = |node: LogicalPlan| match node {
            LogicalPlan::TableScan(scan) if scan.table_name.table() == OUTER => {
                let scan = TableScan { source: Arc::clone(&source), ..scan };
                Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
            }
            node => Ok(Transformed::no(node)),
        };
        self.plan.clone().transform_up(with_values).data()
    }
}

/// A subquery on its way to a plan for all outer values.
struct Domain {
    /// The columns of the outer query.
    outer: Vec<Column>,
    /// How many values come before theirs.
    before: usize,
    scan: LogicalPlan,
    /// How many names were given.
    names: usize,
    /// Whether all rows are there for each of the outer values only to take the first ones.
    crosses: bool,
}

/// Rows for all outer values: the columns of a node of the subquery, and those that are carried beside them.
struct Carried {
    plan: Arc<LogicalPlan>,
    /// Which outer values a row is of.
    id: Column,
    /// The outer values, where they are beside the rows.
    values: Vec<Column>,
    /// What the rows of the same outer values are ordered by, if by anything.
    order: Vec<Column>,
    /// True where the order is a column that counts them from 1.
    numbered: bool,
}

impl Carried {
    /// Other rows with the same columns beside them.
    fn with(self, plan: LogicalPlan) -> Self {
        Self { plan: Arc::new(plan), numbered: false, ..self }
    }

    /// Rows that have no order and no outer values any more.
    fn of(plan: LogicalPlan, id: Column) -> Self {
        Self { plan: Arc::new(plan), id, values: vec![], order: vec![], numbered: false }
    }

    fn id(&self) -> Expr {
        Expr::Column(self.id.clone())
    }

    fn keys(&self) -> Vec<SortExpr> {
        self.order.iter().map(|column| Expr::Column(column.clone()).sort(true, false)).collect()
    }

    /// The columns that are carried.
    fn columns(&self) -> impl Iterator<Item = Expr> {
        once(&self.id).chain(&self.values).chain(&self.order).cloned().map(Expr::Column)
    }
}

impl Domain {
    /// A node for all outer values.
    #[recursive::recursive]
    fn carry(&mut self, plan: &LogicalPlan) -> Result<Carried> {
        // An order of rows that are the same for all would get lost beside them.
        if !matches!(plan, LogicalPlan::Sort(_)) && !refers(plan)? {
            return self.beside(plan);
        }
        match plan {
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input),
            LogicalPlan::Distinct(Distinct::On(distinct)) => self.first_rows(distinct),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Sort(sort) => self.sort(sort),
            LogicalPlan::SubqueryAlias(alias) => self.alias(alias),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::Window(window) => self.window(window),
            other => Err(Error::unsupported(format!("outer values in {}", other.display())).into()),
        }
    }

    /// An input for all outer values, which are beside its rows where the expressions above it refer to them.
    fn input<'a>(
        &mut self,
        input: &LogicalPlan,
        above: impl IntoIterator<Item = &'a Expr>,
    ) -> Result<Carried> {
        let refer = above.into_iter().any(Expr::contains_outer);
        let rows = self.carry(input)?;
        if refer { self.with_values(rows) } else { Ok(rows) }
    }

    /// An expression of outer values that are in these columns.
    fn bound(&self, expr: &Expr, values: &[Column]) -> Result<Expr> {
        let place = |column: &Column| {
            let place = self.outer.iter().position(|known| known == column)?;
            values.get(self.before + place).cloned()
        };
        let bound = expr.clone().transform_up(|part| match &part {
            Expr::OuterReferenceColumn(_, column) => {
                let value = place(column).ok_or_else(|| Error::internal("outer values are missing"))?;
                Ok(Transformed::yes(Expr::Column(value)))
            }
            _ => Ok(Transformed::no(part)),
        });
        bound.data()
    }

    /// As [`Self::bound`]; what others call a column by its expression stays so called.
    fn named(&self, expr: &Expr, values: &[Column]) -> Result<Expr> {
        let name = NamePreserver::new_for_projection().save(expr);
        Ok(name.restore(self.bound(expr, values)?))
    }

    fn sort_keys(&self, keys: &[SortExpr], values: &[Column]) -> Result<Vec<SortExpr>> {
        let bound = |key: &SortExpr| Ok(SortExpr { expr: self.bound(&key.expr, values)?, ..key.clone() });
        keys.iter().map(bound).collect()
    }

    /// A name that nothing else has.
    fn name(&mut self, what: &str) -> String {
        self.names += 1;
        format!("{what} {}\u{1}", self.names)
    }

    /// What is asked of the rows, beside the place of the outer values that it is of.
    fn asked(&mut self, kind: Kind, rows: Carried, schema: &DFSchema) -> Result<LogicalPlan> {
        let (id, columns) = (rows.id(), columns_of(schema));
        match kind {
            Kind::Rows if rows.order.is_empty() => projected(once(id).chain(columns), rows.plan),
            Kind::Rows => {
                let sort = Sort { expr: rows.keys(), input: rows.plan, fetch: None };
                projected(once(id).chain(columns), Arc::new(LogicalPlan::Sort(sort)))
            }
            Kind::Scalar => projected(once(id).chain(columns.into_iter().take(1)), rows.plan),
            Kind::Exists => Ok(LogicalPlan::Aggregate(Aggregate::try_new(rows.plan, vec![id], vec![])?)),
            Kind::In => self.members(rows, columns),
        }
    }

    /// Whether the first of the values is in the first column, and whether that is not known.
    fn members(&mut self, rows: Carried, columns: Vec<Expr>) -> Result<LogicalPlan> {
        let (rows, column) = (self.with_values(rows)?, columns.into_iter().next());
        let (Some(column), Some(wanted)) = (column, rows.values.first().cloned()) else {
            return Err(Error::internal("IN is of a value and a column").into());
        };
        let is_wanted = column.eq(Expr::Column(wanted));
        let [found, unsure] = FOUND;
        let compared = [rows.id(), is_wanted.clone().alias(found), is_wanted.is_null().alias(unsure)];
        let any = FOUND.map(|name| bool_or(Expr::Column(Column::from_name(name))));
        let id = rows.id();
        let compared = Arc::new(projected(compared, rows.plan)?);
        Ok(LogicalPlan::Aggregate(Aggregate::try_new(compared, vec![id], any.into())?))
    }
}

/// True for a plan with columns of the outer query.
fn refers(plan: &LogicalPlan) -> Result<bool> {
    Ok(!outer_columns(plan)?.is_empty())
}

fn columns_of(schema: &DFSchema) -> Vec<Expr> {
    schema.columns().into_iter().map(Expr::Column).collect()
}

fn projected(columns: impl IntoIterator<Item = Expr>, input: Arc<LogicalPlan>) -> Result<LogicalPlan> {
    Projection::try_new(columns.into_iter().collect(), input).map(LogicalPlan::Projection)
}
