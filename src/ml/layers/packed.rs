//! Products with a matrix that is packed once and multiplied many times, by a few rows each time.

use crate::ml::layers::kernels::{Matrix, vectorised};

/// Columns of a panel.
const PANEL: usize = 32;

/// Most rows that are multiplied together.
const ROWS: usize = 8;

/// A matrix in panels of columns, zeros beyond the last column.
#[derive(Debug)]
pub(super) struct Packed {
    panels: Vec<f32>,
    rows: usize,
    columns: usize,
}

impl Packed {
    /// Packs a matrix of `rows` and `columns`.
    pub(super) fn new(matrix: Matrix<'_>, (rows, columns): (usize, usize)) -> Self {
        let mut panels = vec![0.0; columns.div_ceil(PANEL) * rows * PANEL];
        for (p, panel) in panels.chunks_exact_mut((rows * PANEL).max(1)).enumerate() {
            let width = PANEL.min(columns - p * PANEL);
            for (i, row) in panel.chunks_exact_mut(PANEL).enumerate() {
                let from = i * matrix.rows + p * PANEL * matrix.columns;
                for (j, x) in row[..width].iter_mut().enumerate() {
                    *x = matrix.data[from + j * matrix.columns];
                }
            }
        }
        Self { panels, rows, columns }
    }

    /// `output[m, columns] += left[m, rows] * self`.
    pub(super) fn multiply_add(&self, left: &[f32], output: &mut [f32]) {
        if self.rows > 0 && self.columns > 0 {
            multiply_panels(left, &self.panels, output, (self.rows, self.columns));
        }
    }
}

vectorised! {
    /// Adds the product of `left[m, k]` and panels of a matrix `[k, n]` to `output[m, n]`.
    multiply_panels(left: &[f32], panels: &[f32], output: &mut [f32], size: (usize, usize)) {
        let (k, n) = size;
        let mut turned = vec![0.0; ROWS * k];
        for (left, output) in left.chunks(ROWS * k).zip(output.chunks_mut(ROWS * n)) {
            let rows = output.len() / n;
            for (i, column) in turned.chunks_exact_mut(rows).enumerate().take(k) {
                column.iter_mut().zip(left.chunks_exact(k)).for_each(|(x, row)| *x = row[i]);
            }
            for (panel, at) in panels.chunks_exact(k * PANEL).zip((0..n).step_by(PANEL)) {
                match rows {
                    8 => block::<8>(&turned, panel, output, (n, at)),
                    7 => block::<7>(&turned, panel, output, (n, at)),
                    6 => block::<6>(&turned, panel, output, (n, at)),
                    5 => block::<5>(&turned, panel, output, (n, at)),
                    4 => block::<4>(&turned, panel, output, (n, at)),
                    3 => block::<3>(&turned, panel, output, (n, at)),
                    2 => block::<2>(&turned, panel, output, (n, at)),
                    _ => block::<1>(&turned, panel, output, (n, at)),
                }
            }
        }
    }
}

/// `R` rows, turned, times a panel, added to the columns from `at` on of rows of `n`.
#[inline(always)]
fn block<const R: usize>(turned: &[f32], panel: &[f32], output: &mut [f32], (n, at): (usize, usize)) {
    let mut sums = [[0.0f32; PANEL]; R];
    for (left, right) in turned.as_chunks::<R>().0.iter().zip(panel.as_chunks::<PANEL>().0) {
        for (sums, x) in sums.iter_mut().zip(left) {
            for (sum, y) in sums.iter_mut().zip(right) {
                *sum = x.mul_add(*y, *sum);
            }
        }
    }
    for (row, sums) in output.chunks_exact_mut(n).zip(&sums) {
        row[at..].iter_mut().zip(sums).for_each(|(y, sum)| *y += sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::kernels::multiply_add;

    #[test]
    fn equals_the_plain_product_for_all_sizes() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 31), (8, 7, 32), (21, 16, 70), (15, 33, 128)] {
            let numbers = |n: usize| (0..n).map(|i| ((i * 7) % 13) as f32 - 6.0).collect::<Vec<f32>>();
            let (left, right) = (numbers(m * k), numbers(k * n));
            let (mut plain, mut packed) = (numbers(m * n), numbers(m * n));
            let matrix = Matrix { data: &right, rows: n, columns: 1 };
            multiply_add(&mut plain, (m, n, k), Matrix { data: &left, rows: k, columns: 1 }, matrix);
            Packed::new(matrix, (k, n)).multiply_add(&left, &mut packed);
            assert_eq!(plain, packed, "{m} {k} {n}");
        }
    }
}
