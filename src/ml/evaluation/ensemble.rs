//! Weights of models in a combination, chosen by what they said on held-out windows.
//!
//! Models are picked one after the other, with replacement, each time the one that makes the combination best
//! (Caruana, Niculescu-Mizil, Crew and Ksikes 2004); quantiles are averaged level by level. The combination is
//! never worse on the windows than the best model alone.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::ml::evaluation::levels::{LEVELS, WIDTH};
use crate::ml::forecaster::Forecast;
use crate::ml::metrics::quantile_loss_term;

/// Picks.
const PICKS: usize = 25;
/// Models whose loss is so many times the best one at most are about as good.
const GOOD: f64 = 1.15;
/// What equal weights of those count for beside the picked ones.
const EQUAL_SHARE: f64 = 0.5;
/// Models that are picked less than one time for so many of the most picked one are left out.
const RARE: usize = 10;
/// Points looked at; of more, evenly spread ones.
const POINTS_MAX: usize = 20_000;
/// Fewest points for weights of a group of series; with fewer those of all series serve.
const GROUP_POINTS_MIN: usize = 400;
/// What a group's own weights count for beside those of all series.
const OWN_SHARE: f64 = 0.5;

/// Forecasts of one model on all windows, and what came true.
#[derive(Debug)]
pub struct Contest<'a> {
    /// By model, by window.
    pub forecasts: Vec<Vec<&'a Forecast>>,
    /// By window: `[series, horizon]`, NaN where nothing was observed.
    pub actual: Vec<&'a [f64]>,
    /// By window: what errors of every series are divided by; NaN leaves a series out.
    pub scales: Vec<Vec<f64>>,
    /// Group of every series.
    pub groups: &'a [usize],
}

/// One scored point: its window, its place in the forecasts, its actual and its scale.
#[derive(Debug, Clone, Copy)]
struct Point {
    window: usize,
    at: usize,
    y: f64,
    scale: f64,
}

