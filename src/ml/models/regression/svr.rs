//! Support vector regression (Drucker et al. 1997; Smola and Schölkopf 2004) with a Gaussian kernel.
//!
//! Errors up to ε cost nothing, larger ones what they exceed it by. The kernel is that of Nyström's method (Williams
//! and Seeger 2001): rows are told by their nearness to some of them, the landmarks, so that the problem becomes a
//! linear one, which dual coordinate descent solves (Ho and Lin 2012).

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use crate::error::{Error, Result};
use crate::ml::layers::{Matrix, multiply_add};
use crate::ml::models::container::{self, Data, Stored};
use crate::ml::models::model::{Lesson, Saved};
use crate::ml::models::regression::design::Design;
use crate::ml::models::regression::matrix::Cholesky;
use crate::ml::models::regression::regressor::{Cost, Predicted, Regressor};
use crate::ml::models::regression::table::{Table, by_blocks};
use crate::ml::rng::Rng;
use crate::ml::trees::Rows;

/// Most landmarks.
const LANDMARKS: usize = 400;
/// What is added to the nearness of a landmark to itself, so that nearly equal ones do not matter.
const RIDGE: f64 = 1e-3;
/// ε in mean absolute deviations of the targets.
const EPSILON: f32 = 0.1;
/// Bounds of a row's weight, in mean absolute deviations: the held-out rows choose among these.
const BOUNDS: [f32; 3] = [0.01, 0.1, 1.0];
/// The bound where too few rows are held out to choose.
const USUAL_BOUND: f32 = 0.1;
/// Held-out rows without which nothing is chosen.
const JUDGED_ROWS_MIN: usize = 50;
/// Most passes over all rows.
const PASSES: usize = 30;
/// Share of ε below which a pass has changed too little for another one.
const PATIENCE: f32 = 0.1;
/// Rows whose nearness to the landmarks is computed at once, and landmarks.
const TILE: (usize, usize) = (4, 64);
/// Rows whose features one thread computes before it takes others.
const ROWS_PER_TASK: usize = 256;
/// Seconds that a product of two numbers takes.
const SECONDS_PER_PRODUCT: f64 = 2e-10;

/// A weight a landmark.
#[derive(Debug)]
pub(in crate::ml::models) struct Svr {
    kernel: Kernel,
    /// One a landmark, then the intercept.
    weights: Vec<f64>,
    bound: f32,
}

/// How near rows are to the landmarks: e^(-γ d²).
#[derive(Debug)]
struct Kernel {
    design: Design,
    gamma: f32,
    /// Landmarks as columns, `[design, landmarks]`.
    landmarks: Vec<f32>,
    /// Squares of their lengths.
    squares: Vec<f32>,
}

impl Kernel {
    /// A kernel whose landmarks are some of the rows; γ is 1 over twice the median square distance of two of them.
    fn fit(rows: &Table, rng: &mut Rng) -> Self {
        let design = Design::fit(rows);
        let mut chosen: Vec<usize> = (0..rows.len()).collect();
        rng.shuffle(&mut chosen);
        chosen.truncate(LANDMARKS);
        let (width, mut expanded) = (rows.width(), Vec::new());
        for row in &chosen {
            let values = &rows.values[row * width..(row + 1) * width];
            design.expand(Rows { values, width }, &mut expanded);
        }
        let n = design.width();
        let landmarks: Vec<f32> =
            (0..n).flat_map(|column| expanded[column..].iter().step_by(n).copied()).collect();
        let squares = squares(&landmarks, chosen.len());
        let mut kernel = Self { design, gamma: 1.0, landmarks, squares };
        kernel.gamma = kernel.usual_gamma(&expanded);
        kernel
    }

    fn usual_gamma(&self, rows: &[f32]) -> f32 {
        let n = self.design.width().max(1);
        let rows: Vec<&[f32]> = rows.chunks_exact(n).collect();
        let pairs = rows.iter().zip(rows.iter().skip(1).chain(&rows[..1.min(rows.len())]));
        let mut distances: Vec<f32> =
            pairs.map(|(a, b)| a.iter().zip(*b).map(|(x, y)| (x - y) * (x - y)).sum()).collect();
        distances.sort_unstable_by(f32::total_cmp);
        let median = distances.get(distances.len() / 2).copied().unwrap_or(0.0);
        if median > 0.0 { 0.5 / median } else { 1.0 / n as f32 }
    }

    fn len(&self) -> usize {
        self.squares.len()
    }

    /// Appends how near each of these rows is to every landmark.
    fn nearness(&self, rows: Rows<'_>, out: &mut Vec<f32>) {
        let (n, count) = (self.design.width(), self.len());
        let mut expanded = Vec::with_capacity(rows.len() * n);
        self.design.expand(rows, &mut expanded);
        let from = out.len();
        out.resize(from + rows.len() * count, 0.0);
        if n > 0 {
            let tiles = out[from..].chunks_mut(TILE.0 * count).zip(expanded.chunks(TILE.0 * n));
            tiles.for_each(|(out, rows)| products(rows, &self.landmarks, (n, count), out));
        }
        for (row, out) in out[from..].chunks_exact_mut(count.max(1)).enumerate() {
            let own = square(&expanded[row * n..(row + 1) * n]);
            for (out, other) in out.iter_mut().zip(&self.squares) {
                *out = (-self.gamma * (own + other - 2.0 * *out).max(0.0)).exp();
            }
        }
    }
}

