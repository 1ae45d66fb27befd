//! Known covariates of future periods that are given at forecast time.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ml::series::column::{Column, ColumnSpec, ColumnStore};
use crate::ml::series::panel::{Covariate, MISSING, Panel, Values};

/// Rows of another relation with known covariates, by series and time.
#[derive(Debug)]
pub struct FutureRows {
    runs: HashMap<String, Vec<(i64, usize)>>,
    rows: usize,
    columns: Vec<ColumnStore>,
}

/// What [`Panel::append_future`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FutureReport {
    /// Rows that were put into the panel.
    pub matched: usize,
    /// Rows of series or periods that are not asked for.
    pub unmatched: usize,
    /// Periods wanted over all series.
    pub wanted: usize,
    /// Periods among them for which no row is known, from either source.
    pub absent: usize,
    /// Series with such a period, by their number in the panel; the first of them.
    pub first_absent: Option<(usize, i64)>,
}

impl FutureRows {
    /// Rows of these known covariates, in the order of the panel's.
    pub fn new(columns: &[ColumnSpec]) -> Self {
        Self { runs: HashMap::new(), rows: 0, columns: columns.iter().map(ColumnStore::new).collect() }
    }

    /// Adds a run of rows of the series `key`, in any order.
    pub fn append(&mut self, key: &str, timestamps: &[i64], columns: &[Column<'_>]) -> Result<()> {
        if columns.len() != self.columns.len() || columns.iter().any(|c| c.len() != timestamps.len()) {
            return Err(Error::internal("a run of future rows does not have the columns of its schema"));
        }
        for (store, column) in self.columns.iter_mut().zip(columns) {
            store.append(column).map_err(|row| {
                let name = store.name();
                Error::data(format!(
                    "the known covariate {name} is infinite in future row {} of {key}",
                    row + 1
                ))
            })?;
        }
        let run = self.runs.entry(key.to_owned()).or_default();
        run.extend(timestamps.iter().copied().zip(self.rows..));
        self.rows += timestamps.len();
        Ok(())
    }
}

impl Panel {
    /// The panel with `horizon` future rows in every series, and up to `reach` where more are known: values
    /// from `rows` where they are given, else those the panel has, else missing. A period that is given twice is
    /// an error.
    pub fn append_future(
        &self,
        rows: FutureRows,
        horizon: usize,
        reach: usize,
    ) -> Result<(Self, FutureReport)> {
        let given: Vec<Covariate> = rows.columns.into_iter().map(ColumnStore::into_covariate).collect();
        if given.len() != self.known.len() {
            return Err(Error::internal("future rows do not have the known covariates of the panel"));
        }
        let placed = self.placed(&rows.runs, horizon.max(reach))?;
        let lengths: Vec<usize> = placed
            .iter()
            .enumerate()
            .map(|(i, steps)| {
                let known = steps.last().map_or(0, |(step, _)| step + 1).max(self.future_of(i).min(reach));
                known.max(horizon)
            })
            .collect();
        let (mut out, mut present) = self.with_future(&lengths);
        let words: Vec<Vec<u32>> =
            out.known.iter_mut().zip(&given).map(|(into, from)| into.values.adopt(&from.values)).collect();
        let mut report = FutureReport { wanted: self.len() * horizon, ..FutureReport::default() };
        for (i, steps) in placed.iter().enumerate() {
            let first = out.offsets[i] + self.history[i];
            for (step, row) in steps {
                report.matched += 1;
                present[first + step] = true;
                for ((into, from), map) in out.known.iter_mut().zip(&given).zip(&words) {
                    into.values.set(first + step, &from.values, *row, map);
                }
            }
            let absent = |step: &usize| !present[first + step];
            report.absent += (0..horizon).filter(absent).count();
            let first_absent = (0..horizon).find(absent).map(|step| (i, out.first_step(i) + step as i64));
            report.first_absent = report.first_absent.or(first_absent);
        }
        report.unmatched = rows.rows - report.matched;
        Ok((out, report))
    }

    /// Step and number of every given row of a series below `reach`, by step.
    fn placed(
        &self,
        runs: &HashMap<String, Vec<(i64, usize)>>,
        reach: usize,
    ) -> Result<Vec<Vec<(usize, usize)>>> {
        let series = (0..self.len()).map(|i| {
            let run = runs.get(&self.keys[i]).map_or(&[][..], Vec::as_slice);
            let step = |instant| self.frequency.period(self.origin, instant) - self.first_step(i);
            let steps =
                run.iter().filter_map(|(instant, row)| Some((usize::try_from(step(*instant)).ok()?, *row)));
            let mut steps: Vec<(usize, usize)> = steps.filter(|(step, _)| *step < reach).collect();
            steps.sort_unstable();
            match steps.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                Some(pair) => {
                    let key = if self.keys[i].is_empty() { "" } else { &format!(" of {}", self.keys[i]) };
                    let message = format!("future => has two rows for step {}{key}", pair[0].0 + 1);
                    Err(Error::data(message).with_hint("give one row for every series and time"))
                }
                None => Ok(steps),
            }
        });
        series.collect()
    }

