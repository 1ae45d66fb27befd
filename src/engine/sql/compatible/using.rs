//! Columns of JOIN … USING: what their names stand for without a table, which `*` shows first and once.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, ExcludeSelectItem, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, OrderByKind,
    Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins,
    VisitMut, WildcardAdditionalOptions,
};

use crate::engine::sql::compatible::build::{balanced, call, each_outside_subqueries};
use crate::engine::sql::naming::output_name;
use crate::engine::sql::natural::constraint_mut;
use crate::engine::sql::ordering::separate_order;
use crate::engine::sql::words::fold;

/// Names tables before the columns that USING merges, in a SELECT and in the ORDER BY of its query.
pub(super) fn merge_in_query(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let merged = merged_in(&select.from);
    if merged.is_empty() {
        return;
    }
    if let Some(OrderByKind::Expressions(order)) = query.order_by.as_mut().map(|order| &mut order.kind) {
        // A name is one of the output first.
        let hidden: Vec<Merged> =
            merged.iter().filter(|column| !is_output(&column.name, select)).cloned().collect();
        order.iter_mut().for_each(|key| name_tables(&mut key.expr, &hidden));
    }
    merge_columns(select);
    if merged.iter().any(|column| column.tables.len() > 1) {
        separate_order(query);
    }
}

/// Names tables before the columns that USING merges, and writes out what `*` stands for.
pub(super) fn merge_columns(select: &mut Select) {
    let merged = merged_in(&select.from);
    if merged.is_empty() {
        return;
    }
    write_out_star(select);
    select.from.iter_mut().for_each(merge_in_joins);
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::Identifier(written)) = item
            && let Some(value) = value_of(written, &merged)
        {
            *item = named(value, written.clone());
        }
    }
    let from = std::mem::take(&mut select.from);
    name_tables(select, &merged);
    select.from = from;
}

/// A column that USING merges.
#[derive(Clone)]
pub struct Merged {
    /// The name, folded.
    name: String,
    /// The tables whose values it has, the first that is not NULL; none where they are not known.
    pub tables: Vec<Ident>,
    /// The tables that have a column of this name, in their order; none where they are not all known.
    owners: Option<Vec<Ident>>,
}

impl Merged {
    /// The column of one relation, of which more is known when it has a label.
    fn of(name: String, label: Option<Ident>) -> Self {
        Self { name, tables: label.iter().cloned().collect(), owners: label.map(|label| vec![label]) }
    }

    /// The column after a join with another relation that has it.
    fn joined(self, kind: Kind, right: Self) -> Self {
        let owners = match (self.owners, right.owners) {
            (Some(left), Some(right)) => Some([left, right].concat()),
            _ => None,
        };
        let tables = match kind {
            Kind::Inner if self.tables.len() == 1 || right.tables.is_empty() => self.tables,
            Kind::Inner | Kind::Right => right.tables,
            Kind::Left => self.tables,
            Kind::Full if self.tables.is_empty() || right.tables.is_empty() => vec![],
            Kind::Full => [self.tables, right.tables].concat(),
        };
        Self { name: self.name, tables, owners }
    }

    /// The value, when it is known.
    pub fn value(&self, written: &Ident) -> Option<Expr> {
        let column = |table: &Ident| {
            let table = Ident { span: written.span, ..table.clone() };
            Expr::CompoundIdentifier(vec![table, written.clone()])
        };
        match self.tables.as_slice() {
            [] => None,
            [table] => Some(column(table)),
            tables => Some(call("coalesce", tables.iter().map(column).collect())),
        }
    }

    /// True where the planner would take another value for it: it takes that of the first table.
    fn is_other(&self) -> bool {
        let first = self.owners.as_ref().and_then(|owners| owners.first());
        first.is_some_and(|first| self.tables.as_slice() != std::slice::from_ref(first))
    }
}

/// Joins by the sides whose rows all appear.
#[derive(Clone, Copy)]
enum Kind {
    Inner,
    Left,
    Right,
    Full,
}

/// The kind and the constraint of a join that may have USING.
fn kind_of(operator: &JoinOperator) -> Option<(Kind, &JoinConstraint)> {
    match operator {
        JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => Some((Kind::Inner, constraint)),
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
            Some((Kind::Left, constraint))
        }
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
            Some((Kind::Right, constraint))
        }
        JoinOperator::FullOuter(constraint) => Some((Kind::Full, constraint)),
        _ => None,
    }
}

