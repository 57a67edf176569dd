//! TLS without I/O: bytes of the wire in and out, by rustls.
//!
//! [`client::ClientTls`] and [`server::ServerTls`] are settings that many connections have in common. A
//! [`session::Session`] is one end of one connection. A [`fault::Fault`] says why one cannot go on.

pub mod client;
pub mod fault;
pub mod server;
pub mod session;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// Error: certificates or keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file of certificates or keys.
    #[error("{what} {path}: {reason}")]
    File {
        /// What it was to contain.
        what: &'static str,
        /// The file.
        path: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// A text of certificates.
    #[error("{what}: {reason}")]
    Text {
        /// What it was to contain.
        what: &'static str,
        /// Why it cannot be used.
        reason: String,
    },
    /// This host trusts nobody.
    #[error(
        "this host has no certificates of authorities{reason}\n  remedy: install them (Debian: ca-certificates), or give the server's authority (--ca FILE)"
    )]
    NoAuthorities {
        /// What failed while they were read; empty: nothing did.
        reason: String,
    },
    /// Not a name or an address.
    #[error("'{0}' is no name or address of a server")]
    Name(String),
    /// What rustls says.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Certificates in a PEM file.
fn certificates(
    what: &'static str,
    path: &std::path::Path,
) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, SettingsError> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let refused = |reason: String| SettingsError::File { what, path: path.display().to_string(), reason };
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| refused(reason(&error)))?;
    if found.is_empty() {
        return Err(refused("there is no certificate in it (PEM, BEGIN CERTIFICATE)".to_owned()));
    }
    Ok(found)
}

fn reason(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
