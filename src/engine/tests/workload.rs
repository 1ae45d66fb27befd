//! Random statements of one session, and what the database must hold after each.

use std::collections::BTreeMap;

use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::engine::Session;
use crate::error::{ErrorKind, Result};
use crate::ml::rng::Rng;

/// Rows of the file that COPY reads: `i,7·i` for each of these numbers.
pub(super) const COPIED: std::ops::RangeInclusive<i64> = 1_000_001..=1_000_200;

/// Numbers of tables whose names have the number of the session.
type Rows = BTreeMap<i64, i64>;

/// What is known of the model of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Model {
    /// It is there; nobody has looked at its forecasts.
    Unseen,
    /// It is there, with these forecasts.
    Seen(String),
}

/// What belongs to one session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Rows of the table `t`, where there is one.
    pub(super) rows: Option<Rows>,
    /// Rows of the table `c`.
    pub(super) copy: Option<Rows>,
    /// Numbers of this session in the table that all share.
    pub(super) shared: Vec<i64>,
    /// The model `m`.
    pub(super) model: Option<Model>,
    /// The number that the sequence `s` gave last.
    pub(super) number: i64,
}

/// One statement of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    Create,
    Insert { from: i64, to: i64 },
    Copy,
    Update { every: i64 },
    Delete { every: i64 },
    Truncate,
    Drop,
    ReplaceCopy,
    DropCopy,
    Optimize,
    Vacuum,
    Share { numbers: Vec<i64> },
    Train { method: &'static str },
    Forecast,
    DropModel,
    NextValue,
}

/// The forecasts that are compared, and their order.
const FORECASTS: &str = "SELECT * FROM forecast(m{}) ORDER BY k, day";

impl Statement {
    /// A statement that can run now; every number that it adds is new.
    pub(super) fn random(state: &State, fresh: &mut i64, rng: &mut Rng) -> Self {
        let mut number = || {
            *fresh += 1;
            *fresh
        };
        if rng.chance(0.25) {
            return Self::Share { numbers: (0..1 + rng.below(20)).map(|_| number()).collect() };
        }
        match rng.below(20) {
            0 => return Self::NextValue,
            1 | 2 => return Self::Train { method: ["seasonal_naive", "theta", "ets"][rng.below(3)] },
            3 if state.model.is_some() => return Self::DropModel,
            4 if state.copy.is_some() => return Self::DropCopy,
            _ => {}
        }
        if state.model == Some(Model::Unseen) {
            return Self::Forecast;
        }
        let Some(rows) = &state.rows else { return Self::Create };
        match rng.below(20) {
            0 if !COPIED.into_iter().any(|i| rows.contains_key(&i)) => Self::Copy,
            1 | 2 => Self::Update { every: 2 + rng.below(4) as i64 },
            3 | 4 => Self::Delete { every: 3 + rng.below(4) as i64 },
            5 => Self::Truncate,
            6 => Self::Drop,
            7 => Self::ReplaceCopy,
            8 => Self::Optimize,
            9 => Self::Vacuum,
            _ => {
                let from = number();
                // Most are few rows, which share their commit; some are many.
                *fresh += [0, 3, 40, 3_000][rng.below(4)];
                Self::Insert { from, to: *fresh }
            }
        }
    }

    /// Its text, for session `k`; `file` is what COPY reads.
    pub(super) fn sql(&self, k: usize, file: &str) -> String {
        match self {
            Self::Create => format!("CREATE TABLE t{k} (i bigint NOT NULL, v bigint)"),
            Self::Insert { from, to } => {
                format!("INSERT INTO t{k} SELECT g, 7 * g FROM generate_series({from}, {to}) AS g")
            }
            Self::Copy => format!("COPY t{k} FROM '{file}' (FORMAT csv)"),
            Self::Update { every } => format!("UPDATE t{k} SET v = v + 1 WHERE i % {every} = 0"),
            Self::Delete { every } => format!("DELETE FROM t{k} WHERE i % {every} = 1"),
            Self::Truncate => format!("TRUNCATE t{k}"),
            Self::Drop => format!("DROP TABLE t{k}"),
            Self::ReplaceCopy => format!("CREATE OR REPLACE TABLE c{k} AS SELECT i, v FROM t{k}"),
            Self::DropCopy => format!("DROP TABLE c{k}"),
            Self::Optimize => format!("OPTIMIZE t{k}"),
            Self::Vacuum => format!("VACUUM t{k}, shared RETAIN 0 HOURS"),
            Self::Share { numbers } => {
                let rows: Vec<String> = numbers.iter().map(|n| format!("({k}, {n})")).collect();
                format!("INSERT INTO shared VALUES {}", rows.join(", "))
            }
            Self::Train { method } => format!(
                "TRAIN OR REPLACE FORECAST MODEL m{k} ON series TARGET y PARTITION BY k ORDER BY day HORIZON 3 \
                 USING {method}"
            ),
            Self::Forecast => FORECASTS.replace("{}", &k.to_string()),
            Self::DropModel => format!("DROP MODEL m{k}"),
            Self::NextValue => format!("SELECT nextval('s{k}')"),
        }
    }

