//! The directory of one version: weights and manifest, checked when read.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::engine::registry::entry::{Entry, VersionEntry};
use crate::engine::registry::manifest::{ArtifactFile, Manifest, ModelKind};
use crate::engine::storage::{Acl, DurableFs, Publish};
use crate::error::{Error, Result, Subject};
use crate::ml::compression::restored;
use crate::ml::features::Texts;
use crate::ml::forecaster::FittedForecaster;
use crate::ml::models;
use crate::ml::sequence::SequenceModel;
use crate::ml::supervised::Fitted;
use crate::ml::text::TextEncoder;

const WEIGHTS: &str = "weights.safetensors";
const SCORES: &str = "scores.arrow";
const TEXTS: &str = "texts.json";
const MANIFEST: &str = "manifest.json";
const MANIFEST_BYTES_MAX: u64 = 64 << 20;
const WEIGHTS_BYTES_MAX: u64 = 8 << 30;

/// What an artifact holds besides its manifest.
#[derive(Debug, Default)]
pub struct Contents {
    /// The weights, as the bytes of a safetensors file.
    pub weights: Vec<u8>,
    /// The scores of every series, as the bytes of an Arrow file; none where none are kept.
    pub scores: Vec<u8>,
    /// How the texts of series become numbers, as [`Texts::to_bytes`] writes it; none where there are no texts.
    pub texts: Vec<u8>,
}

/// Writes an artifact durably into the empty directory `path`; returns the checksum of its manifest.
pub fn write(fs: &DurableFs, path: &Path, manifest: &mut Manifest, contents: &Contents) -> Result<String> {
    if contents.weights.len() as u64 > WEIGHTS_BYTES_MAX {
        let message =
            format!("the model has {} GiB of weights; a model may have 8", contents.weights.len() >> 30);
        return Err(Error::data(message));
    }
    fs.create_dir_all(path).map_err(|e| Error::io(path, &e))?;
    manifest.files = vec![];
    let files = [(WEIGHTS, &contents.weights), (SCORES, &contents.scores), (TEXTS, &contents.texts)];
    for (name, bytes) in files.into_iter().filter(|(name, bytes)| *name == WEIGHTS || !bytes.is_empty()) {
        fs.save(&path.join(name), bytes, Publish::Create)?;
        let file = ArtifactFile { name: name.to_owned(), bytes: bytes.len() as u64, sha256: sha256(bytes) };
        manifest.files.push(file);
    }
    let bytes = manifest.to_bytes()?;
    fs.save(&path.join(MANIFEST), &bytes, Publish::Create)?;
    Ok(sha256(&bytes))
}

/// One artifact that is in use; its directory goes with its last user once it is doomed.
pub struct Artifact {
    fs: DurableFs,
    directory: PathBuf,
    id: String,
    version: u64,
    manifest: Manifest,
    forecaster: Loaded<dyn FittedForecaster>,
    encoder: Loaded<TextEncoder>,
    predictor: Loaded<Fitted>,
    sequence: Loaded<SequenceModel>,
    texts: Loaded<Texts>,
    doomed: AtomicBool,
}

impl Artifact {
    /// Reads and checks the manifest of a version; the weights wait for their first use.
    pub fn open(fs: &DurableFs, directory: PathBuf, id: &str, version: &VersionEntry) -> Result<Self> {
        let path = directory.join(MANIFEST);
        let bytes = read_capped(fs, &path, MANIFEST_BYTES_MAX)?;
        check(&path, &bytes, &version.manifest_sha256)?;
        let manifest = Manifest::from_bytes(&bytes, &path.display().to_string())?;
        Ok(Self {
            fs: fs.clone(),
            directory,
            id: id.to_owned(),
            version: version.version,
            manifest,
            forecaster: Loaded::default(),
            encoder: Loaded::default(),
            predictor: Loaded::default(),
            sequence: Loaded::default(),
            texts: Loaded::default(),
            doomed: AtomicBool::new(false),
        })
    }

    /// True when this is that version of the model in the directory `id`.
    pub fn is(&self, id: &str, version: u64) -> bool {
        self.id == id && self.version == version
    }

    /// Removes the directory when the last user is gone.
    pub fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }

    /// What `read` makes of the weights; errors name their file.
    fn load<T>(&self, read: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        let missing = || Error::corrupt(Subject::File, format!("{}: {WEIGHTS} is not listed", self.place()));
        let bytes = self.read(WEIGHTS)?.ok_or_else(missing)?;
        let path = self.directory.join(WEIGHTS);
        restored(&bytes)
            .and_then(|bytes| read(&bytes))
            .map_err(|e| Error::new(e.kind(), e.subject(), format!("{}: {}", path.display(), e.message())))
    }

    /// Reads and checks a file; `None` where the artifact has none of that name.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.manifest.files.iter().find(|f| f.name == name) else { return Ok(None) };
        let path = self.directory.join(name);
        let bytes = read_capped(&self.fs, &path, file.bytes.min(WEIGHTS_BYTES_MAX))?;
        check(&path, &bytes, &file.sha256)?;
        Ok(Some(bytes))
    }

    fn place(&self) -> String {
        self.directory.join(MANIFEST).display().to_string()
    }
}

impl fmt::Debug for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Artifact").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Drop for Artifact {
    fn drop(&mut self) {
        if *self.doomed.get_mut() {
            remove(&self.fs, &self.directory);
        }
    }
}

/// Removes the directory of a version that no entry names; what cannot be removed waits for the next open.
pub fn remove(fs: &DurableFs, directory: &Path) {
    if fs.remove_dir_all(directory).is_ok()
        && let Some(model) = directory.parent()
    {
        // Fails, as it should, while other versions lie beside it.
        let _ = fs.fs().remove_dir(model);
    }
}

