//! One connection: its settings, its prepared statements, and the path of every statement.

mod cursors;
mod defaults;
mod explained;
mod prepared;
mod returning;
mod statements;
mod transaction;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result as DfResult;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{FunctionRegistry, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{
    Analyze, ColumnarValue, DdlStatement, Explain, LogicalPlan, ScalarFunctionArgs, WriteOp,
};
use datafusion::optimizer::analyzer::function_rewrite::ApplyFunctionRewrites;
use datafusion::optimizer::analyzer::{Analyzer, AnalyzerRule};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionConfig;
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast;
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use self::defaults::with_defaults;
use crate::engine::access::{Actor, FileAccess};
use crate::engine::activity::SessionActivity;
use crate::engine::constants::Constant;
use crate::engine::ddl::{self, Lowered};
use crate::engine::fault;
use crate::engine::functions;
use crate::engine::pg_catalog::{self, Surroundings};
use crate::engine::plan::{
    CheckedNumbers, CommandNode, FloatsInUnions, ForetellPlanner, Mode, Relations, Scope, Semantics,
    TextCasts, TrainNode, authorized, cancellable, columns, dml_guard, has_subqueries,
    with_applied_subqueries, with_distinct_outer_keys, with_not_exists,
};
use crate::engine::query::{self, ClientCopy, Message, Query, QueryContext, Started, Tag};
use crate::engine::schemas::{CATALOG, SessionParts, ViewPlanner};
use crate::engine::settings::SharedVariables;
use crate::engine::shared::Engine;
use crate::engine::sql::{self, Body, Piece, Source, Statement};
use crate::engine::states::StatementState;
use crate::engine::storage::{Contents, DEFAULT_SCHEMA, TableName};
use crate::engine::temporary::TemporaryTables;
use crate::engine::words::{self, Words};
use crate::error::{Error, ErrorKind, Result, Subject, identifier};
use crate::ml::Control;

use cursors::Cursors;
use explained::Explained;
use prepared::PreparedStatements;

pub use prepared::Prepared;
pub(super) use transaction::Transaction;
pub use transaction::{TransactionStatus, failure_warning};

/// Batches that wait for a slow reader.
const BATCHES_AHEAD: usize = 2;

/// One connection to a database; statements run one after another or at once, each as a [`Query`].
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({})", self.inner.actor.role().unwrap_or_default())
    }
}

struct Inner {
    engine: Arc<Engine>,
    parts: RwLock<SessionParts>,
    variables: SharedVariables,
    actor: Arc<Actor>,
    transaction: Transaction,
    kept: Mutex<Kept>,
    /// How often settings had been changed when the zone was given to DataFusion.
    zone_at: AtomicU64,
}

/// What a session keeps between its statements.
#[derive(Debug, Default)]
struct Kept {
    prepared: PreparedStatements,
    cursors: Cursors,
}

