//! A linear layer with its parameters, and the residual block of TiDE (Das et al. 2023).

use candle_core::Tensor;

use crate::error::Result;
use crate::ml::layers::dropout::dropout;
use crate::ml::layers::kernels::Activation;
use crate::ml::layers::layer_norm::layer_norm;
use crate::ml::layers::linear::linear;
use crate::ml::layers::parameters::{Initializer, Parameters};

/// What is added to the variance under a norm.
const EPSILON: f32 = 1e-5;

/// A linear layer.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Registers `name.weight` `[outputs, inputs]` and `name.bias`.
    pub fn new(parameters: &mut Parameters, name: &str, inputs: usize, outputs: usize) -> Result<Self> {
        Self::with_initializer(parameters, name, inputs, outputs, Initializer::Glorot)
    }

    /// Like [`Linear::new`], with a chosen start of the weight.
    pub fn with_initializer(
        parameters: &mut Parameters,
        name: &str,
        inputs: usize,
        outputs: usize,
        initializer: Initializer,
    ) -> Result<Self> {
        Ok(Self {
            weight: parameters.register(&format!("{name}.weight"), &[outputs, inputs], initializer)?,
            bias: parameters.register(&format!("{name}.bias"), &[outputs], Initializer::Zeros)?,
        })
    }

    /// The weight `[outputs, inputs]`.
    pub(super) fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias `[outputs]`.
    pub(super) fn bias(&self) -> &Tensor {
        &self.bias
    }

    /// x `[.., inputs]` to `[.., outputs]`.
    pub fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        Ok(linear(x, &self.weight, &self.bias, activation)?)
    }
}

/// Hidden layer with ReLU, output layer, dropout, linear skip, layer norm.
#[derive(Debug)]
pub struct ResidualBlock {
    hidden: Linear,
    output: Linear,
    skip: Linear,
    norm: Option<(Tensor, Tensor)>,
}

impl ResidualBlock {
    /// A block from `inputs` to `outputs` through `hidden`; the last block before a head has no norm.
    pub fn new(
        parameters: &mut Parameters,
        name: &str,
        (inputs, hidden, outputs): (usize, usize, usize),
        with_norm: bool,
    ) -> Result<Self> {
        let norm = if with_norm {
            let gain = parameters.register(&format!("{name}.norm.gain"), &[outputs], Initializer::Ones)?;
            let bias = parameters.register(&format!("{name}.norm.bias"), &[outputs], Initializer::Zeros)?;
            Some((gain, bias))
        } else {
            None
        };
        Ok(Self {
            hidden: Linear::new(parameters, &format!("{name}.hidden"), inputs, hidden)?,
            output: Linear::new(parameters, &format!("{name}.output"), hidden, outputs)?,
            skip: Linear::new(parameters, &format!("{name}.skip"), inputs, outputs)?,
            norm,
        })
    }

    /// x `[.., inputs]` to `[.., outputs]`; dropout with this probability and seed when given.
    pub fn forward(&self, x: &Tensor, drop: Option<(f64, u64)>) -> Result<Tensor> {
        let hidden = self.hidden.forward(x, Activation::Relu)?;
        let mut y = self.output.forward(&hidden, Activation::None)?;
        if let Some((probability, seed)) = drop {
            y = dropout(&y, probability, seed)?;
        }
        let y = (y + self.skip.forward(x, Activation::None)?)?;
        match &self.norm {
            Some((gain, bias)) => Ok(layer_norm(&y, gain, bias, EPSILON)?),
            None => Ok(y),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::gradcheck::{check, variable};
    use crate::ml::rng::Rng;

    #[test]
    fn every_parameter_gets_the_gradient_of_central_differences() {
        let mut parameters = Parameters::seeded(Rng::new(1));
        let block = ResidualBlock::new(&mut parameters, "block", (3, 4, 5), true).unwrap();
        let x = variable(&[6, 3], 4);
        let variables: Vec<_> = parameters.iter().map(|(_, var, _)| var).chain([&x]).collect();
        check(&variables, || {
            block.forward(&x, Some((0.2, 11))).map_err(|e| candle_core::Error::Msg(e.to_string()))
        });
    }
}
