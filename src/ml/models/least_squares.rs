//! Least squares without slopes (Levenberg 1944, Marquardt 1963), slopes by differences.

/// Step of the differences.
const STEP: f64 = 1e-5;
/// Decreases of the sum of squares below this share of it end the search.
const TOLERANCE: f64 = 1e-5;
/// Largest damping.
const DAMPING_MAX: f64 = 1e6;

/// The parameters whose residuals have the least squares, from `start` on, and the sum; `residuals` tells those of
/// some parameters, or `false` where there are none.
pub(super) fn least_squares(
    start: &[f64],
    iterations: usize,
    mut residuals: impl FnMut(&[f64], &mut Vec<f64>) -> bool,
) -> Option<(Vec<f64>, f64)> {
    let (mut x, mut at, mut beside) = (start.to_vec(), Vec::new(), Vec::new());
    let mut look = |x: &[f64], out: &mut Vec<f64>| {
        let sum: f64 = if residuals(x, out) { out.iter().map(|r| r * r).sum() } else { f64::INFINITY };
        Some(sum).filter(|sum| sum.is_finite())
    };
    let mut best = look(&x, &mut at)?;
    let mut damping = 1e-2;
    let mut slopes: Vec<Vec<f64>> = Vec::with_capacity(x.len());
    for _ in 0..iterations {
        slopes.clear();
        for i in 0..x.len() {
            let kept = x[i];
            x[i] += STEP;
            let there = look(&x, &mut beside).is_some();
            x[i] = kept;
            slopes.push(match there {
                true => beside.iter().zip(&at).map(|(b, a)| (b - a) / STEP).collect(),
                false => vec![0.0; at.len()],
            });
        }
        let before = best;
        while damping < DAMPING_MAX {
            let step = step(&slopes, &at, damping);
            let next: Vec<f64> = x.iter().zip(&step).map(|(x, s)| x - s).collect();
            match look(&next, &mut beside) {
                Some(sum) if sum < best => {
                    (x, best) = (next, sum);
                    std::mem::swap(&mut at, &mut beside);
                    damping = (damping * 0.1).max(1e-6);
                    break;
                }
                _ => damping *= 8.0,
            }
        }
        if before - best <= TOLERANCE * before {
            break;
        }
    }
    Some((x, best))
}

/// The step that the linearised residuals ask for: `(J'J + damping diag(J'J)) step = J'r`.
fn step(slopes: &[Vec<f64>], residuals: &[f64], damping: f64) -> Vec<f64> {
    let n = slopes.len();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut rows = vec![vec![0.0; n]; n];
    for (i, row) in rows.iter_mut().enumerate() {
        for (cell, slope) in row.iter_mut().zip(&slopes[..=i]) {
            *cell = dot(&slopes[i], slope);
        }
        row[i] = row[i] * (1.0 + damping) + 1e-12;
    }
    let mut x: Vec<f64> = slopes.iter().map(|slope| dot(slope, residuals)).collect();
    // Cholesky's factor in place, then forwards and backwards.
    for i in 0..n {
        for j in 0..=i {
            let inner: f64 = (0..j).map(|k| rows[i][k] * rows[j][k]).sum();
            let left = rows[i][j] - inner;
            rows[i][j] = if i == j { left.max(1e-300).sqrt() } else { left / rows[j][j] };
        }
        let inner: f64 = (0..i).map(|k| rows[i][k] * x[k]).sum();
        x[i] = (x[i] - inner) / rows[i][i];
    }
    for i in (0..n).rev() {
        let inner: f64 = (i + 1..n).map(|k| rows[k][i] * x[k]).sum();
        x[i] = (x[i] - inner) / rows[i][i];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bent_valley_and_a_wall() {
        let banana = |x: &[f64], out: &mut Vec<f64>| {
            out.clear();
            out.extend([1.0 - x[0], 10.0 * (x[1] - x[0] * x[0])]);
            x[0] < 3.0
        };
        let (x, sum) = least_squares(&[-1.2, 1.0], 100, banana).unwrap();
        assert!(sum < 1e-8 && (x[0] - 1.0).abs() < 1e-3 && (x[1] - 1.0).abs() < 1e-3, "{x:?} {sum}");
        assert!(least_squares(&[4.0, 1.0], 9, banana).is_none());
    }

    #[test]
    fn parameters_that_do_nothing_stay() {
        let only_first = |x: &[f64], out: &mut Vec<f64>| {
            out.clear();
            out.extend([x[0] - 2.0, 1.0]);
            true
        };
        let (x, sum) = least_squares(&[0.0, 7.0], 20, only_first).unwrap();
        assert!((x[0] - 2.0).abs() < 1e-3 && x[1] == 7.0 && (sum - 1.0).abs() < 1e-6);
    }
}
