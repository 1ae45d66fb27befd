//! Paths that processes are put together from.

use std::f64::consts::TAU;

use crate::ml::rng::Rng;

/// The path shifted and divided to mean 0 and deviation 1; a flat one to zeros.
pub(super) fn standardised(mut path: Vec<f64>) -> Vec<f64> {
    let n = path.len().max(1) as f64;
    let mean = path.iter().sum::<f64>() / n;
    let variance = path.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
    let inverse = if variance > 1e-18 { 1.0 / variance.sqrt() } else { 0.0 };
    path.iter_mut().for_each(|x| *x = (*x - mean) * inverse);
    path
}

/// Adds `share` times a path.
pub(super) fn add(to: &mut [f64], path: &[f64], share: f64) {
    to.iter_mut().zip(path).for_each(|(x, y)| *x += share * y);
}

/// Adds a wave of this frequency, in radians a step, by turning a vector.
pub(super) fn add_wave(to: &mut [f64], frequency: f64, phase: f64, amplitude: f64) {
    let (turn_sin, turn_cos) = frequency.sin_cos();
    let (mut sin, mut cos) = phase.sin_cos();
    for x in to.iter_mut() {
        *x += amplitude * sin;
        (sin, cos) = (sin * turn_cos + cos * turn_sin, cos * turn_cos - sin * turn_sin);
    }
}

/// A season: a smooth one of some harmonics, or a profile of steps of its own; deviation 1.
pub(super) fn season(rng: &mut Rng, len: usize, period: f64) -> Vec<f64> {
    let mut path = vec![0.0; len];
    let start = rng.uniform() * period;
    if period <= 60.0 && rng.chance(0.55) {
        let steps = period.round().max(1.0) as usize;
        let spiky = rng.chance(0.3);
        let mut height = |_| match (spiky, spiky && rng.chance(0.2)) {
            (true, true) => 3.0 * rng.normal().abs(),
            (true, false) => 0.25 * rng.normal(),
            _ => rng.normal(),
        };
        let profile: Vec<f64> = (0..steps).map(&mut height).collect();
        for (t, x) in path.iter_mut().enumerate() {
            let place = ((t as f64 + start) % period) / period * steps as f64;
            *x = profile[(place as usize) % steps];
        }
    } else {
        let harmonics = 1 + rng.below((period / 2.0).clamp(1.0, 6.0) as usize);
        for h in 1..=harmonics {
            let amplitude = rng.normal() / (h as f64).powf(0.8);
            add_wave(&mut path, TAU * h as f64 / period, rng.uniform() * TAU, amplitude);
        }
    }
    let mut path = standardised(path);
    if rng.chance(0.2) {
        // It grows or fades.
        let growth = rng.range(-0.9, 0.9);
        path.iter_mut().enumerate().for_each(|(t, x)| *x *= 1.0 + growth * (t as f64 / len as f64 - 0.5));
    }
    path
}

/// A trend, of size about 1 over the whole length.
pub(super) fn trend(rng: &mut Rng, len: usize) -> Vec<f64> {
    let at = |t: usize| t as f64 / len.max(1) as f64;
    let size = rng.normal() * 1.5;
    match rng.below(5) {
        0 => (0..len).map(|t| 2.0 * size * at(t)).collect(),
        1 => {
            let (mut level, mut slope) = (0.0, size);
            let bends = rng.range(1.0, 4.0) / len.max(1) as f64;
            let mut step = |_| {
                if rng.chance(bends) {
                    slope = rng.normal() * 2.0;
                }
                level += slope * 3.0 / len.max(1) as f64;
                level
            };
            (0..len).map(&mut step).collect()
        }
        2 => {
            let rate = rng.range(0.5, 4.0);
            (0..len).map(|t| size * ((rate * at(t)).exp() - 1.0) / (rate.exp() - 1.0)).collect()
        }
        3 => {
            let (middle, rate) = (rng.range(0.1, 0.9), rng.range(4.0, 30.0));
            (0..len).map(|t| size / (1.0 + (-rate * (at(t) - middle)).exp())).collect()
        }
        _ => {
            // Damped: most of it early.
            let rate = rng.range(1.0, 8.0);
            (0..len).map(|t| size * (1.0 - (-rate * at(t)).exp())).collect()
        }
    }
}

/// An autoregression of the first order, or a smooth walk; deviation 1.
pub(super) fn walk(rng: &mut Rng, len: usize) -> Vec<f64> {
    let keep = if rng.chance(0.4) { 1.0 } else { rng.range(0.7, 0.999) };
    let smooth = rng.chance(0.3);
    let (mut level, mut slope) = (0.0, 0.0);
    let mut step = |_| {
        let shock = rng.normal();
        slope = if smooth { 0.95 * slope + 0.05 * shock } else { shock };
        level = keep * level + slope;
        level
    };
    standardised((0..len).map(&mut step).collect())
}

/// Noise: white or autocorrelated, of constant or changing size, now and then with heavy tails; deviation about 1.
pub(super) fn noise(rng: &mut Rng, len: usize) -> Vec<f64> {
    let keep = if rng.chance(0.3) { rng.range(-0.4, 0.9) } else { 0.0 };
    let (calm, heavy) = (1.0 - keep * keep, rng.chance(0.15));
    let clusters = rng.chance(0.15).then(|| walk(rng, len));
    let mut last = 0.0;
    let mut path = Vec::with_capacity(len);
    for t in 0..len {
        let tail = if heavy { 1.0 / (rng.gamma(2.0, 0.5)).sqrt().max(0.15) } else { 1.0 };
        let size = clusters.as_ref().map_or(1.0, |c| (0.6 * c[t]).exp());
        last = keep * last + calm.sqrt() * rng.normal() * tail * size;
        path.push(last);
    }
    path
}
