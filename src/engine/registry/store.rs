//! The models of a database: published by one atomic replacement of a small file per name.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::engine::controlled::current_control;
use crate::engine::registry::artifact::{self, Artifact, Contents, Model, read_if_there};
use crate::engine::registry::entry::{self, Entry, VersionEntry};
use crate::engine::registry::manifest::{Manifest, ModelKind};
use crate::engine::storage::{Acl, DurableFs, Publish, seal, sealed, unsealed};
use crate::error::{Error, ErrorKind, Result, Subject, did_you_mean};
use crate::ml::models::BASE_NAME;

const ENTRY_HEADER: &str = "foretell-model 1 ";
const ENTRY_BYTES_MAX: u64 = 16 << 20;
const RECENT_MAX: usize = 16;
const CHECKPOINT_HEADER: &str = "foretell-checkpoint 1 ";
const CHECKPOINT_BYTES_MAX: u64 = 8 << 30;
/// A training that nobody went on with for so long begins anew.
const CHECKPOINT_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What publishing does about a name that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishMode {
    /// It is an error.
    New,
    /// The model gets one more version, which becomes active.
    Replace,
    /// As [`PublishMode::Replace`], of the model of this id; it is an error where that has not the name any more.
    Refresh(String),
}

/// One model in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSummary {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: ModelKind,
    /// The version that a forecast without a version reads.
    pub active_version: u64,
    /// All versions, ascending.
    pub versions: Vec<u64>,
    /// The user's own words about the model.
    pub comment: Option<String>,
    /// Its owner and what was granted on it.
    pub acl: Acl,
}

/// The models of one database directory.
#[derive(Debug)]
pub struct ModelRegistry {
    fs: DurableFs,
    root: PathBuf,
    writable: bool,
    changes: Mutex<()>,
    generation: AtomicU64,
    entries: Mutex<Entries>,
    artifacts: Mutex<Artifacts>,
}

/// Entries that were read since the last change; without the right to write, others change them, and none is kept.
#[derive(Debug, Default)]
struct Entries {
    generation: u64,
    of_names: HashMap<String, Entry>,
}

impl Entries {
    /// Those of this generation.
    fn at(&mut self, generation: u64) -> &mut HashMap<String, Entry> {
        if self.generation != generation {
            (self.generation, self.of_names) = (generation, HashMap::new());
        }
        &mut self.of_names
    }
}

/// A change that is being made, one at a time.
struct Change<'a> {
    generation: &'a AtomicU64,
    _alone: parking_lot::MutexGuard<'a, ()>,
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}

/// The artifacts in use, and the ones used last, which stay loaded.
#[derive(Debug, Default)]
struct Artifacts {
    live: Vec<Weak<Artifact>>,
    recent: Vec<Arc<Artifact>>,
}

impl ModelRegistry {
    /// The models of the database in `path`; a writable registry first removes what a killed process left.
    pub fn open(path: &Path, fs: DurableFs, writable: bool) -> Result<Self> {
        let root = path.join("models");
        let registry = Self {
            fs,
            root,
            writable,
            changes: Mutex::new(()),
            generation: AtomicU64::new(0),
            entries: Mutex::default(),
            artifacts: Mutex::new(Artifacts::default()),
        };
        if writable {
            registry.fs.create_dir_all(&registry.root).map_err(|e| Error::io(&registry.root, &e))?;
            registry.sweep()?;
        }
        Ok(registry)
    }