    /// The state after it, where it answered this; `None` where nobody heard its answer.
    pub(super) fn apply(&self, state: &State, answer: Option<&str>) -> State {
        let mut after = state.clone();
        let rows = after.rows.as_mut();
        match self {
            Self::Create => after.rows = Some(Rows::new()),
            Self::Insert { from, to } => {
                rows.into_iter().for_each(|r| r.extend((*from..=*to).map(|i| (i, 7 * i))))
            }
            Self::Copy => rows.into_iter().for_each(|r| r.extend(COPIED.map(|i| (i, 7 * i)))),
            Self::Update { every } => {
                let changed = rows.into_iter().flatten().filter(|(i, _)| *i % every == 0);
                changed.for_each(|(_, v)| *v += 1);
            }
            Self::Delete { every } => rows.into_iter().for_each(|r| r.retain(|i, _| i % every != 1)),
            Self::Truncate => rows.into_iter().for_each(Rows::clear),
            Self::Drop => after.rows = None,
            Self::ReplaceCopy => after.copy = after.rows.clone(),
            Self::DropCopy => after.copy = None,
            Self::Optimize | Self::Vacuum => {}
            Self::Share { numbers } => after.shared.extend(numbers),
            Self::Train { .. } => after.model = Some(Model::Unseen),
            Self::Forecast => {
                after.model = Some(answer.map_or(Model::Unseen, |told| Model::Seen(told.to_owned())))
            }
            Self::DropModel => after.model = None,
            Self::NextValue => {
                let number = answer.and_then(|told| told.parse().ok());
                after.number = number.unwrap_or(after.number);
            }
        }
        after
    }
}

impl State {
    /// True where this, which was found, is what that says.
    pub(super) fn is(&self, expected: &Self) -> bool {
        let model = match (&self.model, &expected.model) {
            (Some(_), Some(Model::Unseen)) => true,
            (found, expected) => found == expected,
        };
        model
            && self.number > expected.number
            && (&self.rows, &self.copy, &self.shared) == (&expected.rows, &expected.copy, &expected.shared)
    }

    /// What the database has of session `k`.
    pub(super) fn found(session: &Session, k: usize) -> Result<Self> {
        let pairs = |table: &str| rows(session, &format!("SELECT i, v FROM {table}{k} ORDER BY i, v"));
        let forecasts = existing(session.run(&Statement::Forecast.sql(k, "")).map(|rows| digest(&rows)));
        let shared = session.run(&format!("SELECT n FROM shared WHERE k = {k} ORDER BY n"))?;
        let number = session.run(&format!("SELECT nextval('s{k}')"))?;
        Ok(Self {
            rows: existing(pairs("t"))?,
            copy: existing(pairs("c"))?,
            shared: lines(&shared).iter().filter_map(|line| line.parse().ok()).collect(),
            model: forecasts?.map(Model::Seen),
            number: lines(&number).concat().parse().unwrap_or_default(),
        })
    }
}

/// Nothing where there is none.
fn existing<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

fn rows(session: &Session, sql: &str) -> Result<Rows> {
    let lines = lines(&session.run(sql)?);
    let pairs: Rows = lines
        .iter()
        .filter_map(|line| line.split_once('|'))
        .filter_map(|(i, v)| Some((i.parse().ok()?, v.parse().ok()?)))
        .collect();
    // A row that is there twice is not to be overlooked.
    match pairs.len() == lines.len() {
        true => Ok(pairs),
        false => Err(crate::error::Error::internal(format!("{} rows of {}", lines.len(), pairs.len()))),
    }
}

type Batches = [datafusion::arrow::array::RecordBatch];

/// The rows, their columns apart by `|`.
pub(super) fn lines(batches: &Batches) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let of_batch = |batch: &datafusion::arrow::array::RecordBatch| {
        let columns = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap());
        let columns: Vec<_> = columns.collect();
        let line = |row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|");
        (0..batch.num_rows()).map(line).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of_batch).collect()
}

/// All rows in one word: numbers are written so that they can be read back to the bit.
pub(super) fn digest(batches: &Batches) -> String {
    use sha2::{Digest, Sha256};
    let lines = lines(batches);
    if let [line] = lines.as_slice() {
        return line.clone();
    }
    Sha256::digest(lines.join("\n")).iter().map(|byte| format!("{byte:02x}")).collect()
}
