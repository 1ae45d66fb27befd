//! Processes that change: steps, regimes with a mean to return to, spikes, saw teeth.

use std::f64::consts::TAU;

use crate::ml::rng::Rng;
use crate::ml::synthetic::grid::Grid;
use crate::ml::synthetic::paths::{add, add_wave, noise, season};

/// A path with regimes.
pub(super) fn regimes(rng: &mut Rng, grid: &Grid) -> Vec<f64> {
    let mut path = match rng.below(4) {
        0 => steps(rng, grid.len),
        1 => switching(rng, grid.len),
        2 => spikes(rng, grid),
        _ => teeth(rng, grid),
    };
    if let Some(period) = grid.seasons.first().copied().filter(|_| rng.chance(0.6)) {
        let share = rng.range(0.2, 1.2);
        add(&mut path, &season(rng, grid.len, period), share);
    }
    let share = 10f64.powf(rng.range(-2.0, -0.2));
    add(&mut path, &noise(rng, grid.len), share);
    path
}

/// Levels that last.
fn steps(rng: &mut Rng, len: usize) -> Vec<f64> {
    let change = rng.range(1.0, 8.0) / len.max(1) as f64;
    let returns = rng.chance(0.3);
    let (home, mut level) = (rng.normal(), rng.normal());
    let mut step = |_| {
        if rng.chance(change) {
            level = if returns && rng.chance(0.5) { home } else { 1.5 * rng.normal() };
        }
        level
    };
    (0..len).map(&mut step).collect()
}

/// Ornstein and Uhlenbeck's process whose mean, speed and size belong to regimes that follow each other at random.
fn switching(rng: &mut Rng, len: usize) -> Vec<f64> {
    let count = 2 + rng.below(2);
    let mut regimes: Vec<[f64; 3]> = Vec::new();
    for _ in 0..count {
        regimes.push([rng.normal(), rng.range(0.02, 0.6), 10f64.powf(rng.range(-1.5, -0.2))]);
    }
    let change = rng.range(2.0, 15.0) / len.max(1) as f64;
    let (mut regime, mut level) = (0, regimes[0][0]);
    let mut path = Vec::with_capacity(len);
    for _ in 0..len {
        if rng.chance(change) {
            regime = rng.below(count);
        }
        let [mean, speed, size] = regimes[regime];
        level += speed * (mean - level) + size * rng.normal();
        path.push(level);
    }
    path
}

/// A calm level with spikes, regular or at random.
fn spikes(rng: &mut Rng, grid: &Grid) -> Vec<f64> {
    let mut path = vec![0.0; grid.len];
    let every = rng.range(3.0, 60.0);
    let regular = rng.chance(0.5);
    let (size, fade) = (rng.range(1.0, 4.0), rng.range(0.0, 0.8));
    let mut left = rng.uniform() * every;
    let mut height = 0.0;
    for x in &mut path {
        height *= fade;
        left -= 1.0;
        if left <= 0.0 {
            height = size * rng.range(0.7, 1.3);
            left = if regular { every } else { every * rng.exponential() };
        }
        *x = height;
    }
    path
}

/// Ramps that fall back, triangles, or waves of a slowly changing length.
fn teeth(rng: &mut Rng, grid: &Grid) -> Vec<f64> {
    let period = grid.seasons.first().copied().unwrap_or_else(|| rng.range(4.0, 80.0));
    let start = rng.uniform() * period;
    let (up, kind) = (rng.range(0.05, 0.95), rng.below(3));
    if kind == 2 {
        let mut path = vec![0.0; grid.len];
        let length = rng.range(6.0, 100.0);
        for _ in 0..3 {
            add_wave(&mut path, TAU / (length * rng.range(0.9, 1.1)), rng.uniform() * TAU, 0.8);
        }
        return path;
    }
    let height = |t: usize| {
        let place = ((t as f64 + start) % period) / period;
        if kind == 0 || place < up {
            place / if kind == 0 { 1.0 } else { up }
        } else {
            (1.0 - place) / (1.0 - up)
        }
    };
    (0..grid.len).map(|t| 2.0 * height(t) - 1.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::synthetic::grid::tests::{autocorrelation, mean_of, months};

    /// How often a path stays exactly where it is.
    fn still(path: &[f64]) -> f64 {
        path.windows(2).filter(|pair| pair[0] == pair[1]).count() as f64 / path.len() as f64
    }

    #[test]
    fn levels_last_regimes_return_spikes_stand_out_and_teeth_repeat() {
        let months = months();
        let levels = mean_of(|rng| steps(rng, 144), still);
        assert!((0.9..0.999).contains(&levels), "{levels}");
        let returns = mean_of(|rng| switching(rng, 144), |path| autocorrelation(path, 1));
        assert!((0.5..0.97).contains(&returns), "{returns}");
        let height = |path: &[f64]| {
            let mean = path.iter().sum::<f64>() / path.len() as f64;
            path.iter().copied().fold(f64::MIN, f64::max) / mean.max(1e-12)
        };
        assert!(mean_of(|rng| spikes(rng, &months), height) > 4.0);
        let (season, half) =
            [12, 6].map(|lag| mean_of(|rng| teeth(rng, &months), |path| autocorrelation(path, lag))).into();
        assert!(season > half + 0.5, "{season} {half}");
        assert!(mean_of(|rng| regimes(rng, &months), still) < 0.05);
    }
}
