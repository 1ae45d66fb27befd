//! What moves a target: promotions, closed days, prices, the weather, holidays, the calendar, and what moves nothing.

use std::f64::consts::TAU;

use crate::ml::rng::Rng;
use crate::ml::synthetic::grid::{Grid, pick};
use crate::ml::synthetic::paths::{add, noise, season, standardised, walk};

/// A covariate and what it does.
#[derive(Debug, Clone)]
pub(super) struct Covariate {
    /// Its values.
    pub(super) values: Vec<f64>,
    /// What it adds to the target's path, of deviation about 1.
    pub(super) effect: Vec<f64>,
    /// The share of the target that is left at each step: 0 on closed days.
    pub(super) open: Option<Vec<f64>>,
    /// True where its future is known.
    pub(super) known: bool,
}

impl Covariate {
    /// One of the kinds, now and then without any effect.
    pub(super) fn draw(rng: &mut Rng, grid: &Grid) -> Self {
        let kind = pick(rng, &[3.0, 2.0, 2.5, 2.5, 1.5, 1.0, 1.0]);
        let mut covariate = match kind {
            0 => promotion(rng, grid),
            1 => opening(rng, grid),
            2 => price(rng, grid),
            3 => weather(rng, grid),
            4 => holiday(rng, grid),
            5 => calendar(rng, grid),
            _ => ramp(rng, grid),
        };
        if rng.chance(0.15) {
            covariate.effect.fill(0.0);
            covariate.open = None;
        }
        covariate
    }
}

/// Episodes of ones: at random, in blocks of a season, or at a regular distance.
fn episodes(rng: &mut Rng, grid: &Grid) -> Vec<f64> {
    let mut flags = vec![0.0; grid.len];
    let week = grid.seasons.first().map_or(7, |m| m.round() as usize).clamp(2, 60);
    match rng.below(3) {
        0 => {
            // The same places of some seasons, as promotions from Monday to Friday of every other week.
            let (from, length) = (rng.below(week), 1 + rng.below(week));
            let (every, some) = (1 + rng.below(4), rng.range(0.3, 1.0));
            for start in (0..grid.len + week).step_by(week * every) {
                if rng.chance(some) {
                    for t in start + from..start + from + length {
                        if let Some(flag) = t.checked_sub(week).and_then(|t| flags.get_mut(t)) {
                            *flag = 1.0;
                        }
                    }
                }
            }
        }
        1 => {
            let every = 3 + rng.below(60);
            let (length, start) = (1 + rng.below(4.min(every)), rng.below(every));
            flags
                .iter_mut()
                .enumerate()
                .filter(|(t, _)| (t + start) % every < length)
                .for_each(|(_, f)| *f = 1.0);
        }
        _ => {
            let (gap, length) = (rng.range(4.0, 60.0), rng.range(1.0, 12.0));
            let mut t = (gap * rng.exponential()) as usize;
            while t < grid.len {
                let end = t + 1 + (length * rng.exponential()) as usize;
                flags[t..end.min(grid.len)].fill(1.0);
                t = end + 1 + (gap * rng.exponential()) as usize;
            }
        }
    }
    flags
}

fn promotion(rng: &mut Rng, grid: &Grid) -> Covariate {
    let flags = episodes(rng, grid);
    let lift = rng.normal().abs() * 1.2 + 0.2;
    let (fade, dip) = (
        if rng.chance(0.3) { rng.range(0.6, 0.98) } else { 1.0 },
        if rng.chance(0.3) { rng.range(0.0, 0.6) } else { 0.0 },
    );
    let mut effect = vec![0.0; grid.len];
    let (mut size, mut left) = (lift, 0.0);
    for (t, e) in effect.iter_mut().enumerate() {
        if flags[t] > 0.0 {
            *e = size;
            size *= fade;
            left = dip * lift;
        } else {
            *e = -left;
            left *= 0.6;
            size = lift;
        }
    }
    // A depth instead of a flag.
    let values = if rng.chance(0.3) { depths(rng, &flags, &mut effect) } else { flags };
    Covariate { values, effect, open: None, known: rng.chance(0.92) }
}

/// Depths of the episodes, by which their effects are multiplied.
fn depths(rng: &mut Rng, flags: &[f64], effect: &mut [f64]) -> Vec<f64> {
    let mut depth = 0.0;
    let mut values = vec![0.0; flags.len()];
    for t in 0..flags.len() {
        if flags[t] > 0.0 && (t == 0 || flags[t - 1] == 0.0) {
            depth = rng.range(0.2, 1.8);
        }
        values[t] = flags[t] * depth;
        if flags[t] > 0.0 {
            effect[t] *= depth;
        }
    }
    values
}

