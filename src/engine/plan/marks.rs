//! PostgreSQL's types of the columns of a result where arrow's types do not tell them.
//!
//! Columns of the catalogue and of tables are marked with the names of their types; DataFusion keeps a mark where a
//! column is passed on, and loses it in CASE, coalesce, aggregates and arrays. They are found again by walking the plan.
//!
//! Source: PostgreSQL 15 documentation, section 10.5 (UNION, CASE, and Related Constructs).

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, JoinType};
use datafusion::logical_expr::expr::{AggregateFunction, BinaryExpr, Case, Cast, TryCast, WindowFunction};
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;

use crate::postgres::PG_TYPE;

/// The name of a type, where one is known.
type Mark = Option<String>;

/// Functions whose values are those of their first argument.
const FIRST_ARGUMENT: [&str; 13] = [
    "any_value",
    "coalesce",
    "first_value",
    "greatest",
    "ifnull",
    "last_value",
    "least",
    "max",
    "may_be_null",
    "min",
    "nullif",
    "nvl",
    "distinct",
];

/// The marks of the columns of a plan.
pub fn marks(plan: &LogicalPlan) -> Vec<Mark> {
    let found = match plan {
        LogicalPlan::Union(u) => u.inputs.first().map(|input| marks(input)).unwrap_or_default(),
        LogicalPlan::RecursiveQuery(r) => marks(&r.static_term),
        LogicalPlan::Unnest(u) => {
            let inner = marks(&u.input);
            let lists: Vec<usize> = u.list_type_columns.iter().map(|(n, _)| *n).collect();
            let of_input = |n: &usize| {
                let mark = inner.get(*n).cloned().flatten()?;
                if !lists.contains(n) {
                    return Some(mark);
                }
                mark.strip_prefix('_').map(str::to_owned)
            };
            u.dependency_indices.iter().map(of_input).collect()
        }
        plan => carried(plan, marks, of_exprs),
    };
    let fields = plan.schema().fields();
    if found.len() == fields.len() {
        return found;
    }
    fields.iter().map(|field| field.metadata().get(PG_TYPE).cloned()).collect()
}

/// What is known of the columns of a plan that hands on those of its inputs, or makes some of them; nothing for others.
pub(super) fn carried<T>(
    plan: &LogicalPlan,
    of_plan: impl Fn(&LogicalPlan) -> Vec<T>,
    of_exprs: impl Fn(&[Expr], &LogicalPlan) -> Vec<T>,
) -> Vec<T> {
    let with = |mut first: Vec<T>, rest: Vec<T>| {
        first.extend(rest);
        first
    };
    match plan {
        LogicalPlan::Projection(p) => of_exprs(&p.expr, &p.input),
        LogicalPlan::SubqueryAlias(a) => of_plan(&a.input),
        LogicalPlan::Filter(f) => of_plan(&f.input),
        LogicalPlan::Sort(s) => of_plan(&s.input),
        LogicalPlan::Limit(l) => of_plan(&l.input),
        LogicalPlan::Distinct(Distinct::All(input)) => of_plan(input),
        LogicalPlan::Distinct(Distinct::On(on)) => of_exprs(&on.select_expr, &on.input),
        LogicalPlan::Aggregate(a) => {
            with(of_exprs(&a.group_expr, &a.input), of_exprs(&a.aggr_expr, &a.input))
        }
        LogicalPlan::Window(w) => with(of_plan(&w.input), of_exprs(&w.window_expr, &w.input)),
        LogicalPlan::Join(j) => match j.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                with(of_plan(&j.left), of_plan(&j.right))
            }
            JoinType::LeftSemi | JoinType::LeftAnti => of_plan(&j.left),
            JoinType::RightSemi | JoinType::RightAnti => of_plan(&j.right),
            _ => vec![],
        },
        _ => vec![],
    }
}

fn of_exprs(exprs: &[Expr], input: &LogicalPlan) -> Vec<Mark> {
    let scope = Scope { schema: input.schema(), marks: marks(input) };
    exprs.iter().map(|expr| scope.mark(expr)).collect()
}

/// The mark of the value in the row that a subquery selects, beside the number of rows.
fn of_single_value(rows: &Expr) -> Mark {
    let Expr::ScalarSubquery(subquery) = rows else { return None };
    let LogicalPlan::Projection(projection) = subquery.subquery.as_ref() else { return None };
    let Expr::ScalarFunction(row) = projection.expr.first()?.clone().unalias() else { return None };
    of_exprs(row.args.get(..1)?, &projection.input).pop().flatten()
}

/// The columns that expressions are over.
struct Scope<'a> {
    schema: &'a DFSchema,
    marks: Vec<Mark>,
}

/// What an expression can say about the type of a choice that it is in.
enum Kind {
    /// NULL, or a text that becomes what the others are.
    Unknown,
    /// A number that is written out and fits four bytes.
    Number,
    /// Arrow's type.
    Plain,
    /// A type of PostgreSQL.
    Marked(String),
}

