//! `lag_features(rel, ...)` as a plan: a relation in, the same rows with lags and rolling means out.

mod lags;

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchema, DFSchemaRef, TableReference};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{Boundedness, CardinalityEffect, EmissionType};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, PlanProperties,
};
use datafusion::sql::sqlparser::ast::{self, FunctionArg};
use futures::StreamExt;

use crate::engine::plan::arguments::{Arguments, whole_number};
use crate::engine::plan::features::lags::{Columns, LagFeatures, ORDER, Windows};
use crate::engine::plan::scope::Scope;
use crate::error::{Error, Subject, did_you_mean};

const ARGUMENTS: &[&str] = &["target", "by", "time", "lags", "rolling", "shift"];
/// The longest lag, window or shift, in rows.
const ROWS_MAX: i64 = 1_000_000;
/// The most features of one call.
const FEATURES_MAX: usize = 256;

/// Plans `lag_features(rel, target =>, by =>, time =>, lags =>, rolling =>, shift =>)`.
pub fn plan(
    scope: &Scope,
    args: Vec<FunctionArg>,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let mut args = Arguments::read("lag_features", args, ARGUMENTS, context)?;
    let Some(relation) = args.positional(0).filter(|_| args.positional_len() == 0) else {
        let message = "lag_features takes one relation first: lag_features(sales, target => units, ...)";
        return Err(args.invalid(message.to_owned()));
    };
    let input = args.plan_relation("the first argument", relation, scope, context)?;
    let keys = match args.named("by") {
        Some(value) => Arguments::as_list(value),
        None => vec![],
    };
    let keys = keys.into_iter().map(|key| named_column(&args, "by", key, &input, context));
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let target = required_column(&mut args, "target", &input, context)?;
    let time = required_column(&mut args, "time", &input, context)?;
    let shift = rows(&mut args, "shift", context)?;
    let lags = rows(&mut args, "lags", context)?;
    let rolling = rows(&mut args, "rolling", context)?;
    let shift = match shift[..] {
        [] => 1,
        [shift] => shift,
        _ => return Err(args.invalid("lag_features: shift is one number of rows".to_owned())),
    };
    let spec = LagFeaturesSpec { target, keys, time, lags, rolling, shift };
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(LagFeaturesNode::new(input, spec)?) }))
}

fn required_column(
    args: &mut Arguments,
    name: &str,
    input: &LogicalPlan,
    context: &dyn RelationPlannerContext,
) -> Result<Column> {
    match args.named(name) {
        Some(value) => named_column(args, name, value, input, context),
        None => {
            Err(args.invalid(format!("lag_features needs {name}: write {name} => a column of its relation")))
        }
    }
}

fn named_column(
    args: &Arguments,
    argument: &str,
    value: ast::Expr,
    input: &LogicalPlan,
    context: &dyn RelationPlannerContext,
) -> Result<Column> {
    let name = args.as_name(argument, value, context)?;
    let mut found = input.schema().columns().into_iter().filter(|c| c.name == name);
    match (found.next(), found.next()) {
        (Some(column), None) => Ok(column),
        (Some(_), Some(_)) => Err(args.invalid(format!("lag_features: {argument} => {name} is ambiguous"))),
        (None, _) => {
            let names = input.schema().field_names();
            let fields: Vec<_> = names.iter().map(|n| n.rsplit('.').next().unwrap_or(n)).collect();
            let suggestion = did_you_mean(&name, fields);
            let message = format!("lag_features: {argument} => no column {name}{suggestion}");
            Err(Error::not_found(Subject::Column, message).into())
        }
    }
}

/// A list of row counts, each from 1 to a million.
fn rows(args: &mut Arguments, name: &str, context: &mut dyn RelationPlannerContext) -> Result<Vec<usize>> {
    let Some(value) = args.named(name) else { return Ok(vec![]) };
    let mut counts = vec![];
    for value in Arguments::as_list(value) {
        let count = whole_number(name, value, (1, ROWS_MAX), context)?;
        counts.push(usize::try_from(count).unwrap_or(1));
    }
    Ok(counts)
}

/// Which features of which columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LagFeaturesSpec {
    /// The value that is lagged; any numeric type.
    pub target: Column,
    /// The series keys; none is one series.
    pub keys: Vec<Column>,
    /// The time.
    pub time: Column,
    /// Rows back, each at least 1.
    pub lags: Vec<usize>,
    /// Rows in a rolling mean, each at least 1.
    pub rolling: Vec<usize>,
    /// Rows between a row and the last row of its rolling windows; at 1 they end with the row before.
    pub shift: usize,
}

impl LagFeaturesSpec {
    fn windows(&self) -> Windows {
        Windows { lags: self.lags.clone(), rolling: self.rolling.clone(), shift: self.shift }
    }

    fn columns(&self) -> impl Iterator<Item = &Column> {
        [&self.target, &self.time].into_iter().chain(&self.keys)
    }
}

/// The logical node: the columns of its input, then `lag_1`.. and `rolling_mean_7`.. as double precision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LagFeaturesNode {
    input: LogicalPlan,
    spec: LagFeaturesSpec,
    schema: DFSchemaRef,
}

