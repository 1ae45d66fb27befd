//! The schema `ml`: models, versions, columns, training runs and logs as tables, read when asked for.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::Field;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::Result as DfResult;

use crate::engine::access::Rights;
use crate::engine::functions;
use crate::engine::plan::skill;
use crate::engine::registry::{Manifest, Model, ModelKind, ModelRole, ModelSummary};
use crate::engine::running::Training;
use crate::engine::shared::Engine;
use crate::error::{Error, Result};
use crate::ml::forecaster::{Scores, Trial};
use crate::ml::holidays::countries;

/// The tables of the schema.
pub const TABLES: &[&str] = &[
    "holidays",
    "model_columns",
    "model_versions",
    "models",
    "progress",
    "training_jobs",
    "training_log",
    "training_runs",
    "tuning_trials",
];

/// The schema provider.
#[derive(Debug)]
pub struct SystemSchema {
    engine: Arc<Engine>,
    rights: Rights,
}

impl SystemSchema {
    /// The schema of a database, with the models that exist for a role.
    pub fn new(engine: Arc<Engine>, rights: Rights) -> Self {
        Self { engine, rights }
    }

    fn batch(&self, name: &str) -> Result<Option<RecordBatch>> {
        let found = match name {
            "holidays" => holidays(),
            "models" => models(&self.active()?),
            "model_versions" => versions(&self.all()?),
            "model_columns" => columns(&self.active()?),
            "training_runs" => runs(&self.all()?),
            "training_log" => log(&self.all()?),
            "tuning_trials" => trials(&self.all()?),
            "progress" => progress(&self.trainings(|t| t.outcome.is_none())),
            "training_jobs" => jobs(&self.trainings(|_| true)),
            _ => return Ok(None),
        };
        found.map(Some)
    }

    fn models(&self) -> Result<Vec<ModelSummary>> {
        let mut list = self.engine.registry.list()?;
        list.retain(|model| self.rights.sees(&model.acl));
        Ok(list)
    }

    fn trainings(&self, wanted: fn(&Training) -> bool) -> Vec<Training> {
        let mut list = self.engine.trainings.list();
        list.retain(|training| wanted(training) && self.rights.sees(&training.acl));
        list
    }

    fn active(&self) -> Result<Vec<(Arc<Model>, bool)>> {
        let list = self.models()?;
        list.into_iter().map(|m| Ok((self.engine.registry.get(&m.name, None)?, true))).collect()
    }

    fn all(&self) -> Result<Vec<(Arc<Model>, bool)>> {
        let mut found = vec![];
        for model in self.models()? {
            for version in &model.versions {
                found.push((
                    self.engine.registry.get(&model.name, Some(*version))?,
                    *version == model.active_version,
                ));
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        TABLES.iter().map(|t| (*t).to_owned()).collect()
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        let Some(batch) = self.batch(name)? else { return Ok(None) };
        Ok(Some(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?)))
    }

    fn table_exist(&self, name: &str) -> bool {
        TABLES.contains(&name)
    }
}

/// The public holidays of all known countries from 2000 to 2050.
fn holidays() -> Result<RecordBatch> {
    const FIRST: i32 = 10_957;
    const LAST: i32 = 29_584;
    functions::holidays(&countries().iter().collect::<Vec<_>>(), FIRST, LAST)
}

/// The columns of one of the tables.
pub fn columns_of(name: &str) -> Vec<Field> {
    let nothing: &[Row] = &[];
    let batch = match name {
        "holidays" => functions::holidays(&[], 0, 0),
        "models" => models(nothing),
        "model_versions" => versions(nothing),
        "model_columns" => columns(nothing),
        "training_runs" => runs(nothing),
        "training_log" => log(nothing),
        "tuning_trials" => trials(nothing),
        "training_jobs" => jobs(&[]),
        _ => progress(&[]),
    };
    let fields = |batch: RecordBatch| batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    batch.map(fields).unwrap_or_default()
}

/// Builds a table column by column from a list of things.
struct Columns<'a, T> {
    rows: &'a [T],
    columns: Vec<(&'static str, ArrayRef)>,
}

impl<'a, T> Columns<'a, T> {
    fn of(rows: &'a [T]) -> Self {
        Self { rows, columns: vec![] }
    }

    fn text(mut self, name: &'static str, f: impl Fn(&T) -> Option<String>) -> Self {
        self.columns.push((name, Arc::new(self.rows.iter().map(f).collect::<StringArray>())));
        self
    }

    fn count(mut self, name: &'static str, f: impl Fn(&T) -> Option<u64>) -> Self {
        let values = self.rows.iter().map(|row| f(row).and_then(|n| i64::try_from(n).ok()));
        self.columns.push((name, Arc::new(values.collect::<Int64Array>())));
        self
    }

