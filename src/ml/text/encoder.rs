//! An encoder with its tokenizer: texts in, vectors out, each distinct text once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use candle_core::Tensor;
use parking_lot::Mutex;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ml::control::Control;
use crate::ml::layers::Parameters;
use crate::ml::tensor_file::{Precision, TensorFile, pack, unpack, unreadable};
use crate::ml::text::bert::Bert;
use crate::ml::text::config::BertConfig;
use crate::ml::text::tokens::{Encoded, TextTokenizer, Tokens};

/// What the file of an encoder is in errors.
pub(super) const WHAT: &str = "the text model";
/// What queries, keys and values are packed as in memory, and the names they have in files.
const PACKED: [&str; 2] = [".qkv.weight", ".qkv.bias"];
const PARTS: [[&str; 3]; 2] =
    [[".query.weight", ".key.weight", ".value.weight"], [".query.bias", ".key.bias", ".value.bias"]];
/// The bytes that hold the tokenizer.
const TOKENIZER: &str = "tokenizer.json";
/// Tokens that are read in one pass: few enough for the cache of a core.
const PASS_TOKENS: usize = 1_024;
/// Bytes of texts and vectors that are kept, twice.
const KEPT_BYTES: usize = 64 << 20;

/// How the vectors of a text's tokens become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Their mean.
    #[default]
    Mean,
    /// That of the token which begins the text.
    Cls,
}

/// What a file tells of an encoder besides its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct TextConfig {
    /// Sizes.
    pub(super) bert: BertConfig,
    /// How tokens become a vector.
    pub(super) pooling: Pooling,
    /// Vectors have the length 1.
    pub(super) normalized: bool,
    /// Tokens of a text that are read, at most.
    pub(super) longest: usize,
}

/// An encoder of texts, shared by all who use it.
#[derive(Debug)]
pub struct TextEncoder {
    config: TextConfig,
    tokenizer: TextTokenizer,
    parameters: Parameters,
    bert: Bert,
    kept: Mutex<Kept>,
}

/// Vectors by text: what was used since the last change, and before it.
#[derive(Debug, Default)]
struct Kept {
    recent: HashMap<Arc<str>, Arc<[f32]>>,
    before: HashMap<Arc<str>, Arc<[f32]>>,
    bytes: usize,
}

impl Kept {
    fn get(&mut self, text: &str) -> Option<Arc<[f32]>> {
        if let Some(vector) = self.recent.get(text) {
            return Some(Arc::clone(vector));
        }
        let (text, vector) = self.before.remove_entry(text)?;
        self.insert(text, Arc::clone(&vector));
        Some(vector)
    }

    fn insert(&mut self, text: Arc<str>, vector: Arc<[f32]>) {
        self.bytes += text.len() + 4 * vector.len() + 64;
        self.recent.insert(text, vector);
        if self.bytes > KEPT_BYTES {
            (self.before, self.bytes) = (std::mem::take(&mut self.recent), 0);
        }
    }
}

impl TextEncoder {
    /// An encoder of weights by the names of BERT, which it must use all; those of heads are left out.
    pub(super) fn new(
        config: TextConfig,
        tokenizer: TextTokenizer,
        weights: BTreeMap<String, Tensor>,
    ) -> Result<Self> {
        config.bert.check().map_err(|why| unreadable(WHAT, why))?;
        if tokenizer.last() as usize >= config.bert.vocab_size {
            let why = format!(
                "its tokenizer knows {} tokens, its network {}",
                tokenizer.last() + 1,
                config.bert.vocab_size
            );
            return Err(unreadable(WHAT, why));
        }
        let weights = packed(weights)?;
        let names: Vec<String> = weights.keys().cloned().collect();
        let mut parameters = Parameters::stored(weights);
        let bert = Bert::new(&mut parameters, &config.bert)?;
        TensorFile::ensure_used(&names, &parameters, WHAT)?;
        Ok(Self { config, tokenizer, parameters, bert, kept: Mutex::default() })
    }

