//! Layers with gradients: fused on the CPU, plain Candle formulas elsewhere; one thread per call.

mod concat;
mod dropout;
mod embedding;
#[cfg(test)]
pub mod gradcheck;
mod gradients;
mod kernels;
mod layer_norm;
mod linear;
mod parameters;
mod residual;
mod storage;

pub use concat::concat;
pub use dropout::keeps;
pub use embedding::embedding;
pub use gradients::Gradients;
pub use kernels::Activation;
pub use parameters::{Initializer, Parameters};
pub use residual::{Linear, ResidualBlock};
pub use storage::{read, slice};
