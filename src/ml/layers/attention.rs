//! Multi-head self-attention (Vaswani et al. 2017) on packed projections in one operation, along either of two axes.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
#[cfg(feature = "cuda")]
use candle_core::{CudaStorage, CustomOp2};

#[cfg(feature = "cuda")]
use crate::ml::layers::cuda::{AttentionShape, attention_backward, attention_forward};

use crate::ml::layers::kernels::{product, softmax_backward, softmax_rows, transpose};
use crate::ml::layers::storage::{read, slice};

/// Base of the wavelengths of rotary positions (Su et al. 2021).
const ROTARY_BASE: f32 = 10_000.0;

/// What looks at what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Along {
    /// Steps of the same row, by their rotary positions.
    Steps,
    /// Steps of the same row up to its own, by their rotary positions.
    Earlier,
    /// Rows at the same step, in no order.
    Rows,
}

impl Along {
    /// Steps of the same row are looked at.
    fn is_in_time(self) -> bool {
        self != Self::Rows
    }
}

/// How attention is shared out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heads {
    /// How many look.
    pub count: usize,
    /// What the products of queries and keys are multiplied by; 1 over the root of a head's size where it is `None`.
    pub scale: Option<f32>,
}

/// Attention over `[batch, rows, steps, 3 * width]`, queries, keys and values side by side, to
/// `[batch, rows, steps, width]`; positions that are not `present`, one flag for each, are not looked at.
///
/// A position that sees nothing gets zeros.
pub fn attention(qkv: &Tensor, heads: Heads, along: Along, present: Option<&[bool]>) -> Result<Tensor> {
    let Heads { count: heads, scale } = heads;
    let (batch, rows, steps, width) = qkv.dims4()?;
    if heads == 0
        || !width.is_multiple_of(3 * heads)
        || (along.is_in_time() && !width.is_multiple_of(6 * heads))
    {
        bail!("attention: {heads} heads over {:?}", qkv.dims());
    }
    if present.is_some_and(|p| p.len() != batch * rows * steps) {
        bail!("attention: not as many flags as positions");
    }
    let size = width / 3 / heads;
    let scale = scale.unwrap_or(1.0 / (size as f32).sqrt());
    let shape = HeadShape { heads, size, scale, batch, rows, steps, along };
    if qkv.device().is_cpu() {
        let present = present.map(<[bool]>::to_vec);
        let op = AttentionOp { shape, present, probabilities: OnceLock::new() };
        return qkv.contiguous()?.apply_op1(op);
    }
    #[cfg(feature = "cuda")]
    if along != Along::Earlier && shape.on_card().fits() {
        let as_number = |flags: &[bool]| -> Result<Tensor> {
            let flags: Vec<f32> = flags.iter().map(|p| f32::from(u8::from(*p))).collect();
            Tensor::new(flags, qkv.device())
        };
        let op = CardAttention { shape, flags: present.map(as_number).transpose()? };
        return qkv.contiguous()?.apply_op1(op);
    }
    plain_attention(qkv, shape, present)
}

/// The operation of a card, whose gradient computes the probabilities again.
#[cfg(feature = "cuda")]
#[derive(Clone)]
struct CardAttention {
    shape: HeadShape,
    /// 1 for every position that is looked at.
    flags: Option<Tensor>,
}

#[cfg(feature = "cuda")]
impl CustomOp1 for CardAttention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("attention: the tensor is not on the card")
    }

    fn cuda_fwd(&self, qkv: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let HeadShape { batch, rows, steps, heads, size, .. } = self.shape;
        let out = attention_forward((qkv, layout), self.flags.as_ref(), self.shape.on_card())?;
        Ok((out, Shape::from((batch, rows, steps, heads * size))))
    }

    fn bwd(&self, qkv: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        qkv.contiguous()?.apply_op2_no_bwd(&gradient.contiguous()?, self).map(Some)
    }
}

/// Its gradient in the packed input.
#[cfg(feature = "cuda")]
impl CustomOp2 for CardAttention {
    fn name(&self) -> &'static str {
        "attention gradient"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("attention: the tensor is not on the card")
    }

    fn cuda_fwd(
        &self,
        qkv: &CudaStorage,
        layout: &Layout,
        gradient: &CudaStorage,
        gradient_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (qkv, gradient) = ((qkv, layout), (gradient, gradient_layout));
        let out = attention_backward(qkv, gradient, self.flags.as_ref(), self.shape.on_card())?;
        Ok((out, layout.shape().clone()))
    }
}

