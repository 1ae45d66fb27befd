//! Backslash commands: short names for queries on the catalogue, and switches of the shell.

use crate::engine::TABLE_FUNCTIONS;
use crate::error::{Error, Result, Subject, did_you_mean};

use super::lexer::{TokenKind, tokens};

use super::output::{Expanded, pad};

/// One backslash command, as `\?` tells it.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: &'static str,
    arguments: &'static str,
    help: &'static str,
}

const fn command(name: &'static str, arguments: &'static str, help: &'static str) -> Command {
    Command { name, arguments, help }
}

/// All of them, in the order of `\?`.
pub(super) const COMMANDS: [Command; 14] = [
    command("\\d", "[NAME]", "tables and views, or the columns of one"),
    command("\\dt", "", "tables"),
    command("\\dv", "", "views"),
    command("\\dm", "[NAME]", "models, or one of them"),
    command("\\df", "[WORD]", "functions, or those with WORD in their name"),
    command("\\dn", "", "schemas"),
    command("\\plot", "[COLUMN …] [KEY=VALUE …]", "draw the last result: values over time"),
    command("\\x", "[on|off|auto]", "one column a line: always, never, or when rows are too wide"),
    command("\\timing", "[on|off]", "how long each statement took"),
    command("\\i", "FILE", "run the statements of a file"),
    command("\\e", "", "edit the last statement in $EDITOR"),
    command("\\copy", "", "how to load and save files"),
    command("\\?", "", "this list"),
    command("\\q", "", "leave"),
];

/// The columns of `ml.models` that fit a screen.
const MODELS: &str = "SELECT name, family, active_version AS version, target, horizon, metric, value, skill \
    FROM ml.models ORDER BY name";

/// What `\copy` answers: in an embedded engine the files are already where the statements run.
pub(super) const COPY_HELP: &str = "\
COPY runs here, on your files, so no command of the shell is needed:
  COPY sales FROM 'sales.csv';
  COPY (SELECT * FROM forecast(m)) TO 'forecast.csv';
";

/// A command, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meta {
    /// These statements, the first that returns rows wins; `missing` is said when none does.
    Query {
        sql: Vec<String>,
        missing: Option<String>,
    },
    Plot(String),
    Expanded(Option<Expanded>),
    Timing(Option<bool>),
    Include(String),
    Edit,
    CopyHelp,
    Help,
    Quit,
}

/// Reads a line that starts with a backslash.
pub(super) fn parse(line: &str) -> Result<Meta> {
    let line = line.trim().trim_end_matches(';').trim_end();
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let argument = argument.trim();
    match name {
        "\\d" if argument.is_empty() => Ok(relations("table_type IN ('BASE TABLE', 'FOREIGN', 'VIEW')")),
        "\\d" => Ok(columns_of(argument)),
        "\\dt" => Ok(relations("table_type IN ('BASE TABLE', 'FOREIGN')")),
        "\\dv" => Ok(relations("table_type = 'VIEW'")),
        "\\dm" if argument.is_empty() => Ok(query(MODELS.to_owned())),
        "\\dm" => Ok(query(format!("DESCRIBE MODEL {argument}"))),
        "\\df" => Ok(functions(argument)),
        "\\dn" => {
            Ok(query("SELECT schema_name AS schema FROM information_schema.schemata ORDER BY 1".to_owned()))
        }
        "\\plot" => Ok(Meta::Plot(argument.to_owned())),
        "\\x" => Ok(Meta::Expanded(expanded(argument)?)),
        "\\timing" => Ok(Meta::Timing(switch(argument)?)),
        "\\i" if argument.is_empty() => Err(Error::input(Subject::File, "\\i needs a file: \\i script.sql")),
        "\\i" => Ok(Meta::Include(argument.trim_matches(['\'', '"']).to_owned())),
        "\\e" => Ok(Meta::Edit),
        "\\copy" => Ok(Meta::CopyHelp),
        "\\?" | "\\h" | "\\help" => Ok(Meta::Help),
        "\\q" | "\\quit" => Ok(Meta::Quit),
        _ => Err(unknown(name)),
    }
}

/// True for the words, with or without a semicolon, that leave as `\q` does.
pub(super) fn leaves(line: &str) -> bool {
    let word = line.trim().trim_end_matches(';').trim_end();
    word.eq_ignore_ascii_case("exit") || word.eq_ignore_ascii_case("quit")
}

/// The command on the last line of a text, and what stands before it.
pub(super) fn at_end_of(text: &str) -> Option<(&str, &str)> {
    let at = text.rfind('\n')? + 1;
    let start = at + text[at..].len() - text[at..].trim_start().len();
    let mut end = 0;
    let inside = tokens(text).into_iter().find(|token| {
        end += token.text.len();
        end > start
    });
    let is_command = inside.is_some_and(|token| token.kind == TokenKind::Symbol && token.text == "\\");
    is_command.then(|| (&text[..at - 1], &text[start..]))
}

