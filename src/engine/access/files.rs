//! Which files statements may reach: all in one's own process, few over a server.

use std::path::{Path, PathBuf};

use datafusion::execution::session_state::SessionState;

use crate::engine::access::{Actor, Rights};
use crate::engine::storage::Catalog;
use crate::error::{Error, ErrorKind, Result, Subject};

/// The folder of a database directory that a server's statements may reach; ours are beside it.
const FILES: &str = "files";

/// The files that a session of a server may reach.
#[derive(Debug)]
pub struct FileAccess {
    catalog: Catalog,
    roots: Vec<PathBuf>,
}

impl FileAccess {
    /// The folder `files` of the database, and these directories.
    pub fn new(catalog: Catalog, directories: &[PathBuf]) -> Result<Self> {
        let mut roots = vec![catalog.directory().join(FILES)];
        for directory in directories {
            roots.push(directory.canonicalize().map_err(|e| Error::io(directory, &e))?);
        }
        Ok(Self { catalog, roots })
    }

    /// The path that a statement may read for what it wrote; sessions without limits read everything.
    pub fn reading(state: &SessionState, path: &str) -> Result<String> {
        Self::resolve(state, path, "read", Rights::may_read_files)
    }

    /// As [`FileAccess::reading`], of a file to write.
    pub fn writing(state: &SessionState, path: &str) -> Result<String> {
        Self::resolve(state, path, "write", Rights::may_write_files)
    }

    /// The path of a table that was let in before, when it is still below one of the roots.
    pub fn reopening(state: &SessionState, path: &str) -> Result<String> {
        match state.config().get_extension::<Self>() {
            Some(access) => access.inside(path, "read"),
            None => Ok(path.to_owned()),
        }
    }

    fn resolve(state: &SessionState, path: &str, verb: &str, allowed: fn(&Rights) -> bool) -> Result<String> {
        let Some(access) = state.config().get_extension::<Self>() else { return Ok(path.to_owned()) };
        let rights = Actor::of(state).rights(&access.catalog)?;
        if !allowed(&rights) {
            let role = format!("pg_{verb}_server_files");
            let message = format!("permission denied to {verb} files of the server");
            return Err(Error::new(ErrorKind::Denied, Subject::File, message).with_hint(format!(
                "a superuser can GRANT {role} TO {}; COPY … {} moves rows through this connection",
                rights.role(),
                if verb == "read" { "FROM STDIN" } else { "TO STDOUT" }
            )));
        }
        access.inside(path, verb)
    }

    /// The path without detours, when it is below one of the roots.
    fn inside(&self, path: &str, verb: &str) -> Result<String> {
        let plain = path.strip_prefix("file://").unwrap_or(path);
        let full = self.roots[0].join(plain);
        // Wildcards stand for names below the folder that is looked at; a file to write need not exist yet.
        let text = full.to_string_lossy().into_owned();
        let fixed = text.find(['*', '?', '[']).map_or(text.len(), |at| text[..at].rfind('/').unwrap_or(0));
        let (folder, rest) = existing(Path::new(&text[..fixed]));
        let mut real = folder.canonicalize().map_err(|e| Error::io(&folder, &e))?;
        real.extend(&rest);
        let tidy = !rest.components().any(|part| part == std::path::Component::ParentDir);
        let wild_tidy = !text[fixed..].split('/').any(|part| part == "..");
        let root = |root: &PathBuf| real.starts_with(root.canonicalize().as_ref().unwrap_or(root));
        if tidy && wild_tidy && !plain.contains("://") && self.roots.iter().any(root) {
            return Ok(format!("{}{}", real.display(), &text[fixed..]));
        }
        let message = format!("{path} is outside of the directories that this server may {verb}");
        Err(Error::new(ErrorKind::Denied, Subject::File, message).with_hint(format!(
            "put it into {}, or start the server with --allow-dir",
            self.roots[0].display()
        )))
    }
}

/// The longest part of a path that exists, and the rest.
fn existing(path: &Path) -> (PathBuf, PathBuf) {
    let mut folder = path.to_owned();
    let mut rest = PathBuf::new();
    while !folder.exists() {
        let Some(name) = folder.file_name().map(ToOwned::to_owned) else { break };
        rest = if rest.as_os_str().is_empty() { PathBuf::from(name) } else { Path::new(&name).join(rest) };
        folder.pop();
    }
    (folder, rest)
}
