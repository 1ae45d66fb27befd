//! What known covariates explain of a target, taken out of it before a network sees it.
//!
//! A small network does not learn from a history alone what a promotion does. Ridge regression does (Hoerl and Kennard
//! 1970), as for TimesFM's covariates (Das et al. 2024): the network continues what is left.

use crate::ml::foundation::groups::{Group, GroupRow};
use crate::ml::matrix::Cholesky;

/// Strengths of the penalty that are tried.
const PENALTIES: [f64; 2] = [1.0, 10.0];
/// Longest season that every step of has a column.
const SEASON_MAX: usize = 31;
/// Share of the mean that is added before the logarithm is taken.
const OFFSET: f64 = 0.1;
/// Observed steps for each column, at least: fewer fit anything.
const STEPS_PER_COLUMN: usize = 8;
/// Covariates that leave more of the season's error than this share say too little.
const SHARE_MAX: f64 = 0.85;

/// Takes what known covariates explain out of the target of a group, and the covariates out of the group; tells what
/// is to be added to forecasts, where they explain enough.
pub fn explained(group: Group) -> (Group, Option<Vec<f32>>) {
    let Group { mut rows, frequency, season } = group;
    let known: Vec<GroupRow> = rows.extract_if(.., |row| row.known).collect();
    let taken = rows.first_mut().filter(|_| !known.is_empty()).and_then(|target| {
        let values = explanation(&target.history, &known, season)?;
        let (past, future) = values.split_at(target.history.len());
        target.history.iter_mut().zip(past).for_each(|(y, explained)| *y -= explained);
        target.future.iter_mut().zip(future).for_each(|(y, explained)| *y -= explained);
        Some(future.to_vec())
    });
    (Group { rows, frequency, season }, taken)
}

/// What known covariates and the season explain of every step before the origin, as if it had not been learnt from, and
/// after it; `None` where that is little or the history is short.
fn explanation(target: &[f32], known: &[GroupRow], season: usize) -> Option<Vec<f32>> {
    let fit = |known: &[GroupRow]| Design::new(target, known, season)?.best();
    // Columns more than the history has steps for would take the others with them: leads stand after these.
    let told = known.partition_point(|row| !row.leads);
    let without = (0 < told && told < known.len()).then(|| fit(&known[..told])).flatten();
    let fits = fit(known).into_iter().chain(without);
    let fit = fits.min_by(|a, b| a.error.total_cmp(&b.error))?;
    let alone = Design::new(target, &[], season)?.best()?;
    (fit.error < SHARE_MAX * alone.error).then(|| fit.values.iter().map(|y| *y as f32).collect())
}

/// Columns of every step, of those before the origin and those after it.
struct Design {
    /// `[steps, width]`.
    values: Vec<f64>,
    width: usize,
    /// The target before the origin.
    target: Vec<f64>,
    /// The ones where it is.
    observed: Vec<usize>,
}

/// Fitted values of one transformation and penalty.
struct Fit {
    /// Of every step before the origin as if it had not been learnt from, and of those after it.
    values: Vec<f64>,
    /// Mean absolute error of the former.
    error: f64,
}

impl Design {
    fn new(target: &[f32], known: &[GroupRow], season: usize) -> Option<Self> {
        let history = target.len();
        let future = known.iter().map(|row| row.future.len()).min().unwrap_or(0);
        let observed: Vec<usize> = (0..history).filter(|t| target[*t].is_finite()).collect();
        let steps = history + future;
        let mut columns: Vec<Vec<f64>> = known.iter().filter_map(|row| column(row, history, steps)).collect();
        if columns.is_empty() && !known.is_empty() {
            return None;
        }
        let m = if (2..=SEASON_MAX).contains(&season) { season } else { 0 };
        for place in 0..m {
            columns.push((0..steps).map(|t| f64::from(u8::from(t % m == place)) - 1.0 / m as f64).collect());
        }
        columns.push(vec![1.0; steps]);
        let width = columns.len();
        if observed.len() < STEPS_PER_COLUMN * width {
            return None;
        }
        let mut values = Vec::with_capacity(steps * width);
        for t in 0..steps {
            values.extend(columns.iter().map(|column| column[t]));
        }
        let target = target.iter().map(|y| f64::from(*y)).collect();
        Some(Self { values, width, target, observed })
    }

