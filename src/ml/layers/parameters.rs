//! The ordered registry of a network's parameters, with seeded initialisers.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};

use crate::error::{Error, Result, Subject};
use crate::ml::rng::Rng;

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Error::internal(format!("tensor computation failed: {error}"))
    }
}

/// Examples of one pass on a card, over those on the processor.
const CARD_PASS: usize = 8;

/// How a parameter starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initializer {
    /// All zeros; no weight decay.
    Zeros,
    /// All ones; no weight decay.
    Ones,
    /// Normal with this deviation; no weight decay.
    Normal(f64),
    /// Uniform with variance 2 / (inputs + outputs) (Glorot and Bengio 2010); takes weight decay.
    Glorot,
}

#[derive(Debug)]
struct Parameter {
    var: Var,
    decays: bool,
    frozen: bool,
}

/// Parameters by name, in the order of names.
#[derive(Debug)]
pub struct Parameters {
    by_name: BTreeMap<String, Parameter>,
    source: Source,
    device: Device,
}

#[derive(Debug)]
enum Source {
    Seeded(Box<Rng>),
    Stored(BTreeMap<String, Tensor>),
}

impl Parameters {
    /// An empty registry whose parameters start from this generator.
    pub fn seeded(rng: Rng) -> Self {
        Self { by_name: BTreeMap::new(), source: Source::Seeded(Box::new(rng)), device: Device::Cpu }
    }

    /// An empty registry whose parameters start from stored tensors.
    pub fn stored(tensors: BTreeMap<String, Tensor>) -> Self {
        Self { by_name: BTreeMap::new(), source: Source::Stored(tensors), device: Device::Cpu }
    }

    /// The registry with what is registered from now on held by this device.
    pub fn on(self, device: Device) -> Self {
        Self { device, ..self }
    }

    /// Where the parameters are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// True where they are on a card.
    pub fn is_on_card(&self) -> bool {
        !self.device.is_cpu()
    }

    /// Examples of one pass: as many as suit the processor, or more of them on a card.
    pub fn pass_length(&self, on_processor: usize) -> usize {
        if self.is_on_card() { CARD_PASS * on_processor } else { on_processor }
    }

    /// A registry on a device whose parameters start from these; what is frozen here is not there.
    pub fn copied_to(&self, device: Device) -> Result<Self> {
        let copy = |(name, var, _): (&str, &Var, bool)| {
            Ok((name.to_owned(), var.as_tensor().detach().to_device(&device)?))
        };
        let tensors = self.iter().map(copy).collect::<Result<_>>()?;
        Ok(Self::stored(tensors).on(device))
    }

    /// Registers the parameter `name` and returns it; its start does not depend on the order of calls.
    pub fn register(&mut self, name: &str, shape: &[usize], initializer: Initializer) -> Result<Tensor> {
        let tensor = match &self.source {
            Source::Seeded(rng) => initial(rng.fork(name), shape, initializer)?,
            Source::Stored(tensors) => {
                let tensor = tensors.get(name).ok_or_else(|| {
                    Error::corrupt(Subject::Model, format!("the model file lacks the tensor {name}"))
                })?;
                if tensor.dims() != shape {
                    return Err(Error::corrupt(
                        Subject::Model,
                        format!("the tensor {name} of the model file is {:?}, not {shape:?}", tensor.dims()),
                    ));
                }
                tensor.clone()
            }
        };
        let var = Var::from_tensor(&tensor.to_device(&self.device)?)?;
        let registered = var.as_tensor().clone();
        self.by_name.insert(
            name.to_string(),
            Parameter { var, decays: initializer == Initializer::Glorot, frozen: false },
        );
        Ok(registered)
    }

    /// Keeps what has these names as it is.
    pub fn freeze(&mut self, which: impl Fn(&str) -> bool) {
        self.by_name.iter_mut().filter(|(name, _)| which(name)).for_each(|(_, p)| p.frozen = true);
    }

