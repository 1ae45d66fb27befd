//! COPY TO STDOUT in text, CSV and binary.

use bytes::{BufMut, Bytes, BytesMut};
use pgwire::messages::PgWireBackendMessage as Answer;
use pgwire::messages::copy::{CopyDone, CopyOutResponse};

use super::connection::Connection;
use super::run::{Formats, Running, Stop, complete};
use crate::engine::{CopyFormat, CopyKind};
use crate::error::Error;
use crate::postgres::{ColumnWriter, Format, column, message};

/// The beginning of every file in binary format.
pub const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

impl Connection {
    /// Sends the rows of a query in a format.
    pub(super) async fn copy_out(&mut self, running: &mut Running, format: &CopyFormat) -> Result<(), Stop> {
        let (columns, style) = (running.query.schema(), self.style());
        let wire_format = if format.kind == CopyKind::Binary { Format::Binary } else { Format::Text };
        let (code, count) = (wire_format.code(), columns.fields().len());
        let response = CopyOutResponse::new(code as i8, count as i16, vec![code; count]);
        self.wire.put(Answer::CopyOutResponse(response));
        if format.header && format.kind != CopyKind::Binary {
            let names = columns.fields().iter().map(|field| Bytes::from(field.name().clone().into_bytes()));
            let names: Vec<Option<Bytes>> = names.map(Some).collect();
            message(b'd', self.wire.output(), |out| text_line(&names, format, out));
        }
        // Clients expect it in the message of the first row, as PostgreSQL sends it.
        let mut head = (format.kind == CopyKind::Binary).then(|| [SIGNATURE, &[0; 8]].concat());
        let mut sent = 0u64;
        let formats = Formats::new(&[code], count)?;
        while let Some(batch) = self.next_batch(running).await? {
            let batch = self.with_names(batch, &columns, &formats).await?;
            let fields = columns.fields().iter().zip(batch.columns());
            let writers = fields
                .map(|(field, array)| column(array, field, wire_format, style))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| Error::unsupported(format!("a column cannot be copied: {e}")))?;
            for row in 0..batch.num_rows() {
                message(b'd', self.wire.output(), |out| {
                    out.put_slice(&head.take().unwrap_or_default());
                    line(&writers, row, format, out);
                });
                sent += 1;
                if self.wire.is_full() {
                    self.flush(running).await?;
                }
            }
        }
        if format.kind == CopyKind::Binary {
            message(b'd', self.wire.output(), |out| {
                out.put_slice(&head.take().unwrap_or_default());
                out.put_i16(-1);
            });
        }
        self.wire.put(Answer::CopyDone(CopyDone::new()));
        self.wire.put(complete(format!("COPY {sent}")));
        Ok(())
    }
}

fn line(writers: &[ColumnWriter<'_>], row: usize, format: &CopyFormat, out: &mut BytesMut) {
    if format.kind == CopyKind::Binary {
        out.put_u16(writers.len() as u16);
        writers.iter().for_each(|writer| writer.write_field(row, out));
        return;
    }
    let mut value = BytesMut::new();
    for (n, writer) in writers.iter().enumerate() {
        if n > 0 {
            out.put_u8(format.delimiter);
        }
        if writer.is_null(row) {
            out.put_slice(format.null.as_bytes());
            continue;
        }
        value.clear();
        writer.write(row, &mut value);
        field(&value, format, out);
    }
    out.put_u8(b'\n');
}

fn text_line(values: &[Option<Bytes>], format: &CopyFormat, out: &mut BytesMut) {
    for (n, value) in values.iter().enumerate() {
        if n > 0 {
            out.put_u8(format.delimiter);
        }
        match value {
            Some(value) => field(value, format, out),
            None => out.put_slice(format.null.as_bytes()),
        }
    }
    out.put_u8(b'\n');
}

/// A value with what its format must escape.
fn field(value: &[u8], format: &CopyFormat, out: &mut BytesMut) {
    match format.kind {
        CopyKind::Csv => csv_field(value, format, out),
        _ => text_field(value, format.delimiter, out),
    }
}

fn text_field(value: &[u8], delimiter: u8, out: &mut BytesMut) {
    let special =
        |byte: &u8| matches!(byte, b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0b | 0x0c) || *byte == delimiter;
    if !value.iter().any(special) {
        return out.put_slice(value);
    }
    for byte in value {
        let escaped = match byte {
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0b => b'v',
            0x0c => b'f',
            byte if *byte == delimiter => delimiter,
            _ => {
                out.put_u8(*byte);
                continue;
            }
        };
        out.put_u8(b'\\');
        out.put_u8(escaped);
    }
}

/// Quotes where the value has a delimiter, quote or line break, is what stands for NULL, or is `\.` alone.
fn csv_field(value: &[u8], format: &CopyFormat, out: &mut BytesMut) {
    let special =
        |byte: &u8| *byte == format.delimiter || *byte == format.quote || matches!(byte, b'\n' | b'\r');
    let quoted = value == format.null.as_bytes() || value == b"\\." || value.iter().any(special);
    if !quoted {
        return out.put_slice(value);
    }
    out.put_u8(format.quote);
    for byte in value {
        if *byte == format.quote || *byte == format.escape {
            out.put_u8(format.escape);
        }
        out.put_u8(*byte);
    }
    out.put_u8(format.quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(kind: CopyKind) -> CopyFormat {
        let csv = kind == CopyKind::Csv;
        let (delimiter, null) = if csv { (b',', "") } else { (b'\t', "\\N") };
        CopyFormat { kind, delimiter, null: null.to_owned(), header: false, quote: b'"', escape: b'"' }
    }

    #[test]
    fn values_are_escaped_as_postgresql_does() {
        let line = |kind, values: &[Option<&str>]| {
            let values: Vec<_> =
                values.iter().map(|v| v.map(|v| Bytes::copy_from_slice(v.as_bytes()))).collect();
            let mut out = BytesMut::new();
            text_line(&values, &format(kind), &mut out);
            String::from_utf8(out.to_vec()).unwrap()
        };
        let values = [Some("a\tb\\"), None, Some(""), Some("x\ny"), Some("q\"r")];
        assert_eq!(line(CopyKind::Text, &values), "a\\tb\\\\\t\\N\t\tx\\ny\tq\"r\n");
        assert_eq!(line(CopyKind::Csv, &values), "a\tb\\,,\"\",\"x\ny\",\"q\"\"r\"\n");
    }
}
