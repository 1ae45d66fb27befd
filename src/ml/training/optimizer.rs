//! AdamW and stochastic gradient descent with momentum, both with decoupled weight decay (Loshchilov and Hutter 2019) and
//! clipping by the global norm, in one pass over flat slices.

use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};

use crate::error::{Error, Result};
use crate::ml::layers::{Parameters, vectorised};
use crate::ml::training::low_rank::LowRank;

/// Which optimiser, and its settings that do not change with the step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptimizerConfig {
    /// How gradients become steps.
    pub rule: Rule,
    /// Decoupled decay, applied where the parameter takes it.
    pub weight_decay: f64,
    /// Largest norm of all gradients together.
    pub norm_max: f64,
    /// Matrices learn products of thin ones of this rank, and nothing else learns.
    pub rank: Option<usize>,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self { rule: Rule::ADAM, weight_decay: 1e-2, norm_max: 1.0, rank: None }
    }
}

/// How gradients become steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// The mean gradient over the root of the mean squared gradient (Kingma and Ba 2015).
    Adam {
        /// Decay of the mean gradient.
        beta1: f64,
        /// Decay of the mean squared gradient.
        beta2: f64,
        /// Added to the root of the mean squared gradient.
        epsilon: f64,
    },
    /// The sum of gradients, older ones less: `v = momentum v + gradient` (Polyak 1964).
    Sgd {
        /// Decay of the sum.
        momentum: f64,
    },
}

impl Rule {
    /// Adam with the usual decays.
    pub const ADAM: Self = Self::Adam { beta1: 0.9, beta2: 0.99, epsilon: 1e-8 };
    /// Stochastic gradient descent with the usual momentum.
    pub const SGD: Self = Self::Sgd { momentum: 0.9 };
}

/// An optimiser and its moments, one slice per parameter in the order of the registry.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimizer {
    config: OptimizerConfig,
    steps: usize,
    first: Vec<Vec<f32>>,
    /// Empty where the rule has no second moment.
    second: Vec<Vec<f32>>,
    /// What learns instead of the parameters.
    low_rank: Option<LowRank>,
}

impl Optimizer {
    /// An optimiser that has made no step.
    pub fn new(config: OptimizerConfig, parameters: &Parameters) -> Self {
        Self::of_sizes(config, parameters.iter().map(|(_, var, _)| var.elem_count()))
    }

    /// An optimiser of parameters with these values that has made no step, of low rank where the settings say so.
    pub fn beginning(config: OptimizerConfig, parameters: &Parameters, values: &[Vec<f32>]) -> Self {
        let Some(rank) = config.rank else { return Self::new(config, parameters) };
        let low_rank = LowRank::new(rank, parameters, values);
        let optimizer = Self::of_sizes(config, low_rank.factors.iter().map(Vec::len));
        Self { low_rank: Some(low_rank), ..optimizer }
    }

    fn of_sizes(config: OptimizerConfig, sizes: impl Iterator<Item = usize>) -> Self {
        let zeros: Vec<Vec<f32>> = sizes.map(|size| vec![0.0; size]).collect();
        let second = if matches!(config.rule, Rule::Adam { .. }) { zeros.clone() } else { Vec::new() };
        Self { config, steps: 0, first: zeros, second, low_rank: None }
    }

    /// This optimiser as it was after `steps` steps; fails where the moments are not of its rule and parameters.
    pub fn restored(self, steps: usize, first: Vec<Vec<f32>>, second: Vec<Vec<f32>>) -> Result<Self> {
        let sizes = |tensors: &[Vec<f32>]| tensors.iter().map(Vec::len).collect::<Vec<_>>();
        if sizes(&first) != sizes(&self.first) || sizes(&second) != sizes(&self.second) {
            return Err(Error::internal("the checkpoint belongs to another network or optimizer"));
        }
        Ok(Self { steps, first, second, ..self })
    }

