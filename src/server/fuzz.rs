//! Doors for fuzzing: clients that send any bytes. Each must return.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use super::copy_rows::RowReader;
use super::listen::{Guest, ServeOptions, Shared};
use super::startup;
use super::wire::Stream;
use crate::engine::{CopyFormat, CopyKind, Database, Settings};

/// No client is served for longer.
const PATIENCE: Duration = Duration::from_secs(20);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
});

fn server(trust: bool) -> Arc<Shared> {
    let settings = Settings { memory_limit: Some(64 << 20), threads: Some(1), ..Settings::default() };
    let database = Database::temporary_with(settings).expect("a temporary database can be made");
    database.create_owner("owner").expect("a new database has no owner");
    let options = ServeOptions { trust, ..ServeOptions::default() };
    Arc::new(Shared::new(database, &options, None, 5433).expect("the options are safe"))
}

/// The packet that a client of this role begins with.
fn startup_packet(user: &str) -> Vec<u8> {
    let body = format!("user\0{user}\0options\0-c statement_timeout=500\0\0");
    let mut packet = u32::try_from(body.len() + 8).unwrap_or_default().to_be_bytes().to_vec();
    packet.extend(196_608_u32.to_be_bytes());
    packet.extend(body.into_bytes());
    packet
}

/// Sends the bytes to a server and hears it out.
fn talk(shared: &Arc<Shared>, bytes: &[u8]) -> Vec<u8> {
    RUNTIME.block_on(async {
        let (client, server) = UnixStream::pair().expect("a pair of sockets can be made");
        let guest = Guest::new(shared);
        let (mut input, mut output) = client.into_split();
        let mut heard = Vec::new();
        let all = async {
            tokio::join!(
                startup::serve(Stream::Unix(server), Arc::clone(shared), &guest),
                async {
                    // The server may have heard enough.
                    let _ = output.write_all(bytes).await;
                    let _ = output.shutdown().await;
                },
                input.read_to_end(&mut heard),
            )
        };
        assert!(tokio::time::timeout(PATIENCE, all).await.is_ok(), "the server hangs");
        heard
    })
}

/// A whole session: of a client that is logged in, or from the first byte where the first is odd.
pub fn session(bytes: &[u8]) -> Vec<u8> {
    static SERVER: LazyLock<Arc<Shared>> = LazyLock::new(|| server(true));
    let Some((first, rest)) = bytes.split_first() else { return Vec::new() };
    match first % 2 {
        1 => talk(&SERVER, rest),
        _ => talk(&SERVER, &[startup_packet("owner").as_slice(), rest].concat()),
    }
}

/// The exchange of a password.
pub fn login(bytes: &[u8]) -> Vec<u8> {
    static SERVER: LazyLock<Arc<Shared>> = LazyLock::new(|| server(false));
    talk(&SERVER, &[startup_packet("somebody").as_slice(), bytes].concat())
}

/// The rows of COPY, in the format that the first byte says, in pieces as long as the second does.
pub fn copy(bytes: &[u8]) {
    let [kind, piece, rest @ ..] = bytes else { return };
    let format = CopyFormat {
        kind: [CopyKind::Text, CopyKind::Csv, CopyKind::Binary][usize::from(kind % 3)],
        delimiter: if kind % 2 == 0 { b',' } else { b'\t' },
        null: if kind & 4 == 0 { String::new() } else { "NULL".to_owned() },
        header: kind & 8 != 0,
        quote: b'"',
        escape: if kind & 16 == 0 { b'"' } else { b'\\' },
    };
    let types = [DataType::Int64, DataType::Utf8, DataType::Float64, DataType::Date32, DataType::Boolean];
    let fields =
        types.into_iter().enumerate().map(|(n, data_type)| Field::new(n.to_string(), data_type, true));
    let mut reader =
        RowReader::new("t".to_owned(), Arc::new(Schema::new(fields.collect::<Vec<_>>())), format);
    for piece in rest.chunks(usize::from(*piece).max(1)) {
        reader.push(&Bytes::copy_from_slice(piece));
        if !matches!(reader.next_batch(false), Ok(None)) {
            return;
        }
    }
    while let Ok(Some(_)) = reader.next_batch(true) {}
}
