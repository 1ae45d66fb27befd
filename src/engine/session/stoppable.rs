//! Planning that stops: DataFusion's rules run without a pause, so each asks first whether somebody still waits.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::engine::controlled::current_control;
use crate::engine::methods::delegate;

/// A rule that first asks.
#[derive(Debug)]
struct Asking<R: ?Sized>(Arc<R>);

/// The rules, each of which asks first.
pub(super) fn asking_analyzer(
    rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>>,
) -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    rules.into_iter().map(|rule| Arc::new(Asking(rule)) as _).collect()
}

/// The rules, each of which asks first.
pub(super) fn asking_optimizer(
    rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    rules.into_iter().map(|rule| Arc::new(Asking(rule)) as _).collect()
}

fn ask() -> Result<()> {
    Ok(current_control().check()?)
}

impl AnalyzerRule for Asking<dyn AnalyzerRule + Send + Sync> {
    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        ask()?;
        self.0.analyze(plan, config)
    }

    fn name(&self) -> &str {
        self.0.name()
    }
}

impl OptimizerRule for Asking<dyn OptimizerRule + Send + Sync> {
    delegate! {
        to 0:
        name() -> &str;
        apply_order() -> Option<ApplyOrder>;
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        ask()?;
        self.0.rewrite(plan, config)
    }
}
