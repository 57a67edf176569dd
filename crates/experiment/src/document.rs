//! The experiment document as written. Every omitted field has a working default.

use std::collections::BTreeMap;

use linerate_traffic::document::ApiVersion;
use linerate_traffic::profile::{
    Endpoint, Field, FlowMode, FrameSizes, Payload, Profile, Protocol, RawProfile, Variation, Vlan,
};
use linerate_traffic::rate::Rate;
use linerate_traffic::safety::Safety;
use linerate_wire::trial::Drain;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::{Location, Spanned};

use super::addresses::AddressPair;
use super::agents::{AgentsSection, Workers};
use super::direction::Direction;
use super::engines::EngineName;
use super::host_settings::HostSetting;
use super::http::HttpSection;
use super::kubernetes::KubernetesSection;
use super::name::Name;
use super::order::TrialOrder;
use super::ranged::{Ranged, SpanIn};
use super::search::SearchSection;
use super::streams::{StreamsSection, TopologySection};

const HOUR_MS: u64 = 3_600_000;
const MONTH_MS: u64 = 30 * 24 * HOUR_MS;

/// Number of flows of a profile.
pub type Flows = Ranged<1, 4_194_304>;
/// Sending time of a trial.
pub type TrialDuration = SpanIn<10, MONTH_MS>;
/// Interval of up to an hour, with a minimum that agents can keep.
pub type Interval = SpanIn<10, HOUR_MS>;

/// An experiment: what traffic to send, between how many pairs, for how long, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "Experiment")]
pub struct Document {
    /// Version of this document's form.
    pub api_version: ApiVersion,
    /// Kind of object.
    pub kind: Kind,
    /// Name of the experiment.
    #[serde(default)]
    pub metadata: Metadata,
    /// What to do.
    #[serde(default)]
    pub spec: Spec,
}

/// Kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// An experiment.
    Experiment,
}

/// Name of the experiment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Metadata {
    /// Lower-case letters, digits and dashes, as Kubernetes names objects.
    pub name: Name,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Spec {
    /// Where the agents run.
    pub platform: PlatformKind,
    /// Pairs of a transmitter and a receiver that are loaded at the same time.
    pub pairs: Pairs,
    /// A matrix of profiles: every frame size with every flow count and every rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// A list of profiles in place of `traffic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<RawProfile>>", length(min = 1))]
    pub profiles: Option<Spanned<Vec<Spanned<Profile>>>>,
    /// Ways for the same traffic, one after the other: results say what each of them costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<EngineName>>", length(min = 1))]
    pub engines: Option<Spanned<Vec<EngineName>>>,
    /// Numbers of worker lcores of each agent, one after the other, in place of `agents.workers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Workers>>", length(min = 1))]
    pub cores: Option<Spanned<Vec<Workers>>>,
    /// Addresses of the ports, one entry for each pair, where a kernel does not have them: VFs, memif. Left out: ports on the kernel's interfaces
    /// have those of the kernel, others none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<AddressPair>>", length(min = 1))]
    pub addresses: Option<Spanned<Vec<AddressPair>>>,
    /// TCP and UDP streams through the kernel's sockets, in place of `traffic` and `profiles`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<StreamsSection>,
    /// The agents of an experiment of streams, and which of them send to which; pairs by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology: Option<TopologySection>,
    /// HTTP requests to load balancers and servers, in place of `traffic`, `profiles` and `streams`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSection>,
    /// Settings of hosts (RSS, RPS, RFS, XPS, interrupts, queues, rings, coalescing, governor): everything is run under each of them, one after
    /// the other, and they are restored at the end. `linerate run` asks for `--allow-host-changes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<HostSetting>>", length(min = 1))]
    pub host_settings: Option<Spanned<Vec<HostSetting>>>,
    /// A search for the highest load of each profile, in place of `traffic.rates`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchSection>,
    /// How each trial runs.
    pub trial: TrialSection,
    /// Ceilings on all trials.
    pub safety: Safety,
    /// Settings of every agent, on all platforms.
    pub agents: AgentsSection,
    /// Settings of the local platform.
    pub local: LocalSection,
    /// Settings of the Kubernetes platform.
    pub kubernetes: KubernetesSection,
}

