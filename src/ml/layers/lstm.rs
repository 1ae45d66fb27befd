//! A long short-term memory over a sequence in one operation (Hochreiter and Schmidhuber 1997; Gers 2000).

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use crate::ml::layers::cells::{lstm_backward, lstm_forward};
use crate::ml::layers::gradients::accumulate;
use crate::ml::layers::kernels::{Matrix, multiply_add};
use crate::ml::layers::storage::{read, slice};

/// Gates of a cell: input, forget, candidate, output.
const GATES: usize = 4;

/// States `[steps, batch, hidden]` of a memory that starts at zero.
///
/// `projected` `[steps, batch, 4 * hidden]` is the input times its weights plus the bias, in the order input, forget,
/// candidate and output gate; `weight` `[4 * hidden, hidden]` multiplies the state before a step.
pub fn lstm(projected: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if projected.device().is_cpu() {
        return projected.contiguous()?.apply_op2(weight, LstmOp { saved: OnceLock::new() });
    }
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
    /// Gates after their activation, and cells, kept for the gradient.
    saved: OnceLock<(Vec<f32>, Vec<f32>)>,
}

impl CustomOp2 for LstmOp {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn cpu_fwd(
        &self,
        projected: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (steps, batch, width) = layout.shape().dims3()?;
        let (outputs, hidden) = weight_layout.shape().dims2()?;
        if width != outputs || outputs != GATES * hidden {
            bail!("lstm: projected {:?}, weight [{outputs}, {hidden}]", layout.dims());
        }
        let mut gates = slice(projected, layout)?.to_vec();
        let weight = slice(weight, weight_layout)?;
        let mut states = vec![0.0; steps * batch * hidden];
        let mut cells = vec![0.0; steps * batch * hidden];
        let none = vec![0.0; batch * hidden];
        let size = batch * hidden;
        for step in 0..steps {
            let gates = &mut gates[step * GATES * size..(step + 1) * GATES * size];
            let (before, after) = states.split_at_mut(step * size);
            let (cells_before, cells_after) = cells.split_at_mut(step * size);
            if step > 0 {
                let left = Matrix { data: &before[(step - 1) * size..], rows: hidden, columns: 1 };
                let right = Matrix { data: weight, rows: 1, columns: hidden };
                multiply_add(gates, (batch, outputs, hidden), left, right);
            }
            let earlier = if step > 0 { &cells_before[(step - 1) * size..] } else { &none };
            lstm_forward(gates, earlier, &mut cells_after[..size], &mut after[..size], hidden);
        }
        // The operation is new for every call, so the cell is empty.
        let _ = self.saved.set((gates, cells));
        Ok((CpuStorage::F32(states), Shape::from((steps, batch, hidden))))
    }

    fn bwd(
        &self,
        projected: &Tensor,
        weight: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Some((gates, cells)) = self.saved.get() else { bail!("lstm: backward before forward") };
        let (steps, batch, hidden) = result.dims3()?;
        let size = batch * hidden;
        let mut dgates = gates.clone();
        let (mut dstate, mut dcell) = (vec![0.0; size], vec![0.0; size]);
        let none = vec![0.0; size];
        read(weight, |weight| {
            read(gradient, |gradient| {
                for step in (0..steps).rev() {
                    let rows = step * size..(step + 1) * size;
                    let earlier = if step > 0 { &cells[(step - 1) * size..step * size] } else { &none };
                    dstate.iter_mut().zip(&gradient[rows.clone()]).for_each(|(d, g)| *d += g);
                    let dgates = &mut dgates[step * GATES * size..(step + 1) * GATES * size];
                    lstm_backward(dgates, &cells[rows], earlier, &dstate, &mut dcell, hidden);
                    dstate.fill(0.0);
                    let left = Matrix { data: dgates, rows: GATES * hidden, columns: 1 };
                    let right = Matrix { data: weight, rows: hidden, columns: 1 };
                    multiply_add(&mut dstate, (batch, hidden, GATES * hidden), left, right);
                }
            })
        })??;
        let dweight = recurrent_gradient(weight, result, &dgates, (steps, batch))?;
        Ok((Some(Tensor::from_vec(dgates, projected.shape(), projected.device())?), dweight))
    }
}

/// The gradient of a recurrent weight `[outputs, hidden]`: gradients before the activation, `[steps, batch, outputs]`,
/// times the states before them.
pub(super) fn recurrent_gradient(
    weight: &Tensor,
    states: &Tensor,
    dgates: &[f32],
    (steps, batch): (usize, usize),
) -> Result<Option<Tensor>> {
    let (outputs, hidden) = weight.dims2()?;
    accumulate(weight, |dweight| {
        if steps < 2 {
            return Ok(());
        }
        let left = Matrix { data: &dgates[batch * outputs..], rows: 1, columns: outputs };
        read(states, |states| {
            let right = Matrix { data: states, rows: hidden, columns: 1 };
            multiply_add(dweight, (outputs, hidden, (steps - 1) * batch), left, right);
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::gradcheck::{check, variable};

    #[test]
    fn gradients_match_central_differences() {
        let (projected, weight) = (variable(&[4, 3, 20], 1), variable(&[20, 5], 2));
        check(&[&projected, &weight], || lstm(&projected, &weight));
        let one = variable(&[1, 2, 8], 3);
        check(&[&one], || lstm(&one, &variable(&[8, 2], 4)));
    }

    #[test]
    fn equals_the_cell_written_out() {
        let (projected, weight) = (variable(&[3, 2, 8], 5), variable(&[8, 2], 6));
        let fused = lstm(&projected, &weight).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
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
