//! `predict(m, rows)` and `predict_proba(m, rows)`: what a model tells of each row, beside its columns.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array};
use datafusion::arrow::compute::{cast as cast_array, take_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{
    Expr, ExprSchemable, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore, cast,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::sqlparser::ast::FunctionArg;
use futures::StreamExt;

use crate::engine::plan::arguments::{Arguments, version_argument};
use crate::engine::plan::node::{all_columns, identified};
use crate::engine::plan::predict_sequence::PredictSequenceNode;
use crate::engine::plan::rows_table::{append, empty};
use crate::engine::plan::scope::Scope;
use crate::engine::plan::work::{Work, WorkExec, query_context};
use crate::engine::registry::{ColumnRole, Model, ModelKind, ModelRole};
use crate::engine::shared::Engine;
use crate::engine::sql::items_written;
use crate::engine::storage::sql_name;
use crate::error::{Error, Subject};
use crate::ml::supervised::{Fitted, Task};

/// The logical node.
#[derive(Debug, Clone)]
pub struct PredictNode {
    model: Arc<Model>,
    /// The user's columns, then those that the model reads.
    input: LogicalPlan,
    /// How many are the user's.
    own: usize,
    /// A row for each class.
    all_classes: bool,
    schema: DFSchemaRef,
}

impl PredictNode {
    /// Reads a call of `predict` or `predict_proba`.
    pub fn read(
        name: &str,
        args: Vec<FunctionArg>,
        scope: &Scope,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let mut args = Arguments::read(name, args, &["data", "version", "top"], context)?;
        let version = version_argument(&mut args, context)?;
        let usage = || format!("{name} needs a model and rows: {name}(churn, customers)");
        let Some(model) = args.positional(0) else { return Err(args.invalid(usage())) };
        let model = args.as_name("the model", model, context)?;
        let Some(rows) = args.positional(0).or_else(|| args.named("data")) else {
            return Err(args.invalid(usage()));
        };
        if args.positional_len() > 0 {
            return Err(args.invalid(usage()));
        }
        let model = scope.rows_model(&model, version)?;
        let all_classes = name == "predict_proba";
        if PredictSequenceNode::is_for(&model) {
            return PredictSequenceNode::plan(model, all_classes, (args, rows), scope, context);
        }
        if args.named("top").is_some() {
            let message = format!("top is of models of sequences; {} tells of rows", model.manifest().name);
            return Err(args.invalid(message));
        }
        if all_classes && model.manifest().kind == ModelKind::Regression {
            let message =
                format!("model {} tells numbers, which have no probabilities", model.manifest().name);
            return Err(args.invalid(message));
        }
        let rows = args.plan_relation("the rows", rows, scope, context)?;
        let schema = rows.schema().as_ref().clone();
        let own: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
        let count = own.len();
        let mut read = vec![];
        let roles = model.manifest().roles.iter().filter(|role| role.role != ModelRole::Target);
        for (i, (sql, role)) in model.manifest().expressions.iter().zip(roles).enumerate() {
            for item in items_written(sql)? {
                let written = item.expr.to_string();
                let expr = context.sql_to_expr(item.expr, &schema)?;
                let expr = as_learnt(expr, &written, (role, model.as_ref()), &schema)?;
                read.push(expr.alias(format!("read by the model {i}")));
            }
        }
        let input = LogicalPlanBuilder::from(rows).project(own.into_iter().chain(read))?.build()?;
        let schema = output_schema(&schema, &model, all_classes)?;
        let node = Self { model, input, own: count, all_classes, schema };
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.model.manifest().name
    }

    fn identity(&self) -> impl Hash + PartialEq + '_ {
        let manifest = self.model.manifest();
        (&manifest.name, manifest.version, self.all_classes, &self.input)
    }
}

/// A column as the model learnt it: what was words stays words, and nothing else stands for a number, a time or a condition.
fn as_learnt(
    expr: Expr,
    written: &str,
    (role, model): (&ColumnRole, &Model),
    schema: &DFSchema,
) -> Result<Expr> {
    let (learnt, given) = (role.data_type.as_str(), expr.get_type(schema)?);
    if role.role == ModelRole::Text || learnt.starts_with("Utf8") {
        return Ok(cast(expr, DataType::Utf8));
    }
    let is = |words: &[&str]| words.iter().any(|word| learnt.starts_with(word));
    let is_time =
        |given: &DataType| matches!(given, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..));
    let (kind, read) = match () {
        () if is(&["Date"]) => ("date", is_time(&given).then_some(DataType::Date32)),
        () if is(&["Timestamp"]) => {
            ("timestamp", is_time(&given).then_some(DataType::Timestamp(TimeUnit::Microsecond, None)))
        }
        () if is(&["Boolean"]) => ("boolean", (given == DataType::Boolean).then_some(DataType::Boolean)),
        // Whole numbers are divided to whole ones.
        () if is(&["Float", "Decimal"]) && given.is_integer() && !matches!(expr, Expr::Column(_)) => {
            ("number with fractions", None)
        }
        () => ("number", given.is_numeric().then_some(DataType::Float64)),
    };
    match read.or((given == DataType::Null).then_some(DataType::Float64)) {
        Some(read) => Ok(cast(expr, read)),
        None => {
            let name = &model.manifest().name;
            let message = format!("{written} is {}, and model {name} learnt from a {kind}", sql_name(&given));
            Err(Error::input(Subject::Column, message)
                .with_hint("give the columns the types that they had in training, by CAST")
                .into())
        }
    }
}

