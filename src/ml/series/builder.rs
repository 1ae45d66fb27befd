//! From sorted rows to a panel: runs of rows are appended, then placed on the grid.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result, Subject, did_you_mean};
use crate::ml::control::Control;
use crate::ml::series::column::{Column, ColumnSpec, ColumnStore};
use crate::ml::series::frequency::{Frequency, TimeKind};
use crate::ml::series::grid::{Grid, Timeline, find_grid};
use crate::ml::series::layout::{Layout, place};
use crate::ml::series::panel::{Covariate, MISSING, Panel, Values};

/// Instants beyond it, some 70,000 years away, are not dates and leave no room for arithmetic.
const INSTANT_MAX: u64 = 1 << 61;

/// What the columns of the input are, and what the user calls them.
#[derive(Debug, Clone, PartialEq)]
pub struct PanelSchema {
    /// The table or query, for messages.
    pub table: String,
    /// The time column, for messages.
    pub time: String,
    /// What its values are.
    pub time_kind: TimeKind,
    /// The target column, for messages.
    pub target: String,
    /// Covariates known in the future.
    pub known: Vec<ColumnSpec>,
    /// Covariates known only in the past.
    pub past: Vec<ColumnSpec>,
    /// Covariates that do not change within a series.
    pub statics: Vec<ColumnSpec>,
}

/// A run of rows of one series, sorted by time.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Microseconds since 1970-01-01, or integers.
    pub timestamps: &'a [i64],
    /// Values of the target; what stands at a NULL does not matter.
    pub target: &'a [f64],
    /// True where the target is NULL; `None` when it never is.
    pub nulls: Option<&'a [bool]>,
    /// One column for each of [`PanelSchema::known`].
    pub known: &'a [Column<'a>],
    /// One column for each of [`PanelSchema::past`].
    pub past: &'a [Column<'a>],
    /// One column for each of [`PanelSchema::statics`], one value per row.
    pub statics: &'a [Column<'a>],
}

/// What a period without a row becomes in the history of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gaps {
    /// Nothing happened: 0.
    Zero,
    /// Unknown: a missing value.
    #[default]
    Null,
    /// The last observed value.
    Previous,
    /// On the straight line between the observed neighbours; the last observed value wherever the later neighbour is
    /// not known yet.
    Linear,
    /// An error that names the first one.
    Error,
}

impl Gaps {
    const ALL: [Self; 5] = [Self::Zero, Self::Null, Self::Previous, Self::Linear, Self::Error];

    /// The word users write after GAPS.
    pub fn word(self) -> &'static str {
        match self {
            Self::Zero => "ZERO",
            Self::Null => "NULL",
            Self::Previous => "PREVIOUS",
            Self::Linear => "LINEAR",
            Self::Error => "ERROR",
        }
    }

    /// The policy of this word, in any case.
    pub fn parse(word: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|gaps| gaps.word().eq_ignore_ascii_case(word)).ok_or_else(|| {
            let words = Self::ALL.map(Self::word);
            let message = format!("unknown GAPS {word}{}", did_you_mean(word, words));
            Error::input(Subject::Option, message).with_hint(format!("GAPS takes {}", words.join(", ")))
        })
    }
}

/// What two rows of one series in one period are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// An error that names the first ones.
    #[default]
    Error,
    /// Counted; the last row stands.
    Last,
}

/// How the rows become a panel.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FinishOptions {
    /// How the grid is found.
    pub grid: Grid,
    /// What gaps become.
    pub gaps: Gaps,
    /// What duplicates are.
    pub duplicates: Duplicates,
    /// Periods in a season; `None` takes the usual one of the frequency.
    pub season_length: Option<usize>,
    /// Where periods begin whose rows are not all there: their target is unknown.
    pub incomplete: [Option<i64>; 2],
    /// Where history ends in a series without later values of the target, which then is kept even where
    /// the target is NULL in every row; `None` takes the latest value over all series.
    pub cutoff: Option<i64>,
    /// Bytes the panel may hold; `None` for no limit.
    pub memory_limit: Option<usize>,
}

