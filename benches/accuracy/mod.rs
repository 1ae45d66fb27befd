//! Forecasts of real data beside published scores: `cargo bench --bench main -- accuracy` runs all tasks,
//! `FORETELL_TASKS=rossmann,carparts` those named, `FORETELL_WINDOWS=2,5` other windows than the usual ones (1 is the
//! last), `FORETELL_USING=gbt` another family than `auto`. The data comes from `FORETELL_DATA_DIR`, else from
//! `../shared/data`. `FORETELL_PEERS=all` lets other libraries forecast the last of the windows too, `FORETELL_PEERS=LightGBM`
//! those named (AutoETS, AutoTheta, LightGBM, NHITS); one that takes more than `FORETELL_PEERS_SECONDS` (900) is said to
//! have no forecast.
//!
//! Every window trains a model on the rows before it and forecasts it in plain SQL. MASE is the mean over series and
//! steps with an actual of |error| over the seasonal mean absolute difference of the training rows; the scaled
//! quantile loss is that of the levels 0.1 to 0.9, twice their quantile loss, averaged, over the same scale.

mod comparison;
mod tasks;

use std::time::Instant;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use foretell::engine::{Database, Session};
use foretell::{Error, Result};

use crate::accuracy::comparison::Peer;
use crate::accuracy::tasks::{TASKS, Task};
use crate::{Report, cpu_seconds, data_folder};

/// Scores of one window, by column.
const SCORES: [&str; 6] = ["mase", "sql", "wape", "smape", "coverage 80", "coverage 95"];

/// Columns that bound the intervals of our forecasts.
const BOUNDS: [&str; 4] = ["lower_80", "upper_80", "lower_95", "upper_95"];

/// Runs the tasks and compares their means with what was published.
pub fn run() -> Result<Report> {
    let wanted = list("FORETELL_TASKS");
    let (mut lines, mut json) = (vec![], serde_json::Map::new());
    for task in TASKS.iter().filter(|t| wanted.is_empty() || wanted.iter().any(|w| w == t.name)) {
        let windows: Vec<usize> = list("FORETELL_WINDOWS").iter().filter_map(|w| w.parse().ok()).collect();
        let windows = if windows.is_empty() { (1..=task.windows).rev().collect() } else { windows };
        let (mut sums, mut seconds, mut peers) = ([0.0; SCORES.len()], (0.0, 0.0), vec![]);
        for window in &windows {
            let found = run_window(task, *window, Some(window) == windows.last())?;
            eprintln!("  {} window {window}: {}", task.name, told(&found.scores));
            sums.iter_mut().zip(found.scores).for_each(|(sum, score)| *sum += score / windows.len() as f64);
            seconds.0 += found.wall / windows.len() as f64;
            seconds.1 += found.cpu / windows.len() as f64;
            peers = found.peers;
        }
        let spent = format!("{:.1} s, {:.1} CPU-s a window", seconds.0, seconds.1);
        lines.push((task.name.to_owned(), format!("{}  {spent}  [{}]", told(&sums), task.published)));
        let mut entry = named(&sums);
        for peer in peers {
            let (line, found) = match peer.forecasts {
                Ok(found) => {
                    let spent = format!("{:.1} s, {:.1} CPU-s, last window", found.wall, found.cpu);
                    let mut scores = named(&found.scores);
                    scores.insert("wall_seconds".into(), found.wall.into());
                    scores.insert("cpu_seconds".into(), found.cpu.into());
                    (format!("{}  {spent}", told(&found.scores)), scores.into())
                }
                Err(why) => (why.clone(), serde_json::json!({ "error": why })),
            };
            lines.push((format!("  {}", peer.model), line));
            entry.insert(peer.model, found);
        }
        entry.insert("windows".into(), windows.into());
        entry.insert("wall_seconds".into(), seconds.0.into());
        entry.insert("cpu_seconds".into(), seconds.1.into());
        json.insert(task.name.to_owned(), entry.into());
    }
    Ok(Report { lines, json: json.into() })
}

