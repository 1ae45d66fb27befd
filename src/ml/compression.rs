//! Smaller files of models: weights of fewer bits, or fewer of them. What reads a model sees the file as it was, with weights
//! that are nearly what they were.

use std::borrow::Cow;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};
use half::f16;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result, Subject};
use crate::ml::tensor_file::header;

/// Matrices of fewer numbers stay as they are.
const NUMBERS_MIN: usize = 1_024;
/// Files in files: a network in a model, and a network in a combination's member.
const DEPTH_MAX: usize = 4;
/// Numbers that share a scale in Q8_0.
const BLOCK: usize = 32;
/// What the names of compressed tensors are told from their own by.
const MARK: char = '#';
const Q8: &str = "q8_0";
const HALF: &str = "f16";
const SPARSE: &str = "sparse";
const FILE: &str = "file";

/// How a model becomes smaller.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Compression {
    /// Weights of networks have 8 bits, and a scale for every 32 of them.
    Q8,
    /// Weights of networks have 16 bits.
    Half,
    /// Of every matrix of a network this share of the weights stays, the largest ones, and of every booster this share of the
    /// trees, the first ones.
    Prune(f64),
}

/// A tensor as it stands in a file.
struct Raw {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

/// The file of a model of this name with its weights compressed.
pub fn compress(model: &str, file: &[u8], how: Compression) -> Result<Vec<u8>> {
    let hint = "QUANTIZE and PRUNE are of large matrices of networks, PRUNE of boosted trees that forecast, too; other models are small as they are";
    compressed(file, how)?.ok_or_else(|| nothing_smaller(model).with_hint(hint))
}

/// What is said of a model that cannot be smaller.
pub fn nothing_smaller(model: &str) -> Error {
    Error::input(Subject::Model, format!("model {model} has no weights that could be smaller"))
}

/// Fails where a model would not be smaller, by its bytes before and after.
pub fn ensure_smaller(model: &str, [before, after]: [usize; 2]) -> Result<()> {
    if after < before {
        return Ok(());
    }
    let message = format!("model {model} would have {after} bytes after {before}: nothing is saved");
    let hint = "ALTER MODEL … PROMOTE VERSION n goes back to one that is not compressed; QUANTIZE TO q8_0 is the smallest that loses little";
    Err(Error::input(Subject::Model, message).with_hint(hint))
}

/// The file with its weights compressed; `None` where it has none that could be smaller.
fn compressed(file: &[u8], how: Compression) -> Result<Option<Vec<u8>>> {
    let (metadata, mut tensors) = read(&restored(file)?)?;
    let mut found = match how {
        Compression::Prune(share) => cut_trees(&mut tensors, share),
        _ => false,
    };
    let mut smaller = |raw: Raw| {
        if is_matrix(&raw) {
            found = true;
            return smaller(raw, how);
        }
        // A network within a model is a file of its own.
        if raw.dtype == Dtype::U8
            && header(&raw.data).is_ok()
            && let Some(data) = compressed(&raw.data, how)?
        {
            found = true;
            return Ok(Raw {
                name: format!("{}{MARK}{FILE}", raw.name),
                shape: vec![data.len()],
                data,
                ..raw
            });
        }
        Ok(raw)
    };
    let tensors = tensors.into_iter().map(&mut smaller).collect::<Result<_>>()?;
    if found { write(metadata, tensors).map(Some) } else { Ok(None) }
}

/// The file as it was before [`compress`], its weights in single precision.
pub fn restored(file: &[u8]) -> Result<Cow<'_, [u8]>> {
    restored_within(file, DEPTH_MAX)
}

/// As [`restored`], with so many levels of files in files at most.
fn restored_within(file: &[u8], depth: usize) -> Result<Cow<'_, [u8]>> {
    // Most files are as they were: nothing of them is copied.
    let header = readable(file)?;
    if !header.tensors().keys().any(|name| name.contains(MARK)) {
        return Ok(Cow::Borrowed(file));
    }
    let (metadata, tensors) = read_by(&header, file);
    let tensors = tensors.into_iter().map(|raw| larger(raw, depth)).collect::<Result<_>>()?;
    write(metadata, tensors).map(Cow::Owned)
}

fn is_matrix(raw: &Raw) -> bool {
    let numbers: usize = raw.shape.iter().product();
    matches!(raw.dtype, Dtype::F32 | Dtype::F16) && raw.shape.len() >= 2 && numbers >= NUMBERS_MIN
}

