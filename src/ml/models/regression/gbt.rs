//! Gradient-boosted trees (Friedman 2001).
//!
//! Boosters that see different rows and columns give the median, or the mean where the objective is one of means;
//! what they agree on counts (Breiman 1996). Another one learns how far targets of the same rows lie from it, and so how
//! wide the quantiles of a row are.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::error::Result;
use crate::ml::models::container::{self, Stored};
use crate::ml::models::model::{Lesson, Saved};
use crate::ml::models::regression::regressor::{Cost, Predicted, Regressor};
use crate::ml::models::regression::table::Table;
use crate::ml::models::spread::ERROR_MAX;
use crate::ml::models::trees;
use crate::ml::objective::ObjectiveKind;
use crate::ml::rng::Rng;
use crate::ml::training::TWEEDIE_POWER;
use crate::ml::trees::{Booster, BoosterOptions, Objective, Rows};

/// Most trees.
const TREES: usize = 300;
/// Leaves of a tree.
const LEAVES: usize = 31;
/// Seconds that one value of one row costs a tree on one core, all overheads included.
const SECONDS_PER_VALUE: f64 = 2e-9;

/// Boosters whose predictions are averaged.
const BAGS: usize = 2;
/// Share of the rows that a tree of them sees.
const ROW_FRACTION: f64 = 0.5;

/// Fitted trees.
#[derive(Debug)]
pub(in crate::ml::models) struct Gbt {
    medians: Vec<Booster>,
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

impl Gbt {
    /// What the boosters agree on, of what each of them says of the rows.
    fn agreed(mut said: Vec<Vec<f32>>) -> Vec<f32> {
        let count = said.len() as f32;
        let mut sums = said.pop().unwrap_or_default();
        for one in said {
            sums.iter_mut().zip(one).for_each(|(sum, y)| *sum += y);
        }
        sums.iter_mut().for_each(|sum| *sum /= count);
        sums
    }
}

impl Regressor for Gbt {
    const FAMILY: &'static str = "gbt";
    const ROWS_MAX: usize = 150_000;
    const CAN_STOP: bool = true;

    fn fit(rows: &Table, valid: &Table, lesson: &Lesson<'_>, before: Option<&Self>) -> Result<Self> {
        let (wanted, usual) = (lesson.options, BoosterOptions::default());
        let options = BoosterOptions {
            objective: objective(wanted.objective),
            trees: wanted.trees.unwrap_or(TREES),
            leaves: wanted.leaves.unwrap_or(LEAVES),
            learning_rate: wanted.learning_rate.unwrap_or(usual.learning_rate),
            rows_min: (rows.len() / 2_000).clamp(5, 50),
            row_fraction: ROW_FRACTION,
            column_fraction: 0.4,
            patience: 30,
            seed: wanted.seed,
            deadline: lesson.deadline,
            ..usual
        };
        let binned = rows.binned(options.bins, lesson.control)?;
        let valid = Some(valid.binned_like(&binned, lesson.control)?).filter(|valid| !valid.is_empty());
        let bag = |bag: usize| {
            let trees = before.map_or(options.trees, |before| before.medians[bag].len().max(1));
            let options = BoosterOptions { trees, seed: bag_seed(options.seed, bag), ..options.clone() };
            Booster::fit(&binned, valid.as_ref(), &options, lesson.control)
        };
        let bags = before.map_or(BAGS, |before| before.medians.len());
        let medians = (0..bags).into_par_iter().map(bag).collect::<Result<Vec<_>>>()?;
        let predicted = Self::agreed(medians.iter().map(|median| median.predict_rows(&binned)).collect());
        let sizes = rows.targets.iter().zip(&predicted).map(|(y, f)| (y - f).abs().min(ERROR_MAX)).collect();
        let longest = medians.iter().map(Booster::len).max().unwrap_or(0);
        let narrow = BoosterOptions {
            objective: Objective::Poisson,
            trees: (before.map_or(options.trees, |_| longest) / 3).max(1),
            leaves: options.leaves.min(15),
            ..options
        };
        let width = Booster::fit(&binned.with_targets(sizes), None, &narrow, lesson.control)?;
        Ok(Self { medians, width })
    }

    fn predict(&self, rows: Rows<'_>) -> Predicted {
        let means = self.medians.iter().any(|median| !median.objective().is_of_medians());
        let medians = Self::agreed(self.medians.iter().map(|median| median.predict(rows)).collect());
        Predicted { medians, widths: Some(self.width.predict(rows)), means }
    }

    fn parameters(&self) -> usize {
        self.medians.iter().chain([&self.width]).map(Booster::leaves).sum()
    }

    fn save(&self, saved: Saved) -> Result<Saved> {
        let named = self.medians.iter().enumerate();
        let saved = named.fold(saved, |saved, (bag, median)| trees::save(&bag_name(bag), median, saved));
        Ok(trees::save("width", &self.width, saved))
    }

    fn load(stored: &Stored<'_>, columns: usize) -> Result<Self> {
        let mut medians = vec![trees::load(&bag_name(0), stored)?];
        while trees::is_in(&bag_name(medians.len()), stored) {
            medians.push(trees::load(&bag_name(medians.len()), stored)?);
        }
        let width = trees::load("width", stored)?;
        let other = medians.iter().chain([&width]).map(Booster::columns).find(|width| *width != columns);
        match other {
            None => Ok(Self { medians, width }),
            Some(other) => Err(container::corrupt(format!("trees over {other} of {columns} columns"))),
        }
    }

    fn cost(rows: usize, columns: usize) -> Cost {
        let share = BAGS as f64 * ROW_FRACTION + 1.0;
        let seconds = share * (rows * columns * TREES) as f64 * SECONDS_PER_VALUE;
        // A code for every value, and for every row and booster its prediction, gradient, curvature and leaf.
        let memory_bytes = rows * (columns + 16 * (BAGS + 1));
        Cost { parameters: TREES * LEAVES * (BAGS + 1), seconds, memory_bytes }
    }
}

/// The name of a booster in a file.
fn bag_name(bag: usize) -> String {
    if bag == 0 { "median".to_owned() } else { format!("median_{bag}") }
}

/// The seed of a booster.
fn bag_seed(seed: u64, bag: usize) -> u64 {
    Rng::new(seed).stream(bag as u64).fork("bag").next_u64()
}
