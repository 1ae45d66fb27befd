//! CREATE TABLE and CREATE TABLE AS: the files first, the name last, so that no half of it is ever seen.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::ExprSchemable;

use crate::engine::storage::catalog::acl::Acl;
use crate::engine::storage::catalog::entries::{
    Column, Contents, Entry, Key, Sequence, Serial, Table, TableDefinition, TableName, check_identifier,
    stored_name,
};
use crate::engine::storage::catalog::sequences::default_text;
use crate::engine::storage::catalog::store::Catalog;
use crate::engine::storage::delta::{self, Layout, StoredTable};
use crate::engine::storage::types;
use crate::error::{Error, ErrorKind, Result, Subject};

/// What CREATE does when the name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// It fails.
    Fail,
    /// It does nothing: IF NOT EXISTS.
    Skip,
    /// The new thing takes the place of the old one: OR REPLACE.
    Replace,
}

/// What CREATE did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created {
    /// False when the name was taken and that was fine.
    pub created: bool,
    /// Rows stored.
    pub rows: u64,
}

impl Catalog {
    /// Creates the table `name`, with all of `rows` if given. Nothing is visible unless everything succeeds.
    pub async fn create_table(
        &self,
        name: &TableName,
        definition: TableDefinition,
        rows: Option<SendableRecordBatchStream>,
        if_exists: IfExists,
    ) -> Result<Created> {
        self.ensure_writable()?;
        if is_taken(&*self.contents()?, name, if_exists)? {
            return Ok(Created { created: false, rows: 0 });
        }
        let definition = self.with_sequences(name, definition)?;
        let (entry, stored) = self.plan_table(name, &definition)?;
        let layout = Layout::current(name, &entry, &stored, &self.inner.functions)?;
        validate(&layout)?;

        let (tables, fs) = (&self.inner.tables, self.inner.fs.clone());
        let table = Arc::new(StoredTable::open(tables, &entry.id, name.to_string(), fs)?);
        table.mark_unpublished();
        create_directory(&table).await?;
        let rows = delta::create(&table, &stored, &layout, rows, &self.inner.functions).await?;
        let created =
            self.publish_table(name, entry, definition.serials, Arc::clone(&table), if_exists).await?;
        Ok(Created { created, rows: if created { rows } else { 0 } })
    }

    async fn publish_table(
        &self,
        name: &TableName,
        entry: Table,
        serials: Vec<Serial>,
        table: Arc<StoredTable>,
        if_exists: IfExists,
    ) -> Result<bool> {
        let (catalog, name) = (self.clone(), name.clone());
        let (put, id, unpublished) = (name.clone(), entry.id.clone(), Arc::clone(&table));
        let published = self.update(move |contents| {
            if is_taken(contents, &put, if_exists)? {
                return Ok(None);
            }
            let id = entry.id.clone();
            let mut sequences = vec![];
            for serial in serials {
                let column = &entry.columns[entry.column_index(&put, &serial.column)?];
                let owned_by = Some((id.clone(), column.stored_name.clone()));
                let sequence = Sequence { owned_by, acl: entry.acl.clone(), ..serial.sequence };
                sequences.push((serial.name, Entry::Sequence(Arc::new(sequence))));
            }
            let replaced =
                contents.put(&put, Entry::Table(Arc::new(entry)), if_exists == IfExists::Replace)?;
            if let Some(Entry::Table(old)) = &replaced {
                contents.drop_owned(&old.id, None);
            }
            for (name, sequence) in sequences {
                contents.put(&name, sequence, false)?;
            }
            table.keep();
            catalog.adopt(&table);
            Ok(Some(replaced))
        });
        match published.await {
            Err(error) => {
                // After a failed sync the catalog may have it.
                if !self.inner.fs.has_failed() {
                    self.forget(&id);
                    unpublished.mark_unpublished();
                }
                Err(error)
            }
            Ok(None) => Ok(false),
            Ok(Some(replaced)) => {
                replaced.iter().try_for_each(|old| self.discard(&name, old))?;
                Ok(true)
            }
        }
    }

    /// The definition with names for the sequences of its columns, and the defaults that use them.
    fn with_sequences(&self, name: &TableName, mut definition: TableDefinition) -> Result<TableDefinition> {
        let contents = self.contents()?;
        for serial in &mut definition.serials {
            serial.name = contents.free_sequence_name(name, &serial.column);
            for column in definition.columns.iter_mut().filter(|column| column.name == serial.column) {
                column.default_sql = Some(default_text(&serial.name));
            }
        }
        Ok(definition)
    }