impl Session {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self::with_actor(engine, Actor::default(), None)
    }

    fn with_actor(
        engine: Arc<Engine>,
        actor: Actor,
        client: Option<(&Arc<SessionActivity>, &Arc<FileAccess>)>,
    ) -> Self {
        let actor = Arc::new(actor);
        let inner = Arc::new_cyclic(|weak: &Weak<Inner>| {
            let variables = SharedVariables::default();
            let planner: Weak<dyn ViewPlanner> = Weak::<Inner>::clone(weak);
            let temporary = Arc::new(TemporaryTables::default());
            let around = Surroundings {
                engine: Arc::clone(&engine),
                variables: variables.clone(),
                planner,
                temporary: Arc::clone(&temporary),
                actor: Arc::clone(&actor),
                definer: false,
                client: client.map(|(client, _)| Arc::clone(client)),
            };
            let mut config = new_config(&engine, &around);
            config.set_extension(temporary);
            config.set_extension(Arc::clone(&actor));
            if let Some((_, files)) = client {
                config.set_extension(Arc::clone(files));
            }
            let parts = RwLock::new(SessionParts::new(config, around));
            let (transaction, kept, zone_at) = <_>::default();
            Inner { engine, parts, variables, actor, transaction, kept, zone_at }
        });
        Self { inner }
    }

    /// A session of a client; `database` is what its clients call the database.
    pub(super) fn of_client(
        engine: Arc<Engine>,
        client: &Arc<SessionActivity>,
        database: &str,
        files: &Arc<FileAccess>,
    ) -> Result<Self> {
        // Before there are roles, there is nobody but the owner.
        let role = client.role.as_str();
        let nobody = engine.catalog.contents()?.roles.is_empty();
        let actor = Actor::new((!nobody).then(|| role.to_owned()));
        let superuser = actor.rights(&engine.catalog)?.is_superuser();
        let session = Self::with_actor(engine, actor, Some((client, files)));
        let mut variables = session.inner.variables.write();
        variables.set_default("session_authorization", role);
        variables.set_default("is_superuser", if superuser { "on" } else { "off" });
        variables.set_default("foretell.database", database);
        drop(variables);
        Ok(session)
    }

    /// Gives a setting a value that RESET goes back to: what the client asked for when it connected.
    pub fn set_default(&self, name: &str, value: &str) -> Result<()> {
        let mut variables = self.inner.variables.write();
        variables.set(name, Some(value), false)?;
        let (_, value) = variables.show(name)?;
        variables.set(name, None, false)?;
        variables.set_default(name, value);
        Ok(())
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
                self.execute(&piece).await.map_err(|e| e.shifted(offset))
            }
            (0, _) => Err(Error::input(crate::error::Subject::Syntax, "the statement is empty")),
            (n, _) => {
                Err(Error::input(crate::error::Subject::Syntax, format!("expected one statement, got {n}"))
                    .with_hint("split the text, and run its statements one by one"))
            }
        }
    }

    /// Starts one statement of a text; the places of errors count from the statement's beginning. Dropping the
    /// future stops the planning.
    pub async fn execute(&self, statement: &Piece) -> Result<Query> {
        if let Some(query) = self.inner.constant(&statement.text)? {
            return Ok(query);
        }
        let (inner, piece) = (Arc::clone(&self.inner), statement.clone());
        self.start(async move { inner.start(&piece).await }).await
    }

    /// Parses and plans one statement without running it; `types` are the parameters' types as far as they are
    /// given, by SQL's names.
    pub async fn prepare(&self, statement: &Piece, types: &[Option<String>]) -> Result<Prepared> {
        let (inner, piece, types) = (Arc::clone(&self.inner), statement.clone(), types.to_vec());
        self.on_query_thread(async move { inner.prepare(&piece, &types).await }).await
    }

    /// Starts a prepared statement with the values of its parameters in PostgreSQL's text form.
    pub async fn execute_prepared(&self, prepared: &Prepared, values: &[Option<&str>]) -> Result<Query> {
        if prepared.types.is_empty()
            && values.is_empty()
            && let Some(query) = self.inner.constant(prepared.text())?
        {
            return Ok(query);
        }
        let values = prepared.values(values)?;
        let (inner, prepared) = (Arc::clone(&self.inner), prepared.clone());
        self.start(async move { inner.start_prepared(&prepared, &values).await }).await
    }

    /// Keeps a prepared statement under a name, for EXECUTE and for later executions.
    pub fn keep_prepared(&self, name: &str, prepared: Arc<Prepared>) -> Result<()> {
        self.inner.kept().prepared.insert(name, prepared)
    }

    /// The prepared statement of this name.
    pub fn prepared(&self, name: &str) -> Result<Arc<Prepared>> {
        self.inner.kept().prepared.get(name)
    }

    /// Forgets a prepared statement, when there is one of this name.
    pub fn forget_prepared(&self, name: &str) {
        let _ = self.inner.kept().prepared.remove(name);
    }

    /// The columns of the cursor of this name, when there is one.
    pub fn cursor_columns(&self, name: &str) -> Option<SchemaRef> {
        self.inner.kept().cursors.get(name).ok().map(|cursor| Arc::clone(&cursor.schema))
    }

    /// The names of things whose numbers are given; `kind` is their type, such as `regclass`.
    pub async fn names_of(&self, kind: &str, numbers: ArrayRef) -> Result<ArrayRef> {
        let options = Arc::clone(self.inner.parts().config.options());
        let function = self.inner.engine.states.template().udf(&format!("{kind}_text"))?;
        self.on_query_thread(async move {
            let field = Arc::new(Field::new("numbers", numbers.data_type().clone(), true));
            let args = ScalarFunctionArgs {
                number_rows: numbers.len(),
                args: vec![ColumnarValue::Array(numbers)],
                arg_fields: vec![field],
                return_field: Arc::new(Field::new("names", DataType::Utf8, true)),
                config_options: options,
            };
            let rows = args.number_rows;
            Ok(function.invoke_with_args(args)?.into_array(rows)?)
        })
        .await
    }

    /// Where the session's transaction stands.
    pub fn transaction_status(&self) -> TransactionStatus {
        self.inner.transaction.status()
    }

    /// Marks the transaction as failed by something outside of a statement.
    pub fn fail_transaction(&self) {
        self.inner.transaction.fail();
    }

    /// The session's settings.
    pub fn variables(&self) -> &SharedVariables {
        &self.inner.variables
    }

    /// Runs work on the query runtime; dropping the future stops it.
    async fn on_query_thread<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let task = self.inner.engine.runtimes.handle().spawn(work);
        let _guard = AbortOnDrop(Some(task.abort_handle()));
        task.await.unwrap_or_else(|e| Err(Error::internal(format!("planning stopped: {e}"))))
    }

    /// Plans a statement on the query runtime, and goes on there to make its rows.
    async fn start(&self, starting: impl Future<Output = Result<Started>> + Send + 'static) -> Result<Query> {
        let (sender, receiver) = oneshot::channel();
        let task = self.inner.engine.runtimes.handle().spawn(async move {
            match starting.await {
                Ok(Started { query, rows, .. }) => {
                    if sender.send(Ok(query)).is_ok()
                        && let Some(rows) = rows
                    {
                        rows.await;
                    }
                }
                // The reader may be gone.
                Err(error) => drop(sender.send(Err(error))),
            }
        });
        let mut guard = AbortOnDrop(Some(task.abort_handle()));
        let started: Result<Query> =
            receiver.await.unwrap_or_else(|_| Err(Error::internal("planning stopped")));
        let query = started?;
        guard.0 = None;
        Ok(query.made_by(task.abort_handle()))
    }

    /// Runs one statement to its end on the calling thread and returns all rows; not for async code.
    pub fn run(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        self.inner.engine.runtimes.handle().block_on(async { self.sql(sql).await?.collect().await })
    }

    /// Words for completion: keywords, tables, columns, models, functions, options.
    pub fn words(&self) -> Words {
        Words::of(&self.inner.engine, self.inner.engine.states.template())
    }
}