impl Scope<'_> {
    fn mark(&self, expr: &Expr) -> Mark {
        match expr {
            Expr::Column(column) => {
                self.marks.get(self.schema.maybe_index_of_column(column)?).cloned().flatten()
            }
            Expr::Alias(alias) => {
                let own = alias.metadata.as_ref().and_then(|metadata| metadata.inner().get(PG_TYPE).cloned());
                own.or_else(|| self.mark(&alias.expr))
            }
            // A cast forgets what was cast.
            Expr::Cast(Cast { field, .. }) | Expr::TryCast(TryCast { field, .. }) => {
                field.metadata().get(PG_TYPE).cloned()
            }
            Expr::Case(case) => self.choice(case),
            Expr::ScalarSubquery(subquery) => marks(&subquery.subquery).into_iter().next().flatten(),
            Expr::AggregateFunction(AggregateFunction { func, params }) => {
                self.call(func.name(), &params.args).or_else(|| self.told(expr))
            }
            Expr::WindowFunction(window) => {
                let WindowFunction { fun, params } = window.as_ref();
                self.call(fun.name(), &params.args).or_else(|| self.told(expr))
            }
            Expr::ScalarFunction(call) if call.func.name() == "single_value" => {
                of_single_value(call.args.first()?)
            }
            Expr::ScalarFunction(call) => self.call(call.func.name(), &call.args).or_else(|| self.told(expr)),
            Expr::BinaryExpr(_) if small(expr).is_some() => Some("int4".to_owned()),
            _ => self.told(expr),
        }
    }

    /// What DataFusion keeps.
    fn told(&self, expr: &Expr) -> Mark {
        let (_, field) = expr.to_field(self.schema).ok()?;
        field.metadata().get(PG_TYPE).cloned()
    }

    fn call(&self, name: &str, args: &[Expr]) -> Mark {
        match name {
            "array_agg" | "make_array" => array_of(self.kinds(args)),
            "lag" | "lead" | "nth_value" => self.of_row(args),
            name if FIRST_ARGUMENT.contains(&name) => chosen(self.kinds(args)),
            _ => None,
        }
    }

    /// The value of another row, or the one in its place; between them is a number of rows.
    fn of_row(&self, args: &[Expr]) -> Mark {
        match args {
            [Expr::Literal(text, _), ..] if text.data_type().is_string() => None,
            _ => chosen(args.iter().step_by(2).map(|expr| self.kind(expr)).collect()),
        }
    }

    /// The branch behind ELSE counts first.
    fn choice(&self, case: &Case) -> Mark {
        let branches = case.else_expr.iter().chain(case.when_then_expr.iter().map(|(_, then)| then));
        chosen(branches.map(|expr| self.kind(expr)).collect())
    }

    fn kinds(&self, exprs: &[Expr]) -> Vec<Kind> {
        exprs.iter().map(|expr| self.kind(expr)).collect()
    }

    fn kind(&self, expr: &Expr) -> Kind {
        let unknown = |value: &ScalarValue| {
            value.is_null()
                || matches!(value.data_type(), DataType::Utf8 | DataType::Utf8View | DataType::Null)
        };
        match expr {
            Expr::Literal(value, _) if unknown(value) => Kind::Unknown,
            expr if small(expr).is_some() => Kind::Number,
            expr => match self.mark(expr) {
                Some(mark) if mark == "int4" => Kind::Number,
                Some(mark) => Kind::Marked(mark),
                None => Kind::Plain,
            },
        }
    }
}

/// The type of a choice: the first that is known, where no other number is among them.
fn chosen(kinds: Vec<Kind>) -> Mark {
    let (mut numbers, mut plain) = (false, false);
    for kind in kinds {
        match kind {
            Kind::Marked(_) if plain => return None,
            Kind::Marked(mark) => return Some(mark),
            Kind::Number => numbers = true,
            Kind::Plain => plain = true,
            Kind::Unknown => {}
        }
    }
    (numbers && !plain).then(|| "int4".to_owned())
}

fn array_of(kinds: Vec<Kind>) -> Mark {
    match chosen(kinds)? {
        mark if mark.starts_with('_') || mark.contains('(') || mark == "int4" => None,
        mark => Some(format!("_{mark}")),
    }
}

/// The value of whole numbers that are written out, when it fits four bytes.
fn small(expr: &Expr) -> Option<i64> {
    let value = match expr {
        Expr::Literal(ScalarValue::Int64(Some(n)), _) => *n,
        Expr::Literal(ScalarValue::Int32(Some(n)), _) => i64::from(*n),
        Expr::Negative(inner) => -small(inner)?,
        Expr::Cast(cast) if cast.field.data_type() == &DataType::Int32 => small(&cast.expr)?,
        Expr::Alias(alias) => small(&alias.expr)?,
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (left, right) = (small(left)?, small(right)?);
            match op {
                Operator::Plus => left + right,
                Operator::Minus => left - right,
                Operator::Multiply => left * right,
                _ => return None,
            }
        }
        _ => return None,
    };
    i32::try_from(value).ok().map(i64::from)
}
