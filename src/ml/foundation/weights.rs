//! Foundation models as safetensors: the tensors by the names of Chronos-2, the sizes in the metadata.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result, Subject};
use crate::ml::foundation::chronos2::Chronos2;
use crate::ml::foundation::config::FoundationConfig;
use crate::ml::layers::Parameters;
use crate::ml::training::Network;

/// Bytes a header may have; larger ones are refused before they are parsed.
const HEADER_MAX: u64 = 1 << 20;
/// Where the metadata keeps the sizes.
const CONFIG: &str = "config";
/// What queries, keys and values are packed as in memory, and the names they have in files.
const PACKED: &str = ".qkv.weight";
const PARTS: [&str; 3] = [".q.weight", ".k.weight", ".v.weight"];

/// Precision of stored weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    Single,
    /// 16 bits.
    Half,
}

/// The network as a file; equal weights give equal bytes.
pub fn write(network: &Chronos2, precision: Precision) -> Result<Vec<u8>> {
    let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
    for (name, var, _) in network.parameters().iter() {
        let tensor = var.to_device(&Device::Cpu)?;
        let dtype = if precision == Precision::Half { DType::F16 } else { DType::F32 };
        let tensor = tensor.to_dtype(dtype)?;
        match name.strip_suffix(PACKED) {
            None => drop(tensors.insert(name.to_owned(), tensor)),
            Some(stem) => {
                for (part, suffix) in tensor.chunk(PARTS.len(), 0)?.into_iter().zip(PARTS) {
                    tensors.insert(format!("{stem}{suffix}"), part.contiguous()?);
                }
            }
        }
    }
    let unwritable = |e: String| Error::internal(format!("the model cannot be written: {e}"));
    let config = serde_json::to_string(network.config()).map_err(|e| unwritable(e.to_string()))?;
    let metadata = HashMap::from([(CONFIG.to_owned(), config)]);
    safetensors::serialize(&tensors, Some(metadata)).map_err(|e| unwritable(e.to_string()))
}

/// The network of a file that [`write()`] made.
pub fn read(bytes: &[u8]) -> Result<Chronos2> {
    read_on(bytes, Device::Cpu)
}

/// The network of a file, held by this device.
pub fn read_on(bytes: &[u8], device: Device) -> Result<Chronos2> {
    let header = header(bytes)?;
    let config = header.get(CONFIG).ok_or_else(|| corrupt("it does not tell its sizes".to_owned()))?;
    let config: FoundationConfig = serde_json::from_str(config).map_err(|e| corrupt(e.to_string()))?;
    network(bytes, &config, device)
}

/// The metadata of a file whose header is of a reasonable size.
fn header(bytes: &[u8]) -> Result<HashMap<String, String>> {
    let length = bytes.first_chunk().map(|length| u64::from_le_bytes(*length));
    match length {
        None => return Err(corrupt("it is too short".to_owned())),
        Some(length) if length > HEADER_MAX => {
            return Err(corrupt(format!("its header claims {length} bytes, more than {HEADER_MAX}")));
        }
        Some(_) => {}
    }
    let (_, metadata) = safetensors::SafeTensors::read_metadata(bytes).map_err(|e| corrupt(e.to_string()))?;
    Ok(metadata.metadata().clone().unwrap_or_default())
}

/// The network of these sizes with the tensors of a safetensors file, every one of which it must use.
pub(super) fn network(bytes: &[u8], config: &FoundationConfig, device: Device) -> Result<Chronos2> {
    header(bytes)?;
    config.check().map_err(corrupt)?;
    let loaded =
        candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(|e| corrupt(e.to_string()))?;
    let mut tensors = BTreeMap::new();
    for (name, tensor) in loaded {
        let tensor = tensor.to_dtype(DType::F32)?;
        if !tensor.abs()?.sum_all()?.to_scalar::<f32>()?.is_finite() {
            return Err(corrupt(format!("the tensor {name} holds values that are not finite numbers")));
        }
        tensors.insert(name, tensor);
    }
    pack(&mut tensors)?;
    let names: Vec<String> = tensors.keys().cloned().collect();
    let network = Chronos2::new(Parameters::stored(tensors).on(device), config)?;
    let used: Vec<&str> = network.parameters().iter().map(|(name, _, _)| name).collect();
    match names.iter().find(|name| !used.contains(&name.as_str())) {
        Some(extra) => Err(corrupt(format!("it has a tensor {extra} that the network does not know"))),
        None => Ok(network),
    }
}

/// Puts queries, keys and values side by side.
fn pack(tensors: &mut BTreeMap<String, Tensor>) -> Result<()> {
    let stems: Vec<String> =
        tensors.keys().filter_map(|name| name.strip_suffix(PARTS[0]).map(str::to_owned)).collect();
    for stem in stems {
        let part = |suffix: &&str| {
            let name = format!("{stem}{suffix}");
            tensors.get(&name).cloned().ok_or_else(|| corrupt(format!("it lacks the tensor {name}")))
        };
        let parts: Vec<Tensor> = PARTS.iter().map(part).collect::<Result<_>>()?;
        let packed = Tensor::cat(&parts, 0).map_err(|e| corrupt(format!("the tensors of {stem}: {e}")))?;
        PARTS.iter().for_each(|suffix| drop(tensors.remove(&format!("{stem}{suffix}"))));
        tensors.insert(format!("{stem}{PACKED}"), packed);
    }
    Ok(())
}

fn corrupt(why: String) -> Error {
    Error::corrupt(Subject::Model, format!("the foundation model cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::rng::Rng;

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
        write(&network, Precision::Single).unwrap()
    }

    fn with(change: impl Fn(&mut BTreeMap<String, Tensor>)) -> Error {
        let mut tensors: BTreeMap<_, _> =
            candle_core::safetensors::load_buffer(&bytes(), &Device::Cpu).unwrap().into_iter().collect();
        change(&mut tensors);
        let config = serde_json::to_string(&small()).unwrap();
        let metadata = HashMap::from([(CONFIG.to_owned(), config)]);
        read(&safetensors::serialize(&tensors, Some(metadata)).unwrap()).unwrap_err()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let first = bytes();
        let network = read(&first).unwrap();
        assert_eq!(write(&network, Precision::Single).unwrap(), first);
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
