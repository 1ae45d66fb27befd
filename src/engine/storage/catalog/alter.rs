//! ALTER TABLE: names, columns, constraints and comments.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::ScalarValue;
use datafusion::execution::TaskContext;
use tokio::sync::OwnedMutexGuard;

use crate::engine::storage::catalog::create::{stored_key, validate};
use crate::engine::storage::catalog::entries::{
    Column, ColumnDefinition, Contents, Entry, Key, Table, TableName, View,
};
use crate::engine::storage::catalog::expressions::{mentions, rename_column};
use crate::engine::storage::catalog::generations::Room;
use crate::engine::storage::catalog::store::Catalog;
use crate::engine::storage::delta::{self, Layout, StoredTable};
use crate::engine::storage::types;
use crate::error::{Error, ErrorKind, Result, Subject};

impl Catalog {
    /// Gives the table, view or external table `from` the name `to`.
    pub async fn rename_table(&self, from: &TableName, to: &TableName) -> Result<()> {
        let (old, new) = (from.clone(), to.clone());
        let entry = self.update(move |contents| {
            let kind = contents.entry(&old, "table")?.kind();
            if kind == "sequence" {
                let message = format!("sequence {old} cannot be renamed: defaults know it by its name");
                return Err(Error::input(Subject::Sequence, message));
            }
            let entry = contents.take(&old, kind)?;
            contents.put(&new, entry.clone(), false)?;
            Ok(entry)
        });
        if let Entry::Table(table) = entry.await? {
            self.set_label(&table.id, to);
        }
        Ok(())
    }

    /// Keeps an index for tools; false when its table has one of that name already.
    pub async fn create_index(&self, name: &TableName, key: Key, skip: bool) -> Result<bool> {
        let table = name.clone();
        self.update(move |contents| {
            let taken = contents.index(&TableName::new(&table.schema, &key.name)).is_some()
                || contents.table(&table)?.keys.iter().any(|other| other.name == key.name);
            if taken && skip {
                return Ok(false);
            }
            if taken {
                let message = format!("index {} already exists", key.name);
                return Err(Error::new(ErrorKind::Exists, Subject::Table, message));
            }
            let entry = contents.table_mut(&table)?;
            let key = stored_key(&table, entry, &key)?;
            entry.keys.push(key);
            Ok(true)
        })
        .await
    }

    /// Forgets all of these indexes, or none; tells which were not there.
    pub async fn drop_indexes(&self, indexes: Vec<TableName>, if_exists: bool) -> Result<Vec<TableName>> {
        self.update(move |contents| {
            let mut missing = vec![];
            for index in indexes {
                match contents.index(&index) {
                    Some(table) => {
                        let keys = &mut contents.table_mut(&table)?.keys;
                        keys.retain(|key| !(key.kind.is_index() && key.name == index.table));
                    }
                    None if if_exists => missing.push(index),
                    None => return Err(Error::not_found(Subject::Index, format!("no index {index}"))),
                }
            }
            Ok(missing)
        })
        .await
    }

    /// Adds a column with the value `fill` (or NULL) in the rows there are; false when it was there already.
    pub async fn add_column(
        &self,
        name: &TableName,
        column: ColumnDefinition,
        fill: Option<ScalarValue>,
        if_not_exists: bool,
        context: &Arc<TaskContext>,
    ) -> Result<bool> {
        self.ensure_writable()?;
        let (table, entry, lock) = self.locked_table(name).await?;
        match entry.ensure_column_is_free(name, &column.name) {
            Err(e) if e.kind() == ErrorKind::Exists && if_not_exists => return Ok(false),
            free => free?,
        }
        let snapshot = table.latest().await?;
        let fill = fill.filter(|value| !value.is_null());
        if !column.nullable && fill.is_none() && snapshot.rows() != Some(0) {
            return Err(holds_nulls(name, &column.name));
        }
        let taken: Vec<String> = snapshot.schema.fields().iter().map(|f| f.name().clone()).collect();
        let stored_name = entry.free_stored_name(&column.name, &taken);
        let data_type = types::declared(&column.name, &column.data_type)?;
        let fill =
            fill.map(|value| cast_fill(&column.name, &value, &types::scanned(&data_type))).transpose()?;
        let field = Field::new(&stored_name, data_type.clone(), column.nullable);
        let added = Column {
            name: column.name,
            stored_name,
            data_type,
            sql_type: column.sql_type,
            required: !column.nullable,
            default_sql: column.default_sql,
            comment: column.comment,
            dropped: false,
        };
        let mut planned = (*entry).clone();
        planned.columns.push(added.clone());
        let mut fields: Vec<Field> = snapshot.schema.fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.push(field.clone());
        let future = arrow::datatypes::Schema::new(fields);
        validate(&Layout::current(name, &planned, &future, &self.inner.functions)?)?;

        delta::add_column(&table, &field, fill, &entry.cluster_by, context).await?;
        self.alter_table(table, lock, move |entry| {
            entry.columns.push(added);
            Ok(())
        })
        .await?;
        Ok(true)
    }

