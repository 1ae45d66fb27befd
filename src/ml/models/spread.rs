//! How far quantiles lie from what a model of points says, told by targets that it has not learnt from.

use serde::{Deserialize, Serialize};

use crate::ml::evaluation::{LEVELS, MIDDLE, WIDTH};

/// Errors beyond so many widths count as that many.
pub(super) const ERROR_MAX: f32 = 50.0;
/// Cells by how far ahead a row is, and by how large its prediction is, at most.
const CELLS: usize = 4;
/// Rows of a cell, about; with fewer there are fewer cells.
const CELL_ROWS: usize = 200;
/// Rows without which a cell takes the quantiles of all rows.
const CELL_ROWS_MIN: usize = 50;

/// Quantiles of the errors of a regressor, in units of the width that it gives a row. Where it gives none they are
/// told by how far ahead rows are and how large their predictions, and the median is corrected with them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Spread {
    /// At [`LEVELS`], cell after cell: those of a step side by side.
    offsets: Vec<f32>,
    /// Steps at which the next cells begin.
    #[serde(default)]
    steps: Vec<usize>,
    /// Sizes at which the next cells begin.
    #[serde(default)]
    sizes: Vec<f32>,
}

impl Spread {
    /// Learns from errors and the widths that they were expected to have; medians are right where the model gives them.
    pub(super) fn of_widths(errors: &[f32], widths: &[f32], medians: bool) -> Self {
        let scores = errors.iter().zip(widths).map(|(e, w)| bounded(e / w.max(1e-6)));
        let mut offsets = quantiles(&mut scores.collect::<Vec<_>>());
        if medians {
            offsets[..MIDDLE].iter_mut().for_each(|o| *o = o.min(0.0));
            offsets[MIDDLE..].iter_mut().for_each(|o| *o = o.max(0.0));
            offsets[MIDDLE] = 0.0;
        }
        Self { offsets, steps: Vec::new(), sizes: Vec::new() }
    }

    /// Learns from errors of predictions of these sizes, at steps below `horizon`.
    pub(super) fn of_errors(errors: &[f32], sizes: &[f32], steps: &[usize], horizon: usize) -> Self {
        let mut spread = Self::of_cells(sizes, horizon);
        let mut cells = vec![Vec::new(); (spread.steps.len() + 1) * (spread.sizes.len() + 1)];
        let mut all: Vec<f32> = errors.iter().copied().map(bounded).collect();
        for ((error, step), size) in all.iter().zip(steps).zip(sizes) {
            cells[spread.cell(*step, *size)].push(*error);
        }
        let common = quantiles(&mut all);
        for cell in &mut cells {
            match cell.len() < CELL_ROWS_MIN {
                true => spread.offsets.extend(&common),
                false => spread.offsets.extend(quantiles(cell)),
            }
        }
        spread
    }

    /// Cells without quantiles yet, such that each holds enough rows.
    fn of_cells(sizes: &[f32], horizon: usize) -> Self {
        let affordable = sizes.len() / CELL_ROWS;
        let by_size = affordable.clamp(1, CELLS);
        let by_step = (affordable / by_size).clamp(1, CELLS.min(horizon.max(1)));
        let mut sorted = sizes.to_vec();
        sorted.sort_unstable_by(f32::total_cmp);
        let mut edges: Vec<f32> = (1..by_size).map(|n| sorted[n * sorted.len() / by_size]).collect();
        edges.dedup();
        let steps = (1..by_step).map(|n| n * horizon / by_step).collect();
        Self { offsets: Vec::new(), steps, sizes: edges }
    }

    fn cell(&self, step: usize, size: f32) -> usize {
        let by_step = self.steps.partition_point(|begin| *begin <= step);
        let by_size = self.sizes.partition_point(|begin| *begin <= size);
        by_step * (self.sizes.len() + 1) + by_size
    }

    /// Offsets of the quantiles at [`LEVELS`], ascending, of a row so far ahead with a prediction of this size.
    pub(super) fn offsets(&self, step: usize, size: f32) -> &[f32] {
        let cell = self.cell(step, size.abs());
        &self.offsets[cell * WIDTH..(cell + 1) * WIDTH]
    }

    /// True when every number is finite and every list as long as it must be.
    pub(super) fn is_sound(&self) -> bool {
        let cells = (self.steps.len() + 1) * (self.sizes.len() + 1);
        self.offsets.len() == cells * WIDTH && self.offsets.iter().chain(&self.sizes).all(|x| x.is_finite())
    }
}

fn bounded(error: f32) -> f32 {
    error.clamp(-ERROR_MAX, ERROR_MAX)
}

fn quantiles(errors: &mut [f32]) -> Vec<f32> {
    errors.sort_unstable_by(f32::total_cmp);
    let at = |level: f64| errors.get((level * errors.len() as f64) as usize).copied().unwrap_or(0.0);
    LEVELS.iter().map(|level| at(*level)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::rng::Rng;

    #[test]
    fn errors_that_grow_with_distance_and_size_have_quantiles_that_do() {
        let (n, horizon) = (40_000, 8);
        let mut rng = Rng::new(1);
        let (mut errors, mut sizes, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..n {
            let (step, size) = (i % horizon, if i % 3 == 0 { 1.0f32 } else { 4.0 });
            let width = size * if step < 4 { 1.0 } else { 2.0 };
            steps.push(step);
            sizes.push(size);
            errors.push(width * rng.normal() as f32);
        }
        let spread = Spread::of_errors(&errors, &sizes, &steps, horizon);
        assert!(spread.is_sound());
        let at = LEVELS.iter().position(|level| *level == 0.95).unwrap();
        for (step, size, width) in [(0, 1.0, 1.0), (7, 1.0, 2.0), (0, 4.0, 4.0), (7, 4.0, 8.0)] {
            let offset = spread.offsets(step, size)[at] / 1.645 / width;
            assert!((offset - 1.0).abs() < 0.15, "{step} {size}: {offset}");
        }
        assert!(Spread::of_errors(&[], &[], &[], horizon).is_sound());
    }
}
