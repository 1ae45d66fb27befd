//! The file of a model: safetensors, the family and its configuration in the metadata.

use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorView};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result, Subject};
use crate::ml::tensor_file::{HEADER_MAX, TENSORS_MAX, header};

const ALIGNMENT: usize = 8;

/// Values of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Data {
    /// Bytes.
    U8(Vec<u8>),
    /// Counts and offsets.
    U32(Vec<u32>),
    /// Weights.
    F32(Vec<f32>),
    /// Parameters in double precision.
    F64(Vec<f64>),
}

impl Data {
    fn dtype(&self) -> &'static str {
        match self {
            Self::U8(_) => "U8",
            Self::U32(_) => "U32",
            Self::F32(_) => "F32",
            Self::F64(_) => "F64",
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::U8(values) => values.clone(),
            Self::U32(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::F32(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::F64(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }
}

/// A tensor on its way into a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    /// Unique in its file.
    pub(super) name: String,
    /// Its product is the number of values.
    pub(super) shape: Vec<usize>,
    /// Row-major.
    pub(super) data: Data,
}

/// A model file that was read and checked.
#[derive(Debug)]
pub(super) struct File<'a> {
    /// The family's name.
    pub(super) family: String,
    /// The configuration as JSON.
    pub(super) config: String,
    /// The tensors.
    pub(super) tensors: SafeTensors<'a>,
}

/// One model in a file: its configuration, and its tensors, whose names begin with a prefix.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    /// The family's own JSON.
    pub(super) config: Value,
    file: &'a SafeTensors<'a>,
    prefix: String,
}

/// A safetensors file; equal input gives equal bytes, which the metadata of several keys would not.
pub(super) fn write(family: &str, config: String, mut tensors: Vec<Tensor>) -> Result<Vec<u8>> {
    let width = |data: &Data| match data {
        Data::U8(_) => 1,
        Data::U32(_) | Data::F32(_) => 4,
        Data::F64(_) => 8,
    };
    tensors.sort_by(|a, b| (width(&b.data), &a.name).cmp(&(width(&a.data), &b.name)));
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({ "config": config, "family": family }));
    let mut body = Vec::new();
    for tensor in &tensors {
        let begin = body.len();
        body.extend(tensor.data.to_bytes());
        let entry = json!({
            "dtype": tensor.data.dtype(),
            "shape": tensor.shape,
            "data_offsets": [begin, body.len()],
        });
        header.insert(tensor.name.clone(), entry);
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(ALIGNMENT), b' ');
    if text.len() as u64 > HEADER_MAX || tensors.len() > TENSORS_MAX {
        let why = format!("{} bytes of configuration, {} tensors", text.len(), tensors.len());
        return Err(Error::internal(format!("the model is too large for its file: {why}")));
    }
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut text);
    bytes.append(&mut body);
    Ok(bytes)
}

/// Texts one after the other, and where each ends: as two tensors.
pub(super) fn texts<T: AsRef<str>>(texts: &[T]) -> Result<(Vec<u8>, Vec<u32>)> {
    let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(texts.len()));
    for text in texts {
        bytes.extend_from_slice(text.as_ref().as_bytes());
        let end = u32::try_from(bytes.len())
            .map_err(|_| Error::internal("the keys of the series are too long for a model file"))?;
        ends.push(end);
    }
    Ok((bytes, ends))
}

/// Reads a file; its sizes are checked before anything is allocated for them.
pub(super) fn read(bytes: &[u8]) -> Result<File<'_>> {
    let (family, config) = words(&header(bytes).map_err(corrupt)?)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| corrupt(e.to_string()))?;
    Ok(File { family, config, tensors })
}

fn words(metadata: &Metadata) -> Result<(String, String)> {
    let map = metadata.metadata().as_ref();
    let word = |key: &str| map.and_then(|map| map.get(key)).cloned();
    match (word("family"), word("config")) {
        (Some(family), Some(config)) => Ok((family, config)),
        _ => Err(corrupt("its metadata lacks family or config".into())),
    }
}

impl<'a> File<'a> {
    /// The configuration as a value of its own type.
    pub(super) fn config<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.config).map_err(|e| corrupt(e.to_string()))
    }

    /// The model whose tensors begin with this prefix.
    pub(super) fn stored(&'a self, prefix: &str, config: Value) -> Stored<'a> {
        Stored { config, file: &self.tensors, prefix: prefix.to_owned() }
    }
}

