//! Linear models of sparse rows: logistic regression, ridge regression, and machines of support vectors.

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::supervised::design::{Design, Sparse};
use crate::ml::supervised::lbfgs::minimise;
use crate::ml::supervised::table::{ColumnKind, Table, Target};

/// Inverse strengths of the penalty that are tried.
const STRENGTHS: [f64; 5] = [0.1, 0.5, 2.0, 8.0, 32.0];
/// Parts that rows are summed in, always as many.
const PARTS: usize = 8;
/// Share of the rows that a machine's probabilities are learnt from: one in so many.
const PLATT: usize = 4;

/// What a row costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Loss {
    /// Negative logarithm of the probability of its class.
    Logistic,
    /// Half the squared error.
    Squared,
    /// Squared distance from the right side of a margin, each class against the others.
    Hinge,
}

/// A linear model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Linear {
    design: Design,
    loss: Loss,
    /// Numbers that are told of a row.
    outputs: usize,
    /// Mean and deviation of the numbers that were learnt from.
    unit: [f64; 2],
    /// Slope and shift that make probabilities of a machine's distances, for each.
    platt: Vec<[f64; 2]>,
    strength: f64,
    /// Weights of the columns, then the shift, of each score.
    weights: Vec<f32>,
}

impl Linear {
    /// A model of these columns that learns from some rows; of the strengths of the penalty the one is taken that tells the
    /// others best.
    pub(super) fn fit(
        (table, target, outputs): (&Table, &Target, usize),
        (train, valid): (&[usize], &[usize]),
        (loss, kinds): (Loss, &[ColumnKind]),
        control: &Control,
    ) -> Result<Self> {
        let design = Design::fit(table, train, kinds);
        let rows = design.apply(table, train);
        let (of_train, of_valid) = (target.of(train), target.of(valid));
        let asked = design.apply(table, valid);
        let mut best: Option<(f64, Self)> = None;
        for strength in STRENGTHS {
            let mut model = Self::empty(design.clone(), (loss, outputs), &of_train, strength);
            model.learn(
                &rows,
                &of_train,
                best.as_ref().map(|(_, model)| model.weights.as_slice()),
                control,
            )?;
            let cost = model.mean_loss(&asked, &of_valid);
            match &best {
                Some((least, _)) if cost > *least => break,
                _ => best = Some((cost, model)),
            }
        }
        let mut model = best
            .map(|(_, model)| model)
            .unwrap_or_else(|| Self::empty(design, (loss, outputs), &of_train, 1.0));
        model.calibrate(&rows, &of_train, control)?;
        Ok(model)
    }

    /// The same model of more rows.
    pub(super) fn refit(
        &self,
        (table, target): (&Table, &Target),
        rows: &[usize],
        kinds: &[ColumnKind],
        control: &Control,
    ) -> Result<Self> {
        let design = Design::fit(table, rows, kinds);
        let (sparse, of_rows) = (design.apply(table, rows), target.of(rows));
        let mut model = Self::empty(design, (self.loss, self.outputs), &of_rows, self.strength);
        model.learn(&sparse, &of_rows, None, control)?;
        model.platt.clone_from(&self.platt);
        Ok(model)
    }

    fn empty(design: Design, (loss, outputs): (Loss, usize), target: &Target, strength: f64) -> Self {
        let model =
            Self { design, loss, outputs, unit: target.unit(), platt: vec![], strength, weights: vec![] };
        let weights = vec![0.0; model.scores() * (model.design.width() + 1)];
        Self { weights, ..model }
    }

