//! The one list of functions.

use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;

use crate::engine::functions::{aggregate, scalar};
use crate::error::Error;

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

/// Our error as the engine carries it; a downcast of the root gives it back.
pub fn to_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