/// A column of USING, with the tables of both sides that have it where they are written before it.
struct UsingColumn {
    name: Ident,
    left: Option<Ident>,
    right: Option<Ident>,
}

impl UsingColumn {
    fn of(written: &ObjectName) -> Option<Self> {
        let words: Vec<&Ident> = written.0.iter().map(|part| part.as_ident()).collect::<Option<_>>()?;
        let (left, right, name) = match words.as_slice() {
            [name] => (None, None, *name),
            [left, right, name] => (Some((*left).clone()), Some((*right).clone()), *name),
            _ => return None,
        };
        Some(Self { name: name.clone(), left, right })
    }
}

/// The columns of USING of a join.
fn using(operator: &JoinOperator) -> Option<(Kind, Vec<UsingColumn>)> {
    let (kind, JoinConstraint::Using(columns)) = kind_of(operator)? else { return None };
    Some((kind, columns.iter().map(UsingColumn::of).collect::<Option<_>>()?))
}

/// Columns of `*`, in its order.
enum Part {
    /// One that USING merges.
    Column(Merged),
    /// What else a table has; without its label where that is not known.
    Rest(Option<Ident>),
}

/// The columns that the joins of a SELECT merge.
pub fn merged_in(from: &[TableWithJoins]) -> Vec<Merged> {
    from.iter().flat_map(merged_of).collect()
}

fn merged_of(table: &TableWithJoins) -> Vec<Merged> {
    merged_parts(parts_of(table))
}

fn merged_parts(parts: Vec<Part>) -> Vec<Merged> {
    let merged = parts.into_iter().filter_map(|part| match part {
        Part::Column(column) => Some(column),
        Part::Rest(_) => None,
    });
    merged.collect()
}

fn parts_of(table: &TableWithJoins) -> Vec<Part> {
    parts_by(table, table.joins.len())
}

/// What the first joins make.
fn parts_by(table: &TableWithJoins, joins: usize) -> Vec<Part> {
    let mut parts = parts_of_factor(&table.relation);
    for join in table.joins.iter().take(joins) {
        let (mut left, mut right) = (std::mem::take(&mut parts), parts_of_factor(&join.relation));
        if let Some((kind, columns)) = using(&join.join_operator) {
            for column in columns {
                let before = take_column(&mut left, &column.name, column.left);
                let joined = take_column(&mut right, &column.name, column.right);
                parts.push(Part::Column(before.joined(kind, joined)));
            }
        }
        parts.extend(left);
        parts.extend(right);
    }
    parts
}

fn parts_of_factor(factor: &TableFactor) -> Vec<Part> {
    match factor {
        TableFactor::NestedJoin { table_with_joins, alias: None } => parts_of(table_with_joins),
        factor => vec![Part::Rest(label(factor))],
    }
}

/// Takes the column of this name out of one side of a join: one that was merged there, or that of the only table, or of
/// `table`.
fn take_column(parts: &mut Vec<Part>, name: &Ident, table: Option<Ident>) -> Merged {
    let name = fold(name);
    let place = parts.iter().position(|part| matches!(part, Part::Column(column) if column.name == name));
    if let Some(Part::Column(column)) = place.map(|place| parts.remove(place)) {
        return column;
    }
    let table = match parts.as_slice() {
        [Part::Rest(label)] => label.clone(),
        _ => table,
    };
    Merged::of(name, table)
}

/// What the columns of a relation can be called after.
pub fn label(relation: &TableFactor) -> Option<Ident> {
    match relation {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. } => Some(alias.name.clone()),
        TableFactor::Table { name, args, .. } => {
            let word = name.0.last()?.as_ident()?;
            (args.is_none() || word.quote_style.is_none()).then(|| word.clone())
        }
        _ => None,
    }
}

/// Names tables in the ON of joins, and makes an ON of a USING whose left side the planner would take from another table.
fn merge_in_joins(table: &mut TableWithJoins) {
    // From the last on: what a join merges is known from the USING of those before it.
    for n in (0..table.joins.len()).rev() {
        let left = parts_by(table, n);
        let join = &mut table.joins[n];
        let right = parts_of_factor(&join.relation);
        let columns = using(&join.join_operator).map(|(_, columns)| columns);
        let Some(constraint) = constraint_mut(&mut join.join_operator) else { continue };
        if let JoinConstraint::On(condition) = constraint {
            let merged = [merged_parts(left), merged_parts(right)].concat();
            name_tables(condition, &merged);
        } else if let Some(condition) = columns.and_then(|columns| equal(&columns, left, right)) {
            *constraint = JoinConstraint::On(condition);
        }
    }
    let joined = table.joins.iter_mut().map(|join| &mut join.relation);
    for factor in std::iter::once(&mut table.relation).chain(joined) {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            merge_in_joins(table_with_joins);
        }
    }
}

