//! Prepared statements: parsed once, their parameters typed, planned anew with the values of every execution.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::engine::sql::{Statement, literal, with_values};
use crate::error::{Error, ErrorKind, Result, Subject};

/// A statement whose parameters and columns are known.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// `None` for an empty text.
    pub(super) statement: Option<Arc<Statement>>,
    pub(super) types: Vec<ast::DataType>,
    pub(super) columns: Option<SchemaRef>,
}

impl Prepared {
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

    fn miscounted(&self, values: usize) -> Error {
        let message = format!("statement has {} parameters, {values} values were given", self.types.len());
        Error::new(ErrorKind::Input, Subject::Parameter, message)
    }

    /// Values in PostgreSQL's text form as expressions of the parameters' types.
    pub(super) fn values(&self, texts: &[Option<&str>]) -> Result<Vec<ast::Expr>> {
        if texts.len() != self.types.len() {
            return Err(self.miscounted(texts.len()));
        }
        let numbered = texts.iter().zip(&self.types).enumerate();
        let value = |(n, (text, data_type)): (usize, (&Option<&str>, &ast::DataType))| {
            literal(*text, data_type).map_err(|e| e.with_context(format!("parameter ${}", n + 1)))
        };
        numbered.map(value).collect()
    }
}

/// A type from its name in SQL.
pub fn parse_type(name: &str) -> Result<ast::DataType> {
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(name).and_then(|mut p| p.parse_data_type());
    parsed.map_err(|_| Error::input(Subject::Type, format!("no type {name}")))
}

/// The prepared statements of a session, by name.
#[derive(Debug, Default)]
pub struct PreparedStatements(BTreeMap<String, Arc<Prepared>>);

/// Most prepared statements of one session.
const PREPARED_MAX: usize = 1_000;

impl PreparedStatements {
    /// Keeps a statement; the one without a name replaces the last.
    pub fn insert(&mut self, name: &str, prepared: Arc<Prepared>) -> Result<()> {
        if !name.is_empty() && self.0.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(ErrorKind::Exists, Subject::Prepared, message));
        }
        if self.0.len() >= PREPARED_MAX && !self.0.contains_key(name) {
            let message = format!("session has {PREPARED_MAX} prepared statements, which is the limit");
            return Err(Error::new(ErrorKind::Unavailable, Subject::Prepared, message)
                .with_hint("DEALLOCATE name, or DEALLOCATE ALL"));
        }
        self.0.insert(name.to_owned(), prepared);
        Ok(())
    }

    /// The statement of this name.
    pub fn get(&self, name: &str) -> Result<Arc<Prepared>> {
        self.0.get(name).cloned().ok_or_else(|| missing(name))
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
        named.map(|(name, prepared)| (name.clone(), Arc::clone(prepared))).collect()
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
