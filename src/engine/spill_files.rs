//! The temporary files of sorts, aggregates and joins. DataFusion's own are read by threads of the runtime's pool for
//! blocking work, as many as there are files: a merge of 200 runs took 400 MiB in buffers and in what such threads keep.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::error::Result;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::{SpillFile, SpillWriter, TempFileFactory};
use futures::{Stream, stream};
use tokio::task::coop;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Makes files that are read on the thread that wants their rows.
#[derive(Debug)]
pub struct SpillFiles(Arc<DiskManager>);

impl SpillFiles {
    /// Those of a disk manager, which counts and limits what they take.
    pub fn new(files: DiskManager) -> Self {
        Self(Arc::new(files))
    }
}

impl TempFileFactory for SpillFiles {
    fn create_temp_file(&self, description: &str) -> Result<Arc<dyn SpillFile>> {
        Ok(Arc::new(ReadInPlace(self.0.create_tmp_file(description)?)))
    }
}

struct ReadInPlace(Arc<dyn SpillFile>);

impl SpillFile for ReadInPlace {
    fn path(&self) -> Option<&Path> {
        self.0.path()
    }

    fn size(&self) -> Option<u64> {
        self.0.size()
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        let Some(path) = self.path() else { return self.0.read_stream() };
        let reader = Reader { path: path.to_owned(), file: None };
        Ok(Box::pin(stream::try_unfold(reader, |mut reader| async move {
            // A merge that never waits must let others run, and end when it is cancelled.
            coop::consume_budget().await;
            let chunk = reader.next()?;
            Ok((!chunk.is_empty()).then_some((chunk, reader)))
        })))
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        self.0.open_writer()
    }
}

/// A file from its beginning, which is opened when it is read first.
struct Reader {
    path: PathBuf,
    file: Option<File>,
}

impl Reader {
    /// What follows, nothing at the end.
    fn next(&mut self) -> std::io::Result<Bytes> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.path)?),
        };
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        file.take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
        Ok(chunk.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures::TryStreamExt;

    use super::*;

    fn file() -> Arc<dyn SpillFile> {
        SpillFiles::new(DiskManager::builder().build().unwrap()).create_temp_file("a test").unwrap()
    }

    #[tokio::test]
    async fn a_file_is_read_in_chunks_as_it_was_written() {
        let file = file();
        let bytes: Vec<u8> = (0..2 * CHUNK_BYTES + 5).map(|i| (i % 251) as u8).collect();
        let mut writer = file.open_writer().unwrap();
        writer.write_all(&bytes).unwrap();
        writer.finish().unwrap();
        let chunks: Vec<Bytes> = file.read_stream().unwrap().try_collect().await.unwrap();
        assert_eq!(chunks.iter().map(Bytes::len).collect::<Vec<_>>(), [CHUNK_BYTES, CHUNK_BYTES, 5]);
        assert_eq!(chunks.concat(), bytes);
        assert_eq!(file.size(), Some(bytes.len() as u64));
    }

    #[tokio::test]
    async fn a_file_that_is_gone_is_an_error() {
        let file = file();
        std::fs::remove_file(file.path().unwrap()).unwrap();
        let error = file.read_stream().unwrap().try_collect::<Vec<Bytes>>().await.unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
