//! The head of a network: what the outputs of a step say of its target, as quantiles in the user's units.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ml::control::Control;
use crate::ml::distributions::Distribution;
use crate::ml::evaluation::LEVELS;
use crate::ml::features::{Featurizer, WindowBatch};
use crate::ml::models::networks::network::WindowNetwork;
use crate::ml::models::networks::windows::Windows;
use crate::ml::models::spread::Spread;
use crate::ml::objective::ObjectiveKind;
use crate::ml::training::{
    Dataset, Network, Objective, TWEEDIE_POWER, log_link_mean, negative_binomial_parameters, poisson_mean,
    student_t_parameters,
};

/// Steps that held-out windows must have to tell what the objective leaves open; learnt ones tell it else.
const JUDGED_STEPS_MIN: usize = 200;
/// Steps that tell it, at most.
const JUDGED_STEPS_MAX: usize = 30_000;
/// Bounds of the dispersion of a Tweedie distribution.
const DISPERSION: (f64, f64) = (1e-4, 1e6);

/// How the outputs of a step are read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    /// What the network was trained for.
    kind: ObjectiveKind,
    /// How far targets lie from the point that an objective of errors gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spread: Option<Spread>,
    /// Variance over `mean^1.5` in the user's units, of a Tweedie distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dispersion: Option<f64>,
}

/// Forecasts of steps beside what came true.
#[derive(Debug, Default)]
struct Judged {
    /// First output of each.
    outputs: Vec<f32>,
    targets: Vec<f32>,
    /// How far ahead each is, counted from 0.
    steps: Vec<usize>,
    /// Scales of their windows.
    scales: Vec<f64>,
}

impl Head {
    /// The head of this objective, before its network has learnt.
    pub(super) fn new(kind: ObjectiveKind) -> Self {
        Self { kind, ..Self::default() }
    }

    /// True of the head that gives the quantiles themselves.
    pub(super) fn is_usual(&self) -> bool {
        self.kind == ObjectiveKind::Quantile
    }

    /// What its network is trained for.
    pub(super) fn objective(&self) -> Objective {
        Objective::new(self.kind, &LEVELS)
    }

    fn is_of_errors(&self) -> bool {
        matches!(self.kind, ObjectiveKind::Mse | ObjectiveKind::Mae | ObjectiveKind::Huber)
    }

    /// True when a stored head has what its objective leaves open.
    pub(super) fn is_sound(&self) -> bool {
        let within = |dispersion: f64| (DISPERSION.0..=DISPERSION.1).contains(&dispersion);
        self.spread.as_ref().is_some_and(Spread::is_sound) == self.is_of_errors()
            && self.dispersion.is_some_and(within) == (self.kind == ObjectiveKind::Tweedie)
    }

    /// Learns what the objective leaves open: from the windows that told when to stop, or from those that were learnt
    /// where there are too few.
    pub(super) fn fit(
        &mut self,
        network: &WindowNetwork,
        featurizer: &Featurizer,
        [train, valid]: [&Windows<'_>; 2],
        control: &Control,
    ) -> Result<()> {
        if !self.is_of_errors() && self.kind != ObjectiveKind::Tweedie {
            return Ok(());
        }
        let horizon = featurizer.layout.horizon;
        let windows = if valid.len() * horizon >= JUDGED_STEPS_MIN { valid } else { train };
        let judged = Judged::of(network, windows, horizon, control)?;
        if self.is_of_errors() {
            self.spread = Some(judged.spread(horizon));
        } else {
            self.dispersion = Some(judged.dispersion());
        }
        Ok(())
    }

    /// Writes the quantiles at [`LEVELS`] of a step, counted from 0, from its outputs and what scaled values are
    /// relative to and divided by.
    pub(super) fn quantiles(&self, outputs: &[f32], step: usize, of: (f64, f64), out: &mut [f64]) {
        let (center, scale) = of;
        let distribution = match self.kind {
            ObjectiveKind::Quantile => {
                out.iter_mut().zip(outputs).for_each(|(y, z)| *y = center + scale * f64::from(*z));
                return;
            }
            ObjectiveKind::Mse | ObjectiveKind::Mae | ObjectiveKind::Huber => {
                out.fill(center + scale * f64::from(outputs[0]));
                let offsets = self.spread.as_ref().map(|spread| spread.offsets(step, outputs[0]));
                let offsets = offsets.unwrap_or_default();
                out.iter_mut().zip(offsets).for_each(|(y, offset)| *y += scale * f64::from(*offset));
                return;
            }
            ObjectiveKind::Poisson => {
                Distribution::Count { mean: poisson_mean(outputs, scale), dispersion: 0.0 }
            }
            ObjectiveKind::NegativeBinomial => {
                let (mean, dispersion) = negative_binomial_parameters(outputs, scale);
                Distribution::Count { mean, dispersion }
            }
            ObjectiveKind::Tweedie => Distribution::Compound {
                mean: log_link_mean(outputs[0], scale),
                dispersion: self.dispersion.unwrap_or(1.0),
            },
            ObjectiveKind::StudentT => {
                let (location, width, freedom) = student_t_parameters(outputs);
                Distribution::StudentT { location: center + scale * location, scale: scale * width, freedom }
            }
        };
        distribution.quantiles(&LEVELS, out);
    }
}

impl Judged {
    /// Steps of windows, evenly spread.
    fn of(network: &WindowNetwork, windows: &Windows<'_>, horizon: usize, control: &Control) -> Result<Self> {
        let most = windows.len().min(JUDGED_STEPS_MAX.div_ceil(horizon));
        let indexes: Vec<usize> = (0..most).map(|i| i * windows.len() / most).collect();
        let (mut judged, mut batch) = (Self::default(), WindowBatch::default());
        for indexes in indexes.chunks(network.pass_length()) {
            control.check()?;
            windows.gather(indexes, &mut batch);
            let outputs = network.forward(&batch, None)?.flatten_all()?.to_vec1::<f32>()?;
            let each = outputs.len() / batch.target.len().max(1);
            for (i, row) in outputs.chunks_exact(each.max(1)).enumerate() {
                if batch.weight[i] > 0.0 && row[0].is_finite() {
                    judged.outputs.push(row[0]);
                    judged.targets.push(batch.target[i]);
                    judged.steps.push(i % horizon);
                    judged.scales.push(batch.scale[i / horizon]);
                }
            }
        }
        Ok(judged)
    }

