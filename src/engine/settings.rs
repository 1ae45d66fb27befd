//! Settings of a session: ours beside DataFusion's, for SET and SHOW.

use std::time::{Duration, Instant};

use datafusion::common::config::ConfigExtension;
use datafusion::common::extensions_options;
use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName};

use crate::error::{Error, ErrorKind, Result, Subject, did_you_mean};

extensions_options! {
    /// Settings of a session.
    pub struct ForetellSettings {
        /// Milliseconds after which a statement is stopped; 0 for never.
        pub statement_timeout: u64, default = 0
    }
}

impl ConfigExtension for ForetellSettings {
    const PREFIX: &'static str = "foretell";
}

impl ForetellSettings {
    /// When a statement that begins now must stop.
    pub fn deadline(&self) -> Option<Instant> {
        (self.statement_timeout > 0).then(|| Instant::now() + Duration::from_millis(self.statement_timeout))
    }
}

/// The names that may be written without a prefix.
const NAMES: &[&str] = &["statement_timeout"];

/// Settings that belong to the whole database and cannot be changed by a session.
const FIXED: &[&str] = &["datafusion.runtime", "datafusion.catalog", "datafusion.sql_parser"];

/// The settings of a session.
pub fn of(state: &SessionState) -> ForetellSettings {
    state.config().options().extensions.get::<ForetellSettings>().cloned().unwrap_or_default()
}

/// Gives our settings their prefix in SET and SHOW.
pub fn rename(statement: ast::Statement) -> ast::Statement {
    match statement {
        ast::Statement::ShowVariable { mut variable } => {
            if let [one] = variable.as_mut_slice()
                && NAMES.iter().any(|n| one.value.eq_ignore_ascii_case(n))
            {
                return ast::Statement::ShowVariable { variable: vec![Ident::new("foretell"), one.clone()] };
            }
            ast::Statement::ShowVariable { variable }
        }
        ast::Statement::Set(ast::Set::SingleAssignment { scope, hivevar, variable, values }) => {
            let name = variable.to_string().to_lowercase();
            let variable = if NAMES.contains(&name.as_str()) {
                ObjectName::from(vec![Ident::new("foretell"), Ident::new(name)])
            } else {
                variable
            };
            ast::Statement::Set(ast::Set::SingleAssignment { scope, hivevar, variable, values })
        }
        other => other,
    }
}

/// Fails for settings that do not exist or that a session may not change.
pub fn check_name(name: &str) -> Result<()> {
    if FIXED.iter().any(|prefix| name.starts_with(prefix)) {
        let message = format!("setting {name} belongs to the database and cannot be changed by a session");
        return Err(Error::new(ErrorKind::Denied, Subject::Option, message));
    }
    if name.starts_with("datafusion.") || name.starts_with("foretell.") {
        return Ok(());
    }
    let suggestion = did_you_mean(name, NAMES.iter().copied());
    Err(Error::not_found(Subject::Option, format!("no setting {name}{suggestion}"))
        .with_hint("SHOW ALL lists them"))
}
