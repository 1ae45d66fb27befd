//! Linear layer, bias where there is one, and activation in one operation.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

use crate::ml::layers::gradients::accumulate;
use crate::ml::layers::kernels::{
    Activation, Matrix, add_rows, bias_activation, gelu_backward, multiply_add, relu_backward,
};
use crate::ml::layers::storage::{read, slice};

/// `activation(x * weight^T + bias)` for x `[.., inputs]`, weight `[outputs, inputs]`, bias `[outputs]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op3(weight, bias, LinearOp { activation, before: OnceLock::new() });
    }
    activated(&plain_product(x, weight)?.broadcast_add(bias)?, activation)
}

/// `activation(x * weight^T)` for x `[.., inputs]` and weight `[outputs, inputs]`.
pub(super) fn product(x: &Tensor, weight: &Tensor, activation: Activation) -> Result<Tensor> {
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op2(weight, LinearOp { activation, before: OnceLock::new() });
    }
    activated(&plain_product(x, weight)?, activation)
}

/// One product of all rows: Candle's broadcast would multiply, and keep a gradient of the weight, for each of them.
fn plain_product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = outputs;
    }
    x.reshape(((), inputs))?.matmul(&weight.t()?)?.reshape(dims)
}

fn activated(y: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::None => Ok(y.clone()),
        Activation::Relu => y.relu(),
        Activation::Gelu => y.gelu_erf(),
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

    /// Gradients of input and weight from the gradient before the activation.
    fn gradients(x: &Tensor, weight: &Tensor, g: &[f32]) -> Result<[Option<Tensor>; 2]> {
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
        Ok([dx, dw])
    }

    /// The result before bias and activation, and its shape.
    fn product(
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(Vec<f32>, Shape)> {
        let (x, w) = (slice(x, x_layout)?, slice(weight, weight_layout)?);
        let (outputs, inputs) = weight_layout.shape().dims2()?;
        let mut dims = x_layout.dims().to_vec();
        match dims.last_mut() {
            Some(last) if *last == inputs => *last = outputs,
            _ => bail!("linear: x {:?}, weight [{outputs}, {inputs}]", x_layout.dims()),
        }
        let rows = x.len() / inputs.max(1);
        let mut y = vec![0.0; rows * outputs];
        let right = Matrix { data: w, rows: 1, columns: inputs };
        multiply_add(&mut y, (rows, outputs, inputs), Matrix { data: x, rows: inputs, columns: 1 }, right);
        Ok((y, Shape::from(dims)))
    }

    fn activate(&self, y: &mut [f32], bias: &[f32]) {
        let mut before = if self.activation == Activation::Gelu { vec![0.0; y.len()] } else { Vec::new() };
        bias_activation(y, bias, &mut before, self.activation);
        // The operation is new for every call, so the cell is empty.
        let _ = self.before.set(before);
    }
}

impl CustomOp2 for LinearOp {
    fn name(&self) -> &'static str {
        "product"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (mut y, shape) = Self::product(x, x_layout, weight, weight_layout)?;
        if self.activation != Activation::None {
            let outputs = shape.dims().last().copied().unwrap_or(0);
            self.activate(&mut y, &vec![0.0; outputs]);
        }
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dw] = self.with_inner_gradient(result, gradient, |g| Self::gradients(x, weight, g))??;
        Ok((dx, dw))
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
        let (mut y, shape) = Self::product(x, x_layout, weight, weight_layout)?;
        let bias = slice(bias, bias_layout)?;
        if shape.dims().last() != Some(&bias.len()) {
            bail!("linear: weight {:?}, bias [{}]", weight_layout.dims(), bias.len());
        }
        self.activate(&mut y, bias);
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let add_bias = |g: &[f32]| {
            accumulate(bias, |db| {
                add_rows(g, db);
                Ok(())
            })
        };
        let gradients = |g: &[f32]| -> Result<_> { Ok((Self::gradients(x, weight, g)?, add_bias(g)?)) };
        let ([dx, dw], db): ([Option<Tensor>; 2], Option<Tensor>) =
            self.with_inner_gradient(result, gradient, gradients)??;
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
            check(&[&x, &w], || product(&x, &w, activation));
        }
    }

    #[test]
    fn fused_equals_the_plain_formula() {
        let (x, w, b) = (variable(&[7, 3], 1), variable(&[4, 3], 2), variable(&[4], 3));
        let plain = x.matmul(&w.t().unwrap()).unwrap().broadcast_add(&b).unwrap().gelu_erf().unwrap();
        let fused = linear(&x, &w, &b, Activation::Gelu).unwrap();
        let gap = (plain - fused).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(gap < 1e-5, "{gap}");
        let plain = plain_product(&x, &w).unwrap().relu().unwrap();
        let fused = product(&x, &w, Activation::Relu).unwrap();
        let gap = (plain - fused).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(gap < 1e-5, "{gap}");
    }
}
