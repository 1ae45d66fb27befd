//! Foundation models: networks that forecast series they were not trained on.

mod base;
mod batches;
mod bolt;
mod chronos2;
mod config;
mod corpus;
mod explained;
mod fine_tune;
mod groups;
mod import;
mod leads;
mod network;
mod peers;
mod pretrain;
mod rows;
mod said;
mod weights;

pub use base::Base;
pub use batches::Hidden;
pub use chronos2::Chronos2;
pub use config::FoundationConfig;
pub use corpus::Corpus;
pub use explained::explained;
pub use fine_tune::{FineTuned, FineTuning, fine_tune};
pub use groups::{Group, GroupRow, Groups, Scale, look_back};
pub use import::import;
pub use network::FoundationNetwork;
pub use peers::Peers;
pub use pretrain::{PretrainOptions, Pretrained, pretrain};
pub use rows::rows_of;
pub use said::said;
pub use weights::{read, write};