/// The list that `\?` prints.
pub(super) fn help() -> String {
    let mut text =
        String::from("Statements end with a semicolon. Ctrl-C stops a running one, Ctrl-D leaves.\n");
    for Command { name, arguments, help } in &COMMANDS {
        text += &format!("  {}  {help}\n", pad(&format!("{name} {arguments}"), 32, false));
    }
    text
}

fn unknown(name: &str) -> Error {
    let near = did_you_mean(name, COMMANDS.iter().map(|c| c.name));
    Error::not_found(Subject::Statement, format!("unknown command {name}{near}"))
        .with_hint("\\? lists the commands")
}

fn query(sql: String) -> Meta {
    Meta::Query { sql: vec![sql], missing: None }
}

fn relations(condition: &str) -> Meta {
    query(format!(
        "SELECT table_schema AS schema, table_name AS name, lower(table_type) AS type \
         FROM information_schema.tables \
         WHERE {condition} AND table_schema NOT IN ('information_schema', 'pg_catalog', 'ml') \
         ORDER BY schema, name"
    ))
}

/// Columns of a table or view, else of a model.
fn columns_of(name: &str) -> Meta {
    let model = format!("SELECT * FROM ml.models WHERE name = {}", literal(name));
    Meta::Query {
        sql: vec![format!("DESCRIBE {name}"), model],
        missing: Some(format!("no table, view or model {name}")),
    }
}

/// Functions with one line each; descriptions of DataFusion are Markdown over several.
fn functions(word: &str) -> Meta {
    let tables: Vec<String> = TABLE_FUNCTIONS
        .iter()
        .map(|f| format!("({}, 'table', {}, {})", text(f.name), text(f.usage), text(f.description)))
        .collect();
    query(format!(
        "SELECT * FROM (SELECT DISTINCT routine_name AS name, lower(function_type) AS type, \
         syntax_example AS use, split_part(description, chr(10), 1) AS description \
         FROM information_schema.routines UNION ALL SELECT * FROM (VALUES {}) AS t(name, type, use, description)) \
         WHERE strpos(lower(name), {}) > 0 ORDER BY name",
        tables.join(", "),
        text(&word.to_lowercase())
    ))
}

/// A name as the catalogue stores it, as a string of SQL: folded unless it is in quotes.
fn literal(name: &str) -> String {
    let stored = match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_lowercase(),
    };
    text(&stored)
}

/// A string of SQL.
fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn expanded(argument: &str) -> Result<Option<Expanded>> {
    match argument {
        "" => Ok(None),
        "on" => Ok(Some(Expanded::On)),
        "off" => Ok(Some(Expanded::Off)),
        "auto" => Ok(Some(Expanded::Auto)),
        other => Err(Error::input(Subject::Option, format!("\\x takes on, off or auto, not {other}"))),
    }
}

fn switch(argument: &str) -> Result<Option<bool>> {
    match argument {
        "" => Ok(None),
        "on" => Ok(Some(true)),
        "off" => Ok(Some(false)),
        other => Err(Error::input(Subject::Option, format!("\\timing takes on or off, not {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_their_arguments_are_read() {
        assert_eq!(parse("\\x auto").unwrap(), Meta::Expanded(Some(Expanded::Auto)));
        assert_eq!(parse("\\timing;").unwrap(), Meta::Timing(None));
        assert_eq!(parse(" \\plot units store_id=3 ").unwrap(), Meta::Plot("units store_id=3".to_owned()));
        assert_eq!(parse("\\i 'a b.sql'").unwrap(), Meta::Include("a b.sql".to_owned()));
        assert!(COMMANDS.iter().all(|c| c.name == "\\i" || parse(c.name).is_ok()));
    }

    #[test]
    fn names_are_folded_and_quoted_as_sql_does() {
        let Meta::Query { sql, missing } = parse("\\d retail.Sales").unwrap() else { panic!("a query") };
        assert_eq!(sql[0], "DESCRIBE retail.Sales");
        assert_eq!(missing.as_deref(), Some("no table, view or model retail.Sales"));
        assert_eq!((literal("o'X"), literal("\"My Sales\"")), ("'o''x'".to_owned(), "'My Sales'".to_owned()));
    }

    #[test]
    fn a_command_ends_a_statement_but_not_a_string() {
        assert_eq!(at_end_of("SELECT 1\n  \\q"), Some(("SELECT 1", "\\q")));
        assert_eq!(at_end_of("SELECT '1\n\\q"), None);
        assert_eq!(at_end_of("SELECT 1\n, 2"), None);
        assert_eq!(at_end_of("\\q"), None);
        assert!(leaves(" Exit; ") && leaves("quit") && !leaves("exit now"));
    }

    #[test]
    fn unknown_commands_name_the_nearest() {
        let error = parse("\\timming").unwrap_err();
        assert_eq!(error.message(), "unknown command \\timming; did you mean \\timing?");
    }
}
