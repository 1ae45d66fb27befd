//! Gradient-boosted trees (Friedman 2001).
//!
//! One booster gives the median, or the mean where the objective is one of means; another one learns how far targets of the same rows lie from it, and so how wide the
//! quantiles of a row are.

use crate::error::Result;
use crate::ml::models::container::{self, Stored};
use crate::ml::models::model::{Lesson, Saved};
use crate::ml::models::regression::regressor::{Cost, Predicted, Regressor};
use crate::ml::models::regression::table::Table;
use crate::ml::models::spread::ERROR_MAX;
use crate::ml::models::trees;
use crate::ml::objective::ObjectiveKind;
use crate::ml::training::TWEEDIE_POWER;
use crate::ml::trees::{Booster, BoosterOptions, Objective, Rows};

/// Most trees.
const TREES: usize = 300;
/// Leaves of a tree.
const LEAVES: usize = 31;
/// Seconds that one value of one row costs a tree on one core, all overheads included.
const SECONDS_PER_VALUE: f64 = 2e-9;

/// Fitted trees.
#[derive(Debug)]
pub(in crate::ml::models) struct Gbt {
    median: Booster,
    width: Booster,
}

/// The objectives that boosters have.
pub(in crate::ml::models) const BOOSTED: [ObjectiveKind; 5] = [
    ObjectiveKind::Quantile,
    ObjectiveKind::Mse,
    ObjectiveKind::Mae,
    ObjectiveKind::Poisson,
    ObjectiveKind::Tweedie,
];

/// What the first booster minimises, in units of each window's scale.
fn objective(kind: Option<ObjectiveKind>) -> Objective {
    match kind {
        Some(ObjectiveKind::Mse) => Objective::SquaredError,
        Some(ObjectiveKind::Mae) => Objective::AbsoluteError,
        Some(ObjectiveKind::Poisson) => Objective::Poisson,
        Some(ObjectiveKind::Tweedie) => Objective::Tweedie(TWEEDIE_POWER),
        _ => Objective::Quantile(0.5),
    }
}

impl Regressor for Gbt {
    const FAMILY: &'static str = "gbt";
    const ROWS_MAX: usize = 150_000;
    const CAN_STOP: bool = true;

    fn fit(rows: &Table, valid: &Table, lesson: &Lesson<'_>, before: Option<&Self>) -> Result<Self> {
        let (wanted, usual) = (lesson.options, BoosterOptions::default());
        let trees = before.map_or(wanted.trees.unwrap_or(TREES), |before| before.median.len().max(1));
        let options = BoosterOptions {
            objective: objective(lesson.options.objective),
            trees,
            leaves: wanted.leaves.unwrap_or(LEAVES),
            learning_rate: wanted.learning_rate.unwrap_or(usual.learning_rate),
            rows_min: (rows.len() / 2_000).clamp(5, 50),
            column_fraction: 0.4,
            patience: 30,
            seed: lesson.options.seed,
            deadline: lesson.deadline,
            ..usual
        };
        let binned = rows.binned(options.bins, lesson.control)?;
        let valid = Some(valid.binned_like(&binned, lesson.control)?).filter(|valid| !valid.is_empty());
        let median = Booster::fit(&binned, valid.as_ref(), &options, lesson.control)?;
        let predicted = median.predict_rows(&binned);
        let sizes = rows.targets.iter().zip(&predicted).map(|(y, f)| (y - f).abs().min(ERROR_MAX)).collect();
        let narrow = BoosterOptions {
            objective: Objective::Poisson,
            trees: (trees / 3).max(1),
            leaves: options.leaves.min(15),
            ..options
        };
        let width = Booster::fit(&binned.with_targets(sizes), None, &narrow, lesson.control)?;
        Ok(Self { median, width })
    }

    fn predict(&self, rows: Rows<'_>) -> Predicted {
        let means = !self.median.objective().is_of_medians();
        Predicted { medians: self.median.predict(rows), widths: Some(self.width.predict(rows)), means }
    }

    fn parameters(&self) -> usize {
        self.median.leaves() + self.width.leaves()
    }

    fn save(&self, saved: Saved) -> Result<Saved> {
        Ok(trees::save("width", &self.width, trees::save("median", &self.median, saved)))
    }

    fn load(stored: &Stored<'_>, columns: usize) -> Result<Self> {
        let (median, width) = (trees::load("median", stored)?, trees::load("width", stored)?);
        match median.columns() == columns && width.columns() == columns {
            true => Ok(Self { median, width }),
            false => Err(container::corrupt(format!("trees over {} of {columns} columns", median.columns()))),
        }
    }

    fn cost(rows: usize, columns: usize) -> Cost {
        let seconds = 2.0 * (rows * columns * TREES) as f64 * SECONDS_PER_VALUE;
        Cost { parameters: TREES * LEAVES * 2, seconds }
    }
}