fn square(values: &[f32]) -> f32 {
    values.iter().map(|x| x * x).sum()
}

/// Squares of the lengths of so many columns.
fn squares(columns: &[f32], count: usize) -> Vec<f32> {
    let mut squares = vec![0.0; count];
    for values in columns.chunks_exact(count.max(1)) {
        squares.iter_mut().zip(values).for_each(|(sum, x)| *sum += x * x);
    }
    squares
}

/// Products of a few rows `[.., n]` with all columns of `[n, count]`; those of a row do not depend on the others.
fn products(rows: &[f32], columns: &[f32], (n, count): (usize, usize), out: &mut [f32]) {
    for first in (0..count).step_by(TILE.1) {
        let wide = TILE.1.min(count - first);
        let mut sums = [[0.0f32; TILE.1]; TILE.0];
        for k in 0..n {
            let column = &columns[k * count + first..k * count + first + wide];
            for (sums, row) in sums.iter_mut().zip(rows.chunks_exact(n)) {
                let x = row[k];
                sums[..wide].iter_mut().zip(column).for_each(|(sum, y)| *sum += x * y);
            }
        }
        for (out, sums) in out.chunks_exact_mut(count).zip(&sums) {
            out[first..first + wide].copy_from_slice(&sums[..wide]);
        }
    }
}

/// Rows in the space where the kernel is a product, the last number of each the intercept's.
struct Features {
    values: Vec<f32>,
    width: usize,
    factor: Cholesky,
}

