//! The formats of COPY as rows: text and CSV are taken apart here, binary values by their types.
//!
//! Source: PostgreSQL 15 documentation, COPY, "File Formats".

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::{FieldRef, SchemaRef};
use bytes::{Buf, Bytes, BytesMut};

use super::copy_out::SIGNATURE;
use super::decode;
use crate::engine::{CopyFormat, CopyKind};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::postgres::{self, Format};

/// Rows of one batch.
const BATCH_ROWS: usize = 8_192;

/// Longest row.
const ROW_BYTES_MAX: usize = 64 << 20;

/// Takes the data of a COPY apart.
pub struct RowReader {
    table: String,
    schema: SchemaRef,
    format: CopyFormat,
    /// Data not taken apart yet.
    input: BytesMut,
    /// Bytes at the beginning of `input` that hold no end of a row. A row that is not whole is looked at again when twice
    /// as much of it is there, so that long ones take no longer than their bytes.
    searched: usize,
    columns: Vec<StringBuilder>,
    rows: usize,
    /// The line of each of them.
    row_lines: Vec<u64>,
    /// Lines taken apart, the heading included.
    lines: u64,
    begun: bool,
    ended: bool,
}

impl RowReader {
    /// A reader of rows with these columns.
    pub fn new(table: String, schema: SchemaRef, format: CopyFormat) -> Self {
        let columns = schema.fields().iter().map(|_| StringBuilder::new()).collect();
        Self {
            table,
            schema,
            format,
            input: BytesMut::new(),
            searched: 0,
            columns,
            rows: 0,
            row_lines: vec![],
            lines: 0,
            begun: false,
            ended: false,
        }
    }

    /// More data.
    pub fn push(&mut self, data: &Bytes) {
        self.input.extend_from_slice(data);
    }

    /// The next full batch, or at the end of the data what is left.
    pub fn next_batch(&mut self, last: bool) -> Result<Option<RecordBatch>> {
        while self.rows < BATCH_ROWS && !self.ended {
            let read = match self.format.kind {
                CopyKind::Text => self.text_row(last),
                CopyKind::Csv => self.csv_row(last),
                CopyKind::Binary => self.binary_row(last),
            };
            if !read? {
                break;
            }
        }
        if self.rows == BATCH_ROWS || (last && self.rows > 0) {
            return self.finish().map(Some);
        }
        Ok(None)
    }

    fn fail(&self, message: String) -> Error {
        Error::new(ErrorKind::Data, Subject::File, message)
            .with_detail(format!("COPY {}, line {}", self.table, self.lines))
    }

    /// Adds a row from its values; `None` for NULL.
    fn add(&mut self, values: &[Option<&[u8]>]) -> Result<()> {
        let wanted = self.columns.len();
        if values.len() > wanted {
            return Err(self.fail("extra data after last expected column".to_owned()));
        }
        if values.len() < wanted {
            let column = self.schema.field(values.len()).name();
            return Err(self.fail(format!("missing data for column \"{column}\"")));
        }
        for (n, value) in values.iter().enumerate() {
            match value {
                None => self.columns[n].append_null(),
                Some(value) => match std::str::from_utf8(value) {
                    Ok(text) if !text.contains('\0') => self.columns[n].append_value(text),
                    _ => {
                        let message = "invalid byte sequence for encoding \"UTF8\"".to_owned();
                        return Err(self.fail(message));
                    }
                },
            }
        }
        self.rows += 1;
        self.row_lines.push(self.lines);
        Ok(())
    }

    /// The end of the line that begins the input, without its line break, and where the next one begins.
    fn line_end(&mut self, last: bool) -> Result<Option<(usize, usize)>> {
        if let Some(at) = memchr::memchr(b'\n', &self.input[self.searched..]) {
            let end = self.searched + at;
            self.searched = 0;
            let shown = if end > 0 && self.input[end - 1] == b'\r' { end - 1 } else { end };
            return Ok(Some((shown, end + 1)));
        }
        self.searched = self.input.len();
        self.check_row_size()?;
        if last && !self.input.is_empty() {
            self.searched = 0;
            return Ok(Some((self.input.len(), self.input.len())));
        }
        Ok(None)
    }

    /// True while a row that was not whole has not grown enough to be looked at again.
    fn waits(&self, last: bool) -> bool {
        !last && self.input.len() < 2 * self.searched
    }

