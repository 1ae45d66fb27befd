//! Relations of ours in FROM: TRAIN's marker, table functions with named arguments, table versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::catalog::{TableFunctionArgs, TableProvider};
use datafusion::common::DFSchema;
use datafusion::common::metadata::FieldMetadata;
use datafusion::datasource::{MemTable, provider_as_source, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ident};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, Spanned, TableFactor, TableVersion as AstVersion,
};

use crate::engine::ddl;
use crate::engine::fault;
use crate::engine::functions::{self, SyntheticSales, SyntheticSalesTable};
use crate::engine::options::{self, RawOption, TriedValues, TuneBounds};
use crate::engine::plan::arguments::{
    Arguments, model_argument, model_arguments, names_argument, scalar, version_argument, whole_number,
};
use crate::engine::plan::backtest;
use crate::engine::plan::compress::{self, Compress};
use crate::engine::plan::features;
use crate::engine::plan::forecast;
use crate::engine::plan::hierarchy;
use crate::engine::plan::import::Import;
use crate::engine::plan::input::{plan_calendar, plan_input};
use crate::engine::plan::predict::PredictNode;
use crate::engine::plan::pretrain::PretrainNode;
use crate::engine::plan::pretrain_function;
use crate::engine::plan::pretrain_text::PretrainText;
use crate::engine::plan::refresh::Refresh;
use crate::engine::plan::scope::Scope;
use crate::engine::plan::tables;
use crate::engine::plan::task::TaskNode;
use crate::engine::plan::train::TrainNode;
use crate::engine::plan::train_function;
use crate::engine::plan::train_rows::TrainRows;
use crate::engine::plan::train_sequence::TrainSequence;
use crate::engine::plan::zero_shot;
use crate::engine::registry::{Model, ModelKind};
use crate::engine::sql::{self, MARK, TrainStatement, TuneClause, TuneValues, fold};
use crate::engine::storage::{
    ColumnDefinition, Privilege, StoredTableProvider, TableName, TableVersion, told_type,
};
use crate::error::{Error, Result as OurResult, Subject};
use crate::ml::holidays::parse_country;
use crate::ml::models::{BASE_NAME, Tuning};
use crate::postgres::PG_TYPE;

/// A table function, as lists of functions tell it.
#[derive(Debug)]
pub struct TableFunction {
    /// Its name.
    pub name: &'static str,
    /// How it is called.
    pub usage: &'static str,
    /// What its rows are.
    pub description: &'static str,
}

const fn function(name: &'static str, usage: &'static str, description: &'static str) -> TableFunction {
    TableFunction { name, usage, description }
}

