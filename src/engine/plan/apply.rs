//! Correlated subqueries that DataFusion cannot turn into joins, run for the outer values of many rows at once, or, where
//! that is not possible, once for every combination of them.

mod answers;
mod crossed;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, new_empty_array};
use datafusion::arrow::compute::{concat, concat_batches, take};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, JoinType, UnnestOptions};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::expr::{Exists, InSubquery, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Subquery, TypeSignature, Volatility,
};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::scalar::ScalarValue;
use parking_lot::Mutex;

use self::crossed::most_rows;
use crate::engine::analysis::analyzed;
use crate::engine::plan::cancel::cancellable;
use crate::engine::plan::domains::Domains;
use crate::engine::plan::subqueries::node_has_subquery;
use crate::engine::storage::RowMemory;
use crate::error::Error;
use crate::ml::Control;

/// So many combinations of outer values are asked for at once: what is joined with them is kept in memory.
const DOMAIN_ROWS: usize = 500;

/// So many answers of a subquery are kept, and those of one batch more.
const KNOWN_MAX: usize = 10_000;

/// So many rows are numbered for outer values, to take the first ones of each.
const CROSSED_ROWS_MAX: usize = 10_000_000;

/// True for a plan with subqueries or laterals, which may have failed because DataFusion does not take them.
pub fn has_subqueries(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                found |= matches!(
                    expr,
                    Expr::ScalarSubquery(_)
                        | Expr::Exists(_)
                        | Expr::InSubquery(_)
                        | Expr::SetComparison(_)
                        | Expr::OuterReferenceColumn(..)
                );
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// The plan with its correlated subqueries as functions of the outer columns.
pub fn with_applied_subqueries(
    plan: LogicalPlan,
    state: &Arc<SessionState>,
    control: &Arc<Control>,
) -> Result<LogicalPlan> {
    let apply = Apply { state, control };
    plan.transform_up_with_subqueries(|node| {
        let node = match node.map_children(as_relation).data()? {
            LogicalPlan::Join(join) => apply.join(join)?,
            node => node,
        };
        if !node_has_subquery(&node)? {
            return Ok(Transformed::no(node));
        }
        let schemas: Vec<DFSchemaRef> =
            node.inputs().iter().map(|input| Arc::clone(input.schema())).collect();
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let applied = expr.transform_up(|expr| apply.replace(expr, &schemas))?;
            Ok(applied.update_data(|expr| name.restore(expr)))
        })
    })
    .data()
}

/// A relation that may refer to those before it as a plain one.
fn as_relation(input: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match input {
        LogicalPlan::Subquery(lateral) => Ok(Transformed::yes(Arc::unwrap_or_clone(lateral.subquery))),
        input => Ok(Transformed::no(input)),
    }
}

struct Apply<'a> {
    state: &'a Arc<SessionState>,
    control: &'a Arc<Control>,
}