    /// Tells why it cannot be a model of such a table, as damage makes it.
    pub(super) fn refuses(&self) -> Option<&'static str> {
        let fits = self.weights.len() == self.scores() * (self.design.width() + 1);
        let platt = self.loss != Loss::Hinge || self.platt.len() == self.scores();
        let finite = self.weights.iter().all(|w| w.is_finite()) && self.outputs > 0;
        (!fits || !platt || !finite || !self.design.is_whole())
            .then_some("its weights do not fit its columns")
    }

    /// Numbers that it holds.
    pub(super) fn parameters(&self) -> usize {
        self.weights.len()
    }

    /// Scores that a row has: one less than classes where there are two.
    pub(super) fn scores(&self) -> usize {
        if self.outputs == 2 { 1 } else { self.outputs }
    }

    fn learn(
        &mut self,
        rows: &Sparse,
        target: &Target,
        start: Option<&[f32]>,
        control: &Control,
    ) -> Result<()> {
        let (scores, width) = (self.scores(), self.design.width() + 1);
        let wanted = self.wanted(target);
        let penalty = 1.0 / (self.strength * rows.len().max(1) as f64);
        let from = match start {
            Some(weights) if weights.len() == scores * width => {
                weights.iter().map(|w| f64::from(*w)).collect()
            }
            _ => vec![0.0; scores * width],
        };
        let loss = self.loss;
        let function = |weights: &[f64], gradient: &mut [f64]| {
            let n = rows.len().max(1) as f64;
            let part = |part: usize| {
                let (mut cost, mut sums) = (0.0, vec![0.0; weights.len()]);
                let of = part * rows.len() / PARTS..(part + 1) * rows.len() / PARTS;
                let mut outputs = vec![0.0; scores];
                for row in of {
                    score(rows.row(row), weights, width, &mut outputs);
                    cost += slopes(loss, &mut outputs, &wanted[row * scores..(row + 1) * scores]);
                    let (columns, values) = rows.row(row);
                    for (slope, sums) in outputs.iter().zip(sums.chunks_exact_mut(width)) {
                        if *slope != 0.0 {
                            for (column, value) in columns.iter().zip(values) {
                                sums[*column as usize] += slope * f64::from(*value);
                            }
                            sums[width - 1] += slope;
                        }
                    }
                }
                (cost, sums)
            };
            let parts: Vec<(f64, Vec<f64>)> = (0..PARTS).into_par_iter().map(part).collect();
            let mut cost = 0.0;
            gradient.fill(0.0);
            for (part, sums) in parts {
                cost += part / n;
                gradient.iter_mut().zip(sums).for_each(|(g, s)| *g += s / n);
            }
            for (weights, gradient) in weights.chunks_exact(width).zip(gradient.chunks_exact_mut(width)) {
                // The shift is free.
                for (w, g) in weights.iter().zip(gradient).take(width - 1) {
                    cost += 0.5 * penalty * w * w;
                    *g += penalty * w;
                }
            }
            cost
        };
        let weights = minimise(from, &function, control)?;
        self.weights = weights.into_iter().map(|w| w as f32).collect();
        Ok(())
    }

    /// What the scores of each row are to be: sides of a margin, classes, or numbers in their own unit.
    fn wanted(&self, target: &Target) -> Vec<f64> {
        let scores = self.scores();
        match target {
            Target::Numbers(numbers) => numbers.iter().map(|y| (y - self.unit[0]) / self.unit[1]).collect(),
            Target::Classes(classes) => classes
                .iter()
                .flat_map(|class| {
                    let class = *class as usize;
                    (0..scores).map(move |k| match scores {
                        1 => f64::from(u8::from(class == 1)),
                        _ => f64::from(u8::from(class == k)),
                    })
                })
                .collect(),
        }
    }

    /// Scores `[rows, scores]`.
    fn distances(&self, rows: &Sparse) -> Vec<f64> {
        let (scores, width) = (self.scores(), self.design.width() + 1);
        let weights: Vec<f64> = self.weights.iter().map(|w| f64::from(*w)).collect();
        let mut out = vec![0.0; rows.len() * scores];
        out.chunks_exact_mut(scores.max(1))
            .enumerate()
            .for_each(|(i, out)| score(rows.row(i), &weights, width, out));
        out
    }

    fn mean_loss(&self, rows: &Sparse, target: &Target) -> f64 {
        let (scores, wanted) = (self.scores(), self.wanted(target));
        let mut distances = self.distances(rows);
        let each = distances.chunks_exact_mut(scores).zip(wanted.chunks_exact(scores));
        each.map(|(row, wanted)| slopes(self.loss, row, wanted)).sum::<f64>() / rows.len().max(1) as f64
    }

    /// Learns what a machine's distances mean from rows that a machine of the others did not see.
    fn calibrate(&mut self, rows: &Sparse, target: &Target, control: &Control) -> Result<()> {
        if self.loss != Loss::Hinge {
            return Ok(());
        }
        let all = 0..rows.len();
        let (aside, kept): (Vec<usize>, Vec<usize>) = all.partition(|row| row % PLATT == 0);
        let mut other = self.clone();
        other.learn(&part(rows, &kept), &target.of(&kept), None, control)?;
        let distances = other.distances(&part(rows, &aside));
        let wanted = self.wanted(&target.of(&aside));
        let scores = self.scores();
        for k in 0..scores {
            let pairs: Vec<(f64, f64)> =
                distances.iter().zip(&wanted).skip(k).step_by(scores).map(|(d, y)| (*d, *y)).collect();
            self.platt.push(platt(&pairs, control)?);
        }
        Ok(())
    }

    /// What is told of these rows, `[rows, outputs]`.
    pub(super) fn predict(&self, table: &Table, rows: &[usize]) -> Vec<f32> {
        let distances = self.distances(&self.design.apply(table, rows));
        let mut out = Vec::with_capacity(rows.len() * self.outputs);
        for row in distances.chunks_exact(self.scores()) {
            match self.loss {
                Loss::Squared => out.extend(row.iter().map(|y| (y * self.unit[1] + self.unit[0]) as f32)),
                Loss::Logistic if self.outputs == 2 => {
                    let p = logistic(row[0]);
                    out.extend([(1.0 - p) as f32, p as f32]);
                }
                Loss::Logistic => {
                    let most = row.iter().copied().fold(f64::MIN, f64::max);
                    let total: f64 = row.iter().map(|z| (z - most).exp()).sum();
                    out.extend(row.iter().map(|z| ((z - most).exp() / total) as f32));
                }
                Loss::Hinge => {
                    let told =
                        row.iter().zip(&self.platt).map(|(d, [slope, shift])| logistic(slope * d + shift));
                    let told: Vec<f64> = told.collect();
                    if let ([p], 2) = (told.as_slice(), self.outputs) {
                        out.extend([(1.0 - p) as f32, *p as f32]);
                    } else {
                        let total: f64 = told.iter().sum::<f64>().max(1e-12);
                        out.extend(told.iter().map(|p| (p / total) as f32));
                    }
                }
            }
        }
        out
    }
}

