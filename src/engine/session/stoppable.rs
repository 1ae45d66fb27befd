//! Planning that stops: DataFusion's rules run without a pause, so each asks first whether somebody still waits.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::ml::Control;

tokio::task_local! {
    /// The planning that this thread is at.
    static PLANNING: Arc<Control>;
}

/// The work, whose planning stops once `control` says so.
pub(super) fn stoppable<F: Future>(control: Arc<Control>, work: F) -> impl Future<Output = F::Output> {
    PLANNING.scope(control, work)
}

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
    Ok(PLANNING.try_with(|control| control.check()).unwrap_or(Ok(()))?)
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
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        ask()?;
        self.0.rewrite(plan, config)
    }
}
