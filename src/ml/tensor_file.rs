//! Files of networks: safetensors, with a configuration in the metadata where they are ours.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::Metadata;

use crate::error::{Error, Result, Subject};
use crate::ml::layers::Parameters;

/// Bytes a header may have; larger ones are refused before they are parsed.
pub const HEADER_MAX: u64 = 1 << 20;
/// Most tensors of a file.
pub const TENSORS_MAX: usize = 4_096;
/// Most dimensions of a tensor.
const DIMENSIONS_MAX: usize = 8;
/// Where the metadata keeps the configuration.
const CONFIG: &str = "config";

/// Precision of stored weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    Single,
    /// 16 bits.
    Half,
}

impl Precision {
    /// The type of stored numbers.
    pub fn dtype(self) -> DType {
        match self {
            Self::Single => DType::F32,
            Self::Half => DType::F16,
        }
    }
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct TensorFile {
    /// The configuration that the metadata has, if it has one.
    pub config: Option<String>,
    /// Weights by name, in single precision and finite.
    pub weights: BTreeMap<String, Tensor>,
    /// Bytes by name.
    pub bytes: BTreeMap<String, Vec<u8>>,
}

impl TensorFile {
    /// Reads a file; `what` names it in errors. Tensors of whole numbers are left out.
    pub fn read(bytes: &[u8], what: &str) -> Result<Self> {
        let unreadable = |why: String| unreadable(what, why);
        let header = header(bytes).map_err(unreadable)?;
        let config = header.metadata().as_ref().and_then(|words| words.get(CONFIG)).cloned();
        let mut file = Self { config, ..Self::default() };
        let loaded = candle_core::safetensors::load_buffer(bytes, &Device::Cpu);
        for (name, tensor) in loaded.map_err(|e| unreadable(e.to_string()))? {
            match tensor.dtype() {
                DType::U8 => drop(file.bytes.insert(name, tensor.flatten_all()?.to_vec1()?)),
                DType::U32 | DType::I64 => {}
                _ => {
                    let tensor = tensor.to_dtype(DType::F32)?;
                    if !tensor.abs()?.sum_all()?.to_scalar::<f32>()?.is_finite() {
                        let why = format!("the tensor {name} holds values that are not finite numbers");
                        return Err(unreadable(why));
                    }
                    file.weights.insert(name, tensor);
                }
            }
        }
        Ok(file)
    }

    /// Fails where a weight is none of the network's; `names` are those of the file.
    pub fn ensure_used(names: &[String], parameters: &Parameters, what: &str) -> Result<()> {
        let used: Vec<&str> = parameters.iter().map(|(name, _, _)| name).collect();
        match names.iter().find(|name| !used.contains(&name.as_str())) {
            Some(extra) => {
                Err(unreadable(what, format!("it has a tensor {extra} that the network does not know")))
            }
            None => Ok(()),
        }
    }

    /// The names of its weights.
    pub fn names(&self) -> Vec<String> {
        self.weights.keys().cloned().collect()
    }

    /// The file as bytes, equal for equal content; weights get this precision.
    pub fn write(&self, precision: Precision) -> Result<Vec<u8>> {
        let mut tensors: BTreeMap<&str, Tensor> = BTreeMap::new();
        for (name, weights) in &self.weights {
            tensors.insert(name, weights.to_device(&Device::Cpu)?.to_dtype(precision.dtype())?);
        }
        for (name, bytes) in &self.bytes {
            tensors.insert(name, Tensor::from_slice(bytes, bytes.len(), &Device::Cpu)?);
        }
        let metadata = self.config.clone().map(|config| HashMap::from([(CONFIG.to_owned(), config)]));
        safetensors::serialize(&tensors, metadata)
            .map_err(|e| Error::internal(format!("the model cannot be written: {e}")))
    }
}

/// The header of a safetensors file of reasonable size; its lengths are looked at before anything is made room for.
pub fn header(bytes: &[u8]) -> std::result::Result<Metadata, String> {
    match bytes.first_chunk().map(|length| u64::from_le_bytes(*length)) {
        None => return Err("it is too short".to_owned()),
        Some(length) if length > HEADER_MAX => {
            return Err(format!("its header claims {length} bytes, more than {HEADER_MAX}"));
        }
        Some(_) => {}
    }
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let tensors = header.tensors();
    let most = tensors.values().map(|tensor| tensor.shape.len()).max().unwrap_or(0);
    match (tensors.len(), most) {
        (n, _) if n > TENSORS_MAX => Err(format!("it holds {n} tensors, more than {TENSORS_MAX}")),
        (_, n) if n > DIMENSIONS_MAX => {
            Err(format!("a tensor has {n} dimensions, more than {DIMENSIONS_MAX}"))
        }
        _ => Ok(header),
    }
}

/// Puts the tensors that end in `parts` side by side, under the name that ends in `packed`.
pub fn pack(
    weights: &mut BTreeMap<String, Tensor>,
    parts: [&str; 3],
    packed: &str,
    what: &str,
) -> Result<()> {
    let stems: Vec<String> =
        weights.keys().filter_map(|name| name.strip_suffix(parts[0]).map(str::to_owned)).collect();
    for stem in stems {
        let part = |suffix: &&str| {
            let name = format!("{stem}{suffix}");
            weights.get(&name).cloned().ok_or_else(|| unreadable(what, format!("it lacks the tensor {name}")))
        };
        let all: Vec<Tensor> = parts.iter().map(part).collect::<Result<_>>()?;
        let together = Tensor::cat(&all, 0);
        let together = together.map_err(|e| unreadable(what, format!("the tensors of {stem}: {e}")))?;
        parts.iter().for_each(|suffix| drop(weights.remove(&format!("{stem}{suffix}"))));
        weights.insert(format!("{stem}{packed}"), together);
    }
    Ok(())
}

/// Takes what [`pack`] put side by side apart.
pub fn unpack(weights: &mut BTreeMap<String, Tensor>, parts: [&str; 3], packed: &str) -> Result<()> {
    let stems: Vec<String> =
        weights.keys().filter_map(|name| name.strip_suffix(packed).map(str::to_owned)).collect();
    for stem in stems {
        let Some(together) = weights.remove(&format!("{stem}{packed}")) else { continue };
        for (part, suffix) in together.chunk(parts.len(), 0)?.into_iter().zip(parts) {
            weights.insert(format!("{stem}{suffix}"), part.contiguous()?);
        }
    }
    Ok(())
}

/// The error of a file that is not what it should be.
pub fn unreadable(what: &str, why: String) -> Error {
    Error::corrupt(Subject::Model, format!("{what} cannot be read: {why}"))
}
