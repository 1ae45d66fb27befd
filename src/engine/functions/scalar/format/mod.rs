//! PostgreSQL's patterns of dates and numbers: `to_char`, `to_date`, `to_timestamp`, `to_number`.
//!
//! Source: PostgreSQL 15 documentation, "Data Type Formatting Functions".

mod dates;
mod digits;
mod moment;
mod number_writer;
mod numbers;
mod pattern;
mod reading;
mod to_char;
mod to_number;
mod to_timestamp;

use datafusion::logical_expr::ScalarUDF;

pub use moment::{instant_of, instant_text};

/// The functions.
pub fn all() -> Vec<ScalarUDF> {
    vec![
        ScalarUDF::new_from_impl(to_char::ToChar::default()),
        ScalarUDF::new_from_impl(to_timestamp::FromText::to_date()),
        ScalarUDF::new_from_impl(to_timestamp::FromText::to_timestamp()),
        ScalarUDF::new_from_impl(to_number::ToNumber::default()),
    ]
}
