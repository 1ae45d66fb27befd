//! Sizes of a BERT encoder.

use serde::{Deserialize, Serialize};

use crate::ml::layers::Activation;

/// What the tensors of a [`Bert`](super::Bert) are shaped by; the names are those of its `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BertConfig {
    /// Words of the vocabulary.
    pub vocab_size: usize,
    /// Width of a token.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of attention.
    pub num_attention_heads: usize,
    /// Width of the hidden layers.
    pub intermediate_size: usize,
    /// What follows a hidden layer: `gelu` or `relu`.
    #[serde(default = "gelu")]
    pub hidden_act: String,
    /// Most tokens of a text.
    #[serde(default = "positions")]
    pub max_position_embeddings: usize,
    /// Kinds of tokens: those of the first and of the second part of a text.
    #[serde(default = "kinds")]
    pub type_vocab_size: usize,
    /// What is added to a variance under a norm.
    #[serde(default = "epsilon")]
    pub layer_norm_eps: f64,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn positions() -> usize {
    512
}

fn kinds() -> usize {
    2
}

fn epsilon() -> f64 {
    1e-12
}

impl BertConfig {
    /// What follows a hidden layer.
    pub fn activation(&self) -> Activation {
        if self.hidden_act == "relu" { Activation::Relu } else { Activation::Gelu }
    }

    /// What stored sizes must keep to, so that foreign ones are an error and nothing worse.
    pub fn check(&self) -> Result<(), String> {
        let sizes = [
            self.hidden_size,
            self.num_hidden_layers,
            self.num_attention_heads,
            self.intermediate_size,
            self.max_position_embeddings,
            self.type_vocab_size,
        ];
        if sizes.iter().any(|n| !(1..=65_536).contains(n)) || !(1..=2_000_000).contains(&self.vocab_size) {
            Err("its sizes are out of range".to_owned())
        } else if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            Err(format!(
                "its {} heads do not share a width of {}",
                self.num_attention_heads, self.hidden_size
            ))
        } else if !["gelu", "relu"].contains(&self.hidden_act.as_str()) {
            Err(format!("its activation {} is not known; gelu and relu are", self.hidden_act))
        } else if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 0.1) {
            Err("its layer_norm_eps is out of range".to_owned())
        } else {
            Ok(())
        }
    }
}
