//! Plans that stop within a batch when their statement is cancelled.
//!
//! What makes many rows of few can work for hours without returning to the runtime, so that aborting its task has no
//! effect (DataFusion issue 19358). The streams of leaves and of such operators look at the statement's control before
//! each batch, and give way after some; joins look at it whenever their condition is evaluated, too.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coop::{CooperativeExec, make_cooperative};
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, PiecewiseMergeJoinExec,
    SortMergeJoinExec, SymmetricHashJoinExec,
};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};
use futures::{Stream, StreamExt};

use crate::engine::methods::rows_of_input;
use crate::engine::panics;
use crate::engine::plan::physical::{constant_bytes, once, replaced};
use crate::ml::Control;

/// Lists that are made to be unnested are made of so many rows at a time: those of a whole batch may be very long.
const UNNESTED_ROWS: usize = 256;

/// A list that is the same in all rows takes about so much, however many of them it is made in at a time.
const UNNESTED_BYTES: usize = 8 << 20;

/// The plan, whose work stops once `control` says so.
pub fn cancellable(plan: Arc<dyn ExecutionPlan>, control: &Arc<Control>) -> Result<Arc<dyn ExecutionPlan>> {
    let stoppable =
        |input| -> Option<Arc<dyn ExecutionPlan>> { Some(Arc::new(StoppableExec::new(input, control))) };
    replaced(plan, |node| {
        if let Some(join) = checked(node, control)? {
            return Ok(stoppable(join));
        }
        if node.is::<UnnestExec>() {
            return Ok(stoppable(over_few_rows(Arc::clone(node), control)?));
        }
        // What is stoppable gives way already.
        if let Some(inner) = node.downcast_ref::<CooperativeExec>()
            && inner.input().is::<StoppableExec>()
        {
            return Ok(Some(Arc::clone(inner.input())));
        }
        let groups = node.downcast_ref::<AggregateExec>().is_some_and(|node| !node.group_expr().is_empty());
        let makes_rows = groups || node.children().is_empty();
        Ok(if makes_rows { stoppable(Arc::clone(node)) } else { None })
    })
}

/// An UNNEST whose lists, where they are made for it, are made of few rows at a time.
fn over_few_rows(unnest: Arc<dyn ExecutionPlan>, control: &Arc<Control>) -> Result<Arc<dyn ExecutionPlan>> {
    let input = unnest.downcast_ref::<UnnestExec>().map(|unnest| Arc::clone(unnest.input()));
    let Some(input) = input else { return Ok(unnest) };
    let Some(lists) = input.downcast_ref::<ProjectionExec>() else { return Ok(unnest) };
    if lists.expr().iter().all(|made| made.expr.downcast_ref::<Column>().is_some()) {
        return Ok(unnest);
    }
    let constants = lists.expr().iter().filter_map(|made| constant_bytes(&made.expr));
    let rows =
        constants.max().map_or(UNNESTED_ROWS, |bytes| (UNNESTED_BYTES / bytes).clamp(1, UNNESTED_ROWS));
    let few = StoppableExec { rows, ..StoppableExec::new(Arc::clone(lists.input()), control) };
    let lists = replace_children_if_necessary(Arc::clone(&input), vec![Arc::new(few)])?;
    replace_children_if_necessary(unnest, vec![lists])
}

/// A join with a condition that checks; `None` for other operators.
fn checked(node: &Arc<dyn ExecutionPlan>, control: &Arc<Control>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let check = |filter: &JoinFilter| {
        let expression = Arc::clone(filter.expression());
        let expression = Arc::new(Checked { expression, control: Arc::clone(control) });
        JoinFilter::new(expression, filter.column_indices().to_vec(), Arc::clone(filter.schema()))
    };
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        let filter = join.filter().map(check);
        let sides = vec![once(Arc::clone(join.left())), Arc::clone(join.right())];
        let join = NestedLoopJoinExecBuilder::from(join).with_filter(filter).build()?;
        return Ok(Some(replace_children_if_necessary(Arc::new(join), sides)?));
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        return Ok(Some(match join.filter().map(check) {
            Some(filter) => join.builder().with_filter(Some(filter)).build_exec()?,
            None => Arc::clone(node),
        }));
    }
    let other = node.is::<CrossJoinExec>()
        || node.is::<SortMergeJoinExec>()
        || node.is::<SymmetricHashJoinExec>()
        || node.is::<PiecewiseMergeJoinExec>();
    Ok(other.then(|| Arc::clone(node)))
}

/// A condition that fails once its statement is to stop.
#[derive(Debug)]
struct Checked {
    expression: Arc<dyn PhysicalExpr>,
    control: Arc<Control>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expression.fmt(f)
    }
}

impl PartialEq for Checked {
    fn eq(&self, other: &Self) -> bool {
        self.expression.eq(&other.expression) && Arc::ptr_eq(&self.control, &other.control)
    }
}

impl Eq for Checked {}

impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expression.hash(state);
    }
}

impl PhysicalExpr for Checked {
    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.expression.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.control.check().map_err(DataFusionError::from)?;
        self.expression.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.expression]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let control = Arc::clone(&self.control);
        let expression = children.pop().unwrap_or_else(|| Arc::clone(&self.expression));
        Ok(Arc::new(Self { expression, control }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expression.fmt_sql(f)
    }
}

