//! Foundation models as safetensors: the tensors by the names of Chronos-2, the sizes in the metadata.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};

use crate::error::{Error, Result};
use crate::ml::foundation::bolt::ChronosBolt;
use crate::ml::foundation::chronos2::Chronos2;
use crate::ml::foundation::config::FoundationConfig;
use crate::ml::foundation::network::FoundationNetwork;
use crate::ml::layers::Parameters;
use crate::ml::tensor_file::{Precision, TensorFile, pack, unpack, unreadable};

/// What queries, keys and values are packed as in memory, and the names they have in files.
const PACKED: &str = ".qkv.weight";
const PARTS: [&str; 3] = [".q.weight", ".k.weight", ".v.weight"];
/// What such a file is in errors.
pub(super) const WHAT: &str = "the foundation model";

/// The network as a file; equal weights give equal bytes.
pub fn write(
    (parameters, config): (&Parameters, &FoundationConfig),
    precision: Precision,
) -> Result<Vec<u8>> {
    let weights = parameters.iter().map(|(name, var, _)| (name.to_owned(), var.as_tensor().clone()));
    let mut weights: BTreeMap<String, Tensor> = weights.collect();
    unpack(&mut weights, PARTS, PACKED)?;
    let config = serde_json::to_string(config);
    let config = config.map_err(|e| Error::internal(format!("the model cannot be written: {e}")))?;
    TensorFile { config: Some(config), weights, ..TensorFile::default() }.write(precision)
}

/// The network of a file that [`write()`] made.
pub fn read(bytes: &[u8]) -> Result<FoundationNetwork> {
    read_on(bytes, Device::Cpu)
}

/// The network of a file, held by this device.
pub fn read_on(bytes: &[u8], device: Device) -> Result<FoundationNetwork> {
    let file = TensorFile::read(bytes, WHAT)?;
    let Some(config) = &file.config else {
        return Err(unreadable(WHAT, "it does not tell its sizes".to_owned()));
    };
    let config: FoundationConfig =
        serde_json::from_str(config).map_err(|e| unreadable(WHAT, e.to_string()))?;
    network(file.weights, &config, device)
}

/// The network of these sizes with these tensors, every one of which it must use.
pub(super) fn network(
    mut weights: BTreeMap<String, Tensor>,
    config: &FoundationConfig,
    device: Device,
) -> Result<FoundationNetwork> {
    config.check().map_err(|why| unreadable(WHAT, why))?;
    let parameters = |weights| Parameters::stored(weights).on(device);
    let (network, names) = match &config.bolt {
        None => {
            pack(&mut weights, PARTS, PACKED, WHAT)?;
            let names: Vec<String> = weights.keys().cloned().collect();
            (FoundationNetwork::Chronos2(Chronos2::new(parameters(weights), config)?.into()), names)
        }
        Some(sizes) => {
            let names: Vec<String> = weights.keys().cloned().collect();
            (FoundationNetwork::Bolt(ChronosBolt::new(parameters(weights), config, sizes)?.into()), names)
        }
    };
    TensorFile::ensure_used(&names, network.parameters(), WHAT)?;
    Ok(network)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::ml::rng::Rng;
    use crate::ml::training::Network;

    fn small() -> FoundationConfig {
        FoundationConfig {
            d_model: 8,
            d_kv: 4,
            d_ff: 12,
            num_layers: 2,
            num_heads: 2,
            ..FoundationConfig::default()
        }
    }

    fn bytes() -> Vec<u8> {
        let network = Chronos2::new(Parameters::seeded(Rng::new(1)), &small()).unwrap();
        write((network.parameters(), network.config()), Precision::Single).unwrap()
    }

    fn with(change: impl Fn(&mut BTreeMap<String, Tensor>)) -> Error {
        let mut tensors: BTreeMap<_, _> =
            candle_core::safetensors::load_buffer(&bytes(), &Device::Cpu).unwrap().into_iter().collect();
        change(&mut tensors);
        let config = serde_json::to_string(&small()).unwrap();
        let metadata = HashMap::from([("config".to_owned(), config)]);
        read(&safetensors::serialize(&tensors, Some(metadata)).unwrap()).unwrap_err()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let first = bytes();
        let network = read(&first).unwrap();
        assert_eq!(write((network.parameters(), network.config()), Precision::Single).unwrap(), first);
    }

    #[test]
    fn missing_extra_and_misshaped_tensors_are_named() {
        let q = "encoder.block.0.layer.0.self_attention.q.weight";
        let k = "encoder.block.0.layer.0.self_attention.k.weight";
        let says = |error: Error, text: &str| assert!(error.message().contains(text), "{}", error.message());
        says(
            with(|t| drop(t.remove(q))),
            "lacks the tensor encoder.block.0.layer.0.self_attention.qkv.weight",
        );
        says(with(|t| drop(t.remove(k))), &format!("lacks the tensor {k}"));
        says(
            with(|t| drop(t.insert("more".into(), t[q].clone()))),
            "a tensor more that the network does not know",
        );
        says(
            with(|t| drop(t.insert(q.into(), t["shared.weight"].clone()))),
            "self_attention.qkv.weight of the model file is",
        );
        let nan = |t: &mut BTreeMap<String, Tensor>| {
            let broken = (&t[q] * f64::NAN).unwrap();
            t.insert(q.into(), broken);
        };
        says(with(nan), &format!("the tensor {q} holds values that are not finite numbers"));
    }

    #[test]
    fn headers_beyond_reason_and_other_bytes_are_errors() {
        let mut huge = 94_371_840u64.to_le_bytes().to_vec();
        huge.resize(64, b' ');
        assert!(
            read(&huge)
                .unwrap_err()
                .message()
                .contains("its header claims 94371840 bytes, more than 1048576")
        );
        assert!(read(b"x").is_err());
        assert!(read(&bytes()[..200]).is_err());
    }
}
