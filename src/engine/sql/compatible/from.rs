//! What FROM lists: functions that give rows, arrays, scalar functions, and tables written with their schema.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, DataType, Expr, FunctionArgumentList, Ident, ObjectName, ObjectNamePart, Select, SelectItem,
    SetExpr, TableFactor, Value,
};

use crate::engine::sql::compatible::build::{call, plain_arguments};
use crate::engine::sql::parameters::cast;
use crate::engine::sql::select::{select_from, table};
use crate::engine::sql::words::fold;

/// Functions that give one column, which has their name or their alias.
const COLUMN_IN_FROM: [&str; 6] = [
    "generate_series",
    "generate_subscripts",
    "pg_partition_ancestors",
    "regexp_matches",
    "regexp_split_to_table",
    "unnest",
];

/// Scalar functions that clients call in FROM.
const SCALARS_IN_FROM: [&str; 11] = [
    "current_database",
    "current_schema",
    "version",
    "upper",
    "lower",
    "current_setting",
    "set_config",
    "now",
    "pg_backend_pid",
    "string_to_array",
    "parse_ident",
];

/// `LATERAL f(x)` as `f(x)`, which may always refer to the tables before it.
pub(super) fn rewrite_lateral(factor: &mut TableFactor) {
    let TableFactor::Function { name, args, alias, .. } = factor else { return };
    let given = ast::TableFunctionArgs { args: std::mem::take(args), settings: None };
    let (label, mut plain) = (alias.take(), table(name.clone()));
    if let TableFactor::Table { args, alias, .. } = &mut plain {
        (*args, *alias) = (Some(given), label);
    }
    *factor = plain;
}

/// Functions in FROM that are read otherwise here.
pub(super) fn rewrite_table_function(factor: &mut TableFactor) {
    let TableFactor::Table { name, args, alias, with_ordinality, .. } = factor else { return };
    let (Some(arguments), [ObjectNamePart::Identifier(word)]) = (args.as_mut(), name.0.as_slice()) else {
        return;
    };
    let (word, list) = (word.clone(), table_arguments(arguments));
    if COLUMN_IN_FROM.contains(&fold(&word).as_str()) && !*with_ordinality {
        name_column(alias, &word);
    }
    match fold(&word).as_str() {
        "pg_show_all_settings" => {
            *name = ObjectName::from(vec![Ident::new("pg_settings")]);
            *args = None;
        }
        "pg_get_keywords" => {
            *name = ObjectName::from(vec![Ident::new("pg_catalog"), Ident::new("pg_get_keywords")]);
            *args = None;
        }
        // What is known only while the query runs is a list, and the list's elements.
        "generate_series" if list.iter().any(depends) => {
            let bounds = list.into_iter().map(|bound| cast(bound, DataType::BigInt(None))).collect();
            *factor = elements_of(vec![as_list("generate_series", bounds)], alias, *with_ordinality);
        }
        "generate_subscripts" if list.len() > 1 => {
            let list = subscripts(list[0].clone());
            *factor = elements_of(vec![list], alias, *with_ordinality);
        }
        name @ "pg_partition_ancestors" => {
            *factor = elements_of(vec![as_list(name, list)], alias, *with_ordinality);
        }
        "regexp_matches" => {
            *factor = elements_of(vec![as_list("regexp_groups", list)], alias, *with_ordinality)
        }
        "regexp_split_to_table" => {
            *factor = elements_of(vec![as_list("regexp_split_to_array", list)], alias, *with_ordinality);
        }
        "unnest" => *factor = elements_of(list, alias, *with_ordinality),
        _ => {}
    }
}

/// The names of the columns of UNNEST, and its ordinality as one more array.
pub(super) fn rewrite_unnest(factor: &mut TableFactor) {
    let TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } = factor else { return };
    let [array] = array_exprs.as_slice() else { return };
    let word = Ident::new("unnest");
    name_column(alias, &word);
    if std::mem::take(with_ordinality) {
        array_exprs.push(subscripts(array.clone()));
        if let Some(alias) = alias
            && alias.columns.len() == 1
        {
            let name = Ident::new("ordinality");
            alias.columns.push(ast::TableAliasColumnDef { name, data_type: None });
        }
    }
}

