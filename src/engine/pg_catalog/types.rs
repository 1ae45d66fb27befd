//! The types of pg_type, for names and numbers.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::relations;

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
    /// Bytes of a value.
    pub length: i64,
    /// Category.
    pub category: &'static str,
}

pub(super) const TEXT: &str = include_str!("data/pg_type.tsv");

static TYPES: LazyLock<BTreeMap<u32, PgType>> = LazyLock::new(|| {
    let columns = relations::find("pg_catalog", "pg_type").map(|r| r.columns.as_slice()).unwrap_or_default();
    let at = |name: &str| columns.iter().position(|(column, _)| *column == name).unwrap_or(0);
    let places = ["oid", "typname", "typarray", "typelem", "typlen", "typcategory"].map(at);
    let read = |line: &'static str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let number = |n: usize| cells[places[n]].parse().unwrap_or(0);
        PgType {
            oid: number(0),
            name: cells[places[1]],
            array: number(2),
            element: number(3),
            length: cells[places[4]].parse().unwrap_or(-1),
            category: cells[places[5]],
        }
    };
    TEXT.lines().map(read).map(|t| (t.oid, t)).collect()
});

/// The type of this number.
pub fn by_oid(oid: u32) -> Option<&'static PgType> {
    TYPES.get(&oid)
}

/// The type of this name: PostgreSQL's own, or SQL's.
pub fn by_name(name: &str) -> Option<&'static PgType> {
    let name = name.trim().trim_start_matches("pg_catalog.").trim_matches('"');
    if let Some(element) = name.strip_suffix("[]") {
        return by_oid(by_name(element)?.array);
    }
    let base = name.split('(').next().unwrap_or(name).trim().to_lowercase();
    let own = ALIASES.iter().find(|(sql, _)| *sql == base).map_or(base.as_str(), |(_, own)| own);
    TYPES.values().find(|t| t.name == own)
}

/// SQL's names of types that PostgreSQL calls otherwise.
const ALIASES: &[(&str, &str)] = &[
    ("boolean", "bool"),
    ("smallint", "int2"),
    ("integer", "int4"),
    ("int", "int4"),
    ("bigint", "int8"),
    ("real", "float4"),
    ("double precision", "float8"),
    ("decimal", "numeric"),
    ("character varying", "varchar"),
    ("character", "bpchar"),
    ("timestamp without time zone", "timestamp"),
    ("timestamp with time zone", "timestamptz"),
    ("time without time zone", "time"),
    ("time with time zone", "timetz"),
];

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
        "numeric" => {
            return match modifier {
                Some(m) => format!("numeric({},{})", (m - 4) >> 16 & 0xffff, (m - 4) & 0x7ff),
                None => "numeric".to_owned(),
            };
        }
        own => {
            let sql = ALIASES.iter().find(|(sql, name)| *name == own && *sql != "int" && *sql != "decimal");
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
}
