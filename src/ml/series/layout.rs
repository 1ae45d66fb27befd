//! Where every row of the input goes in the arena, and what fills the periods between.

use std::ops::Range;

use rayon::prelude::{
    IndexedParallelIterator, IntoParallelIterator, IntoParallelRefIterator, ParallelIterator,
};

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::series::builder::{Duplicates, FinishOptions, Gaps, PanelReport};
use crate::ml::series::frequency::Frequency;
use crate::ml::series::grid::Timeline;
use crate::ml::series::panel::Covariate;

/// Periods that were filled, and the rows that lie on lines to a later row.
type Filled = (usize, Vec<Range<usize>>);

/// Periods a panel may have for each row that was read: beyond it the frequency is wrong.
const PERIODS_PER_ROW_MAX: usize = 1000;
/// Series between two looks at the control.
const SERIES_PER_CHECK: usize = 1024;

/// Where one series goes.
#[derive(Debug, Clone)]
struct Placement {
    /// Its place in the input.
    series: usize,
    /// Its rows in the input.
    source: Range<usize>,
    /// Period of its first row.
    start: i64,
    /// Period after its last row.
    end: i64,
    /// Period after its last observed target.
    observed_end: i64,
    /// Period after its last row of history.
    history_end: i64,
    /// Period of every row after `start`; `None` when row `k` has period `start + k`.
    slots: Option<Vec<u32>>,
    duplicates: usize,
    truncated: usize,
    missing: usize,
}

impl Placement {
    /// Rows of the input at or after a period.
    fn rows_from(&self, period: i64) -> usize {
        match &self.slots {
            None => (self.end - period.max(self.start)).max(0) as usize,
            Some(slots) => slots.len() - slots.partition_point(|slot| self.start + i64::from(*slot) < period),
        }
    }
}

/// Where all series go.
#[derive(Debug)]
pub(super) struct Layout {
    placements: Vec<Placement>,
    offsets: Vec<usize>,
    history: Vec<usize>,
    dropped: usize,
    /// Period after the latest observed target of all series.
    latest: i64,
    /// Every row of the input already stands where it belongs.
    in_place: bool,
}

/// Finds the place of every row, and the cutoff between history and future.
pub(super) fn place(
    rows: &Timeline<'_>,
    target: &[f64],
    frequency: Frequency,
    origin: i64,
    options: &FinishOptions,
    control: &Control,
) -> Result<Layout> {
    let mut placements = Vec::with_capacity(rows.keys.len());
    for chunk in (0..rows.keys.len()).collect::<Vec<_>>().chunks(SERIES_PER_CHECK) {
        control.check()?;
        let placed: Vec<Result<Placement>> = chunk
            .par_iter()
            .map(|series| place_series(rows, target, *series, frequency, origin, options.duplicates))
            .collect();
        for placement in placed {
            placements.push(placement?);
        }
    }
    let all = placements.len();
    let given = options.cutoff.map(|instant| frequency.period(origin, instant) + 1);
    if given.is_none() {
        placements.retain(|p| p.observed_end > p.start);
    }
    let Some(latest) = placements.iter().map(|p| p.observed_end).max() else {
        let message = format!("the target {} of {} is NULL in every row", rows.target, rows.table);
        return Err(Error::data(message).with_hint("train on rows that have a value of it"));
    };
    check_density(rows, &placements, frequency)?;
    for p in &mut placements {
        p.history_end = given.map_or(latest, |given| given.max(p.observed_end)).clamp(p.start, p.end);
    }
    let history: Vec<usize> = placements.iter().map(|p| (p.history_end - p.start) as usize).collect();
    let mut offsets = vec![0];
    for p in &placements {
        offsets.push(offsets[offsets.len() - 1] + (p.end - p.start) as usize);
    }
    let in_place = placements.len() == all && placements.iter().all(|p| p.slots.is_none());
    Ok(Layout { dropped: all - placements.len(), placements, offsets, history, latest, in_place })
}