impl Contest<'_> {
    /// Weights of the models for every group, each summing to 1.
    pub fn weights(&self, group_count: usize) -> Vec<Vec<f64>> {
        let points = self.points();
        let all = self.pick(&thinned(&points));
        let blended = (0..group_count).into_par_iter().map(|group| {
            let own: Vec<Point> = points.iter().filter(|p| self.group_of(p) == group).copied().collect();
            if own.len() < GROUP_POINTS_MIN {
                return all.clone();
            }
            let weights = self.pick(&thinned(&own));
            let blended: Vec<f64> = weights
                .iter()
                .zip(&all)
                .map(|(own, all)| OWN_SHARE * own + (1.0 - OWN_SHARE) * all)
                .collect();
            // Neither blend nor pick may be worse than the best model on these very points.
            let own = thinned(&own);
            if self.loss(&own, &blended) <= least(&self.losses_alone(&own)).0 { blended } else { weights }
        });
        blended.collect()
    }

    fn group_of(&self, point: &Point) -> usize {
        let horizon = self.forecasts[0][point.window].horizon;
        self.groups.get(point.at / horizon).copied().unwrap_or(0)
    }

    fn points(&self) -> Vec<Point> {
        let mut points = Vec::new();
        for (window, actual) in self.actual.iter().enumerate() {
            let horizon = self.forecasts[0][window].horizon;
            for (at, y) in actual.iter().enumerate() {
                let scale = self.scales[window][at / horizon];
                if y.is_finite() && scale > 0.0 {
                    points.push(Point { window, at, y: *y, scale });
                }
            }
        }
        points
    }

    /// Mean scaled quantile loss of a combination.
    fn loss(&self, points: &[Point], weights: &[f64]) -> f64 {
        let mut sum = 0.0;
        for point in points {
            let mut row = [0.0; WIDTH];
            for (model, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                row.iter_mut().zip(self.row(model, point)).for_each(|(sum, q)| *sum += weight * q);
            }
            sum += loss_of(&row, point);
        }
        sum / points.len().max(1) as f64
    }

    fn row(&self, model: usize, point: &Point) -> &[f64] {
        &self.forecasts[model][point.window].quantiles[point.at * WIDTH..(point.at + 1) * WIDTH]
    }

    /// Loss of every model alone.
    fn losses_alone(&self, points: &[Point]) -> Vec<f64> {
        let models = self.forecasts.len();
        let alone = |model: usize| (0..models).map(|m| f64::from(u8::from(m == model))).collect::<Vec<f64>>();
        (0..models).into_par_iter().map(|model| self.loss(points, &alone(model))).collect()
    }

    /// Greedy selection with replacement; the best combination on the way.
    fn pick(&self, points: &[Point]) -> Vec<f64> {
        let models = self.forecasts.len();
        let alone = self.losses_alone(points);
        let (mut best_loss, first) = least(&alone);
        let mut counts = vec![0usize; models];
        counts[first] = 1;
        let mut best = counts.clone();
        let mut sums: Vec<[f64; WIDTH]> =
            points.iter().map(|point| self.added([0.0; WIDTH], first, point)).collect();
        for picked in 1..PICKS {
            let share = 1.0 / (picked + 1) as f64;
            let loss_with = |model: usize| {
                let loss_at = |(point, sum): (&Point, &[f64; WIDTH])| {
                    loss_of(&self.added(*sum, model, point).map(|q| q * share), point)
                };
                points.iter().zip(&sums).map(loss_at).sum::<f64>() / points.len().max(1) as f64
            };
            let losses: Vec<f64> = (0..models).into_par_iter().map(loss_with).collect();
            let (loss, model) = least(&losses);
            counts[model] += 1;
            sums.iter_mut().zip(points).for_each(|(sum, point)| *sum = self.added(*sum, model, point));
            if loss < best_loss {
                (best_loss, best) = (loss, counts.clone());
            }
        }
        // Who was picked hardly ever only costs time.
        let most = best.iter().max().copied().unwrap_or(0);
        best.iter_mut().filter(|count| **count * RARE < most).for_each(|count| *count = 0);
        let total: usize = best.iter().sum();
        let picked: Vec<f64> = best.into_iter().map(|count| count as f64 / total as f64).collect();
        self.shrunk(points, picked, &alone)
    }

    /// Weights moved towards equal ones of all models that are about as good as the best: what a few windows prefer is
    /// partly chance.
    fn shrunk(&self, points: &[Point], picked: Vec<f64>, alone: &[f64]) -> Vec<f64> {
        let best = least(alone).0;
        let good: Vec<bool> = alone.iter().map(|loss| *loss <= GOOD * best).collect();
        let count = good.iter().filter(|good| **good).count().max(1) as f64;
        let shrunk: Vec<f64> = picked
            .iter()
            .zip(&good)
            .map(|(weight, good)| {
                (1.0 - EQUAL_SHARE) * weight + if *good { EQUAL_SHARE / count } else { 0.0 }
            })
            .collect();
        if self.loss(points, &shrunk) <= best { shrunk } else { picked }
    }

    fn added(&self, mut sum: [f64; WIDTH], model: usize, point: &Point) -> [f64; WIDTH] {
        sum.iter_mut().zip(self.row(model, point)).for_each(|(sum, q)| *sum += q);
        sum
    }
}

fn loss_of(row: &[f64; WIDTH], point: &Point) -> f64 {
    let loss: f64 = row.iter().zip(LEVELS).map(|(q, level)| quantile_loss_term(point.y, *q, level)).sum();
    loss / point.scale
}

/// The least loss and whose it is; the first of equal ones.
fn least(losses: &[f64]) -> (f64, usize) {
    let numbered = losses.iter().copied().zip(0..);
    numbered.reduce(|a, b| if b.0 < a.0 { b } else { a }).unwrap_or((0.0, 0))
}

