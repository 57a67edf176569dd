//! What an engine tells of its host.

use std::fs;
use std::net::SocketAddr;

use linerate_wire::http::HttpDoor;
use linerate_wire::streams::{Interface, StreamsEngine};
use rustix::process::{Resource, getrlimit};

use crate::streams::pool::allowed_cpus;
use crate::sys::interfaces::addresses;

/// The engine with these addresses and so many workers; `http` is where it answers requests.
pub(super) fn describe(listen: &[SocketAddr], workers: usize, http: Option<HttpDoor>) -> StreamsEngine {
    StreamsEngine {
        listen: listen.to_vec(),
        workers: workers as u32,
        cpus: allowed_cpus(),
        congestion: line("/proc/sys/net/ipv4/tcp_congestion_control"),
        interfaces: interfaces(),
        descriptors: getrlimit(Resource::Nofile).current,
        http,
    }
}

fn interfaces() -> Vec<Interface> {
    let found = addresses().inspect_err(|error| tracing::debug!(%error, "the interfaces are not known"));
    let of = |(name, addresses): (String, _)| {
        let file = |file: &str| line(&format!("/sys/class/net/{name}/{file}"));
        // An interface without a carrier that cannot have one, such as the loopback interface, is "unknown".
        let up = file("operstate").is_some_and(|state| state == "up" || state == "unknown");
        Interface {
            mtu: file("mtu").and_then(|mtu| mtu.parse().ok()),
            up,
            speed_mbps: file("speed").and_then(|speed| speed.parse().ok()),
            name,
            addresses,
        }
    };
    found.unwrap_or_default().into_iter().map(of).collect()
}

fn line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
