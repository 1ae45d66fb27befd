//! COPY FROM STDIN: the client's data as rows of a table.

use std::sync::Arc;

use bytes::Bytes;
use pgwire::messages::PgWireBackendMessage as Answer;
use pgwire::messages::copy::CopyInResponse;

use super::connection::Connection;
use super::copy_rows::RowReader;
use super::message::Message;
use super::run::{Running, Stop, cancelled, complete, overdue};
use crate::engine::{CopyIn, CopyKind};
use crate::error::{Error, ErrorKind, Result, Subject};

impl Connection {
    /// Reads rows from the client until it ends them; nothing is kept when it gives up or a row is broken.
    pub(super) async fn copy_in(&mut self, running: &mut Running, copy: CopyIn) -> Result<(), Stop> {
        let (code, columns) = (i16::from(copy.format.kind == CopyKind::Binary), copy.schema.fields().len());
        let response = CopyInResponse::new(code as i8, columns as i16, vec![code; columns]);
        self.wire.put(Answer::CopyInResponse(response));
        self.wire.flush().await?;
        let mut reader = RowReader::new(copy.table.clone(), Arc::clone(&copy.schema), copy.format.clone());
        match self.read_rows(running, &mut reader, &copy).await {
            Ok(()) => copy.finish().await,
            Err(Stop::Failed(error, _)) => {
                copy.fail(error.clone()).await;
                // The statement ends with this error, or with one of its own that came first.
                return match running.query.next().await {
                    Err(first) => Err(first.into()),
                    Ok(_) => Err(error.into()),
                };
            }
            Err(gone) => {
                copy.fail(cancelled()).await;
                return Err(gone);
            }
        }
        while self.next_batch(running).await?.is_some() {}
        self.wire.put(complete(running.query.tag()));
        Ok(())
    }

    async fn read_rows(
        &mut self,
        running: &Running,
        reader: &mut RowReader,
        copy: &CopyIn,
    ) -> Result<(), Stop> {
        loop {
            let last = match self.copy_message(running).await? {
                Some(data) => {
                    reader.push(&data);
                    false
                }
                None => true,
            };
            while let Some(batch) = reader.next_batch(last)? {
                if !copy.write(batch).await {
                    // The insert has ended: its own error tells why.
                    return Err(Error::internal("the rows of COPY were not taken").into());
                }
            }
            if last {
                return Ok(());
            }
        }
    }

    /// The next data; `None` at their end.
    async fn copy_message(&mut self, running: &Running) -> Result<Option<Bytes>, Stop> {
        loop {
            let message = tokio::select! {
                biased;
                () = running.token.cancelled() => return Err(cancelled().into()),
                error = overdue(&running.query) => return Err(error.into()),
                message = self.wire.message() => message?,
            };
            match message {
                Some(Ok(Message::CopyData(data))) => return Ok(Some(data)),
                Some(Ok(Message::CopyDone)) => return Ok(None),
                Some(Ok(Message::CopyFail(reason))) => {
                    let message = format!("COPY from stdin failed: {reason}");
                    return Err(Error::cancelled(message).into());
                }
                Some(Ok(Message::Flush | Message::Sync)) => {}
                Some(Ok(Message::Terminate)) | None => {
                    return Err(Stop::Gone(std::io::ErrorKind::ConnectionReset.into()));
                }
                Some(Ok(_)) => {
                    let message = "unexpected message type during COPY from stdin";
                    return Err(Error::new(ErrorKind::Denied, Subject::Connection, message).into());
                }
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }
}
