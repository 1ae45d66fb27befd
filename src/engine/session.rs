//! One connection: its settings, its prepared statements, and the path of every statement.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::error::Result as DfResult;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{
    Analyze, DdlStatement, Explain, LogicalPlan, Statement as StatementPlan, WriteOp,
};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::engine::ddl::{self, Lowered};
use crate::engine::fault;
use crate::engine::functions;
use crate::engine::plan::{CommandNode, ForetellPlanner, Mode, Scope, Semantics, TrainNode, dml_guard};
use crate::engine::query::{self, Message, Query, QueryContext, Tag};
use crate::engine::schemas::{CATALOG, Schemas, ViewPlanner};
use crate::engine::settings::{self, ForetellSettings};
use crate::engine::shared::Engine;
use crate::engine::sql::{self, Body, Piece, Source, Statement};
use crate::engine::storage::{DEFAULT_SCHEMA, TableName};
use crate::engine::words::{self, Words};
use crate::error::{Error, Result, identifier};

/// Batches that wait for a slow reader.
const BATCHES_AHEAD: usize = 2;

/// One connection to a database; statements run one after another or at once, each as a [`Query`].
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({})", self.inner.context.session_id())
    }
}

struct Inner {
    engine: Arc<Engine>,
    context: SessionContext,
}

impl Session {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let inner = Arc::new_cyclic(|weak: &Weak<Inner>| {
            let context = SessionContext::new_with_state(new_state(&engine));
            let planner: Weak<dyn ViewPlanner> = Weak::<Inner>::clone(weak);
            context.register_catalog(CATALOG, Arc::new(Schemas::new(Arc::clone(&engine), planner)));
            Inner { engine, context }
        });
        Self { inner }
    }

    /// Takes a text of several statements apart at its semicolons.
    pub fn split(&self, sql: &str) -> Result<Vec<Piece>> {
        sql::split(sql)
    }

    /// True when a text that is being typed can be run: it ends with a semicolon outside quotes.
    pub fn is_complete(&self, sql: &str) -> bool {
        sql::is_complete(sql)
    }

    /// Starts exactly one statement.
    pub async fn sql(&self, sql: &str) -> Result<Query> {
        let mut pieces = sql::split(sql)?;
        match (pieces.len(), pieces.pop()) {
            (1, Some(piece)) => {
                let offset = piece.offset;
                self.execute(&piece).await.map_err(|e| sql::shift(e, offset))
            }
            (0, _) => Err(Error::input(crate::error::Subject::Syntax, "the statement is empty")),
            (n, _) => {
                Err(Error::input(crate::error::Subject::Syntax, format!("expected one statement, got {n}"))
                    .with_hint("split the text, and run its statements one by one"))
            }
        }
    }

    /// Starts one statement of a text; the places of errors count from the statement's beginning.
    pub async fn execute(&self, statement: &Piece) -> Result<Query> {
        let query = Arc::new(QueryContext::default());
        let (inner, piece, shared) = (Arc::clone(&self.inner), statement.clone(), Arc::clone(&query));
        let started =
            self.inner.engine.runtimes.handle().spawn(async move { inner.start(piece, shared).await });
        started.await.unwrap_or_else(|e| Err(Error::internal(format!("planning stopped: {e}"))))
    }

    /// Runs one statement to its end on the calling thread and returns all rows; not for async code.
    pub fn run(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        self.inner.engine.runtimes.handle().block_on(async { self.sql(sql).await?.collect().await })
    }

    /// Words for completion: keywords, tables, columns, models, functions, options.
    pub fn words(&self) -> Words {
        Words::of(&self.inner.engine, &self.inner.context.state())
    }
}

