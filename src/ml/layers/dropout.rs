//! Dropout (Srivastava et al. 2014) whose mask is a hash of seed and position: nothing is kept.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use crate::ml::layers::kernels::{drop_elements, mix};
use crate::ml::layers::storage::{read, slice};

/// Zeroes elements with this probability and scales the rest up; the same seed drops the same positions.
pub fn dropout(x: &Tensor, probability: f64, seed: u64) -> Result<Tensor> {
    if probability <= 0.0 {
        return Ok(x.clone());
    }
    let op = DropoutOp::new(probability, seed);
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op1(op);
    }
    let mut mask = vec![0.0; x.elem_count()];
    op.apply(&vec![1.0; mask.len()], &mut mask);
    x * Tensor::from_vec(mask, x.shape(), x.device())?
}

/// True when the hash of seed and position keeps an element at this probability of dropping.
pub fn keeps(position: usize, probability: f64, seed: u64) -> bool {
    let op = DropoutOp::new(probability, seed);
    mix(mix(position as u32 ^ op.seed.0) ^ op.seed.1) >= op.threshold
}

struct DropoutOp {
    seed: (u32, u32),
    threshold: u32,
    scale: f32,
}

impl DropoutOp {
    fn new(probability: f64, seed: u64) -> Self {
        let threshold = (probability * 4_294_967_296.0) as u32;
        Self {
            seed: (seed as u32, (seed >> 32) as u32),
            threshold,
            scale: (1.0 / (1.0 - probability)) as f32,
        }
    }

    fn apply(&self, x: &[f32], y: &mut [f32]) {
        drop_elements(x, y, self.seed, self.threshold, self.scale);
    }
}

impl CustomOp1 for DropoutOp {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, layout)?;
        let mut y = vec![0.0; x.len()];
        self.apply(x, &mut y);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let mut dx = vec![0.0; x.elem_count()];
        read(gradient, |g| self.apply(g, &mut dx))?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::gradcheck::{check, variable};

    #[test]
    fn gradient_matches_central_differences() {
        let x = variable(&[6, 5], 1);
        check(&[&x], || dropout(&x, 0.4, 99));
    }

    #[test]
    fn drops_its_share_and_depends_on_the_seed_alone() {
        let x = Tensor::ones(100_000, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        let run = |seed| dropout(&x, 0.3, seed).unwrap().to_vec1::<f32>().unwrap();
        let (a, b) = (run(5), run(6));
        assert_eq!(a, run(5));
        assert_ne!(a, b);
        let dropped = a.iter().filter(|v| **v == 0.0).count();
        assert!((29_000..31_000).contains(&dropped), "{dropped}");
        let both = a.iter().zip(&b).filter(|(a, b)| **a == 0.0 && **b == 0.0).count();
        assert!((8_300..9_700).contains(&both), "seeds are independent: {both}");
        assert_eq!(a.iter().enumerate().filter(|(i, v)| keeps(*i, 0.3, 5) != (**v > 0.0)).count(), 0);
    }
}
