//! Made-up series to pretrain on: six kinds of processes, how they are observed, and what augments them.

pub mod augment;
mod causal;
mod covariates;
mod gaussian_process;
mod grid;
mod intermittent;
mod observation;
mod paths;
mod regimes;
mod sample;
mod state_space;
mod trend_season;

pub use grid::{FREQUENCIES, Grid, pick};
pub use sample::sample;
