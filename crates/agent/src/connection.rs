//! One connection: lines bounded in length and time, a hello that must come first.

use std::time::Duration;

use linerate_wire::message::{
    Command, ErrorCode, MAX_LINE_BYTES, PROTOCOL_VERSION, Reply, Request, WireError,
};
use serde::Deserialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::token::Token;

/// Time for the hello to arrive.
const HELLO_TIME: Duration = Duration::from_secs(5);
/// Time from a line's first byte to its last.
const LINE_TIME: Duration = Duration::from_secs(10);
/// Lines that may wait for a controller that does not read.
const OUTBOX_LINES: usize = 1024;
/// Requests that may wait for the agent.
const INBOX_REQUESTS: usize = 64;
/// An over-long line is skipped up to this many bytes; then the connection ends.
const SKIP_BYTES: usize = 16 * MAX_LINE_BYTES;

/// What came in on a connection.
pub(crate) type Incoming = Result<Request, Reply>;

/// An authenticated connection. Dropping it closes it.
pub(crate) struct Controller {
    /// Requests, and ready replies to lines that were none. Closed when the peer is gone.
    pub(crate) inbox: mpsc::Receiver<Incoming>,
    outbox: mpsc::Sender<String>,
    /// Id of the hello, to be answered by whoever accepts the controller.
    pub(crate) hello_id: u64,
}

impl Controller {
    /// Sends a line. False when the controller does not read and its outbox is full, or it is gone.
    pub(crate) fn send(&self, line: &impl serde::Serialize) -> bool {
        serde_json::to_string(line).is_ok_and(|text| self.outbox.try_send(text + "\n").is_ok())
    }
}

/// Waits for a valid hello; a peer without one gets an error and is closed.
pub(crate) async fn authenticate(stream: TcpStream, token: Token) -> Option<Controller> {
    let _ = stream.set_nodelay(true);
    let (read, mut write) = stream.into_split();
    let mut lines = Lines { reader: BufReader::new(read), lost: false };
    let first = timeout(HELLO_TIME, lines.next()).await.unwrap_or(Some(Err(failure(
        None,
        ErrorCode::TooSlow,
        format!("no hello within {} s", HELLO_TIME.as_secs()),
    ))));
    let refusal = match first? {
        Ok(Request { id, command: Command::Hello(hello) }) => {
            // The token first: a stranger learns nothing, not even the version.
            if !token.matches(&hello.token) {
                failure(Some(id), ErrorCode::Unauthorized, "the token is wrong".into())
            } else if hello.protocol != PROTOCOL_VERSION {
                let text = format!("this agent speaks protocol {PROTOCOL_VERSION}, not {}", hello.protocol);
                failure(Some(id), ErrorCode::Version, text)
            } else {
                return Some(converse(lines, write, id));
            }
        }
        Ok(Request { id, .. }) => {
            failure(Some(id), ErrorCode::Unauthorized, "the first request must be hello".into())
        }
        Err(reply) => reply,
    };
    if let Ok(text) = serde_json::to_string(&refusal) {
        let _ = timeout(LINE_TIME, write.write_all((text + "\n").as_bytes())).await;
        let _ = write.shutdown().await;
    }
    None
}

fn converse(
    mut lines: Lines<BufReader<OwnedReadHalf>>,
    mut write: OwnedWriteHalf,
    hello_id: u64,
) -> Controller {
    let (inbox_in, inbox) = mpsc::channel(INBOX_REQUESTS);
    let (outbox, mut outbox_out) = mpsc::channel::<String>(OUTBOX_LINES);
    let reading = tokio::spawn(async move {
        while let Some(incoming) = lines.next().await {
            if inbox_in.send(incoming).await.is_err() {
                break;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(line) = outbox_out.recv().await {
            if !matches!(timeout(LINE_TIME, write.write_all(line.as_bytes())).await, Ok(Ok(()))) {
                break;
            }
        }
        // The controller was let go: what it still sends has no reader.
        let _ = write.shutdown().await;
        reading.abort();
    });
    Controller { inbox, outbox, hello_id }
}

/// A reply that says no.
pub(crate) fn failure(id: Option<u64>, code: ErrorCode, message: String) -> Reply {
    Reply { id, result: None, error: Some(WireError { code, message }) }
}

struct Lines<R> {
    reader: R,
    /// A line took too long: what follows is its remainder.
    lost: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// The next request, or the reply to a line that is none. `None` when the peer is gone or hopeless.
    async fn next(&mut self) -> Option<Incoming> {
        // An idle peer may take its time; a line once begun may not.
        if self.lost || self.reader.fill_buf().await.ok()?.is_empty() {
            return None;
        }
        let Ok(line) = timeout(LINE_TIME, self.line()).await else {
            self.lost = true;
            let text = format!("the line was not complete within {} s", LINE_TIME.as_secs());
            return Some(Err(failure(None, ErrorCode::TooSlow, text)));
        };
        Some(match line? {
            Some(line) => parse(&line),
            None => Err(failure(
                None,
                ErrorCode::TooLong,
                format!("the line is longer than {MAX_LINE_BYTES} bytes"),
            )),
        })
    }

    /// A line without its newline; `Some(None)` when it was too long and has been skipped.
    async fn line(&mut self) -> Option<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut length = 0;
        loop {
            let chunk = self.reader.fill_buf().await.ok()?;
            if chunk.is_empty() {
                return None;
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            length += part.len();
            if length < MAX_LINE_BYTES {
                line.extend_from_slice(part);
            }
            let consumed = part.len() + usize::from(end.is_some());
            self.reader.consume(consumed);
            if end.is_some() {
                return Some((length < MAX_LINE_BYTES).then_some(line));
            }
            if length > SKIP_BYTES {
                return None;
            }
        }
    }
}

fn parse(line: &[u8]) -> Incoming {
    #[derive(Deserialize)]
    struct JustId {
        id: u64,
    }
    serde_json::from_slice(line).map_err(|error| {
        let id = serde_json::from_slice::<JustId>(line).ok().map(|just| just.id);
        failure(id, ErrorCode::Malformed, format!("not a request: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(bytes: &[u8]) -> Vec<Result<u64, ErrorCode>> {
        let mut lines = Lines { reader: bytes, lost: false };
        let mut seen = Vec::new();
        while let Some(incoming) = lines.next().await {
            seen.push(incoming.map(|request| request.id).map_err(|reply| reply.error.unwrap().code));
        }
        seen
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_bad_line_does_not_spoil_the_next() {
        let long = vec![b'x'; MAX_LINE_BYTES + 5];
        let ping = br#"{"id":7,"method":"ping"}"#;
        let mut bytes = Vec::new();
        for line in [&b"garbage"[..], b"", b"\xff\xfe", &long, ping, br#"{"id":8,"method":"dance"}"#, ping] {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(b"{\"id\":9,\"meth"); // cut off
        let (bad, long) = (Err(ErrorCode::Malformed), Err(ErrorCode::TooLong));
        assert_eq!(all(&bytes).await, [bad, bad, bad, long, Ok(7), bad, Ok(7)]);
    }

    #[test]
    fn an_error_repeats_the_id_when_there_is_one() {
        assert_eq!(parse(br#"{"id":8,"method":"dance"}"#).unwrap_err().id, Some(8));
        assert_eq!(parse(b"[]").unwrap_err().id, None);
    }
}