fn place_series(
    rows: &Timeline<'_>,
    target: &[f64],
    series: usize,
    frequency: Frequency,
    origin: i64,
    duplicates: Duplicates,
) -> Result<Placement> {
    let source = rows.offsets[series]..rows.offsets[series + 1];
    let times = &rows.timestamps[source.clone()];
    let start = frequency.period(origin, times[0]);
    let target = &target[source.clone()];
    let missing = target.iter().filter(|y| y.is_nan()).count();
    let observed_row = target.iter().rposition(|y| !y.is_nan());
    let end = start + times.len() as i64;
    let observed_end = observed_row.map_or(start, |row| start + row as i64 + 1);
    let mut placement = Placement {
        series,
        source,
        start,
        end,
        observed_end,
        history_end: end,
        slots: None,
        duplicates: 0,
        truncated: 0,
        missing,
    };
    if is_dense(times, frequency, origin) {
        return Ok(placement);
    }
    let mut slots: Vec<u32> = Vec::with_capacity(times.len());
    for instant in times {
        let period = frequency.period(origin, *instant);
        let slot = u32::try_from(period - start).map_err(|_| too_sparse(rows, frequency))?;
        placement.truncated += usize::from(frequency.instant(origin, period) != Some(*instant));
        if slots.last() == Some(&slot) {
            placement.duplicates += 1;
            if duplicates == Duplicates::Error {
                return Err(duplicate(rows, series, frequency, origin, period));
            }
        }
        slots.push(slot);
    }
    let last = slots.last().copied().map_or(0, i64::from);
    placement.end = start + last + 1;
    placement.observed_end = observed_row.map_or(start, |row| start + i64::from(slots[row]) + 1);
    let dense = placement.duplicates == 0 && last as usize + 1 == slots.len();
    placement.slots = (!dense).then_some(slots);
    Ok(placement)
}

/// True when the rows follow each other without a gap, each at the begin of its period.
fn is_dense(times: &[i64], frequency: Frequency, origin: i64) -> bool {
    match frequency.fixed_step() {
        None => false,
        Some(step) => {
            times[0].wrapping_sub(origin) % step == 0
                && times.windows(2).fold(true, |ok, pair| ok & (pair[1].wrapping_sub(pair[0]) == step))
        }
    }
}

fn duplicate(rows: &Timeline<'_>, series: usize, frequency: Frequency, origin: i64, period: i64) -> Error {
    let times = &rows.timestamps[rows.offsets[series]..rows.offsets[series + 1]];
    let count = times.iter().filter(|t| frequency.period(origin, **t) == period).count();
    let place = rows.place(series, frequency.instant(origin, period).unwrap_or(times[0]));
    let (table, target) = (rows.table, rows.target);
    let key_hint = match rows.keys[series].as_str() {
        "" => "add PARTITION BY when the table holds several series, or aggregate",
        _ => "aggregate the rows of one period, or remove the duplicates",
    };
    Error::data(format!("{table} has {count} rows for {place}; use TARGET sum({target}) … EVERY {frequency}"))
        .with_hint(key_hint)
}

fn check_density(rows: &Timeline<'_>, placements: &[Placement], frequency: Frequency) -> Result<()> {
    let limit = rows.timestamps.len().saturating_mul(PERIODS_PER_ROW_MAX) as i128;
    let periods: i128 = placements.iter().map(|p| i128::from(p.end) - i128::from(p.start)).sum();
    if periods > limit { Err(too_sparse(rows, frequency)) } else { Ok(()) }
}

fn too_sparse(rows: &Timeline<'_>, frequency: Frequency) -> Error {
    let message = format!(
        "{} has fewer than one row for {PERIODS_PER_ROW_MAX} periods of {frequency} in {}",
        rows.table, rows.time
    );
    Error::data(message).with_hint("use a coarser EVERY, or filter rows with a wrong time")
}

impl Layout {
    /// Rows of the arena.
    pub(super) fn rows(&self) -> usize {
        self.offsets.last().copied().unwrap_or(0)
    }

    /// The counts that are known before gaps are filled.
    pub(super) fn report(&self, rows: usize, frequency: Frequency, origin: i64) -> PanelReport {
        let first = self.placements.iter().map(|p| p.start).min().unwrap_or(0);
        let total = |count: fn(&Placement) -> usize| self.placements.iter().map(count).sum::<usize>();
        let future: usize = self.placements.iter().map(|p| p.rows_from(p.history_end)).sum();
        PanelReport {
            series: self.placements.len(),
            rows,
            gaps_filled: 0,
            missing: total(|p| p.missing).saturating_sub(future),
            duplicates: total(|p| p.duplicates),
            truncated: total(|p| p.truncated),
            dropped_series: self.dropped,
            future_rows: future,
            first_time: frequency.instant(origin, first).unwrap_or(0),
            last_time: frequency.instant(origin, self.latest - 1).unwrap_or(0),
        }
    }

    fn future(&self, i: usize) -> Range<usize> {
        self.offsets[i] + self.history[i]..self.offsets[i + 1]
    }

    /// The column in the order of the arena, `missing` where no row is.
    pub(super) fn scatter<T: Copy + Send + Sync>(&self, column: Vec<T>, missing: T) -> Vec<T> {
        if self.in_place {
            return column;
        }
        let mut out = vec![missing; self.rows()];
        let series = split(&mut out, &self.offsets).into_par_iter().zip(&self.placements);
        series.for_each(|(into, p)| match &p.slots {
            None => into.copy_from_slice(&column[p.source.clone()]),
            Some(slots) => {
                for (slot, value) in slots.iter().zip(&column[p.source.clone()]) {
                    into[*slot as usize] = *value;
                }
            }
        });
        out
    }

