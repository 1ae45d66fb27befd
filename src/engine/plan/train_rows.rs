//! TRAIN CLASSIFICATION MODEL and TRAIN REGRESSION MODEL: what is told of a row, from its columns and texts.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use chrono::Utc;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use datafusion::arrow::compute::cast as cast_array;
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Schema};
use datafusion::common::DFSchema;
use datafusion::error::Result as DfResult;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{self, FunctionArg};
use futures::StreamExt;

use crate::engine::access::Guard;
use crate::engine::options::{ROWS_OPTIONS, rows_options};
use crate::engine::plan::arguments::{Arguments, model_argument};
use crate::engine::plan::new_model::NewModel;
use crate::engine::plan::pretrain_function::options_of;
use crate::engine::plan::rows_table::{append, empty, is_readable, settle};
use crate::engine::plan::scope::Scope;
use crate::engine::plan::task::{ModelTask, TaskCall};
use crate::engine::plan::train_function::flag;
use crate::engine::registry::{ColumnRole, Contents, Manifest, Metric, Model, ModelKind, ModelRole};
use crate::engine::shared::Engine;
use crate::engine::sql::{Item, fold};
use crate::engine::storage::{Privilege, sql_name};
use crate::error::{Error, Result, Subject, identifier};
use crate::ml::series::PanelReport;
use crate::ml::supervised::{
    self, ColumnKind, Fitted, MemberFamily, RowsOptions, RowsReport, Table, Target, Task,
};

/// Classes that are told apart, at most.
const CLASSES_MAX: usize = 1_000;

/// A column that is learnt from.
#[derive(Debug, Clone)]
struct Source {
    name: String,
    /// Its expression over the rows.
    sql: String,
    data_type: DataType,
    /// `None` where the data decides.
    kind: Option<ColumnKind>,
}

/// One TRAIN of a model of rows.
#[derive(Debug)]
pub struct TrainRows {
    model: NewModel,
    kind: ModelKind,
    options: RowsOptions,
    base: Option<Arc<Model>>,
    target: Source,
    sources: Vec<Source>,
    /// The statement names what is learnt from.
    explicit: bool,
    comment: Option<String>,
    text: String,
    lineage: Vec<(String, u64)>,
}

