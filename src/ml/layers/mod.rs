//! Layers with gradients: fused on the CPU, plain Candle formulas elsewhere; one thread per call.

mod attention;
mod block;
mod cells;
mod concat;
#[cfg(feature = "cuda")]
mod cuda;
mod dropout;
mod embedding;
#[cfg(test)]
pub mod gradcheck;
mod gradients;
mod gru;
mod kernels;
mod layer_norm;
mod linear;
mod lstm;
mod packed;
mod parameters;
mod projection;
mod recurrence;
mod repeats;
mod residual;
mod rms_norm;
mod storage;

pub use attention::{Along, Heads, attention};
pub use block::TransformerBlock;
pub use concat::concat;
pub use dropout::{dropout, keeps};
pub use embedding::embedding;
pub use gradients::Gradients;
pub(in crate::ml) use gradients::accumulate;
pub use gru::gru;
pub use kernels::Activation;
pub(in crate::ml) use kernels::{Matrix, add_rows, exp, multiply_add, vectorised};
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use lstm::lstm;
pub use parameters::{Initializer, Parameters};
pub use projection::Projection;
pub use repeats::repeats;
pub use residual::{Linear, ResidualBlock};
pub use rms_norm::rms_norm;
pub use storage::{read, slice};
