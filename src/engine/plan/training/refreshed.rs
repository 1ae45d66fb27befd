//! What TRAIN does otherwise where a model goes on: its grid and texts stay, rows that came since are held out, and what was
//! there is scored by the same windows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};

use crate::engine::plan::refresh::{Change, Refresh};
use crate::engine::plan::series_texts::SeriesTexts;
use crate::engine::plan::training::distilled::new_steps;
use crate::engine::plan::training::{Job, Learnt, SECONDS_MIN, Sums, Trained, skill};
use crate::engine::query::QueryContext;
use crate::engine::registry::{ColumnRole, Manifest};
use crate::error::{Error, Result};
use crate::ml::Control;
use crate::ml::compression::{compress, ensure_smaller, restored};
use crate::ml::device::Placement;
use crate::ml::forecaster::{Family, FitOptions, FitReport, FittedForecaster, Scores};
use crate::ml::models::{self, Refreshed, WINDOWS_MAX};
use crate::ml::series::{Grid, Panel, PanelReport};

/// What a version is compared with: the one before it.
pub struct Changed {
    /// Its scores on the same windows.
    scores: Scores,
    /// Bytes of its weights, and of the new ones.
    bytes: [usize; 2],
    /// Seconds of its forecasts of the windows, and of the new ones.
    seconds: [f64; 2],
}

/// The row that REFRESH, QUANTIZE and PRUNE return.
pub fn refreshed_schema(change: Change) -> Schema {
    let number = |name: &str| Field::new(name, DataType::Float64, true);
    let count = |name: &str| Field::new(name, DataType::Int64, false);
    let mut fields = vec![Field::new("model", DataType::Utf8, false), count("version")];
    match change {
        Change::Learns { .. } => {
            fields.extend([Field::new("promoted", DataType::Boolean, false), count("series"), count("rows")]);
        }
        Change::Shrinks(_) => fields.extend([
            count("bytes_before"),
            count("bytes"),
            number("seconds_before"),
            number("seconds"),
        ]),
    }
    fields.push(Field::new("metric", DataType::Utf8, false));
    fields.extend([number("value_before"), number("value")]);
    if let Change::Learns { .. } = change {
        fields.extend([number("naive_value"), number("skill"), number("seconds")]);
    }
    Schema::new(fields)
}

/// True where the new version becomes the active one.
pub(super) fn is_promoted(refresh: &Refresh, report: &FitReport, before: &Changed) -> bool {
    match refresh.change {
        Change::Learns { always, .. } => always || report.scores.rank() < before.scores.rank(),
        Change::Shrinks(_) => true,
    }
}

/// That row, of a model whose active version is this one now.
pub(super) fn row(
    refresh: &Refresh,
    (version, promoted): (u64, bool),
    panel: &PanelReport,
    (report, before): (&FitReport, &Changed),
    seconds: f64,
) -> Vec<ArrayRef> {
    let (name, old) = (&refresh.model.manifest().name, before.scores.mase);
    let (value, naive) = (report.scores.mase, report.naive.mase);
    if let Change::Shrinks(_) = refresh.change {
        let values = [old, value].map(|value| value.unwrap_or(f64::NAN));
        return compressed_row(name, version, (before.bytes, before.seconds), ("mase", values));
    }
    vec![
        text(name),
        count(version as usize),
        Arc::new(BooleanArray::from(vec![promoted])),
        count(panel.series),
        count(panel.rows),
        text("mase"),
        number(old),
        number(value),
        number(naive),
        number(skill(value, naive)),
        number(Some(seconds)),
    ]
}

/// The row that QUANTIZE and PRUNE return: bytes, seconds and the metric before and after; NaN is no value.
pub fn compressed_row(
    name: &str,
    version: u64,
    (bytes, seconds): ([usize; 2], [f64; 2]),
    (metric, values): (&str, [f64; 2]),
) -> Vec<ArrayRef> {
    let mut row = vec![text(name), count(version as usize)];
    row.extend(bytes.map(count));
    row.extend(seconds.map(|seconds| number(Some(seconds))));
    row.push(text(metric));
    row.extend(values.map(|value| number(Some(value).filter(|value| value.is_finite()))));
    row
}

fn count(n: usize) -> ArrayRef {
    Arc::new(Int64Array::from(vec![n as i64]))
}

fn number(x: Option<f64>) -> ArrayRef {
    Arc::new(Float64Array::from(vec![x]))
}

fn text(s: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![s]))
}

/// What there is to tell where the rows are those that a model was trained on, so that it has nothing to go on with.
pub(super) fn unchanged(job: &Job, rows: &PanelReport, query: &QueryContext) -> Option<Trained> {
    let refresh = job.refresh.as_ref()?;
    let Change::Learns { full: false, .. } = refresh.change else { return None };
    let manifest = refresh.model.manifest();
    let (name, version) = (&manifest.name, manifest.version);
    if *rows != manifest.panel || job.lineage.is_empty() || *job.lineage != manifest.table_versions {
        return None;
    }
    query.notice(format!("no table of model {name} has changed since version {version}: nothing to learn"));
    let report = &manifest.report;
    let same = Changed { scores: report.scores.clone(), bytes: [0; 2], seconds: [0.0; 2] };
    let row = row(refresh, (version, false), &manifest.panel, (report, &same), 0.0);
    Some(Trained { version, row })
}

