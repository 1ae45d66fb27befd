//! Losses over forecasts with missing actuals: quantiles, errors, likelihoods.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};

use crate::ml::layers::slice;
use crate::ml::objective::ObjectiveKind;
use crate::ml::training::likelihood::{self, Likelihood, plain};

/// What training minimises.
#[derive(Debug, Clone, PartialEq)]
pub enum Objective {
    /// Mean over these levels of `max(u e, (u - 1) e)`, e = actual - forecast (Koenker and Bassett 1978).
    Quantile(Vec<f64>),
    /// Half the absolute error, which is the quantile loss at level 0.5.
    Mae,
    /// Half the squared error.
    Mse,
    /// Half the squared error up to 1, `|e| - 1/2` beyond (Huber 1964).
    Huber,
    /// Negative log likelihood of counts of mean `scale softplus(output)`.
    Poisson,
    /// Negative log likelihood of counts of mean `scale softplus(first output)` and variance `mean + dispersion mean²`,
    /// dispersion `softplus(second output) / √scale` (Salinas et al. 2020, DeepAR).
    NegativeBinomial,
    /// Tweedie deviance of power 1.5 about the mean `scale exp(output)` (Jørgensen 1987).
    Tweedie,
    /// Negative log likelihood of Student's t distribution: location, scale by softplus, degrees of freedom
    /// `2 + softplus`, in units of the scale.
    StudentT,
}

impl Objective {
    /// The objective of a word, with these levels where it takes any.
    pub fn new(kind: ObjectiveKind, levels: &[f64]) -> Self {
        match kind {
            ObjectiveKind::Quantile => Self::Quantile(levels.to_vec()),
            ObjectiveKind::Mse => Self::Mse,
            ObjectiveKind::Mae => Self::Mae,
            ObjectiveKind::Huber => Self::Huber,
            ObjectiveKind::Poisson => Self::Poisson,
            ObjectiveKind::NegativeBinomial => Self::NegativeBinomial,
            ObjectiveKind::Tweedie => Self::Tweedie,
            ObjectiveKind::StudentT => Self::StudentT,
        }
    }

    /// Outputs the network gives for every step.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Quantile(levels) => levels.len(),
            Self::Mae | Self::Mse | Self::Huber | Self::Poisson | Self::Tweedie => 1,
            Self::NegativeBinomial => 2,
            Self::StudentT => 3,
        }
    }

    /// True where the scale of a step is part of its loss.
    pub fn reads_scale(&self) -> bool {
        matches!(self, Self::Poisson | Self::NegativeBinomial | Self::Tweedie)
    }

    /// The first output for a step of this location or mean, in units of the scale.
    pub fn output_of(&self, location: f32) -> f32 {
        match self {
            Self::Poisson | Self::NegativeBinomial => likelihood::softplus_inverse(location),
            Self::Tweedie => likelihood::log_link(location),
            _ => location,
        }
    }

    /// What the sum over a step's losses is divided by.
    fn divisor(&self) -> usize {
        if let Self::Quantile(levels) = self { levels.len() } else { 1 }
    }

    /// The loss of a step where it is not a sum over its outputs.
    fn likelihood(&self) -> Option<Likelihood> {
        match self {
            Self::Quantile(_) | Self::Mae | Self::Mse | Self::Huber => None,
            Self::Poisson => Some(likelihood::poisson),
            Self::NegativeBinomial => Some(likelihood::negative_binomial),
            Self::Tweedie => Some(likelihood::tweedie),
            Self::StudentT => Some(likelihood::student_t),
        }
    }

    /// Loss and its slope in the forecast for output `output`, where the loss of a step is a sum over its outputs.
    fn value_and_slope(&self, output: usize, error: f32) -> (f32, f32) {
        let quantile = |level: f32| {
            if error >= 0.0 { (level * error, -level) } else { ((level - 1.0) * error, 1.0 - level) }
        };
        match self {
            Self::Quantile(levels) => quantile(levels[output] as f32),
            Self::Huber if error.abs() > 1.0 => (error.abs() - 0.5, -error.signum()),
            Self::Mse | Self::Huber => (0.5 * error * error, -error),
            _ => quantile(0.5),
        }
    }

    /// The loss of a step.
    fn value(&self, outputs: &[f32], actual: f32, scale: f32) -> f32 {
        match self.likelihood() {
            Some(loss) => loss(outputs, f64::from(actual), f64::from(scale)).0 as f32,
            None => outputs.iter().enumerate().map(|(k, f)| self.value_and_slope(k, actual - f).0).sum(),
        }
    }

    /// Writes the slopes of the loss of a step in its outputs, times `factors`, one after the other.
    fn slopes(&self, outputs: &[f32], actual: f32, scale: f32, factors: [f32; 2], out: &mut [f32]) {
        let [weight, upstream] = factors;
        if let Some(loss) = self.likelihood() {
            let slopes = loss(outputs, f64::from(actual), f64::from(scale)).1;
            out.iter_mut().zip(slopes).for_each(|(out, slope)| *out = slope as f32 * weight * upstream);
            return;
        }
        for (k, (f, out)) in outputs.iter().zip(out).enumerate() {
            *out = self.value_and_slope(k, actual - f).1 * weight * upstream;
        }
    }
}

