//! Statements about the session, and PREPARE.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast;

use super::Inner;
use super::cursors::Cursor;
use super::planning::analyzed_columns;
use super::prepared::{Prepared, parse_type};
use super::returning::{is_returning, without_returning};
use super::transaction::{TransactionStatus, warning};
use crate::engine::query::{Query, QueryContext, Started, Tag};
use crate::engine::settings;
use crate::engine::sql::{
    self, Body, Discard, Distance, NewValue, Piece, SessionStatement, Statement, TransactionModes, fold,
};
use crate::engine::states::StatementState;
use crate::engine::storage::{RowMemory, sql_name};
use crate::engine::temporary::TemporaryTables;
use crate::error::{Error, Result, Subject};

impl Inner {
    /// Runs a statement about the session.
    pub(super) async fn run_session(
        self: &Arc<Self>,
        session: &SessionStatement,
        statement: &Statement,
        query: Arc<QueryContext>,
    ) -> Result<Started> {
        let ends = matches!(
            session,
            SessionStatement::Commit { .. }
                | SessionStatement::Rollback { .. }
                | SessionStatement::RollbackTo(_)
        );
        if !ends {
            self.transaction.ensure_works()?;
        }
        let ready =
            |words: &'static str| Query::ready(empty(), vec![], Arc::clone(&query), Tag::Words(words));
        let done = |words: &'static str| Ok(ready(words).into());
        match session {
            SessionStatement::Begin { modes, start } => {
                self.begin(modes, &query)?;
                done(if *start { "START TRANSACTION" } else { "BEGIN" })
            }
            SessionStatement::Commit { chain } => done(self.commit(*chain, &query)?),
            SessionStatement::Rollback { chain } => done(self.roll_back(*chain, &query)?),
            SessionStatement::Savepoint(name) => {
                self.transaction.ensure_block("SAVEPOINT")?;
                self.transaction.save(fold(name));
                done("SAVEPOINT")
            }
            SessionStatement::Release(name) => {
                self.transaction.ensure_block("RELEASE SAVEPOINT")?;
                self.transaction.release(&fold(name))?;
                done("RELEASE")
            }
            SessionStatement::RollbackTo(name) => {
                self.transaction.ensure_block("ROLLBACK TO SAVEPOINT")?;
                let changes = self.transaction.roll_back_to(&fold(name))?;
                warning(&changes).into_iter().for_each(|text| query.warn(text));
                done("ROLLBACK")
            }
            SessionStatement::SetTransaction { modes, session } => {
                self.set_modes(modes, *session)?;
                done("SET")
            }
            SessionStatement::Declare { name, hold, query: select } => {
                self.declare(fold(name), *hold, select, statement).await?;
                done("DECLARE CURSOR")
            }
            SessionStatement::Fetch { cursor, distance, show } => {
                self.fetch(&fold(cursor), *distance, *show, query).await.map(Started::from)
            }
            SessionStatement::Close(Some(name)) => {
                self.kept().cursors.remove(&fold(name))?;
                done("CLOSE CURSOR")
            }
            SessionStatement::Close(None) => {
                self.kept().cursors.close(true);
                done("CLOSE CURSOR ALL")
            }
            SessionStatement::Discard(what) => done(self.discard(*what)?),
            SessionStatement::Set { name, value, local } => {
                self.set(name, value, *local, &query)?;
                done("SET")
            }
            SessionStatement::Reset(name) => {
                self.reset(name.as_deref())?;
                done("RESET")
            }
            SessionStatement::Show(name) => self.show(name.as_deref(), query).map(Started::from),
            SessionStatement::Listen { on } => done(if *on { "LISTEN" } else { "UNLISTEN" }),
            SessionStatement::Notify => done("NOTIFY"),
            SessionStatement::Execute { name, values } => {
                let prepared = self.kept().prepared.get(&fold(name))?;
                let texts: Option<Vec<Option<String>>> = values.iter().map(text_of).collect();
                if let Some(texts) = texts
                    && let Some(started) = Box::pin(self.start_generic(&prepared, &texts)).await?
                {
                    return prepared.checked(started);
                }
                let bound = prepared.bind(&arguments(&prepared, values)?)?;
                prepared.plans.count_custom();
                let started = match is_returning(&bound) {
                    true => Box::pin(self.run_returning(&bound, query)).await?.into(),
                    false => Box::pin(self.run_planned(bound, query)).await?,
                };
                prepared.checked(started)
            }
            SessionStatement::Deallocate(Some(name)) => {
                self.kept().prepared.remove(&fold(name))?;
                done("DEALLOCATE")
            }
            SessionStatement::Deallocate(None) => {
                self.kept().prepared.clear();
                done("DEALLOCATE ALL")
            }
            SessionStatement::Prepare { .. } => Err(Error::internal("PREPARE is run by its own")),
        }
    }

