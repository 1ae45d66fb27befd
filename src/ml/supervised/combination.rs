//! Weights of models whose predictions are averaged, picked one after the other with repetition (Caruana et al. 2004).

use crate::ml::supervised::scores::RowScores;
use crate::ml::supervised::table::Target;

/// Picks.
const PICKS: usize = 24;

/// A weight for each of the models' predictions `[rows, outputs]`, those that lower the loss of their mean.
pub(super) fn weights(predictions: &[Option<Vec<f32>>], target: &Target, outputs: usize) -> Vec<f64> {
    let mut picked = vec![0usize; predictions.len()];
    let mut sum: Vec<f64> = vec![];
    let mut least = f64::INFINITY;
    for pick in 1..=PICKS {
        let with = |one: &Vec<f32>| -> Vec<f32> {
            let before = |i: usize| sum.get(i).copied().unwrap_or(0.0);
            one.iter().enumerate().map(|(i, p)| ((before(i) + f64::from(*p)) / pick as f64) as f32).collect()
        };
        let losses = predictions.iter().enumerate().filter_map(|(i, one)| {
            let loss = RowScores::of(target, &with(one.as_ref()?), outputs).loss()?;
            Some((i, loss))
        });
        let Some((best, loss)) = losses.min_by(|a, b| a.1.total_cmp(&b.1)) else { break };
        // An equal mean is no reason for another model.
        if loss >= least && pick > PICKS / 4 {
            break;
        }
        least = least.min(loss);
        picked[best] += 1;
        if let Some(one) = &predictions[best] {
            sum.resize(one.len(), 0.0);
            sum.iter_mut().zip(one).for_each(|(s, p)| *s += f64::from(*p));
        }
    }
    let total = picked.iter().sum::<usize>().max(1) as f64;
    picked.into_iter().map(|n| n as f64 / total).collect()
}

/// The weighted mean of predictions.
pub(super) fn mean(predictions: &[Option<Vec<f32>>], weights: &[f64]) -> Vec<f32> {
    let n = predictions.iter().flatten().map(Vec::len).max().unwrap_or(0);
    let mut out = vec![0.0f64; n];
    for (one, weight) in predictions.iter().zip(weights).filter(|(_, w)| **w > 0.0) {
        let Some(one) = one else { continue };
        out.iter_mut().zip(one).for_each(|(o, p)| *o += weight * f64::from(*p));
    }
    out.into_iter().map(|x| x as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_that_err_apart_are_averaged_and_a_bad_one_is_left_out() {
        let target = Target::Numbers((0..40).map(f64::from).collect());
        let with =
            |error: &dyn Fn(usize) -> f32| Some((0..40).map(|i| i as f32 + error(i)).collect::<Vec<f32>>());
        let over = with(&|i| if i % 2 == 0 { 1.0 } else { -1.0 });
        let under = with(&|i| if i % 2 == 0 { -1.0 } else { 1.0 });
        let bad = with(&|_| 30.0);
        let weights = weights(&[over.clone(), bad, None, under.clone()], &target, 1);
        assert_eq!(weights, [0.5, 0.0, 0.0, 0.5]);
        let mean = mean(&[over, None, None, under], &weights);
        assert!(mean.iter().enumerate().all(|(i, y)| (y - i as f32).abs() < 1e-6));
    }
}
