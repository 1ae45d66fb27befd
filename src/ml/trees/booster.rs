//! Gradient-boosted trees (Friedman 2001), fitted on histograms; same rows, options and seed, same trees.

use std::time::Instant;

use rayon::iter::{
    IndexedParallelIterator, IntoParallelRefIterator, IntoParallelRefMutIterator, ParallelIterator,
};
use rayon::slice::ParallelSlice;

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::rng::Rng;
use crate::ml::trees::bins::{Bins, Codes, ColumnType, Rows};
use crate::ml::trees::grow::{Binned, Gradients, Grower, Grown, Growth, Scratch};
use crate::ml::trees::objective::{Objective, weighted_quantile};
use crate::ml::trees::tree::Tree;

/// Rows that learn where bins end.
pub const SAMPLE_ROWS: usize = 50_000;
/// Rows walked through all trees at once.
const ROWS_PER_TASK: usize = 1024;

/// How a booster is fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct BoosterOptions {
    /// What is minimised.
    pub objective: Objective,
    /// Most trees.
    pub trees: usize,
    /// What a tree counts for.
    pub learning_rate: f64,
    /// Most leaves of a tree.
    pub leaves: usize,
    /// Fewest rows of a leaf.
    pub rows_min: usize,
    /// Curvature that every leaf is taken to have besides that of its rows.
    pub l2: f64,
    /// Share of the rows that a tree sees.
    pub row_fraction: f64,
    /// Share of the columns that a tree sees.
    pub column_fraction: f64,
    /// Most bins of a column.
    pub bins: usize,
    /// Trees without a better loss on the validation rows before the fit stops.
    pub patience: usize,
    /// Seed of the choice of rows and columns.
    pub seed: u64,
    /// When to stop with the trees that are there.
    pub deadline: Option<Instant>,
}

impl Default for BoosterOptions {
    fn default() -> Self {
        Self {
            objective: Objective::SquaredError,
            trees: 150,
            learning_rate: 0.1,
            leaves: 63,
            rows_min: 20,
            l2: 1.0,
            row_fraction: 0.8,
            column_fraction: 0.7,
            bins: 128,
            patience: 20,
            seed: 0,
            deadline: None,
        }
    }
}

/// Rows in bins with their targets, filled part by part.
#[derive(Debug)]
pub struct TreeRows {
    bins: Bins,
    codes: Codes,
    /// One a row.
    targets: Vec<f32>,
    /// One a row, or none where all weigh the same.
    weights: Vec<f32>,
}

impl TreeRows {
    /// No rows yet, of columns whose bins these rows teach.
    pub fn new(sample: Rows<'_>, types: &[ColumnType], bins: usize) -> Self {
        let bins = Bins::fit(sample, types, bins);
        Self { bins, codes: Codes::default(), targets: Vec::new(), weights: Vec::new() }
    }

    /// Rows of the same bins, none yet.
    pub fn empty_like(&self) -> Self {
        Self { bins: self.bins.clone(), codes: Codes::default(), targets: Vec::new(), weights: Vec::new() }
    }

    /// Appends rows; `weights` is empty where all weigh the same.
    pub fn append(&mut self, rows: Rows<'_>, targets: &[f32], weights: &[f32]) {
        self.codes.append(&self.bins, rows);
        self.targets.extend_from_slice(targets);
        self.weights.extend_from_slice(weights);
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Changes the targets, such as to the residuals of another booster.
    pub fn with_targets(self, targets: Vec<f32>) -> Self {
        Self { targets, ..self }
    }

    /// The targets, one a row.
    pub fn targets(&self) -> &[f32] {
        &self.targets
    }

    fn binned(&self) -> Binned<'_> {
        Binned { bins: &self.bins, codes: &self.codes }
    }
}

/// A fitted booster.
#[derive(Debug, Clone, PartialEq)]
pub struct Booster {
    pub(super) objective: Objective,
    pub(super) bins: Bins,
    pub(super) base: f32,
    pub(super) trees: Vec<Tree>,
    /// Gain of the splits by every column, summed.
    pub(super) gains: Vec<f64>,
}

