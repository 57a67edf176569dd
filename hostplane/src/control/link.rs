//! A control connection: lines of bounded length, each read and written within a time.

use std::io;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longest line before the other end has proved itself, and after that: a report has some hundred bytes per
/// stream.
const FIRST_LINE_BYTES: u64 = 4096;
const LINE_BYTES: u64 = 64 << 20;
/// Time for a line to be written.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// Most lines that wait to be read.
const INBOX_LINES: usize = 1024;

/// Error: the conversation cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the connection was closed")]
    Closed,
    #[error("nothing came for {0:?}")]
    Silent(Duration),
    #[error("it does not read what it is sent")]
    NotReading,
    #[error("it sent a line that is none of this protocol: {0}")]
    Foreign(String),
    #[error("{0}")]
    Io(io::Error),
}

/// A connection that is being set up.
#[derive(Debug)]
pub(crate) struct Link {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    most: u64,
}

impl Link {
    pub(crate) fn new(stream: TcpStream) -> Self {
        // Without it, short lines would wait for acknowledgements.
        let _ = stream.set_nodelay(true);
        let (read, writer) = stream.into_split();
        Self { reader: BufReader::new(read), writer, most: FIRST_LINE_BYTES }
    }

    /// Admits long lines: the other end has proved itself.
    pub(crate) fn trust(&mut self) {
        self.most = LINE_BYTES;
    }

    /// The next line, within `limit`.
    pub(crate) async fn read<T: DeserializeOwned>(&mut self, limit: Duration) -> Result<T, LinkError> {
        timeout(limit, read_line(&mut self.reader, self.most)).await.map_err(|_| LinkError::Silent(limit))?
    }

    /// Sends a line.
    pub(crate) async fn send(&mut self, line: &impl Serialize) -> Result<(), LinkError> {
        write_line(&mut self.writer, line).await
    }

    /// Reads lines in the background, so that waiting for one can be broken off.
    pub(crate) fn listen<T: DeserializeOwned + 'static>(self) -> Conversation<T> {
        let Self { mut reader, writer, most } = self;
        let (sender, inbox) = mpsc::channel(INBOX_LINES);
        let task = tokio::task::spawn_local(async move {
            loop {
                let line = read_line(&mut reader, most).await;
                let ended = line.is_err();
                if sender.send(line).await.is_err() || ended {
                    return;
                }
            }
        });
        Conversation { inbox, writer, task }
    }
}

async fn read_line<T: DeserializeOwned>(
    reader: &mut BufReader<OwnedReadHalf>,
    most: u64,
) -> Result<T, LinkError> {
    let mut line = Vec::new();
    let read = reader.take(most).read_until(b'\n', &mut line).await.map_err(LinkError::Io)?;
    if read == 0 {
        return Err(LinkError::Closed);
    }
    if line.last() != Some(&b'\n') {
        let reason = if read as u64 == most { "it is too long" } else { "it ends early" };
        return Err(LinkError::Foreign(reason.to_owned()));
    }
    serde_json::from_slice(&line).map_err(|error| LinkError::Foreign(error.to_string()))
}

async fn write_line(writer: &mut OwnedWriteHalf, line: &impl Serialize) -> Result<(), LinkError> {
    let mut text = serde_json::to_vec(line).map_err(|error| LinkError::Io(error.into()))?;
    text.push(b'\n');
    match timeout(WRITE_TIME, writer.write_all(&text)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Err(LinkError::Closed),
        Ok(Err(error)) => Err(LinkError::Io(error)),
        Err(_) => Err(LinkError::NotReading),
    }
}

/// A connection of a running trial. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Conversation<T> {
    inbox: mpsc::Receiver<Result<T, LinkError>>,
    writer: OwnedWriteHalf,
    task: tokio::task::JoinHandle<()>,
}

impl<T> Conversation<T> {
    /// The next line. May be broken off without losing one.
    pub(crate) async fn next(&mut self) -> Result<T, LinkError> {
        self.inbox.recv().await.unwrap_or(Err(LinkError::Closed))
    }

    /// The next line, within `limit`.
    pub(crate) async fn next_within(&mut self, limit: Duration) -> Result<T, LinkError> {
        timeout(limit, self.next()).await.map_err(|_| LinkError::Silent(limit))?
    }

    pub(crate) async fn send(&mut self, line: &impl Serialize) -> Result<(), LinkError> {
        write_line(&mut self.writer, line).await
    }
}

impl<T> Drop for Conversation<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
