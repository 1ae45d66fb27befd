//! Rows to durable Parquet files: streamed, checked for sort order, with the statistics of Delta's log.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::Result as DfResult;
use datafusion::common::utils::normalize_float_zero;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::metadata::SortingColumn;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};
use datafusion::parquet::schema::types::ColumnPath;
use deltalake::kernel::Add;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::engine::storage::delta::directory::{NewFile, NewFiles, TableDirectory};
use crate::engine::storage::delta::snapshot::SORTED_TAG;
use crate::engine::storage::delta::stats::{self, FloatBounds};
use crate::engine::storage::durable_fs::{Publish, StagedFile};
use crate::error::{Error, Result};

const ROWS_PER_GROUP: usize = 1 << 20;
const BYTES_PER_GROUP: usize = 128 << 20;
/// Most rows of a file.
pub const ROWS_PER_FILE: u64 = 4 << 20;
const BYTES_PER_FILE: u64 = 1 << 30;
/// Batches between the query and the encoder thread.
const BATCHES_IN_FLIGHT: usize = 2;

/// Names of data files begin with this and the time, in hexadecimal microseconds since 1970, at which their rows came.
const PREFIX: &str = "part-";

/// When the rows of a data file came, where its name is one of ours.
pub fn written_at(name: &str) -> Option<i64> {
    let (time, id) = name.strip_prefix(PREFIX)?.strip_suffix(".parquet")?.split_once('-')?;
    (time.len() == 16 && id.len() == 32).then(|| i64::from_str_radix(time, 16).ok())?
}

/// Ascending with NULLs last: the order of `ORDER BY`, of declared scans and of the sorted tag.
pub const SORT_OPTIONS: SortOptions = SortOptions { descending: false, nulls_first: false };

/// Where and how the rows of one statement are written.
#[derive(Debug, Clone)]
pub struct WriteTarget {
    directory: Arc<TableDirectory>,
    schema: SchemaRef,
    sort_columns: Vec<usize>,
    rows_per_file: u64,
    sorted: bool,
    written: Option<i64>,
}

impl WriteTarget {
    /// Files in `directory` with the columns `schema` (stored names); each is tagged sorted when its rows turn
    /// out to be in the order of `cluster_by`.
    pub fn new(directory: Arc<TableDirectory>, schema: SchemaRef, cluster_by: &[String]) -> Self {
        let columns: Option<Vec<usize>> = cluster_by.iter().map(|c| schema.index_of(c).ok()).collect();
        let sort_columns = columns.unwrap_or_default();
        Self { directory, schema, sort_columns, rows_per_file: ROWS_PER_FILE, sorted: false, written: None }
    }

    /// The files take the place of one that was written at this time, in microseconds since 1970.
    pub fn in_place_of(mut self, written: Option<i64>) -> Self {
        self.written = written;
        self
    }

    /// The rows will come sorted; a file ends, after `rows_per_file` rows, where the first sort column
    /// changes, so that the files do not overlap in it.
    pub fn sorted_files(mut self, rows_per_file: u64) -> Self {
        self.rows_per_file = rows_per_file.clamp(1, ROWS_PER_FILE);
        self.sorted = !self.sort_columns.is_empty();
        self
    }
}

/// Writes batches into as many files as they need.
#[derive(Debug)]
struct DataWriter {
    target: Arc<WriteTarget>,
    open: Option<OpenFile>,
    done: NewFiles,
}

#[derive(Debug)]
struct OpenFile {
    batches: mpsc::Sender<Message>,
    encoder: JoinHandle<Result<(NewFile, Add)>>,
    rows: u64,
    bytes: u64,
    last_key: Option<ArrayRef>,
}

#[derive(Debug)]
enum Message {
    Rows(RecordBatch),
    Finish,
}

/// Writes what `prepare` makes of each batch of `rows`; after an error nothing of it is left.
pub async fn write_rows(
    target: WriteTarget,
    rows: impl Stream<Item = DfResult<RecordBatch>> + Send,
    mut prepare: impl FnMut(RecordBatch) -> DfResult<RecordBatch>,
) -> DfResult<NewFiles> {
    let mut writer = DataWriter::new(target);
    let mut rows = pin!(rows);
    while let Some(batch) = rows.next().await {
        let written = match batch.and_then(&mut prepare) {
            Ok(batch) => writer.write(&batch).await.map_err(Into::into),
            Err(e) => Err(e),
        };
        if let Err(e) = written {
            writer.abort().await;
            return Err(e);
        }
    }
    writer.finish().await.map_err(Into::into)
}

