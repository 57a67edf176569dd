//! Certificates, and servers of TLS that misbehave.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// An authority, and a server's certificate from it, in files.
pub struct Certificates {
    directory: tempfile::TempDir,
}

impl Certificates {
    /// For a name or address; valid, or expired since 2021.
    pub fn of(name: &str, expired: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut authority = CertificateParams::new([]).unwrap();
        authority.distinguished_name.push(DnType::CommonName, format!("authority of {name}"));
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = authority.self_signed(&key).unwrap();
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        let issuer = Issuer::new(authority, key);
        let mut own = CertificateParams::new([name.to_owned()]).unwrap();
        if expired {
            (own.not_before, own.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        let certificate = own.signed_by(&key, &issuer).unwrap();
        std::fs::write(directory.path().join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(directory.path().join("key.pem"), key.serialize_pem()).unwrap();
        Self { directory }
    }

    /// `ca.pem`, `cert.pem` or `key.pem`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn config(&self) -> Arc<ServerConfig> {
        let chain = vec![CertificateDer::from_pem_file(self.file("cert.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(self.file("key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap())
    }
}

pub type TlsStream = StreamOwned<ServerConnection, TcpStream>;

/// What a server does on its connections.
#[derive(Clone, Copy)]
pub enum Deed {
    /// Before TLS begins.
    Instead(fn(&mut TcpStream)),
    /// After a request, in place of a response.
    Answer(fn(&mut TlsStream)),
}

/// A server whose first connections are in order, and that does something else on the others.
pub struct Odd {
    pub port: u16,
}

impl Odd {
    pub fn start(certificates: &Certificates, in_order: u32, deed: Deed) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = certificates.config();
        let count = Arc::new(AtomicU32::new(0));
        // It ends with the test program.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (config, number) = (Arc::clone(&config), count.fetch_add(1, Ordering::SeqCst));
                std::thread::spawn(move || match deed {
                    Deed::Instead(act) if number >= in_order => act(&mut stream),
                    Deed::Answer(act) if number >= in_order => serve(stream, config, act),
                    _ => serve(stream, config, answer),
                });
            }
        });
        Self { port }
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.port)
    }
}

fn answer(stream: &mut TlsStream) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let _ = stream.flush();
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, act: fn(&mut TlsStream)) {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut seen = Vec::new();
    let mut room = [0; 4096];
    while let Ok(bytes @ 1..) = stream.read(&mut room) {
        seen.extend_from_slice(&room[..bytes]);
        if seen.ends_with(b"\r\n\r\n") {
            seen.clear();
            act(&mut stream);
        }
    }
    stream.conn.send_close_notify();
    let _ = stream.flush();
}
