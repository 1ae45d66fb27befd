//! RETURNING: the rows of an INSERT are made once, stored, and given back; UPDATE and DELETE give back what
//! they changed.

use std::pin::pin;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::dml::DmlStatement;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::parser::{ExplainStatement, Statement as DfStatement};
use datafusion::sql::sqlparser::ast::{self, FromTable, Ident, ObjectName, SelectItem, SetExpr, TableFactor};
use futures::TryStreamExt;

use super::Inner;
use super::execution::{run_subqueries, start};
use super::planning::{Planned, plan_schema};
use crate::engine::access::Guard;
use crate::engine::fault;
use crate::engine::plan::{authorized, stored_table, with_repairs};
use crate::engine::query::{Query, QueryContext, Tag};
use crate::engine::sql::{self, Body, Source, Statement};
use crate::engine::storage::{HeldVersions, Privilege, ReturnedRows, RowMemory};
use crate::engine::temporary::{TemporaryDefinition, TemporaryTables};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::ml::Control;

/// What RETURNING asks for.
struct Returning {
    /// The statement without it.
    statement: Statement,
    /// Its word.
    verb: &'static str,
    items: Vec<SelectItem>,
    /// What its columns may be written after.
    label: Ident,
}

/// The RETURNING of a statement.
fn clause(statement: &ast::Statement) -> Option<&Vec<SelectItem>> {
    match statement {
        ast::Statement::Insert(insert) => insert.returning.as_ref(),
        ast::Statement::Update(update) => update.returning.as_ref(),
        ast::Statement::Delete(delete) => delete.returning.as_ref(),
        _ => None,
    }
}

fn sql_of(statement: &Statement) -> Option<&ast::Statement> {
    let Body::Sql(body) = &statement.body else { return None };
    let DfStatement::Statement(inner) = body.as_ref() else { return None };
    Some(inner)
}

/// True for a change with RETURNING.
pub fn is_returning(statement: &Statement) -> bool {
    sql_of(statement).is_some_and(|inner| clause(inner).is_some())
}

/// The statement without RETURNING.
pub fn without_returning(statement: Statement) -> Statement {
    match returning(&statement) {
        Some(parts) => parts.statement,
        None => statement,
    }
}

/// An EXPLAIN of a change with RETURNING, and that change.
fn explained(statement: &Statement) -> Option<(&ExplainStatement, Statement)> {
    let Body::Sql(body) = &statement.body else { return None };
    let DfStatement::Explain(explain) = body.as_ref() else { return None };
    let change = Statement { body: Body::Sql(explain.statement.clone()), ..statement.clone() };
    is_returning(&change).then_some((explain, change))
}

/// The parts of a change with RETURNING.
fn returning(statement: &Statement) -> Option<Returning> {
    let inner = sql_of(statement)?;
    let items = clause(inner)?.clone();
    let mut bare = inner.clone();
    let (verb, label) = match &mut bare {
        ast::Statement::Insert(insert) => {
            insert.returning = None;
            ("INSERT", inserted_name(insert)?)
        }
        ast::Statement::Update(update) => {
            update.returning = None;
            ("UPDATE", name_of(&update.table.relation)?)
        }
        ast::Statement::Delete(delete) => {
            delete.returning = None;
            let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
            ("DELETE", name_of(&from.first()?.relation)?)
        }
        _ => return None,
    };
    let body = Body::Sql(Box::new(DfStatement::Statement(Box::new(bare))));
    Some(Returning { statement: Statement { body, ..statement.clone() }, verb, items, label })
}

fn inserted_name(insert: &ast::Insert) -> Option<Ident> {
    let ast::TableObject::TableName(name) = &insert.table else { return None };
    name.0.last()?.as_ident().cloned()
}

/// What the columns of a table may be written after: its alias or its name.
fn name_of(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } => Some(alias.name.clone()),
        TableFactor::Table { name, .. } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}