/// Table functions with named arguments.
pub const TABLE_FUNCTIONS: &[TableFunction] = &[
    function("describe_model", "describe_model(model, version => n)", "What is known of a model."),
    function("describe_table", "describe_table(table)", "Columns of a table, view or query."),
    function(
        "backtest",
        "backtest(model, windows => n, step => n, horizon => n, refit => true | n, by => column, level => 90)",
        "Forecasts of windows of the past by what was known before them, of one model or several: backtest((a, b)).",
    ),
    function(
        "evaluate",
        "evaluate(model, on => table, by => column, version => n)",
        "Scores of a model or several, (a, b), on the steps held out in training or on new rows.",
    ),
    function(
        "featurize",
        "featurize(model, on => table, horizon => n, version => n, future => table, set => (column = value, …))",
        "The rows of features that boosted trees see of the steps to forecast.",
    ),
    function(
        "forecast",
        "forecast(model, horizon => n, until => time, level => 90, quantiles => (0.1, …), history => n, by => key | NULL, \
         total => true, mean => true, version => n, future => table, set => (column = value, …)) or \
         forecast(foretell_base, data => table, target => column, by => …, time => column, every => day, known => …, …)",
        "Forecasts of a model, or of a table without training, with intervals: a row for every series and step, or for \
         sums of them.",
    ),
    function(
        "holidays",
        "holidays('DE', from, to)",
        "The public holidays of a country, or of several: holidays(('DE', 'US'), from, to).",
    ),
    function(
        "import_model",
        "import_model(model, path => 'directory')",
        "IMPORT MODEL for clients that only send SELECT.",
    ),
    function(
        "lag_features",
        "lag_features(table, value => column, partition_by => …, order_by => …, lags => (1, 7), …)",
        "A table with lags and rolling means of a column beside its rows.",
    ),
    function(
        "predict",
        "predict(model, table, version => n)",
        "Rows with what a model of classification or regression tells of them.",
    ),
    function(
        "predict_proba",
        "predict_proba(model, table, version => n)",
        "Rows with the probability of every class, a row for each class.",
    ),
    function(
        "pretrain_forecast_model",
        "pretrain_forecast_model(model, on => (table, …), target => 'column', partition_by => '…', order_by => '…', \
         objective => next_patch, steps => n, …)",
        "PRETRAIN FORECAST MODEL for clients that only send SELECT.",
    ),
    function(
        "pretrain_text_model",
        "pretrain_text_model(model, on => (table, …), text => 'column, …', objective => masked_lm, steps => n, …)",
        "PRETRAIN TEXT MODEL for clients that only send SELECT.",
    ),
    function(
        "simulate",
        "simulate(model, horizon => n, until => time, paths => n, seed => n, version => n, future => table, \
         set => (column = value, …))",
        "Sample paths of a model: what may come true, a row for every series, step and path.",
    ),
    function(
        "synthetic_sales",
        "synthetic_sales(series => n, days => n, seed => n, start => date)",
        "Made-up daily sales with seasons, prices, promotions and stock-outs.",
    ),
    function(
        "train_classification_model",
        "train_classification_model(model, on => table, target => 'column', features => '…', text => '…', …)",
        "TRAIN CLASSIFICATION MODEL for clients that only send SELECT.",
    ),
    function(
        "train_forecast_model",
        "train_forecast_model('model', on => 'table', target => 'column', partition_by => '…', order_by => '…', …)",
        "TRAIN FORECAST MODEL for clients that only send SELECT.",
    ),
    function(
        "train_regression_model",
        "train_regression_model(model, on => table, target => 'column', features => '…', text => '…', …)",
        "TRAIN REGRESSION MODEL for clients that only send SELECT.",
    ),
    function(
        "leaderboard",
        "leaderboard(model, version => n)",
        "The families that took part in a training, their scores and weights, beside seasonal naive.",
    ),
    function("table_history", "table_history(table)", "The versions of a table."),
];

/// Plans our relations in the scope of the statement that is being planned.
#[derive(Debug)]
pub struct Relations;

impl RelationPlanner for Relations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let scope = context.context_provider().options().extensions.get::<Scope>().cloned();
        match scope {
            Some(scope) => ForetellRelations { scope }.plan_relation(relation, context),
            None => Ok(RelationPlanning::Original(Box::new(relation))),
        }
    }
}

/// Plans our relations within one statement.
#[derive(Debug)]
struct ForetellRelations {
    scope: Scope,
}

impl ForetellRelations {
    /// What is known of a model, as rows.
    fn of_model(
        &self,
        name: &str,
        args: Vec<FunctionArg>,
        context: &mut dyn RelationPlannerContext,
        tell: impl Fn(&Model) -> OurResult<RecordBatch>,
    ) -> Result<LogicalPlan> {
        let mut args = Arguments::read(name, args, &["version"], context)?;
        let version = version_argument(&mut args, context)?;
        let model = model_argument(&mut args, context)?;
        rows(name, tell(self.scope.model(&model, version)?.as_ref())?)
    }