/// What was found in the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PanelReport {
    /// Series in the panel.
    pub series: usize,
    /// Rows that were read.
    pub rows: usize,
    /// Periods of history without a row.
    pub gaps_filled: usize,
    /// Rows of history whose target is NULL.
    pub missing: usize,
    /// Rows beyond the first of their series and period.
    pub duplicates: usize,
    /// Rows that were moved to the begin of their period.
    pub truncated: usize,
    /// Series without any value of the target, left out.
    pub dropped_series: usize,
    /// Rows after the cutoff, kept for their known covariates.
    pub future_rows: usize,
    /// Earliest period of the panel.
    pub first_time: i64,
    /// Latest period with a value of the target: where history ends.
    pub last_time: i64,
}

/// Collects runs of rows into a panel.
#[derive(Debug)]
pub struct PanelBuilder {
    schema: PanelSchema,
    keys: Vec<String>,
    index: HashMap<String, usize>,
    offsets: Vec<usize>,
    timestamps: Vec<i64>,
    target: Vec<f64>,
    known: Vec<ColumnStore>,
    past: Vec<ColumnStore>,
    statics: Vec<ColumnStore>,
}

impl PanelBuilder {
    /// A builder for rows of this schema.
    pub fn new(schema: PanelSchema) -> Self {
        let stores = |specs: &[ColumnSpec]| specs.iter().map(ColumnStore::new).collect();
        Self {
            keys: Vec::new(),
            index: HashMap::new(),
            offsets: vec![0],
            timestamps: Vec::new(),
            target: Vec::new(),
            known: stores(&schema.known),
            past: stores(&schema.past),
            statics: stores(&schema.statics),
            schema,
        }
    }

    /// Rows appended so far.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// True before the first row.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Keys of the series so far, in order.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Bytes held so far.
    pub fn bytes(&self) -> usize {
        let columns = self.known.iter().chain(&self.past).chain(&self.statics);
        self.len() * 16 + self.keys.len() * 96 + columns.map(ColumnStore::bytes).sum::<usize>()
    }

    /// Appends a run of rows of the series `key`; the next run may go on with it, but a series that
    /// was left does not come back.
    pub fn append(&mut self, key: &str, rows: &Rows<'_>) -> Result<()> {
        let n = rows.timestamps.len();
        if n == 0 {
            return Ok(());
        }
        self.check_shape(rows)?;
        self.enter_series(key)?;
        self.check_order(key, rows.timestamps)?;
        self.append_target(key, rows)?;
        self.timestamps.extend_from_slice(rows.timestamps);
        let temporal = self.known.iter_mut().zip(rows.known).chain(self.past.iter_mut().zip(rows.past));
        for (store, column) in temporal {
            store.append(column).map_err(|row| infinite(store.name(), key, row))?;
        }
        self.append_statics(key, rows.statics)?;
        if let Some(end) = self.offsets.last_mut() {
            *end = self.timestamps.len();
        }
        Ok(())
    }

    fn check_shape(&self, rows: &Rows<'_>) -> Result<()> {
        let n = rows.timestamps.len();
        let columns = rows.known.iter().chain(rows.past).chain(rows.statics);
        let fits = rows.target.len() == n
            && rows.nulls.is_none_or(|nulls| nulls.len() == n)
            && columns.map(Column::len).all(|len| len == n)
            && rows.known.len() == self.known.len()
            && rows.past.len() == self.past.len()
            && rows.statics.len() == self.statics.len();
        match fits {
            true => Ok(()),
            false => Err(Error::internal("a run of rows does not have the columns of its schema")),
        }
    }

