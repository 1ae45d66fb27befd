//! Functions of the SQL engine: scalar, aggregate and table functions, one file each.

mod aggregate;
mod growing;
mod register;
mod scalar;
mod sizes;
mod table;

/// The sections of the documentation that functions of ours are in, those of PostgreSQL apart.
pub const SECTIONS: [&str; 4] = ["Calendar", "Demand statistics", "Forecast metrics", "Prices"];

pub use aggregate::{interval_distinct, interval_extreme, is_aggregate};
pub use growing::counted_textcat;
pub use register::register_all;
pub use scalar::{
    Operation, Scaling, SeededNumbers, arithmetic, at_all_characters, days_between, first_number, from_text,
    instant_text, interval_length, is_read_otherwise, is_written_otherwise, joined, operator, quoted_name,
    quoted_text, rint, row_key, scaled_interval, text, timezone,
};
pub use table::{SyntheticSales, SyntheticSalesTable, holidays};
