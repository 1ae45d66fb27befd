//! What we are compared with, installed from PyPI on first use: into `FORETELL_PEERS_DIR`, else `~/.cache/foretell/peers`.

use std::path::{Path, PathBuf};
use std::process::Command;

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
