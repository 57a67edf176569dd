//! An agent's streams in a trial, and the engine that moves them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::StreamsSpec;
use crate::http::HttpDoor;

/// Streams of an agent in a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamsWork {
    /// Key of the trial, the same at all of its agents and another one in each trial.
    pub key: StreamKey,
    /// Tag in the probes of datagrams.
    pub tag: u16,
    /// The paths that begin or end at the agent.
    pub paths: Vec<PathWork>,
}

/// One end of a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathWork {
    /// Number of the path, the same at both ends and unique in the trial.
    pub path: u32,
    /// How this end gets the streams.
    pub side: PathSide,
    /// True at the end that sends.
    pub sends: bool,
    /// The streams.
    pub streams: StreamsSpec,
    /// The other end's raw monotonic clock less this one's, in nanoseconds; 0 for the same clock.
    #[serde(default)]
    pub peer_ahead_ns: i64,
}

/// How an end of a path gets its streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathSide {
    /// It opens them.
    Connect {
        /// Address of the other agent's engine.
        to: SocketAddr,
        /// Local address; absent: the kernel's choice.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<IpAddr>,
        /// Interface; absent: the kernel's choice.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interface: Option<String>,
    },
    /// The other end opens them.
    Accept {
        /// Address of this engine that the other end uses.
        at: SocketAddr,
        /// Address from which the other end connects, where an interface is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<IpAddr>,
        /// Interface through which what answers must leave; absent: the kernel's choice.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interface: Option<String>,
    },
}

/// Secret of a trial by which its streams are known: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamKey(pub [u8; 16]);

/// Error: the text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key has 32 hexadecimal digits")]
pub struct KeyError;

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKey(…)")
    }
}

impl FromStr for StreamKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let digits = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| digits).ok_or(KeyError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl TryFrom<String> for StreamKey {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<StreamKey> for String {
    fn from(key: StreamKey) -> String {
        format!("{:032x}", u128::from_be_bytes(key.0))
    }
}

/// Engine that moves streams through the kernel's sockets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsEngine {
    /// Addresses at which the engine accepts streams, TCP and UDP.
    pub listen: Vec<SocketAddr>,
    /// Number of worker threads.
    pub workers: u32,
    /// CPUs that the engine may use.
    pub cpus: Vec<u32>,
    /// Congestion control of new connections; null when unknown.
    pub congestion: Option<String>,
    /// Interfaces of the agent's network namespace.
    pub interfaces: Vec<Interface>,
    /// Most file descriptors that the agent may have; null without a limit.
    pub descriptors: Option<u64>,
    /// Where the engine answers HTTP requests; absent where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpDoor>,
}

/// Network interface of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Largest IP packet, in bytes; null when unknown.
    pub mtu: Option<u32>,
    /// True when it is up.
    pub up: bool,
    /// Speed in Mbit/s; null where the kernel does not report.
    pub speed_mbps: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hexadecimal_digits_and_stay_secret() {
        let text = "000102030405060708090a0b0c0d0eff";
        let key: StreamKey = text.parse().unwrap();
        assert_eq!((key.0[1], key.0[15], String::from(key)), (1, 255, text.to_owned()));
        assert!(!format!("{key:?}").contains("0a0b"));
        for bad in ["", "00", "g".repeat(32).as_str(), "+00102030405060708090a0b0c0d0eff"] {
            assert!(bad.parse::<StreamKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sides_have_a_stable_form() {
        let connect =
            PathSide::Connect { to: "10.0.0.2:22023".parse().unwrap(), from: None, interface: None };
        assert_eq!(serde_json::to_string(&connect).unwrap(), r#"{"connect":{"to":"10.0.0.2:22023"}}"#);
        let accept: PathSide = serde_json::from_str(r#"{"accept":{"at":"[::1]:5"}}"#).unwrap();
        let at = "[::1]:5".parse().unwrap();
        assert_eq!(accept, PathSide::Accept { at, from: None, interface: None });
        assert_eq!(serde_json::to_string(&accept).unwrap(), r#"{"accept":{"at":"[::1]:5"}}"#);
    }
}
