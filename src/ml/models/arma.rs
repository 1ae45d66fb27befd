//! A stationary process `w = ar · past w + e + ma · past e` with innovations `e`, and its exact one-step forecasts.
//!
//! The Kalman filter of the process starts from its stationary distribution and changes by a rank of one at every
//! step, so that it costs as much per step as the process has lags (Morf, Sidhu and Kailath 1974; Mélard 1984).

/// More than the lags of any process.
const LAGS_MAX: usize = 32;

/// A number for every lag, the first one first.
type Lags = [f64; LAGS_MAX];

/// Changes of the variance below this are none.
const STEADY: f64 = 1e-12;

/// The coefficients by lag, without the leading 1.
#[derive(Debug, Clone)]
pub(super) struct Arma {
    ar: Vec<f64>,
    ma: Vec<f64>,
}

/// Where the filter stands after some values.
#[derive(Debug, Clone)]
pub(super) struct Filtered {
    /// What is known of the next values and those after them.
    state: Lags,
    size: usize,
}

impl Arma {
    /// The process whose polynomials are products of a short and a seasonal one; `None` where they are too long.
    pub(super) fn seasonal(ar: [&[f64]; 2], ma: [&[f64]; 2], season: usize) -> Option<Self> {
        let minus = |a: &[f64]| a.iter().map(|a| -a).collect::<Vec<f64>>();
        let ar = minus(&product(&minus(ar[0]), &minus(ar[1]), season));
        let ma = product(ma[0], ma[1], season);
        (ar.len() < LAGS_MAX && ma.len() + 1 < LAGS_MAX).then_some(Self { ar, ma })
    }

    /// Tells the error of the one-step forecast of every value and its variance beside that of an innovation; `None`
    /// where the process is not stationary.
    pub(super) fn filter(&self, values: &[f64], mut each: impl FnMut(f64, f64)) -> Option<Filtered> {
        let size = self.ar.len().max(self.ma.len() + 1);
        let mut ar = [0.0; LAGS_MAX];
        ar[..self.ar.len()].copy_from_slice(&self.ar);
        let (mut variance, mut gain) = self.start(size)?;
        let mut state = [0.0; LAGS_MAX];
        // What the next step adds to the covariance of the state: `weight * change * change'`.
        let (mut change, mut weight) = (gain, -1.0 / variance);
        let mut steady = 0;
        for value in values {
            let (first, error) = (state[0], value - state[0]);
            each(error, variance);
            let share = error / variance;
            // Beyond its size a state is nothing.
            for (i, (ar, gain)) in ar.iter().zip(&gain).enumerate().take(size) {
                state[i] = state[i + 1] + ar * first + gain * share;
            }
            if steady > size {
                continue;
            }
            let head = change[0];
            let (moved, scaled) = (weight * head, head / variance);
            for (i, (ar, gain)) in ar.iter().zip(&mut gain).enumerate().take(size) {
                let next = change[i + 1] + ar * head;
                change[i] = next - *gain * scaled;
                *gain += moved * next;
            }
            let before = variance;
            variance += moved * head;
            weight *= before / variance;
            steady = if before - variance <= STEADY { steady + 1 } else { 0 };
            if variance.is_nan() || variance <= 0.0 {
                return None;
            }
        }
        Some(Filtered { state, size })
    }

    /// Variance of the first value, and how the state after it leans on it.
    fn start(&self, size: usize) -> Option<(f64, Lags)> {
        let (p, q) = (self.ar.len(), self.ma.len());
        let covariances = self.covariances(p.max(1))?;
        let weights = self.weights(q);
        let mut gain = [0.0; LAGS_MAX];
        for (i, gain) in gain[..size].iter_mut().enumerate() {
            let past: f64 = (i..p).map(|j| self.ar[j] * covariances[j - i]).sum();
            let errors: f64 = (i..q).map(|j| self.ma[j] * weights[j - i]).sum();
            *gain = past + errors;
        }
        Some((covariances[0], gain))
    }

