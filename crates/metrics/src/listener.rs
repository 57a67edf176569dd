//! HTTP server for `GET /metrics` only.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::text::{Form, render};

/// Path of the metrics.
const PATH: &str = "/metrics";
/// Most scrapers connected at once.
const SCRAPERS: usize = 16;
/// Time limit for a request to arrive.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// Longest life of a connection; Prometheus opens a new one when its own was closed.
const CONNECTION_TIME: Duration = Duration::from_secs(600);
/// Pause after a failed accept, most likely for lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Network exposure of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// This machine only.
    Loopback,
    /// Any host that can reach the address.
    Anyone,
}

/// Error: metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The address can be reached from a network.
    #[error("--metrics {0} is not a loopback address; anyone who reaches it could read the metrics{1}")]
    NotLoopback(SocketAddr, &'static str),
    /// The address cannot be bound.
    #[error(
        "cannot serve metrics on {address}: {reason}; give a free address of this machine with --metrics"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Reason.
        reason: io::Error,
    },
}

/// A listener on its bound address.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
}

impl Listener {
    /// Checks `address` against `exposure` without opening a socket. `remedy` ends the refusal's sentence.
    ///
    /// # Errors
    /// When the address is not loopback but the exposure is.
    pub fn check(address: SocketAddr, exposure: Exposure, remedy: &'static str) -> Result<(), MetricsError> {
        if exposure == Exposure::Loopback && !address.ip().is_loopback() {
            return Err(MetricsError::NotLoopback(address, remedy));
        }
        Ok(())
    }

    /// Listens on `address`; port 0 selects a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr) -> Result<Self, MetricsError> {
        let listener =
            TcpListener::bind(address).await.map_err(|reason| MetricsError::Listen { address, reason })?;
        Ok(Self { listener })
    }

    /// The bound address.
    ///
    /// # Errors
    /// When the system does not report it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until it is dropped.
    pub async fn serve(self, registry: Arc<Registry>) {
        let places = Arc::new(Semaphore::new(SCRAPERS));
        loop {
            match (self.listener.accept().await, Arc::clone(&places).try_acquire_owned()) {
                (Ok((stream, _)), Ok(place)) => {
                    let registry = Arc::clone(&registry);
                    tokio::spawn(async move {
                        connection(stream, registry).await;
                        drop(place);
                    });
                }
                (Ok(_), Err(_)) => {}
                (Err(error), _) => {
                    tracing::warn!(%error, "a scraper's connection could not be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, registry: Arc<Registry>) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &accept(&request), &registry);
        async { Ok::<_, Infallible>(response) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .serve_connection(TokioIo::new(stream), service);
    // A scraper that disconnects or does not speak HTTP is no error of this server.
    if let Ok(Err(error)) = timeout(CONNECTION_TIME, serving).await {
        tracing::debug!(%error, "a scraper's connection ended");
    }
}

fn accept(request: &Request<Incoming>) -> String {
    let values = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

fn respond(method: &Method, path: &str, accept: &str, registry: &Registry) -> Response<Full<Bytes>> {
    let plain = |status, text: &'static str| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response
    };
    if path != PATH {
        return plain(StatusCode::NOT_FOUND, "metrics are at /metrics\n");
    }
    if method != Method::GET && method != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "metrics can only be read\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let form = Form::accepted(accept);
    match render(registry, form) {
        Ok(text) => {
            let mut response = Response::new(Full::from(text));
            let content = HeaderValue::from_static(form.content_type());
            response.headers_mut().insert(CONTENT_TYPE, content);
            response
        }
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn only_metrics_are_served_and_only_to_readers() {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.address().unwrap();
        let serving = tokio::spawn(listener.serve(Arc::new(Registry::default())));
        for (request, status, part) in [
            (
                "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                "200 OK",
                "text/plain; version=0.0.4",
            ),
            (
                "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: application/openmetrics-text\r\n\r\n",
                "200 OK",
                "# EOF",
            ),
            ("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "404 Not Found", "/metrics"),
            (
                "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                "405 Method Not Allowed",
                "GET, HEAD",
            ),
            ("nonsense\r\n\r\n", "400 Bad Request", ""),
        ] {
            let answer = ask(address, request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(part), "{answer}");
        }
        serving.abort();
    }

    #[test]
    fn networks_are_served_only_on_request() {
        for (address, exposure, allowed) in [
            ("127.0.0.1:9464", Exposure::Loopback, true),
            ("[::1]:9464", Exposure::Loopback, true),
            ("0.0.0.0:9464", Exposure::Loopback, false),
            ("192.0.2.1:9464", Exposure::Loopback, false),
            ("0.0.0.0:9464", Exposure::Anyone, true),
        ] {
            let checked = Listener::check(address.parse().unwrap(), exposure, "");
            assert_eq!(checked.is_ok(), allowed, "{address}");
        }
    }
}
