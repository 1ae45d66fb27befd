//! Correlated subqueries that DataFusion cannot turn into joins, run once for every combination of the outer values.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, ListArray, RecordBatch, StructArray, new_empty_array};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, UnnestOptions};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::expr::{Exists, InSubquery, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Join, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Subquery, TypeSignature, Volatility,
};
use datafusion::physical_plan::execute_stream;
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;

use crate::engine::plan::cancel::cancellable;
use crate::error::{Error, ErrorKind, Subject};
use crate::ml::Control;

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
    plan.transform_up(|node| {
        let node = match node {
            LogicalPlan::Join(join) => apply.join(join)?,
            node => node,
        };
        let everywhere = matches!(node, LogicalPlan::Sort(_));
        let schemas: Vec<DFSchema> =
            node.inputs().iter().map(|input| input.schema().as_ref().clone()).collect();
        node.map_expressions(|expr| expr.transform_up(|expr| apply.replace(expr, &schemas, everywhere)))
    })
    .data()
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
        if !on.is_empty() || !(*join_type == JoinType::Inner || *join_type == JoinType::Left && on_true) {
            let message = "LATERAL is supported in a cross join, an inner join and LEFT JOIN … ON true";
            return Err(Error::unsupported(message).into());
        }
        let (call, _) = self.applied(right, Kind::Rows, None, &[left_schema.as_ref().clone()])?;
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
            Some(filter) if !on_true => plan.filter(filter.clone())?.build(),
            _ => plan.build(),
        }
    }

    /// The expression without its subqueries that refer to the outer query, or, with `all`, without any.
    fn replace(&self, expr: Expr, schemas: &[DFSchema], all: bool) -> Result<Transformed<Expr>> {
        let call = match &expr {
            Expr::ScalarSubquery(subquery) => self.call(subquery, Kind::Scalar, None, schemas)?,
            Expr::Exists(Exists { subquery, .. }) => self.call(subquery, Kind::Exists, None, schemas)?,
            Expr::InSubquery(InSubquery { subquery, expr, .. }) => {
                self.call(subquery, Kind::In, Some(expr.as_ref().clone()), schemas)?
            }
            _ => None,
        };
        let Some((call, _)) = call.filter(|(_, outer)| all || *outer) else {
            return Ok(Transformed::no(expr));
        };
        let negated = match &expr {
            Expr::Exists(exists) => exists.negated,
            Expr::InSubquery(contained) => contained.negated,
            _ => false,
        };
        Ok(Transformed::yes(if negated { Expr::Not(Box::new(call)) } else { call }))
    }

    /// The call for a subquery, and whether it refers to the outer query.
    fn call(
        &self,
        subquery: &Subquery,
        kind: Kind,
        value: Option<Expr>,
        schemas: &[DFSchema],
    ) -> Result<Option<(Expr, bool)>> {
        self.applied(&subquery.subquery, kind, value, schemas).map(Some)
    }

    fn applied(
        &self,
        plan: &LogicalPlan,
        kind: Kind,
        value: Option<Expr>,
        schemas: &[DFSchema],
    ) -> Result<(Expr, bool)> {
        let plan = with_applied_subqueries(plan.clone(), self.state, self.control)?;
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
            _ => plan.schema().field(0).as_ref().clone().with_nullable(true),
        };
        let applied = AppliedSubquery {
            plan,
            kind,
            outer,
            field: Arc::new(field),
            signature: Signature::one_of(
                vec![TypeSignature::Nullary, TypeSignature::VariadicAny],
                Volatility::Volatile,
            ),
            state: Arc::clone(self.state),
            control: Arc::clone(self.control),
        };
        let func = Arc::new(ScalarUDF::new_from_impl(applied));
        Ok((Expr::ScalarFunction(ScalarFunction::new_udf(func, args)), refers))
    }
}

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

/// The columns of outer queries in a plan, each once.
fn outer_columns(plan: &LogicalPlan) -> Result<Vec<(FieldRef, Column)>> {
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

/// What is asked of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The value of the only row.
    Scalar,
    /// Whether there are rows.
    Exists,
    /// Whether the first argument is among them.
    In,
    /// All of them in a list, NULL where there are none.
    Rows,
}

/// A subquery as a function of the outer columns.
struct AppliedSubquery {
    plan: LogicalPlan,
    kind: Kind,
    outer: Vec<(FieldRef, Column)>,
    field: FieldRef,
    signature: Signature,
    state: Arc<SessionState>,
    control: Arc<Control>,
}

impl fmt::Debug for AppliedSubquery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppliedSubquery({:?})", self.kind)
    }
}

impl PartialEq for AppliedSubquery {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.plan == other.plan
    }
}