impl Inner {
    /// Makes a change and returns what RETURNING makes of the rows it is about.
    pub(super) async fn run_returning(
        &self,
        statement: &Statement,
        query: Arc<QueryContext>,
    ) -> Result<Query> {
        let Some(parts) = returning(statement) else { return Err(Error::internal("no RETURNING")) };
        let verb = parts.verb;
        if self.is_read_only() {
            let message = format!("cannot execute {verb} in a read-only transaction");
            return Err(Error::new(ErrorKind::Denied, Subject::Transaction, message));
        }
        let source = &statement.source;
        let scope = self.scope(&query, vec![], source);
        let planning = self.plan_to_run(&scope, parts.statement.clone());
        let (mut state, planned) = planning.await.map_err(|e| e.located(source))?;
        let dml = self.dml(planned)?;
        let mut memory = RowMemory::new("rows of RETURNING", &state.runtime_env().memory_pool);
        let Changed { rows, schema, answer } = match verb {
            "INSERT" => self.insert(&state, &parts, dml, &query.control, &mut memory).await?,
            _ => self.change(&mut state, &parts, dml, &query.control, &mut memory).await?,
        };
        memory.keep_only(&answer);
        let words = if verb == "INSERT" { "INSERT 0" } else { verb };
        let query = Query::ready(schema, answer, query, Tag::Told(words, rows, true));
        Ok(query.holding(memory).after_change(verb))
    }

