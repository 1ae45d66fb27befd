//! Rows of windows with their targets.

use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;

use crate::ml::trees::{ColumnType, Rows, SAMPLE_ROWS, TreeRows};

/// Rows with their targets, one after the other.
#[derive(Debug)]
pub(in crate::ml::models) struct Table {
    /// Types of the columns.
    pub(super) types: Vec<ColumnType>,
    /// `[rows, columns]`; NaN is missing.
    pub(super) values: Vec<f32>,
    /// One a row.
    pub(super) targets: Vec<f32>,
    /// What targets are relative to, one a row.
    pub(super) bases: Vec<f32>,
    /// How far ahead each row is, counted from 0.
    pub(super) steps: Vec<usize>,
}

impl Table {
    /// No rows yet, of columns of these types.
    pub(super) fn new(types: Vec<ColumnType>) -> Self {
        Self { types, values: Vec::new(), targets: Vec::new(), bases: Vec::new(), steps: Vec::new() }
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.targets.len()
    }

    /// True without rows.
    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Number of columns.
    pub(super) fn width(&self) -> usize {
        self.types.len()
    }

    /// The rows without their targets.
    pub(super) fn rows(&self) -> Rows<'_> {
        Rows { values: &self.values, width: self.width() }
    }

    /// At most so many rows, evenly spread.
    pub(super) fn sample(&self, most: usize) -> Vec<f32> {
        let step = self.len().div_ceil(most).max(1);
        self.values.chunks_exact(self.width().max(1)).step_by(step).flatten().copied().collect()
    }

    /// The rows in bins that they teach.
    pub(super) fn binned(&self, bins: usize) -> TreeRows {
        let sample = self.sample(SAMPLE_ROWS);
        let mut binned = TreeRows::new(Rows { values: &sample, width: self.width() }, &self.types, bins);
        binned.append(self.rows(), &self.targets, &[]);
        binned
    }

    /// The rows in the bins of others.
    pub(super) fn binned_like(&self, other: &TreeRows) -> TreeRows {
        let mut binned = other.empty_like();
        binned.append(self.rows(), &self.targets, &[]);
        binned
    }

    /// Mean absolute error of these predictions.
    pub(super) fn error(&self, predicted: &[f32]) -> f64 {
        let errors = self.targets.iter().zip(predicted).map(|(y, f)| f64::from((y - f).abs()));
        errors.sum::<f64>() / self.len().max(1) as f64
    }
}

/// Rows that one thread works on before it takes others.
const ROWS_PER_TASK: usize = 256;

/// One number a row: blocks of rows go to the threads, and `each` appends those of a block.
pub(super) fn by_blocks(rows: Rows<'_>, each: impl Fn(Rows<'_>, &mut Vec<f32>) + Sync) -> Vec<f32> {
    let width = rows.width.max(1);
    let blocks = rows.values.par_chunks(ROWS_PER_TASK * width).map(|values| {
        let mut out = Vec::with_capacity(values.len() / width);
        each(Rows { values, width: rows.width }, &mut out);
        out
    });
    let parts: Vec<Vec<f32>> = blocks.collect();
    parts.concat()
}
