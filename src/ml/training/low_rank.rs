//! Low-rank adaptation (Hu et al. 2022): what matrices learn is the product of two thin ones, all else stays.

use crate::ml::layers::{Matrix, Parameters, multiply_add};
use crate::ml::rng::Rng;

/// The thin matrices of every matrix that learns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LowRank {
    adapters: Vec<Adapter>,
    /// Two for each adapter: down `[rank, inputs]`, then up `[outputs, rank]`.
    pub(super) factors: Vec<Vec<f32>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Adapter {
    /// Its place among the parameters.
    parameter: usize,
    rank: usize,
    outputs: usize,
    inputs: usize,
    /// What the matrix began as.
    start: Vec<f32>,
}

impl LowRank {
    /// Adapters of all matrices that may learn and have more rows and columns than `rank`; they say nothing yet.
    pub(super) fn new(rank: usize, parameters: &Parameters, values: &[Vec<f32>]) -> Self {
        let (mut adapters, mut factors) = (vec![], vec![]);
        for (parameter, (name, var, _)) in parameters.iter().enumerate() {
            let &[outputs, inputs] = var.dims() else { continue };
            if parameters.is_frozen(name) || rank >= outputs.min(inputs) {
                continue;
            }
            let mut rng = Rng::new(parameter as u64).fork(name);
            let size = 1.0 / (inputs as f64).sqrt();
            factors.push((0..rank * inputs).map(|_| (rng.normal() * size) as f32).collect());
            factors.push(vec![0.0; outputs * rank]);
            adapters.push(Adapter { parameter, rank, outputs, inputs, start: values[parameter].clone() });
        }
        Self { adapters, factors }
    }

    /// The gradients of the factors, from those of the parameters.
    pub(super) fn gradients(&self, gradients: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let mut out = Vec::with_capacity(self.factors.len());
        for (adapter, factors) in self.adapters.iter().zip(self.factors.chunks_exact(2)) {
            let &Adapter { parameter, rank, outputs, inputs, .. } = adapter;
            let whole = gradients[parameter].as_slice();
            let mut down = vec![0.0; rank * inputs];
            let turned = Matrix { data: &factors[1], rows: 1, columns: rank };
            multiply_add(&mut down, (rank, inputs, outputs), turned, straight(whole, inputs));
            let mut up = vec![0.0; outputs * rank];
            let turned = Matrix { data: &factors[0], rows: 1, columns: inputs };
            multiply_add(&mut up, (outputs, rank, inputs), straight(whole, inputs), turned);
            out.extend([down, up]);
        }
        out
    }

    /// Puts what the matrices are now into the values of the parameters.
    pub(super) fn apply(&self, values: &mut [Vec<f32>]) {
        for (adapter, factors) in self.adapters.iter().zip(self.factors.chunks_exact(2)) {
            let Adapter { parameter, rank, outputs, inputs, start } = adapter;
            let whole = &mut values[*parameter];
            whole.copy_from_slice(start);
            let (up, down) = (straight(&factors[1], *rank), straight(&factors[0], *inputs));
            multiply_add(whole, (*outputs, *inputs, *rank), up, down);
        }
    }
}

fn straight(data: &[f32], width: usize) -> Matrix<'_, f32> {
    Matrix { data, rows: width, columns: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::Initializer;

    /// The loss is half the squared distance of a matrix from a goal.
    #[test]
    fn gradients_are_those_of_the_product_and_what_has_the_rank_is_learnt() {
        let mut parameters = Parameters::seeded(Rng::new(1));
        parameters.register("a.bias", &[3], Initializer::Zeros).unwrap();
        parameters.register("a.weight", &[4, 3], Initializer::Normal(0.5)).unwrap();
        parameters.register("b.weight", &[4, 3], Initializer::Glorot).unwrap();
        parameters.freeze(|name| name == "b.weight");
        let mut values = parameters.values().unwrap();
        let start = values.clone();
        let (left, right) = ([1.0, -2.0, 0.5, 1.5], [0.3f32, -0.7, 1.1]);
        let goal: Vec<f32> =
            start[1].iter().enumerate().map(|(n, w)| w + left[n / 3] * right[n % 3]).collect();
        let mut low = LowRank::new(1, &parameters, &values);
        assert_eq!(low.factors.len(), 2);
        let loss = |low: &LowRank| {
            let mut values = start.clone();
            low.apply(&mut values);
            values[1].iter().zip(&goal).map(|(w, g)| f64::from(w - g).powi(2)).sum::<f64>() / 2.0
        };
        low.factors[1] = vec![0.2, -0.1, 0.4, 0.3];
        for step in 0..4_000 {
            low.apply(&mut values);
            let whole: Vec<f32> = values[1].iter().zip(&goal).map(|(w, g)| w - g).collect();
            let gradients = low.gradients(&[vec![9.0; 3], whole, vec![9.0; 12]]);
            if step == 0 {
                for (factor, at) in [(0, 1), (1, 2)] {
                    let mut moved = low.clone();
                    moved.factors[factor][at] += 1e-3;
                    let slope = (loss(&moved) - loss(&low)) / 1e-3;
                    assert!((slope - f64::from(gradients[factor][at])).abs() < 1e-2);
                }
            }
            for (factor, gradient) in low.factors.iter_mut().zip(&gradients) {
                factor.iter_mut().zip(gradient).for_each(|(x, g)| *x -= 0.05 * g);
            }
        }
        low.apply(&mut values);
        assert!(loss(&low) < 1e-6 && values[0] == start[0] && values[2] == start[2], "{}", loss(&low));
    }
}
