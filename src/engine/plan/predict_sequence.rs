//! `predict(m, events)` and `predict_proba(m, events)` of models of sequences: what comes next in each of them.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, UInt32Array};
use datafusion::arrow::compute::{cast as cast_array, take};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore, cast,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;

use crate::engine::plan::arguments::{Arguments, whole_number};
use crate::engine::plan::node::{all_columns, identified};
use crate::engine::plan::predict::target_type;
use crate::engine::plan::scope::Scope;
use crate::engine::plan::sequences::Sequences;
use crate::engine::plan::work::{Work, WorkExec, query_context};
use crate::engine::query::QueryContext;
use crate::engine::registry::{Model, ModelRole};
use crate::engine::shared::Engine;
use crate::engine::sql::items_written;
use crate::error::{Error, Result as OurResult, Subject};
use crate::ml::Control;
use crate::ml::sequence::SequenceModel;

/// Values of scores of a pass, about.
const SCORES: usize = 4_000_000;
/// Sequences of a pass, at most.
const SEQUENCES_MAX: usize = 512;

/// What is told of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Told {
    /// The most probable event.
    Best,
    /// So many of the most probable events, with their places.
    Top(usize),
    /// The probability of every event.
    All,
}

/// The logical node.
#[derive(Debug, Clone)]
pub struct PredictSequenceNode {
    model: Arc<Model>,
    /// Keys, time, events and what is told beside them.
    input: LogicalPlan,
    keys: usize,
    told: Told,
    schema: DFSchemaRef,
}

impl PredictSequenceNode {
    /// True for a model of sequences.
    pub fn is_for(model: &Model) -> bool {
        model.manifest().roles.iter().any(|role| role.role == ModelRole::Time)
    }

    /// Plans the events of a call by the expressions of the training.
    pub fn plan(
        model: Arc<Model>,
        all: bool,
        (mut args, rows): (Arguments, ast::Expr),
        scope: &Scope,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let told = match args.named("top") {
            Some(_) if all => {
                return Err(args.invalid("predict_proba tells all; top is of predict".to_owned()));
            }
            Some(top) => {
                let top = whole_number("top", top, (1, 200_000), context)?;
                Told::Top(usize::try_from(top).unwrap_or(1))
            }
            None if all => Told::All,
            None => Told::Best,
        };
        let rows = args.plan_relation("the events", rows, scope, context)?;
        let (schema, manifest) = (rows.schema().as_ref().clone(), model.manifest());
        let (mut exprs, mut fields) = (vec![], vec![]);
        for (sql, role) in manifest.expressions.iter().zip(&manifest.roles) {
            for item in items_written(sql)? {
                let expr = context.sql_to_expr(item.expr, &schema)?;
                let words = matches!(role.role, ModelRole::Target | ModelRole::Feature);
                let expr = if words { cast(expr, DataType::Utf8) } else { expr };
                exprs.push(expr.alias(format!("column{}", exprs.len())));
            }
        }
        let keys = manifest.roles.iter().filter(|role| role.role == ModelRole::Key).count();
        let input = LogicalPlanBuilder::from(rows).project(exprs)?.build()?;
        let roles = manifest.roles.iter().zip(input.schema().fields());
        for (role, field) in roles.filter(|(role, _)| role.role == ModelRole::Key) {
            fields.push(Field::new(&role.name, field.data_type().clone(), true));
        }
        let target = target_type(&model);
        fields.extend(match told {
            Told::All => vec![Field::new("class", target, true)],
            Told::Best => vec![Field::new("prediction", target, true)],
            Told::Top(_) => {
                vec![Field::new("rank", DataType::Int64, false), Field::new("prediction", target, true)]
            }
        });
        fields.push(Field::new("probability", DataType::Float64, true));
        check_names(&fields)?;
        let schema = Arc::new(DFSchema::try_from(Schema::new(fields))?);
        let node = Self { model, input, keys, told, schema };
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.model.manifest().name
    }

    fn identity(&self) -> impl Hash + PartialEq + '_ {
        let manifest = self.model.manifest();
        (&manifest.name, manifest.version, self.told, &self.input)
    }
}

/// Fails where a key has the name of a column of ours.
fn check_names(fields: &[Field]) -> Result<()> {
    for (n, field) in fields.iter().enumerate() {
        if fields[..n].iter().any(|other| other.name() == field.name()) {
            let message = format!("the sequences have a key {} already", field.name());
            return Err(Error::input(Subject::Column, message)
                .with_hint("train the model with another name: PARTITION BY x AS y")
                .into());
        }
    }
    Ok(())
}

identified!(PredictSequenceNode);

impl UserDefinedLogicalNodeCore for PredictSequenceNode {
    fn name(&self) -> &str {
        "PredictSequence"
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
        write!(f, "PredictSequence: {} version {}", self.model(), self.model.manifest().version)
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
    node: &PredictSequenceNode,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
) -> Arc<dyn ExecutionPlan> {
    let work = PredictSequence {
        engine: Arc::clone(engine),
        model: Arc::clone(&node.model),
        keys: node.keys,
        told: node.told,
    };
    Arc::new(WorkExec::new(Arc::new(work), inputs, Arc::clone(node.schema.inner())))
}

#[derive(Debug)]
struct PredictSequence {
    engine: Arc<Engine>,
    model: Arc<Model>,
    keys: usize,
    told: Told,
}

impl Work for PredictSequence {
    fn name(&self) -> &'static str {
        "PredictSequenceExec"
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model={}", self.model.manifest().name)
    }

