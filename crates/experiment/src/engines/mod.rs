//! `spec.engines`: the same traffic on several ways, one after the other, so that results say what each way costs. Pure.
//!
//! An experiment of engines has a part for each of them with each number of cores, which is an experiment of its own: same profiles, its own
//! agents. Parts share nothing but the document, the trials' names and the results' directory.

mod plan;
#[cfg(test)]
mod tests;

use linerate_traffic::profile::{Field, IpVersion, Profile, Protocol, Variation};
use linerate_traffic::rate::Rate;
use linerate_wire::streams::{Load, Protocol as StreamsProtocol, SocketOptions, StreamsSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

pub use plan::{EnginesPlan, PartTrials, PlannedPart};

use crate::agents::{AgentsSection, Workers, WorkersSection};
use crate::direction::Direction;
use crate::document::{Device, DevicePair, Document, LocalNetwork, PlatformKind, Spec, Traffic, unplaced};
use crate::kubernetes::{LinkKind, PlacementRule};
use crate::streams::{FramesAsStreams, StreamsProfile};
use crate::{Experiment, Wrong, not_empty};

/// Interface of agents in namespaces of their own.
pub const NAMESPACE_INTERFACE: &str = "net0";
/// Ethernet header, frame check sequence, IPv4 and UDP headers.
const V4_HEADER_BYTES: u32 = 46;
/// Ethernet header, frame check sequence, IPv6 and UDP headers.
const V6_HEADER_BYTES: u32 = 66;

/// A way for packets from one agent to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EngineName {
    /// DPDK on both ends of shared memory: no kernel on the way.
    Memif,
    /// DPDK on the devices of `spec.local.devices`, such as VFs.
    Devices,
    /// DPDK on AF_XDP sockets of a kernel interface.
    AfXdp,
    /// DPDK on packet sockets of a kernel interface.
    AfPacket,
    /// UDP sockets: the whole IP stack of the kernel.
    Sockets,
}

impl EngineName {
    /// The name used in documents and results.
    pub fn name(self) -> &'static str {
        match self {
            EngineName::Memif => "memif",
            EngineName::Devices => "devices",
            EngineName::AfXdp => "af_xdp",
            EngineName::AfPacket => "af_packet",
            EngineName::Sockets => "sockets",
        }
    }

    /// True when agents of this machine are in network namespaces of their own, joined by a bridge.
    pub fn needs_namespaces(self) -> bool {
        matches!(self, EngineName::AfXdp | EngineName::AfPacket | EngineName::Sockets)
    }

    /// True when packets pass the network stack of a kernel, or a part of it.
    pub fn is_of_kernel(self) -> bool {
        self.needs_namespaces()
    }

    /// The link between its pods; `None` for sockets, whose pods have none of their own.
    pub(crate) fn link(self) -> Option<LinkKind> {
        match self {
            EngineName::Memif => Some(LinkKind::Memif),
            EngineName::Devices => Some(LinkKind::Device),
            EngineName::AfXdp => Some(LinkKind::AfXdp),
            EngineName::AfPacket => Some(LinkKind::AfPacket),
            EngineName::Sockets => None,
        }
    }

    /// The engine that an experiment without a list has.
    fn usual(spec: &Spec) -> Self {
        match (spec.platform, spec.kubernetes.link.kind) {
            (PlatformKind::Local, _) if spec.local.devices.is_some() => EngineName::Devices,
            (PlatformKind::Local, _) | (PlatformKind::Kubernetes, LinkKind::Memif) => EngineName::Memif,
            (PlatformKind::Kubernetes, LinkKind::Device) => EngineName::Devices,
            (PlatformKind::Kubernetes, LinkKind::AfPacket) => EngineName::AfPacket,
            (PlatformKind::Kubernetes, LinkKind::AfXdp) => EngineName::AfXdp,
        }
    }

    /// The devices of a pair in namespaces; `None` for other engines.
    fn devices(self, agents: &AgentsSection) -> Option<DevicePair> {
        let device = match self {
            EngineName::AfPacket => {
                let queues = agents.workers.tx.get_u32().max(agents.workers.rx.get_u32());
                let frames = agents.rxd.get_u32().max(agents.txd.get_u32()).next_power_of_two();
                format!("net_af_packet0,iface={NAMESPACE_INTERFACE},qpairs={queues},framecnt={frames}")
            }
            EngineName::AfXdp => format!("net_af_xdp0,iface={NAMESPACE_INTERFACE}"),
            EngineName::Memif | EngineName::Devices | EngineName::Sockets => return None,
        };
        let device = Device::Virtual(device);
        Some(DevicePair { tx: device.clone(), rx: device })
    }
}

