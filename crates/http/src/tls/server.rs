//! What the TLS connections of a server have in common.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::fault::Fault;
use super::session::Session;
use super::{SettingsError, certificates, provider, reason};

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// Reads a chain of certificates, the server's own first, and its key, as PEM.
    ///
    /// # Errors
    /// The file that cannot be used.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, SettingsError> {
        let chain = certificates("certificate (--tls-cert)", certificate)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| SettingsError::File {
            what: "key (--tls-key)",
            path: key.display().to_string(),
            reason: reason(&error),
        })?;
        Self::new(chain, key)
    }

    /// A certificate that was made for these names and addresses, signed with its own key; returns it as PEM,
    /// too: clients have to be given it.
    ///
    /// # Errors
    /// A name that no certificate can have.
    pub fn self_signed(names: &[String]) -> Result<(Self, String), SettingsError> {
        Self::self_signed_as(names.first().map_or("linerate", String::as_str), names)
    }

    /// The same, of a subject of this name: clients tell issuers by their names.
    ///
    /// # Errors
    /// A name that no certificate can have.
    pub fn self_signed_as(subject: &str, names: &[String]) -> Result<(Self, String), SettingsError> {
        let refused = |error: rcgen::Error| SettingsError::Name(format!("{} ({error})", names.join(", ")));
        let mut wanted = rcgen::CertificateParams::new(names).map_err(refused)?;
        wanted.distinguished_name.push(rcgen::DnType::CommonName, subject);
        let key = rcgen::KeyPair::generate().map_err(refused)?;
        let made = wanted.self_signed(&key).map_err(refused)?;
        let key = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|reason| SettingsError::Name(reason.to_owned()))?;
        Ok((Self::new(vec![made.der().clone()], key)?, made.pem()))
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, SettingsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        Ok(Self { config: Arc::new(config) })
    }

    /// A new connection.
    ///
    /// # Errors
    /// Settings that exclude each other.
    pub fn accept(&self) -> Result<Session, Fault> {
        Ok(Session::new(ServerConnection::new(Arc::clone(&self.config))?.into()))
    }
}