    /// Marks the future rows of a column as missing.
    pub(super) fn clear_future<T: Copy>(&self, column: &mut [T], missing: T) {
        for i in 0..self.history.len() {
            column[self.future(i)].fill(missing);
        }
    }

    /// Fills the periods of history without a row and counts them; tells which rows lie on lines to a later row;
    /// fails with series and period of the first one when gaps are an error.
    pub(super) fn fill_gaps(&self, target: &mut [f64], gaps: Gaps) -> Result<Filled, (usize, i64)> {
        let (mut filled, mut lines) = (0, Vec::new());
        for (i, p) in self.placements.iter().enumerate() {
            let Some(slots) = &p.slots else { continue };
            let history = &mut target[self.offsets[i]..self.offsets[i] + self.history[i]];
            let mut neighbours = Neighbours::default();
            for pair in slots.windows(2) {
                let gap = pair[0] as usize + 1..(pair[1] as usize).min(history.len());
                if gap.start >= gap.end {
                    continue;
                }
                if gaps == Gaps::Error {
                    return Err((p.series, p.start + gap.start as i64));
                }
                filled += gap.len();
                let Some(line) = fill_gap(history, gap, gaps, &mut neighbours) else { continue };
                let line = line.start + self.offsets[i]..line.end + self.offsets[i];
                // Gaps with nothing observed between them lie on one line.
                if lines.last().is_none_or(|last: &Range<usize>| last.end != line.end) {
                    lines.push(line);
                }
            }
        }
        Ok((filled, lines))
    }

    /// The values of the series that stayed.
    pub(super) fn select(&self, covariate: Covariate) -> Covariate {
        if self.dropped == 0 {
            return covariate;
        }
        let kept: Vec<Range<usize>> = self.placements.iter().map(|p| p.series..p.series + 1).collect();
        Covariate { name: covariate.name, values: covariate.values.gather(&kept) }
    }

    /// Leaves the keys of the series that stayed.
    pub(super) fn select_keys(&self, keys: &mut Vec<String>) {
        if self.dropped > 0 {
            *keys = self.placements.iter().map(|p| std::mem::take(&mut keys[p.series])).collect();
        }
    }

    /// Offsets, history and start of the panel.
    pub(super) fn into_shape(self) -> (Vec<usize>, Vec<usize>, Vec<i64>) {
        let start = self.placements.iter().map(|p| p.start).collect();
        (self.offsets, self.history, start)
    }
}

/// The column as one slice a series.
fn split<'a, T>(mut column: &'a mut [T], offsets: &[usize]) -> Vec<&'a mut [T]> {
    let mut parts = Vec::with_capacity(offsets.len().saturating_sub(1));
    for ends in offsets.windows(2) {
        let (part, rest) = column.split_at_mut(ends[1] - ends[0]);
        parts.push(part);
        column = rest;
    }
    parts
}

/// The observed values around a gap; both only move forward, so that a whole series takes one pass.
#[derive(Default)]
struct Neighbours {
    seen: usize,
    before: Option<usize>,
    after: usize,
}

impl Neighbours {
    fn around(&mut self, history: &[f64], gap: &Range<usize>) -> (Option<usize>, Option<usize>) {
        let observed = history[self.seen..gap.start].iter().rposition(|y| !y.is_nan());
        self.before = observed.map(|at| self.seen + at).or(self.before);
        self.seen = gap.start;
        self.after = self.after.max(gap.end);
        while history.get(self.after).is_some_and(|y| y.is_nan()) {
            self.after += 1;
        }
        (self.before, Some(self.after).filter(|at| *at < history.len()))
    }
}

/// Fills one gap; the rows up to the later neighbour where the values come from there, too.
fn fill_gap(
    history: &mut [f64],
    gap: Range<usize>,
    gaps: Gaps,
    neighbours: &mut Neighbours,
) -> Option<Range<usize>> {
    match gaps {
        Gaps::Zero => history[gap].fill(0.0),
        Gaps::Null | Gaps::Error => {}
        Gaps::Previous => {
            let before = neighbours.around(history, &gap).0?;
            let value = history[before];
            history[gap].fill(value);
        }
        Gaps::Linear => {
            let (Some(from), Some(to)) = neighbours.around(history, &gap) else { return None };
            let (low, high, width) = (history[from], history[to], (to - from) as f64);
            for row in gap.clone() {
                history[row] = low + (high - low) * (row - from) as f64 / width;
            }
            return Some(gap.start..to);
        }
    }
    None
}
