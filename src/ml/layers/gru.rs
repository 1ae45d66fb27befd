//! A gated recurrent unit over a sequence in one operation (Cho et al. 2014, with the reset after the product as in cuDNN).

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use crate::ml::layers::cells::{gru_backward, gru_forward};
use crate::ml::layers::gradients::accumulate_held;
use crate::ml::layers::kernels::{Activation, Matrix, add_rows};
use crate::ml::layers::linear::linear;
use crate::ml::layers::packed::Packed;
use crate::ml::layers::recurrence::{self, Dims};
use crate::ml::layers::residual::Linear;
use crate::ml::layers::storage::{read, slice};

/// Gates of a unit: reset, update, candidate.
const GATES: usize = 3;

/// States `[steps, batch, hidden]` of a unit that starts at zero and reads x `[steps, batch, inputs]`.
///
/// `input` makes `3 * hidden` numbers of a step, in the order reset, update and candidate; `weight` `[3 * hidden, hidden]`
/// and `bias` `[3 * hidden]` make the part of the state before the step. Its gradients need to be collected.
pub fn gru(x: &Tensor, input: &Linear, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        let biases = (input.bias().clone(), bias.clone());
        return x.contiguous()?.apply_op3(input.weight(), weight, GruOp { biases, saved: OnceLock::new() });
    }
    let projected = linear(x, input.weight(), input.bias(), Activation::None)?;
    let (steps, batch, _) = projected.dims3()?;
    let hidden = weight.dim(1)?;
    let mut state = Tensor::zeros((batch, hidden), projected.dtype(), projected.device())?;
    let mut states = Vec::with_capacity(steps);
    for step in 0..steps {
        let own = state.matmul(&weight.t()?)?.broadcast_add(bias)?;
        let x = projected.get(step)?;
        let part = |t: &Tensor, i: usize| t.narrow(1, i * hidden, hidden);
        let sigmoid = |i: usize| (part(&x, i)? + part(&own, i)?)?.neg()?.exp()?.affine(1.0, 1.0)?.recip();
        let candidate = (part(&x, 2)? + (sigmoid(0)? * part(&own, 2)?)?)?.tanh()?;
        let update = sigmoid(1)?;
        state = ((&candidate - (&update * &candidate)?)? + (update * state)?)?;
        states.push(state.clone());
    }
    Tensor::stack(&states, 0)
}

struct GruOp {
    /// The biases of the input's part and of the state's.
    biases: (Tensor, Tensor),
    /// Gates after their activation, and the state's part of the candidate, kept for the gradient.
    saved: OnceLock<(Vec<f32>, Vec<f32>)>,
}

