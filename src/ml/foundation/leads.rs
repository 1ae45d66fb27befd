//! Covariates of the past that run ahead of the target, as known ones.
//!
//! The step by which one runs ahead is that of the largest cross-correlation of the two series without their seasons, both
//! filtered by what makes the covariate white noise (Box, Jenkins and Reinsel 2008, section 12.2.1: prewhitening).

use crate::ml::foundation::groups::GroupRow;
use crate::ml::matrix::correlation;

/// Steps that a covariate runs ahead by, at most.
const LEAD_MAX: usize = 64;
/// Pairs of steps that tell it, at least.
const PAIRS_MIN: usize = 32;
/// Seasons that a history has, at least: with fewer, the mean of a place in the season is as much of one year as of all, and what
/// follows the target seems to run ahead of it by the rest of a season.
const SEASONS_MIN: usize = 5;
/// Standard errors of a correlation of noise that are taken for chance, among as many as are looked at.
const ERRORS_MAX: f64 = 4.5;

/// The row of a covariate as many steps later as it runs ahead of the target, `horizon` steps of the future with it; `None`
/// where it does not. So many steps of the future are told, after them it goes back to its mean as it did before.
pub(super) fn lead(target: &[f32], covariate: &[f32], season: usize, horizon: usize) -> Option<GroupRow> {
    let history = target.len();
    if season > 1 && history < SEASONS_MIN * season {
        return None;
    }
    let (y, x) = (deseasonalised(target, season), deseasonalised(covariate, season));
    let decay = correlation(x.iter().skip(1).copied().zip(x.iter().copied())).clamp(0.0, 1.0);
    let whitened = |z: &[f64]| z.windows(2).map(|pair| pair[1] - decay * pair[0]).collect::<Vec<f64>>();
    let steps = steps_ahead(&whitened(&y), &whitened(&x)).filter(|steps| *steps > 0)?;
    let last = x.iter().rposition(|x| x.is_finite())?;
    let at = |t: usize| match t.checked_sub(steps) {
        None => f64::NAN,
        Some(t) if t <= last => x[t],
        Some(t) => x[last] * decay.powi(i32::try_from(t - last).unwrap_or(i32::MAX)),
    };
    let row = |range: std::ops::Range<usize>| range.map(|t| at(t) as f32).collect();
    let (history, future) = (row(0..history), row(history..history + horizon));
    Some(GroupRow { history, future, known: true, leads: true })
}

/// The number of steps at which the cross-correlation of two series around 0 is largest; `None` where chance makes one as large.
fn steps_ahead(y: &[f64], x: &[f64]) -> Option<usize> {
    let strength = |steps: usize| {
        let (mut n, [mut yy, mut xx, mut xy]) = (0, [0.0; 3]);
        for (y, x) in y[steps..].iter().zip(x).filter(|(y, x)| y.is_finite() && x.is_finite()) {
            (n, yy, xx, xy) = (n + 1, yy + y * y, xx + x * x, xy + x * y);
        }
        let size: f64 = xx * yy;
        if n >= PAIRS_MIN && size > 0.0 { (xy / size.sqrt()).abs() * (n as f64).sqrt() } else { 0.0 }
    };
    let strengths = (0..y.len().min(LEAD_MAX + 1)).map(|steps| (steps, strength(steps)));
    let largest = strengths.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
    largest.filter(|(_, strength)| *strength > ERRORS_MAX).map(|(steps, _)| steps)
}

/// Values less the mean of their place in the season.
fn deseasonalised(values: &[f32], season: usize) -> Vec<f64> {
    let mut means = vec![(0.0, 0usize); season.max(1)];
    for (t, x) in values.iter().enumerate().filter(|(_, x)| x.is_finite()) {
        let (sum, count) = &mut means[t % season.max(1)];
        (*sum, *count) = (*sum + f64::from(*x), *count + 1);
    }
    let mean = |t: usize| means[t % season.max(1)].0 / means[t % season.max(1)].1 as f64;
    values.iter().enumerate().map(|(t, x)| f64::from(*x) - mean(t)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::rng::Rng;

    const STEPS: usize = 200;

    /// `keep` of the value before, and noise: of 1 a random walk.
    fn path(rng: &mut Rng, keep: f64) -> Vec<f32> {
        let mut value = 0.0;
        let mut next = || {
            value = keep * value + rng.normal();
            value as f32
        };
        (0..STEPS + 8).map(|_| next()).collect()
    }

    /// A week, noise, and what `x` was `steps` ago.
    fn follows(rng: &mut Rng, x: &[f32], steps: usize) -> Vec<f32> {
        let week = |t: usize| (t % 7) as f32;
        (0..STEPS)
            .map(|t| week(t) + rng.normal() as f32 + if t < steps { 0.0 } else { 2.0 * x[t - steps] })
            .collect()
    }

    #[test]
    fn what_runs_ahead_is_found_with_its_steps() {
        for (keep, steps) in [(0.0, 1), (0.6, 5), (0.95, 5), (1.0, 7)] {
            let mut rng = Rng::new(1);
            let x = path(&mut rng, keep);
            let y = follows(&mut rng, &x, steps);
            let row = lead(&y, &x[..STEPS], 7, 10).unwrap();
            assert!(row.known && row.leads && row.history.len() == STEPS && row.future.len() == 10);
            let x = deseasonalised(&x[..STEPS], 7);
            assert!(row.history[..steps].iter().all(|x| x.is_nan()));
            let shown: Vec<f32> = row.history[steps..].iter().chain(&row.future[..steps]).copied().collect();
            assert!(shown.iter().zip(&x).all(|(shown, x)| *shown == *x as f32), "{keep} {steps}");
            let after = row.future[steps..].iter().map(|x| x.abs()).collect::<Vec<f32>>();
            assert!(after.windows(2).all(|pair| pair[1] <= pair[0]));
        }
    }

    #[test]
    fn what_does_not_run_ahead_is_none() {
        let mut rng = Rng::new(2);
        let x = path(&mut rng, 0.6);
        let same = follows(&mut rng, &x, 0);
        assert_eq!(lead(&same, &x[..STEPS], 7, 10), None);
        // The target runs ahead.
        assert_eq!(lead(&x[5..STEPS], &follows(&mut rng, &x, 3)[5..], 7, 10), None);
        let y = follows(&mut rng, &x, 5);
        assert_eq!(lead(&y[..30], &x[..30], 7, 10), None);
        assert_eq!(lead(&y, &[2.0; STEPS], 7, 10), None);
        assert_eq!(lead(&y, &[f32::NAN; STEPS], 7, 10), None);
        assert_eq!(lead(&[], &[], 0, 10), None);
        // Of four seasons none is taken out.
        assert!(lead(&y, &x[..STEPS], 40, 10).is_some());
        assert_eq!(lead(&y, &x[..STEPS], 50, 10), None);
        // Random walks that have nothing to do with each other, whose levels do go together.
        let found = (0..200).filter(|seed| {
            let mut rng = Rng::new(*seed);
            let (y, x) = (path(&mut rng, 1.0), path(&mut rng, 1.0));
            lead(&y[..STEPS], &x[..STEPS], 7, 10).is_some()
        });
        assert!(found.count() <= 2);
    }
}
