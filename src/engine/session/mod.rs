//! One connection: its settings, its prepared statements, and the path of every statement.

mod cursors;
mod defaults;
mod execution;
mod explained;
mod generic;
mod planning;
mod prepared;
mod returning;
mod statements;
mod stoppable;
mod template;
mod transaction;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak};

use async_trait::async_trait;
use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::{ColumnarValue, LogicalPlan, ScalarFunctionArgs};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::engine::access::{Actor, FileAccess};
use crate::engine::activity::SessionActivity;
use crate::engine::controlled::controlled;
use crate::engine::functions::SeededNumbers;
use crate::engine::pg_catalog::Surroundings;
use crate::engine::plan::Scope;
use crate::engine::query::{Query, QueryContext, Started};
use crate::engine::schemas::{PreparedStatement, SessionParts, ViewPlanner};
use crate::engine::settings::SharedVariables;
use crate::engine::shared::Engine;
use crate::engine::sql::{self, Body, Piece, Source, Statement};
use crate::engine::states::StatementState;
use crate::engine::storage::{Contents, HeldVersions, TableName};
use crate::engine::temporary::TemporaryTables;
use crate::engine::words::{self, Words};
use crate::error::{Error, Result, Subject, qualified_identifier};
use crate::ml::Control;

use cursors::Cursors;
use generic::PlanCounts;
use prepared::PreparedStatements;
use template::new_config;

