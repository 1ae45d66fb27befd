//! Rows of windows with their targets.

use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::models::regression::regressor::{Predicted, Regressor};
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
    #[cfg(test)]
    pub(super) fn rows(&self) -> Rows<'_> {
        Rows { values: &self.values, width: self.width() }
    }

    /// At most so many rows, evenly spread.
    pub(super) fn sample(&self, most: usize) -> Vec<f32> {
        let step = self.len().div_ceil(most).max(1);
        self.values.chunks_exact(self.width().max(1)).step_by(step).flatten().copied().collect()
    }

    /// The rows, some at a time, with a look at the control before each part.
    pub(super) fn parts(&self, control: &Control) -> impl Iterator<Item = Result<Rows<'_>>> {
        let width = self.width();
        let parts = self.values.chunks(ROWS_PER_CHECK * width.max(1));
        parts.map(move |values| control.check().map(|()| Rows { values, width }))
    }

    /// The rows in bins that they teach.
    pub(super) fn binned(&self, bins: usize, control: &Control) -> Result<TreeRows> {
        let sample = self.sample(SAMPLE_ROWS);
        let binned = TreeRows::new(Rows { values: &sample, width: self.width() }, &self.types, bins);
        self.binned_like(&binned, control)
    }

    /// The rows in the bins of others.
    pub(super) fn binned_like(&self, other: &TreeRows, control: &Control) -> Result<TreeRows> {
        let (mut binned, mut targets) = (other.empty_like(), self.targets.as_slice());
        for rows in self.parts(control) {
            let rows = rows?;
            let (own, others) = targets.split_at(rows.len());
            binned.append(rows, own, &[]);
            targets = others;
        }
        Ok(binned)
    }

    /// What a regressor says of the rows.
    pub(super) fn predicted(&self, regressor: &impl Regressor, control: &Control) -> Result<Predicted> {
        let mut all = Predicted::default();
        for rows in self.parts(control) {
            let part = regressor.predict(rows?);
            all.medians.extend(part.medians);
            all.means = part.means;
            if let Some(widths) = part.widths {
                all.widths.get_or_insert_default().extend(widths);
            }
        }
        Ok(all)
    }

    /// Mean absolute error of what a regressor says of the rows.
    pub(super) fn error(&self, regressor: &impl Regressor, control: &Control) -> Result<f64> {
        let predicted = self.predicted(regressor, control)?;
        let errors = self.targets.iter().zip(&predicted.medians).map(|(y, f)| f64::from((y - f).abs()));
        Ok(errors.sum::<f64>() / self.len().max(1) as f64)
    }
}

/// Rows between two looks at the control.
const ROWS_PER_CHECK: usize = 4096;
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
