//! The HTTPS server of the stub's API, which can close all connections for a while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::api;
use super::state::State;

pub struct Server {
    pub address: SocketAddr,
    /// The certificate, in PEM form.
    pub certificate: String,
    acceptor: TlsAcceptor,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(state: Arc<State>) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(accept(listener, acceptor.clone(), state.clone()));
        Self { address, certificate: cert.pem(), acceptor, state, task }
    }

    /// Closes every connection and accepts none for a while, like a restarting server.
    pub async fn restart(&mut self, away: Duration) {
        self.task.abort();
        let _ = (&mut self.task).await;
        self.state.cut(|_| true);
        tokio::time::sleep(away).await;
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.task = tokio::spawn(accept(listener, self.acceptor.clone(), self.state.clone()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        self.state.cut(|_| true);
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        stream.set_nodelay(true).unwrap();
        let (acceptor, state) = (acceptor.clone(), state.clone());
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| api::serve(state.clone(), request));
            // The client may end a connection in any way.
            let _ =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
        while connections.try_join_next().is_some() {}
    }
}