fn thinned(points: &[Point]) -> Vec<Point> {
    points.iter().step_by(points.len().div_ceil(POINTS_MAX).max(1)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::rng::Rng;

    fn forecast(points: impl Iterator<Item = f64>) -> Forecast {
        let point: Vec<f64> = points.collect();
        let quantiles = point.iter().flat_map(|y| LEVELS.map(|u| y + (u - 0.5))).collect();
        let status = vec![None; point.len()];
        Forecast {
            horizon: 1,
            quantile_levels: LEVELS.to_vec(),
            point,
            quantiles,
            status,
            ..Forecast::default()
        }
    }

    #[test]
    fn errors_that_cancel_out_share_the_weight_and_a_bad_model_gets_none() {
        let mut rng = Rng::new(4);
        let n = 1000;
        let noise: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
        let (one, other) = (forecast(noise.iter().copied()), forecast(noise.iter().map(|e| -e)));
        let bad = forecast((0..n).map(|_| 50.0));
        let actual = vec![0.0; n];
        let groups: Vec<usize> = (0..n).map(|i| i % 2).collect();
        let contest = Contest {
            forecasts: vec![vec![&bad], vec![&one], vec![&other]],
            actual: vec![&actual],
            scales: vec![vec![1.0; n]],
            groups: &groups,
        };
        for weights in contest.weights(2) {
            assert!(weights[0] == 0.0 && (weights[1] - 0.5).abs() < 0.05, "{weights:?}");
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn no_model_alone_is_better_by_more_than_one_in_a_hundred() {
        for seed in 0..12 {
            let mut rng = Rng::new(seed);
            // More points than are looked at; models of different bias and noise, each best somewhere.
            let n = [300, 3_000, 30_000][seed as usize % 3];
            let groups: Vec<usize> = (0..n).map(|_| rng.below(3)).collect();
            let actual: Vec<f64> = (0..n).map(|_| 3.0 * rng.normal()).collect();
            let mut model = |strength: f64| {
                let bias: Vec<f64> = (0..3).map(|_| strength * rng.normal()).collect();
                let noise = strength * rng.uniform();
                let points = (0..n).map(|i| actual[i] + bias[groups[i]] + noise * rng.normal());
                forecast(points.collect::<Vec<_>>().into_iter())
            };
            let models: Vec<Forecast> = [0.2, 0.3, 1.0, 4.0].map(&mut model).into();
            let scales: Vec<f64> = (0..n).map(|_| 0.1 + rng.exponential()).collect();
            let contest = Contest {
                forecasts: models.iter().map(|model| vec![model]).collect(),
                actual: vec![&actual],
                scales: vec![scales],
                groups: &groups,
            };
            let (weights, points) = (contest.weights(3), contest.points());
            let of_group = |group| points.iter().filter(|p| contest.group_of(p) == group).copied().collect();
            let combined: f64 = (0..3)
                .map(|group| {
                    let own: Vec<Point> = of_group(group);
                    contest.loss(&own, &weights[group]) * own.len() as f64
                })
                .sum();
            let best = least(&contest.losses_alone(&points)).0 * points.len() as f64;
            assert!(combined <= 1.01 * best, "seed {seed}: {combined} against {best}");
        }
    }

    #[test]
    fn groups_have_weights_of_their_own() {
        let n = 2000;
        let (low, high) = (forecast((0..n).map(|_| 0.0)), forecast((0..n).map(|_| 10.0)));
        let actual: Vec<f64> = (0..n).map(|i| if i % 2 == 0 { 0.0 } else { 10.0 }).collect();
        let groups: Vec<usize> = (0..n).map(|i| i % 2).collect();
        let contest = Contest {
            forecasts: vec![vec![&low], vec![&high]],
            actual: vec![&actual],
            scales: vec![vec![1.0; n]],
            groups: &groups,
        };
        let weights = contest.weights(2);
        assert_eq!(weights, [[1.0, 0.0], [0.0, 1.0]]);
    }
}
