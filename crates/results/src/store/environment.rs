//! Environment of an experiment: `environment.json`, with the fields that RFC 8204 (section 3.3) and the
//! BMWG's considerations on containerized infrastructure ask for. It holds no secrets.

mod change;

use std::path::Path;

use linerate_experiment::secrets::{REMOVED, is_secret, text_without_secrets, word_without_secrets};
use linerate_wire::engine::FrameEngine;
use linerate_wire::host::HostInfo;
use linerate_wire::message::Welcome;
use linerate_wire::network::{NextHop, PortNetwork};
use linerate_wire::port::PortInfo;
use linerate_wire::time::TickRate;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::change::Changes;

use super::{StoreError, inner_path, read_json};
use crate::streams::StreamsAgentInfo;
use crate::summary::Versions;

/// File name, in the experiment's directory.
pub const ENVIRONMENT_FILE: &str = "environment.json";
/// Name of the file's schema.
pub const ENVIRONMENT_SCHEMA: &str = "linerate.dev/environment/v1alpha1";

/// A pod that an agent runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodPlace {
    /// Its name.
    pub name: String,
    /// Image of its container, as requested.
    pub image: Option<String>,
    /// Digest of the image, as the container runtime reports it.
    pub image_digest: Option<String>,
}

/// Environment of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// [`ENVIRONMENT_SCHEMA`].
    pub schema: String,
    /// The experiment's id.
    pub experiment: String,
    /// Versions of the programs.
    pub versions: Versions,
    /// Every machine of the last period's agents, once.
    pub nodes: Vec<NodeEnvironment>,
    /// The agents of the last period, in the order of the pairs, transmitter first.
    pub agents: Vec<AgentEnvironment>,
    /// The agents of the last period in an experiment of streams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams_agents: Vec<StreamsAgentInfo>,
    /// Periods of the experiment: one for each start or resumption, and one for each recovery of an agent in
    /// a different place. Trials name their period. Empty in older records, which have one period.
    #[serde(default)]
    pub periods: Vec<EnvironmentPeriod>,
    /// The experiment document in force: every option.
    pub options: Value,
}

/// A part of an experiment with the same environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnvironmentPeriod {
    /// Its number, from 0.
    pub number: u32,
    /// When the agents were connected, in UTC (RFC 3339); null if unknown.
    pub began_at: Option<String>,
    /// Differences from the previous period, as text.
    pub changes: Vec<String>,
    /// Every machine of the agents, once.
    pub nodes: Vec<NodeEnvironment>,
    /// The agents, in the order of the pairs, transmitter first.
    pub agents: Vec<AgentEnvironment>,
    /// The agents in an experiment of streams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams_agents: Vec<StreamsAgentInfo>,
}

impl EnvironmentPeriod {
    /// The host's properties, if known.
    fn host(&self, node: &str) -> Option<&HostInfo> {
        self.nodes.iter().find(|known| known.node == node)?.host.as_ref()
    }
}

/// A machine that agents ran on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeEnvironment {
    /// Its name.
    #[serde(deserialize_with = "inner_path::name")]
    pub node: String,
    /// Processor, kernel, hugepages; null if the agents do not report them.
    pub host: Option<HostInfo>,
}

/// An agent, its port and its host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentEnvironment {
    /// Name, such as `tx0`.
    #[serde(deserialize_with = "inner_path::name")]
    pub name: String,
    /// The machine that it ran on.
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
    /// Its DPDK version.
    pub dpdk: String,
    /// Its command line.
    pub command_line: Vec<String>,
    /// Its worker lcores.
    pub lcores: Vec<u32>,
    /// True when packet memory is in hugepages.
    pub hugepages: bool,
    /// Counter of the probes' timestamps.
    pub clock_source: String,
    /// Measured frequency of the counter in Hz.
    pub tick_hz: u64,
    /// Reported and measured frequency of the counter; null in older records.
    #[serde(default)]
    pub tick_rate: Option<TickRate>,
    /// Device, driver, firmware, link and MTU.
    pub port: PortInfo,
    /// The port's addresses, and what answers for them; null if it has none.
    #[serde(default)]
    pub network: Option<PortNetwork>,
    /// Next hops on the way to the other agent of the pair, one for each IP version; empty if frames go to
    /// the peer's port as on a cable.
    #[serde(default)]
    pub next_hops: Vec<NextHop>,
}

impl AgentEnvironment {
    /// An agent's environment from its own report and its engine; secrets are removed from `command_line`.
    pub fn new(
        name: &str,
        node: &str,
        pod: Option<&PodPlace>,
        command_line: &[String],
        welcome: &Welcome,
        engine: &FrameEngine,
    ) -> Self {
        let Welcome { agent, clock, .. } = welcome;
        let FrameEngine { dpdk, port, lcores, no_huge, network } = engine;
        Self {
            name: name.to_owned(),
            node: node.to_owned(),
            pod: pod.map(|pod| pod.name.clone()),
            image: pod.and_then(|pod| pod.image.clone()),
            image_digest: pod.and_then(|pod| pod.image_digest.clone()),
            version: agent.clone(),
            dpdk: dpdk.clone(),
            command_line: words_without_secrets(command_line.iter().map(String::as_str)),
            lcores: lcores.clone(),
            hugepages: !no_huge,
            clock_source: clock.source.clone(),
            tick_hz: clock.tick_hz,
            tick_rate: clock.rate,
            port: port.clone(),
            network: network.clone(),
            next_hops: Vec::new(),
        }
    }
}

