//! `train_forecast_model(name, on => …, target => …)`: TRAIN for clients that only send SELECT.

use datafusion::error::Result;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::sql::sqlparser::ast::{self, FunctionArg};

use crate::engine::options::OPTIONS;
use crate::engine::plan::arguments::{Arguments, model_argument};
use crate::engine::sql::{self, TrainStatement};
use crate::error::identifier;
use crate::ml::holidays::parse_country;

/// Arguments that are clauses, in the order of the statement's text.
const CLAUSES: [(&str, &str); 26] = [
    ("from", "FROM"),
    ("on", "ON"),
    ("filter", "WHERE"),
    ("target", "TARGET"),
    ("partition_by", "PARTITION BY"),
    ("order_by", "ORDER BY"),
    ("every", "EVERY"),
    ("known", "KNOWN"),
    ("past", "PAST"),
    ("static", "STATIC"),
    ("text", "TEXT"),
    ("encoder", "ENCODER"),
    ("ignore", "IGNORE"),
    ("censored_when", "CENSORED WHEN"),
    ("gaps", "GAPS"),
    ("hierarchy", "HIERARCHY"),
    ("reconcile", "RECONCILE"),
    ("outliers", "OUTLIERS"),
    ("holidays", "HOLIDAYS"),
    ("horizon", "HORIZON"),
    ("quantiles", "QUANTILES"),
    ("validate", "VALIDATE LAST"),
    ("using", "USING"),
    ("tune", "TUNE"),
    ("objective", "OBJECTIVE"),
    ("comment", "COMMENT"),
];

/// The statement that a call stands for.
pub fn statement(args: Vec<FunctionArg>, context: &dyn RelationPlannerContext) -> Result<TrainStatement> {
    let options = OPTIONS.iter().map(|option| option.name);
    let flags = ["replace", "if_not_exists"];
    let allowed: Vec<&str> =
        CLAUSES.iter().map(|(name, _)| *name).chain(flags).chain(options.clone()).collect();
    let mut args = Arguments::read("train_forecast_model", args, &allowed, context)?;
    let or_replace = flag(&mut args, "replace")?;
    let if_not_exists = flag(&mut args, "if_not_exists")?;
    let clauses = CLAUSES.iter().filter_map(|(name, clause)| {
        let value = args.named(name)?;
        Some(format!(" {clause} {}", clause_value(name, value)))
    });
    let clauses: String = clauses.collect();
    let options = options.filter_map(|name| Some(format!("{name} = {}", args.named(name)?)));
    let options: Vec<String> = options.collect();
    let with = if options.is_empty() { String::new() } else { format!(" WITH ({})", options.join(", ")) };
    let name = identifier(&model_argument(&mut args, context)?);
    let or_replace = if or_replace { "OR REPLACE " } else { "" };
    let if_not_exists = if if_not_exists { "IF NOT EXISTS " } else { "" };
    let text = format!("TRAIN {or_replace}FORECAST MODEL {if_not_exists}{name}{clauses}{with}");
    Ok(sql::parse_written(&text)?)
}

/// The text of a clause: what a string holds, the elements of a list, or the expression.
pub(super) fn clause_value(name: &str, value: ast::Expr) -> String {
    let text = |value: &ast::Expr| match value {
        ast::Expr::Value(value) => value.value.clone().into_string(),
        _ => None,
    };
    match (name, text(&value)) {
        ("comment", _) => value.to_string(),
        ("holidays", Some(code)) if is_code(&code) => format!("'{code}'"),
        ("holidays", None)
            if matches!(value, ast::Expr::Tuple(_) | ast::Expr::Array(_) | ast::Expr::Nested(_)) =>
        {
            let codes: Vec<String> = Arguments::as_list(value).iter().map(ToString::to_string).collect();
            format!("({})", codes.join(", "))
        }
        (_, Some(text)) => text,
        ("quantiles", None) => {
            let levels: Vec<String> = Arguments::as_list(value).iter().map(ToString::to_string).collect();
            format!("({})", levels.join(", "))
        }
        ("hierarchy", None) if !has_lists(&value) => {
            let keys: Vec<String> = Arguments::as_list(value).iter().map(ToString::to_string).collect();
            format!("({})", keys.join(", "))
        }
        (_, None) => {
            let items = Arguments::as_list(value);
            items
                .iter()
                .map(|item| text(item).unwrap_or_else(|| item.to_string()))
                .collect::<Vec<_>>()
                .join(", ")
        }
    }
}

/// True of several lists: `((region, store_id), (item_id))`.
fn has_lists(value: &ast::Expr) -> bool {
    let is_list = |item: &ast::Expr| matches!(item, ast::Expr::Tuple(_) | ast::Expr::Nested(_));
    matches!(value, ast::Expr::Tuple(items) if items.iter().all(is_list))
}

/// True for the code of a country as its list writes it; any other string names a column or a table.
fn is_code(text: &str) -> bool {
    parse_country(text).is_ok_and(|country| country.code == text)
}

pub(super) fn flag(args: &mut Arguments, name: &str) -> Result<bool> {
    match args.named(name) {
        None => Ok(false),
        Some(ast::Expr::Value(value)) if matches!(value.value, ast::Value::Boolean(_)) => {
            Ok(matches!(value.value, ast::Value::Boolean(true)))
        }
        Some(other) => {
            let function = args.function();
            Err(args.invalid(format!("{function}: {name} must be true or false, got {other}")))
        }
    }
}
