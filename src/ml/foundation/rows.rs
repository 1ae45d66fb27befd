//! The rows of a panel's series: its history, and its covariates.

use std::cmp::Reverse;
use std::ops::Range;

use crate::ml::foundation::groups::GroupRow;
use crate::ml::foundation::leads::lead;
use crate::ml::matrix::correlation;
use crate::ml::series::{Covariate, MISSING, Panel, Values};

/// Words of a category that have a row each, the most frequent ones but the first.
const WORDS_MAX: usize = 8;

/// Rows of what was known only afterwards beside a target, at most, where made-up groups are what taught to read them.
const PAST_ROWS: usize = 3;

/// The covariates that are rows beside a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CovariateRows {
    /// None: the network has not learnt to read them. What known ones explain, and those of the past that run ahead, is taken out of
    /// the target.
    #[default]
    None,
    /// Those of the past; what known ones explain is taken out as above.
    Past,
    /// All of them.
    All,
}

impl CovariateRows {
    /// How many there are of a panel's series, at most.
    pub(super) fn most(self, panel: &Panel) -> usize {
        let rows = |covariate: &Covariate| match &covariate.values {
            Values::Number(_) => 1,
            Values::Category { labels, .. } => labels.len().saturating_sub(1).min(WORDS_MAX),
        };
        let count = |covariates: &[Covariate]| covariates.iter().map(rows).sum::<usize>();
        match self {
            Self::None => 0,
            Self::Past => count(&panel.past).min(PAST_ROWS),
            Self::All => count(&panel.known) + count(&panel.past),
        }
    }
}

/// The target of a series before `origin`, at most `context` steps of it from the first observed one on, then its known
/// covariates with `horizon` steps more, and those of the past that are rows: of some only the ones that go with the target
/// most. Steps that the panel lacks repeat the last one. Where not all covariates are rows, those of the past that run ahead of
/// the target are known ones, too.
///
/// The target is divided by its mean size, which is told, too: single precision is enough for what is left.
pub fn rows_of(
    panel: &Panel,
    (series, origin): (usize, usize),
    (context, horizon): (usize, usize),
    which: CovariateRows,
) -> (Vec<GroupRow>, f64) {
    let history = &panel.history_of(series)[..origin];
    let first = history.iter().position(|y| !y.is_nan()).unwrap_or(origin);
    let skipped = first.max(origin.saturating_sub(context));
    let unit = mean_size(&history[skipped..]);
    let target: Vec<f32> = history[skipped..].iter().map(|y| (y / unit) as f32).collect();
    let all = panel.rows_of(series);
    let steps = (target.len(), horizon);
    let of = all.start + skipped..all.end;
    let covariates = |covariates: &[Covariate]| {
        let mut rows = vec![];
        let some = covariates.iter().filter(|_| !of.is_empty());
        some.for_each(|covariate| rows_of_covariate(covariate, &of, steps, &mut rows));
        rows
    };
    let (known, past) = (covariates(&panel.known), covariates(&panel.past));
    let past = past.into_iter().map(|row| GroupRow { history: row.history, ..GroupRow::default() });
    let mut rows = vec![GroupRow { history: target, ..GroupRow::default() }];
    rows.extend(known);
    if which == CovariateRows::All {
        rows.extend(past);
    } else {
        let past: Vec<GroupRow> = past.collect();
        let lead = |row: &GroupRow| lead(&rows[0].history, &row.history, panel.season_length, horizon);
        let leads: Vec<GroupRow> = past.iter().filter_map(lead).collect();
        rows.extend(leads);
        if which == CovariateRows::Past {
            let strongest = strongest(&rows[0], past);
            rows.extend(strongest);
        }
    }
    (rows, unit)
}

/// The rows whose values go with the target's most.
fn strongest(target: &GroupRow, rows: Vec<GroupRow>) -> Vec<GroupRow> {
    let strength = |row: &GroupRow| {
        let pairs = target.history.iter().zip(&row.history);
        correlation(pairs.map(|(y, x)| (f64::from(*y), f64::from(*x)))).abs()
    };
    let mut rows: Vec<(f64, GroupRow)> = rows.into_iter().map(|row| (strength(&row), row)).collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    rows.into_iter().take(PAST_ROWS).map(|(_, row)| row).collect()
}

/// Mean of the absolute observed values; 1 where there is none, or it is none to divide by.
fn mean_size(history: &[f64]) -> f64 {
    let observed = || history.iter().filter(|y| !y.is_nan());
    let n = observed().count().max(1) as f64;
    let mean: f64 = observed().map(|y| y.abs() / n).sum();
    if mean.is_normal() { mean } else { 1.0 }
}

/// Appends the rows of a covariate: its numbers, or one row of flags for each of its frequent words.
fn rows_of_covariate(
    covariate: &Covariate,
    of: &Range<usize>,
    (history, horizon): (usize, usize),
    out: &mut Vec<GroupRow>,
) {
    let last = of.end - 1;
    let mut push = |value: &dyn Fn(usize) -> f32| {
        let at = |t: usize| value((of.start + t).min(last));
        out.push(GroupRow {
            history: (0..history).map(at).collect(),
            future: (history..history + horizon).map(at).collect(),
            known: true,
            ..GroupRow::default()
        });
    };
    match &covariate.values {
        Values::Number(numbers) => push(&|row| numbers[row]),
        Values::Category { codes, labels } => {
            let mut counts = vec![0usize; labels.len()];
            codes[of.clone()].iter().filter(|c| **c != MISSING).for_each(|c| counts[*c as usize] += 1);
            let mut frequent: Vec<usize> = (0..labels.len()).filter(|c| counts[*c] > 0).collect();
            frequent.sort_by_key(|c| (Reverse(counts[*c]), *c));
            // The most frequent one is what the others are compared with.
            for code in frequent.into_iter().skip(1).take(WORDS_MAX) {
                push(&|row| f32::from(u8::from(codes[row] as usize == code)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::features::test_panel;

    #[test]
    fn the_rows_of_the_past_that_go_with_the_target_most_stand_beside_it() {
        let mut panel = test_panel(2, 40);
        (panel.known, panel.past) = (vec![], vec![]);
        let mut past = |name: &str, value: &dyn Fn(usize) -> f32| {
            let values = Values::Number((0..panel.target.len()).map(value).collect());
            panel.past.push(Covariate { name: name.into(), values });
        };
        let noise = |t: usize| ((t * 7919) % 13) as f32;
        past("noise", &noise);
        past("steps", &|_| 3.0);
        past("half", &|t| t as f32 + 3.0 * noise(t));
        past("minus", &|t| -2.0 * t as f32);
        past("same", &|t| t as f32);
        panel.target.iter_mut().enumerate().for_each(|(t, y)| *y = t as f64);
        let rows = |which: CovariateRows| rows_of(&panel, (1, 30), (16, 4), which).0;
        assert_eq!(rows(CovariateRows::None).len(), 1);
        assert_eq!(rows(CovariateRows::All).len(), 6);
        let strongest = rows(CovariateRows::Past);
        let mut first: Vec<f32> = strongest[1..].iter().map(|row| row.history[0]).collect();
        first.sort_by(f32::total_cmp);
        assert_eq!(first, [-108.0, 54.0, 54.0 + 3.0 * noise(54)]);
        assert!(strongest.iter().all(|row| !row.known && row.future.is_empty() && row.history.len() == 16));
        assert_eq!(CovariateRows::Past.most(&panel), 3);
    }
}
