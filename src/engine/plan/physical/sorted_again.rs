//! A repair of plans that lost an order on the way.
//!
//! DataFusion 55 leaves a constant out of the keys of one branch of a UNION, moves the projection that knew of it into a
//! scan that does not, and refuses the plan, since its rows are sorted by fewer keys than are asked for. What its check
//! refuses gets its sorts once more.

use std::sync::Arc;

use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::ensure_requirements::EnsureRequirements;
use datafusion::physical_plan::ExecutionPlan;

use super::skips::HeldSkips;
use crate::engine::methods::delegate;

/// The last check, which mends before it refuses.
#[derive(Debug)]
pub struct SortedAgain(pub Arc<dyn PhysicalOptimizerRule + Send + Sync>);

impl PhysicalOptimizerRule for SortedAgain {
    delegate! {
        to 0:
        name() -> &str;
        schema_check() -> bool;
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.optimize(Arc::clone(&plan), config).or_else(|_| {
            let sorts = HeldSkips(Arc::new(EnsureRequirements::new()));
            self.0.optimize(sorts.optimize(plan, config)?, config)
        })
    }
}
