//! Arguments of table functions: positional and named, names checked, values typed.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::{self, FunctionArg, FunctionArgExpr, ObjectName, Query, Spanned};

use crate::engine::fault;
use crate::engine::options;
use crate::engine::plan::scope::Scope;
use crate::engine::sql::{Item, items_written, select_from, table};
use crate::error::{Error, Subject, did_you_mean};

/// The arguments of one call, as written.
#[derive(Debug)]
pub struct Arguments {
    function: String,
    positional: Vec<ast::Expr>,
    named: Vec<(String, ast::Expr)>,
}

impl Arguments {
    /// Takes the arguments of `function` apart; names outside `allowed` and repeated names are errors.
    pub fn read(
        function: &str,
        args: Vec<FunctionArg>,
        allowed: &[&str],
        context: &dyn RelationPlannerContext,
    ) -> Result<Self> {
        let mut read = Self { function: function.to_owned(), positional: vec![], named: vec![] };
        for arg in args {
            let (name, value) = match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => (None, e),
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(e), .. } => {
                    (Some(context.normalize_ident(name)), e)
                }
                FunctionArg::ExprNamed {
                    name: ast::Expr::Identifier(i),
                    arg: FunctionArgExpr::Expr(e),
                    ..
                } => (Some(context.normalize_ident(i)), e),
                other => return Err(read.invalid(format!("{function} does not take the argument {other}"))),
            };
            read.add(name, value, allowed)?;
        }
        Ok(read)
    }

    fn add(&mut self, name: Option<String>, value: ast::Expr, allowed: &[&str]) -> Result<()> {
        let Some(name) = name else {
            if !self.named.is_empty() {
                return Err(
                    self.invalid(format!("{}: positional argument {value} after named ones", self.function))
                );
            }
            self.positional.push(value);
            return Ok(());
        };
        if !allowed.contains(&name.as_str()) {
            let suggestion = did_you_mean(&name, allowed.iter().copied());
            let error = Error::input(
                Subject::Option,
                format!("{} has no argument {name}{suggestion}", self.function),
            )
            .with_hint(format!("arguments of {}: {}", self.function, allowed.join(", ")));
            return Err(error.into());
        }
        if self.named.iter().any(|(n, _)| *n == name) {
            return Err(self.invalid(format!("{}: argument {name} is given twice", self.function)));
        }
        self.named.push((name, value));
        Ok(())
    }

    /// The function that is called.
    pub fn function(&self) -> &str {
        &self.function
    }

    /// Number of positional arguments.
    pub fn positional_len(&self) -> usize {
        self.positional.len()
    }

    /// Removes and returns positional argument `n`.
    pub fn positional(&mut self, n: usize) -> Option<ast::Expr> {
        (n < self.positional.len()).then(|| self.positional.remove(n))
    }

    /// Removes and returns a named argument.
    pub fn named(&mut self, name: &str) -> Option<ast::Expr> {
        let at = self.named.iter().position(|(n, _)| n == name)?;
        Some(self.named.remove(at).1)
    }

    /// A value as a relation: a subquery or a table name.
    pub fn as_relation(&self, name: &str, value: ast::Expr) -> Result<ast::TableFactor> {
        match value {
            ast::Expr::Subquery(query) => Ok(derived(query)),
            ast::Expr::Identifier(ident) => Ok(table(ObjectName::from(vec![ident]))),
            ast::Expr::CompoundIdentifier(idents) => Ok(table(ObjectName::from(idents))),
            other => Err(self.invalid(format!(
                "{}: {name} takes a table or a query in parentheses, got {other}",
                self.function
            ))),
        }
    }

    /// Plans a value that is a relation: a subquery, the name of a WITH query of the statement, or a table.
    pub fn plan_relation(
        &self,
        name: &str,
        value: ast::Expr,
        scope: &Scope,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let mut relation = self.as_relation(name, value)?;
        let ast::TableFactor::Table { name, .. } = &mut relation else { return context.plan(relation) };
        scope.session.complete_name(name)?;
        // Tables of a statement are looked up ahead where FROM names them; an argument is not FROM.
        let all = select_from(relation.clone(), None);
        context.plan(relation).or_else(|_| scope.plan_query(all))
    }

    /// A value as a name: a bare or quoted identifier, or a string.
    pub fn as_name(
        &self,
        what: &str,
        value: ast::Expr,
        context: &dyn RelationPlannerContext,
    ) -> Result<String> {
        match value {
            ast::Expr::Identifier(ident) => Ok(context.normalize_ident(ident)),
            ast::Expr::Value(v) => match v.value.into_string() {
                Some(text) => Ok(text),
                None => Err(self.invalid(format!("{}: {what} must be a name", self.function))),
            },
            other => Err(self.invalid(format!("{}: {what} must be a name, got {other}", self.function))),
        }
    }

    /// A value as expressions: those that a text holds, or the elements of a list.
    pub fn as_items(&self, name: &str, value: ast::Expr) -> Result<Vec<Item>> {
        let mut items = vec![];
        for value in Self::as_list(value) {
            match value {
                ast::Expr::Value(value) => match value.value.into_string() {
                    Some(text) => items.extend(items_written(&text)?),
                    None => return Err(self.invalid(format!("{}: {name} takes columns", self.function))),
                },
                expr => items.push(Item { expr, alias: None, span: None }),
            }
        }
        Ok(items)
    }

    /// A value as a list: the elements of a tuple or an array, or the value alone.
    pub fn as_list(value: ast::Expr) -> Vec<ast::Expr> {
        match value {
            ast::Expr::Tuple(elements) | ast::Expr::Array(ast::Array { elem: elements, .. }) => elements,
            ast::Expr::Nested(inner) => vec![*inner],
            other => vec![other],
        }
    }

    /// An error about this call.
    pub fn invalid(&self, message: String) -> DataFusionError {
        Error::input(Subject::Option, message).into()
    }
}