/// The condition that USING stands for, where the planner would read another one or none.
fn equal(columns: &[UsingColumn], mut left: Vec<Part>, mut right: Vec<Part>) -> Option<Expr> {
    let mut pairs = vec![];
    let mut is_other = false;
    for column in columns {
        let before = take_column(&mut left, &column.name, column.left.clone());
        let joined = take_column(&mut right, &column.name, column.right.clone());
        is_other |= column.left.is_some() || before.is_other() || joined.is_other();
        pairs.push((&column.name, before, joined));
    }
    if !is_other {
        return None;
    }
    let pairs = pairs.iter().map(|(name, before, joined)| {
        let (left, right) = (Box::new(before.value(name)?), Box::new(joined.value(name)?));
        Some(Expr::BinaryOp { left, op: BinaryOperator::Eq, right })
    });
    Some(balanced(pairs.collect::<Option<Vec<_>>>()?, &BinaryOperator::And))
}

/// True for the name of an output column, as far as the text tells.
fn is_output(name: &str, select: &Select) -> bool {
    select.projection.iter().any(|item| match item {
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => true,
        item => output_name(item).is_some_and(|output| fold(&output) == name),
    })
}

/// Writes `*` as the merged columns and what else every table has.
fn write_out_star(select: &mut Select) {
    let is_star = |item: &SelectItem| matches!(item, SelectItem::Wildcard(options) if *options == WildcardAdditionalOptions::default());
    if !select.projection.iter().any(is_star) {
        return;
    }
    let parts: Option<Vec<Vec<SelectItem>>> = select.from.iter().map(star_of).collect();
    let Some(parts) = parts else { return };
    let star = parts.concat();
    let written = std::mem::take(&mut select.projection);
    let items = written.into_iter().map(|item| if is_star(&item) { star.clone() } else { vec![item] });
    select.projection = items.flatten().collect();
}

/// The columns of a part of FROM, when all its tables have labels.
fn star_of(table: &TableWithJoins) -> Option<Vec<SelectItem>> {
    let merged = merged_of(table);
    let items = parts_of(table).into_iter().map(|part| match part {
        Part::Column(column) => {
            let alias = Ident::with_quote('"', &column.name);
            let expr = column.owners.as_ref().and(column.value(&alias))?;
            Some(SelectItem::ExprWithAlias { expr, alias })
        }
        Part::Rest(label) => Some(rest_of(label?, &merged)),
    });
    items.collect()
}

/// The columns of a table that are not merged.
fn rest_of(label: Ident, merged: &[Merged]) -> SelectItem {
    let owns = |column: &&Merged| column.owners.iter().flatten().any(|owner| fold(owner) == fold(&label));
    let names: Vec<ObjectName> = merged
        .iter()
        .filter(owns)
        .map(|column| ObjectName::from(vec![Ident::with_quote('"', &column.name)]))
        .collect();
    let options = WildcardAdditionalOptions {
        opt_exclude: (!names.is_empty()).then_some(ExcludeSelectItem::Multiple(names)),
        ..WildcardAdditionalOptions::default()
    };
    let kind = SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![label]));
    SelectItem::QualifiedWildcard(kind, options)
}

/// The labels of all tables of a part of FROM.
pub fn labels(table: &TableWithJoins) -> Option<Vec<Ident>> {
    let rests = parts_of(table).into_iter().filter_map(|part| match part {
        Part::Rest(label) => Some(label),
        Part::Column(_) => None,
    });
    rests.collect()
}

/// A column of the output that has the name of the merged one.
pub fn named(value: Expr, name: Ident) -> SelectItem {
    match value {
        Expr::CompoundIdentifier(_) => SelectItem::UnnamedExpr(value),
        expr => SelectItem::ExprWithAlias { expr, alias: name },
    }
}

/// What a name without a table stands for.
fn value_of(written: &Ident, merged: &[Merged]) -> Option<Expr> {
    merged_column(written, merged)?.value(written)
}

/// The column of this name; two of them are not told apart.
pub fn merged_column<'a>(written: &Ident, merged: &'a [Merged]) -> Option<&'a Merged> {
    let name = fold(written);
    let mut found = merged.iter().filter(|column| column.name == name);
    found.next().filter(|_| found.next().is_none())
}

