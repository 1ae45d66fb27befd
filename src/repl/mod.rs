//! The doors for people: the interactive shell and scripts, with their tables, charts and error messages.

mod client;
mod completion;
mod diagnostic;
mod editor;
mod lexer;
mod meta;
mod output;
mod plot;
mod progress;
mod script;
mod shell;
mod terminal;

pub use output::Format;
pub use script::{Script, run_script};
pub use shell::run_shell;
