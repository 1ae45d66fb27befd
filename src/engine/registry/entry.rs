//! The small file of a model's name: which versions it has and which one is active.

use serde::{Deserialize, Serialize};

use crate::engine::registry::manifest::ModelKind;
use crate::engine::storage::Acl;
use crate::error::{Error, Result, Subject};

const FORMAT: u32 = 1;
const SUFFIX: &str = ".json";
const NAME_BYTES_MAX: usize = 200;

/// A version that is published, with the checksum of its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionEntry {
    /// The version.
    pub version: u64,
    /// SHA-256 of its manifest's file, in hexadecimal.
    pub manifest_sha256: String,
}

/// What a name stands for; replacing its file is the commit of every change of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    format: u32,
    /// What its versions are for.
    #[serde(default)]
    pub kind: ModelKind,
    /// The directory of the artifacts.
    pub id: String,
    /// The version that a forecast without a version reads.
    pub active: u64,
    /// The highest version ever given; numbers are not used twice.
    pub last: u64,
    /// The published versions, ascending.
    pub versions: Vec<VersionEntry>,
    /// The user's own words about the model.
    pub comment: Option<String>,
    /// Its owner and what was granted on it.
    #[serde(default, skip_serializing_if = "Acl::is_default")]
    pub acl: Acl,
}

impl Entry {
    /// An entry without versions, with a directory of its own.
    pub fn new(owner: Option<String>, kind: ModelKind) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let acl = Acl::of_owner(owner);
        Self { format: FORMAT, kind, id, active: 0, last: 0, versions: Vec::new(), comment: None, acl }
    }

    /// The published version of this number.
    pub fn version(&self, version: u64) -> Option<&VersionEntry> {
        self.versions.iter().find(|v| v.version == version)
    }

    /// The versions as text: `1, 2, 5`.
    pub fn list(&self) -> String {
        self.versions.iter().map(|v| v.version.to_string()).collect::<Vec<_>>().join(", ")
    }

    /// The entry as the bytes of its file.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|e| Error::internal(format!("a model's entry cannot be written: {e}")))
    }

    /// Reads the bytes of an entry's file; `place` names it in errors.
    pub fn from_bytes(bytes: &[u8], place: &str) -> Result<Self> {
        let broken =
            |why: String| Error::corrupt(Subject::File, format!("{place} is not a model's entry: {why}"));
        let entry: Self = serde_json::from_slice(bytes).map_err(|e| broken(e.to_string()))?;
        if entry.format != FORMAT {
            let message = format!("{place} has format {}; this version reads format {FORMAT}", entry.format);
            return Err(Error::unsupported(message).with_hint("open the database with a newer foretell"));
        }
        if entry.id.len() != 32 || !entry.id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(broken(format!("{:?} is no directory of artifacts", entry.id)));
        }
        if entry.version(entry.active).is_none() {
            return Err(broken(format!("its active version {} is not among its versions", entry.active)));
        }
        Ok(entry)
    }
}

/// The file name of a model's entry; bytes outside a-z, 0-9, _ and - are written as %XX.
pub fn file_name(name: &str) -> Result<String> {
    let mut encoded = String::with_capacity(name.len() + SUFFIX.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    if encoded.is_empty() {
        return Err(Error::input(Subject::Model, "a model's name must not be empty"));
    }
    if encoded.len() > NAME_BYTES_MAX {
        let start: String = name.chars().take(20).collect();
        let message = format!(
            "the model name {start}… is too long: at most {NAME_BYTES_MAX} characters, and one outside a-z, 0-9, _ \
             and - counts 3 for each of its bytes"
        );
        return Err(Error::input(Subject::Model, message));
    }
    encoded.push_str(SUFFIX);
    Ok(encoded)
}

/// The model whose entry has this file name, or `None` when the file is no entry.
pub fn model_name(file: &str) -> Option<String> {
    let mut rest = file.strip_suffix(SUFFIX)?.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        decoded.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    let name = String::from_utf8(decoded).ok()?;
    (file_name(&name).ok()? == file).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_plain_file_and_comes_back() {
        for name in ["sales_28", "Sales", "../../etc/passwd", "a b", "größe", ".staging-1", "%41"] {
            let file = file_name(name).unwrap();
            assert!(!file.contains('/') && !file.starts_with('.'), "{file}");
            assert_eq!(model_name(&file).as_deref(), Some(name));
        }
        assert_eq!(file_name("A.b").unwrap(), "%41%2Eb.json");
        assert_eq!(model_name("notes.txt"), None);
        assert_eq!(model_name("%61.json"), None);
        assert!(file_name(&"x".repeat(201)).is_err());
        assert!(file_name("").is_err());
    }

    #[test]
    fn entry_with_a_foreign_directory_is_corrupt() {
        let mut entry = Entry::new(None, ModelKind::default());
        entry.versions.push(VersionEntry { version: 1, manifest_sha256: String::new() });
        entry.active = 1;
        let bytes = entry.to_bytes().unwrap();
        assert_eq!(Entry::from_bytes(&bytes, "m.json").unwrap(), entry);
        entry.id = "../../outside".to_owned();
        let error = Entry::from_bytes(&entry.to_bytes().unwrap(), "m.json").unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::Corrupt);
    }
}