impl LagFeaturesNode {
    /// Features of this relation; the spec is checked against its columns.
    pub fn new(input: LogicalPlan, spec: LagFeaturesSpec) -> Result<Self> {
        let names = spec.windows().names();
        let target = input.schema().field(input.schema().index_of_column(&spec.target)?);
        let invalid = |message: String| Err(Error::input(Subject::Option, message).into());
        if !target.data_type().is_numeric() {
            let name = &spec.target.name;
            let data_type = target.data_type();
            return invalid(format!("lag_features: target => {name} is {data_type}; it must be a number"));
        }
        if names.is_empty() || names.len() > FEATURES_MAX {
            let ask = "give lags => (1, 7) or rolling => (7, 28)";
            return invalid(format!(
                "lag_features: {} features asked for, from 1 to {FEATURES_MAX}; {ask}",
                names.len()
            ));
        }
        let mut taken: HashSet<&str> = input.schema().fields().iter().map(|f| f.name().as_str()).collect();
        if let Some(name) = names.iter().find(|name| !taken.insert(name.as_str())) {
            return invalid(format!(
                "lag_features: a column {name} exists already; rename it, or ask for it once"
            ));
        }
        let schema = Arc::new(output_schema(input.schema(), &names)?);
        Ok(Self { input, spec, schema })
    }
}

fn output_schema(input: &DFSchema, names: &[String]) -> Result<DFSchema> {
    let features = names.iter().map(|n| (None, Arc::new(Field::new(n, DataType::Float64, true))));
    let fields: Vec<(Option<TableReference>, _)> =
        input.iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).chain(features).collect();
    DFSchema::new_with_metadata(fields, input.metadata().clone())
}

impl PartialOrd for LagFeaturesNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for LagFeaturesNode {
    fn name(&self) -> &str {
        "LagFeatures"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.spec.columns().cloned().map(Expr::Column).collect()
    }

    /// A filter on series keys may run below the node: it takes or leaves whole series.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let keys: HashSet<&str> = self.spec.keys.iter().map(|k| k.name.as_str()).collect();
        let fields = self.schema.fields().iter().map(|f| f.name());
        fields.filter(|name| !keys.contains(name.as_str())).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.spec.keys.iter().map(|k| k.name.as_str()).collect();
        let features = self.spec.windows().names().join(", ");
        write!(
            f,
            "LagFeatures: target={}, by=[{}], time={}, features=[{features}]",
            self.spec.target.name,
            keys.join(", "),
            self.spec.time.name
        )
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let columns = exprs.into_iter().map(|e| match e {
            Expr::Column(column) => Ok(column),
            other => Err(DataFusionError::Internal(format!("lag_features got {other} in place of a column"))),
        });
        let mut columns = columns.collect::<Result<Vec<_>>>()?.into_iter();
        let (Some(target), Some(time), Some(input)) = (columns.next(), columns.next(), inputs.pop()) else {
            return Err(DataFusionError::Internal("lag_features lost its columns or its input".to_owned()));
        };
        Self::new(input, LagFeaturesSpec { target, time, keys: columns.collect(), ..self.spec.clone() })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let input = self.input.schema();
        let used = self.spec.columns().map(|c| input.index_of_column(c).ok()).collect::<Option<Vec<_>>>()?;
        let passed = output_columns.iter().copied().filter(|i| *i < input.fields().len());
        let mut wanted: Vec<usize> = passed.chain(used).collect();
        wanted.sort_unstable();
        wanted.dedup();
        Some(vec![wanted])
    }
}

/// The physical operator; each partition holds whole series, sorted by key and time.
#[derive(Debug)]
pub struct LagFeaturesExec {
    input: Arc<dyn ExecutionPlan>,
    columns: Columns,
    windows: Windows,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl LagFeaturesExec {
    /// Plans a node over its rows.
    pub fn plan(node: &LagFeaturesNode, input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let index = |column: &Column| node.input.schema().index_of_column(column);
        let columns = Columns {
            target: index(&node.spec.target)?,
            keys: node.spec.keys.iter().map(index).collect::<Result<_>>()?,
            time: index(&node.spec.time)?,
        };
        Ok(Self::new(input, columns, node.spec.windows(), Arc::clone(node.schema.inner())))
    }

    fn new(input: Arc<dyn ExecutionPlan>, columns: Columns, windows: Windows, schema: SchemaRef) -> Self {
        let orderings = input.output_ordering().cloned();
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(schema, orderings),
            input.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let metrics = ExecutionPlanMetricsSet::new();
        Self { input, columns, windows, properties: Arc::new(properties), metrics }
    }

    fn with_input(&self, input: Arc<dyn ExecutionPlan>) -> Self {
        Self::new(input, self.columns.clone(), self.windows.clone(), self.schema())
    }

    fn column(&self, i: usize) -> Arc<dyn PhysicalExpr> {
        Arc::new(PhysicalColumn::new(self.input.schema().field(i).name(), i))
    }
}

impl DisplayAs for LagFeaturesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LagFeaturesExec: features=[{}]", self.windows.names().join(", "))
    }
}

impl ExecutionPlan for LagFeaturesExec {
    fn name(&self) -> &str {
        "LagFeaturesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// Rows of one series must meet; a single input partition holds them together already.
    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let single = self.columns.keys.is_empty() || self.input.output_partitioning().partition_count() == 1;
        let distribution = if single {
            Distribution::SinglePartition
        } else {
            Distribution::KeyPartitioned(self.columns.keys.iter().map(|k| self.column(*k)).collect())
        };
        InputDistributionRequirements::new(vec![distribution])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let sorted = self.columns.keys.iter().chain([&self.columns.time]);
        let exprs = sorted.map(|c| PhysicalSortExpr::new(self.column(*c), ORDER));
        vec![LexOrdering::new(exprs).map(OrderingRequirements::from)]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.with_input(children.swap_remove(0))))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let mut features = LagFeatures::new(self.columns.clone(), self.windows.clone(), self.schema());
        let extended = rows.map(move |batch| {
            let _timer = metrics.elapsed_compute().timer();
            features.extend(&batch?).record_output(&metrics)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), extended)))
    }
}
