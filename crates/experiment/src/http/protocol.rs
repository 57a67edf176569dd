//! How requests are sent: HTTP/1.1 or HTTP/2, as it is or by TLS.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A protocol of requests. The names of HTTP/2 are those of its registry (RFC 9113, section 3.1, and RFC 7540).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HttpProtocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/1.1 by TLS.
    Https,
    /// HTTP/2 without TLS, which clients know that servers speak.
    H2c,
    /// HTTP/2 by TLS.
    H2,
}

impl HttpProtocol {
    /// True by TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::H2)
    }

    /// True for HTTP/2, whose connections have several requests under way at the same time.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::H2c | Self::H2)
    }

    /// True for what is meant when nothing is said.
    pub(super) fn is_usual(&self) -> bool {
        *self == Self::Http
    }
}

impl fmt::Display for HttpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::H2 => "h2",
        })
    }
}
