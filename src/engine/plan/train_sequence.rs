//! Models of sequences of events: PRETRAIN SEQUENCE MODEL, and TRAIN CLASSIFICATION MODEL … PARTITION BY … ORDER BY.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use chrono::Utc;
use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::error::Result as DfResult;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::sql::sqlparser::ast::{self, FunctionArg};
use futures::StreamExt;

use crate::engine::access::Guard;
use crate::engine::options::{SEQUENCE_OPTIONS, SIZES, sequence_options};
use crate::engine::plan::arguments::{Arguments, model_argument};
use crate::engine::plan::kept::{Checkpoints, Fingerprint};
use crate::engine::plan::new_model::NewModel;
use crate::engine::plan::pretrain_function::options_of;
use crate::engine::plan::scope::Scope;
use crate::engine::plan::sequences::Sequences;
use crate::engine::plan::task::{ModelTask, TaskCall};
use crate::engine::plan::train_function::flag;
use crate::engine::registry::{ColumnRole, Contents, Manifest, Metric, Model, ModelKind, ModelRole};
use crate::engine::shared::Engine;
use crate::engine::sql::{Item, fold};
use crate::engine::storage::{Privilege, sql_name};
use crate::error::{Error, Result, Subject, did_you_mean, identifier};
use crate::ml::Control;
use crate::ml::sequence::{self, Events, SequenceModel, SequenceOptions};
use crate::ml::series::PanelReport;
use crate::ml::supervised::{RowScores, RowsReport};
use crate::ml::training::{Checkpoint, Course};

/// Passes over the sequences where none are given: of a pretraining, and most of a training.
const EPOCHS: [usize; 2] = [60, 100];

/// One column.
#[derive(Debug, Clone)]
struct Source {
    name: String,
    sql: String,
    data_type: DataType,
    role: ModelRole,
}

/// One training or pretraining.
#[derive(Debug)]
pub struct TrainSequence {
    model: NewModel,
    kind: ModelKind,
    options: SequenceOptions,
    base: Option<Arc<Model>>,
    /// Keys, time, target, features.
    sources: Vec<Source>,
    comment: Option<String>,
    text: String,
    lineage: Vec<(String, u64)>,
}

impl TrainSequence {
    /// True for a call that trains on sequences.
    pub fn is_asked(args: &[FunctionArg]) -> bool {
        args.iter().any(|arg| match arg {
            FunctionArg::Named { name, .. }
            | FunctionArg::ExprNamed { name: ast::Expr::Identifier(name), .. } => {
                ["partition_by", "order_by"].contains(&fold(name).as_str())
            }
            _ => false,
        })
    }