/// What came true in some steps, one element for each.
#[derive(Debug, Clone, Copy, Default)]
pub struct Steps<'a> {
    /// The target, in units of the scale. It may be anything where the weight is 0.
    pub actual: &'a [f32],
    /// What the step counts for; 0 moves neither loss nor gradient.
    pub weight: &'a [f32],
    /// What targets were divided by, read where the objective is one of amounts; empty where it is 1.
    pub scale: &'a [f32],
}

/// The sum over steps of weight times loss (of quantiles: the mean over levels), a scalar.
///
/// `forecast` is `[.., outputs]`, one row a step.
pub fn masked_loss(forecast: &Tensor, steps: Steps<'_>, objective: &Objective) -> Result<Tensor> {
    let Steps { actual, weight, scale } = steps;
    let outputs = objective.outputs();
    let fits = |n: usize| n == actual.len();
    if forecast.elem_count() != actual.len() * outputs
        || !fits(weight.len())
        || !(scale.is_empty() || fits(scale.len()))
    {
        let counts = (actual.len(), weight.len(), scale.len());
        bail!("loss: forecast {:?} and {counts:?} actuals, weights, scales", forecast.dims());
    }
    if forecast.device().is_cpu() {
        return forecast.contiguous()?.apply_op1(LossOp {
            objective: objective.clone(),
            actual: actual.to_vec(),
            weight: weight.to_vec(),
            scale: scale.to_vec(),
        });
    }
    plain_loss(&forecast.reshape((actual.len(), outputs))?, steps, objective)
}

/// The same sum in Candle's own operations.
fn plain_loss(forecast: &Tensor, steps: Steps<'_>, objective: &Objective) -> Result<Tensor> {
    let device = forecast.device();
    let rows = (steps.actual.len(), 1);
    let present = |values: &[f32], missing: f32| -> Vec<f32> {
        values.iter().zip(steps.weight).map(|(y, w)| if *w > 0.0 { *y } else { missing }).collect()
    };
    let weight = Tensor::from_slice(steps.weight, rows, device)?;
    let actual = Tensor::from_vec(present(steps.actual, 0.0), rows, device)?;
    let loss = if objective.likelihood().is_some() {
        let scale = match steps.scale.is_empty() {
            true => actual.ones_like()?,
            false => Tensor::from_vec(present(steps.scale, 1.0), rows, device)?,
        };
        let [outputs, actual, scale] = [forecast, &actual, &scale].map(|t| t.to_dtype(DType::F64));
        plain_likelihood(objective, &outputs?, &actual?, &scale?)?.to_dtype(DType::F32)?
    } else {
        plain_errors(objective, &actual.broadcast_sub(forecast)?)?
    };
    loss.broadcast_mul(&weight)?.sum_all()? / objective.divisor() as f64
}

/// Losses of errors, `[rows, outputs]`.
fn plain_errors(objective: &Objective, error: &Tensor) -> Result<Tensor> {
    let quantile = |levels: &[f32]| {
        let levels = Tensor::new(levels, error.device())?;
        error.broadcast_mul(&levels)?.maximum(&error.broadcast_mul(&(levels - 1.0)?)?)
    };
    match objective {
        Objective::Quantile(levels) => quantile(&levels.iter().map(|u| *u as f32).collect::<Vec<_>>()),
        Objective::Mse => error.sqr()? * 0.5,
        Objective::Huber => {
            let (size, near) = (error.abs()?, error.abs()?.minimum(1.0)?);
            (size - &near)? + (near.sqr()? * 0.5)?
        }
        _ => quantile(&[0.5]),
    }
}

