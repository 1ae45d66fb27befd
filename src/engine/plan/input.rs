//! The rows a model is trained on and reads later: roles of columns, one row per series and time.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::expr_fn::{date_bin, date_trunc};
use datafusion::functions_aggregate::expr_fn::{bool_or, max, min};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, ident, lit, when,
};
use datafusion::sql::sqlparser::ast::{self, Ident};

use crate::engine::sql::{HolidaysClause, Item, TrainStatement};
use crate::engine::storage::sql_name;
use crate::error::{Error, Subject};
use crate::ml::series::Frequency;

/// The column that tells whether an aggregated period is censored.
const CENSORED: &str = "censored";

/// What a column is to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Part of the series key.
    Key,
    /// The time.
    Time,
    /// What is forecast.
    Target,
    /// A covariate known in the future.
    Known,
    /// A covariate known in the past only.
    Past,
    /// An attribute of the series.
    Static,
    /// A text of the series.
    Text,
    /// The country of the series, whose holidays a model sees.
    Country,
    /// A column whose role the data decides.
    Candidate,
}

/// A column of the input and its role.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InputColumn {
    /// The user's name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The user's type, before the cast to what models read.
    pub data_type: DataType,
}

impl Role {
    /// True of what is the same in all rows of a series.
    pub fn is_of_series(self) -> bool {
        matches!(self, Self::Key | Self::Static | Self::Text | Self::Country)
    }
}

/// Leading columns by which rows must be sorted to be series: the keys and the time.
pub fn ordering(columns: &[InputColumn]) -> usize {
    columns.iter().filter(|c| matches!(c.role, Role::Key | Role::Time)).count()
}

/// The planned input: columns in the order keys, time, target, covariates.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrainingInput {
    /// One row per series and time.
    pub plan: LogicalPlan,
    /// The period, first and last time of the rows of every period, where rows are aggregated to periods.
    pub periods: Option<LogicalPlan>,
    /// The days, names and countries of holidays, where they come from a table.
    pub calendar: Option<LogicalPlan>,
    /// A role for every column of the plan.
    pub columns: Vec<InputColumn>,
    /// Columns that inference left out, with the reason.
    pub skipped: Vec<(String, String)>,
}

/// Resolves the clauses of a TRAIN statement against its relation.
pub fn plan_input(
    context: &mut dyn RelationPlannerContext,
    statement: &TrainStatement,
    relation: LogicalPlan,
) -> Result<TrainingInput> {
    let schema = relation.schema().as_ref().clone();
    let mut input = Clauses { context, schema: &schema, table: table_name(statement) };
    let target = input.column(&statement.target, Role::Target)?;
    let aggregated = is_aggregate(&target.expr);
    let censored = statement.censored.as_ref().map(|expr| input.condition(expr)).transpose()?;
    let time = match &statement.order_by {
        Some(item) => input.column(item, Role::Time)?,
        None => input.infer_time()?,
    };
    let keys = input.columns(&statement.partition_by, Role::Key)?;
    let mut covariates = vec![];
    let given = [
        (&statement.known, Role::Known),
        (&statement.past, Role::Past),
        (&statement.statics, Role::Static),
        (&statement.texts, Role::Text),
    ];
    for (items, role) in given {
        covariates.extend(input.columns(items.as_deref().unwrap_or_default(), role)?);
    }
    let given = given.iter().any(|(items, _)| items.is_some());
    let mut skipped = vec![];
    if !given && !aggregated {
        let used: Vec<&Planned> = keys.iter().chain([&time, &target]).collect();
        covariates = input.candidates(&used, &statement.ignore, &mut skipped)?;
    }
    if let Some(item) = statement.holidays.as_ref().and_then(HolidaysClause::column) {
        covariates.push(input.country(item)?);
    }
    let parts = Parts { keys, time, target, censored, covariates };
    check_types(&parts, &schema, statement.every)?;
    check_names(&parts)?;
    build(relation, parts, aggregated, statement.every, skipped)
}

/// The name of the relation for messages.
pub fn table_name(statement: &TrainStatement) -> String {
    match &statement.relation {
        crate::engine::sql::Relation::Table(name) => name.to_string(),
        crate::engine::sql::Relation::Query(_) => "the query".to_owned(),
    }
}

