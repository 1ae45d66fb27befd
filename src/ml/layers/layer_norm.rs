//! Layer normalisation (Ba, Kiros and Hinton 2016) over the last dimension.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor, bail};

use crate::ml::layers::gradients::accumulate;
use crate::ml::layers::kernels::{normalise, normalise_backward};
use crate::ml::layers::storage::{read, slice};

/// Rows of x `[.., n]` to mean 0 and variance 1, times `gain` plus `bias`, both `[n]`; `epsilon` is added to the
/// variance.
pub fn layer_norm(x: &Tensor, gain: &Tensor, bias: &Tensor, epsilon: f32) -> Result<Tensor> {
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op3(gain, bias, LayerNormOp { epsilon, moments: OnceLock::new() });
    }
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = (centred.sqr()?.mean_keepdim(D::Minus1)? + f64::from(epsilon))?;
    centred.broadcast_div(&variance.sqrt()?)?.broadcast_mul(gain)?.broadcast_add(bias)
}

struct LayerNormOp {
    epsilon: f32,
    /// Mean and inverse deviation of every row, kept for the gradient.
    moments: OnceLock<Vec<f32>>,
}

impl CustomOp3 for LayerNormOp {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, gain, bias) = (slice(x, x_layout)?, slice(gain, gain_layout)?, slice(bias, bias_layout)?);
        if x_layout.dims().last() != Some(&gain.len()) || bias.len() != gain.len() {
            bail!("layer norm: x {:?}, gain [{}], bias [{}]", x_layout.dims(), gain.len(), bias.len());
        }
        let mut y = vec![0.0; x.len()];
        let mut moments = vec![0.0; 2 * (x.len() / gain.len())];
        normalise(x, gain, bias, self.epsilon, &mut y, &mut moments);
        // The operation is new for every call, so the cell is empty.
        let _ = self.moments.set(moments);
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        bias: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(moments) = self.moments.get() else { bail!("layer norm: backward before forward") };
        let mut dx = vec![0.0; x.elem_count()];
        let (mut dgain, mut dbias) = (vec![0.0; gain.elem_count()], vec![0.0; bias.elem_count()]);
        read(x, |x| {
            read(gain, |gain| {
                read(gradient, |g| normalise_backward(x, gain, moments, g, &mut dx, &mut dgain, &mut dbias))
            })
        })???;
        let add = |sums: &mut [f32], new: &[f32]| {
            sums.iter_mut().zip(new).for_each(|(s, n)| *s += n);
            Ok(())
        };
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), x.device())?),
            accumulate(gain, |sums| add(sums, &dgain))?,
            accumulate(bias, |sums| add(sums, &dbias))?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::gradcheck::{check, variable};

    #[test]
    fn gradients_match_central_differences() {
        for n in [3, 16, 21] {
            let (x, gain, bias) = (variable(&[4, n], 1), variable(&[n], 2), variable(&[n], 3));
            check(&[&x, &gain, &bias], || layer_norm(&x, &gain, &bias, 1e-5));
        }
    }
}