    /// Steps made.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Mean gradients and mean squared gradients; sums of gradients and nothing without second moments.
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
        if let Some(mut low_rank) = self.low_rank.take() {
            let gradients = low_rank.gradients(gradients);
            let keeps = vec![(1.0 - rate * self.config.weight_decay) as f32; gradients.len()];
            let norm = self.move_by(&mut low_rank.factors, &gradients, rate, &keeps)?;
            low_rank.apply(values);
            self.low_rank = Some(low_rank);
            return Ok(norm);
        }
        let keep = |decays| if decays { (1.0 - rate * self.config.weight_decay) as f32 } else { 1.0 };
        let keeps: Vec<f32> = parameters.iter().map(|(_, _, decays)| keep(decays)).collect();
        self.move_by(values, gradients, rate, &keeps)
    }

    fn move_by(
        &mut self,
        values: &mut [Vec<f32>],
        gradients: &[Vec<f32>],
        rate: f64,
        keeps: &[f32],
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
        let clip = if norm > config.norm_max { config.norm_max / norm } else { 1.0 } as f32;
        self.update(values, gradients, [clip, rate as f32], keeps);
        Ok(norm)
    }

    /// Moves `values`, which first shrink to these shares of themselves, by the rule; `clip` scales gradients.
    fn update(
        &mut self,
        values: &mut [Vec<f32>],
        gradients: &[Vec<f32>],
        [clip, rate]: [f32; 2],
        keeps: &[f32],
    ) {
        match self.config.rule {
            Rule::Adam { beta1, beta2, epsilon } => {
                let power = i32::try_from(self.steps).unwrap_or(i32::MAX);
                let update = Adam {
                    clip,
                    beta1: beta1 as f32,
                    beta2: beta2 as f32,
                    epsilon: epsilon as f32,
                    rate,
                    first_correction: (1.0 / (1.0 - beta1.powi(power))) as f32,
                    second_correction: (1.0 / (1.0 - beta2.powi(power))) as f32,
                };
                let moments = self.first.par_iter_mut().zip(self.second.par_iter_mut());
                values.par_iter_mut().zip(moments).enumerate().for_each(|(i, (values, (first, second)))| {
                    move_by_adam(&update, values, &gradients[i], first, second, keeps[i]);
                });
            }
            Rule::Sgd { momentum } => {
                let update = Sgd { clip, momentum: momentum as f32, rate };
                values.par_iter_mut().zip(&mut self.first).enumerate().for_each(|(i, (values, sums))| {
                    move_by_sgd(&update, values, &gradients[i], sums, keeps[i]);
                });
            }
        }
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

/// One step's constants of Adam.
pub(super) struct Adam {
    clip: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    rate: f32,
    first_correction: f32,
    second_correction: f32,
}

vectorised! {
    /// One step of Adam of all values of a parameter.
    move_by_adam(
        update: &Adam, values: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32], keep: f32
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

/// One step's constants of stochastic gradient descent.
pub(super) struct Sgd {
    clip: f32,
    momentum: f32,
    rate: f32,
}

vectorised! {
    /// One step of gradient descent of all values of a parameter.
    move_by_sgd(update: &Sgd, values: &mut [f32], gradients: &[f32], sums: &mut [f32], keep: f32) {
        for ((x, g), v) in values.iter_mut().zip(gradients).zip(sums) {
            *v = update.momentum * *v + g * update.clip;
            *x = *x * keep - update.rate * *v;
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
        let config = OptimizerConfig { weight_decay: 0.5, norm_max: 1e9, ..OptimizerConfig::default() };
        let mut optimizer = Optimizer::new(config, &parameters);
        let norm = optimizer.step(&parameters, &mut values, &[vec![3.0, -4.0], vec![0.0, 0.0]], 0.1).unwrap();
        assert!((norm - 5.0).abs() < 1e-9);
        assert!((values[0][0] - 0.9).abs() < 1e-6 && (values[0][1] - 1.1).abs() < 1e-6);
        assert!((values[1][0] - 0.95).abs() < 1e-6);
    }

    #[test]
    fn clipping_scales_all_gradients_and_nan_is_an_error() {
        let parameters = parameters();
        let mut values = parameters.values().unwrap();
        let mut optimizer = Optimizer::new(OptimizerConfig::default(), &parameters);
        optimizer.step(&parameters, &mut values, &[vec![30.0, 40.0], vec![0.0, 0.0]], 0.0).unwrap();
        assert!((optimizer.moments().0[0][1] - 0.1 * 0.8).abs() < 1e-6);
        let error = optimizer.step(&parameters, &mut values, &[vec![f32::NAN, 0.0], vec![0.0, 0.0]], 0.1);
        assert!(error.unwrap_err().message().starts_with("training diverged"));
    }

    fn sgd(weight_decay: f64, norm_max: f64) -> OptimizerConfig {
        OptimizerConfig { rule: Rule::SGD, weight_decay, norm_max, rank: None }
    }

    #[test]
    fn momentum_decay_and_clipping_by_hand() {
        let parameters = parameters();
        let mut values = vec![vec![1.0, 1.0], vec![2.0, 2.0]];
        let mut optimizer = Optimizer::new(sgd(0.5, 5.0), &parameters);
        let gradients = [vec![3.0, 0.0], vec![4.0, 0.0]];
        optimizer.step(&parameters, &mut values, &gradients, 0.1).unwrap();
        // The weight decays to 0.95 of itself, the bias does not.
        for (ours, by_hand) in values.concat().iter().zip([0.7f32, 1.0, 1.5, 1.9]) {
            assert!((ours - by_hand).abs() < 1e-6, "{values:?}");
        }
        // A norm of 10 is clipped to 5; v = 0.9 · 3 + 3 and 0.9 · 4 + 4.
        let gradients = [vec![6.0, 0.0], vec![8.0, 0.0]];
        optimizer.step(&parameters, &mut values, &gradients, 0.1).unwrap();
        for (ours, by_hand) in values.concat().iter().zip([0.13f32, 1.0, 0.665, 1.805]) {
            assert!((ours - by_hand).abs() < 1e-6, "{values:?}");
        }
        assert_eq!(optimizer.moments().1.len(), 0);
    }

    /// The least squares line through (0, 1), (1, 3), (2, 4), (3, 4) is 1.5 + x.
    #[test]
    fn both_rules_find_the_least_squares_line() {
        let (x, y) = ([0.0f32, 1.0, 2.0, 3.0], [1.0f32, 3.0, 4.0, 4.0]);
        let mut parameters = Parameters::seeded(Rng::new(1));
        parameters.register("line", &[2], Initializer::Zeros).unwrap();
        for rule in [Rule::ADAM, Rule::SGD] {
            let config = OptimizerConfig { rule, weight_decay: 0.0, norm_max: 100.0, rank: None };
            let mut optimizer = Optimizer::new(config, &parameters);
            let mut values = vec![vec![0.0, 0.0]];
            for _ in 0..2_000 {
                let errors = x.iter().zip(&y).map(|(x, y)| (x, values[0][0] + values[0][1] * x - y));
                let gradient = errors.fold([0.0, 0.0], |[a, b], (x, e)| [a + e / 4.0, b + e * x / 4.0]);
                optimizer.step(&parameters, &mut values, &[gradient.to_vec()], 0.02).unwrap();
            }
            assert!((values[0][0] - 1.5).abs() < 1e-3 && (values[0][1] - 1.0).abs() < 1e-3, "{values:?}");
        }
    }

    #[test]
    fn moments_of_another_rule_are_refused() {
        let parameters = parameters();
        let adam = Optimizer::new(OptimizerConfig::default(), &parameters);
        let (first, second) = (adam.moments().0.to_vec(), adam.moments().1.to_vec());
        let sgd = Optimizer::new(sgd(0.0, 1.0), &parameters);
        assert!(sgd.clone().restored(3, first.clone(), second.clone()).is_err());
        assert!(adam.restored(3, first.clone(), Vec::new()).is_err());
        assert_eq!(sgd.restored(3, first, Vec::new()).unwrap().steps(), 3);
    }
}
