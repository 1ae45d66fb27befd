//! Fitting a network: loss, optimiser, schedule, early stopping, checkpoints and the loop around them.

mod checkpoint;
mod cross_entropy;
mod early_stopping;
mod likelihood;
mod linear_cross_entropy;
mod loss;
mod low_rank;
mod optimizer;
mod schedule;
mod trainer;

pub use checkpoint::Checkpoint;
pub use cross_entropy::{Labels, cross_entropy};
pub use early_stopping::EarlyStopping;
pub use likelihood::{
    TWEEDIE_POWER, log_link_mean, negative_binomial_parameters, poisson_mean, student_t_parameters,
};
pub use linear_cross_entropy::linear_cross_entropy;
pub use loss::{Objective, Steps, masked_loss};
pub use optimizer::{Optimizer, OptimizerConfig, Rule};
pub use schedule::Schedule;
pub use trainer::{
    BYTES_PER_PARAMETER, Course, Dataset, LossSum, Network, Trainer, TrainerConfig, pass_length,
};
