//! What Parquet files of others claim: footers and headers of pages are looked at before a reader believes them.
//!
//! A reader descends as deep as a schema says that it goes, and takes as much memory as a page says that it becomes
//! (<https://parquet.apache.org/docs/file-format/metadata/>, in the compact protocol of Thrift).

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use datafusion::object_store::{ObjectMeta, ObjectStore};
use parking_lot::Mutex;

use crate::error::{Error, ErrorKind, Result, Subject};

const MAGIC: &[u8] = b"PAR1";
const FOOTER_BYTES_MAX: u64 = 64 << 20;
const COLUMNS_MAX: u64 = 10_000;
const DEPTH_MAX: usize = 64;
/// Bytes of a page that is decompressed; DuckDB writes pages of up to 100 MB.
const PAGE_BYTES_MAX: i64 = 128 << 20;
/// Pages of a column in a group of rows.
const PAGES_MAX: usize = 1_000_000;
/// How many times as large as it is in the file a column may become that is larger than a page may be.
const RATIO_MAX: i64 = 200;
/// Bytes that the header of a page is looked for in, at first and at last.
const HEADER_BYTES: [u64; 2] = [4 << 10, 4 << 20];
/// Files whose claims are remembered.
const KNOWN_MAX: usize = 10_000;

/// Name, bytes and time of the last write of files whose claims are all right.
static KNOWN: LazyLock<Mutex<HashSet<(String, u64, i64)>>> = LazyLock::new(Mutex::default);

/// Fails where a file claims more than is read; what is no Parquet file at all is left to its reader.
pub async fn check(store: &Arc<dyn ObjectStore>, file: &ObjectMeta) -> Result<()> {
    let key = (file.location.to_string(), file.size, file.last_modified.timestamp_micros());
    if KNOWN.lock().contains(&key) {
        return Ok(());
    }
    let place = format!("/{}", file.location);
    check_all(&File { store, file }).await.map_err(|trouble| trouble.at(&place))?;
    let mut known = KNOWN.lock();
    if known.len() >= KNOWN_MAX {
        known.clear();
    }
    known.insert(key);
    Ok(())
}

/// Why a file is not read.
#[derive(Debug)]
enum Trouble {
    /// It is none that could be read.
    Broken(&'static str),
    /// It claims too much, and what would help.
    Beyond(String, &'static str),
    Failed(Error),
}

type Checked<T> = std::result::Result<T, Trouble>;

impl Trouble {
    fn at(self, place: &str) -> Error {
        match self {
            Self::Broken(what) => Error::corrupt(Subject::File, format!("{place}: {what} cannot be read")),
            Self::Beyond(what, hint) => {
                Error::new(ErrorKind::Data, Subject::File, format!("{place}: {what}")).with_hint(hint)
            }
            Self::Failed(error) => error,
        }
    }
}

struct File<'a> {
    store: &'a Arc<dyn ObjectStore>,
    file: &'a ObjectMeta,
}

impl File<'_> {
    async fn read(&self, from: u64, to: u64) -> Checked<Bytes> {
        let range = from..to.min(self.file.size);
        let read = self.store.get_ranges(&self.file.location, std::slice::from_ref(&range)).await;
        let read = read.map_err(|e| Trouble::Failed(datafusion::error::DataFusionError::from(e).into()))?;
        Ok(read.into_iter().next().unwrap_or_default())
    }
}

async fn check_all(file: &File<'_>) -> Checked<()> {
    let size = file.file.size;
    if size < 8 {
        return Ok(());
    }
    let end = file.read(size - 8, size).await?;
    let Some((length, MAGIC)) = end.split_at_checked(4) else { return Ok(()) };
    let length = length.iter().rev().fold(0, |length: u64, byte| (length << 8) | u64::from(*byte));
    if length > FOOTER_BYTES_MAX {
        let what = format!("its footer has {length} bytes; at most {FOOTER_BYTES_MAX} are read");
        return Err(Trouble::Beyond(what, "write the rows to several files, or with fewer columns"));
    }
    let start = (size - 8).checked_sub(length).filter(|start| *start < size - 8);
    let start = start.ok_or(Trouble::Broken("its footer"))?;
    let chunks = footer(&file.read(start, size - 8).await?)?;
    // So that the pages of a small file are not looked at without end.
    let compressed = chunks.iter().try_fold(0_u64, |sum, chunk| sum.checked_add(chunk.bytes()));
    if compressed.is_none_or(|bytes| bytes > size) {
        return Err(Trouble::Broken("the places of its columns"));
    }
    for chunk in chunks {
        check_chunk(file, &chunk).await?;
    }
    Ok(())
}

