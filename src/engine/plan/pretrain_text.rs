//! PRETRAIN TEXT MODEL: an encoder from the texts of tables.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use chrono::Utc;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::error::Result as DfResult;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::sql::sqlparser::ast::FunctionArg;
use futures::StreamExt;

use crate::engine::access::Guard;
use crate::engine::options::{TEXT_OPTIONS, TextSettings, text_objective};
use crate::engine::plan::arguments::{Arguments, model_argument};
use crate::engine::plan::kept::{Checkpoints, Fingerprint, tell_cut};
use crate::engine::plan::new_model::NewModel;
use crate::engine::plan::pretrain_function::options_of;
use crate::engine::plan::scope::Scope;
use crate::engine::plan::task::{ModelTask, TaskCall};
use crate::engine::plan::train_function::flag;
use crate::engine::registry::{Contents, Manifest, Metric, Model, ModelKind};
use crate::engine::shared::Engine;
use crate::engine::sql;
use crate::engine::storage::Privilege;
use crate::error::{Error, Result, identifier};
use crate::ml::forecaster::FitReport;
use crate::ml::series::PanelReport;
use crate::ml::text::{self, Parts, PretrainedText, TextCourse, TextPretraining};
use crate::ml::training::{BYTES_PER_PARAMETER, Checkpoint, Course};

/// One PRETRAIN TEXT MODEL.
#[derive(Debug)]
pub struct PretrainText {
    model: NewModel,
    base: Option<Arc<Model>>,
    settings: TextSettings,
    comment: Option<String>,
    text: String,
    /// The stored tables that are read, with their versions.
    lineage: Vec<(String, u64)>,
}

impl PretrainText {
    /// Reads a call of `pretrain_text_model`, and plans the texts of its relations: the first one of each row, and the
    /// others.
    pub fn read(
        args: Vec<FunctionArg>,
        scope: &Scope,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<(Self, Vec<LogicalPlan>)> {
        let others = ["on", "filter", "text", "objective", "base", "replace", "if_not_exists", "comment"];
        let allowed: Vec<&str> =
            others.into_iter().chain(TEXT_OPTIONS.iter().map(|spec| spec.name)).collect();
        let mut args = Arguments::read("pretrain_text_model", args, &allowed, context)?;
        let (or_replace, if_not_exists) = (flag(&mut args, "replace")?, flag(&mut args, "if_not_exists")?);
        let mut word =
            |name: &str| args.named(name).map(|value| args.as_name(name, value, context)).transpose();
        let (base, comment, objective) = (word("base")?, word("comment")?, word("objective")?);
        let objective = objective.unwrap_or_else(|| "masked_lm".to_owned());
        let (raw, with) = options_of(&mut args, TEXT_OPTIONS, context)?;
        let settings = TextSettings::check(&raw, text_objective(&objective)?)?;
        let (Some(on), Some(columns)) = (args.named("on"), args.named("text")) else {
            let usage =
                "PRETRAIN TEXT MODEL needs texts: PRETRAIN TEXT MODEL m ON products TEXT title, description";
            return Err(args.invalid(usage.to_owned()));
        };
        let columns = args.as_items("text", columns)?;
        let filter = args.named("filter").map(|filter| args.as_items("filter", filter)).transpose()?;
        let (mut plans, mut lineage, mut relations) = (vec![], vec![], vec![]);
        for relation in Arguments::as_list(on) {
            relations.push(relation.to_string());
            let rows = args.plan_relation("on", relation, scope, context)?;
            lineage.extend(scope.lineage(&rows)?);
            let schema = rows.schema().as_ref().clone();
            let mut plan = LogicalPlanBuilder::from(rows);
            for item in filter.iter().flatten() {
                plan = plan.filter(context.sql_to_expr(item.expr.clone(), &schema)?)?;
            }
            let exprs = columns.iter().enumerate().map(|(i, item)| {
                let expr = context.sql_to_expr(item.expr.clone(), &schema)?;
                Ok(cast(expr, DataType::Utf8).alias(format!("text{i}")))
            });
            plans.push(plan.project(exprs.collect::<DfResult<Vec<_>>>()?)?.build()?);
        }
        lineage.sort();
        lineage.dedup();
        let model = NewModel { name: model_argument(&mut args, context)?, or_replace, if_not_exists };
        let from = base.as_ref().map_or_else(String::new, |base| format!(" FROM {}", identifier(base)));
        let written =
            |items: &[sql::Item]| items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let condition = filter.as_deref().map_or_else(String::new, |f| format!(" WHERE {}", written(f)));
        let text = format!(
            "PRETRAIN TEXT MODEL {}{from} ON {}{condition} TEXT {} OBJECTIVE {objective}{with}",
            identifier(&model.name),
            relations.join(", "),
            written(&columns),
        );
        let base = base.map(|base| scope.text_model(&base)).transpose()?;
        if let (Some(base), Some(size)) = (&base, settings.sizes.first()) {
            let message =
                format!("{size} is a size of the encoder, which FROM {} brings along", base.manifest().name);
            return Err(args.invalid(message));
        }
        Ok((Self { model, base, settings, comment, text, lineage }, plans))
    }

    async fn pretrained(&self, call: &mut TaskCall) -> Result<u64> {
        let started = Instant::now();
        let memory = MemoryConsumer::new(format!("PRETRAIN TEXT {}", self.model.name)).register(&call.pool);
        let (mut texts, mut rows): (Vec<Parts>, usize) = (vec![], 0);
        let fingerprint = Fingerprint::default();
        for input in std::mem::take(&mut call.inputs) {
            let mut input = fingerprint.watch(input);
            while let Some(batch) = input.next().await {
                let batch = batch?;
                call.query.control.check()?;
                memory.try_grow(batch.get_array_memory_size())?;
                rows += batch.num_rows();
                append(&batch, &mut texts);
            }
        }
        let sizes = self.settings.options.clone();
        let parameters = match &self.base {
            Some(base) => base.manifest().report.parameters,
            None => sizes.width * (2 * sizes.vocabulary + 12 * sizes.width * sizes.layers),
        };
        memory.try_grow(parameters * BYTES_PER_PARAMETER)?;
        let began = format!("{:?}", self.version());
        let checkpoints = Arc::new(Checkpoints::new(&call.engine, &self.text, &fingerprint, &began));
        let resume = checkpoints.last(&call.query)?;
        let encoder = self.base.as_ref().map(|base| base.encoder()).transpose()?;
        let keeper = Arc::clone(&checkpoints);
        let work = move |control: &Arc<crate::ml::Control>| {
            let keep = |checkpoint: &Checkpoint| keeper.keep(checkpoint);
            let course = TextCourse { from: encoder.as_deref(), course: Course { resume, keep: &keep } };
            text::pretrain(texts, &sizes, course, control)
        };
        let done = call.engine.runtimes.train(&call.query.control, work).await?;
        let TextPretraining { steps, max_seconds, .. } = self.settings.options;
        tell_cut(&done.log, (steps, max_seconds), &call.query);
        let (file, manifest) = self.manifest(done, rows, started);
        call.query.control.check()?;
        let contents = Contents { weights: file, ..Contents::default() };
        let version = self.model.publish(&call.engine, manifest, contents, call.owner.clone()).await?;
        checkpoints.forget()?;
        Ok(version)
    }

    /// The version of the model that it begins with.
    fn version(&self) -> Option<u64> {
        self.base.as_ref().map(|base| base.manifest().version)
    }

    fn manifest(&self, done: PretrainedText, rows: usize, started: Instant) -> (Vec<u8>, Manifest) {
        let PretrainedText { file, texts, parameters, accuracy, log, .. } = done;
        let manifest = Manifest {
            kind: ModelKind::Text,
            family: "bert".to_owned(),
            metric: accuracy.map(|value| Metric { name: "masked_accuracy".to_owned(), value }),
            sql: self.text.clone(),
            seed: self.settings.options.seed,
            base: self.base.as_ref().map(|base| (base.manifest().name.clone(), base.manifest().version)),
            context_length: Some(self.settings.options.longest),
            table_versions: self.lineage.clone(),
            panel: PanelReport { series: texts, rows, ..PanelReport::default() },
            report: FitReport { epochs: log.len(), parameters, log, ..FitReport::default() },
            seconds: started.elapsed().as_secs_f64(),
            comment: self.comment.clone(),
            ..Manifest::new(&self.model.name, Utc::now())
        };
        (file, manifest)
    }

    fn row(&self, manifest: &Manifest, version: u64) -> Result<RecordBatch> {
        let count = |n: usize| -> ArrayRef { Arc::new(Int64Array::from(vec![n as i64])) };
        let number = |x: Option<f64>| -> ArrayRef { Arc::new(Float64Array::from(vec![x])) };
        let last = manifest.report.log.last();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![manifest.name.as_str()])),
            count(version as usize),
            count(manifest.panel.rows),
            count(manifest.panel.series),
            count(manifest.report.parameters),
            count(last.map_or(0, |line| line.step)),
            number(last.map(|line| line.train_loss)),
            number(last.map(|line| line.valid_loss)),
            number(manifest.metric.as_ref().map(|metric| metric.value)),
            number(Some(manifest.seconds)),
        ];
        RecordBatch::try_new(Arc::new(self.schema()), columns).map_err(|e| Error::internal(e.to_string()))
    }
}

