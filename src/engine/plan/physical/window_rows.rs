//! Rows that window functions are worked out for, and the memory that they take meanwhile.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, UInt64Array};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::utils::evaluate_partition_ranges;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::metrics::BaselineMetrics;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;

use super::frame_answers::{BYTES_AT_ONCE, FrameAnswers};
use crate::engine::array_bytes::{batch_bytes, compacted};

/// Memory that is told to the pool, but not refused by it: a few batches always go through.
const UNASKED_BYTES: usize = 4 << 20;

/// A value that a window function makes takes so much, once in its partition and once among all.
const RESULT_BYTES: usize = 2 * 16;

/// How often DataFusion's node holds a row that waits: among all, in its partition, and while either is put together.
const COPIES_WAITING: usize = 3;

/// A node for window functions, apart from its input.
pub struct Window {
    pub plan: Arc<dyn ExecutionPlan>,
    pub input: Arc<dyn ExecutionPlan>,
    pub partition: usize,
    pub context: Arc<TaskContext>,
}

impl Window {
    fn frame_answers(&self) -> FrameAnswers {
        FrameAnswers::of(self.plan.as_ref(), self.input.schema().fields().len())
    }

    /// What the node makes of these rows of its input.
    fn over(&self, rows: SendableRecordBatchStream) -> Result<SendableRecordBatchStream> {
        let given = Given { input: Arc::clone(&self.input), rows: Mutex::new(Some(rows)) };
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
        let window = Arc::clone(&self.plan).replace_children(vec![Arc::new(given)], options)?;
        window.execute(self.partition, Arc::clone(&self.context))
    }

    /// What it makes of rows that are there.
    async fn of(&self, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
        let rows = stream::iter(batches.into_iter().map(Ok));
        let rows = RecordBatchStreamAdapter::new(self.input.schema(), rows);
        self.over(Box::pin(rows))?.try_collect().await
    }
}

/// The answers of a node that needs whole partitions, which follow each other: those that have come are done with
/// once they are enough rows.
pub fn whole_partitions(
    exec: &WindowAggExec,
    window: Window,
    rows: SendableRecordBatchStream,
    memory: MemoryReservation,
    metrics: BaselineMetrics,
) -> Result<SendableRecordBatchStream> {
    let batch_size = window.context.session_config().batch_size();
    let made = Made { batches: VecDeque::new(), given: 0, batch_size, memory: memory.new_empty() };
    let waiting = Waiting {
        keys: exec.partition_by_sort_keys()?,
        result_bytes: exec.window_expr().len().saturating_mul(RESULT_BYTES),
        batch_size,
        batches: vec![],
        rows: 0,
        memory,
    };
    let answers = window.frame_answers();
    let parts = VecDeque::new();
    let partitions = Partitions { window, answers, rows: Some(rows), waiting, parts, made, metrics };
    let answers = stream::try_unfold(partitions, |mut partitions| async move {
        let next = partitions.next().await;
        next.map(|batch| batch.map(|batch| (batch, partitions)))
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(exec.schema(), answers)))
}

/// The rows of partitions, from their input to the answer.
struct Partitions {
    window: Window,
    answers: FrameAnswers,
    /// `None` once all have come.
    rows: Option<SendableRecordBatchStream>,
    waiting: Waiting,
    parts: VecDeque<Part>,
    made: Made,
    metrics: BaselineMetrics,
}

/// Whole partitions that are worked on together.
struct Part {
    batches: Vec<RecordBatch>,
    /// What answers take that hold the values of their frames.
    answers: usize,
    memory: MemoryReservation,
}

impl Partitions {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.made.next()? {
                self.metrics.record_output(batch.num_rows());
                return Ok(Some(batch));
            }
            if let Some(part) = self.parts.pop_front() {
                self.answer(part).await?;
                continue;
            }
            let Some(rows) = self.rows.as_mut() else { return Ok(None) };
            let batch = rows.next().await.transpose()?;
            let whole = match batch {
                Some(batch) => self.waiting.push(batch)?,
                None => {
                    self.rows = None;
                    Some(self.waiting.take_all())
                }
            };
            let Some((batches, memory)) = whole else { continue };
            self.parts = self.parted(batches, memory)?;
        }
    }

    async fn answer(&mut self, part: Part) -> Result<()> {
        take(&part.memory, part.answers)?;
        let batches = {
            let _timer = self.metrics.elapsed_compute().timer();
            self.window.of(part.batches).await?
        };
        self.made.put(batches, part.memory)
    }

    /// The partitions, no more together than have answers of about as much as is made at once.
    fn parted(&self, batches: Vec<RecordBatch>, memory: MemoryReservation) -> Result<VecDeque<Part>> {
        let Some(first) = batches.first().filter(|_| !self.answers.is_empty()) else {
            return Ok(VecDeque::from([Part { batches, answers: 0, memory }]));
        };
        let all = concat_batches(&first.schema(), &batches)?;
        let row_bytes = memory.size() / all.num_rows().max(1);
        let part = |rows: Range<usize>, answers: usize| -> Result<Part> {
            let memory = memory.split(row_bytes.saturating_mul(rows.len()));
            let batches = vec![compacted(all.slice(rows.start, rows.len()))?];
            Ok(Part { batches, answers, memory })
        };
        let (mut parts, mut start, mut answers) = (VecDeque::new(), 0, 0_usize);
        for rows in self.waiting.partitions(&all)? {
            let more = self.answers.of_partition(&all.slice(rows.start, rows.len()))?;
            if start < rows.start && answers.saturating_add(more) > BYTES_AT_ONCE {
                parts.push_back(part(start..rows.start, answers)?);
                (start, answers) = (rows.start, 0);
            }
            answers = answers.saturating_add(more);
        }
        parts.push_back(part(start..all.num_rows(), answers)?);
        Ok(parts)
    }
}

