//! The covariance of the errors of base forecasts: variances, and correlations shrunk towards none.

use serde::{Deserialize, Serialize};

/// Variances below this share of the mean one count as that: nothing is forecast without error.
const VARIANCE_MIN: f64 = 1e-8;

/// Variances of errors and, as far as they are shrunk less than wholly, their correlations.
///
/// `W = D^1/2 (shrinkage I + (1 - shrinkage) Z Z') D^1/2`, with the rows of `Z` of length 1 where a node has errors and 0
/// where it has none (Schäfer and Strimmer 2005; Wickramasuriya, Athanasopoulos and Hyndman 2019). It is never formed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Covariance {
    /// Share of the diagonal.
    pub shrinkage: f64,
    /// One per node.
    #[serde(skip)]
    pub variances: Vec<f64>,
    /// `[node, step]`: errors over the root of the sum of their squares.
    #[serde(skip)]
    pub scaled: Vec<f64>,
    /// Steps with errors.
    pub steps: usize,
}

/// Mean squared error of every node from `[node, step]`, NaN where a node has none.
pub fn mean_squares(errors: &[f64], steps: usize) -> Vec<f64> {
    let mean = |row: &[f64]| {
        let present: Vec<f64> = row.iter().copied().filter(|e| !e.is_nan()).collect();
        present.iter().map(|e| e * e).sum::<f64>() / present.len() as f64
    };
    if steps == 0 { Vec::new() } else { errors.chunks_exact(steps).map(mean).collect() }
}

/// Lifts variances that are nothing beside the others.
pub fn lifted(variances: &mut [f64]) {
    let present = || variances.iter().filter(|v| v.is_finite());
    let mean = present().sum::<f64>() / present().count().max(1) as f64;
    let least = VARIANCE_MIN * mean;
    variances.iter_mut().filter(|v| **v < least).for_each(|v| *v = least);
}

impl Covariance {
    /// Variances alone.
    pub fn diagonal(variances: Vec<f64>) -> Self {
        Self { shrinkage: 1.0, variances, scaled: Vec::new(), steps: 0 }
    }

    /// Variances with the correlations of these errors, `[node, step]` with NaN where nothing was observed.
    pub fn shrunk(variances: Vec<f64>, errors: &[f64], steps: usize) -> Self {
        let mut scaled: Vec<f64> = errors.iter().map(|e| if e.is_nan() { 0.0 } else { *e }).collect();
        for row in scaled.chunks_exact_mut(steps.max(1)) {
            let length = row.iter().map(|z| z * z).sum::<f64>().sqrt();
            row.iter_mut().for_each(|z| *z = if length > 0.0 { *z / length } else { 0.0 });
        }
        let shrinkage = shrinkage(&scaled, steps);
        Self { shrinkage, variances, scaled, steps }
    }

    /// The errors of a node in units of `W`'s part that is not diagonal.
    pub fn row(&self, node: usize) -> &[f64] {
        self.scaled.get(node * self.steps..(node + 1) * self.steps).unwrap_or_default()
    }
}

/// The share by which correlations are best shrunk: the sum of the variances of their estimates over the sum of their
/// squares (Schäfer and Strimmer 2005), from rows of length 1. Sums over all pairs of nodes take one pass over nodes.
fn shrinkage(scaled: &[f64], steps: usize) -> f64 {
    if steps < 2 {
        return 1.0;
    }
    let n = steps as f64;
    let mut gram = vec![0.0; steps * steps];
    let mut squares = vec![0.0; steps];
    let (mut own_squares, mut own_fourths) = (0.0, 0.0);
    for row in scaled.chunks_exact(steps) {
        for (t, z) in row.iter().enumerate().filter(|(_, z)| **z != 0.0) {
            squares[t] += z * z;
            own_fourths += z.powi(4);
            gram[t * steps..(t + 1) * steps].iter_mut().zip(row).for_each(|(g, other)| *g += z * other);
        }
        own_squares += row.iter().map(|z| z * z).sum::<f64>().powi(2);
    }
    // Over pairs of different nodes, where r_ij is the sum over steps of z_it z_jt.
    let correlations = gram.iter().map(|g| g * g).sum::<f64>() - own_squares;
    let products = squares.iter().map(|s| s * s).sum::<f64>() - own_fourths;
    if correlations <= 0.0 {
        return 1.0;
    }
    // With z' = z sqrt(n) of mean square 1, the variance of r_ij is (sum z'_i^2 z'_j^2 - n r_ij^2) / (n (n - 1)).
    let variances = (n * n * products - n * correlations) / (n * (n - 1.0));
    (variances / correlations).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::rng::Rng;

    /// As `shrink.estim` of the R package hts writes it, pair by pair.
    fn pairwise(errors: &[f64], nodes: usize, steps: usize) -> f64 {
        let n = steps as f64;
        let at = |i: usize, t: usize| errors[i * steps + t];
        let scale = |i: usize| ((0..steps).map(|t| at(i, t).powi(2)).sum::<f64>() / n).sqrt();
        let (mut variances, mut squares) = (0.0, 0.0);
        for i in 0..nodes {
            for j in (0..nodes).filter(|j| *j != i) {
                let products: Vec<f64> =
                    (0..steps).map(|t| at(i, t) / scale(i) * at(j, t) / scale(j)).collect();
                let sum: f64 = products.iter().sum();
                let fourth: f64 = products.iter().map(|p| p * p).sum();
                variances += (fourth - sum * sum / n) / (n * (n - 1.0));
                squares += (sum / n).powi(2);
            }
        }
        (variances / squares).clamp(0.0, 1.0)
    }

    #[test]
    fn shrinkage_is_that_of_hts_and_tells_correlated_errors_from_noise() {
        let (nodes, steps) = (9, 30);
        let mut rng = Rng::new(11);
        let common: Vec<f64> = (0..steps).map(|_| rng.normal()).collect();
        let mut errors = |share: f64| -> Vec<f64> {
            (0..nodes * steps).map(|at| share * common[at % steps] + rng.normal()).collect()
        };
        let (noise, correlated) = (errors(0.0), errors(2.0));
        let shrunk = |errors: &[f64]| Covariance::shrunk(mean_squares(errors, steps), errors, steps);
        for errors in [&noise, &correlated] {
            let expected = pairwise(errors, nodes, steps);
            assert!((shrunk(errors).shrinkage - expected).abs() < 1e-12, "{expected}");
        }
        assert!(shrunk(&noise).shrinkage > 0.6 && shrunk(&correlated).shrinkage < 0.2);
        assert_eq!(Covariance::shrunk(vec![1.0; 2], &[1.0, 2.0], 1).shrinkage, 1.0);
    }
}