/// The manifest of the new version: its recipe, comment and inferred roles are those of the one before. What only shrank has
/// learnt nothing more.
pub(super) fn manifest(refresh: &Refresh, new: Manifest) -> Manifest {
    let old = refresh.model.manifest();
    if let Change::Shrinks(_) = refresh.change {
        return Manifest { created_at: new.created_at, ..old.clone() };
    }
    let inferred = |name: &str| old.roles.iter().any(|role| role.inferred && role.name == name);
    let roles = new.roles.into_iter();
    let roles = roles.map(|role| ColumnRole { inferred: inferred(&role.name), ..role }).collect();
    let (base, encoder) = match refresh.change.is_full() {
        true => (new.base, new.encoder),
        false => (old.base.clone(), old.encoder.clone()),
    };
    Manifest { sql: old.sql.clone(), comment: old.comment.clone(), roles, base, encoder, ..new }
}

/// The grid of a model, and its season.
pub(super) fn grid(manifest: &Manifest) -> (Grid, Option<usize>) {
    let grid = Grid::Fixed { frequency: manifest.frequency, origin: manifest.origin };
    (grid, Some(manifest.season_length))
}

/// How a model that goes on, or learns from another, reads texts.
pub(super) fn texts(job: &Job) -> Result<Option<SeriesTexts>> {
    let going_on = job.refresh.as_ref().filter(|refresh| !refresh.change.is_full());
    match going_on.map(|refresh| &refresh.model).or(job.trained_teacher()) {
        Some(model) => {
            let encoder = SeriesTexts::encoder_of(&job.engine, model)?;
            SeriesTexts::of(model, encoder.as_deref())
        }
        None => Ok(None),
    }
}

/// The options of the model, with what its search found; holds out what came since it was trained, in whole windows where
/// it fills one: neither version has seen that.
pub(super) fn settle_options(refresh: &Refresh, panel: &Panel, fit: &mut FitOptions) {
    *fit = FitOptions {
        validation_length: fit.validation_length,
        max_seconds: fit.max_seconds,
        base: fit.base.take(),
        // A card that its statement names may be on another machine.
        device: if fit.device.open().is_ok() { fit.device } else { Placement::Cpu },
        ..refresh.model.manifest().options.clone()
    };
    if let Change::Learns { .. } = refresh.change {
        let steps = new_steps(refresh.model.manifest(), panel);
        match (steps / fit.horizon.max(1), steps) {
            (_, 0) => {}
            (0, steps) => fit.validation_length = Some(steps),
            (windows, _) => fit.validation_length = Some(windows.min(WINDOWS_MAX) * fit.horizon),
        }
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
    let anew = (refresh.change.is_full() || sums.is_some()).then_some(families);
    let file = refresh.model.network()?;
    let Change::Shrinks(how) = refresh.change else {
        let Refreshed { model, report, mut before } =
            models::refresh(&file, anew, panel, coherence, &options, control)?;
        if new_steps(refresh.model.manifest(), panel) == 0 {
            // What it has learnt from since does not tell how good it is.
            before = refresh.model.manifest().report.scores.clone();
        }
        options.max_seconds = max_seconds;
        let weights = model.to_bytes()?;
        control.report(|p| (p.phase, p.fraction) = ("save", 1.0));
        let change = Changed { scores: before, bytes: [file.len(), weights.len()], seconds: [0.0; 2] };
        return Ok(Learnt { model, report, options, weights, change: Some(change), compared: None });
    };
    let weights = compress(&refresh.model.manifest().name, &file, how)?;
    let model = models::load(&restored(&weights)?)?;
    let score = |model: &dyn FittedForecaster| {
        let started = Instant::now();
        let scores = models::score(model, panel, coherence, &options, control)?;
        Ok::<_, Error>((scores, started.elapsed().as_secs_f64()))
    };
    // What is read for the first time is slower.
    score(&*model)?;
    let ((before, old), (scores, new)) = (score(&*models::load(&file)?)?, score(&*model)?);
    let manifest = refresh.model.manifest();
    let report = FitReport { scores, ..manifest.report.clone() };
    let bytes = manifest.files.iter().find(|file| file.name.starts_with("weights"));
    let bytes = [bytes.map_or(file.len(), |file| file.bytes as usize), weights.len()];
    ensure_smaller(&manifest.name, bytes)?;
    let change = Changed { scores: before, bytes, seconds: [old, new] };
    Ok(Learnt { model, report, options, weights, change: Some(change), compared: None })
}
