//! Durable files as the object store that Delta logs and Parquet scans work on.

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    RenameTargetMode, Result, UploadPart, coalesce_ranges,
};
use futures::stream::{self, BoxStream, StreamExt};

use crate::engine::storage::durable_fs::{DurableFs, FileInfo, Publish, StagedFile, is_staging};

const STORE: &str = "durable";
const READ_CHUNK: u64 = 8 << 20;

/// So many bytes are read at once on the thread that asks: another thread would take longer to begin.
const READ_HERE: u64 = 128 << 10;

/// Ranges that are less than this apart are read in one piece.
const READ_TOGETHER: u64 = 16 << 10;

/// The files below one directory as an object store whose writes survive a power loss once acknowledged.
#[derive(Debug, Clone)]
pub struct DurableStore {
    root: PathBuf,
    fs: DurableFs,
}

impl DurableStore {
    /// The files below `root`.
    pub fn new(root: PathBuf, fs: DurableFs) -> Self {
        Self { root, fs }
    }

    fn path(&self, location: &Path) -> PathBuf {
        self.root.join(location.as_ref())
    }

    fn describe(&self, location: &Path) -> Result<ObjectMeta> {
        let info = self.fs.fs().info(&self.path(location)).map_err(|e| failure(location, e))?;
        if info.is_dir {
            return Err(failure(location, io::Error::from(io::ErrorKind::NotFound)));
        }
        Ok(meta(location.clone(), &info))
    }

    fn list_below(&self, prefix: &Path, found: &mut Vec<ObjectMeta>) -> Result<()> {
        for (location, info) in self.list_directly(prefix)? {
            if info.is_dir {
                self.list_below(&location, found)?;
            } else {
                found.push(meta(location, &info));
            }
        }
        Ok(())
    }

    /// Everything in the directory `prefix` that is published; a missing directory is empty.
    fn list_directly(&self, prefix: &Path) -> Result<Vec<(Path, FileInfo)>> {
        let entries = match self.fs.fs().list(&self.path(prefix)) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Vec::new()
            }
            found => found.map_err(|e| failure(prefix, e))?,
        };
        let published = entries.into_iter().filter(|info| !is_staging(&info.name)).filter_map(|info| {
            let name = match prefix.as_ref() {
                "" => info.name.clone(),
                above => format!("{above}/{}", info.name),
            };
            Some((Path::parse(name).ok()?, info))
        });
        Ok(published.collect())
    }

    fn stage(&self, location: &Path) -> Result<StagedFile> {
        let target = self.path(location);
        let directory = target.parent().unwrap_or(&self.root);
        self.fs.create_dir_all(directory).map_err(|e| failure(location, e))?;
        self.fs.stage(&target).map_err(|e| failure(location, e))
    }

    fn put(&self, location: &Path, payload: &PutPayload, publish: Publish) -> Result<PutResult> {
        let mut staged = self.stage(location)?;
        for bytes in payload.iter() {
            staged.write_all(bytes).map_err(|e| failure(location, e))?;
        }
        staged.publish(publish).map_err(|e| failure(location, e))?;
        Ok(PutResult { e_tag: None, version: None })
    }

    fn get(&self, location: &Path, options: &GetOptions) -> Result<(ObjectMeta, Range<u64>)> {
        let meta = self.describe(location)?;
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => {
                range.as_range(meta.size).map_err(|e| Error::Generic { store: STORE, source: Box::new(e) })?
            }
            None => 0..meta.size,
        };
        Ok((meta, range))
    }

    async fn read(&self, location: &Path, range: Range<u64>) -> Result<Bytes> {
        let (store, location, here) = (self.clone(), location.clone(), range.end - range.start <= READ_HERE);
        let read = move || {
            let path = store.path(&location);
            store.fs.fs().read(&path, range).map(Bytes::from).map_err(|e| failure(&location, e))
        };
        if here { read() } else { blocking(read).await }
    }

    /// The bytes of `range`, one chunk after the other.
    fn chunks(&self, location: Path, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        let store = self.clone();
        stream::unfold(range, move |rest| {
            let (store, location) = (store.clone(), location.clone());
            async move {
                if rest.is_empty() {
                    return None;
                }
                let end = rest.end.min(rest.start + READ_CHUNK);
                let bytes = store.read(&location, rest.start..end).await;
                let after = if bytes.is_ok() { end..rest.end } else { rest.end..rest.end };
                Some((bytes, after))
            }
        })
        .fuse()
        .boxed()
    }

    fn delete(&self, location: &Path) -> Result<()> {
        self.describe(location)?;
        self.fs.remove(&self.path(location)).map_err(|e| failure(location, e))
    }
}

