//! Dialling: opens a connection to an agent, and opens it again after a loss.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A connection to an agent.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoConnection {
    /// Another attempt may succeed.
    Failed(String),
    /// Another attempt would be refused as well. The text names what refuses, and the remedy.
    Refused(String),
}

/// A connection that is being opened.
pub type Dialling<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Stream>, NoConnection>> + Send + 'a>>;

/// Opens connections to one agent. `Display` gives the address for messages.
pub trait Dial: fmt::Display + Send + Sync {
    /// For how long the first connection may be refused.
    fn time_limit(&self) -> Duration;

    /// Opens a connection.
    fn dial(&self) -> Dialling<'_>;
}

/// Shared handle that opens connections to one agent.
#[derive(Clone)]
pub struct Dialer(Arc<dyn Dial>);

impl Dialer {
    /// A dialler that uses `dial`.
    pub fn new(dial: impl Dial + 'static) -> Self {
        Self(Arc::new(dial))
    }

    /// A dialler for an agent that listens on this machine.
    pub fn tcp(address: SocketAddr) -> Self {
        Self::new(Tcp(address))
    }

    /// For how long the first connection may be refused.
    pub fn time_limit(&self) -> Duration {
        self.0.time_limit()
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn dial(&self) -> Result<Box<dyn Stream>, NoConnection> {
        self.0.dial().await
    }
}

impl fmt::Display for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialer({self})")
    }
}

/// An agent of this machine. It reported that it listens, so it accepts the first connection.
struct Tcp(SocketAddr);

impl Dial for Tcp {
    fn time_limit(&self) -> Duration {
        Duration::ZERO
    }

    fn dial(&self) -> Dialling<'_> {
        Box::pin(async {
            let failed = |error: std::io::Error| NoConnection::Failed(error.to_string());
            let stream = TcpStream::connect(self.0).await.map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

impl fmt::Display for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
