//! Trend, seasons and noise, put together.

use crate::ml::rng::Rng;
use crate::ml::synthetic::grid::Grid;
use crate::ml::synthetic::paths::{add, noise, season, trend, walk};

/// A path of trend, seasons and walk with its noise.
pub(super) fn trend_season(rng: &mut Rng, grid: &Grid) -> Vec<f64> {
    let mut path = vec![0.0; grid.len];
    for period in &grid.seasons {
        let share = rng.range(0.2, 1.6);
        let season = season(rng, grid.len, *period);
        if rng.chance(0.3) {
            // Larger at some places of the longer season, as hours on working days.
            path.iter_mut().zip(&season).for_each(|(x, s)| *x *= 1.0 + share * s);
        }
        add(&mut path, &season, share);
    }
    if rng.chance(0.6) {
        let share = rng.range(0.1, 2.0);
        add(&mut path, &trend(rng, grid.len), share);
    }
    if rng.chance(0.5) {
        let share = rng.range(0.1, 1.2);
        add(&mut path, &walk(rng, grid.len), share);
    }
    if rng.chance(0.88) {
        let share = 10f64.powf(rng.range(-1.7, 0.0));
        add(&mut path, &noise(rng, grid.len), share);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::synthetic::grid::tests::{autocorrelation, mean_of, months};

    #[test]
    fn seasons_repeat_and_paths_without_any_do_not() {
        let of = |grid: &Grid, lag| mean_of(|rng| trend_season(rng, grid), |path| autocorrelation(path, lag));
        let none = Grid { seasons: vec![], ..months() };
        assert!(of(&months(), 12) > of(&months(), 6) + 0.2);
        assert!(of(&none, 12) < of(&none, 6));
    }
}
