//! Quantiles for point forecasts: residuals of the series itself, made conformal on held-out windows.
//!
//! The quantile of level `u` at step `t` is `point + (base(u) + shift(u) * scale) * growth(t)`. `base` are
//! the residual quantiles of the series, or of all series where it has too few; `shift` corrects them by
//! the finite-sample rule of split conformal prediction (Vovk, Gammerman and Shafer 2005; Romano, Patterson
//! and Candès 2019) and `growth` widens them with the step, both learnt on the validation windows.

use serde::{Deserialize, Serialize};

/// Residuals from which a series has quantiles of its own.
const OWN_RESIDUALS_MIN: usize = 60;
/// Latest residuals of a series that go into the quantiles of all series.
const POOLED_RESIDUALS_MAX: usize = 100;
/// Validation points below which nothing is learnt from them.
const POINTS_MIN: usize = 30;
/// Errors beyond so many scales count as that many, so that one broken series does not widen all.
const RATIO_MAX: f64 = 20.0;

/// Levels at which quantiles are learnt; others are interpolated.
const LEVELS: [f64; 21] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95,
    0.975, 0.99, 0.995,
];

/// A point forecast of one series and what is known about its errors.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalForecast {
    /// One per step.
    pub point: Vec<f64>,
    /// One-step errors on the history, in time order.
    pub residuals: Vec<f64>,
    /// Mean of the absolute history; the size of the series where it has no residuals.
    pub level: f64,
}

/// Turns point forecasts into quantiles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibrator {
    /// Residual quantiles of all series at [`LEVELS`], in units of each series' scale.
    pooled: Vec<f64>,
    /// Conformal shifts at [`LEVELS`], in units of the scale.
    shifts: Vec<f64>,
    /// Width of step `t` beside that of one step; does not fall.
    growth: Vec<f64>,
    /// Scale of a series without residuals, as a share of its level.
    relative_scale: f64,
}

impl Calibrator {
    /// Learns from forecasts of held-out windows; `actual` is `[series, steps]` with NaN where nothing is
    /// to be learnt.
    pub fn fit(forecasts: &[LocalForecast], actual: &[f64], steps: usize, season_length: usize) -> Self {
        let mut fitted = Self {
            pooled: pooled_quantiles(forecasts),
            shifts: vec![0.0; LEVELS.len()],
            growth: (0..steps.max(1)).map(|t| (1.0 + (t / season_length.max(1)) as f64).sqrt()).collect(),
            relative_scale: relative_scale(forecasts),
        };
        let points = actual.iter().filter(|y| !y.is_nan()).count();
        if points >= POINTS_MIN {
            fitted.learn_growth(forecasts, actual, steps);
            fitted.learn_shifts(forecasts, actual, steps);
        }
        fitted
    }

    fn scale(&self, forecast: &LocalForecast) -> f64 {
        match mean_absolute(&forecast.residuals) {
            Some(scale) => scale,
            None => self.relative_scale * forecast.level,
        }
    }

    fn growth(&self, step: usize) -> f64 {
        match (self.growth.get(step), self.growth.last()) {
            (Some(growth), _) => *growth,
            (None, Some(last)) => last * ((step + 1) as f64 / self.growth.len() as f64).sqrt(),
            (None, None) => 1.0,
        }
    }

    fn learn_growth(&mut self, forecasts: &[LocalForecast], actual: &[f64], steps: usize) {
        let mut sums = vec![(0.0, 0.0); steps];
        for (forecast, actual) in forecasts.iter().zip(actual.chunks_exact(steps)) {
            let scale = self.scale(forecast);
            for ((sum, y), point) in sums.iter_mut().zip(actual).zip(&forecast.point) {
                if !y.is_nan() && scale > 0.0 {
                    sum.0 += ((y - point).abs() / scale).min(RATIO_MAX);
                    sum.1 += 1.0;
                }
            }
        }
        let growth = isotonic(&sums);
        if growth.first().is_some_and(|first| *first > 0.0) {
            self.growth = growth;
        }
    }

