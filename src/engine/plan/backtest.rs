//! `backtest(m, …)` and `evaluate(m, on => …)` as plans: the pasts of models in, forecasts of windows of them out, or
//! scores of these.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::{DFSchema, DFSchemaRef, ScalarValue};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore, cast, ident, lit,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::sqlparser::ast::{self, FunctionArg};

use crate::engine::options;
use crate::engine::plan::arguments::{
    Arguments, level_argument, model_arguments, names_argument, version_argument, whole_number,
};
use crate::engine::plan::backtesting::{self, Backtest, BacktestRows, Contender, PastRows, Windows};
use crate::engine::plan::forecast::LEVEL_DEFAULT;
use crate::engine::plan::input::{InputColumn, Role, ordering};
use crate::engine::plan::node::{all_columns, identified};
use crate::engine::plan::past::{Past, past, past_in};
use crate::engine::plan::scope::Scope;
use crate::engine::plan::scores::{self, no_group};
use crate::engine::plan::series_texts::SeriesTexts;
use crate::engine::plan::training::base_of;
use crate::engine::plan::work::{Work, WorkExec, query_context};
use crate::engine::registry::{Manifest, Model};
use crate::engine::shared::Engine;
use crate::error::{Error, ErrorKind, Subject};
use crate::ml::models::{Rolling, parse_family};
use crate::ml::series::TimeKind;

/// Named arguments of `backtest`.
const ARGUMENTS: &[&str] = &["windows", "step", "horizon", "refit", "by", "level", "version"];
/// Windows where none are asked for, and the most that may be.
const WINDOWS: (usize, i64) = (3, 1_000);
/// Columns of a backtest that its scores can be grouped by, besides those of its series.
const OF_WINDOWS: [&str; 2] = ["cutoff", "step"];

/// Plans a call of `backtest`.
pub fn plan(
    scope: &Scope,
    args: Vec<FunctionArg>,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let mut args = Arguments::read("backtest", args, ARGUMENTS, context)?;
    let names = model_arguments(&mut args, context)?;
    let version = version_argument(&mut args, context)?;
    let mut count = |name: &str, max: i64| -> Result<Option<usize>> {
        let value = args.named(name).map(|value| whole_number(name, value, (1, max), context)).transpose()?;
        Ok(value.and_then(|n| usize::try_from(n).ok()))
    };
    let windows = count("windows", WINDOWS.1)?.unwrap_or(WINDOWS.0);
    let (horizon, step) = (count("horizon", options::HORIZON_MAX)?, count("step", options::HORIZON_MAX)?);
    let refit_every = match args.named("refit") {
        Some(ast::Expr::Value(v)) if v.value == ast::Value::Boolean(true) => Some(1),
        Some(ast::Expr::Value(v)) if v.value == ast::Value::Boolean(false) => None,
        Some(value) => usize::try_from(whole_number("refit", value, (1, WINDOWS.1), context)?).ok(),
        None => None,
    };
    let by = names_argument(&mut args, "by", context)?;
    let level = level_argument(&mut args, context)?.unwrap_or(LEVEL_DEFAULT);
    let (contenders, pasts) = contenders(scope, &names, version, context)?;
    let horizon = horizon.unwrap_or(pasts[0].manifest().horizon);
    let rolling = Rolling { windows, step: step.unwrap_or(horizon), horizon, refit_every };
    let rows = match by {
        Some(by) => BacktestRows::Scores { by, of_versions: false },
        None => BacktestRows::Steps { level },
    };
    for past in &pasts {
        check_groups(&rows, past, &OF_WINDOWS)?;
    }
    Ok(BacktestNode::new(Call { contenders, pasts, windows: Windows::Rolling(rolling), rows })?.into_plan())
}