    /// The scores of models, stored ones or those on other rows.
    fn evaluate(
        &self,
        args: Vec<FunctionArg>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let mut args = Arguments::read("evaluate", args, &["on", "by", "version"], context)?;
        let names = model_arguments(&mut args, context)?;
        let version = version_argument(&mut args, context)?;
        backtest::one_version(version, &names)?;
        let by = names_argument(&mut args, "by", context)?.unwrap_or_default();
        let first = names.first().map(|name| self.scope.model(name, version)).transpose()?;
        let of_rows = |model: &Model| model.manifest().rows.is_some();
        if first.as_deref().is_some_and(of_rows) {
            let models = names.iter().map(|name| self.scope.rows_model(name, version));
            let models = models.collect::<OurResult<Vec<_>>>()?;
            if args.named("on").is_some() || !by.is_empty() {
                return Err(args.invalid(scores_of_others(&models)));
            }
            return rows("evaluate", tables::evaluate_rows(&models)?);
        }
        let models =
            names.iter().map(|name| self.scope.fitted(name, version)).collect::<OurResult<Vec<_>>>()?;
        match args.named("on") {
            Some(on) => backtest::plan_evaluation(&self.scope, &args, &models, (on, by), context),
            None => rows("evaluate", tables::evaluate(&models, &by)?),
        }
    }

