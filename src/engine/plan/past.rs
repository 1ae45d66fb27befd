//! What a model knows of the past: the rows of its TRAIN statement, from memory where they are kept there.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, ident};
use datafusion::sql::sqlparser::ast;

use crate::engine::histories::{self, History, HistoryKey, Outcome, Reading, Sources};
use crate::engine::plan::authorize::authorized;
use crate::engine::plan::input::{InputColumn, Role, TrainingInput, plan_input};
use crate::engine::plan::relation::block;
use crate::engine::plan::scope::Scope;
use crate::engine::registry::{ColumnRole, Manifest, Model, ModelRole};
use crate::engine::shared::Engine;
use crate::engine::sql::{self, TrainStatement};
use crate::engine::storage::Contents;
use crate::error::{Error, Subject};

/// The columns of the model's input with their roles; `types` are the user's, by name.
fn columns(manifest: &Manifest, types: &Schema) -> Vec<InputColumn> {
    let role = |role: ModelRole| match role {
        ModelRole::Key => Some(Role::Key),
        ModelRole::Time => Some(Role::Time),
        ModelRole::Target => Some(Role::Target),
        ModelRole::Known => Some(Role::Known),
        ModelRole::Past => Some(Role::Past),
        ModelRole::Static => Some(Role::Static),
        ModelRole::Holidays => Some(Role::Country),
        ModelRole::Text => Some(Role::Text),
        // That of models of rows.
        ModelRole::Feature => None,
    };
    let data_type =
        |name: &str| types.field_with_name(name).map_or(DataType::Null, |field| field.data_type().clone());
    let column = |c: &ColumnRole| {
        Some(InputColumn { name: c.name.clone(), role: role(c.role)?, data_type: data_type(&c.name) })
    };
    manifest.roles.iter().filter_map(column).collect()
}

/// What a model knows of the past.
pub struct Past {
    /// The rows, with the columns that were settled when the model was trained.
    pub rows: LogicalPlan,
    /// The rows of every period, where rows are aggregated to periods.
    pub periods: Option<LogicalPlan>,
    /// The columns of the rows.
    pub columns: Vec<InputColumn>,
    /// Where the rows come from.
    pub origin: Origin,
}

/// Where the rows of the past come from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Memory.
    Kept(Arc<Kept>),
    /// Tables; all rows can be read into memory.
    Tables(Arc<Unkept>),
    /// Another relation than that of the training.
    Given,
}

impl Origin {
    /// The rows are being read.
    pub fn note(&self) {
        if let Self::Tables(unkept) = self {
            unkept.note();
        }
    }
}

/// A history in memory.
#[derive(Debug)]
pub struct Kept {
    key: HistoryKey,
    history: Arc<History>,
}

impl Kept {
    /// The history.
    pub fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// True while it is still there and what the tables say; counts as a use of it.
    pub fn holds(&self, engine: &Engine, contents: &Contents) -> bool {
        engine.histories.get(&self.key, contents).is_some_and(|now| Arc::ptr_eq(&now, &self.history))
    }
}

/// The past of a model: from memory where it is there, else the rows of the recorded TRAIN statement.
pub fn past(scope: &Scope, model: &Model, context: &mut dyn RelationPlannerContext) -> Result<Past> {
    let (engine, manifest) = (&scope.engine, model.manifest());
    let key = HistoryKey {
        model: manifest.name.clone(),
        version: manifest.version,
        created_at: manifest.created_at,
        owner: model.acl().owner.clone(),
        time_zone: scope.session.config.options().execution.time_zone.clone().unwrap_or_default(),
    };
    let contents = engine.catalog.contents()?;
    if let Some(history) = engine.histories.get(&key, &contents)
        && block(history.is_held(&scope.held))
    {
        // Its owner may have lost rights meanwhile.
        authorized(engine, scope.session.actor(), history.plan.clone())?;
        return Past::kept(Kept { key, history }, manifest);
    }
    let statement = sql::parse_text(&manifest.sql)?;
    let (input, types) = history_plan(scope, &statement, model, context)?;
    let columns = columns(manifest, &types);
    let unkept = Unkept::new(scope, contents, key, &input, types)?;
    let origin = Origin::Tables(Arc::new(unkept));
    Ok(Past { rows: input.plan, periods: input.periods, columns, origin })
}

/// The past that another relation tells: its rows by the clauses of the recorded TRAIN statement.
pub fn past_in(
    model: &Model,
    relation: LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> Result<Past> {
    let manifest = model.manifest();
    let mut statement = sql::parse_text(&manifest.sql)?;
    statement.relation = sql::Relation::Table(ast::ObjectName::from(vec![ast::Ident::new("on")]));
    let input = plan_input(context, &statement, relation)?;
    let (input, types) = with_roles(input, manifest)?;
    let columns = columns(manifest, &types);
    Ok(Past { rows: input.plan, periods: input.periods, columns, origin: Origin::Given })
}

/// The columns that were settled when the model was trained, and all columns in the user's types.
fn with_roles(input: TrainingInput, manifest: &Manifest) -> Result<(TrainingInput, SchemaRef)> {
    let wanted = manifest.roles.iter().map(|c| ident(&c.name));
    let plan = LogicalPlanBuilder::from(input.plan.clone()).project(wanted)?.build()?;
    let types = input.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), true));
    let types = Arc::new(Schema::new(types.collect::<Vec<_>>()));
    Ok((TrainingInput { plan, ..input }, types))
}