fn smaller(raw: Raw, how: Compression) -> Result<Raw> {
    let numbers = numbers_of(&raw);
    let dims: Vec<String> = raw.shape.iter().map(ToString::to_string).collect();
    let marked = |mark: &str, data: Vec<u8>| Raw {
        name: format!("{}{MARK}{mark}{MARK}{}", raw.name, dims.join("x")),
        dtype: Dtype::U8,
        shape: vec![data.len()],
        data,
    };
    Ok(match how {
        Compression::Q8 if numbers.len().is_multiple_of(BLOCK) => {
            let tensor = Tensor::from_slice(&numbers, numbers.len(), &Device::Cpu)?;
            marked(Q8, QTensor::quantize(&tensor, GgmlDType::Q8_0)?.data()?.into_owned())
        }
        Compression::Q8 | Compression::Half => marked(HALF, halves(numbers.iter().copied())),
        Compression::Prune(share) => marked(SPARSE, sparse(&numbers, share)),
    })
}

fn halves(numbers: impl Iterator<Item = f32>) -> Vec<u8> {
    numbers.flat_map(|x| f16::from_f32(x).to_le_bytes()).collect()
}

/// A bit for each number, set where it stays, then those that stay in half precision.
fn sparse(numbers: &[f32], share: f64) -> Vec<u8> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|a, b| numbers[*b].abs().total_cmp(&numbers[*a].abs()).then(a.cmp(b)));
    order.truncate(((share * numbers.len() as f64).ceil() as usize).max(1));
    order.sort_unstable();
    let mut bits = vec![0u8; numbers.len().div_ceil(8)];
    order.iter().for_each(|n| bits[n / 8] |= 1 << (n % 8));
    bits.extend(halves(order.into_iter().map(|n| numbers[n])));
    bits
}

fn numbers_of(raw: &Raw) -> Vec<f32> {
    match raw.dtype {
        Dtype::F16 => from_halves(&raw.data),
        _ => raw.data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
    }
}

fn from_halves(data: &[u8]) -> Vec<f32> {
    data.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()
}

/// What [`smaller`] was made of, as near as it can be told.
fn larger(raw: Raw, depth: usize) -> Result<Raw> {
    let mut parts = raw.name.split(MARK);
    let (Some(name), Some(mark)) = (parts.next(), parts.next()) else { return Ok(raw) };
    if mark == FILE {
        let depth = depth.checked_sub(1).ok_or_else(|| damaged("files in files without end"))?;
        let data = restored_within(&raw.data, depth)?.into_owned();
        return Ok(Raw { name: name.to_owned(), shape: vec![data.len()], data, ..raw });
    }
    let shape: Option<Vec<usize>> = parts.next().and_then(|d| d.split('x').map(|n| n.parse().ok()).collect());
    let shape = shape.ok_or_else(|| damaged("a tensor without a shape"))?;
    let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).unwrap_or(usize::MAX);
    let data = &raw.data;
    let fits = match mark {
        Q8 => {
            count.is_multiple_of(BLOCK)
                && Some(data.len()) == (count / BLOCK).checked_mul(GgmlDType::Q8_0.type_size())
        }
        HALF => Some(data.len()) == count.checked_mul(2),
        SPARSE => data.len() >= count.div_ceil(8),
        _ => false,
    };
    if !fits {
        return Err(damaged("a tensor that does not have the size of its shape"));
    }
    let numbers = match mark {
        Q8 => {
            let storage = QStorage::from_data(Cow::Borrowed(data), &Device::Cpu, GgmlDType::Q8_0)?;
            QTensor::new(storage, count)?.dequantize(&Device::Cpu)?.to_vec1()?
        }
        HALF => from_halves(data),
        _ => {
            let (bits, kept) = data.split_at(count.div_ceil(8));
            let mut kept = from_halves(kept).into_iter();
            let number = |n: usize| if bits[n / 8] >> (n % 8) & 1 == 1 { kept.next() } else { Some(0.0) };
            let numbers: Option<Vec<f32>> = (0..count).map(number).collect();
            numbers.ok_or_else(|| damaged("a tensor that lacks weights"))?
        }
    };
    let data = numbers.into_iter().flat_map(f32::to_le_bytes).collect();
    Ok(Raw { name: name.to_owned(), dtype: Dtype::F32, shape, data })
}

