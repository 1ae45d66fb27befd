//! Encoders that others have trained: a directory with config.json, tokenizer.json and model.safetensors.

use serde::Deserialize;

use crate::error::Result;
use crate::ml::tensor_file::{TensorFile, unreadable};
use crate::ml::text::config::BertConfig;
use crate::ml::text::encoder::{Pooling, TextConfig, TextEncoder, WHAT};
use crate::ml::text::tokens::TextTokenizer;

/// Tensors of BERT files that an encoder does not need: heads of its pretraining, and numbers of positions.
const HEADS: [&str; 3] = ["cls.", "pooler.", "embeddings.position_ids"];

/// The files of a directory as sentence-transformers lays them out; all but the first three may be missing.
#[derive(Debug, Default)]
pub struct Files {
    /// `config.json`.
    pub config: Vec<u8>,
    /// `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// `model.safetensors`.
    pub weights: Vec<u8>,
    /// `1_Pooling/config.json`.
    pub pooling: Option<Vec<u8>>,
    /// `sentence_bert_config.json`.
    pub sentence: Option<Vec<u8>>,
    /// `modules.json`.
    pub modules: Option<Vec<u8>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PoolingFile {
    pooling_mode_cls_token: bool,
    pooling_mode_mean_tokens: bool,
}

#[derive(Debug, Default, Deserialize)]
struct SentenceFile {
    max_seq_length: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
}

/// The encoder of a directory; without a word about it, vectors are means of tokens.
pub fn import(files: &Files) -> Result<TextEncoder> {
    let bert: BertConfig = json("config.json", &files.config)?;
    let pooling: Option<PoolingFile> =
        files.pooling.as_deref().map(|file| json("1_Pooling/config.json", file)).transpose()?;
    let pooling = match pooling {
        None => Pooling::Mean,
        Some(pooling) if pooling.pooling_mode_mean_tokens => Pooling::Mean,
        Some(pooling) if pooling.pooling_mode_cls_token => Pooling::Cls,
        Some(_) => {
            let why = "its pooling is not that of means or of the first token".to_owned();
            return Err(unreadable(WHAT, why));
        }
    };
    let modules: Option<Vec<Module>> =
        files.modules.as_deref().map(|file| json("modules.json", file)).transpose()?;
    let normalized = modules.is_none_or(|all| all.iter().any(|module| module.kind.ends_with("Normalize")));
    let sentence: Option<SentenceFile> =
        files.sentence.as_deref().map(|file| json("sentence_bert_config.json", file)).transpose()?;
    let longest = sentence.and_then(|file| file.max_seq_length).unwrap_or(bert.max_position_embeddings);
    let longest = longest.min(bert.max_position_embeddings);
    let tokenizer = TextTokenizer::read(&files.tokenizer, longest)?;
    let mut weights = std::collections::BTreeMap::new();
    for (name, tensor) in TensorFile::read(&files.weights, WHAT)?.weights {
        let name = name.strip_prefix("bert.").unwrap_or(&name);
        let name = name.replace("LayerNorm.gamma", "LayerNorm.weight");
        let name = name.replace("LayerNorm.beta", "LayerNorm.bias");
        if !HEADS.iter().any(|head| name.starts_with(head)) {
            weights.insert(name, tensor);
        }
    }
    TextEncoder::new(TextConfig { bert, pooling, normalized, longest }, tokenizer, weights)
}

fn json<T: serde::de::DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| unreadable(WHAT, format!("{name}: {e}")))
}
