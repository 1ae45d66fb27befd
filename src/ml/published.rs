//! Networks that others have published: which they are, and their files as ours.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::ml::foundation;
use crate::ml::tensor_file::{Precision, unreadable};
use crate::ml::text;

/// What such a directory is in errors.
const WHAT: &str = "the checkpoint";

/// What a network is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To forecast series.
    Forecast,
    /// To read texts.
    Text,
}

/// A network as our file.
#[derive(Debug)]
pub struct Imported {
    /// What it is for.
    pub kind: Kind,
    /// Its family.
    pub family: &'static str,
    /// Its numbers.
    pub parameters: usize,
    /// The file.
    pub file: Vec<u8>,
    /// Steps of history, or tokens of a text, that it reads.
    pub context_length: usize,
    /// Steps that it forecasts at once; 0 of texts.
    pub horizon: usize,
    /// Levels of its quantiles.
    pub quantile_levels: Vec<f64>,
}

/// What `config.json` says of the kind of network.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Head {
    architectures: Vec<String>,
    model_type: String,
}

/// Reads the files of a directory, each `None` where it is missing.
pub fn import(files: &dyn Fn(&str) -> Result<Option<Vec<u8>>>) -> Result<Imported> {
    let needed = |name: &str| {
        let missing = || {
            unreadable(WHAT, format!("it has no {name}"))
                .with_hint("IMPORT MODEL reads config.json and model.safetensors of a directory")
        };
        files(name)?.ok_or_else(missing)
    };
    let config = needed("config.json")?;
    let head: Head =
        serde_json::from_slice(&config).map_err(|e| unreadable(WHAT, format!("config.json: {e}")))?;
    let named = |name: &str| head.architectures.iter().any(|architecture| architecture.contains(name));
    if named("Chronos2") || named("ChronosBolt") {
        let network = foundation::import(&config, &needed("model.safetensors")?, named("ChronosBolt"))?;
        return forecaster(&network);
    }
    if named("Bert") && !named("DistilBert") && !named("Roberta") || head.model_type == "bert" {
        let encoder = text::import(&text::Files {
            tokenizer: needed("tokenizer.json")?,
            weights: needed("model.safetensors")?,
            pooling: files("1_Pooling/config.json")?,
            sentence: files("sentence_bert_config.json")?,
            modules: files("modules.json")?,
            config,
        })?;
        return Ok(Imported {
            kind: Kind::Text,
            family: "bert",
            parameters: encoder.parameters().count(),
            file: encoder.write(Precision::Single)?,
            context_length: encoder.longest(),
            horizon: 0,
            quantile_levels: vec![],
        });
    }
    let what = head.architectures.first().cloned().filter(|name| !name.is_empty()).unwrap_or(head.model_type);
    let what =
        if what.is_empty() { "no architecture".to_owned() } else { format!("the architecture {what}") };
    Err(Error::unsupported(format!("config.json names {what}, which is not known here"))
        .with_hint("IMPORT MODEL knows Chronos-2, Chronos-Bolt and BERT encoders"))
}