struct Planned {
    name: String,
    expr: Expr,
    role: Role,
}

struct Parts {
    keys: Vec<Planned>,
    time: Planned,
    target: Planned,
    /// Where the target is not what would have been.
    censored: Option<Expr>,
    covariates: Vec<Planned>,
}

impl Parts {
    fn all(&self) -> impl Iterator<Item = &Planned> {
        self.keys.iter().chain([&self.time, &self.target]).chain(&self.covariates)
    }
}

struct Clauses<'a> {
    context: &'a mut dyn RelationPlannerContext,
    schema: &'a DFSchema,
    table: String,
}

impl Clauses<'_> {
    fn columns(&mut self, items: &[Item], role: Role) -> Result<Vec<Planned>> {
        items.iter().map(|item| self.column(item, role)).collect()
    }

    fn column(&mut self, item: &Item, role: Role) -> Result<Planned> {
        let expr =
            self.context.sql_to_expr(item.expr.clone(), self.schema).map_err(|e| self.place(e, item))?;
        let name = match (&item.alias, &expr) {
            (Some(alias), _) => self.context.normalize_ident(alias.clone()),
            (None, Expr::Column(column)) => column.name.clone(),
            (None, Expr::AggregateFunction(f)) => f.func.name().to_owned(),
            (None, _) => {
                let message = format!("the expression {} needs a name: add AS name", item.expr);
                return Err(self.spanned(Error::input(Subject::Column, message), item));
            }
        };
        Ok(Planned { name, expr, role })
    }

    /// The column of HOLIDAYS, which may have another role beside.
    fn country(&mut self, item: &Item) -> Result<Planned> {
        let expr =
            self.context.sql_to_expr(item.expr.clone(), self.schema).map_err(|e| self.place(e, item))?;
        let data_type = expr.get_type(self.schema)?;
        if !is_text(&data_type) {
            let type_name = sql_name(&data_type).to_lowercase();
            let message = format!(
                "HOLIDAYS takes a text column with codes of countries, but {} is {type_name}",
                item.expr
            );
            let error = Error::input(Subject::Type, message)
                .with_hint("for one country write its code: HOLIDAYS ('DE')");
            return Err(self.spanned(error, item));
        }
        let name = match &expr {
            Expr::Column(column) => format!("{} (holidays)", column.name),
            _ => "holidays of".to_owned(),
        };
        Ok(Planned { name, expr, role: Role::Country })
    }

    /// The condition of CENSORED WHEN.
    fn condition(&mut self, condition: &ast::Expr) -> Result<Expr> {
        let expr = self.context.sql_to_expr(condition.clone(), self.schema)?;
        let data_type = expr.get_type(self.schema)?;
        if !matches!(data_type, DataType::Boolean | DataType::Null) {
            let type_name = sql_name(&data_type).to_lowercase();
            let message = format!("CENSORED WHEN takes a condition, but {condition} is {type_name}");
            return Err(Error::input(Subject::Type, message)
                .with_hint("compare it: CENSORED WHEN stock = 0")
                .into());
        }
        Ok(expr)
    }

    fn place(&self, error: DataFusionError, item: &Item) -> DataFusionError {
        let ours = Error::from(error);
        if ours.span().is_some() { ours.into() } else { self.spanned(ours, item) }
    }

    fn spanned(&self, error: Error, item: &Item) -> DataFusionError {
        error.at(item.span).into()
    }

    /// The only column that holds time.
    fn infer_time(&self) -> Result<Planned> {
        let times: Vec<_> = self
            .schema
            .iter()
            .filter(|(_, f)| {
                matches!(f.data_type(), DataType::Date32 | DataType::Date64 | DataType::Timestamp(..))
            })
            .collect();
        match times.as_slice() {
            [one] => Ok(Planned {
                name: one.1.name().clone(),
                expr: Expr::Column((one.0, one.1.as_ref()).into()),
                role: Role::Time,
            }),
            [] => {
                Err(Error::input(Subject::Column, format!("{} has no date or timestamp column", self.table))
                    .with_hint("say which column holds time: ORDER BY column")
                    .into())
            }
            several => {
                let names: Vec<&str> = several.iter().map(|(_, f)| f.name().as_str()).collect();
                Err(Error::input(
                    Subject::Column,
                    format!("time column not given and {} are all times", names.join(", ")),
                )
                .with_hint(format!("add ORDER BY {}", names[0]))
                .into())
            }
        }
    }

    /// All other columns that can be covariates.
    fn candidates(
        &mut self,
        used: &[&Planned],
        ignore: &[Ident],
        skipped: &mut Vec<(String, String)>,
    ) -> Result<Vec<Planned>> {
        let mut ignored = vec![];
        for name in ignore {
            let name = self.context.normalize_ident(name.clone());
            self.schema.index_of_column_by_name(None, &name).ok_or_else(|| self.no_column(&name))?;
            ignored.push(name);
        }
        let mut found = vec![];
        for (qualifier, field) in self.schema.iter() {
            let expr = Expr::Column((qualifier, field.as_ref()).into());
            if ignored.contains(field.name()) || used.iter().any(|p| reads(&p.expr, &expr)) {
                continue;
            }
            if is_covariate_type(field.data_type()) {
                found.push(Planned { name: field.name().clone(), expr, role: Role::Candidate });
            } else {
                skipped.push((field.name().clone(), format!("type {}", field.data_type())));
            }
        }
        Ok(found)
    }

    fn no_column(&self, name: &str) -> DataFusionError {
        let suggestion =
            crate::error::did_you_mean_name(name, self.schema.fields().iter().map(|f| f.name().as_str()));
        Error::not_found(Subject::Column, format!("no column {name} in {}{suggestion}", self.table)).into()
    }
}