/// The same in Candle's own operations.
fn plain_attention(qkv: &Tensor, shape: HeadShape, present: Option<&[bool]>) -> Result<Tensor> {
    let HeadShape { heads, size, scale, batch, rows, steps, along } = shape;
    let device = qkv.device();
    let split = qkv.reshape((batch, rows, steps, 3, heads, size))?;
    // [batch, other axis, heads, this axis, size]
    let order = if along.is_in_time() { [0, 1, 3, 2, 4] } else { [0, 2, 3, 1, 4] };
    let part = |i: usize| split.narrow(3, i, 1)?.squeeze(3)?.permute(order)?.contiguous();
    let (mut q, mut k, v) = (part(0)?, part(1)?, part(2)?);
    if along.is_in_time() {
        let (cos, sin) = rotations(steps, size);
        let half = size / 2;
        let table = |values: Vec<f32>| Tensor::from_vec(values, (1, 1, 1, steps, half), device);
        let (cos, sin) = (table(cos)?, table(sin)?);
        let rotate = |x: &Tensor| {
            let (a, b) = (x.narrow(4, 0, half)?, x.narrow(4, half, half)?);
            let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
            Tensor::cat(&[first, (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?], 4)
        };
        (q, k) = (rotate(&q)?, rotate(&k)?);
    }
    let dims = q.dims().to_vec();
    // Candle multiplies stacks of one dimension.
    let stack = |x: &Tensor| x.flatten(0, 2);
    let scores = stack(&q)?.matmul(&stack(&k)?.transpose(1, 2)?.contiguous()?)?;
    let mut scores = (scores * f64::from(scale))?.reshape((dims[0], dims[1], dims[2], dims[3], dims[3]))?;
    let mut seen = None;
    if along == Along::Earlier {
        let hidden = |at: usize| if at % steps > at / steps { -1e30f32 } else { 0.0 };
        let hidden = (0..steps * steps).map(hidden).collect();
        let hidden = Tensor::from_vec(hidden, (1, 1, 1, steps, steps), device)?;
        scores = scores.broadcast_add(&hidden)?;
    }
    if let Some(present) = present {
        let flags: Vec<f32> = present.iter().map(|p| f32::from(u8::from(*p))).collect();
        let flags = Tensor::from_vec(flags, (batch, rows, steps), device)?;
        let flags = if along.is_in_time() { flags } else { flags.transpose(1, 2)?.contiguous()? };
        let flags = flags.unsqueeze(2)?.unsqueeze(3)?;
        scores = scores.broadcast_add(&flags.affine(1e30, -1e30)?)?;
        seen = Some(match along {
            Along::Earlier => {
                let mut far = vec![0.0f32; present.len()];
                for (far, own) in far.chunks_exact_mut(steps).zip(present.chunks_exact(steps)) {
                    let mut any = false;
                    far.iter_mut().zip(own).for_each(|(far, own)| {
                        any |= own;
                        *far = f32::from(u8::from(any));
                    });
                }
                Tensor::from_vec(far, (batch, rows, 1, steps, 1), device)?
            }
            Along::Steps | Along::Rows => flags.max_keepdim(4)?,
        });
    }
    let mut out =
        stack(&candle_nn::ops::softmax(&scores, 4)?)?.matmul(&stack(&v)?)?.reshape(dims.as_slice())?;
    if let Some(seen) = seen {
        out = out.broadcast_mul(&seen)?;
    }
    let back = if along.is_in_time() { [0, 1, 3, 2, 4] } else { [0, 3, 1, 2, 4] };
    out.permute(back)?.contiguous()?.reshape((batch, rows, steps, heads * size))
}

/// Cosines and sines `[steps, size / 2]` of rotary positions.
fn rotations(steps: usize, size: usize) -> (Vec<f32>, Vec<f32>) {
    let half = size / 2;
    let angle = |i: usize| {
        let (step, pair) = (i / half.max(1), i % half.max(1));
        step as f32 * ROTARY_BASE.powf(-2.0 * pair as f32 / size as f32)
    };
    (0..steps * half).map(|i| (angle(i).cos(), angle(i).sin())).unzip()
}

#[derive(Debug, Clone, Copy)]
struct HeadShape {
    heads: usize,
    /// Elements of a head.
    size: usize,
    scale: f32,
    batch: usize,
    rows: usize,
    steps: usize,
    along: Along,
}

impl HeadShape {
    /// Positions of a sequence, and the distance between them.
    fn sequence(&self) -> (usize, usize) {
        match self.along {
            Along::Steps | Along::Earlier => (self.steps, 1),
            Along::Rows => (self.rows, self.steps),
        }
    }

    #[cfg(feature = "cuda")]
    fn on_card(&self) -> AttentionShape {
        let (count, stride) = self.sequence();
        let (heads, size, scale) = (self.heads, self.size, self.scale);
        AttentionShape { heads, size, count, stride, scale, rotary: self.along.is_in_time() }
    }

    /// The first position of every sequence.
    fn starts(&self) -> Vec<usize> {
        let all = self.batch * self.rows * self.steps;
        match self.along {
            Along::Steps | Along::Earlier => (0..all).step_by(self.steps.max(1)).collect(),
            Along::Rows => (0..self.batch)
                .flat_map(|b| (0..self.steps).map(move |step| b * self.rows * self.steps + step))
                .collect(),
        }
    }
}

struct AttentionOp {
    shape: HeadShape,
    present: Option<Vec<bool>>,
    /// `[sequence, head, position, position]`, kept for the gradient.
    probabilities: OnceLock<Vec<f32>>,
}

/// One head of one sequence, copied side by side.
struct Head {
    rotations: Option<(Vec<f32>, Vec<f32>)>,
    count: usize,
    size: usize,
    /// `[count, size]` each.
    parts: [Vec<f32>; 3],
    turned: Vec<f32>,
}

impl Head {
    fn new(shape: &HeadShape) -> Self {
        let (count, size) = (shape.sequence().0, shape.size);
        let rotations = shape.along.is_in_time().then(|| rotations(count, size));
        let part = || vec![0.0; count * size];
        Self { rotations, count, size, parts: [part(), part(), part()], turned: part() }
    }

    /// Copies one head of the sequence that begins at `start`; queries are scaled.
    fn gather(&mut self, qkv: &[f32], shape: &HeadShape, start: usize, head: usize) {
        let (size, stride, width) = (self.size, shape.sequence().1, shape.heads * shape.size);
        for i in 0..self.count {
            let token = &qkv[(start + i * stride) * 3 * width..][..3 * width];
            for (which, part) in self.parts.iter_mut().enumerate() {
                let from = which * width + head * size;
                part[i * size..(i + 1) * size].copy_from_slice(&token[from..from + size]);
            }
        }
        self.parts[0].iter_mut().for_each(|q| *q *= shape.scale);
        if let Some((cos, sin)) = &self.rotations {
            for part in &mut self.parts[..2] {
                rotate(part, cos, sin, size, 1.0);
            }
        }
    }
}

/// Turns the pairs of every row by their angles, back where `way` is -1.
fn rotate(rows: &mut [f32], cos: &[f32], sin: &[f32], size: usize, way: f32) {
    let half = size / 2;
    for ((row, cos), sin) in
        rows.chunks_exact_mut(size).zip(cos.chunks_exact(half)).zip(sin.chunks_exact(half))
    {
        let (first, second) = row.split_at_mut(half);
        for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            (*a, *b) = (*a * cos - way * *b * sin, *b * cos + way * *a * sin);
        }
    }
}