impl Booster {
    /// What it minimised.
    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// Fits trees on these rows; with validation rows it keeps as many trees as are best for them.
    pub fn fit(
        rows: &TreeRows,
        valid: Option<&TreeRows>,
        options: &BoosterOptions,
        control: &Control,
    ) -> Result<Self> {
        for y in &rows.targets {
            if let Some(why) = options.objective.refuses(*y) {
                return Err(Error::data(format!("a target of {y} {why}, which the objective cannot take")));
            }
        }
        control.check()?;
        let mut fit = Fit::new(rows, options);
        let mut valid = valid.filter(|rows| !rows.is_empty()).map(|rows| Valid::new(rows, &fit.booster));
        for tree in 0..options.trees {
            fit.add_tree(tree, control);
            control.check()?;
            let stops = valid.as_mut().is_some_and(|valid| valid.stops(&fit.booster, options.patience));
            let late = options.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if stops || late || fit.is_exhausted() {
                break;
            }
        }
        let mut booster = fit.booster;
        if let Some(valid) = valid {
            booster.trees.truncate(valid.best_trees);
        }
        Ok(booster)
    }

    /// Number of trees.
    pub fn len(&self) -> usize {
        self.trees.len()
    }

    /// Columns of its rows.
    pub fn columns(&self) -> usize {
        self.bins.columns.len()
    }

    /// Leaves of all trees.
    pub fn leaves(&self) -> usize {
        self.trees.iter().map(|tree| tree.leaves.len()).sum()
    }

    /// True when every prediction is the same.
    pub fn is_empty(&self) -> bool {
        self.trees.is_empty()
    }

    /// Share of all gain by column.
    pub fn importance(&self) -> Vec<f64> {
        let total: f64 = self.gains.iter().sum();
        self.gains.iter().map(|gain| if total > 0.0 { gain / total } else { 0.0 }).collect()
    }

    /// Predictions for rows that are in bins already.
    pub fn predict_rows(&self, rows: &TreeRows) -> Vec<f32> {
        let mut scores = vec![self.base; rows.len()];
        self.trees.iter().for_each(|tree| add_scores(self.objective, tree, rows, &mut scores));
        scores.iter_mut().for_each(|score| *score = self.objective.prediction(*score));
        scores
    }

    /// Predictions for these rows, one each.
    pub fn predict(&self, rows: Rows<'_>) -> Vec<f32> {
        let (codes, width) = (self.bins.encode(rows), rows.width);
        let blocks = codes.par_chunks(ROWS_PER_TASK * width.max(1));
        blocks
            .flat_map_iter(|block| {
                let mut scores = vec![self.base; block.len() / width.max(1)];
                for tree in &self.trees {
                    let rows = block.chunks_exact(width);
                    scores
                        .iter_mut()
                        .zip(rows)
                        .for_each(|(score, row)| *score += tree.score(|column| row[column]));
                }
                scores.into_iter().map(|score| self.objective.prediction(self.objective.bounded(score)))
            })
            .collect()
    }
}

/// A fit under way.
struct Fit<'a> {
    rows: &'a TreeRows,
    options: &'a BoosterOptions,
    booster: Booster,
    scores: Vec<f32>,
    pairs: Vec<(f32, f32)>,
    gradients: Gradients,
    /// Rows that the next tree sees, ordered by leaf after it.
    index: Vec<u32>,
    /// The other rows.
    others: Vec<u32>,
    scratch: Scratch,
    exhausted: bool,
}

impl<'a> Fit<'a> {
    fn new(rows: &'a TreeRows, options: &'a BoosterOptions) -> Self {
        let base = options.objective.base_score(&rows.targets, &rows.weights);
        let columns = rows.bins.columns.len();
        Self {
            rows,
            options,
            booster: Booster {
                objective: options.objective,
                bins: rows.bins.clone(),
                base,
                trees: Vec::new(),
                gains: vec![0.0; columns],
            },
            scores: vec![base; rows.len()],
            pairs: Vec::new(),
            gradients: Gradients::default(),
            index: Vec::new(),
            others: Vec::new(),
            scratch: Scratch::default(),
            exhausted: false,
        }
    }

    /// True when the last tree found nothing to split by.
    fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    fn add_tree(&mut self, number: usize, control: &Control) {
        let objective = self.options.objective;
        let weights = &self.rows.weights;
        let pairs = self.scores.par_iter().zip(&self.rows.targets).enumerate().map(|(row, (score, y))| {
            let (g, h) = objective.gradient(*score, *y);
            let weight = weights.get(row).copied().unwrap_or(1.0);
            (g * weight, h * weight)
        });
        pairs.collect_into_vec(&mut self.pairs);
        self.gradients.pack(&self.pairs);
        let mut rng = Rng::new(self.options.seed).fork(&format!("tree {number}"));
        self.choose_rows(&mut rng);
        let columns = self.choose_columns(&mut rng);
        let growth = Growth {
            leaves_max: self.options.leaves.max(2),
            rows_min: self.options.rows_min.max(1),
            l2: self.options.l2,
            columns: &columns,
            control,
        };
        let grower = Grower { data: self.rows.binned(), gradients: &self.gradients, growth };
        let mut grown = grower.grow(&mut self.index, &mut self.scratch);
        self.exhausted = grown.tree.nodes.is_empty() && self.index.len() == self.rows.len();
        self.renew(&mut grown);
        let rate = self.options.learning_rate as f32;
        grown.tree.leaves.iter_mut().for_each(|leaf| *leaf *= rate);
        for (column, gain) in &grown.gains {
            self.booster.gains[*column as usize] += gain;
        }
        self.add_scores(&grown);
        self.booster.trees.push(grown.tree);
    }

