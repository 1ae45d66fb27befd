//! `SELECT … INTO table`, which is CREATE TABLE AS.

use datafusion::sql::sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder;
use datafusion::sql::sqlparser::ast::{self, SelectInto, SetExpr};

/// Makes CREATE TABLE AS of a query that says INTO.
pub fn create_table(statement: &mut ast::Statement) {
    let ast::Statement::Query(query) = statement else { return };
    let Some(SelectInto { temporary, name, .. }) = take_into(&mut query.body) else { return };
    let table = CreateTableBuilder::new(name).temporary(temporary).query(Some(query.clone()));
    *statement = ast::Statement::CreateTable(table.build());
}

/// INTO stands in the first SELECT of a UNION.
fn take_into(body: &mut SetExpr) -> Option<SelectInto> {
    match body {
        SetExpr::Select(select) => select.into.take(),
        SetExpr::SetOperation { left, .. } => take_into(left),
        _ => None,
    }
}
