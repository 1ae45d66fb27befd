//! Sums of products of rows, correlations, and systems of equations solved by Cholesky's method.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::layers::{Matrix, multiply_add};

/// Rows whose products are summed in one go; the sums do not depend on the number of threads.
const ROWS_PER_BLOCK: usize = 1024;

/// Sums over rows of the products of every two of their values, `[width, width]`: `fill` appends rows, given their range.
pub(in crate::ml) fn gram(
    rows: usize,
    width: usize,
    control: &Control,
    fill: impl Fn(std::ops::Range<usize>, &mut Vec<f64>) + Sync,
) -> Result<Vec<f64>> {
    let blocks = rows.div_ceil(ROWS_PER_BLOCK);
    let tasks = blocks.clamp(1, 16);
    let parts = (0..tasks).into_par_iter().map(|task| {
        let (mut sum, mut values) = (vec![0.0; width * width], Vec::new());
        for block in (task..blocks).step_by(tasks) {
            control.check()?;
            values.clear();
            let first = block * ROWS_PER_BLOCK;
            fill(first..rows.min(first + ROWS_PER_BLOCK), &mut values);
            let turned = Matrix { data: &values, rows: 1, columns: width };
            let straight = Matrix { data: &values, rows: width, columns: 1 };
            multiply_add(&mut sum, (width, width, values.len() / width.max(1)), turned, straight);
        }
        Ok(sum)
    });
    let parts: Vec<Vec<f64>> = parts.collect::<Result<_>>()?;
    let mut total = vec![0.0; width * width];
    parts.iter().for_each(|part| total.iter_mut().zip(part).for_each(|(sum, x)| *sum += x));
    Ok(total)
}

/// Pearson's correlation of the pairs in which both numbers are finite; 0 where one side does not change.
pub(in crate::ml) fn correlation(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let pairs = pairs.filter(|(x, y)| x.is_finite() && y.is_finite());
    let n = pairs.clone().count().max(1) as f64;
    let (mx, my) = pairs.clone().fold((0.0, 0.0), |(mx, my), (x, y)| (mx + x / n, my + y / n));
    let [xx, yy, xy] = pairs.fold([0.0; 3], |[xx, yy, xy], (x, y)| {
        [xx + (x - mx) * (x - mx), yy + (y - my) * (y - my), xy + (x - mx) * (y - my)]
    });
    let size = (xx * yy).sqrt();
    if size > 0.0 { xy / size } else { 0.0 }
}

/// A lower triangle `L` with `L Lᵀ` the matrix that it was made from.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::ml) struct Cholesky {
    lower: Vec<f64>,
    n: usize,
}

impl Cholesky {
    /// The triangle of a symmetric matrix `[n, n]`; `None` where it is not positive definite.
    pub(in crate::ml) fn new(mut matrix: Vec<f64>, n: usize) -> Option<Self> {
        for i in 0..n {
            let (before, rest) = matrix.split_at_mut(i * n);
            let row = &mut rest[..n];
            for j in 0..i {
                let other = &before[j * n..j * n + j + 1];
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
            let square = row[i] - dot(&row[..i], &row[..i]);
            if square.is_nan() || square <= 1e-300 {
                return None;
            }
            row[i] = square.sqrt();
            row[i + 1..].fill(0.0);
        }
        Some(Self { lower: matrix, n })
    }

    /// Solves `L Lᵀ x = b`.
    pub(in crate::ml) fn solve(&self, b: &[f64]) -> Vec<f64> {
        let (n, mut x) = (self.n, b.to_vec());
        for i in 0..n {
            let row = &self.lower[i * n..i * n + i + 1];
            x[i] = (x[i] - dot(&row[..i], &x[..i])) / row[i];
        }
        self.solve_turned(&mut x);
        x
    }

    /// Solves `Lᵀ x = b` in place.
    pub(in crate::ml) fn solve_turned(&self, x: &mut [f64]) {
        let n = self.n;
        for i in (0..n).rev() {
            let row = &self.lower[i * n..i * n + i + 1];
            x[i] /= row[i];
            let (before, at) = x.split_at_mut(i);
            before.iter_mut().zip(row).for_each(|(x, l)| *x -= l * at[0]);
        }
    }

    /// The inverse of `L`, `[n, n]`.
    pub(in crate::ml) fn inverse(&self) -> Vec<f64> {
        let n = self.n;
        let mut inverse = vec![0.0; n * n];
        for i in 0..n {
            let (before, rest) = inverse.split_at_mut(i * n);
            let (row, lower) = (&mut rest[..=i], &self.lower[i * n..i * n + i + 1]);
            for (j, l) in lower[..i].iter().enumerate() {
                let other = &before[j * n..j * n + j + 1];
                row.iter_mut().zip(other).for_each(|(x, y)| *x -= l * y);
            }
            row[i] = 1.0;
            row.iter_mut().for_each(|x| *x /= lower[i]);
        }
        inverse
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    for (a, b) in a.zip(b) {
        (0..LANES).for_each(|lane| sums[lane] += a[lane] * b[lane]);
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::rng::Rng;

    #[test]
    fn a_system_of_known_solution_is_solved() {
        // Golub and Van Loan (2013), Matrix Computations, section 4.2: [[2, -2], [-2, 5]] has the factor
        // [[√2, 0], [-√2, √3]].
        let known = Cholesky::new(vec![2.0, -2.0, -2.0, 5.0], 2).unwrap();
        let (a, b) = (2f64.sqrt(), 3f64.sqrt());
        assert!(known.lower.iter().zip([a, 0.0, -a, b]).all(|(x, y)| (x - y).abs() < 1e-15));
        let (n, mut rng) = (23, Rng::new(2));
        let rows: Vec<f64> = (0..60 * n).map(|_| rng.normal()).collect();
        let fill = |range: std::ops::Range<usize>, out: &mut Vec<f64>| {
            out.extend_from_slice(&rows[range.start * n..range.end * n]);
        };
        let matrix = gram(60, n, &Control::default(), fill).unwrap();
        let wanted: Vec<f64> = (0..n).map(|i| i as f64 - 7.0).collect();
        let b: Vec<f64> = matrix.chunks_exact(n).map(|row| dot(row, &wanted)).collect();
        let factor = Cholesky::new(matrix, n).unwrap();
        assert!(factor.solve(&b).iter().zip(&wanted).all(|(x, y)| (x - y).abs() < 1e-9));
        let inverse = factor.inverse();
        for (i, row) in inverse.chunks_exact(n).enumerate() {
            for j in 0..n {
                let product: f64 = (0..n).map(|k| row[k] * factor.lower[k * n + j]).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-10);
            }
        }
        assert_eq!(Cholesky::new(vec![1.0, 2.0, 2.0, 1.0], 2), None);
    }
}
