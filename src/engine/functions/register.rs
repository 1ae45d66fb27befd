//! The one list of functions.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;

use crate::engine::functions::{aggregate, scalar};

/// Makes every function of ours known to a session.
pub fn register_all(state: &mut SessionState) -> Result<()> {
    for function in aggregate::all() {
        state.register_udaf(Arc::new(function))?;
    }
    for function in scalar::all() {
        state.register_udf(Arc::new(function))?;
    }
    Ok(())
}