/// One version of a model, as it was when it was looked up.
#[derive(Debug)]
pub struct Model {
    manifest: Manifest,
    acl: Acl,
    artifact: Arc<Artifact>,
}

impl Model {
    /// The version under the name and comment that the model has now.
    pub fn new(name: &str, entry: &Entry, artifact: Arc<Artifact>) -> Self {
        let manifest = Manifest {
            name: name.to_owned(),
            version: artifact.version,
            comment: entry.comment.clone(),
            ..artifact.manifest.clone()
        };
        Self { manifest, acl: entry.acl.clone(), artifact }
    }

    /// What its versions share, whatever their name is.
    pub fn id(&self) -> &str {
        &self.artifact.id
    }

    /// Its owner and what was granted on it.
    pub fn acl(&self) -> &Acl {
        &self.acl
    }

    /// Everything about the version besides its weights.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The scores of every series, as the bytes of an Arrow file; `None` where none were kept.
    pub fn scores(&self) -> Result<Option<Vec<u8>>> {
        self.artifact.read(SCORES).map_err(|e| e.with_context(self.context()))
    }

    /// The network of a pretrained model, as the bytes of its file.
    pub fn network(&self) -> Result<Vec<u8>> {
        self.artifact.load(|bytes| Ok(bytes.to_vec())).map_err(|e| e.with_context(self.context()))
    }

    /// The fitted model; the first use reads and checks the weights.
    pub fn forecaster(&self) -> Result<Arc<dyn FittedForecaster>> {
        let load = || self.artifact.load(models::load);
        self.artifact.forecaster.get(load).map_err(|e| e.with_context(self.context()))
    }

    /// How the texts of its series become numbers; `None` where they have none.
    pub fn texts(&self) -> Result<Option<Arc<Texts>>> {
        if !self.artifact.manifest.files.iter().any(|file| file.name == TEXTS) {
            return Ok(None);
        }
        let lost = || Error::corrupt(Subject::File, format!("{TEXTS} is not listed"));
        let load = || Texts::from_bytes(&self.artifact.read(TEXTS)?.ok_or_else(lost)?).map(Arc::new);
        self.artifact.texts.get(load).map(Some).map_err(|e| e.with_context(self.context()))
    }

    /// Fails where it is no text model.
    pub fn ensure_reads_texts(&self) -> Result<()> {
        let Manifest { name, kind, .. } = &self.manifest;
        if *kind == ModelKind::Text {
            return Ok(());
        }
        let message = format!("model {name} is of kind {} and reads no texts", kind.word());
        let hint = "PRETRAIN TEXT MODEL … makes a model that does; IMPORT MODEL … FROM reads one of BERT";
        Err(Error::input(Subject::Model, message).with_hint(hint))
    }

    /// The encoder of a text model; the first use reads and checks the weights.
    pub fn encoder(&self) -> Result<Arc<TextEncoder>> {
        self.ensure_reads_texts()?;
        let load = || self.artifact.load(|bytes| TextEncoder::read(bytes).map(Arc::new));
        self.artifact.encoder.get(load).map_err(|e| e.with_context(self.context()))
    }

    /// The fitted model of rows; the first use reads and checks it.
    pub fn predictor(&self) -> Result<Arc<Fitted>> {
        let load = || self.artifact.load(|bytes| Fitted::from_bytes(bytes).map(Arc::new));
        self.artifact.predictor.get(load).map_err(|e| e.with_context(self.context()))
    }

    /// The model of sequences; the first use reads and checks it.
    pub fn sequence(&self) -> Result<Arc<SequenceModel>> {
        let load = || self.artifact.load(|bytes| SequenceModel::from_bytes(bytes).map(Arc::new));
        self.artifact.sequence.get(load).map_err(|e| e.with_context(self.context()))
    }

    fn context(&self) -> String {
        format!("model {} version {}", self.manifest.name, self.manifest.version)
    }
}

/// What is made of an artifact at its first use.
struct Loaded<T: ?Sized>(Mutex<Option<Arc<T>>>);

impl<T: ?Sized> Default for Loaded<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: ?Sized> Loaded<T> {
    fn get(&self, load: impl FnOnce() -> Result<Arc<T>>) -> Result<Arc<T>> {
        let mut loaded = self.0.lock();
        if let Some(there) = loaded.as_ref() {
            return Ok(Arc::clone(there));
        }
        let there = load()?;
        *loaded = Some(Arc::clone(&there));
        Ok(there)
    }
}

/// Reads a file of at most `bytes_max` bytes; a missing or longer one is corrupt.
fn read_capped(fs: &DurableFs, path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let missing = || Error::corrupt(Subject::File, format!("{} is missing", path.display()));
    read_if_there(fs, path, bytes_max)?.ok_or_else(missing)
}

/// Reads a file of at most `bytes_max` bytes, if there is one; a longer one is corrupt.
pub fn read_if_there(fs: &DurableFs, path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>> {
    match fs.fs().read_all(path, bytes_max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::FileTooLarge => {
            let message = format!("{} has more than {bytes_max} bytes", path.display());
            Err(Error::corrupt(Subject::File, message))
        }
        Err(e) => Err(Error::io(path, &e)),
    }
}

fn check(path: &Path, bytes: &[u8], expected: &str) -> Result<()> {
    if sha256(bytes) == expected {
        return Ok(());
    }
    let message = format!("{} is damaged: its checksum is not the one it was published with", path.display());
    Err(Error::corrupt(Subject::File, message)
        .with_hint("restore the file from a backup or train the model again"))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
