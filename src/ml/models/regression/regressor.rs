//! What differs between families over rows.

use std::fmt;

use crate::error::Result;
use crate::ml::models::container::Stored;
use crate::ml::models::model::{Lesson, Saved};
use crate::ml::models::regression::table::Table;
use crate::ml::trees::Rows;

/// Targets of rows learnt from their values. A target is told in units of its window's scale and, where that is
/// nearer, relative to what matched history suggests.
pub(in crate::ml::models) trait Regressor:
    fmt::Debug + Send + Sync + Sized + 'static
{
    /// The word of the family.
    const FAMILY: &'static str;
    /// Most rows that it learns from.
    const ROWS_MAX: usize;
    /// Whether a fit may end at its deadline with what it has.
    const CAN_STOP: bool;

    /// Learns from these rows; others tell which of its choices is best. What learnt from fewer rows `before` has
    /// made its choices, which stay.
    fn fit(rows: &Table, valid: &Table, lesson: &Lesson<'_>, before: Option<&Self>) -> Result<Self>;

    /// What it says of these rows; nothing of a row depends on the others.
    fn predict(&self, rows: Rows<'_>) -> Predicted;

    /// Numbers that were learnt.
    fn parameters(&self) -> usize;

    /// Adds what was learnt to a model on its way into a file.
    fn save(&self, saved: Saved) -> Result<Saved>;

    /// What [`Regressor::save`] wrote, for rows of so many columns.
    fn load(stored: &Stored<'_>, columns: usize) -> Result<Self>;

    /// What a fit on such rows takes.
    fn cost(rows: usize, columns: usize) -> Cost;
}

/// What a regressor says of rows.
#[derive(Debug, Default)]
pub(in crate::ml::models) struct Predicted {
    /// The target of each: its median, or its mean.
    pub(super) medians: Vec<f32>,
    /// How far targets lie from it, where that is learnt, too.
    pub(super) widths: Option<Vec<f32>>,
    /// True where what is told of a target is its mean.
    pub(super) means: bool,
}

/// What a fit takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::ml::models) struct Cost {
    /// Numbers that are learnt, at most.
    pub(super) parameters: usize,
    /// Seconds on one core.
    pub(super) seconds: f64,
    /// Bytes besides the rows.
    pub(super) memory_bytes: usize,
}