impl TrainRows {
    /// Reads a call of `train_classification_model` or `train_regression_model`, and plans its rows: the target, then what
    /// is learnt from.
    pub fn read(
        kind: ModelKind,
        args: Vec<FunctionArg>,
        scope: &Scope,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<(Self, LogicalPlan)> {
        let verb = kind.word();
        let others = [
            "on",
            "filter",
            "target",
            "features",
            "text",
            "ignore",
            "using",
            "base",
            "replace",
            "if_not_exists",
            "comment",
        ];
        let allowed: Vec<&str> =
            others.into_iter().chain(ROWS_OPTIONS.iter().map(|spec| spec.name)).collect();
        let mut args = Arguments::read(&format!("train_{verb}_model"), args, &allowed, context)?;
        let (or_replace, if_not_exists) = (flag(&mut args, "replace")?, flag(&mut args, "if_not_exists")?);
        let mut word =
            |name: &str| args.named(name).map(|value| args.as_name(name, value, context)).transpose();
        let (base, comment) = (word("base")?, word("comment")?);
        let (raw, with) = options_of(&mut args, ROWS_OPTIONS, context)?;
        let mut options = rows_options(&raw)?;
        let mut items = |name: &str| args.named(name).map(|value| args.as_items(name, value)).transpose();
        let (filter, target, using) = (items("filter")?, items("target")?, items("using")?);
        let (features, texts, ignored) = (items("features")?, items("text")?, items("ignore")?);
        let title = format!("TRAIN {} MODEL", verb.to_uppercase());
        let (Some(on), Some([target])) = (args.named("on"), target.as_deref()) else {
            let usage = format!("{title} needs rows and one target: {title} m ON customers TARGET churned");
            return Err(args.invalid(usage));
        };
        let families: Vec<String> = using.iter().flatten().map(|item| item.expr.to_string()).collect();
        if !families.iter().any(|family| family.eq_ignore_ascii_case("auto")) {
            options.families =
                families.iter().map(|family| MemberFamily::parse(family)).collect::<Result<_>>()?;
        }
        let relation = on.to_string();
        let rows = args.plan_relation("on", on, scope, context)?;
        let lineage = scope.lineage(&rows)?;
        let schema = rows.schema().as_ref().clone();
        let mut planner = Columns { context, schema: &schema };
        let (target_expr, target) = planner.column(target, None)?;
        let mut sources = vec![];
        for (items, kind) in [(&features, None), (&texts, Some(ColumnKind::Text))] {
            for item in items.iter().flatten() {
                sources.push(planner.column(item, kind)?);
            }
        }
        let explicit = features.is_some() || texts.is_some();
        if !explicit {
            let mut skipped: HashSet<String> = HashSet::from([target.name.clone()]);
            skipped.extend(ignored.iter().flatten().map(name_of));
            sources = planner.others(&skipped)?;
        }
        if sources.is_empty() {
            let message = format!("{relation} has no columns besides {} to learn from", target.name);
            return Err(args.invalid(message));
        }
        let mut plan = LogicalPlanBuilder::from(rows);
        for item in filter.iter().flatten() {
            plan = plan.filter(planner.context.sql_to_expr(item.expr.clone(), &schema)?)?;
        }
        let exprs = std::iter::once(&target_expr).chain(sources.iter().map(|(expr, _)| expr));
        let exprs = exprs.enumerate().map(|(i, expr)| expr.clone().alias(format!("column{i}")));
        let plan = plan.project(exprs.collect::<Vec<_>>())?.build()?;
        let model = NewModel { name: model_argument(&mut args, context)?, or_replace, if_not_exists };
        let base = base.map(|base| scope.text_model(&base)).transpose()?;
        let clause = |word: &str, items: &Option<Vec<Item>>| {
            let all: Vec<String> = items.iter().flatten().map(ToString::to_string).collect();
            if all.is_empty() { String::new() } else { format!(" {word} {}", all.join(", ")) }
        };
        let from =
            base.as_ref().map_or_else(String::new, |b| format!(" FROM {}", identifier(&b.manifest().name)));
        let text = format!(
            "{title} {}{from} ON {relation}{} TARGET {}{}{}{}{}{with}",
            identifier(&model.name),
            clause("WHERE", &filter),
            target.sql,
            clause("FEATURES", &features),
            clause("TEXT", &texts),
            clause("IGNORE", &ignored),
            clause("USING", &using),
        );
        let sources = sources.into_iter().map(|(_, source)| source).collect();
        Ok((Self { model, kind, options, base, target, sources, explicit, comment, text, lineage }, plan))
    }
}

/// Expressions over the rows.
struct Columns<'a> {
    context: &'a mut dyn RelationPlannerContext,
    schema: &'a DFSchema,
}

impl Columns<'_> {
    fn column(&mut self, item: &Item, kind: Option<ColumnKind>) -> DfResult<(Expr, Source)> {
        let expr = self.context.sql_to_expr(item.expr.clone(), self.schema)?;
        let data_type = expr.get_type(self.schema)?;
        let name = name_of(item);
        if !is_readable(&data_type) {
            let message = format!("column {name} is {}, which is not learnt from", sql_name(&data_type));
            return Err(Error::input(Subject::Type, message).into());
        }
        Ok((expr, Source { name, sql: item.expr.to_string(), data_type, kind }))
    }

    /// All columns but these that can be learnt from.
    fn others(&mut self, skipped: &HashSet<String>) -> DfResult<Vec<(Expr, Source)>> {
        let mut found = vec![];
        for field in self.schema.fields() {
            if !skipped.contains(field.name()) && is_readable(field.data_type()) {
                let ident = ast::Ident::with_quote('"', field.name().clone());
                let item = Item { expr: ast::Expr::Identifier(ident), alias: None, span: None };
                found.push(self.column(&item, None)?);
            }
        }
        Ok(found)
    }
}

