//! One example to pretrain on.

use crate::ml::foundation::{Group, explained};
use crate::ml::rng::Rng;
use crate::ml::synthetic::grid::{Grid, pick};
use crate::ml::synthetic::intermittent::intermittent;
use crate::ml::synthetic::observation::{Measure, observe};
use crate::ml::synthetic::{augment, causal, gaussian_process, regimes, state_space, trend_season};

/// How often each kind of process is drawn.
const KINDS: [f64; 5] = [3.0, 1.5, 2.0, 1.0, 1.5];

/// How often a series alone has known covariates, whose part of it is taken out.
const EXPLAINED: f64 = 0.25;

/// How often the rows beside a target are what moves it, move with it, are the means of its peers, or say nothing of it.
const COMPANY: [f64; 4] = [4.0, 1.6, 2.0, 2.4];

/// A group of at most `rows` rows with at most `context` steps before the origin and `horizon` after it: a target
/// without what known covariates explain, and rows beside it.
pub fn sample(rng: &mut Rng, rows: usize, context: usize, horizon: usize) -> Group {
    let grid = Grid::draw(rng, context, horizon);
    let found = if rows == 1 && rng.chance(1.0 - EXPLAINED) {
        vec![(series(rng, &grid), false)]
    } else {
        company(rng, &grid, rows)
    };
    let rows = causal::rows(&grid, found);
    let (mut group, _) = explained(Group { rows, frequency: grid.frequency, season: grid.season });
    for row in &mut group.rows {
        if rng.chance(0.07) {
            augment::mask(rng, row);
        }
    }
    group
}

/// A target and what stands beside it; a series alone has known covariates only.
fn company(rng: &mut Rng, grid: &Grid, rows: usize) -> Vec<(Vec<f64>, bool)> {
    let kind = if rows == 1 { 0 } else { pick(rng, &COMPANY) };
    match kind {
        0 => {
            let base = path(rng, grid);
            let others = rows + rng.below(5);
            causal::causal(rng, grid, base, others)
        }
        1 | 2 => {
            let paths = (0..rows).map(|_| path(rng, grid)).collect();
            if kind == 1 { causal::related(rng, paths) } else { causal::peers(rng, grid, paths) }
        }
        _ => (0..rows).map(|_| (series(rng, grid), false)).collect(),
    }
}

/// A path of one of the processes.
fn path(rng: &mut Rng, grid: &Grid) -> Vec<f64> {
    match pick(rng, &KINDS) {
        0 => trend_season::trend_season(rng, grid),
        1 => gaussian_process::gaussian_process(rng, grid),
        2 => state_space::exponential_smoothing(rng, grid),
        3 => state_space::arima(rng, grid),
        _ => regimes::regimes(rng, grid),
    }
}

/// A series as it is observed.
fn observed(rng: &mut Rng, grid: &Grid) -> Vec<f64> {
    match pick(rng, &[8.0, 1.2, 1.5]) {
        0 => {
            let path = path(rng, grid);
            let measure = Measure::draw(rng);
            observe(rng, path, measure)
        }
        1 => intermittent(rng, grid),
        // What moves it is not told.
        _ => {
            let base = path(rng, grid);
            let others = 1 + rng.below(2);
            causal::causal(rng, grid, base, others).swap_remove(0).0
        }
    }
}

/// A series, now and then a mixture of some, turned or warped.
fn series(rng: &mut Rng, grid: &Grid) -> Vec<f64> {
    if rng.chance(0.1) {
        let parts: Vec<_> = (0..2 + rng.below(2)).map(|_| observed(rng, grid)).collect();
        return augment::mixup(rng, &parts);
    }
    let mut series = observed(rng, grid);
    if rng.chance(0.03) {
        series.reverse();
    }
    if rng.chance(0.04) {
        series = augment::warp(rng, &series);
    }
    if rng.chance(0.05) {
        augment::jitter(rng, &mut series);
    }
    if rng.chance(0.3) {
        augment::rescale(rng, &mut series);
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_finite_but_for_what_was_masked_and_repeat_with_their_seed() {
        for seed in 0..600 {
            let rows = 1 + seed as usize % 4;
            let (context, horizon) = (48 << (seed % 4), 16 * (1 + seed as usize % 3));
            let group = sample(&mut Rng::new(seed), rows, context, horizon);
            assert!(!group.rows.is_empty());
            assert!(!group.rows[0].known);
            for row in &group.rows {
                assert!(row.history.len() <= context && row.future.len() <= horizon);
                assert!(row.future.iter().all(|x| x.is_finite()), "{seed}");
                assert!(row.history.iter().all(|x| !x.is_infinite()), "{seed}");
            }
            let again = sample(&mut Rng::new(seed), rows, context, horizon);
            let bits = |group: &Group| -> Vec<u32> {
                group
                    .rows
                    .iter()
                    .flat_map(|r| r.history.iter().chain(&r.future))
                    .map(|x| x.to_bits())
                    .collect()
            };
            assert_eq!(bits(&group), bits(&again));
        }
    }

    #[test]
    fn every_kind_of_process_and_of_company_is_drawn() {
        let groups: Vec<Group> = (0..1_500).map(|seed| sample(&mut Rng::new(seed), 4, 192, 32)).collect();
        let share = |is: &dyn Fn(&Group) -> bool| {
            groups.iter().filter(|group| is(group)).count() as f64 / groups.len() as f64
        };
        let zeros = |group: &Group| group.rows[0].history.iter().filter(|x| **x == 0.0).count();
        let seldom = share(&|group| 2 * zeros(group) > group.rows[0].history.len());
        assert!((0.05..0.35).contains(&seldom), "{seldom}");
        let gaps = share(&|group| group.rows[0].history.iter().any(|x| x.is_nan()));
        assert!((0.03..0.12).contains(&gaps), "{gaps}");
        let alone = share(&|group| group.rows.len() == 1);
        let together = share(&|group| group.rows.len() > 1);
        assert!(together > 0.5 && alone + together == 1.0, "{alone} {together}");
        let mut frequencies: Vec<usize> = groups.iter().map(|group| group.frequency).collect();
        frequencies.sort_unstable();
        frequencies.dedup();
        assert!(frequencies.len() > 6, "{frequencies:?}");
    }
}
