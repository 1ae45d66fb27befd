//! What networks differ in: the body between the inputs of a window and the outputs of its steps.

use std::fmt;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ml::features::WindowBatch;
use crate::ml::layers::Parameters;
use crate::ml::models::networks::dlinear::Dlinear;
use crate::ml::models::networks::inputs::{InputSizes, WindowTensors};
use crate::ml::models::networks::recurrent::{Cell, Recurrent};
use crate::ml::models::networks::tide::Tide;
use crate::ml::models::networks::transformer::Transformer;

/// The bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Dense encoder and decoder (Das et al. 2023).
    #[default]
    Tide,
    /// Linear maps of trend and remainder (Zeng et al. 2023).
    Dlinear,
    /// Long short-term memory as encoder (Wen et al. 2017).
    Lstm,
    /// Gated recurrent units as encoder.
    Gru,
    /// Patches as tokens, attention along time and along variates (Nie et al. 2023; Ansari et al. 2025).
    Transformer,
}

impl Architecture {
    /// The word users write after USING.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tide => "tide",
            Self::Dlinear => "dlinear",
            Self::Lstm => "lstm",
            Self::Gru => "gru",
            Self::Transformer => "transformer",
        }
    }
}

/// Sizes of a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Shape {
    #[serde(default)]
    pub(super) architecture: Architecture,
    /// Width of the body.
    pub(super) hidden: usize,
    /// Layers or blocks of the body.
    pub(super) layers: usize,
    /// Heads of attention.
    #[serde(default)]
    pub(super) heads: usize,
    /// Steps of a patch.
    #[serde(default)]
    pub(super) patch: usize,
    /// Width of the layers that work step by step.
    pub(super) step_hidden: usize,
    /// Features per step between encoder side and decoder.
    pub(super) projection: usize,
    /// Features per step that the decoder hands on.
    pub(super) decoded: usize,
    /// True when every series has an embedding of its own.
    pub(super) knows_series: bool,
    /// Dropout probability.
    pub(super) dropout: f64,
}

impl Shape {
    /// What a stored shape must keep to, so that a foreign one is an error and nothing worse.
    pub(super) fn check(&self, architecture: Architecture) -> Result<(), &'static str> {
        let sizes = [self.hidden, self.layers, self.step_hidden, self.projection, self.decoded];
        let heads = self.heads.max(1);
        if self.architecture != architecture {
            Err("it is of another family")
        } else if sizes.iter().any(|n| !(1..=65_536).contains(n)) || self.patch > 65_536 {
            Err("its sizes are out of range")
        } else if architecture == Architecture::Transformer && !self.hidden.is_multiple_of(2 * heads) {
            Err("its heads do not share its width")
        } else if !(0.0..1.0).contains(&self.dropout) {
            Err("its dropout is no probability")
        } else {
            Ok(())
        }
    }
}

/// Dropout of one pass: a probability and a seed in training, nothing else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drops(pub(super) Option<(f64, u64)>);

impl Drops {
    /// That of one part of the network.
    pub(super) fn part(self, part: u64) -> Option<(f64, u64)> {
        self.0.map(|(probability, seed)| (probability, seed ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

/// The body of a network.
pub(super) trait Body: fmt::Debug + Send + Sync {
    /// What the body says of every step beside matched history and the linear skips: `[len, horizon, outputs]`.
    fn forward(&self, batch: &WindowBatch, x: &WindowTensors, drops: Drops) -> Result<Tensor>;

    /// How often one window uses the parameter of this name.
    fn uses(&self, name: &str) -> usize;

    /// Elements of the largest activation of one window.
    fn widest(&self) -> usize;
}

/// The body of this shape, its parameters registered.
pub(super) fn body(
    p: &mut Parameters,
    shape: &Shape,
    sizes: &InputSizes,
    outputs: usize,
) -> Result<Box<dyn Body>> {
    Ok(match shape.architecture {
        Architecture::Tide => Box::new(Tide::new(p, shape, sizes, outputs)?),
        Architecture::Dlinear => Box::new(Dlinear::new(p, sizes, outputs)?),
        Architecture::Lstm => Box::new(Recurrent::new(p, Cell::Lstm, shape, sizes, outputs)?),
        Architecture::Gru => Box::new(Recurrent::new(p, Cell::Gru, shape, sizes, outputs)?),
        Architecture::Transformer => Box::new(Transformer::new(p, shape, sizes, outputs)?),
    })
}
