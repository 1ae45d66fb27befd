//! Dual coordinate descent for linear support vector regression (Ho and Lin 2012).

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::rng::Rng;

/// Most passes over all rows.
pub(super) const PASSES: usize = 30;
/// Mean change of a pass, in units of ε, below which there is no other one.
const PATIENCE: f32 = 0.1;
/// Rows between two looks at the control.
const ROWS_PER_CHECK: usize = 4096;

/// Minimises ½ ‖w‖² + bound Σ max(|y - w x| - ε, 0) through its dual.
pub(super) struct Descent<'a> {
    rows: Vec<&'a [f32]>,
    targets: &'a [f32],
    epsilon: f32,
    rng: Rng,
    /// Squares of the lengths of the rows.
    squares: Vec<f32>,
    /// One a row, at most the bound.
    dual: Vec<f32>,
    weights: Vec<f32>,
}

impl<'a> Descent<'a> {
    /// No weight yet, for rows of so many numbers.
    pub(super) fn new(
        rows: Vec<&'a [f32]>,
        width: usize,
        targets: &'a [f32],
        epsilon: f32,
        rng: Rng,
    ) -> Self {
        let squares = rows.iter().map(|row| dot(row, row)).collect();
        let (dual, weights) = (vec![0.0; rows.len()], vec![0.0; width]);
        Self { rows, targets, epsilon, rng, squares, dual, weights }
    }

    /// The weights for this bound, sought from those of a smaller one.
    pub(super) fn run(&mut self, bound: f32, control: &Control) -> Result<&[f32]> {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        for _ in 0..PASSES {
            self.rng.shuffle(&mut order);
            let mut changed = 0.0;
            for (n, at) in order.iter().enumerate() {
                if n % ROWS_PER_CHECK == 0 {
                    control.check()?;
                }
                let (row, square) = (self.rows[*at], self.squares[*at]);
                let slope = dot(&self.weights, row) - self.targets[*at];
                let change = self.best_change(slope, square, self.dual[*at], bound);
                if change != 0.0 {
                    changed += f64::from(change.abs() * square);
                    self.dual[*at] += change;
                    self.weights.iter_mut().zip(row).for_each(|(w, x)| *w += change * x);
                }
            }
            if changed < f64::from(PATIENCE * self.epsilon) * self.rows.len() as f64 {
                break;
            }
        }
        Ok(&self.weights)
    }

    /// The change of one dual variable that is best while all others stay.
    fn best_change(&self, slope: f32, square: f32, dual: f32, bound: f32) -> f32 {
        if square <= 0.0 {
            return 0.0;
        }
        let (up, down) = (slope + self.epsilon, slope - self.epsilon);
        let free = if up < square * dual {
            -up / square
        } else if down > square * dual {
            -down / square
        } else {
            -dual
        };
        (dual + free).clamp(-bound, bound) - dual
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    for (a, b) in a.zip(b) {
        (0..LANES).for_each(|lane| sums[lane] += a[lane] * b[lane]);
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rows: &[[f32; 2]], targets: &[f32], epsilon: f32, bound: f32) -> Vec<f32> {
        let rows = rows.iter().map(|row| &row[..]).collect();
        let mut descent = Descent::new(rows, 2, targets, epsilon, Rng::new(1));
        (0..40).for_each(|_| {
            descent.run(bound, &Control::default()).unwrap();
        });
        descent.weights
    }

    #[test]
    fn the_flattest_line_within_epsilon_is_found_and_outliers_are_bounded() {
        // Two points that a line can pass at distance ε: the flattest one touches both tubes, so its slope is
        // (4 - 2 ε) / 2; without a penalty on errors large enough nothing is learnt.
        let weights = run(&[[-1.0, 0.0], [1.0, 0.0]], &[-2.0, 2.0], 0.5, 100.0);
        assert!((weights[0] - 1.5).abs() < 1e-3, "{weights:?}");
        let weights = run(&[[-1.0, 0.0], [1.0, 0.0]], &[-2.0, 2.0], 0.5, 0.25);
        assert!((weights[0] - 0.5).abs() < 1e-3, "{weights:?}");
        assert_eq!(run(&[[1.0, 1.0]], &[0.3], 0.5, 1.0), [0.0, 0.0]);
    }
}
