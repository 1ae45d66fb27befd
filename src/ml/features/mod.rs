//! A panel as the inputs of a network: one code path for training and serving.

mod batch;
mod calendar;
mod column;
mod encoded;
mod factors;
mod featurizer;
mod history;
mod window;

pub use batch::WindowBatch;
pub use encoded::EncodedPanel;
#[cfg(test)]
pub use featurizer::tests::panel as test_panel;
pub use featurizer::{Featurizer, Widths, canonical_order};
pub use window::Gatherer;
