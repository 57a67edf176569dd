//! Why a TLS connection cannot go on.

use std::fmt;

use rustls::{CertificateError, Error};

/// Kind of a fault, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultKind {
    /// The certificate's issuer is not trusted.
    UnknownIssuer,
    /// The certificate has expired, or is not valid yet.
    Expired,
    /// The certificate is for other names.
    Name,
    /// Something else is wrong with the certificate.
    Certificate,
    /// The peer gave up with an alert.
    Alert,
    /// What came is not TLS, or breaks its rules.
    Protocol,
    /// The connection ended within the handshake.
    Closed,
    /// The handshake did not end in time.
    Timeout,
}

impl FaultKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [FaultKind; 8] = [
        FaultKind::UnknownIssuer,
        FaultKind::Expired,
        FaultKind::Name,
        FaultKind::Certificate,
        FaultKind::Alert,
        FaultKind::Protocol,
        FaultKind::Closed,
        FaultKind::Timeout,
    ];

    /// As in results.
    pub fn word(self) -> &'static str {
        match self {
            FaultKind::UnknownIssuer => "tls_unknown_issuer",
            FaultKind::Expired => "tls_expired",
            FaultKind::Name => "tls_name",
            FaultKind::Certificate => "tls_certificate",
            FaultKind::Alert => "tls_alert",
            FaultKind::Protocol => "tls_protocol",
            FaultKind::Closed => "tls_closed",
            FaultKind::Timeout => "tls_timeout",
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            FaultKind::UnknownIssuer => {
                "give the certificate of the server's authority (--ca FILE), or do without proof (--insecure)"
            }
            FaultKind::Expired => {
                "renew the server's certificate, see whether this host's clock is right (date), or do without proof (--insecure)"
            }
            FaultKind::Name => {
                "use a name of the certificate, in the URL or with --tls-server-name, or do without proof (--insecure)"
            }
            FaultKind::Certificate => {
                "see the server's certificate (openssl s_client) and whether the one given (--ca) is its authority's, or do without proof (--insecure)"
            }
            FaultKind::Alert => {
                "see the server's log: it refuses this client, for example its versions, its server name (--tls-server-name) or its lack of a certificate"
            }
            FaultKind::Protocol => {
                "see whether the server speaks TLS on this port; without TLS the URL begins with http://"
            }
            FaultKind::Closed => "see the server's log, and whether it speaks TLS on this port",
            FaultKind::Timeout => {
                "see whether the server speaks TLS on this port, or give it more time (--timeout)"
            }
        }
    }
}

/// A fault in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its kind.
    pub kind: FaultKind,
    words: String,
}

impl Fault {
    /// A fault that is not one of rustls.
    pub fn new(kind: FaultKind, words: impl Into<String>) -> Self {
        Self { kind, words: words.into() }
    }

    /// The connection ended within the handshake.
    pub fn closed() -> Self {
        Self::new(FaultKind::Closed, "the server closed the connection within the TLS handshake")
    }

    /// The time limit was reached within the handshake.
    pub fn timed_out() -> Self {
        Self::new(FaultKind::Timeout, "the TLS handshake did not end in time")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        use CertificateError as Bad;
        let kind = match &error {
            Error::InvalidCertificate(Bad::UnknownIssuer) => FaultKind::UnknownIssuer,
            Error::InvalidCertificate(
                Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. },
            ) => FaultKind::Expired,
            Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
                FaultKind::Name
            }
            Error::InvalidCertificate(_)
            | Error::NoCertificatesPresented
            | Error::InvalidCertRevocationList(_) => FaultKind::Certificate,
            Error::AlertReceived(_) => FaultKind::Alert,
            _ => FaultKind::Protocol,
        };
        let words = match (&error, kind) {
            (Error::InvalidMessage(_), _) => format!("what came is not TLS: {error}"),
            (_, FaultKind::Alert) => format!("the server ended TLS: {error}"),
            _ => error.to_string(),
        };
        Self { kind, words }
    }
}