/// The values of one column in a group of rows.
#[derive(Debug, Default)]
struct Chunk {
    uncompressed: i64,
    compressed: i64,
    data: i64,
    dictionary: i64,
    /// Where its index of pages begins, and its bytes; none where that is 0.
    index: (i64, i64),
}

impl Chunk {
    fn bytes(&self) -> u64 {
        self.compressed.max(0) as u64
    }

    /// Where its first page begins.
    fn start(&self) -> u64 {
        let first = if self.dictionary > 0 { self.dictionary.min(self.data) } else { self.data };
        first.max(0) as u64
    }

    /// Fails where it becomes many times as large as it is in the file.
    fn check_ratio(&self) -> Checked<()> {
        let ratio = self.uncompressed / self.compressed.max(1);
        if self.uncompressed <= PAGE_BYTES_MAX || ratio <= RATIO_MAX {
            return Ok(());
        }
        let what = format!(
            "a column claims {} bytes, {ratio} times what it has in the file; at most {RATIO_MAX} times are read",
            self.uncompressed
        );
        Err(Trouble::Beyond(what, "write the rows without compression"))
    }
}

/// Reads the headers of all pages of a column.
async fn check_chunk(file: &File<'_>, chunk: &Chunk) -> Checked<()> {
    chunk.check_ratio()?;
    let (mut at, size) = (chunk.start(), file.file.size);
    let end = at.saturating_add(chunk.bytes());
    let (mut from, mut window, mut pages) = (0, Bytes::new(), HashSet::new());
    while at < end {
        let seen = at.checked_sub(from).and_then(|skip| window.get(usize::try_from(skip).ok()?..));
        let mut page = seen.map_or(Err(Trouble::Broken("the header of a page")), page);
        for bytes in HEADER_BYTES {
            if matches!(page, Err(Trouble::Broken(_))) && at < size {
                (from, window) = (at, file.read(at, at.saturating_add(bytes)).await?);
                page = self::page(&window);
            }
        }
        let bytes = page?;
        pages.insert(at);
        if pages.len() > PAGES_MAX {
            let what = format!("a column has more than {PAGES_MAX} pages in a group of rows");
            return Err(Trouble::Beyond(what, "write the rows with larger pages"));
        }
        at += bytes;
    }
    check_index(file, chunk, &pages).await
}

/// Readers find pages by the index, too: it may name no place where no page was seen.
async fn check_index(file: &File<'_>, chunk: &Chunk, pages: &HashSet<u64>) -> Checked<()> {
    let broken = Trouble::Broken("its index of pages");
    let (Ok(from), Ok(bytes)) = (u64::try_from(chunk.index.0), u64::try_from(chunk.index.1)) else {
        return Err(broken);
    };
    if from == 0 || bytes == 0 {
        return Ok(());
    }
    if bytes > FOOTER_BYTES_MAX || from >= file.file.size {
        return Err(broken);
    }
    let index = file.read(from, from.saturating_add(bytes)).await?;
    let known = |place: i64| u64::try_from(place).is_ok_and(|place| pages.contains(&place));
    let mut all = true;
    // OffsetIndex: 1 is a list of PageLocation, whose 1 is the place.
    let read = Thrift { bytes: &index }.structure(|thrift, number, kind| match (number, kind) {
        (1, LIST) => thrift.each(|thrift| {
            thrift.structure(|thrift, number, kind| match (number, kind) {
                (1, I64) => thrift.integer().map(|place| all &= known(place)),
                _ => thrift.skip(kind, DEPTH_MAX),
            })
        }),
        _ => thrift.skip(kind, DEPTH_MAX),
    });
    if read.is_some() && all { Ok(()) } else { Err(broken) }
}

