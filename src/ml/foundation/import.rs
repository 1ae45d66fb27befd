//! Checkpoints of Chronos-2 and Chronos-Bolt as Amazon publishes them: `config.json` and `model.safetensors`.

use candle_core::Device;
use serde::Deserialize;

use crate::error::Result;
use crate::ml::foundation::bolt::BoltSizes;
use crate::ml::foundation::config::FoundationConfig;
use crate::ml::foundation::network::FoundationNetwork;
use crate::ml::foundation::weights::{WHAT, network};
use crate::ml::tensor_file::{TensorFile, unreadable};

/// What `config.json` says.
#[derive(Debug, Deserialize)]
struct Config {
    d_model: usize,
    d_kv: usize,
    d_ff: usize,
    num_layers: usize,
    num_heads: usize,
    #[serde(default = "two")]
    vocab_size: usize,
    #[serde(default)]
    num_decoder_layers: Option<usize>,
    #[serde(default = "buckets")]
    relative_attention_num_buckets: usize,
    #[serde(default = "distance")]
    relative_attention_max_distance: usize,
    #[serde(default)]
    is_gated_act: bool,
    #[serde(default)]
    dense_act_fn: Option<String>,
    #[serde(default)]
    rope_theta: Option<f64>,
    #[serde(default)]
    layer_norm_epsilon: Option<f64>,
    chronos_config: Chronos,
}

#[derive(Debug, Deserialize)]
struct Chronos {
    context_length: usize,
    input_patch_size: usize,
    #[serde(default)]
    input_patch_stride: Option<usize>,
    #[serde(default)]
    output_patch_size: Option<usize>,
    #[serde(default = "one")]
    max_output_patches: usize,
    #[serde(default)]
    prediction_length: usize,
    quantiles: Vec<f64>,
    #[serde(default)]
    use_reg_token: bool,
    #[serde(default)]
    use_arcsinh: bool,
    #[serde(default)]
    time_encoding_scale: Option<usize>,
}

fn one() -> usize {
    1
}

fn buckets() -> usize {
    32
}

fn distance() -> usize {
    128
}

fn two() -> usize {
    2
}

/// Tensors of T5 files that say again what others say.
const AGAIN: [&str; 3] = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"];

/// The network of a checkpoint, with the graph of Chronos-Bolt or that of Chronos-2.
pub fn import(config: &[u8], weights: &[u8], is_bolt: bool) -> Result<FoundationNetwork> {
    let config: Config =
        serde_json::from_slice(config).map_err(|e| unreadable(WHAT, format!("config.json: {e}")))?;
    config.check(is_bolt).map_err(|why| unreadable(WHAT, why))?;
    let mut weights = TensorFile::read(weights, WHAT)?.weights;
    if is_bolt {
        weights.retain(|name, _| !AGAIN.contains(&name.as_str()));
    }
    network(weights, &config.sizes(is_bolt), Device::Cpu)
}

impl Config {
    fn sizes(self, is_bolt: bool) -> FoundationConfig {
        let chronos = self.chronos_config;
        let patch = chronos.input_patch_size;
        FoundationConfig {
            d_model: self.d_model,
            d_kv: self.d_kv,
            d_ff: self.d_ff,
            num_layers: self.num_layers,
            num_heads: self.num_heads,
            // The vocabulary of a T5 file is that of a language; here it has the decoder's token and the separator.
            vocab_size: if is_bolt { 2 } else { self.vocab_size },
            input_patch_size: patch,
            time_encoding_scale: chronos.time_encoding_scale.unwrap_or(chronos.context_length),
            context_length: chronos.context_length,
            max_output_patches: match is_bolt {
                true => chronos.prediction_length / patch,
                false => chronos.max_output_patches,
            },
            quantiles: chronos.quantiles,
            covariate_rows: !is_bolt,
            past_rows: false,
            lags: 0,
            seen: None,
            bolt: is_bolt.then_some(BoltSizes {
                num_decoder_layers: self.num_decoder_layers.unwrap_or(self.num_layers),
                relative_attention_num_buckets: self.relative_attention_num_buckets,
                relative_attention_max_distance: self.relative_attention_max_distance,
            }),
        }
    }

