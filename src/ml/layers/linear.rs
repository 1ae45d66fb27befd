//! Linear layer, bias and activation in one operation.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use crate::ml::layers::gradients::accumulate;
use crate::ml::layers::kernels::{
    Activation, Matrix, add_rows, bias_activation, gelu_backward, multiply_add, relu_backward,
};
use crate::ml::layers::storage::{read, slice};

/// `activation(x * weight^T + bias)` for x `[.., inputs]`, weight `[outputs, inputs]`, bias `[outputs]`.
pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op3(weight, bias, LinearOp { activation, before: OnceLock::new() });
    }
    let y = x.broadcast_matmul(&weight.t()?)?.broadcast_add(bias)?;
    match activation {
        Activation::None => Ok(y),
        Activation::Relu => y.relu(),
        Activation::Gelu => y.gelu(),
    }
}

struct LinearOp {
    activation: Activation,
    /// What GELU was applied to, kept for the gradient.
    before: OnceLock<Vec<f32>>,
}

impl LinearOp {
    /// Gives `f` the gradient before the activation.
    fn with_inner_gradient<R>(
        &self,
        result: &Tensor,
        gradient: &Tensor,
        f: impl FnOnce(&[f32]) -> R,
    ) -> Result<R> {
        if self.activation == Activation::None {
            return read(gradient, f);
        }
        let mut inner = read(gradient, <[f32]>::to_vec)?;
        match (self.activation, self.before.get()) {
            (Activation::Gelu, Some(z)) => gelu_backward(&mut inner, z),
            _ => read(result, |y| relu_backward(&mut inner, y))?,
        }
        Ok(f(&inner))
    }

    /// Gradients of input, weight and bias from the gradient before the activation.
    fn gradients(x: &Tensor, weight: &Tensor, bias: &Tensor, g: &[f32]) -> Result<[Option<Tensor>; 3]> {
        let (outputs, inputs) = weight.dims2()?;
        let rows = x.elem_count() / inputs.max(1);
        let dx = if x.track_op() {
            let mut dx = vec![0.0; rows * inputs];
            let left = Matrix { data: g, rows: outputs, columns: 1 };
            read(weight, |w| {
                multiply_add(
                    &mut dx,
                    (rows, inputs, outputs),
                    left,
                    Matrix { data: w, rows: inputs, columns: 1 },
                );
            })?;
            Some(Tensor::from_vec(dx, x.shape(), x.device())?)
        } else {
            None
        };
        let dw = accumulate(weight, |dw| {
            let left = Matrix { data: g, rows: 1, columns: outputs };
            read(x, |x| {
                multiply_add(dw, (outputs, inputs, rows), left, Matrix { data: x, rows: inputs, columns: 1 });
            })
        })?;
        let db = accumulate(bias, |db| {
            add_rows(g, db);
            Ok(())
        })?;
        Ok([dx, dw, db])
    }
}

impl CustomOp3 for LinearOp {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, w, b) = (slice(x, x_layout)?, slice(weight, weight_layout)?, slice(bias, bias_layout)?);
        let (outputs, inputs) = weight_layout.shape().dims2()?;
        if x_layout.dims().last() != Some(&inputs) || b.len() != outputs {
            bail!("linear: x {:?}, weight [{outputs}, {inputs}], bias [{}]", x_layout.dims(), b.len());
        }
        let rows = x.len() / inputs.max(1);
        let mut y = vec![0.0; rows * outputs];
        let right = Matrix { data: w, rows: 1, columns: inputs };
        multiply_add(&mut y, (rows, outputs, inputs), Matrix { data: x, rows: inputs, columns: 1 }, right);
        let mut before = if self.activation == Activation::Gelu { vec![0.0; y.len()] } else { Vec::new() };
        bias_activation(&mut y, b, &mut before, self.activation);
        // The operation is new for every call, so the cell is empty.
        let _ = self.before.set(before);
        let mut dims = x_layout.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = outputs;
        }
        Ok((CpuStorage::F32(y), Shape::from(dims)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dw, db] =
            self.with_inner_gradient(result, gradient, |g| Self::gradients(x, weight, bias, g))??;
        Ok((dx, dw, db))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::gradcheck::{check, variable};

    #[test]
    fn gradients_match_central_differences() {
        for activation in [Activation::None, Activation::Relu, Activation::Gelu] {
            let (x, w, b) = (variable(&[5, 2, 3], 1), variable(&[4, 3], 2), variable(&[4], 3));
            check(&[&x, &w, &b], || linear(&x, &w, &b, activation));
        }
    }

    #[test]
    fn fused_equals_the_plain_formula() {
        let (x, w, b) = (variable(&[7, 3], 1), variable(&[4, 3], 2), variable(&[4], 3));
        let plain = x.matmul(&w.t().unwrap()).unwrap().broadcast_add(&b).unwrap().gelu().unwrap();
        let fused = linear(&x, &w, &b, Activation::Gelu).unwrap();
        let gap = (plain - fused).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(gap < 1e-5, "{gap}");
    }
}
