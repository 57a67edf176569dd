//! The control connection of a test.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use linerate_iperf3::frame::{frame, length};
use linerate_iperf3::state::{ServerError, State};
use rustix::net::sockopt as options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::streams::socket::canonical;

/// Longest wait for a peer that does not read.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// Silence after which the kernel asks whether the peer is there, time between questions, and their number.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(2), 3);
/// Time for a refused peer to read the reason, and most bytes of its that are thrown away meanwhile.
const PARTING: (Duration, usize) = (Duration::from_millis(500), 64 * 1024);

/// Error: the conversation cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("it closed the control connection")]
    Closed,
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("it does not read what it is sent")]
    NotReading,
    #[error("it does not speak iperf3's protocol: {0}")]
    Foreign(String),
    #[error("the control connection failed: {0}")]
    Io(io::Error),
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                LinkError::Closed
            }
            _ => LinkError::Io(error),
        }
    }
}

/// A control connection.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
}

impl Link {
    /// The kernel finds out when the peer's host is gone, also in a test that sends nothing on this connection.
    pub(crate) fn new(stream: TcpStream) -> Self {
        let (idle, interval, count) = KEEPALIVE;
        let _ = stream.set_nodelay(true);
        let _ = options::set_socket_keepalive(&stream, true);
        let _ = options::set_tcp_keepidle(&stream, idle);
        let _ = options::set_tcp_keepintvl(&stream, interval);
        let _ = options::set_tcp_keepcnt(&stream, count);
        Self { stream }
    }

    /// This end's address.
    pub(crate) fn local(&self) -> SocketAddr {
        let unknown = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        self.stream.local_addr().map_or(unknown, canonical)
    }

    /// The next state. May be broken off without losing one.
    pub(crate) async fn state(&mut self) -> Result<State, LinkError> {
        let mut byte = [0];
        if self.stream.read(&mut byte).await? == 0 {
            return Err(LinkError::Closed);
        }
        let [byte] = byte;
        State::from_byte(byte)
            .ok_or_else(|| LinkError::Foreign(format!("there is no state {}", byte.cast_signed())))
    }

    /// The next state, within `limit`.
    pub(crate) async fn state_within(&mut self, limit: Duration) -> Result<State, LinkError> {
        timeout(limit, self.state()).await.map_err(|_| LinkError::Silent(limit))?
    }

    /// The numbers after a refusal.
    pub(crate) async fn server_error(&mut self, limit: Duration) -> Result<ServerError, LinkError> {
        let mut bytes = [0; 8];
        timeout(limit, self.stream.read_exact(&mut bytes)).await.map_err(|_| LinkError::Silent(limit))??;
        Ok(ServerError::from_bytes(bytes))
    }

    /// The next frame of at most `most` bytes, within `limit`.
    pub(crate) async fn frame(&mut self, most: u32, limit: Duration) -> Result<Vec<u8>, LinkError> {
        let read = async {
            let mut head = [0; 4];
            self.stream.read_exact(&mut head).await?;
            let length = length(head, most).map_err(|error| LinkError::Foreign(error.to_string()))?;
            // Memory grows with what arrives, not with what is announced.
            let mut text = Vec::new();
            let read = (&mut self.stream).take(length as u64).read_to_end(&mut text).await?;
            if read < length { Err(LinkError::Closed) } else { Ok(text) }
        };
        timeout(limit, read).await.map_err(|_| LinkError::Silent(limit))?
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        timeout(WRITE_TIME, self.stream.write_all(bytes)).await.map_err(|_| LinkError::NotReading)??;
        Ok(())
    }

    /// Sends a state.
    pub(crate) async fn send(&mut self, state: State) -> Result<(), LinkError> {
        self.write(&[state.to_byte()]).await
    }

    /// Sends raw bytes: a cookie.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        self.write(bytes).await
    }

    /// Sends a frame.
    pub(crate) async fn send_frame(&mut self, json: &str) -> Result<(), LinkError> {
        self.write(&frame(json)).await
    }

    /// Refuses the test, and closes the connection when the peer has read so.
    pub(crate) async fn refuse(mut self, error: ServerError) {
        let [a, b, c, d, e, f, g, h] = error.to_bytes();
        self.part(&[State::ServerError.to_byte(), a, b, c, d, e, f, g, h]).await;
    }

    /// Takes no test at present.
    pub(crate) async fn deny(mut self) {
        self.part(&[State::AccessDenied.to_byte()]).await;
    }

    async fn part(&mut self, last: &[u8]) {
        let (time, most) = PARTING;
        let leave = async {
            self.stream.write_all(last).await?;
            self.stream.shutdown().await?;
            // Closing with unread bytes would reset the connection, and the reason with it.
            let mut rest = (&mut self.stream).take(most as u64);
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
        };
        let _ = timeout(time, leave).await;
    }
}
