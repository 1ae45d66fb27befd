//! `forecast(m, …)` and `simulate(m, …)` as plans: the model's history and future rows in, one row per series and
//! step out, or one per path, or sums of them.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore, cast, ident,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, FunctionArg, Spanned};

use crate::engine::fault;
use crate::engine::options;
use crate::engine::plan::arguments::{Arguments, model_argument, scalar, version_argument, whole_number};
use crate::engine::plan::forecasting::{self, Reading};
use crate::engine::plan::input::{InputColumn, Role, ordering};
use crate::engine::plan::new_series::{self, Items};
use crate::engine::plan::node::{all_columns, has_parameter, identified};
use crate::engine::plan::past::{Kept, Origin, Past, past, past_in};
use crate::engine::plan::scope::Scope;
use crate::engine::plan::series_texts::SeriesTexts;
use crate::engine::plan::work::{Work, WorkExec, query_context};
use crate::engine::registry::{Manifest, Model, ModelRole};
use crate::engine::shared::Engine;
use crate::error::{Error, Subject};
use crate::ml::evaluation::PathOptions;
use crate::ml::features::RowColumn;

/// Named arguments of `forecast`.
const ARGUMENTS: &[&str] = &[
    "horizon",
    "until",
    "level",
    "quantiles",
    "history",
    "by",
    "total",
    "mean",
    "seed",
    "version",
    "future",
    "set",
    "items",
];
/// Named arguments of `simulate`.
const SIMULATE_ARGUMENTS: &[&str] =
    &["horizon", "until", "paths", "seed", "version", "future", "set", "items"];

/// Sample paths where none are asked for, and the most that may be.
const PATHS: (usize, i64) = (100, 100_000);
/// Sample paths behind sums.
const SUM_PATHS: usize = 1_000;

/// Interval level when none is asked for.
pub const LEVEL_DEFAULT: f64 = 0.9;

/// Plans a call of `forecast`.
pub fn plan(
    scope: &Scope,
    args: Vec<FunctionArg>,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let mut args = Arguments::read("forecast", args, ARGUMENTS, context)?;
    let shape = Shape::read(&mut args, context)?;
    plan_shape(scope, args, shape, context)
}

/// Plans a call of `simulate`.
pub fn plan_simulation(
    scope: &Scope,
    args: Vec<FunctionArg>,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let mut args = Arguments::read("simulate", args, SIMULATE_ARGUMENTS, context)?;
    let count =
        args.named("paths").map(|value| whole_number("paths", value, (1, PATHS.1), context)).transpose()?;
    let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(PATHS.0);
    let seed = seed_argument(&mut args, context)?;
    let rows = OutputRows::Paths(PathOptions { count, seed });
    let shape = Shape { levels: vec![], rows, ..Shape::default() };
    plan_shape(scope, args, shape, context)
}

/// `seed => n`.
fn seed_argument(args: &mut Arguments, context: &mut dyn RelationPlannerContext) -> Result<u64> {
    let Some(value) = args.named("seed") else { return Ok(0) };
    Ok(u64::try_from(whole_number("seed", value, (0, 1 << 53), context)?).unwrap_or(0))
}

fn plan_shape(
    scope: &Scope,
    mut args: Arguments,
    shape: Shape,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let version = version_argument(&mut args, context)?;
    let asked = Asked::read(&mut args, context)?;
    let model = scope.fitted(&model_argument(&mut args, context)?, version)?;
    shape.check_keys(model.manifest())?;
    let past = past(scope, &model, context)?;
    asked.plan(scope, &args, &model, past, (shape, None), context)
}

/// Named arguments of `featurize`.
const FEATURE_ARGUMENTS: &[&str] = &["horizon", "version", "future", "set", "on"];

/// Plans a call of `featurize`: the rows that learners of rows see instead of what they say of them.
pub fn plan_features(
    scope: &Scope,
    args: Vec<FunctionArg>,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let mut args = Arguments::read("featurize", args, FEATURE_ARGUMENTS, context)?;
    let version = version_argument(&mut args, context)?;
    let asked = Asked::read(&mut args, context)?;
    let on = args.named("on");
    let model = scope.fitted(&model_argument(&mut args, context)?, version)?;
    let features = model.forecaster()?.row_columns().ok_or_else(|| {
        let name = &model.manifest().name;
        let message = format!("model {name} learns from whole series, not from rows of features");
        Error::input(Subject::Model, message).with_hint("USING gbt, alone or with others, learns from rows")
    })?;
    let past = match on {
        Some(value) => past_in(&model, args.plan_relation("on", value, scope, context)?, context)?,
        None => past(scope, &model, context)?,
    };
    asked.plan(scope, &args, &model, past, (Shape::default(), Some(Arc::new(features))), context)
}