    /// The encoder of a file that [`TextEncoder::write`] made.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let mut file = TensorFile::read(bytes, WHAT)?;
        let missing = |what: &str| unreadable(WHAT, format!("it has no {what}"));
        let config = file.config.take().ok_or_else(|| missing("configuration"))?;
        let config: TextConfig =
            serde_json::from_str(&config).map_err(|e| unreadable(WHAT, e.to_string()))?;
        let json = file.bytes.get(TOKENIZER).ok_or_else(|| missing("tokenizer"))?;
        let tokenizer = TextTokenizer::read(json, config.longest)?;
        Self::new(config, tokenizer, file.weights)
    }

    /// The encoder as a file; equal weights give equal bytes.
    pub fn write(&self, precision: Precision) -> Result<Vec<u8>> {
        self.write_with(&self.parameters, precision)
    }

    /// Numbers of the network.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Sizes.
    pub fn config(&self) -> &BertConfig {
        &self.config.bert
    }

    /// What the file tells besides the weights.
    pub(super) fn text_config(&self) -> &TextConfig {
        &self.config
    }

    /// How tokens become a vector.
    pub fn pooling(&self) -> Pooling {
        self.config.pooling
    }

    /// The encoder with these weights instead of its own, as a file.
    pub fn write_with(&self, parameters: &Parameters, precision: Precision) -> Result<Vec<u8>> {
        file_of(&self.config, &self.tokenizer, parameters)?.write(precision)
    }

    /// Tokens of a text that are read, at most.
    pub fn longest(&self) -> usize {
        self.config.longest
    }

    /// What cuts texts into tokens.
    pub fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    /// Width of a vector.
    pub fn width(&self) -> usize {
        self.bert.width()
    }

    /// A vector for each text, the same whatever texts are beside it.
    pub fn embed(&self, texts: &[&str], control: &Control) -> Result<Vec<Arc<[f32]>>> {
        let mut vectors: HashMap<&str, Option<Arc<[f32]>>> = HashMap::with_capacity(texts.len());
        {
            let mut kept = self.kept.lock();
            for text in texts {
                vectors.entry(*text).or_insert_with(|| kept.get(text));
            }
        }
        let mut missing: Vec<&str> =
            vectors.iter().filter(|(_, vector)| vector.is_none()).map(|(text, _)| *text).collect();
        missing.sort_unstable();
        let made = self.encode(&missing, control)?;
        let mut kept = self.kept.lock();
        for (text, vector) in missing.into_iter().zip(made) {
            kept.insert(Arc::from(text), Arc::clone(&vector));
            vectors.insert(text, Some(vector));
        }
        let lost = || Error::internal("a text has no vector");
        texts.iter().map(|text| vectors.get(text).cloned().flatten().ok_or_else(lost)).collect()
    }

    /// Vectors of distinct texts. Those of as many tokens are read side by side: no sum depends on a neighbour.
    fn encode(&self, texts: &[&str], control: &Control) -> Result<Vec<Arc<[f32]>>> {
        let tokens: Vec<Encoded> =
            texts.par_iter().map(|text| self.tokenizer.encode(text, None)).collect::<Result<_>>()?;
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|i| tokens[*i].ids.len());
        let passes: Vec<&[usize]> = order
            .chunk_by(|a, b| tokens[*a].ids.len() == tokens[*b].ids.len())
            .flat_map(|alike| alike.chunks((PASS_TOKENS / tokens[alike[0]].ids.len().max(1)).max(1)))
            .collect();
        let done: Vec<Vec<f32>> = passes
            .par_iter()
            .map(|pass| {
                control.check()?;
                let repeated = repeated(pass, &tokens, self.width());
                self.pass(&Tokens::of(repeated.iter().map(|i| &tokens[*i])))
            })
            .collect::<Result<_>>()?;
        let mut vectors: Vec<Arc<[f32]>> = vec![Arc::from([]); texts.len()];
        for (pass, values) in passes.into_iter().zip(done) {
            for (i, vector) in pass.iter().zip(values.chunks_exact(self.width())) {
                vectors[*i] = vector.into();
            }
        }
        Ok(vectors)
    }

    /// Vectors of the texts of a pass, `[texts, width]`.
    fn pass(&self, tokens: &Tokens) -> Result<Vec<f32>> {
        let x = pooled(&self.bert.forward(tokens, None)?, tokens, self.config.pooling)?;
        let mut values = x.flatten_all()?.to_vec1::<f32>()?;
        if self.config.normalized {
            values.chunks_exact_mut(self.width()).for_each(normalize);
        }
        if values.iter().any(|x| !x.is_finite()) {
            return Err(Error::data("the text model gives vectors that are not finite numbers"));
        }
        Ok(values)
    }
}