impl DataWriter {
    /// A writer that has written nothing yet.
    fn new(target: WriteTarget) -> Self {
        let done = NewFiles::new(Arc::clone(&target.directory));
        Self { target: Arc::new(target), open: None, done }
    }

    /// Writes the columns of `batch`, which are those of the target by position.
    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        // Readers, and the statistics of a file, tell a zero below zero from zero.
        let columns = batch.columns().iter().map(normalize_float_zero).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.target.schema), columns)
            .map_err(|e| Error::internal(format!("rows do not fit the table they are written to: {e}")))?;
        let mut start = 0;
        while let Some(end) = self.file_end(&batch, start) {
            self.append(batch.slice(start, end - start)).await?;
            self.close().await?;
            start = end;
        }
        self.append(batch.slice(start, batch.num_rows() - start)).await
    }

    /// Where in `batch`, at or after `start`, the open file ends, if it does.
    fn file_end(&self, batch: &RecordBatch, start: usize) -> Option<usize> {
        let open = self.open.as_ref()?;
        if open.rows < self.target.rows_per_file && open.bytes < BYTES_PER_FILE {
            return None;
        }
        if !self.target.sorted {
            return Some(start);
        }
        let key = batch.column(self.target.sort_columns[0]);
        let last = open.last_key.as_ref()?;
        if !equal(last, 0, key, start) {
            return Some(start);
        }
        (start + 1..batch.num_rows()).find(|row| !equal(key, row - 1, key, *row))
    }

    async fn append(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.open.is_none() {
            self.open = Some(OpenFile::start(Arc::clone(&self.target)));
        }
        let open = self.open.as_mut().expect("opened two lines above");
        open.rows += batch.num_rows() as u64;
        open.bytes += batch.get_array_memory_size() as u64;
        if self.target.sorted {
            let key = batch.column(self.target.sort_columns[0]);
            open.last_key = Some(key.slice(key.len() - 1, 1));
        }
        if open.batches.send(Message::Rows(batch)).await.is_err() {
            self.close().await?; // the encoder has ended and says why
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let rows = open.rows;
        // A closed channel means that the encoder failed; its result below tells.
        let _ = open.batches.send(Message::Finish).await;
        let (file, add) =
            open.encoder.await.map_err(|e| Error::internal(format!("Parquet encoder stopped: {e}")))??;
        self.done.push(file, add, rows);
        Ok(())
    }

    /// Ends without a file: returns once the encoder has removed what it was writing.
    async fn abort(mut self) {
        if let Some(OpenFile { batches, encoder, .. }) = self.open.take() {
            drop(batches);
            let _ = encoder.await; // it says that it was told to stop
        }
    }

    /// Makes the last file durable and returns them all.
    async fn finish(mut self) -> Result<NewFiles> {
        self.close().await?;
        Ok(self.done)
    }
}

fn equal(left: &ArrayRef, i: usize, right: &ArrayRef, j: usize) -> bool {
    make_comparator(left.as_ref(), right.as_ref(), SORT_OPTIONS).is_ok_and(|compare| compare(i, j).is_eq())
}

impl OpenFile {
    fn start(target: Arc<WriteTarget>) -> Self {
        let (batches, receiver) = mpsc::channel(BATCHES_IN_FLIGHT);
        let encoder = tokio::task::spawn_blocking(move || Encoder::open(target)?.run(receiver));
        Self { batches, encoder, rows: 0, bytes: 0, last_key: None }
    }
}

/// Encodes one file on a thread of its own.
struct Encoder {
    target: Arc<WriteTarget>,
    file: NewFile,
    writer: ArrowWriter<StagedFile>,
    order: OrderCheck,
    floats: Vec<FloatBounds>,
}

impl Encoder {
    fn open(target: Arc<WriteTarget>) -> Result<Self> {
        // Names sort by time, so that rows without an order come back in the order they came.
        let written = target.written.unwrap_or_else(|| chrono::Utc::now().timestamp_micros());
        let name = format!("{PREFIX}{written:016x}-{}.parquet", uuid::Uuid::new_v4().simple());
        let file = NewFile::new(Arc::clone(&target.directory), name);
        let path = file.path();
        let staged = target.directory.fs().stage(&path).map_err(|e| Error::io(&path, &e))?;
        let options =
            ArrowWriterOptions::new().with_properties(properties(&target)).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(staged, Arc::clone(&target.schema), options)
            .map_err(|e| write_failed(&path, e))?;
        let order = OrderCheck::new(target.sort_columns.clone());
        let floats = FloatBounds::of(&target.schema);
        Ok(Self { target, file, writer, order, floats })
    }