pub use prepared::Prepared;
pub use template::template;
pub(super) use transaction::Transaction;
pub use transaction::{TransactionStatus, failure_warning};

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
    /// Stops the statement that was started last.
    latest: Mutex<Arc<Control>>,
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
            config.options_mut().extensions.insert(SeededNumbers::default());
            config.set_extension(temporary);
            config.set_extension(Arc::clone(&actor));
            if let Some((_, files)) = client {
                config.set_extension(Arc::clone(files));
            }
            let parts = RwLock::new(SessionParts::new(config, around));
            let (transaction, kept, zone_at, latest) = <_>::default();
            Inner { engine, parts, variables, actor, transaction, kept, zone_at, latest }
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
            (0, _) => Err(Error::input(Subject::Syntax, "the statement is empty")),
            (n, _) => Err(Error::input(Subject::Syntax, format!("expected one statement, got {n}"))
                .with_hint("split the text, and run its statements one by one")),
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
    pub async fn execute_prepared(&self, prepared: &Prepared, values: Vec<Option<String>>) -> Result<Query> {
        if prepared.types.is_empty()
            && values.is_empty()
            && let Some(query) = self.inner.constant(prepared.text())?
        {
            return Ok(query);
        }
        let (inner, prepared) = (Arc::clone(&self.inner), prepared.clone());
        self.start(async move { inner.start_prepared(&prepared, &values).await }).await
    }

    /// Keeps a prepared statement under a name, for EXECUTE and for later executions.
    pub fn keep_prepared(&self, name: &str, prepared: Arc<Prepared>) -> Result<()> {
        self.inner.kept().prepared.insert(name, prepared, self.inner.pool())
    }

    /// The prepared statement of this name.
    pub fn prepared(&self, name: &str) -> Result<Arc<Prepared>> {
        self.inner.kept().prepared.get(name)
    }

    /// Forgets a prepared statement, when there is one of this name.
    pub fn forget_prepared(&self, name: &str) {
        let _ = self.inner.kept().prepared.remove(name);
    }

    /// Takes the memory of what a statement keeps until its reader comes back; fails where there is not as much.
    pub fn suspend(&self, query: &mut Query) -> Result<()> {
        query.suspend(self.inner.pool())
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

    /// Runs work on the query runtime; dropping the future, or the end of the statement's time, stops it.
    async fn on_query_thread<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let control = self.control();
        let task = self.inner.engine.runtimes.handle().spawn(controlled(Arc::clone(&control), work));
        let _guard = StopOnDrop(Some((task.abort_handle(), Arc::clone(&control))));
        let planned =
            async { task.await.unwrap_or_else(|e| Err(Error::internal(format!("planning stopped: {e}")))) };
        self.in_time(&control, planned).await
    }

    /// What stops a statement that begins now.
    fn control(&self) -> Arc<Control> {
        let variables = self.inner.variables.read();
        let control = Control::default().with_lock_timeout(variables.time("lock_timeout"));
        control.set_deadline(variables.deadline());
        Arc::new(control)
    }

    /// What comes first: the end of the planning, or of the time that it has; a change whose commit has begun has more.
    async fn in_time<T>(&self, control: &Control, planning: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(deadline) = control.deadline() else { return planning.await };
        let clock = self.inner.engine.runtimes.clock();
        let mut late = clock.spawn(async move { tokio::time::sleep_until(deadline.into()).await });
        let _guard = StopOnDrop(Some((late.abort_handle(), Arc::default())));
        let mut planning = std::pin::pin!(planning);
        tokio::select! {
            biased;
            planned = &mut planning => planned,
            _ = &mut late => {
                let stopped = control.check();
                if !control.cancel() {
                    return planning.await;
                }
                stopped?;
                Err(Error::cancelled("canceling statement due to statement timeout"))
            }
        }
    }

    /// Stops the statement that was started last; false where it has begun a commit, which comes to its end.
    pub fn stop_started(&self) -> bool {
        self.inner.latest().cancel()
    }

    /// Plans a statement on the query runtime, and goes on there to make its rows.
    async fn start(&self, starting: impl Future<Output = Result<Started>> + Send + 'static) -> Result<Query> {
        let (sender, receiver) = oneshot::channel();
        let control = self.control();
        *self.inner.latest() = Arc::clone(&control);
        let work = async move {
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
        };
        let task = self.inner.engine.runtimes.handle().spawn(controlled(Arc::clone(&control), work));
        let mut guard = StopOnDrop(Some((task.abort_handle(), Arc::clone(&control))));
        let started = async { receiver.await.unwrap_or_else(|_| Err(Error::internal("planning stopped"))) };
        let query = self.in_time(&control, started).await?;
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

/// Stops a task, and the planning that it may be at, unless it came to its end or has begun a commit.
struct StopOnDrop(Option<(AbortHandle, Arc<Control>)>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some((task, control)) = &self.0
            && control.cancel()
        {
            task.abort();
        }
    }
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
            held: HeldVersions::of_planned(),
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

    fn latest(&self) -> MutexGuard<'_, Arc<Control>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The memory that statements share.
    fn pool(&self) -> &Arc<dyn MemoryPool> {
        &self.engine.states.template().runtime_env().memory_pool
    }

    /// One parsed statement, its names with schemas where the session's search path says so.
    fn parse(&self, piece: &Piece) -> Result<Statement> {
        self.apply_time_zone();
        let parts = self.parts();
        sql::parse_one(piece, &self.names(), |statement| {
            parts.with_path(|path| path.qualify(statement))?;
            sql::write_out_natural(statement, &|name| parts.columns_of(name));
            Ok(())
        })
    }

    /// Starts a statement; a failure fails the transaction.
    async fn start(self: &Arc<Self>, piece: &Piece) -> Result<Started> {
        match self.parse(piece) {
            Ok(statement) => self.start_parsed(statement, Some(&piece.text)).await,
            Err(error) => Err(self.failed(error)),
        }
    }

    /// As [`Inner::start`], of a prepared statement.
    async fn start_prepared(
        self: &Arc<Self>,
        prepared: &Prepared,
        texts: &[Option<String>],
    ) -> Result<Started> {
        let _memory = prepared.memory_of(texts, self.pool()).map_err(|e| self.failed(e))?;
        if let Some(started) =
            Box::pin(self.start_generic(prepared, texts)).await.map_err(|e| self.failed(e))?
        {
            return prepared.checked(started).map_err(|e| self.failed(e));
        }
        let statement = prepared.values(texts).and_then(|values| prepared.bind(&values));
        let text = Some(prepared.text()).filter(|_| prepared.types.is_empty());
        prepared.plans.count_custom();
        let started = self.start_parsed(statement.map_err(|e| self.failed(e))?, text).await?;
        prepared.checked(started).map_err(|e| self.failed(e))
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
        let query = Arc::new(QueryContext::of_current());
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
            "table" => {
                words::table_names(&self.engine).iter().map(|name| qualified_identifier(name)).collect()
            }
            "function" => words::function_names(self.engine.states.template()),
            "table function" => words::TABLE_FUNCTIONS.iter().map(|f| f.name.to_owned()).collect(),
            _ => return error,
        };
        error.with_suggestion(word, names.iter().map(String::as_str))
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
}

#[async_trait]
impl ViewPlanner for Inner {
    async fn plan_view(&self, name: &TableName, sql: &str, actor: &Arc<Actor>) -> DfResult<LogicalPlan> {
        let piece = Piece { text: sql.to_owned(), offset: 0 };
        let broken = |e: Error| e.with_context(format!("view {name}")).into();
        let statement = sql::parse_one(&piece, &self.names(), |_| Ok(())).map_err(broken)?;
        let Body::Sql(body) = statement.body else {
            return Err(broken(Error::corrupt(Subject::Table, "its text is not a query")));
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

    fn prepared_statements(&self) -> Vec<PreparedStatement> {
        let all = self.kept().prepared.list().into_iter();
        all.map(|(name, prepared)| {
            let (text, parameters) = (prepared.text().to_owned(), prepared.parameters());
            let PlanCounts { generic, custom } = prepared.plans.counts();
            PreparedStatement { name, text, parameters, generic_plans: generic, custom_plans: custom }
        })
        .collect()
    }

    fn cursors(&self) -> Vec<(String, String, bool)> {
        let all = self.kept().cursors.list().into_iter();
        all.map(|(name, cursor)| (name, cursor.text.clone(), cursor.hold)).collect()
    }
}
