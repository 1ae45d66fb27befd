//! Our boosted trees beside LightGBM: same rows, same options, no early stopping, in turns. The rows are those that
//! the family `gbt` sees of `rossmann`, by `featurize` in plain SQL at five origins, with a sixth, later one held out; the
//! target is in units of the store's mean. Each round takes another seed; the least CPU seconds of the rounds count,
//! since others may share the machine, and the mean of their errors.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type};
use foretell::engine::{Database, Session};
use foretell::ml::Control;
use foretell::ml::trees::{Booster, BoosterOptions, ColumnType, Objective, Rows, SAMPLE_ROWS, TreeRows};
use foretell::{Error, Result};

use crate::peers::{self, Process};
use crate::{Report, cpu_seconds, data_folder};

const ROUNDS: u64 = 3;
/// Rows that are appended at once.
const PART: usize = 8192;
/// Most CPU seconds in units of LightGBM's.
const TARGET: f64 = 1.5;
/// Steps between origins, and what a row may look ahead.
const HORIZON: usize = 48;
const ORIGINS: usize = 6;
/// Columns of a row before its features: store and time.
const KEYS: usize = 2;
/// The day after the last origin's past.
const LAST_ORIGIN: &str = "DATE '2015-04-27'";

/// The loss of an error.
type Loss = fn(f64) -> f64;

/// What is minimised, how LightGBM calls it, and how errors are measured.
const OBJECTIVES: [(&str, Objective, &str, Loss); 2] = [
    ("squared error", Objective::SquaredError, "l2", |e| e * e),
    ("median", Objective::Quantile(0.5), "quantile", f64::abs),
];

/// Measures both objectives with one thread and with two.
pub fn run() -> Result<Report> {
    let python = peers::python(&["lightgbm", "numpy"])?;
    let data = Data::new()?;
    let folder = tempfile::tempdir().map_err(|e| Error::internal(format!("no temporary folder: {e}")))?;
    data.write(folder.path())?;
    let mut lightgbm = Process::start(&python, "trees.py", &[folder.path()])?;
    let shape = format!("{} and {} held out, of {} columns", data.train.len(), data.held.len(), data.width());
    let (mut lines, mut json) = (vec![("rows".to_owned(), shape)], serde_json::Map::new());
    for (name, objective, theirs, loss) in OBJECTIVES {
        for threads in [1, 2] {
            let (mut ours, mut peer) = (Spent::NONE, Spent::NONE);
            for seed in 1..=ROUNDS {
                let options = options(objective, seed);
                let first = seed % 2 == 0;
                let mine = if first { Some(fit(&data, &options, threads, loss)?) } else { None };
                let told = parameters(&options, theirs, threads).to_string();
                peer.add(&fit_lightgbm(&data, &told, &mut lightgbm, folder.path(), loss)?);
                ours.add(&mine.map_or_else(|| fit(&data, &options, threads, loss), Ok)?);
            }
            let ratio = ours.cpu() / peer.cpu();
            let label = format!("{name}, {threads} threads");
            lines.push((
                label.clone(),
                format!("ours {ours}  LightGBM {peer}  ratio {ratio:.2} (at most {TARGET})"),
            ));
            json.insert(
                label,
                serde_json::json!({
                    "ours": ours.json(), "lightgbm": peer.json(), "ratio": ratio, "target": TARGET,
                }),
            );
        }
    }
    Ok(Report { lines, json: json.into() })
}

fn options(objective: Objective, seed: u64) -> BoosterOptions {
    BoosterOptions {
        objective,
        trees: 300,
        leaves: 31,
        learning_rate: 0.1,
        rows_min: 50,
        column_fraction: 0.4,
        seed,
        ..BoosterOptions::default()
    }
}

/// The same for LightGBM.
fn parameters(options: &BoosterOptions, objective: &str, threads: usize) -> serde_json::Value {
    serde_json::json!({
        "trees": options.trees,
        "objective": objective,
        "alpha": 0.5,
        "learning_rate": options.learning_rate,
        "num_leaves": options.leaves,
        "min_data_in_leaf": options.rows_min,
        "min_sum_hessian_in_leaf": 0.0,
        "min_data_per_group": 1,
        "min_data_in_bin": 1,
        "lambda_l2": options.l2,
        "bagging_fraction": options.row_fraction,
        "bagging_freq": 1,
        "feature_fraction": options.column_fraction,
        "max_bin": options.bins,
        "bin_construct_sample_cnt": SAMPLE_ROWS,
        "num_threads": threads,
        "seed": options.seed,
        "verbosity": -1,
    })
}

/// Seconds of bins and of the fit, and the error on the rows held out.
#[derive(Clone, Copy)]
struct Spent {
    bins: f64,
    fit: f64,
    /// Of bins and fit.
    wall: f64,
    /// Summed over rounds.
    error: f64,
}

