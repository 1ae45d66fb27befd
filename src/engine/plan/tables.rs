//! Relations about models and tables that are known while planning.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::Schema;

use crate::engine::plan::scores;
use crate::engine::plan::training::skill;
use crate::engine::registry::{Manifest, Model, ModelKind, ModelRole};
use crate::engine::storage::{ColumnDefinition, VersionInfo, sql_name};
use crate::error::{Error, Result, Subject};
use crate::ml::forecaster::Candidate;
use crate::ml::models::family_name;
use crate::ml::supervised::{Member, RowScores, RowsReport};

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .map_err(|e| Error::internal(e.to_string()))
}

/// `evaluate(m, by => …)`: the scores on the steps held out in training, beside seasonal naive, by groups of series.
pub fn evaluate(models: &[Arc<Model>], by: &[String]) -> Result<RecordBatch> {
    let batches = models.iter().map(|model| held_out(model, by)).collect::<Result<Vec<_>>>()?;
    let schema = batches.first().map(RecordBatch::schema).unwrap_or_else(|| Arc::new(Schema::empty()));
    let alike = batches.iter().map(|batch| batch.clone().with_schema(Arc::clone(&schema)));
    let alike = alike.collect::<std::result::Result<Vec<_>, _>>().map_err(|_| {
        let message = format!("models whose {} have other types cannot be compared", by.join(", "));
        Error::input(Subject::Column, message).with_hint("evaluate them one at a time")
    })?;
    concat_batches(&schema, &alike).map_err(|e| Error::internal(e.to_string()))
}

/// The scores of one model.
fn held_out(model: &Model, by: &[String]) -> Result<RecordBatch> {
    let manifest = model.manifest();
    let (groups, scores) = match by {
        [] => (vec![], vec![[manifest.report.scores.clone(), manifest.report.naive.clone()]]),
        by => {
            let name = &manifest.name;
            let (columns, entries) =
                scores::decode(&model.scores()?.ok_or_else(|| no_series_scores(manifest))?)?;
            let groups = by.iter().map(|by| scores::column(name, &columns, by).cloned());
            scores::grouped(&groups.collect::<Result<Vec<_>>>()?, &entries)?
        }
    };
    let rows = scores.len();
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("model", Arc::new(StringArray::from(vec![manifest.name.as_str(); rows]))),
        ("model_version", Arc::new(Int64Array::from(vec![manifest.version as i64; rows]))),
        ("split", Arc::new(StringArray::from(vec!["validation"; rows]))),
    ];
    columns.extend(by.iter().map(String::as_str).zip(groups));
    let fields = scores::fields();
    columns.extend(fields.iter().map(|field| field.name().as_str()).zip(scores::columns(&scores)));
    batch(columns)
}

fn no_series_scores(manifest: &Manifest) -> Error {
    let name = &manifest.name;
    let message =
        format!("model {name} keeps no scores of its series: an older version of foretell trained it");
    Error::unsupported(message).with_hint(format!("leave by away: SELECT * FROM evaluate({name})"))
}

/// `evaluate(m)` of models of rows: the scores on the rows held out in training, beside telling every row the same.
pub fn evaluate_rows(models: &[Arc<Model>]) -> Result<RecordBatch> {
    let of =
        |model: &Arc<Model>| (model.manifest().clone(), model.manifest().rows.clone().unwrap_or_default());
    let all: Vec<(Manifest, RowsReport)> = models.iter().map(of).collect();
    let text = |value: &dyn Fn(&Manifest) -> String| -> ArrayRef {
        Arc::new(all.iter().map(|(manifest, _)| Some(value(manifest))).collect::<StringArray>())
    };
    let count = |value: &dyn Fn(&(Manifest, RowsReport)) -> usize| -> ArrayRef {
        Arc::new(all.iter().map(|one| Some(value(one) as i64)).collect::<Int64Array>())
    };
    let score = |value: fn(&RowScores) -> Option<f64>| -> ArrayRef {
        Arc::new(all.iter().map(|(_, report)| value(&report.scores)).collect::<Float64Array>())
    };
    let naive: Float64Array = all.iter().map(|(_, report)| report.naive.loss()).collect();
    batch(vec![
        ("model", text(&|m| m.name.clone())),
        ("model_version", count(&|(m, _)| m.version as usize)),
        ("split", text(&|_| "validation".to_owned())),
        ("n", count(&|(_, report)| report.held_out)),
        ("accuracy", score(|s| s.accuracy)),
        ("f1", score(|s| s.f1)),
        ("auc", score(|s| s.auc)),
        ("log_loss", score(|s| s.log_loss)),
        ("mrr", score(|s| s.mrr)),
        ("hit_rate", score(|s| s.hit_rate)),
        ("ndcg", score(|s| s.ndcg)),
        ("mae", score(|s| s.mae)),
        ("rmse", score(|s| s.rmse)),
        ("r2", score(|s| s.r2)),
        ("naive_loss", Arc::new(naive)),
    ])
}

