//! Normalisation by the root of the mean square (Zhang and Sennrich 2019) over the last dimension.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, D, Layout, Result, Shape, Tensor, bail};

#[cfg(feature = "cuda")]
use candle_core::{CudaStorage, CustomOp1};

#[cfg(feature = "cuda")]
use crate::ml::layers::cuda::{unit_backward, unit_forward};
use crate::ml::layers::gradients::accumulate;
use crate::ml::layers::kernels::{scale_rows, scale_rows_backward};
use crate::ml::layers::storage::{read, slice};

/// Added to the mean square.
const EPSILON: f32 = 1e-6;

/// Rows of x `[.., n]` to mean square 1, times `gain` `[n]`.
pub fn rms_norm(x: &Tensor, gain: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op2(gain, RmsNormOp { inverses: OnceLock::new() });
    }
    unit(x)?.broadcast_mul(gain)
}

/// Rows of x `[.., n]` to mean square 1, in Candle's own operations or on the card.
pub(super) fn unit(x: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return x.contiguous()?.apply_op1(UnitOp);
    }
    let square = (x.sqr()?.mean_keepdim(D::Minus1)? + f64::from(EPSILON))?;
    x.broadcast_div(&square.sqrt()?)
}

/// The operation of a card.
#[cfg(feature = "cuda")]
struct UnitOp;

#[cfg(feature = "cuda")]
impl CustomOp1 for UnitOp {
    fn name(&self) -> &'static str {
        "unit"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("unit: the tensor is not on the card")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let n = layout.dims().last().copied().unwrap_or(1);
        Ok((unit_forward((x, layout), n, EPSILON)?, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        x.contiguous()?.apply_op2_no_bwd(&gradient.contiguous()?, &Self).map(Some)
    }
}

/// Its gradient.
#[cfg(feature = "cuda")]
impl CustomOp2 for UnitOp {
    fn name(&self) -> &'static str {
        "unit gradient"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("unit: the tensor is not on the card")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let n = layout.dims().last().copied().unwrap_or(1);
        let dx = unit_backward((x, layout), (gradient, gradient_layout), n, EPSILON)?;
        Ok((dx, layout.shape().clone()))
    }
}

struct RmsNormOp {
    /// The inverse root mean square of every row, kept for the gradient.
    inverses: OnceLock<Vec<f32>>,
}

impl CustomOp2 for RmsNormOp {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, gain) = (slice(x, x_layout)?, slice(gain, gain_layout)?);
        if x_layout.dims().last() != Some(&gain.len()) {
            bail!("rms norm: x {:?}, gain [{}]", x_layout.dims(), gain.len());
        }
        let mut y = vec![0.0; x.len()];
        let mut inverses = vec![0.0; x.len() / gain.len()];
        scale_rows(x, gain, EPSILON, &mut y, &mut inverses);
        // The operation is new for every call, so the cell is empty.
        let _ = self.inverses.set(inverses);
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Some(inverses) = self.inverses.get() else { bail!("rms norm: backward before forward") };
        let mut dx = vec![0.0; x.elem_count()];
        let dgain = accumulate(gain, |dgain| {
            read(x, |x| {
                read(gain, |gain| {
                    read(gradient, |g| scale_rows_backward(x, gain, inverses, g, &mut dx, dgain))
                })
            })??
        })?;
        Ok((Some(Tensor::from_vec(dx, x.shape(), x.device())?), dgain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::gradcheck::{check, variable};

    #[test]
    fn gradients_match_central_differences() {
        for n in [3, 16, 21] {
            let (x, gain) = (variable(&[4, n], 1), variable(&[n], 2));
            check(&[&x, &gain], || rms_norm(&x, &gain));
        }
    }

    #[test]
    fn rows_get_mean_square_one() {
        let x = Tensor::new(&[[3.0f32, -4.0]], &candle_core::Device::Cpu).unwrap();
        let gain = Tensor::new(&[1.0f32, 2.0], &candle_core::Device::Cpu).unwrap();
        let y = rms_norm(&x, &gain).unwrap().to_vec2::<f32>().unwrap();
        let root = 12.5f32.sqrt();
        assert!((y[0][0] - 3.0 / root).abs() < 1e-6 && (y[0][1] + 8.0 / root).abs() < 1e-6);
    }
}