/// What is asked of the steps after the past.
struct Asked {
    horizon: Option<Expr>,
    until: Option<ast::Expr>,
    future: Option<ast::Expr>,
    set: Option<ast::Expr>,
    items: Option<ast::Expr>,
}

impl Asked {
    fn read(args: &mut Arguments, context: &mut dyn RelationPlannerContext) -> Result<Self> {
        let horizon = args.named("horizon").map(|e| horizon_expr(e, context)).transpose()?;
        let [until, future, set, items] = ["until", "future", "set", "items"].map(|name| args.named(name));
        if horizon.is_some() && until.is_some() {
            return Err(args.invalid(format!("{} takes horizon or until, not both", args.function())));
        }
        Ok(Self { horizon, until, future, set, items })
    }

    fn plan(
        self,
        scope: &Scope,
        args: &Arguments,
        model: &Arc<Model>,
        past: Past,
        (shape, features): (Shape, Option<Arc<Vec<RowColumn>>>),
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let (manifest, mut past, mut items) = (model.manifest(), past, None);
        if let Some(value) = self.items {
            if shape.history.is_some() {
                let message = format!("{}: history does not go with items, which have none", args.function());
                return Err(args.invalid(message));
            }
            (past, items) = new_series::plan(scope, args, value, (model.as_ref(), past), context)?;
        }
        let Past { rows: history, periods, columns, origin } = past;
        let future = match self.future {
            Some(value) => Some(future_plan(scope, args, value, manifest, &history, context)?),
            None => None,
        };
        let until = self.until.map(|e| until_expr(e, &history, context)).transpose()?;
        let set = match self.set {
            Some(value) => set_exprs(args, value, manifest, &columns, &history, context)?,
            None => vec![],
        };
        let node = ForecastNode::new(Call {
            model: Arc::clone(model),
            encoder: SeriesTexts::encoder_of(&scope.engine, model)?,
            columns,
            shape,
            features,
            horizon: self.horizon,
            until,
            set,
            history,
            periods,
            future,
            origin,
            is_hierarchy: manifest.hierarchy.is_some(),
            items,
        })?;
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }
}

/// A number of steps; it is checked here unless it is a parameter.
fn horizon_expr(value: ast::Expr, context: &mut dyn RelationPlannerContext) -> Result<Expr> {
    let span = value.span();
    let expr = scalar(value, DataType::Int64, context)?;
    if !matches!(expr, Expr::Placeholder(_)) {
        options::horizon(&expr).map_err(|e| fault::at(e, span))?;
    }
    Ok(expr)
}

/// The expression, unless it is a parameter: the columns of the result depend on it.
fn shaping(expr: Expr) -> Result<Expr> {
    if !matches!(expr, Expr::Placeholder(_)) {
        return Ok(expr);
    }
    let message = "level, quantiles, history and version shape the result and must be literals in a prepared \
                   statement; horizon and until may be parameters";
    Err(Error::input(Subject::Option, message).into())
}

/// What shapes the result; literals only.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Interval levels, ascending.
    pub levels: Vec<f64>,
    /// Extra quantile columns.
    pub quantiles: Vec<f64>,
    /// Rows of history before the forecast; `None` for none.
    pub history: Option<usize>,
    /// The forecast is the mean, not the median.
    pub mean: bool,
    /// What a row is.
    pub rows: OutputRows,
}

/// What a row of the result is.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputRows {
    /// A step of a series.
    Steps,
    /// A step of a sample path of a series.
    Paths(PathOptions),
    /// A sum over series that share the keys of `by`, all keys where it is not given, and over steps where `total`.
    Sums {
        /// The keys that are kept.
        by: Option<Vec<String>>,
        /// One row for all steps.
        total: bool,
        /// Seed of the paths.
        seed: u64,
    },
}

impl Default for Shape {
    fn default() -> Self {
        let (levels, rows) = (vec![LEVEL_DEFAULT], OutputRows::Steps);
        Self { levels, quantiles: vec![], history: None, mean: false, rows }
    }
}