/// A constant argument; parameters get this type.
pub fn scalar(
    value: ast::Expr,
    data_type: DataType,
    context: &mut dyn RelationPlannerContext,
) -> Result<Expr> {
    let mut expr = folded(context.sql_to_expr(value, &DFSchema::empty())?)?;
    if let Expr::Placeholder(placeholder) = &mut expr
        && placeholder.field.is_none()
    {
        placeholder.field = Some(Arc::new(Field::new(&placeholder.id, data_type, true)));
    }
    Ok(expr)
}

/// A cast of a literal as the literal that it gives; a cast of a parameter as the parameter.
fn folded(expr: Expr) -> Result<Expr> {
    match expr {
        Expr::Cast(cast) => match folded(*cast.expr)? {
            Expr::Literal(value, metadata) => {
                Ok(Expr::Literal(value.cast_to(cast.field.data_type())?, metadata))
            }
            parameter @ Expr::Placeholder(_) => Ok(parameter),
            inner => Ok(Expr::Cast(Cast::new(Box::new(inner), cast.field.data_type().clone()))),
        },
        expr => Ok(expr),
    }
}

/// A whole number in an inclusive range that is known while planning.
pub fn whole_number(
    name: &str,
    value: ast::Expr,
    (min, max): (i64, i64),
    context: &mut dyn RelationPlannerContext,
) -> Result<i64> {
    let span = value.span();
    let expr = scalar(value, DataType::Int64, context)?;
    options::whole_number(name, &expr, min, max).map_err(|e| fault::at(e, span))
}

/// The first argument: a model's name.
pub fn model_argument(args: &mut Arguments, context: &dyn RelationPlannerContext) -> Result<String> {
    match args.positional(0) {
        Some(value) if args.positional_len() == 0 => args.as_name("the model", value, context),
        Some(_) => {
            Err(args.invalid("only the model is positional; write the others as name => value".to_owned()))
        }
        None => Err(args.invalid("the first argument is a model: forecast(my_model)".to_owned())),
    }
}

/// The first argument: a model's name, or several in parentheses.
pub fn model_arguments(args: &mut Arguments, context: &dyn RelationPlannerContext) -> Result<Vec<String>> {
    match args.positional(0) {
        Some(value) if args.positional_len() == 0 => Arguments::as_list(value)
            .into_iter()
            .map(|model| args.as_name("the model", model, context))
            .collect(),
        Some(_) => Err(args.invalid(format!(
            "{0} takes one model, or several in parentheses: {0}((first, second)); write the others as name => value",
            args.function
        ))),
        None => Err(args.invalid(format!("the first argument is a model: {}(my_model)", args.function))),
    }
}

/// `name => column` or `name => (column, …)`.
pub fn names_argument(
    args: &mut Arguments,
    name: &str,
    context: &dyn RelationPlannerContext,
) -> Result<Option<Vec<String>>> {
    let Some(value) = args.named(name) else { return Ok(None) };
    Arguments::as_list(value)
        .into_iter()
        .map(|column| args.as_name(name, column, context))
        .collect::<Result<_>>()
        .map(Some)
}

/// `level => 90` or `level => 0.9`, one level.
pub fn level_argument(args: &mut Arguments, context: &mut dyn RelationPlannerContext) -> Result<Option<f64>> {
    let Some(value) = args.named("level") else { return Ok(None) };
    let span = value.span();
    let level = options::interval_level(&scalar(value, DataType::Float64, context)?);
    Ok(Some(level.map_err(|e| fault::at(e, span))?))
}

/// `version => n`.
pub fn version_argument(
    args: &mut Arguments,
    context: &mut dyn RelationPlannerContext,
) -> Result<Option<u64>> {
    let Some(value) = args.named("version") else { return Ok(None) };
    let version = whole_number("version", value, (1, i64::MAX), context)?;
    Ok(u64::try_from(version).ok())
}

fn derived(subquery: Box<Query>) -> ast::TableFactor {
    ast::TableFactor::Derived { lateral: false, subquery, alias: None, sample: None }
}
