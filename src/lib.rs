//! Foretell: the SQL engine that forecasts.

pub mod engine;
pub mod error;
pub mod ml;
pub mod repl;

pub use error::{Error, ErrorKind, Result};