    fn enter_series(&mut self, key: &str) -> Result<()> {
        if self.keys.last().is_some_and(|last| last == key) {
            return Ok(());
        }
        match self.index.entry(key.to_owned()) {
            Entry::Occupied(_) => Err(Error::internal(format!("the rows of series {key} are not together"))),
            Entry::Vacant(slot) => {
                slot.insert(self.keys.len());
                self.keys.push(key.to_owned());
                self.offsets.push(self.timestamps.len());
                self.statics.iter_mut().for_each(ColumnStore::push_missing);
                Ok(())
            }
        }
    }

    fn check_order(&self, key: &str, timestamps: &[i64]) -> Result<()> {
        let begin = self.offsets[self.offsets.len() - 2];
        let before = self.timestamps[begin..].last();
        let sorted = timestamps.windows(2).fold(true, |ok, pair| ok & (pair[0] <= pair[1]))
            && before.is_none_or(|t| *t <= timestamps[0]);
        let ends = [timestamps[0], timestamps[timestamps.len() - 1]];
        let extreme = ends.into_iter().find(|t| t.unsigned_abs() > INSTANT_MAX);
        match (sorted, extreme) {
            (true, None) => Ok(()),
            (false, _) => Err(Error::internal(format!("the rows of series {key} are not sorted by time"))),
            (true, Some(instant)) => Err(Error::data(format!(
                "{} of {} holds {instant}, which is beyond the calendar",
                self.schema.time, self.schema.table
            ))),
        }
    }

    fn append_target(&mut self, key: &str, rows: &Rows<'_>) -> Result<()> {
        let from = self.target.len();
        match rows.nulls {
            None => self.target.extend_from_slice(rows.target),
            Some(nulls) => {
                self.target
                    .extend(rows.target.iter().zip(nulls).map(|(y, null)| if *null { 0.0 } else { *y }));
            }
        }
        let finite = self.target[from..].iter().fold(true, |ok, y| ok & y.is_finite());
        if !finite {
            let row = self.target[from..].iter().position(|y| !y.is_finite()).unwrap_or(0);
            return Err(self.non_finite(key, rows.timestamps[row], self.target[from + row]));
        }
        if let Some(nulls) = rows.nulls {
            let values = self.target[from..].iter_mut().zip(nulls);
            values.filter(|(_, null)| **null).for_each(|(y, _)| *y = f64::NAN);
        }
        Ok(())
    }

    fn non_finite(&self, key: &str, instant: i64, value: f64) -> Error {
        let PanelSchema { table, time, target, time_kind, .. } = &self.schema;
        let what = match value {
            f64::INFINITY => "infinity",
            f64::NEG_INFINITY => "-infinity",
            _ => "NaN",
        };
        let key = if key.is_empty() { String::new() } else { format!("{key}, ") };
        let place = format!("{key}{time}={}", time_kind.format(instant));
        Error::data(format!("the target {target} of {table} is {what} at {place}; it must be finite or NULL"))
            .with_hint(format!("filter such rows, or turn them into NULL with nullif({target}, '{what}')"))
    }

