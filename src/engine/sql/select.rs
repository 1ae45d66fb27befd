//! Queries that our statements stand for, made from their parts.

use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName, Query, SetExpr, TableFactor};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

/// A plain table of this name.
pub fn table(name: ObjectName) -> TableFactor {
    relation(name, None)
}

/// A relation of this name: a function where there are arguments.
pub fn relation(name: ObjectName, args: Option<ast::TableFunctionArgs>) -> TableFactor {
    TableFactor::Table {
        name,
        alias: None,
        args,
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    }
}

/// The rows of a query under a name.
pub fn derived(query: Query, name: &str) -> TableFactor {
    let alias = ast::TableAlias { explicit: true, name: Ident::new(name), columns: vec![], at: None };
    TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias), sample: None }
}

/// `SELECT columns FROM factor`, all of them where none is named.
pub fn select_columns(factor: TableFactor, columns: Vec<Ident>) -> Query {
    let mut query = select_from(factor, None);
    if let SetExpr::Select(select) = query.body.as_mut()
        && !columns.is_empty()
    {
        let columns = columns.into_iter().map(ast::Expr::Identifier);
        select.projection = columns.map(ast::SelectItem::UnnamedExpr).collect();
    }
    query
}

/// `SELECT * FROM factor WHERE filter`; the template keeps us from naming forty AST fields.
pub fn select_from(factor: TableFactor, filter: Option<ast::Expr>) -> Query {
    let mut query = Parser::new(&PostgreSqlDialect {})
        .try_with_sql("SELECT * FROM t")
        .and_then(|mut p| p.parse_query())
        .expect("the template is valid SQL");
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from[0].relation = factor;
        select.selection = filter;
    }
    *query
}

/// A SELECT as a query.
pub fn query_of(select: ast::Select) -> Query {
    let mut query = select_from(table(ObjectName::from(vec![])), None);
    *query.body = SetExpr::Select(Box::new(select));
    query
}