/// Plans a call of `evaluate` on rows after the end of the training.
pub fn plan_evaluation(
    scope: &Scope,
    args: &Arguments,
    models: &[Arc<Model>],
    (on, by): (ast::Expr, Vec<String>),
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let relation = args.plan_relation("on", on, scope, context)?;
    let (mut contenders, mut pasts) = (vec![], vec![]);
    let rows = BacktestRows::Scores { by, of_versions: true };
    for model in models {
        let known = past(scope, model, context)?;
        let new = past_in(model, relation.clone(), context)?;
        let mut one = PastPlan::new(scope, model, new)?;
        one.rows = followed(known.rows, one.rows, model.manifest())?;
        check_groups(&rows, &one, &[])?;
        contenders.push(Contender { label: one.manifest().name.clone(), past: pasts.len(), family: None });
        pasts.push(one);
    }
    Ok(BacktestNode::new(Call { contenders, pasts, windows: Windows::AfterTraining, rows })?.into_plan())
}

/// The rows up to the end of the training, and then other ones.
fn followed(known: LogicalPlan, new: LogicalPlan, manifest: &Manifest) -> Result<LogicalPlan> {
    let time = manifest.time_column();
    let last = manifest.panel.last_time;
    let instant = match manifest.time_kind {
        TimeKind::Integer => lit(last),
        TimeKind::Date | TimeKind::Timestamp => lit(ScalarValue::TimestampMicrosecond(Some(last), None)),
    };
    let moment = |plan: &LogicalPlan| -> Result<Expr> {
        let utc = |zone| DataType::Timestamp(TimeUnit::Microsecond, zone);
        let none = utc(None);
        Ok(match plan.schema().field_with_unqualified_name(time)?.data_type() {
            DataType::Timestamp(_, Some(_)) => cast(cast(ident(time), utc(Some("UTC".into()))), none),
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => cast(ident(time), none),
            _ => cast(ident(time), DataType::Int64),
        })
    };
    let before = moment(&known)?.lt_eq(instant.clone());
    let after = moment(&new)?.gt(instant);
    let known = LogicalPlanBuilder::from(known).filter(before)?;
    known.union(LogicalPlanBuilder::from(new).filter(after)?.build()?)?.build()
}

/// The contenders of these names, and the pasts that they learn from. A family learns from that of the first model, by
/// its recipe.
fn contenders(
    scope: &Scope,
    names: &[String],
    version: Option<u64>,
    context: &mut dyn RelationPlannerContext,
) -> Result<(Vec<Contender>, Vec<PastPlan>)> {
    one_version(version, names)?;
    let (mut contenders, mut pasts): (Vec<Contender>, Vec<PastPlan>) = (vec![], vec![]);
    let mut no_model = None;
    for name in names {
        if contenders.iter().any(|c| c.label == *name) {
            return Err(Error::input(Subject::Model, format!("backtest: {name} is named twice")).into());
        }
        let contender = match (scope.fitted(name, version), parse_family(name)) {
            (Ok(model), _) => {
                let known = past(scope, &model, context)?;
                let base = base_of(&scope.engine, model.manifest())?;
                pasts.push(PastPlan { base, ..PastPlan::new(scope, &model, known)? });
                Contender { label: name.clone(), past: pasts.len() - 1, family: None }
            }
            (Err(error), Ok(family)) if error.kind() == ErrorKind::NotFound => {
                no_model = no_model.or(Some(error));
                Contender { label: name.clone(), past: 0, family: Some(family) }
            }
            (Err(error), _) => return Err(error.into()),
        };
        contenders.push(contender);
    }
    if let (true, Some(error)) = (pasts.is_empty(), no_model) {
        let hint = "families are compared with a model and learn by its recipe: name a model, too";
        return Err(error.with_hint(hint).into());
    }
    check_keys(&pasts)?;
    Ok((contenders, pasts))
}

/// A version is one of one model.
pub fn one_version(version: Option<u64>, names: &[String]) -> Result<(), Error> {
    match (version, names) {
        (Some(_), [_, _, ..]) => {
            let message = "version goes with one model; of several, the active versions are compared";
            Err(Error::input(Subject::Option, message))
        }
        _ => Ok(()),
    }
}