    /// The active version of a model, or `None` when there is none of that name.
    pub fn find(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.found(name)?.map(|entry| entry.active))
    }

    /// A version of a model, the active one without `version`.
    pub fn get(&self, name: &str, version: Option<u64>) -> Result<Arc<Model>> {
        let mut entry = self.entry(name)?;
        loop {
            let opened = self.open_version(name, &entry, version);
            if opened.is_ok() {
                return opened;
            }
            // What the entry names may be gone since it was read.
            match self.read(name)? {
                Some(now) if now == entry => return opened,
                Some(now) => entry = now,
                None => return Err(self.no_model(name)),
            }
        }
    }

    /// All models, sorted by name.
    pub fn list(&self) -> Result<Vec<ModelSummary>> {
        let mut models = Vec::new();
        for name in self.names()? {
            let Some(entry) = self.read(&name)? else { continue };
            models.push(ModelSummary {
                name,
                kind: entry.kind,
                active_version: entry.active,
                versions: entry.versions.iter().map(|v| v.version).collect(),
                comment: entry.comment,
                acl: entry.acl,
            });
        }
        Ok(models)
    }

    /// Publishes a trained model as the newest and active version of its name; it is durable after `Ok`. A name
    /// that is new belongs to `owner`.
    pub fn publish(
        &self,
        name: &str,
        mut manifest: Manifest,
        contents: Contents,
        mode: PublishMode,
        owner: Option<String>,
    ) -> Result<u64> {
        let _change = self.begin()?;
        check_free(name)?;
        let found = self.read(name)?;
        if found.is_some() && mode == PublishMode::New {
            return Err(exists(name));
        }
        if let PublishMode::Refresh(id) = &mode
            && found.as_ref().is_none_or(|entry| entry.id != *id)
        {
            let message = format!("model {name} was dropped or renamed while its next version was made");
            return Err(Error::new(ErrorKind::Unavailable, Subject::Model, message)
                .with_hint("run the statement again with the name that the model has now"));
        }
        let publish = if found.is_some() { Publish::Replace } else { Publish::Create };
        let mut entry = found.unwrap_or_else(|| Entry::new(owner, manifest.kind));
        if entry.kind != manifest.kind {
            let (is, new) = (entry.kind.word(), manifest.kind.word());
            let message = format!("the versions of model {name} are of kind {is}, not {new}");
            return Err(Error::input(Subject::Model, message)
                .with_hint(format!("choose another name, or DROP MODEL {name} first")));
        }
        let version = entry.last + 1;
        manifest.name = name.to_owned();
        manifest.version = version;
        manifest.parent_version = (entry.active > 0).then_some(entry.active);
        let directory = self.directory(&entry.id, version);
        self.fs.remove_dir_all(&directory).map_err(|e| Error::io(&directory, &e))?;
        let written =
            artifact::write(&self.fs, &directory, &mut manifest, &contents).and_then(|manifest_sha256| {
                entry.versions.push(VersionEntry { version, manifest_sha256 });
                entry.comment = manifest.comment.or(entry.comment.take());
                (entry.active, entry.last) = (version, version);
                self.write(name, &entry, publish)
            });
        if let Err(error) = written {
            // An entry that was published before its directory could be synced still needs the artifact.
            if !self.read(name).is_ok_and(|now| now.is_some_and(|e| e.version(version).is_some())) {
                artifact::remove(&self.fs, &directory);
            }
            return Err(error);
        }
        Ok(version)
    }

    /// Removes a model with all its versions; forecasts that run keep theirs.
    pub fn drop(&self, name: &str) -> Result<()> {
        let _change = self.begin()?;
        let entry = self.entry(name)?;
        let path = self.path(name)?;
        self.fs.remove(&path).map_err(|e| Error::io(&path, &e))?;
        entry.versions.iter().for_each(|v| self.discard(&entry.id, v.version));
        Ok(())
    }

    /// Keeps where a long training stands, under a key; it is durable after `Ok`.
    pub fn keep_checkpoint(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let path = self.checkpoint_path(key);
        if let Some(directory) = path.parent() {
            self.fs.create_dir_all(directory).map_err(|e| Error::io(directory, &e))?;
        }
        // Not sealed as a whole: there may be no memory for a checkpoint twice.
        let keep = || {
            let mut file = self.fs.stage(&path)?;
            file.write_all(seal(CHECKPOINT_HEADER, bytes).as_bytes())?;
            file.write_all(bytes)?;
            file.publish(Publish::Replace)
        };
        keep().map_err(|e| Error::io(&path, &e))
    }

    /// What was kept last under a key; corrupt where its file was changed since.
    pub fn checkpoint(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let path = self.checkpoint_path(key);
        let Some(mut bytes) = read_if_there(&self.fs, &path, CHECKPOINT_BYTES_MAX)? else { return Ok(None) };
        let kept = unsealed(CHECKPOINT_HEADER, &bytes).map_err(|why| damaged(&path, why))?.len();
        bytes.drain(..bytes.len() - kept);
        Ok(Some(bytes))
    }

    /// Removes what was kept under a key.
    pub fn forget_checkpoint(&self, key: &str) -> Result<()> {
        let path = self.checkpoint_path(key);
        match self.fs.remove(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(&path, &e)),
            _ => Ok(()),
        }
    }

    fn checkpoint_path(&self, key: &str) -> PathBuf {
        let name: String = Sha256::digest(key).iter().take(16).map(|b| format!("{b:02x}")).collect();
        self.checkpoints().join(name)
    }

    fn checkpoints(&self) -> PathBuf {
        self.root.with_file_name("pretraining")
    }

    /// Gives a model another name.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        let _change = self.begin()?;
        self.entry(from)?;
        check_free(to)?;
        if self.read(to)?.is_some() {
            return Err(exists(to));
        }
        let target = self.path(to)?;
        self.fs.rename(&self.path(from)?, &target).map_err(|e| Error::io(&target, &e))
    }

    /// Makes the version before the active one active again; returns it.
    pub fn rollback(&self, name: &str) -> Result<u64> {
        let _change = self.begin()?;
        let mut entry = self.entry(name)?;
        let before = entry.versions.iter().map(|v| v.version).filter(|v| *v < entry.active).max();
        entry.active = before.ok_or_else(|| {
            let message = format!("model {name} has no version before its active version {}", entry.active);
            Error::input(Subject::Model, message).with_hint(format!("versions of {name}: {}", entry.list()))
        })?;
        self.write(name, &entry, Publish::Replace)?;
        Ok(entry.active)
    }

    /// Makes a version active.
    pub fn promote(&self, name: &str, version: u64) -> Result<()> {
        let _change = self.begin()?;
        let mut entry = self.entry(name)?;
        known(name, &entry, version)?;
        entry.active = version;
        self.write(name, &entry, Publish::Replace)
    }

    /// Removes a version that is not active.
    pub fn drop_version(&self, name: &str, version: u64) -> Result<()> {
        let _change = self.begin()?;
        let mut entry = self.entry(name)?;
        known(name, &entry, version)?;
        if version == entry.active {
            let message = format!("version {version} of model {name} is active and cannot be dropped");
            let hint = if entry.versions.len() == 1 {
                format!("DROP MODEL {name} removes the whole model")
            } else {
                "make another version active first".to_owned()
            };
            return Err(Error::input(Subject::Model, message).with_hint(hint));
        }
        entry.versions.retain(|v| v.version != version);
        self.write(name, &entry, Publish::Replace)?;
        self.discard(&entry.id, version);
        Ok(())
    }

    /// Sets or removes the comment of a model.
    pub fn set_comment(&self, name: &str, text: Option<String>) -> Result<()> {
        let _change = self.begin()?;
        let mut entry = self.entry(name)?;
        entry.comment = text;
        self.write(name, &entry, Publish::Replace)
    }

    /// Changes who may do what with models; with none of them where one is not there.
    pub fn change_acls(&self, names: &[String], change: impl Fn(&mut Acl)) -> Result<()> {
        let _change = self.begin()?;
        let entries = names.iter().map(|name| Ok((name, self.entry(name)?))).collect::<Result<Vec<_>>>()?;
        for (name, mut entry) in entries {
            change(&mut entry.acl);
            self.write(name, &entry, Publish::Replace)?;
        }
        Ok(())
    }

    /// Who may do what with a model; `None` when there is none of that name.
    pub fn acl(&self, name: &str) -> Result<Option<Acl>> {
        Ok(self.found(name)?.map(|entry| entry.acl))
    }

    /// A number that is another one after every change; without the right to write, after every second.
    pub fn generation(&self) -> u64 {
        if self.writable {
            return self.generation.load(Ordering::Acquire);
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |time| time.as_secs())
    }

    /// Begins a change, after whoever makes one, of a statement that is not stopped any more.
    fn begin(&self) -> Result<Change<'_>> {
        if !self.writable {
            let message = "the database is open read-only: its models cannot be changed";
            return Err(Error::new(ErrorKind::Denied, Subject::Database, message));
        }
        let alone = self.changes.lock();
        current_control().commit_begins()?;
        Ok(Change { generation: &self.generation, _alone: alone })
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        Ok(self.root.join(entry::file_name(name)?))
    }

    fn directory(&self, id: &str, version: u64) -> PathBuf {
        self.root.join(id).join(version.to_string())
    }

    fn read(&self, name: &str) -> Result<Option<Entry>> {
        let path = self.path(name)?;
        let Some(bytes) = read_if_there(&self.fs, &path, ENTRY_BYTES_MAX)? else { return Ok(None) };
        let json = unsealed(ENTRY_HEADER, &bytes).map_err(|why| {
            damaged(&path, why).with_hint("restore the file from a backup of the database directory")
        })?;
        Entry::from_bytes(json, &path.display().to_string()).map(Some)
    }

    /// What was read since the last change, or is now.
    fn found(&self, name: &str) -> Result<Option<Entry>> {
        if !self.writable {
            return self.read(name);
        }
        let generation = self.generation();
        if let Some(entry) = self.entries.lock().at(generation).get(name) {
            return Ok(Some(entry.clone()));
        }
        let entry = self.read(name)?;
        // What was read while it changed is of no generation.
        if let Some(entry) = entry.as_ref().filter(|_| self.generation() == generation) {
            self.entries.lock().at(generation).insert(name.to_owned(), entry.clone());
        }
        Ok(entry)
    }

    fn entry(&self, name: &str) -> Result<Entry> {
        self.found(name)?.ok_or_else(|| self.no_model(name))
    }

    fn no_model(&self, name: &str) -> Error {
        // Names that cannot be listed are not suggested.
        let names = self.names().unwrap_or_default();
        let suggestion = did_you_mean(name, names.iter().map(String::as_str).chain([BASE_NAME]));
        Error::not_found(Subject::Model, format!("no model {name}{suggestion}"))
    }

    fn write(&self, name: &str, entry: &Entry, publish: Publish) -> Result<()> {
        self.fs.save(&self.path(name)?, &sealed(ENTRY_HEADER, &entry.to_bytes()?), publish)
    }

    fn names(&self) -> Result<Vec<String>> {
        let files = match self.fs.fs().list(&self.root) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            files => files.map_err(|e| Error::io(&self.root, &e))?,
        };
        let mut names: Vec<String> =
            files.iter().filter(|f| !f.is_dir).filter_map(|f| entry::model_name(&f.name)).collect();
        names.sort();
        Ok(names)
    }

    fn open_version(&self, name: &str, entry: &Entry, version: Option<u64>) -> Result<Arc<Model>> {
        let version = known(name, entry, version.unwrap_or(entry.active))?;
        let mut artifacts = self.artifacts.lock();
        let artifact = match artifacts.take(&entry.id, version.version) {
            Some(artifact) => artifact,
            None => {
                let directory = self.directory(&entry.id, version.version);
                Arc::new(Artifact::open(&self.fs, directory, &entry.id, version)?)
            }
        };
        artifacts.put(&artifact);
        Ok(Arc::new(Model::new(name, entry, artifact)))
    }

    /// Removes an artifact that no entry names any more, now or with its last user.
    fn discard(&self, id: &str, version: u64) {
        let mut artifacts = self.artifacts.lock();
        match artifacts.take(id, version) {
            Some(artifact) => artifact.doom(),
            None => artifact::remove(&self.fs, &self.directory(id, version)),
        }
    }

    /// Removes what stands of trainings that nobody went on with.
    fn sweep_checkpoints(&self) -> io::Result<()> {
        let directory = self.checkpoints();
        self.fs.sweep(&directory)?;
        for file in self.fs.fs().list(&directory)? {
            if file.modified.elapsed().is_ok_and(|age| age > CHECKPOINT_AGE_MAX) {
                self.fs.fs().unlink(&directory.join(file.name))?;
            }
        }
        Ok(())
    }

    /// Removes staging files and artifacts that no entry names.
    fn sweep(&self) -> Result<()> {
        self.fs.sweep(&self.root).map_err(|e| Error::io(&self.root, &e))?;
        if self.fs.lock().is_some_and(|lock| lock.was_left_open()) {
            // What the entries are found to say stays so, before anything is removed by it.
            self.fs.sync_dir(&self.root).map_err(|e| Error::io(&self.root, &e))?;
        }
        match self.sweep_checkpoints() {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io(&self.checkpoints(), &e)),
            _ => {}
        }
        let mut entries = Vec::new();
        for name in self.names()? {
            match self.read(&name) {
                Ok(entry) => entries.extend(entry),
                // What a damaged entry named is not debris: everything stays for its repair.
                Err(_) => return Ok(()),
            }
        }
        for found in self.list_directories(&self.root)? {
            let owner = entries.iter().find(|e| e.id == found);
            let directory = self.root.join(&found);
            for version in self.list_directories(&directory)? {
                let named =
                    owner.is_some_and(|e| e.versions.iter().any(|v| v.version.to_string() == version));
                if !named {
                    artifact::remove(&self.fs, &directory.join(version));
                }
            }
            if owner.is_none() {
                // Already gone when it had versions; a directory with foreign files stays.
                let _ = self.fs.fs().remove_dir(&directory);
            }
        }
        Ok(())
    }

    fn list_directories(&self, path: &Path) -> Result<Vec<String>> {
        let found = self.fs.fs().list(path).map_err(|e| Error::io(path, &e))?;
        Ok(found.into_iter().filter(|f| f.is_dir).map(|f| f.name).collect())
    }
}

