//! Demand that comes now and then (Croston 1972): counts with many zeros.

use crate::ml::rng::Rng;
use crate::ml::synthetic::grid::Grid;
use crate::ml::synthetic::paths::{add, season, trend, walk};

/// Counts whose rate may have seasons and a trend.
pub(super) fn intermittent(rng: &mut Rng, grid: &Grid) -> Vec<f64> {
    let mut shape = vec![0.0; grid.len];
    if let Some(period) = grid.seasons.first().copied().filter(|_| rng.chance(0.5)) {
        let share = rng.range(0.1, 0.8);
        add(&mut shape, &season(rng, grid.len, period), share);
    }
    if rng.chance(0.4) {
        let share = rng.range(0.1, 0.8);
        add(&mut shape, &trend(rng, grid.len), share);
    }
    if rng.chance(0.3) {
        let share = rng.range(0.1, 0.7);
        add(&mut shape, &walk(rng, grid.len), share);
    }
    demand(rng, grid, &shape)
}

/// Counts whose rate follows a shape, the logarithm of its change, from a launch to an end.
pub(super) fn demand(rng: &mut Rng, grid: &Grid, shape: &[f64]) -> Vec<f64> {
    let chance = 10f64.powf(rng.range(-1.7, -0.05));
    let size = if rng.chance(0.4) { 0.0 } else { 10f64.powf(rng.range(-1.0, 1.5)) };
    let dispersion = if rng.chance(0.5) { 0.0 } else { rng.range(0.05, 2.0) };
    let sticky = if rng.chance(0.25) { rng.range(0.2, 0.8) } else { 0.0 };
    let launch = if rng.chance(0.2) { rng.below(grid.history.max(1)) } else { 0 };
    let end = if rng.chance(0.06) { launch + rng.below(grid.len) } else { grid.len };
    let lot = if rng.chance(0.15) { 1.0 + rng.below(12) as f64 } else { 1.0 };
    let mut came = false;
    let mut path = vec![0.0; grid.len];
    for (t, x) in path.iter_mut().enumerate() {
        let rate = (chance * shape[t].clamp(-3.0, 2.0).exp()).min(1.0);
        let again = if came { rate + sticky * (1.0 - rate) } else { rate };
        came = t >= launch && t < end && rng.chance(again);
        if came {
            let more =
                if dispersion > 0.0 { rng.negative_binomial(size, dispersion) } else { rng.poisson(size) };
            *x = lot * (1 + more) as f64;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::synthetic::grid::tests::{mean_of, months};

    #[test]
    fn demand_is_counted_and_comes_now_and_then() {
        let zeros = |path: &[f64]| {
            assert!(path.iter().all(|x| *x >= 0.0 && x.fract() == 0.0), "{path:?}");
            path.iter().filter(|x| **x == 0.0).count() as f64 / path.len() as f64
        };
        let share = mean_of(|rng| intermittent(rng, &months()), zeros);
        assert!((0.5..0.9).contains(&share), "{share}");
        let sells =
            mean_of(|rng| intermittent(rng, &months()), |path| f64::from(path.iter().any(|x| *x > 0.0)));
        assert!(sells > 0.9, "{sells}");
    }
}
