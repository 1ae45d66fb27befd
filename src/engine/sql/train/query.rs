//! The queries that a statement stands for.

use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName, Query};

use crate::engine::sql::select::{derived, relation, select_from, table};
use crate::engine::sql::train::items::Relation;
use crate::engine::sql::train::statement::TrainStatement;

/// Quote style of names that only our own statements can produce: the tokenizer never yields it.
pub const MARK: char = '[';

/// The query that stands for the statement: `SELECT * FROM [train](number, (rows))`.
pub fn marker(statement: &TrainStatement, number: usize) -> ast::Statement {
    let arguments = [
        ast::Expr::value(ast::Value::Number(number.to_string(), false)),
        ast::Expr::Subquery(Box::new(rows(statement))),
    ];
    let arguments = arguments.map(|e| ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)));
    let name = ObjectName::from(vec![Ident::with_quote(MARK, "train")]);
    let arguments = ast::TableFunctionArgs { args: arguments.to_vec(), settings: None };
    let factor = relation(name, Some(arguments));
    ast::Statement::Query(Box::new(select_from(factor, None)))
}

/// `SELECT * FROM relation WHERE filter`.
pub fn rows(statement: &TrainStatement) -> Query {
    all_of(&statement.relation, statement.filter.as_ref())
}

/// `SELECT * FROM relation WHERE filter`.
pub fn all_of(relation: &Relation, filter: Option<&ast::Expr>) -> Query {
    match (relation, filter) {
        (Relation::Query(query), None) => (**query).clone(),
        (Relation::Query(query), filter) => select_from(derived((**query).clone(), "input"), filter.cloned()),
        (Relation::Table(name), filter) => select_from(table(name.clone()), filter.cloned()),
    }
}
