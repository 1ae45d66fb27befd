//! Other libraries on the very rows of a window, which are handed to `peers.py` as Parquet.

use std::path::Path;
use std::process::Command;

use foretell::engine::Session;
use foretell::{Error, Result};

use crate::accuracy::tasks::Task;
use crate::accuracy::{SCORES, list, scores};
use crate::peers::python;

/// Columns that bound their intervals.
const BOUNDS: [&str; 4] = ["q10", "q90", "q025", "q975"];

/// What became of another library's model.
pub struct Peer {
    /// Its name.
    pub model: String,
    /// Its forecasts, or why there are none.
    pub forecasts: std::result::Result<Forecasts, String>,
}

/// What forecasts scored and took.
pub struct Forecasts {
    /// Scores of the window, by our own functions.
    pub scores: [f64; SCORES.len()],
    /// Seconds of training and forecast.
    pub wall: f64,
    /// Seconds of processor time.
    pub cpu: f64,
}

/// The models that `FORETELL_PEERS` names on the window between `begin` and `end`; none where it names none.
pub fn peers(session: &Session, task: &Task, (begin, end): (usize, usize)) -> Result<Vec<Peer>> {
    let wanted = list("FORETELL_PEERS");
    if wanted.is_empty() {
        return Ok(vec![]);
    }
    let python = python(&["pyarrow", "statsforecast", "mlforecast", "lightgbm", "neuralforecast"])?;
    let folder = tempfile::tempdir().map_err(|e| Error::internal(format!("no temporary folder: {e}")))?;
    export(session, task, (begin, end), folder.path())?;
    let models = wanted.iter().filter(|w| *w != "all");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/accuracy/peers.py");
    let output = Command::new(python).arg(script).arg(folder.path()).args(models).output();
    let output = output.map_err(|e| Error::internal(format!("peers.py: {e}")))?;
    if !output.status.success() {
        return Err(Error::internal(format!("peers.py: {}", String::from_utf8_lossy(&output.stderr))));
    }
    let answers = String::from_utf8_lossy(&output.stdout);
    let answers = answers.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    answers.map(|answer| peer(session, task, (begin, end), folder.path(), &answer)).collect()
}

/// Writes what training sees, what is to be forecast, and what the task is.
fn export(session: &Session, task: &Task, (begin, end): (usize, usize), folder: &Path) -> Result<()> {
    let file = |name: &str| folder.join(name).display().to_string();
    let actual = format!("SELECT {}, t, y FROM everything WHERE ago >= {end} AND ago < {begin}", task.keys);
    session.run(&format!("COPY ({actual}) TO '{}' STORED AS PARQUET", file("actual.parquet")))?;
    session
        .run(&format!("COPY (SELECT * FROM history) TO '{}' STORED AS PARQUET", file("history.parquet")))?;
    let told = serde_json::json!({
        "keys": task.keys.split(", ").collect::<Vec<_>>(),
        "horizon": task.horizon,
        "season": task.season,
        "clauses": task.clauses,
    });
    let written = std::fs::write(folder.join("task.json"), told.to_string());
    written.map_err(|e| Error::internal(format!("task.json: {e}")))
}

/// Scores the forecasts that an answer tells of, if it tells of any.
fn peer(
    session: &Session,
    task: &Task,
    window: (usize, usize),
    folder: &Path,
    answer: &serde_json::Value,
) -> Result<Peer> {
    let model = answer["model"].as_str().unwrap_or_default().to_owned();
    if let Some(why) = answer["error"].as_str() {
        return Ok(Peer { model, forecasts: Err(why.to_owned()) });
    }
    let table = format!("peer_{}", model.to_lowercase());
    let path = folder.join(format!("{model}.parquet"));
    session.run(&format!("CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{}'", path.display()))?;
    let seconds = |name: &str| answer[name].as_f64().unwrap_or(f64::NAN);
    let (wall, cpu) = (seconds("wall_seconds"), seconds("cpu_seconds"));
    let scores = scores(session, task, window, (&table, BOUNDS))?;
    Ok(Peer { model, forecasts: Ok(Forecasts { scores, wall, cpu }) })
}