/// Where the agents run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PlatformKind {
    /// Processes on this machine, joined by DPDK's memif.
    #[default]
    Local,
    /// Pods of a Kubernetes cluster.
    Kubernetes,
}

impl PlatformKind {
    /// The name used in documents.
    pub fn name(self) -> &'static str {
        match self {
            PlatformKind::Local => "local",
            PlatformKind::Kubernetes => "kubernetes",
        }
    }
}

/// Number of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Pairs(pub Ranged<1, 1000>);

impl Default for Pairs {
    fn default() -> Self {
        Self(Ranged::of::<1>())
    }
}

/// A matrix of profiles.
// The fields that it shares with `RawProfile` are listed twice on purpose: `serde(flatten)` would read them through a
// buffer, which loses the positions of values (`Spanned`), and excludes `deny_unknown_fields`, so that errors would name
// neither line nor known fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Traffic {
    /// Bytes of a frame, frame check sequence included: sizes and mixes.
    #[schemars(with = "Vec<FrameSizes>", length(min = 1))]
    pub frame_sizes: Spanned<Vec<FrameSizes>>,
    /// Numbers of flows.
    #[schemars(with = "Vec<Flows>", length(min = 1))]
    pub flows: Spanned<Vec<Spanned<Flows>>>,
    /// Which fields differ between the flows of a profile, by a short name; `s` when neither this nor `vary` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_mode: Option<FlowMode>,
    /// Fields that differ between flows, and how.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub vary: BTreeMap<Field, Variation>,
    /// Intended loads; 10 % of line rate by default. A search chooses them itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Rate>>", length(min = 1))]
    pub rates: Option<Spanned<Vec<Rate>>>,
    /// Packets per burst.
    #[schemars(range(min = 1, max = 65_536))]
    pub burst: u32,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Sender of the first flow.
    pub source: Endpoint,
    /// Receiver of the first flow.
    pub destination: Endpoint,
    /// VLAN tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
    /// Differentiated services code point: 0…63.
    #[schemars(range(max = 63))]
    pub dscp: u8,
    /// Time to live or hop limit: 1…255.
    #[schemars(range(min = 1))]
    pub ttl: u8,
    /// Payload behind the probe.
    pub payload: Payload,
}

impl Traffic {
    /// The profile of one place in the matrix.
    pub(super) fn profile(&self, frame_size: &FrameSizes, flows: u32, rate: Rate) -> RawProfile {
        RawProfile {
            frame_size: Some(frame_size.clone()),
            flows,
            flow_mode: self.flow_mode,
            vary: self.vary.clone(),
            rate: Some(rate),
            stages: Vec::new(),
            burst: self.burst,
            protocol: self.protocol,
            source: self.source,
            destination: self.destination,
            vlan: self.vlan,
            dscp: self.dscp,
            ttl: self.ttl,
            payload: self.payload.clone(),
        }
    }
}

impl Default for Traffic {
    fn default() -> Self {
        let profile = RawProfile::default();
        Self {
            frame_sizes: unplaced(vec![FrameSizes::default()]),
            flows: unplaced(vec![unplaced(Ranged::of::<1>())]),
            flow_mode: profile.flow_mode,
            vary: profile.vary,
            rates: None,
            burst: profile.burst,
            protocol: profile.protocol,
            source: profile.source,
            destination: profile.destination,
            vlan: profile.vlan,
            dscp: profile.dscp,
            ttl: profile.ttl,
            payload: profile.payload,
        }
    }
}

/// A value without a place in a document.
pub(super) fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Location::UNKNOWN, Location::UNKNOWN)
}

/// How each trial runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TrialSection {
    /// How long to send. Without `packets` it is 10s by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<TrialDuration>,
    /// How many packets to send; with `duration` too, the first to come ends the trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<Ranged<1, { u64::MAX }>>,
    /// How many times each profile is run.
    pub repeats: Ranged<1, 1000>,
    /// In what order the repeats are run.
    #[serde(skip_serializing_if = "TrialOrder::is_usual")]
    pub order: TrialOrder,
    /// Which ways packets go.
    pub direction: Direction,
    /// Whether the results of every flow are kept, in a file of each trial.
    pub all_flows: bool,
    /// Time between samples of the counters.
    pub sample_interval: Interval,
    /// Traffic of the first trial before it, so that the path is up and its delay is known.
    pub warm_up: WarmUpSection,
    /// End of receiving.
    pub drain: DrainSection,
    /// How often a trial is repeated in which an agent was lost; with 0 the run ends there.
    pub retries: Ranged<0, 100>,
    /// A transmitter whose controller has been silent for this long stops.
    pub orphan: SpanIn<100, HOUR_MS>,
}

