//! Fitting a network: loss, optimiser, schedule, early stopping, checkpoints and the loop around them.

mod checkpoint;
mod early_stopping;
mod loss;
mod optimizer;
mod schedule;
mod trainer;

pub use checkpoint::Checkpoint;
pub use early_stopping::EarlyStopping;
pub use loss::{Objective, masked_loss};
pub use optimizer::{AdamW, AdamWConfig};
pub use schedule::Schedule;
pub use trainer::{Dataset, LossSum, Network, Trainer, TrainerConfig, pass_length};
