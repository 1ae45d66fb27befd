//! The values that a session has given to its settings.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::error::Result as DfResult;

use crate::engine::settings::definitions::{DEFINITIONS, Definition, Values};
use crate::engine::settings::{time, unknown};
use crate::error::{Error, ErrorKind, Result, Subject};

/// What was set, by name; the rest have their defaults.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    /// Values of the session, keys in lower case.
    values: BTreeMap<String, String>,
    /// What RESET goes back to: defaults of this session.
    defaults: BTreeMap<String, String>,
    /// Values before SET LOCAL, restored at the end of the transaction.
    saved: BTreeMap<String, Option<String>>,
    /// Values before the transaction, restored when it is rolled back.
    before: Option<BTreeMap<String, String>>,
}

/// The definition of a setting, whatever the case of its name.
fn definition(name: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|d| d.name.eq_ignore_ascii_case(name))
}

/// A name with a dot is the application's own.
fn is_custom(name: &str) -> bool {
    name.contains('.')
}

impl Variables {
    /// The name as PostgreSQL writes it, and the value.
    pub fn get(&self, name: &str) -> Option<(String, String)> {
        let key = name.to_lowercase();
        let set = self.values.get(&key).or_else(|| self.defaults.get(&key));
        match (definition(name), set) {
            (Some(d), Some(value)) => Some((d.name.to_owned(), value.clone())),
            // A transaction begins as all of the session do.
            (Some(d), None) if d.name.starts_with("transaction_") => {
                Some((d.name.to_owned(), self.value(&format!("default_{}", d.name))))
            }
            (Some(d), None) => Some((d.name.to_owned(), d.default.to_owned())),
            (None, Some(value)) => Some((key, value.clone())),
            (None, None) => None,
        }
    }

    /// The value of a setting that exists.
    pub fn value(&self, name: &str) -> String {
        self.get(name).map(|(_, value)| value).unwrap_or_default()
    }

    /// As [`Variables::get`], or an error.
    pub fn show(&self, name: &str) -> Result<(String, String)> {
        self.get(name).ok_or_else(|| unknown(name, std::iter::empty()))
    }

    /// Sets a value, or the default for `None`; `local` until the end of the transaction.
    pub fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        let key = name.to_lowercase();
        let checked = match (definition(name), value) {
            (None, _) if !is_custom(name) => return Err(unknown(name, std::iter::empty())),
            (Some(d), _) if d.values == Values::Fixed => {
                let message = format!("setting {} cannot be changed", d.name);
                return Err(Error::new(ErrorKind::Denied, Subject::Option, message));
            }
            (Some(d), Some(value)) => Some(checked(d, value)?),
            (None, value) => value.map(str::to_owned),
            (Some(_), None) => None,
        };
        if local && !self.saved.contains_key(&key) {
            self.saved.insert(key.clone(), self.values.get(&key).cloned());
        }
        match checked {
            Some(value) => self.values.insert(key, value),
            None => self.values.remove(&key),
        };
        Ok(())
    }

    /// Gives the session a value of its own to start from and to go back to.
    pub fn set_default(&mut self, name: &str, value: impl Into<String>) {
        self.defaults.insert(name.to_lowercase(), value.into());
    }

    /// Everything back to its default.
    pub fn reset_all(&mut self) {
        self.values.clear();
    }

    /// A transaction begins.
    pub fn begin_transaction(&mut self) {
        self.before = Some(self.values.clone());
    }

    /// Undoes SET LOCAL, and SET too in a transaction that is not committed.
    pub fn end_transaction(&mut self, committed: bool) {
        if let Some(before) = self.before.take().filter(|_| !committed) {
            self.values = before;
            self.saved.clear();
        }
        for (key, value) in std::mem::take(&mut self.saved) {
            match value {
                Some(value) => self.values.insert(key, value),
                None => self.values.remove(&key),
            };
        }
        self.values.remove("transaction_isolation");
        self.values.remove("transaction_read_only");
    }

    /// True when all settings have the values that they have there.
    pub fn is_set_as(&self, other: &Self) -> bool {
        self.values == other.values && self.defaults == other.defaults
    }

    /// All settings with values and descriptions, by name.
    pub fn list(&self) -> Vec<(String, String, &'static str)> {
        let mut all: Vec<_> =
            DEFINITIONS.iter().map(|d| (d.name.to_owned(), self.value(d.name), d.description)).collect();
        let custom = self.values.iter().filter(|(key, _)| definition(key).is_none());
        all.extend(custom.map(|(key, value)| (key.clone(), value.clone(), "Setting of the application.")));
        all.sort_by_key(|(name, ..)| name.to_lowercase());
        all
    }

    /// The settings that clients are told of, with their values.
    pub fn reported(&self) -> Vec<(String, String)> {
        let reported = DEFINITIONS.iter().filter(|d| d.reported);
        reported.map(|d| (d.name.to_owned(), self.value(d.name))).collect()
    }

    /// When a statement that begins now must stop.
    pub fn deadline(&self) -> Option<Instant> {
        self.time("statement_timeout").map(|time| Instant::now() + time)
    }

    /// A setting that is a time; `None` for never.
    pub fn time(&self, name: &str) -> Option<Duration> {
        let milliseconds = time::parse(name, &self.value(name)).unwrap_or(0);
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
    }

    /// A setting that is on or off.
    pub fn is_on(&self, name: &str) -> bool {
        self.value(name) == "on"
    }
}

