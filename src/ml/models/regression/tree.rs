//! One regression tree (Breiman et al. 1984), whose leaves take the median of their rows.

use crate::error::{Error, Result};
use crate::ml::models::container::{self, Data, Stored};
use crate::ml::models::model::{Lesson, Saved};
use crate::ml::models::regression::regressor::{Cost, Predicted, Regressor};
use crate::ml::models::regression::table::Table;
use crate::ml::models::trees;
use crate::ml::trees::{Booster, BoosterOptions, Objective, Rows, TreeRows};

/// Most leaves.
const LEAVES: usize = 512;
/// Fewest rows of a leaf: the held-out rows choose among these.
const ROWS_MIN: [usize; 4] = [20, 100, 300, 1_000];
/// Fewest rows of a leaf where too few rows are held out to choose.
const USUAL_ROWS_MIN: usize = 100;
/// Rows without which nothing is chosen.
const JUDGED_ROWS_MIN: usize = 50;
/// Seconds that one value of one row costs a tree on one core, all overheads included.
const SECONDS_PER_VALUE: f64 = 3e-8;

/// The tree.
#[derive(Debug)]
pub(in crate::ml::models) struct Tree {
    tree: Booster,
    rows_min: usize,
}

impl Tree {
    fn grow(rows: &TreeRows, rows_min: usize, lesson: &Lesson<'_>) -> Result<Self> {
        let options = BoosterOptions {
            objective: Objective::AbsoluteError,
            trees: 1,
            learning_rate: 1.0,
            leaves: LEAVES,
            rows_min,
            l2: 0.0,
            row_fraction: 1.0,
            column_fraction: 1.0,
            ..BoosterOptions::default()
        };
        Ok(Self { tree: Booster::fit(rows, None, &options, lesson.control)?, rows_min })
    }
}

impl Regressor for Tree {
    const FAMILY: &'static str = "tree";
    const ROWS_MAX: usize = 150_000;
    const CAN_STOP: bool = false;

    fn fit(rows: &Table, valid: &Table, lesson: &Lesson<'_>, before: Option<&Self>) -> Result<Self> {
        let binned = rows.binned(BoosterOptions::default().bins, lesson.control)?;
        if let Some(before) = before {
            return Self::grow(&binned, before.rows_min, lesson);
        }
        if valid.len() < JUDGED_ROWS_MIN {
            return Self::grow(&binned, USUAL_ROWS_MIN.min(rows.len().div_ceil(20)), lesson);
        }
        let mut best: Option<(f64, Self)> = None;
        let choices = ROWS_MIN.into_iter().filter(|least| *least == ROWS_MIN[0] || least * 20 < rows.len());
        for rows_min in choices {
            let tree = Self::grow(&binned, rows_min, lesson)?;
            let error = valid.error(&tree, lesson.control)?;
            if best.as_ref().is_none_or(|best| error < best.0) {
                best = Some((error, tree));
            }
        }
        best.map(|(_, tree)| tree).ok_or_else(|| Error::internal("no tree was tried"))
    }

    fn predict(&self, rows: Rows<'_>) -> Predicted {
        Predicted { medians: self.tree.predict(rows), ..Predicted::default() }
    }

    fn parameters(&self) -> usize {
        self.tree.leaves()
    }

    fn save(&self, saved: Saved) -> Result<Saved> {
        let saved = saved.with("rows_min", vec![1], Data::U32(vec![self.rows_min as u32]));
        Ok(trees::save("tree", &self.tree, saved))
    }

    fn load(stored: &Stored<'_>, columns: usize) -> Result<Self> {
        let (tree, rows_min) = (trees::load("tree", stored)?, stored.u32("rows_min")?);
        match (tree.columns() == columns, rows_min.as_slice()) {
            (true, [rows_min]) => Ok(Self { tree, rows_min: *rows_min as usize }),
            _ => Err(container::corrupt(format!("a tree over {} of {columns} columns", tree.columns()))),
        }
    }

    fn cost(rows: usize, columns: usize) -> Cost {
        let seconds = (ROWS_MIN.len() * rows * columns) as f64 * SECONDS_PER_VALUE;
        // A code for every value, and for every row its prediction, gradient, curvature and leaf.
        Cost { parameters: LEAVES, seconds, memory_bytes: rows * (columns + 16) }
    }
}