    /// The best of the fits.
    fn best(&self) -> Option<Fit> {
        let nonnegative = self.observed.iter().all(|t| self.target[*t] >= 0.0);
        let scales = if nonnegative { &[false, true][..] } else { &[false] };
        let tried = scales.iter().flat_map(|relative| PENALTIES.map(|penalty| (*relative, penalty)));
        let fits = tried.filter_map(|(relative, penalty)| self.fit(relative, penalty));
        fits.filter(|fit| fit.error.is_finite()).min_by(|a, b| a.error.total_cmp(&b.error))
    }

    /// Ridge regression of the target, or of the logarithm of a tenth of its mean more than it.
    fn fit(&self, relative: bool, penalty: f64) -> Option<Fit> {
        let n = self.observed.len() as f64;
        let offset = OFFSET * self.observed.iter().map(|t| self.target[*t]).sum::<f64>() / n;
        if relative && offset <= 0.0 {
            return None;
        }
        let forth = |y: f64| if relative { (y / offset).ln_1p() } else { y };
        let mean = self.observed.iter().map(|t| forth(self.target[*t])).sum::<f64>() / n;
        let square: f64 = self.observed.iter().map(|t| (forth(self.target[*t]) - mean).powi(2)).sum();
        let deviation = (square / n).sqrt();
        if deviation <= 0.0 {
            return None;
        }
        let seen: Vec<f64> = self.observed.iter().map(|t| self.target[*t]).collect();
        let least = seen.iter().copied().fold(f64::MAX, f64::min);
        let most = seen.iter().copied().fold(f64::MIN, f64::max);
        let reach = 0.5 * (most - least);
        let low = if least >= 0.0 { 0.0 } else { least - reach };
        let back = |z: f64| {
            let y = z * deviation + mean;
            (if relative { offset * y.min(700.0).exp_m1() } else { y }).clamp(low, most + reach)
        };
        let scaled = |t: usize| (forth(self.target[t]) - mean) / deviation;
        let (weights, factor) = self.solve(penalty, scaled)?;
        let inverse = factor.inverse();
        let predict = |t: usize| dot(self.step(t), &weights);
        let mut values: Vec<f64> = (0..self.values.len() / self.width).map(|t| back(predict(t))).collect();
        let mut error = 0.0;
        for &t in &self.observed {
            // What the step's own residual would be had it not been learnt from.
            let leverage = self.leverage(t, &inverse).min(0.95);
            values[t] = back(scaled(t) - (scaled(t) - predict(t)) / (1.0 - leverage));
            error += (values[t] - self.target[t]).abs();
        }
        Some(Fit { values, error: error / n })
    }

    fn step(&self, t: usize) -> &[f64] {
        &self.values[t * self.width..(t + 1) * self.width]
    }

    fn solve(&self, penalty: f64, scaled: impl Fn(usize) -> f64) -> Option<(Vec<f64>, Cholesky)> {
        let width = self.width;
        let (mut gram, mut moments) = (vec![0.0; width * width], vec![0.0; width]);
        for &t in &self.observed {
            let (step, y) = (self.step(t), scaled(t));
            for (i, x) in step.iter().enumerate().filter(|(_, x)| **x != 0.0) {
                moments[i] += x * y;
                gram[i * width..i * width + i + 1]
                    .iter_mut()
                    .zip(step)
                    .for_each(|(sum, other)| *sum += x * other);
            }
        }
        for i in 0..width {
            gram[i * width + i] += if i + 1 == width { 1e-6 } else { penalty };
            for j in 0..i {
                gram[j * width + i] = gram[i * width + j];
            }
        }
        let factor = Cholesky::new(gram, width)?;
        Some((factor.solve(&moments), factor))
    }

