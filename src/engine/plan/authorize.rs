//! The rights that a plan needs, checked on everything that it reads, changes and runs.

use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::source_as_provider;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{DmlStatement, Expr, LogicalPlan, TableScan, TableSource, WriteOp};

use crate::engine::access::{Actor, DefinerNode, Guard};
use crate::engine::ddl;
use crate::engine::plan::backtest::BacktestNode;
use crate::engine::plan::command::CommandNode;
use crate::engine::plan::forecast::ForecastNode;
use crate::engine::plan::node::extension;
use crate::engine::plan::predict::PredictNode;
use crate::engine::plan::predict_sequence::PredictSequenceNode;
use crate::engine::plan::pretrain::PretrainNode;
use crate::engine::plan::subqueries::has_subquery;
use crate::engine::plan::task::TaskNode;
use crate::engine::plan::train::{Mode, TrainNode};
use crate::engine::shared::Engine;
use crate::engine::storage::{Privilege, StoredTableProvider, TableName};

/// The plan without its definers, when whoever acts has all the rights that it needs.
pub fn authorized(engine: &Engine, actor: &Actor, plan: LogicalPlan) -> Result<LogicalPlan> {
    let guard = Guard::new(engine, actor)?;
    Authorizer { engine, guard }.check(plan)
}

struct Authorizer<'a> {
    engine: &'a Engine,
    guard: Guard,
}

impl Authorizer<'_> {
    fn check(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let checked = plan.transform_down_with_subqueries(|node| {
            if let LogicalPlan::Dml(dml) = &node
                && reads_nothing(dml)
            {
                self.change(dml)?;
                return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
            }
            let Some(definer) = extension::<DefinerNode>(&node) else {
                self.node(&node)?;
                return Ok(Transformed::no(node));
            };
            if let Some(view) = &definer.view {
                self.guard.entry(view, Privilege::Select)?;
            }
            let guard = Guard::of_role(self.engine, definer.owner.as_deref())?;
            let inside = Authorizer { engine: self.engine, guard }.check(definer.input.clone())?;
            Ok(Transformed::new(inside, true, TreeNodeRecursion::Jump))
        })?;
        Ok(checked.data)
    }

    fn node(&self, node: &LogicalPlan) -> Result<()> {
        let guard = &self.guard;
        match node {
            LogicalPlan::TableScan(scan) => {
                stored_name(scan).map_or(Ok(()), |name| guard.entry(&name, Privilege::Select))?;
            }
            LogicalPlan::Dml(dml) => self.change(dml)?,
            _ => {}
        }
        if let Some(command) = extension::<CommandNode>(node) {
            command.command().check_rights(guard)?;
        }
        if let Some(forecast) = extension::<ForecastNode>(node) {
            guard.model(forecast.model(), Privilege::Select)?;
        }
        if let Some(backtest) = extension::<BacktestNode>(node) {
            backtest.models().try_for_each(|model| guard.model(model, Privilege::Select))?;
        }
        if let Some(pretrain) = extension::<PretrainNode>(node) {
            let request = pretrain.request();
            request.model.check_rights(self.engine, guard)?;
            request.base.iter().try_for_each(|base| guard.model(base, Privilege::Select))?;
        }
        if let Some(predict) = extension::<PredictNode>(node) {
            guard.model(predict.model(), Privilege::Select)?;
        }
        if let Some(predict) = extension::<PredictSequenceNode>(node) {
            guard.model(predict.model(), Privilege::Select)?;
        }
        if let Some(node) = extension::<TaskNode>(node) {
            node.task().check_rights(self.engine, guard)?;
        }
        if let Some(train) = extension::<TrainNode>(node)
            && train.mode() == Mode::Publish
        {
            let name = train.model();
            match self.engine.registry.find(&name)? {
                Some(_) if train.statement.or_replace => guard.model(&name, Privilege::Refresh)?,
                _ => guard.create_models()?,
            }
        }
        Ok(())
    }

    fn change(&self, dml: &DmlStatement) -> Result<()> {
        let Some(name) = stored_table(&dml.target) else { return Ok(()) };
        let privilege = match dml.op {
            WriteOp::Insert(_) => Privilege::Insert,
            WriteOp::Delete => Privilege::Delete,
            WriteOp::Update => Privilege::Update,
            WriteOp::Truncate => Privilege::Truncate,
            _ => return Err(DataFusionError::NotImplemented(format!("{} is not supported", dml.op))),
        };
        Ok(self.guard.entry(&name, privilege)?)
    }
}

/// True for a DELETE or UPDATE of all rows that looks at none of their values: it needs no right to read.
fn reads_nothing(dml: &DmlStatement) -> bool {
    let is_scan = |plan: &LogicalPlan| match plan {
        LogicalPlan::TableScan(scan) => scan.filters.is_empty(),
        LogicalPlan::SubqueryAlias(alias) => matches!(alias.input.as_ref(), LogicalPlan::TableScan(_)),
        _ => false,
    };
    match (&dml.op, dml.input.as_ref()) {
        (WriteOp::Delete, input) => is_scan(input),
        (WriteOp::Update, LogicalPlan::Projection(projection)) => {
            let fields = projection.schema.fields().iter();
            is_scan(&projection.input)
                && projection.expr.iter().zip(fields).all(|(expr, field)| keeps_or_sets(expr, field.name()))
        }
        _ => false,
    }
}

/// True when a column stays what it is, or becomes what no column has a part in.
fn keeps_or_sets(expr: &Expr, column: &str) -> bool {
    match expr.clone().unalias() {
        Expr::Column(kept) => kept.name == column,
        expr => expr.column_refs().is_empty() && !has_subquery(&expr),
    }
}

/// The stored table behind what a plan reads or changes.
pub fn stored_table(source: &Arc<dyn TableSource>) -> Option<TableName> {
    let provider = source_as_provider(source).ok()?;
    provider.downcast_ref::<StoredTableProvider>().map(|stored| stored.name().clone())
}

/// The stored or external table that a scan reads; none for what a session or the system made.
fn stored_name(scan: &TableScan) -> Option<TableName> {
    if let Some(name) = stored_table(&scan.source) {
        return Some(name);
    }
    let provider = source_as_provider(&scan.source).ok()?;
    // The rows of COPY FROM are read from a file under its path, which is no name of a table.
    let reference: &TableReference = &scan.table_name;
    provider.is::<ListingTable>().then(|| ddl::table_name(reference).ok()).flatten()
}
