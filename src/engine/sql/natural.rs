//! NATURAL JOIN as JOIN … USING the columns that both sides have, and tables before the columns of USING behind other joins
//! and those that subqueries name, where tables and texts tell which columns there are.

use std::ops::ControlFlow;

use datafusion::sql::parser::{CopyToSource, CopyToStatement, Statement as DfStatement};
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut, WildcardAdditionalOptions,
};

use crate::engine::sql::compatible::{Merged, label, labels, merged_column, merged_in, named};
use crate::engine::sql::naming::{name_columns, output_name};
use crate::engine::sql::session::SessionStatement;
use crate::engine::sql::statement::{Body, Statement};
use crate::engine::sql::words::fold;

/// The names of the columns of a table, when they are known.
pub type TableColumns<'a> = &'a dyn Fn(&ObjectName) -> Option<Vec<String>>;

/// Writes the columns of NATURAL joins out, where both sides are known, and what those of USING are in subqueries.
pub fn write_out_natural(statement: &mut Statement, columns: TableColumns<'_>) {
    let text = statement.source.text().as_bytes();
    let has = |word: &str| text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
    if has("natural") || has("using") {
        in_body(&mut statement.body, columns);
    }
}

fn in_body(body: &mut Body, columns: TableColumns<'_>) {
    match body {
        Body::Sql(statement) => in_statement(statement, columns),
        Body::Prepare { body, .. } => in_body(body, columns),
        Body::Session(statement) => {
            if let SessionStatement::Declare { query, .. } = statement.as_mut() {
                let _ = query.visit(&mut Natural::new(columns));
            }
        }
        Body::Command(_) => {}
    }
}

fn in_statement(statement: &mut DfStatement, columns: TableColumns<'_>) {
    let mut natural = Natural::new(columns);
    match statement {
        DfStatement::Statement(inner) => {
            let _ = inner.visit(&mut natural);
        }
        DfStatement::Explain(explain) => in_statement(&mut explain.statement, columns),
        DfStatement::CopyTo(CopyToStatement { source: CopyToSource::Query(query), .. }) => {
            let _ = query.visit(&mut natural);
        }
        _ => {}
    }
}

/// The constraint of a join that may have one of USING, ON and NATURAL.
pub fn constraint_mut(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

/// Writes out the joins of the queries that it visits.
struct Natural<'a> {
    columns: TableColumns<'a>,
    /// Names and columns of the WITH clauses around, innermost last.
    withs: Vec<Vec<(String, Option<Vec<String>>)>>,
    /// The SELECTs around, innermost last.
    scopes: Vec<Scope>,
}

/// A column of a part of FROM.
struct Column {
    name: String,
    /// What it may be written after, when that is known.
    table: Option<Ident>,
    /// USING has merged it with others.
    merged: bool,
}

/// What names in a SELECT may stand for.
struct Scope {
    /// The columns of its tables, and those of its output that have a name of their own; none where they are not known.
    columns: Option<Vec<String>>,
    /// What its tables are called; none where they are not known.
    labels: Option<Vec<String>>,
    /// The columns of USING, which are merged behind FROM only.
    merged: Vec<Merged>,
    /// FROM, while the rest of the SELECT is visited.
    from: Vec<TableWithJoins>,
}

impl Scope {
    /// Of tables that have these columns.
    fn of(from: &[TableWithJoins], columns: Option<Vec<String>>) -> Self {
        let labels: Option<Vec<Vec<Ident>>> = from.iter().map(labels).collect();
        let labels = labels.map(|labels| labels.iter().flatten().map(fold).collect());
        Self { columns, labels, merged: vec![], from: vec![] }
    }

    /// With the names of the output, as FROM sees it.
    fn with_output(mut self, items: &[SelectItem]) -> Self {
        let output = items.iter().filter_map(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
            _ => None,
        });
        if let Some(columns) = &mut self.columns {
            columns.extend(output);
        }
        self
    }

    /// True where a name without a table may be that of a column.
    fn may_have(&self, name: &str) -> bool {
        self.columns.as_ref().is_none_or(|columns| columns.iter().any(|column| column == name))
    }

    /// True where a name may be that of a table.
    fn may_hide(&self, table: &Ident) -> bool {
        self.labels.as_ref().is_none_or(|labels| labels.contains(&fold(table)))
    }
}