fn new_state(engine: &Arc<Engine>) -> SessionState {
    let mut config = SessionConfig::new()
        .with_target_partitions(engine.threads)
        .with_information_schema(true)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, DEFAULT_SCHEMA)
        .with_option_extension(ForetellSettings::default());
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    options.execution.parquet.pushdown_filters = true;
    // Without a zone, TIMESTAMPTZ would be a timestamp that has forgotten its zone.
    options.execution.time_zone = Some("UTC".to_owned());
    options.sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(Arc::clone(&engine.environment))
        .with_default_features()
        .with_query_planner(Arc::new(ForetellPlanner::new(Arc::clone(engine))))
        .build();
    // Registering under fixed names on a fresh state cannot fail.
    functions::register_all(&mut state).expect("functions have distinct names");
    state.register_expr_planner(Arc::new(Semantics)).expect("a session takes planners of expressions");
    state.register_function_rewrite(Arc::new(Semantics)).expect("a session takes rewrites of expressions");
    state
}

/// A table's name as it must be written, part by part.
fn quoted(name: &str) -> String {
    name.split('.').map(identifier).collect::<Vec<_>>().join(".")
}

impl Inner {
    fn scope(
        &self,
        query: &Arc<QueryContext>,
        trains: Vec<Arc<sql::TrainStatement>>,
        source: &Arc<Source>,
    ) -> Scope {
        Scope {
            engine: Arc::clone(&self.engine),
            query: Arc::clone(query),
            trains: Arc::new(trains),
            source: Arc::clone(source),
            session: Arc::new(self.context.state()),
        }
    }

    /// Starts a statement, and completes what its error says.
    async fn start(self: Arc<Self>, piece: Piece, query: Arc<QueryContext>) -> Result<Query> {
        self.try_start(piece, query).await.map_err(|error| self.suggest(error))
    }

    /// Names the table or function that was meant, where one is close.
    fn suggest(&self, error: Error) -> Error {
        let message = error.message().to_owned();
        let Some((kind, word)) = message.strip_prefix("no ").and_then(|m| m.rsplit_once(' ')) else {
            return error;
        };
        let names = match kind {
            "table" => words::table_names(&self.engine).iter().map(|name| quoted(name)).collect(),
            "function" => words::function_names(&self.context.state()),
            "table function" => words::TABLE_FUNCTIONS.iter().map(|f| f.name.to_owned()).collect(),
            _ => return error,
        };
        error.with_suggestion(word, names.iter().map(String::as_str))
    }

    /// Parses, plans and starts a statement on the query runtime.
    async fn try_start(&self, piece: Piece, query: Arc<QueryContext>) -> Result<Query> {
        let statement = sql::parse_one(&piece)?;
        let deadline = settings::of(&self.context.state()).deadline();
        query.control.set_deadline(deadline);
        let source = Arc::clone(&statement.source);
        let scope = self.scope(&query, statement.trains.clone(), &source);
        let state = scope.state();
        let planning = self.plan(&state, statement, &query);
        let (plan, tag) = within(deadline, planning).await.map_err(|e| match e {
            PlanError::DataFusion(e) => fault::located(&e, &source),
            PlanError::Ours(e) => *e,
        })?;
        let plan = self.prepare(&state, plan).await.map_err(|e| fault::located(&e, &source))?;
        let physical = state.create_physical_plan(&plan).await.map_err(|e| fault::located(&e, &source))?;
        let rows = datafusion::physical_plan::execute_stream(physical, state.task_ctx())
            .map_err(|e| fault::located(&e, &source))?;
        let schema = plan_schema(&plan, &rows.schema());
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        let task = tokio::spawn(pump(rows, sender, source));
        watch_deadline(deadline, &query);
        Ok(Query::new(schema, receiver, query, task.abort_handle(), tag))
    }

