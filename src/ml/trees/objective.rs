//! What a booster minimises: gradients, curvatures, and how scores become predictions.

use serde::{Deserialize, Serialize};

/// Scores of exponential objectives stay within this size, so that their exponentials stay finite.
const SCORE_MAX: f32 = 30.0;

/// The loss of a booster.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// `(y - f)² / 2`: the mean.
    SquaredError,
    /// Quantile loss of this level; leaves take the quantile of their residuals (Friedman 2001).
    Quantile(f64),
    /// `|y - f|`: the median. Splits are those of the squared error; leaves take the median of their residuals.
    AbsoluteError,
    /// Poisson deviance of counts, with logarithmic link.
    Poisson,
    /// Tweedie deviance of this power between 1 and 2, with logarithmic link: many zeros and a long tail.
    Tweedie(f64),
    /// Cross-entropy of targets 0 and 1, with logistic link.
    Logistic,
}

impl Objective {
    /// Gradient and curvature of the loss of a row in its score.
    pub(super) fn gradient(self, score: f32, y: f32) -> (f32, f32) {
        match self {
            Self::SquaredError | Self::AbsoluteError => (score - y, 1.0),
            Self::Quantile(level) => {
                let level = level as f32;
                (if score >= y { 1.0 - level } else { -level }, 1.0)
            }
            Self::Poisson => {
                let mean = score.exp();
                (mean - y, mean)
            }
            Self::Tweedie(power) => {
                let power = power as f32;
                let (a, b) = (y * ((1.0 - power) * score).exp(), ((2.0 - power) * score).exp());
                (b - a, (2.0 - power) * b - (1.0 - power) * a)
            }
            Self::Logistic => {
                let p = 1.0 / (1.0 + (-score).exp());
                (p - y, (p * (1.0 - p)).max(1e-6))
            }
        }
    }

    /// Loss of a row, up to what does not depend on the score.
    pub(super) fn loss(self, score: f32, y: f32) -> f64 {
        let (score, y) = (f64::from(score), f64::from(y));
        match self {
            Self::SquaredError => 0.5 * (y - score) * (y - score),
            Self::AbsoluteError => (y - score).abs(),
            Self::Quantile(level) => crate::ml::metrics::quantile_loss_term(y, score, level),
            Self::Poisson => score.exp() - y * score,
            Self::Tweedie(power) => {
                ((2.0 - power) * score).exp() / (2.0 - power)
                    - y * ((1.0 - power) * score).exp() / (1.0 - power)
            }
            Self::Logistic => score.max(0.0) - y * score + (-score.abs()).exp().ln_1p(),
        }
    }

    /// What a score predicts.
    pub(super) fn prediction(self, score: f32) -> f32 {
        match self {
            Self::SquaredError | Self::AbsoluteError | Self::Quantile(_) => score,
            Self::Poisson | Self::Tweedie(_) => score.exp(),
            Self::Logistic => 1.0 / (1.0 + (-score).exp()),
        }
    }

    /// Scores within which the link is finite.
    pub(super) fn bounded(self, score: f32) -> f32 {
        match self {
            Self::SquaredError | Self::AbsoluteError | Self::Quantile(_) => score,
            _ => score.clamp(-SCORE_MAX, SCORE_MAX),
        }
    }

    /// True where predictions are medians.
    pub fn is_of_medians(self) -> bool {
        self.renewed_level() == Some(0.5)
    }

    /// The level where leaves take a quantile of their residuals.
    pub(super) fn renewed_level(self) -> Option<f64> {
        match self {
            Self::Quantile(level) => Some(level),
            Self::AbsoluteError => Some(0.5),
            _ => None,
        }
    }

