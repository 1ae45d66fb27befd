//! REFRESH MODEL: the recorded TRAIN over the rows of now, from where the model stands.

use std::sync::Arc;

use datafusion::error::Result as DfResult;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::sql::sqlparser::ast::{self, FunctionArg, Ident};

use crate::engine::options::{REFRESH_OPTIONS, RefreshSettings};
use crate::engine::plan::arguments::{Arguments, model_argument};
use crate::engine::plan::pretrain_function::options_of;
use crate::engine::plan::scope::Scope;
use crate::engine::plan::train_function::flag;
use crate::engine::registry::{Manifest, Model, ModelKind, ModelRole};
use crate::engine::sql::{self, Item, TrainStatement, fold};
use crate::engine::storage::Privilege;
use crate::error::{Error, Result, Subject};
use crate::ml::compression::Compression;

/// A model that gets one more version.
#[derive(Debug, Clone)]
pub struct Refresh {
    /// The model as it is.
    pub model: Arc<Model>,
    /// What it becomes.
    pub change: Change,
}

/// What a version is made from the one before it by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// It learns from the rows of now.
    Learns {
        /// Its recipe runs anew, instead of what it learnt going on.
        full: bool,
        /// The new version becomes the active one even where it is no better.
        always: bool,
    },
    /// Its weights become smaller.
    Shrinks(Compression),
}

impl Change {
    /// Its recipe runs anew.
    pub fn is_full(self) -> bool {
        matches!(self, Self::Learns { full: true, .. })
    }
}

impl Refresh {
    /// Reads a call of `refresh_model`, and the statement that is trained again.
    pub fn read(
        args: Vec<FunctionArg>,
        scope: &Scope,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<(Self, TrainStatement)> {
        let options = REFRESH_OPTIONS.iter().map(|option| option.name);
        let allowed: Vec<&str> = options.chain(["full"]).collect();
        let mut args = Arguments::read("refresh_model", args, &allowed, context)?;
        let full = flag(&mut args, "full")?;
        let (raw, _) = options_of(&mut args, REFRESH_OPTIONS, context)?;
        let settings = RefreshSettings::check(&raw)?;
        let name = model_argument(&mut args, context)?;
        scope.guard()?.model(&name, Privilege::Refresh)?;
        let model = scope.engine.registry.get(&name, None)?;
        if model.manifest().kind != ModelKind::Forecast {
            return Err(of_another_kind(model.manifest()).into());
        }
        let change = Change::Learns { full, always: settings.always };
        let statement = statement(model.manifest(), change, settings)?;
        Ok((Self { model, change }, statement))
    }

    /// A model whose weights become smaller, and the statement whose rows tell what that costs.
    pub fn shrinking(model: Arc<Model>, how: Compression) -> Result<(Self, TrainStatement)> {
        let change = Change::Shrinks(how);
        let statement = statement(model.manifest(), change, RefreshSettings::default())?;
        Ok((Self { model, change }, statement))
    }
}

fn of_another_kind(manifest: &Manifest) -> Error {
    let Manifest { name, kind, .. } = manifest;
    let message = format!("model {name} is of kind {}; REFRESH is of models that forecast", kind.word());
    Error::input(Subject::Model, message).with_hint("train it again: TRAIN OR REPLACE …")
}

/// The recorded statement with the roles that were settled then. What does not learn anew asks no teacher.
fn statement(manifest: &Manifest, change: Change, settings: RefreshSettings) -> Result<TrainStatement> {
    let mut statement = sql::parse_text(&manifest.sql)?;
    if statement.distills() && !change.is_full() {
        statement.using = statement.families();
        statement.from = None;
        statement.with.retain(|(option, _)| fold(option) != "distill");
    }
    (statement.or_replace, statement.if_not_exists) = (true, false);
    let settled = |list: &mut Option<Vec<Item>>, role: ModelRole| {
        let inferred = manifest.roles.iter().filter(|column| column.inferred && column.role == role);
        let items = inferred.map(|column| {
            let expr = ast::Expr::Identifier(Ident::with_quote('"', &column.name));
            Item { expr, alias: None, span: None }
        });
        list.get_or_insert_default().extend(items);
    };
    settled(&mut statement.known, ModelRole::Known);
    settled(&mut statement.past, ModelRole::Past);
    settled(&mut statement.statics, ModelRole::Static);
    settled(&mut statement.texts, ModelRole::Text);
    let own = ["background", "max_seconds"];
    let given = settings.max_seconds.is_some();
    statement.with.retain(|(option, _)| !own[..1 + usize::from(given)].contains(&fold(option).as_str()));
    if let Some(seconds) = settings.max_seconds {
        let value = ast::Expr::value(ast::Value::Number(seconds.to_string(), false));
        statement.with.push((Ident::new("max_seconds"), value));
    }
    Ok(statement)
}
