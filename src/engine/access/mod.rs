//! Who may do what: roles, their passwords and privileges.

mod password;

pub use password::{Verifier, generated};
