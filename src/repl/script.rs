//! The script door: one text of statements, run to its end or to its first error.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::engine::Database;
use crate::error::{Error, ErrorKind, Result, Subject};

use super::client::{Client, Stop};
use super::output::Format;

/// Exit code of a script that Ctrl-C has stopped, as shells count it.
const INTERRUPTED: u8 = 130;

/// Where the statements of a script come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// This file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

impl Script {
    /// The file of this name, or standard input for `-`.
    pub fn named(name: &Path) -> Self {
        if name.as_os_str() == "-" { Self::Stdin } else { Self::File(name.to_owned()) }
    }

    /// The name that errors are reported under.
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "<stdin>".to_owned(),
        }
    }

    /// All of its text.
    pub fn read(&self) -> Result<String> {
        let (name, bytes) = match self {
            Self::File(path) => (path.as_path(), std::fs::read(path)),
            Self::Stdin => {
                let mut bytes = Vec::new();
                (Path::new("<stdin>"), std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes))
            }
        };
        let bytes = bytes.map_err(|error| Error::io(name, &error))?;
        String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Error::input(Subject::File, format!("{}: byte {at} is not UTF-8 text", self.name()))
                .with_hint("save the file as UTF-8")
        })
    }
}

/// Runs a script and prints its results; the exit code is 1 after an error, which is on standard error then.
pub fn run_script(database: &Database, script: &Script, format: Format) -> Result<ExitCode> {
    let text = script.read()?;
    let mut client = Client::new(database.session(), format, false)
        .map_err(|error| Error::internal(format!("no runtime for the script: {error}")))?;
    match client.run_text(text.strip_prefix('\u{feff}').unwrap_or(&text), Some(&script.name())) {
        Ok(()) | Err(Stop::OutputClosed) => Ok(ExitCode::SUCCESS),
        Err(Stop::Failed(ErrorKind::Cancelled)) => Ok(ExitCode::from(INTERRUPTED)),
        Err(Stop::Failed(_)) => Ok(ExitCode::FAILURE),
        Err(Stop::Output(error)) => Err(Error::io(Path::new("standard output"), &error)),
    }
}
