//! What the states of all sessions are made of.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::optimizer::analyzer::function_rewrite::ApplyFunctionRewrites;
use datafusion::optimizer::analyzer::{Analyzer, AnalyzerRule};
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::prelude::SessionConfig;

use super::stoppable::{asking_analyzer, asking_optimizer};
use crate::engine::branches::BranchTypes;
use crate::engine::functions;
use crate::engine::pg_catalog::{self, Surroundings};
use crate::engine::plan::{
    AboveTotals, CheckedNumbers, ComputedKeys, DistinctKeys, ForetellPlanner, InLists, IntervalKeys,
    JoinedTexts, Orders, Relations, RowKeys, Semantics, TextCasts, ToldTypes, physical_rules,
};
use crate::engine::schemas::CATALOG;
use crate::engine::shared::Engine;
use crate::engine::storage::DEFAULT_SCHEMA;

pub(super) fn new_config(engine: &Arc<Engine>, around: &Surroundings) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(engine.threads)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, DEFAULT_SCHEMA)
        .with_option_extension(around.variables.clone())
        .with_option_extension(around.clone())
        .with_extension(Arc::clone(engine));
    let options = config.options_mut();
    read_as_postgresql(options);
    options.execution.parquet.pushdown_filters = true;
    // Where one of several aggregates is of an expression, it leaves rows out that this one needs.
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    // It compares what tells types to clients, too.
    options.execution.skip_physical_aggregate_schema_check = true;
    config
}

/// How SQL is read.
pub(super) fn read_as_postgresql(options: &mut ConfigOptions) {
    options.sql_parser.collect_spans = true;
    options.sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
    // 0.1 + 0.2 is 0.3.
    options.sql_parser.parse_float_as_decimal = true;
    // Without a zone, TIMESTAMPTZ would be a timestamp that has forgotten its zone; functions of times take theirs from
    // it when they are registered.
    options.execution.time_zone = Some("UTC".to_owned());
}

/// DataFusion's rules, of which one adds casts, between those that it must find done and those that change its casts.
pub(super) fn analyzer_rules(pool: &Arc<dyn MemoryPool>) -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> =
        vec![Arc::new(BranchTypes), Arc::new(Orders), Arc::new(IntervalKeys)];
    rules.extend(Analyzer::new().rules);
    let rewrites: [Arc<dyn FunctionRewrite + Send + Sync>; 4] =
        [Arc::new(CheckedNumbers), Arc::new(TextCasts), Arc::new(JoinedTexts::new(pool)), Arc::new(RowKeys)];
    rules.push(Arc::new(ApplyFunctionRewrites::new(rewrites.to_vec())));
    rules
}

/// DataFusion's rules, of which some are kept from what is wrong, and one before them.
fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mended = |rule: Arc<dyn OptimizerRule + Send + Sync>| match rule.name() {
        "push_down_filter" => Arc::new(AboveTotals(rule)) as _,
        "single_distinct_aggregation_to_group_by" => Arc::new(ToldTypes(rule)) as _,
        "simplify_expressions" => Arc::new(InLists(rule)) as _,
        "replace_distinct_aggregate" => Arc::new(DistinctKeys(rule)) as _,
        _ => rule,
    };
    let own: Arc<dyn OptimizerRule + Send + Sync> = Arc::new(ComputedKeys);
    [own].into_iter().chain(Optimizer::new().rules.into_iter().map(mended)).collect()
}

/// The functions and planners of every session; what is of one session they find in its settings.
pub fn template(environment: &Arc<RuntimeEnv>) -> SessionState {
    let mut config = SessionConfig::new();
    read_as_postgresql(config.options_mut());
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(Arc::clone(environment))
        .with_default_features()
        .with_analyzer_rules(asking_analyzer(analyzer_rules(&environment.memory_pool)))
        .with_optimizer_rules(asking_optimizer(optimizer_rules()))
        .with_physical_optimizer_rules(physical_rules(&environment.memory_pool))
        .with_type_planner(Arc::new(Semantics))
        .with_query_planner(Arc::new(ForetellPlanner))
        .build();
    // CAST does what they do, and the names of types that they read may nest deeper than a stack.
    for name in ["arrow_cast", "arrow_try_cast"] {
        state.deregister_udf(name).expect("a session gives functions back");
    }
    // Registering under fixed names on a fresh state cannot fail.
    functions::register_all(&mut state).expect("functions have distinct names");
    for function in pg_catalog::functions() {
        state.register_udf(Arc::new(function)).expect("functions have distinct names");
    }
    state.register_expr_planner(Arc::new(Semantics)).expect("a session takes planners of expressions");
    state.register_relation_planner(Arc::new(Relations)).expect("a session takes planners of relations");
    state.register_function_rewrite(Arc::new(Semantics)).expect("a session takes rewrites of expressions");
    state
}
