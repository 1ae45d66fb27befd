//! Support vector regression (Drucker et al. 1997; Smola and Schölkopf 2004) with a Gaussian kernel.
//!
//! Errors up to ε cost nothing, larger ones what they exceed it by. Rows are told by their nearness to landmarks, so
//! that the problem is a linear one.

use crate::error::{Error, Result};
use crate::ml::models::container::{self, Data, Stored};
use crate::ml::models::model::{Lesson, Saved};
use crate::ml::models::regression::descent::{Descent, PASSES};
use crate::ml::models::regression::design::Design;
use crate::ml::models::regression::kernel::{Features, Kernel, LANDMARKS};
use crate::ml::models::regression::regressor::{Cost, Predicted, Regressor};
use crate::ml::models::regression::table::{Table, by_blocks};
use crate::ml::rng::Rng;
use crate::ml::trees::Rows;

/// ε in mean absolute deviations of the targets.
const EPSILON: f32 = 0.1;
/// Bounds of a row's weight, in mean absolute deviations, ascending.
const BOUNDS: [f32; 3] = [0.03, 0.3, 3.0];
/// The smallest bound is chosen whose error on the held-out rows is not above so many times the least one: a larger one
/// fits what may not come again.
const TOLERANCE: f64 = 1.05;
/// The bound where too few rows are held out to choose.
const USUAL_BOUND: f32 = 0.3;
/// Held-out rows without which nothing is chosen.
const JUDGED_ROWS_MIN: usize = 50;
/// Seconds that a product of two numbers takes.
const SECONDS_PER_PRODUCT: f64 = 3e-10;
/// Columns of the design beside every column of a row, about.
const COLUMNS_PER_COLUMN: usize = 2;

/// A weight a landmark.
#[derive(Debug)]
pub(in crate::ml::models) struct Svr {
    kernel: Kernel,
    /// One a landmark, then the intercept.
    weights: Vec<f64>,
    bound: f32,
}

impl Regressor for Svr {
    const FAMILY: &'static str = "svr";
    const ROWS_MAX: usize = 20_000;
    const CAN_STOP: bool = false;

    fn fit(rows: &Table, valid: &Table, lesson: &Lesson<'_>, before: Option<&Self>) -> Result<Self> {
        let rng = Rng::new(lesson.options.seed);
        let kernel = Kernel::fit(rows, &mut rng.fork("landmarks"), lesson.control)?;
        let features = Features::new(&kernel, rows, lesson.control)?;
        let (middle, deviation) = middle(&rows.targets);
        let targets: Vec<f32> = rows.targets.iter().map(|y| (y - middle) / deviation).collect();
        let mut descent =
            Descent::new(features.rows(), features.width(), &targets, EPSILON, rng.fork("descent"));
        let chooses = before.is_none() && valid.len() >= JUDGED_ROWS_MIN;
        let last = before.map_or(if chooses { f32::INFINITY } else { USUAL_BOUND }, |before| before.bound);
        let mut model = Self { kernel, weights: Vec::new(), bound: last };
        let mut tried: Vec<(f64, f32, Vec<f64>)> = Vec::new();
        for bound in BOUNDS.iter().filter(|bound| **bound <= last) {
            model.weights = features.of_landmarks(descent.run(*bound, lesson.control)?);
            model.weights.iter_mut().for_each(|w| *w *= f64::from(deviation));
            if let Some(intercept) = model.weights.last_mut() {
                *intercept += f64::from(middle);
            }
            let error = if chooses { valid.error(&model, lesson.control)? } else { 0.0 };
            tried.push((error, *bound, std::mem::take(&mut model.weights)));
        }
        let least = tried.iter().map(|(error, ..)| *error).fold(f64::INFINITY, f64::min);
        let sufficient = |tried: &(f64, f32, Vec<f64>)| tried.0 <= TOLERANCE * least;
        let chosen = if chooses { tried.into_iter().find(sufficient) } else { tried.pop() };
        let (_, bound, weights) = chosen.ok_or_else(|| Error::internal("no bound was tried"))?;
        Ok(Self { bound, weights, ..model })
    }

    fn predict(&self, rows: Rows<'_>) -> Predicted {
        let count = self.kernel.len();
        let medians = by_blocks(rows, |rows, out| {
            let near = self.kernel.nearness(rows);
            for row in 0..rows.len() {
                let products = near[row * count..(row + 1) * count].iter().zip(&self.weights);
                let sum: f64 = products.map(|(x, w)| f64::from(*x) * w).sum();
                out.push((sum + self.weights[count]) as f32);
            }
        });
        Predicted { medians, ..Predicted::default() }
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
        match stored.f32("kernel")?.as_slice() {
            [gamma, bound]
                if !weights.is_empty() && landmarks.len() == n * count && *gamma >= 0.0 && *bound >= 0.0 =>
            {
                Ok(Self { kernel: Kernel::new(design, *gamma, landmarks, count), weights, bound: *bound })
            }
            _ => Err(container::corrupt(format!("{count} landmarks of {n} numbers do not fit together"))),
        }
    }

    fn cost(rows: usize, columns: usize) -> Cost {
        let columns = COLUMNS_PER_COLUMN * columns;
        let features = rows * LANDMARKS * (columns + LANDMARKS);
        let passes = BOUNDS.len() * PASSES * 2 * rows * LANDMARKS;
        Cost {
            parameters: LANDMARKS * (columns + 1),
            seconds: (features + passes) as f64 * SECONDS_PER_PRODUCT,
            // A feature of every row for each landmark, and the landmarks, theirs side by side and their factor.
            memory_bytes: rows * (LANDMARKS + 1) * size_of::<f32>()
                + LANDMARKS * (2 * columns * size_of::<f32>() + 2 * LANDMARKS * size_of::<f64>()),
        }
    }
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
