//! What reads files of others may panic where a file is not what it expects: that is an error of the statement here.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt;

use crate::error::{Error, Result, Subject};

/// What a reader of files gives, or that it panicked; it is not to be asked again then.
pub fn read<T>(reader: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(reader)).map_err(unreadable)
}

/// The same of one that waits.
pub async fn read_async<T>(reader: impl Future<Output = T>) -> Result<T> {
    AssertUnwindSafe(reader).catch_unwind().await.map_err(unreadable)
}

fn unreadable(panic: Box<dyn Any + Send>) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text =
        text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("the reader stopped");
    Error::corrupt(Subject::File, format!("a file cannot be read: {text}"))
        .with_hint("it may be damaged; write it again")
}
