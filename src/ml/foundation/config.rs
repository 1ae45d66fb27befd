//! Sizes of a foundation model.

use serde::{Deserialize, Serialize};

use crate::ml::evaluation::LEVELS;

/// What the tensors of a [`Chronos2`](super::Chronos2) are shaped by; the names are those of its `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundationConfig {
    /// Width of a token.
    pub d_model: usize,
    /// Width of a head.
    pub d_kv: usize,
    /// Width of the hidden layers.
    pub d_ff: usize,
    /// Blocks.
    pub num_layers: usize,
    /// Heads of each attention.
    pub num_heads: usize,
    /// Steps of a token.
    pub input_patch_size: usize,
    /// What the numbers of steps are divided by.
    pub time_encoding_scale: usize,
    /// Longest history that is read, in steps.
    pub context_length: usize,
    /// Most tokens that are forecast at once.
    pub max_output_patches: usize,
    /// Rows of the table whose second row, and those after it by frequency, separate history and future.
    pub vocab_size: usize,
    /// Levels of the forecast quantiles.
    pub quantiles: Vec<f64>,
}

impl Default for FoundationConfig {
    /// The sizes of the base model: about 4 million parameters.
    fn default() -> Self {
        Self {
            d_model: 192,
            d_kv: 32,
            d_ff: 640,
            num_layers: 6,
            num_heads: 6,
            input_patch_size: 16,
            time_encoding_scale: 512,
            context_length: 512,
            max_output_patches: 6,
            vocab_size: 2 + crate::ml::synthetic::FREQUENCIES,
            quantiles: LEVELS.to_vec(),
        }
    }
}