/// `leaderboard(m)` of a model of rows.
fn leaderboard_of_rows(report: &RowsReport) -> Result<RecordBatch> {
    let members = &report.members;
    let number = |value: &dyn Fn(&Member) -> Option<f64>| -> ArrayRef {
        Arc::new(members.iter().map(value).collect::<Float64Array>())
    };
    let ranks: Int64Array = (1..=members.len() as i64).map(Some).collect();
    let families: StringArray = members.iter().map(|m| Some(m.family.word())).collect();
    let selected: BooleanArray = members.iter().map(|m| Some(m.weight > 0.0)).collect();
    let failures: StringArray = members.iter().map(|m| m.failure.as_deref()).collect();
    batch(vec![
        ("rank", Arc::new(ranks)),
        ("family", Arc::new(families)),
        ("accuracy", number(&|m| m.scores.accuracy)),
        ("f1", number(&|m| m.scores.f1)),
        ("auc", number(&|m| m.scores.auc)),
        ("log_loss", number(&|m| m.scores.log_loss)),
        ("mae", number(&|m| m.scores.mae)),
        ("rmse", number(&|m| m.scores.rmse)),
        ("r2", number(&|m| m.scores.r2)),
        ("weight", number(&|m| Some(m.weight))),
        ("selected", Arc::new(selected)),
        ("seconds", number(&|m| Some(m.seconds))),
        ("failure", Arc::new(failures)),
    ])
}

/// `leaderboard(m)` of a model of sequences, whose network is the only one.
fn leaderboard_of_sequences(manifest: &Manifest, report: &RowsReport) -> Result<RecordBatch> {
    let scores = &report.scores;
    let number = |value: Option<f64>| -> ArrayRef { Arc::new(Float64Array::from(vec![value])) };
    batch(vec![
        ("rank", Arc::new(Int64Array::from(vec![1]))),
        ("family", Arc::new(StringArray::from(vec![manifest.family.as_str()]))),
        ("mrr", number(scores.mrr)),
        ("hit_rate", number(scores.hit_rate)),
        ("ndcg", number(scores.ndcg)),
        ("accuracy", number(scores.accuracy)),
        ("log_loss", number(scores.log_loss)),
        ("naive_mrr", number(manifest.sequence.and_then(|(naive, _)| naive))),
        ("seconds", number(Some(manifest.seconds))),
    ])
}

/// `leaderboard(m)`: the candidates of a training, the best first.
pub fn leaderboard(model: &Model) -> Result<RecordBatch> {
    let manifest = model.manifest();
    if matches!(manifest.kind, ModelKind::Text | ModelKind::Pretrained | ModelKind::Sequence) {
        let message =
            format!("model {} is of kind {}: nothing competed with it", manifest.name, manifest.kind.word());
        return Err(
            Error::input(Subject::Model, message).with_hint("describe_model tells what is known of it")
        );
    }
    match &manifest.rows {
        Some(report) if manifest.sequence.is_some() => return leaderboard_of_sequences(manifest, report),
        Some(report) => return leaderboard_of_rows(report),
        None => {}
    }
    let (candidates, naive) = (&manifest.report.candidates, &manifest.report.naive);
    let number = |value: &dyn Fn(&Candidate) -> Option<f64>| -> ArrayRef {
        Arc::new(candidates.iter().map(value).collect::<Float64Array>())
    };
    let ranks: Int64Array = (1..=candidates.len() as i64).map(Some).collect();
    let families: StringArray = candidates.iter().map(|c| Some(family_name(c.family))).collect();
    let selected: BooleanArray = candidates.iter().map(|c| Some(c.weight > 0.0)).collect();
    let failures: StringArray = candidates.iter().map(|c| c.failure.as_deref()).collect();
    batch(vec![
        ("rank", Arc::new(ranks)),
        ("family", Arc::new(families)),
        ("mase", number(&|c| c.scores.mase)),
        ("wape", number(&|c| c.scores.wape)),
        ("rmse", number(&|c| c.scores.rmse)),
        ("quantile_loss", number(&|c| c.scores.quantile_loss)),
        ("coverage", number(&|c| c.scores.coverage)),
        ("skill", number(&|c| skill(c.scores.mase, naive.mase))),
        ("weight", number(&|c| Some(c.weight))),
        ("selected", Arc::new(selected)),
        ("seconds", number(&|c| Some(c.seconds))),
        ("failure", Arc::new(failures)),
    ])
}