fn name_of(item: &Item) -> String {
    match (&item.alias, &item.expr) {
        (Some(alias), _) => fold(alias),
        (None, ast::Expr::Identifier(ident)) => fold(ident),
        (None, expr) => expr.to_string(),
    }
}

/// Rows as they are read.
struct Read {
    table: Table,
    target: Target,
    task: Task,
    rows: usize,
    /// Rows without a target.
    skipped: usize,
}

impl TrainRows {
    async fn trained(&self, call: &mut TaskCall) -> Result<(u64, RowsReport)> {
        let started = Instant::now();
        let memory = MemoryConsumer::new(format!("TRAIN {}", self.model.name)).register(&call.pool);
        call.query.control.report(|p| p.phase = "read");
        let mut batches = vec![];
        for mut input in std::mem::take(&mut call.inputs) {
            while let Some(batch) = input.next().await {
                call.query.control.check()?;
                let batch = batch?;
                // The batch, and what it becomes.
                memory.try_grow(3 * batch.get_array_memory_size())?;
                batches.push(batch);
            }
        }
        let mut read = self.read_rows(&batches)?;
        drop(batches);
        let given = self.sources.iter().filter(|s| s.kind.is_some() || self.explicit).map(|s| s.name.clone());
        for (name, why) in settle(&mut read.table, &given.collect()) {
            call.query.notice(format!("column {name} is left out: {why}"));
        }
        if read.table.columns.is_empty() {
            return Err(Error::data("no column is left to learn from"));
        }
        if !self.explicit {
            call.query.notice(format!("inferred: {}", roles_of(&read.table)));
        }
        for (name, how_well) in supervised::leaked(&read.table, &read.target, &read.task) {
            let target = &self.target.name;
            call.query.warn(format!(
                "column {name} tells {target} almost alone ({how_well:.4}): if it is known only after {target} is, \
                 leave it out with IGNORE {name}"
            ));
        }
        self.tell_rare_classes(&read, call);
        let encoder = self.base.as_ref().map(|base| base.encoder()).transpose()?;
        let options = RowsOptions { encoder, ..self.options.clone() };
        let Read { table, target, task, rows, skipped } = read;
        let work = move |control: &Arc<crate::ml::Control>| {
            let (model, report) = supervised::fit(&table, &target, &task, &options, control)?;
            Ok((model.to_bytes()?, model, report))
        };
        let (file, model, report) = call.engine.runtimes.train(&call.query.control, work).await?;
        for member in report.members.iter().filter(|member| member.failure.is_some()) {
            let why = member.failure.as_deref().unwrap_or_default();
            call.query.notice(format!("{} is left out: {why}", member.family.word()));
        }
        if skipped > 0 {
            call.query.notice(format!("{skipped} rows have no {} and are left out", self.target.name));
        }
        call.query.control.check()?;
        let manifest = self.manifest(&model, &report, rows, started);
        let contents = Contents { weights: file, ..Contents::default() };
        let version = self.model.publish(&call.engine, manifest, contents, call.owner.clone()).await?;
        Ok((version, report))
    }

    fn read_rows(&self, batches: &[RecordBatch]) -> Result<Read> {
        let mut table = empty(self.sources.iter().map(|s| (s.name.as_str(), &s.data_type, s.kind)));
        let (mut labels, mut numbers, mut rows) = (vec![], vec![], 0);
        for batch in batches {
            rows += batch.num_rows();
            let there = datafusion::arrow::compute::is_not_null(batch.column(0));
            let there = there.map_err(|e| Error::internal(e.to_string()))?;
            let batch = datafusion::arrow::compute::filter_record_batch(batch, &there)
                .map_err(|e| Error::internal(e.to_string()))?;
            let target = batch.column(0);
            match self.kind {
                ModelKind::Regression => {
                    let values = cast_array(target, &DataType::Float64).map_err(|_| self.not_a_number())?;
                    if values.null_count() > 0 {
                        return Err(self.not_a_number());
                    }
                    numbers.extend(values.as_primitive::<Float64Type>().values().iter().copied());
                }
                _ => {
                    let values =
                        cast_array(target, &DataType::Utf8).map_err(|e| Error::internal(e.to_string()))?;
                    labels.extend(values.as_string::<i32>().iter().flatten().map(str::to_owned));
                }
            }
            append(&mut table, &batch, 1)?;
        }
        let skipped = rows - table.rows;
        let (target, task) = match self.kind {
            ModelKind::Regression if numbers.iter().any(|y| !y.is_finite()) => {
                return Err(self.not_a_number());
            }
            ModelKind::Regression => (Target::Numbers(numbers), Task::Number),
            _ => self.classes(&labels)?,
        };
        Ok(Read { table, target, task, rows, skipped })
    }

