//! An agent of an experiment of streams, in summary and environment.

use linerate_wire::message::Welcome;
use linerate_wire::streams::{Interface, StreamsEngine};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::environment::{PodPlace, words_without_secrets};
use crate::store::inner_path;

/// An agent of streams and where it ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamsAgentInfo {
    /// Its name, such as `a0`.
    #[serde(deserialize_with = "inner_path::name")]
    pub name: String,
    /// Host it ran on.
    #[serde(deserialize_with = "inner_path::name")]
    pub node: String,
    /// The pod that it ran in; null outside of Kubernetes.
    pub pod: Option<String>,
    /// Image of its container; null without one.
    pub image: Option<String>,
    /// Digest of the image, as the container runtime reports it; null without one.
    pub image_digest: Option<String>,
    /// Its program and version.
    pub version: String,
    /// How it was started; the token is not on the command line.
    pub command_line: Vec<String>,
    /// Addresses at which streams arrive.
    pub listen: Vec<String>,
    /// Number of worker threads.
    pub workers: u32,
    /// CPUs that it may use.
    pub cpus: Vec<u32>,
    /// Congestion control of its kernel; null when unknown.
    pub congestion: Option<String>,
    /// Most file descriptors that it may have; null without a limit.
    pub descriptors: Option<u64>,
    /// Interfaces of its network namespace.
    pub interfaces: Vec<StreamsInterface>,
}

/// A network interface of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamsInterface {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Largest IP packet in bytes; null when unknown.
    pub mtu: Option<u32>,
    /// Speed in Mbit/s; null where the kernel does not report it.
    pub speed_mbps: Option<u32>,
}

impl StreamsAgentInfo {
    /// An agent from its own description; secrets are removed from `command_line`.
    pub fn new(
        name: &str,
        node: &str,
        pod: Option<&PodPlace>,
        command_line: &[String],
        welcome: &Welcome,
        engine: &StreamsEngine,
    ) -> Self {
        let interface = |interface: &Interface| StreamsInterface {
            name: interface.name.clone(),
            addresses: interface.addresses.iter().map(ToString::to_string).collect(),
            mtu: interface.mtu,
            speed_mbps: interface.speed_mbps,
        };
        Self {
            name: name.to_owned(),
            node: node.to_owned(),
            pod: pod.map(|pod| pod.name.clone()),
            image: pod.and_then(|pod| pod.image.clone()),
            image_digest: pod.and_then(|pod| pod.image_digest.clone()),
            version: welcome.agent.clone(),
            command_line: words_without_secrets(command_line.iter().map(String::as_str)),
            listen: engine.listen.iter().map(ToString::to_string).collect(),
            workers: engine.workers,
            cpus: engine.cpus.clone(),
            congestion: engine.congestion.clone(),
            descriptors: engine.descriptors,
            interfaces: engine.interfaces.iter().map(interface).collect(),
        }
    }
}
