//! Ways to an agent that listens on a loopback address: this machine's, or a pod's through the API server.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::platform::kubernetes::error::{explain, is_refusal};

/// A connection to an agent.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoConnection {
    /// Another attempt may succeed.
    Failed(String),
    /// The API server refuses the port-forward, in its own words: another attempt is refused, too.
    Refused(String),
}

impl NoConnection {
    fn by(error: &kube::Error) -> Self {
        let reason = explain(error);
        if is_refusal(error) { Self::Refused(reason) } else { Self::Failed(reason) }
    }
}

/// How an agent is reached, again if need be.
#[derive(Clone)]
pub enum Dialer {
    /// It listens on this machine.
    Tcp(SocketAddr),
    /// It listens in a pod; the API server forwards the port.
    PortForward {
        /// The pods of its namespace.
        pods: Box<Api<Pod>>,
        /// Its pod.
        pod: String,
        /// Its port on the pod's loopback address.
        port: u16,
    },
}

impl Dialer {
    /// For how long a first connection may be refused: an agent of this machine has said that it listens, a pod only that it runs.
    pub fn patience(&self) -> Duration {
        match self {
            Dialer::Tcp(_) => Duration::ZERO,
            Dialer::PortForward { .. } => Duration::from_secs(60),
        }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn dial(&self) -> Result<Box<dyn Stream>, NoConnection> {
        match self {
            Dialer::Tcp(address) => {
                let failed = |error: std::io::Error| NoConnection::Failed(error.to_string());
                let stream = TcpStream::connect(address).await.map_err(failed)?;
                stream.set_nodelay(true).map_err(failed)?;
                Ok(Box::new(stream))
            }
            Dialer::PortForward { pods, pod, port } => {
                let forwarder = pods.portforward(pod, &[*port]).await;
                let mut forwarder = forwarder.map_err(|error| NoConnection::by(&error))?;
                let no_port = || NoConnection::Failed("the API server forwards no such port".to_owned());
                let stream = forwarder.take_stream(*port).ok_or_else(no_port)?;
                // The forwarder's task lives as long as its stream.
                Ok(Box::new(stream))
            }
        }
    }
}

impl fmt::Display for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dialer::Tcp(address) => address.fmt(f),
            Dialer::PortForward { pod, port, .. } => {
                write!(f, "pod {pod}, port {port}, through the API server")
            }
        }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialer({self})")
    }
}