impl CustomOp3 for GruOp {
    fn name(&self) -> &'static str {
        "gru"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        input: &CpuStorage,
        input_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let dims = Dims::new(GATES, layout, input_layout, weight_layout)?;
        let (size, hidden) = (dims.batch * dims.hidden, dims.hidden);
        let mut gates =
            recurrence::project(slice(x, layout)?, slice(input, input_layout)?, &self.biases.0, dims)?;
        let weight = Matrix { data: slice(weight, weight_layout)?, rows: 1, columns: hidden };
        let packed = Packed::new(weight, (hidden, dims.outputs));
        let bias = read(&self.biases.1, |bias| bias.repeat(dims.batch))?;
        if bias.len() != GATES * size {
            bail!("gru: bias {:?} of {} outputs", self.biases.1.dims(), dims.outputs);
        }
        let (mut states, mut own_candidates) = (vec![0.0; dims.steps * size], vec![0.0; dims.steps * size]);
        let (none, mut own) = (vec![0.0; size], vec![0.0; GATES * size]);
        for step in 0..dims.steps {
            own.copy_from_slice(&bias);
            let (before, after) = states.split_at_mut(step * size);
            let earlier = if step > 0 { &before[(step - 1) * size..] } else { &none };
            if step > 0 {
                packed.multiply_add(earlier, &mut own);
            }
            let gates = &mut gates[step * GATES * size..(step + 1) * GATES * size];
            let candidates = &mut own_candidates[step * size..(step + 1) * size];
            gru_forward(gates, &mut own, earlier, candidates, &mut after[..size], hidden);
        }
        // The operation is new for every call, so the cell is empty.
        let _ = self.saved.set((gates, own_candidates));
        Ok((CpuStorage::F32(states), Shape::from((dims.steps, dims.batch, hidden))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        input: &Tensor,
        weight: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some((gates, own_candidates)) = self.saved.get() else { bail!("gru: backward before forward") };
        let (steps, batch, hidden) = result.dims3()?;
        let size = batch * hidden;
        let mut dgates = gates.clone();
        // Gradients of the state's part, which differ from those of the input's part in the candidate.
        let mut down = vec![0.0; steps * GATES * size];
        let (mut dstate, none) = (vec![0.0; size], vec![0.0; size]);
        let packed = recurrence::pack_backward(weight)?;
        read(result, |states| {
            read(gradient, |gradient| {
                for step in (0..steps).rev() {
                    let rows = step * size..(step + 1) * size;
                    let wide = step * GATES * size..(step + 1) * GATES * size;
                    let earlier = if step > 0 { &states[(step - 1) * size..step * size] } else { &none };
                    dstate.iter_mut().zip(&gradient[rows.clone()]).for_each(|(d, g)| *d += g);
                    let (dgates, down) = (&mut dgates[wide.clone()], &mut down[wide]);
                    gru_backward(dgates, down, &own_candidates[rows], earlier, &mut dstate, hidden);
                    packed.multiply_add(down, &mut dstate);
                }
            })
        })??;
        let dweight = recurrence::state_gradient(weight, result, &down)?;
        accumulate_held(&self.biases.1, |dbias| {
            add_rows(&down, dbias);
            Ok(())
        })?;
        let (dx, dinput) = recurrence::input_gradients(x, input, &self.biases.0, &dgates)?;
        Ok((dx, dinput, dweight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::Parameters;
    use crate::ml::layers::gradcheck::{check, variable};
    use crate::ml::rng::Rng;

    #[test]
    fn gradients_match_central_differences() {
        let mut parameters = Parameters::seeded(Rng::new(3));
        let input = Linear::new(&mut parameters, "input", 2, 15).unwrap();
        let (x, weight, bias) = (variable(&[4, 3, 2], 1), variable(&[15, 5], 2), variable(&[15], 3));
        let variables: Vec<_> =
            parameters.iter().map(|(_, var, _)| var).chain([&x, &weight, &bias]).collect();
        check(&variables, || gru(&x, &input, &weight, &bias));
    }

    #[test]
    fn equals_the_unit_written_out() {
        let mut parameters = Parameters::seeded(Rng::new(3));
        let input = Linear::new(&mut parameters, "input", 3, 6).unwrap();
        let (x, weight, bias) = (variable(&[3, 2, 3], 5), variable(&[6, 2], 6), variable(&[6], 7));
        let fused = gru(&x, &input, &weight, &bias).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let projected = input.forward(&x, Activation::None).unwrap();
        let list = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (x, w, b) = (list(&projected), list(&weight), list(&bias));
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        for row in 0..2 {
            let mut h = [0.0f32; 2];
            for step in 0..3 {
                let own: Vec<f32> = (0..6).map(|i| b[i] + w[2 * i] * h[0] + w[2 * i + 1] * h[1]).collect();
                let x = &x[(step * 2 + row) * 6..(step * 2 + row + 1) * 6];
                for j in 0..2 {
                    let (r, z) = (sigmoid(x[j] + own[j]), sigmoid(x[2 + j] + own[2 + j]));
                    let n = (x[4 + j] + r * own[4 + j]).tanh();
                    h[j] = (1.0 - z) * n + z * h[j];
                    assert!((fused[(step * 2 + row) * 2 + j] - h[j]).abs() < 1e-5);
                }
            }
        }
    }
}
