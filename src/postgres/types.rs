//! The types of pg_type: by name, by number, and those of arrow's columns.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use arrow::datatypes::{DataType, Field};

/// The key of a field's metadata that names its PostgreSQL type where arrow's does not tell it: `oid`, `name`, `char`.
pub const PG_TYPE: &str = "pg.type";

/// Key of the metadata of a column that names where it comes from: the number of a table or view, a point, and the place
/// of the column in it.
pub const PG_ORIGIN: &str = "pg.origin";

/// The rows of pg_type as PostgreSQL 15.18 has them, columns separated by tabs.
pub const PG_TYPE_ROWS: &str = include_str!("pg_type.tsv");

/// Columns of pg_type: oid, typname, typarray, typelem, typlen, typcategory.
const PLACES: [usize; 6] = [0, 1, 14, 13, 4, 7];

/// One type.
#[derive(Debug, Clone)]
pub struct PgType {
    /// Number.
    pub oid: u32,
    /// PostgreSQL's own name.
    pub name: &'static str,
    /// Number of the array type over it, 0 for none.
    pub array: u32,
    /// Number of the type of its elements, 0 for none.
    pub element: u32,
    /// Bytes of a value, -1 for any number.
    pub length: i16,
    /// Category, `A` for arrays.
    pub category: &'static str,
}

static TYPES: LazyLock<BTreeMap<u32, PgType>> =
    LazyLock::new(|| PG_TYPE_ROWS.lines().map(read).map(|found| (found.oid, found)).collect());

fn read(line: &'static str) -> PgType {
    let cells: Vec<&str> = line.split('\t').collect();
    let [oid, name, array, element, length, category] = PLACES.map(|place| cells[place]);
    let number = |cell: &str| cell.parse().unwrap_or(0);
    PgType {
        oid: number(oid),
        name,
        array: number(array),
        element: number(element),
        length: length.parse().unwrap_or(-1),
        category,
    }
}

/// SQL's names of types that PostgreSQL calls otherwise.
const SQL_NAMES: &[(&str, &str)] = &[
    ("boolean", "bool"),
    ("smallint", "int2"),
    ("integer", "int4"),
    ("bigint", "int8"),
    ("real", "float4"),
    ("double precision", "float8"),
    ("character varying", "varchar"),
    ("character", "bpchar"),
    ("timestamp without time zone", "timestamp"),
    ("timestamp with time zone", "timestamptz"),
    ("time without time zone", "time"),
    ("time with time zone", "timetz"),
];

/// Other ways to write them.
const SPELLINGS: &[(&str, &str)] = &[
    ("int", "int4"),
    ("tinyint", "int2"),
    ("float", "float8"),
    ("double", "float8"),
    ("decimal", "numeric"),
    ("dec", "numeric"),
    ("char varying", "varchar"),
    ("string", "text"),
];

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

const TEXT: WireType = plain(25, -1);

const fn plain(oid: u32, size: i16) -> WireType {
    WireType { oid, size, modifier: -1 }
}

/// The type of this number.
pub fn by_oid(oid: u32) -> Option<&'static PgType> {
    TYPES.get(&oid)
}

/// The type of this name: PostgreSQL's own, or SQL's, with or without a length: `int4`, `NUMERIC(10, 2)`, `text[]`.
pub fn by_name(name: &str) -> Option<&'static PgType> {
    let name = name.trim().trim_start_matches("pg_catalog.").trim_matches('"');
    if let Some(element) = name.strip_suffix("[]") {
        return by_oid(by_name(element)?.array);
    }
    let name = without_length(name).to_lowercase();
    let own = SQL_NAMES.iter().chain(SPELLINGS).find(|(sql, _)| *sql == name).map_or(&*name, |(_, own)| own);
    TYPES.values().find(|found| found.name == own)
}

/// `TIMESTAMP(3) WITH TIME ZONE` without the parentheses.
fn without_length(name: &str) -> String {
    match (name.find('('), name.rfind(')')) {
        (Some(open), Some(close)) if open < close => {
            format!("{}{}", name[..open].trim_end(), name[close + 1..].trim_end())
        }
        _ => name.to_owned(),
    }
}

/// The number of the element type of an array type.
pub fn element_of(oid: u32) -> Option<u32> {
    by_oid(oid).filter(|found| found.category == "A").map(|found| found.element)
}

/// The number of the type that SQL calls so, of text where there is none.
pub fn oid_of_sql(name: &str) -> u32 {
    let unknown = if name.ends_with("[]") { 1009 } else { TEXT.oid };
    by_name(name).map_or(unknown, |found| found.oid)
}

