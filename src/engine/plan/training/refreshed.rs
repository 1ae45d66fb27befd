//! What TRAIN does otherwise where a model goes on: its grid and texts stay, rows that came since are held out, and what was
//! there is scored by the same windows.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};

use crate::engine::plan::refresh::Refresh;
use crate::engine::plan::series_texts::SeriesTexts;
use crate::engine::plan::training::{Job, Learnt, SECONDS_MIN, Sums, Trained, skill};
use crate::engine::query::QueryContext;
use crate::error::Result;
use crate::ml::Control;
use crate::ml::forecaster::{Family, FitOptions, FitReport, Scores};
use crate::ml::models::{self, Refreshed, WINDOWS_MAX};
use crate::ml::series::{Grid, Panel, PanelReport};

/// The row that REFRESH returns.
pub fn refreshed_schema() -> Schema {
    let number = |name: &str| Field::new(name, DataType::Float64, true);
    let count = |name: &str| Field::new(name, DataType::Int64, false);
    Schema::new(vec![
        Field::new("model", DataType::Utf8, false),
        count("version"),
        Field::new("promoted", DataType::Boolean, false),
        count("series"),
        count("rows"),
        Field::new("metric", DataType::Utf8, false),
        number("value"),
        number("value_before"),
        number("naive_value"),
        number("skill"),
        number("seconds"),
    ])
}

/// That row, of a model whose active version is this one now.
pub(super) fn row(
    name: &str,
    (version, promoted): (u64, bool),
    panel: &PanelReport,
    (report, before): (&FitReport, &Scores),
    seconds: f64,
) -> Vec<ArrayRef> {
    let count = |n: u64| -> ArrayRef { Arc::new(Int64Array::from(vec![n as i64])) };
    let number = |x: Option<f64>| -> ArrayRef { Arc::new(Float64Array::from(vec![x])) };
    let text = |s: &str| -> ArrayRef { Arc::new(StringArray::from(vec![s])) };
    let (value, naive) = (report.scores.mase, report.naive.mase);
    vec![
        text(name),
        count(version),
        Arc::new(BooleanArray::from(vec![promoted])),
        count(panel.series as u64),
        count(panel.rows as u64),
        text("mase"),
        number(value),
        number(before.mase),
        number(naive),
        number(skill(value, naive)),
        number(Some(seconds)),
    ]
}

/// What there is to tell where no table of a model has changed since it was trained, so that it has nothing to go on with.
pub(super) fn unchanged(job: &Job, query: &QueryContext) -> Result<Option<Trained>> {
    let Some(refresh) = job.refresh.as_ref().filter(|refresh| !refresh.full) else { return Ok(None) };
    let manifest = refresh.model.manifest();
    let (name, version) = (&manifest.name, manifest.version);
    if job.lineage.is_empty() || *job.lineage != manifest.table_versions {
        return Ok(None);
    }
    query.notice(format!("no table of model {name} has changed since version {version}: nothing to learn"));
    let report = &manifest.report;
    let row = row(name, (version, false), &manifest.panel, (report, &report.scores), 0.0);
    Ok(Some(Trained { version, row }))
}

/// The grid of a model, and its season.
pub(super) fn grid(refresh: &Refresh) -> (Grid, Option<usize>) {
    let manifest = refresh.model.manifest();
    let grid = Grid::Fixed { frequency: manifest.frequency, origin: manifest.origin };
    (grid, Some(manifest.season_length))
}

/// How a model that goes on reads texts.
pub(super) fn texts(job: &Job) -> Result<Option<SeriesTexts>> {
    match job.refresh.as_ref().filter(|refresh| !refresh.full) {
        Some(refresh) => SeriesTexts::of(&job.engine, &refresh.model),
        None => Ok(None),
    }
}

/// Holds out what came since the model was trained, in whole windows, where the statement does not say what.
pub(super) fn hold_out_new(refresh: &Refresh, panel: &Panel, report: &PanelReport, fit: &mut FitOptions) {
    let period = |instant| panel.frequency.period(panel.origin, instant);
    let new = period(report.last_time) - period(refresh.model.manifest().panel.last_time);
    let windows = usize::try_from(new).unwrap_or(0) / fit.horizon.max(1);
    if windows > 0 && fit.validation_length.is_none() {
        fit.validation_length = Some(windows.min(WINDOWS_MAX) * fit.horizon);
    }
}

/// Lets the model go on with a panel that took `read` to read.
pub(super) fn learn(
    refresh: &Refresh,
    families: &[Family],
    panel: &Panel,
    sums: Option<&Sums>,
    (mut options, read): (FitOptions, Duration),
    control: &Control,
) -> Result<Learnt> {
    let max_seconds = options.max_seconds;
    options.max_seconds = max_seconds.map(|seconds| (seconds - read.as_secs_f64()).max(SECONDS_MIN));
    let coherence = sums.map(|Sums { hierarchy, method, .. }| (hierarchy, *method));
    // Sums have no members that could go on.
    let anew = (refresh.full || sums.is_some()).then_some(families);
    let file = refresh.model.network()?;
    let Refreshed { model, report, before } =
        models::refresh(&file, anew, panel, coherence, &options, control)?;
    options.max_seconds = max_seconds;
    let weights = model.to_bytes()?;
    control.report(|p| (p.phase, p.fraction) = ("save", 1.0));
    Ok(Learnt { model, report, options, weights, before: Some(before) })
}
