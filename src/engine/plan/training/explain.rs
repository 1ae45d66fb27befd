//! What EXPLAIN TRAIN tells.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryPool;

use super::needs::Needs;
use super::{Job, Prepared, Sums, prepare};
use crate::engine::plan::input::table_name;
use crate::engine::query::QueryContext;
use crate::engine::registry::{ColumnRole, ModelRole};
use crate::error::Result;
use crate::ml::features::{Outliers, RowColumn};
use crate::ml::forecaster::{Family, FitEstimate};
use crate::ml::models;
use crate::ml::series::Panel;

/// What EXPLAIN TRAIN tells: everything that would be trained, without training.
pub async fn dry_run(
    job: &Arc<Job>,
    inputs: Vec<SendableRecordBatchStream>,
    query: &Arc<QueryContext>,
    pool: &Arc<dyn MemoryPool>,
) -> Result<Vec<ArrayRef>> {
    let prepared = prepare(job, inputs, query, pool).await?;
    let families = &job.options.families;
    let estimate = models::estimate(families, &prepared.panel, &prepared.fit, &query.control)?;
    let mut lines = vec![
        ("model", job.name()),
        ("relation", table_name(&job.statement)),
        ("family", family_words(families, &prepared.panel)),
    ];
    lines.extend(job.teacher_name().map(|teacher| ("teacher", teacher.to_owned())));
    lines.extend(role_lines(job, &prepared.roles));
    lines.extend(data_lines(job, &prepared));
    lines.extend(fit_lines(job, &prepared, &estimate));
    let columns = models::row_columns(families, &prepared.panel, &prepared.fit, &query.control)?;
    lines.extend(columns.into_iter().flat_map(|columns| feature_lines(&columns)));
    let (names, values): (Vec<&str>, Vec<String>) = lines.into_iter().unzip();
    Ok(vec![Arc::new(StringArray::from(names)), Arc::new(StringArray::from(values))])
}

/// Characters of a line of names.
const NAMES_LINE: usize = 100;

/// Names of features, as many a line as fit; of names that differ by their numbers only, the first and the last.
fn feature_lines(columns: &[RowColumn]) -> Vec<(&'static str, String)> {
    let numbered = |column: &RowColumn| {
        let (stem, number) = column.name.rsplit_once('_')?;
        number.parse::<usize>().ok().map(|number| (stem.to_owned(), number))
    };
    let follows = |one: &RowColumn, next: &RowColumn| {
        let (one, next) = (numbered(one), numbered(next));
        one.zip(next).is_some_and(|(one, next)| one.0 == next.0 && one.1 + 1 == next.1)
    };
    let mut lines = vec![format!("{} a row:", columns.len())];
    for run in columns.chunk_by(follows) {
        let names = match run {
            [first, _, .., last] => vec![format!("{} to {}", first.name, last.name)],
            few => few.iter().map(|column| column.name.clone()).collect(),
        };
        for name in names {
            match lines.last_mut() {
                Some(line) if !line.ends_with(':') && line.len() + name.len() + 2 <= NAMES_LINE => {
                    *line += &format!(", {name}")
                }
                _ => lines.push(name),
            }
        }
    }
    lines.into_iter().map(|line| ("features", line)).collect()
}

/// The families that were asked for, and those that `auto` stands for.
fn family_words(families: &[Family], panel: &Panel) -> String {
    let words =
        |families: &[Family]| families.iter().map(|f| models::family_name(*f)).collect::<Vec<_>>().join(", ");
    match families.contains(&Family::Auto) {
        true => format!("{} ({})", words(families), words(&models::candidates(families, panel))),
        false => words(families),
    }
}

/// What is held out, in words.
fn validation((windows, length): (usize, usize)) -> String {
    match windows {
        0 => "nothing".to_owned(),
        1 => format!("last {length} steps"),
        windows => format!("last {} steps in {windows} windows", windows * length),
    }
}

