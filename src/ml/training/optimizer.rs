//! AdamW (Loshchilov and Hutter 2019) with clipping by the global norm, in one pass over flat slices.

use crate::error::{Error, Result};
use crate::ml::layers::{Parameters, vectorised};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};

/// Settings of [`AdamW`] that do not change with the step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the mean gradient.
    pub beta1: f64,
    /// Decay of the mean squared gradient.
    pub beta2: f64,
    /// Added to the root of the mean squared gradient.
    pub epsilon: f64,
    /// Decoupled decay, applied where the parameter takes it.
    pub weight_decay: f64,
    /// Largest norm of all gradients together.
    pub norm_max: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 1e-2, norm_max: 1.0 }
    }
}

/// The optimiser and its moments, one slice per parameter in the order of the registry.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    config: AdamWConfig,
    steps: usize,
    first: Vec<Vec<f32>>,
    second: Vec<Vec<f32>>,
}

impl AdamW {
    /// An optimiser that has made no step.
    pub fn new(config: AdamWConfig, parameters: &Parameters) -> Self {
        let zeros: Vec<Vec<f32>> = parameters.iter().map(|(_, var, _)| vec![0.0; var.elem_count()]).collect();
        Self { config, steps: 0, first: zeros.clone(), second: zeros }
    }

    /// The optimiser as it was after `steps` steps.
    pub fn restored(config: AdamWConfig, steps: usize, first: Vec<Vec<f32>>, second: Vec<Vec<f32>>) -> Self {
        Self { config, steps, first, second }
    }

    /// Steps made.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Mean gradients and mean squared gradients.
    pub fn moments(&self) -> (&[Vec<f32>], &[Vec<f32>]) {
        (&self.first, &self.second)
    }

    /// Moves `values` against `gradients`; returns the norm of the gradients before clipping.
    pub fn step(
        &mut self,
        parameters: &Parameters,
        values: &mut [Vec<f32>],
        gradients: &[Vec<f32>],
        rate: f64,
    ) -> Result<f64> {
        let mut norm = 0.0;
        gradients.iter().for_each(|g| add_squares(g, &mut norm));
        let norm = norm.sqrt();
        if !norm.is_finite() {
            return Err(Error::data("training diverged: a gradient is not a finite number").with_hint(
                "lower learning_rate, or look for extreme values in the target and the covariates",
            ));
        }
        self.steps += 1;
        let config = self.config;
        let power = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let update = Update {
            clip: if norm > config.norm_max { config.norm_max / norm } else { 1.0 } as f32,
            beta1: config.beta1 as f32,
            beta2: config.beta2 as f32,
            epsilon: config.epsilon as f32,
            rate: rate as f32,
            first_correction: (1.0 / (1.0 - config.beta1.powi(power))) as f32,
            second_correction: (1.0 / (1.0 - config.beta2.powi(power))) as f32,
        };
        let keeps: Vec<f32> = parameters
            .iter()
            .map(|(_, _, decays)| if decays { (1.0 - rate * config.weight_decay) as f32 } else { 1.0 })
            .collect();
        let moments = self.first.par_iter_mut().zip(self.second.par_iter_mut());
        values.par_iter_mut().zip(moments).enumerate().for_each(|(i, (values, (first, second)))| {
            move_values(&update, values, &gradients[i], first, second, keeps[i]);
        });
        Ok(norm)
    }
}

vectorised! {
    /// Adds the squares of all values to `total`.
    add_squares(values: &[f32], total: &mut f64) {
        for chunk in values.chunks(4096) {
            let mut lanes = [0.0f32; 32];
            let (whole, rest) = chunk.as_chunks::<32>();
            for values in whole {
                lanes.iter_mut().zip(values).for_each(|(sum, g)| *sum += g * g);
            }
            rest.iter().zip(&mut lanes).for_each(|(g, sum)| *sum += g * g);
            *total += f64::from(lanes.iter().sum::<f32>());
        }
    }
}

/// One step's constants.
pub(super) struct Update {
    clip: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    rate: f32,
    first_correction: f32,
    second_correction: f32,
}

vectorised! {
    /// One step of all values of a parameter.
    move_values(
        update: &Update, values: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32], keep: f32
    ) {
        for (((x, g), m), v) in values.iter_mut().zip(gradients).zip(first).zip(second) {
            let g = g * update.clip;
            *m = update.beta1 * *m + (1.0 - update.beta1) * g;
            *v = update.beta2 * *v + (1.0 - update.beta2) * g * g;
            let step = *m * update.first_correction / ((*v * update.second_correction).sqrt() + update.epsilon);
            *x = *x * keep - update.rate * step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::Initializer;
    use crate::ml::rng::Rng;

    fn parameters() -> Parameters {
        let mut parameters = Parameters::seeded(Rng::new(1));
        parameters.register("a.bias", &[2], Initializer::Ones).unwrap();
        parameters.register("a.weight", &[1, 2], Initializer::Glorot).unwrap();
        parameters
    }

    #[test]
    fn first_step_moves_by_the_rate_and_decays_weights_only() {
        let parameters = parameters();
        let mut values = vec![vec![1.0, 1.0], vec![1.0, 1.0]];
        let config = AdamWConfig { weight_decay: 0.5, norm_max: 1e9, ..AdamWConfig::default() };
        let mut optimizer = AdamW::new(config, &parameters);
        let norm = optimizer.step(&parameters, &mut values, &[vec![3.0, -4.0], vec![0.0, 0.0]], 0.1).unwrap();
        assert!((norm - 5.0).abs() < 1e-9);
        assert!((values[0][0] - 0.9).abs() < 1e-6 && (values[0][1] - 1.1).abs() < 1e-6);
        assert!((values[1][0] - 0.95).abs() < 1e-6);
    }

    #[test]
    fn clipping_scales_all_gradients_and_nan_is_an_error() {
        let parameters = parameters();
        let mut values = parameters.values().unwrap();
        let mut optimizer = AdamW::new(AdamWConfig::default(), &parameters);
        optimizer.step(&parameters, &mut values, &[vec![30.0, 40.0], vec![0.0, 0.0]], 0.0).unwrap();
        assert!((optimizer.moments().0[0][1] - 0.1 * 0.8).abs() < 1e-6);
        let error = optimizer.step(&parameters, &mut values, &[vec![f32::NAN, 0.0], vec![0.0, 0.0]], 0.1);
        assert!(error.unwrap_err().message().starts_with("training diverged"));
    }
}
