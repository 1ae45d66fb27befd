//! From a parsed statement to the plan that can be started.

use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Analyze, LogicalPlan, WriteOp};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast;

use super::Inner;
use super::defaults::with_defaults;
use super::explained::Explained;
use crate::engine::analysis::analyzed;
use crate::engine::ddl::{self, Lowered};
use crate::engine::fault;
use crate::engine::plan::{
    CommandNode, Mode, Origin, PretrainNode, Scope, TaskNode, TrainNode, authorized, changed_by_subqueries,
    columns, has_subqueries, origins, with_origins, with_repairs,
};
use crate::engine::query::{ClientCopy, Tag};
use crate::engine::sql::{Body, Source, Statement};
use crate::engine::states::StatementState;
use crate::engine::storage::{HeldVersions, TableLock};
use crate::error::{Error, ErrorKind, Result, Subject};

impl Inner {
    /// Fails when the statement changes something in a transaction that only reads.
    pub(super) fn ensure_may_change(&self, planned: &Planned) -> Result<()> {
        let Some(command) = planned.change.filter(|_| self.is_read_only()) else { return Ok(()) };
        let message = format!("cannot execute {command} in a read-only transaction");
        Err(Error::new(ErrorKind::Denied, Subject::Transaction, message))
    }

    /// The logical plan of a statement and how its tag is made.
    pub(super) async fn plan(
        &self,
        state: &SessionState,
        statement: Statement,
    ) -> Result<Planned, PlanError> {
        let statement = self.without_explained_returning(statement).await?;
        let held = HeldVersions::of(state.config());
        let planned = held.planning(self.plan_unchecked(state, statement)).await?;
        let origins = if planned.tag == Tag::Rows { origins(&planned.plan) } else { vec![] };
        // Rights are of what was written: a table that no answer depends on may be gone after the repairs.
        let plan = authorized(&self.engine, &self.actor, planned.plan)?;
        let meant = ddl::meant_types(&plan);
        let plan = ddl::with_meant_types(state, with_repairs(plan, state)?, meant)?;
        Ok(Planned { plan, origins, ..planned })
    }

    /// The plan of a statement that is run then, with its state. What changes a table by what its subqueries say is
    /// planned and run with the right to change it: nobody else does between the subqueries and the change.
    pub(super) async fn plan_to_run(
        &self,
        scope: &Scope,
        statement: Statement,
    ) -> Result<(StatementState, Planned), PlanError> {
        if statement.changes_rows() {
            return Box::pin(self.plan_change(scope, statement)).await;
        }
        let state = scope.state();
        let planned = self.plan(&state, statement).await?;
        Ok((state, planned))
    }

    async fn plan_change(
        &self,
        scope: &Scope,
        statement: Statement,
    ) -> Result<(StatementState, Planned), PlanError> {
        let mut lock: Option<Arc<TableLock>> = None;
        loop {
            // What was held before nobody else could change the table is old.
            let mut state = Scope { held: Arc::default(), ..scope.clone() }.state();
            let planned = self.plan(&state, statement.clone()).await?;
            match changed_by_subqueries(&planned.plan)? {
                Some(table) if lock.as_ref().is_none_or(|lock| !lock.is_of(&table)) => {
                    drop(lock.take());
                    lock = Some(Arc::new(TableLock::new(&table).await?));
                }
                _ => {
                    lock.into_iter().for_each(|lock| state.config_mut().set_extension(lock));
                    return Ok((state, planned));
                }
            }
        }
    }

    /// The columns of rows with the numbers of the tables and views that they come from.
    pub(super) fn with_origins(&self, columns: SchemaRef, origins: &[Origin]) -> Result<SchemaRef> {
        Ok(with_origins(columns, origins, &*self.engine.catalog.contents()?))
    }

    async fn plan_unchecked(&self, state: &SessionState, statement: Statement) -> Result<Planned, PlanError> {
        let statement = match statement.body {
            Body::Command(command) => {
                return planned(ddl::lower_command(&self.engine, state, *command).await?);
            }
            Body::Sql(statement) => *statement,
            Body::Session(_) | Body::Prepare { .. } => {
                return Err(Error::unsupported("a statement about the session has no plan").into());
            }
        };
        let mut statement = match statement {
            DfStatement::Statement(inner) => match *inner {
                ast::Statement::CreateTable(table) => return planned(ddl::create_table(state, table).await?),
                ast::Statement::CreateView(view) => return planned(ddl::create_view(state, view).await?),
                ast::Statement::CreateIndex(index) => return planned(ddl::create_index(state, &index)?),
                ast::Statement::Drop { object_type, if_exists, names, .. }
                    if ddl::is_dropped(&object_type) =>
                {
                    return planned(ddl::drop_all(state, &object_type, &names, if_exists)?);
                }
                other => DfStatement::Statement(Box::new(other)),
            },
            other => other,
        };
        with_defaults(&self.engine, &mut statement)?;
        match state.statement_to_plan(statement).await? {
            LogicalPlan::Ddl(ddl) => planned(ddl::lower(state, ddl).await?),
            plan => {
                let tag = tag_of(&plan);
                let plan = dry_run(plan)?;
                let change = change_of(&plan);
                Ok(Planned::new(plan, tag, None, change))
            }
        }
    }
}

/// A statement that can be started.
pub(super) struct Planned {
    pub(super) plan: LogicalPlan,
    pub(super) tag: Tag,
    /// Rows come from the client or go to it in a format of COPY.
    pub(super) copy: Option<ClientCopy>,
    /// The command, when it changes tables or models.
    pub(super) change: Option<&'static str>,
    /// Where the columns of its rows come from.
    pub(super) origins: Vec<Origin>,
}

