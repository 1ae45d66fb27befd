//! Table functions that make their own rows.

mod synthetic_sales;

pub use synthetic_sales::{SyntheticSales, SyntheticSalesTable};
