//! Foretell: the SQL engine that forecasts.
//!
//! A [`Database`] is one directory; a [`Session`] is one connection to it; a [`Query`] is one running
//! statement: its rows, its progress, and the handle that cancels it.
//!
//! # The life of a TRAIN
//!
//! The text is split, guarded against depth and parsed with PostgreSQL's dialect and our statements
//! (`engine/sql`). TRAIN becomes a plan node over the rows of its relation (`engine/plan/train.rs`), its
//! roles and options checked before anything runs. The rows arrive sorted by series and time and fill a
//! [`ml::series::Panel`]; a thread of its own fits a [`ml::forecaster::Family`] on it; the weights and their
//! manifest are published by one atomic, durable commit (`engine/registry`). Killed before that, there is no
//! model and no debris.
//!
//! # The life of a forecast
//!
//! `forecast(m, …)` in FROM becomes a node whose columns come from the model's manifest: the user's own keys
//! and time, then ours. Filters on keys go below it, so that one series wanted is one series read. Series are
//! read in panels, predicted by the code path that built the training features, and stream out with a status
//! (`engine/plan/forecasting.rs`).

pub mod engine;
pub mod error;
pub mod ml;
pub mod repl;

pub use engine::{CancelHandle, Database, ProgressHandle, Query, Session, Settings};
pub use error::{Error, ErrorKind, Result};
