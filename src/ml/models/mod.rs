//! The families of models.

pub mod tide;
