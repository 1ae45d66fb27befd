//! Complex exponential smoothing (Svetunkov, Kourentzes and Ord 2022): a level and what it will be, smoothed by one
//! complex number.
//!
//! It has no trend, and so none to be taken for one by mistake: between a flat line and an exponential one any path
//! is a matter of its two smoothing parameters, which minimise the squared errors of one step on the latest values.
//! The season is taken out beforehand.

use crate::ml::evaluation::PointForecast;
use crate::ml::models::decomposition::without_season;
use crate::ml::models::local::{self, Rule};
use crate::ml::models::simplex::minimise;

/// Longest season that is taken out.
const SEASON_MAX: usize = 366;
/// Evaluations of the squared errors.
const CALLS: usize = 120;
/// First values whose mean is the first level.
const BEGIN: usize = 3;
/// Bounds of the smoothing.
const BOUNDS: [Smoothing; 2] = [[0.1, 0.5], [1.99, 1.6]];

/// The rule.
#[derive(Debug)]
pub(super) struct Ces;

/// Real and imaginary part.
type Smoothing = [f64; 2];

/// The level of the next step, and its potential.
#[derive(Debug, Clone, Copy)]
struct State {
    level: f64,
    potential: f64,
}

impl Rule for Ces {
    const PARAMETERS: usize = 2;
    const SECONDS: f64 = 0.0005;

    fn choose(history: &[f64], season_length: usize) -> Option<Vec<f64>> {
        let season = modelled(season_length);
        let (rest, _) = without_season(&local::estimation_values(history, season), season);
        let size = local::level(&rest);
        let criterion = |smoothing: &Smoothing| {
            if !is_stable(smoothing) {
                return f64::INFINITY;
            }
            let mut squares = 0.0;
            run(smoothing, &rest, |error| squares += (error / size) * (error / size));
            squares
        };
        let (smoothing, value) = minimise([1.3, 1.0], BOUNDS[0], BOUNDS[1], CALLS, criterion);
        value.is_finite().then(|| smoothing.to_vec())
    }

    fn run(
        parameters: &[f64],
        history: &[f64],
        season_length: usize,
        horizon: usize,
    ) -> Option<PointForecast> {
        let smoothing: Smoothing = parameters.try_into().ok()?;
        let season = modelled(season_length);
        let values = local::estimation_values(history, season);
        let (rest, season) = without_season(&values, season);
        let mut residuals = Vec::with_capacity(rest.len());
        let state = run(&smoothing, &rest, |error| residuals.push(error));
        residuals.iter_mut().enumerate().for_each(|(t, error)| *error = season.scale(t, *error));
        let level = |step: usize, y: f64| season.apply(values.len() + step, y);
        let point = state.path(&smoothing, horizon).enumerate().map(|(step, y)| level(step, y)).collect();
        let growth = growth(&smoothing, horizon);
        Some(PointForecast { point, residuals, growth, level: local::level(history) })
    }
}

/// The season that is taken out; longer ones are left in.
fn modelled(season_length: usize) -> usize {
    if season_length <= SEASON_MAX { season_length.max(1) } else { 1 }
}

/// Whether errors of long ago are forgotten: the stability region of the paper.
fn is_stable([real, imaginary]: &Smoothing) -> bool {
    let square = |x: f64| x * x;
    square(real - 2.5) + square(*imaginary) > 1.25
        && square(real - 0.5) + square(imaginary - 1.0) > 0.25
        && square(real - 1.5) + square(imaginary - 0.5) < 1.5
}

/// Runs over the values, there and back for the states before the first one, and tells each error of a last run.
fn run(smoothing: &Smoothing, values: &[f64], mut error: impl FnMut(f64)) -> State {
    let begin = &values[..values.len().min(BEGIN)];
    let level = begin.iter().sum::<f64>() / begin.len().max(1) as f64;
    let mut state = State { level, potential: level };
    for y in values.iter().chain(values.iter().rev()) {
        state = state.next(smoothing, y - state.level);
    }
    for y in values {
        let own = y - state.level;
        error(own);
        state = state.next(smoothing, own);
    }
    state
}

impl State {
    fn next(self, [real, imaginary]: &Smoothing, error: f64) -> Self {
        let Self { level, potential } = self;
        Self {
            level: level - (1.0 - imaginary) * potential + (real - imaginary) * error,
            potential: level + (1.0 - real) * potential + (real + imaginary) * error,
        }
    }

    /// The levels of this step and those after it without errors.
    fn path(self, smoothing: &Smoothing, horizon: usize) -> impl Iterator<Item = f64> {
        let path = std::iter::successors(Some(self), |state| Some(state.next(smoothing, 0.0)));
        path.take(horizon).map(|state| state.level)
    }
}

/// Width of the errors of each step beside the first.
fn growth(smoothing: &Smoothing, horizon: usize) -> Vec<f64> {
    let moved = State { level: 0.0, potential: 0.0 }.next(smoothing, 1.0);
    let mut variance = 1.0f64;
    let widths = moved.path(smoothing, horizon).map(|weight| {
        let width = variance.sqrt();
        variance += weight * weight;
        width
    });
    widths.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let smoothing = [1.5, 0.9];
        let state = State { level: 10.0, potential: 8.0 }.next(&smoothing, 2.0);
        assert!((state.level - 10.4).abs() < 1e-12 && (state.potential - 10.8).abs() < 1e-12, "{state:?}");
        let path: Vec<f64> = state.path(&smoothing, 2).collect();
        assert!((path[1] - (10.4 - 0.1 * 10.8)).abs() < 1e-12);
        assert!(is_stable(&[1.3, 1.0]) && !is_stable(&[0.5, 1.0]) && !is_stable(&[2.5, 0.5]));
        assert!((growth(&smoothing, 2)[1] - (1.0f64 + 0.36).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn levels_stay_and_growth_goes_on() {
        let season = [0.8, 1.0, 1.2, 1.0];
        let flat: Vec<f64> = (0..60).map(|t| 100.0 * season[t % 4]).collect();
        let growing: Vec<f64> = (0..60).map(|t| 100.0 * 1.02f64.powi(t) * season[t as usize % 4]).collect();
        let forecast = |history: &[f64]| {
            let smoothing = Ces::choose(history, 4).unwrap();
            Ces::run(&smoothing, history, 4, 4).unwrap().point
        };
        for (step, season) in season.iter().enumerate() {
            assert!((forecast(&flat)[step] / (100.0 * season) - 1.0).abs() < 0.01);
            let expected = 100.0 * 1.02f64.powi(60 + step as i32) * season;
            assert!((forecast(&growing)[step] / expected - 1.0).abs() < 0.05, "{:?}", forecast(&growing));
        }
    }
}