/// Rows of partitions of which the last may go on.
struct Waiting {
    keys: Vec<PhysicalSortExpr>,
    result_bytes: usize,
    batch_size: usize,
    batches: Vec<RecordBatch>,
    rows: usize,
    memory: MemoryReservation,
}

impl Waiting {
    /// Takes rows up; gives those of whole partitions, with their memory, if they are as many as a batch has.
    fn push(&mut self, batch: RecordBatch) -> Result<Option<(Vec<RecordBatch>, MemoryReservation)>> {
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        let last = self.last_partition(&batch)?;
        if last > 0 && self.rows + last >= self.batch_size {
            self.keep(batch.slice(0, last))?;
            let whole = self.take_all();
            self.keep(batch.slice(last, batch.num_rows() - last))?;
            return Ok(Some(whole));
        }
        let enough = self.rows >= self.batch_size && self.ends_before(&batch)?;
        let whole = enough.then(|| self.take_all());
        self.keep(batch)?;
        Ok(whole)
    }

    /// True if the partition of the last row is none of this batch.
    fn ends_before(&self, batch: &RecordBatch) -> Result<bool> {
        let Some(waiting) = self.batches.last() else { return Ok(false) };
        let rows = [waiting.slice(waiting.num_rows() - 1, 1), batch.slice(0, 1)];
        Ok(self.last_partition(&concat_batches(&batch.schema(), &rows)?)? > 0)
    }

    /// Where the last partition of a batch begins.
    fn last_partition(&self, batch: &RecordBatch) -> Result<usize> {
        Ok(self.partitions(batch)?.last().map_or(0, |range| range.start))
    }

    /// Where the rows of each partition are in a batch.
    fn partitions(&self, batch: &RecordBatch) -> Result<Vec<Range<usize>>> {
        let keys = self.keys.iter().map(|key| key.evaluate_to_sort_column(batch));
        evaluate_partition_ranges(batch.num_rows(), &keys.collect::<Result<Vec<_>>>()?)
    }

    /// The batches are put together to one, and what is made of them stands beside it.
    fn keep(&mut self, batch: RecordBatch) -> Result<()> {
        let batch = compacted(batch)?;
        let results = batch.num_rows().saturating_mul(self.result_bytes);
        take(&self.memory, batch_bytes(&batch).saturating_mul(2).saturating_add(results))?;
        self.rows += batch.num_rows();
        self.batches.push(batch);
        Ok(())
    }

    fn take_all(&mut self) -> (Vec<RecordBatch>, MemoryReservation) {
        self.rows = 0;
        (mem::take(&mut self.batches), self.memory.take())
    }
}

/// What was made of whole partitions, given out in batches of the usual size.
struct Made {
    batches: VecDeque<RecordBatch>,
    /// Rows of the first batch that were given out.
    given: usize,
    batch_size: usize,
    memory: MemoryReservation,
}

impl Made {
    fn put(&mut self, batches: Vec<RecordBatch>, memory: MemoryReservation) -> Result<()> {
        let kept = batches.iter().map(batch_bytes).fold(0, usize::saturating_add);
        resize(&memory, kept)?;
        self.batches = batches.into();
        self.memory = memory;
        Ok(())
    }

    fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(first) = self.batches.front() else { return Ok(None) };
        let left = first.num_rows().saturating_sub(self.given);
        if self.given == 0 && left <= 2 * self.batch_size {
            return Ok(self.done_with_first());
        }
        // A copy, since a slice would keep all rows for as long as somebody keeps it.
        let end = self.given + left.min(self.batch_size);
        let rows = UInt64Array::from_iter_values(self.given as u64..end as u64);
        let part = compacted(take_record_batch(first, &rows)?)?;
        self.given = end;
        if end == first.num_rows() {
            self.done_with_first();
        }
        Ok(Some(part))
    }

    fn done_with_first(&mut self) -> Option<RecordBatch> {
        self.given = 0;
        let first = self.batches.pop_front();
        if self.batches.is_empty() {
            self.memory.free();
        }
        first
    }
}

