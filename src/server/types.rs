//! Types of columns on the wire: arrow's, and PostgreSQL's where a column is marked with one.

use arrow::datatypes::{DataType, Field};

/// The key of a field's metadata that names its PostgreSQL type where arrow's does not tell it: `oid`, `name`, `char`.
pub const TYPE_KEY: &str = crate::engine::PG_TYPE;

/// A type as RowDescription tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireType {
    /// Its number in pg_type.
    pub oid: u32,
    /// Bytes of a value, -1 for any number.
    pub size: i16,
    /// Modifier, such as the precision of a numeric; -1 for none.
    pub modifier: i32,
}

/// Name, number, number of the array type, bytes of a value.
const TYPES: &[(&str, u32, u32, i16)] = &[
    ("bool", 16, 1000, 1),
    ("bytea", 17, 1001, -1),
    ("char", 18, 1002, 1),
    ("name", 19, 1003, 64),
    ("int8", 20, 1016, 8),
    ("int2", 21, 1005, 2),
    ("int2vector", 22, 1006, -1),
    ("int4", 23, 1007, 4),
    ("regproc", 24, 1008, 4),
    ("text", 25, 1009, -1),
    ("oid", 26, 1028, 4),
    ("tid", 27, 1010, 6),
    ("xid", 28, 1011, 4),
    ("oidvector", 30, 1013, -1),
    ("json", 114, 199, -1),
    ("pg_node_tree", 194, 0, -1),
    ("float4", 700, 1021, 4),
    ("float8", 701, 1022, 8),
    ("unknown", 705, 0, -2),
    ("inet", 869, 1041, -1),
    ("aclitem", 1033, 1034, 12),
    ("bpchar", 1042, 1014, -1),
    ("varchar", 1043, 1015, -1),
    ("date", 1082, 1182, 4),
    ("time", 1083, 1183, 8),
    ("timestamp", 1114, 1115, 8),
    ("timestamptz", 1184, 1185, 8),
    ("interval", 1186, 1187, 16),
    ("numeric", 1700, 1231, -1),
    ("regprocedure", 2202, 2207, 4),
    ("regoper", 2203, 2208, 4),
    ("regclass", 2205, 2210, 4),
    ("regtype", 2206, 2211, 4),
    ("record", 2249, 2287, -1),
    ("anyarray", 2277, 0, -1),
    ("void", 2278, 0, 4),
    ("uuid", 2950, 2951, 16),
    ("pg_lsn", 3220, 3221, 8),
    ("jsonb", 3802, 3807, -1),
    ("regnamespace", 4089, 4090, 4),
    ("regrole", 4096, 4097, 4),
    ("cardinal_number", 13424, 13423, 4),
    ("character_data", 13427, 13426, -1),
    ("sql_identifier", 13429, 13428, 64),
    ("time_stamp", 13435, 13434, 8),
    ("yes_or_no", 13437, 13436, -1),
];

/// SQL's names of types beside PostgreSQL's own.
const ALIASES: &[(&str, &str)] = &[
    ("boolean", "bool"),
    ("smallint", "int2"),
    ("tinyint", "int2"),
    ("integer", "int4"),
    ("int", "int4"),
    ("bigint", "int8"),
    ("real", "float4"),
    ("float", "float8"),
    ("double", "float8"),
    ("double precision", "float8"),
    ("decimal", "numeric"),
    ("dec", "numeric"),
    ("character varying", "varchar"),
    ("char varying", "varchar"),
    ("character", "bpchar"),
    ("timestamp without time zone", "timestamp"),
    ("timestamp with time zone", "timestamptz"),
    ("time without time zone", "time"),
    ("string", "text"),
];

const fn plain(oid: u32, size: i16) -> WireType {
    WireType { oid, size, modifier: -1 }
}

/// The type of PostgreSQL's name, an array's with a leading underscore; `varchar(20)` has a modifier.
pub fn by_name(name: &str) -> Option<WireType> {
    if let Some((name, length)) = name.split_once('(') {
        let length = length.trim_end_matches(')').parse::<i32>().ok()?;
        return Some(WireType { modifier: length + 4, ..by_name(name)? });
    }
    if let Some(element) = name.strip_prefix('_') {
        let found = TYPES.iter().find(|t| t.0 == element && t.2 != 0)?;
        return Some(plain(found.2, -1));
    }
    TYPES.iter().find(|t| t.0 == name).map(|t| plain(t.1, t.3))
}

/// The number of the element type of an array type.
pub fn element_of(oid: u32) -> Option<u32> {
    match oid {
        22 => Some(21),
        30 => Some(26),
        _ => TYPES.iter().find(|t| t.2 == oid && oid != 0).map(|t| t.1),
    }
}

