//! What requests are sent to: backends, a balancer in front of them, or a URL of the user's.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use linerate_traffic::url::shown;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::PlatformKind;

/// Characters of a label from which on it is shortened: a name of a file has 255 bytes, and the rest of a profile's name has about 75.
const MOST_LABEL: usize = 180;
/// Characters of a longer one that are kept, and those of a hash of the whole.
const KEPT_LABEL: usize = 80;
const HASH_CHARS: usize = 8;

/// What requests are sent to: `direct` (`pod` is the same), on platform local `nftables-random`, `nftables-inc`, `ipvs-rr`, `ipvs-wrr`,
/// `ipvs-lc`, `ipvs-sh` or `haproxy`, on platform kubernetes `cluster-ip` or `node-port`, or a URL such as `http://192.0.2.1:8080/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum HttpTarget {
    /// The backends themselves: connections are dealt out over their addresses.
    Direct,
    /// DNAT of nftables, which gives each new connection to a random backend.
    NftablesRandom,
    /// DNAT of nftables, which gives new connections to the backends in turn.
    NftablesInc,
    /// The kernel's IP Virtual Server.
    Ipvs(IpvsScheduler),
    /// haproxy, which gives each request to the next backend.
    Haproxy,
    /// The cluster's address of a Service of Kubernetes.
    ClusterIp,
    /// The port of a Service of Kubernetes at the node of the first backend.
    NodePort,
    /// Servers or a balancer that the user runs.
    Url(Url),
}

/// How IPVS chooses the backend of a new connection; the names are ipvsadm's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpvsScheduler {
    /// The next one.
    RoundRobin,
    /// The next one; a backend of weight N gets N of them in each round. The weights of a run are 1, 2, 3 and again from 1.
    WeightedRoundRobin,
    /// The one with the fewest connections.
    LeastConnections,
    /// By a hash of the client's address.
    SourceHash,
}

impl IpvsScheduler {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::RoundRobin, Self::WeightedRoundRobin, Self::LeastConnections, Self::SourceHash];

    /// ipvsadm's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "rr",
            Self::WeightedRoundRobin => "wrr",
            Self::LeastConnections => "lc",
            Self::SourceHash => "sh",
        }
    }

    /// Weight of the backend with this number, from 0.
    pub fn weight(self, backend: usize) -> usize {
        if self == Self::WeightedRoundRobin { backend % 3 + 1 } else { 1 }
    }
}

/// An `http` or `https` URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    /// Host and port as written.
    host: String,
    /// True for `https`.
    tls: bool,
    /// Port; by default the scheme's.
    port: u16,
    /// Path, which begins with a slash.
    path: String,
}

impl HttpTarget {
    /// True when backends are started for it.
    pub fn has_backends(&self) -> bool {
        !matches!(self, HttpTarget::Url(_))
    }

    /// True when it is a balancer in the kernel, which needs network namespaces.
    pub fn needs_namespaces(&self) -> bool {
        matches!(self, HttpTarget::NftablesRandom | HttpTarget::NftablesInc | HttpTarget::Ipvs(_))
    }

    /// True when it is a Service of Kubernetes, which the run makes.
    pub fn is_service(&self) -> bool {
        matches!(self, HttpTarget::ClusterIp | HttpTarget::NodePort)
    }

    /// True when this platform has it.
    pub fn runs_on(&self, platform: PlatformKind) -> bool {
        match self {
            HttpTarget::Direct | HttpTarget::Url(_) => true,
            HttpTarget::ClusterIp | HttpTarget::NodePort => platform == PlatformKind::Kubernetes,
            HttpTarget::NftablesRandom
            | HttpTarget::NftablesInc
            | HttpTarget::Ipvs(_)
            | HttpTarget::Haproxy => platform == PlatformKind::Local,
        }
    }

    /// True when it is meant to give every backend as many connections or requests.
    pub fn is_even(&self) -> bool {
        !matches!(self, HttpTarget::Ipvs(IpvsScheduler::WeightedRoundRobin | IpvsScheduler::SourceHash))
    }

    /// True when a client reaches every backend through it.
    pub fn reaches_all(&self) -> bool {
        !matches!(self, HttpTarget::Ipvs(IpvsScheduler::SourceHash))
    }

    /// True when a balancer stands before the backends.
    pub fn is_balancer(&self) -> bool {
        !matches!(self, HttpTarget::Direct)
    }

    /// The target in a name of a profile.
    pub fn label(&self) -> String {
        match self {
            HttpTarget::Url(url) => {
                let plain = |one: char| if one.is_ascii_alphanumeric() || one == '.' { one } else { '-' };
                let path = url.path.trim_matches('/');
                let text =
                    if path.is_empty() { url.authority() } else { format!("{}-{path}", url.authority()) };
                short(text.chars().map(plain).collect())
            }
            other => other.to_string(),
        }
    }
}

/// A label that can stand in a name of a file: the end of a long one is replaced by a hash of the whole.
fn short(label: String) -> String {
    let Some(begin) = label.get(..KEPT_LABEL).filter(|_| label.len() > MOST_LABEL) else {
        return label;
    };
    // FNV-1a: the same in every version.
    let hash =
        label.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{begin}-{hash:0HASH_CHARS$x}")
}

impl fmt::Display for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpTarget::Direct => f.write_str("direct"),
            HttpTarget::NftablesRandom => f.write_str("nftables-random"),
            HttpTarget::NftablesInc => f.write_str("nftables-inc"),
            HttpTarget::Ipvs(scheduler) => write!(f, "ipvs-{}", scheduler.name()),
            HttpTarget::Haproxy => f.write_str("haproxy"),
            HttpTarget::ClusterIp => f.write_str("cluster-ip"),
            HttpTarget::NodePort => f.write_str("node-port"),
            HttpTarget::Url(url) => url.fmt(f),
        }
    }
}

