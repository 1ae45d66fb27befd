//! Concatenation along the last dimension whose backward pass touches tracked parts only.

use candle_core::{CpuStorage, CustomOp2, D, Layout, Result, Shape, Tensor, bail};

use crate::ml::layers::storage::{read, slice};

/// `[.., a]` and `[.., b]` side by side: `[.., a + b]`.
pub fn concat(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    if left.device().is_cpu() {
        return left.contiguous()?.apply_op2(&right.contiguous()?, ConcatOp);
    }
    Tensor::cat(&[left, right], D::Minus1)
}

struct ConcatOp;

/// Sizes of the last dimensions; an error where the others differ.
fn widths(left: &[usize], right: &[usize]) -> Result<(usize, usize)> {
    match (left.split_last(), right.split_last()) {
        (Some((a, left)), Some((b, right))) if left == right && a + b > 0 => Ok((*a, *b)),
        _ => bail!("concat: {left:?} and {right:?}"),
    }
}

impl CustomOp2 for ConcatOp {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn cpu_fwd(
        &self,
        left: &CpuStorage,
        left_layout: &Layout,
        right: &CpuStorage,
        right_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (a, b) = widths(left_layout.dims(), right_layout.dims())?;
        let (left, right) = (slice(left, left_layout)?, slice(right, right_layout)?);
        let rows = (left.len() + right.len()) / (a + b);
        let mut out = Vec::with_capacity(left.len() + right.len());
        for row in 0..rows {
            out.extend_from_slice(&left[row * a..(row + 1) * a]);
            out.extend_from_slice(&right[row * b..(row + 1) * b]);
        }
        let mut dims = left_layout.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = a + b;
        }
        Ok((CpuStorage::F32(out), Shape::from(dims)))
    }

    fn bwd(
        &self,
        left: &Tensor,
        right: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (a, b) = widths(left.dims(), right.dims())?;
        let part = |tensor: &Tensor, from: usize, width: usize| {
            if !tensor.track_op() {
                return Ok(None);
            }
            let mut part = Vec::with_capacity(tensor.elem_count());
            read(gradient, |g| {
                g.chunks_exact(a + b).for_each(|row| part.extend_from_slice(&row[from..from + width]))
            })?;
            Tensor::from_vec(part, tensor.shape(), tensor.device()).map(Some)
        };
        Ok((part(left, 0, a)?, part(right, a, b)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::gradcheck::{check, variable};

    #[test]
    fn gradients_match_central_differences() {
        let (a, b) = (variable(&[2, 3, 4], 1), variable(&[2, 3, 1], 2));
        check(&[&a, &b], || concat(&a, &b));
        let plain = Tensor::cat(&[a.as_tensor(), b.as_tensor()], 2).unwrap().flatten_all().unwrap();
        let ours = concat(&a, &b).unwrap().flatten_all().unwrap();
        assert_eq!(ours.to_vec1::<f32>().unwrap(), plain.to_vec1::<f32>().unwrap());
        assert!(concat(&a, &variable(&[3, 2, 1], 2)).is_err());
    }
}
