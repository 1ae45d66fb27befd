//! The control of the statement that a task is at work for, where nobody hands it on: in rules of planning, and at commits.

use std::sync::Arc;

use crate::ml::Control;

tokio::task_local! {
    static STATEMENT: Arc<Control>;
}

/// The work, as that of the statement of this control.
pub fn controlled<F: Future>(control: Arc<Control>, work: F) -> impl Future<Output = F::Output> {
    STATEMENT.scope(control, work)
}

/// A step of such work on a task that may be of no statement.
pub fn controlled_step<T>(control: &Arc<Control>, step: impl FnOnce() -> T) -> T {
    STATEMENT.sync_scope(Arc::clone(control), step)
}

/// The control of the statement that this task is at; a fresh one in tasks of no statement.
pub fn current_control() -> Arc<Control> {
    STATEMENT.try_with(Arc::clone).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_knows_the_control_of_its_statement() {
        let control = Arc::new(Control::default());
        let found = controlled(Arc::clone(&control), async { current_control() }).await;
        assert!(Arc::ptr_eq(&found, &control));
        let found = controlled_step(&control, current_control);
        assert!(Arc::ptr_eq(&found, &control));
        control.cancel();
        current_control().check().unwrap();
    }
}