impl Apply<'_> {
    /// A join whose right side refers to its left one: the right rows of every left row, as a list that is unnested.
    fn join(&self, join: Join) -> Result<LogicalPlan> {
        let Join { left, right, join_type, on, filter, .. } = &join;
        let left_schema = left.schema();
        let lateral = outer_columns(right)?.iter().any(|(_, column)| left_schema.has_column(column));
        if !lateral {
            return Ok(LogicalPlan::Join(join));
        }
        let on_true = matches!(filter, None | Some(Expr::Literal(ScalarValue::Boolean(Some(true)), _)));
        if !on.is_empty() || !matches!(join_type, JoinType::Inner | JoinType::Left) {
            let message = "LATERAL is supported in a cross join, an inner join and a LEFT JOIN with ON";
            return Err(Error::unsupported(message).into());
        }
        let right = match filter {
            Some(filter) if *join_type == JoinType::Left && !on_true => meeting(right, filter, left_schema)?,
            _ => Arc::clone(right),
        };
        let (call, _) = self.applied(&right, Kind::Rows, None, &[Arc::clone(left_schema)])?;
        let left_columns: Vec<Expr> = left_schema.columns().into_iter().map(Expr::Column).collect();
        let rows = Column::from_name(ROWS);
        let listed = left_columns.iter().cloned().chain([call.alias(ROWS)]);
        let options = UnnestOptions::new().with_preserve_nulls(*join_type == JoinType::Left);
        let right_columns = right.schema().iter().enumerate().map(|(n, (relation, field))| {
            let value = get_field(Expr::Column(rows.clone()), part(n));
            value.alias_qualified(relation.cloned(), field.name())
        });
        let plan = LogicalPlanBuilder::from(left.as_ref().clone())
            .project(listed)?
            .unnest_column_with_options(rows.clone(), options)?
            .project(left_columns.into_iter().chain(right_columns))?;
        match filter {
            Some(filter) if *join_type == JoinType::Inner && !on_true => plan.filter(filter.clone())?.build(),
            _ => plan.build(),
        }
    }

    /// The expression without its subqueries that refer to the outer query.
    fn replace(&self, expr: Expr, schemas: &[DFSchemaRef]) -> Result<Transformed<Expr>> {
        let call = match &expr {
            Expr::ScalarSubquery(subquery) => self.call(subquery, Kind::Scalar, None, schemas)?,
            Expr::Exists(Exists { subquery, .. }) => self.call(subquery, Kind::Exists, None, schemas)?,
            Expr::InSubquery(InSubquery { subquery, expr, .. }) => {
                self.call(subquery, Kind::In, Some(expr.as_ref().clone()), schemas)?
            }
            _ => None,
        };
        let Some(call) = call else { return Ok(Transformed::no(expr)) };
        let negated = match &expr {
            Expr::Exists(exists) => exists.negated,
            Expr::InSubquery(contained) => contained.negated,
            _ => false,
        };
        Ok(Transformed::yes(if negated { Expr::Not(Box::new(call)) } else { call }))
    }

    /// The call for a subquery that refers to the outer query.
    fn call(
        &self,
        subquery: &Subquery,
        kind: Kind,
        value: Option<Expr>,
        schemas: &[DFSchemaRef],
    ) -> Result<Option<Expr>> {
        let (call, refers) = self.applied(&subquery.subquery, kind, value, schemas)?;
        Ok(refers.then_some(call))
    }

    fn applied(
        &self,
        plan: &LogicalPlan,
        kind: Kind,
        value: Option<Expr>,
        schemas: &[DFSchemaRef],
    ) -> Result<(Expr, bool)> {
        // Its columns have the types that those of all branches of a UNION come to.
        let plan = analyzed(self.state, plan);
        let outer = outer_columns(&plan)?;
        let refers = !outer.is_empty();
        // A column that is not here is one of a query further out.
        let argument =
            |(field, column): &(FieldRef, Column)| match schemas.iter().any(|s| s.has_column(column)) {
                true => Expr::Column(column.clone()),
                false => Expr::OuterReferenceColumn(Arc::clone(field), column.clone()),
            };
        let args = value.into_iter().chain(outer.iter().map(argument)).collect();
        let field = match kind {
            Kind::Rows => Field::new(ROWS, list_of(plan.schema().as_arrow()), true),
            Kind::Scalar => plan.schema().field(0).as_ref().clone().with_nullable(true),
            // A query without columns has rows as well.
            Kind::Exists | Kind::In => Field::new(ANSWER, DataType::Boolean, true),
        };
        let is_volatile = refers && is_volatile(&plan)?;
        let is_kept = !is_volatile && kind != Kind::Rows && has_calls(&plan)?;
        let applied = AppliedSubquery {
            plan,
            kind,
            outer,
            is_volatile,
            known: is_kept.then(Mutex::default),
            field: Arc::new(field),
            signature: Signature::one_of(
                vec![TypeSignature::Nullary, TypeSignature::VariadicAny],
                Volatility::Volatile,
            ),
            state: Arc::clone(self.state),
            control: Arc::clone(self.control),
            domains: OnceLock::new(),
            one_by_one: AtomicBool::new(false),
        };
        let func = Arc::new(ScalarUDF::new_from_impl(applied));
        Ok((Expr::ScalarFunction(ScalarFunction::new_udf(func, args)), refers))
    }
}

