//! Settings of a session: PostgreSQL's names and ours, for SET, SHOW and `current_setting`; DataFusion's beside them.

mod definitions;
mod search_path;
mod time;
mod variables;

use datafusion::config::ConfigOptions;

use crate::error::{Error, ErrorKind, Result, Subject};

pub use definitions::{DEFINITIONS, VERSION_TEXT};
pub use search_path::schema_names;
pub use variables::{SharedVariables, Variables};

/// Settings that belong to the whole database and cannot be changed by a session.
const FIXED: &[&str] = &["datafusion.runtime", "datafusion.catalog", "datafusion.sql_parser"];

/// True for the settings of DataFusion.
pub fn is_datafusion(name: &str) -> bool {
    name.starts_with("datafusion.")
}

/// Fails for settings of DataFusion that do not exist or that a session may not change.
pub fn check_name(options: &ConfigOptions, name: &str) -> Result<()> {
    if FIXED.iter().any(|prefix| name.starts_with(prefix)) {
        let message = format!("setting {name} belongs to the database and cannot be changed by a session");
        return Err(Error::new(ErrorKind::Denied, Subject::Option, message));
    }
    datafusion_value(options, name).map(|_| ())
}

/// Lets a type be carried in the settings of a session, where planners and functions find it; it is none itself.
macro_rules! carried {
    ($type:ty, $prefix:literal) => {
        impl datafusion::common::config::ConfigExtension for $type {
            const PREFIX: &'static str = $prefix;
        }

        impl datafusion::common::config::ExtensionOptions for $type {
            fn as_any(&self) -> &dyn std::any::Any {
                self
            }

            fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
                self
            }

            fn cloned(&self) -> Box<dyn datafusion::common::config::ExtensionOptions> {
                Box::new(self.clone())
            }

            fn set(&mut self, key: &str, _: &str) -> datafusion::error::Result<()> {
                let message = format!(concat!("no setting ", $prefix, ".{}"), key);
                Err($crate::error::Error::not_found($crate::error::Subject::Option, message).into())
            }

            fn entries(&self) -> Vec<datafusion::common::config::ConfigEntry> {
                vec![]
            }
        }
    };
}

pub(super) use carried;

/// The value of a setting of DataFusion.
pub fn datafusion_value(options: &ConfigOptions, name: &str) -> Result<String> {
    let entries = options.entries();
    match entries.iter().find(|entry| entry.key == name) {
        Some(entry) => Ok(entry.value.clone().unwrap_or_default()),
        None => Err(unknown(name, entries.iter().map(|entry| entry.key.as_str()))),
    }
}

/// What RESET makes of a setting of DataFusion.
pub fn datafusion_default(options: &ConfigOptions, name: &str) -> Result<String> {
    check_name(options, name)?;
    let defaults = ConfigOptions::default().entries();
    Ok(defaults.into_iter().find(|entry| entry.key == name).and_then(|entry| entry.value).unwrap_or_default())
}

fn unknown<'a>(name: &str, others: impl Iterator<Item = &'a str>) -> Error {
    let known = DEFINITIONS.iter().map(|d| d.name).chain(others);
    Error::not_found(Subject::Option, format!("no setting {name}"))
        .with_suggestion(name, known)
        .with_hint("SHOW ALL lists them")
}