    fn check_row_size(&self) -> Result<()> {
        if self.input.len() <= ROW_BYTES_MAX {
            return Ok(());
        }
        Err(self.fail(format!("a row has more than {} MB", ROW_BYTES_MAX >> 20)))
    }

    fn text_row(&mut self, last: bool) -> Result<bool> {
        let Some((end, next)) = self.line_end(last)? else { return Ok(false) };
        self.lines += 1;
        let line = self.input.split_to(next).freeze();
        let line = &line[..end];
        if line == b"\\." {
            self.ended = true;
            return Ok(false);
        }
        if self.format.header && self.lines == 1 {
            return Ok(true);
        }
        let (delimiter, null) = (self.format.delimiter, self.format.null.clone().into_bytes());
        let mut unescaped: Vec<Vec<u8>> = vec![];
        let mut parts: Vec<(usize, usize, Option<usize>)> = vec![];
        let mut start = 0;
        loop {
            let (end, escaped) = text_field_end(line, start, delimiter);
            let at = (escaped && line[start..end] != null[..]).then(|| {
                unescaped.push(unescape(&line[start..end]));
                unescaped.len() - 1
            });
            parts.push((start, end, at));
            if end >= line.len() {
                break;
            }
            start = end + 1;
        }
        let values: Vec<Option<&[u8]>> = parts
            .iter()
            .map(|(start, end, at)| match at {
                Some(at) => Some(unescaped[*at].as_slice()),
                None => Some(&line[*start..*end]).filter(|raw| **raw != null[..]),
            })
            .collect();
        self.add(&values)?;
        Ok(true)
    }

    fn csv_row(&mut self, last: bool) -> Result<bool> {
        if self.waits(last) {
            return Ok(false);
        }
        let Some((fields, next)) = csv_fields(&self.input, &self.format, last) else {
            self.searched = self.input.len();
            self.check_row_size()?;
            if last && !self.input.is_empty() {
                self.lines += 1;
                return Err(self.fail("unterminated CSV quoted field".to_owned()));
            }
            return Ok(false);
        };
        (self.lines, self.searched) = (self.lines + 1, 0);
        let line = self.input.split_to(next).freeze();
        if line.starts_with(b"\\.") && matches!(&line[2..], b"" | b"\n" | b"\r\n") {
            self.ended = true;
            return Ok(false);
        }
        if self.format.header && self.lines == 1 {
            return Ok(true);
        }
        let null = self.format.null.as_bytes();
        let values: Vec<Option<&[u8]>> = fields
            .iter()
            .map(|field| match field {
                CsvField::Plain(start, end) => Some(&line[*start..*end]).filter(|raw| *raw != null),
                CsvField::Quoted(value) => Some(value.as_slice()),
            })
            .collect();
        let breaks = memchr::memchr_iter(b'\n', &line).count() as u64;
        self.add(&values)?;
        self.lines += breaks.saturating_sub(1);
        Ok(true)
    }

    fn binary_row(&mut self, last: bool) -> Result<bool> {
        if !self.begun {
            let Some(length) = binary_header(&self.input).map_err(|m| self.fail(m.to_owned()))? else {
                self.check_row_size()?;
                return if last {
                    Err(self.fail("COPY file signature not recognized".to_owned()))
                } else {
                    Ok(false)
                };
            };
            self.input.advance(length);
            self.begun = true;
        }
        if self.waits(last) {
            return Ok(false);
        }
        let Some((values, next)) = binary_fields(&self.input) else {
            self.searched = self.input.len();
            self.check_row_size()?;
            // Data that end between rows need no trailer.
            if last && !self.input.is_empty() {
                return Err(self.fail("unexpected EOF in COPY data".to_owned()));
            }
            self.ended = last;
            return Ok(false);
        };
        (self.lines, self.searched) = (self.lines + 1, 0);
        let row = self.input.split_to(next).freeze();
        let Some(values) = values else {
            self.ended = true;
            return Ok(false);
        };
        if values.len() != self.columns.len() {
            let message = format!("row field count is {}, expected {}", values.len(), self.columns.len());
            return Err(self.fail(message));
        }
        let mut texts = vec![];
        for (n, value) in values.iter().enumerate() {
            let oid = postgres::of_field(self.schema.field(n)).oid;
            let text =
                |(start, end): &(usize, usize)| decode::text(row.slice(*start..*end), oid, Format::Binary);
            texts.push(value.as_ref().map(text).transpose().map_err(|e| self.in_column(&e, n))?);
        }
        let values: Vec<Option<&[u8]>> = texts.iter().map(|t| t.as_ref().map(|t| t.as_bytes())).collect();
        self.add(&values)?;
        Ok(true)
    }

