//! NOT NULL and CHECK, verified on rows about to be written.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use datafusion::catalog::Session;
use datafusion::physical_expr::PhysicalExpr;

use crate::engine::storage::delta::layout::Layout;
use crate::error::{Error, ErrorKind, Result, Subject};

/// The constraints of a table, ready to be evaluated on batches of its columns.
#[derive(Debug, Default)]
pub struct Constraints {
    table: String,
    not_null: Vec<(usize, String)>,
    checks: Vec<Check>,
}

#[derive(Debug)]
struct Check {
    name: String,
    sql: String,
    condition: Arc<dyn PhysicalExpr>,
}

impl Constraints {
    /// The constraints of `layout`.
    pub fn new(layout: &Layout, session: &dyn Session) -> Result<Self> {
        let schema = layout.qualified_schema()?;
        let columns = layout.schema.fields().iter().zip(&layout.required).enumerate();
        let not_null = columns.filter(|(_, (_, required))| **required);
        let not_null = not_null.map(|(i, (f, _))| (i, f.name().clone())).collect();
        let checks = layout.checks.iter().map(|check| {
            let condition = session.create_physical_expr(check.condition.clone(), &schema)?;
            Ok(Check { name: check.name.clone(), sql: check.sql.clone(), condition })
        });
        Ok(Self { table: layout.name.to_string(), not_null, checks: checks.collect::<Result<_>>()? })
    }

    /// Fails when a row of `batch` breaks a constraint; a CHECK that is NULL is not broken.
    pub fn verify(&self, batch: &RecordBatch) -> Result<()> {
        for (index, name) in &self.not_null {
            if batch.column(*index).null_count() > 0 {
                let table = &self.table;
                return Err(violation(format!(
                    "null value in column \"{name}\" of table {table} violates not-null constraint"
                )));
            }
        }
        for check in &self.checks {
            if check.is_broken(batch)? {
                return Err(violation(format!(
                    "row violates check constraint \"{}\" of table {}: ({})",
                    check.name, self.table, check.sql
                )));
            }
        }
        Ok(())
    }
}

impl Check {
    fn is_broken(&self, batch: &RecordBatch) -> Result<bool> {
        let value = self.condition.evaluate(batch)?;
        let value = value.into_array(batch.num_rows())?;
        let Some(kept) = value.as_boolean_opt() else {
            return Err(Error::internal(format!("check constraint \"{}\" is not boolean", self.name)));
        };
        Ok(kept.iter().any(|row| row == Some(false)))
    }
}

fn violation(message: String) -> Error {
    Error::new(ErrorKind::Data, Subject::Constraint, message)
}