/// The right rows that meet a condition on them and on a left row.
fn meeting(rows: &Arc<LogicalPlan>, condition: &Expr, left: &DFSchema) -> Result<Arc<LogicalPlan>> {
    let condition = condition.clone().transform_up(|part| match &part {
        Expr::Column(column) => Ok(match left.maybe_index_of_column(column) {
            Some(place) => {
                let field = Arc::clone(left.field(place));
                Transformed::yes(Expr::OuterReferenceColumn(field, column.clone()))
            }
            None => Transformed::no(part),
        }),
        _ => Ok(Transformed::no(part)),
    });
    Ok(Arc::new(LogicalPlan::Filter(Filter::try_new(condition.data()?, Arc::clone(rows))?)))
}

/// The column of an answer, which is true or false.
const ANSWER: &str = "answer";
/// The column of the right rows.
const ROWS: &str = "applied rows";

/// The name of a column among the right rows.
fn part(n: usize) -> String {
    format!("c{n}")
}

/// Rows of these columns as one value.
fn list_of(columns: &Schema) -> DataType {
    let columns = columns.fields().iter().enumerate();
    let parts: Fields =
        columns.map(|(n, field)| Field::new(part(n), field.data_type().clone(), true)).collect();
    DataType::List(Arc::new(Field::new("item", DataType::Struct(parts), true)))
}

/// The columns of outer queries in a plan, each once. The subqueries in its expressions have none any more: those that
/// referred outwards are functions of such columns.
pub fn outer_columns(plan: &LogicalPlan) -> Result<Vec<(FieldRef, Column)>> {
    let mut found: Vec<(FieldRef, Column)> = vec![];
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::OuterReferenceColumn(field, column) = expr
                    && !found.iter().any(|(_, known)| known == column)
                {
                    found.push((Arc::clone(field), column.clone()));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// True for a plan with values that may be others with every run.
pub fn is_volatile(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                found |= match applied_subquery(part) {
                    Some(applied) => applied.is_volatile,
                    None => part.is_volatile_node(),
                };
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// True for a plan with calls of other subqueries in it.
fn has_calls(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|part| Ok(applied_subquery(part).is_some()))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

/// The subquery that an expression is a call of.
fn applied_subquery(expr: &Expr) -> Option<&AppliedSubquery> {
    match expr {
        Expr::ScalarFunction(call) => call.func.inner().downcast_ref::<AppliedSubquery>(),
        _ => None,
    }
}

/// What is asked of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The value of the only row.
    Scalar,
    /// Whether there are rows.
    Exists,
    /// Whether the first argument is among them.
    In,
    /// All of them in a list, NULL where there are none.
    Rows,
}

/// Answers for outer values.
type Known = HashMap<Vec<ScalarValue>, ScalarValue>;

/// A subquery as a function of the outer columns.
struct AppliedSubquery {
    plan: LogicalPlan,
    kind: Kind,
    outer: Vec<(FieldRef, Column)>,
    /// True where it says something else for each outer row, also for those that are alike.
    is_volatile: bool,
    /// Its answers, where there are subqueries in it: whoever asks again, and those who ask at once, would have all of
    /// them run as many times more with every level.
    known: Option<Mutex<Known>>,
    field: FieldRef,
    signature: Signature,
    state: Arc<SessionState>,
    control: Arc<Control>,
    /// Its plan for many outer values, where there is one.
    domains: OnceLock<Option<Domains>>,
    /// Set where that plan has failed.
    one_by_one: AtomicBool,
}

impl fmt::Debug for AppliedSubquery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppliedSubquery({:?})", self.kind)
    }
}

impl PartialEq for AppliedSubquery {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.kind == other.kind && self.plan == other.plan
    }
}

impl Eq for AppliedSubquery {}

impl Hash for AppliedSubquery {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.outer.hash(state);
    }
}