fn reads(expr: &Expr, column: &Expr) -> bool {
    expr.exists(|e| Ok(e == column)).unwrap_or(false)
}

fn is_aggregate(expr: &Expr) -> bool {
    let mut found = false;
    let _ = expr.apply(|e| {
        found |= matches!(e, Expr::AggregateFunction(_));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

fn is_covariate_type(data_type: &DataType) -> bool {
    data_type.is_numeric() || is_text(data_type) || matches!(data_type, DataType::Boolean)
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}

fn check_types(parts: &Parts, schema: &DFSchema, every: Option<Frequency>) -> Result<()> {
    let refuse = |p: &Planned, data_type: &DataType, rule: &str| {
        let message = format!("column {} has type {}; {rule}", p.name, sql_name(data_type).to_lowercase());
        Err(Error::input(Subject::Type, message).into())
    };
    let target = parts.target.expr.get_type(schema)?;
    if !target.is_numeric() && target != DataType::Boolean && !target.is_null() {
        return refuse(&parts.target, &target, "a target must be a number");
    }
    let time = parts.time.expr.get_type(schema)?;
    if !time.is_integer() && !matches!(time, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..)) {
        return refuse(
            &parts.time,
            &time,
            "time must be a date, a timestamp or an integer: cast it, CAST(x AS date)",
        );
    }
    if let (DataType::Date32 | DataType::Date64, Some(Frequency::Seconds(_))) = (&time, every) {
        return refuse(&parts.time, &time, "periods of less than a day need a timestamp");
    }
    for covariate in &parts.covariates {
        let data_type = covariate.expr.get_type(schema)?;
        if !is_covariate_type(&data_type) {
            return refuse(covariate, &data_type, "a covariate must be a number, a boolean or text");
        }
        if covariate.role == Role::Text && !is_text(&data_type) {
            return refuse(covariate, &data_type, "TEXT takes texts; STATIC takes numbers");
        }
    }
    Ok(())
}

fn check_names(parts: &Parts) -> Result<()> {
    let reserved =
        ["kind", "actual", "step", "forecast", "lower_bound", "upper_bound", "model_version", "status"];
    let mut seen: Vec<&str> = vec![];
    for part in parts.all() {
        if seen.contains(&part.name.as_str()) {
            let message = format!("column {} has two roles; each column has one", part.name);
            return Err(Error::input(Subject::Column, message).into());
        }
        if matches!(part.role, Role::Key | Role::Time) && reserved.contains(&part.name.as_str()) {
            let message =
                format!("the name {} is a column of forecast(); rename it: {0} AS other", part.name);
            return Err(Error::input(Subject::Column, message).into());
        }
        seen.push(&part.name);
    }
    Ok(())
}

/// Day, name and country of the rows of a table of holidays.
pub fn plan_calendar(calendar: LogicalPlan, has_column: bool) -> Result<LogicalPlan> {
    let names: Vec<&str> = calendar.schema().fields().iter().map(|f| f.name().as_str()).collect();
    let needs = "a table of holidays has the columns holiday_date, name and, where they are of several countries, country";
    for wanted in ["holiday_date", "name"] {
        if !names.contains(&wanted) {
            let suggestion = crate::error::did_you_mean(wanted, names.iter().copied());
            let message = format!("the table of HOLIDAYS has no column {wanted}{suggestion}");
            return Err(Error::not_found(Subject::Column, message).with_hint(needs).into());
        }
    }
    let has_country = names.contains(&"country");
    if has_country != has_column {
        let (message, hint) = match has_country {
            true => (
                "the table of HOLIDAYS has the column country, but nothing says which country a series is in",
                "HOLIDAYS column FROM table, with the column that holds its country; or leave country out: \
                 HOLIDAYS FROM (SELECT holiday_date, name FROM table WHERE country = …)",
            ),
            false => ("the table of HOLIDAYS has no column country to compare with", needs),
        };
        return Err(Error::input(Subject::Column, message).with_hint(hint).into());
    }
    let date = calendar.schema().field_with_unqualified_name("holiday_date")?.data_type().clone();
    if !matches!(date, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..)) {
        let message = format!(
            "the column holiday_date of HOLIDAYS has type {}; it must be a date",
            sql_name(&date).to_lowercase()
        );
        return Err(Error::input(Subject::Type, message).into());
    }
    let country = match has_country {
        true => cast(ident("country"), DataType::Utf8),
        false => lit(ScalarValue::Utf8(None)),
    };
    let day = cast(ident("holiday_date"), DataType::Date32);
    let columns = [
        day.alias("holiday_date"),
        cast(ident("name"), DataType::Utf8).alias("name"),
        country.alias("country"),
    ];
    LogicalPlanBuilder::from(calendar).project(columns)?.build()
}

/// Groups when the target is an aggregate, then projects names, and types that models read.
fn build(
    relation: LogicalPlan,
    mut parts: Parts,
    aggregated: bool,
    every: Option<Frequency>,
    skipped: Vec<(String, String)>,
) -> Result<TrainingInput> {
    let periods = match every {
        Some(every) if aggregated => Some(period_rows(relation.clone(), &parts, every)?),
        _ => None,
    };
    let mut builder = LogicalPlanBuilder::from(relation);
    if aggregated {
        builder = aggregate(builder, &mut parts, every)?;
    }
    let schema = builder.schema().as_ref().clone();
    let (mut projected, mut columns) = (vec![], vec![]);
    for part in parts.all() {
        let expr = part.expr.clone();
        let data_type = expr.get_type(&schema)?;
        let expr = match part.role {
            Role::Target => {
                let target = cast(expr, DataType::Float64);
                match parts.censored.clone() {
                    Some(censored) => when(censored, lit(ScalarValue::Float64(None))).otherwise(target)?,
                    None => target,
                }
            }
            Role::Key | Role::Time => expr,
            _ if is_text(&data_type) => cast(expr, DataType::Utf8),
            _ => cast(expr, DataType::Float32),
        };
        projected.push(expr.alias(&part.name));
        columns.push(InputColumn { name: part.name.clone(), role: part.role, data_type });
    }
    Ok(TrainingInput {
        plan: builder.project(projected)?.build()?,
        periods,
        calendar: None,
        columns,
        skipped,
    })
}

/// GROUP BY keys and period; every part becomes a column of the result.
fn aggregate(
    builder: LogicalPlanBuilder,
    parts: &mut Parts,
    every: Option<Frequency>,
) -> Result<LogicalPlanBuilder> {
    let schema = builder.schema().as_ref().clone();
    if let Some(every) = every {
        parts.time.expr = period(parts.time.expr.clone(), every, &schema)?;
    }
    let mut group = vec![];
    for part in parts.keys.iter_mut().chain([&mut parts.time]) {
        group.push(part.expr.clone().alias(&part.name));
        part.expr = ident(&part.name);
    }
    let mut aggregates = vec![];
    for part in [&mut parts.target].into_iter().chain(&mut parts.covariates) {
        let expr = if is_aggregate(&part.expr) {
            part.expr.clone()
        } else if matches!(part.role, Role::Static | Role::Text | Role::Country) {
            max(part.expr.clone())
        } else {
            let message = format!("column {} must be aggregated like the target: max({0}) AS {0}", part.name);
            return Err(Error::input(Subject::Column, message).into());
        };
        aggregates.push(expr.alias(&part.name));
        part.expr = ident(&part.name);
    }
    // A period is censored where one of its rows is.
    if let Some(censored) = parts.censored.take() {
        let any = if is_aggregate(&censored) { censored } else { bool_or(censored) };
        aggregates.push(any.alias(CENSORED));
        parts.censored = Some(ident(CENSORED));
    }
    builder.aggregate(group, aggregates)
}

/// First and last time of every period, over all series, at which the target has a value.
fn period_rows(relation: LogicalPlan, parts: &Parts, every: Frequency) -> Result<LogicalPlan> {
    let begin = period(parts.time.expr.clone(), every, relation.schema())?;
    let row = row_time(&parts.time.expr, relation.schema());
    let times = [begin.alias("period"), row.alias("row")];
    LogicalPlanBuilder::from(relation)
        .aggregate(times, [parts.target.expr.clone().alias("target")])?
        .filter(ident("target").is_not_null())?
        .aggregate([ident("period")], [min(ident("row")).alias("first"), max(ident("row")).alias("last")])?
        .build()
}

/// The time of a row before any expression truncates it: the only column of time in `time`.
fn row_time(time: &Expr, schema: &DFSchema) -> Expr {
    let columns: Vec<Expr> = time.column_refs().into_iter().map(|c| Expr::Column(c.clone())).collect();
    match columns.as_slice() {
        [one] if one.get_type(schema).is_ok_and(|t| t.is_temporal()) => one.clone(),
        _ => time.clone(),
    }
}

/// The begin of the period that `time` lies in, in the type of `time`; weeks begin on Mondays.
fn period(time: Expr, every: Frequency, schema: &DFSchema) -> Result<Expr> {
    let data_type = time.get_type(schema)?;
    let unit = match every {
        Frequency::Seconds(1) => "second",
        Frequency::Seconds(60) => "minute",
        Frequency::Seconds(3600) => "hour",
        Frequency::Days(1) => "day",
        Frequency::Days(7) => "week",
        Frequency::Months(1) => "month",
        Frequency::Months(3) => "quarter",
        Frequency::Months(12) => "year",
        _ => "",
    };
    if data_type.is_integer() || matches!(every, Frequency::Integer(_)) {
        let message = "EVERY with an aggregated target needs a date or timestamp column and a unit of time";
        return Err(Error::input(Subject::Option, message).into());
    }
    let begin =
        if unit.is_empty() { date_bin(stride(every)?, time, monday()) } else { date_trunc(lit(unit), time) };
    Ok(cast(begin, data_type))
}

/// The length of a period as an interval.
fn stride(every: Frequency) -> Result<Expr> {
    let out_of_range = || Error::input(Subject::Option, format!("EVERY {every} is out of range"));
    let whole = |n: i64| i32::try_from(n).map_err(|_| out_of_range());
    let (months, days, nanos) = match every {
        Frequency::Months(n) => (whole(n)?, 0, 0),
        Frequency::Days(n) => (0, whole(n)?, 0),
        Frequency::Seconds(n) | Frequency::Integer(n) => {
            (0, 0, n.checked_mul(1_000_000_000).ok_or_else(out_of_range)?)
        }
    };
    Ok(lit(ScalarValue::new_interval_mdn(months, days, nanos)))
}

/// 1 January 2001: a Monday, and the begin of a year, a quarter and a month.
fn monday() -> Expr {
    lit(ScalarValue::TimestampNanosecond(Some(978_307_200_000_000_000), None))
}