impl TryFrom<String> for HttpTarget {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let ipvs = text.strip_prefix("ipvs-");
        if let Some(scheduler) = IpvsScheduler::ALL.into_iter().find(|one| ipvs == Some(one.name())) {
            return Ok(Self::Ipvs(scheduler));
        }
        Ok(match text.as_str() {
            "direct" | "pod" => Self::Direct,
            "nftables" | "nftables-random" => Self::NftablesRandom,
            "nftables-inc" => Self::NftablesInc,
            "haproxy" => Self::Haproxy,
            "cluster-ip" => Self::ClusterIp,
            "node-port" => Self::NodePort,
            url if url.contains("://") => Self::Url(Url::parse(url)?),
            _ => {
                return Err(format!(
                    "'{}' is no target; give direct, nftables-random, nftables-inc, ipvs-rr, ipvs-wrr, ipvs-lc, ipvs-sh, haproxy, cluster-ip, \
                     node-port, or a URL such as http://192.0.2.1:8080/",
                    shown(&text)
                ));
            }
        })
    }
}

impl From<HttpTarget> for String {
    fn from(target: HttpTarget) -> String {
        target.to_string()
    }
}

impl Url {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            |why: &str| Err(format!("'{}' is no target: {why}; write http://HOST:PORT/PATH", shown(text)));
        let plain = text.strip_prefix("http://").map(|rest| (false, rest));
        let Some((tls, rest)) = plain.or_else(|| Some((true, text.strip_prefix("https://")?))) else {
            return wrong("only http and https URLs can be measured");
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return wrong("users and passwords are not sent");
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => match port.parse() {
                Ok(port) if port > 0 => (host, port),
                _ => return wrong("its port is not a number from 1 to 65535"),
            },
            _ => (authority, usual_port(tls)),
        };
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@');
        if !plain(path) || path.contains('#') {
            return wrong("it has characters that cannot stand in a request");
        }
        let is_host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok()),
            // Unreserved characters of RFC 3986.
            None => {
                !host.is_empty()
                    && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
            }
        };
        if !is_host {
            return wrong("it has no host that is a name, an IPv4 address, or an IPv6 address in brackets");
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { host: host.to_owned(), tls, port, path: format!("{slash}{path}") })
    }

    /// Name or address of the host, without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    /// True for `https`.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path of the request.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The address, when the host is one; names have addresses only where they are resolved.
    pub fn address(&self) -> Option<SocketAddr> {
        self.host().parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, self.port))
    }

    /// Value of the header `Host`.
    pub fn authority(&self) -> String {
        match self.port {
            port if port == usual_port(self.tls) => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }
}

fn usual_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_named() {
        for (text, shown, label) in [
            ("direct", "direct", "direct"),
            ("pod", "direct", "direct"),
            ("cluster-ip", "cluster-ip", "cluster-ip"),
            ("node-port", "node-port", "node-port"),
            ("nftables", "nftables-random", "nftables-random"),
            ("ipvs-sh", "ipvs-sh", "ipvs-sh"),
            ("http://10.254.0.10", "http://10.254.0.10/", "10.254.0.10"),
            ("http://192.168.0.111:8888/", "http://192.168.0.111:8888/", "192.168.0.111-8888"),
            ("http://[fd00::1]:81/a/b", "http://[fd00::1]:81/a/b", "-fd00--1--81-a-b"),
            ("http://web:80/x", "http://web/x", "web-x"),
            ("http://h?x=1", "http://h/?x=1", "h--x-1"),
            ("http://a_b/", "http://a_b/", "a-b"),
            ("https://h:443/", "https://h/", "h"),
            ("https://h:80/", "https://h:80/", "h-80"),
        ] {
            let target = HttpTarget::try_from(text.to_owned()).unwrap();
            assert_eq!((target.to_string().as_str(), target.label().as_str()), (shown, label), "{text}");
        }
        let HttpTarget::Url(url) = HttpTarget::try_from("http://[fd00::1]:81/".to_owned()).unwrap() else {
            panic!("no URL");
        };
        assert_eq!(url.address(), Some("[fd00::1]:81".parse().unwrap()));
    }

    #[test]
    fn long_paths_have_short_labels_of_their_own() {
        let label =
            |end: &str| HttpTarget::try_from(format!("http://h/{}{end}", "a".repeat(300))).unwrap().label();
        assert_eq!(label("x").len(), KEPT_LABEL + 1 + HASH_CHARS);
        assert_ne!(label("x"), label("y"));
        let as_written = HttpTarget::try_from(format!("http://h/{}", "a".repeat(150))).unwrap().label();
        assert_eq!(as_written.len(), 152);
    }

    #[test]
    fn other_texts_are_refused_with_a_remedy() {
        for text in [
            "ipvs",
            "ipvs-dh",
            "ftp://a/",
            "http://",
            "http://a:0/",
            "http://a:x/",
            "http://fd00::1/",
            "http://[fd00::1/",
            "http://a%b/",
            "http://h?a#b",
            "http://a/ b",
        ] {
            let problem = HttpTarget::try_from(text.to_owned()).unwrap_err();
            assert!(problem.contains(text) && problem.contains("http://"), "{problem}");
        }
        for text in ["http://admin:hunter2@h/", "ftp://admin:hunter2@h/", "https://admin:hunter/2@h"] {
            let problem = HttpTarget::try_from(text.to_owned()).unwrap_err();
            assert!(problem.contains("://***@h") && !problem.contains("hunter"), "{problem}");
        }
    }
}
