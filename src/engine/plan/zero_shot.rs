//! `forecast(foretell_base, data => sales, target => units, …)`: forecasts of rows that no model was trained on.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::sql::sqlparser::ast::{self, FunctionArg, FunctionArgExpr};

use crate::engine::plan::arguments::Arguments;
use crate::engine::plan::forecast::Shape;
use crate::engine::plan::scope::Scope;
use crate::engine::registry::Model;
use crate::engine::sql::{self, TrainStatement};
use crate::ml::models::BASE_NAME;

/// Arguments that are clauses of TRAIN, in the order of the statement's text.
const CLAUSES: [(&str, &str); 11] = [
    ("target", "TARGET"),
    ("by", "PARTITION BY"),
    ("time", "ORDER BY"),
    ("every", "EVERY"),
    ("known", "KNOWN"),
    ("past", "PAST"),
    ("static", "STATIC"),
    ("gaps", "GAPS"),
    ("holidays", "HOLIDAYS"),
    ("horizon", "HORIZON"),
    ("using", "USING"),
];
/// Arguments that shape the result.
const SHAPE: [&str; 4] = ["level", "quantiles", "history", "mean"];

/// What a call asks for.
pub struct Asked {
    /// How the rows are read, as a statement that would train on them.
    pub statement: TrainStatement,
    /// The rows.
    pub relation: LogicalPlan,
    /// What shapes the result.
    pub shape: Shape,
    /// The pretrained model; `None` is the one that ships with the engine.
    pub base: Option<Arc<Model>>,
}

/// True of a call of `forecast` over rows instead of a trained model.
pub fn is_asked(args: &[FunctionArg]) -> bool {
    let named = |name: &ast::Ident| ["data", "target"].iter().any(|n| name.value.eq_ignore_ascii_case(n));
    args.iter().any(|arg| match arg {
        FunctionArg::Named { name, .. } => named(name),
        FunctionArg::ExprNamed { name: ast::Expr::Identifier(name), .. } => named(name),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Subquery(_))) => true,
        _ => false,
    })
}

/// Reads a call and plans its rows.
pub fn read(
    args: Vec<FunctionArg>,
    scope: &Scope,
    context: &mut dyn RelationPlannerContext,
) -> Result<Asked> {
    let allowed: Vec<&str> =
        CLAUSES.iter().map(|(name, _)| *name).chain(["data", "season"]).chain(SHAPE).collect();
    let mut args = Arguments::read("forecast", args, &allowed, context)?;
    let first = args.positional(0);
    if args.positional_len() > 0 {
        let message = "only the model is positional; write the others as name => value";
        return Err(args.invalid(message.to_owned()));
    }
    let (model, data) = match (first, args.named("data")) {
        (Some(model), Some(data)) => (Some(args.as_name("the model", model, context)?), data),
        (Some(rows), None) => (None, rows),
        (None, Some(data)) => (None, data),
        (None, None) => return Err(args.invalid(format!("forecast needs rows: {}", usage()))),
    };
    let base = match model.filter(|model| model != BASE_NAME) {
        Some(model) => Some(scope.pretrained(&model)?),
        None => None,
    };
    let clauses = CLAUSES.iter().filter_map(|(name, clause)| {
        let value = args.named(name)?;
        Some((*name, format!(" {clause} {}", text(value))))
    });
    let clauses: Vec<(&str, String)> = clauses.collect();
    if !clauses.iter().any(|(name, _)| *name == "target") {
        return Err(args.invalid(format!("forecast needs the column to forecast: {}", usage())));
    }
    let using = if clauses.iter().any(|(name, _)| *name == "using") { "" } else { " USING foundation" };
    let season = args.named("season").map_or_else(String::new, |m| format!(" WITH (season = {m})"));
    let rows = match &data {
        ast::Expr::Subquery(query) => format!("({query})"),
        name => name.to_string(),
    };
    let clauses: String = clauses.into_iter().map(|(_, clause)| clause).collect();
    let statement =
        sql::parse_written(&format!("TRAIN FORECAST MODEL {BASE_NAME} ON {rows}{clauses}{using}{season}"))?;
    let relation = args.plan_relation("data", data, scope, context)?;
    Ok(Asked { statement, relation, shape: Shape::read(&mut args, context)?, base })
}

fn usage() -> String {
    format!("forecast({BASE_NAME}, data => sales, target => units, by => item, time => day)")
}

/// The text of a clause: the elements of a list, or the value, of a string what it holds.
fn text(value: ast::Expr) -> String {
    let one = |value: &ast::Expr| match value {
        ast::Expr::Value(v) => v.value.clone().into_string().unwrap_or_else(|| v.to_string()),
        other => other.to_string(),
    };
    Arguments::as_list(value).iter().map(one).collect::<Vec<_>>().join(", ")
}