impl Shape {
    /// Reads what shapes the result.
    pub fn read(args: &mut Arguments, context: &mut dyn RelationPlannerContext) -> Result<Self> {
        let mut list = |name: &str, read: fn(&Expr) -> Result<f64, Error>| -> Result<Vec<f64>> {
            let Some(value) = args.named(name) else { return Ok(vec![]) };
            let levels = Arguments::as_list(value).into_iter().map(|value| {
                let span = value.span();
                let level = shaping(scalar(value, DataType::Float64, context)?).and_then(|e| Ok(read(&e)?));
                level.map_err(|e| fault::at(e, span))
            });
            Ok(options::ascending(levels.collect::<Result<_>>()?))
        };
        let mut levels = list("level", options::interval_level)?;
        if levels.is_empty() {
            levels = Self::default().levels;
        }
        let quantiles = list("quantiles", options::level)?;
        let history = match args.named("history") {
            Some(ast::Expr::Value(v)) if matches!(v.value, ast::Value::Boolean(_)) => {
                matches!(v.value, ast::Value::Boolean(true)).then_some(usize::MAX)
            }
            Some(value) => {
                let rows = whole_number("history", value, (0, i64::MAX), context)?;
                usize::try_from(rows).ok().filter(|n| *n > 0)
            }
            None => None,
        };
        let mean = truth(args, "mean", context)?;
        let rows = Self::read_rows(args, history, context)?;
        Ok(Self { levels, quantiles, history, mean, rows })
    }

