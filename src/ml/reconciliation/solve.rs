//! Coherent forecasts nearest to base forecasts: one system with an equation for every sum, by conjugate gradients.

use crate::ml::hierarchy::Hierarchy;
use crate::ml::reconciliation::covariance::Covariance;

/// Residual, beside the one at the start, at which the system is solved.
const TOLERANCE: f64 = 1e-12;
/// Most steps of conjugate gradients.
const STEPS_MAX: usize = 1000;

/// `C W C'` for the constraints `C = [-A I]`, in which `A` says which series every sum has.
///
/// The coherent forecasts nearest to `y` are `y - W C' (C W C')^-1 C y`, which needs no inverse of `W`; with `W` diagonal or
/// low-rank beside its diagonal, everything stays as sparse as `A`.
#[derive(Debug)]
pub struct System<'a> {
    hierarchy: &'a Hierarchy,
    /// The diagonal part of `W`.
    own: Vec<f64>,
    /// `[series, steps]` of `U` in the rest `U U'` of `W`.
    series: Vec<f64>,
    /// `[sum, steps]` of `C U`.
    sums: Vec<f64>,
    steps: usize,
    /// The diagonal of `C W C'`.
    diagonal: Vec<f64>,
}

impl<'a> System<'a> {
    /// Of a covariance with a row for every node of the hierarchy.
    pub fn new(hierarchy: &'a Hierarchy, covariance: &Covariance) -> Self {
        let steps = if covariance.shrinkage < 1.0 { covariance.steps } else { 0 };
        let (mut own, mut low) = (Vec::new(), Vec::new());
        for (node, variance) in covariance.variances.iter().enumerate() {
            let row = if steps > 0 { covariance.row(node) } else { &[] };
            let share = 1.0 - covariance.shrinkage;
            own.push(variance * (1.0 - share * row.iter().map(|z| z * z).sum::<f64>()));
            low.extend(row.iter().map(|z| (share * variance).sqrt() * z));
        }
        let sums = low.split_off(hierarchy.series() * steps);
        let mut out = Self { hierarchy, own, series: low, sums, steps, diagonal: Vec::new() };
        for sum in 0..hierarchy.sums() {
            let mut diagonal = out.own[hierarchy.series() + sum];
            for series in hierarchy.members(sum) {
                diagonal += out.own[series];
                let from = &out.series[series * steps..(series + 1) * steps];
                let into = &mut out.sums[sum * steps..(sum + 1) * steps];
                into.iter_mut().zip(from).for_each(|(into, from)| *into -= from);
            }
            diagonal += out.sums[sum * steps..(sum + 1) * steps].iter().map(|v| v * v).sum::<f64>();
            out.diagonal.push(diagonal);
        }
        out
    }

    /// What is added to the base forecasts of the series.
    pub fn adjustments(&self, base: &[f64]) -> Vec<f64> {
        let incoherence: Vec<f64> = (0..self.hierarchy.sums())
            .map(|sum| {
                let total: f64 = self.hierarchy.members(sum).map(|series| base[series]).sum();
                base[self.hierarchy.series() + sum] - total
            })
            .collect();
        let solution = self.solve(&incoherence);
        let spread = self.spread(&solution);
        let low = self.low(&solution);
        let mut out = Vec::with_capacity(self.hierarchy.series());
        for (series, spread) in spread.iter().enumerate() {
            // The row of W C' x: the diagonal part, where C' has -1, and U times U' C' x.
            let row = &self.series[series * self.steps..(series + 1) * self.steps];
            out.push(self.own[series] * spread - dot(row, &low));
        }
        out
    }

    /// `A' x`: for every series the sum of the values of its sums.
    fn spread(&self, x: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.hierarchy.series()];
        for (sum, x) in x.iter().enumerate() {
            self.hierarchy.members(sum).for_each(|series| out[series] += x);
        }
        out
    }

    /// `U' C' x`.
    fn low(&self, x: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.steps];
        for (row, x) in self.sums.chunks_exact(self.steps.max(1)).zip(x) {
            out.iter_mut().zip(row).for_each(|(out, v)| *out += v * x);
        }
        out
    }

    /// `C W C' x`.
    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let spread = self.spread(x);
        let low = self.low(x);
        (0..x.len())
            .map(|sum| {
                let members: f64 = self.hierarchy.members(sum).map(|s| self.own[s] * spread[s]).sum();
                let row = &self.sums[sum * self.steps..(sum + 1) * self.steps];
                self.own[self.hierarchy.series() + sum] * x[sum] + members + dot(row, &low)
            })
            .collect()
    }

    /// Conjugate gradients, each equation scaled by its diagonal (Hestenes and Stiefel 1952).
    fn solve(&self, right: &[f64]) -> Vec<f64> {
        let mut x = vec![0.0; right.len()];
        let mut residual = right.to_vec();
        let scaled = |r: &[f64]| -> Vec<f64> {
            r.iter().zip(&self.diagonal).map(|(r, d)| if *d > 0.0 { r / d } else { 0.0 }).collect()
        };
        let mut z = scaled(&residual);
        let mut direction = z.clone();
        let mut size = dot(&residual, &z);
        let enough = TOLERANCE * TOLERANCE * size;
        for _ in 0..STEPS_MAX {
            let image = self.apply(&direction);
            let curvature = dot(&direction, &image);
            if size <= enough || curvature <= 0.0 {
                break;
            }
            let step = size / curvature;
            x.iter_mut().zip(&direction).for_each(|(x, d)| *x += step * d);
            residual.iter_mut().zip(&image).for_each(|(r, i)| *r -= step * i);
            z = scaled(&residual);
            let next = dot(&residual, &z);
            let share = next / size;
            direction.iter_mut().zip(&z).for_each(|(d, z)| *d = z + share * *d);
            size = next;
        }
        x
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
