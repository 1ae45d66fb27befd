//! Forecasts that begin with shares of earlier values.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use crate::ml::layers::storage::{read, slice};

/// Outputs `[n, levels, steps]` and `shares` `[n, lags]` of `lagged` `[n, lags, steps]`, added to every level:
/// `[n, steps, levels]`. The lagged values are data and get no gradient.
pub fn repeats(outputs: &Tensor, lagged: &Tensor, shares: &Tensor) -> Result<Tensor> {
    if outputs.device().is_cpu() {
        return outputs.contiguous()?.apply_op3(&lagged.contiguous()?, &shares.contiguous()?, RepeatsOp);
    }
    let repeated = lagged.broadcast_mul(&shares.unsqueeze(2)?)?.sum_keepdim(1)?;
    outputs.broadcast_add(&repeated)?.transpose(1, 2)?.contiguous()
}

struct RepeatsOp;

/// Levels, steps and lags.
#[derive(Clone, Copy)]
struct Sizes {
    levels: usize,
    steps: usize,
    lags: usize,
}

impl Sizes {
    fn of(outputs: &[usize], lagged: &[usize], shares: &[usize]) -> Result<Self> {
        match (outputs, lagged, shares) {
            (&[n, levels, steps], &[of_lagged, lags, its_steps], &[of_shares, its_lags])
                if (of_lagged, its_steps) == (n, steps)
                    && (of_shares, its_lags) == (n, lags)
                    && levels * steps * lags > 0 =>
            {
                Ok(Self { levels, steps, lags })
            }
            _ => bail!("repeats: {outputs:?}, {lagged:?} and {shares:?}"),
        }
    }
}

impl CustomOp3 for RepeatsOp {
    fn name(&self) -> &'static str {
        "repeats"
    }

    fn cpu_fwd(
        &self,
        outputs: &CpuStorage,
        outputs_layout: &Layout,
        lagged: &CpuStorage,
        lagged_layout: &Layout,
        shares: &CpuStorage,
        shares_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Sizes { levels, steps, lags } =
            Sizes::of(outputs_layout.dims(), lagged_layout.dims(), shares_layout.dims())?;
        let outputs = slice(outputs, outputs_layout)?;
        let (lagged, shares) = (slice(lagged, lagged_layout)?, slice(shares, shares_layout)?);
        let mut out = vec![0.0; outputs.len()];
        let inputs = outputs.chunks_exact(levels * steps).zip(lagged.chunks_exact(lags * steps));
        let rows = inputs.zip(shares.chunks_exact(lags)).zip(out.chunks_exact_mut(levels * steps));
        for (((outputs, lagged), shares), out) in rows {
            for (step, out) in out.chunks_exact_mut(levels).enumerate() {
                let terms = shares.iter().enumerate().map(|(lag, share)| share * lagged[lag * steps + step]);
                let repeated: f32 = terms.sum();
                out.iter_mut()
                    .enumerate()
                    .for_each(|(level, y)| *y = outputs[level * steps + step] + repeated);
            }
        }
        Ok((CpuStorage::F32(out), Shape::from(vec![outputs.len() / (levels * steps), steps, levels])))
    }

    fn bwd(
        &self,
        outputs: &Tensor,
        lagged: &Tensor,
        shares: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Sizes { levels, steps, lags } = Sizes::of(outputs.dims(), lagged.dims(), shares.dims())?;
        let mut of_outputs = vec![0.0; outputs.elem_count()];
        let mut of_shares = Vec::with_capacity(shares.elem_count());
        read(lagged, |lagged| {
            read(gradient, |gradient| {
                let rows = gradient.chunks_exact(levels * steps).zip(lagged.chunks_exact(lags * steps));
                for ((gradient, lagged), out) in rows.zip(of_outputs.chunks_exact_mut(levels * steps)) {
                    let first = of_shares.len();
                    of_shares.resize(first + lags, 0.0);
                    for (step, gradient) in gradient.chunks_exact(levels).enumerate() {
                        gradient.iter().enumerate().for_each(|(level, g)| out[level * steps + step] = *g);
                        let sum: f32 = gradient.iter().sum();
                        for (lag, share) in of_shares[first..].iter_mut().enumerate() {
                            *share += sum * lagged[lag * steps + step];
                        }
                    }
                }
            })
        })??;
        let of_outputs = Tensor::from_vec(of_outputs, outputs.shape(), outputs.device())?;
        Ok((Some(of_outputs), None, Some(Tensor::from_vec(of_shares, shares.shape(), shares.device())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::gradcheck::{check, variable};

    #[test]
    fn gradients_match_central_differences_and_values_the_plain_formula() {
        let (outputs, lagged, shares) =
            (variable(&[2, 3, 4], 1), variable(&[2, 2, 4], 2).as_tensor().detach(), variable(&[2, 2], 3));
        check(&[&outputs, &shares], || repeats(&outputs, &lagged, &shares));
        let repeated = lagged.broadcast_mul(&shares.unsqueeze(2).unwrap()).unwrap().sum_keepdim(1).unwrap();
        let plain = outputs.broadcast_add(&repeated).unwrap().transpose(1, 2).unwrap();
        let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let ours = values(&repeats(&outputs, &lagged, &shares).unwrap());
        assert!(ours.iter().zip(values(&plain)).all(|(a, b)| (a - b).abs() < 1e-6));
        assert!(repeats(&outputs, &lagged, &variable(&[2, 1], 3)).is_err());
    }
}
