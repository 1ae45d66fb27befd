//! Intermittent demand: Croston's method, its correction by Syntetos and Boylan, and TSB.
//!
//! Croston (1972) smooths the sizes of demands and the intervals between them; SBA multiplies their quotient by
//! `1 - alpha / 2` (Syntetos and Boylan 2005); TSB smooths the probability of demand in every period, so that items
//! that sell no longer fade (Teunter, Syntetos and Babai 2011). Smoothing minimises the squared errors of one step.

use crate::ml::evaluation::PointForecast;
use crate::ml::models::local::{self, Rule};
use crate::ml::models::simplex::minimise;

/// Evaluations of the squared errors.
const CALLS: usize = 60;

/// Croston's method.
#[derive(Debug)]
pub(super) struct Croston;
/// Croston's method, corrected.
#[derive(Debug)]
pub(super) struct Sba;
/// Smoothed probability and size.
#[derive(Debug)]
pub(super) struct Tsb;

impl Rule for Croston {
    const PARAMETERS: usize = 1;
    const SECONDS: f64 = 0.0005;

    fn choose(history: &[f64], _: usize) -> Option<Vec<f64>> {
        choose_intervals(history, |_| 1.0)
    }

    fn run(parameters: &[f64], history: &[f64], _: usize, horizon: usize) -> Option<PointForecast> {
        flat(history, horizon, |error| intervals(*parameters.first()?, 1.0, history, error))
    }
}

impl Rule for Sba {
    const PARAMETERS: usize = 1;
    const SECONDS: f64 = 0.0005;

    fn choose(history: &[f64], _: usize) -> Option<Vec<f64>> {
        choose_intervals(history, |alpha| 1.0 - alpha / 2.0)
    }

    fn run(parameters: &[f64], history: &[f64], _: usize, horizon: usize) -> Option<PointForecast> {
        let alpha = *parameters.first()?;
        flat(history, horizon, |error| intervals(alpha, 1.0 - alpha / 2.0, history, error))
    }
}

impl Rule for Tsb {
    const PARAMETERS: usize = 2;
    const SECONDS: f64 = 0.0005;

    fn choose(history: &[f64], _: usize) -> Option<Vec<f64>> {
        let size = local::level(history);
        let criterion = |[alpha, beta]: &[f64; 2]| {
            let mut squares = 0.0;
            probability(*alpha, *beta, history, |e| squares += (e / size) * (e / size))
                .map_or(f64::NAN, |_| squares)
        };
        let (parameters, value) = minimise([0.1, 0.1], [0.01, 0.01], [0.5, 0.5], CALLS, criterion);
        value.is_finite().then(|| parameters.to_vec())
    }

    fn run(parameters: &[f64], history: &[f64], _: usize, horizon: usize) -> Option<PointForecast> {
        let [alpha, beta] = parameters else { return None };
        flat(history, horizon, |error| probability(*alpha, *beta, history, error))
    }
}

fn choose_intervals(history: &[f64], correction: impl Fn(f64) -> f64) -> Option<Vec<f64>> {
    let size = local::level(history);
    let criterion = |[alpha]: &[f64; 1]| {
        let mut squares = 0.0;
        intervals(*alpha, correction(*alpha), history, |e| squares += (e / size) * (e / size))
            .map_or(f64::NAN, |_| squares)
    };
    let (parameters, value) = minimise([0.1], [0.01], [0.5], CALLS, criterion);
    value.is_finite().then(|| parameters.to_vec())
}

/// The same value for every step.
fn flat(
    history: &[f64],
    horizon: usize,
    run: impl FnOnce(&mut dyn FnMut(f64)) -> Option<f64>,
) -> Option<PointForecast> {
    let mut residuals = Vec::with_capacity(history.len());
    let value = run(&mut |error| residuals.push(error))?;
    let level = local::level(history);
    Some(PointForecast { point: vec![value; horizon], residuals, growth: vec![1.0; horizon], level })
}

/// Demand a period after the history, by smoothed sizes over smoothed intervals; `None` without any demand or with
/// a negative one.
fn intervals(alpha: f64, correction: f64, history: &[f64], mut error: impl FnMut(f64)) -> Option<f64> {
    let mut state: Option<(f64, f64)> = None;
    let mut since = 1.0;
    for y in history.iter().filter(|y| !y.is_nan()) {
        if let Some((size, interval)) = state {
            error(y - correction * size / interval);
        }
        if *y < 0.0 {
            return None;
        }
        if *y > 0.0 {
            state = Some(match state {
                Some((size, interval)) => (size + alpha * (y - size), interval + alpha * (since - interval)),
                None => (*y, since),
            });
            since = 0.0;
        }
        since += 1.0;
    }
    state.map(|(size, interval)| correction * size / interval)
}

/// Demand a period after the history, by smoothed probability times smoothed size.
fn probability(alpha: f64, beta: f64, history: &[f64], mut error: impl FnMut(f64)) -> Option<f64> {
    let observed = || history.iter().filter(|y| !y.is_nan());
    if observed().any(|y| *y < 0.0) {
        return None;
    }
    let demands = observed().filter(|y| **y > 0.0).count() as f64;
    let mut size = *observed().find(|y| **y > 0.0)?;
    let mut chance = demands / observed().count() as f64;
    for y in observed() {
        error(y - chance * size);
        if *y > 0.0 {
            size += alpha * (y - size);
            chance += beta * (1.0 - chance);
        } else {
            chance -= beta * chance;
        }
    }
    Some(chance * size)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HISTORY: [f64; 10] = [0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 6.0, 0.0, 2.0, 0.0];

    #[test]
    fn by_hand() {
        // Sizes 4, 4 + 0.5 (6 - 4) = 5, 5 + 0.5 (2 - 5) = 3.5; intervals 3, 3.5, 2.75.
        let forecast = |rule: Option<PointForecast>| rule.unwrap().point[0];
        assert_eq!(forecast(Croston::run(&[0.5], &HISTORY, 1, 1)), 3.5 / 2.75);
        assert_eq!(forecast(Sba::run(&[0.5], &HISTORY, 1, 1)), 0.75 * 3.5 / 2.75);
        let (mut chance, mut size) = (0.3, 4.0);
        for y in HISTORY {
            if y > 0.0 {
                size += 0.5 * (y - size);
                chance += 0.1 * (1.0 - chance);
            } else {
                chance *= 0.9;
            }
        }
        assert!((forecast(Tsb::run(&[0.5, 0.1], &HISTORY, 1, 1)) - chance * size).abs() < 1e-12);
    }

    #[test]
    fn without_demand_or_with_returns_there_is_no_rule() {
        assert!(Croston::run(&[0.1], &[0.0; 9], 1, 1).is_none());
        assert!(Tsb::run(&[0.1, 0.1], &[1.0, -1.0], 1, 1).is_none());
        assert!(Tsb::choose(&[0.0; 9], 1).is_none());
    }
}