/// `describe_model(m)`: property and value.
pub fn describe_model(model: &Model) -> Result<RecordBatch> {
    let lines = properties(model.manifest());
    let (names, values): (Vec<&str>, Vec<Option<String>>) = lines.into_iter().unzip();
    batch(vec![
        ("property", Arc::new(StringArray::from(names))),
        ("value", Arc::new(StringArray::from(values))),
    ])
}

fn properties(manifest: &Manifest) -> Vec<(&'static str, Option<String>)> {
    let mut lines = vec![
        ("model", Some(manifest.name.clone())),
        ("version", Some(manifest.version.to_string())),
        ("kind", Some(manifest.kind.word().to_owned())),
        ("family", Some(manifest.family.clone())),
        ("sql", Some(manifest.sql.clone())),
    ];
    let of_rows = matches!(manifest.kind, ModelKind::Classification | ModelKind::Regression);
    let of_sequences = manifest.kind == ModelKind::Sequence || manifest.sequence.is_some();
    let roles = match of_rows {
        _ if of_sequences => &ModelRole::OF_SEQUENCES[..],
        true => &ModelRole::OF_ROWS[..],
        false => &ModelRole::OF_SERIES[..7],
    };
    let of_columns = !matches!(manifest.kind, ModelKind::Text | ModelKind::Pretrained);
    for role in roles.iter().copied().filter(|_| of_columns) {
        let names: Vec<&str> =
            manifest.roles.iter().filter(|r| r.role == role).map(|r| r.name.as_str()).collect();
        if names.is_empty() && role == ModelRole::Text && !of_rows {
            continue;
        }
        lines.push((role.word(), Some(names.join(", ")).filter(|n| !n.is_empty())));
    }
    if let Some(holidays) = &manifest.holidays {
        lines.push(("holidays", Some(holidays.describe())));
    }
    if manifest.kind != ModelKind::Forecast {
        lines.extend(of_networks(manifest));
        lines.extend(of_rows_and_texts(manifest));
        return lines;
    }
    let (scores, naive) = (&manifest.report.scores, &manifest.report.naive);
    let round = |x: Option<f64>| x.map(|x| format!("{x:.4}"));
    let tables: Vec<String> =
        manifest.table_versions.iter().map(|(t, v)| format!("{t} version {v}")).collect();
    let kind = manifest.time_kind;
    lines.extend([
        ("frequency", Some(manifest.frequency.to_string())),
        ("season", Some(manifest.season_length.to_string())),
        ("horizon", Some(manifest.horizon.to_string())),
        ("quantiles", Some(levels(manifest))),
        ("series", Some(manifest.panel.series.to_string())),
        ("hierarchy", manifest.hierarchy.as_ref().map(ToString::to_string)),
        ("reconciliation", manifest.reconciliation.map(|method| method.word().to_owned())),
        ("rows", Some(manifest.panel.rows.to_string())),
        (
            "history",
            Some(format!(
                "{} to {}",
                kind.format(manifest.panel.first_time),
                kind.format(manifest.panel.last_time)
            )),
        ),
        ("trained on", Some(tables.join(", ")).filter(|t| !t.is_empty())),
        ("parameters", Some(manifest.report.parameters.to_string())),
        ("epochs", Some(manifest.report.epochs.to_string())),
        ("mase", round(scores.mase)),
        ("naive mase", round(naive.mase)),
        ("skill", round(skill(scores.mase, naive.mase))),
        ("coverage", round(scores.coverage)),
        ("seed", Some(manifest.seed.to_string())),
        ("trained at", Some(manifest.created_at.format("%Y-%m-%d %H:%M:%S UTC").to_string())),
        ("seconds", Some(format!("{:.1}", manifest.seconds))),
        ("engine", Some(manifest.engine_version.clone())),
        ("comment", manifest.comment.clone()),
    ]);
    lines
}