impl ScalarUDFImpl for AppliedSubquery {
    fn name(&self) -> &str {
        "applied_subquery"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.field.data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::clone(&self.field))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays: Vec<ArrayRef> =
            args.args.iter().map(|value| value.to_array(args.number_rows)).collect::<Result<_>>()?;
        let (tuples, places) = match self.is_volatile {
            true => each(args.number_rows),
            false => distinct(&arrays, args.number_rows)?,
        };
        if tuples.is_empty() {
            return Ok(ColumnarValue::Array(new_empty_array(args.return_field.data_type())));
        }
        let answers = match &self.known {
            Some(known) => self.kept(&mut tokio::task::block_in_place(|| known.lock()), &arrays, &tuples)?,
            None => self.asked(&arrays, &tuples)?,
        };
        let all_differ = tuples.len() == args.number_rows;
        Ok(ColumnarValue::Array(if all_differ { answers } else { take(&answers, &places, None)? }))
    }
}

/// Every row by itself, and its place.
fn each(rows: usize) -> (Vec<u32>, UInt32Array) {
    let rows: Vec<u32> = (0_u32..).take(rows).collect();
    (rows.clone(), rows.into())
}

/// The first row of every combination of values, and the place among them of that of each row.
fn distinct(arrays: &[ArrayRef], rows: usize) -> Result<(Vec<u32>, UInt32Array)> {
    let (mut known, mut firsts) = (HashMap::new(), vec![]);
    let mut places = Vec::with_capacity(rows);
    for (row, count) in (0..rows).zip(0_u32..) {
        let place = *known.entry(values_at(arrays, row)?).or_insert_with(|| {
            firsts.push(count);
            firsts.len() as u32 - 1
        });
        places.push(place);
    }
    Ok((firsts, places.into()))
}

fn values_at(arrays: &[ArrayRef], row: usize) -> Result<Vec<ScalarValue>> {
    arrays.iter().map(|array| ScalarValue::try_from_array(array, row)).collect()
}

impl AppliedSubquery {
    /// What the subquery says for these rows of its arguments, asked where it is not known.
    fn kept(&self, known: &mut Known, arrays: &[ArrayRef], rows: &[u32]) -> Result<ArrayRef> {
        if known.len() > KNOWN_MAX {
            known.clear();
        }
        let tuples: Vec<Vec<ScalarValue>> =
            rows.iter().map(|row| values_at(arrays, *row as usize)).collect::<Result<_>>()?;
        let unknown = |(row, tuple): (&u32, &Vec<ScalarValue>)| (!known.contains_key(tuple)).then_some(*row);
        let asked: Vec<u32> = rows.iter().zip(&tuples).filter_map(unknown).collect();
        if !asked.is_empty() {
            let answers = self.asked(arrays, &asked)?;
            for (n, row) in asked.iter().enumerate() {
                known.insert(values_at(arrays, *row as usize)?, ScalarValue::try_from_array(&answers, n)?);
            }
        }
        ScalarValue::iter_to_array(tuples.iter().filter_map(|tuple| known.get(tuple).cloned()))
    }

    /// What the subquery says for these rows of its arguments.
    fn asked(&self, arrays: &[ArrayRef], rows: &[u32]) -> Result<ArrayRef> {
        let mut answers = Vec::with_capacity(rows.len().div_ceil(DOMAIN_ROWS));
        for rows in rows.chunks(DOMAIN_ROWS) {
            self.control.check().map_err(DataFusionError::from)?;
            let rows = UInt32Array::from(rows.to_vec());
            let values: Vec<ArrayRef> =
                arrays.iter().map(|array| Ok(take(array, &rows, None)?)).collect::<Result<_>>()?;
            answers.push(self.answers(values, rows.len())?);
        }
        match answers.as_slice() {
            [all] => Ok(Arc::clone(all)),
            parts => {
                let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
                Ok(concat(&parts)?)
            }
        }
    }

    /// What the subquery says for each row of these arguments, of which there are so many.
    fn answers(&self, values: Vec<ArrayRef>, count: usize) -> Result<ArrayRef> {
        let domains = if count > 1 { self.domains(&values) } else { None };
        if let Some(domains) = domains {
            match self.rows_of_all(domains, values.clone()) {
                Ok(rows) => return answers::for_all(self.kind, &rows, count, self.field.data_type()),
                // What fails for all may do for each, or tells better why not.
                Err(_) => self.one_by_one.store(true, Ordering::Relaxed),
            }
        }
        self.answers_one_by_one(&values, count)
    }