impl std::fmt::Display for EngineName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What carries a trial: an engine with a number of cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carrier {
    /// The engine.
    pub engine: EngineName,
    /// Worker lcores asked for, of each agent. Fewer may send, for instance when there are fewer flows.
    pub cores: u32,
}

/// A part of an experiment of engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnginePart {
    /// Its engine.
    pub engine: EngineName,
    /// Worker lcores of each of its agents, where the document lists several numbers.
    pub cores: Option<Workers>,
    /// IP version of its profiles.
    pub version: IpVersion,
    /// Its place among the parts, from 0, which numbers its agents: those of the second part are `tx1` and `rx1`.
    pub number: usize,
}

impl Experiment {
    /// The parts of an experiment of engines, in the order of the list; none in other experiments.
    pub fn parts(&self) -> Vec<Experiment> {
        let spec = &self.document.spec;
        let engines = spec.engines.as_ref().filter(|_| self.part.is_none());
        let engines = engines.into_iter().flat_map(|engines| engines.value.iter().copied());
        let cores = match &spec.cores {
            Some(cores) => cores.value.iter().copied().map(Some).collect(),
            None => vec![None],
        };
        let version = self.profiles.first().map_or(IpVersion::V4, |profile| profile.shape().version);
        let parts = engines.flat_map(|engine| cores.iter().map(move |cores| (engine, *cores)));
        parts
            .enumerate()
            .map(|(number, (engine, cores))| self.of_part(EnginePart { engine, cores, version, number }))
            .collect()
    }

    fn of_part(&self, part: EnginePart) -> Experiment {
        let mut of_part = self.clone();
        let EnginePart { engine, cores, .. } = part;
        of_part.part = Some(part);
        let spec = &mut of_part.document.spec;
        // A trial's key does not depend on the other engines of the list.
        spec.engines = Some(unplaced(vec![engine]));
        if let Some(cores) = cores {
            spec.cores = Some(unplaced(vec![cores]));
            spec.agents.workers = WorkersSection { tx: cores, rx: cores };
        }
        let workers = spec.agents.workers.tx.get_u32();
        match spec.platform {
            PlatformKind::Local if engine == EngineName::Devices => {}
            PlatformKind::Local => {
                let devices = engine.devices(&spec.agents);
                spec.local.devices = devices.map(|devices| unplaced(vec![devices]));
            }
            PlatformKind::Kubernetes => spec.kubernetes.of_engine(engine),
        }
        if engine == EngineName::Sockets {
            let duration_ms = self.limit().duration_ms;
            // Profiles that datagrams cannot carry were refused when the document was read.
            of_part.streams = self
                .profiles
                .iter()
                .filter_map(|profile| {
                    let spec = datagrams(profile, duration_ms).ok()?;
                    let (profile_name, frame_size) = (profile.name(), profile.frame_sizes().clone());
                    let frames = Some(FramesAsStreams { profile: profile_name, frame_size, workers });
                    Some(StreamsProfile {
                        name: of_part.profile_name(profile),
                        rate: profile.rate(),
                        spec,
                        frames,
                    })
                })
                .collect();
            of_part.profiles.clear();
        }
        of_part
    }

    /// The engine of a part; `None` in other experiments.
    pub fn engine(&self) -> Option<EngineName> {
        self.part.map(|part| part.engine)
    }

    /// The engine of a part with its workers; `None` in other experiments.
    pub(crate) fn carrier(&self) -> Option<Carrier> {
        let cores = self.document.spec.agents.workers.tx.get_u32();
        self.engine().map(|engine| Carrier { engine, cores })
    }

    /// True when the experiment compares engines.
    pub fn is_of_engines(&self) -> bool {
        self.document.spec.engines.is_some() && self.part.is_none()
    }

