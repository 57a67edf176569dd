//! What the TLS connections of a client have in common.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::fault::Fault;
use super::session::Session;
use super::{SettingsError, certificates, provider, reason};

/// Servers whose sessions are remembered, for each worker: there is one, and room for its tickets.
const SESSIONS: usize = 32;

/// Whom a client trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The authorities that this host trusts.
    System,
    /// Those in a PEM file.
    File(PathBuf),
    /// Those in a PEM text.
    Pem(String),
    /// Everybody: certificates prove nothing.
    Everybody,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Whom to trust.
    pub trust: Trust,
    /// Name that the server is to prove, and is told (SNI, RFC 6066); an address is not told.
    pub server_name: String,
    /// Protocol that is offered (ALPN, RFC 7301), such as `http/1.1`.
    pub protocol: &'static str,
    /// True: later connections take up the session of an earlier one, when the server permits.
    pub resume: bool,
}

/// Settings of a client.
#[derive(Debug, Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    options: ClientOptions,
}

impl ClientTls {
    /// Reads the certificates of those who are trusted.
    ///
    /// # Errors
    /// The file or name that cannot be used.
    pub fn new(options: ClientOptions) -> Result<Self, SettingsError> {
        let name = ServerName::try_from(options.server_name.clone())
            .map_err(|_| SettingsError::Name(options.server_name.clone()))?;
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let mut config = match &options.trust {
            Trust::Everybody => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(NoProof(provider)))
                .with_no_client_auth(),
            trusted => builder.with_root_certificates(authorities(trusted)?).with_no_client_auth(),
        };
        config.alpn_protocols = vec![options.protocol.as_bytes().to_vec()];
        Ok(Self { config: Arc::new(config), name, options })
    }

    /// The same settings with sessions of their own to take up.
    #[must_use]
    pub fn apart(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = if self.options.resume {
            Resumption::in_memory_sessions(SESSIONS)
        } else {
            Resumption::disabled()
        };
        Self { config: Arc::new(config), name: self.name.clone(), options: self.options.clone() }
    }

    /// What was asked for.
    pub fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// A new connection, whose first bytes are to be sent.
    ///
    /// # Errors
    /// Settings that exclude each other.
    pub fn connect(&self) -> Result<Session, Fault> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        Ok(Session::new(connection.into()))
    }
}

fn authorities(trust: &Trust) -> Result<RootCertStore, SettingsError> {
    let mut store = RootCertStore::empty();
    match trust {
        Trust::File(path) => {
            const WHAT: &str = "certificates of authorities (--ca)";
            for certificate in certificates(WHAT, path)? {
                store.add(certificate).map_err(|error| SettingsError::File {
                    what: WHAT,
                    path: path.display().to_string(),
                    reason: error.to_string(),
                })?;
            }
        }
        Trust::Pem(text) => {
            let refused =
                |reason: String| SettingsError::Text { what: "certificates of authorities", reason };
            for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
                let certificate = certificate.map_err(|error| refused(reason(&error)))?;
                store.add(certificate).map_err(|error| refused(error.to_string()))?;
            }
            if store.is_empty() {
                return Err(refused("there is none in them (PEM, BEGIN CERTIFICATE)".to_owned()));
            }
        }
        Trust::System => {
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = store.add_parsable_certificates(found.certs);
            if added == 0 {
                let reason = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
                return Err(SettingsError::NoAuthorities { reason });
            }
        }
        Trust::Everybody => {}
    }
    Ok(store)
}

/// Accepts every certificate. That the server has its key is still proven.
#[derive(Debug)]
struct NoProof(Arc<CryptoProvider>);

impl ServerCertVerifier for NoProof {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