/// Hands on the rows of its input until its statement is to stop.
#[derive(Debug)]
struct StoppableExec {
    input: Arc<dyn ExecutionPlan>,
    control: Arc<Control>,
    /// Rows of a batch, at most.
    rows: usize,
}

impl StoppableExec {
    fn new(input: Arc<dyn ExecutionPlan>, control: &Arc<Control>) -> Self {
        Self { input, control: Arc::clone(control), rows: usize::MAX }
    }
}

impl DisplayAs for StoppableExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoppableExec")?;
        if self.rows < usize::MAX { write!(f, ": rows={}", self.rows) } else { Ok(()) }
    }
}

impl ExecutionPlan for StoppableExec {
    rows_of_input!();

    fn name(&self) -> &str {
        "StoppableExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().unwrap_or_else(|| Arc::clone(&self.input));
        Ok(Arc::new(Self { rows: self.rows, ..Self::new(input, &self.control) }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (input, control) = (self.input.execute(partition, context)?, Arc::clone(&self.control));
        let reads = self.input.children().is_empty();
        let rows = Stoppable { input, control, reads, rows: self.rows, rest: None, done: false };
        Ok(make_cooperative(Box::pin(rows)))
    }
}

/// Rows until their statement is to stop.
struct Stoppable {
    input: SendableRecordBatchStream,
    control: Arc<Control>,
    /// Whether they come from files or what is like them, whose readers may panic.
    reads: bool,
    rows: usize,
    /// What is left of a larger batch.
    rest: Option<RecordBatch>,
    done: bool,
}

impl Stoppable {
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        if !self.reads {
            return self.input.poll_next_unpin(cx);
        }
        panics::read(|| self.input.poll_next_unpin(cx)).unwrap_or_else(|error| {
            self.done = true;
            Poll::Ready(Some(Err(error.into())))
        })
    }
}

impl Stream for Stoppable {
    type Item = Result<RecordBatch>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.done {
            return Poll::Ready(None);
        }
        if let Err(stopped) = this.control.check() {
            this.done = true;
            return Poll::Ready(Some(Err(DataFusionError::from(stopped))));
        }
        let batch = match this.rest.take() {
            Some(batch) => batch,
            None => match ready!(this.poll_input(cx)) {
                Some(Ok(batch)) => batch,
                end => return Poll::Ready(end),
            },
        };
        if batch.num_rows() <= this.rows {
            return Poll::Ready(Some(Ok(batch)));
        }
        this.rest = Some(batch.slice(this.rows, batch.num_rows() - this.rows));
        Poll::Ready(Some(Ok(batch.slice(0, this.rows))))
    }
}

impl RecordBatchStream for Stoppable {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use datafusion::physical_plan::{displayable, execute_stream};
    use datafusion::prelude::SessionContext;
    use futures::TryStreamExt;

    use super::*;
    use crate::error::{Error, ErrorKind};

    async fn planned(sql: &str, control: &Arc<Control>) -> (SessionContext, Arc<dyn ExecutionPlan>) {
        let session = SessionContext::new();
        let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        (session, cancellable(plan, control).unwrap())
    }

    const ENDLESS: [&str; 3] = [
        "SELECT count(*) FROM (SELECT unnest(array_repeat(value, 1000)) FROM generate_series(1, 1000000000)) AS t",
        "SELECT count(*) FROM generate_series(1, 1000000000) AS s WHERE value % 7 = 9",
        "SELECT count(*) FROM generate_series(1, 10000000) AS a(x), generate_series(1, 10000000) AS b(y)",
    ];

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn work_ends_by_itself_within_a_batch() {
        for (sql, by_deadline) in ENDLESS.into_iter().flat_map(|sql| [(sql, false), (sql, true)]) {
            let control = Arc::new(Control::default());
            let (session, plan) = planned(sql, &control).await;
            let rows = execute_stream(plan, session.task_ctx()).unwrap();
            let work = tokio::spawn(rows.try_collect::<Vec<_>>());
            tokio::time::sleep(Duration::from_millis(100)).await;
            if by_deadline {
                control.set_deadline(Some(Instant::now()));
            } else {
                control.cancel();
            }
            let ended = tokio::time::timeout(Duration::from_secs(20), work).await;
            let error = Error::from(ended.expect(sql).unwrap().unwrap_err());
            assert_eq!(error.kind(), ErrorKind::Cancelled, "{sql}: {error}");
        }
    }

    #[tokio::test]
    async fn lists_to_be_unnested_are_made_of_few_rows() {
        let control = Arc::new(Control::default());
        let sql = "SELECT count(u), sum(u) FROM (SELECT unnest(make_array(value, 1)) AS u FROM generate_series(1, 1000))";
        let (session, plan) = planned(sql, &control).await;
        let shown = displayable(plan.as_ref()).indent(false).to_string();
        assert!(shown.contains("StoppableExec: rows=256"), "{shown}");
        let rows: Vec<RecordBatch> =
            execute_stream(plan, session.task_ctx()).unwrap().try_collect().await.unwrap();
        let shown = datafusion::arrow::util::pretty::pretty_format_batches(&rows).unwrap().to_string();
        assert!(shown.contains(" 2000 ") && shown.contains(" 501500 "), "{shown}");
    }
}