    fn learn_shifts(&mut self, forecasts: &[LocalForecast], actual: &[f64], steps: usize) {
        let mut scores: Vec<Vec<f64>> = vec![Vec::new(); LEVELS.len()];
        for (forecast, actual) in forecasts.iter().zip(actual.chunks_exact(steps)) {
            let scale = self.scale(forecast);
            if scale <= 0.0 {
                continue;
            }
            let base = self.base(forecast, scale);
            for (step, (y, point)) in actual.iter().zip(&forecast.point).enumerate() {
                let error = (y - point) / self.growth(step);
                if !error.is_nan() {
                    scores.iter_mut().zip(&base).for_each(|(s, base)| s.push((error - base) / scale));
                }
            }
        }
        for ((shift, scores), level) in self.shifts.iter_mut().zip(&mut scores).zip(LEVELS) {
            if scores.len() >= POINTS_MIN {
                scores.sort_unstable_by(f64::total_cmp);
                *shift = conformal_quantile(scores, level);
            }
        }
    }

    /// Residual quantiles of a series at [`LEVELS`].
    fn base(&self, forecast: &LocalForecast, scale: f64) -> Vec<f64> {
        if forecast.residuals.len() < OWN_RESIDUALS_MIN {
            return self.pooled.iter().map(|z| z * scale).collect();
        }
        let mut sorted = forecast.residuals.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        LEVELS.iter().map(|level| conformal_quantile(&sorted, *level)).collect()
    }

    /// Quantiles `[steps, levels]` of one series, ascending in each step.
    pub fn quantiles(&self, forecast: &LocalForecast, levels: &[f64]) -> Vec<f64> {
        let scale = self.scale(forecast);
        let base = self.base(forecast, scale);
        let spread: Vec<f64> =
            base.iter().zip(&self.shifts).map(|(base, shift)| base + shift * scale).collect();
        let offsets: Vec<f64> = levels.iter().map(|level| at_level(&spread, *level)).collect();
        let mut out = Vec::with_capacity(forecast.point.len() * levels.len());
        for (step, point) in forecast.point.iter().enumerate() {
            let growth = self.growth(step);
            let from = out.len();
            out.extend(offsets.iter().map(|offset| point + offset * growth));
            out[from..].sort_unstable_by(f64::total_cmp);
        }
        out
    }

    /// True when every number is finite and every list as long as it must be.
    pub fn is_sound(&self) -> bool {
        let lists = [&self.pooled, &self.shifts, &self.growth];
        lists.iter().all(|list| list.iter().all(|v| v.is_finite()))
            && self.pooled.len() == LEVELS.len()
            && self.shifts.len() == LEVELS.len()
            && self.relative_scale.is_finite()
    }
}

/// The sorted value at the rank `(n + 1) * level`, rounded away from the median.
fn conformal_quantile(sorted: &[f64], level: f64) -> f64 {
    let n = sorted.len();
    if n == 0 {
        return 0.0;
    }
    let rank = (n + 1) as f64 * level;
    let rank = if level > 0.5 { rank.ceil() } else { rank.floor() };
    sorted[(rank as usize).clamp(1, n) - 1]
}

/// Linear between [`LEVELS`], flat beyond them.
fn at_level(values: &[f64], level: f64) -> f64 {
    let after = LEVELS.partition_point(|known| *known < level);
    match (after.checked_sub(1).map(|i| (LEVELS[i], values[i])), values.get(after)) {
        (Some((low, from)), Some(to)) => from + (to - from) * (level - low) / (LEVELS[after] - low),
        (None, Some(first)) => *first,
        (Some((_, last)), None) => last,
        (None, None) => 0.0,
    }
}

fn mean_absolute(values: &[f64]) -> Option<f64> {
    let sum: f64 = values.iter().map(|v| v.abs()).sum();
    (!values.is_empty()).then(|| sum / values.len() as f64)
}

fn pooled_quantiles(forecasts: &[LocalForecast]) -> Vec<f64> {
    let mut scaled = Vec::new();
    for forecast in forecasts {
        let scale = mean_absolute(&forecast.residuals).filter(|scale| *scale > 0.0);
        let latest = forecast.residuals.len().saturating_sub(POOLED_RESIDUALS_MAX);
        if let Some(scale) = scale {
            scaled.extend(forecast.residuals[latest..].iter().map(|r| r / scale));
        }
    }
    scaled.sort_unstable_by(f64::total_cmp);
    LEVELS.iter().map(|level| conformal_quantile(&scaled, *level)).collect()
}

/// The median over series of scale over level.
fn relative_scale(forecasts: &[LocalForecast]) -> f64 {
    let of = |f: &LocalForecast| mean_absolute(&f.residuals).filter(|_| f.level > 0.0).map(|s| s / f.level);
    let mut shares: Vec<f64> = forecasts.iter().filter_map(of).collect();
    shares.sort_unstable_by(f64::total_cmp);
    shares.get(shares.len() / 2).copied().unwrap_or(0.0)
}