    /// How much a step's fitted value follows the step itself: `xᵀ (L Lᵀ)⁻¹ x`.
    fn leverage(&self, t: usize, inverse: &[f64]) -> f64 {
        let step = self.step(t);
        inverse
            .chunks_exact(self.width)
            .enumerate()
            .map(|(i, row)| dot(&row[..=i], &step[..=i]).powi(2))
            .sum()
    }
}

/// A covariate at mean 0 and deviation 1 of its history; what is missing is 0. `None` where it never changes.
fn column(row: &GroupRow, history: usize, steps: usize) -> Option<Vec<f64>> {
    let lead = history.saturating_sub(row.history.len());
    let past = &row.history[row.history.len().saturating_sub(history)..];
    let observed = || past.iter().filter(|x| x.is_finite()).map(|x| f64::from(*x));
    let n = observed().count() as f64;
    let mean = observed().sum::<f64>() / n.max(1.0);
    let deviation = (observed().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n.max(1.0)).sqrt();
    if deviation <= 1e-12 * mean.abs().max(1e-12) {
        return None;
    }
    let value = |t: usize| {
        let x = match t.checked_sub(lead) {
            None => None,
            Some(at) if at < past.len() => Some(past[at]),
            Some(at) => row.future.get(at - past.len()).copied(),
        };
        // A price far from all that was seen moves no further than what was.
        x.filter(|x| x.is_finite()).map_or(0.0, |x| ((f64::from(x) - mean) / deviation).clamp(-8.0, 8.0))
    };
    Some((0..steps).map(value).collect())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promo(t: usize) -> f32 {
        if t.is_multiple_of(5) { 1.0 } else { 0.0 }
    }

    fn sales(t: usize) -> f32 {
        10.0 + 6.0 * promo(t) + (t % 7) as f32
    }

    fn group(history: usize, season: usize) -> Group {
        let future = history..history + 10;
        let rows = vec![
            GroupRow {
                history: (0..history).map(sales).collect(),
                future: future.clone().map(sales).collect(),
                ..GroupRow::default()
            },
            GroupRow { history: vec![3.0; history], ..GroupRow::default() },
            GroupRow {
                history: (0..history).map(promo).collect(),
                future: future.map(promo).collect(),
                known: true,
                ..GroupRow::default()
            },
        ];
        Group { rows, frequency: 5, season }
    }

    #[test]
    fn a_promotion_and_a_week_are_found_and_what_is_past_stays() {
        let (left, taken) = explained(group(200, 7));
        assert_eq!(left.rows.len(), 2);
        let taken = taken.unwrap();
        for (ahead, (y, rest)) in taken.iter().zip(&left.rows[0].future).enumerate() {
            assert!((y - sales(200 + ahead)).abs() < 0.5 && rest.abs() < 0.5, "{ahead}: {y} {rest}");
        }
        assert!(left.rows[0].history.iter().all(|rest| rest.abs() < 1.0));
    }

    #[test]
    fn leads_that_a_history_is_too_short_for_are_left_out_alone() {
        let (plain, taken) = explained(group(75, 7));
        let mut more = group(75, 7);
        let lead = GroupRow { leads: true, ..more.rows[2].clone() };
        let noise = |t: usize| ((t * t) % 11) as f32;
        more.rows.push(GroupRow {
            history: (0..75).map(noise).collect(),
            future: (75..85).map(noise).collect(),
            ..lead.clone()
        });
        assert!(taken.is_some());
        assert_eq!(explained(more.clone()), (plain.clone(), taken));
        more.rows.truncate(2);
        more.rows.push(lead);
        assert_eq!(explained(more).0, plain);
    }

    #[test]
    fn short_histories_and_covariates_that_say_nothing_are_left_alone() {
        let (left, taken) = explained(group(40, 7));
        assert_eq!((left.rows.len(), taken), (2, None));
        assert_eq!(left.rows[0], group(40, 7).rows[0]);
        let mut flat = group(200, 0);
        flat.rows[2].history.fill(1.0);
        assert_eq!(explained(flat).1, None);
        let mut other = group(200, 7);
        other.rows[2].history.iter_mut().enumerate().for_each(|(t, x)| *x = ((t * t) % 11) as f32);
        assert_eq!(explained(other).1, None);
    }
}