    /// Adds the tree to the scores: rows that it saw know their leaf, others walk to it.
    fn add_scores(&mut self, grown: &Grown) {
        let (objective, tree) = (self.options.objective, &grown.tree);
        for (range, value) in grown.leaves.iter().zip(&tree.leaves) {
            for row in &self.index[range.clone()] {
                let score = &mut self.scores[*row as usize];
                *score = objective.bounded(*score + value);
            }
        }
        let others = &self.others;
        for row in others {
            let value = tree.score(|column| self.rows.codes.code(*row as usize, column));
            let score = &mut self.scores[*row as usize];
            *score = objective.bounded(*score + value);
        }
    }

    fn choose_rows(&mut self, rng: &mut Rng) {
        self.index.clear();
        self.others.clear();
        let fraction = self.options.row_fraction;
        for row in 0..self.rows.len() as u32 {
            let chosen = fraction >= 1.0 || rng.chance(fraction);
            if chosen { &mut self.index } else { &mut self.others }.push(row);
        }
    }

    fn choose_columns(&self, rng: &mut Rng) -> Vec<u32> {
        let all = self.rows.bins.columns.len();
        let wanted = ((all as f64 * self.options.column_fraction).ceil() as usize).clamp(1, all.max(1));
        let mut columns: Vec<u32> = (0..all as u32).collect();
        if wanted < all {
            rng.shuffle(&mut columns);
            columns.truncate(wanted);
            columns.sort_unstable();
        }
        columns
    }

    /// Gives leaves the quantile of their residuals where the objective asks for it.
    fn renew(&self, grown: &mut Grown) {
        let Some(level) = self.options.objective.renewed_level() else { return };
        let leaves: Vec<f32> = grown
            .leaves
            .par_iter()
            .map(|range| {
                let residual = |row: &u32| {
                    let row = *row as usize;
                    let weight = self.rows.weights.get(row).copied().unwrap_or(1.0);
                    (self.rows.targets[row] - self.scores[row], weight)
                };
                let mut residuals: Vec<(f32, f32)> = self.index[range.clone()].iter().map(residual).collect();
                weighted_quantile(&mut residuals, level)
            })
            .collect();
        grown.tree.leaves = leaves;
    }
}

/// Adds what a tree says to the scores of these rows.
fn add_scores(objective: Objective, tree: &Tree, rows: &TreeRows, scores: &mut [f32]) {
    let scores = scores.par_iter_mut().enumerate().with_min_len(ROWS_PER_TASK);
    scores.for_each(|(row, score)| {
        *score = objective.bounded(*score + tree.score(|column| rows.codes.code(row, column)));
    });
}

/// Validation rows and how good the trees so far are for them.
struct Valid<'a> {
    rows: &'a TreeRows,
    scores: Vec<f32>,
    best_loss: f64,
    best_trees: usize,
}

impl<'a> Valid<'a> {
    fn new(rows: &'a TreeRows, booster: &Booster) -> Self {
        let mut valid =
            Self { rows, scores: vec![booster.base; rows.len()], best_loss: f64::INFINITY, best_trees: 0 };
        valid.best_loss = valid.loss(booster.objective);
        valid
    }

    fn loss(&self, objective: Objective) -> f64 {
        let rows = self.scores.iter().zip(&self.rows.targets).enumerate();
        rows.map(|(row, (score, y))| {
            let weight = self.rows.weights.get(row).copied().unwrap_or(1.0);
            f64::from(weight) * objective.loss(*score, *y)
        })
        .sum()
    }

    /// Adds the latest tree; true when the best one is too long ago.
    fn stops(&mut self, booster: &Booster, patience: usize) -> bool {
        let Some(tree) = booster.trees.last() else { return false };
        add_scores(booster.objective, tree, self.rows, &mut self.scores);
        let loss = self.loss(booster.objective);
        if loss < self.best_loss {
            (self.best_loss, self.best_trees) = (loss, booster.trees.len());
        }
        booster.trees.len() >= self.best_trees + patience
    }
}