/// The non-decreasing means closest to weighted means (pool adjacent violators); `(sum, weight)` in.
fn isotonic(sums: &[(f64, f64)]) -> Vec<f64> {
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for (sum, weight) in sums {
        let mut block = (*sum, *weight, 1);
        while let Some(last) = blocks.last() {
            let falls = block.1 == 0.0 || last.1 == 0.0 || last.0 / last.1 >= block.0 / block.1;
            if !falls {
                break;
            }
            block = (last.0 + block.0, last.1 + block.1, last.2 + block.2);
            blocks.pop();
        }
        blocks.push(block);
    }
    let mean = |(sum, weight, n): (f64, f64, usize)| {
        std::iter::repeat_n(if weight > 0.0 { sum / weight } else { 0.0 }, n)
    };
    blocks.into_iter().flat_map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::rng::Rng;

    fn noisy(rng: &mut Rng, series: usize, steps: usize, history: usize) -> (Vec<LocalForecast>, Vec<f64>) {
        let mut actual = Vec::new();
        let forecasts = (0..series).map(|i| {
            let scale = 1.0 + i as f64;
            actual.extend((0..steps).map(|t| 100.0 + scale * rng.normal() * (1.0 + t as f64 / 4.0)));
            let residuals = (0..history).map(|_| scale * rng.normal()).collect();
            LocalForecast { point: vec![100.0; steps], residuals, level: 100.0 }
        });
        (forecasts.collect(), actual)
    }

    #[test]
    fn intervals_cover_their_share_and_widen() {
        let mut rng = Rng::new(5);
        for history in [10, 200] {
            let (forecasts, actual) = noisy(&mut rng, 100, 12, history);
            let calibrator = Calibrator::fit(&forecasts, &actual, 12, 1);
            let (forecasts, actual) = noisy(&mut rng, 100, 12, history);
            let (mut inside, mut n) = (0, 0);
            for (forecast, actual) in forecasts.iter().zip(actual.chunks_exact(12)) {
                let quantiles = calibrator.quantiles(forecast, &[0.05, 0.5, 0.95]);
                for (q, y) in quantiles.chunks_exact(3).zip(actual) {
                    inside += u32::from(q[0] <= *y && *y <= q[2]);
                    n += 1;
                    assert!(q[0] <= q[1] && q[1] <= q[2]);
                }
                assert!(quantiles[35] - quantiles[33] > quantiles[2] - quantiles[0]);
            }
            let share = f64::from(inside) / f64::from(n);
            assert!((0.87..0.93).contains(&share), "{share} with {history} residuals");
        }
    }

    #[test]
    fn without_errors_or_points_quantiles_stay_finite() {
        let constant = LocalForecast { point: vec![3.0; 2], residuals: vec![0.0; 9], level: 3.0 };
        let empty = LocalForecast { point: vec![0.0; 2], residuals: Vec::new(), level: 0.0 };
        let calibrator = Calibrator::fit(&[constant.clone(), empty.clone()], &[f64::NAN; 4], 2, 7);
        assert!(calibrator.is_sound());
        assert_eq!(calibrator.quantiles(&constant, &[0.001, 0.999]), [3.0; 4]);
        assert_eq!(calibrator.quantiles(&empty, &[0.5]), [0.0; 2]);
        assert!(Calibrator::fit(&[], &[], 0, 1).quantiles(&empty, &[0.9]).iter().all(|q| q.is_finite()));
    }

    #[test]
    fn adjacent_violators_are_pooled() {
        assert_eq!(isotonic(&[(1.0, 1.0), (3.0, 1.0), (1.0, 1.0), (9.0, 3.0)]), [1.0, 2.0, 2.0, 3.0]);
        assert_eq!(isotonic(&[(0.0, 0.0), (2.0, 1.0)]), [2.0, 2.0]);
    }

    #[test]
    fn levels_between_are_interpolated() {
        let values: Vec<f64> = LEVELS.iter().map(|u| u * 10.0).collect();
        for (level, expected) in [(0.05, 0.5), (0.125, 1.25), (0.0001, 0.05), (0.9999, 9.95), (0.45, 4.5)] {
            assert!((at_level(&values, level) - expected).abs() < 1e-12, "{level}");
        }
        assert_eq!(conformal_quantile(&[1.0, 2.0, 3.0], 0.9), 3.0);
        assert_eq!(conformal_quantile(&[1.0, 2.0, 3.0], 0.5), 2.0);
    }
}