    /// The logical plan of a statement and how its tag is made.
    async fn plan(
        &self,
        state: &SessionState,
        statement: Statement,
        query: &QueryContext,
    ) -> Result<(LogicalPlan, Tag), PlanError> {
        let statement = match statement.body {
            Body::Command(command) => {
                return planned(ddl::lower_command(&self.engine, state, *command).await?);
            }
            Body::Sql(statement) => *statement,
        };
        let statement = match statement {
            DfStatement::Statement(inner) => match *inner {
                ast::Statement::CreateTable(table) => return planned(ddl::create_table(state, table).await?),
                ast::Statement::CreateView(view) => return planned(ddl::create_view(state, view).await?),
                ast::Statement::Commit { .. } | ast::Statement::StartTransaction { .. } => {
                    query.notice("every statement commits by itself: BEGIN and COMMIT change nothing");
                    return Ok((empty()?, Tag::Words("OK")));
                }
                ast::Statement::Rollback { .. } => {
                    let message = "ROLLBACK is not supported: every statement commits by itself";
                    return Err(Error::unsupported(message)
                        .with_hint("older rows: SELECT * FROM t VERSION AS OF n")
                        .into());
                }
                other => DfStatement::Statement(Box::new(settings::rename(other))),
            },
            other => other,
        };
        let plan = state.statement_to_plan(statement).await?;
        match plan {
            LogicalPlan::Ddl(ddl) => planned(ddl::lower(state, ddl).await?),
            plan => {
                let tag = tag_of(&plan);
                Ok((dry_run(plan)?, tag))
            }
        }
    }

    /// Runs what must come before the physical plan: session statements, and subqueries of changes; of a
    /// statement under EXPLAIN the subqueries only.
    async fn prepare(&self, state: &SessionState, plan: LogicalPlan) -> DfResult<LogicalPlan> {
        match plan {
            LogicalPlan::Statement(StatementPlan::SetVariable(set)) => {
                settings::check_name(state, &set.variable)?;
                let plan = LogicalPlan::Statement(StatementPlan::SetVariable(set));
                Ok(self.context.execute_logical_plan(plan).await?.into_parts().1)
            }
            LogicalPlan::Statement(StatementPlan::ResetVariable(mut reset)) => {
                reset.variable = settings::full_name(&reset.variable);
                settings::check_name(state, &reset.variable)?;
                let plan = LogicalPlan::Statement(settings::reset(reset));
                Ok(self.context.execute_logical_plan(plan).await?.into_parts().1)
            }
            LogicalPlan::Statement(StatementPlan::TransactionStart(_) | StatementPlan::TransactionEnd(_)) => {
                empty()
            }
            LogicalPlan::Statement(_) => {
                let plan = self.context.execute_logical_plan(plan).await?.into_parts().1;
                Box::pin(self.prepare(state, plan)).await
            }
            plan => run_subqueries(state, plan).await,
        }
    }
}

/// The plan with the values of the subqueries of a change in their places.
async fn run_subqueries(state: &SessionState, plan: LogicalPlan) -> DfResult<LogicalPlan> {
    match plan {
        LogicalPlan::Dml(dml) => {
            let mut values = vec![];
            for subquery in dml_guard::subqueries(&dml)? {
                values.push(first_column(state, subquery).await?);
            }
            dml_guard::with_values(dml, values)
        }
        LogicalPlan::Explain(explain) => {
            let plan = Box::pin(run_subqueries(state, explain.plan.as_ref().clone())).await?;
            Ok(LogicalPlan::Explain(Explain { plan: Arc::new(plan), ..explain }))
        }
        LogicalPlan::Analyze(analyze) => {
            let input = Box::pin(run_subqueries(state, analyze.input.as_ref().clone())).await?;
            Ok(LogicalPlan::Analyze(Analyze { input: Arc::new(input), ..analyze }))
        }
        plan => Ok(plan),
    }
}

#[async_trait]
impl ViewPlanner for Inner {
    async fn plan_view(&self, name: &TableName, sql: &str) -> DfResult<LogicalPlan> {
        let piece = Piece { text: sql.to_owned(), offset: 0 };
        let broken = |e: Error| e.with_context(format!("view {name}")).into();
        let statement = sql::parse_one(&piece).map_err(broken)?;
        let Body::Sql(body) = statement.body else {
            return Err(broken(Error::corrupt(crate::error::Subject::Table, "its text is not a query")));
        };
        let query = Arc::new(QueryContext::default());
        let state = self.scope(&query, vec![], &statement.source).state();
        state.statement_to_plan(*body).await.map_err(|e| broken(e.into()))
    }

