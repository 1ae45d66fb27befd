//! A long short-term memory over a sequence in one operation (Hochreiter and Schmidhuber 1997; Gers 2000).

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use crate::ml::layers::cells::{lstm_backward, lstm_forward};
use crate::ml::layers::kernels::{Activation, Matrix};
use crate::ml::layers::linear::linear;
use crate::ml::layers::packed::Packed;
use crate::ml::layers::recurrence::{self, Dims};
use crate::ml::layers::residual::Linear;
use crate::ml::layers::storage::{read, slice};

/// Gates of a cell: input, forget, candidate, output.
const GATES: usize = 4;

/// States `[steps, batch, hidden]` of a memory that starts at zero and reads x `[steps, batch, inputs]`.
///
/// `input` makes `4 * hidden` numbers of a step, in the order input, forget, candidate and output gate; `weight`
/// `[4 * hidden, hidden]` multiplies the state before the step. Its gradients need to be collected.
pub fn lstm(x: &Tensor, input: &Linear, weight: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        let op = LstmOp { bias: input.bias().clone(), saved: OnceLock::new() };
        return x.contiguous()?.apply_op3(input.weight(), weight, op);
    }
    let projected = linear(x, input.weight(), input.bias(), Activation::None)?;
    let (steps, batch, _) = projected.dims3()?;
    let hidden = weight.dim(1)?;
    let mut state = Tensor::zeros((batch, hidden), projected.dtype(), projected.device())?;
    let mut cell = state.clone();
    let mut states = Vec::with_capacity(steps);
    for step in 0..steps {
        let gates = (projected.get(step)? + state.matmul(&weight.t()?)?)?;
        let gate = |i: usize| gates.narrow(1, i * hidden, hidden);
        let sigmoid = |i: usize| gate(i)?.neg()?.exp()?.affine(1.0, 1.0)?.recip();
        cell = ((sigmoid(1)? * &cell)? + (sigmoid(0)? * gate(2)?.tanh()?)?)?;
        state = (sigmoid(3)? * cell.tanh()?)?;
        states.push(state.clone());
    }
    Tensor::stack(&states, 0)
}

struct LstmOp {
    /// The bias of the input's part.
    bias: Tensor,
    /// Gates after their activation, and cells, kept for the gradient.
    saved: OnceLock<(Vec<f32>, Vec<f32>)>,
}

impl CustomOp3 for LstmOp {
    fn name(&self) -> &'static str {
        "lstm"
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
            recurrence::project(slice(x, layout)?, slice(input, input_layout)?, &self.bias, dims)?;
        let weight = Matrix { data: slice(weight, weight_layout)?, rows: 1, columns: hidden };
        let packed = Packed::new(weight, (hidden, dims.outputs));
        let (mut states, mut cells) = (vec![0.0; dims.steps * size], vec![0.0; dims.steps * size]);
        let none = vec![0.0; size];
        for step in 0..dims.steps {
            let gates = &mut gates[step * GATES * size..(step + 1) * GATES * size];
            let (before, after) = states.split_at_mut(step * size);
            let (cells_before, cells_after) = cells.split_at_mut(step * size);
            let earlier = if step > 0 {
                packed.multiply_add(&before[(step - 1) * size..], gates);
                &cells_before[(step - 1) * size..]
            } else {
                &none
            };
            lstm_forward(gates, earlier, &mut cells_after[..size], &mut after[..size], hidden);
        }
        // The operation is new for every call, so the cell is empty.
        let _ = self.saved.set((gates, cells));
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
        let Some((gates, cells)) = self.saved.get() else { bail!("lstm: backward before forward") };
        let (steps, batch, hidden) = result.dims3()?;
        let size = batch * hidden;
        let mut dgates = gates.clone();
        let (mut dstate, mut dcell) = (vec![0.0; size], vec![0.0; size]);
        let none = vec![0.0; size];
        let packed = recurrence::pack_backward(weight)?;
        read(gradient, |gradient| {
            for step in (0..steps).rev() {
                let rows = step * size..(step + 1) * size;
                let earlier = if step > 0 { &cells[(step - 1) * size..step * size] } else { &none };
                dstate.iter_mut().zip(&gradient[rows.clone()]).for_each(|(d, g)| *d += g);
                let dgates = &mut dgates[step * GATES * size..(step + 1) * GATES * size];
                lstm_backward(dgates, &cells[rows], earlier, &dstate, &mut dcell, hidden);
                dstate.fill(0.0);
                packed.multiply_add(dgates, &mut dstate);
            }
        })?;
        let dweight = recurrence::state_gradient(weight, result, &dgates)?;
        let (dx, dinput) = recurrence::input_gradients(x, input, &self.bias, &dgates)?;
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
        for (steps, hidden) in [(4, 5), (1, 2)] {
            let mut parameters = Parameters::seeded(Rng::new(3));
            let input = Linear::new(&mut parameters, "input", 2, GATES * hidden).unwrap();
            let (x, weight) = (variable(&[steps, 3, 2], 1), variable(&[GATES * hidden, hidden], 2));
            let variables = parameters.iter().map(|(_, var, _)| var).chain([&x]);
            // Nothing goes through the weight in a single step.
            let variables: Vec<_> = variables.chain((steps > 1).then_some(&weight)).collect();
            check(&variables, || lstm(&x, &input, &weight));
        }
    }

    #[test]
    fn equals_the_cell_written_out() {
        let mut parameters = Parameters::seeded(Rng::new(3));
        let input = Linear::new(&mut parameters, "input", 3, 8).unwrap();
        let (x, weight) = (variable(&[3, 2, 3], 5), variable(&[8, 2], 6));
        let fused = lstm(&x, &input, &weight).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let projected = input.forward(&x, Activation::None).unwrap();
        let x = projected.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let w = weight.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        for row in 0..2 {
            let (mut h, mut c) = ([0.0f32; 2], [0.0f32; 2]);
            for step in 0..3 {
                let gate = |i: usize| x[(step * 2 + row) * 8 + i] + w[2 * i] * h[0] + w[2 * i + 1] * h[1];
                let gates: Vec<f32> = (0..8).map(gate).collect();
                for j in 0..2 {
                    c[j] = sigmoid(gates[2 + j]) * c[j] + sigmoid(gates[j]) * gates[4 + j].tanh();
                    h[j] = sigmoid(gates[6 + j]) * c[j].tanh();
                    assert!((fused[(step * 2 + row) * 2 + j] - h[j]).abs() < 1e-5);
                }
            }
        }
    }
}
