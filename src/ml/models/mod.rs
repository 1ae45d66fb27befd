//! The families of models: fit, estimate and load by family.

mod answer;
mod arima;
mod arma;
mod auto;
mod averaging;
mod backtest;
mod ces;
mod cold_start;
mod container;
mod croston;
mod decomposition;
mod distillation;
mod ets;
mod family;
mod fitted;
mod fitting;
mod foundation;
mod least_squares;
mod level_shift;
mod local;
mod model;
mod networks;
mod passes;
mod reconciled;
mod refresh;
mod regression;
mod seasonal_naive;
mod simplex;
mod spread;
mod theta;
mod trees;
mod tuning;

#[cfg(test)]
mod tests;

pub use auto::candidates;
pub use backtest::{BacktestWindow, Past, Rolling, backtest, naive, window};
pub use distillation::{TAUGHT_SHARE, taught, taught_bytes};
pub use family::{
    check_objective, estimate, families_with, family_name, fit, fit_coherent, has_option, held_out, load,
    objectives, parse_family, row_columns,
};
pub use fitting::WINDOWS_MAX;
pub use foundation::{BASE_NAME, base_network};
pub use refresh::{Coherence, Refreshed, refresh, score};
pub use tuning::{Search, Space, Tuning, tune};