fn list(variable: &str) -> Vec<String> {
    let value = std::env::var(variable).unwrap_or_default();
    value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn told(scores: &[f64; SCORES.len()]) -> String {
    let parts = SCORES.iter().zip(scores).map(|(name, score)| format!("{name} {score:.3}"));
    parts.collect::<Vec<_>>().join("  ")
}

fn named(scores: &[f64; SCORES.len()]) -> serde_json::Map<String, serde_json::Value> {
    SCORES.iter().zip(scores).map(|(name, score)| ((*name).to_owned(), (*score).into())).collect()
}

struct Window {
    scores: [f64; SCORES.len()],
    wall: f64,
    cpu: f64,
    peers: Vec<Peer>,
}

fn run_window(task: &Task, window: usize, is_last: bool) -> Result<Window> {
    let folder = data_folder()?;
    let database = Database::temporary()?;
    let session = database.session();
    for file in task.files {
        let path = folder.join(format!("{file}.parquet"));
        session
            .run(&format!("CREATE EXTERNAL TABLE {file} STORED AS PARQUET LOCATION '{}'", path.display()))?;
    }
    session.run(&format!("CREATE TABLE everything AS {}", task.rows))?;
    let (end, begin) = ((window - 1) * task.horizon, window * task.horizon);
    let future = if task.known { format!("ago >= {end}") } else { format!("ago >= {begin}") };
    let covariates = columns_besides(&session, &["ago", "y"])?;
    session.run(&format!(
        "CREATE TABLE history AS SELECT {covariates}, CASE WHEN ago >= {begin} THEN {} END AS y \
         FROM everything WHERE {future}",
        task.target
    ))?;
    let using = std::env::var("FORETELL_USING").map(|family| format!("USING {family}")).unwrap_or_default();
    let (started, cpu) = (Instant::now(), cpu_seconds());
    session.run(&format!(
        "TRAIN FORECAST MODEL m ON history TARGET y PARTITION BY {keys} ORDER BY t {clauses} HORIZON {horizon} \
         {using} WITH (season = {season})",
        keys = task.keys,
        clauses = task.clauses,
        horizon = task.horizon,
        season = task.season,
    ))?;
    session.run(
        "CREATE TABLE forecasts AS SELECT * FROM \
         forecast(m, level => (80, 95), quantiles => (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9))",
    )?;
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    if std::env::var("FORETELL_LEADERBOARD").is_ok() {
        eprintln!(
            "{}",
            table(&session.run("SELECT family, mase, skill, weight, seconds FROM leaderboard(m)")?)
        );
    }
    let peers = if is_last { comparison::peers(&session, task, (begin, end))? } else { vec![] };
    Ok(Window { scores: scores(&session, task, (begin, end), ("forecasts", BOUNDS))?, wall, cpu, peers })
}

/// The columns of all rows besides these.
fn columns_besides(session: &Session, others: &[&str]) -> Result<String> {
    let batches = session.run("SELECT * FROM everything LIMIT 1")?;
    let schema = batches.first().ok_or_else(|| Error::internal("no rows"))?.schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    Ok(names.filter(|name| !others.contains(name)).collect::<Vec<_>>().join(", "))
}

/// Scores of the forecasts in a table, whose intervals of 80 and 95 % these columns bound.
fn scores(
    session: &Session,
    task: &Task,
    (begin, end): (usize, usize),
    (forecasts, bounds): (&str, [&str; 4]),
) -> Result<[f64; SCORES.len()]> {
    let loss =
        (1..10).map(|level| format!("greatest({level} * (y - q{level}0), ({level} - 10) * (y - q{level}0))"));
    let loss = loss.collect::<Vec<_>>().join(" + ");
    let batches = session.run(&format!(
        "SELECT mase(y, forecast, scale), avg(CASE WHEN scale > 0 THEN ({loss}) / (45 * scale) END), \
                wape(y, forecast), smape(y, forecast), coverage(y, {low_80}, {high_80}), \
                coverage(y, {low_95}, {high_95}) \
         FROM {forecasts} \
         JOIN (SELECT {keys}, t, y::double AS y FROM everything WHERE ago >= {end} AND ago < {begin}) AS actual \
             USING ({keys}, t) \
         JOIN (SELECT {keys}, seasonal_scale(y, {season} ORDER BY t) AS scale \
               FROM everything WHERE ago >= {begin} GROUP BY {keys}) AS scales USING ({keys})",
        keys = task.keys,
        season = task.scale_season,
        low_80 = bounds[0],
        high_80 = bounds[1],
        low_95 = bounds[2],
        high_95 = bounds[3],
    ))?;
    let batch = batches.first().ok_or_else(|| Error::internal("no scores"))?;
    let mut out = [f64::NAN; SCORES.len()];
    for (score, column) in out.iter_mut().zip(batch.columns()) {
        *score = column.as_primitive::<Float64Type>().value(0);
    }
    Ok(out)
}

fn table(batches: &[RecordBatch]) -> String {
    arrow::util::pretty::pretty_format_batches(batches).map_or_else(|e| e.to_string(), |t| t.to_string())
}