    fn sorted_columns(&self, _: usize) -> usize {
        self.model.manifest().roles.len()
    }

    fn start(
        self: Arc<Self>,
        schema: SchemaRef,
        inputs: Vec<SendableRecordBatchStream>,
        context: Arc<TaskContext>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> SendableRecordBatchStream {
        let columns = self.model.manifest().roles.len();
        let reader = Reader {
            sequences: Sequences::new(self.keys, columns),
            work: self,
            inputs: inputs.into_iter().next(),
            query: query_context(&context),
            schema: Arc::clone(&schema),
        };
        let batches = futures::stream::try_unfold(reader, |mut reader| async move {
            let batch = reader.next().await?;
            Ok::<_, DataFusionError>(batch.map(|batch| (batch, reader)))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}

/// Reads events and tells of whole sequences, some at a time.
struct Reader {
    sequences: Sequences,
    work: Arc<PredictSequence>,
    inputs: Option<SendableRecordBatchStream>,
    query: Arc<QueryContext>,
    schema: SchemaRef,
}

impl Reader {
    async fn next(&mut self) -> OurResult<Option<RecordBatch>> {
        let model = self.work.model.sequence()?;
        let most = (SCORES / model.classes().len().max(1)).clamp(1, SEQUENCES_MAX);
        while let Some(input) = &mut self.inputs {
            self.query.control.check()?;
            match input.next().await.transpose()? {
                Some(batch) => drop(self.sequences.append(&batch)?),
                None => self.inputs = None,
            }
            if self.sequences.whole() >= most {
                break;
            }
        }
        let (events, keys) = match self.inputs {
            Some(_) => self.sequences.take_whole()?,
            None => {
                let fresh = Sequences::new(self.work.keys, self.work.model.manifest().roles.len());
                std::mem::replace(&mut self.sequences, fresh).finish()?
            }
        };
        if events.is_empty() {
            return Ok(None);
        }
        let (work, schema, sequences) = (Arc::clone(&self.work), Arc::clone(&self.schema), events.len());
        let told = move |control: &Arc<Control>| {
            let mut rows = Tell { work: &work, schema: &schema, model: &model, keys: &keys }.empty();
            for first in (0..sequences).step_by(most) {
                let part = events.part(first..(first + most).min(sequences));
                let scores = model.predict(&part, control)?;
                rows.add(first, &scores);
            }
            rows.finish()
        };
        self.work.engine.runtimes.predict(sequences, &self.query.control, told).await.map(Some)
    }
}

/// What is told, on its way into columns.
struct Tell<'a> {
    work: &'a PredictSequence,
    schema: &'a SchemaRef,
    model: &'a SequenceModel,
    keys: &'a [ArrayRef],
}

struct Rows<'a> {
    tell: Tell<'a>,
    places: Vec<u32>,
    ranks: Vec<i64>,
    classes: Vec<usize>,
    chances: Vec<f64>,
}

impl<'a> Tell<'a> {
    fn empty(self) -> Rows<'a> {
        Rows { tell: self, places: vec![], ranks: vec![], classes: vec![], chances: vec![] }
    }
}

impl Rows<'_> {
    /// Adds what is told of sequences from the first one on.
    fn add(&mut self, first: usize, scores: &[f32]) {
        let count = self.tell.model.classes().len();
        for (n, row) in scores.chunks_exact(count.max(1)).enumerate() {
            let mut order: Vec<usize> = (0..row.len()).collect();
            let better = |a: &usize, b: &usize| row[*b].total_cmp(&row[*a]).then(a.cmp(b));
            let kept = match self.tell.work.told {
                Told::All => row.len(),
                Told::Best => 1,
                Told::Top(top) => top.min(row.len()),
            };
            if kept < row.len() {
                order.select_nth_unstable_by(kept - 1, better);
                order.truncate(kept);
            }
            order.sort_by(better);
            for (rank, class) in order.into_iter().enumerate() {
                self.places.push((first + n) as u32);
                self.ranks.push(rank as i64 + 1);
                self.classes.push(class);
                self.chances.push(f64::from(row[class]));
            }
        }
    }

    fn finish(self) -> OurResult<RecordBatch> {
        let internal = |e: datafusion::arrow::error::ArrowError| Error::internal(e.to_string());
        let Tell { work, schema, model, keys } = self.tell;
        let places = UInt32Array::from(self.places);
        let keys = keys.iter().map(|key| take(key, &places, None));
        let mut columns: Vec<ArrayRef> = keys.collect::<std::result::Result<_, _>>().map_err(internal)?;
        if let Told::Top(_) = work.told {
            columns.push(Arc::new(Int64Array::from(self.ranks)));
        }
        let words = model.classes();
        let labels: StringArray = self.classes.iter().map(|class| Some(words[*class].as_str())).collect();
        columns.push(cast_array(&labels, schema.field(columns.len()).data_type()).map_err(internal)?);
        columns.push(Arc::new(Float64Array::from(self.chances)));
        RecordBatch::try_new(Arc::clone(schema), columns).map_err(internal)
    }
}