impl fmt::Display for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableStore({})", self.root.display())
    }
}

#[async_trait]
impl ObjectStore for DurableStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let publish = match options.mode {
            PutMode::Create => Publish::Create,
            PutMode::Overwrite => Publish::Replace,
            PutMode::Update(_) => return Err(not_implemented("conditional update")),
        };
        let (store, location) = (self.clone(), location.clone());
        blocking(move || store.put(&location, &payload, publish)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (store, location) = (self.clone(), location.clone());
        let staged = blocking({
            let location = location.clone();
            move || store.stage(&location)
        })
        .await?;
        let state = Arc::new(Mutex::new(UploadState { staged: Some(staged), waiting: Vec::new(), next: 0 }));
        Ok(Box::new(Upload { state, location, parts: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        // A look at a directory takes less than handing it to another thread.
        let (meta, range) = self.get(location, &options)?;
        let payload =
            if head { stream::empty().boxed() } else { self.chunks(location.clone(), range.clone()) };
        Ok(GetResult {
            payload: GetResultPayload::Stream(payload),
            meta,
            range,
            attributes: Default::default(),
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        coalesce_ranges(ranges, |range| self.read(location, range), READ_TOGETHER).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |location| {
                let store = store.clone();
                blocking(move || {
                    let location = location?;
                    store.delete(&location)?;
                    Ok(location)
                })
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned().unwrap_or_default());
        let listing = blocking(move || {
            let mut found = Vec::new();
            store.list_below(&prefix, &mut found)?;
            Ok(found)
        });
        stream::once(listing)
            .fuse()
            .flat_map(|listed| match listed {
                Ok(found) => stream::iter(found.into_iter().map(Ok)).boxed(),
                Err(e) => stream::once(async move { Err(e) }).boxed(),
            })
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (store, prefix) = (self.clone(), prefix.cloned().unwrap_or_default());
        blocking(move || {
            let (directories, files): (Vec<_>, Vec<_>) =
                store.list_directly(&prefix)?.into_iter().partition(|(_, info)| info.is_dir);
            Ok(ListResult {
                common_prefixes: directories.into_iter().map(|(location, _)| location).collect(),
                objects: files.into_iter().map(|(location, info)| meta(location, &info)).collect(),
            })
        })
        .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let publish = match options.mode {
            CopyMode::Overwrite => Publish::Replace,
            CopyMode::Create => Publish::Create,
        };
        let (store, from, to) = (self.clone(), from.clone(), to.clone());
        blocking(move || {
            let bytes = store.fs.read(&store.path(&from)).map_err(|e| failure(&from, e))?;
            store.put(&to, &PutPayload::from(bytes), publish).map(|_| ())
        })
        .await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let mode = match options.target_mode {
            RenameTargetMode::Overwrite => CopyMode::Overwrite,
            RenameTargetMode::Create => CopyMode::Create,
        };
        self.copy_opts(from, to, CopyOptions::new().with_mode(mode)).await?;
        let (store, from) = (self.clone(), from.clone());
        blocking(move || store.delete(&from)).await
    }
}

/// Parts may arrive in any order; they are written in the order they were handed out.
#[derive(Debug)]
struct UploadState {
    staged: Option<StagedFile>,
    waiting: Vec<(usize, PutPayload)>,
    next: usize,
}

#[derive(Debug)]
struct Upload {
    state: Arc<Mutex<UploadState>>,
    location: Path,
    parts: usize,
}

impl UploadState {
    fn accept(&mut self, part: usize, payload: PutPayload) -> io::Result<()> {
        self.waiting.push((part, payload));
        while let Some(at) = self.waiting.iter().position(|(number, _)| *number == self.next) {
            let (_, payload) = self.waiting.swap_remove(at);
            let staged = self.staged.as_mut().ok_or_else(|| io::Error::other("the upload has ended"))?;
            for bytes in payload.iter() {
                staged.write_all(bytes)?;
            }
            self.next += 1;
        }
        Ok(())
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let (state, location, part) = (Arc::clone(&self.state), self.location.clone(), self.parts);
        self.parts += 1;
        Box::pin(blocking(move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.accept(part, payload).map_err(|e| failure(&location, e))
        }))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (state, location, parts) = (Arc::clone(&self.state), self.location.clone(), self.parts);
        blocking(move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let mut staged = match state.staged.take() {
                Some(staged) if state.next == parts => staged,
                _ => return Err(failure(&location, io::Error::other("a part of the upload is missing"))),
            };
            staged.publish(Publish::Replace).map_err(|e| failure(&location, e))?;
            Ok(PutResult { e_tag: None, version: None })
        })
        .await
    }

    async fn abort(&mut self) -> Result<()> {
        let state = Arc::clone(&self.state);
        blocking(move || {
            state.lock().unwrap_or_else(PoisonError::into_inner).staged.take();
            Ok(())
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

fn meta(location: Path, info: &FileInfo) -> ObjectMeta {
    ObjectMeta { location, last_modified: info.modified.into(), size: info.len, e_tag: None, version: None }
}

fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_string(), implementer: STORE.to_string() }
}

fn failure(location: &Path, error: io::Error) -> Error {
    let path = location.to_string();
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path, source: Box::new(error) },
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: Box::new(error) },
        io::ErrorKind::PermissionDenied => Error::PermissionDenied { path, source: Box::new(error) },
        _ => Error::Generic { store: STORE, source: Box::new(error) },
    }
}

#[cfg(test)]
mod tests {
    use datafusion::object_store::ObjectStoreExt;
    use futures::TryStreamExt;

    use super::*;

    fn store() -> (tempfile::TempDir, DurableStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = DurableStore::new(dir.path().to_path_buf(), DurableFs::default());
        (dir, store)
    }

    #[tokio::test]
    async fn create_mode_refuses_a_second_object_of_the_name() {
        let (_dir, store) = store();
        let location = Path::from("_delta_log/00000000000000000000.json");
        let create = || PutOptions::from(PutMode::Create);
        store.put_opts(&location, "one".into(), create()).await.unwrap();
        let error = store.put_opts(&location, "two".into(), create()).await.unwrap_err();
        assert!(matches!(error, Error::AlreadyExists { .. }));
        let found = ObjectStoreExt::get(&store, &location).await.unwrap().bytes().await.unwrap();
        assert_eq!(found.as_ref(), b"one");
        let part = store.get_range(&location, 1..3).await.unwrap();
        assert_eq!(part.as_ref(), b"ne");
        assert_eq!(store.head(&location).await.unwrap().size, 3);
        let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
    }

    #[tokio::test]
    async fn upload_appears_whole_at_completion_only() {
        let (_dir, store) = store();
        let location = Path::from("a/b.parquet");
        let mut upload = store.put_multipart(&location).await.unwrap();
        let first = upload.put_part("abc".into());
        let second = upload.put_part("def".into());
        second.await.unwrap();
        first.await.unwrap();
        assert!(store.list(None).try_collect::<Vec<_>>().await.unwrap().is_empty());
        upload.complete().await.unwrap();
        let found = ObjectStoreExt::get(&store, &location).await.unwrap().bytes().await.unwrap();
        assert_eq!(found.as_ref(), b"abcdef");
        store.rename(&location, &Path::from("c")).await.unwrap();
        assert!(matches!(store.head(&location).await.unwrap_err(), Error::NotFound { .. }));
        ObjectStoreExt::delete(&store, &Path::from("c")).await.unwrap();
        assert!(store.list(None).try_collect::<Vec<_>>().await.unwrap().is_empty());
    }
}