impl Environment {
    /// An experiment's environment without agents.
    pub fn new(experiment: &str, versions: Versions, options: Value) -> Self {
        Self {
            schema: ENVIRONMENT_SCHEMA.to_owned(),
            experiment: experiment.to_owned(),
            versions,
            nodes: Vec::new(),
            agents: Vec::new(),
            streams_agents: Vec::new(),
            periods: Vec::new(),
            options: value_without_secrets(options),
        }
    }

    /// Adds an agent, and its machine if that is new.
    pub fn add(&mut self, agent: AgentEnvironment, host: Option<&HostInfo>) {
        self.add_node(&agent.node, host);
        self.agents.push(agent);
    }

    /// Adds an agent of streams, and its machine if that is new.
    pub fn add_of_streams(&mut self, agent: StreamsAgentInfo, host: Option<&HostInfo>) {
        self.add_node(&agent.node, host);
        self.streams_agents.push(agent);
    }

    fn add_node(&mut self, node: &str, host: Option<&HostInfo>) {
        if self.nodes.iter().all(|known| known.node != node) {
            let host = host.map(|host| HostInfo {
                kernel_command_line: host.kernel_command_line.as_deref().map(without_secrets),
                ..host.clone()
            });
            self.nodes.push(NodeEnvironment { node: node.to_owned(), host });
        }
    }

    /// The agent of this name.
    pub fn agent(&self, name: &str) -> Option<&AgentEnvironment> {
        self.agents.iter().find(|agent| agent.name == name)
    }

    /// Removes the agents and machines of the last period, before those of the next are added.
    pub fn clear_agents(&mut self) {
        self.nodes.clear();
        self.agents.clear();
        self.streams_agents.clear();
    }

    /// The current agents and machines as the period of this number.
    pub fn period(&self, number: u32) -> EnvironmentPeriod {
        EnvironmentPeriod {
            number,
            began_at: None,
            changes: Vec::new(),
            nodes: self.nodes.clone(),
            agents: self.agents.clone(),
            streams_agents: self.streams_agents.clone(),
        }
    }

    /// The environment with the agents and machines of the period of this number.
    #[must_use]
    pub fn of_period(mut self, number: u32) -> Self {
        if let Some(period) = self.periods.iter().find(|period| period.number == number) {
            (self.nodes, self.agents) = (period.nodes.clone(), period.agents.clone());
            self.streams_agents.clone_from(&period.streams_agents);
        }
        self
    }

    /// Reads the environment of the experiment in `directory`; `None` when none was recorded.
    ///
    /// # Errors
    /// When it exists and cannot be read.
    pub fn read(directory: &Path) -> Result<Option<Self>, StoreError> {
        read_json(directory, ENVIRONMENT_FILE)
    }
}

/// A command line without the values of options and variables named token, secret or password.
pub fn without_secrets(line: &str) -> String {
    words_without_secrets(line.split(' ')).join(" ")
}

/// The words of a command line, likewise.
pub fn words_without_secrets<'w>(words: impl Iterator<Item = &'w str>) -> Vec<String> {
    let mut next_is_secret = false;
    words
        .map(|word| match word.split_once('=') {
            _ if std::mem::take(&mut next_is_secret) => REMOVED.to_owned(),
            Some(_) => word_without_secrets(word),
            None => {
                next_is_secret = word.starts_with('-') && is_secret(word);
                word.to_owned()
            }
        })
        .collect()
}

fn value_without_secrets(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| {
                    let kept = if is_secret(&name) { REMOVED.into() } else { value_without_secrets(value) };
                    (name, kept)
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(value_without_secrets).collect()),
        Value::String(text) => Value::String(text_without_secrets(&text)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_left_out() {
        for (line, kept) in [
            ("quiet hugepages=8 luks.password=abc", "quiet hugepages=8 luks.password=[removed]"),
            ("agent --token abc --txd 8", "agent --token [removed] --txd 8"),
            ("agent --token-file /run/token", "agent --token-file /run/token"),
            ("API_KEY=1", "API_KEY=[removed]"),
            (
                "agent --vdev net_memif0,role=client,secret=a,b,socket=/run/s --secret=a,b=c",
                "agent --vdev net_memif0,role=client,secret=[removed],socket=/run/s --secret=[removed]",
            ),
        ] {
            assert_eq!(without_secrets(line), kept);
        }
        let value =
            serde_json::json!({ "spec": { "pairs": 1, "adminPassword": "x", "tx": "net_memif0,secret=x" } });
        assert_eq!(
            value_without_secrets(value),
            serde_json::json!({
                "spec": { "pairs": 1, "adminPassword": "[removed]", "tx": "net_memif0,secret=[removed]" }
            })
        );
        let document = "devices:\n- tx: \"net_memif0,secret=x\"\n  rx: net_memif1,secret=y,id=1\n";
        assert_eq!(
            text_without_secrets(document),
            "devices:\n- tx: \"net_memif0,secret=[removed]\"\n  rx: net_memif1,secret=[removed],id=1\n"
        );
    }
}