/// The answers of a node that keeps rows until the frames of earlier ones are whole.
pub fn held(
    window: Window,
    rows: SendableRecordBatchStream,
    memory: MemoryReservation,
    metrics: BaselineMetrics,
) -> Result<SendableRecordBatchStream> {
    let held = Arc::new(Mutex::new(Held::new(window.frame_answers(), memory)));
    let (came, schema) = (Arc::clone(&held), rows.schema());
    let rows = stream::try_unfold((rows, None), move |(mut rows, rest)| {
        let came = Arc::clone(&came);
        async move {
            let next = next_part(&came, &mut rows, rest).await;
            next.map(|next| next.map(|(part, rest)| (part, (rows, rest))))
        }
    });
    let answers = window.over(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))?;
    let schema = answers.schema();
    let answers = answers.map(move |batch| {
        let batch = batch?;
        held.lock().give_out(&batch);
        metrics.record_output(batch.num_rows());
        Ok(batch)
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, answers)))
}

/// The rows that are worked on next, and those of their batch that are left.
async fn next_part(
    held: &Mutex<Held>,
    rows: &mut SendableRecordBatchStream,
    rest: Option<RecordBatch>,
) -> Result<Option<(RecordBatch, Option<RecordBatch>)>> {
    let batch = match rest {
        Some(rest) => Some(rest),
        None => rows.next().await.transpose()?,
    };
    batch.map(|batch| held.lock().part(&batch)).transpose()
}

/// Rows that have come and not gone yet, and the answers that are made of them.
struct Held {
    batches: VecDeque<HeldRows>,
    memory: MemoryReservation,
    answers: FrameAnswers,
    /// What the answer of the row that went last holds.
    last_answer: usize,
    answers_memory: MemoryReservation,
}

struct HeldRows {
    rows: usize,
    bytes: usize,
    /// What their values take in an answer.
    values: usize,
}

impl Held {
    fn new(answers: FrameAnswers, memory: MemoryReservation) -> Self {
        let answers_memory = memory.new_empty();
        Self { batches: VecDeque::new(), memory, answers, last_answer: 0, answers_memory }
    }

    /// As many of the rows as are worked on at once, and the others.
    fn part(&mut self, batch: &RecordBatch) -> Result<(RecordBatch, Option<RecordBatch>)> {
        let rows = self.rows_at_once(batch)?;
        let rest = (rows < batch.num_rows()).then(|| batch.slice(rows, batch.num_rows() - rows));
        let part = compacted(batch.slice(0, rows))?;
        self.take_up(&part)?;
        Ok((part, rest))
    }

    fn rows_at_once(&self, batch: &RecordBatch) -> Result<usize> {
        if self.answers.is_empty() || batch.num_rows() == 0 {
            return Ok(batch.num_rows());
        }
        let each = self.answers.values(batch)? / batch.num_rows();
        let (waiting, before) = self.waiting();
        // The answers of the rows hold what was there before and, each more of them, the rows themselves.
        let rows = (BYTES_AT_ONCE / before.max(1)).min((BYTES_AT_ONCE / each.max(1)).isqrt());
        // What waits for its frame is copied for every part that comes: it should not be for few rows.
        Ok(rows.max(waiting / 4).max(1).min(batch.num_rows()))
    }

    /// The rows that wait, and what an answer may hold of them and those before.
    fn waiting(&self) -> (usize, usize) {
        let rows = self.batches.iter().map(|batch| batch.rows).sum();
        (rows, self.batches.iter().fold(self.last_answer, |bytes, batch| bytes.saturating_add(batch.values)))
    }

    fn take_up(&mut self, batch: &RecordBatch) -> Result<()> {
        let bytes = batch_bytes(batch).saturating_mul(COPIES_WAITING);
        take(&self.memory, bytes)?;
        let values = self.answers.values(batch)?;
        self.batches.push_back(HeldRows { rows: batch.num_rows(), bytes, values });
        let (rows, values) = self.waiting();
        resize(&self.answers_memory, FrameAnswers::of_rows(rows, values))
    }

    /// These rows have gone, the first first.
    fn give_out(&mut self, answers: &RecordBatch) {
        if answers.num_rows() > 0 {
            self.last_answer = self.answers.last(answers);
        }
        let mut rows = answers.num_rows();
        while let Some(waiting) = self.batches.front_mut() {
            if waiting.rows > rows {
                waiting.rows -= rows;
                return;
            }
            rows -= waiting.rows;
            self.memory.shrink(waiting.bytes);
            self.batches.pop_front();
        }
    }
}

