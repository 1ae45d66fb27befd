//! Generic plans: a prepared statement that is run again and again is planned and optimized once, for all values of its
//! parameters, while what it was planned for stays as it is.

use std::sync::{Arc, Weak};
use std::time::Instant;

use chrono::NaiveDateTime;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ParamValues;
use datafusion::common::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{LogicalPlan, Statement as PlanStatement};
use datafusion::optimizer::Optimizer;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::physical_plan::execute_stream;
use datafusion::scalar::ScalarValue;
use parking_lot::Mutex;

use super::Inner;
use super::execution::task_context;
use super::planning::{optimized, plan_schema, within};
use super::prepared::Prepared;
use super::returning::is_returning;
use crate::engine::fault;
use crate::engine::histories::{History, Holder};
use crate::engine::plan::{Kept, Origin, cancellable, generic, inner_subqueries};
use crate::engine::query::{QueryContext, Started, Tag};
use crate::engine::settings::Variables;
use crate::engine::sql;
use crate::engine::storage::Contents;
use crate::engine::temporary::TemporaryTables;
use crate::error::{ErrorKind, Result};
use crate::postgres::parse_date;

/// Executions between two tries to make a generic plan, at most.
const WAIT_MAX: u32 = 256;

/// The plans that a prepared statement has been run with.
#[derive(Debug, Default)]
pub struct Plans(Mutex<PlansInner>);

#[derive(Debug, Default)]
struct PlansInner {
    generic: Option<Arc<GenericPlan>>,
    /// Executions since a generic plan was made, or tried to be made.
    executions: u32,
    /// Executions to let pass before the next try: it pays for what is run again and again.
    wait: u32,
    counts: PlanCounts,
}

/// How often a prepared statement was run with either kind of plan.
#[derive(Debug, Default, Clone, Copy)]
pub struct PlanCounts {
    /// With a plan for all values.
    pub generic: u64,
    /// With a plan for the values at hand.
    pub custom: u64,
}

impl Plans {
    /// How often either kind was used.
    pub fn counts(&self) -> PlanCounts {
        self.0.lock().counts
    }

    /// Counts an execution with a plan for its values.
    pub fn count_custom(&self) {
        self.0.lock().counts.custom += 1;
    }

    fn count_generic(&self) {
        let mut plans = self.0.lock();
        plans.counts.generic += 1;
        plans.executions = plans.executions.saturating_add(1);
    }

    fn generic(&self) -> Option<Arc<GenericPlan>> {
        self.0.lock().generic.clone()
    }

    /// True when a generic plan should be made now.
    fn is_due(&self) -> bool {
        let mut plans = self.0.lock();
        if plans.generic.take().is_some() {
            // One that was hardly used did not pay.
            let paid = plans.executions > plans.wait;
            plans.wait = if paid { 1 } else { (plans.wait * 2).min(WAIT_MAX) };
            plans.executions = 0;
        }
        plans.executions = plans.executions.saturating_add(1);
        plans.executions > plans.wait.max(1)
    }

    fn keep(&self, made: Option<GenericPlan>) -> Option<Arc<GenericPlan>> {
        let mut plans = self.0.lock();
        plans.executions = 0;
        if made.is_none() {
            plans.wait = (plans.wait.max(1) * 2).min(WAIT_MAX);
        }
        plans.generic = made.map(Arc::new);
        plans.generic.clone()
    }
}

impl Holder for Plans {
    fn let_go(&self, is_kept: &dyn Fn(&Arc<History>) -> bool) {
        let mut plans = self.0.lock();
        let gone = |plan: &Arc<GenericPlan>| plan.basis.histories.iter().any(|kept| !is_kept(kept.history()));
        if plans.generic.as_ref().is_some_and(gone) {
            plans.generic = None;
        }
    }
}

/// A plan for all values of the parameters.
#[derive(Debug)]
struct GenericPlan {
    /// As it was planned: it tells the columns.
    planned: LogicalPlan,
    optimized: LogicalPlan,
    /// The types of the parameters.
    types: Vec<DataType>,
    /// Where the columns come from.
    origins: Vec<Origin>,
    basis: Basis,
}