    fn spread(&self, horizon: usize) -> Spread {
        let errors: Vec<f32> = self.targets.iter().zip(&self.outputs).map(|(y, f)| y - f).collect();
        let sizes: Vec<f32> = self.outputs.iter().map(|f| f.abs()).collect();
        Spread::of_errors(&errors, &sizes, &self.steps, horizon)
    }

    /// The mean of squared errors over the power of the mean that is their variance (Pearson's estimate).
    fn dispersion(&self) -> f64 {
        let each = self.outputs.iter().zip(&self.targets).zip(&self.scales).map(|((output, y), scale)| {
            let mean = log_link_mean(*output, *scale);
            let error = f64::from(*y) * scale - mean;
            error * error / mean.powf(TWEEDIE_POWER)
        });
        let mean = each.sum::<f64>() / self.outputs.len().max(1) as f64;
        if mean.is_finite() { mean.clamp(DISPERSION.0, DISPERSION.1) } else { DISPERSION.1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::evaluation::{MIDDLE, WIDTH};

    /// The quantiles at 0.01, 0.5 and 0.975 that a head makes of outputs 0.4, 0.3, 1.0.
    fn quantiles(head: &Head, of: (f64, f64)) -> [f64; 3] {
        let (mut out, outputs) = ([0.0; WIDTH], [0.4, 0.3, 1.0]);
        head.quantiles(&outputs[..head.objective().outputs().min(3)], 0, of, &mut out);
        assert!(out.windows(2).all(|pair| pair[0] <= pair[1]), "{out:?}");
        [1, MIDDLE, WIDTH - 3].map(|at| out[at])
    }

    /// scipy.stats.poisson, nbinom and t, 1.17, with the parameters that the outputs stand for.
    #[test]
    fn outputs_are_read_as_the_distributions_of_scipy() {
        let of = |kind, of| quantiles(&Head::new(kind), of);
        assert_eq!(of(ObjectiveKind::Poisson, (0.0, 4.0)), [0.0, 3.0, 8.0]);
        assert_eq!(of(ObjectiveKind::NegativeBinomial, (0.0, 4.0)), [0.0, 3.0, 11.0]);
        let student_t = of(ObjectiveKind::StudentT, (10.0, 2.0));
        for (ours, theirs) in student_t.iter().zip([3.597492, 10.8, 15.958884]) {
            assert!((ours - theirs).abs() < 1e-4, "{student_t:?}");
        }
    }

    #[test]
    fn points_have_quantiles_by_errors_of_steps_they_did_not_learn() {
        let spread = Spread::of_errors(&[-2.0, -1.0, 0.0, 1.0, 4.0], &[1.0; 5], &[0; 5], 7);
        let head = Head { spread: Some(spread), ..Head::new(ObjectiveKind::Mse) };
        let quantiles = quantiles(&head, (10.0, 2.0));
        for (ours, by_hand) in quantiles.iter().zip([10.8 - 4.0, 10.8, 10.8 + 8.0]) {
            assert!((ours - by_hand).abs() < 1e-6, "{quantiles:?}");
        }
        assert!(head.is_sound() && !Head::new(ObjectiveKind::Mse).is_sound());
        assert!(Head::default().is_sound() && !Head::new(ObjectiveKind::Tweedie).is_sound());
    }

    /// Errors of 2 about means of 4: the mean of 4 / 4^1.5 is a half.
    #[test]
    fn dispersion_by_hand() {
        let judged = Judged {
            outputs: vec![2.0f32.ln(), 0.0],
            targets: vec![3.0, 0.5],
            steps: vec![0, 1],
            scales: vec![2.0, 4.0],
        };
        assert!((judged.dispersion() - 0.5).abs() < 1e-6, "{}", judged.dispersion());
    }
}
