//! From a plan to its rows, on their way to whoever reads them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{Array, ArrayRef, new_empty_array};
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::Result as DfResult;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Analyze, Explain, LogicalPlan};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Inner;
use super::explained::Explained;
use super::planning::{Planned, limit_passes, plan_schema, within};
use crate::engine::constants::Constant;
use crate::engine::fault;
use crate::engine::plan::{
    cancellable, has_subqueries, inner_subqueries, with_applied_subqueries, with_values,
};
use crate::engine::query::{self, Message, Query, QueryContext, Started, Tag};
use crate::engine::sql::{Source, Statement};
use crate::engine::storage::RowMemory;
use crate::error::Result;
use crate::ml::Control;

/// Batches that wait for a slow reader.
const BATCHES_AHEAD: usize = 2;

impl Inner {
    /// Plans a statement.
    pub(super) async fn run_planned(
        &self,
        statement: Statement,
        query: Arc<QueryContext>,
    ) -> Result<Started> {
        let deadline = self.variables.read().deadline();
        query.control.set_deadline(deadline);
        if statement.locks_rows() {
            query.warn("FOR UPDATE and FOR SHARE lock no rows: every statement commits by itself");
        }
        let source = Arc::clone(&statement.source);
        let scope = self.scope(&query, statement.trains.clone(), &source);
        let located = |e: &_| fault::located(e, &source);
        let planning = self.plan_to_run(&scope, statement);
        let (mut state, planned) = within(deadline, planning).await.map_err(|e| e.located(&source))?;
        self.ensure_may_change(&planned)?;
        let Planned { plan, tag, copy, change, origins } = planned;
        let constant = Some(&plan).filter(|_| tag == Tag::Rows && copy.is_none());
        let schema = || plan_schema(&plan, plan.schema().inner());
        if let Some(constant) = constant.and_then(|plan| Constant::of(plan, schema)) {
            return Ok(Started { query: constant.query(query), rows: None, constant: Some(constant) });
        }
        limit_passes(&mut state, &plan)?;
        let plan = run_subqueries(&state, plan, &query.control).await.map_err(|e| located(&e))?;
        let rows = start(&state, &plan, &query.control).await.map_err(|e| located(&e))?;
        let rows = match Explained::of(&plan) {
            Some(explained) => explained.rows(rows),
            None => rows,
        };
        let schema = self.with_origins(plan_schema(&plan, &rows.schema()), &origins)?;
        let started = self.started(rows, schema, source, query, tag, change);
        Ok(Started { query: started.query.with_copy(copy), ..started })
    }

    /// A statement whose rows have begun.
    pub(super) fn started(
        &self,
        rows: SendableRecordBatchStream,
        schema: SchemaRef,
        source: Arc<Source>,
        query: Arc<QueryContext>,
        tag: Tag,
        change: Option<&'static str>,
    ) -> Started {
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        watch_deadline(self.engine.runtimes.clock(), query.control.deadline(), &query);
        let query = Query::new(schema, receiver, query, tag);
        let query = query.in_transaction(self.transaction.clone(), change);
        Started { query, rows: Some(Box::pin(pump(rows, sender, source))), constant: None }
    }
}

/// The plan with the values of the subqueries that are run before it in their places.
pub(super) async fn run_subqueries(
    state: &SessionState,
    plan: LogicalPlan,
    control: &Arc<Control>,
) -> DfResult<LogicalPlan> {
    match plan {
        LogicalPlan::Explain(explain) => {
            let plan = Box::pin(run_subqueries(state, explain.plan.as_ref().clone(), control)).await?;
            Ok(LogicalPlan::Explain(Explain { plan: Arc::new(plan), ..explain }))
        }
        LogicalPlan::Analyze(analyze) => {
            let input = Box::pin(run_subqueries(state, analyze.input.as_ref().clone(), control)).await?;
            Ok(LogicalPlan::Analyze(Analyze { input: Arc::new(input), ..analyze }))
        }
        plan => {
            let (mut values, pool) = (vec![], &state.runtime_env().memory_pool);
            for subquery in inner_subqueries(&plan)? {
                let subquery = Box::pin(run_subqueries(state, subquery, control)).await?;
                values.push(first_column(start(state, &subquery, control).await?, pool).await?);
            }
            if values.is_empty() { Ok(plan) } else { with_values(plan, values, pool) }
        }
    }
}

/// Starts a plan that stops once `control` says so.
pub(super) async fn start(
    state: &SessionState,
    plan: &LogicalPlan,
    control: &Arc<Control>,
) -> DfResult<SendableRecordBatchStream> {
    let physical = match plan {
        // By itself, it would tell the error of a plan that cannot be made.
        LogicalPlan::Explain(explain) if has_subqueries(plan)? => {
            let (inner, _) = physical_plan(state, &explain.plan, control).await?;
            let explain = Explain { plan: Arc::new(inner.into_owned()), ..explain.clone() };
            state.create_physical_plan(&LogicalPlan::Explain(explain)).await?
        }
        plan => physical_plan(state, plan, control).await?.1,
    };
    execute_stream(cancellable(physical, control)?, Arc::new(task_context(state)))
}

/// The physical plan, and the logical one that it is made of: where there is no other way, with applied subqueries.
async fn physical_plan<'a>(
    state: &SessionState,
    plan: &'a LogicalPlan,
    control: &Arc<Control>,
) -> DfResult<(Cow<'a, LogicalPlan>, Arc<dyn ExecutionPlan>)> {
    match state.create_physical_plan(plan).await {
        Err(error) if has_subqueries(plan)? => {
            let applied = with_applied_subqueries(plan.clone(), &Arc::new(state.clone()), control)?;
            // Where that does not help either, the first error tells more.
            let physical = state.create_physical_plan(&applied).await.map_err(|_| error)?;
            Ok((Cow::Owned(applied), physical))
        }
        physical => Ok((Cow::Borrowed(plan), physical?)),
    }
}

/// The context that a plan runs in. Plans have their functions in them, so that it needs none: DataFusion's own
/// way copies them all for every statement.
pub(super) fn task_context(state: &SessionState) -> TaskContext {
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

/// The values of the first column of all rows.
pub(super) async fn first_column(
    mut rows: SendableRecordBatchStream,
    pool: &Arc<dyn MemoryPool>,
) -> DfResult<ArrayRef> {
    let mut memory = RowMemory::new("rows of a subquery", pool);
    let mut values = vec![new_empty_array(rows.schema().field(0).data_type())];
    while let Some(batch) = rows.next().await.transpose()? {
        // Once as they come, and once in one piece.
        memory.hold_twice(&batch)?;
        values.push(Arc::clone(batch.column(0)));
    }
    let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
    Ok(concat(&values)?)
}

/// Sends the rows of a statement to its reader.
pub(super) async fn pump(
    mut rows: SendableRecordBatchStream,
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

pub(super) fn watch_deadline(clock: &Handle, deadline: Option<Instant>, query: &Arc<QueryContext>) {
    let Some(deadline) = deadline else { return };
    let query = Arc::downgrade(query);
    clock.spawn(async move {
        tokio::time::sleep_until((deadline + Duration::from_millis(1)).into()).await;
        if let Some(query) = query.upgrade() {
            query.wake();
        }
    });
}