    fn state(&self) -> SessionState {
        self.context.state()
    }
}

/// Either error of planning, so that DataFusion's keeps its place in the text.
enum PlanError {
    DataFusion(Box<datafusion::error::DataFusionError>),
    Ours(Box<Error>),
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

async fn within<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, PlanError>>,
) -> Result<T, PlanError> {
    let Some(deadline) = deadline else { return work.await };
    tokio::time::timeout_at(deadline.into(), work)
        .await
        .unwrap_or_else(|_| Err(Error::cancelled("canceling statement due to statement timeout").into()))
}

/// A command as a plan.
fn planned(lowered: Lowered) -> Result<(LogicalPlan, Tag), PlanError> {
    match lowered {
        Lowered::Plan(plan, tag) => Ok((plan, tag)),
        Lowered::Command(command, input) => {
            let tag = command.tag(input.is_some());
            Ok((CommandNode::new(*command, input)?.into_plan(), tag))
        }
    }
}

fn empty() -> DfResult<LogicalPlan> {
    datafusion::logical_expr::LogicalPlanBuilder::empty(false).build()
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
        LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(_)) => Tag::Words("CREATE TABLE"),
        LogicalPlan::Statement(statement) => match statement {
            StatementPlan::SetVariable(_) => Tag::Words("SET"),
            StatementPlan::ResetVariable(_) => Tag::Words("RESET"),
            StatementPlan::Prepare(_) => Tag::Words("PREPARE"),
            StatementPlan::Deallocate(_) => Tag::Words("DEALLOCATE"),
            StatementPlan::Execute(_) => Tag::Rows,
            _ => Tag::Words("OK"),
        },
        _ => Tag::Rows,
    }
}

/// The names of the columns as the logical plan has them.
fn plan_schema(
    plan: &LogicalPlan,
    rows: &datafusion::arrow::datatypes::SchemaRef,
) -> datafusion::arrow::datatypes::SchemaRef {
    let names = plan.schema().as_arrow();
    if names.fields().len() == rows.fields().len() {
        Arc::clone(plan.schema().inner())
    } else {
        Arc::clone(rows)
    }
}

async fn first_column(state: &SessionState, plan: LogicalPlan) -> DfResult<Vec<ScalarValue>> {
    let physical = state.create_physical_plan(&plan).await?;
    let mut rows = datafusion::physical_plan::execute_stream(physical, state.task_ctx())?;
    let mut values = vec![];
    while let Some(batch) = rows.next().await.transpose()? {
        for row in 0..batch.num_rows() {
            values.push(ScalarValue::try_from_array(batch.column(0), row)?);
        }
    }
    Ok(values)
}

/// Sends the rows of a statement to its reader.
async fn pump(
    mut rows: datafusion::execution::SendableRecordBatchStream,
    sender: mpsc::Sender<Message>,
    source: Arc<Source>,
) {
    loop {
        match rows.next().await {
            Some(Ok(batch)) => {
                if sender.send(Ok(Some(batch))).await.is_err() {
                    return;
                }
            }
            Some(Err(error)) => return query::fail(&sender, fault::located(&error, &source)).await,
            None => {
                // Everything the statement holds is let go before its end is told.
                drop(rows);
                let _ = sender.send(Ok(None)).await;
                return;
            }
        }
    }
}

fn watch_deadline(deadline: Option<Instant>, query: &Arc<QueryContext>) {
    let Some(deadline) = deadline else { return };
    let query = Arc::downgrade(query);
    tokio::spawn(async move {
        tokio::time::sleep_until((deadline + Duration::from_millis(1)).into()).await;
        if let Some(query) = query.upgrade() {
            query.wake();
        }
    });
}