fn logistic(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

fn score((columns, values): (&[u32], &[f32]), weights: &[f64], width: usize, out: &mut [f64]) {
    for (out, weights) in out.iter_mut().zip(weights.chunks_exact(width)) {
        let pairs = columns.iter().zip(values);
        *out = weights[width - 1] + pairs.map(|(c, v)| weights[*c as usize] * f64::from(*v)).sum::<f64>();
    }
}

/// The cost of a row; its scores become their slopes.
fn slopes(loss: Loss, scores: &mut [f64], wanted: &[f64]) -> f64 {
    match (loss, scores.len()) {
        (Loss::Squared, _) => {
            let mut cost = 0.0;
            for (z, y) in scores.iter_mut().zip(wanted) {
                *z -= y;
                cost += 0.5 * *z * *z;
            }
            cost
        }
        (Loss::Hinge, _) => {
            let mut cost = 0.0;
            for (z, y) in scores.iter_mut().zip(wanted) {
                let side = if *y > 0.5 { 1.0 } else { -1.0 };
                let short = (1.0 - side * *z).max(0.0);
                cost += short * short;
                *z = -2.0 * side * short;
            }
            cost
        }
        (Loss::Logistic, 1) => {
            let (z, y) = (scores[0], wanted[0]);
            scores[0] = logistic(z) - y;
            z.max(0.0) - y * z + (-z.abs()).exp().ln_1p()
        }
        (Loss::Logistic, _) => {
            let most = scores.iter().copied().fold(f64::MIN, f64::max);
            let total: f64 = scores.iter().map(|z| (z - most).exp()).sum();
            let mut cost = 0.0;
            for (z, y) in scores.iter_mut().zip(wanted) {
                cost += y * (most + total.ln() - *z);
                *z = (*z - most).exp() / total - y;
            }
            cost
        }
    }
}

/// Some of the rows.
fn part(rows: &Sparse, of: &[usize]) -> Sparse {
    let mut part = Sparse { width: rows.width, ..Sparse::default() };
    for row in of {
        let (columns, values) = rows.row(*row);
        part.columns.extend_from_slice(columns);
        part.values.extend_from_slice(values);
        part.ends.push(part.columns.len());
    }
    part
}

/// Slope and shift that make probabilities of distances (Platt 1999), from targets pulled in from 0 and 1.
fn platt(pairs: &[(f64, f64)], control: &Control) -> Result<[f64; 2]> {
    let positive = pairs.iter().filter(|(_, y)| *y > 0.5).count() as f64;
    let negative = pairs.len() as f64 - positive;
    let (high, low) = ((positive + 1.0) / (positive + 2.0), 1.0 / (negative + 2.0));
    let function = |x: &[f64], gradient: &mut [f64]| {
        gradient.fill(0.0);
        let mut cost = 0.0;
        for (distance, y) in pairs {
            let (y, z) = (if *y > 0.5 { high } else { low }, x[0] * distance + x[1]);
            cost += z.max(0.0) - y * z + (-z.abs()).exp().ln_1p();
            let slope = logistic(z) - y;
            gradient[0] += slope * distance;
            gradient[1] += slope;
        }
        cost
    };
    let found = minimise(vec![1.0, 0.0], &function, control)?;
    Ok([found[0], found[1]])
}