    /// Autocovariances at the first lags from 0 on.
    fn covariances(&self, count: usize) -> Option<Vec<f64>> {
        let q = self.ma.len();
        let of_ar = autoregressive_covariances(&self.ar, count + q)?;
        let moving = std::iter::once(1.0).chain(self.ma.iter().copied()).enumerate();
        let moving: Vec<(usize, f64)> = moving.filter(|(_, b)| *b != 0.0).collect();
        let mut products = vec![0.0; 2 * q + 1];
        for (i, a) in &moving {
            for (j, b) in &moving {
                products[q + i - j] += a * b;
            }
        }
        let products: Vec<(usize, f64)> =
            products.into_iter().enumerate().filter(|(_, product)| *product != 0.0).collect();
        let at = |lag: usize| products.iter().map(|(i, b)| b * of_ar[(lag + q).abs_diff(*i)]).sum();
        Some((0..count).map(at).collect())
    }

    /// What an innovation adds to the values from its own on.
    fn weights(&self, count: usize) -> Vec<f64> {
        impulse(&self.ar, &self.ma, count)
    }
}

impl Filtered {
    /// The forecasts of the next values.
    pub(super) fn forecast(mut self, process: &Arma, horizon: usize) -> Vec<f64> {
        let mut out = Vec::with_capacity(horizon);
        for _ in 0..horizon {
            let first = self.state[0];
            out.push(first);
            self.state.copy_within(1..self.size, 0);
            self.state[self.size - 1] = 0.0;
            self.state.iter_mut().zip(&process.ar).for_each(|(state, ar)| *state += ar * first);
        }
        out
    }
}

/// What an innovation adds to the values from its own on, in a process of any kind.
pub(super) fn impulse(ar: &[f64], ma: &[f64], count: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(count);
    for k in 0..count {
        let own = if k == 0 { 1.0 } else { ma.get(k - 1).copied().unwrap_or(0.0) };
        let past: f64 = ar.iter().zip(out.iter().rev()).map(|(a, w): (&f64, &f64)| a * w).sum();
        out.push(own + past);
    }
    out
}

/// The product of `1 + a1 B + …` and `1 + b1 B^season + …`, without the leading 1.
pub(super) fn product(short: &[f64], seasonal: &[f64], season: usize) -> Vec<f64> {
    let mut out = vec![0.0; short.len() + season * seasonal.len()];
    out[..short.len()].copy_from_slice(short);
    for (at, b) in seasonal.iter().enumerate() {
        let at = season * (at + 1);
        out[at - 1] += b;
        short.iter().enumerate().for_each(|(i, a)| out[at + i] += a * b);
    }
    out
}

/// The coefficients of the stationary autoregression with these partial autocorrelations (Durbin 1960).
pub(super) fn from_partial(partial: &[f64]) -> Vec<f64> {
    let mut out: Vec<f64> = Vec::with_capacity(partial.len());
    for kappa in partial {
        let before = out.clone();
        out.iter_mut().zip(before.iter().rev()).for_each(|(a, b)| *a -= kappa * b);
        out.push(*kappa);
    }
    out
}

/// Durbin's recursion backwards: the predictors of every order up to that of the autoregression; `None` where it is
/// not stationary.
fn predictors(ar: &[f64]) -> Option<Vec<Lags>> {
    let mut rows = vec![[0.0; LAGS_MAX]; ar.len()];
    if let Some(last) = rows.last_mut() {
        last[..ar.len()].copy_from_slice(ar);
    }
    for k in (0..ar.len()).rev() {
        let (shorter, row) = rows.split_at_mut(k);
        let (row, kappa) = (&row[0], row[0][k]);
        if kappa.is_nan() || kappa.abs() >= 1.0 {
            return None;
        }
        if let Some(shorter) = shorter.last_mut() {
            let left = 1.0 / (1.0 - kappa * kappa);
            (0..k).for_each(|j| shorter[j] = (row[j] + kappa * row[k - 1 - j]) * left);
        }
    }
    Some(rows)
}

/// Whether an autoregression is stationary.
pub(super) fn is_stationary(ar: &[f64]) -> bool {
    ar.len() <= LAGS_MAX && predictors(ar).is_some()
}

