//! Settings of a session: ours beside DataFusion's, for SET and SHOW.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::common::config_field;
use datafusion::common::extensions_options;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{ResetVariable, SetVariable, Statement as StatementPlan};
use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName};

use crate::error::{Error, ErrorKind, Result, Subject, did_you_mean};

extensions_options! {
    /// Settings of a session.
    pub struct ForetellSettings {
        /// Time after which a statement is stopped: 500ms, 5s, 2min; 0 for never.
        pub statement_timeout: Timeout, default = Timeout::default()
    }
}

impl ConfigExtension for ForetellSettings {
    const PREFIX: &'static str = PREFIX;
}

impl ForetellSettings {
    /// When a statement that begins now must stop.
    pub fn deadline(&self) -> Option<Instant> {
        let milliseconds = self.statement_timeout.0;
        (milliseconds > 0).then(|| Instant::now() + Duration::from_millis(milliseconds))
    }
}

/// Milliseconds, written as PostgreSQL does: `500`, `500ms`, `5s`, `2min`, `1h`, `1d`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeout(u64);

/// Units in milliseconds, the largest first.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

impl FromStr for Timeout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (count, unit) = (text[..digits].parse::<u64>().ok(), text[digits..].trim());
        let factor =
            if unit.is_empty() { Some(1) } else { UNITS.iter().find(|(u, _)| *u == unit).map(|u| u.1) };
        let milliseconds = count.zip(factor).and_then(|(count, factor)| count.checked_mul(factor));
        // PostgreSQL's own limit: about 24 days.
        milliseconds.filter(|n| *n <= i32::MAX as u64).map(Self).ok_or_else(|| {
            Error::input(Subject::Option, format!("{text} is no time for statement_timeout"))
                .with_hint("write milliseconds or a unit: 500, 500ms, 5s, 2min, 1h, at most 24d; 0 for never")
        })
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => f.write_str("0"),
        }
    }
}

config_field!(Timeout);

/// What our settings are named after in full: `foretell.statement_timeout`.
const PREFIX: &str = "foretell";

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
            // The names of our settings are listed without their prefix.
            if variable.first().is_some_and(|first| first.value.eq_ignore_ascii_case(PREFIX)) {
                variable.remove(0);
            }
            ast::Statement::ShowVariable { variable }
        }
        ast::Statement::Set(ast::Set::SingleAssignment { scope, hivevar, variable, values }) => {
            let name = full_name(&variable.to_string());
            let variable = ObjectName::from(name.split('.').map(Ident::new).collect::<Vec<_>>());
            ast::Statement::Set(ast::Set::SingleAssignment { scope, hivevar, variable, values })
        }
        other => other,
    }
}

/// RESET; DataFusion's own knows nothing of extensions, so ours are set to their default.
pub fn reset(reset: ResetVariable) -> StatementPlan {
    let name = ours(&reset.variable);
    let entry =
        ForetellSettings::default().entries().into_iter().find(|entry| Some(entry.key.as_str()) == name);
    match entry {
        Some(ConfigEntry { value: Some(value), .. }) => {
            StatementPlan::SetVariable(SetVariable { variable: reset.variable, value })
        }
        _ => StatementPlan::ResetVariable(reset),
    }
}

/// What follows our prefix in a full name.
fn ours(name: &str) -> Option<&str> {
    name.strip_prefix(PREFIX)?.strip_prefix('.')
}

/// The name of a setting with its prefix.
pub fn full_name(name: &str) -> String {
    let name = name.to_lowercase();
    if NAMES.contains(&name.as_str()) { format!("{PREFIX}.{name}") } else { name }
}

/// Fails for settings that do not exist or that a session may not change.
pub fn check_name(state: &SessionState, name: &str) -> Result<()> {
    if FIXED.iter().any(|prefix| name.starts_with(prefix)) {
        let message = format!("setting {name} belongs to the database and cannot be changed by a session");
        return Err(Error::new(ErrorKind::Denied, Subject::Option, message));
    }
    let entries = state.config().options().entries();
    let known = || entries.iter().map(|entry| entry.key.as_str());
    if ours(name).is_some_and(|ours| NAMES.contains(&ours)) || known().any(|key| key == name) {
        return Ok(());
    }
    let suggestion = did_you_mean(name, NAMES.iter().copied().chain(known()));
    Err(Error::not_found(Subject::Option, format!("no setting {name}{suggestion}"))
        .with_hint("SHOW ALL lists them"))
}
