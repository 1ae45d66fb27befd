//! How a path is seen: on a scale, as amounts, as counts, rounded, with outliers.

use crate::ml::rng::Rng;
use crate::ml::synthetic::paths::standardised;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Measure {
    /// Any number.
    Plain,
    /// A positive amount whose changes are relative.
    Amount,
    /// Whole numbers from 0 on.
    Count,
}

impl Measure {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        match rng.below(20) {
            0..=7 => Self::Plain,
            8..=13 => Self::Amount,
            _ => Self::Count,
        }
    }
}

/// The path as it is measured; its own deviation is lost where it is an amount or a count.
pub(super) fn observe(rng: &mut Rng, path: Vec<f64>, measure: Measure) -> Vec<f64> {
    let mut path = match measure {
        Measure::Plain => plain(rng, path),
        Measure::Amount => {
            let size = rng.range(0.05, 0.9);
            relative(path, size)
        }
        Measure::Count => {
            let size = rng.range(0.1, 0.9);
            let rates = relative(path, size);
            counts(rng, &rates)
        }
    };
    if rng.chance(0.06) {
        outliers(rng, &mut path);
    }
    if rng.chance(0.1) {
        round(rng, &mut path);
    }
    path
}

fn plain(rng: &mut Rng, mut path: Vec<f64>) -> Vec<f64> {
    let sign = if rng.chance(0.2) { -1.0 } else { 1.0 };
    let base = if rng.chance(0.5) { rng.range(0.0, 20.0) } else { 0.0 };
    path.iter_mut().for_each(|x| *x = sign * *x + base);
    path
}

/// Positive values around 1 whose logarithm has this deviation.
pub(super) fn relative(path: Vec<f64>, size: f64) -> Vec<f64> {
    let mut path = standardised(path);
    path.iter_mut().for_each(|x| *x = (size * x.clamp(-6.0, 5.0)).exp());
    path
}

/// Counts with these rates times a level, now and then more spread than Poisson's, or with days that sell nothing.
pub(super) fn counts(rng: &mut Rng, rates: &[f64]) -> Vec<f64> {
    let level = 10f64.powf(rng.range(-0.7, 3.0));
    let dispersion = if rng.chance(0.5) { 0.0 } else { rng.range(0.01, 0.8) };
    let nothing = if rng.chance(0.15) { rng.range(0.02, 0.4) } else { 0.0 };
    let mut count = |rate: &f64| {
        let mean = (level * rate).min(1e6);
        if nothing > 0.0 && rng.chance(nothing) {
            0.0
        } else if dispersion > 0.0 {
            rng.negative_binomial(mean, dispersion) as f64
        } else {
            rng.poisson(mean) as f64
        }
    };
    rates.iter().map(&mut count).collect()
}

fn outliers(rng: &mut Rng, path: &mut [f64]) {
    let share = rng.range(0.002, 0.02);
    let mean = path.iter().sum::<f64>() / path.len().max(1) as f64;
    let deviation =
        (path.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / path.len().max(1) as f64).sqrt();
    for x in path.iter_mut() {
        if rng.chance(share) {
            *x += (rng.normal() * 4.0 * deviation).max(-x.abs());
        }
    }
}

/// To one of some tens of steps between the least and the largest value.
fn round(rng: &mut Rng, path: &mut [f64]) {
    let least = path.iter().copied().fold(f64::MAX, f64::min);
    let most = path.iter().copied().fold(f64::MIN, f64::max);
    let step = (most - least) / rng.range(3.0, 60.0);
    if step > 0.0 {
        path.iter_mut().for_each(|x| *x = least + ((*x - least) / step).round() * step);
    }
}