/// What a plan was made for.
#[derive(Debug)]
struct Basis {
    contents: Arc<Contents>,
    /// The generation of the models.
    models: u64,
    options: Arc<ConfigOptions>,
    settings: Variables,
    histories: Vec<Arc<Kept>>,
}

impl GenericPlan {
    /// The plan with these values, whose expressions are as simple as those of a plan for them.
    fn bound(&self, state: &SessionState, values: Vec<ScalarValue>) -> DfResult<LogicalPlan> {
        if values.is_empty() {
            return Ok(self.optimized.clone());
        }
        let plan = self.optimized.clone().replace_params_with_values(&ParamValues::from(values))?;
        let simplify = Optimizer::with_rules(vec![Arc::new(SimplifyExpressions::new())]);
        simplify.optimize(plan, state, |_, _| {})
    }

    fn values(&self, texts: &[Option<String>]) -> Option<Vec<ScalarValue>> {
        if texts.len() != self.types.len() {
            return None;
        }
        texts.iter().zip(&self.types).map(|(text, t)| value(text.as_deref(), t)).collect()
    }
}

/// The value that a text plainly means; `None` where it has to be looked at twice.
fn value(text: Option<&str>, data_type: &DataType) -> Option<ScalarValue> {
    let Some(text) = text else { return ScalarValue::try_new_null(data_type).ok() };
    Some(match data_type {
        DataType::Int16 => ScalarValue::Int16(Some(text.parse().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(text.parse().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(text.parse().ok()?)),
        DataType::Float64 => ScalarValue::Float64(Some(text.parse().ok().filter(|n: &f64| n.is_finite())?)),
        DataType::Utf8 => ScalarValue::Utf8(Some(text.to_owned())),
        DataType::Utf8View => ScalarValue::Utf8View(Some(text.to_owned())),
        DataType::Boolean => match text {
            "t" | "true" => ScalarValue::Boolean(Some(true)),
            "f" | "false" => ScalarValue::Boolean(Some(false)),
            _ => return None,
        },
        DataType::Date32 => ScalarValue::Date32(Some(parse_date(text)?)),
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()?.and_utc();
            if time.timestamp_subsec_nanos() % 1_000 != 0 {
                return None;
            }
            ScalarValue::TimestampMicrosecond(Some(time.timestamp_micros()), None)
        }
        _ => return None,
    })
}

impl Inner {
    /// Starts a prepared statement with a plan for all values, when there is one or one can be made.
    pub(super) async fn start_generic(
        self: &Arc<Self>,
        prepared: &Prepared,
        texts: &[Option<String>],
    ) -> Result<Option<Started>> {
        let Some(statement) = &prepared.statement else { return Ok(None) };
        self.apply_time_zone();
        let deadline = self.variables.read().deadline();
        let Some(generic) = self.generic(prepared, deadline).await? else { return Ok(None) };
        let Some(values) = generic.values(texts) else { return Ok(None) };
        self.transaction.ensure_works()?;
        let query = Arc::new(QueryContext::of_current());
        query.control.set_deadline(deadline);
        let scope = self.scope(&query, vec![], &statement.source);
        let mut state = scope.state();
        state.config_mut().options_mut().optimizer.max_passes = 1;
        // What goes wrong is told by a plan for these values.
        let Ok(plan) = generic.bound(&state, values) else { return Ok(None) };
        let physical = state.query_planner().create_physical_plan(&plan, &*state).await;
        let Ok(physical) = physical.and_then(|physical| cancellable(physical, &query.control)) else {
            return Ok(None);
        };
        // A table may have changed between the looks at a history in memory and at the table.
        if !generic.basis.histories.iter().all(|kept| kept.history().agrees(&scope.held)) {
            return Ok(None);
        }
        let source = Arc::clone(&statement.source);
        let rows = execute_stream(physical, Arc::new(task_context(&state)));
        let rows = rows.map_err(|e| fault::located(&e, &source))?;
        let schema = plan_schema(&generic.planned, &rows.schema());
        let schema = self.with_origins(schema, &generic.origins)?;
        prepared.plans.count_generic();
        Ok(Some(self.started(rows, schema, source, query, Tag::Rows, None)))
    }

    async fn generic(
        self: &Arc<Self>,
        prepared: &Prepared,
        deadline: Option<Instant>,
    ) -> Result<Option<Arc<GenericPlan>>> {
        if self.variables.read().value("plan_cache_mode") == "force_custom_plan" {
            return Ok(None);
        }
        if let Some(generic) = prepared.plans.generic()
            && self.holds(&generic.basis).unwrap_or(false)
        {
            return Ok(Some(generic));
        }
        if !prepared.plans.is_due() {
            return Ok(None);
        }
        let made = match Box::pin(self.make_generic(prepared, deadline)).await {
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            // What goes wrong is told by a plan for the values.
            made => made.ok().flatten(),
        };
        if made.as_ref().is_some_and(|plan| !plan.basis.histories.is_empty()) {
            self.engine.histories.held_by(Arc::downgrade(&prepared.plans) as Weak<dyn Holder>);
        }
        let kept = prepared.plans.keep(made);
        // A change of models while it was made was told before it was kept.
        if kept.as_ref().is_some_and(|plan| plan.basis.models != self.engine.registry.generation()) {
            prepared.plans.let_go(&|_| false);
        }
        Ok(kept)
    }

    /// A plan for all values, where that can be as good as one for the values at hand.
    async fn make_generic(
        self: &Arc<Self>,
        prepared: &Prepared,
        deadline: Option<Instant>,
    ) -> Result<Option<GenericPlan>> {
        let queries =
            prepared.statement.as_deref().filter(|s| s.is_query() && !s.locks_rows() && !is_returning(s));
        let (Some(statement), true) = (queries, self.engine.catalog.is_writable()) else { return Ok(None) };
        let mut basis = self.basis()?;
        if !self.holds(&basis)? {
            return Ok(None);
        }
        let declared = sql::declared(statement, &prepared.types);
        let (mut state, source) = self.planning_state(&declared);
        let planning = self.plan(&state, declared);
        let planned = within(deadline, planning).await.map_err(|e| e.located(&source))?;
        let origins = planned.origins;
        let (planned, types) = match planned.plan {
            LogicalPlan::Statement(PlanStatement::Prepare(prepare)) => {
                let types = prepare.fields.iter().map(|field| field.data_type().clone()).collect();
                (Arc::unwrap_or_clone(prepare.input), types)
            }
            planned => (planned, vec![]),
        };
        // What inner subqueries say is of one execution.
        if !inner_subqueries(&planned)?.is_empty() {
            return Ok(None);
        }
        let Some(histories) = generic(&planned)? else { return Ok(None) };
        basis.histories = histories;
        let optimized = optimized(&mut state, &planned)?;
        Ok(Some(GenericPlan { planned, optimized, types, origins, basis }))
    }

    /// What a plan that is made now is made for.
    fn basis(&self) -> Result<Basis> {
        Ok(Basis {
            models: self.engine.registry.generation(),
            contents: self.engine.catalog.contents()?,
            options: Arc::clone(self.parts().config.options()),
            settings: self.variables.read().clone(),
            histories: vec![],
        })
    }

    /// True while everything is as it was. A temporary table may have the name of a stored one.
    fn holds(&self, basis: &Basis) -> Result<bool> {
        let contents = self.engine.catalog.contents()?;
        let parts = self.parts();
        let temporary = parts.config.get_extension::<TemporaryTables>();
        Ok(Arc::ptr_eq(&contents, &basis.contents)
            && self.engine.registry.generation() == basis.models
            && Arc::ptr_eq(parts.config.options(), &basis.options)
            && self.variables.read().is_set_as(&basis.settings)
            && temporary.is_none_or(|tables| tables.is_empty())
            && basis.histories.iter().all(|history| history.holds(&self.engine, &contents)))
    }
}
