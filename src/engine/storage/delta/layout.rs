//! How SQL sees a stored table: names, types, defaults and constraints over the stored columns.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, TableReference};
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr;

use crate::engine::storage::catalog::{Column, Table, TableName};
use crate::engine::storage::types;
use crate::error::{Error, Result, Subject};
use crate::postgres::PG_TYPE;

/// A CHECK constraint with its condition planned over the table's columns.
#[derive(Debug, Clone)]
pub struct PlannedCheck {
    /// Name of the constraint.
    pub name: String,
    /// SQL text of the condition.
    pub sql: String,
    /// The condition.
    pub condition: Expr,
}

/// The columns of a table as SQL sees them, over the columns its files hold.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Name of the table.
    pub name: TableName,
    /// Columns as SQL sees them; all may be NULL in a plan, so that a NULL reaches our own NOT NULL check.
    pub schema: SchemaRef,
    /// Whether each column of `schema` is NOT NULL.
    pub required: Vec<bool>,
    /// Name in the files of each column of `schema`.
    pub stored_names: Vec<String>,
    /// DEFAULT of each column of `schema`.
    pub defaults: Vec<Option<Expr>>,
    /// CHECK constraints.
    pub checks: Vec<PlannedCheck>,
    /// Stored names of the columns the rows are kept sorted by.
    pub cluster_by: Vec<String>,
}

impl Layout {
    /// The layout of the catalog entry `table` over the columns `stored` that its newest version has.
    pub fn current(
        name: &TableName,
        table: &Table,
        stored: &Schema,
        functions: &SessionState,
    ) -> Result<Self> {
        let live = || table.live_columns();
        let mut required = Vec::new();
        let fields = live().map(|column| {
            let field = stored.field_with_name(&column.stored_name).map_err(|_| {
                let message = format!("column {} of table {name} is missing in its log", column.name);
                Error::corrupt(Subject::Table, message)
            })?;
            required.push(!field.is_nullable());
            Ok(scanned_field(&column.name, field, column))
        });
        let schema = Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?));
        let known = qualified(name, &schema)?;
        let checks = table.checks.iter().map(|check| {
            let condition = plan(functions, &check.sql, &known)?;
            Ok(PlannedCheck { name: check.name.clone(), sql: check.sql.clone(), condition })
        });
        let checks = checks.collect::<Result<_>>()?;
        let nothing = DFSchema::empty();
        let default =
            |sql: &Option<String>| sql.as_ref().map(|sql| plan(functions, sql, &nothing)).transpose();
        Ok(Self {
            name: name.clone(),
            stored_names: live().map(|c| c.stored_name.clone()).collect(),
            defaults: live().map(|c| default(&c.default_sql)).collect::<Result<_>>()?,
            checks,
            cluster_by: table.cluster_by.clone(),
            schema,
            required,
        })
    }

    /// The layout of an older version with the columns `stored`, under the names columns have today.
    pub fn of_version(name: &TableName, table: &Table, stored: &Schema) -> Self {
        let mut fields: Vec<Field> = Vec::new();
        let mut stored_names: Vec<String> = Vec::new();
        for column in &table.columns {
            let Ok(field) = stored.field_with_name(&column.stored_name) else { continue };
            let free = fields.iter().all(|f| *f.name() != column.name);
            let visible = if free { &column.name } else { &column.stored_name };
            fields.push(scanned_field(visible, field, column));
            stored_names.push(column.stored_name.clone());
        }
        Self {
            name: name.clone(),
            schema: Arc::new(Schema::new(fields)),
            required: vec![false; stored_names.len()],
            defaults: vec![None; stored_names.len()],
            stored_names,
            checks: Vec::new(),
            cluster_by: table.cluster_by.clone(),
        }
    }

    /// The schema with the table's name as qualifier, for planning expressions over its rows.
    pub fn qualified_schema(&self) -> Result<DFSchema> {
        qualified(&self.name, &self.schema)
    }
}

fn scanned_field(name: &str, stored: &Field, column: &Column) -> Field {
    let told = column.sql_type.iter().map(|name| (PG_TYPE.to_owned(), name.clone()));
    Field::new(name, types::scanned(stored.data_type()), true).with_metadata(told.collect())
}

fn qualified(name: &TableName, schema: &Schema) -> Result<DFSchema> {
    DFSchema::try_from_qualified_schema(TableReference::bare(name.table.as_str()), schema)
        .map_err(Error::from)
}

fn plan(functions: &SessionState, sql: &str, schema: &DFSchema) -> Result<Expr> {
    functions.create_logical_expr(sql, schema).map_err(Error::from)
}
