//! The settings that sessions know: PostgreSQL's, with the values that are true here.

/// The version of PostgreSQL whose behaviour clients may expect.
pub const SERVER_VERSION: &str = "15.18";

/// The answer of `version()`; drivers read the number at its beginning.
pub const VERSION_TEXT: &str = concat!(
    "PostgreSQL 15.18 (Foretell ",
    env!("CARGO_PKG_VERSION"),
    ") on x86_64-pc-linux-gnu, compiled by rustc, 64-bit"
);

/// Which values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// `on` and `off`.
    Bool,
    /// Whole numbers in an inclusive range.
    Integer(i64, i64),
    /// Real numbers.
    Real,
    /// A time in milliseconds.
    Time,
    /// One of these words.
    Words(&'static [&'static str]),
    /// Any text.
    Text,
    /// Only the value that it has: everything else would be ignored.
    Only(&'static [&'static str]),
    /// Only the system sets it.
    Fixed,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Name as PostgreSQL writes it.
    pub name: &'static str,
    /// Value when nothing was set.
    pub default: &'static str,
    /// What it may be set to.
    pub values: Values,
    /// What it does.
    pub description: &'static str,
    /// True when clients are told of every change.
    pub reported: bool,
}

const fn setting(
    name: &'static str,
    default: &'static str,
    values: Values,
    description: &'static str,
) -> Definition {
    Definition { name, default, values, description, reported: false }
}

const fn reported(
    name: &'static str,
    default: &'static str,
    values: Values,
    description: &'static str,
) -> Definition {
    Definition { name, default, values, description, reported: true }
}

use Values::{Bool, Fixed, Integer, Only, Real, Text, Time, Words};

