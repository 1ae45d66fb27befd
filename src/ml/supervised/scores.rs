//! How well rows are told: accuracy, F1, area under the curve and log loss of classes, errors of numbers.

use serde::{Deserialize, Serialize};

use crate::ml::metrics::area_under_curve;
use crate::ml::supervised::table::Target;

/// Probabilities are taken to be at least this far from 0 and 1.
const EDGE: f64 = 1e-15;

/// Scores of some rows; `None` where the task or the rows do not have one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RowScores {
    /// Share of the rows whose class is the most probable one.
    pub accuracy: Option<f64>,
    /// Mean over classes of the harmonic mean of precision and recall.
    pub f1: Option<f64>,
    /// Chance that a row of a class is ranked above one of another class; the mean over classes of more than two.
    pub auc: Option<f64>,
    /// Mean negative logarithm of the probability of what came true.
    pub log_loss: Option<f64>,
    /// Mean reciprocal place of what came next, of sequences.
    pub mrr: Option<f64>,
    /// Share of what came next among the first ten that were told.
    pub hit_rate: Option<f64>,
    /// Normalised discounted cumulative gain of what came next among the first ten.
    pub ndcg: Option<f64>,
    /// Mean absolute error.
    pub mae: Option<f64>,
    /// Root of the mean squared error.
    pub rmse: Option<f64>,
    /// Share of the variance that is told.
    pub r2: Option<f64>,
}

impl RowScores {
    /// The scores of predictions `[rows, outputs]`.
    pub fn of(target: &Target, predictions: &[f32], outputs: usize) -> Self {
        if target.is_empty() {
            return Self::default();
        }
        match target {
            Target::Classes(classes) => of_classes(classes, predictions, outputs),
            Target::Numbers(numbers) => of_numbers(numbers, predictions),
        }
    }

    /// What is minimised to choose between models.
    pub fn loss(&self) -> Option<f64> {
        self.log_loss.or(self.rmse)
    }

    /// The score that a model is known by.
    pub fn headline(&self) -> Option<(&'static str, f64)> {
        self.auc
            .map(|auc| ("auc", auc))
            .or(self.accuracy.map(|a| ("accuracy", a)))
            .or(self.rmse.map(|e| ("rmse", e)))
    }
}

fn of_classes(classes: &[u32], predictions: &[f32], outputs: usize) -> RowScores {
    let rows = || classes.iter().map(|class| *class as usize).zip(predictions.chunks_exact(outputs));
    let n = classes.len() as f64;
    let best = |row: &[f32]| (0..outputs).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0);
    let guessed: Vec<usize> = rows().map(|(_, row)| best(row)).collect();
    let right = guessed.iter().zip(classes).filter(|(a, b)| **a == **b as usize).count();
    let log_loss =
        rows().map(|(class, row)| -f64::from(row[class]).clamp(EDGE, 1.0 - EDGE).ln()).sum::<f64>() / n;
    let mut f1 = vec![];
    let mut areas = vec![];
    for class in 0..outputs {
        let actual = classes.iter().filter(|c| **c as usize == class).count();
        let told = guessed.iter().filter(|c| **c == class).count();
        let both = guessed.iter().zip(classes).filter(|(a, b)| **a == class && **b as usize == class).count();
        if actual + told > 0 {
            f1.push(2.0 * both as f64 / (actual + told) as f64);
        }
        // Of two classes the area is the same for both.
        if outputs != 2 || class == 1 {
            let mut ranked: Vec<(f64, bool)> =
                rows().map(|(c, row)| (f64::from(row[class]), c == class)).collect();
            areas.extend(area_under_curve(&mut ranked));
        }
    }
    let mean =
        |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    RowScores {
        accuracy: Some(right as f64 / n),
        f1: mean(&f1),
        auc: mean(&areas),
        log_loss: Some(log_loss),
        ..RowScores::default()
    }
}

fn of_numbers(numbers: &[f64], predictions: &[f32]) -> RowScores {
    let n = numbers.len() as f64;
    let errors = || numbers.iter().zip(predictions).map(|(y, p)| y - f64::from(*p));
    let mean = numbers.iter().sum::<f64>() / n;
    let square: f64 = errors().map(|e| e * e).sum();
    let spread: f64 = numbers.iter().map(|y| (y - mean) * (y - mean)).sum();
    RowScores {
        mae: Some(errors().map(f64::abs).sum::<f64>() / n),
        rmse: Some((square / n).sqrt()),
        r2: (spread > 0.0).then(|| 1.0 - square / spread),
        ..RowScores::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_classes_are_those_of_scikit_learn() {
        // sklearn 1.9: accuracy_score, f1_score(average='macro'), roc_auc_score, log_loss.
        let probability = [0.1f32, 0.4, 0.35, 0.8, 0.5, 0.5];
        let predictions: Vec<f32> = probability.iter().flat_map(|p| [1.0 - p, *p]).collect();
        let scores = RowScores::of(&Target::Classes(vec![0, 0, 1, 1, 0, 1]), &predictions, 2);
        assert!((scores.auc.unwrap() - 0.722_222_222_222_222_2).abs() < 1e-12);
        assert!((scores.log_loss.unwrap() - 0.545_907_696_059_432_6).abs() < 1e-6, "{:?}", scores.log_loss);
        let three = [0.7, 0.2, 0.1, 0.3, 0.3, 0.4, 0.1, 0.6, 0.3f32];
        let scores = RowScores::of(&Target::Classes(vec![0, 2, 1]), &three, 3);
        assert_eq!((scores.accuracy, scores.f1), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn scores_of_numbers() {
        let scores = RowScores::of(&Target::Numbers(vec![1.0, 2.0, 3.0]), &[1.0, 2.0, 5.0], 1);
        assert!((scores.mae.unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert!((scores.r2.unwrap() + 1.0).abs() < 1e-12);
        assert_eq!(RowScores::of(&Target::Numbers(vec![4.0]), &[4.0], 1).r2, None);
    }
}