/// Stops a task unless it came to its end.
struct AbortOnDrop(Option<AbortHandle>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

fn new_config(engine: &Arc<Engine>, around: &Surroundings) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(engine.threads)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, DEFAULT_SCHEMA)
        .with_option_extension(around.variables.clone())
        .with_option_extension(around.clone())
        .with_extension(Arc::clone(engine));
    let options = config.options_mut();
    read_as_postgresql(options);
    options.execution.parquet.pushdown_filters = true;
    // It compares what tells types to clients, too.
    options.execution.skip_physical_aggregate_schema_check = true;
    config
}

/// How SQL is read.
fn read_as_postgresql(options: &mut ConfigOptions) {
    options.sql_parser.collect_spans = true;
    options.sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
    // 0.1 + 0.2 is 0.3.
    options.sql_parser.parse_float_as_decimal = true;
    // Without a zone, TIMESTAMPTZ would be a timestamp that has forgotten its zone; functions of times take theirs from
    // it when they are registered.
    options.execution.time_zone = Some("UTC".to_owned());
}

/// DataFusion's rules, of which one adds casts, between those that it must find done and those that change its casts.
fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::new(FloatsInUnions)];
    rules.extend(Analyzer::new().rules);
    let rewrites: [Arc<dyn FunctionRewrite + Send + Sync>; 2] =
        [Arc::new(CheckedNumbers), Arc::new(TextCasts)];
    rules.push(Arc::new(ApplyFunctionRewrites::new(rewrites.to_vec())));
    rules
}