    fn not_a_number(&self) -> Error {
        let message = format!("target {} holds values that are not numbers", self.target.name);
        Error::data(message).with_hint("TRAIN CLASSIFICATION MODEL tells words")
    }

    /// Classes in ascending order, numbers by their size.
    fn classes(&self, labels: &[String]) -> Result<(Target, Task)> {
        let mut distinct: Vec<&String> = labels.iter().collect::<HashSet<_>>().into_iter().collect();
        distinct.sort_by(|a, b| match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(x), Ok(y)) => x.total_cmp(&y).then(a.cmp(b)),
            _ => a.cmp(b),
        });
        let name = &self.target.name;
        if let [only] = distinct[..] {
            return Err(Error::data(format!(
                "target {name} is {only} in all rows: there is nothing to tell"
            )));
        }
        if distinct.len() > CLASSES_MAX {
            let message =
                format!("target {name} has {} classes; {CLASSES_MAX} are told apart", distinct.len());
            return Err(Error::data(message).with_hint("TRAIN REGRESSION MODEL tells numbers"));
        }
        let places: BTreeMap<&String, u32> =
            distinct.iter().enumerate().map(|(i, label)| (*label, i as u32)).collect();
        let classes = labels.iter().filter_map(|label| places.get(label).copied()).collect();
        Ok((Target::Classes(classes), Task::Classes(distinct.into_iter().cloned().collect())))
    }

    fn tell_rare_classes(&self, read: &Read, call: &TaskCall) {
        let (Target::Classes(classes), Task::Classes(names)) = (&read.target, &read.task) else { return };
        let mut counts = vec![0usize; names.len()];
        classes.iter().for_each(|class| counts[*class as usize] += 1);
        let once: Vec<&str> =
            names.iter().zip(counts).filter(|(_, n)| *n == 1).map(|(name, _)| name.as_str()).collect();
        if !once.is_empty() {
            let (target, shown) = (&self.target.name, once[..once.len().min(5)].join(", "));
            call.query.warn(format!(
                "{} of the {} classes of {target} are in one row only ({shown}): what tells them cannot be checked",
                once.len(),
                names.len()
            ));
        }
    }

    fn manifest(&self, model: &Fitted, report: &RowsReport, rows: usize, started: Instant) -> Manifest {
        let source = |name: &str| self.sources.iter().find(|source| source.name == name);
        let column = |(name, kind): &(String, ColumnKind)| ColumnRole {
            name: name.clone(),
            role: if *kind == ColumnKind::Text { ModelRole::Text } else { ModelRole::Feature },
            data_type: source(name).map_or_else(String::new, |s| s.data_type.to_string()),
            inferred: !self.explicit,
            cardinality: None,
            missing: None,
        };
        let target = ColumnRole {
            name: self.target.name.clone(),
            role: ModelRole::Target,
            data_type: self.target.data_type.to_string(),
            inferred: false,
            cardinality: Some(model.task().outputs() as u64)
                .filter(|_| self.kind == ModelKind::Classification),
            missing: None,
        };
        let used: Vec<&str> =
            report.members.iter().filter(|m| m.weight > 0.0).map(|m| m.family.word()).collect();
        let mut manifest = Manifest {
            kind: self.kind,
            family: if let [only] = used[..] { only.to_owned() } else { "auto".to_owned() },
            metric: report.scores.headline().map(|(name, value)| Metric { name: name.to_owned(), value }),
            sql: self.text.clone(),
            roles: std::iter::once(target).chain(model.columns().iter().map(column)).collect(),
            expressions: model
                .columns()
                .iter()
                .filter_map(|(name, _)| source(name).map(|source| source.sql.clone()))
                .collect(),
            rows: Some(report.clone()),
            seed: self.options.seed,
            base: self.base.as_ref().map(|base| (base.manifest().name.clone(), base.manifest().version)),
            table_versions: self.lineage.clone(),
            panel: PanelReport { rows, ..PanelReport::default() },
            seconds: started.elapsed().as_secs_f64(),
            comment: self.comment.clone(),
            ..Manifest::new(&self.model.name, Utc::now())
        };
        manifest.report.parameters = report.parameters;
        manifest
    }

    fn row(&self, manifest: &Manifest, version: u64) -> Result<RecordBatch> {
        let report = manifest.rows.clone().unwrap_or_default();
        let count = |n: usize| -> ArrayRef { Arc::new(Int64Array::from(vec![n as i64])) };
        let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        let number = |x: Option<f64>| -> ArrayRef { Arc::new(Float64Array::from(vec![x])) };
        let (scores, naive) = (&report.scores, &report.naive);
        let mut columns = vec![
            text(&manifest.name),
            count(version as usize),
            text(&manifest.family),
            count(report.rows),
            count(report.held_out),
        ];
        match self.kind {
            ModelKind::Regression => {
                columns.extend([scores.mae, scores.rmse, scores.r2, naive.rmse].map(number))
            }
            _ => {
                let classes = manifest.roles.first().and_then(|role| role.cardinality).unwrap_or(0);
                columns.push(count(classes as usize));
                let told = [scores.accuracy, scores.f1, scores.auc, scores.log_loss, naive.log_loss];
                columns.extend(told.map(number));
            }
        }
        columns.push(number(Some(manifest.seconds)));
        RecordBatch::try_new(Arc::new(self.schema()), columns).map_err(|e| Error::internal(e.to_string()))
    }
}