    fn domains(&self, values: &[ArrayRef]) -> Option<&Domains> {
        let domains = self.domains.get_or_init(|| {
            let types: Vec<DataType> = values.iter().map(|array| array.data_type().clone()).collect();
            let outer = self.outer.iter().map(|(_, column)| column.clone()).collect();
            Domains::try_new(self.kind, &self.plan, outer, &types, &self.state).ok()
        });
        domains.as_ref().filter(|_| !self.one_by_one.load(Ordering::Relaxed))
    }

    /// The rows for all of these arguments; the first column is the place of those that a row is of.
    fn rows_of_all(&self, domains: &Domains, values: Vec<ArrayRef>) -> Result<RecordBatch> {
        let count = values.first().map_or(0, |column| column.len());
        let plan = self.physical(&domains.plan(values)?)?;
        // One by one, rows are read as far as they are wanted.
        if domains.crosses && most_rows(plan.as_ref()).saturating_mul(count) > CROSSED_ROWS_MAX {
            return Err(Error::unsupported("the first rows of a large table for each outer row").into());
        }
        let schema = plan.schema();
        let rows = self.run(plan)?;
        let schema = rows.first().map_or(schema, RecordBatch::schema);
        Ok(concat_batches(&schema, &rows)?)
    }

    fn answers_one_by_one(&self, values: &[ArrayRef], count: usize) -> Result<ArrayRef> {
        let mut answers = Vec::with_capacity(count);
        for row in 0..count {
            self.control.check().map_err(DataFusionError::from)?;
            answers.push(self.value(&values_at(values, row)?)?);
        }
        ScalarValue::iter_to_array(answers)
    }

    fn value(&self, arguments: &[ScalarValue]) -> Result<ScalarValue> {
        let (wanted, outer) = arguments.split_at(usize::from(self.kind == Kind::In));
        let rows = self.rows(outer)?;
        let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
        match self.kind {
            Kind::Exists => Ok(ScalarValue::Boolean(Some(count > 0))),
            Kind::In => answers::among(&wanted[0], &rows),
            Kind::Rows if count == 0 => ScalarValue::try_from(self.field.data_type()),
            Kind::Rows => answers::listed(&rows, self.field.data_type()),
            Kind::Scalar if count > 1 => Err(answers::more_than_one_row()),
            Kind::Scalar => match rows.iter().find(|batch| batch.num_rows() > 0) {
                Some(batch) => {
                    ScalarValue::try_from_array(batch.column(0), 0)?.cast_to(self.field.data_type())
                }
                None => ScalarValue::try_from(self.field.data_type()),
            },
        }
    }

    /// The rows of the subquery for these values of the outer columns.
    fn rows(&self, outer: &[ScalarValue]) -> Result<Vec<RecordBatch>> {
        let value_of = |column: &Column| {
            let n = self.outer.iter().position(|(_, known)| known == column)?;
            outer.get(n).cloned()
        };
        let bound = self.plan.clone().transform_up(|node| {
            // What others call a column by its expression stays so called.
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                let bound = expr.transform_up(|expr| match &expr {
                    Expr::OuterReferenceColumn(_, column) => Ok(match value_of(column) {
                        Some(value) => Transformed::yes(Expr::Literal(value, None)),
                        None => Transformed::no(expr),
                    }),
                    _ => Ok(Transformed::no(expr)),
                })?;
                Ok(bound.update_data(|expr| name.restore(expr)))
            })
        });
        self.run(self.physical(&self.state.optimize(&bound.data()?)?)?)
    }

    /// How an optimised plan is run.
    fn physical(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let state = self.state.as_ref();
        waited(state.query_planner().create_physical_plan(plan, state))
    }

    fn run(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<RecordBatch>> {
        let state = self.state.as_ref();
        waited(async {
            let rows = execute_stream(cancellable(plan, &self.control)?, state.task_ctx())?;
            RowMemory::new("rows of a subquery", &state.runtime_env().memory_pool).collect(rows).await
        })
    }
}

/// What a function gives to one that cannot await it.
fn waited<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work))
}