/// Bytes of the page that begins here, its header included.
fn page(bytes: &[u8]) -> Checked<u64> {
    let broken = Trouble::Broken("the header of a page");
    let (mut uncompressed, mut compressed) = (-1, -1);
    let mut thrift = Thrift { bytes };
    // PageHeader
    let read = thrift.structure(|thrift, number, kind| match (number, kind) {
        (2, I32) => thrift.integer().map(|bytes| uncompressed = bytes),
        (3, I32) => thrift.integer().map(|bytes| compressed = bytes),
        _ => thrift.skip(kind, DEPTH_MAX),
    });
    if read.is_none() || uncompressed < 0 || compressed < 0 {
        return Err(broken);
    }
    let most = uncompressed.max(compressed);
    if most > PAGE_BYTES_MAX {
        let what = format!("a page claims {most} bytes; at most {PAGE_BYTES_MAX} are read");
        return Err(Trouble::Beyond(what, "write the rows with smaller pages"));
    }
    Ok((bytes.len() - thrift.bytes.len()) as u64 + compressed as u64)
}

/// The columns of all groups of rows.
fn footer(bytes: &[u8]) -> Checked<Vec<Chunk>> {
    let (mut schema, mut chunks) = (Schema::default(), Vec::new());
    // FileMetaData: 2 is the schema, 4 are the groups.
    let read = Thrift { bytes }.structure(|thrift, number, kind| match (number, kind) {
        (2, LIST) => thrift.each(|thrift| {
            let children = children(thrift)?;
            schema.add(children)
        }),
        (4, LIST) => thrift.each(|thrift| row_group(thrift, &mut chunks)),
        _ => thrift.skip(kind, DEPTH_MAX),
    });
    match (schema.beyond, read) {
        (Some(what), _) => Err(Trouble::Beyond(what, "write the file with fewer or flatter columns")),
        (None, Some(())) => Ok(chunks),
        (None, None) => Err(Trouble::Broken("its footer")),
    }
}

/// Of a SchemaElement, how many of those behind it are its children.
fn children(thrift: &mut Thrift<'_>) -> Option<u64> {
    let mut children = 0;
    thrift.structure(|thrift, number, kind| match (number, kind) {
        (5, I32) => thrift.integer().map(|count| children = count),
        _ => thrift.skip(kind, DEPTH_MAX),
    })?;
    u64::try_from(children).ok()
}

fn row_group(thrift: &mut Thrift<'_>, chunks: &mut Vec<Chunk>) -> Option<()> {
    thrift.structure(|thrift, number, kind| match (number, kind) {
        (1, LIST) => thrift.each(|thrift| {
            let chunk = column_chunk(thrift)?;
            chunks.push(chunk);
            Some(())
        }),
        _ => thrift.skip(kind, DEPTH_MAX),
    })
}

fn column_chunk(thrift: &mut Thrift<'_>) -> Option<Chunk> {
    let mut chunk = Chunk::default();
    thrift.structure(|thrift, number, kind| match (number, kind) {
        // ColumnMetaData
        (3, STRUCT) => thrift.structure(|thrift, number, kind| {
            let place = match number {
                6 => &mut chunk.uncompressed,
                7 => &mut chunk.compressed,
                9 => &mut chunk.data,
                11 => &mut chunk.dictionary,
                _ => return thrift.skip(kind, DEPTH_MAX),
            };
            *place = thrift.integer_of(kind)?;
            Some(())
        }),
        (4, I64) => thrift.integer().map(|place| chunk.index.0 = place),
        (5, I32) => thrift.integer().map(|bytes| chunk.index.1 = bytes),
        _ => thrift.skip(kind, DEPTH_MAX),
    })?;
    Some(chunk)
}

/// The tree of columns, as far as it has been read.
#[derive(Debug, Default)]
struct Schema {
    columns: u64,
    /// Children that the groups around the next element still wait for.
    open: Vec<u64>,
    /// Why it is not read.
    beyond: Option<String>,
}