/// Elements up to which a product is summed in another order.
const SMALL: usize = 256;

/// The texts of a pass, again and again where they are so few that their sums would have another order than beside others.
pub fn repeated<T: AsRef<Encoded>>(pass: &[usize], tokens: &[T], width: usize) -> Vec<usize> {
    let of_pass: usize = pass.iter().map(|i| tokens[*i].as_ref().ids.len()).sum();
    pass.repeat(SMALL / (of_pass * width).max(1) + 1)
}

/// The vector of each text, `[texts, width]`, of those of its tokens.
pub fn pooled(x: &Tensor, tokens: &Tokens, pooling: Pooling) -> Result<Tensor> {
    if pooling == Pooling::Cls {
        return Ok(x.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?);
    }
    let weights: Vec<f32> = tokens
        .present
        .chunks_exact(tokens.width)
        .flat_map(|present| {
            let n = present.iter().filter(|p| **p).count().max(1) as f32;
            present.iter().map(move |p| f32::from(u8::from(*p)) / n)
        })
        .collect();
    let weights = Tensor::from_vec(weights, (tokens.texts, 1, tokens.width), x.device())?;
    Ok(weights.matmul(x)?.squeeze(1)?)
}

fn normalize(vector: &mut [f32]) {
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt().max(1e-12);
    vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
}

/// An encoder's file: its weights by the names of BERT, those of heads left out.
pub(super) fn file_of(
    config: &TextConfig,
    tokenizer: &TextTokenizer,
    parameters: &Parameters,
) -> Result<TensorFile> {
    let of_encoder = |name: &str| name.starts_with("embeddings.") || name.starts_with("encoder.");
    let mut weights: BTreeMap<String, Tensor> = parameters
        .iter()
        .filter(|(name, _, _)| of_encoder(name))
        .map(|(name, var, _)| (name.to_owned(), var.as_tensor().clone()))
        .collect();
    for (parts, packed) in PARTS.into_iter().zip(PACKED) {
        unpack(&mut weights, parts, packed)?;
    }
    let config = serde_json::to_string(config)
        .map_err(|e| Error::internal(format!("the model cannot be written: {e}")))?;
    let bytes = BTreeMap::from([(TOKENIZER.to_owned(), tokenizer.to_json()?)]);
    Ok(TensorFile { config: Some(config), weights, bytes })
}

/// Weights with queries, keys and values side by side.
pub(super) fn packed(mut weights: BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>> {
    for (parts, packed) in PARTS.into_iter().zip(PACKED) {
        pack(&mut weights, parts, packed, WHAT)?;
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_kept_as_long_as_they_are_asked_for() {
        let mut kept = Kept::default();
        let vector: Arc<[f32]> = vec![0.0; (KEPT_BYTES - 200) / 4].into();
        kept.insert("large".into(), Arc::clone(&vector));
        assert!(Arc::ptr_eq(&kept.get("large").unwrap(), &vector));
        // It no longer fits: what was used lately moves back, and comes forward when it is asked for.
        kept.insert("small".into(), vec![1.0; 100].into());
        assert!(kept.recent.is_empty() && kept.get("large").is_some() && kept.recent.contains_key("large"));
        // What nobody asked for between two changes is gone.
        kept.insert("other".into(), vec![1.0; 100].into());
        kept.insert("more".into(), vector);
        kept.insert("most".into(), vec![1.0; 100].into());
        assert!(kept.get("small").is_none() && kept.bytes <= KEPT_BYTES);
    }
}
