//! Targets that follow from covariates, and rows that move together.

use crate::ml::foundation::GroupRow;
use crate::ml::rng::Rng;
use crate::ml::synthetic::covariates::Covariate;
use crate::ml::synthetic::grid::Grid;
use crate::ml::synthetic::intermittent::demand;
use crate::ml::synthetic::observation::{Measure, observe};
use crate::ml::synthetic::paths::{add, noise, standardised};

/// How often a target with peers sells now and then only.
const SELDOM: f64 = 0.25;

/// A target and `others` covariates, each a row over the whole time; `base` is the target's path without them.
pub(super) fn causal(rng: &mut Rng, grid: &Grid, base: Vec<f64>, others: usize) -> Vec<(Vec<f64>, bool)> {
    let covariates: Vec<Covariate> = (0..others).map(|_| Covariate::draw(rng, grid)).collect();
    let mut path = standardised(base);
    let own = rng.range(0.2, 1.2);
    path.iter_mut().for_each(|x| *x *= own);
    for covariate in &covariates {
        let share = rng.range(0.3, 1.5);
        add(&mut path, &covariate.effect, share);
    }
    let share = 10f64.powf(rng.range(-1.5, -0.2));
    add(&mut path, &noise(rng, grid.len), share);
    let measure = if covariates.iter().any(|c| c.open.is_some()) {
        if rng.chance(0.5) { Measure::Amount } else { Measure::Count }
    } else {
        Measure::draw(rng)
    };
    let mut target = observe(rng, path, measure);
    for open in covariates.iter().filter_map(|c| c.open.as_ref()) {
        target.iter_mut().zip(open).for_each(|(y, share)| *y *= share);
    }
    let mut rows: Vec<(Vec<f64>, bool)> = covariates.into_iter().map(|c| (c.values, c.known)).collect();
    if let Some(row) = rows.last_mut().filter(|_| rng.chance(0.2)) {
        *row = (companion(rng, &target), false);
    }
    rng.shuffle(&mut rows);
    rows.insert(0, (target, false));
    rows
}

/// What is counted beside the target, as customers beside sales: its own future is unknown too.
fn companion(rng: &mut Rng, target: &[f64]) -> Vec<f64> {
    let (power, size) = (rng.range(0.6, 1.1), rng.range(0.02, 0.3));
    let lead = if rng.chance(0.3) { 1 + rng.below(6) } else { 0 };
    let last = target.len().saturating_sub(1);
    let at = |t: usize| target[(t + lead).min(last)];
    (0..target.len())
        .map(|t| at(t).abs().powf(power) * at(t).signum() * (size * rng.normal()).exp())
        .collect()
}

/// Rows that share parts of their paths; all are targets.
pub(super) fn related(rng: &mut Rng, paths: Vec<Vec<f64>>) -> Vec<(Vec<f64>, bool)> {
    let paths: Vec<Vec<f64>> = paths.into_iter().map(standardised).collect();
    let lag = if rng.chance(0.3) { 1 + rng.below(8) } else { 0 };
    let mut rows = Vec::with_capacity(paths.len());
    for i in 0..paths.len() {
        let own = rng.range(0.1, 1.0);
        let mut path = vec![0.0; paths[i].len()];
        add(&mut path, &paths[i], own);
        let share = rng.normal();
        let from = if i > 0 { lag.min(path.len()) } else { 0 };
        add(&mut path[from..], &paths[0], share);
        let measure = Measure::draw(rng);
        rows.push((observe(rng, path, measure), false));
    }
    rows
}

/// A target, and the means of all series that share something with it: its shop, its brand. It follows each of them more or
/// less, or not at all.
pub(super) fn peers(rng: &mut Rng, grid: &Grid, paths: Vec<Vec<f64>>) -> Vec<(Vec<f64>, bool)> {
    let mut paths = paths.into_iter().map(standardised);
    let mut target = paths.next().unwrap_or_default();
    let own = rng.range(0.05, 1.0);
    target.iter_mut().for_each(|x| *x *= own);
    let mut means = Vec::new();
    for mut mean in paths {
        let share = if rng.chance(0.25) { 0.0 } else { rng.range(0.1, 1.2) };
        add(&mut target, &mean, share);
        let few = 10f64.powf(rng.range(-1.5, -0.3));
        let rest = noise(rng, target.len());
        add(&mut mean, &rest, few);
        means.push((observe(rng, mean, Measure::Plain), false));
    }
    let (share, rest) = (10f64.powf(rng.range(-1.5, 0.0)), noise(rng, target.len()));
    add(&mut target, &rest, share);
    let target = if rng.chance(SELDOM) {
        demand(rng, grid, &standardised(target))
    } else {
        let measure = Measure::draw(rng);
        observe(rng, target, measure)
    };
    means.insert(0, (target, false));
    means
}

/// The rows of a group before and after the origin.
pub(super) fn rows(grid: &Grid, rows: Vec<(Vec<f64>, bool)>) -> Vec<GroupRow> {
    let split = |(values, known): (Vec<f64>, bool)| {
        let values: Vec<f32> = values.iter().map(|x| *x as f32).collect();
        let (history, future) = values.split_at(grid.history);
        GroupRow { history: history.to_vec(), future: future.to_vec(), known, leads: false }
    };
    rows.into_iter().map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::matrix::correlation;
    use crate::ml::synthetic::grid::tests::months;
    use crate::ml::synthetic::paths::walk;

    /// Over many seeds: the mean of the closest correlation of the first row with another one, and the share of rows that are known.
    fn told(rows: impl Fn(&mut Rng) -> Vec<(Vec<f64>, bool)>) -> (f64, f64) {
        let (mut closest, mut known, mut count) = (0.0, 0.0, 0.0);
        for seed in 0..200 {
            let rows = rows(&mut Rng::new(seed));
            assert!(rows.iter().flat_map(|(row, _)| row).all(|x| x.is_finite()) && !rows[0].1);
            let of = |(row, _): &(Vec<f64>, bool)| {
                correlation(rows[0].0.iter().copied().zip(row.iter().copied())).abs()
            };
            closest += rows[1..].iter().map(of).fold(0.0, f64::max) / 200.0;
            known += rows[1..].iter().filter(|(_, known)| *known).count() as f64;
            count += (rows.len() - 1) as f64;
        }
        (closest, known / count)
    }

    #[test]
    fn rows_that_move_a_target_or_move_with_it_tell_of_it() {
        let months = months();
        let white = |rng: &mut Rng| (0..144).map(|_| rng.normal()).collect::<Vec<f64>>();
        let strangers = told(|rng| (0..4).map(|_| (white(rng), false)).collect()).0;
        assert!(strangers < 0.25, "{strangers}");
        let (closest, known) = told(|rng| {
            let base = white(rng);
            causal(rng, &months, base, 3)
        });
        assert!(closest > strangers + 0.15 && known > 0.3 && known < 0.95, "{closest} {known}");
        let paths = |rng: &mut Rng| (0..4).map(|_| walk(rng, 144)).collect::<Vec<_>>();
        let (moves, none) = told(|rng| {
            let paths = paths(rng);
            related(rng, paths)
        });
        let (follows, no) = told(|rng| {
            let paths = paths(rng);
            peers(rng, &months, paths)
        });
        let by_chance = told(|rng| paths(rng).into_iter().map(|path| (path, false)).collect()).0;
        assert!(moves > by_chance + 0.1 && follows > by_chance + 0.05, "{moves} {follows} {by_chance}");
        assert_eq!(none + no, 0.0);
    }
}
