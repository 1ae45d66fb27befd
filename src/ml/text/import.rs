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
#[derive(Debug, Clone, Default)]
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json as value};

    use super::*;
    use crate::ml::Control;
    use crate::ml::device::Placement;
    use crate::ml::tensor_file::Precision;
    use crate::ml::text::{Parts, TextCourse, TextObjective, TextPretraining, pretrain};
    use crate::ml::training::Course;

    /// An encoder of two layers, and the directory that it would be published as.
    fn directory() -> (TextEncoder, Files) {
        let text = |i: usize| -> Parts { [format!("red mug no {i}"), "for hot drinks".to_owned()] };
        let options = TextPretraining {
            objective: TextObjective::MaskedLm,
            vocabulary: 120,
            width: 32,
            layers: 2,
            longest: 24,
            steps: 1,
            batch_size: 8,
            learning_rate: 1e-3,
            dropout: 0.1,
            device: Placement::Cpu,
            max_seconds: None,
            seed: 2,
        };
        let course = TextCourse { from: None, course: Course { resume: None, keep: &|_| Ok(()) } };
        let texts = (0..40).map(text).collect();
        let made = pretrain(texts, &options, course, &Control::default()).unwrap();
        let encoder = TextEncoder::read(&made.file).unwrap();
        let files = Files {
            config: serde_json::to_vec(encoder.config()).unwrap(),
            tokenizer: encoder.tokenizer().to_json().unwrap(),
            weights: encoder.write(Precision::Single).unwrap(),
            ..Files::default()
        };
        (encoder, files)
    }

    fn vector(encoder: &TextEncoder) -> Vec<f32> {
        encoder.embed(&["a red mug"], &Control::default()).unwrap()[0].to_vec()
    }

    fn length(vector: &[f32]) -> f32 {
        vector.iter().map(|x| x * x).sum::<f32>().sqrt()
    }

    #[test]
    fn a_directory_gives_its_encoder_with_the_pooling_norm_and_length_that_it_tells() {
        let (encoder, files) = directory();
        let plain = import(&files).unwrap();
        assert_eq!((vector(&plain), plain.longest()), (vector(&encoder), 24));
        let first = br#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
        let cls = import(&Files { pooling: Some(first.to_vec()), ..files.clone() }).unwrap();
        assert_eq!(cls.pooling(), Pooling::Cls);
        assert!(vector(&cls) != vector(&plain) && (length(&vector(&cls)) - 1.0).abs() < 1e-5);
        let modules = |kinds: &str| Some(format!("[{kinds}]").into_bytes());
        let kind = |name: &str| format!(r#"{{"idx": 0, "type": "sentence_transformers.models.{name}"}}"#);
        let bare = Files { modules: modules(&kind("Pooling")), ..files.clone() };
        assert!((length(&vector(&import(&bare).unwrap())) - 1.0).abs() > 1e-3);
        let normal = [kind("Pooling"), kind("Normalize")].join(",");
        let normal = Files { modules: modules(&normal), ..files.clone() };
        assert!((length(&vector(&import(&normal).unwrap())) - 1.0).abs() < 1e-5);
        let short = Files { sentence: Some(br#"{"max_seq_length": 4}"#.to_vec()), ..files.clone() };
        assert_eq!(import(&short).unwrap().longest(), 4);
    }

    #[test]
    fn what_does_not_fit_together_is_refused_and_named() {
        let (encoder, files) = directory();
        let config: Value = serde_json::from_slice(&files.config).unwrap();
        let tokenizer: Value = serde_json::from_slice(&files.tokenizer).unwrap();
        let refused = |change: &dyn Fn(&mut Files)| {
            let mut files = files.clone();
            change(&mut files);
            import(&files).unwrap_err().message().to_owned()
        };
        let with = |key: &str, to: Value| {
            let mut config = config.clone();
            config[key] = to;
            refused(&|files| files.config = serde_json::to_vec(&config).unwrap())
        };
        let vocabulary = encoder.config().vocab_size;
        for (told, message) in [
            (with("hidden_act", value!("swish")), "its activation swish is not known; gelu and relu are"),
            (with("num_attention_heads", value!(5)), "its 5 heads do not share a width of 32"),
            (with("layer_norm_eps", value!(0.5)), "its layer_norm_eps is out of range"),
            (with("hidden_size", value!(0)), "its sizes are out of range"),
            (with("hidden_size", value!("wide")), "config.json: invalid type"),
            (with("intermediate_size", value!(40)), "intermediate.dense"),
            (with("num_hidden_layers", value!(3)), "lacks the tensor"),
            (with("num_hidden_layers", value!(1)), "it has a tensor encoder.layer.1."),
            (
                with("vocab_size", value!(vocabulary - 1)),
                &format!("its tokenizer knows {vocabulary} tokens, its network"),
            ),
            (refused(&|files| files.tokenizer = b"{}".to_vec()), "tokenizer"),
            (refused(&|files| files.tokenizer = b"\xff\xfe".to_vec()), "tokenizer"),
            (refused(&|files| files.weights.truncate(2_000)), "the text model"),
            (
                refused(&|files| files.pooling = Some(br#"{"pooling_mode_max_tokens": true}"#.to_vec())),
                "its pooling is not that of means or of the first token",
            ),
        ] {
            assert!(told.contains(message), "{told} does not say {message}");
        }
        for (word, message) in [("[CLS]", "[CLS]"), ("[SEP]", "[SEP]")] {
            let renamed = tokenizer.to_string().replace(word, "[OTHER]");
            let told = refused(&|files| files.tokenizer = renamed.clone().into_bytes());
            assert!(told.contains(message), "{told}");
        }
    }

    #[test]
    fn tokenizers_without_end_are_refused() {
        let (_, files) = directory();
        let tokenizer: Value = serde_json::from_slice(&files.tokenizer).unwrap();
        let told = |tokenizer: Vec<u8>| match import(&Files { tokenizer, ..files.clone() }) {
            Err(error) => error.message().to_owned(),
            Ok(_) => "read".to_owned(),
        };
        let with = |step: &str, to: Value| {
            let mut tokenizer = tokenizer.clone();
            tokenizer[step] = to;
            told(serde_json::to_vec(&tokenizer).unwrap())
        };
        let split = |pattern: Value| value!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false});
        let endless = split(value!({"Regex": "(a+)+$"}));
        let expected = "the tokenizer cannot be read: its pre_tokenizer has a regular expression, which may take without \
                        end for a text";
        assert_eq!(with("pre_tokenizer", endless.clone()), expected);
        let nested = value!({"type": "Sequence", "pretokenizers": [{"type": "BertPreTokenizer"}, endless]});
        assert_eq!(with("pre_tokenizer", nested), expected);
        let replace = value!({"type": "Replace", "pattern": {"Regex": "(a*)*b"}, "content": ""});
        assert!(with("normalizer", replace).contains("its normalizer has a regular expression"));
        assert_eq!(with("pre_tokenizer", split(value!({"String": " "}))), "read");
        let long = [files.tokenizer.clone(), vec![b' '; 16 << 20]].concat();
        assert!(told(long).ends_with("bytes; at most 16777216 are read"));
        assert_eq!(told(files.tokenizer.clone()), "read");
    }
}