/// Cuts the lists of every booster behind this share of its trees; false where there is none.
fn cut_trees(tensors: &mut [Raw], share: f64) -> bool {
    let whole = |raw: &Raw| -> Vec<u32> {
        raw.data.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
    };
    let stems: Vec<(String, Vec<u32>)> = tensors
        .iter()
        .filter_map(|raw| Some((raw.name.strip_suffix("tree_ends")?.to_owned(), whole(raw))))
        .collect();
    for (stem, ends) in &stems {
        let kept = ((share * ends.len() as f64).ceil() as usize).max(1).min(ends.len());
        let Some(nodes) = kept.checked_sub(1).map(|last| ends[last] as usize) else { continue };
        // As they lie in [`crate::ml::trees::Flat`]: five numbers a node, one leaf more than nodes in every tree.
        for (list, length) in [("tree_ends", kept), ("nodes", 5 * nodes), ("leaves", nodes + kept)] {
            if let Some(raw) = tensors.iter_mut().find(|raw| raw.name == format!("{stem}{list}")) {
                raw.data.truncate(4 * length);
                raw.shape = vec![raw.data.len() / 4];
            }
        }
    }
    !stems.is_empty()
}

/// The header of a safetensors file.
fn readable(file: &[u8]) -> Result<Metadata> {
    header(file).map_err(|why| damaged(&why))
}

/// The metadata of a safetensors file, and its tensors.
fn read(file: &[u8]) -> Result<(Value, Vec<Raw>)> {
    Ok(read_by(&readable(file)?, file))
}

/// As [`read`], of the file that has this header.
fn read_by(header: &Metadata, file: &[u8]) -> (Value, Vec<Raw>) {
    // A header is of a file of one length only.
    let data = &file[file.len() - header.data_len()..];
    let raw = |(name, info): (String, &TensorInfo)| Raw {
        name,
        dtype: info.dtype,
        shape: info.shape.clone(),
        data: data[info.data_offsets.0..info.data_offsets.1].to_vec(),
    };
    let mut tensors: Vec<Raw> = header.tensors().into_iter().map(raw).collect();
    tensors.sort_by(|a, b| (a.dtype.bitsize(), &a.name).cmp(&(b.dtype.bitsize(), &b.name)).reverse());
    (json!(header.metadata()), tensors)
}

/// A safetensors file; equal input gives equal bytes.
fn write(metadata: Value, tensors: Vec<Raw>) -> Result<Vec<u8>> {
    let (mut header, mut body) = (Map::new(), Vec::new());
    if !metadata.is_null() {
        header.insert("__metadata__".into(), metadata);
    }
    let mut tensors = tensors;
    tensors.sort_by(|a, b| (b.dtype.bitsize(), &a.name).cmp(&(a.dtype.bitsize(), &b.name)));
    for raw in tensors {
        let begin = body.len();
        body.extend(raw.data);
        let entry = json!({
            "dtype": format!("{:?}", raw.dtype),
            "shape": raw.shape,
            "data_offsets": [begin, body.len()],
        });
        header.insert(raw.name, entry);
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut text);
    bytes.append(&mut body);
    Ok(bytes)
}

