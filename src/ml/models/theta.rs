//! The Theta method (Assimakopoulos and Nikolopoulos 2000) in its dynamic, optimised form (Fiorucci, Pellegrini,
//! Louzada, Petropoulos and Koehler 2016).
//!
//! A series is taken apart into its season and the rest, which is smoothed exponentially with a drift: a share
//! `1 - 1 / theta` of the linear trend up to now. `theta`, the smoothing and the first level minimise the squared
//! errors of one step on the latest values.

use crate::ml::evaluation::PointForecast;
use crate::ml::models::decomposition::without_season;
use crate::ml::models::local::{self, Rule};
use crate::ml::models::simplex::minimise;

/// Longest season that is taken out.
const SEASON_MAX: usize = 366;
/// Evaluations of the squared errors.
const CALLS: usize = 200;
/// First values that the first level is sought about.
const BEGIN: usize = 3;
/// Bounds of theta, the smoothing and the first level.
const BOUNDS: [Parameters; 2] = [[1.0, 0.01, 0.5], [5.0, 0.99, 1.5]];

/// The rule.
#[derive(Debug)]
pub(super) struct Theta;

/// Theta, smoothing, and the first level as a share of the first values' mean.
type Parameters = [f64; 3];

impl Rule for Theta {
    const PARAMETERS: usize = 3;
    const SECONDS: f64 = 0.002;

    fn choose(history: &[f64], season_length: usize) -> Option<Vec<f64>> {
        let season = modelled(season_length);
        let values = local::estimation_values(history, season);
        let (rest, _) = without_season(&values, season);
        let size = local::level(&rest);
        let criterion = |parameters: &Parameters| {
            let mut squares = 0.0;
            run(parameters, &rest, |error| squares += (error / size) * (error / size));
            squares
        };
        let fits = [1.5, 2.0, 4.0]
            .map(|theta| minimise([theta, 0.4, 1.0], BOUNDS[0], BOUNDS[1], CALLS / 2, criterion));
        let (parameters, value) = fits.into_iter().reduce(|a, b| if b.1 < a.1 { b } else { a })?;
        value.is_finite().then(|| parameters.to_vec())
    }

    fn run(
        parameters: &[f64],
        history: &[f64],
        season_length: usize,
        horizon: usize,
    ) -> Option<PointForecast> {
        let parameters: Parameters = parameters.try_into().ok()?;
        let season = modelled(season_length);
        let values = local::estimation_values(history, season);
        let (rest, season) = without_season(&values, season);
        let mut residuals = Vec::with_capacity(rest.len());
        let mut state = run(&parameters, &rest, |error| residuals.push(error));
        let mut point = Vec::with_capacity(horizon);
        for step in 0..horizon {
            let y = state.expected(&parameters);
            state.learn(&parameters, y);
            point.push(season.apply(values.len() + step, y));
        }
        residuals.iter_mut().enumerate().for_each(|(t, error)| *error = season.scale(t, *error));
        let alpha = parameters[1];
        let growth = (0..horizon).map(|step| (1.0 + step as f64 * alpha * alpha).sqrt()).collect();
        Some(PointForecast { point, residuals, growth, level: local::level(history) })
    }
}

/// The season that is taken out; longer ones are left in.
fn modelled(season_length: usize) -> usize {
    if season_length <= SEASON_MAX { season_length.max(1) } else { 1 }
}

/// Where the recursion stands: level, mean so far and slope of the line through all values so far.
struct State {
    n: f64,
    level: f64,
    mean: f64,
    slope: f64,
}

/// Runs over the values and tells each error.
fn run(parameters: &Parameters, values: &[f64], mut error: impl FnMut(f64)) -> State {
    let begin = &values[..values.len().min(BEGIN)];
    let first = begin.iter().sum::<f64>() / begin.len().max(1) as f64;
    let mut state = State { n: 0.0, level: parameters[2] * first, mean: 0.0, slope: 0.0 };
    for y in values {
        error(y - state.expected(parameters));
        state.learn(parameters, *y);
    }
    state
}

impl State {
    /// The step after the values so far.
    fn expected(&self, [theta, alpha, _]: &Parameters) -> f64 {
        if self.n == 0.0 {
            return self.level;
        }
        // Intercept and slope of the line, seen from the step after the last one.
        let intercept = self.mean - self.slope * (self.n + 1.0) / 2.0;
        let left = (1.0 - alpha).powf(self.n);
        self.level
            + (1.0 - 1.0 / theta) * (left * intercept + (1.0 - left * (1.0 - alpha)) / alpha * self.slope)
    }

    fn learn(&mut self, [_, alpha, _]: &Parameters, y: f64) {
        self.level += alpha * (y - self.level);
        let n = self.n;
        let mean = (n * self.mean + y) / (n + 1.0);
        self.slope = if n < 1.0 {
            0.0
        } else {
            ((n - 1.0) * self.slope + 6.0 * (y - self.mean) / (n + 1.0)) / (n + 2.0)
        };
        (self.mean, self.n) = (mean, n + 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn theta_one_is_simple_smoothing_and_large_theta_follows_the_trend() {
        let history: Vec<f64> = (0..40).map(|t| 10.0 + 2.0 * f64::from(t)).collect();
        let flat = Theta::run(&[1.0, 0.5, 1.0], &history, 1, 3).unwrap().point;
        assert!(flat.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 1e-9), "{flat:?}");
        let steep = Theta::run(&[1e9, 0.5, 1.0], &history, 1, 3).unwrap().point;
        for (step, y) in steep.iter().enumerate() {
            assert!((y - (90.0 + 2.0 * step as f64)).abs() < 0.1, "{y}");
        }
    }

    #[test]
    fn the_season_of_the_values_comes_back() {
        let season = [0.5, 1.0, 1.5, 1.0];
        let history: Vec<f64> = (0..60).map(|t| (100.0 + t as f64) * season[t % 4]).collect();
        let parameters = Theta::choose(&history, 4).unwrap();
        let forecast = Theta::run(&parameters, &history, 4, 8).unwrap();
        for (step, y) in forecast.point.iter().enumerate() {
            let expected = (160.0 + step as f64) * season[step % 4];
            assert!((y / expected - 1.0).abs() < 0.05, "{y} for {expected}");
        }
    }

    #[test]
    fn the_line_so_far_is_that_of_least_squares() {
        let values = [3.0, 5.0, 4.0, 8.0, 7.0];
        let state = run(&[2.0, 0.3, 1.0], &values, |_| {});
        let (n, mean) = (5.0, 27.0 / 5.0);
        let slope: f64 =
            values.iter().enumerate().map(|(t, y)| (t as f64 - 2.0) * (y - mean)).sum::<f64>() / 10.0;
        assert!((state.slope - slope).abs() < 1e-12 && (state.mean - mean).abs() < 1e-12 && state.n == n);
    }
}