impl Default for TrialSection {
    fn default() -> Self {
        Self {
            duration: None,
            packets: None,
            repeats: Ranged::of::<1>(),
            order: TrialOrder::default(),
            direction: Direction::default(),
            all_flows: false,
            sample_interval: SpanIn::of_millis::<1000>(),
            warm_up: WarmUpSection::default(),
            drain: DrainSection::default(),
            retries: Ranged::of::<2>(),
            orphan: SpanIn::of_millis::<5000>(),
        }
    }
}

/// Traffic before the first trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WarmUpSection {
    /// Packets per direction and attempt, at most; at a low rate an attempt ends after a second.
    pub packets: Ranged<1, 1_000_000>,
    /// Attempts go on until packets arrive, for this long at most. A path may take half of it.
    pub timeout: SpanIn<10, HOUR_MS>,
}

impl Default for WarmUpSection {
    fn default() -> Self {
        Self { packets: Ranged::of::<64>(), timeout: SpanIn::of_millis::<10_000>() }
    }
}

/// End of receiving.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DrainSection {
    /// An incomplete drain ends when nothing has arrived for this long since the last arrival: at least, for it grows to twice the largest delay of the path
    /// and to three times the mean time between packets.
    pub settle: SpanIn<1, HOUR_MS>,
    /// The end in any case; it grows to twice the settling time in force.
    pub limit: SpanIn<1, HOUR_MS>,
}

impl Default for DrainSection {
    fn default() -> Self {
        const DRAIN: Drain = Drain::OF_EXPERIMENTS;
        Self {
            settle: SpanIn::of_millis::<{ DRAIN.settle_ms as u64 }>(),
            limit: SpanIn::of_millis::<{ DRAIN.limit_ms as u64 }>(),
        }
    }
}

/// Settings of the local platform.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LocalSection {
    /// Network of the agents of streams and HTTP.
    #[serde(skip_serializing_if = "LocalNetwork::is_auto")]
    pub network: LocalNetwork,
    /// Whether packet memory is in hugepages.
    pub hugepages: Hugepages,
    /// Devices of the pairs, one entry each, in place of memif: ports of this machine that are joined by a cable, a switch or a bridge.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<DevicePair>>", length(min = 1))]
    pub devices: Option<Spanned<Vec<DevicePair>>>,
}

/// Network between agents of streams on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LocalNetwork {
    /// Namespaces for root, the loopback interface for other users.
    #[default]
    Auto,
    /// Addresses of the loopback interface.
    Loopback,
    /// A network namespace for each agent, joined by a bridge for each interface. Needs root.
    Namespaces,
}

impl LocalNetwork {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_auto(&self) -> bool {
        *self == LocalNetwork::Auto
    }
}

/// The devices of a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DevicePair {
    /// Of the transmitter.
    pub tx: Device,
    /// Of the receiver.
    pub rx: Device,
}

/// A device as EAL names it: a PCI address (`0000:03:02.0`), bound to vfio-pci, or a virtual device (`net_af_packet0,iface=eth1`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Device {
    /// PCI address.
    Pci(String),
    /// Virtual device with its arguments.
    Virtual(String),
}

impl TryFrom<String> for Device {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.starts_with("net_") {
            return Ok(Self::Virtual(text));
        }
        text.parse::<linerate_hardware::PciAddress>()
            .map(|address| Self::Pci(address.to_string()))
            .map_err(|_| {
                format!(
                    "'{text}' is neither a PCI address such as 0000:03:02.0 nor a virtual device such as net_af_packet0,iface=eth1"
                )
            })
    }
}

impl From<Device> for String {
    fn from(device: Device) -> String {
        match device {
            Device::Pci(text) | Device::Virtual(text) => text,
        }
    }
}

/// Whether packet memory is in hugepages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Hugepages {
    /// When enough are free.
    #[default]
    Auto,
    /// In ordinary memory.
    Never,
    /// In hugepages or not at all.
    Always,
}