fn name_tables(node: &mut impl VisitMut, merged: &[Merged]) {
    each_outside_subqueries(node, |expr| {
        if let Expr::Identifier(written) = expr
            && let Some(value) = value_of(written, merged)
        {
            *expr = value;
        }
    });
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use crate::engine::sql::compatible::make_compatible;

    fn compatible(sql: &str) -> String {
        let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
        make_compatible(&mut statement).unwrap();
        statement.to_string()
    }

    #[test]
    fn merged_columns_get_a_table_that_has_the_value() {
        for (sql, expected) in [
            ("SELECT day FROM a JOIN b USING (day) WHERE Day > 1", "WHERE a.Day > 1"),
            ("SELECT day FROM a LEFT JOIN b USING (day) WHERE day > 1 AND x = 2", "a.day > 1 AND x = 2"),
            ("SELECT day || x FROM a AS f RIGHT JOIN s.b USING (day) WHERE f(day) = 1", "f(b.day) = 1"),
            (
                "SELECT day FROM a RIGHT JOIN (SELECT 1) AS c USING (day) WHERE day IN (SELECT day FROM z)",
                "c.day IN (SELECT day FROM z)",
            ),
            (
                "SELECT day FROM a FULL JOIN b USING (day) GROUP BY day",
                "SELECT coalesce(a.day, b.day) AS day FROM a FULL JOIN b USING(day) GROUP BY coalesce(a.day, b.day)",
            ),
            ("SELECT x FROM a RIGHT JOIN b USING (day) ORDER BY day", "ORDER BY b.day"),
            ("SELECT day FROM a RIGHT JOIN b USING (day) ORDER BY day", "ORDER BY day"),
            ("SELECT day FROM a JOIN b ON a.day = b.day WHERE x > 1", "WHERE x > 1"),
            ("SELECT day FROM a JOIN b ON true LEFT JOIN c USING (day) WHERE day > 1", "WHERE day > 1"),
            ("SELECT 1 FROM a RIGHT JOIN b USING (k) JOIN c ON k = z", "JOIN c ON b.k = z"),
            ("SELECT 1 FROM a JOIN b USING (k) LEFT JOIN c USING (k)", "LEFT JOIN c USING(k)"),
            ("SELECT 1 FROM a RIGHT JOIN b USING (k) LEFT JOIN c USING (k)", "LEFT JOIN c ON b.k = c.k"),
            (
                "SELECT k FROM a JOIN b ON true FULL JOIN c USING (a.c.k)",
                "SELECT coalesce(a.k, c.k) AS k FROM a JOIN b ON true FULL JOIN c ON a.k = c.k",
            ),
            (
                "SELECT 1 FROM a JOIN (b RIGHT JOIN c USING (k)) USING (k) WHERE k > 1",
                "FROM a JOIN (b RIGHT JOIN c USING(k)) ON a.k = c.k WHERE a.k > 1",
            ),
            ("SELECT 1 FROM a JOIN b USING (c.k) WHERE k > 1", "b USING(c.k) WHERE k > 1"),
        ] {
            let text = compatible(sql);
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn a_star_has_merged_columns_first_and_once() {
        for (sql, expected) in [
            (
                "SELECT * FROM a LEFT JOIN b USING (k)",
                "SELECT a.\"k\" AS \"k\", a.* EXCLUDE (\"k\"), b.* EXCLUDE (\"k\") FROM a LEFT JOIN b USING(k)",
            ),
            (
                "SELECT * FROM a FULL JOIN b USING (k)",
                "SELECT coalesce(a.\"k\", b.\"k\") AS \"k\", a.* EXCLUDE (\"k\"), b.* EXCLUDE (\"k\") \
                 FROM a FULL JOIN b USING(k)",
            ),
            (
                "SELECT * FROM a JOIN b ON true JOIN c USING (k)",
                "SELECT * FROM a JOIN b ON true JOIN c USING(k)",
            ),
            (
                "SELECT * FROM a JOIN (b JOIN c USING (k)) ON true",
                "SELECT a.*, b.\"k\" AS \"k\", b.* EXCLUDE (\"k\"), c.* EXCLUDE (\"k\") \
                 FROM a JOIN (b JOIN c USING(k)) ON true",
            ),
        ] {
            assert_eq!(compatible(sql), expected);
        }
    }
}
