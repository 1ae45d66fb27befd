//! A linear layer without a bias, and the norm before it.

use candle_core::Tensor;

use crate::error::Result;
use crate::ml::layers::kernels::Activation;
use crate::ml::layers::linear::product;
use crate::ml::layers::parameters::{Initializer, Parameters};
use crate::ml::layers::rms_norm::{rms_norm, unit};

/// A linear layer without a bias.
#[derive(Debug)]
pub struct Projection {
    weight: Tensor,
}

impl Projection {
    /// Registers `name.weight` `[outputs, inputs]`, normal with this deviation at the start.
    pub fn new(
        parameters: &mut Parameters,
        name: &str,
        [inputs, outputs]: [usize; 2],
        deviation: f64,
    ) -> Result<Self> {
        let start = Initializer::Normal(deviation);
        Ok(Self { weight: parameters.register(&format!("{name}.weight"), &[outputs, inputs], start)? })
    }

    /// x `[.., inputs]` to `[.., outputs]`.
    pub fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        Ok(product(x, &self.weight, activation)?)
    }

    /// The layer after a norm of this gain.
    pub fn forward_normed(&self, x: &Tensor, gain: &Tensor, activation: Activation) -> Result<Tensor> {
        if x.device().is_cpu() {
            return self.forward(&rms_norm(x, gain)?, activation);
        }
        // The gain goes into the weight, which has far fewer rows to sum its gradient over than x.
        Ok(product(&unit(x)?, &self.weight.broadcast_mul(gain)?, activation)?)
    }
}
