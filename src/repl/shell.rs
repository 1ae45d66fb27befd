//! The interactive door: a prompt, statements, backslash commands.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::engine::Database;
use crate::error::{Error, ErrorKind, Result, Subject};

use super::client::{Client, Stop, report};
use super::diagnostic::Source;
use super::editor::{Line, LineEditor};
use super::meta::{self, Meta};
use super::output::{Expanded, Format};
use super::plot::chart;
use super::script::Script;
use super::terminal::{self, Style};

/// Columns of a chart where the terminal does not tell its width.
const CHART_COLUMNS: usize = 80;

/// What happens after a line.
enum Next {
    Prompt,
    /// Go on with this text.
    Resume(String),
    Leave,
}

/// Greets, then reads and runs lines until the user leaves.
pub fn run_shell(database: &Database, greeting: &str) -> Result<ExitCode> {
    let style = Style::of_stdout();
    let client = Client::new(database.session(), Format::Table, true)
        .map_err(|error| Error::internal(format!("no runtime for the shell: {error}")))?;
    let mut editor = LineEditor::new(client.session().clone(), style).map_err(terminal_error)?;
    let mut shell = Shell { client, style, last_statement: String::new() };
    println!("{greeting}\n{}", style.dim("Statements end with ; and \\? lists the commands."));
    let mut initial = String::new();
    loop {
        match editor.read(&std::mem::take(&mut initial)).map_err(terminal_error)? {
            Line::Cleared => {}
            Line::Left => break,
            Line::Entered(line) => match shell.run_line(&line) {
                Next::Prompt => {}
                Next::Resume(text) => initial = text,
                Next::Leave => break,
            },
        }
    }
    Ok(ExitCode::SUCCESS)
}

struct Shell {
    client: Client,
    style: Style,
    last_statement: String,
}

impl Shell {
    fn run_line(&mut self, line: &str) -> Next {
        if line.trim().is_empty() {
            return Next::Prompt;
        }
        if meta::leaves(line) {
            return Next::Leave;
        }
        if line.trim_start().starts_with('\\') {
            return self.run_reported(line);
        }
        if let Some((statement, command)) = meta::at_end_of(line) {
            statement.trim_end().clone_into(&mut self.last_statement);
            if self.client.session().is_complete(statement) {
                self.shown(|client| client.run_text(statement, None));
                return self.run_reported(command);
            }
            return match self.run_reported(command) {
                Next::Prompt => Next::Resume(format!("{statement}\n")),
                next => next,
            };
        }
        line.trim_end().clone_into(&mut self.last_statement);
        self.shown(|client| client.run_text(line, None));
        Next::Prompt
    }

    fn run_reported(&mut self, command: &str) -> Next {
        self.run_command(command).unwrap_or_else(|error| {
            report(&error, Source { file: None, text: command, statement: 0 });
            Next::Prompt
        })
    }

    fn run_command(&mut self, line: &str) -> Result<Next> {
        match meta::parse(line)? {
            Meta::Query { sql, missing } => self.run_catalogue_query(&sql, missing)?,
            Meta::Plot(request) => {
                let columns = terminal::width().unwrap_or(CHART_COLUMNS);
                print!("{}", chart(self.client.last_result(), &request, columns, self.style)?);
            }
            Meta::Expanded(mode) => self.set_expanded(mode),
            Meta::Timing(on) => {
                self.client.timing = on.unwrap_or(!self.client.timing);
                println!("Timing is {}.", if self.client.timing { "on" } else { "off" });
            }
            Meta::Include(path) => {
                let text = Script::named(Path::new(&path)).read()?;
                self.shown(|client| client.run_text(&text, Some(&path)));
            }
            Meta::CopyHelp => print!("{}", meta::COPY_HELP),
            Meta::Help => print!("{}", meta::help()),
            Meta::Edit => return Ok(Next::Resume(self.edit())),
            Meta::Quit => return Ok(Next::Leave),
        }
        Ok(Next::Prompt)
    }

    /// Shows the first of the queries that has rows, or says that the thing is missing.
    fn run_catalogue_query(&mut self, sql: &[String], missing: Option<String>) -> Result<()> {
        let Some(missing) = missing else {
            sql.iter().for_each(|sql| self.shown(|client| client.run_aside(sql)));
            return Ok(());
        };
        for sql in sql {
            let found = match self.client.rows(sql) {
                Ok(batches) => batches.iter().any(|batch| batch.num_rows() > 0),
                Err(error) if error.kind() == ErrorKind::NotFound => false,
                Err(error) => return Err(error),
            };
            if found {
                self.shown(|client| client.run_aside(sql));
                return Ok(());
            }
        }
        Err(Error::not_found(Subject::Table, missing).with_hint("\\d lists tables and views, \\dm models"))
    }

    /// Lets the client run something; errors of statements are on the screen already.
    fn shown(&mut self, run: impl FnOnce(&mut Client) -> Result<(), Stop>) {
        if let Err(Stop::Output(error)) = run(&mut self.client) {
            eprintln!("ERROR: the result could not be shown: {error}");
        }
    }

    fn set_expanded(&mut self, mode: Option<Expanded>) {
        let toggled = if self.client.expanded == Expanded::On { Expanded::Auto } else { Expanded::On };
        self.client.expanded = mode.unwrap_or(toggled);
        println!(
            "{}",
            match self.client.expanded {
                Expanded::On => "One column a line.",
                Expanded::Off => "One row a line.",
                Expanded::Auto => "One row a line, or one column a line when rows are too wide.",
            }
        );
    }

    /// The last statement as the user's editor left it, to be run with Enter; unchanged when there is no editor.
    fn edit(&self) -> String {
        match edited(&self.last_statement) {
            Ok(text) => text,
            Err(error) => {
                report(&error, Source { file: None, text: "", statement: 0 });
                self.last_statement.clone()
            }
        }
    }
}

fn edited(text: &str) -> Result<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let command = variable("VISUAL").or_else(|| variable("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    let file = tempfile::Builder::new().suffix(".sql").tempfile();
    let file = file.map_err(|error| Error::io(&std::env::temp_dir(), &error))?;
    let io_error = |error: std::io::Error| Error::io(file.path(), &error);
    std::fs::write(file.path(), text).map_err(io_error)?;
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let ended = Command::new(program).args(words).arg(file.path()).status();
    let ended = ended.map_err(|error| {
        Error::io(Path::new(program), &error).with_hint("set EDITOR to the command of your editor")
    })?;
    if !ended.success() {
        return Ok(text.to_owned());
    }
    Ok(std::fs::read_to_string(file.path()).map_err(io_error)?.trim_end().to_owned())
}

fn terminal_error(error: rustyline::error::ReadlineError) -> Error {
    Error::internal(format!("the terminal cannot be read: {error}"))
}