impl AttentionOp {
    /// Flags of the positions of a sequence as numbers.
    fn flags(&self, start: usize) -> Vec<f32> {
        let (count, stride) = self.shape.sequence();
        let flag = |i: usize| self.present.as_ref().is_none_or(|p| p[start + i * stride]);
        (0..count).map(|i| f32::from(u8::from(flag(i)))).collect()
    }
}

impl CustomOp1 for AttentionOp {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (qkv, shape) = (slice(qkv, layout)?, self.shape);
        let ((count, stride), size, width) = (shape.sequence(), shape.size, shape.heads * shape.size);
        let mut out = vec![0.0; qkv.len() / 3];
        let (mut head, mut result) = (Head::new(&shape), vec![0.0; count * size]);
        let starts = shape.starts();
        let mut probabilities = vec![0.0; starts.len() * shape.heads * count * count];
        let mut tables = probabilities.chunks_exact_mut((count * count).max(1));
        for start in starts {
            let flags = self.flags(start);
            for h in 0..shape.heads {
                let Some(table) = tables.next() else { break };
                head.gather(qkv, &shape, start, h);
                let [q, k, v] = &head.parts;
                transpose(k, (count, size), &mut head.turned);
                product(q, &head.turned, table, (count, count, size));
                match shape.along {
                    // What comes later counts as absent, row by row.
                    Along::Earlier => {
                        for (i, row) in table.chunks_exact_mut(count).enumerate() {
                            let (earlier, later) = row.split_at_mut(i + 1);
                            softmax_rows(earlier, &flags[..=i]);
                            later.fill(0.0);
                        }
                    }
                    Along::Steps | Along::Rows => softmax_rows(table, &flags),
                }
                product(table, v, &mut result, (count, size, count));
                for i in 0..count {
                    let to = (start + i * stride) * width + h * size;
                    out[to..to + size].copy_from_slice(&result[i * size..(i + 1) * size]);
                }
            }
        }
        // The operation is new for every call, so the cell is empty.
        let _ = self.probabilities.set(probabilities);
        Ok((CpuStorage::F32(out), Shape::from((shape.batch, shape.rows, shape.steps, width))))
    }

    fn bwd(&self, qkv: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let Some(probabilities) = self.probabilities.get() else {
            bail!("attention: backward before forward")
        };
        let mut dqkv = vec![0.0; qkv.elem_count()];
        read(qkv, |qkv| read(gradient, |g| self.gradients(qkv, g, probabilities, &mut dqkv)))??;
        Ok(Some(Tensor::from_vec(dqkv, qkv.shape(), qkv.device())?))
    }
}

