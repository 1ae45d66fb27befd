//! `pretrain_forecast_model(name, on => …, target => …)`: what PRETRAIN stands for.

use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::sql::sqlparser::ast::{self, FunctionArg};

use crate::engine::options::{OptionSpec, PRETRAIN_OPTIONS, PretrainSettings, hidden};
use crate::engine::plan::arguments::{Arguments, model_argument, scalar};
use crate::engine::plan::new_model::NewModel;
use crate::engine::plan::train_function::{clause_value, flag};
use crate::engine::sql::{self, TrainStatement};
use crate::error::identifier;

/// Arguments that are clauses of how rows are read, in the order of the statement's text.
const CLAUSES: [(&str, &str); 9] = [
    ("filter", "WHERE"),
    ("target", "TARGET"),
    ("partition_by", "PARTITION BY"),
    ("order_by", "ORDER BY"),
    ("known", "KNOWN"),
    ("past", "PAST"),
    ("ignore", "IGNORE"),
    ("gaps", "GAPS"),
    ("horizon", "HORIZON"),
];

/// One PRETRAIN.
#[derive(Debug, Clone, PartialEq)]
pub struct PretrainRequest {
    /// The model.
    pub model: NewModel,
    /// The model whose network it begins with.
    pub base: Option<String>,
    /// The user's own words.
    pub comment: Option<String>,
    /// What is asked of the pretraining.
    pub settings: PretrainSettings,
    /// The statement.
    pub text: String,
}

/// The request of a call, and the statements that would train on each of its relations.
pub fn read(
    args: Vec<FunctionArg>,
    context: &mut dyn RelationPlannerContext,
) -> Result<(PretrainRequest, Vec<TrainStatement>)> {
    let options = PRETRAIN_OPTIONS.iter().map(|option| option.name);
    let others = ["on", "objective", "base", "replace", "if_not_exists", "comment"];
    let allowed: Vec<&str> = CLAUSES.iter().map(|(name, _)| *name).chain(others).chain(options).collect();
    let mut args = Arguments::read("pretrain_forecast_model", args, &allowed, context)?;
    let (or_replace, if_not_exists) = (flag(&mut args, "replace")?, flag(&mut args, "if_not_exists")?);
    let base = args.named("base").map(|value| args.as_name("base", value, context)).transpose()?;
    let comment = args.named("comment").map(|value| args.as_name("comment", value, context)).transpose()?;
    let objective = args.named("objective").map(|value| args.as_name("objective", value, context));
    let objective = objective.transpose()?.unwrap_or_else(|| "next_patch".to_owned());
    let (checked, with) = options_of(&mut args, PRETRAIN_OPTIONS, context)?;
    let settings = PretrainSettings::check(&checked, hidden(&objective)?)?;
    let relations: Vec<String> =
        args.named("on").map_or_else(Vec::new, |on| Arguments::as_list(on).iter().map(relation).collect());
    let mut clauses = String::new();
    for (name, clause) in CLAUSES {
        if let Some(value) = args.named(name) {
            clauses.push_str(&format!(" {clause} {}", clause_value(name, value)));
        }
    }
    let model = NewModel { name: model_argument(&mut args, context)?, or_replace, if_not_exists };
    if relations.is_empty() && !clauses.is_empty() {
        let message =
            format!("PRETRAIN without ON learns from made-up series:{clauses} says how rows are read");
        return Err(args.invalid(message));
    }
    let written = identifier(&model.name);
    let mut statements = vec![];
    for relation in &relations {
        // The filter stands before the other clauses, right after the relation.
        statements
            .push(sql::parse_written(&format!("TRAIN FORECAST MODEL {written} ON {relation}{clauses}"))?);
    }
    let on = if relations.is_empty() { String::new() } else { format!(" ON {}", relations.join(", ")) };
    let from = base.as_ref().map_or_else(String::new, |base| format!(" FROM {}", identifier(base)));
    let text = format!("PRETRAIN FORECAST MODEL {written}{from}{on}{clauses} OBJECTIVE {objective}{with}");
    let request = PretrainRequest { model, base, comment, settings, text };
    Ok((request, statements))
}

/// The options of a call, each a literal or a bare word, and how they stand in `WITH`.
pub fn options_of(
    args: &mut Arguments,
    specs: &[OptionSpec],
    context: &mut dyn RelationPlannerContext,
) -> Result<(Vec<(String, Expr)>, String)> {
    let (mut checked, mut written) = (vec![], vec![]);
    for name in specs.iter().map(|spec| spec.name) {
        let Some(value) = args.named(name) else { continue };
        let value = match value {
            // A word stands bare, as it does in WITH.
            ast::Expr::Identifier(word) => ast::Expr::value(ast::Value::SingleQuotedString(word.value)),
            value => value,
        };
        written.push(format!("{name} = {value}"));
        checked.push((name.to_owned(), scalar(value, DataType::Float64, context)?));
    }
    let with = if written.is_empty() { String::new() } else { format!(" WITH ({})", written.join(", ")) };
    Ok((checked, with))
}

/// The text of a relation: a query in parentheses, or a name.
fn relation(value: &ast::Expr) -> String {
    match value {
        ast::Expr::Subquery(query) => format!("({query})"),
        ast::Expr::Value(text) => text.value.clone().into_string().unwrap_or_default(),
        name => name.to_string(),
    }
}
