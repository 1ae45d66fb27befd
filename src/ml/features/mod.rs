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
pub use featurizer::{Featurizer, Layout, Widths, canonical_order};
pub use window::Gatherer;