    fn number(mut self, name: &'static str, f: impl Fn(&T) -> Option<f64>) -> Self {
        self.columns.push((name, Arc::new(self.rows.iter().map(f).collect::<Float64Array>())));
        self
    }

    fn flag(mut self, name: &'static str, f: impl Fn(&T) -> bool) -> Self {
        self.columns
            .push((name, Arc::new(self.rows.iter().map(|row| Some(f(row))).collect::<BooleanArray>())));
        self
    }

    fn instant(mut self, name: &'static str, f: impl Fn(&T) -> i64) -> Self {
        let values: TimestampMicrosecondArray = self.rows.iter().map(|row| Some(f(row))).collect();
        self.columns.push((name, Arc::new(values.with_timezone("UTC"))));
        self
    }

    fn build(self) -> Result<RecordBatch> {
        let columns = self.columns.into_iter().map(|(name, column)| (name, column, true));
        RecordBatch::try_from_iter_with_nullable(columns).map_err(|e| Error::internal(e.to_string()))
    }
}

type Row = (Arc<Model>, bool);

fn manifest(row: &Row) -> &Manifest {
    row.0.manifest()
}

fn names(manifest: &Manifest, role: ModelRole) -> Option<String> {
    let names: Vec<&str> =
        manifest.roles.iter().filter(|r| r.role == role).map(|r| r.name.as_str()).collect();
    Some(names.join(", ")).filter(|n| !n.is_empty())
}

fn skill_of(manifest: &Manifest) -> Option<f64> {
    skill(manifest.report.scores.mase, manifest.report.naive.mase)
}

fn forecasts(row: &Row) -> bool {
    manifest(row).kind == ModelKind::Forecast
}

fn models(rows: &[Row]) -> Result<RecordBatch> {
    Columns::of(rows)
        .text("name", |r| Some(manifest(r).name.clone()))
        .text("kind", |r| Some(manifest(r).kind.word().to_owned()))
        .text("family", |r| Some(manifest(r).family.clone()))
        .count("active_version", |r| Some(manifest(r).version))
        .text("target", |r| names(manifest(r), ModelRole::Target))
        .text("keys", |r| names(manifest(r), ModelRole::Key))
        .text("time", |r| names(manifest(r), ModelRole::Time))
        .text("every", |r| forecasts(r).then(|| manifest(r).frequency.to_string()))
        .count("horizon", |r| Some(manifest(r).horizon as u64).filter(|h| *h > 0))
        .text("metric", |r| manifest(r).score().map(|metric| metric.name))
        .number("value", |r| manifest(r).score().map(|metric| metric.value))
        .number("skill", |r| skill_of(manifest(r)))
        .instant("trained_at", |r| manifest(r).created_at.timestamp_micros())
        .text("data_version", |r| Some(data_version(manifest(r))).filter(|t| !t.is_empty()))
        .text("comment", |r| manifest(r).comment.clone())
        .build()
}

fn data_version(manifest: &Manifest) -> String {
    manifest.table_versions.iter().map(|(t, v)| format!("{t}@{v}")).collect::<Vec<_>>().join(", ")
}

fn versions(rows: &[Row]) -> Result<RecordBatch> {
    Columns::of(rows)
        .text("name", |r| Some(manifest(r).name.clone()))
        .count("version", |r| Some(manifest(r).version))
        .flag("active", |r| r.1)
        .count("parent_version", |r| manifest(r).parent_version)
        .text("family", |r| Some(manifest(r).family.clone()))
        .text("metric", |r| manifest(r).score().map(|metric| metric.name))
        .number("value", |r| manifest(r).score().map(|metric| metric.value))
        .number("skill", |r| skill_of(manifest(r)))
        .count("parameters", |r| Some(manifest(r).report.parameters as u64))
        .count("bytes", |r| Some(manifest(r).files.iter().map(|f| f.bytes).sum()))
        .text("checksum", |r| manifest(r).files.first().map(|f| f.sha256.clone()))
        .count("seed", |r| Some(manifest(r).seed))
        .text("data_version", |r| Some(data_version(manifest(r))).filter(|t| !t.is_empty()))
        .instant("trained_at", |r| manifest(r).created_at.timestamp_micros())
        .number("seconds", |r| Some(manifest(r).seconds))
        .text("engine_version", |r| Some(manifest(r).engine_version.clone()))
        .text("recipe_sql", |r| Some(manifest(r).sql.clone()))
        .build()
}

fn columns(rows: &[Row]) -> Result<RecordBatch> {
    let flat: Vec<_> =
        rows.iter().flat_map(|r| manifest(r).roles.iter().map(move |c| (manifest(r), c))).collect();
    Columns::of(&flat)
        .text("model", |(m, _)| Some(m.name.clone()))
        .count("version", |(m, _)| Some(m.version))
        .text("name", |(_, c)| Some(c.name.clone()))
        .text("role", |(_, c)| Some(c.role.word().to_owned()))
        .text("type", |(_, c)| Some(c.data_type.clone()))
        .count("cardinality", |(_, c)| c.cardinality)
        .count("missing", |(_, c)| c.missing)
        .flag("inferred", |(_, c)| c.inferred)
        .build()
}

fn runs(rows: &[Row]) -> Result<RecordBatch> {
    Columns::of(rows)
        .text("model", |r| Some(manifest(r).name.clone()))
        .count("version", |r| Some(manifest(r).version))
        .instant("started_at", |r| {
            manifest(r).created_at.timestamp_micros() - (manifest(r).seconds * 1e6) as i64
        })
        .number("seconds", |r| Some(manifest(r).seconds))
        .count("series", |r| Some(manifest(r).panel.series as u64))
        .count("rows", |r| Some(manifest(r).panel.rows as u64))
        .count("windows", |r| Some(manifest(r).report.windows as u64))
        .count("epochs", |r| Some(manifest(r).report.epochs as u64))
        .number("train_loss", |r| manifest(r).report.log.last().map(|l| l.train_loss))
        .number("valid_loss", |r| manifest(r).report.log.last().map(|l| l.valid_loss))
        .build()
}

fn log(rows: &[Row]) -> Result<RecordBatch> {
    let flat: Vec<_> =
        rows.iter().flat_map(|r| manifest(r).report.log.iter().map(move |l| (manifest(r), l))).collect();
    Columns::of(&flat)
        .text("model", |(m, _)| Some(m.name.clone()))
        .count("version", |(m, _)| Some(m.version))
        .count("epoch", |(_, l)| Some(l.epoch as u64))
        .count("step", |(_, l)| Some(l.step as u64))
        .number("train_loss", |(_, l)| Some(l.train_loss))
        .number("valid_loss", |(_, l)| Some(l.valid_loss))
        .number("learning_rate", |(_, l)| Some(l.learning_rate))
        .number("rows_per_second", |(_, l)| Some(l.rows_per_second))
        .number("seconds", |(_, l)| Some(l.seconds))
        .build()
}

fn trials(rows: &[Row]) -> Result<RecordBatch> {
    let numbered =
        |m| manifest(m).report.trials.iter().enumerate().map(move |(n, t)| (manifest(m), n + 1, t));
    let flat: Vec<_> = rows.iter().flat_map(numbered).collect();
    let score = |of: fn(&Scores) -> Option<f64>| {
        move |t: &(&Manifest, usize, &Trial)| t.2.scores.as_ref().and_then(of)
    };
    Columns::of(&flat)
        .text("model", |(m, ..)| Some(m.name.clone()))
        .count("version", |(m, ..)| Some(m.version))
        .count("trial", |(_, n, _)| Some(*n as u64))
        .text("options", |(.., t)| {
            let pairs: Vec<String> =
                t.options.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            Some(pairs.join(", "))
        })
        .number("effort", |(.., t)| Some(t.effort))
        .number("mase", score(|s| s.mase))
        .number("wape", score(|s| s.wape))
        .number("quantile_loss", score(|s| s.quantile_loss))
        .number("seconds", |(.., t)| Some(t.seconds))
        .text("failure", |(.., t)| t.failure.clone())
        .build()
}

fn jobs(trainings: &[Training]) -> Result<RecordBatch> {
    Columns::of(trainings)
        .count("job", |t| Some(t.job))
        .text("model", |t| Some(t.model.clone()))
        .text("status", |t| Some(t.status().to_owned()))
        .instant("started_at", |t| t.started_at.timestamp_micros())
        .number("seconds", |t| Some(t.seconds))
        .count("version", |t| t.outcome.as_ref()?.as_ref().ok().copied().flatten())
        .text("error", |t| Some(t.outcome.as_ref()?.as_ref().err()?.message().to_owned()))
        .build()
}

fn progress(running: &[Training]) -> Result<RecordBatch> {
    Columns::of(running)
        .count("job", |r| Some(r.job))
        .text("model", |r| Some(r.model.clone()))
        .text("phase", |r| Some(r.progress.phase.to_owned()))
        .count("trial", |r| Some(r.progress.trial as u64).filter(|n| *n > 0))
        .count("trials", |r| Some(r.progress.trials as u64).filter(|n| *n > 0))
        .count("epoch", |r| Some(r.progress.epoch as u64))
        .count("epochs", |r| Some(r.progress.epochs as u64))
        .number("percent", |r| Some(r.progress.fraction * 100.0))
        .number("loss", |r| r.progress.train_loss)
        .number("elapsed", |r| Some(r.seconds))
        .number("eta", |r| r.eta())
        .build()
}