impl Spent {
    const NONE: Self = Self { bins: f64::INFINITY, fit: f64::INFINITY, wall: f64::INFINITY, error: 0.0 };

    fn add(&mut self, round: &Self) {
        let error = self.error + round.error;
        *self = Self {
            bins: self.bins.min(round.bins),
            fit: self.fit.min(round.fit),
            wall: self.wall.min(round.wall),
            error,
        };
    }

    fn cpu(&self) -> f64 {
        self.bins + self.fit
    }

    fn error(&self) -> f64 {
        self.error / ROUNDS as f64
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "cpu_seconds": self.cpu(), "bins_cpu_seconds": self.bins, "wall_seconds": self.wall, "error": self.error(),
        })
    }
}

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (cpu, bins, wall, error) = (self.cpu(), self.bins, self.wall, self.error());
        write!(f, "{cpu:.2} CPU-s ({bins:.2} of them bins) {wall:.2} s error {error:.5}")
    }
}

/// Ours on so many threads.
fn fit(data: &Data, options: &BoosterOptions, threads: usize, loss: Loss) -> Result<Spent> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| Error::internal(format!("no threads: {e}")))?;
    pool.install(|| {
        let (width, train) = (data.width(), &data.train);
        let (started, cpu) = (Instant::now(), cpu_seconds());
        let apart = train.len().div_ceil(SAMPLE_ROWS);
        let sample: Vec<f32> = train.x.chunks_exact(width).step_by(apart).flatten().copied().collect();
        let mut rows = TreeRows::new(Rows { values: &sample, width }, &data.types, options.bins);
        for (values, targets) in train.x.chunks(PART * width).zip(train.y.chunks(PART)) {
            rows.append(Rows { values, width }, targets, &[]);
        }
        let binned = cpu_seconds();
        let booster = Booster::fit(&rows, None, options, &Control::default())?;
        let (fitted, wall) = (cpu_seconds(), started.elapsed().as_secs_f64());
        let predicted = booster.predict(Rows { values: &data.held.x, width });
        let error = data.error(&predicted, loss);
        Ok(Spent { bins: binned - cpu, fit: fitted - binned, wall, error })
    })
}

/// LightGBM with these parameters.
fn fit_lightgbm(
    data: &Data,
    parameters: &str,
    lightgbm: &mut Process,
    folder: &Path,
    loss: Loss,
) -> Result<Spent> {
    let answer = lightgbm.ask(parameters)?;
    let [bins, bins_wall, fit, fit_wall] = answer[..] else {
        return Err(Error::internal(format!("trees.py answered {answer:?}")));
    };
    let bytes = std::fs::read(folder.join("predicted"))
        .map_err(|e| Error::internal(format!("predictions of LightGBM: {e}")))?;
    let predicted: Vec<f32> = bytes.as_chunks().0.iter().map(|number| f32::from_le_bytes(*number)).collect();
    Ok(Spent { bins, fit, wall: bins_wall + fit_wall, error: data.error(&predicted, loss) })
}

/// Rows and their targets.
#[derive(Default)]
struct Part {
    x: Vec<f32>,
    y: Vec<f32>,
}

impl Part {
    fn len(&self) -> usize {
        self.y.len()
    }
}

/// What both learn from and are measured on.
struct Data {
    types: Vec<ColumnType>,
    train: Part,
    held: Part,
}

impl Data {
    fn new() -> Result<Self> {
        let database = Database::temporary()?;
        let session = database.session();
        prepare(&session)?;
        let train = (1..ORIGINS).rev().map(|back| features(&session, back)).collect::<Result<Vec<_>>>()?;
        let (train, held) = (train.concat(), features(&session, 0)?);
        let schema = held.first().ok_or_else(|| Error::internal("no rows"))?.schema();
        let (mut types, mut train_columns, mut held_columns) = (vec![], vec![], vec![]);
        let target = schema.fields().len() - 1;
        for column in KEYS..target {
            let text = !schema.field(column).data_type().is_numeric();
            let codes =
                if text { categories(&[&train[..], &held[..]].concat(), column)? } else { BTreeSet::new() };
            types.push(if text { ColumnType::Category } else { ColumnType::Number });
            let read = |batches: &[RecordBatch]| {
                if text { coded(batches, column, &codes) } else { numbers(batches, column) }
            };
            train_columns.push(read(&train)?);
            held_columns.push(read(&held)?);
        }
        let part = |columns: &[Vec<f32>], batches: &[RecordBatch]| -> Result<Part> {
            let y = numbers(batches, target)?;
            Ok(Part { x: (0..y.len()).flat_map(|row| columns.iter().map(move |c| c[row])).collect(), y })
        };
        Ok(Self { types, train: part(&train_columns, &train)?, held: part(&held_columns, &held)? })
    }

