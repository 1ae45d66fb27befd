//! The rows of a panel's series: its history, and its known covariates.

use std::cmp::Reverse;
use std::ops::Range;

use crate::ml::foundation::groups::GroupRow;
use crate::ml::series::{Covariate, MISSING, Panel, Values};

/// Words of a category that have a row each, the most frequent ones but the first.
const WORDS_MAX: usize = 8;

/// The target of a series before `origin`, at most `context` steps of it from the first observed one on, then its known
/// covariates with `horizon` steps more, and those of the past where they are asked for; steps that the panel lacks repeat
/// the last one.
///
/// The target is divided by its mean size, which is told, too: single precision is enough for what is left.
pub fn rows_of(
    panel: &Panel,
    (series, origin): (usize, usize),
    (context, horizon): (usize, usize),
    with_past: bool,
) -> (Vec<GroupRow>, f64) {
    let history = &panel.history_of(series)[..origin];
    let first = history.iter().position(|y| !y.is_nan()).unwrap_or(origin);
    let skipped = first.max(origin.saturating_sub(context));
    let unit = mean_size(&history[skipped..]);
    let target: Vec<f32> = history[skipped..].iter().map(|y| (y / unit) as f32).collect();
    let all = panel.rows_of(series);
    let steps = (target.len(), horizon);
    let mut rows = vec![GroupRow { history: target, ..GroupRow::default() }];
    let of = all.start + skipped..all.end;
    if !of.is_empty() {
        panel.known.iter().for_each(|covariate| rows_of_covariate(covariate, &of, steps, &mut rows));
        let known = rows.len();
        if with_past {
            panel.past.iter().for_each(|covariate| rows_of_covariate(covariate, &of, steps, &mut rows));
        }
        for row in &mut rows[known..] {
            row.known = false;
            row.future.clear();
        }
    }
    (rows, unit)
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