    fn append_statics(&mut self, key: &str, columns: &[Column<'_>]) -> Result<()> {
        for (store, column) in self.statics.iter_mut().zip(columns) {
            store.merge_last(column).map_err(|(first, second)| {
                let name = store.name();
                let series = if key.is_empty() { "the series" } else { key };
                Error::data(format!(
                    "the static covariate {name} changes within {series}: {first}, then {second}"
                ))
                .with_hint(format!("declare {name} as KNOWN or PAST"))
            })?;
        }
        Ok(())
    }

    /// Places all rows on the grid, fills gaps, and splits history from future.
    pub fn finish(mut self, options: &FinishOptions, control: &Control) -> Result<(Panel, PanelReport)> {
        for incomplete in options.incomplete.into_iter().flatten() {
            let rows = self.target.iter_mut().zip(&self.timestamps);
            rows.filter(|(_, time)| **time == incomplete).for_each(|(y, _)| *y = f64::NAN);
        }
        let PanelSchema { table, time, target, time_kind, .. } = &self.schema;
        if self.is_empty() {
            return Err(Error::data(format!("{table} has no rows to train on")));
        }
        let (keys, offsets, timestamps) = (&self.keys, &self.offsets, &self.timestamps);
        let timeline = Timeline { table, target, time, kind: *time_kind, keys, offsets, timestamps };
        let (frequency, origin) = find_grid(&timeline, options.grid)?;
        control.check()?;
        let layout = place(&timeline, &self.target, frequency, origin, options, control)?;
        self.check_memory(&layout, options)?;
        let mut report = layout.report(self.len(), frequency, origin);
        let panel = self.into_panel(layout, frequency, origin, options, &mut report)?;
        Ok((panel, report))
    }

    fn check_memory(&self, layout: &Layout, options: &FinishOptions) -> Result<()> {
        let columns = self.known.len() + self.past.len();
        let needed = layout.rows().saturating_mul(8 + 4 * columns).saturating_add(self.bytes());
        match options.memory_limit {
            Some(limit) if needed > limit => Err(Error::new(
                ErrorKind::Unavailable,
                Subject::Memory,
                format!("the series of {} need {needed} bytes, {limit} are free", self.schema.table),
            )
            .with_hint("raise memory_limit, train on fewer columns or a shorter history")),
            _ => Ok(()),
        }
    }

    fn into_panel(
        self,
        layout: Layout,
        frequency: Frequency,
        origin: i64,
        options: &FinishOptions,
        report: &mut PanelReport,
    ) -> Result<Panel> {
        let Self { schema, mut keys, target, known, past, statics, .. } = self;
        let mut target = layout.scatter(target, f64::NAN);
        let (gaps_filled, lines) =
            layout.fill_gaps(&mut target, options.gaps).map_err(|(series, period)| {
                let at = frequency.instant(origin, period).unwrap_or(0);
                let key = if keys[series].is_empty() { String::new() } else { format!("{}, ", keys[series]) };
                let place = format!("{key}{}={}", schema.time, schema.time_kind.format(at));
                Error::data(format!("{} has no row for {place} and GAPS is ERROR", schema.table))
                    .with_hint("use GAPS ZERO, NULL, PREVIOUS or LINEAR")
            })?;
        report.gaps_filled = gaps_filled;
        layout.clear_future(&mut target, f64::NAN);
        let known = known.into_iter().map(|store| scattered(store, &layout, false)).collect();
        let past = past.into_iter().map(|store| scattered(store, &layout, true)).collect();
        let statics = statics.into_iter().map(|store| layout.select(store.into_covariate())).collect();
        layout.select_keys(&mut keys);
        let season_length = options.season_length.unwrap_or_else(|| frequency.default_season_length()).max(1);
        let (offsets, history, start) = layout.into_shape();
        Ok(Panel {
            frequency,
            origin,
            season_length,
            keys,
            offsets,
            history,
            start,
            target,
            known,
            past,
            statics,
            lines,
        })
    }
}

fn scattered(store: ColumnStore, layout: &Layout, past: bool) -> Covariate {
    let Covariate { name, values } = store.into_covariate();
    let values = match values {
        Values::Number(numbers) => {
            let mut numbers = layout.scatter(numbers, f32::NAN);
            if past {
                layout.clear_future(&mut numbers, f32::NAN);
            }
            Values::Number(numbers)
        }
        Values::Category { codes, labels } => {
            let mut codes = layout.scatter(codes, MISSING);
            if past {
                layout.clear_future(&mut codes, MISSING);
            }
            Values::Category { codes, labels }
        }
    };
    Covariate { name, values }
}

fn infinite(column: &str, key: &str, row: usize) -> Error {
    Error::data(format!("the covariate {column} is infinite in row {} of {key}", row + 1))
        .with_hint("covariates are finite 32-bit numbers or NULL")
}