    /// The catalog entry and the stored columns of a new table.
    fn plan_table(&self, name: &TableName, definition: &TableDefinition) -> Result<(Table, Schema)> {
        check_identifier(&name.table, Subject::Table)?;
        self.contents()?.schema(&name.schema)?;
        if definition.columns.is_empty() {
            return Err(Error::input(Subject::Table, format!("table {name} needs at least one column")));
        }
        let mut table = Table {
            id: uuid::Uuid::new_v4().simple().to_string(),
            columns: Vec::new(),
            checks: definition.checks.clone(),
            keys: Vec::new(),
            constraint_comments: BTreeMap::new(),
            cluster_by: Vec::new(),
            comment: definition.comment.clone(),
            acl: Acl::of_owner(definition.owner.clone()),
        };
        let mut fields = Vec::new();
        for column in &definition.columns {
            table.ensure_column_is_free(name, &column.name).map_err(|e| repeated(e, &column.name))?;
            let used: Vec<String> = table.columns.iter().map(|c| c.stored_name.to_lowercase()).collect();
            let stored = stored_name(&column.name, &used);
            let data_type = types::declared(&column.name, &column.data_type)?;
            fields.push(Field::new(&stored, data_type.clone(), column.nullable));
            table.columns.push(Column {
                name: column.name.clone(),
                stored_name: stored,
                data_type,
                sql_type: column.sql_type.clone(),
                required: !column.nullable,
                default_sql: column.default_sql.clone(),
                comment: column.comment.clone(),
                dropped: false,
            });
        }
        let stored = Schema::new(fields);
        table.cluster_by = cluster_columns(name, &table, &stored, &definition.cluster_by)?;
        table.keys =
            definition.keys.iter().map(|key| stored_key(name, &table, key)).collect::<Result<_>>()?;
        Ok((table, stored))
    }
}

async fn create_directory(table: &Arc<StoredTable>) -> Result<()> {
    let table = Arc::clone(table);
    let created = tokio::task::spawn_blocking(move || {
        let directory = table.directory()?;
        directory.fs().create_dir_all(directory.path()).map_err(|e| Error::io(directory.path(), &e))
    });
    created.await.map_err(|e| Error::internal(format!("the table's directory was not created: {e}")))?
}

/// True when `name` is taken and nothing is to be done about it.
fn is_taken(contents: &Contents, name: &TableName, if_exists: IfExists) -> Result<bool> {
    match (contents.find(name), if_exists) {
        (None, _) | (Some(Entry::Table(_)), IfExists::Replace) => Ok(false),
        (Some(_), IfExists::Skip) => Ok(true),
        (Some(found), _) => {
            let message = format!("{} {name} already exists", found.kind());
            Err(Error::new(ErrorKind::Exists, Subject::Table, message))
        }
    }
}

fn repeated(error: Error, column: &str) -> Error {
    match error.kind() {
        ErrorKind::Exists => {
            Error::new(ErrorKind::Exists, Subject::Column, format!("column {column} is given twice"))
        }
        _ => error,
    }
}

/// The key with the stored names of its columns.
pub(super) fn stored_key(name: &TableName, table: &Table, key: &Key) -> Result<Key> {
    let stored = |column: &String| Ok(table.columns[table.column_index(name, column)?].stored_name.clone());
    Ok(Key { columns: key.columns.iter().map(stored).collect::<Result<_>>()?, ..key.clone() })
}

/// The stored names of the columns that rows of the table `name` are to be sorted by.
pub(super) fn cluster_columns(
    name: &TableName,
    table: &Table,
    stored: &Schema,
    columns: &[String],
) -> Result<Vec<String>> {
    let stored_names = columns.iter().map(|column| {
        let stored_name = &table.columns[table.column_index(name, column)?].stored_name;
        let field = stored.field_with_name(stored_name);
        if field.is_ok_and(|f| matches!(f.data_type(), DataType::List(_) | DataType::Struct(_))) {
            let message =
                format!("rows cannot be kept sorted by column {column}: lists and structs have no order");
            return Err(Error::input(Subject::Column, message));
        }
        Ok(stored_name.clone())
    });
    stored_names.collect()
}

/// Fails when a CHECK is not a condition, or a DEFAULT does not fit its column.
pub(super) fn validate(layout: &Layout) -> Result<()> {
    let schema = layout.qualified_schema()?;
    let mut names = HashSet::new();
    for check in &layout.checks {
        if !names.insert(check.name.as_str()) {
            let message = format!("check constraint \"{}\" is given twice", check.name);
            return Err(Error::input(Subject::Constraint, message));
        }
        let data_type = check.condition.get_type(&schema)?;
        if data_type != DataType::Boolean {
            let message = format!("check constraint \"{}\" must be a condition: ({})", check.name, check.sql);
            return Err(Error::input(Subject::Constraint, message));
        }
    }
    let nothing = DFSchema::empty();
    for (field, default) in layout.schema.fields().iter().zip(&layout.defaults) {
        let Some(default) = default else { continue };
        let data_type = default.get_type(&nothing as &dyn ExprSchema)?;
        if !arrow::compute::can_cast_types(&data_type, field.data_type()) {
            let (given, wanted) = (types::sql_name(&data_type), types::sql_name(field.data_type()));
            let message = format!("default of column {} is {given}, the column is {wanted}", field.name());
            return Err(Error::input(Subject::Type, message));
        }
    }
    Ok(())
}
