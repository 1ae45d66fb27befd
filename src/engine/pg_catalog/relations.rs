//! The relations that PostgreSQL 15 has in `pg_catalog` and `information_schema`, with their columns and true types.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::postgres::PG_TYPE;

/// One relation.
#[derive(Debug)]
pub struct Relation {
    /// `pg_catalog` or `information_schema`.
    pub schema: &'static str,
    /// Name.
    pub name: &'static str,
    /// Number in pg_class.
    pub oid: u32,
    /// `r` for tables, `v` for views.
    pub kind: &'static str,
    /// Columns: name, PostgreSQL's name of the type.
    pub columns: Vec<(&'static str, &'static str)>,
    /// The same for arrow.
    pub arrow: SchemaRef,
}

/// Schema, name, number, kind, `column:type …` of every relation, tab-separated; taken from a PostgreSQL 15.18.
const TEXT: &str = include_str!("data/relations.tsv");

/// What the function `pg_get_keywords` gives, as a relation.
const KEYWORDS: &str =
    "pg_catalog\tpg_get_keywords\t0\tf\tword:text catcode:char barelabel:bool catdesc:text baredesc:text";

static RELATIONS: LazyLock<Vec<Relation>> =
    LazyLock::new(|| TEXT.lines().chain([KEYWORDS]).filter_map(read).collect());

fn read(line: &'static str) -> Option<Relation> {
    let mut parts = line.split('\t');
    let (schema, name, oid, kind) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let columns: Vec<_> = parts.next()?.split(' ').filter_map(|column| column.split_once(':')).collect();
    let fields: Vec<Field> = columns.iter().map(|(name, pg_type)| field(name, pg_type)).collect();
    let arrow = Arc::new(Schema::new(fields));
    Some(Relation { schema, name, oid: oid.parse().ok()?, kind, columns, arrow })
}

/// All relations of a schema.
pub fn of_schema(schema: &str) -> impl Iterator<Item = &'static Relation> {
    RELATIONS.iter().filter(move |relation| relation.schema == schema)
}

/// One relation.
pub fn find(schema: &str, name: &str) -> Option<&'static Relation> {
    RELATIONS.iter().find(|relation| relation.name == name && relation.schema == schema)
}

/// A column of one of PostgreSQL's types.
pub fn field(name: &str, pg_type: &str) -> Field {
    Field::new(name, arrow_type(pg_type), true).with_metadata(marks(pg_type))
}

/// What tells clients the type of a column where arrow's type does not.
pub fn marks(pg_type: &str) -> std::collections::HashMap<String, String> {
    let told = match pg_type {
        // Clients are told the types that domains are made of.
        "sql_identifier" => "name".to_owned(),
        "character_data" | "yes_or_no" => "varchar".to_owned(),
        "cardinal_number" | "time_stamp" => return Default::default(),
        array if array.ends_with("[]") => format!("_{}", array.trim_end_matches("[]")),
        plain => plain.to_owned(),
    };
    [(PG_TYPE.to_owned(), told)].into()
}

/// Arrow's type for the values of one of PostgreSQL's.
pub fn arrow_type(pg_type: &str) -> DataType {
    if let Some(element) = pg_type.strip_suffix("[]") {
        return list(element);
    }
    match pg_type {
        "bool" => DataType::Boolean,
        "int2" => DataType::Int16,
        "int4" | "cardinal_number" => DataType::Int32,
        "int8" => DataType::Int64,
        "float4" => DataType::Float32,
        "float8" => DataType::Float64,
        "numeric" => DataType::Decimal128(38, 0),
        "oid" | "xid" | "regproc" | "regclass" | "regtype" | "regnamespace" | "regrole" => DataType::Int64,
        "timestamptz" | "time_stamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "bytea" => DataType::Binary,
        "int2vector" => list("int2"),
        "oidvector" => list("oid"),
        _ => DataType::Utf8,
    }
}

fn list(element: &str) -> DataType {
    // What _pg_expandarray makes of an array: its elements with their numbers.
    if element == "expanded" {
        let fields = vec![Field::new("x", DataType::Int64, true), Field::new("n", DataType::Int32, true)];
        return DataType::List(Arc::new(Field::new("item", DataType::Struct(fields.into()), true)));
    }
    if element == "acl" {
        return DataType::List(Arc::new(Field::new("item", acl_item(), true)));
    }
    DataType::List(Arc::new(Field::new("item", arrow_type(element), true)))
}

/// What `aclexplode` makes of a right.
pub fn acl_item() -> DataType {
    let oid = |name: &str| Field::new(name, DataType::Int64, true).with_metadata(marks("oid"));
    let fields = vec![
        oid("grantor"),
        oid("grantee"),
        Field::new("privilege_type", DataType::Utf8, true),
        Field::new("is_grantable", DataType::Boolean, true),
    ];
    DataType::Struct(fields.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_of_postgresql_are_known() {
        let class = find("pg_catalog", "pg_class").unwrap();
        assert_eq!((class.oid, class.kind, class.columns.len()), (1259, "r", 33));
        assert_eq!(class.columns[0], ("oid", "oid"));
        assert!(of_schema("pg_catalog").count() > 120 && of_schema("information_schema").count() > 60);
    }
}
