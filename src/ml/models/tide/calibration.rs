//! Conformal shifts of the quantiles (Romano, Patterson and Candès 2019), one per level.

use crate::ml::forecaster::Forecast;
use crate::ml::models::tide::quantiles::MEDIAN;

/// Fewest validation points that may move a quantile.
const POINTS_MIN: usize = 30;

/// Shifts by which a share `u` of the actuals lies at or below the quantile of level `u`, with the
/// `n + 1` correction away from the median, in units of the spread between the outermost quantiles.
///
/// `actual` is `[series, horizon]`, NaN where there is none. The median keeps its place.
pub(super) fn shifts(forecast: &Forecast, actual: &[f64]) -> Vec<f64> {
    let width = forecast.quantile_levels.len();
    let mut scores: Vec<Vec<f64>> = vec![Vec::new(); width];
    for (row, y) in forecast.quantiles.chunks_exact(width.max(1)).zip(actual) {
        let spread = row[width - 1] - row[0];
        if y.is_finite() && spread > 0.0 {
            scores.iter_mut().zip(row).for_each(|(scores, q)| scores.push((y - q) / spread));
        }
    }
    let levels = forecast.quantile_levels.iter();
    scores.into_iter().zip(levels).map(|(scores, level)| shift(scores, *level)).collect()
}

/// The actuals of every other series from the first on, and those of the rest; NaN in the place of others.
pub(super) fn halves(actual: &[f64], horizon: usize) -> [Vec<f64>; 2] {
    let half = |parity: usize| {
        let values = actual.iter().enumerate();
        values.map(|(i, y)| if i / horizon % 2 == parity { *y } else { f64::NAN }).collect()
    };
    [half(0), half(1)]
}

/// Every other series of `even` from the first on, between those of `odd`.
pub(super) fn interleaved(even: Forecast, odd: &Forecast) -> Forecast {
    let mut mixed = even;
    let width = mixed.horizon * mixed.quantile_levels.len();
    let series = mixed.quantiles.chunks_exact_mut(width.max(1)).zip(odd.quantiles.chunks_exact(width.max(1)));
    series.skip(1).step_by(2).for_each(|(to, from)| to.copy_from_slice(from));
    mixed
}

fn shift(mut scores: Vec<f64>, level: f64) -> f64 {
    let n = scores.len();
    if n < POINTS_MIN || (level - MEDIAN).abs() < 1e-9 {
        return 0.0;
    }
    scores.sort_by(f64::total_cmp);
    let rank = (n + 1) as f64 * level;
    let rank = if level > MEDIAN { rank.ceil() } else { rank.floor() };
    scores[(rank as usize).clamp(1, n) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifted_quantiles_cover_their_share() {
        let n = 999;
        let quantiles: Vec<f64> = (0..n).flat_map(|_| [-1.0, 0.0, 1.0]).collect();
        let forecast = Forecast {
            horizon: 1,
            quantile_levels: vec![0.05, 0.5, 0.95],
            point: vec![0.0; n],
            quantiles,
            status: vec![None; n],
        };
        let actual: Vec<f64> = (0..n).map(|i| (i as f64 - 499.0) / 100.0).collect();
        let shifts = shifts(&forecast, &actual);
        let inside =
            actual.iter().filter(|y| **y >= -1.0 + 2.0 * shifts[0] && **y <= 1.0 + 2.0 * shifts[2]).count();
        assert!((899..=902).contains(&inside), "{inside}");
        assert_eq!(shifts[1], 0.0);
    }

    #[test]
    fn halves_are_the_series_by_turns() {
        let [first, second] = halves(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2);
        assert_eq!(first.iter().map(|y| *y as i64).collect::<Vec<_>>(), [1, 2, 0, 0, 5, 6]);
        assert!(second[0].is_nan() && second[2] == 3.0 && second[5].is_nan());
        let forecast = |q: f64| Forecast {
            horizon: 2,
            quantile_levels: vec![0.5],
            point: vec![0.0; 6],
            quantiles: vec![q; 6],
            status: vec![None; 3],
        };
        assert_eq!(interleaved(forecast(1.0), &forecast(2.0)).quantiles, [1.0, 1.0, 2.0, 2.0, 1.0, 1.0]);
    }

    #[test]
    fn few_points_move_nothing() {
        assert_eq!(shift(vec![5.0; 29], 0.9), 0.0);
    }
}