/// Takes or gives back memory until it is so much.
fn resize(memory: &MemoryReservation, bytes: usize) -> Result<()> {
    match bytes.checked_sub(memory.size()) {
        Some(more) => take(memory, more),
        None => {
            memory.resize(bytes);
            Ok(())
        }
    }
}

/// Takes memory, of which a little need not be asked for.
fn take(memory: &MemoryReservation, bytes: usize) -> Result<()> {
    if memory.size().saturating_add(bytes) <= UNASKED_BYTES {
        memory.grow(bytes);
        return Ok(());
    }
    memory.try_grow(bytes)
}

/// Rows in the place of the node that they come from.
struct Given {
    input: Arc<dyn ExecutionPlan>,
    rows: Mutex<Option<SendableRecordBatchStream>>,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Given({:?})", self.input)
    }
}

impl DisplayAs for Given {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.input.fmt_as(t, f)
    }
}

impl ExecutionPlan for Given {
    fn name(&self) -> &str {
        self.input.name()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.rows.lock().take();
        rows.ok_or_else(|| DataFusionError::Internal("rows are given to a window function once".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array, StringViewArray};
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool};
    use datafusion::physical_expr::expressions::Column;
    use datafusion::physical_plan::empty::EmptyExec;

    use super::*;

    fn memory(limit: usize) -> (Arc<dyn MemoryPool>, MemoryReservation) {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(limit));
        let memory = MemoryConsumer::new("WindowAggExec[0]").register(&pool);
        (pool, memory)
    }

    /// A node without window functions.
    fn none() -> EmptyExec {
        EmptyExec::new(numbers(0).schema())
    }

    fn numbers(count: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    #[test]
    fn rows_that_have_gone_give_their_memory_back() {
        let (pool, memory) = memory(16 << 20);
        let mut held = Held::new(FrameAnswers::of(&none(), 1), memory);
        for _ in 0..3 {
            held.take_up(&numbers(1_000)).unwrap();
        }
        assert_eq!(pool.reserved(), 3 * COPIES_WAITING * 8_000);
        held.give_out(&numbers(1_999));
        assert_eq!(pool.reserved(), 2 * COPIES_WAITING * 8_000);
        held.give_out(&numbers(1_001));
        assert_eq!(pool.reserved(), 0);
        let error = held.take_up(&numbers(1_000_000)).unwrap_err();
        assert!(matches!(error, DataFusionError::ResourcesExhausted(_)));
        drop(held);
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn partitions_that_end_where_batches_do_are_handed_on() {
        let (_pool, memory) = memory(16 << 20);
        let keys = vec![PhysicalSortExpr::new_default(Arc::new(Column::new("n", 0)))];
        let mut waiting =
            Waiting { keys, result_bytes: 0, batch_size: 100, batches: vec![], rows: 0, memory };
        let mut push = |key: i64| {
            let column: ArrayRef = Arc::new(Int64Array::from(vec![key; 60]));
            let whole = waiting.push(RecordBatch::try_from_iter([("n", column)]).unwrap()).unwrap();
            whole.map_or(0, |(batches, _)| batches.iter().map(RecordBatch::num_rows).sum::<usize>())
        };
        assert_eq!([1, 1, 1, 2, 3, 4, 4].map(&mut push), [0, 0, 0, 180, 0, 120, 0]);
    }

    #[test]
    fn large_answers_are_given_out_in_batches_and_small_ones_whole() {
        let (pool, memory) = memory(16 << 20);
        let mut made =
            Made { batches: VecDeque::new(), given: 0, batch_size: 100, memory: memory.new_empty() };
        made.put(vec![numbers(250), numbers(200)], memory).unwrap();
        assert_eq!(pool.reserved(), 450 * 8);
        let mut given = vec![];
        while let Some(batch) = made.next().unwrap() {
            given.push(batch.num_rows());
        }
        assert_eq!(given, [100, 100, 50, 200]);
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn texts_count_for_as_much_as_the_rows_have_of_them() {
        let text = "a text that is too long to stand in a view";
        let texts = StringViewArray::from_iter_values(std::iter::repeat_n(text, 1_000));
        let column: ArrayRef = Arc::new(texts);
        let batch = RecordBatch::try_from_iter([("text", column)]).unwrap();
        assert_eq!(batch_bytes(&batch.slice(5, 10)), 10 * (16 + text.len()));
        let few = compacted(batch.slice(5, 10)).unwrap();
        assert_eq!(few, batch.slice(5, 10));
        assert!(few.get_array_memory_size() < 20_000, "{}", few.get_array_memory_size());
    }
}
