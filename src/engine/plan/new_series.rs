//! `items => …`: series of which nothing was sold yet, as the rows that a model reads.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, ident, lit};
use datafusion::sql::sqlparser::ast;

use crate::engine::plan::arguments::Arguments;
use crate::engine::plan::past::{Origin, Past};
use crate::engine::plan::scope::Scope;
use crate::engine::plan::series::from_instants;
use crate::engine::registry::{Manifest, Model, ModelRole};
use crate::error::{Error, Subject};

/// What the rows of new series tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Items {
    /// They have all known covariates, whose values hold for all steps.
    pub has_known: bool,
}

/// The rows of new series in the place of a model's past: each stands where history ends, and nothing was sold.
pub fn plan(
    scope: &Scope,
    args: &Arguments,
    value: ast::Expr,
    (model, past): (&Model, Past),
    context: &mut dyn RelationPlannerContext,
) -> Result<(Past, Option<Items>)> {
    ensure_tells(model)?;
    let manifest = model.manifest();
    let relation = args.plan_relation("items", value, scope, context)?;
    let given: Vec<&str> = relation.schema().fields().iter().map(|f| f.name().as_str()).collect();
    let has = |name: &str| given.contains(&name);
    let mut exprs = vec![];
    for (column, field) in manifest.roles.iter().zip(past.rows.schema().fields()) {
        let (name, data_type) = (asked_name(&column.name), field.data_type());
        let expr = match column.role {
            ModelRole::Time => last_time(manifest, data_type)?,
            ModelRole::Known if has(name) => cast(ident(name), data_type.clone()),
            ModelRole::Target | ModelRole::Known | ModelRole::Past => {
                lit(ScalarValue::try_new_null(data_type)?)
            }
            _ if has(name) => cast(ident(name), data_type.clone()),
            _ => return Err(no_column(name, &given, manifest).into()),
        };
        exprs.push(expr.alias(&column.name));
    }
    let known = |column: &&crate::engine::registry::ColumnRole| column.role == ModelRole::Known;
    let has_known = manifest.roles.iter().filter(known).all(|column| has(&column.name));
    let rows = LogicalPlanBuilder::from(relation).project(exprs)?.build()?;
    Ok((Past { rows, periods: None, origin: Origin::Given, ..past }, Some(Items { has_known })))
}

/// Fails where a model has nothing to say of new series.
fn ensure_tells(model: &Model) -> Result<()> {
    let Manifest { name, hierarchy, roles, .. } = model.manifest();
    if model.forecaster()?.tells_new_series() {
        return Ok(());
    }
    let told = roles.iter().any(|role| matches!(role.role, ModelRole::Static | ModelRole::Text));
    let (message, hint) = match (hierarchy, told) {
        (Some(_), _) => (
            format!("items => does not go with model {name}, whose forecasts add up along its HIERARCHY"),
            "train a model without HIERARCHY for new series".to_owned(),
        ),
        (None, false) => (
            format!(
                "model {name} has no STATIC and no TEXT columns: nothing tells what a new series is like"
            ),
            format!("TRAIN OR REPLACE FORECAST MODEL {name} … STATIC category TEXT title"),
        ),
        (None, true) => (
            format!("model {name} has learnt from too few series to speak of new ones"),
            "it takes 20 series that sold something in their last steps".to_owned(),
        ),
    };
    Err(Error::input(Subject::Model, message).with_hint(hint).into())
}

/// The name of a column in the user's rows: a column of HOLIDAYS has another one among those of a model.
fn asked_name(name: &str) -> &str {
    name.strip_suffix(" (holidays)").unwrap_or(name)
}

fn no_column(name: &str, given: &[&str], manifest: &Manifest) -> Error {
    let suggestion = crate::error::did_you_mean(name, given.iter().copied());
    let needed = |role: ModelRole| {
        matches!(role, ModelRole::Key | ModelRole::Static | ModelRole::Text | ModelRole::Holidays)
    };
    let columns = manifest.roles.iter().filter(|column| needed(column.role));
    let columns: Vec<&str> = columns.map(|column| asked_name(&column.name)).collect();
    Error::not_found(Subject::Column, format!("items => has no column {name}{suggestion}")).with_hint(
        format!(
            "it needs the columns {}; what is not known is NULL: SELECT …, NULL AS {name}",
            columns.join(", ")
        ),
    )
}

/// Where the history of all series ends.
fn last_time(manifest: &Manifest, data_type: &DataType) -> Result<Expr> {
    let instant = from_instants(vec![manifest.panel.last_time], data_type)?;
    Ok(lit(ScalarValue::try_from_array(&instant, 0)?))
}