/// The columns of a table as the clauses would name them.
fn roles_of(table: &Table) -> String {
    let clause = |word: &str, texts: bool| {
        let of = table.columns.iter().filter(|column| (column.kind == ColumnKind::Text) == texts);
        let names: Vec<String> = of.map(|column| identifier(&column.name)).collect();
        (!names.is_empty()).then(|| format!("{word} {}", names.join(", ")))
    };
    let clauses = [clause("FEATURES", false), clause("TEXT", true)];
    clauses.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[async_trait]
impl ModelTask for TrainRows {
    fn name(&self) -> &'static str {
        if self.kind == ModelKind::Regression { "TrainRegressionModel" } else { "TrainClassificationModel" }
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
        let text = |name: &str| Field::new(name, DataType::Utf8, false);
        let mut fields =
            vec![text("model"), count("version"), text("family"), count("rows"), count("held_out")];
        match self.kind {
            ModelKind::Regression => fields.extend(["mae", "rmse", "r2", "naive_rmse"].map(number)),
            _ => {
                fields.push(count("classes"));
                fields.extend(["accuracy", "f1", "auc", "log_loss", "naive_log_loss"].map(number));
            }
        }
        fields.push(number("seconds"));
        Schema::new(fields)
    }

    fn check_rights(&self, engine: &Engine, guard: &Guard) -> Result<()> {
        self.model.check_rights(engine, guard)?;
        self.base.iter().try_for_each(|base| guard.model(&base.manifest().name, Privilege::Select))
    }

    async fn run(self: Arc<Self>, mut call: TaskCall) -> Result<RecordBatch> {
        let (name, verb) = (&self.model.name, self.kind.word().to_uppercase());
        if let Some(version) =
            self.model.existing(&call.engine, &call.query, &format!("TRAIN OR REPLACE {verb} MODEL"))?
        {
            return self.row(call.engine.registry.get(name, Some(version))?.manifest(), version);
        }
        let running = call.enter(name);
        let trained = self.trained(&mut call).await;
        running.end(trained.as_ref().map(|(version, _)| Some(*version)).map_err(Clone::clone));
        let (version, _) = trained?;
        self.row(call.engine.registry.get(name, Some(version))?.manifest(), version)
    }
}