impl Past {
    fn kept(kept: Kept, manifest: &Manifest) -> Result<Self> {
        let history = &kept.history;
        let scan = |name: &str, table: Arc<dyn TableProvider>| {
            LogicalPlanBuilder::scan(name, provider_as_source(table), None)?.build()
        };
        let periods = history.periods.clone().map(|table| scan("periods", table)).transpose()?;
        let rows = scan("history", Arc::clone(&history.rows) as _)?;
        let columns = columns(manifest, &history.types);
        Ok(Self { rows, periods, columns, origin: Origin::Kept(Arc::new(kept)) })
    }
}

/// A history that is not in memory.
#[derive(Debug)]
pub struct Unkept {
    scope: Scope,
    /// What the names in the plans stood for.
    contents: Arc<Contents>,
    key: HistoryKey,
    /// The rows, sorted by key and time.
    rows: LogicalPlan,
    /// Key columns, which come first.
    keys: usize,
    periods: Option<LogicalPlan>,
    types: SchemaRef,
}

impl Unkept {
    fn new(
        scope: &Scope,
        contents: Arc<Contents>,
        key: HistoryKey,
        input: &TrainingInput,
        types: SchemaRef,
    ) -> Result<Self> {
        let of = |roles: &'static [Role]| input.columns.iter().filter(|c| roles.contains(&c.role));
        let order = of(&[Role::Key, Role::Time]).map(|c| ident(&c.name).sort(true, false));
        Ok(Self {
            scope: Scope { query: Arc::default(), ..scope.clone() },
            contents,
            key,
            rows: LogicalPlanBuilder::from(input.plan.clone()).sort(order)?.build()?,
            keys: of(&[Role::Key]).count(),
            periods: input.periods.clone(),
            types,
        })
    }

    /// The history is read: the second time, all of it is read into memory beside the statement, for the next ones.
    fn note(self: &Arc<Self>) {
        let engine = &self.scope.engine;
        if !engine.histories.note(&self.key) {
            return;
        }
        let limit = histories::memory_share(engine.states.template().runtime_env());
        let runtime = engine.runtimes.handle();
        // It is planned here: what reads for a while does not keep the database open.
        let reading = match tokio::task::block_in_place(|| runtime.block_on(self.reading())) {
            Ok(Some(reading)) => reading,
            Ok(None) => return engine.histories.keep(&self.key, Outcome::Refused, limit),
            Err(_) => return engine.histories.keep(&self.key, Outcome::Later, limit),
        };
        let (histories, key) = (Arc::downgrade(&engine.histories), self.key.clone());
        runtime.spawn(async move {
            let read = tokio::spawn(reading.read(limit));
            // What cannot be read is told by the statement that has to read it.
            let outcome = read.await.ok().and_then(Result::ok).unwrap_or(Outcome::Later);
            if let Some(histories) = histories.upgrade() {
                histories.keep(&key, outcome, limit);
            }
        });
    }

    /// How it is read; `None` when it is made of more than stored rows.
    async fn reading(&self) -> Result<Option<Reading>> {
        // It is for the next statements: what this one holds may be old.
        let scope = Scope { held: Arc::default(), ..self.scope.clone() };
        let sources = Sources::of(&self.rows, &self.contents, &scope.held).await?;
        let Some(sources) = sources else { return Ok(None) };
        let state = scope.state();
        let periods = match &self.periods {
            Some(periods) => Some(state.create_physical_plan(periods).await?),
            None => None,
        };
        Ok(Some(Reading {
            rows: state.create_physical_plan(&self.rows).await?,
            plan: self.rows.clone(),
            types: Arc::clone(&self.types),
            sources,
            keys: self.keys,
            periods,
            runtime: Arc::clone(state.runtime_env()),
        }))
    }
}

/// The rows of the recorded TRAIN statement, and its columns in the user's types.
fn history_plan(
    scope: &Scope,
    statement: &TrainStatement,
    model: &Model,
    context: &mut dyn RelationPlannerContext,
) -> Result<(TrainingInput, SchemaRef)> {
    let (manifest, owner) = (model.manifest(), model.acl().owner.clone());
    let relation =
        scope.plan_as(owner, sql::rows(statement)).map_err(|e| lost_relation(e, statement, manifest))?;
    let input =
        plan_input(context, statement, relation).map_err(|e| lost_relation(e, statement, manifest))?;
    with_roles(input, manifest).map_err(|e| lost_relation(e, statement, manifest))
}

/// A table or column that the model was trained on is gone.
fn lost_relation(error: DataFusionError, statement: &TrainStatement, manifest: &Manifest) -> DataFusionError {
    let cause = Error::from(error);
    if !matches!(cause.subject(), Subject::Table | Subject::Column) {
        return cause.into();
    }
    let message = format!(
        "model {} reads {}, which is not as it was when the model was trained: {}",
        manifest.name,
        statement.relation,
        cause.message()
    );
    Error::new(cause.kind(), cause.subject(), message).with_hint(format!(
        "bring the table back, train the model again (TRAIN OR REPLACE FORECAST MODEL {0} …), or DROP MODEL {0}",
        manifest.name
    )).into()
}