    /// Reads a call of `pretrain_sequence_model` or `train_classification_model`, and plans its rows.
    pub fn read(
        kind: ModelKind,
        args: Vec<FunctionArg>,
        scope: &Scope,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<(Self, LogicalPlan)> {
        let pretrains = kind == ModelKind::Sequence;
        let (function, title) = match pretrains {
            true => ("pretrain_sequence_model", "PRETRAIN SEQUENCE MODEL"),
            false => ("train_classification_model", "TRAIN CLASSIFICATION MODEL"),
        };
        let others = [
            "on",
            "filter",
            "target",
            "features",
            "partition_by",
            "order_by",
            "objective",
            "base",
            "replace",
            "if_not_exists",
            "comment",
        ];
        let others = others.into_iter().filter(|name| pretrains != (*name == "base") || !pretrains);
        let allowed: Vec<&str> = others.chain(SEQUENCE_OPTIONS.iter().map(|spec| spec.name)).collect();
        let mut args = Arguments::read(function, args, &allowed, context)?;
        let (or_replace, if_not_exists) = (flag(&mut args, "replace")?, flag(&mut args, "if_not_exists")?);
        let mut word =
            |name: &str| args.named(name).map(|value| args.as_name(name, value, context)).transpose();
        let (base, comment, objective) = (word("base")?, word("comment")?, word("objective")?);
        check_objective(objective.as_deref(), pretrains)?;
        let (raw, with) = options_of(&mut args, SEQUENCE_OPTIONS, context)?;
        if let (Some(base), Some((size, _))) =
            (&base, raw.iter().find(|(name, _)| SIZES.contains(&name.as_str())))
        {
            let message = format!("{size} is a size of the network, which FROM {base} brings along");
            return Err(Error::input(Subject::Option, message).into());
        }
        if !pretrains && raw.iter().any(|(name, _)| name == "mask") {
            let message = "mask is of PRETRAIN SEQUENCE MODEL: TRAIN hides nothing";
            return Err(Error::input(Subject::Option, message).into());
        }
        let options = sequence_options(&raw, EPOCHS[usize::from(!pretrains)])?;
        let mut items = |name: &str| args.named(name).map(|value| args.as_items(name, value)).transpose();
        let (filter, target, features) = (items("filter")?, items("target")?, items("features")?);
        let (keys, time) = (items("partition_by")?, items("order_by")?);
        let (Some(on), Some([target]), Some(keys), Some([time])) =
            (args.named("on"), target.as_deref(), &keys, time.as_deref())
        else {
            let usage = format!(
                "{title} over sequences needs rows, an event, and what tells sequences and their order: {title} m ON events \
                 TARGET item PARTITION BY customer ORDER BY day"
            );
            return Err(args.invalid(usage));
        };
        let relation = on.to_string();
        let rows = args.plan_relation("on", on, scope, context)?;
        let lineage = scope.lineage(&rows)?;
        let schema = rows.schema().as_ref().clone();
        let mut sources = vec![];
        let mut exprs = vec![];
        let roles = [
            (keys.as_slice(), ModelRole::Key),
            (std::slice::from_ref(time), ModelRole::Time),
            (std::slice::from_ref(target), ModelRole::Target),
            (features.as_deref().unwrap_or_default(), ModelRole::Feature),
        ];
        for (items, role) in roles {
            for item in items {
                let (expr, source) = column(item, role, &schema, context)?;
                exprs.push(expr.alias(format!("column{}", exprs.len())));
                sources.push(source);
            }
        }
        let mut plan = LogicalPlanBuilder::from(rows);
        for item in filter.iter().flatten() {
            plan = plan.filter(context.sql_to_expr(item.expr.clone(), &schema)?)?;
        }
        let plan = plan.project(exprs)?.build()?;
        let model = NewModel { name: model_argument(&mut args, context)?, or_replace, if_not_exists };
        let base = base.map(|base| scope.sequence_model(&base)).transpose()?;
        let all = |items: &[Item]| items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let clause = |word: &str, items: &Option<Vec<Item>>| {
            items.as_ref().map_or_else(String::new, |items| format!(" {word} {}", all(items)))
        };
        let from =
            base.as_ref().map_or_else(String::new, |b| format!(" FROM {}", identifier(&b.manifest().name)));
        let text = format!(
            "{title} {}{from} ON {relation}{} TARGET {target} PARTITION BY {} ORDER BY {time}{}{with}",
            identifier(&model.name),
            clause("WHERE", &filter),
            all(keys),
            clause("FEATURES", &features),
        );
        Ok((Self { model, kind, options, base, sources, comment, text, lineage }, plan))
    }

    fn keys(&self) -> usize {
        self.sources.iter().filter(|source| source.role == ModelRole::Key).count()
    }
}

fn check_objective(objective: Option<&str>, pretrains: bool) -> Result<()> {
    match objective {
        None => Ok(()),
        Some(word) if pretrains && word.eq_ignore_ascii_case("masked_item") => Ok(()),
        Some(word) if pretrains => {
            let message = format!("unknown objective {word}{}", did_you_mean(word, ["masked_item"]));
            Err(Error::input(Subject::Option, message).with_hint("OBJECTIVE masked_item"))
        }
        Some(_) => Err(Error::input(Subject::Option, "OBJECTIVE is of PRETRAIN SEQUENCE MODEL")),
    }
}

/// A column as sequences are read by: events and what is told beside them are words.
fn column(
    item: &Item,
    role: ModelRole,
    schema: &DFSchema,
    context: &mut dyn RelationPlannerContext,
) -> DfResult<(Expr, Source)> {
    let expr = context.sql_to_expr(item.expr.clone(), schema)?;
    let data_type = expr.get_type(schema)?;
    let name = match (&item.alias, &item.expr) {
        (Some(alias), _) => fold(alias),
        (None, ast::Expr::Identifier(ident)) => fold(ident),
        (None, expr) => expr.to_string(),
    };
    if data_type.is_nested() || data_type.is_binary() {
        let message = format!("column {name} is {}, which is not learnt from", sql_name(&data_type));
        return Err(Error::input(Subject::Type, message).into());
    }
    let expr = match role {
        ModelRole::Target | ModelRole::Feature => cast(expr, DataType::Utf8),
        _ => expr,
    };
    Ok((expr, Source { name, sql: item.expr.to_string(), data_type, role }))
}

/// What a run gives.
struct Made {
    model: SequenceModel,
    report: sequence::SequenceReport,
}

impl TrainSequence {
    async fn trained(&self, call: &mut TaskCall) -> Result<u64> {
        let started = Instant::now();
        let memory = MemoryConsumer::new(format!("TRAIN {}", self.model.name)).register(&call.pool);
        call.query.control.report(|p| p.phase = "read");
        let mut sequences = Sequences::new(self.keys(), self.sources.len());
        let mut skipped = 0;
        let fingerprint = Fingerprint::default();
        for input in std::mem::take(&mut call.inputs) {
            let mut input = fingerprint.watch(input);
            while let Some(batch) = input.next().await {
                call.query.control.check()?;
                let batch = batch?;
                memory.try_grow(batch.get_array_memory_size())?;
                skipped += sequences.append(&batch)?;
            }
        }
        let (events, _) = sequences.finish()?;
        if skipped > 0 {
            let target = self.sources.iter().find(|source| source.role == ModelRole::Target);
            let target = target.map_or("target", |source| source.name.as_str());
            call.query.notice(format!("{skipped} rows have no {target} and are left out"));
        }
        let (Made { model, report }, checkpoints) = match self.kind {
            ModelKind::Sequence => self.pretrained(events, &fingerprint, call).await?,
            _ => (self.fitted(events, call).await?, None),
        };
        call.query.control.check()?;
        let file = model.to_bytes()?;
        let manifest = self.manifest(&model, &report, started);
        let contents = Contents { weights: file, ..Contents::default() };
        let version = self.model.publish(&call.engine, manifest, contents, call.owner.clone()).await?;
        checkpoints.iter().try_for_each(|checkpoints| checkpoints.forget())?;
        Ok(version)
    }