    /// Encodes until told to finish; when the statement goes away instead, the staged file goes too.
    fn run(mut self, mut batches: mpsc::Receiver<Message>) -> Result<(NewFile, Add)> {
        while let Some(message) = batches.blocking_recv() {
            match message {
                Message::Rows(batch) => self.encode(&batch)?,
                Message::Finish => return self.publish(),
            }
        }
        Err(Error::cancelled("the statement ended before its rows were written"))
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        self.order.check(batch)?;
        self.floats.iter_mut().for_each(|bounds| bounds.see(batch));
        self.writer.write(batch).map_err(|e| write_failed(&self.file.path(), e))
    }

    fn publish(mut self) -> Result<(NewFile, Add)> {
        let path = self.file.path();
        self.writer.flush().map_err(|e| write_failed(&path, e))?;
        let groups = self.writer.flushed_row_groups();
        let stats = stats::from_parquet(groups, &self.target.schema, &self.floats);
        self.writer.finish().map_err(|e| write_failed(&path, e))?;
        let staged = self.writer.inner_mut();
        let size = staged.written();
        staged.publish(Publish::Create).map_err(|e| Error::io(&path, &e))?;
        let tags = self.order.is_sorted().then(|| sorted_tag(&self.target));
        let add = Add {
            path: self.file.name().to_owned(),
            size: i64::try_from(size).map_err(|e| Error::internal(e.to_string()))?,
            modification_time: chrono::Utc::now().timestamp_millis(),
            data_change: true,
            stats: Some(stats),
            tags,
            ..Add::default()
        };
        Ok((self.file, add))
    }
}

fn write_failed(path: &std::path::Path, error: datafusion::parquet::errors::ParquetError) -> Error {
    Error::disk(format!("{}: {error}", path.display()), &error)
}

fn sorted_tag(target: &WriteTarget) -> HashMap<String, Option<String>> {
    let names: Vec<&str> =
        target.sort_columns.iter().map(|c| target.schema.field(*c).name().as_str()).collect();
    HashMap::from([(SORTED_TAG.to_string(), Some(serde_json::json!(names).to_string()))])
}