fn role_lines(job: &Job, roles: &[ColumnRole]) -> Vec<(&'static str, String)> {
    let name = |r: &ColumnRole| match (r.role, r.inferred) {
        (ModelRole::Target, _) => job.statement.target.to_string(),
        (_, true) => format!("{} (inferred)", r.name),
        (_, false) => r.name.clone(),
    };
    let line = |role: ModelRole| {
        let names: Vec<String> = roles.iter().filter(|r| r.role == role).map(name).collect();
        (role.word(), if names.is_empty() { "none".to_owned() } else { names.join(", ") })
    };
    let texts = roles.iter().any(|r| r.role == ModelRole::Text);
    let told = ModelRole::OF_SERIES.into_iter();
    let told = told.filter(|role| *role != ModelRole::Holidays && (texts || *role != ModelRole::Text));
    let mut lines: Vec<_> = told.map(line).collect();
    if !job.skipped.is_empty() {
        let left: Vec<String> = job.skipped.iter().map(|(c, why)| format!("{c} ({why})")).collect();
        lines.push(("left out", left.join(", ")));
    }
    lines
}

fn data_lines(job: &Job, prepared: &Prepared) -> Vec<(&'static str, String)> {
    let Prepared { panel, report, schema, .. } = prepared;
    let kind = schema.time_kind;
    let mut lines = vec![
        ("frequency", panel.frequency.to_string()),
        ("season", format!("{} steps", panel.season_length)),
        ("from", kind.format(report.first_time)),
        ("to", kind.format(report.last_time)),
    ];
    if let Some(first) = &prepared.incomplete.first {
        let (begin, from) = (prepared.time(first.begin), prepared.time(first.first));
        lines.push(("left out", format!("{begin}, rows only from {from}")));
    }
    if let Some(last) = &prepared.incomplete.last {
        let (begin, to) = (prepared.time(last.begin), prepared.time(last.last));
        lines.push(("unfinished", format!("{begin}, rows only to {to}")));
    }
    if let Some((holidays, columns)) = &prepared.holidays {
        lines.push(("holidays", format!("{}: {}", holidays.describe(), columns.join(", "))));
    }
    lines.push(("series", report.series.to_string()));
    if let (Some(rollup), Some(Sums { hierarchy, method, .. })) = (&job.rollup, &prepared.sums) {
        let (levels, sums) = (hierarchy.levels().len(), hierarchy.rows().len());
        lines.push(("hierarchy", format!("{rollup}: {levels} levels, {sums} sums of series")));
        let usual = if job.statement.reconcile.is_none() { " (default)" } else { "" };
        lines.push(("reconciliation", format!("{}{usual}", method.word())));
    }
    if report.dropped_series > 0 {
        lines.push(("empty series", format!("{}, left out", report.dropped_series)));
    }
    lines.extend([
        ("rows", report.rows.to_string()),
        ("gaps", format!("{} (GAPS {})", report.gaps_filled, job.gaps().word())),
        ("missing", report.missing.to_string()),
        ("duplicates", report.duplicates.to_string()),
        ("future rows", report.future_rows.to_string()),
    ]);
    let outliers = prepared.fit.outliers;
    if outliers != Outliers::Keep {
        lines.push(("outliers", format!("{} (OUTLIERS {})", outliers.count(panel), outliers.word())));
    }
    lines
}

fn fit_lines(job: &Job, prepared: &Prepared, estimate: &FitEstimate) -> Vec<(&'static str, String)> {
    let Prepared { panel, fit, reading, .. } = prepared;
    let needs = Needs::new(job, (panel, fit), estimate, *reading);
    let levels: Vec<String> = fit.quantile_levels.iter().map(ToString::to_string).collect();
    let usual = if job.options.horizon.is_none() { " (default)" } else { "" };
    let trials = job.tuning.as_ref().map(|tuning| tuning.trials);
    let mut lines = vec![
        ("horizon", format!("{}{usual}", fit.horizon)),
        ("validation", validation(models::held_out(panel, fit))),
        ("quantiles", levels.join(", ")),
        ("windows", estimate.windows.to_string()),
        ("parameters", estimate.parameters.to_string()),
        ("memory", format!("about {} MiB", needs.peak().div_ceil(1 << 20))),
        ("time", format!("about {} s", (estimate.seconds * (1 + trials.unwrap_or(0)) as f64).ceil())),
    ];
    if let Some(trials) = trials {
        lines.push(("trials", trials.to_string()));
    }
    if let Some(kind) = fit.objective {
        lines.insert(0, ("objective", kind.word().to_owned()));
    }
    lines
}
