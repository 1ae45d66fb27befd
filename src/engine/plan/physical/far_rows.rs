//! What wants the first rows of an order keeps as many in memory and cannot spill them: beyond so many, as a high
//! OFFSET wants them, all rows are sorted, which can.

use std::sync::Arc;

use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::sorts::sort::SortExec;

use super::replaced::replaced;
use crate::engine::methods::rule_named;

/// The most rows that are kept without a sort of all.
const ROWS_MAX: usize = 100_000;

/// Takes the limits of sorts that want many rows out of them.
#[derive(Debug)]
pub struct FarRows;

impl PhysicalOptimizerRule for FarRows {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        replaced(plan, |node| Ok(node.downcast_ref::<SortExec>().and_then(with_limit_above)))
    }

    rule_named!("FarRows");
}

/// A sort of all rows and a limit above it, for a sort that wants too many.
fn with_limit_above(sort: &SortExec) -> Option<Arc<dyn ExecutionPlan>> {
    let fetch = sort.fetch().filter(|fetch| *fetch > ROWS_MAX)?;
    let all = SortExec::new(sort.expr().clone(), Arc::clone(sort.input()))
        .with_preserve_partitioning(sort.preserve_partitioning());
    Some(Arc::new(LocalLimitExec::new(Arc::new(all), fetch)))
}

#[cfg(test)]
mod tests {
    use datafusion::execution::SessionStateBuilder;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;
    use crate::engine::plan::physical::physical_rules;

    #[tokio::test]
    async fn many_rows_are_sorted_and_few_are_kept() {
        let pool = Arc::clone(&SessionContext::new().runtime_env().memory_pool);
        let state = SessionStateBuilder::new()
            .with_config(SessionConfig::new().with_target_partitions(2))
            .with_default_features()
            .with_physical_optimizer_rules(physical_rules(&pool))
            .build();
        let session = SessionContext::new_with_state(state);
        let rows = "SELECT value FROM generate_series(1, 300000) ORDER BY -value";
        let few = format!("{rows} LIMIT 5 OFFSET 99995");
        let many = format!("{rows} LIMIT 5 OFFSET 99996");
        for (sql, kept) in [(&few, true), (&many, false)] {
            let frame = session.sql(sql).await.unwrap();
            let plan = frame.clone().create_physical_plan().await.unwrap();
            let plan = displayable(plan.as_ref()).indent(false).to_string();
            assert_eq!(plan.contains("TopK"), kept, "{plan}");
            assert_eq!(plan.contains("LocalLimitExec"), !kept, "{plan}");
            let rows: usize = frame.collect().await.unwrap().iter().map(|batch| batch.num_rows()).sum();
            assert_eq!(rows, 5, "{sql}");
        }
    }
}
