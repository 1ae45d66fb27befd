//! Functions of the SQL engine: scalar, aggregate and table functions, one file each.

mod aggregate;
mod register;
mod scalar;
mod table;

pub use register::register_all;
pub use scalar::{Scaling, scaled_interval};
pub use table::{SyntheticSales, SyntheticSalesTable};