    fn plan_function(
        &self,
        name: &str,
        args: Vec<FunctionArg>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Option<LogicalPlan>> {
        let plan = match name {
            "forecast" if zero_shot::is_asked(&args) => {
                let zero_shot::Asked { statement, relation, shape, base } =
                    zero_shot::read(args, &self.scope, context)?;
                let node = self.train_node(Arc::new(statement), relation, context)?;
                node.forecasting(shape, base)?.into_plan()
            }
            "forecast" => forecast::plan(&self.scope, args, context)?,
            "simulate" => forecast::plan_simulation(&self.scope, args, context)?,
            "featurize" => forecast::plan_features(&self.scope, args, context)?,
            "backtest" => backtest::plan(&self.scope, args, context)?,
            "evaluate" => self.evaluate(args, context)?,
            "describe_model" => self.of_model(name, args, context, tables::describe_model)?,
            "leaderboard" => self.of_model(name, args, context, tables::leaderboard)?,
            "describe_table" => {
                let mut args = Arguments::read(name, args, &[], context)?;
                let Some(value) = args.positional(0) else {
                    return Err(
                        args.invalid("describe_table needs a table: describe_table(sales)".to_owned())
                    );
                };
                rows(name, tables::columns(&self.columns(&args, value, context)?)?)?
            }
            "table_history" => {
                let mut args = Arguments::read(name, args, &[], context)?;
                let Some(value) = args.positional(0) else {
                    return Err(args.invalid("table_history needs a table: table_history(sales)".to_owned()));
                };
                let table = self.table_argument(&args, value, context)?;
                rows(name, self.scope.history(&table)?)?
            }
            "synthetic_sales" => synthetic_sales(args, context)?,
            "holidays" => rows(name, holidays(args, context)?)?,
            "lag_features" => features::plan(&self.scope, args, context)?,
            "generate_series" => return self.plan_series(args, context),
            "pretrain_forecast_model" => self.pretrain(args, context)?,
            "pretrain_text_model" => {
                let (task, texts) = PretrainText::read(args, &self.scope, context)?;
                TaskNode::new(Arc::new(task), texts)?.into_plan()
            }
            "pretrain_sequence_model" => self.sequence(ModelKind::Sequence, args, context)?,
            "train_classification_model" => self.train_rows(ModelKind::Classification, args, context)?,
            "train_regression_model" => self.train_rows(ModelKind::Regression, args, context)?,
            "predict" | "predict_proba" => PredictNode::read(name, args, &self.scope, context)?,
            "refresh_model" => {
                let (refresh, statement) = Refresh::read(args, &self.scope, context)?;
                let owner = refresh.model.acl().owner.clone();
                let relation = self.scope.plan_as(owner, sql::rows(&statement))?;
                self.train_node(Arc::new(statement), relation, context)?.refreshing(refresh)?.into_plan()
            }
            "compress_model" => self.compress(args, context)?,
            "import_model" => {
                let task = Import::read(args, &self.scope, context)?;
                TaskNode::new(Arc::new(task), vec![])?.into_plan()
            }
            "train_forecast_model" => {
                let mut statement = train_function::statement(args, context)?;
                self.scope.session.with_path(|path| {
                    path.train(&mut statement);
                    Ok(())
                })?;
                let relation = self.scope.plan_query(sql::rows(&statement))?;
                self.train_node(Arc::new(statement), relation, context)?.into_plan()
            }
            _ => return Ok(None),
        };
        Ok(Some(plan))
    }

    /// The columns of a stored table as they were declared, or those that a view or another relation gives.
    fn columns(
        &self,
        args: &Arguments,
        value: ast::Expr,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Vec<ColumnDefinition>> {
        if let Ok(table) = self.table_argument(args, value.clone(), context)
            && self.scope.guard()?.entry(&table, Privilege::Select).is_ok()
            && let Ok(columns) = block(self.scope.engine.catalog.columns(&table))
        {
            return Ok(columns);
        }
        let plan = args.plan_relation("the first argument", value, &self.scope, context)?;
        let given = plan.schema().fields().iter().map(|field| ColumnDefinition {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            sql_type: told_type(field),
            nullable: true,
            default_sql: None,
            comment: None,
        });
        Ok(given.collect())
    }

    /// `generate_series` over numbers that fit four bytes, whose type clients are told; the rest is DataFusion's.
    fn plan_series(
        &self,
        args: Vec<FunctionArg>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Option<LogicalPlan>> {
        let mut bounds = vec![];
        for arg in args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else { return Ok(None) };
            if !is_small(&expr) {
                return Ok(None);
            }
            bounds.push(context.sql_to_expr(expr, &DFSchema::empty())?);
        }
        let session = self.scope.session.state();
        let functions = session.table_functions();
        let Some(function) = functions.get("generate_series") else { return Ok(None) };
        let arguments = TableFunctionArgs::new(&bounds, &*session);
        let provider = function.create_table_provider_with_args(arguments)?;
        let told = FieldMetadata::from(BTreeMap::from([(PG_TYPE.to_owned(), "int4".to_owned())]));
        let scan = LogicalPlanBuilder::scan("generate_series", provider_as_source(provider), None)?;
        let value = ident("value").alias_with_metadata("value", Some(told));
        Ok(Some(scan.project([value])?.build()?))
    }

    fn table_argument(
        &self,
        args: &Arguments,
        value: ast::Expr,
        context: &dyn RelationPlannerContext,
    ) -> Result<TableName> {
        let parts = match value {
            ast::Expr::CompoundIdentifier(parts) => parts,
            other => vec![ast::Ident::with_quote('"', args.as_name("table", other, context)?)],
        };
        let mut name = ast::ObjectName::from(parts);
        self.scope.session.complete_name(&mut name)?;
        ddl::object_name(&name).map_err(Into::into)
    }

    fn plan_train(
        &self,
        args: &[FunctionArg],
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let lost = || Error::internal("the marker of TRAIN is not a marker").into();
        let [
            FunctionArg::Unnamed(FunctionArgExpr::Expr(number)),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(rows)),
        ] = args
        else {
            return Err(lost());
        };
        let number: usize = number.to_string().parse().map_err(|_| lost())?;
        let statement = Arc::clone(self.scope.trains.get(number).ok_or_else(lost)?);
        let ast::Expr::Subquery(query) = rows.clone() else { return Err(lost()) };
        let derived = TableFactor::Derived { lateral: false, subquery: query, alias: None, sample: None };
        let relation = context.plan(derived)?;
        Ok(self.train_node(statement, relation, context)?.into_plan())
    }

    /// TRAIN of a model of rows.
    fn train_rows(
        &self,
        kind: ModelKind,
        args: Vec<FunctionArg>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        if kind == ModelKind::Classification && TrainSequence::is_asked(&args) {
            return self.sequence(kind, args, context);
        }
        let (task, rows) = TrainRows::read(kind, args, &self.scope, context)?;
        Ok(TaskNode::new(Arc::new(task), vec![rows])?.into_plan())
    }

    /// TRAIN and PRETRAIN of a model of sequences.
    fn sequence(
        &self,
        kind: ModelKind,
        args: Vec<FunctionArg>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let (task, rows) = TrainSequence::read(kind, args, &self.scope, context)?;
        Ok(TaskNode::new(Arc::new(task), vec![rows])?.into_plan())
    }

    /// PRETRAIN over the rows of its relations.
    fn pretrain(
        &self,
        args: Vec<FunctionArg>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let (request, statements) = pretrain_function::read(args, context)?;
        let mut sources = vec![];
        for mut statement in statements {
            self.scope.session.with_path(|path| {
                path.train(&mut statement);
                Ok(())
            })?;
            let relation = self.scope.plan_query(sql::rows(&statement))?;
            sources.push(self.train_node(Arc::new(statement), relation, context)?);
        }
        Ok(PretrainNode::new(request, sources)?.into_plan())
    }

    /// QUANTIZE and PRUNE: a model with smaller weights; the rows that it was trained on tell what that costs.
    fn compress(
        &self,
        args: Vec<FunctionArg>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let (model, how) = compress::read(args, &self.scope, context)?;
        if model.manifest().kind != ModelKind::Forecast {
            let task = Compress::new(model, how);
            return Ok(TaskNode::new(Arc::new(task), vec![])?.into_plan());
        }
        let (refresh, statement) = Refresh::shrinking(model, how)?;
        let owner = refresh.model.acl().owner.clone();
        let relation = self.scope.plan_as(owner, sql::rows(&statement))?;
        Ok(self.train_node(Arc::new(statement), relation, context)?.refreshing(refresh)?.into_plan())
    }

    /// TRAIN over the rows of its relation.
    fn train_node(
        &self,
        statement: Arc<TrainStatement>,
        relation: LogicalPlan,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<TrainNode> {
        let mut lineage = self.scope.lineage(&relation)?;
        let mut input = plan_input(context, &statement, relation)?;
        if let Some(clause) = &statement.holidays
            && let Some(table) = clause.table()
        {
            let calendar = self.scope.plan_query(sql::all_of(table, None))?;
            lineage.extend(self.scope.lineage(&calendar)?);
            lineage.sort();
            lineage.dedup();
            input.calendar = Some(plan_calendar(calendar, clause.column().is_some())?);
        }
        let rollup = hierarchy::rollup(&statement, &input.columns, &self.scope.source)?;
        let mut raw = vec![];
        let clauses = [("horizon", &statement.horizon), ("validate", &statement.validate)];
        for (name, value) in clauses {
            if let Some(value) = value {
                raw.push(self.raw_option(name.to_owned(), value, context)?);
            }
        }
        for (key, value) in &statement.with {
            let mut option = self.raw_option(context.normalize_ident(key.clone()), value, context)?;
            option.place = self.scope.source.span(key.span).or(option.place);
            raw.push(option);
        }
        for level in statement.quantiles.iter().flatten() {
            raw.push(self.raw_option(options::QUANTILE.to_owned(), level, context)?);
        }
        let tuning =
            statement.tune.as_ref().map(|tune| self.tuning(&statement, tune, context)).transpose()?;
        options::TrainOptions::check(&statement.families(), &raw)?;
        let base = match &statement.from {
            Some(name) if fold(name) == BASE_NAME => None,
            Some(name) if statement.distills() => Some(self.scope.teacher(&fold(name))?),
            Some(name) => Some(self.scope.pretrained(&fold(name))?),
            None => None,
        };
        let encoder =
            statement.encoder.as_ref().map(|name| self.scope.text_model(&fold(name))).transpose()?;
        let node = TrainNode::new(statement, input, rollup, (raw, tuning), lineage)?;
        Ok(node.beginning_with(base, encoder))
    }

    /// What TUNE asks for; its values are literals.
    fn tuning(
        &self,
        statement: &TrainStatement,
        tune: &TuneClause,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Tuning> {
        let mut literal = |value: &ast::Expr| scalar(value.clone(), DataType::Float64, context);
        let mut tried = vec![];
        for (option, values) in &tune.parameters {
            let values = match values {
                TuneValues::In(list) => {
                    TriedValues::In(list.iter().map(&mut literal).collect::<Result<_>>()?)
                }
                TuneValues::Between(bounds) => {
                    TriedValues::Between(literal(&bounds[0])?, literal(&bounds[1])?)
                }
            };
            tried.push((fold(option), self.scope.source.span(option.span), values));
        }
        let bounds = TuneBounds {
            search: tune.search,
            trials: tune.trials.as_ref().map(&mut literal).transpose()?,
            within: tune.within.as_ref().map(&mut literal).transpose()?,
        };
        Ok(options::tuning(&statement.families(), &tried, &bounds)?)
    }

    fn raw_option(
        &self,
        name: String,
        value: &ast::Expr,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RawOption> {
        let place = self.scope.source.span(value.span());
        let data_type = options::type_of(&name);
        let value = match value {
            // A word stands bare, as it does after a clause.
            ast::Expr::Identifier(word) if data_type == DataType::Utf8 => {
                ast::Expr::value(ast::Value::SingleQuotedString(word.value.clone()))
            }
            value => value.clone(),
        };
        Ok(RawOption { name, value: scalar(value, data_type, context)?, place })
    }

    fn plan_version(
        &self,
        name: ast::ObjectName,
        version: &AstVersion,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let reference = context.object_name_to_table_reference(name)?;
        let table = ddl::table_name(&reference)?;
        let version = read_version(version, context)?;
        let provider = self.scope.provider(&table, version)?;
        LogicalPlanBuilder::scan(reference, provider_as_source(provider), None)?.build()
    }
}

impl ForetellRelations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let original = |relation| Ok(RelationPlanning::Original(Box::new(relation)));
        if let Some((values, alias)) = values_of(&relation) {
            let plan = plan_values(values, context)?;
            return Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.cloned()))));
        }
        let TableFactor::Table { name, alias, args, version, .. } = &relation else {
            return original(relation);
        };
        let Some(ident) = name.0.last().and_then(|p| p.as_ident()).cloned() else {
            return original(relation);
        };
        let plan = match (args, version) {
            (Some(args), _) if ident.quote_style == Some(MARK) => Some(self.plan_train(&args.args, context)?),
            (Some(args), None) if name.0.len() == 1 => {
                let function = context.normalize_ident(ident.clone());
                self.plan_function(&function, args.args.clone(), context)
                    .map_err(|e| fault::at(e, ident.span))?
            }
            (None, Some(version)) => Some(self.plan_version(name.clone(), version, context)?),
            (Some(_), Some(_)) => {
                let message = format!("{name}(…) has no versions; VERSION AS OF follows a table");
                return Err(Error::input(Subject::Syntax, message).into());
            }
            _ => None,
        };
        let plan = match (plan, args, alias) {
            (Some(plan), Some(_), None) if ident.quote_style != Some(MARK) => {
                Some(LogicalPlanBuilder::from(plan).alias(context.normalize_ident(ident))?.build()?)
            }
            (plan, ..) => plan,
        };
        match plan {
            Some(plan) => Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone())))),
            None => original(relation),
        }
    }
}

