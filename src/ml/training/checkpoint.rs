//! The state of a training between two epochs, as bytes.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Subject};
use crate::ml::forecaster::EpochLog;
use crate::ml::tensor_file::header;

/// Everything a training needs to go on as if it had never stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Epochs finished.
    pub epoch: usize,
    /// Optimiser steps made.
    pub step: usize,
    /// Loss of the best epoch.
    pub best_loss: f64,
    /// The best epoch.
    pub best_epoch: usize,
    /// Values of the parameters, in the order of names.
    pub values: Vec<Vec<f32>>,
    /// First moments of the optimiser.
    pub first: Vec<Vec<f32>>,
    /// Its second moments; empty where it has none.
    pub second: Vec<Vec<f32>>,
    /// Moving average of the values.
    pub average: Vec<Vec<f32>>,
    /// Values of the best epoch, when there is one.
    pub best: Option<Vec<Vec<f32>>>,
    /// A line for every epoch.
    pub log: Vec<EpochLog>,
}

#[derive(Serialize, Deserialize)]
struct Counters {
    epoch: usize,
    step: usize,
    best_loss: Option<f64>,
    best_epoch: usize,
    log: Vec<EpochLog>,
}

const COUNTERS: &str = "counters";

impl Checkpoint {
    /// The checkpoint as a safetensors file.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let groups = [
            ("values", Some(&self.values)),
            ("first", Some(&self.first)),
            ("second", Some(&self.second)),
            ("average", Some(&self.average)),
            ("best", self.best.as_ref()),
        ];
        let mut bytes: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for (group, tensors) in groups.into_iter().filter_map(|(name, tensors)| Some((name, tensors?))) {
            for (i, tensor) in tensors.iter().enumerate() {
                bytes
                    .insert(format!("{group}.{i:05}"), tensor.iter().flat_map(|x| x.to_le_bytes()).collect());
            }
        }
        let views = bytes
            .iter()
            .map(|(name, data)| Ok((name, TensorView::new(Dtype::F32, vec![data.len() / 4], data)?)))
            .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|e| Error::internal(format!("checkpoint: {e}")))?;
        let counters = Counters {
            epoch: self.epoch,
            step: self.step,
            best_loss: self.best_loss.is_finite().then_some(self.best_loss),
            best_epoch: self.best_epoch,
            log: self.log.clone(),
        };
        let text =
            serde_json::to_string(&counters).map_err(|e| Error::internal(format!("checkpoint: {e}")))?;
        safetensors::serialize(views, Some(HashMap::from([(COUNTERS.to_string(), text)])))
            .map_err(|e| Error::internal(format!("checkpoint: {e}")))
    }

    /// Reads what [`Checkpoint::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let corrupt =
            |why: String| Error::corrupt(Subject::Model, format!("the checkpoint cannot be read: {why}"));
        let header = header(bytes).map_err(corrupt)?;
        let counters = header
            .metadata()
            .as_ref()
            .and_then(|m| m.get(COUNTERS))
            .ok_or_else(|| corrupt("it has no counters".into()))?;
        let counters: Counters = serde_json::from_str(counters).map_err(|e| corrupt(e.to_string()))?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| corrupt(e.to_string()))?;
        let mut groups: BTreeMap<String, BTreeMap<String, Vec<f32>>> = BTreeMap::new();
        for (name, view) in file.tensors() {
            let (group, index) = name.split_once('.').ok_or_else(|| corrupt(format!("tensor {name}")))?;
            if view.dtype() != Dtype::F32 {
                return Err(corrupt(format!("tensor {name} is {:?}", view.dtype())));
            }
            let values =
                view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            groups.entry(group.to_string()).or_default().insert(index.to_string(), values);
        }
        let mut take = |name: &str| groups.remove(name).map(|group| group.into_values().collect::<Vec<_>>());
        let (second, best) = (take("second").unwrap_or_default(), take("best"));
        let mut need = |name: &str| take(name).ok_or_else(|| corrupt(format!("it has no {name}")));
        Ok(Self {
            epoch: counters.epoch,
            step: counters.step,
            best_loss: counters.best_loss.unwrap_or(f64::INFINITY),
            best_epoch: counters.best_epoch,
            values: need("values")?,
            first: need("first")?,
            second,
            average: need("average")?,
            best,
            log: counters.log,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_keeps_every_bit_and_damage_is_corrupt() {
        let tensors = vec![vec![0.1f32, -3.0], vec![f32::MIN_POSITIVE]];
        let checkpoint = Checkpoint {
            epoch: 2,
            step: 70,
            best_loss: 0.1 + 0.2,
            best_epoch: 1,
            values: tensors.clone(),
            first: tensors.clone(),
            second: tensors.clone(),
            average: tensors.clone(),
            best: Some(tensors),
            log: vec![EpochLog {
                epoch: 1,
                step: 35,
                train_loss: 0.1 + 0.2,
                valid_loss: 0.7,
                learning_rate: 1e-3,
                rows_per_second: 12.5,
                seconds: 0.3,
            }],
        };
        let bytes = checkpoint.to_bytes().unwrap();
        assert_eq!(Checkpoint::from_bytes(&bytes).unwrap(), checkpoint);
        let plain = Checkpoint { second: Vec::new(), best: None, ..checkpoint };
        assert_eq!(Checkpoint::from_bytes(&plain.to_bytes().unwrap()).unwrap(), plain);
        assert!(Checkpoint::from_bytes(&bytes[..bytes.len() - 9]).is_err());
        assert!(Checkpoint::from_bytes(b"nonsense").is_err());
    }
}