/// Rows of all pasts have the same keys.
fn check_keys(pasts: &[PastPlan]) -> Result<(), Error> {
    let Some((first, others)) = pasts.split_first() else { return Ok(()) };
    let Some(other) = others.iter().find(|other| other.keys() != first.keys()) else { return Ok(()) };
    let told = |past: &PastPlan| match past.keys().as_slice() {
        [] => format!("{} none", past.manifest().name),
        keys => format!("{} {}", past.manifest().name, keys.join(", ")),
    };
    let message =
        format!("models with other series keys cannot be compared: {}; {}", told(first), told(other));
    Err(Error::input(Subject::Model, message).with_hint("backtest them one at a time"))
}

fn check_groups(rows: &BacktestRows, past: &PastPlan, others: &[&str]) -> Result<(), Error> {
    let BacktestRows::Scores { by, .. } = rows else { return Ok(()) };
    let groups = past.columns.iter().filter(|c| c.role.is_of_series()).map(|c| c.name.as_str());
    let groups: Vec<&str> = groups.chain(others.iter().copied()).collect();
    match by.iter().find(|name| !groups.contains(&name.as_str())) {
        Some(name) => Err(no_group(&past.manifest().name, groups.iter().copied(), name)),
        None => Ok(()),
    }
}

/// The past of a model.
#[derive(Debug, Clone)]
struct PastPlan {
    model: Arc<Model>,
    encoder: Option<Arc<Model>>,
    base: Option<Arc<Model>>,
    columns: Vec<InputColumn>,
    rows: LogicalPlan,
    periods: Option<LogicalPlan>,
}

impl PastPlan {
    fn new(scope: &Scope, model: &Arc<Model>, past: Past) -> Result<Self> {
        let encoder = SeriesTexts::encoder_of(&scope.engine, model)?;
        let Past { columns, rows, periods, .. } = past;
        Ok(Self { model: Arc::clone(model), encoder, base: None, columns, rows, periods })
    }

    fn manifest(&self) -> &Manifest {
        self.model.manifest()
    }

    /// The names of the keys.
    fn keys(&self) -> Vec<&str> {
        self.columns.iter().filter(|c| c.role == Role::Key).map(|c| c.name.as_str()).collect()
    }

    fn field(&self, column: &str) -> Result<Field> {
        Ok(Field::clone(self.rows.schema().field_with_unqualified_name(column)?).with_nullable(true))
    }
}

/// A call with its arguments resolved.
#[derive(Debug, Clone)]
struct Call {
    contenders: Vec<Contender>,
    pasts: Vec<PastPlan>,
    windows: Windows,
    rows: BacktestRows,
}

impl Call {
    /// Keys and time in the user's names and types, then our columns; or the columns of scores.
    fn schema(&self) -> Result<Schema> {
        let first = &self.pasts[0];
        let of = |role: Role| first.columns.iter().filter(move |c| c.role == role);
        let (text, whole) = (DataType::Utf8, DataType::Int64);
        let mut fields = vec![Field::new("model", text.clone(), false)];
        let time = of(Role::Time).next().ok_or_else(|| Error::internal("a past without a time"))?;
        let time = first.field(&time.name)?;
        match &self.rows {
            BacktestRows::Steps { .. } => {
                for key in of(Role::Key) {
                    fields.push(first.field(&key.name)?);
                }
                let number = |name: &str| Field::new(name, DataType::Float64, true);
                fields.push(time.clone().with_name("cutoff"));
                fields.push(time);
                fields.push(Field::new("step", whole, false));
                fields.extend(["actual", "forecast", "lower_bound", "upper_bound"].map(number));
                fields.push(Field::new("refit", DataType::Boolean, false));
                fields.push(Field::new("status", text, true));
            }
            BacktestRows::Scores { by, of_versions } => {
                if *of_versions {
                    fields.push(Field::new("model_version", whole.clone(), false));
                    fields.push(Field::new("split", text, false));
                }
                for name in by {
                    fields.push(match name.as_str() {
                        "cutoff" if first.field(name).is_err() => time.clone().with_name("cutoff"),
                        "step" if first.field(name).is_err() => Field::new("step", whole.clone(), true),
                        name => first.group_field(name)?,
                    });
                }
                fields.extend(scores::fields());
            }
        }
        Ok(Schema::new(fields))
    }
}