/// Adds the texts of some rows: the first column, and the others one after the other.
fn append(batch: &RecordBatch, texts: &mut Vec<Parts>) {
    let columns: Vec<_> = batch.columns().iter().map(|column| column.as_string::<i32>()).collect();
    for row in 0..batch.num_rows() {
        let mut of_row = columns.iter().map(|column| match column.is_null(row) {
            true => "",
            false => column.value(row).trim(),
        });
        let first = of_row.next().unwrap_or("").to_owned();
        let rest: Vec<&str> = of_row.filter(|text| !text.is_empty()).collect();
        texts.push([first, rest.join(". ")]);
    }
}

#[async_trait]
impl ModelTask for PretrainText {
    fn name(&self) -> &'static str {
        "PretrainTextModel"
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
        Schema::new(vec![
            Field::new("model", DataType::Utf8, false),
            count("version"),
            count("rows"),
            count("texts"),
            count("parameters"),
            count("steps"),
            number("train_loss"),
            number("valid_loss"),
            number("masked_accuracy"),
            number("seconds"),
        ])
    }

    fn check_rights(&self, engine: &Engine, guard: &Guard) -> Result<()> {
        self.model.check_rights(engine, guard)?;
        self.base.iter().try_for_each(|base| guard.model(&base.manifest().name, Privilege::Select))
    }

    async fn run(self: Arc<Self>, mut call: TaskCall) -> Result<RecordBatch> {
        let name = &self.model.name;
        if let Some(version) =
            self.model.existing(&call.engine, &call.query, "PRETRAIN OR REPLACE TEXT MODEL")?
        {
            return self.row(call.engine.registry.get(name, Some(version))?.manifest(), version);
        }
        let running = call.enter(name);
        let published = self.pretrained(&mut call).await;
        running.end(published.as_ref().map(|version| Some(*version)).map_err(Clone::clone));
        let version = published?;
        self.row(call.engine.registry.get(name, Some(version))?.manifest(), version)
    }
}
