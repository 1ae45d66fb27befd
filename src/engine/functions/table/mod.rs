//! Table functions that make their own rows.

mod holidays;
mod synthetic_sales;

pub use holidays::holidays;
pub use synthetic_sales::{SyntheticSales, SyntheticSalesTable};