impl Schema {
    /// The next element; `None` where it is one too much.
    fn add(&mut self, children: u64) -> Option<()> {
        while self.open.last() == Some(&0) {
            self.open.pop();
        }
        if let Some(waiting) = self.open.last_mut() {
            *waiting -= 1;
        }
        match children {
            0 => self.columns += 1,
            _ => self.open.push(children),
        }
        // The outermost group is the row.
        if self.open.len() > DEPTH_MAX + 1 {
            self.beyond = Some(format!("its columns are nested more than {DEPTH_MAX} deep"));
        }
        if self.columns.max(children) > COLUMNS_MAX {
            self.beyond = Some(format!("it has more than {COLUMNS_MAX} columns"));
        }
        self.beyond.is_none().then_some(())
    }
}

const I32: u8 = 5;
const I64: u8 = 6;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Thrift's compact protocol; `None` where the bytes end too early, or are none of it
/// (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>).
struct Thrift<'a> {
    bytes: &'a [u8],
}

impl Thrift<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn pass(&mut self, bytes: u64) -> Option<()> {
        self.bytes = self.bytes.get(usize::try_from(bytes).ok()?..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn integer(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some(((number >> 1) as i64) ^ -((number & 1) as i64))
    }

    fn integer_of(&mut self, kind: u8) -> Option<i64> {
        if kind == I64 || kind == I32 { self.integer() } else { None }
    }

    /// Type and number of the elements of a list.
    fn list(&mut self) -> Option<(u8, u64)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        Some((head & 15, count))
    }

    /// Reads a list of structs.
    fn each(&mut self, mut read: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        let (kind, count) = self.list()?;
        if kind != STRUCT && count > 0 {
            return None;
        }
        for _ in 0..count {
            read(self)?;
        }
        Some(())
    }

    /// Reads a struct: `read` takes every field, by its number and type.
    fn structure(&mut self, mut read: impl FnMut(&mut Self, i64, u8) -> Option<()>) -> Option<()> {
        let mut number: i64 = 0;
        loop {
            let head = self.byte()?;
            let kind = head & 15;
            if kind == 0 {
                return Some(());
            }
            number = if head >> 4 == 0 { self.integer()? } else { number.wrapping_add(i64::from(head >> 4)) };
            read(self, number, kind)?;
        }
    }

