//! NOT NULL and CHECK, verified on rows about to be written.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use bytes::BytesMut;
use datafusion::catalog::Session;
use datafusion::physical_expr::PhysicalExpr;

use crate::engine::storage::delta::layout::Layout;
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::postgres::{Format, Style, Zone, column};

/// Most characters that an error shows of a value.
const SHOWN_MAX: usize = 64;

/// The constraints of a table, ready to be evaluated on batches of its columns.
#[derive(Debug, Default)]
pub struct Constraints {
    table: String,
    not_null: Vec<(usize, String)>,
    checks: Vec<Check>,
    /// The session's time zone.
    zone: String,
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
        let zone = session.config_options().execution.time_zone.clone().unwrap_or_default();
        Ok(Self { table: layout.name.to_string(), not_null, checks: checks.collect::<Result<_>>()?, zone })
    }

    /// Fails when a row of `batch` breaks a constraint; a CHECK that is NULL is not broken.
    pub fn verify(&self, batch: &RecordBatch) -> Result<()> {
        for (index, name) in &self.not_null {
            let nulls = batch.column(*index).logical_nulls();
            if let Some(row) = nulls.and_then(|nulls| nulls.iter().position(|is_value| !is_value)) {
                let table = &self.table;
                let message =
                    format!("null value in column \"{name}\" of table {table} violates not-null constraint");
                return Err(self.violation(message, batch, row));
            }
        }
        for check in &self.checks {
            if let Some(row) = check.broken_by(batch)? {
                let message = format!(
                    "row violates check constraint \"{}\" of table {}: ({})",
                    check.name, self.table, check.sql
                );
                return Err(self.violation(message, batch, row));
            }
        }
        Ok(())
    }

    fn violation(&self, message: String, batch: &RecordBatch, row: usize) -> Error {
        let error = Error::new(ErrorKind::Data, Subject::Constraint, message);
        let style = Style { zone: Zone::of(&self.zone), escape_bytes: false };
        match shown(batch, row, style) {
            Some(values) => error.with_detail(format!("Failing row contains ({values}).")),
            None => error,
        }
    }
}

/// The values of a row, as PostgreSQL shows them.
fn shown(batch: &RecordBatch, row: usize, style: Style) -> Option<String> {
    let schema = batch.schema();
    let one = batch.slice(row, 1);
    let value = |(values, field)| {
        let writer = column(values, field, Format::Text, style).ok()?;
        if writer.is_null(0) {
            return Some("null".to_owned());
        }
        let mut text = BytesMut::new();
        writer.write(0, &mut text);
        let text = String::from_utf8_lossy(&text);
        let cut: String = text.chars().take(SHOWN_MAX).collect();
        Some(if cut.len() < text.len() { cut + "..." } else { cut })
    };
    let fields = schema.fields().iter().map(|field| field.as_ref());
    let values: Option<Vec<String>> = one.columns().iter().zip(fields).map(value).collect();
    values.map(|values| values.join(", "))
}

impl Check {
    /// The first row for which it is false.
    fn broken_by(&self, batch: &RecordBatch) -> Result<Option<usize>> {
        let value = self.condition.evaluate(batch)?;
        let value = value.into_array(batch.num_rows())?;
        let Some(kept) = value.as_boolean_opt() else {
            return Err(Error::internal(format!("check constraint \"{}\" is not boolean", self.name)));
        };
        Ok(kept.iter().position(|row| row == Some(false)))
    }
}