/// The rows and the alias of `(VALUES …) AS alias`.
fn values_of(relation: &TableFactor) -> Option<(&ast::Values, Option<&ast::TableAlias>)> {
    let TableFactor::Derived { lateral: false, subquery, alias, .. } = relation else { return None };
    let plain = subquery.with.is_none() && subquery.order_by.is_none() && subquery.limit_clause.is_none();
    match subquery.body.as_ref() {
        ast::SetExpr::Values(values) if plain && subquery.fetch.is_none() => Some((values, alias.as_ref())),
        _ => None,
    }
}

/// DataFusion takes VALUES anywhere in an INSERT for the rows of its table.
fn plan_values(values: &ast::Values, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let nothing = DFSchema::empty();
    let mut rows = Vec::with_capacity(values.rows.len());
    for row in &values.rows {
        let cells = row.content.iter().map(|cell| context.sql_to_expr(cell.clone(), &nothing));
        rows.push(cells.collect::<Result<Vec<_>>>()?);
    }
    LogicalPlanBuilder::values(rows)?.build()
}

/// True for a whole number that is written out and fits four bytes.
fn is_small(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(digits, _) => digits.parse::<i32>().is_ok(),
            _ => false,
        },
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => is_small(expr),
        _ => false,
    }
}

/// Rows that are known while planning, as a relation.
pub fn rows(name: &str, batch: RecordBatch) -> Result<LogicalPlan> {
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
    LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(table)), None)?.build()
}