    /// Name of a profile's trials, under which results are filed.
    pub(crate) fn profile_name(&self, profile: &Profile) -> String {
        match self.part {
            Some(EnginePart { engine, cores: None, .. }) => format!("{}_{engine}", profile.name()),
            Some(EnginePart { engine, cores: Some(cores), .. }) => {
                format!("{}_{}_cores_{engine}", profile.name(), cores.get())
            }
            None => profile.name(),
        }
    }
}

/// Refuses fields that do not go with a list of engines, and fills in the field that differs between flows.
pub(crate) fn prepare(document: &mut Document) -> Result<(), Wrong> {
    let spec = &mut document.spec;
    if let Some(cores) = &spec.cores {
        let list = not_empty("spec.cores", cores)?;
        let mut seen = std::collections::BTreeSet::new();
        if let Some(twice) = list.iter().find(|number| !seen.insert(number.get())) {
            return Err((cores.referenced, format!("spec.cores: {} stands twice; remove one", twice.get())));
        }
        if spec.agents.workers != WorkersSection::default() {
            let problem = "spec.agents.workers: given beside spec.cores, which lists the numbers of workers; remove one of them";
            return Err((cores.referenced, problem.to_owned()));
        }
        if spec.engines.is_none() {
            spec.engines = Some(Spanned::new(vec![EngineName::usual(spec)], cores.referenced, cores.defined));
            // It is the engine's.
            spec.kubernetes.link.kind = LinkKind::default();
        }
    }
    let Some(engines) = &spec.engines else { return Ok(()) };
    let place = engines.referenced;
    let list = not_empty("spec.engines", engines)?;
    let mut seen = std::collections::BTreeSet::new();
    if let Some(twice) = list.iter().find(|engine| !seen.insert(**engine)) {
        return Err((place, format!("spec.engines: {twice} stands twice; remove one")));
    }
    let has = |engine: EngineName| list.contains(&engine);
    let in_namespaces = list.iter().any(|engine| engine.needs_namespaces());
    let on_kubernetes = spec.platform == PlatformKind::Kubernetes;
    let of_frames = "engines carry the profiles of spec.traffic or spec.profiles; remove it";
    let refused = [
        ("spec.streams", spec.streams.is_some(), of_frames),
        ("spec.http", spec.http.is_some(), of_frames),
        ("spec.topology", spec.topology.is_some(), "engines carry frames between one pair; remove it"),
        ("spec.search", spec.search.is_some(), "engines are compared at the same loads; give rates"),
        ("spec.pairs", spec.pairs.0.get() != 1, "engines are compared on one pair; remove it"),
        ("spec.addresses", spec.addresses.is_some(), "each engine has addresses of its own; remove it"),
        ("spec.trial.packets", spec.trial.packets.is_some(), "trials end by time; give spec.trial.duration"),
        ("spec.trial.allFlows", spec.trial.all_flows, "sockets have no file of flows; remove it"),
        (
            "spec.trial.direction",
            spec.trial.direction != Direction::OneWay,
            "engines are compared one way; remove it",
        ),
        (
            "spec.kubernetes.link.kind",
            on_kubernetes && spec.kubernetes.link.kind != LinkKind::default(),
            "each engine has its own link; remove it",
        ),
        (
            "spec.kubernetes.keep",
            on_kubernetes && spec.kubernetes.keep,
            "each engine has pods of its own, one after the other; remove it",
        ),
        (
            "spec.kubernetes.placement",
            on_kubernetes
                && has(EngineName::Memif)
                && (spec.kubernetes.placement == PlacementRule::DifferentNodes
                    || list.len() > 1 && spec.kubernetes.placement != PlacementRule::SameNode),
            "memif joins pods of one node, and engines are compared between the same nodes; set it to sameNode, or take memif out",
        ),
        (
            "spec.local.network",
            !on_kubernetes && in_namespaces && spec.local.network == LocalNetwork::Loopback,
            "af_packet, af_xdp and sockets are compared in network namespaces; remove it",
        ),
        (
            "spec.local.devices",
            !on_kubernetes && spec.local.devices.is_some() && !has(EngineName::Devices),
            "and none of them uses the devices; add devices to the list",
        ),
    ];
    if let Some((field, _, why)) = refused.into_iter().find(|(_, given, _)| *given) {
        return Err((place, format!("{field}: given beside spec.engines; {why}")));
    }
    if !on_kubernetes && has(EngineName::Devices) && spec.local.devices.is_none() {
        let problem = "spec.engines: devices given without spec.local.devices; give the devices of the pair, or remove it";
        return Err((place, problem.to_owned()));
    }
    if spec.profiles.is_none() {
        let traffic = spec.traffic.get_or_insert_with(Traffic::default);
        if traffic.rates.is_none() {
            let problem = "spec.traffic.rates: missing beside spec.engines, whose ports report different link speeds, or none; give packets per second, such as [100kpps]";
            return Err((place, problem.to_owned()));
        }
        // Flows of sockets have one address and a port each.
        let has_flows = traffic.flows.value.iter().any(|flows| flows.value.get() > 1);
        if has_flows && traffic.flow_mode.is_none() && traffic.vary.is_empty() {
            traffic.vary.insert(Field::SourcePort, Variation::default());
        }
    }
    Ok(())
}

