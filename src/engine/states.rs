//! States for planning and running, used again and again: a new one copies all functions.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use datafusion::execution::session_state::SessionState;
use parking_lot::Mutex;

use crate::engine::shared::Engine;

/// States that are kept while nobody needs them.
const KEPT: usize = 8;

/// The template of all states, and those that wait for a statement.
#[derive(Debug)]
pub struct States {
    template: SessionState,
    idle: Mutex<Vec<SessionState>>,
}

impl States {
    /// States like this one, which is of no session.
    pub fn new(template: SessionState) -> Self {
        Self { template, idle: Mutex::default() }
    }

    /// Functions and planners, without settings and catalog of a session.
    pub fn template(&self) -> &SessionState {
        &self.template
    }

    fn take(&self) -> SessionState {
        let idle = self.idle.lock().pop();
        idle.unwrap_or_else(|| self.template.clone())
    }

    /// Keeps a state for the next statement, with nothing of the last one in it.
    fn give_back(&self, mut state: SessionState) {
        *state.config_mut() = self.template.config().clone();
        // The settings of the last statement are also in what it started with.
        state.mark_start_execution();
        state.register_catalog_list(Arc::clone(self.template.catalog_list()));
        let mut idle = self.idle.lock();
        if idle.len() < KEPT {
            idle.push(state);
        }
    }
}

/// A state for one statement.
#[derive(Debug)]
pub struct StatementState {
    engine: Arc<Engine>,
    /// There until it is given back.
    state: Option<SessionState>,
}

impl StatementState {
    /// A state of no session yet.
    pub fn of(engine: &Arc<Engine>) -> Self {
        Self { engine: Arc::clone(engine), state: Some(engine.states.take()) }
    }
}

impl Deref for StatementState {
    type Target = SessionState;

    fn deref(&self) -> &SessionState {
        self.state.as_ref().unwrap_or(&self.engine.states.template)
    }
}

impl DerefMut for StatementState {
    fn deref_mut(&mut self) -> &mut SessionState {
        let engine = &self.engine;
        self.state.get_or_insert_with(|| engine.states.take())
    }
}

impl Drop for StatementState {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            self.engine.states.give_back(state);
        }
    }
}