impl Features {
    fn new(kernel: &Kernel, rows: &Table, lesson: &Lesson<'_>) -> Result<Self> {
        let count = kernel.len();
        let factor = Self::factor(kernel)?;
        let turned: Vec<f32> = factor.inverse().into_iter().map(|x| x as f32).collect();
        let width = count + 1;
        let mut values = vec![0.0f32; rows.len() * width];
        let inputs = rows.values.par_chunks(ROWS_PER_TASK * rows.width());
        let tasks = values.par_chunks_mut(ROWS_PER_TASK * width).zip(inputs);
        tasks.try_for_each(|(out, values)| {
            lesson.control.check()?;
            let mut near = Vec::new();
            kernel.nearness(Rows { values, width: rows.width() }, &mut near);
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

    /// The factor of the nearness of landmarks to each other.
    fn factor(kernel: &Kernel) -> Result<Cholesky> {
        let (count, n) = (kernel.len(), kernel.design.width());
        let mut matrix = vec![0.0; count * count];
        for i in 0..count {
            for j in 0..=i {
                let distance: f64 = (0..n)
                    .map(|k| {
                        let column = &kernel.landmarks[k * count..(k + 1) * count];
                        f64::from(column[i] - column[j]).powi(2)
                    })
                    .sum();
                let near = (-f64::from(kernel.gamma) * distance).exp();
                (matrix[i * count + j], matrix[j * count + i]) = (near, near);
            }
            matrix[i * count + i] += RIDGE;
        }
        Cholesky::new(matrix, count).ok_or_else(|| Error::internal("landmarks have no factor"))
    }

    /// Weights of landmarks and the intercept that give the same as these weights of features.
    fn of_landmarks(&self, weights: &[f32]) -> Vec<f64> {
        let mut out: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
        self.factor.solve_turned(&mut out[..self.width - 1]);
        out
    }
}

/// ½ ‖w‖² + bound Σ max(|y - w x| - ε, 0), minimised through its dual.
struct Descent<'a> {
    features: &'a Features,
    targets: &'a [f32],
    epsilon: f32,
    bound: f32,
}

impl Descent<'_> {
    fn run(&self, lesson: &Lesson<'_>) -> Result<Vec<f32>> {
        let width = self.features.width;
        let rows: Vec<&[f32]> = self.features.values.chunks_exact(width).collect();
        let squares: Vec<f32> = rows.iter().map(|row| dot(row, row)).collect();
        let mut rng = Rng::new(lesson.options.seed).fork("descent");
        let (mut weights, mut dual) = (vec![0.0f32; width], vec![0.0f32; rows.len()]);
        let mut order: Vec<usize> = (0..rows.len()).collect();
        for _ in 0..PASSES {
            rng.shuffle(&mut order);
            let mut violation = 0.0;
            for (n, row) in order.iter().enumerate() {
                if n % 4096 == 0 {
                    lesson.control.check()?;
                }
                let slope = dot(&weights, rows[*row]) - self.targets[*row];
                let (change, violated) = self.step(slope, squares[*row], dual[*row]);
                violation += f64::from(violated);
                if change != 0.0 {
                    dual[*row] += change;
                    weights.iter_mut().zip(rows[*row]).for_each(|(w, x)| *w += change * x);
                }
            }
            if violation < f64::from(PATIENCE * self.epsilon) * rows.len() as f64 {
                break;
            }
        }
        Ok(weights)
    }

    /// The change of one dual variable that is best while all others stay, and how far it was from its best.
    fn step(&self, slope: f32, square: f32, dual: f32) -> (f32, f32) {
        let (up, down) = (slope + self.epsilon, slope - self.epsilon);
        let free = if up < square * dual {
            -up / square
        } else if down > square * dual {
            -down / square
        } else {
            -dual
        };
        let change = (dual + free).clamp(-self.bound, self.bound) - dual;
        (change, change.abs() * square)
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

/// Middle and mean absolute deviation of the targets.
fn middle(targets: &[f32]) -> (f32, f32) {
    let mut sorted = targets.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let middle = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    let sum: f64 = sorted.iter().map(|y| f64::from((y - middle).abs())).sum();
    let deviation = (sum / sorted.len().max(1) as f64) as f32;
    (middle, if deviation > 0.0 { deviation } else { 1.0 })
}

impl Regressor for Svr {
    const FAMILY: &'static str = "svr";
    const ROWS_MAX: usize = 20_000;
    const CAN_STOP: bool = false;

    fn fit(rows: &Table, valid: &Table, lesson: &Lesson<'_>, before: Option<&Self>) -> Result<Self> {
        let kernel = Kernel::fit(rows, &mut Rng::new(lesson.options.seed).fork("landmarks"));
        let features = Features::new(&kernel, rows, lesson)?;
        let (middle, deviation) = middle(&rows.targets);
        let targets: Vec<f32> = rows.targets.iter().map(|y| (y - middle) / deviation).collect();
        let fixed = [before.map_or(USUAL_BOUND, |before| before.bound)];
        let chooses = before.is_none() && valid.len() >= JUDGED_ROWS_MIN;
        let mut model = Self { kernel, weights: Vec::new(), bound: fixed[0] };
        let mut best = (f64::INFINITY, fixed[0], Vec::new());
        for bound in if chooses { &BOUNDS[..] } else { &fixed[..] } {
            let descent = Descent { features: &features, targets: &targets, epsilon: EPSILON, bound: *bound };
            model.weights = features.of_landmarks(&descent.run(lesson)?);
            model.weights.iter_mut().for_each(|w| *w *= f64::from(deviation));
            if let Some(intercept) = model.weights.last_mut() {
                *intercept += f64::from(middle);
            }
            let error = if chooses { valid.error(&model.predict(valid.rows()).medians) } else { 0.0 };
            if error < best.0 {
                best = (error, *bound, model.weights.clone());
            }
        }
        Ok(Self { bound: best.1, weights: best.2, ..model })
    }

    fn predict(&self, rows: Rows<'_>) -> Predicted {
        let count = self.kernel.len();
        let intercept = self.weights.last().copied().unwrap_or(0.0);
        let medians = by_blocks(rows, |rows, out| {
            let mut near = Vec::new();
            self.kernel.nearness(rows, &mut near);
            for row in 0..rows.len() {
                let row = near[row * count..(row + 1) * count].iter().zip(&self.weights);
                let sum: f64 = row.map(|(x, w)| f64::from(*x) * w).sum();
                out.push((sum + intercept) as f32);
            }
        });
        Predicted { medians, widths: None }
    }

    fn parameters(&self) -> usize {
        self.weights.len() + self.kernel.landmarks.len()
    }

    fn save(&self, saved: Saved) -> Result<Saved> {
        let Kernel { design, gamma, landmarks, .. } = &self.kernel;
        let saved = saved
            .with("weights", vec![self.weights.len()], Data::F64(self.weights.clone()))
            .with("landmarks", vec![landmarks.len()], Data::F32(landmarks.clone()))
            .with("kernel", vec![2], Data::F32(vec![*gamma, self.bound]));
        design.save(saved)
    }

    fn load(stored: &Stored<'_>, columns: usize) -> Result<Self> {
        let design = Design::load(stored, columns)?;
        let (landmarks, weights) = (stored.f32("landmarks")?, stored.f64("weights")?);
        let (n, count) = (design.width(), weights.len().saturating_sub(1));
        let corrupt = || container::corrupt(format!("{count} landmarks of {n} numbers"));
        let &[gamma, bound] = stored.f32("kernel")?.as_slice() else { return Err(corrupt()) };
        if weights.is_empty() || landmarks.len() != n * count || !(gamma >= 0.0 && bound >= 0.0) {
            return Err(corrupt());
        }
        let squares = squares(&landmarks, count);
        Ok(Self { kernel: Kernel { design, gamma, landmarks, squares }, weights, bound })
    }

    fn cost(rows: usize, columns: usize) -> Cost {
        let columns = 2 * columns;
        let once = rows * LANDMARKS * (columns + LANDMARKS) + LANDMARKS * LANDMARKS * columns;
        let passes = BOUNDS.len() * PASSES * 2 * rows * LANDMARKS;
        Cost { parameters: LANDMARKS * (columns + 1), seconds: (once + passes) as f64 * SECONDS_PER_PRODUCT }
    }
}