    async fn fitted(&self, events: Events, call: &mut TaskCall) -> Result<Made> {
        let base = self.base.as_ref().map(|base| base.sequence()).transpose()?;
        let options = self.options.clone();
        let work = move |control: &Arc<Control>| {
            let (model, report) = sequence::fit(&events, base.as_deref(), &options, control)?;
            Ok(Made { model, report })
        };
        call.engine.runtimes.train(&call.query.control, work).await
    }

    async fn pretrained(
        &self,
        events: Events,
        fingerprint: &Fingerprint,
        call: &mut TaskCall,
    ) -> Result<(Made, Option<Arc<Checkpoints>>)> {
        let checkpoints = Arc::new(Checkpoints::new(&call.engine, &self.text, fingerprint, ""));
        let resume = checkpoints.last(&call.query)?;
        let (keeper, options) = (Arc::clone(&checkpoints), self.options.course.clone());
        let work = move |control: &Arc<Control>| {
            let keep = |checkpoint: &Checkpoint| keeper.keep(checkpoint);
            let made = sequence::pretrain(&events, &options, Course { resume, keep: &keep }, control)?;
            let sequence::PretrainedSequence { model, sequences, log } = made;
            let report = sequence::SequenceReport { sequences, log, ..Default::default() };
            Ok(Made { model, report })
        };
        let made = call.engine.runtimes.train(&call.query.control, work).await?;
        Ok((made, Some(checkpoints)))
    }

    fn manifest(
        &self,
        model: &SequenceModel,
        report: &sequence::SequenceReport,
        started: Instant,
    ) -> Manifest {
        let role = |source: &Source| ColumnRole {
            name: source.name.clone(),
            role: source.role,
            data_type: source.data_type.to_string(),
            inferred: false,
            cardinality: Some(model.classes().len() as u64).filter(|_| source.role == ModelRole::Target),
            missing: None,
        };
        let pretrained = self.kind == ModelKind::Sequence;
        let told = |score: f64| (report.held_out > 0).then_some(score);
        let scores = RowScores {
            accuracy: told(report.accuracy),
            log_loss: told(report.log_loss),
            mrr: told(report.mrr),
            hit_rate: told(report.hit_rate),
            ndcg: told(report.ndcg),
            ..RowScores::default()
        };
        let rows = RowsReport {
            rows: report.sequences,
            held_out: report.held_out,
            scores,
            parameters: model.parameters(),
            ..RowsReport::default()
        };
        let last = report.log.last().map(|line| line.valid_loss);
        let metric = match pretrained {
            true => last.map(|loss| ("masked_loss", loss)),
            false => told(report.mrr).map(|mrr| ("mrr", mrr)),
        };
        let mut manifest = Manifest {
            kind: self.kind,
            family: "transformer".to_owned(),
            metric: metric.map(|(name, value)| Metric { name: name.to_owned(), value }),
            sql: self.text.clone(),
            roles: self.sources.iter().map(role).collect(),
            expressions: self.sources.iter().map(|source| source.sql.clone()).collect(),
            rows: (!pretrained).then_some(rows),
            seed: self.options.course.seed,
            context_length: Some(model.longest()),
            base: self.base.as_ref().map(|base| (base.manifest().name.clone(), base.manifest().version)),
            table_versions: self.lineage.clone(),
            panel: PanelReport { rows: report.sequences, ..PanelReport::default() },
            seconds: started.elapsed().as_secs_f64(),
            comment: self.comment.clone(),
            ..Manifest::new(&self.model.name, Utc::now())
        };
        manifest.report.parameters = model.parameters();
        manifest.report.log = report.log.clone();
        manifest.report.epochs = report.log.len();
        manifest.sequence = (!pretrained).then_some((told(report.naive_mrr), told(report.hit_rate)));
        manifest
    }