    fn read_rows(
        args: &mut Arguments,
        history: Option<usize>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<OutputRows> {
        let total = truth(args, "total", context)?;
        let by = args.named("by").map(|value| match value {
            // No key is kept: all series are one.
            ast::Expr::Value(none) if none.value == ast::Value::Null => Ok(vec![]),
            keys => {
                Arguments::as_list(keys).into_iter().map(|key| args.as_name("by", key, context)).collect()
            }
        });
        let (by, seed) = (by.transpose()?, seed_argument(args, context)?);
        if by.is_none() && !total {
            return Ok(OutputRows::Steps);
        }
        if history.is_some() {
            let message = "forecast: history does not go with by or total, whose rows are sums of forecasts";
            return Err(args.invalid(message.to_owned()));
        }
        Ok(OutputRows::Sums { by, total, seed })
    }

    /// Rows are sums.
    pub fn is_sum(&self) -> bool {
        matches!(self.rows, OutputRows::Sums { .. })
    }

    /// The sample paths that are needed.
    pub fn paths(&self) -> Option<PathOptions> {
        match self.rows {
            OutputRows::Steps => None,
            OutputRows::Paths(paths) => Some(paths),
            OutputRows::Sums { seed, .. } => Some(PathOptions { count: SUM_PATHS, seed }),
        }
    }

    /// Sums keep series keys only.
    fn check_keys(&self, manifest: &Manifest) -> Result<()> {
        let OutputRows::Sums { by: Some(by), .. } = &self.rows else { return Ok(()) };
        let keys: Vec<&str> =
            manifest.roles.iter().filter(|c| c.role == ModelRole::Key).map(|c| c.name.as_str()).collect();
        let Some(other) = by.iter().find(|name| !keys.contains(&name.as_str())) else { return Ok(()) };
        let suggestion = crate::error::did_you_mean(other, keys.iter().copied());
        let message = format!("by => {other} is no series key of model {}{suggestion}", manifest.name);
        let hint = match keys.len() {
            0 => format!("{} has one series: leave by away", manifest.name),
            _ => format!("series keys: {}; join what belongs to them to the result", keys.join(", ")),
        };
        Err(Error::not_found(Subject::Column, message).with_hint(hint).into())
    }

    /// True when the values of this series key are shown.
    fn shows(&self, key: &str) -> bool {
        match &self.rows {
            OutputRows::Sums { by: Some(by), .. } => by.iter().any(|name| name == key),
            _ => true,
        }
    }
}

/// `name => true` or `name => false`.
fn truth(args: &mut Arguments, name: &str, context: &mut dyn RelationPlannerContext) -> Result<bool> {
    let Some(value) = args.named(name) else { return Ok(false) };
    let span = value.span();
    match scalar(value, DataType::Boolean, context)? {
        Expr::Literal(ScalarValue::Boolean(Some(truth)), _) => Ok(truth),
        other => {
            let error = Error::input(Subject::Option, format!("{name} takes true or false, got {other}"));
            Err(fault::at(error, span))
        }
    }
}

/// `q05`, `q50`, `q975`: the digits of a level, two at least.
fn quantile_name(level: f64) -> String {
    let text = format!("{level}");
    format!("q{:0<2}", text.trim_start_matches("0."))
}

/// `80` or `99.5`: an interval level in percent.
fn percent(level: f64) -> String {
    format!("{}", (level * 1e6).round() / 1e4).replace('.', "_")
}

/// Keys, time and known covariates of the rows given as `future =>`, in the types of the history.
fn future_plan(
    scope: &Scope,
    args: &Arguments,
    value: ast::Expr,
    manifest: &Manifest,
    history: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let relation = args.plan_relation("future", value, scope, context)?;
    let given: Vec<&str> = relation.schema().fields().iter().map(|f| f.name().as_str()).collect();
    let mut exprs = vec![];
    for (column, field) in manifest.roles.iter().zip(history.schema().fields()) {
        if !matches!(column.role, ModelRole::Key | ModelRole::Time | ModelRole::Known) {
            continue;
        }
        if !given.contains(&column.name.as_str()) {
            let suggestion = crate::error::did_you_mean(&column.name, given.iter().copied());
            let message = format!("future => has no column {}{suggestion}", column.name);
            return Err(Error::not_found(Subject::Column, message)
                .with_hint(format!("it needs the columns {}", needed_columns(manifest).join(", ")))
                .into());
        }
        exprs.push(cast(ident(&column.name), field.data_type().clone()).alias(&column.name));
    }
    LogicalPlanBuilder::from(relation).project(exprs)?.build()
}

/// The columns that future rows need.
pub fn needed_columns(manifest: &Manifest) -> Vec<String> {
    let needed = |r: &ModelRole| matches!(r, ModelRole::Key | ModelRole::Time | ModelRole::Known);
    manifest.roles.iter().filter(|c| needed(&c.role)).map(|c| c.name.clone()).collect()
}

fn until_expr(
    value: ast::Expr,
    history: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> Result<Expr> {
    let time = time_field(history);
    Ok(cast(scalar(value, time.clone(), context)?, time))
}

fn time_field(history: &LogicalPlan) -> DataType {
    let fields = history.schema().fields();
    let found = fields
        .iter()
        .find(|f| matches!(f.data_type(), DataType::Date32 | DataType::Date64 | DataType::Timestamp(..)));
    found.map_or(DataType::Int64, |f| f.data_type().clone())
}

/// `set => (price = price * 0.9, promo = 1)`: new values of known covariates in the future.
fn set_exprs(
    args: &Arguments,
    value: ast::Expr,
    manifest: &Manifest,
    columns: &[InputColumn],
    history: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> Result<Vec<(String, Expr)>> {
    let known: Vec<&str> =
        manifest.roles.iter().filter(|c| c.role == ModelRole::Known).map(|c| c.name.as_str()).collect();
    let mut found = vec![];
    for element in Arguments::as_list(value) {
        let (column, value) = match element {
            ast::Expr::BinaryOp { left, op: ast::BinaryOperator::Eq, right } => match *left {
                ast::Expr::Identifier(column) => (context.normalize_ident(column), *right),
                other => return Err(args.invalid(format!("set => (column = value): {other} is no column"))),
            },
            other => return Err(args.invalid(format!("set takes (column = value, …), got {other}"))),
        };
        if !known.contains(&column.as_str()) {
            let suggestion = crate::error::did_you_mean(&column, known.iter().copied());
            let message = format!("{column} is no known covariate of model {}{suggestion}", manifest.name);
            let hint = match known.len() {
                0 => format!("{} was trained without KNOWN covariates: it has nothing to set", manifest.name),
                _ => format!("known covariates: {}", known.join(", ")),
            };
            return Err(Error::not_found(Subject::Column, message).with_hint(hint).into());
        }
        let data_type = history.schema().field_with_unqualified_name(&column)?.data_type().clone();
        found.push((column, cast(context.sql_to_expr(value, &known_schema(columns)?)?, data_type)));
    }
    Ok(found)
}

/// The known covariates in the user's types.
fn known_schema(columns: &[InputColumn]) -> Result<DFSchema> {
    let known = columns.iter().filter(|c| c.role == Role::Known);
    let fields = known.map(|c| Field::new(&c.name, c.data_type.clone(), true));
    DFSchema::try_from(Schema::new(fields.collect::<Vec<_>>()))
}

/// A call with its arguments resolved.
#[derive(Debug, Clone)]
pub struct Call {
    /// The model.
    pub model: Arc<Model>,
    /// The text model that reads the texts of its series, where it has one.
    pub encoder: Option<Arc<Model>>,
    /// Columns of `history`.
    pub columns: Vec<InputColumn>,
    /// What shapes the result.
    pub shape: Shape,
    /// The rows that the model sees are wanted, of these columns, and no forecast.
    pub features: Option<Arc<Vec<RowColumn>>>,
    /// Steps, when given.
    pub horizon: Option<Expr>,
    /// Last time, when given.
    pub until: Option<Expr>,
    /// New values of known covariates.
    pub set: Vec<(String, Expr)>,
    /// Rows of the recorded relation.
    pub history: LogicalPlan,
    /// The rows of every period of all series, where rows are aggregated to periods. No filter goes there,
    /// so it is not an input of the logical node.
    pub periods: Option<LogicalPlan>,
    /// Rows of `future =>`.
    pub future: Option<LogicalPlan>,
    /// Where the history comes from.
    pub origin: Origin,
    /// Forecasts depend on all series: they are reconciled with those of sums.
    pub is_hierarchy: bool,
    /// The rows are no history but new series, a row each.
    pub items: Option<Items>,
}

/// The logical node.
#[derive(Debug, Clone)]
pub struct ForecastNode {
    call: Call,
    schema: DFSchemaRef,
}

impl ForecastNode {
    fn new(call: Call) -> Result<Self> {
        let schema = Arc::new(DFSchema::try_from(output_schema(&call))?);
        Ok(Self { call, schema })
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.call.model.manifest().name
    }

    /// The history in memory that it reads, when all its parameters are among its expressions.
    pub fn kept(&self) -> Option<&Arc<Kept>> {
        match &self.call.origin {
            Origin::Kept(kept) => Some(kept).filter(|_| !self.call.set.iter().any(|(_, e)| has_parameter(e))),
            Origin::Tables(_) | Origin::Given => None,
        }
    }

    fn identity(&self) -> impl Hash + PartialEq + '_ {
        let (c, m) = (&self.call, self.call.model.manifest());
        let options = (&c.horizon, &c.until, &c.set, c.features.is_some(), c.items);
        // A name may be given again, and its versions with it.
        let model = (&m.name, m.version, m.created_at);
        (model, format!("{:?}", c.shape), options, &c.history, &c.future)
    }
}

/// Keys and time in the user's names and types, then our columns.
fn output_schema(call: &Call) -> Schema {
    let history = call.history.schema();
    let mut fields: Vec<Field> = vec![];
    for (column, field) in call.columns.iter().zip(history.fields()) {
        if column.role == Role::Time || column.role == Role::Key && call.shape.shows(&column.name) {
            fields.push(field.as_ref().clone().with_nullable(true));
        }
    }
    match &call.features {
        Some(features) => fields.extend(feature_fields(&fields, features)),
        None => fields.extend(call.shape.fields()),
    }
    Schema::new(fields)
}

/// The step, then the features; those whose names are taken get a number.
fn feature_fields(keys: &[Field], features: &[RowColumn]) -> Vec<Field> {
    let mut taken: Vec<String> = keys.iter().map(|field| field.name().clone()).collect();
    let mut fields = vec![];
    // The step is among the features, too, but as they see it.
    let columns = std::iter::once(("step", DataType::Int64)).chain(
        features.iter().filter(|feature| feature.name != "step").map(|feature| {
            let data_type = if feature.words.is_some() { DataType::Utf8 } else { DataType::Float64 };
            (feature.name.as_str(), data_type)
        }),
    );
    for (name, data_type) in columns {
        let free = |name: &String| !taken.contains(name);
        let numbered = (2..).map(|n| format!("{name}_{n}"));
        let name = std::iter::once(name.to_owned()).chain(numbered).find(free).unwrap_or_default();
        taken.push(name.clone());
        fields.push(Field::new(name, data_type, true));
    }
    fields
}

impl Shape {
    /// Our columns, which stand behind keys and time.
    pub fn fields(&self) -> Vec<Field> {
        let number = |name: String| Field::new(name, DataType::Float64, true);
        if let OutputRows::Paths(_) = self.rows {
            let whole = |name: &str| Field::new(name, DataType::Int64, false);
            return vec![whole("step"), whole("path"), number("value".to_owned())];
        }
        let mut fields = vec![];
        if self.history.is_some() {
            fields.push(Field::new("kind", DataType::Utf8, false));
            fields.push(number("actual".to_owned()));
        }
        fields.push(Field::new("step", DataType::Int64, true));
        fields.push(number("forecast".to_owned()));
        match self.levels.as_slice() {
            [_] => fields.extend(["lower_bound", "upper_bound"].map(|n| number(n.to_owned()))),
            levels => {
                for level in levels {
                    fields.extend([
                        number(format!("lower_{}", percent(*level))),
                        number(format!("upper_{}", percent(*level))),
                    ]);
                }
            }
        }
        fields.extend(self.quantiles.iter().map(|q| number(quantile_name(*q))));
        fields.push(Field::new("model_version", DataType::Int64, false));
        fields.push(Field::new("status", DataType::Utf8, true));
        fields
    }
}

identified!(ForecastNode);

impl UserDefinedLogicalNodeCore for ForecastNode {
    fn name(&self) -> &str {
        "Forecast"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        std::iter::once(&self.call.history).chain(&self.call.future).collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// Filters on series keys go below, unless the series need each other; all others are about the forecast.
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        let alone = |c: &&InputColumn| c.role == Role::Key && !self.call.is_hierarchy;
        let keys: Vec<&str> = self.call.columns.iter().filter(alone).map(|c| c.name.as_str()).collect();
        let fields = self.schema.fields().iter().map(|f| f.name().clone());
        fields.filter(|name| !keys.contains(&name.as_str())).collect()
    }

    /// `set` is over columns of the forecast's own future rows and is resolved when the model is known.
    fn expressions(&self) -> Vec<Expr> {
        self.call.horizon.iter().chain(&self.call.until).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.call.features.is_some() { "Features" } else { "Forecast" };
        let manifest = self.call.model.manifest();
        write!(f, "{what}: model={} version={}", manifest.name, manifest.version)?;
        self.expressions().iter().try_for_each(|e| write!(f, " {e}"))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut node = self.clone();
        let mut exprs = exprs.into_iter();
        node.call.horizon = node.call.horizon.and_then(|_| exprs.next());
        node.call.until = node.call.until.and_then(|_| exprs.next());
        let mut inputs = inputs.into_iter();
        if let Some(history) = inputs.next() {
            node.call.history = history;
        }
        node.call.future = inputs.next();
        Ok(node)
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(all_columns(&self.inputs()))
    }
}

/// Plans a node over its history and future rows.
pub async fn plan_node(
    engine: &Arc<Engine>,
    node: &ForecastNode,
    mut inputs: Vec<Arc<dyn ExecutionPlan>>,
    session: &dyn Session,
) -> Result<Arc<dyn ExecutionPlan>> {
    let call = &node.call;
    let model = Arc::clone(&call.model);
    let horizon = call.horizon.as_ref().map(options::horizon).transpose()?;
    let until = call.until.as_ref().map(|expr| forecasting::until_instant(expr, session)).transpose()?;
    let texts = SeriesTexts::of(&model, call.encoder.as_deref())?;
    let schema = Arc::clone(node.schema.inner());
    let known = known_schema(&call.columns)?;
    let mut set = vec![];
    for (column, expr) in &call.set {
        set.push((column.clone(), session.create_physical_expr(expr.clone(), &known)?));
    }
    if let Some(periods) = &call.periods {
        inputs.push(session.create_physical_plan(periods).await?);
    }
    let reading = Reading {
        engine: Arc::clone(engine),
        model,
        columns: call.columns.clone(),
        has_periods: call.periods.is_some(),
        origin: call.origin.clone(),
        items: call.items,
        texts,
        shape: call.shape.clone(),
        features: call.features.clone(),
        horizon,
        until,
        set,
        known: Arc::clone(known.inner()),
        schema: Arc::clone(&schema),
    };
    Ok(Arc::new(WorkExec::new(Arc::new(reading), inputs, schema)))
}

impl Work for Reading {
    fn name(&self) -> &'static str {
        "ForecastExec"
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manifest = self.model.manifest();
        write!(f, "model={} version={}", manifest.name, manifest.version)
    }

    fn sorted_columns(&self, input: usize) -> usize {
        if input == 0 { ordering(&self.columns) } else { 0 }
    }

    fn start(
        self: Arc<Self>,
        schema: SchemaRef,
        inputs: Vec<SendableRecordBatchStream>,
        context: Arc<TaskContext>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> SendableRecordBatchStream {
        let query = query_context(&context);
        self.origin.note();
        Box::pin(RecordBatchStreamAdapter::new(schema, forecasting::read(self, inputs, query, &context)))
    }
}