impl Planned {
    fn new(plan: LogicalPlan, tag: Tag, copy: Option<ClientCopy>, change: Option<&'static str>) -> Self {
        Self { plan, tag, copy, change, origins: vec![] }
    }
}

/// Either error of planning, so that DataFusion's keeps its place in the text.
pub(super) enum PlanError {
    DataFusion(Box<datafusion::error::DataFusionError>),
    Ours(Box<Error>),
}

impl PlanError {
    pub(super) fn located(self, source: &Source) -> Error {
        let error = match self {
            Self::DataFusion(e) => fault::located(&e, source),
            Self::Ours(e) => *e,
        };
        fault::placed(error, source)
    }
}

impl From<datafusion::error::DataFusionError> for PlanError {
    fn from(error: datafusion::error::DataFusionError) -> Self {
        Self::DataFusion(Box::new(error))
    }
}

impl From<Error> for PlanError {
    fn from(error: Error) -> Self {
        Self::Ours(Box::new(error))
    }
}

pub(super) async fn within<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, PlanError>>,
) -> Result<T, PlanError> {
    let Some(deadline) = deadline else { return work.await };
    tokio::time::timeout_at(deadline.into(), work)
        .await
        .unwrap_or_else(|_| Err(Error::cancelled("canceling statement due to statement timeout").into()))
}

/// A command as a plan.
fn planned(lowered: Lowered) -> Result<Planned, PlanError> {
    Ok(match lowered {
        Lowered::Plan(plan, tag) => {
            let change = matches!(plan, LogicalPlan::Dml(_)).then(|| tag.command());
            Planned::new(plan, tag, None, change)
        }
        Lowered::Copy(plan, copy) => {
            let tag = copy.tag();
            let change = matches!(copy, ClientCopy::In(_)).then(|| tag.command());
            Planned::new(plan, tag, Some(copy), change)
        }
        Lowered::Command(command, input) => {
            let tag = command.tag(input.is_some());
            let plan = CommandNode::new(*command, input)?.into_plan();
            let change = Some(tag.command());
            Planned::new(plan, tag, None, change)
        }
    })
}

/// EXPLAIN of a TRAIN is a dry run, and EXPLAIN ANALYZE trains without publishing.
fn dry_run(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    match &plan {
        LogicalPlan::Explain(explain) => match TrainNode::at_root(&explain.plan) {
            Some(train) => Ok(train.with_mode(Mode::DryRun)?.into_plan()),
            None => Ok(plan),
        },
        LogicalPlan::Analyze(analyze) => match TrainNode::at_root(&analyze.input) {
            Some(train) => {
                let inner = train.with_mode(Mode::Discard)?.into_plan();
                Ok(LogicalPlan::Analyze(Analyze { input: Arc::new(inner), ..analyze.clone() }))
            }
            None => Ok(plan),
        },
        _ => Ok(plan),
    }
}

/// The command of a plan that changes tables or models. EXPLAIN ANALYZE makes the change that it is about.
fn change_of(plan: &LogicalPlan) -> Option<&'static str> {
    let run = match plan {
        LogicalPlan::Analyze(analyze) => analyze.input.as_ref(),
        plan => plan,
    };
    let tag = tag_of(run);
    let publishes = [TrainNode::publishes, PretrainNode::publishes, TaskNode::publishes];
    let changes = !tag.has_rows() || publishes.iter().any(|f| f(run));
    changes.then(|| tag.command())
}

fn tag_of(plan: &LogicalPlan) -> Tag {
    match plan {
        LogicalPlan::Dml(dml) => match &dml.op {
            WriteOp::Insert(_) => Tag::Count("INSERT"),
            WriteOp::Delete => Tag::Count("DELETE"),
            WriteOp::Update => Tag::Count("UPDATE"),
            WriteOp::Truncate => Tag::Words("TRUNCATE TABLE"),
            _ => Tag::Count("MERGE"),
        },
        LogicalPlan::Copy(_) => Tag::Count("COPY"),
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => Tag::Told("EXPLAIN", 0, true),
        _ => Tag::Rows,
    }
}

/// The columns as users see them.
pub(super) fn plan_schema(plan: &LogicalPlan, rows: &SchemaRef) -> SchemaRef {
    match Explained::of(plan) {
        Some(explained) => explained.schema(),
        None => columns(plan, rows),
    }
}

/// The columns of a plan's rows, whose types the analyzer may change: those of its branches are made one.
pub(super) fn analyzed_columns(state: &SessionState, plan: &LogicalPlan) -> SchemaRef {
    plan_schema(plan, analyzed(state, plan).schema().inner())
}

/// The plan as it is handed on to the physical planner.
pub(super) fn optimized(state: &mut SessionState, plan: &LogicalPlan) -> DfResult<LogicalPlan> {
    limit_passes(state, plan)?;
    state.optimize(plan)
}

/// One pass of the optimizer where there is nothing for another.
pub(super) fn limit_passes(state: &mut SessionState, plan: &LogicalPlan) -> DfResult<()> {
    if is_flat(plan)? {
        state.config_mut().options_mut().optimizer.max_passes = 1;
    }
    Ok(())
}

/// True for a plan that one pass of the optimizer leaves nothing to do in for another: one input, and no subqueries.
fn is_flat(plan: &LogicalPlan) -> DfResult<bool> {
    let branches = plan.exists(|node| {
        Ok(node.inputs().len() > 1
            || matches!(node, LogicalPlan::Window(_) | LogicalPlan::Unnest(_) | LogicalPlan::Distinct(_)))
    })?;
    Ok(!branches && !has_subqueries(plan)?)
}