    fn in_column(&self, error: &Error, column: usize) -> Error {
        let place =
            format!("COPY {}, line {}, column {}", self.table, self.lines, self.schema.field(column).name());
        Error::new(error.kind(), error.subject(), error.message()).with_detail(place)
    }

    fn finish(&mut self) -> Result<RecordBatch> {
        let lines = std::mem::take(&mut self.row_lines);
        let mut arrays: Vec<ArrayRef> = vec![];
        for (builder, field) in self.columns.iter_mut().zip(self.schema.fields()) {
            let texts = builder.finish();
            let parsed = postgres::parse(&texts, field.data_type());
            arrays.push(parsed.map_err(|e| broken(&self.table, &texts, field, &lines, e))?);
        }
        self.rows = 0;
        RecordBatch::try_new(Arc::clone(&self.schema), arrays).map_err(|e| Error::internal(e.to_string()))
    }
}

/// The error of the first value that is none of its column's type.
fn broken(table: &str, texts: &StringArray, field: &FieldRef, lines: &[u64], error: Error) -> Error {
    if error.kind() == ErrorKind::Unsupported {
        return error;
    }
    let name = postgres::sql_of_oid(postgres::of_field(field).oid).unwrap_or_default().to_lowercase();
    let row = (0..texts.len()).find(|row| postgres::parse(&texts.slice(*row, 1), field.data_type()).is_err());
    let row = row.unwrap_or(0);
    let value = texts.value(row);
    let message = match value.trim().parse::<f64>() {
        Ok(number) if field.data_type().is_numeric() && number.is_finite() => {
            format!("value \"{value}\" is out of range for type {name}")
        }
        _ => format!("invalid input syntax for type {name}: \"{value}\""),
    };
    let line = lines.get(row).copied().unwrap_or_default();
    Error::input(Subject::Value, message)
        .with_detail(format!("COPY {table}, line {line}, column {}", field.name()))
}

/// Where the field that begins at `start` ends, and whether it has a backslash.
fn text_field_end(line: &[u8], start: usize, delimiter: u8) -> (usize, bool) {
    let (mut at, mut escaped) = (start, false);
    while let Some(found) = memchr::memchr2(delimiter, b'\\', &line[at..]) {
        let found = at + found;
        if line[found] == delimiter {
            return (found, escaped);
        }
        escaped = true;
        at = (found + 2).min(line.len());
    }
    (line.len(), escaped)
}

/// The value behind the escapes of the text format.
fn unescape(raw: &[u8]) -> Vec<u8> {
    let (mut value, mut rest) = (Vec::with_capacity(raw.len()), raw);
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'\\' || after.is_empty() {
            value.push(byte);
            rest = after;
            continue;
        }
        let (byte, used) = match after[0] {
            b'b' => (0x08, 1),
            b'f' => (0x0c, 1),
            b'n' => (b'\n', 1),
            b'r' => (b'\r', 1),
            b't' => (b'\t', 1),
            b'v' => (0x0b, 1),
            b'0'..=b'7' => digits(after, 8, 3),
            b'x' if after.get(1).is_some_and(u8::is_ascii_hexdigit) => {
                let (byte, used) = digits(&after[1..], 16, 2);
                (byte, used + 1)
            }
            other => (other, 1),
        };
        value.push(byte);
        rest = &after[used..];
    }
    value
}

/// A byte from at most `most` digits, and how many they were.
fn digits(text: &[u8], radix: u32, most: usize) -> (u8, usize) {
    let digit = |byte: &u8| char::from(*byte).to_digit(radix);
    let count = text.iter().take(most).take_while(|b| digit(b).is_some()).count();
    let value = text[..count].iter().filter_map(digit).fold(0u32, |n, d| n * radix + d);
    (value as u8, count)
}

/// One value of a line of CSV.
enum CsvField {
    /// As it stands in the line.
    Plain(usize, usize),
    /// What was in quotes: never NULL.
    Quoted(Vec<u8>),
}

