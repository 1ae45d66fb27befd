//! Sample paths of forecasts: what may come true, step by step, in the shares that the quantiles tell.

use crate::ml::evaluation::dependence::Dependence;
use crate::ml::evaluation::levels::{WIDTH, at_score};
use crate::ml::rng::Rng;

/// How paths are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathOptions {
    /// Number of paths.
    pub count: usize,
    /// The paths of a series depend on this, on its key and on its quantiles, and on nothing else.
    pub seed: u64,
}

/// Normal scores of the steps of a path that fade and share by `dependence`.
fn process(rng: &mut Rng, dependence: &Dependence, horizon: usize, mut each: impl FnMut(usize, f64)) {
    let (shared, mut fading) = (rng.normal(), rng.normal());
    let (window, step) = (dependence.window, dependence.step);
    for t in 0..horizon {
        each(t, window.sqrt() * shared + (1.0 - window).sqrt() * fading);
        fading = step * fading + (1.0 - step * step).sqrt() * rng.normal();
    }
}

/// Appends paths `[count, horizon]` of a series by its quantiles at all levels, `[horizon, WIDTH]`.
///
/// Every other path mirrors the one before it, so that the middle of few paths is where it should be.
pub fn draw(quantiles: &[f64], key: &str, dependence: &Dependence, options: PathOptions, out: &mut Vec<f64>) {
    let horizon = quantiles.len() / WIDTH;
    let common = Rng::new(options.seed).fork("all series");
    let own = Rng::new(options.seed).fork("series").fork(key);
    let mut scores = vec![0.0; horizon];
    for path in 0..options.count {
        if path % 2 == 0 {
            let pair = (path / 2) as u64;
            let (mine, all) = ((1.0 - dependence.series).sqrt(), dependence.series.sqrt());
            process(&mut own.stream(pair), dependence, horizon, |t, z| scores[t] = mine * z);
            if all > 0.0 {
                process(&mut common.stream(pair), dependence, horizon, |t, z| scores[t] += all * z);
            }
        } else {
            scores.iter_mut().for_each(|z| *z = -*z);
        }
        out.extend(quantiles.chunks_exact(WIDTH).zip(&scores).map(|(row, z)| at_score(row, *z)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::evaluation::levels::{LEVELS, normal_score};

    /// Sums of normal steps have the variance that their correlations give.
    #[test]
    fn paths_have_the_quantiles_and_sums_the_variance() {
        let horizon = 6;
        let row = LEVELS.map(|level| 100.0 + 10.0 * normal_score(level));
        let quantiles: Vec<f64> = row.iter().copied().cycle().take(horizon * WIDTH).collect();
        let dependence = Dependence { step: 0.5, window: 0.2, series: 0.3 };
        let options = PathOptions { count: 20_000, seed: 3 };
        let mut paths = Vec::new();
        draw(&quantiles, "a", &dependence, options, &mut paths);
        let mut last: Vec<f64> = paths.chunks_exact(horizon).map(|path| path[horizon - 1]).collect();
        last.sort_unstable_by(f64::total_cmp);
        assert!((last[2_000] - (100.0 - 12.8)).abs() < 0.5 && (last[18_000] - 112.8).abs() < 0.5);
        let sums: Vec<f64> =
            paths.chunks_exact(horizon).map(|path| path.iter().sum::<f64>() - 600.0).collect();
        let variance = sums.iter().map(|s| s * s).sum::<f64>() / sums.len() as f64;
        let correlation = |k: usize| 0.2 + 0.8 * 0.5f64.powi(k as i32);
        let expected: f64 =
            (0..6).flat_map(|i: usize| (0..6).map(move |j: usize| 100.0 * correlation(i.abs_diff(j)))).sum();
        assert!((variance / expected - 1.0).abs() < 0.06, "{variance} and {expected}");
        let mut others = Vec::new();
        draw(&quantiles, "b", &dependence, options, &mut others);
        let pairs = paths.chunks_exact(horizon).zip(others.chunks_exact(horizon));
        let across = pairs.map(|(a, b)| (a[2] - 100.0) * (b[2] - 100.0)).sum::<f64>() / 20_000.0;
        assert!((across / 100.0 - 0.3).abs() < 0.05, "{across}");
        let mut again = Vec::new();
        draw(&quantiles, "a", &dependence, PathOptions { count: 10, seed: 3 }, &mut again);
        assert_eq!(again, paths[..60]);
    }
}