    /// Drops a column; versions from before still have it. False when there was none.
    pub async fn drop_column(&self, name: &TableName, column: &str, if_exists: bool) -> Result<bool> {
        self.ensure_writable()?;
        let (table, entry, lock) = self.locked_table(name).await?;
        let lock = Arc::new(lock);
        let index = match entry.column_index(name, column) {
            Err(_) if if_exists => return Ok(false),
            found => found?,
        };
        let stored_name = entry.columns[index].stored_name.clone();
        ensure_droppable(name, &entry, column, &stored_name)?;
        let (altered, dropped) = (Arc::clone(&table), stored_name.clone());
        self.change_then(Room::Takes, noting(Arc::clone(&table), Arc::clone(&lock)), move |contents| {
            let entry = altered_entry(contents, &altered)?;
            entry.columns[index].dropped = true;
            entry.keys.retain(|key| !key.columns.contains(&dropped));
            contents.drop_owned(altered.id(), Some(&dropped));
            Ok(())
        })
        .await?;
        // It is gone: a column that only the log has is read by nobody.
        let _ = delta::drop_column(&table, &stored_name).await;
        drop(lock);
        Ok(true)
    }

    /// Gives the column `from` the name `to`; the files keep the name they have.
    pub async fn rename_column(&self, name: &TableName, from: &str, to: &str) -> Result<()> {
        self.ensure_writable()?;
        let (table, _, lock) = self.locked_table(name).await?;
        let (name, from, to) = (name.clone(), from.to_string(), to.to_string());
        self.alter_table(table, lock, move |entry| {
            let index = entry.column_index(&name, &from)?;
            entry.ensure_column_is_free(&name, &to)?;
            for check in &mut entry.checks {
                check.sql = rename_column(&check.sql, &from, &to)?;
            }
            entry.columns[index].name = to;
            Ok(())
        })
        .await
    }

    /// Sets or drops the DEFAULT of a column for rows to come.
    pub async fn set_default(
        &self,
        name: &TableName,
        column: &str,
        default_sql: Option<String>,
    ) -> Result<()> {
        self.ensure_writable()?;
        let (table, entry, lock) = self.locked_table(name).await?;
        let snapshot = table.latest().await?;
        let mut planned = (*entry).clone();
        let index = planned.column_index(name, column)?;
        planned.columns[index].default_sql = default_sql.clone();
        validate(&Layout::current(name, &planned, &snapshot.schema, &self.inner.functions)?)?;
        self.alter_table(table, lock, move |entry| {
            entry.columns[index].default_sql = default_sql;
            Ok(())
        })
        .await
    }

