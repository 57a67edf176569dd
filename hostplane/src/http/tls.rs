//! What a result says of TLS. Pure.

use std::collections::BTreeMap;

use linerate_http::tls::client::Trust;
use linerate_http::tls::session::Agreed;
use serde::Serialize;

use super::counters::HttpCounters;
use super::spec::HttpSpec;

/// TLS of a trial. Handshakes are those of all connections; what was agreed on is that of the first one.
#[derive(Debug, Serialize)]
pub(crate) struct TlsPart {
    /// Such as `TLSv1.3`; null when no handshake was completed.
    pub(crate) version: Option<String>,
    pub(crate) cipher: Option<String>,
    /// Protocol that the server chose (ALPN); null: it chose none.
    pub(crate) protocol: Option<String>,
    /// Name that the server had to prove, and was told if it is no address.
    pub(crate) server_name: String,
    /// True: nothing was proven, because every certificate was accepted.
    pub(crate) insecure: bool,
    /// File of the authorities that were trusted; null: those of the host, or everybody.
    pub(crate) ca: Option<String>,
    /// Whether later connections could take up the session of an earlier one.
    pub(crate) resumption: bool,
    /// Handshakes that were completed, and those of them that took up an earlier session.
    pub(crate) handshakes: u64,
    pub(crate) resumed: u64,
    /// Handshakes that failed, by kind.
    pub(crate) handshakes_failed: BTreeMap<&'static str, u64>,
    /// Bytes on the wire: handshakes and what encryption adds included.
    pub(crate) wire_written_bytes: u64,
    pub(crate) wire_read_bytes: u64,
}

impl TlsPart {
    /// `None` without TLS.
    pub(crate) fn of(
        spec: &HttpSpec,
        counters: &HttpCounters,
        agreed: Option<Agreed>,
        handshakes_failed: BTreeMap<&'static str, u64>,
    ) -> Option<Self> {
        let options = spec.tls.as_ref()?.options();
        let (version, cipher, protocol) = match agreed {
            Some(agreed) => (Some(agreed.version), Some(agreed.cipher), agreed.protocol),
            None => (None, None, None),
        };
        Some(Self {
            version,
            cipher,
            protocol,
            server_name: options.server_name.clone(),
            insecure: options.trust == Trust::Everybody,
            ca: match &options.trust {
                Trust::File(path) => Some(path.display().to_string()),
                Trust::Pem(_) | Trust::System | Trust::Everybody => None,
            },
            resumption: options.resume,
            handshakes: counters.handshakes,
            resumed: counters.resumed,
            handshakes_failed,
            wire_written_bytes: counters.wire_written_bytes,
            wire_read_bytes: counters.wire_read_bytes,
        })
    }

    /// In one line.
    pub(crate) fn words(&self) -> String {
        let agreed = match (&self.version, &self.cipher) {
            (Some(version), Some(cipher)) => format!("{version}, {cipher}, "),
            _ => String::new(),
        };
        let failed: Vec<String> =
            self.handshakes_failed.iter().map(|(kind, count)| format!(", {kind} {count}")).collect();
        let proof = if self.insecure { "; the server proved nothing (--insecure)" } else { "" };
        format!(
            "{agreed}{} handshakes, {} of them resumed{}{proof}",
            self.handshakes,
            self.resumed,
            failed.concat()
        )
    }
}