impl Artifacts {
    /// The artifact when it is in use, no longer among the recent ones.
    fn take(&mut self, id: &str, version: u64) -> Option<Arc<Artifact>> {
        let found = self.live.iter().filter_map(Weak::upgrade).find(|artifact| artifact.is(id, version));
        self.recent.retain(|artifact| !artifact.is(id, version));
        self.live.retain(|weak| weak.strong_count() > 0);
        found
    }

    /// Makes the artifact the most recent one.
    fn put(&mut self, artifact: &Arc<Artifact>) {
        if !self.live.iter().any(|weak| std::ptr::eq(weak.as_ptr(), Arc::as_ptr(artifact))) {
            self.live.push(Arc::downgrade(artifact));
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.remove(0);
        }
        self.recent.push(Arc::clone(artifact));
    }
}

fn known<'a>(name: &str, entry: &'a Entry, version: u64) -> Result<&'a VersionEntry> {
    entry.version(version).ok_or_else(|| {
        Error::not_found(Subject::Model, format!("model {name} has no version {version}"))
            .with_hint(format!("versions of {name}: {}", entry.list()))
    })
}

/// Fails for the name of the model that ships with the engine.
pub fn check_free(name: &str) -> Result<()> {
    if name != BASE_NAME {
        return Ok(());
    }
    let message = format!("{name} is the pretrained model that ships with Foretell");
    Err(Error::new(ErrorKind::Exists, Subject::Model, message).with_hint("give the model another name"))
}