/// Autocovariances of an autoregression at the first lags from 0 on; `None` where it is not stationary.
fn autoregressive_covariances(ar: &[f64], count: usize) -> Option<Vec<f64>> {
    let rows = predictors(ar)?;
    let left: f64 = rows.iter().enumerate().map(|(k, row)| 1.0 - row[k] * row[k]).product();
    let mut out = Vec::with_capacity(count);
    let mut variance = 1.0 / left;
    out.push(variance);
    for k in 1..count {
        let order = (k - 1).min(ar.len());
        let row = if order == 0 { &[][..] } else { &rows[order - 1][..order] };
        let known: f64 = row.iter().zip(out.iter().rev()).map(|(a, c): (&f64, &f64)| a * c).sum();
        let kappa = if order < ar.len() { rows[order][order] } else { 0.0 };
        out.push(known + kappa * variance);
        variance *= 1.0 - kappa * kappa;
    }
    out.iter().all(|c| c.is_finite()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors and variances of one-step forecasts from the covariances of all values (Brockwell and Davis 1991,
    /// Durbin-Levinson).
    fn by_covariances(process: &Arma, values: &[f64]) -> Vec<(f64, f64)> {
        let covariances = process.covariances(values.len()).unwrap();
        let (mut row, mut variance): (Vec<f64>, f64) = (Vec::new(), covariances[0]);
        let mut out = Vec::new();
        for t in 0..values.len() {
            let expected: f64 = row.iter().zip(values[..t].iter().rev()).map(|(a, y)| a * y).sum();
            out.push((values[t] - expected, variance));
            if t + 1 < values.len() {
                let known: f64 = row.iter().zip(covariances[1..=t].iter().rev()).map(|(a, c)| a * c).sum();
                let kappa = (covariances[t + 1] - known) / variance;
                let before = row.clone();
                row.iter_mut().zip(before.iter().rev()).for_each(|(a, b)| *a -= kappa * b);
                row.push(kappa);
                variance *= 1.0 - kappa * kappa;
            }
        }
        out
    }

    #[test]
    fn the_fast_filter_is_exact() {
        let values: Vec<f64> = (0..40).map(|t| ((t * 37) % 11) as f64 - 5.0).collect();
        for (ar, ma, season) in [
            ([&[0.5][..], &[]], [&[][..], &[][..]], 1),
            ([&[], &[]], [&[0.8], &[]], 1),
            ([&[0.4, 0.3], &[]], [&[-0.5, 0.2], &[]], 1),
            ([&[0.6], &[0.5]], [&[-0.4], &[-0.7]], 4),
            ([&[], &[]], [&[-0.4, 0.1, 0.2], &[-0.6]], 12),
        ] {
            let process = Arma::seasonal(ar, ma, season).unwrap();
            let mut fast = Vec::new();
            process.filter(&values, |error, variance| fast.push((error, variance))).unwrap();
            for (a, b) in fast.iter().zip(by_covariances(&process, &values)) {
                assert!((a.0 - b.0).abs() < 1e-8 && (a.1 - b.1).abs() < 1e-8, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn covariances_and_weights_of_the_textbook() {
        let process = Arma::seasonal([&[0.5], &[]], [&[0.4], &[]], 1).unwrap();
        let first = 1.0 + 0.9 * 0.9 / 0.75;
        let covariances = process.covariances(3).unwrap();
        for (c, expected) in covariances.iter().zip([first, 0.5 * first + 0.4, 0.25 * first + 0.2]) {
            assert!((c - expected).abs() < 1e-12);
        }
        assert_eq!(process.weights(4), [1.0, 0.9, 0.45, 0.225]);
        assert_eq!(product(&[-1.0], &[-1.0], 4), [-1.0, 0.0, 0.0, -1.0, 1.0]);
        assert!(is_stationary(&[0.5, 0.4]) && !is_stationary(&[0.5, 0.5]) && !is_stationary(&[1.2]));
        let ar = from_partial(&[0.5, -0.3]);
        assert!((ar[0] - 0.65).abs() < 1e-12 && ar[1] == -0.3);
    }

    #[test]
    fn an_explosion_is_no_process() {
        let process = Arma::seasonal([&[1.1], &[]], [&[], &[]], 1).unwrap();
        assert!(process.filter(&[1.0, 2.0], |_, _| {}).is_none());
        assert!(Arma::seasonal([&[0.1; 3], &[0.1]], [&[], &[]], 30).is_none());
    }
}
