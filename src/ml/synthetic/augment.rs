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
        let size = series[..len].iter().map(|x| x.abs()).sum::<f64>() / len.max(1) as f64;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(history: Vec<f32>, future: Vec<f32>) -> GroupRow {
        GroupRow { history, future, known: false, leads: false }
    }

    #[test]
    fn mixtures_lie_between_their_parts() {
        let mixed = mixup(&mut Rng::new(1), &[vec![2.0; 9], vec![80.0; 12]]);
        assert!(mixed.len() == 9 && mixed.iter().all(|x| (x - 1.0).abs() < 1e-9), "{mixed:?}");
        let mut one = row(vec![1.0, 3.0, 1.0, 3.0, 1.0, 3.0], vec![1.0, 3.0]);
        mix_rows(&mut Rng::new(2), &mut one, &row(vec![30.0, 10.0, 30.0, 10.0], vec![30.0, 10.0]));
        assert_eq!((one.history.len(), one.future.len()), (4, 2));
        let all: Vec<f32> = one.history.iter().chain(&one.future).copied().collect();
        assert!(all.iter().all(|x| (0.5..=1.5).contains(x)), "{all:?}");
        assert!(all.chunks_exact(2).all(|pair| (pair[0] + pair[1] - 2.0).abs() < 1e-5), "{all:?}");
    }

    #[test]
    fn warped_series_keep_their_order_and_their_range() {
        let rising: Vec<f64> = (0..200).map(f64::from).collect();
        let mut changed = 0;
        for seed in 0..50 {
            let warped = warp(&mut Rng::new(seed), &rising);
            assert!(
                warped.windows(2).all(|pair| pair[0] <= pair[1]) && warped[0] >= 0.0 && warped[199] <= 199.0
            );
            changed += usize::from(warped.iter().zip(&rising).any(|(a, b)| (a - b).abs() > 1.0));
        }
        assert!(changed > 30, "{changed}");
        let mut gaps = row(vec![1.0, f32::NAN, 2.0, 5.0], vec![3.0]);
        warp_row(&mut Rng::new(3), &mut gaps);
        assert_eq!((gaps.history[0], gaps.history[3], gaps.future[0]), (1.0, 5.0, 3.0));
        let mut curve =
            row((0..90).map(|t| (t * t) as f32).collect(), (90..100).map(|t| (t * t) as f32).collect());
        let before = curve.clone();
        (0..5).for_each(|seed| warp_row(&mut Rng::new(seed), &mut curve));
        assert!(curve.history != before.history && curve.history.len() == 90 && curve.future.len() == 10);
    }

    #[test]
    fn noise_is_small_beside_what_it_is_added_to_and_scales_are_one_factor() {
        let wave: Vec<f64> = (0..400).map(|t| (f64::from(t) / 9.0).sin()).collect();
        let (mut noisy, mut flat) = (wave.clone(), vec![5.0; 40]);
        jitter(&mut Rng::new(4), &mut noisy);
        jitter(&mut Rng::new(4), &mut flat);
        let moved = noisy.iter().zip(&wave).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(moved > 0.0 && moved < 0.4 && flat == vec![5.0; 40], "{moved}");
        let mut line = row(vec![5.0; 40], vec![5.0]);
        jitter_row(&mut Rng::new(5), &mut line);
        assert_eq!(line.history, vec![5.0; 40]);
        let mut steps = row((0..40).map(|t| (t % 2) as f32).collect(), vec![1.0]);
        jitter_row(&mut Rng::new(5), &mut steps);
        assert!(steps.history.iter().enumerate().all(|(t, x)| (x - (t % 2) as f32).abs() < 1.0));
        assert!(steps.history.iter().any(|x| x.fract() != 0.0) && steps.future == [1.0]);
        let mut scaled = wave.clone();
        rescale(&mut Rng::new(6), &mut scaled);
        let factor = scaled[9] / wave[9];
        assert!(factor > 0.0 && (factor - 1.0).abs() > 1e-3);
        assert!(scaled.iter().zip(&wave).all(|(a, b)| (a - factor * b).abs() <= 1e-9 * factor));
    }

    #[test]
    fn what_is_masked_is_a_part_of_the_history_before_its_last_value() {
        for seed in 0..100 {
            let mut masked = row((0..40).map(|t| t as f32).collect(), vec![40.0; 4]);
            mask(&mut Rng::new(seed), &mut masked);
            let gone = masked.history.iter().filter(|x| x.is_nan()).count();
            assert!(gone <= 25 && masked.history[39] == 39.0 && masked.future == [40.0; 4], "{gone}");
        }
        let gone = |seed| {
            let mut masked = row(vec![1.0; 40], vec![]);
            mask(&mut Rng::new(seed), &mut masked);
            masked.history.iter().filter(|x| x.is_nan()).count()
        };
        assert!((0..100).map(gone).sum::<usize>() > 400);
        let mut short = row(vec![1.0; 3], vec![]);
        mask(&mut Rng::new(1), &mut short);
        assert_eq!(short.history, [1.0; 3]);
    }
}
