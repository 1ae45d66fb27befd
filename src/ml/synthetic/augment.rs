//! Augmentation of series, made up or not: mixing, scaling, jitter, warping, turning, masking.

use crate::ml::foundation::GroupRow;
use crate::ml::rng::Rng;

/// A weighted mean of series, each divided by its mean size (Ansari et al. 2024, TSMixup).
pub(super) fn mixup(rng: &mut Rng, series: &[Vec<f64>]) -> Vec<f64> {
    let len = series.iter().map(Vec::len).min().unwrap_or(0);
    let mut mixed = vec![0.0; len];
    let weights: Vec<f64> = series.iter().map(|_| rng.gamma(1.5, 1.0)).collect();
    let total = weights.iter().sum::<f64>().max(1e-12);
    for (series, weight) in series.iter().zip(weights) {
        let size = series.iter().map(|x| x.abs()).sum::<f64>() / len.max(1) as f64;
        let share = weight / total / size.max(1e-12);
        mixed.iter_mut().zip(series).for_each(|(m, x)| *m += share * x);
    }
    mixed
}

/// The series on a clock that runs unevenly, at most by a quarter.
pub(super) fn warp(rng: &mut Rng, series: &[f64]) -> Vec<f64> {
    let n = series.len();
    let (amplitude, phase) = (rng.range(0.0, 0.25), rng.uniform() * std::f64::consts::TAU);
    let turns = rng.range(0.5, 2.0) * std::f64::consts::TAU / n.max(1) as f64;
    let at = |t: usize| t as f64 + amplitude / turns * ((turns * t as f64 + phase).sin() - phase.sin());
    let value = |t: usize| {
        let place = at(t).clamp(0.0, n.saturating_sub(1) as f64);
        let (low, share) = (place.floor() as usize, place.fract());
        series[low] + share * (series[(low + 1).min(n - 1)] - series[low])
    };
    (0..n).map(value).collect()
}

/// Noise of a small share of the series' own deviation.
pub(super) fn jitter(rng: &mut Rng, series: &mut [f64]) {
    let n = series.len().max(1) as f64;
    let mean = series.iter().sum::<f64>() / n;
    let deviation = (series.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt();
    let size = deviation * rng.range(0.0, 0.1);
    series.iter_mut().for_each(|x| *x += size * rng.normal());
}

/// Another unit of measure, and another zero.
pub(super) fn rescale(rng: &mut Rng, series: &mut [f64]) {
    let size = 10f64.powf(rng.range(-2.0, 4.0));
    series.iter_mut().for_each(|x| *x *= size);
}

/// Blocks and single values that nobody wrote down; the last value of the history stays.
pub fn mask(rng: &mut Rng, row: &mut GroupRow) {
    let n = row.history.len();
    if n < 4 {
        return;
    }
    if rng.chance(0.5) {
        let length = 1 + rng.below(n / 4);
        let start = rng.below(n - length);
        row.history[start..start + length].fill(f32::NAN);
    } else {
        let share = rng.range(0.01, 0.3);
        for x in &mut row.history[..n - 1] {
            if rng.chance(share) {
                *x = f32::NAN;
            }
        }
    }
}

/// A weighted mean of two rows, of each of the steps that both have.
pub fn mix_rows(rng: &mut Rng, row: &mut GroupRow, other: &GroupRow) {
    let size = |row: &GroupRow| {
        let observed = row.history.iter().filter(|x| x.is_finite());
        let (sum, n) = observed.fold((0.0, 0.0), |(sum, n), x| (sum + x.abs(), n + 1.0));
        if sum > 0.0 { sum / n } else { 1.0 }
    };
    let share = rng.uniform_f32();
    let (own, others) = ((1.0 - share) / size(row), share / size(other));
    let shift = row.history.len().saturating_sub(other.history.len());
    row.history.drain(..shift);
    let from = other.history.len() - row.history.len();
    row.history.iter_mut().zip(&other.history[from..]).for_each(|(x, y)| *x = own * *x + others * y);
    row.future.iter_mut().zip(&other.future).for_each(|(x, y)| *x = own * *x + others * y);
}

/// Noise of a small share of the row's own changes.
pub fn jitter_row(rng: &mut Rng, row: &mut GroupRow) {
    let changes = row.history.windows(2).map(|pair| (pair[1] - pair[0]).abs()).filter(|d| d.is_finite());
    let (sum, n) = changes.fold((0.0f32, 0.0f32), |(sum, n), d| (sum + d, n + 1.0));
    let size = f64::from(sum / n.max(1.0)) * rng.range(0.0, 0.2);
    row.history.iter_mut().for_each(|x| *x += (size * rng.normal()) as f32);
}

/// The row on a clock that runs unevenly; rows with gaps stay as they are.
pub fn warp_row(rng: &mut Rng, row: &mut GroupRow) {
    let all: Vec<f64> = row.history.iter().chain(&row.future).map(|x| f64::from(*x)).collect();
    if all.iter().all(|x| x.is_finite()) {
        let warped = warp(rng, &all);
        let steps = row.history.iter_mut().chain(&mut row.future);
        steps.zip(warped).for_each(|(x, y)| *x = y as f32);
    }
}