fn damaged(why: &str) -> Error {
    Error::corrupt(Subject::Model, format!("the model file is damaged: {why}"))
        .with_hint("restore it from a backup, or train the model again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(rows: usize) -> Vec<u8> {
        let number = |n: usize| ((n * 37 % 101) as f32 - 50.0) / 25.0;
        let matrix: Vec<u8> = (0..rows * 64).flat_map(|n| number(n).to_le_bytes()).collect();
        let raw = |name: &str, dtype, shape, data| Raw { name: name.into(), dtype, shape, data };
        let inner =
            write(json!({ "config": "x" }), vec![raw("w", Dtype::F32, vec![rows, 64], matrix.clone())]);
        let inner = inner.unwrap();
        let tensors = vec![
            raw("bias", Dtype::F32, vec![2], [1.5f32, -2.0].into_iter().flat_map(f32::to_le_bytes).collect()),
            raw("matrix", Dtype::F32, vec![rows, 64], matrix),
            raw("network", Dtype::U8, vec![inner.len()], inner),
            raw("words", Dtype::U8, vec![3], b"abc".to_vec()),
        ];
        write(json!({ "config": "{}", "family": "x" }), tensors).unwrap()
    }

    fn numbers(file: &[u8], name: &str) -> Vec<f32> {
        numbers_of(read(file).unwrap().1.iter().find(|raw| raw.name == name).unwrap())
    }

    #[test]
    fn weights_are_nearly_what_they_were_and_all_else_is() {
        let plain = file(64);
        for (how, size, error) in [(Compression::Q8, 0.30, 0.01), (Compression::Half, 0.53, 1e-3)] {
            let small = compressed(&plain, how).unwrap().unwrap();
            assert!((small.len() as f64) < size * plain.len() as f64, "{how:?} {}", small.len());
            assert_eq!(Some(&small), compressed(&plain, how).unwrap().as_ref());
            let back = restored(&small).unwrap();
            let (old, new) = (numbers(&plain, "matrix"), numbers(&back, "matrix"));
            assert!(old.iter().zip(&new).all(|(a, b)| (a - b).abs() <= error), "{how:?}");
            assert_eq!(numbers(&back, "bias"), [1.5, -2.0]);
            let inner = read(&back).unwrap().1.into_iter().find(|raw| raw.name == "network").unwrap();
            assert_eq!(numbers(&inner.data, "w"), new);
            // Again, from what it is now.
            assert_eq!(compressed(&small, how).unwrap(), Some(small));
        }
        assert!(matches!(restored(&plain).unwrap(), Cow::Borrowed(_)));
    }

    #[test]
    fn the_largest_weights_stay() {
        let plain = file(64);
        let back = compressed(&plain, Compression::Prune(0.25)).unwrap().unwrap();
        let back = restored(&back).unwrap();
        let (old, new) = (numbers(&plain, "matrix"), numbers(&back, "matrix"));
        let kept = new.iter().filter(|x| **x != 0.0).count();
        assert_eq!(kept, 64 * 64 / 4);
        let least = new.iter().filter(|x| **x != 0.0).map(|x| x.abs()).fold(f32::MAX, f32::min);
        let lost = old.iter().zip(&new).filter(|(_, b)| **b == 0.0).map(|(a, _)| a.abs()).fold(0.0, f32::max);
        assert!(lost <= least + 1e-3);
    }

    #[test]
    fn small_weights_alone_are_none_that_could_be_smaller() {
        for how in [Compression::Q8, Compression::Half, Compression::Prune(0.5)] {
            assert_eq!(compressed(&file(2), how).unwrap(), None);
        }
    }

    #[test]
    fn foreign_bytes_are_an_error() {
        let small = compressed(&file(64), Compression::Prune(0.5)).unwrap().unwrap();
        for cut in [0, 7, 40, small.len() - 3] {
            assert!(restored(&small[..cut]).is_err());
        }
        let shape = String::from_utf8_lossy(&small).into_owned();
        assert!(shape.contains("matrix#sparse#64x64"));
        let raw =
            |name: &str| Raw { name: name.into(), dtype: Dtype::U8, shape: vec![3], data: vec![1, 2, 3] };
        for name in
            ["m#q8_0#9x9", "m#q8_0", "m#f16#2x2", "m#sparse#999999999x99999999999", "m#new#1x1", "m#file"]
        {
            let file = write(Value::Null, vec![raw(name)]).unwrap();
            assert!(restored(&file).is_err(), "{name}");
        }
    }

    #[test]
    fn files_in_files_without_end_and_sizes_beyond_all_are_errors() {
        let mut inner = write(Value::Null, vec![]).unwrap();
        for _ in 0..40 {
            let raw = Raw { name: "a#file".into(), dtype: Dtype::U8, shape: vec![inner.len()], data: inner };
            inner = write(Value::Null, vec![raw]).unwrap();
        }
        assert!(restored(&inner).unwrap_err().message().ends_with("files in files without end"));
        // So many numbers, of 34 bytes for every 32 of them, come to 16 bytes as far as 64 bits tell.
        let raw = Raw {
            name: "w#q8_0#17361641481138401536".into(),
            dtype: Dtype::U8,
            shape: vec![16],
            data: vec![0; 16],
        };
        let file = write(Value::Null, vec![raw]).unwrap();
        assert!(restored(&file).unwrap_err().message().contains("does not have the size of its shape"));
        // A header of 90 MB is refused by its length.
        let mut long = (90u64 << 20).to_le_bytes().to_vec();
        long.extend(b"{}");
        assert!(restored(&long).unwrap_err().message().contains("its header claims 94371840 bytes"));
    }
}