impl PastPlan {
    /// A key as it is, a static column as numbers or words.
    fn group_field(&self, name: &str) -> Result<Field> {
        let field = self.field(name)?;
        let is_key = self.columns.iter().any(|c| c.name == name && c.role == Role::Key);
        Ok(match field.data_type() {
            _ if is_key => field,
            DataType::Utf8 => field,
            _ => field.with_data_type(DataType::Float64),
        })
    }
}

/// The logical node.
#[derive(Debug, Clone)]
pub struct BacktestNode {
    call: Call,
    schema: DFSchemaRef,
}

impl BacktestNode {
    fn new(call: Call) -> Result<Self> {
        let schema = Arc::new(DFSchema::try_from(call.schema()?)?);
        Ok(Self { call, schema })
    }

    /// The models whose pasts it reads.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.call.pasts.iter().map(|past| past.manifest().name.as_str())
    }

    fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    fn identity(&self) -> impl Hash + PartialEq + '_ {
        let c = &self.call;
        let pasts = c.pasts.iter().map(|p| (&p.manifest().name, p.manifest().version, &p.rows, &p.periods));
        (format!("{:?} {:?} {:?}", c.contenders, c.windows, c.rows), pasts.collect::<Vec<_>>())
    }
}

identified!(BacktestNode);

impl UserDefinedLogicalNodeCore for BacktestNode {
    fn name(&self) -> &str {
        "Backtest"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.call.pasts.iter().flat_map(|past| std::iter::once(&past.rows).chain(&past.periods)).collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// Models learn from all series: no filter goes below.
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        self.schema.fields().iter().map(|f| f.name().clone()).collect()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<&str> = self.call.contenders.iter().map(|c| c.label.as_str()).collect();
        write!(f, "Backtest: models={} {}", labels.join(", "), self.call.windows)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut node = self.clone();
        let mut inputs = inputs.into_iter();
        let places =
            node.call.pasts.iter_mut().flat_map(|p| std::iter::once(&mut p.rows).chain(&mut p.periods));
        places.zip(&mut inputs).for_each(|(place, input)| *place = input);
        Ok(node)
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(all_columns(&self.inputs()))
    }
}

/// Plans a node over its pasts.
pub fn plan_node(
    engine: &Arc<Engine>,
    node: &BacktestNode,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
) -> Arc<dyn ExecutionPlan> {
    let schema = Arc::clone(node.schema.inner());
    let past = |past: &PastPlan| PastRows {
        model: Arc::clone(&past.model),
        encoder: past.encoder.clone(),
        base: past.base.clone(),
        columns: past.columns.clone(),
        has_periods: past.periods.is_some(),
    };
    let work = Backtest {
        engine: Arc::clone(engine),
        contenders: node.call.contenders.clone(),
        pasts: node.call.pasts.iter().map(past).collect(),
        windows: node.call.windows,
        rows: node.call.rows.clone(),
        schema: Arc::clone(&schema),
    };
    Arc::new(WorkExec::new(Arc::new(work), inputs, schema))
}

impl Work for Backtest {
    fn name(&self) -> &'static str {
        "BacktestExec"
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<&str> = self.contenders.iter().map(|c| c.label.as_str()).collect();
        write!(f, "models={} {}", labels.join(", "), self.windows)
    }

    fn sorted_columns(&self, input: usize) -> usize {
        let inputs = self
            .pasts
            .iter()
            .flat_map(|past| std::iter::once(ordering(&past.columns)).chain(past.has_periods.then_some(0)));
        inputs.into_iter().nth(input).unwrap_or(0)
    }

    fn start(
        self: Arc<Self>,
        schema: SchemaRef,
        inputs: Vec<SendableRecordBatchStream>,
        context: Arc<TaskContext>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> SendableRecordBatchStream {
        let query = query_context(&context);
        Box::pin(RecordBatchStreamAdapter::new(schema, backtesting::run(self, inputs, query, &context)))
    }
}
