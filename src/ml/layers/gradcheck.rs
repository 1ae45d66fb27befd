//! Gradients against central differences, for the tests of layers and losses.

use candle_core::{Device, Result, Tensor, Var};

use crate::ml::layers::gradients::Gradients;
use crate::ml::rng::Rng;

/// A variable of normal draws, none near 0 where ReLU has a kink.
pub fn variable(shape: &[usize], seed: u64) -> Var {
    let mut rng = Rng::new(seed);
    let draws: Vec<f32> = (0..shape.iter().product::<usize>())
        .map(|_| {
            let x = rng.normal() as f32;
            x + 0.1 * x.signum()
        })
        .collect();
    Var::from_tensor(&Tensor::from_vec(draws, shape, &Device::Cpu).unwrap()).unwrap()
}

/// Asserts that backward agrees with central differences (relative 1e-3) for a fixed random weighting of the output.
pub fn check(variables: &[&Var], forward: impl Fn() -> Result<Tensor>) {
    let weights = variable(forward().unwrap().dims(), 77);
    let value = || -> f64 {
        let y = forward().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let w = weights.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        y.iter().zip(&w).map(|(y, w)| f64::from(*y) * f64::from(*w)).sum()
    };
    let sum = (forward().unwrap() * weights.as_tensor()).unwrap().sum_all().unwrap();
    let mut collected = Gradients::default();
    let returned = collected.collect(|| sum.backward()).unwrap();
    for (which, variable) in variables.iter().enumerate() {
        let gradient = collected.take(variable).unwrap().unwrap_or_else(|| {
            let gradient = returned.get(variable).expect("every variable gets a gradient");
            gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        });
        let start = variable.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let largest = gradient.iter().fold(1e-2f32, |m, g| m.max(g.abs()));
        for i in 0..start.len() {
            let at = |x: f32| {
                let mut moved = start.clone();
                moved[i] = x;
                variable.set(&Tensor::from_vec(moved, variable.shape(), &Device::Cpu).unwrap()).unwrap();
                value()
            };
            let step = 1e-2f32;
            let (above, below) = (start[i] + step, start[i] - step);
            let numeric = (at(above) - at(below)) / f64::from(above - below);
            let gap = (numeric - f64::from(gradient[i])).abs();
            assert!(
                gap <= 1e-3 * f64::from(largest) + 2e-4,
                "variable {which}, element {i}: {numeric} and {}",
                gradient[i]
            );
        }
        variable.set(&Tensor::from_vec(start, variable.shape(), &Device::Cpu).unwrap()).unwrap();
    }
}