/// The value as it is kept and shown.
fn checked(definition: &Definition, value: &str) -> Result<String> {
    let name = definition.name;
    let invalid = |rule: String| {
        let message = format!("invalid value for setting {name}: \"{value}\"");
        Err(Error::input(Subject::Option, message).with_hint(rule))
    };
    match definition.values {
        Values::Bool => match value.to_lowercase().as_str() {
            "on" | "true" | "yes" | "1" | "t" | "y" => Ok("on".to_owned()),
            "off" | "false" | "no" | "0" | "f" | "n" => Ok("off".to_owned()),
            _ => invalid("it is on or off".to_owned()),
        },
        Values::Integer(min, max) => match value.trim().parse::<i64>() {
            Ok(n) if (min..=max).contains(&n) => Ok(n.to_string()),
            _ => invalid(format!("it is a whole number from {min} to {max}")),
        },
        Values::Real => match value.trim().parse::<f64>() {
            Ok(n) if n.is_finite() => Ok(n.to_string()),
            _ => invalid("it is a number".to_owned()),
        },
        Values::Time => time::parse(name, value).map(time::show),
        Values::Words(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(value)) {
            Some(word) => Ok((*word).to_owned()),
            None => invalid(format!("available values: {}", words.join(", "))),
        },
        Values::Only(words) => {
            match words.iter().any(|word| word.eq_ignore_ascii_case(value.trim_matches('\''))) {
                true => Ok(definition.default.to_owned()),
                false => invalid(format!("it is always {}", definition.default)),
            }
        }
        Values::Text if name == "TimeZone" => zone(value),
        Values::Text | Values::Fixed => Ok(value.to_owned()),
    }
}

/// A zone that arrow knows, by its own name.
fn zone(value: &str) -> Result<String> {
    use datafusion::arrow::array::timezone::Tz;
    let value = value.trim();
    if value.eq_ignore_ascii_case("utc")
        || value.eq_ignore_ascii_case("gmt")
        || value.eq_ignore_ascii_case("z")
    {
        return Ok(if value.eq_ignore_ascii_case("gmt") { "GMT".to_owned() } else { "UTC".to_owned() });
    }
    value.parse::<Tz>().map(|_| value.to_owned()).map_err(|_| {
        Error::input(Subject::Option, format!("invalid value for setting TimeZone: \"{value}\""))
            .with_hint("write a name such as 'Europe/Berlin', or an offset such as '+02:00'")
    })
}

/// The variables of one session, as its functions and its plans see them.
#[derive(Debug, Clone, Default)]
pub struct SharedVariables(Arc<(RwLock<Variables>, AtomicU64)>);

impl SharedVariables {
    /// For reading.
    pub fn read(&self) -> RwLockReadGuard<'_, Variables> {
        self.0.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For changing.
    pub fn write(&self) -> RwLockWriteGuard<'_, Variables> {
        let variables = self.0.0.write().unwrap_or_else(PoisonError::into_inner);
        self.0.1.fetch_add(1, Ordering::Release);
        variables
    }

    /// How often they were changed: what was read at the same count still holds.
    pub fn changes(&self) -> u64 {
        self.0.1.load(Ordering::Acquire)
    }
}

impl ConfigExtension for SharedVariables {
    const PREFIX: &'static str = "foretell";
}

impl ExtensionOptions for SharedVariables {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> DfResult<()> {
        Ok(self.write().set(key, Some(value), false)?)
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        let all = self.read().list().into_iter();
        all.map(|(key, value, description)| ConfigEntry { key, value: Some(value), description }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_names_have_no_case() {
        let mut variables = Variables::default();
        variables.set("TIMEZONE", Some("Europe/Berlin"), false).unwrap();
        assert_eq!(variables.show("timezone").unwrap(), ("TimeZone".into(), "Europe/Berlin".into()));
        variables.set("statement_timeout", Some("2000"), false).unwrap();
        assert_eq!(variables.value("statement_timeout"), "2s");
        for (name, value) in [("TimeZone", "Mars"), ("client_encoding", "latin1"), ("server_version", "9")] {
            assert!(variables.set(name, Some(value), false).is_err(), "{name}");
        }
        // asyncpg asks with quotes.
        variables.set("client_encoding", Some("'utf-8'"), false).unwrap();
        variables.set("app.user", Some("x"), false).unwrap();
        assert_eq!(variables.value("app.user"), "x");
    }

    #[test]
    fn local_values_end_with_the_transaction() {
        let mut variables = Variables::default();
        variables.set("bytea_output", Some("escape"), false).unwrap();
        variables.set("bytea_output", Some("hex"), true).unwrap();
        variables.end_transaction(true);
        assert_eq!(variables.value("bytea_output"), "escape");
        variables.set("bytea_output", None, false).unwrap();
        assert_eq!(variables.value("bytea_output"), "hex");
    }
}
