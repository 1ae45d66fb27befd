//! A gated recurrent unit over a sequence in one operation (Cho et al. 2014, with the reset after the product as in cuDNN).

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use crate::ml::layers::cells::{gru_backward, gru_forward};
use crate::ml::layers::gradients::accumulate;
use crate::ml::layers::kernels::{Matrix, add_rows, multiply_add};
use crate::ml::layers::lstm::recurrent_gradient;
use crate::ml::layers::storage::{read, slice};

/// Gates of a unit: reset, update, candidate.
const GATES: usize = 3;

/// States `[steps, batch, hidden]` of a unit that starts at zero.
///
/// `projected` `[steps, batch, 3 * hidden]` is the input times its weights plus the bias, in the order reset, update and
/// candidate; `weight` `[3 * hidden, hidden]` and `bias` `[3 * hidden]` make the part of the state before a step.
pub fn gru(projected: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if projected.device().is_cpu() {
        return projected.contiguous()?.apply_op3(weight, bias, GruOp { saved: OnceLock::new() });
    }
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
    /// Gates after their activation, and the state's part of the candidate, kept for the gradient.
    saved: OnceLock<(Vec<f32>, Vec<f32>)>,
}

impl CustomOp3 for GruOp {
    fn name(&self) -> &'static str {
        "gru"
    }

    fn cpu_fwd(
        &self,
        projected: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (steps, batch, width) = layout.shape().dims3()?;
        let (outputs, hidden) = weight_layout.shape().dims2()?;
        let bias = slice(bias, bias_layout)?;
        if width != outputs || outputs != GATES * hidden || bias.len() != outputs {
            bail!("gru: projected {:?}, weight [{outputs}, {hidden}], bias [{}]", layout.dims(), bias.len());
        }
        let mut gates = slice(projected, layout)?.to_vec();
        let weight = slice(weight, weight_layout)?;
        let size = batch * hidden;
        let mut states = vec![0.0; steps * size];
        let mut own_candidates = vec![0.0; steps * size];
        let none = vec![0.0; size];
        let mut own = vec![0.0; GATES * size];
        for step in 0..steps {
            own.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias));
            let (before, after) = states.split_at_mut(step * size);
            let earlier = if step > 0 { &before[(step - 1) * size..] } else { &none };
            if step > 0 {
                let left = Matrix { data: earlier, rows: hidden, columns: 1 };
                let right = Matrix { data: weight, rows: 1, columns: hidden };
                multiply_add(&mut own, (batch, outputs, hidden), left, right);
            }
            let gates = &mut gates[step * GATES * size..(step + 1) * GATES * size];
            let candidates = &mut own_candidates[step * size..(step + 1) * size];
            gru_forward(gates, &mut own, earlier, candidates, &mut after[..size], hidden);
        }
        // The operation is new for every call, so the cell is empty.
        let _ = self.saved.set((gates, own_candidates));
        Ok((CpuStorage::F32(states), Shape::from((steps, batch, hidden))))
    }

    fn bwd(
        &self,
        projected: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some((gates, own_candidates)) = self.saved.get() else { bail!("gru: backward before forward") };
        let (steps, batch, hidden) = result.dims3()?;
        let size = batch * hidden;
        let mut dgates = gates.clone();
        // Gradients of the state's part, which differ from those of the input's part in the candidate.
        let mut down = vec![0.0; steps * GATES * size];
        let mut dstate = vec![0.0; size];
        let none = vec![0.0; size];
        read(weight, |weight| {
            read(result, |states| {
                read(gradient, |gradient| {
                    for step in (0..steps).rev() {
                        let rows = step * size..(step + 1) * size;
                        let wide = step * GATES * size..(step + 1) * GATES * size;
                        let earlier = if step > 0 { &states[(step - 1) * size..step * size] } else { &none };
                        dstate.iter_mut().zip(&gradient[rows.clone()]).for_each(|(d, g)| *d += g);
                        let (dgates, down) = (&mut dgates[wide.clone()], &mut down[wide]);
                        gru_backward(dgates, down, &own_candidates[rows], earlier, &mut dstate, hidden);
                        let left = Matrix { data: down, rows: GATES * hidden, columns: 1 };
                        let right = Matrix { data: weight, rows: hidden, columns: 1 };
                        multiply_add(&mut dstate, (batch, hidden, GATES * hidden), left, right);
                    }
                })
            })
        })???;
        let dweight = recurrent_gradient(weight, result, &down, (steps, batch))?;
        let dbias = accumulate(bias, |dbias| {
            add_rows(&down, dbias);
            Ok(())
        })?;
        Ok((Some(Tensor::from_vec(dgates, projected.shape(), projected.device())?), dweight, dbias))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::gradcheck::{check, variable};

    #[test]
    fn gradients_match_central_differences() {
        let (projected, weight, bias) = (variable(&[4, 3, 15], 1), variable(&[15, 5], 2), variable(&[15], 3));
        check(&[&projected, &weight, &bias], || gru(&projected, &weight, &bias));
    }

    #[test]
    fn equals_the_unit_written_out() {
        let (projected, weight, bias) = (variable(&[3, 2, 6], 5), variable(&[6, 2], 6), variable(&[6], 7));
        let fused = gru(&projected, &weight, &bias).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
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