fn levels(manifest: &Manifest) -> String {
    manifest.quantile_levels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What a pretrained network can forecast, and from what.
fn of_networks(manifest: &Manifest) -> Vec<(&'static str, Option<String>)> {
    if manifest.kind != ModelKind::Pretrained {
        return vec![];
    }
    vec![
        ("horizon", Some(manifest.horizon.to_string())),
        ("quantiles", Some(levels(manifest))),
        ("context", manifest.context_length.map(|steps| steps.to_string())),
        ("series", Some(manifest.panel.series.to_string()).filter(|_| manifest.panel.series > 0)),
    ]
}

/// What is known of a model that is not of some series.
fn of_rows_and_texts(manifest: &Manifest) -> Vec<(&'static str, Option<String>)> {
    let tables: Vec<String> =
        manifest.table_versions.iter().map(|(t, v)| format!("{t} version {v}")).collect();
    let base = manifest.base.as_ref().map(|(name, version)| format!("{name} version {version}"));
    let of_sequences = manifest.kind == ModelKind::Sequence || manifest.sequence.is_some();
    let counted = if of_sequences { "sequences" } else { "rows" };
    let metric = manifest.metric.as_ref().map(|metric| format!("{} {:.4}", metric.name, metric.value));
    vec![
        ("begins with", base),
        (counted, Some(manifest.panel.rows.to_string()).filter(|_| manifest.panel.rows > 0)),
        ("trained on", Some(tables.join(", ")).filter(|t| !t.is_empty())),
        ("parameters", Some(manifest.report.parameters.to_string())),
        ("metric", metric),
        ("seed", Some(manifest.seed.to_string())),
        ("trained at", Some(manifest.created_at.format("%Y-%m-%d %H:%M:%S UTC").to_string())),
        ("seconds", Some(format!("{:.1}", manifest.seconds))),
        ("engine", Some(manifest.engine_version.clone())),
        ("comment", manifest.comment.clone()),
    ]
}

/// `describe_table(t)`: a row per column, types in SQL's words.
pub fn columns(columns: &[ColumnDefinition]) -> Result<RecordBatch> {
    let texts = |value: fn(&ColumnDefinition) -> Option<String>| -> ArrayRef {
        Arc::new(columns.iter().map(value).collect::<StringArray>())
    };
    let nullable: BooleanArray = columns.iter().map(|c| Some(c.nullable)).collect();
    batch(vec![
        ("column_name", texts(|c| Some(c.name.clone()))),
        ("data_type", texts(|c| Some(sql_name(&c.data_type).to_lowercase()))),
        ("nullable", Arc::new(nullable)),
        ("column_default", texts(|c| c.default_sql.clone())),
        ("comment", texts(|c| c.comment.clone())),
    ])
}

/// `table_history(t)`: the versions of a table, newest first.
pub fn history(versions: Vec<VersionInfo>) -> Result<RecordBatch> {
    let version: Int64Array = versions.iter().map(|v| i64::try_from(v.version).ok()).collect();
    let at: TimestampMicrosecondArray =
        versions.iter().map(|v| Some(v.timestamp.timestamp_micros())).collect();
    let operation: StringArray = versions.iter().map(|v| Some(v.operation.as_str())).collect();
    let rows: Int64Array = versions.iter().map(|v| v.rows.and_then(|n| i64::try_from(n).ok())).collect();
    batch(vec![
        ("version", Arc::new(version)),
        ("timestamp", Arc::new(at.with_timezone("UTC"))),
        ("operation", Arc::new(operation)),
        ("rows", Arc::new(rows)),
    ])
}