/// Days on which nothing, or little, is sold: the same of every week, and some at random.
fn opening(rng: &mut Rng, grid: &Grid) -> Covariate {
    let week = grid.seasons.first().map_or(7, |m| m.round() as usize).clamp(2, 60);
    let start = rng.below(week);
    let regular = if rng.chance(0.7) { 1 + rng.below(2) } else { 0 };
    let rare = if rng.chance(0.7) { rng.range(0.003, 0.05) } else { 0.0 };
    let left = if rng.chance(0.85) { 0.0 } else { rng.range(0.0, 0.5) };
    let mut long = 0;
    let mut share = Vec::with_capacity(grid.len);
    for t in 0..grid.len {
        if rng.chance(0.002) {
            long = 5 + rng.below(40);
        }
        long = long.saturating_sub(1);
        let closed = (t + start) % week < regular || rng.chance(rare) || long > 0;
        share.push(if closed { left } else { 1.0 });
    }
    let inverted = rng.chance(0.3);
    let flag = |s: &f64| f64::from(u8::from((*s == 1.0) != inverted));
    Covariate {
        values: share.iter().map(flag).collect(),
        effect: vec![0.0; grid.len],
        open: Some(share),
        known: rng.chance(0.95),
    }
}

/// A price with episodes of discount.
fn price(rng: &mut Rng, grid: &Grid) -> Covariate {
    let flags = episodes(rng, grid);
    let change = rng.range(0.0, 4.0) / grid.len.max(1) as f64;
    let (mut base, mut discount) = (0.0, 0.0);
    let mut logs = Vec::with_capacity(grid.len);
    for t in 0..grid.len {
        if rng.chance(change) {
            base += 0.1 * rng.normal();
        }
        if flags[t] > 0.0 && (t == 0 || flags[t - 1] == 0.0) {
            discount = rng.range(0.05, 0.5);
        }
        logs.push(base - flags[t] * discount);
    }
    let elasticity = rng.range(0.5, 6.0);
    let level = 10f64.powf(rng.range(-1.0, 2.0));
    Covariate {
        effect: logs.iter().map(|p| -elasticity * p).collect(),
        values: logs.iter().map(|p| level * p.exp()).collect(),
        open: None,
        known: rng.chance(0.75),
    }
}

/// A continuous influence: linear, bent or with a threshold, at once or later.
fn weather(rng: &mut Rng, grid: &Grid) -> Covariate {
    let lag = if rng.chance(0.5) { 0 } else { 1 + rng.below(12) };
    let n = grid.len + lag;
    let mut path = walk(rng, n);
    for period in &grid.seasons {
        if rng.chance(0.5) {
            let share = rng.range(0.3, 2.0);
            add(&mut path, &season(rng, n, *period), share);
        }
    }
    let share = rng.range(0.1, 0.8);
    add(&mut path, &noise(rng, n), share);
    let path = standardised(path);
    let (size, at, kind) = (rng.normal() * 0.8, rng.normal(), rng.below(4));
    let response = |x: f64| match kind {
        0 | 1 => size * x,
        2 => size * (x - at).max(0.0),
        _ => size * (x * x - 1.0) * 0.5,
    };
    let known = rng.chance(0.45);
    Covariate {
        // The covariate leads: its step t moves the target at t + lag.
        effect: path[..grid.len].iter().map(|x| response(*x)).collect(),
        values: path[lag..].to_vec(),
        open: None,
        known,
    }
}

/// Rare days with a large effect, before and after them too.
fn holiday(rng: &mut Rng, grid: &Grid) -> Covariate {
    let mut values = vec![0.0; grid.len];
    let mut effect = vec![0.0; grid.len];
    let gap = rng.range(10.0, 120.0);
    let size = rng.normal() * 1.5;
    let around = [rng.normal() * 0.4, 1.0, rng.normal() * 0.3];
    let mut t = (gap * rng.uniform()) as usize;
    while t < grid.len {
        values[t] = 1.0;
        for (shift, share) in around.iter().enumerate() {
            if let Some(e) = (t + shift).checked_sub(1).and_then(|t| effect.get_mut(t)) {
                *e += size * share;
            }
        }
        t += 1 + (gap * rng.range(0.3, 1.7)) as usize;
    }
    Covariate { values, effect, open: None, known: rng.chance(0.95) }
}

/// The place in a season, as a number or as a wave.
fn calendar(rng: &mut Rng, grid: &Grid) -> Covariate {
    let period = grid.seasons.first().copied().unwrap_or(7.0);
    let start = rng.uniform() * period;
    let wave = rng.chance(0.5);
    let value = |t: usize| {
        let place = (t as f64 + start) % period;
        if wave { (TAU * place / period).sin() } else { place.floor() }
    };
    let profile: Vec<f64> = (0..period.ceil() as usize + 1).map(|_| rng.normal() * 0.7).collect();
    let effect = |t: usize| profile[((t as f64 + start) % period) as usize];
    Covariate {
        values: (0..grid.len).map(value).collect(),
        effect: (0..grid.len).map(effect).collect(),
        open: None,
        known: true,
    }
}

/// Something that starts, ends or grows once: a listing, a competitor, a budget.
fn ramp(rng: &mut Rng, grid: &Grid) -> Covariate {
    let (from, length) = (rng.below(grid.len.max(1)), 1 + rng.below(grid.len.max(1)));
    let size = rng.normal();
    let value = |t: usize| (t as f64 - from as f64).clamp(0.0, length as f64) / length as f64;
    let values: Vec<f64> = (0..grid.len).map(value).collect();
    Covariate {
        effect: values.iter().map(|v| size * v).collect(),
        values,
        open: None,
        known: rng.chance(0.6),
    }
}
