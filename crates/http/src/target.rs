//! URLs of requests.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use http::Uri;
use linerate_traffic::url::shown;

/// Where requests go, and what they ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// True for `https`.
    pub tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path and query, beginning with a slash.
    pub path: String,
}

/// Error: a URL that requests cannot be sent to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{url}' is not a URL such as http://10.0.0.1:8080/path: {reason}")]
pub struct TargetError {
    url: String,
    reason: String,
}

impl FromStr for Target {
    type Err = TargetError;

    /// Reads `http://HOST[:PORT][/PATH][?QUERY]`, or `https://`; without a scheme, `http`.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let error = |reason: &str| TargetError { url: shown(text), reason: reason.to_owned() };
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        // A fragment is the client's own matter (RFC 9110, section 4.2.5).
        let whole = whole.split('#').next().unwrap_or_default();
        let uri: Uri = whole.parse().map_err(|reason: http::uri::InvalidUri| error(&reason.to_string()))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(error("the scheme is neither http nor https")),
        };
        let authority = uri.authority().ok_or_else(|| error("there is no host"))?;
        if authority.as_str().contains('@') {
            return Err(error("it has a user; give a header Authorization instead"));
        }
        let host = match authority.host().strip_prefix('[') {
            Some(rest) => rest
                .strip_suffix(']')
                .filter(|inner| inner.parse::<Ipv6Addr>().is_ok())
                .ok_or_else(|| error("what stands in brackets is no IPv6 address"))?,
            None if authority.host().bytes().all(is_of_a_name) => authority.host(),
            None => return Err(error("its host has characters that no name or address has")),
        };
        let behind = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        if !behind.is_empty()
            && !behind.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
        {
            return Err(error("what stands behind its host is no port up to 65535"));
        }
        if host.is_empty() {
            return Err(error("there is no host"));
        }
        let host = host.to_owned();
        let port =
            match authority.port() {
                Some(port) => port.as_u16(),
                None if authority.as_str().ends_with(':') || authority.as_str() == authority.host() => {
                    if tls { 443 } else { 80 }
                }
                None => return Err(error("the port is not a number up to 65535")),
            };
        if port == 0 {
            return Err(error("no server listens on port 0"));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { tls, host, port, path })
    }
}

/// Bytes of names and IPv4 addresses (RFC 3986, section 2.3, unreserved).
fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

impl Target {
    /// Value of the header `Host`: the port is left out when it is the scheme's own.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written() {
        for (text, tls, host, port, path, written) in [
            ("http://10.0.0.1:8080/a?b=c#d", false, "10.0.0.1", 8080, "/a?b=c", "http://10.0.0.1:8080/a?b=c"),
            ("https://example.org", true, "example.org", 443, "/", "https://example.org/"),
            ("http://[fd77::2]:81/", false, "fd77::2", 81, "/", "http://[fd77::2]:81/"),
            ("backend.default.svc", false, "backend.default.svc", 80, "/", "http://backend.default.svc/"),
            ("10.0.0.1:9000", false, "10.0.0.1", 9000, "/", "http://10.0.0.1:9000/"),
            ("http://h?x=1", false, "h", 80, "/?x=1", "http://h/?x=1"),
        ] {
            let target: Target = text.parse().unwrap();
            let expected = Target { tls, host: host.to_owned(), port, path: path.to_owned() };
            assert_eq!(target, expected);
            assert_eq!(target.to_string(), written);
        }
    }

    #[test]
    fn refusals_name_the_url_and_the_reason() {
        for (text, part) in [
            ("ftp://h/", "neither http nor https"),
            ("http://h:99999/", "65535"),
            ("http://h:0/", "port 0"),
            ("[%]", "no IPv6 address"),
            ("JaC&[=:;];c:1/NG", "characters"),
            ("a:b:1", ""),
            ("http:///x", "is not a URL"),
            ("", "is not a URL"),
            ("http://a b/", "is not a URL"),
        ] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(text), "{text}: {error}");
        }
        for text in ["http://admin:hunter2@h/", "admin:hunter2@h", "http://admin:hunter/2@h"] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(!error.contains("admin") && !error.contains("hunter"), "{error}");
        }
        let error = "http://u:p@h:81/".parse::<Target>().unwrap_err().to_string();
        assert!(error.contains("'http://***@h:81/'") && error.contains("Authorization"), "{error}");
    }
}
