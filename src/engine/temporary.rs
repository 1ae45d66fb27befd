//! Tables of one session, in memory, gone with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{ColumnarValue, Expr, TypeSignature};

use crate::engine::storage::NextValue;
use crate::error::{Error, ErrorKind, Result, Subject};

/// The schema that temporary tables may be written with.
pub const TEMPORARY_SCHEMA: &str = "pg_temp";

/// What a temporary table is made with besides its columns.
#[derive(Debug, Clone, Default)]
pub struct TemporaryDefinition {
    /// Values of columns that are not given.
    pub defaults: HashMap<String, Expr>,
    /// Names of keys, which are not kept.
    pub keys: Vec<String>,
    /// IF NOT EXISTS.
    pub skip: bool,
}

/// A call that gives 1, 2, 3, …: the numbers of a SERIAL column, gone with its table.
pub fn count_from_one() -> Expr {
    let next = AtomicI64::new(1);
    let take = move |_: &[ColumnarValue], rows: usize| {
        let rows = rows as i64;
        let first = next.fetch_add(rows, Ordering::Relaxed);
        Ok((first..first + rows).collect())
    };
    NextValue::udf(TypeSignature::Nullary, take).call(vec![])
}

/// The temporary tables of a session, by name.
#[derive(Debug, Default)]
pub struct TemporaryTables(MemorySchemaProvider);

impl TemporaryTables {
    /// Those of the session that this state is of.
    pub fn of(state: &SessionState) -> Option<Arc<Self>> {
        state.config().get_extension::<Self>()
    }

    /// As a schema.
    pub fn schema(&self) -> &MemorySchemaProvider {
        &self.0
    }

    /// The table of this name.
    pub async fn table(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        self.0.table(name).await.ok().flatten()
    }

    /// True when there is no table.
    pub fn is_empty(&self) -> bool {
        self.0.table_names().is_empty()
    }

    /// True when there is a table of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.table_exist(name)
    }

    /// Creates a table; false when there is one already.
    pub fn create(
        &self,
        name: &str,
        schema: SchemaRef,
        rows: Vec<RecordBatch>,
        rest: TemporaryDefinition,
    ) -> Result<bool> {
        if self.has(name) {
            if rest.skip {
                return Ok(false);
            }
            let message = format!("table {name} already exists");
            return Err(Error::new(ErrorKind::Exists, Subject::Table, message));
        }
        let table = MemTable::try_new(schema, vec![rows])?.with_column_defaults(rest.defaults);
        self.0.register_table(name.to_owned(), Arc::new(table))?;
        Ok(true)
    }

    /// Drops a table.
    pub fn drop_table(&self, name: &str) -> Result<()> {
        self.0.deregister_table(name)?;
        Ok(())
    }

    /// Drops all.
    pub fn clear(&self) {
        for name in self.0.table_names() {
            let _ = self.0.deregister_table(&name);
        }
    }
}
