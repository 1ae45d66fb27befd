//! The Gaussian kernel between rows and a few of them, the landmarks (Williams and Seeger 2001, Nyström's method).

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::layers::{Matrix, exp, multiply_add, vectorised};
use crate::ml::matrix::Cholesky;
use crate::ml::models::regression::design::Design;
use crate::ml::models::regression::table::Table;
use crate::ml::rng::Rng;
use crate::ml::trees::Rows;

/// Most landmarks.
pub(super) const LANDMARKS: usize = 400;
/// What is added to the nearness of a landmark to itself, so that nearly equal ones do not matter.
const RIDGE: f64 = 1e-3;
/// Rows whose products with landmarks are computed at once.
const ROWS: usize = 4;
/// Landmarks whose products are.
const COLUMNS: usize = 32;
/// Rows whose features one thread computes before it takes others.
const ROWS_PER_TASK: usize = 256;

/// How near rows are to the landmarks: e^(-γ d²).
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) design: Design,
    pub(super) gamma: f32,
    /// `[landmarks, design]`.
    pub(super) landmarks: Vec<f32>,
    /// Squares of their lengths.
    squares: Vec<f32>,
    /// Some landmarks side by side, column after column; the last ones are padded with zeros.
    tiles: Vec<[f32; COLUMNS]>,
}

impl Kernel {
    /// A kernel whose landmarks are some of the rows; γ is 1 over twice the median square distance of two of them.
    pub(super) fn fit(rows: &Table, rng: &mut Rng, control: &Control) -> Result<Self> {
        let design = Design::fit(rows, control)?;
        let mut chosen: Vec<usize> = (0..rows.len()).collect();
        rng.shuffle(&mut chosen);
        chosen.truncate(LANDMARKS);
        let (width, mut landmarks) = (rows.width(), Vec::new());
        for row in &chosen {
            let values = &rows.values[row * width..(row + 1) * width];
            design.expand(Rows { values, width }, &mut landmarks);
        }
        let gamma = usual_gamma(&landmarks, design.width());
        Ok(Self::new(design, gamma, landmarks, chosen.len()))
    }

    /// A kernel with so many landmarks.
    pub(super) fn new(design: Design, gamma: f32, landmarks: Vec<f32>, count: usize) -> Self {
        let n = design.width();
        let mut tiles = vec![[0.0; COLUMNS]; n * count.div_ceil(COLUMNS)];
        for (i, x) in landmarks.iter().enumerate() {
            let (landmark, column) = (i / n, i % n);
            tiles[landmark / COLUMNS * n + column][landmark % COLUMNS] = *x;
        }
        let squares = (0..count).map(|i| square(&landmarks[i * n..(i + 1) * n])).collect();
        Self { design, gamma, landmarks, squares, tiles }
    }

    /// Number of landmarks.
    pub(super) fn len(&self) -> usize {
        self.squares.len()
    }

    /// How near each of these rows is to every landmark, `[rows, landmarks]`; nothing of a row depends on the others.
    pub(super) fn nearness(&self, rows: Rows<'_>) -> Vec<f32> {
        let (n, count) = (self.design.width(), self.len());
        let padded = rows.len().next_multiple_of(ROWS);
        let mut expanded = Vec::with_capacity(padded * n);
        self.design.expand(rows, &mut expanded);
        expanded.resize(padded * n, 0.0);
        let mut near = vec![0.0; padded * count];
        for (near, rows) in
            near.chunks_exact_mut((ROWS * count).max(1)).zip(expanded.chunks_exact((ROWS * n).max(1)))
        {
            products(rows, n, &self.tiles, near);
        }
        for (row, near) in near.chunks_exact_mut(count.max(1)).enumerate() {
            gaussian(near, &self.squares, square(&expanded[row * n..(row + 1) * n]), self.gamma);
        }
        near.truncate(rows.len() * count);
        near
    }

    /// The triangle of the nearness of landmarks to each other.
    fn factor(&self) -> Result<Cholesky> {
        let (count, n) = (self.len(), self.design.width());
        let mut matrix = vec![0.0; count * count];
        for i in 0..count {
            for j in 0..=i {
                let (a, b) = (&self.landmarks[i * n..(i + 1) * n], &self.landmarks[j * n..(j + 1) * n]);
                let near = (-f64::from(self.gamma) * distance(a, b)).exp();
                (matrix[i * count + j], matrix[j * count + i]) = (near, near);
            }
            matrix[i * count + i] += RIDGE;
        }
        Cholesky::new(matrix, count).ok_or_else(|| Error::internal("landmarks have no factor"))
    }
}

/// γ by the median of the square distances of rows that follow each other.
fn usual_gamma(rows: &[f32], width: usize) -> f32 {
    let rows: Vec<&[f32]> = rows.chunks_exact(width.max(1)).collect();
    let mut distances: Vec<f64> = rows.windows(2).map(|pair| distance(pair[0], pair[1])).collect();
    distances.sort_unstable_by(f64::total_cmp);
    let median = distances.get(distances.len() / 2).copied().filter(|median| *median > 0.0);
    median.map_or(1.0, |median| 0.5 / median) as f32
}