/// Refuses profiles that some of the engines cannot carry alike.
pub(crate) fn check_profiles(document: &Document, profiles: &[Profile]) -> Result<(), Wrong> {
    let Some(engines) = &document.spec.engines else { return Ok(()) };
    let first = profiles.first().map(|profile| profile.shape().version);
    for profile in profiles {
        let wrong =
            |why: &str| (engines.referenced, format!("spec.engines: profile {}: {why}", profile.name()));
        match profile.rate() {
            Rate::Percent(_) => {
                return Err(wrong(
                    "its rate is a share of a link's speed, and the engines' ports report different speeds, or none; give packets per second",
                ));
            }
            _ if !profile.raw().stages.is_empty() => {
                return Err(wrong("its load has stages; engines are compared at steady loads"));
            }
            _ => {}
        }
        if Some(profile.shape().version) != first {
            return Err(wrong(
                "others have another IP version, and namespaces have addresses of one; give it an experiment of its own",
            ));
        }
        let raw = profile.raw();
        if raw.source.written_ip().is_some() || raw.destination.written_ip().is_some() {
            return Err(wrong(
                "it names addresses, and each engine has its own; remove source.ip and destination.ip",
            ));
        }
        if engines.value.contains(&EngineName::Sockets) {
            datagrams(profile, None).map_err(|why| wrong(&why))?;
        }
    }
    Ok(())
}

/// The profile as datagrams of connected sockets, one for each flow, paced to the datagram.
///
/// # Errors
/// What sockets cannot do alike.
fn datagrams(profile: &Profile, duration_ms: Option<u64>) -> Result<StreamsSpec, String> {
    let raw = profile.raw();
    let shape = profile.shape();
    let other = "; take it out, or take sockets out of the list";
    if raw.protocol != Protocol::Udp {
        return Err(format!("sockets send UDP{other}"));
    }
    if raw.vlan.is_some() {
        return Err(format!("sockets send without VLAN tag{other}"));
    }
    if raw.burst > 1 {
        return Err(format!("sockets pace every datagram, and its bursts have {} packets{other}", raw.burst));
    }
    let mut fields = profile.sweeps().iter().map(|sweep| sweep.field).filter(|_| profile.flows() > 1);
    if let Some(field) = fields.find(|field| *field != Field::SourcePort) {
        return Err(format!(
            "flows of sockets differ in their source port, and its flows differ in {}; leave flowMode out, or give vary: {{sourcePort: {{}}}}",
            field.name()
        ));
    }
    let Some(size) = profile.frame_sizes().single() else {
        return Err(format!("sockets send one size of datagrams in a trial{other}"));
    };
    let headers = if shape.version == IpVersion::V6 { V6_HEADER_BYTES } else { V4_HEADER_BYTES };
    let pps =
        profile.rate().packets_per_second(profile.frame_sizes(), None).map_err(|error| error.to_string())?;
    let spec = StreamsSpec {
        protocol: StreamsProtocol::Udp,
        streams: profile.flows(),
        load: pps.map_or(Load::Max, Load::DatagramsPerSecond),
        duration_ms,
        bytes: None,
        block_bytes: size.bytes().saturating_sub(headers),
        sockets: SocketOptions { dscp: (raw.dscp > 0).then_some(raw.dscp), ..SocketOptions::default() },
    };
    spec.check().map_err(|error| format!("sockets: {error}{other}"))?;
    Ok(spec)
}