impl VisitorMut for Natural<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.withs.push(vec![]);
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let columns = renamed(self.of_query(&cte.query), Some(&cte.alias));
            if let Some(known) = self.withs.last_mut() {
                known.push((fold(&cte.alias.name), columns));
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.withs.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let columns = self.of_tables(&mut select.from);
        let merged = merged_in(&select.from);
        self.scopes.push(Scope::of(&select.from, columns).with_output(&select.projection));
        let mut from = std::mem::take(&mut select.from);
        self.visit_from(&mut from);
        if let Some(scope) = self.scopes.last_mut() {
            (scope.merged, scope.from) = (merged, from);
        }
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(Expr::Identifier(written)) = item
                && let Some(value) = self.outer_value(written)
            {
                *item = named(value, written.clone());
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if let Some(scope) = self.scopes.pop() {
            select.from = scope.from;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(written) = expr
            && let Some(value) = self.outer_value(written)
        {
            *expr = value;
        }
        ControlFlow::Continue(())
    }
}

impl<'a> Natural<'a> {
    fn new(columns: TableColumns<'a>) -> Self {
        Self { columns, withs: vec![], scopes: vec![] }
    }

    /// Visits the relations of FROM, and the conditions between them.
    fn visit_from(&mut self, from: &mut [TableWithJoins]) {
        for n in 0..from.len() {
            let (before, rest) = from.split_at_mut(n);
            let [table, ..] = rest else { return };
            self.visit_factor(&mut table.relation, || before.to_vec());
            for m in 0..table.joins.len() {
                let (joined, rest) = table.joins.split_at_mut(m);
                let [join, ..] = rest else { break };
                let left = || TableWithJoins { relation: table.relation.clone(), joins: joined.to_vec() };
                self.visit_factor(&mut join.relation, || [before.to_vec(), vec![left()]].concat());
                let _ = join.join_operator.visit(self);
            }
        }
    }

    /// A query in FROM sees none of the tables beside it, and with LATERAL those before it.
    fn visit_factor(&mut self, factor: &mut TableFactor, before: impl FnOnce() -> Vec<TableWithJoins>) {
        let TableFactor::Derived { lateral, .. } = factor else {
            let _ = factor.visit(self);
            return;
        };
        let mut before = if *lateral { before() } else { vec![] };
        let columns = self.of_tables(&mut before);
        let seen = Scope { merged: merged_in(&before), ..Scope::of(&before, columns) };
        let around = self.scopes.pop();
        self.scopes.push(seen);
        let _ = factor.visit(self);
        self.scopes.pop();
        self.scopes.extend(around);
    }

    /// The value of a column that USING merges in a query around, where the name without a table is that column's for sure.
    fn outer_value(&self, written: &Ident) -> Option<Expr> {
        let name = fold(written);
        for (n, scope) in self.scopes.iter().enumerate().rev() {
            let inner = &self.scopes[n + 1..];
            let column = merged_column(written, &scope.merged).filter(|_| !inner.is_empty());
            if let Some(column) = column {
                let is_hidden = |table: &Ident| inner.iter().any(|scope| scope.may_hide(table));
                return if column.tables.iter().any(is_hidden) { None } else { column.value(written) };
            }
            if scope.may_have(&name) {
                return None;
            }
        }
        None
    }

    /// As [`Self::write_out`], of all parts of FROM.
    fn of_tables(&self, from: &mut [TableWithJoins]) -> Option<Vec<String>> {
        let mut all = vec![];
        let mut is_known = true;
        for table in from {
            let columns = self.write_out(table);
            is_known &= columns.is_some();
            all.extend(columns.into_iter().flatten().map(|column| column.name));
        }
        is_known.then_some(all)
    }

    /// Writes the joins of a part of FROM out; gives the columns of them all, those of USING once.
    fn write_out(&self, table: &mut TableWithJoins) -> Option<Vec<Column>> {
        let mut several = is_nested(&table.relation);
        let mut left = self.of_factor(&mut table.relation);
        for join in &mut table.joins {
            let nested = is_nested(&join.relation);
            let right = self.of_factor(&mut join.relation);
            let mut shared = vec![];
            if let Some(constraint) = constraint_mut(&mut join.join_operator) {
                if let (Some(left), Some(right)) = (&left, &right) {
                    write_out_constraint(constraint, left, right);
                    name_owners(constraint, (left, several), (right, nested));
                }
                shared = shared_columns(constraint);
            }
            several = true;
            left = left.zip(right).map(|(mut all, right)| {
                all.iter_mut().for_each(|column| column.merged |= shared.contains(&column.name));
                all.extend(right.into_iter().filter(|column| !shared.contains(&column.name)));
                all
            });
        }
        left
    }

    fn of_factor(&self, factor: &mut TableFactor) -> Option<Vec<Column>> {
        let table = label(factor);
        let names = match factor {
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                return self.write_out(table_with_joins);
            }
            factor => self.names_of_factor(factor),
        };
        let column = |name| Column { name, table: table.clone(), merged: false };
        Some(names?.into_iter().map(column).collect())
    }

    fn names_of_factor(&self, factor: &mut TableFactor) -> Option<Vec<String>> {
        match factor {
            TableFactor::NestedJoin { table_with_joins, alias } => {
                renamed(self.write_out(table_with_joins).map(names), alias.as_ref())
            }
            TableFactor::Table { name, alias, args: None, .. } => {
                renamed(self.of_table(name), alias.as_ref())
            }
            TableFactor::Derived { subquery, alias, .. } => renamed(self.of_query(subquery), alias.as_ref()),
            _ => None,
        }
    }

    fn of_table(&self, name: &ObjectName) -> Option<Vec<String>> {
        if let [part] = name.0.as_slice()
            && let Some(word) = part.as_ident().map(fold)
            && let Some((_, columns)) = self.withs.iter().rev().flatten().find(|(with, _)| *with == word)
        {
            return columns.clone();
        }
        (self.columns)(name)
    }

    /// The columns of a query, as its text tells them.
    fn of_query(&self, query: &Query) -> Option<Vec<String>> {
        if query.with.is_some() { None } else { self.of_body(&query.body) }
    }

    fn of_body(&self, body: &SetExpr) -> Option<Vec<String>> {
        match body {
            SetExpr::Select(select) => self.of_select(select.as_ref().clone()),
            SetExpr::Query(query) => self.of_query(query),
            SetExpr::SetOperation { left, .. } => self.of_body(left),
            SetExpr::Values(values) => {
                let first = values.rows.first()?;
                Some((1..=first.content.len()).map(|n| format!("column{n}")).collect())
            }
            _ => None,
        }
    }

    fn of_select(&self, mut select: Select) -> Option<Vec<String>> {
        let mut all = vec![];
        if let [SelectItem::Wildcard(options)] = select.projection.as_slice()
            && *options == WildcardAdditionalOptions::default()
        {
            for table in &mut select.from {
                all.extend(names(self.write_out(table)?));
            }
            return Some(all);
        }
        name_columns(&mut select, true);
        select.projection.iter().map(|item| output_name(item).as_ref().map(fold)).collect()
    }
}

