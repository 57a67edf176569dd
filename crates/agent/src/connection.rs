//! One connection: lines of bounded length and time, beginning with a hello.

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

/// Time limit for the hello.
const HELLO_TIME: Duration = Duration::from_secs(5);
/// Time limit from a line's first byte to its last.
const LINE_TIME: Duration = Duration::from_secs(10);
/// Most lines queued for a controller that does not read.
const OUTBOX_LINES: usize = 1024;
/// Most requests queued for the agent.
const INBOX_REQUESTS: usize = 64;
/// Most bytes skipped of an overlong line; beyond them the connection ends.
const SKIP_BYTES: usize = 16 * MAX_LINE_BYTES;

/// A request, or the ready reply to a line that is not a request.
pub(crate) type Incoming = Result<Request, Reply>;

/// An authenticated connection. Dropping it closes it.
pub(crate) struct Controller {
    /// Requests, and ready replies to invalid lines. Closed when the peer has disconnected.
    pub(crate) inbox: mpsc::Receiver<Incoming>,
    outbox: mpsc::Sender<String>,
    /// Id of the hello. The server answers it when it accepts the controller.
    pub(crate) hello_id: u64,
}

impl Controller {
    /// Sends a line. False when the controller has disconnected, or does not read and its outbox is
    /// full.
    pub(crate) fn send(&self, line: &impl serde::Serialize) -> bool {
        serde_json::to_string(line).is_ok_and(|text| self.outbox.try_send(text + "\n").is_ok())
    }
}

/// Waits for a valid hello; a peer that sends none gets an error, and its connection is closed.
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
            // Check the token first: an unauthenticated peer learns nothing, not even the version.
            if !token.matches(&hello.token) {
                failure(Some(id), ErrorCode::Unauthorized, "the token is wrong".into())
            } else if hello.protocol != PROTOCOL_VERSION {
                let text = format!(
                    "this agent speaks protocol {PROTOCOL_VERSION}, and the controller speaks {}; use linerate and agents of one version",
                    hello.protocol
                );
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
        // The controller was disconnected; its further lines are not read.
        let _ = write.shutdown().await;
        reading.abort();
    });
    Controller { inbox, outbox, hello_id }
}

/// A reply with an error.
pub(crate) fn failure(id: Option<u64>, code: ErrorCode, message: String) -> Reply {
    Reply { id, result: None, error: Some(WireError { code, message }) }
}

struct Lines<R> {
    reader: R,
    /// True after a line exceeded its time: the next bytes are its remainder.
    lost: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// The next request, or the reply to an invalid line. `None` when the peer has disconnected or must
    /// be disconnected.
    async fn next(&mut self) -> Option<Incoming> {
        // An idle peer has no time limit; a line that has begun has one.
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

    /// What the agent answers to a first line.
    async fn answer(line: &str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let token = Token::load(None, Some("0123456789abcdef".into())).unwrap();
        let served = tokio::spawn(authenticate(stream, token));
        peer.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        BufReader::new(&mut peer).read_line(&mut text).await.unwrap();
        assert!(served.await.unwrap().is_none());
        text.trim_end().to_owned()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_controller_of_another_version_gets_both_versions_and_the_remedy() {
        // As a controller of protocol 1 said hello.
        let hello_1 = r#"{"id":1,"method":"hello","params":{"protocol":1,"token":"0123456789abcdef"}}"#;
        assert_eq!(
            answer(hello_1).await,
            concat!(
                r#"{"id":1,"error":{"code":"version","message":"this agent speaks protocol 2, and the controller speaks 1; "#,
                r#"use linerate and agents of one version"}}"#
            )
        );
        // A later version may say more in its hello.
        let later = hello_1.replace("\"protocol\":1", "\"protocol\":3,\"new\":{}");
        assert!(answer(&later).await.contains("the controller speaks 3"));
        // A stranger learns nothing, not even the version.
        assert!(answer(&hello_1.replace("abcdef", "abcdeg")).await.contains("unauthorized"));
    }
}
