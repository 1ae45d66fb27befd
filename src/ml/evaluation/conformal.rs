//! Conformal calibration of quantiles on held-out windows (Romano, Patterson and Candès 2019).
//!
//! Every level is moved by a share of the spread of its row, such that on the windows a share `u` of the actuals
//! lay at or below the quantile of level `u`, with the `n + 1` correction away from the median. Groups of series
//! and parts of the horizon have shifts of their own where they have enough points. The median keeps its place.

use serde::{Deserialize, Serialize};

use crate::ml::evaluation::levels::{LEVELS, MIDDLE, WIDTH};
use crate::ml::evaluation::residuals::conformal_place;
use crate::ml::forecaster::Forecast;

/// Fewest points that may move a quantile.
const POINTS_MIN: usize = 30;
/// Fewest points for shifts of a group of series, or of a part of the horizon.
const GROUP_POINTS_MIN: usize = 500;
/// Parts of the horizon: up to these shares of it.
const PARTS: [f64; 3] = [0.25, 0.5, 1.0];
/// The levels whose distance is the spread of a row.
const SPREAD: (usize, usize) = (2, WIDTH - 3);
/// Errors beyond so many spreads count as that many.
const SCORE_MAX: f64 = 10.0;

/// Shifts of the quantiles.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Steps of the windows it was learnt on.
    horizon: usize,
    /// By group and part of the horizon, in shares of the spread; empty before anything is learnt.
    shifts: Vec<Vec<f64>>,
}

impl Calibration {
    /// Learns from forecasts at [`LEVELS`]; `actual` is `[series, horizon]` with NaN where nothing is to be
    /// learnt, `groups` one number below `group_count` a series.
    pub fn fit(forecasts: &[(&Forecast, &[f64])], groups: &[usize], group_count: usize) -> Self {
        let horizon = forecasts.first().map_or(0, |(forecast, _)| forecast.horizon);
        let cells = group_count.max(1) * PARTS.len();
        let mut scores: Vec<Vec<Vec<f64>>> = vec![vec![Vec::new(); WIDTH]; cells];
        for (forecast, actual) in forecasts {
            for (at, (row, y)) in forecast.quantiles.chunks_exact(WIDTH).zip(*actual).enumerate() {
                let spread = row[SPREAD.1] - row[SPREAD.0];
                if y.is_finite() && spread > 0.0 {
                    let (series, step) = (at / horizon, at % horizon);
                    let group = groups.get(series).copied().unwrap_or(0);
                    let cell = &mut scores[group * PARTS.len() + part(step, horizon)];
                    let score = |q: &f64| ((y - q) / spread).clamp(-SCORE_MAX, SCORE_MAX);
                    cell.iter_mut().zip(row).for_each(|(scores, q)| scores.push(score(q)));
                }
            }
        }
        Self { horizon, shifts: pooled_shifts(&mut scores) }
    }

    /// Moves the quantiles of a forecast and sorts each row.
    pub fn apply(&self, forecast: &mut Forecast, groups: &[usize]) {
        if self.shifts.is_empty() || forecast.horizon == 0 {
            return;
        }
        let horizon = forecast.horizon;
        for (at, row) in forecast.quantiles.chunks_exact_mut(WIDTH).enumerate() {
            let group = groups.get(at / horizon).copied().unwrap_or(0);
            let cell = group * PARTS.len() + part(at % horizon, self.horizon);
            let spread = row[SPREAD.1] - row[SPREAD.0];
            let shifts = self.shifts.get(cell).unwrap_or(&self.shifts[0]);
            let median = row[MIDDLE];
            row.iter_mut().zip(shifts).for_each(|(q, shift)| *q += shift * spread);
            // Neither side crosses the median, which stays.
            row[..MIDDLE].iter_mut().for_each(|q| *q = q.min(median));
            row[MIDDLE + 1..].iter_mut().for_each(|q| *q = q.max(median));
            row.sort_unstable_by(f64::total_cmp);
        }
    }

    /// True when every number is finite and every list as long as it must be.
    pub fn is_sound(&self) -> bool {
        let sound = |shifts: &Vec<f64>| shifts.len() == WIDTH && shifts.iter().all(|v| v.is_finite());
        self.shifts.iter().all(sound) && (self.horizon > 0 || self.shifts.is_empty())
    }
}

