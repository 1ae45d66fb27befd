//! Values of arrow arrays in PostgreSQL's text and binary form, one writer a column, chosen once a batch.

mod binary;
mod column;
mod json;
mod list;
mod numeric;
mod text;
mod zone;

pub use binary::{EPOCH_DAYS, EPOCH_MICROS};
pub use column::{ColumnWriter, Style, column};
pub use text::{bytea, date, double, interval, quote_array_element, single, time, timestamp, timestamptz};
pub use zone::Zone;

use bytes::{BufMut, BytesMut};

/// Text or binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As psql shows it.
    Text,
    /// As the type's send function writes it.
    Binary,
}

impl Format {
    /// From the number of the protocol.
    pub fn from_code(code: i16) -> Option<Self> {
        match code {
            0 => Some(Self::Text),
            1 => Some(Self::Binary),
            _ => None,
        }
    }

    /// The number of the protocol.
    pub fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }
}

/// A message of this kind with what `write` puts into it.
pub fn message(kind: u8, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    out.put_u8(kind);
    let at = out.len();
    with_length(out, write);
    // The length of a message counts itself.
    let length = (out.len() - at) as i32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Writes what `write` writes with its length before it.
pub fn with_length(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_i32(0);
    write(out);
    let length = (out.len() - at - 4) as i32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}