    /// The best score that is the same for all rows; `weights` empty where all weigh the same.
    pub(super) fn base_score(self, targets: &[f32], weights: &[f32]) -> f32 {
        if let Some(level) = self.renewed_level() {
            let mut rows: Vec<(f32, f32)> =
                (0..targets.len()).map(|i| (targets[i], weights.get(i).copied().unwrap_or(1.0))).collect();
            return weighted_quantile(&mut rows, level);
        }
        let weight = |i: usize| f64::from(weights.get(i).copied().unwrap_or(1.0));
        let (sum, total) = targets
            .iter()
            .enumerate()
            .fold((0.0, 0.0), |(sum, total), (i, y)| (sum + weight(i) * f64::from(*y), total + weight(i)));
        let mean = if total > 0.0 { sum / total } else { 0.0 };
        let score = match self {
            Self::Poisson | Self::Tweedie(_) => mean.max(1e-6).ln(),
            Self::Logistic => {
                let p = mean.clamp(1e-6, 1.0 - 1e-6);
                (p / (1.0 - p)).ln()
            }
            Self::SquaredError | Self::AbsoluteError | Self::Quantile(_) => mean,
        };
        score as f32
    }

    /// Tells why a target cannot be one of this objective.
    pub(super) fn refuses(self, y: f32) -> Option<&'static str> {
        match self {
            Self::Poisson | Self::Tweedie(_) if y < 0.0 => Some("is negative"),
            Self::Logistic if !(0.0..=1.0).contains(&y) => Some("is not between 0 and 1"),
            _ if !y.is_finite() => Some("is not finite"),
            _ => None,
        }
    }
}

/// The value at which the weights below reach the level, between the two values where they meet it.
pub(super) fn weighted_quantile(rows: &mut [(f32, f32)], level: f64) -> f32 {
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let total: f64 = rows.iter().map(|(_, w)| f64::from(*w)).sum();
    let (mut below, wanted) = (0.0, level * total);
    for (i, (value, weight)) in rows.iter().enumerate() {
        below += f64::from(*weight);
        if below > wanted {
            return *value;
        }
        if below == wanted {
            return rows.get(i + 1).map_or(*value, |(next, _)| value / 2.0 + next / 2.0);
        }
    }
    rows.last().map_or(0.0, |(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Objective; 5] = [
        Objective::SquaredError,
        Objective::Quantile(0.3),
        Objective::Poisson,
        Objective::Tweedie(1.3),
        Objective::Logistic,
    ];

    #[test]
    fn gradients_and_curvatures_are_those_of_the_loss() {
        for objective in ALL {
            for (score, y) in [(0.3f32, 1.0f32), (-1.2, 0.0), (1.4, 0.7)] {
                let (step, at) = (1e-3f32, |d: f32| objective.loss(score + d, y));
                let (g, h) = objective.gradient(score, y);
                let slope = (at(step) - at(-step)) / (2.0 * f64::from(step));
                assert!((slope - f64::from(g)).abs() < 2e-3, "{objective:?} {slope} {g}");
                if objective.renewed_level().is_none() {
                    let (after, before) =
                        (objective.gradient(score + step, y).0, objective.gradient(score - step, y).0);
                    let bend = (after - before) / (2.0 * step);
                    assert!((bend - h).abs() < 5e-3, "{objective:?} {bend} {h}");
                }
            }
        }
    }

    #[test]
    fn the_base_score_has_no_gradient_left() {
        let targets = [0.0f32, 1.0, 1.0, 0.0, 1.0];
        for objective in [ALL[0], ALL[2], ALL[3], ALL[4]] {
            let base = objective.base_score(&targets, &[]);
            let sum: f32 = targets.iter().map(|y| objective.gradient(base, *y).0).sum();
            assert!(sum.abs() < 1e-4, "{objective:?} {sum}");
        }
        assert_eq!(Objective::Quantile(0.9).base_score(&[1.0, 2.0, 3.0, 4.0], &[]), 4.0);
        assert_eq!(Objective::Quantile(0.5).base_score(&[1.0, 2.0, 3.0, 4.0], &[]), 2.5);
        assert_eq!(Objective::Quantile(0.5).base_score(&[1.0, 9.0], &[1.0, 3.0]), 9.0);
    }
}