fn damaged(path: &Path, why: &str) -> Error {
    Error::corrupt(Subject::File, format!("{} {why}", path.display()))
}

fn exists(name: &str) -> Error {
    Error::new(ErrorKind::Exists, Subject::Model, format!("model {name} already exists"))
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;

    fn publish(registry: &ModelRegistry, name: &str, weights: &[u8]) -> u64 {
        let manifest = Manifest::new(name, Utc::now());
        let contents = Contents { weights: weights.to_vec(), ..Contents::default() };
        registry.publish(name, manifest, contents, PublishMode::Replace, None).unwrap()
    }

    fn open(path: &Path) -> ModelRegistry {
        ModelRegistry::open(path, DurableFs::default(), true).unwrap()
    }

    fn files(path: &Path) -> usize {
        let entries = std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path());
        entries.map(|p| if p.is_dir() { files(&p) } else { 1 }).sum()
    }

    #[test]
    fn versions_follow_each_other_and_numbers_are_not_used_twice() {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(dir.path());
        assert_eq!(registry.find("m").unwrap(), None);
        assert_eq!((1..=3).map(|_| publish(&registry, "m", b"w")).collect::<Vec<_>>(), [1, 2, 3]);
        let again = registry
            .publish("m", Manifest::new("m", Utc::now()), Contents::default(), PublishMode::New, None)
            .unwrap_err();
        assert_eq!((again.kind(), again.message()), (ErrorKind::Exists, "model m already exists"));
        assert_eq!(registry.rollback("m").unwrap(), 2);
        registry.promote("m", 1).unwrap();
        assert_eq!(registry.rollback("m").unwrap_err().hint(), Some("versions of m: 1, 2, 3"));
        registry.drop_version("m", 3).unwrap();
        registry.drop_version("m", 1).unwrap_err();
        assert_eq!(publish(&registry, "m", b"w"), 4);
        assert_eq!(registry.get("m", None).unwrap().manifest().parent_version, Some(1));
        registry.get("m", Some(3)).unwrap_err();
    }

    #[test]
    fn a_next_version_is_of_the_model_that_it_was_made_from_or_of_none() {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(dir.path());
        publish(&registry, "m", b"w");
        let id = registry.get("m", None).unwrap().id().to_owned();
        let refresh = || {
            let (manifest, mode) = (Manifest::new("m", Utc::now()), PublishMode::Refresh(id.clone()));
            registry.publish("m", manifest, Contents::default(), mode, None)
        };
        assert_eq!(refresh().unwrap(), 2);
        registry.rename("m", "n").unwrap();
        let error = refresh().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.message(), "model m was dropped or renamed while its next version was made");
        assert_eq!(registry.find("m").unwrap(), None);
        publish(&registry, "m", b"w");
        refresh().unwrap_err();
        assert_eq!((registry.find("m").unwrap(), registry.find("n").unwrap()), (Some(1), Some(2)));
    }

    #[test]
    fn name_and_comment_move_and_a_reader_sees_them_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(dir.path());
        let reader = ModelRegistry::open(dir.path(), DurableFs::default(), false).unwrap();
        publish(&registry, "sales_28", b"w");
        registry.set_comment("sales_28", Some("daily".to_owned())).unwrap();
        registry.rename("sales_28", "Größe").unwrap();
        let model = reader.get("Größe", None).unwrap();
        assert_eq!(model.manifest().name, "Größe");
        assert_eq!(model.manifest().comment.as_deref(), Some("daily"));
        assert_eq!(reader.list().unwrap()[0].versions, [1]);
        assert_eq!(reader.drop("Größe").unwrap_err().kind(), ErrorKind::Denied);
        publish(&registry, "sales_28", b"w");
        let error = reader.get("sales_29", None).unwrap_err();
        assert_eq!(error.message(), "no model sales_29; did you mean sales_28?");
        assert_eq!(registry.rename("sales_28", "Größe").unwrap_err().kind(), ErrorKind::Exists);
    }

    #[test]
    fn dropped_model_keeps_its_files_while_it_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(dir.path());
        publish(&registry, "m", b"w");
        let model = registry.get("m", None).unwrap();
        registry.drop("m").unwrap();
        assert_eq!(files(dir.path()), 2);
        drop(model);
        assert_eq!(files(dir.path()), 0);
        assert_eq!(publish(&registry, "m", b"w"), 1);
    }

    #[test]
    fn unpublished_artifacts_are_gone_after_the_next_open_and_published_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        publish(&open(dir.path()), "m", b"w");
        let id = open(dir.path()).entry("m").unwrap().id;
        for debris in [format!("models/{id}/2"), "models/00000000000000000000000000000000/1".to_owned()] {
            std::fs::create_dir_all(dir.path().join(&debris)).unwrap();
            std::fs::write(dir.path().join(debris).join("weights.safetensors"), b"half").unwrap();
        }
        std::fs::write(dir.path().join("models/.staging-1-1-x"), b"half").unwrap();
        let registry = open(dir.path());
        assert_eq!(files(dir.path()), 3);
        assert_eq!(publish(&registry, "m", b"w"), 2);
    }

    #[test]
    fn trainings_that_nobody_went_on_with_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(dir.path());
        registry.keep_checkpoint("kept", b"k").unwrap();
        registry.keep_checkpoint("old", b"o").unwrap();
        let old = std::fs::File::options().write(true).open(registry.checkpoint_path("old")).unwrap();
        old.set_modified(std::time::SystemTime::now() - 2 * CHECKPOINT_AGE_MAX).unwrap();
        std::fs::write(dir.path().join("pretraining/.staging-1-2-x"), b"half").unwrap();
        drop(registry);
        let registry = open(dir.path());
        assert_eq!(std::fs::read_dir(dir.path().join("pretraining")).unwrap().count(), 1);
        assert_eq!(registry.checkpoint("kept").unwrap().unwrap(), b"k");
    }

    #[test]
    fn a_changed_byte_of_an_entry_or_a_checkpoint_is_noticed_and_its_file_named() {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(dir.path());
        publish(&registry, "m", b"w");
        publish(&registry, "m", b"v");
        registry.keep_checkpoint("k", b"checkpoint").unwrap();
        for path in [dir.path().join("models/m.json"), registry.checkpoint_path("k")] {
            let bytes = std::fs::read(&path).unwrap();
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << (at % 8);
                std::fs::write(&path, changed).unwrap();
                let of_model = registry.read("m").map(drop);
                let error = of_model.and(registry.checkpoint("k").map(drop)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                assert!(error.message().starts_with(&path.display().to_string()), "{error}");
            }
            std::fs::write(&path, bytes).unwrap();
        }
        assert_eq!(registry.read("m").unwrap().unwrap().active, 2);
        assert_eq!(registry.checkpoint("k").unwrap().unwrap(), b"checkpoint");
    }

    #[test]
    fn damaged_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let registry = open(dir.path());
        publish(&registry, "m", b"weights");
        let artifact = registry.directory(&registry.entry("m").unwrap().id, 1);
        std::fs::write(artifact.join("weights.safetensors"), b"w3ights").unwrap();
        let model = registry.get("m", None).unwrap();
        let error = model.forecaster().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("weights.safetensors is damaged"), "{error}");
        drop(model);
        let other = open(dir.path());
        std::fs::remove_file(artifact.join("manifest.json")).unwrap();
        assert!(other.get("m", None).unwrap_err().message().ends_with("manifest.json is missing"));
    }
}
