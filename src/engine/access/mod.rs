//! Who may do what: roles, their passwords, their rights, and the files that they may reach.

mod actor;
mod definer;
mod files;
mod guard;
mod password;

pub use actor::{Actor, Rights};
pub use definer::DefinerNode;
pub use files::FileAccess;
pub use guard::Guard;
pub use password::{Verifier, generated};