    /// Makes the rows of an INSERT and the answer, then stores the rows: an answer that fails must change nothing.
    async fn insert(
        &self,
        state: &SessionState,
        parts: &Returning,
        dml: DmlStatement,
        control: &Arc<Control>,
        memory: &mut RowMemory,
    ) -> Result<Changed> {
        let source = &parts.statement.source;
        let schema = Arc::clone(dml.input.schema().inner());
        let input = dml.input.as_ref().clone();
        let rows = collect(state, input, source, control, Some(&mut *memory)).await?;
        // What may be NULL is told otherwise by rows than by their plan.
        let told = |batch: RecordBatch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec());
        let rows =
            rows.into_iter().map(told).collect::<Result<Vec<_>, _>>().map_err(DataFusionError::from)?;
        let plan = self.select(state, parts, Arc::clone(&schema), rows.clone()).await?;
        let answer_schema = plan_schema(&plan, plan.schema().inner());
        let answer = collect(state, plan, source, control, Some(memory)).await?;
        let count = row_count(&rows);
        let table = MemTable::try_new(schema, vec![rows])?;
        let stored =
            LogicalPlanBuilder::scan("inserted", provider_as_source(Arc::new(table)), None)?.build()?;
        let dml = DmlStatement { input: Arc::new(stored), ..dml };
        collect(state, LogicalPlan::Dml(dml), source, control, None).await?;
        self.transaction.changed(parts.verb);
        Ok(Changed { rows: count, schema: answer_schema, answer })
    }

    /// Changes or deletes rows, which the table gives back: new values of an UPDATE, old ones of a DELETE. The answer is
    /// made of them before the change is committed.
    async fn change(
        &self,
        state: &mut SessionState,
        parts: &Returning,
        dml: DmlStatement,
        control: &Arc<Control>,
        memory: &mut RowMemory,
    ) -> Result<Changed> {
        if stored_table(&dml.target).is_none() {
            let message = format!("{} … RETURNING of a temporary table is not supported", parts.verb);
            return Err(Error::unsupported(message).with_hint("SELECT the rows before or after the change"));
        }
        let schema = dml.target.schema();
        // What is wrong in RETURNING is told before rows are looked for.
        self.select(state, parts, Arc::clone(&schema), vec![]).await?;
        let source = &parts.statement.source;
        let returned = Arc::new(ReturnedRows::new(&state.runtime_env().memory_pool));
        state.config_mut().set_extension(Arc::clone(&returned));
        let mut change = pin!(collect(state, LogicalPlan::Dml(dml), source, control, None));
        let waits = tokio::select! {
            biased;
            // Where no row can match, nothing is changed.
            changed = &mut change => {
                changed?;
                false
            }
            () = returned.complete() => true,
        };
        let rows = returned.take(&schema)?;
        let count = row_count(&rows);
        let plan = self.select(state, parts, schema, rows).await?;
        let schema = plan_schema(&plan, plan.schema().inner());
        let answer = collect(state, plan, source, control, Some(memory)).await?;
        if waits {
            returned.seen();
            change.await?;
        }
        self.transaction.changed(parts.verb);
        Ok(Changed { rows: count, schema, answer })
    }

    /// The statement, without RETURNING where it explains a change: that shows nothing of it, but it must be right.
    pub(super) async fn without_explained_returning(&self, statement: Statement) -> Result<Statement> {
        let Some((explain, change)) = explained(&statement) else { return Ok(statement) };
        Box::pin(self.returning_columns(&change)).await?;
        let Body::Sql(change) = without_returning(change).body else {
            return Err(Error::internal("a change has an unexpected form"));
        };
        let body = DfStatement::Explain(ExplainStatement { statement: change, ..explain.clone() });
        Ok(Statement { body: Body::Sql(Box::new(body)), ..statement })
    }

    /// The columns that RETURNING gives.
    pub(super) async fn returning_columns(&self, statement: &Statement) -> Result<Option<SchemaRef>> {
        let Some(parts) = returning(statement) else { return Ok(None) };
        let query = Arc::new(QueryContext::default());
        let state = self.scope(&query, vec![], &statement.source).state();
        let planned = self.plan(&state, parts.statement.clone()).await;
        let dml = self.dml(planned.map_err(|e| e.located(&statement.source))?)?;
        let schema = match parts.verb {
            "INSERT" => Arc::clone(dml.input.schema().inner()),
            _ => dml.target.schema(),
        };
        let plan = self.select(&state, &parts, schema, vec![]).await?;
        Ok(Some(plan_schema(&plan, plan.schema().inner())))
    }

    /// `SELECT items FROM rows AS label`.
    async fn select(
        &self,
        state: &SessionState,
        parts: &Returning,
        schema: SchemaRef,
        rows: Vec<RecordBatch>,
    ) -> Result<LogicalPlan> {
        let gone = || Error::internal("the session has no temporary tables");
        let tables = TemporaryTables::of(state).ok_or_else(gone)?;
        let name = format!("returning {}", uuid::Uuid::new_v4().simple());
        // Whoever has collected the rows holds them.
        let memory = TemporaryTables::memory(&state.runtime_env().memory_pool);
        let ident = Ident::with_quote('"', &name);
        let mut factor = sql::table(ObjectName::from(vec![ident]));
        if let TableFactor::Table { alias, .. } = &mut factor {
            let label = parts.label.clone();
            *alias = Some(ast::TableAlias { explicit: true, name: label, columns: vec![], at: None });
        }
        let mut query = sql::select_from(factor, None);
        if let SetExpr::Select(select) = query.body.as_mut() {
            select.projection = parts.items.clone();
        }
        sql::repair(&mut query)?;
        tables.create(&name, schema, rows, memory, TemporaryDefinition::default())?;
        let statement = DfStatement::Statement(Box::new(ast::Statement::Query(Box::new(query))));
        let planned = HeldVersions::of(state.config()).planning(state.statement_to_plan(statement)).await;
        tables.drop_table(&name)?;
        Ok(with_repairs(authorized(&self.engine, &self.actor, planned?)?, state)?)
    }

    /// The change of a plan without RETURNING, which needs the right to read as well.
    fn dml(&self, planned: Planned) -> Result<DmlStatement> {
        match planned.plan {
            LogicalPlan::Dml(dml) => {
                let guard = Guard::new(&self.engine, &self.actor)?;
                if let Some(name) = stored_table(&dml.target) {
                    guard.entry(&name, Privilege::Select)?;
                }
                Ok(dml)
            }
            _ => Err(Error::internal("a change has an unexpected plan")),
        }
    }
}

/// How many rows were changed, and the answer.
struct Changed {
    rows: u64,
    schema: SchemaRef,
    answer: Vec<RecordBatch>,
}

fn row_count(rows: &[RecordBatch]) -> u64 {
    rows.iter().map(|batch| batch.num_rows() as u64).sum()
}

/// All rows of a plan, held by `memory` where it is given.
async fn collect(
    state: &SessionState,
    plan: LogicalPlan,
    source: &Source,
    control: &Arc<Control>,
    memory: Option<&mut RowMemory>,
) -> Result<Vec<RecordBatch>> {
    let located = |e: datafusion::error::DataFusionError| fault::located(&e, source);
    let plan = run_subqueries(state, plan, control).await.map_err(located)?;
    let rows = start(state, &plan, control).await.map_err(located)?;
    match memory {
        Some(memory) => memory.collect(rows).await.map_err(located),
        None => rows.try_collect().await.map_err(located),
    }
}