    fn row(&self, manifest: &Manifest, version: u64) -> Result<RecordBatch> {
        let count = |n: usize| -> ArrayRef { Arc::new(Int64Array::from(vec![n as i64])) };
        let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        let number = |x: Option<f64>| -> ArrayRef { Arc::new(Float64Array::from(vec![x])) };
        let target = manifest.roles.iter().find(|role| role.role == ModelRole::Target);
        let classes = target.and_then(|role| role.cardinality).unwrap_or(0) as usize;
        let mut columns = vec![text(&manifest.name), count(version as usize), count(manifest.panel.rows)];
        columns.extend([count(classes), count(manifest.report.epochs)]);
        let value = manifest.metric.as_ref().map(|metric| metric.value);
        match self.kind {
            ModelKind::Sequence => columns.push(number(value)),
            _ => {
                let scores = manifest.rows.as_ref().map(|rows| rows.scores.clone()).unwrap_or_default();
                let naive = manifest.sequence.and_then(|(naive, _)| naive);
                let RowScores { hit_rate, ndcg, accuracy, log_loss, .. } = scores;
                columns.extend([value, naive, hit_rate, ndcg, accuracy, log_loss].map(number));
            }
        }
        columns.push(number(Some(manifest.seconds)));
        RecordBatch::try_new(Arc::new(self.schema()), columns).map_err(|e| Error::internal(e.to_string()))
    }
}

#[async_trait]
impl ModelTask for TrainSequence {
    fn name(&self) -> &'static str {
        if self.kind == ModelKind::Sequence { "PretrainSequenceModel" } else { "TrainSequenceModel" }
    }

    fn model(&self) -> &str {
        &self.model.name
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn schema(&self) -> Schema {
        let number = |name: &str| Field::new(name, DataType::Float64, true);
        let count = |name: &str| Field::new(name, DataType::Int64, false);
        let mut fields = vec![Field::new("model", DataType::Utf8, false), count("version")];
        fields.extend(["sequences", "classes", "epochs"].map(count));
        match self.kind {
            ModelKind::Sequence => fields.push(number("valid_loss")),
            _ => fields.extend(["mrr", "naive_mrr", "hit_rate", "ndcg", "accuracy", "log_loss"].map(number)),
        }
        fields.push(number("seconds"));
        Schema::new(fields)
    }

    /// By keys and time, and by what is told where times are the same.
    fn sorted_columns(&self) -> usize {
        self.sources.len()
    }

    fn check_rights(&self, engine: &Engine, guard: &Guard) -> Result<()> {
        self.model.check_rights(engine, guard)?;
        self.base.iter().try_for_each(|base| guard.model(&base.manifest().name, Privilege::Select))
    }

    async fn run(self: Arc<Self>, mut call: TaskCall) -> Result<RecordBatch> {
        let name = &self.model.name;
        let way_out = match self.kind {
            ModelKind::Sequence => "PRETRAIN OR REPLACE SEQUENCE MODEL",
            _ => "TRAIN OR REPLACE CLASSIFICATION MODEL",
        };
        if let Some(version) = self.model.existing(&call.engine, &call.query, way_out)? {
            return self.row(call.engine.registry.get(name, Some(version))?.manifest(), version);
        }
        let running = call.enter(name);
        let trained = self.trained(&mut call).await;
        running.end(trained.as_ref().map(|version| Some(*version)).map_err(Clone::clone));
        let version = trained?;
        self.row(call.engine.registry.get(name, Some(version))?.manifest(), version)
    }
}