/// The user's columns and what is told.
fn output_schema(rows: &DFSchema, model: &Model, all_classes: bool) -> Result<DFSchemaRef> {
    let mut fields: Vec<Field> = rows.fields().iter().map(|field| field.as_ref().clone()).collect();
    let target = target_type(model);
    let told = match (all_classes, model.manifest().kind) {
        (true, _) => {
            vec![Field::new("class", target, true), Field::new("probability", DataType::Float64, true)]
        }
        (false, ModelKind::Regression) => vec![Field::new("prediction", DataType::Float64, true)],
        _ => vec![Field::new("prediction", target, true), Field::new("probability", DataType::Float64, true)],
    };
    for field in told {
        if fields.iter().any(|own| own.name() == field.name()) {
            let message = format!("the rows have a column {} already", field.name());
            return Err(Error::input(Subject::Column, message)
                .with_hint("give it another name: predict(m, (SELECT …, x AS y FROM …))")
                .into());
        }
        fields.push(field);
    }
    Ok(Arc::new(DFSchema::try_from(Schema::new(fields))?))
}

/// The type of what is told, as the target had it.
pub fn target_type(model: &Model) -> DataType {
    let role = model.manifest().roles.iter().find(|role| role.role == ModelRole::Target);
    match role.map(|role| role.data_type.as_str()) {
        Some("Boolean") => DataType::Boolean,
        Some("Int8" | "Int16" | "Int32" | "Int64" | "UInt8" | "UInt16" | "UInt32") => DataType::Int64,
        Some("Float32" | "Float64") => DataType::Float64,
        Some("Date32") => DataType::Date32,
        _ => DataType::Utf8,
    }
}

identified!(PredictNode);

impl UserDefinedLogicalNodeCore for PredictNode {
    fn name(&self) -> &str {
        "Predict"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Predict: {} version {}", self.model(), self.model.manifest().version)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let lost = || Error::internal("a prediction has no rows");
        let input = inputs.into_iter().next().ok_or_else(lost)?;
        Ok(Self { input, ..self.clone() })
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(all_columns(&self.inputs()))
    }
}

/// Plans a node over its rows.
pub fn plan_node(
    engine: &Arc<Engine>,
    node: &PredictNode,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
) -> Arc<dyn ExecutionPlan> {
    let work = PredictWork {
        engine: Arc::clone(engine),
        model: Arc::clone(&node.model),
        own: node.own,
        all_classes: node.all_classes,
    };
    Arc::new(WorkExec::new(Arc::new(work), inputs, Arc::clone(node.schema.inner())))
}

