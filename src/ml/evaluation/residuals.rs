//! Quantiles around point forecasts: from the errors of the series itself, or of all series where it has few.

use serde::{Deserialize, Serialize};

use crate::ml::evaluation::levels::{LEVELS, MIDDLE, WIDTH};

/// Residuals from which a series has quantiles of its own.
const OWN_RESIDUALS_MIN: usize = 60;
/// Latest residuals of a series that go into the quantiles of all series.
const POOLED_RESIDUALS_MAX: usize = 100;

/// A point forecast of one series and what is known about its errors.
#[derive(Debug, Clone, PartialEq)]
pub struct PointForecast {
    /// One per step.
    pub point: Vec<f64>,
    /// One-step errors on the history, in time order.
    pub residuals: Vec<f64>,
    /// Width of the errors of every step beside those of the first one.
    pub growth: Vec<f64>,
    /// Mean of the absolute history; the size of the series where it has no residuals.
    pub level: f64,
}

/// The errors of all series together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Residuals {
    /// Residual quantiles of all series at [`LEVELS`], in units of each series' scale.
    pooled: Vec<f64>,
    /// Scale of a series without residuals, as a share of its level.
    relative_scale: f64,
}

impl Residuals {
    /// Pools the residuals of these forecasts.
    pub fn fit(forecasts: &[PointForecast]) -> Self {
        let mut scaled = Vec::new();
        for forecast in forecasts {
            let scale = mean_absolute(&forecast.residuals).filter(|scale| *scale > 0.0);
            let latest = forecast.residuals.len().saturating_sub(POOLED_RESIDUALS_MAX);
            if let Some(scale) = scale {
                scaled.extend(forecast.residuals[latest..].iter().map(|r| r / scale));
            }
        }
        scaled.sort_unstable_by(f64::total_cmp);
        Self {
            pooled: LEVELS.iter().map(|level| conformal_quantile(&scaled, *level)).collect(),
            relative_scale: relative_scale(forecasts),
        }
    }

    /// Quantiles `[steps, LEVELS]` of one series, ascending in each step.
    pub fn quantiles(&self, forecast: &PointForecast) -> Vec<f64> {
        let offsets = self.offsets(forecast);
        let mut out = Vec::with_capacity(forecast.point.len() * WIDTH);
        for (point, growth) in forecast.point.iter().zip(&forecast.growth) {
            let from = out.len();
            out.extend(offsets.iter().map(|offset| point + offset * growth));
            out[from..].sort_unstable_by(f64::total_cmp);
        }
        out
    }

    /// Residual quantiles of a series at [`LEVELS`], about their median.
    fn offsets(&self, forecast: &PointForecast) -> Vec<f64> {
        let mut offsets: Vec<f64> = if forecast.residuals.len() >= OWN_RESIDUALS_MIN {
            let mut sorted = forecast.residuals.clone();
            sorted.sort_unstable_by(f64::total_cmp);
            LEVELS.iter().map(|level| conformal_quantile(&sorted, *level)).collect()
        } else {
            let own = mean_absolute(&forecast.residuals);
            let scale = own.unwrap_or(self.relative_scale * forecast.level);
            self.pooled.iter().map(|z| z * scale).collect()
        };
        let median = offsets[MIDDLE];
        offsets.iter_mut().for_each(|offset| *offset -= median);
        offsets
    }

    /// True when every number is finite and every list as long as it must be.
    pub fn is_sound(&self) -> bool {
        self.pooled.len() == WIDTH
            && self.pooled.iter().all(|v| v.is_finite())
            && self.relative_scale.is_finite()
    }
}

/// The place, among `n` sorted values, of the rank `(n + 1) * level`, rounded away from the median.
pub(super) fn conformal_place(n: usize, level: f64) -> Option<usize> {
    let rank = (n + 1) as f64 * level;
    let rank = if level > 0.5 { rank.ceil() } else { rank.floor() };
    (n > 0).then(|| (rank as usize).clamp(1, n) - 1)
}

fn conformal_quantile(sorted: &[f64], level: f64) -> f64 {
    conformal_place(sorted.len(), level).map_or(0.0, |place| sorted[place])
}

fn mean_absolute(values: &[f64]) -> Option<f64> {
    let sum: f64 = values.iter().map(|v| v.abs()).sum();
    (!values.is_empty()).then(|| sum / values.len() as f64)
}

/// The median over series of scale over level.
fn relative_scale(forecasts: &[PointForecast]) -> f64 {
    let of = |f: &PointForecast| mean_absolute(&f.residuals).filter(|_| f.level > 0.0).map(|s| s / f.level);
    let mut shares: Vec<f64> = forecasts.iter().filter_map(of).collect();
    shares.sort_unstable_by(f64::total_cmp);
    shares.get(shares.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::rng::Rng;

    #[test]
    fn residuals_give_their_own_quantiles_and_few_give_those_of_all() {
        let mut rng = Rng::new(5);
        let mut noisy = |scale: f64, n: usize| PointForecast {
            point: vec![100.0; 2],
            residuals: (0..n).map(|_| scale * rng.normal()).collect(),
            growth: vec![1.0, 2.0],
            level: 100.0,
        };
        let mut forecasts: Vec<PointForecast> = (0..50).map(|i| noisy(1.0 + f64::from(i), 20)).collect();
        forecasts.push(noisy(3.0, 4000));
        let residuals = Residuals::fit(&forecasts);
        assert!(residuals.is_sound());
        let (own, pooled) = (residuals.quantiles(&forecasts[50]), residuals.quantiles(&forecasts[0]));
        let at = |q: &[f64], step: usize, level: f64| {
            q[step * WIDTH + LEVELS.iter().position(|u| *u == level).unwrap()] - 100.0
        };
        assert!(
            (at(&own, 0, 0.95) - 3.0 * 1.645).abs() < 0.3 && (at(&own, 1, 0.95) - 6.0 * 1.645).abs() < 0.6
        );
        assert!((1.0..2.5).contains(&at(&pooled, 0, 0.95)), "{}", at(&pooled, 0, 0.95));
        assert!(own.chunks_exact(WIDTH).all(|row| row.windows(2).all(|pair| pair[0] <= pair[1])));
    }

    #[test]
    fn without_errors_quantiles_stay_finite() {
        let forecast = |residuals: Vec<f64>, level: f64| PointForecast {
            point: vec![3.0; 2],
            residuals,
            growth: vec![1.0; 2],
            level,
        };
        let (constant, empty) = (forecast(vec![0.0; 9], 3.0), forecast(Vec::new(), 0.0));
        let residuals = Residuals::fit(&[constant.clone(), empty.clone()]);
        assert!(residuals.is_sound() && Residuals::fit(&[]).is_sound());
        assert_eq!(residuals.quantiles(&constant), [3.0; 2 * WIDTH]);
        assert_eq!(residuals.quantiles(&empty), [3.0; 2 * WIDTH]);
    }

    #[test]
    fn ranks_are_rounded_away_from_the_median() {
        assert_eq!(conformal_quantile(&[1.0, 2.0, 3.0], 0.9), 3.0);
        assert_eq!(conformal_quantile(&[1.0, 2.0, 3.0], 0.5), 2.0);
    }
}