fn synthetic_sales(args: Vec<FunctionArg>, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let mut args = Arguments::read("synthetic_sales", args, &["series", "days", "seed", "start"], context)?;
    let defaults = SyntheticSales::default();
    let mut number = |args: &mut Arguments, n: &str| -> Result<Option<i64>> {
        let value = if args.positional_len() > 0 { args.positional(0) } else { args.named(n) };
        let Some(value) = value else { return Ok(None) };
        whole_number(n, value, (i64::MIN / 2, i64::MAX / 2), context).map(Some)
    };
    let series = number(&mut args, "series")?;
    let days = number(&mut args, "days")?;
    let seed = number(&mut args, "seed")?;
    let start = match args.named("start") {
        Some(value) => day(value, context)?,
        None => None,
    };
    let spec = SyntheticSales::checked(
        series.unwrap_or(defaults.series as i64),
        days.unwrap_or(defaults.days as i64),
        seed.unwrap_or(defaults.seed as i64),
        start.unwrap_or(defaults.start),
    )?;
    let provider: Arc<dyn TableProvider> = Arc::new(SyntheticSalesTable::new(spec));
    LogicalPlanBuilder::scan("synthetic_sales", provider_as_source(provider), None)?.build()
}

/// A constant date, in days since 1970-01-01.
fn day(value: ast::Expr, context: &mut dyn RelationPlannerContext) -> Result<Option<i32>> {
    let literal = match scalar(value, DataType::Date32, context)?.unalias() {
        Expr::Literal(v, _) => Some(v),
        Expr::Cast(c) => match *c.expr {
            Expr::Literal(v, _) => Some(v),
            _ => None,
        },
        _ => None,
    };
    Ok(match literal.map(|v| v.cast_to(&DataType::Date32)).transpose()? {
        Some(ScalarValue::Date32(days)) => days,
        _ => None,
    })
}

