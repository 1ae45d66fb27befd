//! Prepared statements: parsed once, their parameters typed, planned with the values of every execution or once for all.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::parser::Parser;

use super::generic::Plans;
use crate::engine::dialect::PlainDialect;
use crate::engine::query::Started;
use crate::engine::sql::{Statement, literal, with_values};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::postgres;

/// A value stands in the statement and in its plans as often as this while they are made.
const COPIES: usize = 22;

/// An element of an array is an expression of its own, of about so many bytes.
const ELEMENT_BYTES: usize = 1_300;

/// What the values of a statement take without being asked for.
const UNASKED_BYTES: usize = 64 << 20;

/// A statement whose parameters and columns are known.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// `None` for an empty text.
    pub(super) statement: Option<Arc<Statement>>,
    pub(super) types: Vec<ast::DataType>,
    pub(super) columns: Option<SchemaRef>,
    pub(super) plans: Arc<Plans>,
}

impl Prepared {
    /// A statement, the types of its parameters, and the columns of its rows if it returns some.
    pub(super) fn new(statement: Statement, types: Vec<ast::DataType>, columns: Option<SchemaRef>) -> Self {
        Self { statement: Some(Arc::new(statement)), types, columns, plans: Arc::default() }
    }

    /// A text without a statement.
    pub(super) fn empty() -> Self {
        Self { statement: None, types: vec![], columns: None, plans: Arc::default() }
    }

    /// SQL's names of the types of the parameters.
    pub fn parameters(&self) -> Vec<String> {
        self.types.iter().map(ToString::to_string).collect()
    }

    /// The columns of its rows; `None` for statements that return none.
    pub fn columns(&self) -> Option<SchemaRef> {
        self.columns.clone()
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.statement.as_ref().map_or("", |statement| statement.source.text())
    }

    /// True for a text without a statement.
    pub fn is_empty(&self) -> bool {
        self.statement.is_none()
    }

    /// The statement with these values.
    pub(super) fn bind(&self, values: &[ast::Expr]) -> Result<Statement> {
        let Some(statement) = &self.statement else {
            return Err(Error::input(Subject::Syntax, "the statement is empty"));
        };
        if values.len() < self.types.len() {
            return Err(self.miscounted(values.len()));
        }
        Ok(with_values(statement, values))
    }

    /// The query that was started, with its columns as clients were told of them, which it has no longer when what it
    /// reads has changed.
    pub(super) fn checked(&self, started: Started) -> Result<Started> {
        let is_query = self.statement.as_ref().is_some_and(|statement| statement.is_query());
        let Some(told) = self.columns.as_ref().filter(|_| is_query) else { return Ok(started) };
        let now = started.query.schema();
        let shown = told.fields().iter().zip(now.fields()).map(|(told, now)| as_told(told, now));
        match shown.collect::<Option<Vec<FieldRef>>>() {
            Some(shown) if told.fields().len() == now.fields().len() => {
                let shown = Schema::new_with_metadata(shown, now.metadata().clone());
                Ok(Started { query: started.query.shown_as(Arc::new(shown)), ..started })
            }
            _ if is_long_number(told, &now) => {
                let message = "numeric parameter is out of range: it has more than 38 digits";
                Err(Error::data(message).with_hint("cast it: CAST($1 AS DOUBLE PRECISION)"))
            }
            _ => {
                let message = "cached plan must not change result type";
                Err(Error::new(ErrorKind::Unsupported, Subject::Prepared, message)
                    .with_hint("what it reads has changed: prepare the statement again"))
            }
        }
    }

    fn miscounted(&self, values: usize) -> Error {
        let message = format!("statement has {} parameters, {values} values were given", self.types.len());
        Error::new(ErrorKind::Input, Subject::Parameter, message)
    }

    /// The memory that these values take while the statement is planned with them; fails where there is not as much.
    pub(super) fn memory_of(
        &self,
        texts: &[Option<String>],
        pool: &Arc<dyn MemoryPool>,
    ) -> Result<MemoryReservation> {
        let memory = MemoryConsumer::new("parameters").register(pool);
        let typed = texts.iter().zip(&self.types);
        let bytes =
            typed.map(|(text, data_type)| text.as_deref().map_or(0, |text| bytes_of(text, data_type)));
        memory.try_grow(bytes.fold(0, usize::saturating_add).saturating_sub(UNASKED_BYTES))?;
        Ok(memory)
    }

    /// Values in PostgreSQL's text form as expressions of the parameters' types.
    pub(super) fn values(&self, texts: &[Option<String>]) -> Result<Vec<ast::Expr>> {
        if texts.len() != self.types.len() {
            return Err(self.miscounted(texts.len()));
        }
        let numbered = texts.iter().zip(&self.types).enumerate();
        let value = |(n, (text, data_type)): (usize, (&Option<String>, &ast::DataType))| {
            literal(text.as_deref(), data_type).map_err(|e| e.with_context(format!("parameter ${}", n + 1)))
        };
        numbered.map(value).collect()
    }
}

