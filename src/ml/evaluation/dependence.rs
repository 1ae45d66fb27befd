//! How the errors of steps and of series hang together, which widths of sums depend on.

use serde::{Deserialize, Serialize};

use crate::ml::evaluation::levels::{WIDTH, score_of};
use crate::ml::forecaster::Forecast;

/// Series that are looked at.
const SERIES_MAX: usize = 2_000;
/// Fewest pairs of errors that tell anything.
const PAIRS_MIN: usize = 30;
/// No correlation is taken to be closer to 1.
const CORRELATION_MAX: f64 = 0.95;

/// Correlations of the normal scores of outcomes under their forecasts.
///
/// Those of two steps of a series that are `k` apart correlate by `window + (1 - window) * step^k`; those of two series
/// at the same step by `series`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Dependence {
    /// What is left from one step to the next of what fades.
    pub step: f64,
    /// What all steps of a forecast share.
    pub window: f64,
    /// What all series share at a step.
    pub series: f64,
}

impl Default for Dependence {
    /// Where nothing is known: errors that fade and share a little.
    fn default() -> Self {
        Self { step: 0.5, window: 0.2, series: 0.0 }
    }
}

impl Dependence {
    /// Learns from forecasts at all levels and what came true, `[series, horizon]` with NaN where nothing was observed;
    /// `order` names the series in an order that is always the same.
    pub fn fit(windows: &[(&Forecast, &[f64])], order: &[usize]) -> Self {
        let mut sums = Sums::default();
        for (forecast, actual) in windows {
            sums.add(forecast, actual, order);
        }
        sums.dependence()
    }

    /// True when every correlation is one.
    pub fn is_sound(&self) -> bool {
        [self.step, self.window, self.series].iter().all(|r| (0.0..=CORRELATION_MAX).contains(r))
    }
}

/// A sum of products, and their number.
#[derive(Debug, Default)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, product: f64) {
        self.sum += product;
        self.count += 1.0;
    }

    fn value(&self) -> Option<f64> {
        (self.count >= PAIRS_MIN as f64).then(|| self.sum / self.count)
    }
}

#[derive(Debug, Default)]
struct Sums {
    square: Mean,
    next: Mean,
    far: Mean,
    across: Mean,
}

impl Sums {
    fn add(&mut self, forecast: &Forecast, actual: &[f64], order: &[usize]) {
        let horizon = forecast.horizon.max(1);
        let every = order.len().div_ceil(SERIES_MAX).max(1);
        let far = (horizon / 2).max(2);
        // Sum, sum of squares and number of the scores of every step.
        let mut steps = vec![(0.0, 0.0, 0.0); horizon];
        for series in order.iter().step_by(every) {
            let scores: Vec<Option<f64>> = (series * horizon..(series + 1) * horizon)
                .map(|at| score_of(&forecast.quantiles[at * WIDTH..(at + 1) * WIDTH], actual[at]))
                .collect();
            for (t, score) in scores.iter().enumerate() {
                let Some(z) = score else { continue };
                self.square.add(z * z);
                let (sum, squares, count) = &mut steps[t];
                (*sum, *squares, *count) = (*sum + z, *squares + z * z, *count + 1.0);
                if let Some(Some(next)) = scores.get(t + 1) {
                    self.next.add(z * next);
                }
                scores.iter().skip(t + far).flatten().for_each(|other| self.far.add(z * other));
            }
        }
        for (sum, squares, count) in steps {
            self.across.sum += sum * sum - squares;
            self.across.count += count * (count - 1.0);
        }
    }

    fn dependence(&self) -> Dependence {
        let usual = Dependence::default();
        let Some(variance) = self.square.value().filter(|v| *v > 0.0) else { return usual };
        let correlation = |mean: &Mean| mean.value().map(|c| (c / variance).clamp(0.0, CORRELATION_MAX));
        let window = correlation(&self.far).unwrap_or(0.0);
        let step = correlation(&self.next).map(|next| ((next - window) / (1.0 - window)).max(0.0));
        Dependence {
            step: step.unwrap_or(usual.step).min(CORRELATION_MAX),
            window: if self.far.value().is_some() { window } else { usual.window },
            series: correlation(&self.across).unwrap_or(usual.series),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::evaluation::levels::{LEVELS, normal_score};
    use crate::ml::rng::Rng;

    #[test]
    fn correlations_of_simulated_errors_are_found() {
        let (series, horizon) = (400, 24);
        let row: Vec<f64> = LEVELS.iter().map(|level| normal_score(*level)).collect();
        let forecast = Forecast {
            horizon,
            quantiles: row.iter().copied().cycle().take(series * horizon * WIDTH).collect(),
            ..Forecast::default()
        };
        let wanted = Dependence { step: 0.6, window: 0.3, series: 0.25 };
        let mut rng = Rng::new(4);
        let process = |rng: &mut Rng| {
            let (shared, mut fading) = (rng.normal(), rng.normal());
            let mut out = Vec::with_capacity(horizon);
            for _ in 0..horizon {
                out.push(wanted.window.sqrt() * shared + (1.0 - wanted.window).sqrt() * fading);
                fading = wanted.step * fading + (1.0 - wanted.step * wanted.step).sqrt() * rng.normal();
            }
            out
        };
        let mut actual = Vec::new();
        let mut windows = Vec::new();
        for _ in 0..60 {
            let common = process(&mut rng);
            let mut window = Vec::with_capacity(series * horizon);
            for _ in 0..series {
                let own = process(&mut rng);
                let both = own.iter().zip(&common);
                window.extend(both.map(|(o, c)| (1.0 - wanted.series).sqrt() * o + wanted.series.sqrt() * c));
            }
            actual.push(window);
        }
        windows.extend(actual.iter().map(|window| (&forecast, window.as_slice())));
        let order: Vec<usize> = (0..series).collect();
        let found = Dependence::fit(&windows, &order);
        assert!((found.step - wanted.step).abs() < 0.05, "{found:?}");
        assert!((found.window - wanted.window).abs() < 0.05, "{found:?}");
        assert!((found.series - wanted.series).abs() < 0.08, "{found:?}");
        assert_eq!(Dependence::fit(&[], &[]), Dependence::default());
    }
}