#[derive(Debug)]
struct PredictWork {
    engine: Arc<Engine>,
    model: Arc<Model>,
    own: usize,
    all_classes: bool,
}

impl Work for PredictWork {
    fn name(&self) -> &'static str {
        "PredictExec"
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model={}", self.model.manifest().name)
    }

    fn start(
        self: Arc<Self>,
        schema: SchemaRef,
        inputs: Vec<SendableRecordBatchStream>,
        context: Arc<TaskContext>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> SendableRecordBatchStream {
        let query = query_context(&context);
        let output = Arc::clone(&schema);
        let batches = futures::stream::iter(inputs).flatten().then(move |batch| {
            let (work, schema, query) = (Arc::clone(&self), Arc::clone(&output), Arc::clone(&query));
            async move {
                let batch = batch?;
                let (rows, runtimes) = (batch.num_rows(), Arc::clone(&work.engine));
                let told = move |control: &Arc<crate::ml::Control>| work.told(&batch, &schema, control);
                Ok(runtimes.runtimes.predict(rows, &query.control, told).await?)
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}

impl PredictWork {
    /// The user's columns of a batch, and what is told of its rows.
    fn told(
        &self,
        batch: &RecordBatch,
        schema: &SchemaRef,
        control: &crate::ml::Control,
    ) -> crate::error::Result<RecordBatch> {
        let internal = |e: datafusion::arrow::error::ArrowError| Error::internal(e.to_string());
        let model = self.model.predictor()?;
        let mut table = {
            let fields = batch.schema();
            let of = &fields.fields()[self.own..];
            let columns = model.columns().iter().zip(of);
            empty(columns.map(|((name, kind), field)| (name.as_str(), field.data_type(), Some(*kind))))
        };
        append(&mut table, batch, self.own)?;
        let told = model.predict(&table, control)?;
        let rows = batch.num_rows();
        let own = batch.project(&(0..self.own).collect::<Vec<_>>()).map_err(internal)?;
        let target = || schema.field(self.own).data_type();
        let (own, mut columns): (RecordBatch, Vec<ArrayRef>) = match (model.task(), self.all_classes) {
            (Task::Number, _) => {
                let told: Float64Array = told.iter().map(|x| Some(f64::from(*x))).collect();
                (own, vec![Arc::new(told)])
            }
            (Task::Classes(classes), false) => {
                let best = best(&model, &told);
                let labels: StringArray =
                    best.iter().map(|(class, _)| Some(classes[*class].as_str())).collect();
                let chances: Float64Array = best.iter().map(|(_, p)| Some(f64::from(*p))).collect();
                let labels = cast_array(&labels, target()).map_err(internal)?;
                (own, vec![labels, Arc::new(chances)])
            }
            (Task::Classes(classes), true) => {
                let n = classes.len() as u32;
                let places =
                    UInt32Array::from_iter_values((0..rows as u32).flat_map(|row| (0..n).map(move |_| row)));
                let labels: StringArray =
                    (0..rows).flat_map(|_| classes.iter().map(|class| Some(class.as_str()))).collect();
                let labels = cast_array(&labels, target()).map_err(internal)?;
                let chances: Float64Array = told.iter().map(|p| Some(f64::from(*p))).collect();
                (take_record_batch(&own, &places).map_err(internal)?, vec![labels, Arc::new(chances)])
            }
        };
        let mut all = own.columns().to_vec();
        all.append(&mut columns);
        RecordBatch::try_new(Arc::clone(schema), all).map_err(internal)
    }
}

/// The most probable class of each row, and its probability.
fn best(model: &Fitted, told: &[f32]) -> Vec<(usize, f32)> {
    let of = |row: &[f32]| {
        let first = (0, row[0]);
        row.iter()
            .copied()
            .enumerate()
            .skip(1)
            .fold(first, |best, next| if next.1 > best.1 { next } else { best })
    };
    told.chunks_exact(model.task().outputs()).map(of).collect()
}