/// What a value takes while a statement is planned with it.
fn bytes_of(text: &str, data_type: &ast::DataType) -> usize {
    let elements = match data_type {
        ast::DataType::Array(_) => text.bytes().filter(|byte| *byte == b',').count(),
        _ => 0,
    };
    elements.saturating_mul(ELEMENT_BYTES).saturating_add(text.len().saturating_mul(COPIES))
}

/// True where a number has become a float, as one of very many digits does.
fn is_long_number(told: &Schema, now: &Schema) -> bool {
    let mut both = told.fields().iter().zip(now.fields());
    both.any(|(told, now)| told.data_type().is_decimal() && now.data_type().is_floating())
}

/// The column with the type of PostgreSQL that clients were told of; `None` when its values are others. A parameter that
/// is a small number says less of its type than the parameter itself.
fn as_told(told: &FieldRef, now: &FieldRef) -> Option<FieldRef> {
    if told.name() != now.name() {
        return None;
    }
    if postgres::of_field(told).oid == postgres::of_field(now).oid {
        return Some(Arc::clone(now));
    }
    let (before, after) = (told.data_type(), now.data_type());
    let alike = before == after || before.is_string() && after.is_string();
    alike.then(|| Arc::new(now.as_ref().clone().with_metadata(told.metadata().clone())))
}

/// A type from its name in SQL.
pub fn parse_type(name: &str) -> Result<ast::DataType> {
    let parsed =
        Parser::new(&PlainDialect::of(name)).try_with_sql(name).and_then(|mut p| p.parse_data_type());
    parsed.map_err(|_| Error::input(Subject::Type, format!("no type {name}")))
}

/// The prepared statements of a session, by name.
#[derive(Debug, Default)]
pub struct PreparedStatements(BTreeMap<String, Named>);

#[derive(Debug)]
struct Named {
    prepared: Arc<Prepared>,
    _memory: MemoryReservation,
}

/// Most prepared statements of one session.
const PREPARED_MAX: usize = 1_000;

/// What a prepared statement takes for every byte of its text.
const STATEMENT_COPIES: usize = 20;

/// What a prepared statement takes without being asked for.
const STATEMENT_UNASKED: usize = 64 << 10;

impl PreparedStatements {
    /// Keeps a statement, one with a name in memory of this pool; the one without a name replaces the last.
    pub fn insert(&mut self, name: &str, prepared: Arc<Prepared>, pool: &Arc<dyn MemoryPool>) -> Result<()> {
        if !name.is_empty() && self.0.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(ErrorKind::Exists, Subject::Prepared, message));
        }
        if self.0.len() >= PREPARED_MAX && !self.0.contains_key(name) {
            let message = format!("session has {PREPARED_MAX} prepared statements, which is the limit");
            return Err(Error::new(ErrorKind::Unavailable, Subject::Prepared, message)
                .with_hint("DEALLOCATE name, or DEALLOCATE ALL"));
        }
        let memory = MemoryConsumer::new("prepared statements").register(pool);
        if !name.is_empty() {
            let bytes = prepared.text().len().saturating_mul(STATEMENT_COPIES);
            memory.try_grow(bytes.saturating_sub(STATEMENT_UNASKED))?;
        }
        self.0.insert(name.to_owned(), Named { prepared, _memory: memory });
        Ok(())
    }

    /// The statement of this name.
    pub fn get(&self, name: &str) -> Result<Arc<Prepared>> {
        self.0.get(name).map(|named| Arc::clone(&named.prepared)).ok_or_else(|| missing(name))
    }

    /// Forgets one; an error when there is none of that name.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        self.0.remove(name).map(drop).ok_or_else(|| missing(name))
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// All with a name.
    pub fn list(&self) -> Vec<(String, Arc<Prepared>)> {
        let named = self.0.iter().filter(|(name, _)| !name.is_empty());
        named.map(|(name, known)| (name.clone(), Arc::clone(&known.prepared))).collect()
    }
}

fn missing(name: &str) -> Error {
    let label = if name.is_empty() {
        "unnamed prepared statement".to_owned()
    } else {
        format!("prepared statement \"{name}\"")
    };
    Error::not_found(Subject::Prepared, format!("{label} does not exist"))
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    #[test]
    fn large_values_take_memory_while_a_statement_is_planned() {
        let prepared = Prepared { types: vec![parse_type("BIGINT[]").unwrap()], ..Prepared::empty() };
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(48 << 20));
        let planned = |elements: usize| {
            let text = format!("{{{}}}", vec!["1"; elements].join(","));
            prepared.memory_of(&[Some(text)], &pool).map(|memory| memory.size())
        };
        assert_eq!(planned(40_000).unwrap(), 0);
        assert!(planned(80_000).unwrap() > 0);
        assert_eq!(pool.reserved(), 0);
        let error = planned(400_000).unwrap_err();
        assert_eq!((error.kind(), error.subject()), (ErrorKind::Unavailable, Subject::Memory));
        assert!(error.to_string().contains("parameters"), "{error}");
    }
}