/// The fields of the first line of the input, and where the next line begins; `None` when it is not all there.
fn csv_fields(input: &[u8], format: &CopyFormat, last: bool) -> Option<(Vec<CsvField>, usize)> {
    let mut fields = vec![];
    let mut at = 0;
    if input.is_empty() {
        return None;
    }
    loop {
        let (field, end) = csv_field(input, at, format)?;
        fields.push(field);
        match input.get(end) {
            Some(byte) if *byte == format.delimiter => at = end + 1,
            Some(b'\n') => return Some((fields, end + 1)),
            Some(b'\r') if input.get(end + 1) == Some(&b'\n') => return Some((fields, end + 2)),
            Some(b'\r') if last || input.len() > end + 1 => return Some((fields, end + 1)),
            Some(_) => return None,
            None => return last.then_some((fields, end)),
        }
    }
}

/// The field that begins at `start`, and where it ends.
fn csv_field(input: &[u8], start: usize, format: &CopyFormat) -> Option<(CsvField, usize)> {
    let plain_end = |from: usize| {
        let found = memchr::memchr3(format.delimiter, b'\n', b'\r', &input[from..]);
        found.map_or(input.len(), |n| from + n)
    };
    let end = plain_end(start);
    if memchr::memchr(format.quote, &input[start..end]).is_none() {
        return Some((CsvField::Plain(start, end), end));
    }
    let (mut value, mut at, mut quoted) = (vec![], start, false);
    loop {
        let byte = input.get(at).copied();
        match byte {
            None if quoted => return None,
            None => return Some((CsvField::Quoted(value), at)),
            Some(byte) if quoted => {
                if byte == format.escape
                    && input.get(at + 1).is_some_and(|b| *b == format.quote || *b == format.escape)
                {
                    value.push(input[at + 1]);
                    at += 2;
                    continue;
                }
                if byte == format.quote {
                    // A quote at the end of what has come may be half of a doubled one.
                    input.get(at + 1).or(if at + 1 == input.len() { Some(&0) } else { None })?;
                    quoted = false;
                } else {
                    value.push(byte);
                }
            }
            Some(byte) if byte == format.delimiter || matches!(byte, b'\n' | b'\r') => {
                return Some((CsvField::Quoted(value), at));
            }
            Some(byte) if byte == format.quote => quoted = true,
            Some(byte) => value.push(byte),
        }
        at += 1;
    }
}

/// The length of the header of the binary format, once it is there.
fn binary_header(input: &[u8]) -> Result<Option<usize>, &'static str> {
    let known = input.len().min(SIGNATURE.len());
    if input[..known] != SIGNATURE[..known] {
        return Err("COPY file signature not recognized");
    }
    let Some(mut rest) = input.get(SIGNATURE.len()..SIGNATURE.len() + 8) else { return Ok(None) };
    let (flags, extension) = (rest.get_u32(), rest.get_i32());
    if flags & 0xffff_0000 != 0 {
        return Err("unrecognized critical flags in COPY file header");
    }
    let extension = usize::try_from(extension).map_err(|_| "invalid COPY file header")?;
    let length = SIGNATURE.len() + 8 + extension;
    Ok((input.len() >= length).then_some(length))
}

type Places = Vec<Option<(usize, usize)>>;