fn forecaster(network: &foundation::FoundationNetwork) -> Result<Imported> {
    let config = network.config();
    Ok(Imported {
        kind: Kind::Forecast,
        family: "foundation",
        parameters: network.parameters().count(),
        file: foundation::write((network.parameters(), config), Precision::Single)?,
        context_length: config.context_length,
        horizon: config.max_output_patches * config.input_patch_size,
        quantile_levels: config.quantiles.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::ml::control::Control;
    use crate::ml::device::Placement;
    use crate::ml::tensor_file::TensorFile;
    use crate::ml::text::{TextCourse, TextEncoder, TextObjective, TextPretraining};
    use crate::ml::training::Course;
    use candle_core::{Device, Tensor};

    /// The files of a small encoder of ours, as others lay them out.
    fn files() -> (Vec<u8>, Vec<u8>, TensorFile, TextEncoder) {
        let texts =
            (0..40).map(|i| [format!("a red mug {i}"), format!("for hot drinks no {}", i * 7)]).collect();
        let options = TextPretraining {
            objective: TextObjective::MaskedLm,
            vocabulary: 120,
            width: 32,
            layers: 2,
            longest: 16,
            steps: 2,
            batch_size: 8,
            learning_rate: 1e-3,
            dropout: 0.0,
            device: Placement::Cpu,
            max_seconds: None,
            seed: 1,
        };
        let course = TextCourse { from: None, course: Course { resume: None, keep: &|_| Ok(()) } };
        let file = text::pretrain(texts, &options, course, &Control::default()).unwrap().file;
        let encoder = TextEncoder::read(&file).unwrap();
        let mut config = serde_json::to_value(encoder.config()).unwrap();
        config["architectures"] = serde_json::json!(["BertModel"]);
        let weights = TensorFile::read(&file, "x").unwrap();
        let tokenizer = encoder.tokenizer().to_json().unwrap();
        (serde_json::to_vec(&config).unwrap(), tokenizer, weights, encoder)
    }

    fn imported(config: &[u8], tokenizer: &[u8], weights: &[u8]) -> Result<Imported> {
        import(&|name| {
            Ok(match name {
                "config.json" => Some(config.to_vec()),
                "tokenizer.json" => Some(tokenizer.to_vec()),
                "model.safetensors" => Some(weights.to_vec()),
                _ => None,
            })
        })
    }

    #[test]
    fn an_encoder_with_heads_and_old_names_is_read() {
        let (config, tokenizer, file, encoder) = files();
        let mut others = TensorFile::default();
        for (name, tensor) in &file.weights {
            let name = name
                .replace("LayerNorm.weight", "LayerNorm.gamma")
                .replace("LayerNorm.bias", "LayerNorm.beta");
            others.weights.insert(format!("bert.{name}"), tensor.clone());
        }
        others.weights.insert(
            "cls.predictions.bias".to_owned(),
            Tensor::ones(9, candle_core::DType::F32, &Device::Cpu).unwrap(),
        );
        let read = imported(&config, &tokenizer, &others.write(Precision::Single).unwrap()).unwrap();
        let control = Control::default();
        let ours = encoder.embed(&["a red mug 3"], &control).unwrap();
        assert_eq!(TextEncoder::read(&read.file).unwrap().embed(&["a red mug 3"], &control).unwrap(), ours);
    }

    #[test]
    fn vectors_are_those_of_another_encoder() {
        use candle_transformers::models::bert::{BertModel, Config};
        let (config, _, file, encoder) = files();
        let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        for (name, value) in [("hidden_dropout_prob", 0.0), ("initializer_range", 0.02)] {
            config[name] = value.into();
        }
        (config["pad_token_id"], config["model_type"]) = (0.into(), "bert".into());
        let config: Config = serde_json::from_value(config).unwrap();
        let weights = file.weights.into_iter().collect();
        let builder = candle_nn::VarBuilder::from_tensors(weights, candle_core::DType::F32, &Device::Cpu);
        let other = BertModel::load(builder, &config).unwrap();
        let texts = ["a red mug 3", "for hot drinks no 7, and for cold ones", "x"];
        let ours = encoder.embed(&texts, &Control::default()).unwrap();
        for (text, ours) in texts.iter().zip(ours) {
            let ids = encoder.tokenizer().encode(text, None).unwrap().ids;
            let ids = Tensor::new(ids, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
            let kinds = ids.zeros_like().unwrap();
            let tokens = other.forward(&ids, &kinds, None).unwrap();
            let mean = tokens.mean(1).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let length = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
            let gap = ours.iter().zip(&mean).map(|(a, b)| (a - b / length).abs()).fold(0.0, f32::max);
            assert!(gap < 1e-5, "{text}: {gap}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let (config, tokenizer, file, _) = files();
        let with = |change: &dyn Fn(&mut TensorFile)| {
            let mut changed = TensorFile { weights: file.weights.clone(), ..TensorFile::default() };
            change(&mut changed);
            imported(&config, &tokenizer, &changed.write(Precision::Single).unwrap()).unwrap_err()
        };
        let says = |error: Error, text: &str| assert!(error.message().contains(text), "{}", error.message());
        let key = "encoder.layer.1.attention.self.key.weight";
        says(with(&|f| drop(f.weights.remove(key))), &format!("lacks the tensor {key}"));
        says(
            with(&|f| drop(f.weights.remove("embeddings.LayerNorm.bias"))),
            "lacks the tensor embeddings.LayerNorm.bias",
        );
        let odd = |f: &mut TensorFile| {
            let tensor = f.weights[key].clone();
            f.weights.insert("encoder.odd".to_owned(), tensor);
        };
        says(with(&odd), "a tensor encoder.odd that the network does not know");
        let broken = |f: &mut TensorFile| {
            let tensor = (&f.weights[key] * f64::NAN).unwrap();
            f.weights.insert(key.to_owned(), tensor);
        };
        says(with(&broken), "holds values that are not finite numbers");
        let weights = file.write(Precision::Single).unwrap();
        let of = |config: serde_json::Value| {
            imported(config.to_string().as_bytes(), &tokenizer, &weights).unwrap_err()
        };
        let mut smaller: serde_json::Value = serde_json::from_slice(&config).unwrap();
        smaller["vocab_size"] = 20.into();
        says(of(smaller), "its tokenizer knows");
        let other = of(serde_json::json!({ "architectures": ["LlamaForCausalLM"] }));
        assert_eq!(other.kind(), ErrorKind::Unsupported);
        says(other, "config.json names the architecture LlamaForCausalLM, which is not known here");
        says(of(serde_json::json!({ "architectures": ["BertModel"] })), "missing field");
        says(imported(&config, b"{}", &weights).unwrap_err(), "the tokenizer cannot be read");
        let mut huge = 94_371_840u64.to_le_bytes().to_vec();
        huge.resize(64, b' ');
        says(imported(&config, &tokenizer, &huge).unwrap_err(), "its header claims 94371840 bytes");
        says(import(&|_| Ok(None)).unwrap_err(), "it has no config.json");
    }
}