    /// The panel with exactly so many future rows a series, and which rows it had before.
    fn with_future(&self, lengths: &[usize]) -> (Self, Vec<bool>) {
        let mut offsets = vec![0];
        for (n, future) in self.history.iter().zip(lengths) {
            offsets.push(offsets[offsets.len() - 1] + n + future);
        }
        let rows = offsets[offsets.len() - 1];
        let mut target = vec![f64::NAN; rows];
        let mut present = vec![false; rows];
        let stretch = |c: &Covariate| Covariate { name: c.name.clone(), values: c.values.missing(rows) };
        let mut known: Vec<Covariate> = self.known.iter().map(stretch).collect();
        let mut past: Vec<Covariate> = self.past.iter().map(stretch).collect();
        for (i, to) in offsets.iter().copied().enumerate().take(self.len()) {
            let kept = self.history[i] + self.future_of(i).min(lengths[i]);
            let from = self.offsets[i];
            target[to..to + kept].copy_from_slice(&self.target[from..from + kept]);
            present[to..to + kept].fill(true);
            let pairs = known.iter_mut().zip(&self.known).chain(past.iter_mut().zip(&self.past));
            pairs.for_each(|(into, old)| into.values.copy_rows(to, &old.values, from..from + kept));
        }
        let (history, start, statics) = (self.history.clone(), self.start.clone(), self.statics.clone());
        let keys = self.keys.clone();
        let Self { frequency, origin, season_length, .. } = *self;
        let lines = self.lines.iter().map(|line| {
            let i = self.offsets.partition_point(|offset| *offset <= line.start) - 1;
            let moved = |row: usize| row - self.offsets[i] + offsets[i];
            moved(line.start)..moved(line.end)
        });
        let lines = lines.collect();
        let out = Self {
            lines,
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
        };
        (out, present)
    }
}

impl Values {
    /// Missing values of the same type and vocabulary.
    fn missing(&self, rows: usize) -> Self {
        match self {
            Self::Number(_) => Self::Number(vec![f32::NAN; rows]),
            Self::Category { labels, .. } => {
                Self::Category { codes: vec![MISSING; rows], labels: labels.clone() }
            }
        }
    }

    fn copy_rows(&mut self, at: usize, from: &Self, rows: std::ops::Range<usize>) {
        match (self, from) {
            (Self::Number(into), Self::Number(from)) => {
                into[at..at + rows.len()].copy_from_slice(&from[rows]);
            }
            (Self::Category { codes: into, .. }, Self::Category { codes: from, .. }) => {
                into[at..at + rows.len()].copy_from_slice(&from[rows]);
            }
            _ => {}
        }
    }

    /// Adds the words of `other` that are new; returns the code of every one of its words here.
    fn adopt(&mut self, other: &Self) -> Vec<u32> {
        let (Self::Category { labels, .. }, Self::Category { labels: new, .. }) = (self, other) else {
            return Vec::new();
        };
        let mut index: HashMap<String, u32> = labels.iter().cloned().zip(0..).collect();
        let mut codes = Vec::with_capacity(new.len());
        for word in new {
            let next = labels.len() as u32;
            let code = *index.entry(word.clone()).or_insert(next);
            if code == next {
                labels.push(word.clone());
            }
            codes.push(code);
        }
        codes
    }

    /// Takes over one value; a missing one leaves what is there.
    fn set(&mut self, at: usize, from: &Self, row: usize, words: &[u32]) {
        match (self, from) {
            (Self::Number(into), Self::Number(from)) if !from[row].is_nan() => into[at] = from[row],
            (Self::Category { codes: into, .. }, Self::Category { codes: from, .. }) => {
                if let Some(code) = words.get(from[row] as usize) {
                    into[at] = *code;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::series::column::ColumnKind;
    use crate::ml::series::frequency::Frequency;

    #[test]
    fn given_rows_are_matched_by_key_and_time_and_the_rest_is_counted() {
        let promo = Values::Category { codes: vec![0, 0, 0, 0], labels: vec!["none".into()] };
        let panel = Panel {
            frequency: Frequency::Integer(1),
            origin: 10,
            season_length: 1,
            keys: vec!["s=a".into(), "s=b".into()],
            offsets: vec![0, 3, 4],
            history: vec![2, 1],
            start: vec![0, 0],
            target: vec![1.0, 2.0, f64::NAN, 3.0],
            known: vec![Covariate { name: "promo".into(), values: promo }],
            past: Vec::new(),
            statics: Vec::new(),
            lines: Vec::new(),
        };
        let mut rows = FutureRows::new(&[ColumnSpec { name: "promo".into(), kind: ColumnKind::Category }]);
        let words = [Some("sale"), Some("none"), Some("sale")];
        rows.append("s=a", &[13, 12, 99], &[Column::Text(&words)]).unwrap();
        rows.append("s=z", &[12], &[Column::Text(&[None])]).unwrap();
        let (out, report) = panel.append_future(rows, 2, 2).unwrap();
        assert_eq!((report.matched, report.unmatched, report.wanted, report.absent), (2, 2, 4, 2));
        assert_eq!(report.first_absent, Some((1, 1)));
        assert_eq!((out.history_of(0), out.future_of(0), out.future_of(1)), (&[1.0, 2.0][..], 2, 2));
        let Values::Category { codes, labels } = &out.known[0].values else { panic!("words") };
        assert_eq!((codes.as_slice(), labels.len()), (&[0, 0, 0, 1, 0, MISSING, MISSING][..], 2));
    }
}
