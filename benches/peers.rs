//! What we are compared with, installed from PyPI on first use: into `FORETELL_PEERS_DIR`, else `~/.cache/foretell/peers`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use foretell::{Error, Result};

/// The interpreter of an environment that has these packages.
pub fn python(packages: &[&str]) -> Result<PathBuf> {
    let folder = folder();
    let python = folder.join("bin").join("python");
    if !python.exists() {
        done(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    for package in packages {
        if !has(&python, package)? {
            eprintln!("  installing {package} into {}", folder.display());
            done(Command::new(&python).args(["-m", "pip", "install", "--quiet", package]))?;
        }
    }
    Ok(python)
}

fn folder() -> PathBuf {
    let named = std::env::var("FORETELL_PEERS_DIR").map(PathBuf::from);
    named.unwrap_or_else(|_| {
        Path::new(&std::env::var("HOME").unwrap_or_default()).join(".cache/foretell/peers")
    })
}

fn has(python: &Path, package: &str) -> Result<bool> {
    let quiet = Command::new(python).args(["-m", "pip", "show", "--quiet", package]).output();
    Ok(quiet.map_err(|e| Error::internal(format!("{}: {e}", python.display())))?.status.success())
}

/// Runs a command to its end.
pub fn done(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|e| Error::internal(format!("{command:?}: {e}")))?;
    if status.success() { Ok(()) } else { Err(Error::internal(format!("{command:?}: {status}"))) }
}

/// A Python script of this folder in a process of its own, which answers one line for every line.
pub struct Process {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    script: String,
}

impl Process {
    /// Starts a script with these arguments.
    pub fn start(python: &Path, script: &str, arguments: &[&Path]) -> Result<Self> {
        let mut process = Command::new(python)
            .arg(format!("{}/benches/{script}", env!("CARGO_MANIFEST_DIR")))
            .args(arguments)
            // Waiting threads sleep: spinning ones would count as work.
            .env("OMP_WAIT_POLICY", "PASSIVE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| Error::internal(format!("{}: {e}", python.display())))?;
        match (process.stdin.take(), process.stdout.take()) {
            (Some(input), Some(output)) => {
                Ok(Self { process, input, output: BufReader::new(output), script: script.to_owned() })
            }
            _ => Err(Error::internal(format!("{script} has no pipes"))),
        }
    }

    /// The numbers that it answers to a line.
    pub fn ask(&mut self, line: &str) -> Result<Vec<f64>> {
        let failed = |e: std::io::Error| Error::internal(format!("{}: {e}", self.script));
        writeln!(self.input, "{line}").map_err(failed)?;
        let mut answer = String::new();
        self.output.read_line(&mut answer).map_err(failed)?;
        let numbers = answer.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>();
        numbers.map_err(|_| Error::internal(format!("{} answered {answer:?}", self.script)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