impl Eq for AppliedSubquery {}

impl Hash for AppliedSubquery {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.plan.hash(state);
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
        Ok(match self.kind {
            Kind::Scalar | Kind::Rows => self.field.data_type().clone(),
            Kind::Exists | Kind::In => DataType::Boolean,
        })
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = self.field.as_ref().clone();
        Ok(Arc::new(match self.kind {
            Kind::Scalar | Kind::Rows => field,
            _ => Field::new(self.name(), DataType::Boolean, true),
        }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays: Vec<ArrayRef> =
            args.args.iter().map(|value| value.to_array(args.number_rows)).collect::<Result<_>>()?;
        let mut known: HashMap<Vec<ScalarValue>, ScalarValue> = HashMap::new();
        let mut values = Vec::with_capacity(args.number_rows);
        for row in 0..args.number_rows {
            let arguments: Vec<ScalarValue> =
                arrays.iter().map(|array| ScalarValue::try_from_array(array, row)).collect::<Result<_>>()?;
            let value = match known.get(&arguments) {
                Some(value) => value.clone(),
                None => {
                    self.control.check().map_err(DataFusionError::from)?;
                    let value = self.value(&arguments)?;
                    known.insert(arguments, value.clone());
                    value
                }
            };
            values.push(value);
        }
        if values.is_empty() {
            return Ok(ColumnarValue::Array(new_empty_array(args.return_field.data_type())));
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(values)?))
    }
}

impl AppliedSubquery {
    fn value(&self, arguments: &[ScalarValue]) -> Result<ScalarValue> {
        let (wanted, outer) = arguments.split_at(usize::from(self.kind == Kind::In));
        let rows = self.rows(outer)?;
        let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
        match self.kind {
            Kind::Exists => Ok(ScalarValue::Boolean(Some(count > 0))),
            Kind::In => among(&wanted[0], &rows),
            Kind::Rows if count == 0 => ScalarValue::try_from(self.field.data_type()),
            Kind::Rows => listed(&rows, self.field.data_type()),
            Kind::Scalar if count > 1 => {
                let message = "more than one row returned by a subquery used as an expression";
                Err(Error::new(ErrorKind::Data, Subject::Statement, message).into())
            }
            Kind::Scalar => match rows.iter().find(|batch| batch.num_rows() > 0) {
                Some(batch) => ScalarValue::try_from_array(batch.column(0), 0),
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
            // A relation that referred to the outer query is a plain one now.
            let node = match node {
                LogicalPlan::Subquery(subquery) => Arc::unwrap_or_clone(subquery.subquery),
                node => node,
            };
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
        let (plan, state) = (bound.data()?, Arc::clone(&self.state));
        let control = Arc::clone(&self.control);
        let work = async move {
            let physical = cancellable(state.create_physical_plan(&plan).await?, &control)?;
            execute_stream(physical, state.task_ctx())?.try_collect().await
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work))
    }
}

/// Rows as one value of this type of lists.
fn listed(rows: &[RecordBatch], list: &DataType) -> Result<ScalarValue> {
    let DataType::List(item) = list else { return Err(Error::internal("rows are a list").into()) };
    let DataType::Struct(parts) = item.data_type() else {
        return Err(Error::internal("a row is a struct").into());
    };
    let rows = concat_batches(&rows[0].schema(), rows)?;
    let columns = rows.columns().iter().zip(parts).map(|(column, part)| cast(column, part.data_type()));
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
    let rows_of = StructArray::try_new_with_length(parts.clone(), columns, None, rows.num_rows())?;
    let offsets = OffsetBuffer::from_lengths([rows.num_rows()]);
    Ok(ScalarValue::List(Arc::new(ListArray::try_new(Arc::clone(item), offsets, Arc::new(rows_of), None)?)))
}

/// Whether a value is among the first column of rows, in SQL's logic of three values.
fn among(wanted: &ScalarValue, rows: &[RecordBatch]) -> Result<ScalarValue> {
    let mut unsure = false;
    for batch in rows {
        let (found, given) = (batch.column(0).data_type(), wanted.data_type());
        let common = comparison_coercion(found, &given).unwrap_or(given);
        let wanted = wanted.cast_to(&common)?;
        for row in 0..batch.num_rows() {
            let value = ScalarValue::try_from_array(batch.column(0), row)?;
            if value.is_null() || wanted.is_null() {
                unsure = true;
            } else if value.cast_to(&common)? == wanted {
                return Ok(ScalarValue::Boolean(Some(true)));
            }
        }
    }
    Ok(ScalarValue::Boolean(if unsure { None } else { Some(false) }))
}
