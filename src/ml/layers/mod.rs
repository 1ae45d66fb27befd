//! Layers with gradients: fused on the CPU, plain Candle formulas elsewhere; one thread per call.

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

pub use dropout::{dropout, keeps};
pub use embedding::embedding;
pub use gradients::Gradients;
pub use kernels::Activation;
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use parameters::{Initializer, Parameters};
pub use residual::{Linear, ResidualBlock};
pub use storage::{read, slice};
