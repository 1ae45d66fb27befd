//! Draws of Gaussian processes whose kernels are put together at random, as KernelSynth has it (Ansari et al. 2024,
//! "Chronos"), through random Fourier features (Rahimi and Recht 2007) instead of a factorised covariance.

use std::f64::consts::TAU;

use crate::ml::rng::Rng;
use crate::ml::synthetic::grid::Grid;
use crate::ml::synthetic::paths::{add, add_wave, standardised};

const FEATURES: usize = 14;

/// Up to five kernels, added or multiplied.
pub(super) fn gaussian_process(rng: &mut Rng, grid: &Grid) -> Vec<f64> {
    let mut path = draw(rng, grid);
    for _ in 0..rng.below(5) {
        let other = draw(rng, grid);
        if rng.chance(0.65) {
            let share = rng.range(0.3, 1.2);
            add(&mut path, &other, share);
        } else {
            path.iter_mut().zip(&other).for_each(|(x, y)| *x *= y);
            path = standardised(path);
        }
    }
    path
}

fn draw(rng: &mut Rng, grid: &Grid) -> Vec<f64> {
    let len = grid.len as f64;
    let period = match grid.seasons.len() {
        0 => rng.range(4.0, (len / 2.0).max(5.0)),
        n => grid.seasons[rng.below(n)],
    };
    let mut path = vec![0.0; grid.len];
    match rng.below(7) {
        // Periodic: harmonics whose sizes fall.
        0..=2 => {
            let rough = rng.range(0.3, 1.5);
            let most = (period / 2.0).clamp(1.0, 10.0) as usize;
            for h in 1..=most {
                let size = rng.normal() * (-rough * (h as f64 - 1.0)).exp();
                add_wave(&mut path, TAU * h as f64 / period, rng.uniform() * TAU, size);
            }
        }
        // Squared exponential.
        3 | 4 => {
            let scale = len * 10f64.powf(rng.range(-1.6, 0.2));
            for _ in 0..FEATURES {
                let (frequency, phase) = (rng.normal() / scale, rng.uniform() * TAU);
                add_wave(&mut path, frequency, phase, 1.0);
            }
        }
        // Rational quadratic: a mixture of scales.
        5 => {
            let scale = len * 10f64.powf(rng.range(-1.6, 0.2));
            for _ in 0..FEATURES {
                let spread = rng.gamma(1.0, 1.0).max(1e-3).sqrt();
                let (frequency, phase) = (rng.normal() * spread / scale, rng.uniform() * TAU);
                add_wave(&mut path, frequency, phase, 1.0);
            }
        }
        // Linear, through a random point; or white noise.
        _ => {
            let (start, white) = (rng.uniform() * len, rng.chance(0.5));
            for (t, x) in path.iter_mut().enumerate() {
                *x = if white { rng.normal() } else { t as f64 - start };
            }
        }
    }
    standardised(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::synthetic::grid::tests::{autocorrelation, mean_of, months};

    #[test]
    fn draws_are_smooth_or_seasonal() {
        let of = |lag| mean_of(|rng| gaussian_process(rng, &months()), |path| autocorrelation(path, lag));
        let (next, season, half) = (of(1), of(12), of(6));
        assert!(next > 0.5 && season > half + 0.15, "{next} {season} {half}");
    }
}