/// The rows of `holidays(country, from, to)`.
fn holidays(args: Vec<FunctionArg>, context: &mut dyn RelationPlannerContext) -> Result<RecordBatch> {
    let mut args = Arguments::read("holidays", args, &["country", "from", "to"], context)?;
    let usage =
        "holidays takes a country and two dates: holidays('DE', DATE '2024-01-01', DATE '2024-12-31')";
    let next = |args: &mut Arguments, name: &str| args.positional(0).or_else(|| args.named(name));
    let [country, from, to] = ["country", "from", "to"].map(|name| next(&mut args, name));
    let (Some(country), Some(from), Some(to)) = (country, from, to) else {
        return Err(args.invalid(usage.to_owned()));
    };
    let mut countries = vec![];
    for code in Arguments::as_list(country) {
        let span = code.span();
        let code = args.as_name("country", code, context)?;
        countries.push(parse_country(&code).map_err(|e| fault::at(e, span))?);
    }
    let (Some(from), Some(to)) = (day(from, context)?, day(to, context)?) else {
        return Err(args.invalid(usage.to_owned()));
    };
    Ok(functions::holidays(&countries, from, to)?)
}

fn read_version(version: &AstVersion, context: &mut dyn RelationPlannerContext) -> Result<TableVersion> {
    let number = |expr: &ast::Expr, context: &mut dyn RelationPlannerContext| -> Result<u64> {
        whole_number("VERSION AS OF", expr.clone(), (0, i64::MAX), context).map(i64::unsigned_abs)
    };
    match version {
        AstVersion::VersionAsOf(expr) => Ok(TableVersion::Number(number(expr, context)?)),
        AstVersion::TimestampAsOf(expr) | AstVersion::ForSystemTimeAsOf(expr) => {
            Ok(TableVersion::At(instant(expr.clone(), context)?))
        }
        _ => Err(Error::unsupported("a table's version is VERSION AS OF n or TIMESTAMP AS OF 'time'").into()),
    }
}