const LEVELS: &[&str] = &["serializable", "repeatable read", "read committed", "read uncommitted"];
const MESSAGES: &[&str] =
    &["debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "info", "notice", "warning", "error"];

/// All settings, by name.
pub const DEFINITIONS: &[Definition] = &[
    reported("application_name", "", Text, "Name of the application, for pg_stat_activity."),
    setting("array_nulls", "on", Only(&["on"]), "NULL elements in the text of arrays."),
    setting("backslash_quote", "safe_encoding", Text, "Accepted, without effect."),
    setting("block_size", "8192", Fixed, "Size of a disk block."),
    setting("bytea_output", "hex", Words(&["hex", "escape"]), "Output format of bytea."),
    setting(
        "check_function_bodies",
        "on",
        Bool,
        "Accepted, without effect: there are no functions to check.",
    ),
    reported("client_encoding", "UTF8", Only(&["utf8", "utf-8", "unicode"]), "Character set of the client."),
    setting("client_min_messages", "notice", Words(MESSAGES), "Least level of messages that are sent."),
    setting("cursor_tuple_fraction", "0.1", Real, "Accepted, without effect."),
    setting("data_checksums", "on", Fixed, "Files of models carry checksums."),
    reported(
        "DateStyle",
        "ISO, MDY",
        Only(&["iso", "iso, mdy", "iso, us", "mdy", "iso,mdy"]),
        "Format of dates and times: ISO.",
    ),
    setting("default_table_access_method", "heap", Text, "Accepted, without effect."),
    setting("default_tablespace", "", Text, "Accepted, without effect."),
    setting("default_text_search_config", "pg_catalog.english", Text, "Accepted, without effect."),
    setting("default_transaction_deferrable", "off", Bool, "Accepted, without effect."),
    setting(
        "default_transaction_isolation",
        "read committed",
        Words(LEVELS),
        "Isolation that new transactions tell; every statement sees one state of each table.",
    ),
    reported("default_transaction_read_only", "off", Bool, "New transactions refuse changes."),
    setting("enable_seqscan", "on", Bool, "Accepted, without effect."),
    setting("escape_string_warning", "on", Bool, "Accepted, without effect."),
    setting(
        "extra_float_digits",
        "1",
        Integer(-15, 3),
        "Floats are written in the fewest digits that read back.",
    ),
    setting("geqo", "on", Bool, "Accepted, without effect."),
    setting("hot_standby", "on", Fixed, "Queries during recovery."),
    setting(
        "idle_in_transaction_session_timeout",
        "0",
        Time,
        "Longest wait for a statement inside a transaction.",
    ),
    setting("idle_session_timeout", "0", Time, "Longest wait for a statement outside a transaction."),
    reported("in_hot_standby", "off", Fixed, "True on a standby."),
    reported("integer_datetimes", "on", Fixed, "Dates and times are whole numbers on the wire."),
    reported("IntervalStyle", "postgres", Only(&["postgres"]), "Format of intervals."),
    reported("is_superuser", "on", Fixed, "True for the owner of the database."),
    setting(
        "plan_cache_mode",
        "auto",
        Words(&["auto", "force_generic_plan", "force_custom_plan"]),
        "Whether prepared statements may be planned once for all values.",
    ),
    setting("jit", "off", Bool, "Accepted, without effect."),
    setting("lc_collate", "C.UTF-8", Fixed, "Texts are compared by their bytes."),
    setting("lc_ctype", "C.UTF-8", Fixed, "Character classes."),
    setting("lc_messages", "C.UTF-8", Text, "Accepted, without effect: messages are in English."),
    setting("lc_monetary", "C.UTF-8", Text, "Accepted, without effect."),
    setting("lc_numeric", "C.UTF-8", Text, "Accepted, without effect."),
    setting("lc_time", "C.UTF-8", Text, "Accepted, without effect."),
    setting("lock_timeout", "0", Time, "Longest wait of a change for one of another session."),
    setting("log_statement", "none", Text, "Accepted, without effect."),
    setting("max_connections", "256", Fixed, "Most connections at once."),
    setting("max_identifier_length", "63", Fixed, "Longest name in bytes."),
    setting("max_index_keys", "32", Fixed, "Most columns of a key."),
    setting("max_parallel_workers_per_gather", "2", Integer(0, 1024), "Accepted, without effect."),
    setting("max_prepared_transactions", "0", Fixed, "There are no prepared transactions."),
    setting("password_encryption", "scram-sha-256", Only(&["scram-sha-256"]), "How passwords are kept."),
    setting("port", "5433", Fixed, "Port of the server."),
    setting("quote_all_identifiers", "off", Bool, "Accepted, without effect."),
    setting("role", "none", Fixed, "The role whose rights count, when SET ROLE named another."),
    setting("row_security", "on", Bool, "Accepted, without effect."),
    setting("search_path", "\"$user\", public", Text, "Schemas that names without one are looked up in."),
    reported("server_encoding", "UTF8", Fixed, "Character set of the database."),
    reported("server_version", SERVER_VERSION, Fixed, "Version of PostgreSQL whose behaviour is offered."),
    setting("server_version_num", "150018", Fixed, "The same as a number."),
    reported("session_authorization", "", Fixed, "The role that logged in."),
    setting("session_replication_role", "origin", Text, "Accepted, without effect."),
    setting("ssl", "off", Fixed, "True when the server takes TLS."),
    reported(
        "standard_conforming_strings",
        "on",
        Only(&["on", "true", "yes", "1"]),
        "Backslashes are characters.",
    ),
    setting("statement_timeout", "0", Time, "Time after which a statement is stopped."),
    setting("synchronize_seqscans", "on", Bool, "Accepted, without effect."),
    setting(
        "synchronous_commit",
        "on",
        Words(&["on", "off", "local", "remote_write", "remote_apply"]),
        "Accepted, without effect: what is acknowledged is on the disk.",
    ),
    setting("tcp_keepalives_idle", "60", Integer(0, i32::MAX as i64), "Accepted, without effect."),
    setting("temp_buffers", "1024", Text, "Accepted, without effect."),
    reported("TimeZone", "UTC", Text, "Zone of times that are shown and read."),
    setting("timezone_abbreviations", "Default", Text, "Accepted, without effect."),
    setting("transaction_deferrable", "off", Bool, "Accepted, without effect."),
    setting("transaction_isolation", "read committed", Words(LEVELS), "Isolation of this transaction."),
    setting("transaction_read_only", "off", Bool, "This transaction refuses changes."),
    setting("wal_level", "replica", Fixed, "Level of the log."),
    setting("work_mem", "4096", Text, "Accepted, without effect: --memory-limit holds for all statements."),
    setting("xmloption", "content", Text, "Accepted, without effect."),
];
