//! What planning one statement needs: the engine, the statement and a way to plan a query of ours.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast;

use crate::engine::access::{Actor, DefinerNode, Guard};
use crate::engine::plan::repairs::with_repairs;
use crate::engine::query::{CurrentQuery, QueryContext};
use crate::engine::registry::{Model, ModelKind};
use crate::engine::schemas::SessionParts;
use crate::engine::settings::carried;
use crate::engine::shared::Engine;
use crate::engine::sql::{Source, TrainStatement, repair};
use crate::engine::states::StatementState;
use crate::engine::storage::{HeldVersions, Privilege, TableName};
use crate::error::{Error, ErrorKind, Result as OurResult, Subject};
use crate::ml::models::BASE_NAME;

/// The surroundings of one statement.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The database.
    pub engine: Arc<Engine>,
    /// The running statement.
    pub query: Arc<QueryContext>,
    /// The versions of tables that it reads.
    pub held: Arc<HeldVersions>,
    /// The TRAIN statements in the text, by the numbers in their markers.
    pub trains: Arc<Vec<Arc<TrainStatement>>>,
    /// The text.
    pub source: Arc<Source>,
    /// The session, without this statement.
    pub session: Arc<SessionParts>,
}

carried!(Scope, "statement");

impl Scope {
    /// The session's state for planning and running this statement.
    pub fn state(&self) -> StatementState {
        let mut state = self.session.state();
        state.config_mut().set_extension(Arc::clone(&self.query));
        state.config_mut().set_extension(Arc::clone(&self.held));
        state.config_mut().set_extension(Arc::clone(&self.query.control));
        let extensions = &mut state.config_mut().options_mut().extensions;
        extensions.insert(CurrentQuery(Arc::clone(&self.query)));
        extensions.insert(self.clone());
        // Expressions that a table makes for its changes get the settings as they are at this moment.
        state.mark_start_execution();
        state
    }

    /// The model, or an error that says when the name is a table's.
    pub fn model(&self, name: &str, version: Option<u64>) -> OurResult<Arc<Model>> {
        self.guard()?.model(name, Privilege::Select)?;
        let found = self.engine.registry.get(name, version);
        if found.is_err() && name == BASE_NAME {
            return Err(needs_rows(name));
        }
        found.map_err(|error| match self.engine.catalog.find(&TableName::public(name)) {
            Ok(Some(_)) if error.subject() == Subject::Model && error.kind() == ErrorKind::NotFound => error
                .with_hint(format!(
                    "{name} is a table; TRAIN FORECAST MODEL m ON {name} TARGET column … makes a model of it"
                )),
            _ => error,
        })
    }

    /// The model, which must have been trained on rows of its own.
    pub fn fitted(&self, name: &str, version: Option<u64>) -> OurResult<Arc<Model>> {
        let model = self.model(name, version)?;
        match model.manifest().kind {
            ModelKind::Forecast => Ok(model),
            ModelKind::Pretrained => Err(needs_rows(name)),
            kind => Err(of_another_kind(name, kind)),
        }
    }

    /// The pretrained model of this name.
    pub fn pretrained(&self, name: &str) -> OurResult<Arc<Model>> {
        let model = self.model(name, None)?;
        if model.manifest().kind == ModelKind::Pretrained {
            return Ok(model);
        }
        let message = format!("model {name} was trained on rows of its own and is not pretrained");
        let hint = format!(
            "{BASE_NAME} ships with the engine, PRETRAIN FORECAST MODEL … makes another; WITH (distill = true) learns from \
             what {name} forecasts"
        );
        Err(Error::input(Subject::Model, message).with_hint(hint))
    }

    /// The model of this name, which forecasts what another one learns from.
    pub fn teacher(&self, name: &str) -> OurResult<Arc<Model>> {
        let model = self.model(name, None)?;
        match model.manifest().kind {
            ModelKind::Forecast | ModelKind::Pretrained => Ok(model),
            kind => Err(of_another_kind(name, kind)),
        }
    }

    /// The text model of this name.
    pub fn text_model(&self, name: &str) -> OurResult<Arc<Model>> {
        let model = self.model(name, None)?;
        model.ensure_reads_texts()?;
        Ok(model)
    }

    /// The pretrained model of sequences of this name.
    pub fn sequence_model(&self, name: &str) -> OurResult<Arc<Model>> {
        let model = self.model(name, None)?;
        if model.manifest().kind == ModelKind::Sequence {
            return Ok(model);
        }
        let message =
            format!("model {name} is of kind {} and knows no sequences", model.manifest().kind.word());
        Err(Error::input(Subject::Model, message)
            .with_hint("PRETRAIN SEQUENCE MODEL … makes a model that does"))
    }

    /// The model of rows of this name.
    pub fn rows_model(&self, name: &str, version: Option<u64>) -> OurResult<Arc<Model>> {
        let model = self.model(name, version)?;
        let kind = model.manifest().kind;
        if matches!(kind, ModelKind::Classification | ModelKind::Regression) {
            return Ok(model);
        }
        let message = format!("model {name} is of kind {} and predicts no rows", kind.word());
        let hint = "TRAIN CLASSIFICATION MODEL and TRAIN REGRESSION MODEL make models that do";
        Err(Error::input(Subject::Model, message).with_hint(hint))
    }

    /// The checks of whoever acts.
    pub fn guard(&self) -> OurResult<Guard> {
        Guard::new(&self.engine, self.session.actor())
    }

    /// Plans a query that someone else wrote, whose rights then count; call it on a query thread.
    pub fn plan_as(&self, owner: Option<String>, query: ast::Query) -> Result<LogicalPlan> {
        let session = self.session.acting_as(&Arc::new(Actor::new(owner.clone())));
        let input = Self { session: Arc::new(session), ..self.clone() }.plan_query(query)?;
        Ok(DefinerNode { view: None, owner, input }.into_plan())
    }

    /// Plans a query that is not part of the statement's own text; call it on a query thread.
    pub fn plan_query(&self, mut query: ast::Query) -> Result<LogicalPlan> {
        repair(&mut query)?;
        let statement = DfStatement::Statement(Box::new(ast::Statement::Query(Box::new(query))));
        let state = self.state();
        let plan = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async { state.statement_to_plan(statement).await })
        })?;
        with_repairs(plan, &state)
    }
}

/// The error for a model that forecasts nothing.
fn of_another_kind(name: &str, kind: ModelKind) -> Error {
    let article = match kind {
        ModelKind::Text => "a text model",
        ModelKind::Sequence => "a pretrained model of sequences",
        _ => "a model of rows",
    };
    let hint = match kind {
        ModelKind::Text => format!("embed('{name}', text) gives the vectors of texts"),
        ModelKind::Sequence => format!("TRAIN CLASSIFICATION MODEL … FROM {name} begins with it"),
        _ => format!("SELECT * FROM predict({name}, table) gives its predictions"),
    };
    Error::input(Subject::Model, format!("{name} is {article} and forecasts nothing")).with_hint(hint)
}

/// The error for a pretrained model without rows to forecast.
fn needs_rows(name: &str) -> Error {
    let usage = format!("forecast({name}, data => sales, target => units, by => item, time => day)");
    Error::input(Subject::Model, format!("{name} needs rows: {usage}"))
        .with_hint("it is pretrained and belongs to no table: data => names the rows to forecast")
}
