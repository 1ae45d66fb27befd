//! Texts as tokens: a tokenizer, and batches of tokens that are as long as the longest of them.

use serde::Deserialize;
use serde_json::Value;
use tokenizers::tokenizer::Tokenizer;
use tokenizers::{EncodeInput, InputSequence, TruncationParams};

use crate::error::{Error, Result};
use crate::ml::tensor_file::unreadable;

/// Bytes of a text that are read; tokens that fit a network are far fewer.
const BYTES_MAX: usize = 64 << 10;
/// Bytes of a `tokenizer.json`: those of half a million pieces fit.
const JSON_BYTES_MAX: usize = 16 << 20;
/// What a tokenizer is in errors.
const WHAT: &str = "the tokenizer";

/// Tokens of some texts, side by side.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tokens {
    /// Texts.
    pub texts: usize,
    /// Tokens of each.
    pub width: usize,
    /// Places in the vocabulary, `[texts, width]`.
    pub ids: Vec<u32>,
    /// 0 in the first part of a text, 1 in the second.
    pub kinds: Vec<u32>,
    /// False where a text has ended.
    pub present: Vec<bool>,
}

/// The tokens of one text, those that begin and end it included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Places in the vocabulary.
    pub ids: Vec<u32>,
    /// 0 in the first part, 1 in the second.
    pub kinds: Vec<u32>,
}

impl AsRef<Self> for Encoded {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Encoded {
    /// Cuts a text to so many tokens, the last of which stays the one that ends it.
    pub fn cut(&mut self, longest: usize) {
        if self.ids.len() > longest.max(2) {
            let last = self.ids.last().copied();
            self.ids.truncate(longest.max(2));
            self.kinds.truncate(longest.max(2));
            if let (Some(end), Some(last)) = (self.ids.last_mut(), last) {
                *end = last;
            }
        }
    }
}

impl Tokens {
    /// The texts side by side; what is behind the end of a shorter one is seen by nobody.
    pub fn of<'a>(texts: impl ExactSizeIterator<Item = &'a Encoded> + Clone) -> Self {
        let width = texts.clone().map(|text| text.ids.len()).max().unwrap_or(0).max(1);
        let mut tokens = Self { texts: texts.len(), width, ..Self::default() };
        for text in texts {
            let n = text.ids.len();
            tokens.ids.extend(text.ids.iter().copied().chain(std::iter::repeat_n(0, width - n)));
            tokens.kinds.extend(text.kinds.iter().copied().chain(std::iter::repeat_n(0, width - n)));
            tokens.present.extend((0..width).map(|i| i < n));
        }
        tokens
    }
}

/// What cuts texts into the tokens of a vocabulary.
#[derive(Debug, Clone)]
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    special: Special,
}

/// Places of the tokens with a meaning of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Special {
    /// Begins a text.
    pub cls: u32,
    /// Ends a part of it.
    pub sep: u32,
    /// Stands for a hidden token, where the vocabulary has one.
    pub mask: Option<u32>,
}

impl TextTokenizer {
    /// Whole words that it knows, at most so many, evenly spread.
    pub fn vocabulary(&self, most: usize) -> Vec<String> {
        let token = |id| self.tokenizer.id_to_token(id);
        let is_word = |word: &String| word.chars().count() > 2 && word.chars().all(char::is_alphabetic);
        let words: Vec<String> = (0..=self.last()).filter_map(token).filter(is_word).collect();
        let step = words.len().div_ceil(most.max(1)).max(1);
        words.into_iter().step_by(step).collect()
    }

    /// The tokenizer of a `tokenizer.json`, of at most `longest` tokens a text.
    pub fn read(json: &[u8], longest: usize) -> Result<Self> {
        if json.len() > JSON_BYTES_MAX {
            let why = format!("it has {} bytes; at most {JSON_BYTES_MAX} are read", json.len());
            return Err(unreadable(WHAT, why));
        }
        let steps: Steps = serde_json::from_slice(json).map_err(|e| unreadable(WHAT, e.to_string()))?;
        steps.ensure_they_end()?;
        let tokenizer = Tokenizer::from_bytes(json).map_err(|e| unreadable(WHAT, e.to_string()))?;
        Self::of(tokenizer, longest)
    }

    /// A tokenizer that begins and ends texts as BERT does.
    pub fn of(mut tokenizer: Tokenizer, longest: usize) -> Result<Self> {
        let find = |tokenizer: &Tokenizer, word: &str| {
            let missing =
                || unreadable(WHAT, format!("its vocabulary has no {word}, which texts of BERT need"));
            tokenizer.token_to_id(word).ok_or_else(missing)
        };
        let special = Special {
            cls: find(&tokenizer, "[CLS]")?,
            sep: find(&tokenizer, "[SEP]")?,
            mask: tokenizer.token_to_id("[MASK]"),
        };
        let truncation = TruncationParams { max_length: longest.max(8), ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|e| unreadable(WHAT, e.to_string()))?;
        tokenizer.with_padding(None);
        Ok(Self { tokenizer, special })
    }

    /// Places of the tokens with a meaning of their own.
    pub fn special(&self) -> Special {
        self.special
    }

    /// Words of the vocabulary.
    pub fn words(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The largest place in the vocabulary.
    pub fn last(&self) -> u32 {
        self.tokenizer.get_vocab(true).into_values().max().unwrap_or(0)
    }

    /// The place of a token, where the vocabulary has it.
    pub fn place(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// The tokenizer as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let json = self.tokenizer.to_string(false);
        json.map(String::into_bytes)
            .map_err(|e| Error::internal(format!("the tokenizer cannot be written: {e}")))
    }

    /// The tokens of a text, or of a pair of texts.
    pub fn encode(&self, first: &str, second: Option<&str>) -> Result<Encoded> {
        let first = InputSequence::from(head(first));
        let input = match second {
            None => EncodeInput::Single(first),
            Some(second) => EncodeInput::Dual(first, InputSequence::from(head(second))),
        };
        let encoding = self.tokenizer.encode_fast(input, true);
        let encoding = encoding.map_err(|e| Error::data(format!("a text cannot be cut into tokens: {e}")))?;
        Ok(Encoded { ids: encoding.get_ids().to_vec(), kinds: encoding.get_type_ids().to_vec() })
    }
}

/// What a `tokenizer.json` has besides its vocabulary.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Steps {
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: Value,
    decoder: Value,
}

impl Steps {
    /// Fails where a step has a pattern of its own, whose matches may be looked for without end.
    fn ensure_they_end(&self) -> Result<()> {
        let steps = [
            ("normalizer", &self.normalizer),
            ("pre_tokenizer", &self.pre_tokenizer),
            ("post_processor", &self.post_processor),
            ("decoder", &self.decoder),
        ];
        match steps.into_iter().find(|(_, step)| has_pattern(step)) {
            None => Ok(()),
            Some((name, _)) => {
                let why =
                    format!("its {name} has a regular expression, which may take without end for a text");
                Err(unreadable(WHAT, why)
                    .with_hint("tokenizers of BERT need none: BertNormalizer and BertPreTokenizer"))
            }
        }
    }
}

fn has_pattern(step: &Value) -> bool {
    match step {
        Value::Object(fields) => fields.contains_key("Regex") || fields.values().any(has_pattern),
        Value::Array(steps) => steps.iter().any(has_pattern),
        _ => false,
    }
}

/// The beginning of a text, as much of it as is read.
fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(BYTES_MAX)]
}