fn square(values: &[f32]) -> f32 {
    values.iter().map(|x| x * x).sum()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(x - y).powi(2)).sum()
}

vectorised! {
    /// Products of a few rows of `n` numbers with all landmarks.
    products(rows: &[f32], n: usize, tiles: &[[f32; COLUMNS]], out: &mut [f32]) {
        let count = out.len() / ROWS;
        for (block, tiles) in tiles.chunks_exact(n).enumerate() {
            let mut sums = [[0.0f32; COLUMNS]; ROWS];
            for (k, tile) in tiles.iter().enumerate() {
                for (row, sums) in sums.iter_mut().enumerate() {
                    let x = rows[row * n + k];
                    for (sum, y) in sums.iter_mut().zip(tile) {
                        *sum += x * y;
                    }
                }
            }
            let first = block * COLUMNS;
            let wide = COLUMNS.min(count - first);
            for (out, sums) in out.chunks_exact_mut(count).zip(&sums) {
                out[first..first + wide].copy_from_slice(&sums[..wide]);
            }
        }
    }
}

vectorised! {
    /// From the products of a row with landmarks to how near it is to them.
    gaussian(near: &mut [f32], squares: &[f32], own: f32, gamma: f32) {
        for (near, other) in near.iter_mut().zip(squares) {
            *near = exp(-gamma * (own + other - 2.0 * *near).max(0.0));
        }
    }
}

/// Rows in a space where the kernel is a product, the last number of each the intercept's.
pub(super) struct Features {
    values: Vec<f32>,
    width: usize,
    factor: Cholesky,
}

impl Features {
    /// The features of these rows.
    pub(super) fn new(kernel: &Kernel, rows: &Table, control: &Control) -> Result<Self> {
        let (count, factor) = (kernel.len(), kernel.factor()?);
        let turned: Vec<f32> = factor.inverse().into_iter().map(|x| x as f32).collect();
        let width = count + 1;
        let mut values = vec![0.0f32; rows.len() * width];
        let inputs = rows.values.par_chunks(ROWS_PER_TASK * rows.width());
        let tasks = values.par_chunks_mut(ROWS_PER_TASK * width).zip(inputs);
        tasks.try_for_each(|(out, values)| {
            control.check()?;
            let near = kernel.nearness(Rows { values, width: rows.width() });
            let many = near.len() / count.max(1);
            let mut mapped = vec![0.0; many * count];
            let left = Matrix { data: &near, rows: count, columns: 1 };
            let right = Matrix { data: &turned, rows: 1, columns: count };
            multiply_add(&mut mapped, (many, count, count), left, right);
            for (out, mapped) in out.chunks_exact_mut(width).zip(mapped.chunks_exact(count)) {
                out[..count].copy_from_slice(mapped);
                out[count] = 1.0;
            }
            Ok::<(), Error>(())
        })?;
        Ok(Self { values, width, factor })
    }

    /// Numbers of a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The rows.
    pub(super) fn rows(&self) -> Vec<&[f32]> {
        self.values.chunks_exact(self.width).collect()
    }

    /// Weights of landmarks and the intercept that give the same as these weights of features.
    pub(super) fn of_landmarks(&self, weights: &[f32]) -> Vec<f64> {
        let mut out: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
        self.factor.solve_turned(&mut out[..self.width - 1]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::trees::ColumnType;

    #[test]
    fn products_of_features_are_the_kernel() {
        let mut rng = Rng::new(4);
        let mut rows = Table::new(vec![ColumnType::Number; 3]);
        rows.values = (0..3 * 50).map(|_| rng.normal() as f32).collect();
        rows.targets = vec![0.0; 50];
        let kernel = Kernel::fit(&rows, &mut rng, &Control::default()).unwrap();
        let near = kernel.nearness(rows.rows());
        assert_eq!((kernel.len(), near.len()), (50, 50 * 50));
        let mut expanded = Vec::new();
        kernel.design.expand(rows.rows(), &mut expanded);
        let features = Features::new(&kernel, &rows, &Control::default()).unwrap();
        let features = features.rows();
        for (i, row) in expanded.chunks_exact(3).enumerate() {
            for (j, landmark) in kernel.landmarks.chunks_exact(3).enumerate() {
                let exact = (-f64::from(kernel.gamma) * distance(row, landmark)).exp();
                assert!((f64::from(near[i * 50 + j]) - exact).abs() < 1e-5, "{i} {j}");
            }
            // Every row is a landmark, so that the kernel of two rows is the product of their features.
            for (j, other) in expanded.chunks_exact(3).enumerate() {
                let exact = (-f64::from(kernel.gamma) * distance(row, other)).exp();
                let product: f64 = (0..50).map(|k| f64::from(features[i][k] * features[j][k])).sum();
                assert!((product - exact).abs() < 5e-3, "{product} {exact}");
            }
        }
    }
}
