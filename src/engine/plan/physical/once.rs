//! A join without keys that runs out of memory runs its left side again, whose scans have nothing left to read then, and
//! goes on with what it gets, which are the wrong rows. Here the side runs once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

use crate::engine::methods::rows_of_input;

/// The rows of a plan of one partition; there is not enough memory for a join that wants them again.
pub fn once(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(OnceExec { input, has_run: AtomicBool::new(false) })
}

/// Hands on the rows of its input once.
#[derive(Debug)]
struct OnceExec {
    input: Arc<dyn ExecutionPlan>,
    has_run: AtomicBool,
}

impl DisplayAs for OnceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for OnceExec {
    rows_of_input!();

    fn name(&self) -> &str {
        "OnceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(once(children.pop().unwrap_or_else(|| Arc::clone(&self.input))))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if self.has_run.swap(true, Ordering::Relaxed) {
            let message = "the rows on one side of a join without equal keys do not fit into what is left";
            return Err(DataFusionError::ResourcesExhausted(message.to_owned()));
        }
        self.input.execute(partition, context)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Schema;
    use datafusion::physical_plan::empty::EmptyExec;

    use super::*;

    #[test]
    fn a_plan_runs_once_until_it_is_reset() {
        let plan = once(Arc::new(EmptyExec::new(Arc::new(Schema::empty()))));
        let run = |plan: &Arc<dyn ExecutionPlan>| plan.execute(0, Arc::default()).map(drop);
        run(&plan).unwrap();
        assert!(matches!(run(&plan).unwrap_err(), DataFusionError::ResourcesExhausted(_)));
        run(&plan.reset_state().unwrap()).unwrap();
    }
}