fn instant(value: ast::Expr, context: &mut dyn RelationPlannerContext) -> Result<DateTime<Utc>> {
    let text = value.to_string();
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let literal = match scalar(value, micros.clone(), context)?.unalias() {
        Expr::Literal(value, _) => Some(value),
        Expr::Cast(cast) => match *cast.expr {
            Expr::Literal(value, _) => Some(value),
            _ => None,
        },
        _ => None,
    };
    let found = literal.and_then(|v| v.cast_to(&micros).ok()).and_then(|v| match v {
        ScalarValue::TimestampMicrosecond(Some(t), _) => DateTime::from_timestamp_micros(t),
        _ => None,
    });
    found.ok_or_else(|| {
        Error::input(Subject::Value, format!("TIMESTAMP AS OF takes a time, got {text}")).into()
    })
}

impl Scope {
    /// The stored table at a version; call it on a query thread.
    pub fn provider(&self, table: &TableName, version: TableVersion) -> OurResult<Arc<dyn TableProvider>> {
        self.guard()?.entry(table, Privilege::Select)?;
        let catalog = &self.engine.catalog;
        block(catalog.provider(table, version))
    }

    /// The history of a table as rows.
    pub fn history(&self, table: &TableName) -> OurResult<RecordBatch> {
        self.guard()?.entry(table, Privilege::Select)?;
        tables::history(block(self.engine.catalog.history(table))?)
    }

    /// The stored tables that a plan reads, with the versions that it reads.
    pub fn lineage(&self, plan: &LogicalPlan) -> Result<Vec<(String, u64)>> {
        let mut found = vec![];
        self.collect_tables(plan, &mut found)?;
        found.sort();
        found.dedup();
        Ok(found)
    }

    fn collect_tables(&self, plan: &LogicalPlan, found: &mut Vec<(String, u64)>) -> Result<()> {
        if let LogicalPlan::TableScan(scan) = plan {
            let provider = source_as_provider(&scan.source).ok();
            if let Some(inner) = provider.as_ref().and_then(|p| p.get_logical_plan()) {
                self.collect_tables(&inner, found)?;
            } else if let Some(stored) =
                provider.as_ref().and_then(|p| p.downcast_ref::<StoredTableProvider>())
            {
                found.push((stored.name().to_string(), block(stored.version_number(&self.held))?));
            }
        }
        plan.inputs().into_iter().try_for_each(|input| self.collect_tables(input, found))
    }
}

/// How models of rows and sequences are scored on rows that were not held out, and by groups.
fn scores_of_others(models: &[Arc<Model>]) -> String {
    let first = models.first().map(|model| model.manifest());
    let metric = if first.is_some_and(|m| m.kind == ModelKind::Regression) { "mae" } else { "accuracy" };
    let way_out = match first.is_some_and(|m| m.sequence.is_some()) {
        true => {
            "hit_rate(rank, 10) over predict(m, events, top => 10), joined with what came true".to_owned()
        }
        false => {
            format!("SELECT segment, {metric}(actual, prediction) FROM predict(m, table) GROUP BY segment")
        }
    };
    format!(
        "evaluate of models of rows and sequences tells of what was held out; of others, and by groups: {way_out}"
    )
}

/// Waits for storage on a query thread; the query runtime moves its other work away meanwhile.
pub fn block<F: Future>(work: F) -> F::Output {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work))
}
