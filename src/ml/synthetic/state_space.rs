//! Simulated exponential smoothing (Hyndman et al. 2008) and ARIMA processes (Box and Jenkins 1970).

use crate::ml::rng::Rng;
use crate::ml::synthetic::grid::Grid;

/// The season in whole steps, 1 without any.
fn whole_season(rng: &mut Rng, grid: &Grid) -> usize {
    match grid.seasons.len() {
        0 => 1,
        n => (grid.seasons[rng.below(n)].round() as usize).clamp(1, grid.len.max(1)),
    }
}

/// Level, damped slope and season that follow their own shocks.
pub(super) fn exponential_smoothing(rng: &mut Rng, grid: &Grid) -> Vec<f64> {
    let m = whole_season(rng, grid);
    let seasonal = m > 1 && rng.chance(0.85);
    let trended = rng.chance(0.6);
    let alpha = rng.uniform().powf(1.5).max(0.01);
    let beta = if trended { alpha * rng.uniform().powi(3) * 0.5 } else { 0.0 };
    let gamma = if seasonal { (1.0 - alpha) * rng.uniform().powi(3) * 0.5 } else { 0.0 };
    let damping = if rng.chance(0.5) { rng.range(0.8, 0.99) } else { 1.0 };
    let sigma = 10f64.powf(rng.range(-2.0, -0.1));
    let mut level = 0.0;
    let mut slope = if trended { rng.normal() * rng.range(0.5, 3.0) / grid.len.max(1) as f64 } else { 0.0 };
    let size = if seasonal { rng.range(0.1, 1.2) } else { 0.0 };
    let mut places: Vec<f64> = (0..m).map(|_| size * rng.normal()).collect();
    let mut path = Vec::with_capacity(grid.len);
    for t in 0..grid.len {
        let shock = sigma * rng.normal();
        let place = &mut places[t % m];
        path.push(level + damping * slope + *place + shock);
        level += damping * slope + alpha * shock;
        slope = damping * slope + beta * shock;
        *place += gamma * shock;
    }
    path
}

/// ARIMA with at most two autoregressive, two moving-average and one seasonal term, differenced at most once each.
pub(super) fn arima(rng: &mut Rng, grid: &Grid) -> Vec<f64> {
    let m = whole_season(rng, grid);
    let partial = [rng.range(-0.3, 0.97), if rng.chance(0.5) { rng.range(-0.7, 0.7) } else { 0.0 }];
    // Partial autocorrelations within the unit interval make a stationary process.
    let ar = [partial[0] * (1.0 - partial[1]), partial[1]];
    let ma = [
        if rng.chance(0.5) { rng.range(-0.9, 0.6) } else { 0.0 },
        if rng.chance(0.3) { rng.range(-0.5, 0.5) } else { 0.0 },
    ];
    let seasonal = if m > 1 { rng.range(0.0, 0.95) } else { 0.0 };
    let warm_up = 60.min(2 * m + 20);
    let n = grid.len + warm_up;
    let shocks: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
    let mut inner = vec![0.0; n];
    for t in 0..n {
        let back = |values: &[f64], lag: usize| t.checked_sub(lag).map_or(0.0, |i| values[i]);
        inner[t] = shocks[t]
            + ar[0] * back(&inner, 1)
            + ar[1] * back(&inner, 2)
            + ma[0] * back(&shocks, 1)
            + ma[1] * back(&shocks, 2);
    }
    let differenced = m > 1 && rng.chance(0.5);
    let keep = if differenced { 1.0 } else { seasonal };
    for t in m..n {
        if m > 1 {
            inner[t] = inner[t] * (1.0 - keep * 0.7) + keep * inner[t - m];
        }
    }
    if rng.chance(0.5) {
        let drift = if rng.chance(0.3) { rng.normal() * 0.1 } else { 0.0 };
        for t in 1..n {
            inner[t] += inner[t - 1] + drift;
        }
    }
    inner.split_off(warm_up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::synthetic::grid::tests::{autocorrelation, mean_of, months};

    #[test]
    fn what_was_a_step_and_a_season_ago_is_remembered() {
        for process in [exponential_smoothing, arima] {
            let of = |lag| mean_of(|rng| process(rng, &months()), |path| autocorrelation(path, lag));
            let (next, season, half) = (of(1), of(12), of(6));
            assert!(next > 0.25 && season > half + 0.1, "{next} {season} {half}");
        }
        let none = Grid { seasons: vec![], ..months() };
        let of = |lag| mean_of(|rng| arima(rng, &none), |path| autocorrelation(path, lag));
        assert!(of(12) < of(6));
    }
}
