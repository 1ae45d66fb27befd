//! `INSERT … RETURNING`: the rows are made once, stored, and given back.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::dml::DmlStatement;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName, SelectItem, SetExpr, TableFactor};
use futures::TryStreamExt;

use super::{Inner, plan_schema, run_subqueries, start};
use crate::engine::access::Guard;
use crate::engine::fault;
use crate::engine::plan::{authorized, stored_table};
use crate::engine::query::{Query, QueryContext, Tag};
use crate::engine::sql::{self, Body, Source, Statement};
use crate::engine::storage::Privilege;
use crate::engine::temporary::TemporaryTables;
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::ml::Control;

/// What RETURNING asks for.
struct Returning {
    /// The INSERT without it.
    insert: ast::Insert,
    items: Vec<SelectItem>,
    /// What its columns may be written after.
    label: Ident,
}

/// The parts of an INSERT with RETURNING.
fn returning(statement: &Statement) -> Option<Returning> {
    let Body::Sql(body) = &statement.body else { return None };
    let DfStatement::Statement(inner) = body.as_ref() else { return None };
    let ast::Statement::Insert(insert) = inner.as_ref() else { return None };
    let mut insert = insert.clone();
    let items = insert.returning.take()?;
    let ast::TableObject::TableName(name) = &insert.table else { return None };
    let label = name.0.last()?.as_ident()?.clone();
    Some(Returning { insert, items, label })
}

/// The INSERT without RETURNING; other statements as they are.
pub fn without_returning(statement: Statement) -> Statement {
    match returning(&statement) {
        Some(parts) => {
            let insert = DfStatement::Statement(Box::new(ast::Statement::Insert(parts.insert)));
            Statement { body: Body::Sql(Box::new(insert)), ..statement }
        }
        None => statement,
    }
}

/// True for an INSERT with RETURNING.
pub fn is_returning(statement: &Statement) -> bool {
    returning(statement).is_some()
}

impl Inner {
    /// Stores the rows of an INSERT and returns what RETURNING makes of them.
    pub(super) async fn run_returning(
        &self,
        statement: &Statement,
        query: Arc<QueryContext>,
    ) -> Result<Query> {
        let Some(parts) = returning(statement) else { return Err(Error::internal("no RETURNING")) };
        if self.is_read_only() {
            let message = "cannot execute INSERT in a read-only transaction";
            return Err(Error::new(ErrorKind::Denied, Subject::Transaction, message));
        }
        let source = &statement.source;
        let scope = self.scope(&query, vec![], source);
        let state = scope.state();
        let dml = self.insert_plan(&state, &parts, source).await?;
        let schema = Arc::clone(dml.input.schema().inner());
        let collect = |plan: LogicalPlan| collect(&state, plan, source, &query.control);
        let rows = collect(dml.input.as_ref().clone()).await?;
        let plan = self.select(&state, &parts, Arc::clone(&schema), rows.clone()).await?;
        let inserted = rows.iter().map(RecordBatch::num_rows).sum::<usize>() as u64;
        let table = MemTable::try_new(schema, vec![rows])?;
        let stored =
            LogicalPlanBuilder::scan("inserted", provider_as_source(Arc::new(table)), None)?.build()?;
        let dml = DmlStatement { input: Arc::new(stored), ..dml };
        collect(LogicalPlan::Dml(dml)).await?;
        self.transaction.changed("INSERT");
        let columns = plan_schema(&plan, plan.schema().inner());
        let answer = collect(plan).await?;
        Ok(Query::ready(columns, answer, query, Tag::Told("INSERT 0", inserted, true)))
    }

    /// The columns that RETURNING gives.
    pub(super) async fn returning_columns(&self, statement: &Statement) -> Result<Option<SchemaRef>> {
        let Some(parts) = returning(statement) else { return Ok(None) };
        let query = Arc::new(QueryContext::default());
        let state = self.scope(&query, vec![], &statement.source).state();
        let dml = self.insert_plan(&state, &parts, &statement.source).await?;
        let schema = Arc::clone(dml.input.schema().inner());
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
        tables.create(&name, schema, rows, false)?;
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
        sql::repair(&mut query);
        let statement = DfStatement::Statement(Box::new(ast::Statement::Query(Box::new(query))));
        let planned = state.statement_to_plan(statement).await;
        tables.drop_table(&name)?;
        Ok(authorized(&self.engine, &self.actor, planned?)?)
    }

    /// The INSERT without its RETURNING, which needs the right to read as well.
    async fn insert_plan(
        &self,
        state: &SessionState,
        parts: &Returning,
        source: &Source,
    ) -> Result<DmlStatement> {
        let statement = ast::Statement::Insert(parts.insert.clone());
        let statement = DfStatement::Statement(Box::new(statement));
        let plan = state.statement_to_plan(statement).await.map_err(|e| fault::located(&e, source))?;
        match authorized(&self.engine, &self.actor, plan)? {
            LogicalPlan::Dml(dml) => {
                let guard = Guard::new(&self.engine, &self.actor)?;
                if let Some(name) = stored_table(&dml.target) {
                    guard.entry(&name, Privilege::Select)?;
                }
                Ok(dml)
            }
            _ => Err(Error::internal("INSERT has an unexpected plan")),
        }
    }
}

async fn collect(
    state: &SessionState,
    plan: LogicalPlan,
    source: &Source,
    control: &Arc<Control>,
) -> Result<Vec<RecordBatch>> {
    let located = |e: datafusion::error::DataFusionError| fault::located(&e, source);
    let plan = run_subqueries(state, plan, control).await.map_err(located)?;
    let rows = start(state, &plan, control).await.map_err(located)?;
    rows.try_collect().await.map_err(located)
}