/// Losses `[rows, 1]` where the loss of a step is not a sum over its outputs.
fn plain_likelihood(objective: &Objective, outputs: &Tensor, y: &Tensor, scale: &Tensor) -> Result<Tensor> {
    match objective {
        Objective::NegativeBinomial => plain::negative_binomial(outputs, y, scale),
        Objective::Tweedie => plain::tweedie(outputs, y, scale),
        Objective::StudentT => plain::student_t(outputs, y),
        _ => plain::poisson(outputs, y, scale),
    }
}

struct LossOp {
    objective: Objective,
    actual: Vec<f32>,
    weight: Vec<f32>,
    scale: Vec<f32>,
}

impl LossOp {
    /// Rows of outputs that count, with their places.
    fn rows<'a>(&'a self, forecast: &'a [f32]) -> impl Iterator<Item = (usize, &'a [f32])> {
        let rows = forecast.chunks_exact(self.objective.outputs()).enumerate();
        rows.filter(|(i, _)| self.weight[*i] > 0.0)
    }

    fn scale(&self, i: usize) -> f32 {
        self.scale.get(i).copied().unwrap_or(1.0)
    }
}

impl CustomOp1 for LossOp {
    fn name(&self) -> &'static str {
        "masked-loss"
    }

    fn cpu_fwd(&self, forecast: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut total = 0.0f64;
        for (i, row) in self.rows(slice(forecast, layout)?) {
            let value = self.objective.value(row, self.actual[i], self.scale(i));
            total += f64::from(value * self.weight[i]);
        }
        let mean = (total / self.objective.divisor() as f64) as f32;
        Ok((CpuStorage::F32(vec![mean]), Shape::from(())))
    }

    fn bwd(&self, forecast: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let outputs = self.objective.outputs();
        let upstream = gradient.to_scalar::<f32>()? / self.objective.divisor() as f32;
        let mut slopes = vec![0.0; forecast.elem_count()];
        crate::ml::layers::read(forecast, |forecast| {
            for (i, row) in self.rows(forecast) {
                let out = &mut slopes[i * outputs..(i + 1) * outputs];
                let factors = [self.weight[i], upstream];
                self.objective.slopes(row, self.actual[i], self.scale(i), factors, out);
            }
        })?;
        Ok(Some(Tensor::from_vec(slopes, forecast.shape(), forecast.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::gradcheck::{check, variable};
    use candle_core::Device;

    const STEPS: Steps<'_> =
        Steps { actual: &[0.3, -2.0, f32::NAN, 5.0], weight: &[1.0, 0.5, 0.0, 2.0], scale: &[] };
    const AMOUNTS: Steps<'_> = Steps {
        actual: &[0.5, 0.0, f32::NAN, 1.75],
        weight: &[1.0, 0.5, 0.0, 2.0],
        scale: &[2.0, 7.0, f32::NAN, 4.0],
    };

    fn objectives() -> [(Objective, Steps<'static>); 8] {
        ObjectiveKind::ALL.map(|kind| {
            let steps = if kind.is_of_amounts() { AMOUNTS } else { STEPS };
            (Objective::new(kind, &[0.1, 0.5, 0.9]), steps)
        })
    }

    fn value(loss: Result<Tensor>) -> f32 {
        loss.unwrap().to_scalar::<f32>().unwrap()
    }

    #[test]
    fn gradients_match_central_differences_and_missing_actuals_have_none() {
        for (objective, steps) in objectives() {
            let forecast = variable(&[2, 2, objective.outputs()], 5);
            check(&[&forecast], || masked_loss(&forecast, steps, &objective));
            let slopes = masked_loss(&forecast, steps, &objective).unwrap().backward().unwrap();
            let slopes = slopes.get(&forecast).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let rows: Vec<_> = slopes.chunks_exact(objective.outputs()).collect();
            assert!(rows[2].iter().all(|s| *s == 0.0) && rows[3].iter().all(|s| *s != 0.0), "{rows:?}");
        }
    }

    #[test]
    fn fused_equals_the_plain_formula() {
        for (objective, steps) in objectives() {
            let forecast = variable(&[4, objective.outputs()], 5);
            let of = |loss: Tensor| {
                let gradients = loss.backward().unwrap();
                let slopes = gradients.get(&forecast).unwrap().flatten_all().unwrap();
                (loss.to_scalar::<f32>().unwrap(), slopes.to_vec1::<f32>().unwrap())
            };
            let fused = of(masked_loss(&forecast, steps, &objective).unwrap());
            let plain = of(plain_loss(&forecast, steps, &objective).unwrap());
            assert!((fused.0 - plain.0).abs() < 2e-5, "{objective:?}: {} and {}", fused.0, plain.0);
            for (fused, plain) in fused.1.iter().zip(&plain.1) {
                assert!((fused - plain).abs() < 2e-5, "{objective:?}: {fused} and {plain}");
            }
        }
    }

    #[test]
    fn quantile_loss_by_hand() {
        let forecast = Tensor::new(&[[1.0f32, 4.0]], &Device::Cpu).unwrap();
        let steps = Steps { actual: &[2.0], weight: &[1.0], ..Steps::default() };
        let loss = value(masked_loss(&forecast, steps, &Objective::Quantile(vec![0.1, 0.9])));
        assert!((loss - (0.1 * 1.0 + 0.1 * 2.0) / 2.0).abs() < 1e-6);
    }

    /// One step with these outputs, this target in the user's units and this scale.
    fn one(objective: &Objective, outputs: &[f32], target: f32, scale: f32) -> f32 {
        let forecast = Tensor::from_slice(outputs, (1, outputs.len()), &Device::Cpu).unwrap();
        let steps = Steps { actual: &[target / scale], weight: &[1.0], scale: &[scale] };
        value(masked_loss(&forecast, steps, objective))
    }

    /// scipy.stats 1.17 (poisson.logpmf, nbinom.logpmf, t.logpdf), scipy.special.huber, and
    /// sklearn.metrics.mean_tweedie_deviance 1.9, all of them with the parameters that the outputs stand for.
    #[test]
    fn values_of_scipy_and_scikit_learn() {
        let near = |ours: f32, theirs: f32| {
            assert!((ours - theirs).abs() < 1e-5 * theirs.abs().max(1.0), "{ours} and {theirs}");
        };
        near(one(&Objective::Poisson, &[0.4], 3.0, 1.0), 2.9777806);
        near(one(&Objective::Poisson, &[-1.5], 0.0, 8.0), 1.6113142);
        near(one(&Objective::Poisson, &[1.2], 150.0, 100.0), 3.4704955);
        near(one(&Objective::NegativeBinomial, &[0.4, 0.3], 3.0, 1.0), 2.8556);
        near(one(&Objective::NegativeBinomial, &[-1.5, 2.0], 0.0, 8.0), 1.055542);
        near(one(&Objective::NegativeBinomial, &[1.2, -1.0], 150.0, 100.0), 4.3053594);
        near(one(&Objective::NegativeBinomial, &[0.5, -2.0], 1.0, 1.0), 1.0612459);
        near(one(&Objective::Tweedie, &[0.4], 3.5, 1.0), 1.381212);
        near(one(&Objective::Tweedie, &[-1.5], 0.0, 8.0), 5.3442173);
        near(one(&Objective::Tweedie, &[0.2], 150.0, 100.0), 0.5174921);
        near(one(&Objective::StudentT, &[0.4, 0.3, 1.0], 3.0, 1.0), 3.712068);
        near(one(&Objective::StudentT, &[-1.5, -2.0, -3.0], -1.2, 1.0), 0.97725046);
        near(one(&Objective::StudentT, &[0.1, 0.7, 20.0], -9.0, 1.0), 17.233368);
        near(one(&Objective::Huber, &[0.4], 1.1, 1.0), 0.245);
        near(one(&Objective::Huber, &[0.4], 3.0, 1.0), 2.1);
        near(one(&Objective::Huber, &[0.4], -2.0, 1.0), 1.9);
    }

    #[test]
    fn extreme_outputs_have_finite_losses_and_slopes() {
        for (objective, steps) in objectives() {
            for size in [-1e4f32, -40.0, 40.0, 1e4] {
                let row = vec![size; objective.outputs() * 4];
                let row = Tensor::from_vec(row, (4, objective.outputs()), &Device::Cpu).unwrap();
                let row = candle_core::Var::from_tensor(&row).unwrap();
                let loss = masked_loss(&row, steps, &objective).unwrap();
                let slopes = loss.backward().unwrap().get(&row).unwrap().flatten_all().unwrap();
                let finite = |x: &f32| x.is_finite();
                assert!(finite(&loss.to_scalar::<f32>().unwrap()), "{objective:?} {size}");
                assert!(slopes.to_vec1::<f32>().unwrap().iter().all(finite), "{objective:?} {size}");
            }
        }
    }
}