    /// Passes over a field of this type, which may hold others so many deep.
    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // Truth is told by the type.
            1 | 2 => Some(()),
            3 => self.pass(1),
            4..=6 => self.varint().map(drop),
            7 => self.pass(8),
            8 => {
                let bytes = self.varint()?;
                self.pass(bytes)
            }
            9 | 10 => {
                let (kind, count) = self.list()?;
                (0..count).try_for_each(|_| self.skip_element(kind, depth))
            }
            11 => {
                let count = self.varint()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                (0..count).try_for_each(|_| {
                    self.skip_element(kinds >> 4, depth)?;
                    self.skip_element(kinds & 15, depth)
                })
            }
            12 => self.structure(|thrift, _, kind| thrift.skip(kind, depth)),
            13 => self.pass(16),
            _ => None,
        }
    }

    /// As [`Thrift::skip`], of an element of a list or map, where truth takes a byte.
    fn skip_element(&mut self, kind: u8, depth: usize) -> Option<()> {
        if matches!(kind, 1 | 2) { self.pass(1) } else { self.skip(kind, depth) }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use datafusion::object_store::ObjectStoreExt;
    use datafusion::object_store::memory::InMemory;
    use datafusion::object_store::path::Path;
    use datafusion::parquet::arrow::ArrowWriter;
    use datafusion::parquet::basic::{Compression, ZstdLevel};
    use datafusion::parquet::file::properties::WriterProperties;

    use super::*;
    use crate::engine::Database;
    use crate::ml::rng::Rng;

    fn varint(mut number: u64) -> Vec<u8> {
        let mut bytes = vec![];
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    fn integer(number: i64) -> Vec<u8> {
        varint(((number << 1) ^ (number >> 63)) as u64)
    }

    /// The header of a page of so many bytes, and behind it its bytes in the file.
    fn page(uncompressed: i64, compressed: usize) -> Vec<u8> {
        let header =
            [vec![0x15, 0, 0x15], integer(uncompressed), vec![0x15], integer(compressed as i64), vec![0]];
        [header.concat(), vec![7; compressed]].concat()
    }

    /// A file with one column that claims to become so large, of these pages, below a schema of these elements.
    fn file(pages: &[Vec<u8>], uncompressed: i64, schema: &[i64], index: (i64, i64)) -> Vec<u8> {
        let element = |children: &i64| match children {
            0 => vec![0],
            _ => [vec![0x55], integer(*children), vec![0]].concat(),
        };
        let schema: Vec<Vec<u8>> = schema.iter().map(element).collect();
        let pages = pages.concat();
        let meta =
            [vec![0x66], integer(uncompressed), vec![0x16], integer(pages.len() as i64), vec![0x26, 8, 0]];
        let index = [vec![0x16], integer(index.0), vec![0x15], integer(index.1), vec![0]];
        let chunk = [vec![0x3C], meta.concat(), index.concat()].concat();
        let footer = [
            [vec![0x29, 0xFC], varint(schema.len() as u64), schema.concat()].concat(),
            [vec![0x29, 0x1C, 0x19, 0x1C], chunk, vec![0, 0]].concat(),
        ]
        .concat();
        let length = (footer.len() as u32).to_le_bytes().to_vec();
        [b"PAR1".to_vec(), pages, footer, length, b"PAR1".to_vec()].concat()
    }

    async fn told(bytes: Vec<u8>) -> Option<String> {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let path = Path::from(uuid::Uuid::new_v4().to_string());
        store.put(&path, bytes.into()).await.unwrap();
        let file = store.head(&path).await.unwrap();
        let error = check(&store, &file).await.err()?;
        let message = error.message().strip_prefix(&format!("/{path}: ")).unwrap().to_owned();
        Some(message)
    }

    #[tokio::test]
    async fn claims_beyond_what_is_read_are_refused() {
        let good = || vec![page(40, 10), page(0, 0), page(99_999, 50)];
        let (flat, none) = ([1, 0], (0, 0));
        assert_eq!(told(file(&good(), 100_039, &flat, none)).await, None);
        let huge = [page(40, 10), page(2 << 30, 10)];
        let expected = "a page claims 2147483648 bytes; at most 134217728 are read";
        assert_eq!(told(file(&huge, 99, &flat, none)).await.unwrap(), expected);
        let expected = "a column claims 1073741824 bytes, 12936648 times what it has in the file; at most 200 times \
                        are read";
        assert_eq!(told(file(&good(), 1 << 30, &flat, none)).await.unwrap(), expected);
        let deep: Vec<i64> = std::iter::repeat_n(1, 66).chain([0]).collect();
        let expected = "its columns are nested more than 64 deep";
        assert_eq!(told(file(&good(), 9, &deep, none)).await.unwrap(), expected);
        assert_eq!(told(file(&good(), 9, &deep[1..], none)).await, None);
        let wide: Vec<i64> = [10_001].into_iter().chain(std::iter::repeat_n(0, 10_001)).collect();
        let expected = "it has more than 10000 columns";
        assert_eq!(told(file(&good(), 9, &wide, none)).await.unwrap(), expected);
        let in_groups: Vec<i64> = [vec![2, 6_000], vec![0; 6_000], vec![6_000], vec![0; 6_000]].concat();
        assert_eq!(told(file(&good(), 9, &in_groups, none)).await.unwrap(), expected);
        // A group of more children than there are elements is the reader's to refuse.
        assert_eq!(told(file(&good(), 9, &[10_000, 0], none)).await, None);
    }

    #[tokio::test]
    async fn places_where_no_page_was_seen_are_refused() {
        let broken = |what: &str| Some(format!("{what} cannot be read"));
        let pages = [page(40, 10), page(41, 20)];
        // An index of one page, in the bytes of the second one: 1 is a list of one struct, whose 1 is a place.
        let with_index = |place: i64| {
            let index = [vec![0x19, 0x1C, 0x16], integer(place), vec![0, 0]].concat();
            let mut second = pages[1].clone();
            let from = second.len() - index.len();
            second.truncate(from);
            second.extend(&index);
            let from = 4 + pages[0].len() + from;
            file(&[pages[0].clone(), second], 81, &[1, 0], (from as i64, index.len() as i64))
        };
        assert_eq!(told(with_index(4)).await, None);
        assert_eq!(told(with_index(4 + pages[0].len() as i64)).await, None);
        assert_eq!(told(with_index(5)).await, broken("its index of pages"));
        let mut cut = file(&pages, 81, &[1, 0], (0, 0));
        assert_eq!(told(cut.clone()).await, None);
        cut[4] = 0xFF;
        assert_eq!(told(cut).await, broken("the header of a page"));
        let mut nowhere = file(&pages, 81, &[1, 0], (0, 0));
        let length = nowhere.len();
        nowhere[length - 8..length - 4].copy_from_slice(&u32::to_le_bytes(length as u32));
        assert_eq!(told(nowhere.clone()).await, broken("its footer"));
        assert_eq!(told(b"x\x05\0\0\0PAR1".to_vec()).await, broken("its footer"));
        nowhere[length - 1] = b'2';
        // No Parquet file at all.
        assert_eq!(told(nowhere).await, None);
    }

    #[tokio::test]
    async fn no_byte_that_changed_is_more_than_refused() {
        let good = file(&[page(40, 10), page(0, 0), page(99_999, 50)], 100_039, &[2, 0, 1, 0], (0, 0));
        let mut rng = Rng::new(4);
        let mut refused = 0;
        for _ in 0..2_000 {
            let mut bytes = good.clone();
            (0..1 + rng.below(3)).for_each(|_| bytes[rng.below(good.len())] = rng.below(256) as u8);
            refused += usize::from(told(bytes).await.is_some());
        }
        assert!(refused > 200, "{refused}");
    }

    #[tokio::test]
    async fn files_of_writers_are_read() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((0..50_000).map(|i| i / 9)));
        let words: ArrayRef =
            Arc::new(StringArray::from_iter_values((0..50_000).map(|i| format!("{}", i % 999 * 7))));
        let batch = RecordBatch::try_from_iter([("n", numbers), ("w", words)]).unwrap();
        for compression in
            [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(ZstdLevel::default())]
        {
            let properties = WriterProperties::builder()
                .set_compression(compression)
                .set_max_row_group_row_count(Some(20_000))
                .set_data_page_row_count_limit(700)
                .set_write_batch_size(100)
                .build();
            let mut bytes = vec![];
            let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
            assert_eq!(told(bytes).await, None);
        }
    }

    #[test]
    fn statements_do_not_read_such_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.parquet");
        std::fs::write(&path, file(&[page(2 << 30, 10)], 99, &[1, 0], (0, 0))).unwrap();
        let database = Database::temporary().unwrap();
        let location = path.display();
        let sql = format!("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{location}'");
        let error = database.session().run(&sql).unwrap_err();
        let message = format!("{location}: a page claims 2147483648 bytes; at most 134217728 are read");
        assert_eq!((error.kind(), error.message()), (ErrorKind::Data, message.as_str()));
        assert_eq!(error.hint(), Some("write the rows with smaller pages"));
    }

    #[test]
    fn readers_that_panic_end_their_statement_alone() {
        let database = Database::temporary().unwrap();
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/parquet");
        for (file, said) in [
            ("ad8ca231c293eeaa", "a file cannot be read: assertion failed: num_bits <= T::BIT_CAPACITY"),
            ("ccaff59aef9b6a3e", "a file cannot be read: offset + len out of bounds"),
            ("b68c47d4b1bba3ba", "a file cannot be read: Decoder for dict should have been set"),
        ] {
            let session = database.session();
            let location = corpus.join(file);
            let table = format!(
                "CREATE OR REPLACE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{}'",
                location.display()
            );
            session.run(&table).unwrap();
            let error = session.run("SELECT * FROM t").unwrap_err();
            assert_eq!((error.kind(), error.message()), (ErrorKind::Corrupt, said), "{file}");
            session.run("SELECT 1").unwrap();
        }
    }
}
