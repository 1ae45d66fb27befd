//! The control of the statement that a task is at work for, where nobody hands it on: in rules of planning, at locks, and
//! at commits.

use std::sync::Arc;

use datafusion::execution::TaskContext;

use crate::ml::Control;

tokio::task_local! {
    static STATEMENT: Arc<Control>;
}

/// The work, as that of the statement of this control.
pub fn controlled<F: Future>(control: Arc<Control>, work: F) -> impl Future<Output = F::Output> {
    STATEMENT.scope(control, work)
}

/// The control of the statement that this task is at; a fresh one in tasks of no statement.
pub fn current_control() -> Arc<Control> {
    STATEMENT.try_with(Arc::clone).unwrap_or_default()
}

/// The control of the statement whose plan runs in this context, whatever task has come to it.
pub fn control_of(context: &TaskContext) -> Arc<Control> {
    context.session_config().get_extension().unwrap_or_else(current_control)
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionConfig;

    use super::*;

    #[tokio::test]
    async fn a_task_knows_the_control_of_its_statement() {
        let control = Arc::new(Control::default());
        let found = controlled(Arc::clone(&control), async { current_control() }).await;
        assert!(Arc::ptr_eq(&found, &control));
        control.cancel();
        current_control().check().unwrap();
    }

    #[tokio::test]
    async fn a_part_of_a_plan_knows_it_in_every_task() {
        let (control, other) = (Arc::new(Control::default()), Arc::new(Control::default()));
        let config = SessionConfig::new().with_extension(Arc::clone(&control));
        let context = TaskContext::default().with_session_config(config);
        let found = tokio::spawn(async move { control_of(&context) }).await.unwrap();
        assert!(Arc::ptr_eq(&found, &control));
        let found = controlled(Arc::clone(&other), async { control_of(&TaskContext::default()) }).await;
        assert!(Arc::ptr_eq(&found, &other));
    }
}
