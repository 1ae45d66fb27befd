//! Answers of window functions that hold all values of their frames, as lists and joined texts do: what they take is
//! known before they are made.

use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::error::Result;
use datafusion::logical_expr::{WindowFrameBound, WindowFrameUnits};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::window::SlidingAggregateWindowExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::windows::{
    BoundedWindowAggExec, PlainAggregateWindowExpr, WindowAggExec, WindowExpr,
};
use datafusion::scalar::ScalarValue;

use crate::engine::array_bytes::array_bytes;

/// Rows are worked on by as many as have answers of about so many bytes.
pub const BYTES_AT_ONCE: usize = 512 << 10;

/// Aggregates whose answers hold all values.
const GATHERING: [&str; 2] = ["array_agg", "string_agg"];

/// How often an answer is there: by itself, among those of its partition and among those of all.
const COPIES: usize = 3;

/// The window functions of a node whose answers hold all values of their frames.
pub struct FrameAnswers {
    /// Each with the place of its answers among the columns of the node.
    windows: Vec<(usize, Arc<dyn WindowExpr>)>,
}

impl FrameAnswers {
    /// Those of a node whose input has so many columns.
    pub fn of(plan: &dyn ExecutionPlan, columns: usize) -> Self {
        let whole = plan.downcast_ref::<WindowAggExec>().map(WindowAggExec::window_expr);
        let bounded = || plan.downcast_ref::<BoundedWindowAggExec>().map(BoundedWindowAggExec::window_expr);
        let all = whole.or_else(bounded).unwrap_or_default();
        let gathering = |window: &Arc<dyn WindowExpr>| {
            aggregate(window.as_ref()).is_some_and(|aggregate| GATHERING.contains(&aggregate.fun().name()))
        };
        let windows = all.iter().enumerate().filter(|(_, window)| gathering(window));
        Self { windows: windows.map(|(at, window)| (columns + at, Arc::clone(window))).collect() }
    }

    /// True if no answer holds more than a value.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// What the values of these rows take in an answer.
    pub fn values(&self, rows: &RecordBatch) -> Result<usize> {
        let values = self.windows.iter().map(|(_, window)| values(window.as_ref(), rows));
        values.sum()
    }

    /// What the answers of so many rows take, if each holds values of so many bytes at most, and those kept for them.
    pub fn of_rows(rows: usize, values: usize) -> usize {
        rows.saturating_add(1).saturating_mul(values).saturating_mul(COPIES)
    }

    /// What the answers of a partition of these rows take.
    pub fn of_partition(&self, rows: &RecordBatch) -> Result<usize> {
        self.windows.iter().try_fold(0_usize, |bytes, (_, window)| {
            let values = values(window.as_ref(), rows)?;
            let answers = Self::of_rows(frame_rows(window.as_ref(), rows.num_rows()), values);
            Ok(bytes.saturating_add(answers))
        })
    }

    /// What the last answer of a batch takes.
    pub fn last(&self, answers: &RecordBatch) -> usize {
        let Some(last) = answers.num_rows().checked_sub(1) else { return 0 };
        self.windows.iter().map(|(at, _)| array_bytes(&answers.column(*at).slice(last, 1))).sum()
    }
}

fn aggregate(window: &dyn WindowExpr) -> Option<&AggregateFunctionExpr> {
    let window = window.as_any();
    let plain =
        window.downcast_ref::<PlainAggregateWindowExpr>().map(PlainAggregateWindowExpr::get_aggregate_expr);
    plain.or_else(|| {
        let sliding = window.downcast_ref::<SlidingAggregateWindowExpr>();
        sliding.map(SlidingAggregateWindowExpr::get_aggregate_expr)
    })
}

fn values(window: &dyn WindowExpr, rows: &RecordBatch) -> Result<usize> {
    Ok(window.evaluate_args(rows)?.iter().map(|values| array_bytes(values)).sum())
}

/// About how many rows a frame has in a partition of so many.
fn frame_rows(window: &dyn WindowExpr, rows: usize) -> usize {
    let frame = window.get_window_frame();
    // Without an order all rows are peers.
    let all_peers = frame.units == WindowFrameUnits::Range && window.order_by().is_empty();
    let moves = |bound: &WindowFrameBound| {
        !(bound.is_unbounded() || (all_peers && bound == &WindowFrameBound::CurrentRow))
    };
    let distance = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::CurrentRow => 0,
        WindowFrameBound::Preceding(ScalarValue::UInt64(Some(rows)))
        | WindowFrameBound::Following(ScalarValue::UInt64(Some(rows))) => {
            usize::try_from(*rows).unwrap_or(usize::MAX)
        }
        _ => rows,
    };
    match (moves(&frame.start_bound), moves(&frame.end_bound)) {
        (false, false) => rows,
        (true, true) if frame.units == WindowFrameUnits::Rows => {
            let both = distance(&frame.start_bound).saturating_add(distance(&frame.end_bound));
            both.saturating_add(1).min(rows)
        }
        _ => rows.div_ceil(2),
    }
}