/// The functions and planners of every session; what is of one session they find in its settings.
pub fn template(environment: &Arc<RuntimeEnv>) -> SessionState {
    let mut config = SessionConfig::new();
    read_as_postgresql(config.options_mut());
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(Arc::clone(environment))
        .with_default_features()
        .with_analyzer_rules(analyzer_rules())
        .with_type_planner(Arc::new(Semantics))
        .with_query_planner(Arc::new(ForetellPlanner))
        .build();
    // Registering under fixed names on a fresh state cannot fail.
    functions::register_all(&mut state).expect("functions have distinct names");
    for function in pg_catalog::functions() {
        state.register_udf(Arc::new(function)).expect("functions have distinct names");
    }
    state.register_expr_planner(Arc::new(Semantics)).expect("a session takes planners of expressions");
    state.register_relation_planner(Arc::new(Relations)).expect("a session takes planners of relations");
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
            session: Arc::new(self.parts().clone()),
        }
    }

    fn parts(&self) -> RwLockReadGuard<'_, SessionParts> {
        self.parts.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes settings of DataFusion.
    fn configure<T>(&self, change: impl FnOnce(&mut ConfigOptions) -> T) -> T {
        change(self.parts.write().unwrap_or_else(PoisonError::into_inner).config.options_mut())
    }

    /// What statements may call the database and its schemas.
    fn names(&self) -> sql::Names {
        let database = self.variables.read().value("foretell.database");
        sql::Names { database, schemas: self.engine.catalog.schemas().unwrap_or_default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One parsed statement, its names with schemas where the session's search path says so.
    fn parse(&self, piece: &Piece) -> Result<Statement> {
        self.apply_time_zone();
        let parts = self.parts();
        sql::parse_one(piece, &self.names(), |statement| parts.with_path(|path| path.qualify(statement)))
    }

    /// Starts a statement; a failure fails the transaction.
    async fn start(self: &Arc<Self>, piece: &Piece) -> Result<Started> {
        match self.parse(piece) {
            Ok(statement) => self.start_parsed(statement, Some(&piece.text)).await,
            Err(error) => Err(self.failed(error)),
        }
    }

    /// As [`Inner::start`], of a prepared statement.
    async fn start_prepared(self: &Arc<Self>, prepared: &Prepared, values: &[ast::Expr]) -> Result<Started> {
        match prepared.bind(values) {
            Ok(statement) => {
                let text = Some(prepared.text()).filter(|_| prepared.types.is_empty());
                self.start_parsed(statement, text).await
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Starts a statement, and keeps what a query of constants says under its text.
    async fn start_parsed(self: &Arc<Self>, statement: Statement, text: Option<&str>) -> Result<Started> {
        let text = text.filter(|_| statement.is_query());
        let mut started = Box::pin(self.run(statement)).await.map_err(|error| self.failed(error))?;
        if let (Some(text), Some(constant)) = (text, started.constant.take()) {
            self.engine.constants.keep(text, constant);
        }
        Ok(started)
    }

    /// What a failure of a statement leaves: a failed transaction, and an error that names what was meant.
    fn failed(&self, error: Error) -> Error {
        self.transaction.fail();
        let everything = self.actor.rights(&self.engine.catalog).is_ok_and(|rights| rights.is_superuser());
        // Suggestions come from all names; some may be none of this role's business.
        if everything { self.suggest(error) } else { error.without_suggestion() }
    }

    /// Starts a parsed statement.
    async fn run(self: &Arc<Self>, statement: Statement) -> Result<Started> {
        self.apply_time_zone();
        let query = Arc::new(QueryContext::default());
        match &statement.body {
            Body::Session(session) => return self.run_session(session, &statement, query).await,
            Body::Prepare { .. } => {
                self.transaction.ensure_works()?;
                return self.run_prepare(statement, query).await.map(Started::from);
            }
            _ => self.transaction.ensure_works()?,
        }
        if returning::is_returning(&statement) {
            return self.run_returning(&statement, query).await.map(Started::from);
        }
        self.run_planned(statement, query).await
    }

    /// Names the table or function that was meant, where one is close.
    fn suggest(&self, error: Error) -> Error {
        let message = error.message().to_owned();
        let Some((kind, word)) = message.strip_prefix("no ").and_then(|m| m.rsplit_once(' ')) else {
            return error;
        };
        let names = match kind {
            "table" => words::table_names(&self.engine).iter().map(|name| quoted(name)).collect(),
            "function" => words::function_names(self.engine.states.template()),
            "table function" => words::TABLE_FUNCTIONS.iter().map(|f| f.name.to_owned()).collect(),
            _ => return error,
        };
        error.with_suggestion(word, names.iter().map(String::as_str))
    }

    /// Plans a statement.
    async fn run_planned(&self, statement: Statement, query: Arc<QueryContext>) -> Result<Started> {
        let deadline = self.variables.read().deadline();
        query.control.set_deadline(deadline);
        let source = Arc::clone(&statement.source);
        let scope = self.scope(&query, statement.trains.clone(), &source);
        let mut state = scope.state();
        let located = |e: &_| fault::located(e, &source);
        let planning = self.plan(&state, statement);
        let planned = within(deadline, planning).await.map_err(|e| e.located(&source))?;
        self.ensure_may_change(&planned)?;
        let Planned { plan, tag, copy, changes } = planned;
        let constant = Some(&plan).filter(|_| tag == Tag::Rows && copy.is_none());
        let schema = || plan_schema(&plan, plan.schema().inner());
        if let Some(constant) = constant.and_then(|plan| Constant::of(plan, schema)) {
            return Ok(Started { query: constant.query(query), rows: None, constant: Some(constant) });
        }
        if is_flat(&plan)? {
            state.config_mut().options_mut().optimizer.max_passes = 1;
        }
        let plan = run_subqueries(&state, plan, &query.control).await.map_err(|e| located(&e))?;
        let rows = start(&state, &plan, &query.control).await.map_err(|e| located(&e))?;
        let rows = match Explained::of(&plan) {
            Some(explained) => explained.rows(rows),
            None => rows,
        };
        let schema = plan_schema(&plan, &rows.schema());
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        watch_deadline(deadline, &query);
        let query = Query::new(schema, receiver, query, tag);
        let query = query.in_transaction(self.transaction.clone(), changes).with_copy(copy);
        Ok(Started { query, rows: Some(Box::pin(pump(rows, sender, source))), constant: None })
    }

    /// A statement whose rows are known from the last time it ran.
    fn constant(&self, text: &str) -> Result<Option<Query>> {
        let Some(constant) = self.engine.constants.get(text) else { return Ok(None) };
        self.transaction.ensure_works()?;
        Ok(Some(constant.query(Arc::default())))
    }

    fn is_read_only(&self) -> bool {
        let variables = self.variables.read();
        variables.is_on("transaction_read_only")
    }

    /// Fails when the statement changes something in a transaction that only reads.
    fn ensure_may_change(&self, planned: &Planned) -> Result<()> {
        if !planned.changes || !self.is_read_only() {
            return Ok(());
        }
        let message = format!("cannot execute {} in a read-only transaction", planned.tag.command());
        Err(Error::new(ErrorKind::Denied, Subject::Transaction, message))
    }

    /// The logical plan of a statement and how its tag is made.
    async fn plan(&self, state: &SessionState, statement: Statement) -> Result<Planned, PlanError> {
        let planned = self.plan_unchecked(state, statement).await?;
        let plan = authorized(&self.engine, &self.actor, planned.plan)?;
        Ok(Planned { plan, ..planned })
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
                ast::Statement::CreateIndex(index) => return planned(ddl::create_index(&index)?),
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
        let plan = state.statement_to_plan(statement).await?;
        let plan = with_distinct_outer_keys(with_not_exists(plan)?)?;
        match plan {
            LogicalPlan::Ddl(ddl) => planned(ddl::lower(state, ddl).await?),
            LogicalPlan::Dml(dml) if matches!(dml.op, WriteOp::Insert(_)) => {
                let plan = LogicalPlan::Dml(ddl::with_meant_types(state, dml)?);
                Ok(Planned { tag: tag_of(&plan), plan, copy: None, changes: true })
            }
            plan => {
                let tag = tag_of(&plan);
                let changes = !tag.has_rows() || TrainNode::publishes(&plan);
                Ok(Planned { plan: dry_run(plan)?, tag, copy: None, changes })
            }
        }
    }
}

/// The plan with the values of the subqueries of a change in their places.
async fn run_subqueries(
    state: &SessionState,
    plan: LogicalPlan,
    control: &Arc<Control>,
) -> DfResult<LogicalPlan> {
    match plan {
        LogicalPlan::Dml(dml) => {
            let mut values = vec![];
            for subquery in dml_guard::subqueries(&dml)? {
                values.push(first_column(start(state, &subquery, control).await?).await?);
            }
            dml_guard::with_values(dml, values)
        }
        LogicalPlan::Explain(explain) => {
            let plan = Box::pin(run_subqueries(state, explain.plan.as_ref().clone(), control)).await?;
            Ok(LogicalPlan::Explain(Explain { plan: Arc::new(plan), ..explain }))
        }
        LogicalPlan::Analyze(analyze) => {
            let input = Box::pin(run_subqueries(state, analyze.input.as_ref().clone(), control)).await?;
            Ok(LogicalPlan::Analyze(Analyze { input: Arc::new(input), ..analyze }))
        }
        plan => Ok(plan),
    }
}

#[async_trait]
impl ViewPlanner for Inner {
    async fn plan_view(&self, name: &TableName, sql: &str, actor: &Arc<Actor>) -> DfResult<LogicalPlan> {
        let piece = Piece { text: sql.to_owned(), offset: 0 };
        let broken = |e: Error| e.with_context(format!("view {name}")).into();
        let statement = sql::parse_one(&piece, &self.names(), |_| Ok(())).map_err(broken)?;
        let Body::Sql(body) = statement.body else {
            return Err(broken(Error::corrupt(crate::error::Subject::Table, "its text is not a query")));
        };
        let query = Arc::new(QueryContext::default());
        let mut scope = self.scope(&query, vec![], &statement.source);
        if !Arc::ptr_eq(actor, &self.actor) {
            scope.session = Arc::new(scope.session.acting_as(actor));
        }
        scope.state().statement_to_plan(*body).await.map_err(|e| broken(e.into()))
    }

    fn state(&self) -> StatementState {
        self.parts().state()
    }

    fn contents(&self) -> Result<Arc<Contents>> {
        self.engine.catalog.contents()
    }

    fn prepared_statements(&self) -> Vec<(String, String, Vec<String>)> {
        let all = self.kept().prepared.list().into_iter();
        all.map(|(name, prepared)| (name, prepared.text().to_owned(), prepared.parameters())).collect()
    }

    fn cursors(&self) -> Vec<(String, String, bool)> {
        let all = self.kept().cursors.list().into_iter();
        all.map(|(name, cursor)| (name, cursor.text.clone(), cursor.hold)).collect()
    }
}

/// A statement that can be started.
struct Planned {
    plan: LogicalPlan,
    tag: Tag,
    /// Rows come from the client or go to it in a format of COPY.
    copy: Option<ClientCopy>,
    /// True when it changes tables or models.
    changes: bool,
}

/// Either error of planning, so that DataFusion's keeps its place in the text.
enum PlanError {
    DataFusion(Box<datafusion::error::DataFusionError>),
    Ours(Box<Error>),
}

impl PlanError {
    fn located(self, source: &Source) -> Error {
        match self {
            Self::DataFusion(e) => fault::located(&e, source),
            Self::Ours(e) => *e,
        }
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
fn planned(lowered: Lowered) -> Result<Planned, PlanError> {
    Ok(match lowered {
        Lowered::Plan(plan, tag) => {
            let changes = matches!(plan, LogicalPlan::Dml(_));
            Planned { plan, tag, copy: None, changes }
        }
        Lowered::Copy(plan, copy) => {
            let changes = matches!(copy, ClientCopy::In(_));
            Planned { plan, tag: copy.tag(), copy: Some(copy), changes }
        }
        Lowered::Command(command, input) => {
            let tag = command.tag(input.is_some());
            let plan = CommandNode::new(*command, input)?.into_plan();
            Planned { plan, tag, copy: None, changes: true }
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
        LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(_)) => Tag::Words("CREATE TABLE"),
        _ => Tag::Rows,
    }
}

/// The columns as users see them.
fn plan_schema(plan: &LogicalPlan, rows: &SchemaRef) -> SchemaRef {
    match Explained::of(plan) {
        Some(explained) => explained.schema(),
        None => columns(plan, rows),
    }
}

/// The columns of a plan's rows, whose types the analyzer may change: those of its branches are made one.
fn analyzed_columns(state: &SessionState, plan: &LogicalPlan) -> SchemaRef {
    plan_schema(plan, ddl::analyzed(state, plan).schema().inner())
}

/// Starts a plan that stops once `control` says so.
async fn start(
    state: &SessionState,
    plan: &LogicalPlan,
    control: &Arc<Control>,
) -> DfResult<SendableRecordBatchStream> {
    let physical = match state.create_physical_plan(plan).await {
        Err(error) if has_subqueries(plan)? => {
            let applied = with_applied_subqueries(plan.clone(), &Arc::new(state.clone()), control)?;
            // Where that does not help either, the first error tells more.
            state.create_physical_plan(&applied).await.map_err(|_| error)?
        }
        physical => physical?,
    };
    execute_stream(cancellable(physical, control)?, Arc::new(task_context(state)))
}

/// True for a plan that one pass of the optimizer leaves nothing to do in for another: one input, and no subqueries.
fn is_flat(plan: &LogicalPlan) -> DfResult<bool> {
    let branches = plan.exists(|node| {
        Ok(node.inputs().len() > 1
            || matches!(node, LogicalPlan::Window(_) | LogicalPlan::Unnest(_) | LogicalPlan::Distinct(_)))
    })?;
    Ok(!branches && !has_subqueries(plan)?)
}

/// The context that a plan runs in. Plans have their functions in them, so that it needs none: DataFusion's own
/// way copies them all for every statement.
fn task_context(state: &SessionState) -> TaskContext {
    let (none, config) = (state.session_id().to_owned(), state.config().clone());
    let (scalar, higher_order, aggregate, window) = <_>::default();
    TaskContext::new(
        None,
        none,
        config,
        scalar,
        higher_order,
        aggregate,
        window,
        Arc::clone(state.runtime_env()),
    )
}

async fn first_column(mut rows: SendableRecordBatchStream) -> DfResult<Vec<ScalarValue>> {
    let mut values = vec![];
    while let Some(batch) = rows.next().await.transpose()? {
        for row in 0..batch.num_rows() {
            values.push(ScalarValue::try_from_array(batch.column(0), row)?);
        }
    }
    Ok(values)
}

/// Sends the rows of a statement to its reader.
async fn pump(mut rows: SendableRecordBatchStream, sender: mpsc::Sender<Message>, source: Arc<Source>) {
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