    /// The columns that a statement about the session returns.
    fn session_columns(&self, session: &SessionStatement) -> Result<Option<SchemaRef>> {
        Ok(match session {
            SessionStatement::Show(None) => Some(text_columns(&["name", "setting", "description"])),
            SessionStatement::Show(Some(name)) => Some(text_columns(&[self.setting(name)?.0.as_str()])),
            SessionStatement::Fetch { cursor, show: true, .. } => {
                Some(Arc::clone(&self.kept().cursors.get(&fold(cursor))?.schema))
            }
            SessionStatement::Execute { name, .. } => self.kept().prepared.get(&fold(name))?.columns(),
            _ => None,
        })
    }

    fn begin(&self, modes: &TransactionModes, query: &QueryContext) -> Result<()> {
        match self.transaction.begin() {
            true => self.variables.write().begin_transaction(),
            false => query.warn("there is already a transaction in progress"),
        }
        self.set_modes(modes, false)
    }

    fn set_modes(&self, modes: &TransactionModes, session: bool) -> Result<()> {
        let prefix = if session { "default_transaction_" } else { "transaction_" };
        let mut variables = self.variables.write();
        let on_off = |on: bool| if on { "on" } else { "off" };
        let values = [
            ("isolation", modes.isolation.as_deref()),
            ("read_only", modes.read_only.map(on_off)),
            ("deferrable", modes.deferrable.map(on_off)),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                variables.set(&format!("{prefix}{name}"), Some(value), false)?;
            }
        }
        Ok(())
    }

    /// Ends the block; what was set in it, and cursors that were to outlive it, stay when it is committed.
    fn end_block(&self, committed: bool) -> (TransactionStatus, Vec<String>) {
        let committed = committed && self.transaction.status() == TransactionStatus::Active;
        self.kept().cursors.end_transaction(committed);
        self.variables.write().end_transaction(committed);
        self.transaction.end()
    }

    fn commit(&self, chain: bool, query: &QueryContext) -> Result<&'static str> {
        let (status, changes) = self.end_block(true);
        match status {
            TransactionStatus::Idle => query.warn("there is no transaction in progress"),
            TransactionStatus::Failed => warning(&changes).into_iter().for_each(|text| query.warn(text)),
            TransactionStatus::Active => {}
        }
        if chain {
            self.transaction.begin();
            self.variables.write().begin_transaction();
        }
        Ok(if status == TransactionStatus::Failed { "ROLLBACK" } else { "COMMIT" })
    }

    fn roll_back(&self, chain: bool, query: &QueryContext) -> Result<&'static str> {
        let (status, changes) = self.end_block(false);
        if status == TransactionStatus::Idle {
            query.warn("there is no transaction in progress");
        }
        warning(&changes).into_iter().for_each(|text| query.warn(text));
        if chain {
            self.transaction.begin();
            self.variables.write().begin_transaction();
        }
        Ok("ROLLBACK")
    }

    async fn declare(
        self: &Arc<Self>,
        name: String,
        hold: bool,
        select: &ast::Query,
        statement: &Statement,
    ) -> Result<()> {
        if !hold {
            self.transaction.ensure_block("DECLARE CURSOR")?;
        }
        let text = select.to_string();
        let statement = cursor_query(select, statement);
        let started = Box::pin(self.run_planned(statement, Arc::new(QueryContext::default()))).await?;
        let fresh = self.transaction.status() != TransactionStatus::Idle;
        self.kept().cursors.insert(name, Cursor::new(started.spawn(), text, hold, fresh))
    }

    async fn fetch(
        &self,
        name: &str,
        distance: Distance,
        show: bool,
        query: Arc<QueryContext>,
    ) -> Result<Query> {
        let cursor = self.kept().cursors.get(name)?;
        let schema = Arc::clone(&cursor.schema);
        if !show {
            let count = cursor.skip(distance, self.pool()).await?;
            return Ok(Query::ready(schema, vec![], query, Tag::Told("MOVE", count as u64, false)));
        }
        let mut memory = RowMemory::new("rows of FETCH", self.pool());
        let rows = cursor.fetch(distance, &mut memory, self.pool()).await?;
        let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
        let tag = Tag::Told("FETCH", count as u64, true);
        Ok(Query::ready(schema, rows, query, tag).holding(memory))
    }

    fn discard(&self, what: Discard) -> Result<&'static str> {
        if matches!(what, Discard::All | Discard::Temp)
            && let Some(tables) = self.parts().config.get_extension::<TemporaryTables>()
        {
            tables.clear();
        }
        if what == Discard::All {
            if self.transaction.status() != TransactionStatus::Idle {
                let message = "DISCARD ALL cannot run inside a transaction block";
                return Err(Error::input(Subject::Transaction, message));
            }
            let mut kept = self.kept();
            kept.cursors.close(true);
            kept.prepared.clear();
            drop(kept);
            self.reset(None)?;
        }
        Ok(match what {
            Discard::All => "DISCARD ALL",
            Discard::Plans => "DISCARD PLANS",
            Discard::Sequences => "DISCARD SEQUENCES",
            Discard::Temp => "DISCARD TEMP",
        })
    }

    fn set(&self, name: &str, value: &NewValue, local: bool, query: &QueryContext) -> Result<()> {
        if local && self.transaction.status() == TransactionStatus::Idle {
            query.warn("SET LOCAL can only be used in transaction blocks");
            return Ok(());
        }
        let text = match value {
            NewValue::Text(text) => Some(text.as_str()),
            NewValue::Default => None,
        };
        match name {
            "role" => return self.set_role(text.filter(|role| *role != "none"), local),
            "session_authorization" => return self.keep_authorization(text),
            _ => {}
        }
        match (settings::is_datafusion(name), text) {
            (false, text) => self.variables.write().set(name, text, local)?,
            (true, Some(text)) => {
                settings::check_name(self.parts().config.options(), name)?;
                self.configure(|options| options.set(name, text))?;
            }
            (true, None) => return self.reset(Some(name)),
        }
        Ok(())
    }

    /// The session's zone, where DataFusion looks for it, when a setting has changed since the last statement.
    pub(super) fn apply_time_zone(&self) {
        let changes = self.variables.changes();
        if self.zone_at.swap(changes, Ordering::AcqRel) == changes {
            return;
        }
        let zone = self.variables.read().value("TimeZone");
        let known = self.parts().config.options().execution.time_zone.as_deref() == Some(zone.as_str());
        if !known {
            self.configure(|options| options.execution.time_zone = Some(zone));
        }
    }

    /// SET ROLE; `None` is the role of the login again.
    fn set_role(&self, role: Option<&str>, local: bool) -> Result<()> {
        if local {
            return Err(Error::unsupported("SET LOCAL ROLE is not supported")
                .with_hint("SET ROLE holds until RESET ROLE"));
        }
        self.actor.set_role(role, &*self.engine.catalog.contents()?)?;
        let superuser = self.actor.rights(&self.engine.catalog)?.is_superuser();
        let mut variables = self.variables.write();
        variables.set_default("role", role.unwrap_or("none"));
        variables.set_default("is_superuser", if superuser { "on" } else { "off" });
        Ok(())
    }

    /// SET SESSION AUTHORIZATION: only to what it is.
    fn keep_authorization(&self, role: Option<&str>) -> Result<()> {
        let own = self.variables.read().value("session_authorization");
        if role.is_some_and(|role| role != own) {
            let error = Error::unsupported("SET SESSION AUTHORIZATION to another role is not supported");
            return Err(error.with_hint("SET ROLE acts for another role"));
        }
        Ok(())
    }

    fn reset(&self, name: Option<&str>) -> Result<()> {
        match name {
            None => {
                self.variables.write().reset_all();
                self.set_role(None, false)?;
            }
            Some("role") => self.set_role(None, false)?,
            Some("session_authorization") => {}
            Some(name) if settings::is_datafusion(name) => {
                let default = settings::datafusion_default(self.parts().config.options(), name)?;
                self.configure(|options| options.set(name, &default))?;
            }
            Some(name) => self.variables.write().set(name, None, false)?,
        }
        Ok(())
    }

    /// The name of a setting as it is written, and its value.
    fn setting(&self, name: &str) -> Result<(String, String)> {
        if settings::is_datafusion(name) {
            return Ok((name.to_owned(), settings::datafusion_value(self.parts().config.options(), name)?));
        }
        self.variables.read().show(name)
    }

    fn show(&self, name: Option<&str>, query: Arc<QueryContext>) -> Result<Query> {
        let rows: Vec<Vec<String>> = match name {
            Some(name) => vec![vec![self.setting(name)?.1]],
            None => {
                let all = self.variables.read().list();
                all.into_iter().map(|(name, value, text)| vec![name, value, text.to_owned()]).collect()
            }
        };
        let columns =
            self.session_columns(&SessionStatement::Show(name.map(str::to_owned)))?.unwrap_or_else(empty);
        let column =
            |n: usize| Arc::new(rows.iter().map(|row| Some(row[n].as_str())).collect::<StringArray>()) as _;
        let arrays = (0..columns.fields().len()).map(column).collect();
        let batch =
            RecordBatch::try_new(Arc::clone(&columns), arrays).map_err(|e| Error::internal(e.to_string()))?;
        Ok(Query::ready(columns, vec![batch], query, Tag::Told("SHOW", 0, true)))
    }

    /// Keeps the statement of a PREPARE.
    pub(super) async fn run_prepare(
        self: &Arc<Self>,
        statement: Statement,
        query: Arc<QueryContext>,
    ) -> Result<Query> {
        let Body::Prepare { name, types, body } = statement.body else {
            return Err(Error::internal("not a PREPARE"));
        };
        let types: Vec<_> = types.into_iter().map(Some).collect();
        let inner = Statement { body: *body, trains: statement.trains, source: statement.source };
        let prepared = Box::pin(self.prepare_statement(inner, &types)).await?;
        self.kept().prepared.insert(&name, Arc::new(prepared), self.pool())?;
        Ok(Query::ready(empty(), vec![], query, Tag::Words("PREPARE")))
    }

    /// Parses a statement and types its parameters.
    pub(super) async fn prepare(
        self: &Arc<Self>,
        piece: &Piece,
        types: &[Option<String>],
    ) -> Result<Prepared> {
        if piece.text.trim().is_empty() {
            return Ok(Prepared::empty());
        }
        let named = types.iter().map(|name| name.as_deref().map(parse_type).transpose());
        let prepared = match (self.parse(piece), named.collect::<Result<Vec<_>>>()) {
            (Ok(statement), Ok(types)) => Box::pin(self.prepare_given(statement, types)).await,
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        prepared.map_err(|error| self.failed(error))
    }

    /// Parameters of the type void stand for nothing.
    async fn prepare_given(
        self: &Arc<Self>,
        mut statement: Statement,
        mut types: Vec<Option<ast::DataType>>,
    ) -> Result<Prepared> {
        if types.iter().flatten().any(sql::is_void) {
            statement = sql::without_void(&statement, &types);
            types.iter_mut().filter(|t| t.as_ref().is_some_and(sql::is_void)).for_each(|t| *t = None);
        }
        self.prepare_statement(statement, &types).await
    }

    async fn prepare_statement(
        self: &Arc<Self>,
        statement: Statement,
        given: &[Option<ast::DataType>],
    ) -> Result<Prepared> {
        if let Body::Session(session) = &statement.body {
            let columns = self.session_columns(session)?;
            let types = match session.as_ref() {
                SessionStatement::Declare { query, .. } => {
                    self.transaction.ensure_works()?;
                    self.parameter_types(&cursor_query(query, &statement), given).await?
                }
                _ => vec![],
            };
            let types = types.into_iter().map(|t| t.unwrap_or(sql::UNKNOWN)).collect();
            return Ok(Prepared::new(statement, types, columns));
        }
        self.transaction.ensure_works()?;
        if let Body::Prepare { .. } = &statement.body {
            return Ok(Prepared::new(statement, vec![], None));
        }
        let types = self.parameter_types(&statement, given).await?;
        let columns = self.columns(sql::typed(&statement, &types)).await?;
        let types = types.into_iter().map(|t| t.unwrap_or(sql::UNKNOWN)).collect();
        Ok(Prepared::new(statement, types, columns))
    }

    async fn parameter_types(
        &self,
        statement: &Statement,
        given: &[Option<ast::DataType>],
    ) -> Result<Vec<Option<ast::DataType>>> {
        let told = sql::types_in_text(statement, given)?;
        match told.iter().all(Option::is_some) {
            true => Ok(told),
            false => self.inferred(statement, told).await,
        }
    }

    /// The types of all parameters: what the text does not tell is inferred from where they stand, else text.
    async fn inferred(
        &self,
        statement: &Statement,
        mut types: Vec<Option<ast::DataType>>,
    ) -> Result<Vec<Option<ast::DataType>>> {
        let (statement, arrays) = sql::elements_for_arrays(statement);
        let plan = self.plan_typed(without_returning(sql::typed(&statement, &types))).await?;
        let found = plan.get_parameter_types().map_err(Error::from)?;
        for (n, slot) in types.iter_mut().enumerate() {
            if slot.is_none() {
                let inferred = found.get(&format!("${}", n + 1)).and_then(Option::as_ref);
                let array = if arrays.contains(&n) { "[]" } else { "" };
                let name = match inferred {
                    Some(DataType::Null) | None => sql::UNKNOWN.to_string(),
                    Some(data_type) => sql_name(data_type),
                };
                *slot = Some(parse_type(&format!("{name}{array}")).unwrap_or(sql::UNKNOWN));
            }
        }
        Ok(types)
    }

    async fn plan_typed(&self, statement: Statement) -> Result<datafusion::logical_expr::LogicalPlan> {
        let (state, source) = self.planning_state(&statement);
        let planned = self.plan(&state, statement).await.map_err(|e| e.located(&source))?;
        Ok(planned.plan)
    }

    /// The columns of the rows of a statement whose parameters are typed.
    async fn columns(&self, statement: Statement) -> Result<Option<SchemaRef>> {
        if is_returning(&statement) {
            return self.returning_columns(&statement).await;
        }
        let (state, source) = self.planning_state(&statement);
        let planned = self.plan(&state, statement).await.map_err(|e| e.located(&source))?;
        let rows = planned.tag.has_rows() && planned.copy.is_none();
        rows.then(|| self.with_origins(analyzed_columns(&state, &planned.plan), &planned.origins)).transpose()
    }

    pub(super) fn planning_state(&self, statement: &Statement) -> (StatementState, Arc<sql::Source>) {
        let query = Arc::new(QueryContext::default());
        let scope = self.scope(&query, statement.trains.clone(), &statement.source);
        (scope.state(), Arc::clone(&statement.source))
    }
}

