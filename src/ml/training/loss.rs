//! Losses over forecasts with missing actuals: quantile, absolute and squared error.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use crate::ml::layers::slice;

/// What training minimises.
#[derive(Debug, Clone, PartialEq)]
pub enum Objective {
    /// Mean over these levels of `max(u e, (u - 1) e)`, e = actual - forecast (Koenker and Bassett 1978).
    Quantile(Vec<f64>),
    /// Half the absolute error, which is the quantile loss at level 0.5.
    Mae,
    /// Half the squared error.
    Mse,
}

impl Objective {
    /// Outputs the network gives for every step.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Quantile(levels) => levels.len(),
            Self::Mae | Self::Mse => 1,
        }
    }

    /// Loss and its slope in the forecast for output `output`.
    fn value_and_slope(&self, output: usize, error: f32) -> (f32, f32) {
        let quantile = |level: f32| {
            if error >= 0.0 { (level * error, -level) } else { ((level - 1.0) * error, 1.0 - level) }
        };
        match self {
            Self::Quantile(levels) => quantile(levels[output] as f32),
            Self::Mae => quantile(0.5),
            Self::Mse => (0.5 * error * error, -error),
        }
    }
}

/// The sum over steps of weight times mean loss of the outputs, a scalar.
///
/// `forecast` is `[.., outputs]`; `actual` and `weight` have one element for each of its rows. A row of
/// weight 0 is missing: its actual may be anything and moves neither loss nor gradient.
pub fn masked_loss(
    forecast: &Tensor,
    actual: &[f32],
    weight: &[f32],
    objective: &Objective,
) -> Result<Tensor> {
    let outputs = objective.outputs();
    if forecast.elem_count() != actual.len() * outputs || actual.len() != weight.len() {
        bail!("loss: forecast {:?}, {} actuals, {} weights", forecast.dims(), actual.len(), weight.len());
    }
    if forecast.device().is_cpu() {
        return forecast.contiguous()?.apply_op1(LossOp {
            objective: objective.clone(),
            actual: actual.to_vec(),
            weight: weight.to_vec(),
        });
    }
    plain_loss(&forecast.reshape((actual.len(), outputs))?, actual, weight, objective)
}

/// The same sum in Candle's own operations.
fn plain_loss(forecast: &Tensor, actual: &[f32], weight: &[f32], objective: &Objective) -> Result<Tensor> {
    let device = forecast.device();
    let present: Vec<f32> = actual.iter().zip(weight).map(|(y, w)| if *w > 0.0 { *y } else { 0.0 }).collect();
    let actual = Tensor::from_vec(present, (actual.len(), 1), device)?;
    let weight = Tensor::from_slice(weight, (weight.len(), 1), device)?;
    let error = actual.broadcast_sub(forecast)?;
    let quantile = |levels: &[f32]| {
        let levels = Tensor::new(levels, device)?;
        error.broadcast_mul(&levels)?.maximum(&error.broadcast_mul(&(levels - 1.0)?)?)
    };
    let loss = match objective {
        Objective::Quantile(levels) => quantile(&levels.iter().map(|u| *u as f32).collect::<Vec<_>>())?,
        Objective::Mae => quantile(&[0.5])?,
        Objective::Mse => (error.sqr()? * 0.5)?,
    };
    loss.broadcast_mul(&weight)?.sum_all()? / objective.outputs() as f64
}

struct LossOp {
    objective: Objective,
    actual: Vec<f32>,
    weight: Vec<f32>,
}

impl CustomOp1 for LossOp {
    fn name(&self) -> &'static str {
        "masked-loss"
    }

    fn cpu_fwd(&self, forecast: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let outputs = self.objective.outputs();
        let mut total = 0.0f64;
        for ((row, y), w) in
            slice(forecast, layout)?.chunks_exact(outputs).zip(&self.actual).zip(&self.weight)
        {
            if *w > 0.0 {
                let row = row.iter().enumerate().map(|(k, f)| self.objective.value_and_slope(k, y - f).0);
                total += f64::from(row.sum::<f32>() * w);
            }
        }
        Ok((CpuStorage::F32(vec![(total / outputs as f64) as f32]), Shape::from(())))
    }

    fn bwd(&self, forecast: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let outputs = self.objective.outputs();
        let upstream = gradient.to_scalar::<f32>()? / outputs as f32;
        let mut slopes = vec![0.0; forecast.elem_count()];
        crate::ml::layers::read(forecast, |forecast| {
            let rows = forecast.chunks_exact(outputs).zip(slopes.chunks_exact_mut(outputs));
            for (((row, slopes), y), w) in rows.zip(&self.actual).zip(&self.weight) {
                if *w > 0.0 {
                    for (k, (f, slope)) in row.iter().zip(slopes).enumerate() {
                        *slope = self.objective.value_and_slope(k, y - f).1 * w * upstream;
                    }
                }
            }
        })?;
        Ok(Some(Tensor::from_vec(slopes, forecast.shape(), forecast.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::gradcheck::{check, variable};

    const ACTUAL: [f32; 4] = [0.3, -2.0, f32::NAN, 5.0];
    const WEIGHT: [f32; 4] = [1.0, 0.5, 0.0, 2.0];

    fn objectives() -> [Objective; 3] {
        [Objective::Quantile(vec![0.1, 0.5, 0.9]), Objective::Mae, Objective::Mse]
    }

    #[test]
    fn gradients_match_central_differences_and_missing_actuals_have_none() {
        for objective in objectives() {
            let forecast = variable(&[2, 2, objective.outputs()], 5);
            check(&[&forecast], || masked_loss(&forecast, &ACTUAL, &WEIGHT, &objective));
        }
    }

    #[test]
    fn fused_equals_the_plain_formula() {
        for objective in objectives() {
            let forecast = variable(&[4, objective.outputs()], 5);
            let fused =
                masked_loss(&forecast, &ACTUAL, &WEIGHT, &objective).unwrap().to_scalar::<f32>().unwrap();
            let plain =
                plain_loss(&forecast, &ACTUAL, &WEIGHT, &objective).unwrap().to_scalar::<f32>().unwrap();
            assert!((fused - plain).abs() < 1e-5, "{objective:?}: {fused} and {plain}");
        }
    }

    #[test]
    fn quantile_loss_by_hand() {
        let forecast = Tensor::new(&[[1.0f32, 4.0]], &candle_core::Device::Cpu).unwrap();
        let loss = masked_loss(&forecast, &[2.0], &[1.0], &Objective::Quantile(vec![0.1, 0.9])).unwrap();
        assert!((loss.to_scalar::<f32>().unwrap() - (0.1 * 1.0 + 0.1 * 2.0) / 2.0).abs() < 1e-6);
    }
}
