//! PostgreSQL's types and its forms of values: what the wire, COPY and casts to text write.

mod array;
mod encode;
mod interval;
mod read;
mod time;
mod types;

pub use array::{ArrayItem, DIMENSIONS_MAX, array_elements, array_items};
pub use encode::{
    ColumnWriter, EPOCH_DAYS, EPOCH_MICROS, Format, Style, Zone, bytea, column, date, double, interval,
    message, quote_array_element, single, time, timestamp, timestamptz,
};
pub use interval::parse_interval;
pub use read::{bytea_of, parse};
pub use time::{parse_date, plain_time};
pub use types::{
    PG_ORIGIN, PG_TYPE, PG_TYPE_ROWS, by_name, by_oid, element_of, format_type, named_thing, of_field,
    oid_of_sql, origin_of, sql_of_oid,
};