fn properties(target: &WriteTarget) -> WriterProperties {
    let sorting = target.sort_columns.iter().map(|column| SortingColumn {
        column_idx: leaf_index(&target.schema, *column),
        descending: SORT_OPTIONS.descending,
        nulls_first: SORT_OPTIONS.nulls_first,
    });
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
        .set_max_row_group_bytes(Some(BYTES_PER_GROUP))
        .set_coerce_types(true)
        .set_sorting_columns(target.sorted.then(|| sorting.collect()));
    for column in FloatBounds::of(&target.schema) {
        // Parquet leaves NaN out of its bounds, and readers would skip rows that `x > 5` is true for.
        let path = ColumnPath::from(target.schema.field(column.index()).name().as_str());
        properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    properties.build()
}

/// Position of a top-level column among the leaves that Parquet counts.
fn leaf_index(schema: &Schema, column: usize) -> i32 {
    fn leaves(data_type: &DataType) -> i32 {
        match data_type {
            DataType::Struct(fields) => fields.iter().map(|f| leaves(f.data_type())).sum(),
            DataType::List(item) => leaves(item.data_type()),
            _ => 1,
        }
    }
    schema.fields()[..column].iter().map(|f| leaves(f.data_type())).sum()
}

/// Looks at every row whether the order still holds.
struct OrderCheck {
    columns: Vec<usize>,
    last: Vec<ArrayRef>,
    broken: bool,
}

impl OrderCheck {
    fn new(columns: Vec<usize>) -> Self {
        Self { broken: columns.is_empty(), columns, last: Vec::new() }
    }

    fn is_sorted(&self) -> bool {
        !self.broken
    }

    fn check(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.broken || batch.num_rows() == 0 {
            return Ok(());
        }
        let columns: Vec<&ArrayRef> = self.columns.iter().map(|c| batch.column(*c)).collect();
        let compare = |left: &ArrayRef, right: &ArrayRef| {
            make_comparator(left.as_ref(), right.as_ref(), SORT_OPTIONS)
                .map_err(|e| Error::internal(format!("sort order of rows: {e}")))
        };
        let across = self.last.iter().zip(&columns).map(|(last, column)| compare(last, column));
        let across = across.collect::<Result<Vec<_>>>()?;
        let inside = columns.iter().map(|c| compare(c, c)).collect::<Result<Vec<_>>>()?;
        let first_breaks = ordering(&across, 0, 0).is_gt();
        self.broken =
            first_breaks || (1..batch.num_rows()).any(|row| ordering(&inside, row - 1, row).is_gt());
        self.last = columns.iter().map(|c| c.slice(c.len() - 1, 1)).collect();
        Ok(())
    }
}

fn ordering(columns: &[arrow::array::DynComparator], i: usize, j: usize) -> std::cmp::Ordering {
    columns.iter().map(|compare| compare(i, j)).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int32Array, StringViewArray};
    use arrow::datatypes::Field;

    use super::*;
    use crate::engine::storage::durable_fs::DurableFs;

    fn target(directory: &std::path::Path) -> WriteTarget {
        let schema = Arc::new(Schema::new(vec![
            Field::new("k", DataType::Utf8View, false),
            Field::new("t", DataType::Int32, false),
            Field::new("y", DataType::Float64, true),
        ]));
        let cluster_by = ["k".to_string(), "t".to_string()];
        let directory = TableDirectory::new(directory.to_path_buf(), DurableFs::default());
        WriteTarget::new(Arc::new(directory), schema, &cluster_by)
    }

    fn rows(target: &WriteTarget, keys: &[&str], times: &[i32]) -> RecordBatch {
        let values: Vec<f64> = times.iter().map(|t| f64::from(*t)).collect();
        RecordBatch::try_new(
            Arc::clone(&target.schema),
            vec![
                Arc::new(StringViewArray::from(keys.to_vec())),
                Arc::new(Int32Array::from(times.to_vec())),
                Arc::new(Float64Array::from(values)),
            ],
        )
        .unwrap()
    }

    #[tokio::test]
    async fn only_files_whose_rows_are_sorted_get_the_tag() {
        let dir = tempfile::tempdir().unwrap();
        let target = target(dir.path());
        for (keys, times, sorted) in [
            (vec!["a", "a", "b"], vec![1, 2, 1], true),
            (vec!["a", "a", "b"], vec![2, 1, 1], false),
            (vec!["b", "a", "b"], vec![1, 2, 3], false),
        ] {
            let mut writer = DataWriter::new(target.clone());
            writer.write(&rows(&target, &keys, &times)).await.unwrap();
            writer.write(&rows(&target, &["b"], &[9])).await.unwrap();
            let adds = writer.finish().await.unwrap().adds().to_vec();
            assert_eq!(adds[0].tags.is_some(), sorted, "{keys:?} {times:?}");
        }
    }

    #[tokio::test]
    async fn sorted_files_end_where_the_first_key_changes() {
        let dir = tempfile::tempdir().unwrap();
        let target = target(dir.path()).sorted_files(2);
        let mut writer = DataWriter::new(target.clone());
        writer.write(&rows(&target, &["a", "a"], &[1, 2])).await.unwrap();
        writer.write(&rows(&target, &["a", "b", "b"], &[3, 1, 2])).await.unwrap();
        writer.write(&rows(&target, &["c"], &[1])).await.unwrap();
        let files = writer.finish().await.unwrap();
        assert_eq!(files.rows(), 6);
        let adds = files.adds();
        let stats: Vec<serde_json::Value> =
            adds.iter().map(|a| serde_json::from_str(a.stats.as_ref().unwrap()).unwrap()).collect();
        let keys: Vec<_> = stats.iter().map(|s| s["minValues"]["k"].as_str().unwrap()).collect();
        assert_eq!(keys, ["a", "b", "c"]);
        assert_eq!(stats[0]["numRecords"], 3);
    }

    #[tokio::test]
    async fn abandoned_writer_and_unused_files_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = target(dir.path());
        let mut writer = DataWriter::new(target.clone());
        writer.write(&rows(&target, &["a"], &[1])).await.unwrap();
        drop(writer.finish().await.unwrap());
        let mut writer = DataWriter::new(target.clone());
        writer.write(&rows(&target, &["a"], &[1])).await.unwrap();
        let encoder = writer.open.take().unwrap();
        drop(encoder.batches);
        encoder.encoder.await.unwrap().unwrap_err();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn column_with_nan_has_no_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let target = target(dir.path());
        let mut batch = rows(&target, &["a", "b"], &[1, 2]);
        let values: ArrayRef = Arc::new(Float64Array::from(vec![1.0, f64::NAN]));
        let columns = vec![Arc::clone(batch.column(0)), Arc::clone(batch.column(1)), values];
        batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
        let mut writer = DataWriter::new(target.clone());
        writer.write(&batch).await.unwrap();
        let adds = writer.finish().await.unwrap().adds().to_vec();
        let stats: serde_json::Value = serde_json::from_str(adds[0].stats.as_ref().unwrap()).unwrap();
        assert_eq!(stats["maxValues"].get("y"), None);
        assert_eq!(stats["maxValues"]["t"], 2);
    }
}