impl AttentionOp {
    fn gradients(&self, qkv: &[f32], gradient: &[f32], probabilities: &[f32], dqkv: &mut [f32]) {
        let shape = self.shape;
        let ((count, stride), size, width) = (shape.sequence(), shape.size, shape.heads * shape.size);
        let mut head = Head::new(&shape);
        let part = || vec![0.0; count * size];
        let (mut dout, mut turned, [mut dq, mut dk, mut dv]) = (part(), part(), [part(), part(), part()]);
        let (mut dtable, mut flipped) = (vec![0.0; count * count], vec![0.0; count * count]);
        let mut tables = probabilities.chunks_exact((count * count).max(1));
        for start in shape.starts() {
            for h in 0..shape.heads {
                let Some(table) = tables.next() else { return };
                head.gather(qkv, &shape, start, h);
                for i in 0..count {
                    let from = (start + i * stride) * width + h * size;
                    dout[i * size..(i + 1) * size].copy_from_slice(&gradient[from..from + size]);
                }
                let [q, k, v] = &head.parts;
                transpose(table, (count, count), &mut flipped);
                product(&flipped, &dout, &mut dv, (count, size, count));
                transpose(v, (count, size), &mut turned);
                product(&dout, &turned, &mut dtable, (count, count, size));
                softmax_backward(table, &mut dtable);
                product(&dtable, k, &mut dq, (count, size, count));
                transpose(&dtable, (count, count), &mut flipped);
                product(&flipped, q, &mut dk, (count, size, count));
                if let Some((cos, sin)) = &head.rotations {
                    rotate(&mut dq, cos, sin, size, -1.0);
                    rotate(&mut dk, cos, sin, size, -1.0);
                }
                dq.iter_mut().for_each(|d| *d *= shape.scale);
                for (which, part) in [&dq, &dk, &dv].into_iter().enumerate() {
                    for i in 0..count {
                        let to = (start + i * stride) * 3 * width + which * width + h * size;
                        dqkv[to..to + size].copy_from_slice(&part[i * size..(i + 1) * size]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::gradcheck::{check, variable};

    const TWO: Heads = Heads { count: 2, scale: None };
    const PRESENT: [bool; 24] = {
        let mut present = [true; 24];
        // The first two steps of one row, and one row altogether.
        (present[0], present[1], present[16], present[17]) = (false, false, false, false);
        (present[18], present[19]) = (false, false);
        present
    };

    #[test]
    fn gradients_match_central_differences_along_both_axes() {
        let qkv = variable(&[2, 3, 4, 24], 1);
        for along in [Along::Steps, Along::Earlier, Along::Rows] {
            check(&[&qkv], || attention(&qkv, TWO, along, None));
            check(&[&qkv], || attention(&qkv, TWO, along, Some(&PRESENT)));
        }
    }

    #[test]
    fn fused_equals_the_plain_formula() {
        let qkv = variable(&[2, 3, 4, 24], 1);
        for along in [Along::Steps, Along::Earlier, Along::Rows] {
            for present in [None, Some(&PRESENT[..])] {
                let shape = HeadShape { heads: 2, size: 4, scale: 0.7, batch: 2, rows: 3, steps: 4, along };
                let plain = plain_attention(&qkv, shape, present).unwrap();
                let fused = attention(&qkv, Heads { scale: Some(0.7), ..TWO }, along, present).unwrap();
                let gap = (plain - fused).unwrap().abs().unwrap().max_all().unwrap();
                assert!(gap.to_scalar::<f32>().unwrap() < 1e-5, "{along:?} {gap}");
            }
        }
    }

    #[test]
    fn heads_that_do_not_divide_the_width_are_an_error() {
        assert!(
            attention(&variable(&[1, 1, 2, 12], 1), Heads { count: 5, ..TWO }, Along::Rows, None).is_err()
        );
        assert!(attention(&variable(&[1, 1, 2, 12], 1), TWO, Along::Rows, Some(&[true])).is_err());
    }
}