/// The columns by the names that an alias gives the first of them.
fn renamed(columns: Option<Vec<String>>, alias: Option<&TableAlias>) -> Option<Vec<String>> {
    let given: &[TableAliasColumnDef] = match alias {
        Some(alias) => &alias.columns,
        None => &[],
    };
    let names = given.iter().map(|column| fold(&column.name));
    Some(names.chain(columns?.into_iter().skip(given.len())).collect())
}

fn names(columns: Vec<Column>) -> Vec<String> {
    columns.into_iter().map(|column| column.name).collect()
}

/// True for joins in parentheses, whose tables have names outside.
fn is_nested(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::NestedJoin { alias: None, .. })
}

/// The column of this name, unless there are none or several.
fn only<'a>(columns: &'a [Column], name: &str) -> Option<&'a Column> {
    let mut found = columns.iter().filter(|column| column.name == name);
    found.next().filter(|_| found.next().is_none())
}

/// Writes the tables of both sides before the columns of USING that one of several tables has.
fn name_owners(
    constraint: &mut JoinConstraint,
    (left, several): (&[Column], bool),
    (right, nested): (&[Column], bool),
) {
    let JoinConstraint::Using(columns) = constraint else { return };
    for column in columns {
        let [name] = column.0.as_slice() else { continue };
        let Some(name) = name.as_ident().cloned() else { continue };
        let sides = only(left, &fold(&name)).zip(only(right, &fold(&name)));
        let unclear = sides.filter(|(l, r)| (several && !l.merged) || (nested && !r.merged));
        if let Some((Some(left), Some(right))) = unclear.map(|(l, r)| (l.table.clone(), r.table.clone())) {
            *column = ObjectName::from(vec![left, right, name]);
        }
    }
}

