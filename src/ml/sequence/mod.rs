//! Sequences of events, such as what a customer buys one after the other: what comes next.

mod events;
mod examples;
mod fit;
mod model;
mod network;
mod pretrain;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use events::{EventColumn, Events};
pub use fit::{SequenceOptions, SequenceReport, fit};
pub use model::SequenceModel;
pub use pretrain::{PretrainedSequence, SequencePretraining, pretrain};
pub use vocabulary::Vocabulary;
