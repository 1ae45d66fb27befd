//! Gradients of parameters, added up in place instead of one new tensor per use.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::{Result, Tensor, TensorId, Var, bail};

use crate::ml::layers::parameters::Parameters;

thread_local! {
    static COLLECTED: RefCell<Option<HashMap<TensorId, Vec<f32>>>> = const { RefCell::new(None) };
}

/// Sums of parameter gradients over any number of backward passes of one thread.
#[derive(Debug, Default)]
pub struct Gradients {
    /// What fused layers give.
    fused: HashMap<TensorId, Vec<f32>>,
    /// What Candle's own operations give, on the device.
    plain: HashMap<TensorId, Tensor>,
}

impl Gradients {
    /// Runs a backward pass; what fused layers give for their parameters is added here.
    pub fn collect<R>(&mut self, backward: impl FnOnce() -> R) -> R {
        COLLECTED.with(|c| c.replace(Some(std::mem::take(&mut self.fused))));
        let result = backward();
        self.fused = COLLECTED.with(|c| c.take()).unwrap_or_default();
        result
    }

    /// Adds the gradients of `loss`, a scalar, in the parameters.
    pub fn add(&mut self, loss: &Tensor, parameters: &Parameters) -> Result<()> {
        let mut store = self.collect(|| loss.backward())?;
        for (_, var, _) in parameters.iter() {
            if let Some(gradient) = store.remove(var) {
                let sum = match self.plain.remove(&var.id()) {
                    Some(sum) => (sum + gradient)?,
                    None => gradient,
                };
                self.plain.insert(var.id(), sum);
            }
        }
        Ok(())
    }

    /// Takes the sum of one parameter; `None` when no pass reached it.
    pub fn take(&mut self, parameter: &Var) -> Result<Option<Vec<f32>>> {
        let (fused, plain) = (self.fused.remove(&parameter.id()), self.plain.remove(&parameter.id()));
        let Some(plain) = plain else { return Ok(fused) };
        let mut sum = plain.flatten_all()?.to_vec1::<f32>()?;
        sum.iter_mut().zip(fused.into_iter().flatten()).for_each(|(s, g)| *s += g);
        Ok(Some(sum))
    }
}

/// Lets `add` add to the gradient of `parameter`: to the collected sum while one is being collected, else, or where it is
/// no parameter but what others gave, to a new tensor, which backward then returns. What is not tracked gets none.
pub(in crate::ml) fn accumulate(
    parameter: &Tensor,
    add: impl FnOnce(&mut [f32]) -> Result<()>,
) -> Result<Option<Tensor>> {
    if !parameter.track_op() {
        return Ok(None);
    }
    COLLECTED.with_borrow_mut(|collected| match collected {
        Some(sums) if parameter.is_variable() => {
            add(sums.entry(parameter.id()).or_insert_with(|| vec![0.0; parameter.elem_count()]))?;
            Ok(None)
        }
        _ => {
            let mut gradient = vec![0.0; parameter.elem_count()];
            add(&mut gradient)?;
            Ok(Some(Tensor::from_vec(gradient, parameter.shape(), parameter.device())?))
        }
    })
}

/// Like [`accumulate`] for a parameter that a layer holds beside the arguments of its operation, of which Candle allows
/// three: its gradient reaches nobody but the one who collects.
pub(super) fn accumulate_held(parameter: &Tensor, add: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
    match accumulate(parameter, add)? {
        None => Ok(()),
        Some(_) => bail!("the gradients of this layer need to be collected"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::Activation;
    use crate::ml::layers::gradcheck::variable;
    use crate::ml::layers::linear::linear;

    #[test]
    fn collected_sums_equal_returned_gradients() {
        let (x, w, b) = (variable(&[5, 3], 1), variable(&[4, 3], 2), variable(&[4], 3));
        let loss = || linear(&x, &w, &b, Activation::Gelu).unwrap().sum_all().unwrap();
        let returned =
            loss().backward().unwrap().get(&w).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let mut gradients = Gradients::default();
        for _ in 0..2 {
            gradients.collect(|| loss().backward()).unwrap();
        }
        let twice = gradients.take(&w).unwrap().unwrap();
        assert!(twice.iter().zip(&returned).all(|(t, r)| (t - 2.0 * r).abs() < 1e-5));
        assert!(gradients.take(&b).unwrap().is_some() && gradients.take(&w).unwrap().is_none());
    }
}
