//! `synthetic_sales(series =>, days =>, seed =>, start =>)`: sales of made-up shops, the same for the same seed.

mod batches;
mod calendar;
mod catalogue;
mod demand;
mod spec;
mod table;

pub use spec::SyntheticSales;
pub use table::SyntheticSalesTable;