/// The numbers of the elements of an array.
fn subscripts(array: Expr) -> Expr {
    let one = Expr::Value(Value::Number("1".to_owned(), false).with_empty_span());
    let length = as_list("array_length", vec![array, one.clone()]);
    as_list("generate_series", vec![one, cast(length, DataType::BigInt(None))])
}

/// A call of DataFusion's own function: that which gives a list, not the list's elements.
fn as_list(name: &str, arguments: Vec<Expr>) -> Expr {
    let mut list = call(name, arguments);
    if let Expr::Function(function) = &mut list {
        function.name = ObjectName::from(vec![Ident::with_quote('"', name)]);
    }
    list
}

/// `f(x)` as `f(x) AS f(f)`, and `f(x) AS a` as `f(x) AS a(a)`.
fn name_column(alias: &mut Option<ast::TableAlias>, function: &Ident) {
    let alias = alias.get_or_insert_with(|| ast::TableAlias {
        explicit: true,
        name: function.clone(),
        columns: vec![],
        at: None,
    });
    if alias.columns.is_empty() {
        alias.columns.push(ast::TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
}

fn table_arguments(arguments: &ast::TableFunctionArgs) -> Vec<Expr> {
    let args = arguments.args.clone();
    plain_arguments(&FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] })
}

/// True for an expression with a column or a call in it.
fn depends(expr: &Expr) -> bool {
    let mut found = false;
    let _ = ast::visit_expressions(expr, |expr| {
        found |= matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Function(_));
        ControlFlow::<()>::Continue(())
    });
    found
}

fn elements_of(arrays: Vec<Expr>, alias: &Option<ast::TableAlias>, with_ordinality: bool) -> TableFactor {
    TableFactor::UNNEST {
        alias: alias.clone(),
        array_exprs: arrays,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality,
    }
}

/// `FROM f(x) AS a` of a scalar function, as a query of one row.
pub(super) fn select_from_scalar(factor: &mut TableFactor) {
    let TableFactor::Table { name, args: Some(arguments), alias, .. } = factor else { return };
    let [ObjectNamePart::Identifier(word)] = name.0.as_slice() else { return };
    let function = fold(word);
    if !SCALARS_IN_FROM.contains(&function.as_str()) {
        return;
    }
    let column = alias.as_ref().and_then(|alias| alias.columns.first()).map(|column| column.name.clone());
    let label =
        column.or_else(|| alias.as_ref().map(|alias| alias.name.clone())).unwrap_or_else(|| word.clone());
    let arguments = table_arguments(arguments);
    // It may refer to the tables before it.
    let lateral = arguments.iter().any(depends);
    let expr = call(&function, arguments);
    let mut query = select_from(table(ObjectName::from(vec![Ident::new("t")])), None);
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from = vec![];
        select.projection = vec![SelectItem::ExprWithAlias { expr, alias: label }];
    }
    let alias = alias
        .clone()
        .or_else(|| Some(ast::TableAlias { explicit: true, name: word.clone(), columns: vec![], at: None }));
    *factor = TableFactor::Derived { lateral, subquery: Box::new(query), alias, sample: None };
}

/// `t.*` of a table that FROM writes with its schema: the table gets its last word as an alias.
pub(super) fn label_schemas(select: &mut Select) {
    let starred: Vec<String> = select
        .projection
        .iter()
        .filter_map(|item| match item {
            SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                if name.0.len() == 1 {
                    name.0[0].as_ident().map(fold)
                } else {
                    None
                }
            }
            _ => None,
        })
        .collect();
    let tables = select.from.iter_mut().flat_map(|table| {
        std::iter::once(&mut table.relation).chain(table.joins.iter_mut().map(|join| &mut join.relation))
    });
    for factor in tables {
        if let TableFactor::Table { name, alias: alias @ None, args: None, .. } = factor
            && name.0.len() > 1
            && let Some(last) = name.0.last().and_then(|part| part.as_ident())
            && starred.contains(&fold(last))
        {
            *alias = Some(ast::TableAlias { explicit: true, name: last.clone(), columns: vec![], at: None });
        }
    }
}