    fn width(&self) -> usize {
        self.types.len()
    }

    /// Writes the rows as LightGBM's process reads them.
    fn write(&self, folder: &Path) -> Result<()> {
        let written = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.join(name), bytes).map_err(|e| Error::internal(format!("{name}: {e}")))
        };
        for (name, values) in
            [("train_x", &self.train.x), ("train_y", &self.train.y), ("held_x", &self.held.x)]
        {
            written(name, &values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())?;
        }
        let categories: Vec<usize> =
            (0..self.width()).filter(|i| self.types[*i] == ColumnType::Category).collect();
        written("categories.json", serde_json::json!(categories).to_string().as_bytes())
    }

    /// Mean loss of predictions for the rows held out.
    fn error(&self, predicted: &[f32], loss: Loss) -> f64 {
        let errors = predicted.iter().zip(&self.held.y).map(|(f, y)| loss(f64::from(y - f)));
        errors.sum::<f64>() / self.held.len() as f64
    }
}

/// Reads the sales of stores without holes and trains the model that features are asked of.
fn prepare(session: &Session) -> Result<()> {
    let path = data_folder()?.join("rossmann.parquet");
    session
        .run(&format!("CREATE EXTERNAL TABLE rossmann STORED AS PARQUET LOCATION '{}'", path.display()))?;
    session.run(
        r#"CREATE TABLE everything AS
           SELECT "Store" AS store, "Date" AS t, "Sales" AS y, "Customers" AS customers, "Open" AS open, "Promo" AS promo,
               "StateHoliday" AS state_holiday, "SchoolHoliday" AS school_holiday, "StoreType" AS store_type,
               "Assortment" AS assortment, "CompetitionDistance" AS competition_distance, "Promo2" AS promo2,
               "PromoInterval" AS promo_interval
           FROM rossmann WHERE "Store" IN (SELECT "Store" FROM rossmann WHERE "Date" = DATE '2014-09-01')"#,
    )?;
    session.run(&format!(
        "TRAIN FORECAST MODEL m ON (SELECT * FROM everything WHERE t < {LAST_ORIGIN}) TARGET y PARTITION BY store ORDER BY t \
         KNOWN open, promo, state_holiday, school_holiday PAST customers \
         STATIC store_type, assortment, competition_distance, promo2, promo_interval \
         HORIZON {HORIZON} USING gbt WITH (season = 7, trees = 1)"
    ))?;
    Ok(())
}

/// The rows of an origin so many horizons before the last one: store, time, features, target.
fn features(session: &Session, back: usize) -> Result<Vec<RecordBatch>> {
    let origin = format!("{LAST_ORIGIN} - {}", back * HORIZON);
    session.run(&format!(
        "SELECT f.*, a.y / s.mean AS target \
         FROM featurize(m, on => (SELECT * FROM everything WHERE t < {origin}), \
             future => (SELECT * FROM everything WHERE t >= {origin})) AS f \
         JOIN everything AS a ON f.store = a.store AND f.t = a.t \
         JOIN (SELECT store, avg(y) AS mean FROM everything WHERE t < {origin} AND y > 0 GROUP BY store) AS s \
             ON f.store = s.store \
         WHERE a.y > 0 ORDER BY f.store, f.t"
    ))
}

fn column_as(batch: &RecordBatch, column: usize, kind: &DataType) -> Result<ArrayRef> {
    cast(batch.column(column), kind).map_err(|e| Error::internal(e.to_string()))
}

/// A column of numbers; NULL is NaN.
fn numbers(batches: &[RecordBatch], column: usize) -> Result<Vec<f32>> {
    let mut out = vec![];
    for batch in batches {
        let values = column_as(batch, column, &DataType::Float32)?;
        out.extend(values.as_primitive::<Float32Type>().iter().map(|x| x.unwrap_or(f32::NAN)));
    }
    Ok(out)
}

/// The words of a column.
fn categories(batches: &[RecordBatch], column: usize) -> Result<BTreeSet<String>> {
    let mut out = BTreeSet::new();
    for batch in batches {
        let values = column_as(batch, column, &DataType::Utf8)?;
        out.extend(values.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(out)
}

/// A column of words as their places among all of them; NULL is NaN.
fn coded(batches: &[RecordBatch], column: usize, words: &BTreeSet<String>) -> Result<Vec<f32>> {
    let mut out = vec![];
    for batch in batches {
        let values = column_as(batch, column, &DataType::Utf8)?;
        let place = |word: &str| words.iter().position(|w| w == word).map_or(f32::NAN, |at| at as f32);
        out.extend(values.as_string::<i32>().iter().map(|word| word.map_or(f32::NAN, place)));
    }
    Ok(out)
}