impl<'a> Stored<'a> {
    /// The configuration as a value of the family's own type.
    pub(super) fn config<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(self.config.clone()).map_err(|e| corrupt(e.to_string()))
    }

    /// A tensor of bytes.
    pub(super) fn u8(&self, name: &str) -> Result<Vec<u8>> {
        Ok(self.tensor(name, Dtype::U8)?.data().to_vec())
    }

    /// A tensor of counts.
    pub(super) fn u32(&self, name: &str) -> Result<Vec<u32>> {
        let tensor = self.tensor(name, Dtype::U32)?;
        Ok(tensor.data().as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
    }

    /// Texts that [`texts`] made tensors of these names.
    pub(super) fn texts(&self, name: &str, ends: &str) -> Result<Vec<String>> {
        let (bytes, mut from) = (self.u8(name)?, 0);
        let text = |end: u32| {
            let text = bytes.get(from..end as usize).and_then(|text| std::str::from_utf8(text).ok());
            from = end as usize;
            text.map(str::to_owned).ok_or_else(|| corrupt(format!("its {name} do not fit together")))
        };
        self.u32(ends)?.into_iter().map(text).collect()
    }

    /// A tensor of weights.
    pub(super) fn f32(&self, name: &str) -> Result<Vec<f32>> {
        Ok(floats(&self.tensor(name, Dtype::F32)?))
    }

    /// A tensor of doubles.
    pub(super) fn f64(&self, name: &str) -> Result<Vec<f64>> {
        let tensor = self.tensor(name, Dtype::F64)?;
        Ok(tensor.data().as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
    }

    /// All tensors of weights: name, shape and values.
    pub(super) fn weights(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let named = self.file.tensors().into_iter().filter_map(|(name, view)| {
            let name = name.strip_prefix(&self.prefix)?.to_owned();
            (view.dtype() == Dtype::F32).then(|| (name, view.shape().to_vec(), floats(&view)))
        });
        named.collect()
    }

    fn tensor(&self, name: &str, dtype: Dtype) -> Result<TensorView<'a>> {
        let name = format!("{}{name}", self.prefix);
        let tensor = self.file.tensor(&name).map_err(|e| corrupt(e.to_string()))?;
        match tensor.dtype() == dtype {
            true => Ok(tensor),
            false => Err(corrupt(format!("its tensor {name} is {:?}, not {dtype:?}", tensor.dtype()))),
        }
    }
}

fn floats(tensor: &TensorView<'_>) -> Vec<f32> {
    tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// The error of a model file that is not what was written.
pub(super) fn corrupt(why: String) -> Error {
    Error::corrupt(Subject::Model, format!("the model file is damaged: {why}"))
        .with_hint("restore it from a backup, or train the model again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Vec<u8> {
        let tensor = |name: &str, shape, data| Tensor { name: name.into(), shape, data };
        let tensors = vec![
            tensor("keys", vec![3], Data::U8(vec![1, 2, 3])),
            tensor("ends", vec![1], Data::U32(vec![3])),
            tensor("parameters", vec![1, 2], Data::F64(vec![0.5, f64::NAN])),
            tensor("weights", vec![1], Data::F32(vec![1.5])),
        ];
        write("ets", "{\"x\":1}".into(), tensors).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = example();
        let file = read(&bytes).unwrap();
        assert_eq!((file.family.as_str(), file.config.as_str()), ("ets", "{\"x\":1}"));
        let stored = file.stored("", json!({}));
        assert_eq!(file.stored("key", json!({})).u8("s").unwrap(), [1, 2, 3]);
        assert_eq!((stored.u8("keys").unwrap(), stored.u32("ends").unwrap()), (vec![1, 2, 3], vec![3]));
        assert_eq!(stored.f64("parameters").unwrap()[0], 0.5);
        assert!(stored.f64("weights").is_err() && stored.f64("absent").is_err());
        assert_eq!(bytes, example());
    }

    #[test]
    fn cut_and_changed_headers_are_refused() {
        let bytes = example();
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "{end}");
        }
        let mut huge = bytes.clone();
        huge[..8].copy_from_slice(&(HEADER_MAX + 1).to_le_bytes());
        assert!(read(&huge).unwrap_err().message().contains("claims"));
    }
}
