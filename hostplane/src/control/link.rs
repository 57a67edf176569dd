//! A control connection: lines of bounded length, each read and written within a time.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::SILENCE_TIME;

/// Longest line before the other end has proved itself, and after that: a report has some hundred bytes per
/// stream.
const FIRST_LINE_BYTES: usize = 4096;
const LINE_BYTES: usize = 64 << 20;
/// Time in which a part of a line must be taken: on a slow path, a long report takes more.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// Longest time for the other end to read the last line.
const CONCLUSION_TIME: Duration = Duration::from_secs(120);
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
    most: usize,
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
        let heard = Cell::new(Instant::now());
        let line = read_line(&mut self.reader, self.most, &heard);
        timeout(limit, line).await.map_err(|_| LinkError::Silent(limit))?
    }

    /// Sends a line.
    pub(crate) async fn send(&mut self, line: &impl Serialize) -> Result<(), LinkError> {
        write_line(&mut self.writer, line).await
    }

    /// Reads lines in the background, so that waiting for one can be broken off.
    pub(crate) fn listen<T: DeserializeOwned + 'static>(self) -> Conversation<T> {
        let Self { mut reader, writer, most } = self;
        let (sender, inbox) = mpsc::channel(INBOX_LINES);
        let heard = Rc::new(Cell::new(Instant::now()));
        let hearing = Rc::clone(&heard);
        let task = tokio::task::spawn_local(async move {
            loop {
                let line = read_line(&mut reader, most, &hearing).await;
                let ended = line.is_err();
                if sender.send(line).await.is_err() || ended {
                    return;
                }
            }
        });
        Conversation { inbox, writer, task, heard }
    }
}

async fn read_line<T: DeserializeOwned>(
    reader: &mut BufReader<OwnedReadHalf>,
    most: usize,
    heard: &Cell<Instant>,
) -> Result<T, LinkError> {
    let mut line = Vec::new();
    while line.len() < most && line.last() != Some(&b'\n') {
        let bytes = reader.fill_buf().await.map_err(LinkError::Io)?;
        if bytes.is_empty() {
            break;
        }
        heard.set(Instant::now());
        let room = bytes.len().min(most - line.len());
        let end = bytes[..room].iter().position(|byte| *byte == b'\n').map_or(room, |at| at + 1);
        line.extend_from_slice(&bytes[..end]);
        reader.consume(end);
    }
    if line.is_empty() {
        return Err(LinkError::Closed);
    }
    if line.last() != Some(&b'\n') {
        let reason = if line.len() == most { "it is too long" } else { "it ends early" };
        return Err(LinkError::Foreign(reason.to_owned()));
    }
    serde_json::from_slice(&line).map_err(|error| LinkError::Foreign(error.to_string()))
}

async fn write_line(writer: &mut OwnedWriteHalf, line: &impl Serialize) -> Result<(), LinkError> {
    let mut text = serde_json::to_vec(line).map_err(|error| LinkError::Io(error.into()))?;
    text.push(b'\n');
    let mut rest = &text[..];
    while !rest.is_empty() {
        match timeout(WRITE_TIME, writer.write(rest)).await {
            Ok(Ok(bytes)) => rest = &rest[bytes..],
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Err(LinkError::Closed),
            Ok(Err(error)) => return Err(LinkError::Io(error)),
            Err(_) => return Err(LinkError::NotReading),
        }
    }
    Ok(())
}

/// A connection of a running trial. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Conversation<T> {
    inbox: mpsc::Receiver<Result<T, LinkError>>,
    writer: OwnedWriteHalf,
    task: tokio::task::JoinHandle<()>,
    heard: Rc<Cell<Instant>>,
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

    /// When the last bytes came, of a line or of a part of one.
    pub(crate) fn heard(&self) -> Instant {
        self.heard.get()
    }

    pub(crate) async fn send(&mut self, line: &impl Serialize) -> Result<(), LinkError> {
        write_line(&mut self.writer, line).await
    }

    /// Sends the last line, and waits until the other end has closed the connection. Closed by this end while lines
    /// of the other end are on their way, the connection would be reset, and what was not read of the line lost.
    pub(crate) async fn conclude(mut self, line: &impl Serialize) {
        if self.send(line).await.is_err() || self.writer.shutdown().await.is_err() {
            return;
        }
        let closed = async { while self.next_within(SILENCE_TIME).await.is_ok() {} };
        let _ = timeout(CONCLUSION_TIME, closed).await;
    }
}

impl<T> Drop for Conversation<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (one, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_last_line_arrives_whatever_the_other_end_says_meanwhile() {
        let talk = async {
            let (server, client) = pair().await;
            let (mut client, mut server) = (Link::new(client), Link::new(server));
            client.trust();
            server.trust();
            let report = "x".repeat(16 << 20);
            let mut client = client.listen::<String>();
            // Nobody reads these before the report is sent.
            for _ in 0..100 {
                client.send(&"alive").await.unwrap();
            }
            let sent = report.clone();
            let concluded =
                tokio::task::spawn_local(async move { server.listen::<String>().conclude(&sent).await });
            client.send(&"alive").await.unwrap();
            assert_eq!(client.next().await.unwrap(), report);
            drop(client);
            concluded.await.unwrap();
        };
        LocalSet::new().run_until(talk).await;
    }

    #[tokio::test]
    async fn lines_have_a_length_and_an_end() {
        let (mut one, other) = pair().await;
        let mut link = Link::new(other);
        one.write_all(b"1\n2\n3").await.unwrap();
        drop(one);
        let limit = Duration::from_secs(60);
        assert_eq!((link.read::<u8>(limit).await.unwrap(), link.read::<u8>(limit).await.unwrap()), (1, 2));
        assert!(link.read::<u8>(limit).await.unwrap_err().to_string().contains("it ends early"));
        assert!(matches!(link.read::<u8>(limit).await, Err(LinkError::Closed)));
        let (mut one, other) = pair().await;
        one.write_all(&vec![b'1'; FIRST_LINE_BYTES + 1]).await.unwrap();
        let error = Link::new(other).read::<u8>(limit).await.unwrap_err();
        assert!(error.to_string().contains("it is too long"), "{error}");
    }
}
