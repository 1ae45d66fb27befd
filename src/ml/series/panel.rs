//! The arena of all series: target, covariates and offsets, regular in time.

use crate::ml::series::Frequency;

/// Values of a covariate, one per row (or one per series for a static one).
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers; NaN is missing.
    Number(Vec<f32>),
    /// Indexes into `labels`; `u32::MAX` is missing.
    Category {
        /// One per row or series.
        codes: Vec<u32>,
        /// The words, in order of first appearance.
        labels: Vec<String>,
    },
}

/// A named covariate.
#[derive(Debug, Clone, PartialEq)]
pub struct Covariate {
    /// The user's column name.
    pub name: String,
    /// Its values.
    pub values: Values,
}

/// Many series on one regular time grid.
///
/// Rows of series `i` are `offsets[i]..offsets[i + 1]`, one per period without gaps. The first
/// `history[i]` of them are history; the rest are future periods for which only `known` is filled.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// The grid.
    pub frequency: Frequency,
    /// Origin of the grid in microseconds (or integer units): period 0 begins here.
    pub origin: i64,
    /// Periods in a season (7 for daily data, 12 for monthly); at least 1.
    pub season_length: usize,
    /// Key of every series as text (`store_id=3, item_id=A1`), unique.
    pub keys: Vec<String>,
    /// Length: series + 1.
    pub offsets: Vec<usize>,
    /// History rows of every series.
    pub history: Vec<usize>,
    /// Period number of the first row of every series.
    pub start: Vec<i64>,
    /// Target per row; NaN is missing, and always NaN in future rows.
    pub target: Vec<f64>,
    /// Covariates known in the future, per row.
    pub known: Vec<Covariate>,
    /// Covariates known only in the past, per row (missing in future rows).
    pub past: Vec<Covariate>,
    /// Covariates that do not change in time, per series.
    pub statics: Vec<Covariate>,
}

impl Panel {
    /// Number of series.
    pub fn len(&self) -> usize {
        self.history.len()
    }

    /// True when there is no series.
    pub fn is_empty(&self) -> bool {
        self.history.is_empty()
    }

    /// The history of the target of series `i`.
    pub fn history_of(&self, i: usize) -> &[f64] {
        &self.target[self.offsets[i]..self.offsets[i] + self.history[i]]
    }
}