    /// True where the parameter of this name stays as it is.
    pub fn is_frozen(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|p| p.frozen)
    }

    /// Number of trainable values.
    pub fn count(&self) -> usize {
        self.by_name.values().filter(|p| !p.frozen).map(|p| p.var.elem_count()).sum()
    }

    /// Names, variables and whether weight decay applies, in the order of names, frozen ones included.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var, bool)> {
        self.by_name.iter().map(|(name, p)| (name.as_str(), &p.var, p.decays && !p.frozen))
    }

    /// A copy of all values, in the order of names.
    pub fn values(&self) -> Result<Vec<Vec<f32>>> {
        self.iter().map(|(_, var, _)| Ok(var.flatten_all()?.to_vec1::<f32>()?)).collect()
    }

    /// Takes the values of the parameters that have the same names and shapes elsewhere.
    pub fn copy_from(&self, other: &Self) -> Result<()> {
        for (name, parameter) in &self.by_name {
            if let Some(found) = other.by_name.get(name).filter(|p| p.var.dims() == parameter.var.dims()) {
                parameter.var.set(&found.var.as_tensor().to_device(parameter.var.device())?)?;
            }
        }
        Ok(())
    }

    /// Puts back what [`Parameters::values`] copied.
    pub fn set_values(&self, values: &[Vec<f32>]) -> Result<()> {
        if values.len() != self.by_name.len() {
            return Err(Error::internal(format!(
                "{} value sets for {} parameters",
                values.len(),
                self.by_name.len()
            )));
        }
        for ((_, var, _), values) in self.iter().zip(values) {
            var.set(&Tensor::from_slice(values, var.shape(), var.device())?)?;
        }
        Ok(())
    }
}

fn initial(mut rng: Rng, shape: &[usize], initializer: Initializer) -> Result<Tensor> {
    let n = shape.iter().product();
    let values: Vec<f32> = match initializer {
        Initializer::Zeros => vec![0.0; n],
        Initializer::Ones => vec![1.0; n],
        Initializer::Normal(deviation) => (0..n).map(|_| (rng.normal() * deviation) as f32).collect(),
        Initializer::Glorot => {
            let bound = (6.0 / shape.iter().sum::<usize>() as f64).sqrt();
            (0..n).map(|_| rng.range(-bound, bound) as f32).collect()
        }
    };
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_depends_on_seed_and_name_only() {
        let start = |names: &[&str]| {
            let mut parameters = Parameters::seeded(Rng::new(3));
            for name in names {
                parameters.register(name, &[4, 2], Initializer::Glorot).unwrap();
            }
            parameters.values().unwrap()
        };
        assert_eq!(start(&["a", "b"]), start(&["b", "a"]));
        assert_ne!(start(&["a", "b"])[0], start(&["a", "b"])[1]);
    }

    #[test]
    fn a_copy_starts_equal_and_goes_its_own_way() {
        let mut parameters = Parameters::seeded(Rng::new(3));
        parameters.register("a", &[4, 2], Initializer::Glorot).unwrap();
        parameters.freeze(|_| true);
        let mut copy = parameters.copied_to(Device::Cpu).unwrap();
        copy.register("a", &[4, 2], Initializer::Glorot).unwrap();
        assert_eq!(copy.values().unwrap(), parameters.values().unwrap());
        copy.set_values(&[vec![1.0; 8]]).unwrap();
        assert_ne!(copy.values().unwrap(), parameters.values().unwrap());
        assert!(!copy.is_frozen("a") && parameters.is_frozen("a"));
        assert_eq!((copy.pass_length(16), copy.is_on_card()), (16, false));
    }

    #[test]
    fn a_missing_or_misshapen_tensor_is_corrupt() {
        let tensor = Tensor::zeros((2, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        let mut parameters = Parameters::stored(BTreeMap::from([("a".to_string(), tensor)]));
        assert!(parameters.register("a", &[2, 2], Initializer::Zeros).is_ok());
        let missing = parameters.register("b", &[2, 2], Initializer::Zeros).unwrap_err();
        assert_eq!(missing.message(), "the model file lacks the tensor b");
        let shape = parameters.register("a", &[4], Initializer::Zeros).unwrap_err();
        assert_eq!(shape.kind(), crate::error::ErrorKind::Corrupt);
    }
}