/// The query of DECLARE as a statement of its own.
fn cursor_query(query: &ast::Query, declare: &Statement) -> Statement {
    let body = ast::Statement::Query(Box::new(query.clone()));
    let body = Body::Sql(Box::new(DfStatement::Statement(Box::new(body))));
    Statement { body, ..declare.clone() }
}

fn empty() -> SchemaRef {
    Arc::new(Schema::empty())
}

fn text_columns(names: &[&str]) -> SchemaRef {
    let fields = names.iter().map(|name| Field::new(*name, DataType::Utf8, false));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The values of EXECUTE as expressions of the parameters' types.
fn arguments(prepared: &Prepared, values: &[ast::Expr]) -> Result<Vec<ast::Expr>> {
    if values.len() != prepared.types.len() {
        let message = format!(
            "wrong number of parameters for the prepared statement: {} expected, {} given",
            prepared.types.len(),
            values.len()
        );
        return Err(Error::input(Subject::Parameter, message));
    }
    let typed = values.iter().zip(&prepared.types).map(|(value, data_type)| match text_of(value) {
        Some(text) => sql::literal(text.as_deref(), data_type),
        None => Ok(sql::cast(value.clone(), data_type.clone())),
    });
    typed.collect()
}

/// The text of a literal, `Some(None)` for NULL; `None` for other expressions.
fn text_of(value: &ast::Expr) -> Option<Option<String>> {
    match value {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Null => Some(None),
            ast::Value::Number(digits, _) => Some(Some(digits.clone())),
            ast::Value::Boolean(value) => Some(Some(value.to_string())),
            ast::Value::SingleQuotedString(text) => Some(Some(text.clone())),
            _ => None,
        },
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => {
            text_of(expr)?.map(|text| Some(format!("-{text}")))
        }
        _ => None,
    }
}