/// The number of the type that SQL calls so: `BIGINT`, `NUMERIC(10,2)`, `TEXT[]`.
pub fn oid_of_sql(name: &str) -> u32 {
    let name = name.to_lowercase();
    let (base, array) = match name.strip_suffix("[]") {
        Some(base) => (base, true),
        None => (name.as_str(), false),
    };
    let base = match base.find('(') {
        Some(open) => format!("{}{}", &base[..open], base.rsplit(')').next().unwrap_or_default()),
        None => base.to_owned(),
    };
    let base = base.trim();
    let known = ALIASES.iter().find(|(alias, _)| *alias == base).map_or(base, |(_, known)| known);
    let found = TYPES.iter().find(|t| t.0 == known);
    match (found, array) {
        (Some(t), false) => t.1,
        (Some(t), true) => t.2,
        (None, false) => 25,
        (None, true) => 1009,
    }
}

/// The name that SQL has for the type of this number; `None` for types that values cannot have here.
pub fn sql_of_oid(oid: u32) -> Option<String> {
    if let Some(element) = element_of(oid) {
        return sql_of_oid(element).map(|name| format!("{name}[]"));
    }
    let name = TYPES.iter().find(|t| t.1 == oid)?.0;
    Some(
        match name {
            "bool" => "BOOLEAN",
            "int2" => "SMALLINT",
            "int4" => "INTEGER",
            "int8" => "BIGINT",
            "float4" => "REAL",
            "float8" => "DOUBLE PRECISION",
            "numeric" => "NUMERIC",
            "bytea" => "BYTEA",
            "date" => "DATE",
            "time" => "TIME",
            "timestamp" => "TIMESTAMP",
            "timestamptz" => "TIMESTAMPTZ",
            "interval" => "INTERVAL",
            "oid" | "regclass" | "regtype" | "regproc" | "regnamespace" | "xid" => "BIGINT",
            _ => "TEXT",
        }
        .to_owned(),
    )
}

/// The type of a column of numbers that text shows as the names of things.
pub fn named_thing(field: &Field) -> Option<&'static str> {
    let mark = field.metadata().get(TYPE_KEY)?;
    let things = ["regclass", "regtype", "regnamespace", "regproc", "regrole"];
    things.into_iter().find(|thing| thing == mark)
}

/// The type of a column.
pub fn of_field(field: &Field) -> WireType {
    match field.metadata().get(TYPE_KEY) {
        Some(name) => by_name(name).unwrap_or_else(|| of_type(field.data_type())),
        None => of_type(field.data_type()),
    }
}

/// The type of an array's values.
pub fn of_type(data_type: &DataType) -> WireType {
    match data_type {
        DataType::Boolean => plain(16, 1),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => plain(21, 2),
        DataType::Int32 | DataType::UInt16 => plain(23, 4),
        DataType::Int64 | DataType::UInt32 => plain(20, 8),
        DataType::UInt64 => plain(1700, -1),
        DataType::Float16 | DataType::Float32 => plain(700, 4),
        DataType::Float64 => plain(701, 8),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => WireType { oid: 1700, size: -1, modifier: numeric_modifier(*p, *s) },
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            plain(17, -1)
        }
        DataType::Date32 | DataType::Date64 => plain(1082, 4),
        DataType::Time32(_) | DataType::Time64(_) => plain(1083, 8),
        DataType::Timestamp(_, None) => plain(1114, 8),
        DataType::Timestamp(_, Some(_)) => plain(1184, 8),
        DataType::Interval(_) | DataType::Duration(_) => plain(1186, 16),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => array_of(item),
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => plain(114, -1),
        DataType::Dictionary(_, values) => of_type(values),
        DataType::RunEndEncoded(_, values) => of_type(values.data_type()),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => plain(25, -1),
    }
}

fn numeric_modifier(precision: u8, scale: i8) -> i32 {
    ((i32::from(precision) << 16) | (i32::from(scale) & 0x7ff)) + 4
}

/// The array type over these elements; of nested lists the innermost counts.
fn array_of(item: &Field) -> WireType {
    let element = of_field(item);
    if element_of(element.oid).is_some() {
        return element;
    }
    let array = TYPES.iter().find(|t| t.1 == element.oid).map_or(1009, |t| t.2);
    plain(array, -1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sql_have_numbers_and_back() {
        for (name, oid) in [
            ("BIGINT", 20),
            ("NUMERIC(10, 2)", 1700),
            ("TEXT[]", 1009),
            ("DOUBLE PRECISION", 701),
            ("TIMESTAMP(3) WITH TIME ZONE", 1184),
            ("VARCHAR(20)", 1043),
        ] {
            assert_eq!(oid_of_sql(name), oid, "{name}");
        }
        assert_eq!(sql_of_oid(1016).as_deref(), Some("BIGINT[]"));
        assert_eq!(sql_of_oid(600), None);
    }

    #[test]
    fn decimals_tell_their_precision() {
        // SELECT atttypmod FROM pg_attribute of a numeric(10,2): 655366.
        assert_eq!(of_type(&DataType::Decimal128(10, 2)).modifier, 655_366);
    }
}
