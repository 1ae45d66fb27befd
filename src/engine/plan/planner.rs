//! From logical to physical plans: ours, Delta's, and DataFusion's behind the guard of changes.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Analyze, DmlStatement, Explain, LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use crate::engine::access::DefinerNode;
use crate::engine::ddl;
use crate::engine::plan::backtest::{self, BacktestNode};
use crate::engine::plan::command::{self, CommandNode};
use crate::engine::plan::dml_guard::{self, Guarded};
use crate::engine::plan::features::{LagFeaturesExec, LagFeaturesNode};
use crate::engine::plan::forecast::{self, ForecastNode};
use crate::engine::plan::predict::{self, PredictNode};
use crate::engine::plan::predict_sequence::{self, PredictSequenceNode};
use crate::engine::plan::pretrain::{self, PretrainNode};
use crate::engine::plan::task::{self, TaskNode};
use crate::engine::plan::train::{self, TrainNode};
use crate::engine::shared::Engine;
use crate::engine::storage::Entry;
use crate::error::{Error, ErrorKind, Subject};

/// Plans our nodes and guards UPDATE and DELETE.
#[derive(Debug)]
pub struct ForetellPlanner;

impl ForetellPlanner {
    /// Fails unless the rows that a statement changes are those of a stored table.
    fn ensure_changeable(engine: &Engine, dml: &DmlStatement) -> Result<()> {
        let name = ddl::table_name(&dml.table_name)?;
        let (kind, hint) = match engine.catalog.find(&name)? {
            Some(Entry::View(_)) => ("a view", "change the tables that it reads".to_owned()),
            Some(Entry::External(_)) => (
                "an external table",
                format!("CREATE TABLE other AS SELECT * FROM {name} makes a table that can be changed"),
            ),
            Some(Entry::Table(_) | Entry::Sequence(_)) | None => return Ok(()),
        };
        let message = format!("{name} is {kind}: it can only be read");
        Err(Error::new(ErrorKind::Unsupported, Subject::Table, message).with_hint(hint).into())
    }
}

#[async_trait]
impl QueryPlanner for ForetellPlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let engine = session.config().get_extension::<Engine>();
        let engine = engine.ok_or_else(|| Error::internal("the session has no database"))?;
        let nodes: Arc<dyn ExtensionPlanner + Send + Sync> = Arc::new(Nodes { engine: Arc::clone(&engine) });
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![nodes]);
        if let LogicalPlan::Dml(dml) = inner(plan) {
            Self::ensure_changeable(&engine, dml)?;
            if let Guarded::Nothing = dml_guard::check(dml)? {
                let nothing = with_inner(plan, dml_guard::nothing()?);
                return planner.create_physical_plan(&nothing, session).await;
            }
        }
        planner.create_physical_plan(plan, session).await
    }
}

/// The plan that EXPLAIN is about, or the plan itself.
fn inner(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Explain(explain) => &explain.plan,
        LogicalPlan::Analyze(analyze) => &analyze.input,
        other => other,
    }
}

/// The plan with another one in the place of [`inner`].
fn with_inner(plan: &LogicalPlan, other: LogicalPlan) -> LogicalPlan {
    match plan.clone() {
        LogicalPlan::Explain(explain) => LogicalPlan::Explain(Explain { plan: Arc::new(other), ..explain }),
        LogicalPlan::Analyze(analyze) => LogicalPlan::Analyze(Analyze { input: Arc::new(other), ..analyze }),
        _ => other,
    }
}

#[derive(Debug)]
struct Nodes {
    engine: Arc<Engine>,
}

#[async_trait]
impl ExtensionPlanner for Nodes {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let any = node.as_any();
        let rows = inputs.to_vec();
        if let Some(node) = any.downcast_ref::<TrainNode>() {
            return train::plan_node(&self.engine, node, rows, session).map(Some);
        }
        if let Some(node) = any.downcast_ref::<PretrainNode>() {
            return pretrain::plan_node(&self.engine, node, rows, session).map(Some);
        }
        if let Some(node) = any.downcast_ref::<TaskNode>() {
            return Ok(Some(task::plan_node(&self.engine, node, rows, session)));
        }
        if let Some(node) = any.downcast_ref::<PredictNode>() {
            return Ok(Some(predict::plan_node(&self.engine, node, rows)));
        }
        if let Some(node) = any.downcast_ref::<PredictSequenceNode>() {
            return Ok(Some(predict_sequence::plan_node(&self.engine, node, rows)));
        }
        if let Some(node) = any.downcast_ref::<ForecastNode>() {
            return forecast::plan_node(&self.engine, node, rows, session).await.map(Some);
        }
        if let Some(node) = any.downcast_ref::<BacktestNode>() {
            return Ok(Some(backtest::plan_node(&self.engine, node, rows)));
        }
        if let Some(node) = any.downcast_ref::<CommandNode>() {
            return Ok(Some(command::plan_node(&self.engine, node, rows)));
        }
        if let Some(features) = any.downcast_ref::<LagFeaturesNode>() {
            return Ok(Some(Arc::new(LagFeaturesExec::plan(features, Arc::clone(&inputs[0]))?)));
        }
        // Rights were checked before; what is left of a definer is its plan.
        Ok(any.downcast_ref::<DefinerNode>().and_then(|_| rows.into_iter().next()))
    }
}