    /// Fails for what the graphs here do not do.
    fn check(&self, is_bolt: bool) -> std::result::Result<(), String> {
        let chronos = &self.chronos_config;
        let patch = chronos.input_patch_size;
        let alike = |size: Option<usize>| size.is_none_or(|size| size == patch);
        let close =
            |given: Option<f64>, known: f64| given.is_none_or(|given| (given / known - 1.0).abs() < 1e-6);
        if !alike(chronos.input_patch_stride) || !alike(chronos.output_patch_size) {
            Err(format!("its patches overlap or differ in size; {patch} steps in and out are known"))
        } else if !chronos.use_reg_token || !(is_bolt || chronos.use_arcsinh) {
            Err("it is a variant without use_reg_token or use_arcsinh, which is not known".to_owned())
        } else if is_bolt && (patch == 0 || !chronos.prediction_length.is_multiple_of(patch)) {
            Err("its prediction_length is not a number of patches".to_owned())
        } else if self.is_gated_act {
            Err("its hidden layers have gates, which are not known".to_owned())
        } else if self.dense_act_fn.as_deref().is_some_and(|name| name != "relu") {
            Err("its dense_act_fn is not relu".to_owned())
        } else if !close(self.rope_theta, 1e4) || !close(self.layer_norm_epsilon, 1e-6) {
            Err("its rope_theta is not 10000, or its layer_norm_epsilon not 1e-6".to_owned())
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refused(is_bolt: bool, change: impl Fn(&mut Value)) -> String {
        let mut config = json!({
            "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4, "dense_act_fn": "relu",
            "layer_norm_epsilon": 1e-6,
            "chronos_config": {
                "context_length": 64, "input_patch_size": 16, "input_patch_stride": 16, "prediction_length": 32,
                "max_output_patches": 2, "quantiles": [0.1, 0.5, 0.9], "use_reg_token": true, "use_arcsinh": true,
            },
        });
        change(&mut config);
        let bytes = serde_json::to_vec(&config).unwrap();
        import(&bytes, b"no weights", is_bolt).unwrap_err().message().to_owned()
    }

    #[test]
    fn variants_that_are_not_known_are_refused_and_named() {
        for is_bolt in [false, true] {
            // What is known goes on to its weights.
            let known = refused(is_bolt, |_| ());
            assert!(!known.contains("known") && known.starts_with("the foundation model"), "{known}");
            let of = |key: &str, to: Value| refused(is_bolt, |config| config[key] = to.clone());
            let chronos =
                |key: &str, to: Value| refused(is_bolt, |config| config["chronos_config"][key] = to.clone());
            for (told, message) in [
                (
                    chronos("input_patch_stride", json!(8)),
                    "its patches overlap or differ in size; 16 steps in and out",
                ),
                (chronos("output_patch_size", json!(32)), "its patches overlap or differ in size"),
                (
                    chronos("use_reg_token", json!(false)),
                    "it is a variant without use_reg_token or use_arcsinh",
                ),
                (of("is_gated_act", json!(true)), "its hidden layers have gates, which are not known"),
                (of("dense_act_fn", json!("gelu_new")), "its dense_act_fn is not relu"),
                (
                    of("layer_norm_epsilon", json!(1e-5)),
                    "its rope_theta is not 10000, or its layer_norm_epsilon not 1e-6",
                ),
                (of("rope_theta", json!(5e5)), "its rope_theta is not 10000"),
                (of("d_model", json!("wide")), "config.json: invalid type"),
                (of("d_model", Value::Null), "config.json"),
            ] {
                assert!(told.contains(message), "{told} does not say {message}");
            }
        }
        let told = refused(true, |config| config["chronos_config"]["prediction_length"] = json!(30));
        assert!(told.contains("its prediction_length is not a number of patches"), "{told}");
        let told = refused(false, |config| config["chronos_config"]["use_arcsinh"] = json!(false));
        assert!(told.contains("use_arcsinh"), "{told}");
    }
}
