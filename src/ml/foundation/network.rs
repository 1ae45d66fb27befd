//! A foundation network, whichever graph it has.

use candle_core::Tensor;

use crate::error::{Error, Result, Subject};
use crate::ml::foundation::bolt::ChronosBolt;
use crate::ml::foundation::chronos2::Chronos2;
use crate::ml::foundation::config::FoundationConfig;
use crate::ml::foundation::groups::Groups;
use crate::ml::layers::Parameters;
use crate::ml::training::Network;

/// The network.
#[derive(Debug)]
pub enum FoundationNetwork {
    /// Rows look at each other, futures of covariates are seen, and it learns.
    Chronos2(Box<Chronos2>),
    /// Every row by itself, as it is.
    Bolt(Box<ChronosBolt>),
}

impl FoundationNetwork {
    /// Its sizes.
    pub fn config(&self) -> &FoundationConfig {
        match self {
            Self::Chronos2(network) => network.config(),
            Self::Bolt(network) => network.config(),
        }
    }

    /// Its tensors.
    pub fn parameters(&self) -> &Parameters {
        match self {
            Self::Chronos2(network) => network.parameters(),
            Self::Bolt(network) => network.parameters(),
        }
    }

    /// Scaled quantiles of every row at every step that is asked for, `[len, rows, steps, levels]`.
    pub fn forward(&self, batch: &Groups) -> Result<Tensor> {
        match self {
            Self::Chronos2(network) => network.forward(batch),
            Self::Bolt(network) => network.forward(batch),
        }
    }

    /// The network where it can learn.
    pub fn learning(self) -> Result<Chronos2> {
        match self {
            Self::Chronos2(network) => Ok(*network),
            Self::Bolt(_) => {
                let message = "a network of Chronos-Bolt forecasts as it is and does not learn here";
                Err(Error::input(Subject::Model, message)
                    .with_hint("begin FROM foretell_base, or from a model of PRETRAIN or of Chronos-2"))
            }
        }
    }
}