/// Where the values of the first row are, `None` for the end of the data, and where the next row begins.
fn binary_fields(input: &[u8]) -> Option<(Option<Places>, usize)> {
    let count = i16::from_be_bytes(input.get(..2)?.try_into().ok()?);
    let Ok(count) = usize::try_from(count) else { return Some((None, input.len())) };
    let mut at = 2;
    let mut places = Vec::with_capacity(count.min(1_600));
    for _ in 0..count {
        let length = i32::from_be_bytes(input.get(at..at + 4)?.try_into().ok()?);
        at += 4;
        match usize::try_from(length) {
            Ok(length) => {
                input.get(at..at.checked_add(length)?)?;
                places.push(Some((at, at + length)));
                at += length;
            }
            Err(_) => places.push(None),
        }
    }
    Some((Some(places), at))
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Field, Int32Type, Schema};

    use super::*;

    fn reader(kind: CopyKind) -> RowReader {
        let schema = Schema::new(vec![
            Field::new("item", DataType::Utf8, true),
            Field::new("qty", DataType::Int32, true),
        ]);
        let csv = kind == CopyKind::Csv;
        let (delimiter, null) = if csv { (b',', "") } else { (b'\t', "\\N") };
        let format =
            CopyFormat { kind, delimiter, null: null.to_owned(), header: false, quote: b'"', escape: b'"' };
        RowReader::new("sales".to_owned(), Arc::new(schema), format)
    }

    /// The rows of a text that comes in pieces of `size` bytes.
    fn rows(kind: CopyKind, text: &[u8], size: usize) -> Result<Vec<(Option<String>, Option<i32>)>> {
        let mut reader = reader(kind);
        let mut found = vec![];
        let mut take = |batch: RecordBatch| {
            let (items, quantities) = (batch.column(0).as_string::<i32>(), batch.column(1));
            let quantities = quantities.as_primitive::<Int32Type>();
            found.extend(items.iter().map(|i| i.map(str::to_owned)).zip(quantities.iter()));
        };
        for piece in text.chunks(size) {
            reader.push(&Bytes::copy_from_slice(piece));
            while let Some(batch) = reader.next_batch(false)? {
                take(batch);
            }
        }
        while let Some(batch) = reader.next_batch(true)? {
            take(batch);
        }
        Ok(found)
    }

    fn row(item: Option<&str>, quantity: Option<i32>) -> (Option<String>, Option<i32>) {
        (item.map(str::to_owned), quantity)
    }

    /// Looked at from its beginning with every piece, this row would take an hour.
    #[test]
    fn a_long_row_in_small_pieces_takes_no_longer_than_its_bytes() {
        let value = "x\n".repeat(4 << 20);
        let csv = format!("\"{value}\",1\nb,2\n");
        let expected = vec![row(Some(&value), Some(1)), row(Some("b"), Some(2))];
        assert!(rows(CopyKind::Csv, csv.as_bytes(), 32).unwrap() == expected);
        let mut binary = SIGNATURE.to_vec();
        binary.extend_from_slice(&[0; 8]);
        binary.extend_from_slice(&[0, 2]);
        binary.extend_from_slice(&(value.len() as i32).to_be_bytes());
        binary.extend_from_slice(value.as_bytes());
        binary.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 1]);
        assert!(rows(CopyKind::Binary, &binary, 32).unwrap() == expected[..1]);
    }

    #[test]
    fn text_and_csv_read_as_postgresql_reads_them() {
        for size in [1, 2, 3, 100] {
            let text = b"a\\tb\t 1\n\\N\t\\N\n\t3\r\nx\\\\\\x41\\101\t4\n\\.\nignored\n";
            let expected = vec![
                row(Some("a\tb"), Some(1)),
                row(None, None),
                row(Some(""), Some(3)),
                row(Some("x\\AA"), Some(4)),
            ];
            assert_eq!(rows(CopyKind::Text, text, size).unwrap(), expected);
            let csv = b"a,1\n\"\",\n,2\n\"q\"\"r\ns\",3\r\nx\"y,z\"w,4";
            let expected = vec![
                row(Some("a"), Some(1)),
                row(Some(""), None),
                row(None, Some(2)),
                row(Some("q\"r\ns"), Some(3)),
                row(Some("xy,zw"), Some(4)),
            ];
            assert_eq!(rows(CopyKind::Csv, csv, size).unwrap(), expected, "{size}");
        }
    }

    #[test]
    fn binary_rows_are_read() {
        let mut data = SIGNATURE.to_vec();
        data.extend_from_slice(&[0; 8]);
        data.extend_from_slice(b"\0\x02\0\0\0\x01a\0\0\0\x04\0\0\0\x07");
        data.extend_from_slice(b"\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
        for size in [1, 7, 100] {
            let expected = vec![row(Some("a"), Some(7)), row(None, None)];
            assert_eq!(rows(CopyKind::Binary, &data, size).unwrap(), expected);
        }
        assert!(rows(CopyKind::Binary, b"not a copy at all, really", 100).is_err());
        assert!(rows(CopyKind::Binary, &data[..data.len() - 3], 100).is_err());
    }

    #[test]
    fn broken_rows_are_named() {
        for (kind, text, message, detail) in [
            (
                CopyKind::Text,
                "a\t1\nb\tx\n",
                "invalid input syntax for type integer: \"x\"",
                "COPY sales, line 2, column qty",
            ),
            (CopyKind::Text, "a\t1\tz\n", "extra data after last expected column", "COPY sales, line 1"),
            (CopyKind::Csv, "a,1\nb\n", "missing data for column \"qty\"", "COPY sales, line 2"),
            (CopyKind::Csv, "a,1\n\"b,2\n", "unterminated CSV quoted field", "COPY sales, line 2"),
        ] {
            let error = rows(kind, text.as_bytes(), 100).unwrap_err();
            assert_eq!((error.message(), error.detail()), (message, Some(detail)));
        }
    }
}
