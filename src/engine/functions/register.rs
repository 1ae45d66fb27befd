//! The one list of functions.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::functions::math::signum;
use datafusion::functions_aggregate::variance::var_samp_udaf;

use crate::engine::functions::growing::watch_growing;
use crate::engine::functions::{aggregate, scalar};

/// Makes every function of ours known to a session, and PostgreSQL's names of DataFusion's; those that grow are watched.
pub fn register_all(state: &mut SessionState) -> Result<()> {
    for function in aggregate::all() {
        state.register_udaf(Arc::new(function))?;
    }
    for function in scalar::all() {
        state.register_udf(Arc::new(function))?;
    }
    let sign = signum().as_ref().clone().with_aliases(["sign"]);
    state.register_udf(Arc::new(sign))?;
    let variance = var_samp_udaf().as_ref().clone().with_aliases(["variance"]);
    state.register_udaf(Arc::new(variance))?;
    scalar::round_to_one_zero(state)?;
    watch_growing(state)
}