/// The name that SQL has for the type of this number; `None` for types that values cannot have here.
pub fn sql_of_oid(oid: u32) -> Option<String> {
    if let Some(element) = element_of(oid) {
        return sql_of_oid(element).map(|name| format!("{name}[]"));
    }
    let found = by_oid(oid)?;
    Some(
        match found.name {
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
            "void" => "VOID",
            _ if matches!(found.category, "G" | "R") => return None,
            _ => "TEXT",
        }
        .to_owned(),
    )
}

/// The type of a column of numbers that text shows as the names of things.
pub fn named_thing(field: &Field) -> Option<&'static str> {
    let mark = field.metadata().get(PG_TYPE)?;
    let things = ["regclass", "regtype", "regnamespace", "regproc", "regrole"];
    things.into_iter().find(|thing| thing == mark)
}

/// The number of the table or view that a column comes from, and its place there; 0 for a column that is computed.
pub fn origin_of(field: &Field) -> (u32, i16) {
    let told = field.metadata().get(PG_ORIGIN).and_then(|told| told.split_once('.'));
    let numbers = told.and_then(|(relation, column)| Some((relation.parse().ok()?, column.parse().ok()?)));
    numbers.unwrap_or_default()
}

/// The type of a column.
pub fn of_field(field: &Field) -> WireType {
    let marked = field.metadata().get(PG_TYPE).and_then(|mark| of_mark(mark));
    marked.unwrap_or_else(|| of_type(field.data_type()))
}

/// The type of a mark; `varchar(20)` has a modifier.
fn of_mark(mark: &str) -> Option<WireType> {
    let found = by_name(mark)?;
    let length =
        mark.split_once('(').and_then(|(_, length)| length.trim_end_matches(')').parse::<i32>().ok());
    Some(WireType { oid: found.oid, size: found.length, modifier: length.map_or(-1, |length| length + 4) })
}

/// The type of an array's values.
fn of_type(data_type: &DataType) -> WireType {
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
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => TEXT,
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
    plain(by_oid(element.oid).map_or(1009, |found| found.array), -1)
}

/// A type as `format_type` writes it, with its modifier.
pub fn format_type(oid: u32, modifier: Option<i32>) -> String {
    let Some(found) = by_oid(oid) else { return if oid == 0 { "-".to_owned() } else { "???".to_owned() } };
    if found.category == "A" && found.element != 0 && found.length == -1 && !matches!(found.oid, 22 | 30) {
        return format!("{}[]", format_type(found.element, modifier));
    }
    let modifier = modifier.filter(|m| *m >= 0);
    let name = match found.name {
        "timestamptz" => return with_precision("timestamp", modifier, " with time zone"),
        "timestamp" => return with_precision("timestamp", modifier, " without time zone"),
        "timetz" => return with_precision("time", modifier, " with time zone"),
        "time" => return with_precision("time", modifier, " without time zone"),
        "bpchar" => "character",
        "varchar" => "character varying",
        "char" => "\"char\"",
        "any" => "\"any\"",
        "numeric" => {
            return match modifier {
                Some(m) => format!("numeric({},{})", (m - 4) >> 16 & 0xffff, (m - 4) & 0x7ff),
                None => "numeric".to_owned(),
            };
        }
        own => {
            let sql = SQL_NAMES.iter().find(|(_, name)| *name == own);
            sql.map_or(own, |(sql, _)| sql)
        }
    };
    match modifier {
        Some(m) if matches!(found.name, "bpchar" | "varchar") => format!("{name}({})", m - 4),
        _ => name.to_owned(),
    }
}

fn with_precision(name: &str, modifier: Option<i32>, zone: &str) -> String {
    modifier.map_or_else(|| format!("{name}{zone}"), |digits| format!("{name}({digits}){zone}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names are the answers of format_type in PostgreSQL 15.
    #[test]
    fn types_have_the_names_of_sql() {
        for (oid, modifier, name) in [
            (23, None, "integer"),
            (1700, Some(655_366), "numeric(10,2)"),
            (1043, Some(24), "character varying(20)"),
            (1184, None, "timestamp with time zone"),
            (1114, Some(3), "timestamp(3) without time zone"),
            (1009, None, "text[]"),
            (18, None, "\"char\""),
            (26, None, "oid"),
            (22, None, "int2vector"),
            (701, None, "double precision"),
            (0, None, "-"),
        ] {
            assert_eq!(format_type(oid, modifier), name);
        }
        assert_eq!(by_name("double precision").map(|t| t.oid), Some(701));
        assert_eq!(by_name("int4[]").map(|t| t.oid), Some(1007));
        assert!(by_name("nosuch").is_none());
    }

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