/// USING instead of NATURAL: the columns that both sides have, in the order of the left one; all rows match where there
/// are none. What one side has twice stays for the planner to refuse.
fn write_out_constraint(constraint: &mut JoinConstraint, left: &[Column], right: &[Column]) {
    let JoinConstraint::Natural = constraint else { return };
    let has = |side: &[Column], name: &str| side.iter().any(|column| column.name == name);
    let shared: Vec<&String> =
        left.iter().map(|column| &column.name).filter(|name| has(right, name)).collect();
    if !shared.iter().all(|name| only(left, name).is_some() && only(right, name).is_some()) {
        return;
    }
    let name = |column: &&String| ObjectName::from(vec![Ident::with_quote('"', column.as_str())]);
    *constraint = match shared.as_slice() {
        [] => JoinConstraint::On(Expr::Value(Value::Boolean(true).with_empty_span())),
        shared => JoinConstraint::Using(shared.iter().map(name).collect()),
    };
}

fn shared_columns(constraint: &JoinConstraint) -> Vec<String> {
    let JoinConstraint::Using(columns) = constraint else { return vec![] };
    columns.iter().filter_map(|column| column.0.last()?.as_ident()).map(fold).collect()
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn natural_joins_are_by_the_columns_of_both_sides() {
        let columns = |name: &ObjectName| match name.to_string().as_str() {
            "a" => Some(vec!["x".to_owned(), "k".to_owned()]),
            "b" => Some(vec!["k".to_owned(), "y".to_owned()]),
            _ => None,
        };
        for (from, expected) in [
            ("a NATURAL JOIN b", "a JOIN b USING(\"k\")"),
            ("a NATURAL LEFT JOIN (SELECT y AS z FROM b) c", "a LEFT JOIN (SELECT y AS z FROM b) c ON true"),
            (
                "a NATURAL JOIN b NATURAL JOIN (VALUES (1)) v (y)",
                "a JOIN b USING(\"k\") JOIN (VALUES (1)) v (y) USING(b.v.\"y\")",
            ),
            ("a JOIN b ON true FULL JOIN a c USING (x)", "a JOIN b ON true FULL JOIN a c USING(a.c.x)"),
            ("a JOIN b ON true FULL JOIN a c USING (k)", "a JOIN b ON true FULL JOIN a c USING(k)"),
            ("a JOIN b USING (k) FULL JOIN a c USING (k)", "a JOIN b USING(k) FULL JOIN a c USING(k)"),
            ("b JOIN (a JOIN b c ON true) USING (x)", "b JOIN (a JOIN b c ON true) USING(x)"),
            ("a c JOIN (a JOIN b ON true) USING (x)", "a c JOIN (a JOIN b ON true) USING(c.a.x)"),
            ("a JOIN a b ON true NATURAL JOIN b c", "a JOIN a b ON true NATURAL JOIN b c"),
            ("a NATURAL JOIN other", "a NATURAL JOIN other"),
            ("a JOIN b USING (k) WHERE k > (SELECT k)", "a JOIN b USING(k) WHERE k > (SELECT a.k)"),
            (
                "a FULL JOIN b USING (k) WHERE EXISTS (SELECT k FROM (VALUES (1)) v (z) WHERE z = k)",
                "a FULL JOIN b USING(k) WHERE EXISTS (SELECT coalesce(a.k, b.k) AS k FROM (VALUES (1)) v (z) \
                 WHERE z = coalesce(a.k, b.k))",
            ),
            (
                "a JOIN b USING (k) WHERE 1 = (SELECT count(*) FROM (SELECT k) q)",
                "a JOIN b USING(k) WHERE 1 = (SELECT count(*) FROM (SELECT a.k) q)",
            ),
            (
                "a LEFT JOIN b USING (k) CROSS JOIN LATERAL (SELECT k AS z) l, LATERAL (SELECT k FROM other) m",
                "a LEFT JOIN b USING(k) CROSS JOIN LATERAL (SELECT a.k AS z) l, LATERAL (SELECT k FROM other) m",
            ),
            (
                "a JOIN b USING (k) WHERE k IN (SELECT k FROM b) AND k IN (SELECT k FROM other)",
                "a JOIN b USING(k) WHERE k IN (SELECT k FROM b) AND k IN (SELECT k FROM other)",
            ),
            (
                "a JOIN b USING (k) WHERE EXISTS (SELECT k FROM (SELECT 1 AS z) a)",
                "a JOIN b USING(k) WHERE EXISTS (SELECT k FROM (SELECT 1 AS z) a)",
            ),
        ] {
            let sql = format!("SELECT * FROM {from}");
            let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, &sql).unwrap().remove(0);
            let _ = statement.visit(&mut Natural::new(&columns));
            assert_eq!(statement.to_string(), format!("SELECT * FROM {expected}"));
        }
    }
}