/// The part of the horizon that a step lies in; steps beyond it lie in the last one.
fn part(step: usize, horizon: usize) -> usize {
    let share = (step + 1) as f64 / horizon.max(1) as f64;
    PARTS.iter().position(|end| share <= *end).unwrap_or(PARTS.len() - 1)
}

/// The shifts of every cell: its own where it has points enough, else those of its group, else of all.
fn pooled_shifts(scores: &mut [Vec<Vec<f64>>]) -> Vec<Vec<f64>> {
    let pool = |cells: &[Vec<Vec<f64>>]| -> Vec<Vec<f64>> {
        (0..WIDTH).map(|level| cells.iter().flat_map(|cell| cell[level].iter().copied()).collect()).collect()
    };
    let points = |cell: &[Vec<f64>]| cell.first().map_or(0, Vec::len);
    let mut all = pool(scores);
    if points(&all) < POINTS_MIN {
        return Vec::new();
    }
    let all = shifts(&mut all);
    let mut out = Vec::with_capacity(scores.len());
    for group in scores.chunks_exact_mut(PARTS.len()) {
        let mut together = pool(group);
        let own = if points(&together) >= GROUP_POINTS_MIN { shifts(&mut together) } else { all.clone() };
        for cell in group {
            out.push(if points(cell) >= GROUP_POINTS_MIN { shifts(cell) } else { own.clone() });
        }
    }
    out
}

fn shifts(scores: &mut [Vec<f64>]) -> Vec<f64> {
    let mut out = vec![0.0; WIDTH];
    for (at, scores) in scores.iter_mut().enumerate().filter(|(at, _)| *at != MIDDLE) {
        if let Some(place) = conformal_place(scores.len(), LEVELS[at]) {
            out[at] = *scores.select_nth_unstable_by(place, f64::total_cmp).1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::rng::Rng;

    /// Normal actuals around 0 with a deviation of 1 + step, and quantiles that all take it for 1.
    fn overconfident(rng: &mut Rng, series: usize, horizon: usize) -> (Forecast, Vec<f64>) {
        let normal = [
            -2.576, -2.326, -1.960, -1.645, -1.282, -1.036, -0.842, -0.674, -0.524, -0.253, 0.0, 0.253,
            0.524, 0.674, 0.842, 1.036, 1.282, 1.645, 1.960, 2.326, 2.576,
        ];
        let quantiles = (0..series * horizon).flat_map(|_| normal).collect();
        let actual = (0..series * horizon).map(|at| rng.normal() * (1.0 + (at % horizon) as f64)).collect();
        let forecast = Forecast {
            horizon,
            quantile_levels: LEVELS.to_vec(),
            point: vec![0.0; series * horizon],
            quantiles,
            status: vec![None; series],
            ..Forecast::default()
        };
        (forecast, actual)
    }

    #[test]
    fn intervals_cover_their_share_in_every_part_of_the_horizon() {
        let mut rng = Rng::new(3);
        let (horizon, groups) = (4, vec![0; 8000]);
        let (forecast, actual) = overconfident(&mut rng, 8000, horizon);
        let calibration = Calibration::fit(&[(&forecast, &actual)], &groups, 1);
        assert!(calibration.is_sound());
        let (mut forecast, actual) = overconfident(&mut rng, 8000, horizon);
        calibration.apply(&mut forecast, &groups);
        for step in [0, 1] {
            let rows = forecast.quantiles.chunks_exact(WIDTH).zip(&actual).skip(step).step_by(horizon);
            let inside = rows.filter(|(row, y)| row[4] <= **y && **y <= row[16]).count();
            assert!((6240..6560).contains(&inside), "{inside} of 8000 at step {step}");
        }
        let sorted = |row: &[f64]| row.windows(2).all(|pair| pair[0] <= pair[1]) && row[MIDDLE] == 0.0;
        assert!(forecast.quantiles.chunks_exact(WIDTH).all(sorted));
    }

    #[test]
    fn few_points_move_nothing() {
        let (mut forecast, actual) = overconfident(&mut Rng::new(1), 7, 4);
        let calibration = Calibration::fit(&[(&forecast, &actual)], &[], 1);
        let before = forecast.clone();
        calibration.apply(&mut forecast, &[]);
        assert_eq!(forecast, before);
    }
}