    /// Sets or drops the comment of the table, view or external table `name`, or of a column of a table.
    pub async fn set_comment(
        &self,
        name: &TableName,
        column: Option<&str>,
        comment: Option<String>,
    ) -> Result<()> {
        let (name, column) = (name.clone(), column.map(str::to_string));
        self.update(move |contents| {
            let mut entry = contents.entry(&name, "table")?.clone();
            match (&mut entry, column) {
                (Entry::Table(table), Some(column)) => {
                    let index = table.column_index(&name, &column)?;
                    Arc::make_mut(table).columns[index].comment = comment;
                }
                (Entry::Table(table), None) => Arc::make_mut(table).comment = comment,
                (Entry::View(view), None) => *view = Arc::new(View { comment, ..(**view).clone() }),
                (Entry::External(table), None) => Arc::make_mut(table).comment = comment,
                (Entry::Sequence(_), None) => {
                    return Err(Error::unsupported(format!("sequences have no comments: {name} is one")));
                }
                (other, Some(_)) => {
                    let message = format!("{name} is no table but a {}: comment it as a whole", other.kind());
                    return Err(Error::input(Subject::Column, message));
                }
            }
            contents.put(&name, entry, true).map(|_| ())
        })
        .await
    }

    /// Sets or drops the comment of a check or a key.
    pub async fn comment_constraint(
        &self,
        name: &TableName,
        constraint: &str,
        comment: Option<String>,
    ) -> Result<()> {
        let (name, constraint) = (name.clone(), constraint.to_owned());
        self.update(move |contents| {
            let entry = contents.table_mut(&name)?;
            let mut names = entry.checks.iter().map(|c| &c.name).chain(entry.keys.iter().map(|k| &k.name));
            if !names.any(|name| *name == constraint) {
                let message = format!("no constraint {constraint} of table {name}");
                return Err(Error::not_found(Subject::Constraint, message));
            }
            let _ = match comment {
                Some(text) => entry.constraint_comments.insert(constraint, text),
                None => entry.constraint_comments.remove(&constraint),
            };
            Ok(())
        })
        .await
    }

    /// Changes the catalog entry of a table, whose write lock this is; plans made before can read but no longer write.
    pub(super) async fn alter_table(
        &self,
        table: Arc<StoredTable>,
        lock: OwnedMutexGuard<()>,
        change: impl FnOnce(&mut Table) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let after = noting(Arc::clone(&table), lock);
        self.change_then(Room::Takes, after, move |contents| change(altered_entry(contents, &table)?)).await
    }
}

/// The catalog entry of a table that is altered: it may have got another name since.
fn altered_entry<'a>(contents: &'a mut Contents, table: &StoredTable) -> Result<&'a mut Table> {
    contents.table_of_id_mut(table.id()).ok_or_else(|| table.dropped())
}

/// What makes plans old once a change of a table has been made, whoever still waits for it: until then nobody writes.
fn noting<L: Send + 'static>(table: Arc<StoredTable>, lock: L) -> impl FnOnce() + Send + 'static {
    move || {
        table.note_layout_change();
        drop(lock);
    }
}

fn holds_nulls(name: &TableName, column: &str) -> Error {
    let message = format!("column \"{column}\" of table {name} would contain null values");
    Error::new(ErrorKind::Data, Subject::Constraint, message)
        .with_hint("give it a DEFAULT, or add it without NOT NULL")
}

fn cast_fill(
    column: &str,
    value: &ScalarValue,
    data_type: &arrow::datatypes::DataType,
) -> Result<ScalarValue> {
    value.cast_to(data_type).map_err(|_| {
        let message = format!("default {value} of column {column} is not {}", types::sql_name(data_type));
        Error::input(Subject::Type, message)
    })
}

fn ensure_droppable(name: &TableName, entry: &Table, column: &str, stored_name: &String) -> Result<()> {
    if entry.live_columns().count() == 1 {
        let message = format!("column {column} is the only one of table {name}");
        return Err(Error::input(Subject::Column, message).with_hint("DROP TABLE drops the table"));
    }
    if entry.cluster_by.contains(stored_name) {
        let message = format!("rows of table {name} are kept sorted by column {column}");
        return Err(Error::input(Subject::Column, message));
    }
    for check in &entry.checks {
        if mentions(&check.sql, column)? {
            let message =
                format!("column {column} of table {name} is used by check constraint \"{}\"", check.name);
            return Err(Error::input(Subject::Column, message));
        }
    }
    Ok(())
}
