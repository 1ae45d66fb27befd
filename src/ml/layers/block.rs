//! A block of a transformer: attention along steps, attention along rows, a feed-forward layer, each beside a skip.

use candle_core::Tensor;

use crate::error::Result;
use crate::ml::layers::attention::{Along, Heads, attention};
use crate::ml::layers::dropout::dropout;
use crate::ml::layers::kernels::Activation;
use crate::ml::layers::parameters::{Initializer, Parameters};
use crate::ml::layers::residual::Linear;
use crate::ml::layers::rms_norm::rms_norm;

/// Attention with its norm and projections.
#[derive(Debug)]
struct Attention {
    gain: Tensor,
    packed: Linear,
    output: Linear,
    heads: usize,
    along: Along,
}

impl Attention {
    fn new(p: &mut Parameters, name: &str, width: usize, heads: usize, along: Along) -> Result<Self> {
        Ok(Self {
            gain: p.register(&format!("{name}.norm"), &[width], Initializer::Ones)?,
            packed: Linear::new(p, &format!("{name}.packed"), width, 3 * width)?,
            output: Linear::new(p, &format!("{name}.output"), width, width)?,
            heads,
            along,
        })
    }

    fn forward(&self, x: &Tensor, present: Option<&[bool]>) -> Result<Tensor> {
        let packed = self.packed.forward(&rms_norm(x, &self.gain)?, Activation::None)?;
        let seen = attention(&packed, Heads { count: self.heads, scale: None }, self.along, present)?;
        self.output.forward(&seen, Activation::None)
    }
}

/// The block, over `[batch, rows, steps, width]`.
#[derive(Debug)]
pub struct TransformerBlock {
    time: Attention,
    /// None where rows have nothing to do with each other.
    group: Option<Attention>,
    gain: Tensor,
    hidden: Linear,
    output: Linear,
}

impl TransformerBlock {
    /// Registers the parameters of `name`; the feed-forward layer is four times as wide.
    pub fn new(p: &mut Parameters, name: &str, width: usize, heads: usize) -> Result<Self> {
        let group = Attention::new(p, &format!("{name}.group"), width, heads, Along::Rows)?;
        Ok(Self { group: Some(group), ..Self::in_time(p, name, (width, heads), Along::Steps)? })
    }

    /// The same without attention along rows.
    pub fn in_time(
        p: &mut Parameters,
        name: &str,
        (width, heads): (usize, usize),
        along: Along,
    ) -> Result<Self> {
        Ok(Self {
            time: Attention::new(p, &format!("{name}.time"), width, heads, along)?,
            group: None,
            gain: p.register(&format!("{name}.feed.norm"), &[width], Initializer::Ones)?,
            hidden: Linear::new(p, &format!("{name}.feed.hidden"), width, 4 * width)?,
            output: Linear::new(p, &format!("{name}.feed.output"), 4 * width, width)?,
        })
    }

    /// x and what the block adds to it; steps that are not `present`, one flag for each, are not looked at.
    pub fn forward(&self, x: &Tensor, present: &[bool], drop: Option<(f64, u64)>) -> Result<Tensor> {
        let dropped = |y: Tensor, part: u64| match drop {
            Some((probability, seed)) => dropout(&y, probability, seed.wrapping_add(part)),
            None => Ok(y),
        };
        let x = (x + dropped(self.time.forward(x, Some(present))?, 1)?)?;
        let x = match &self.group {
            Some(group) => (&x + dropped(group.forward(&x, None)?, 2)?)?,
            None => x,
        };
        let hidden = self.hidden.forward(&rms_norm(&x, &self.gain)?, Activation::Relu)?;
        let fed = self.output.forward(&hidden, Activation::None)?;
        Ok((&x + dropped(fed, 3)?)?)
    }
}
