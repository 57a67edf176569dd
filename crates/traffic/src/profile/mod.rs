//! Description of traffic: frame headers, flows, the fields in which they differ, and the load.

mod addressed;
mod between;
mod check;
pub mod document;
pub mod error;
pub mod field;
pub mod mode;
pub mod payload;
pub mod shape;
pub mod stage;
#[cfg(test)]
mod tests;
pub mod vary;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::sizes::FrameSizes;
use crate::sizes::fingerprint;
pub use addressed::Addressed;
pub use document::ProfileDocument;
pub use error::ProfileError;
pub use field::Field;
pub use mode::FlowMode;
pub use payload::Payload;
pub use shape::{IpVersion, Protocol, Shape};
pub use stage::{Stage, StageRates};
pub use vary::{Sweep, Variation};

use crate::frame::FrameSize;
use crate::mac::MacAddr;
use crate::rate::{Rate, RateError};

/// Most flows of a profile.
pub const MAX_FLOWS: u32 = 1 << 22;
/// Most packets of a burst.
pub const MAX_BURST_PACKETS: u32 = 1 << 16;

/// One end of the flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// IPv4 or IPv6 address. Left out, or `0.0.0.0` or `::`: the address of the port at that end where it has one of that version, else
    /// 192.168.1.1 and 192.168.2.1, or 2001:2:0:1::1 and 2001:2:0:2::1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// UDP or TCP port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Ethernet address, in place of the port's own (source) or the peer's (destination).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
}

impl Endpoint {
    /// The address in the profile; `None` for the port's own.
    pub fn written_ip(&self) -> Option<IpAddr> {
        self.ip.filter(|ip| !ip.is_unspecified())
    }
}

/// Default UDP or TCP port of an end.
const DEFAULT_PORT: u16 = 1024;

fn default_port() -> u16 {
    DEFAULT_PORT
}

/// An IEEE 802.1Q tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vlan {
    /// Identifier: 1…4094.
    #[schemars(range(min = 1, max = 4094))]
    pub id: u16,
    /// Priority: 0…7.
    #[serde(default)]
    #[schemars(range(max = 7))]
    pub priority: u8,
}

/// A profile as it is written down: anything left out has its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Profile")]
pub struct RawProfile {
    /// Bytes of a frame, frame check sequence included: one size or a mix. Left out: the smallest that holds the headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_size: Option<FrameSizes>,
    /// Number of flows: 1…4194304.
    #[schemars(range(min = 1, max = 4_194_304))]
    pub flows: u32,
    /// Fields that differ between flows, by a short name; `s` when neither this nor `vary` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_mode: Option<FlowMode>,
    /// Fields that differ between flows, and how. They advance together, by one per flow; they do not multiply.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub vary: BTreeMap<Field, Variation>,
    /// Intended load; `10%` when neither this nor `stages` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Intended load over time; the load of the last stage continues after it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Stage>,
    /// Packets per burst; the average load is unchanged. 1…65536.
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

impl Default for RawProfile {
    fn default() -> Self {
        let end = Endpoint { ip: None, port: DEFAULT_PORT, mac: None };
        Self {
            frame_size: None,
            flows: 1,
            flow_mode: None,
            vary: BTreeMap::new(),
            rate: None,
            stages: Vec::new(),
            burst: 1,
            protocol: Protocol::Udp,
            source: end,
            destination: end,
            vlan: None,
            dscp: 0,
            ttl: 64,
            payload: Payload::Zeros,
        }
    }
}

impl RawProfile {
    /// IP version of the given addresses; 4 without addresses.
    pub fn ip_version(&self) -> IpVersion {
        self.source.ip.or(self.destination.ip).map_or(IpVersion::V4, IpVersion::of)
    }

    /// Source and destination address of the first flow, between ports without addresses.
    pub fn addresses(&self) -> (IpAddr, IpAddr) {
        let stand_in = |subnet: u16| match self.ip_version() {
            IpVersion::V4 => IpAddr::from(Ipv4Addr::new(192, 168, subnet as u8, 1)),
            // RFC 5180: the benchmarking network.
            IpVersion::V6 => Ipv6Addr::new(0x2001, 2, 0, subnet, 0, 0, 0, 1).into(),
        };
        let (source, destination) = (self.source.written_ip(), self.destination.written_ip());
        (source.unwrap_or_else(|| stand_in(1)), destination.unwrap_or_else(|| stand_in(2)))
    }

    /// The same profile with every address filled in.
    fn written_out(&self) -> Self {
        let (source, destination) = self.addresses();
        let mut raw = self.clone();
        (raw.source.ip, raw.destination.ip) = (Some(source), Some(destination));
        raw
    }
}

/// What traffic looks like, and how much of it is intended. Always valid: reading one checks it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawProfile", into = "RawProfile")]
#[schemars(with = "RawProfile")]
pub struct Profile {
    raw: RawProfile,
    frame_sizes: FrameSizes,
    shape: Shape,
    sweeps: Vec<Sweep>,
}

impl From<Profile> for RawProfile {
    fn from(profile: Profile) -> RawProfile {
        profile.raw
    }
}

impl TryFrom<RawProfile> for Profile {
    type Error = ProfileError;

    fn try_from(mut raw: RawProfile) -> Result<Self, ProfileError> {
        if raw.flow_mode.is_none() && raw.vary.is_empty() {
            raw.flow_mode = Some(FlowMode::default());
        }
        if raw.rate.is_none() && raw.stages.is_empty() {
            raw.rate = Some(Rate::Percent(10.0));
        }
        check::check_numbers(&raw)?;
        check::check_load(&raw)?;
        let shape = check::shape_of(&raw)?;
        let smallest = shape.smallest_frame_bytes();
        let sweeps = check::sweeps(&raw, shape)?;
        let frame_sizes = match raw.frame_size.clone() {
            Some(sizes) => sizes,
            None => FrameSize::new(smallest).unwrap_or(FrameSize::MIN_FRAME).into(),
        };
        let asked = frame_sizes.smallest().bytes();
        if asked < smallest {
            return Err(ProfileError::TooSmall { asked, headers: check::headers(shape), smallest });
        }
        raw.frame_size = Some(frame_sizes.clone());
        Ok(Self { raw, frame_sizes, shape, sweeps })
    }
}

impl Profile {
    /// Sizes of successive frames.
    pub fn frame_sizes(&self) -> &FrameSizes {
        &self.frame_sizes
    }

    /// Number of flows.
    pub fn flows(&self) -> u32 {
        self.raw.flows
    }

    /// The fields that differ between flows, with their values.
    pub fn sweeps(&self) -> &[Sweep] {
        &self.sweeps
    }

    /// Headers of the frames.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Packets per burst.
    pub fn burst(&self) -> u32 {
        self.raw.burst
    }

    /// The profile as written, with defaults filled in.
    pub fn raw(&self) -> &RawProfile {
        &self.raw
    }

    /// Intended load: the rate, or that of the first stage.
    pub fn rate(&self) -> Rate {
        self.raw.rate.or_else(|| self.raw.stages.first().map(|stage| stage.rate)).unwrap_or(Rate::Max)
    }

    /// The same traffic at another, steady load.
    pub fn with_rate(mut self, rate: Rate) -> Self {
        self.raw.rate = Some(rate);
        self.raw.stages.clear();
        self
    }

    /// The same traffic with a load that changes over time.
    pub fn with_stages(mut self, stages: Vec<Stage>) -> Self {
        self.raw.rate = None;
        self.raw.stages = stages;
        self
    }

    /// The load over time in packets per second, on a link of `link_bps` bit/s; `None` for [`Rate::Max`]. A
    /// steady load is one stage without end.
    ///
    /// # Errors
    /// When a percentage applies to a link that reports no speed.
    pub fn load(&self, link_bps: Option<u64>) -> Result<Option<Vec<StageRates>>, RateError> {
        let pps = |rate: Rate| rate.packets_per_second(&self.frame_sizes, link_bps);
        if self.raw.stages.is_empty() {
            let steady = |pps| vec![StageRates::steady(pps)];
            return Ok(pps(self.rate())?.map(steady));
        }
        let mut stages = Vec::with_capacity(self.raw.stages.len());
        for Stage { rate, to, duration } in &self.raw.stages {
            let (Some(from_per_s), Some(to_per_s)) = (pps(*rate)?, pps(to.unwrap_or(*rate))?) else {
                return Ok(None);
            };
            stages.push(StageRates { from_per_s, to_per_s, seconds: duration.0.as_secs_f64() });
        }
        Ok(Some(stages))
    }

    /// The value of a field that is not varied, common to all flows; `None` for an Ethernet address that only
    /// the port knows.
    pub fn constant(&self, field: Field) -> Option<u128> {
        field.base(&self.raw)
    }

    /// The value of a field in the headers of flow `flow`; `None` for an Ethernet address that only the port
    /// knows, or a value derived from it.
    pub fn value(&self, field: Field, flow: u32) -> Option<u128> {
        let bits = field.place(self.shape.version)?.bits;
        let Some(sweep) = self.sweeps.iter().find(|sweep| sweep.field == field) else {
            return self.constant(field);
        };
        Some(sweep.start?.wrapping_add(sweep.offset(flow)) & (u128::MAX >> (128 - bits)))
    }

    /// The first and the last destination address of the frames.
    pub fn destinations(&self) -> (IpAddr, IpAddr) {
        let version = self.shape.version;
        let sweep = self.sweeps.iter().find(|sweep| sweep.field == Field::DestinationIp);
        let start = sweep.and_then(|sweep| sweep.start).or(self.constant(Field::DestinationIp)).unwrap_or(0);
        let reach = sweep.and_then(|sweep| sweep.reach(self.raw.flows)).unwrap_or(0);
        (version.address(start), version.address(start.saturating_add(reach)))
    }

    /// Name under which results are filed, such as `profile_10000_flows_pkt_size_64B_100_rate_sd`. For
    /// compatibility, a percentage is a bare number; other rates have their unit. Settings that the name does
    /// not spell out add a fingerprint, so that different profiles have different names.
    pub fn name(&self) -> String {
        let rate = match self.raw.rate {
            Some(Rate::Percent(percent)) => percent.to_string(),
            Some(other) => other.to_string(),
            None => "staged".to_owned(),
        };
        self.name_with(&rate)
    }

    /// The same name with `search` in place of the rate: for trials that differ in their load only.
    pub fn search_name(&self) -> String {
        self.clone().with_rate(Rate::Max).name_with("search")
    }

    fn name_with(&self, rate: &str) -> String {
        let raw = &self.raw;
        let mode = match raw.flow_mode {
            Some(mode) => mode.to_string(),
            None => raw.vary.keys().map(|field| field.name()).collect::<Vec<_>>().join("-"),
        };
        let size = self.frame_sizes.label();
        let name = format!("profile_{}_flows_pkt_size_{size}B_{rate}_rate_{mode}", raw.flows);
        // A profile that spells out the default addresses equals one that leaves them out.
        let raw = raw.written_out();
        let plain = RawProfile {
            frame_size: raw.frame_size.clone(),
            flows: raw.flows,
            flow_mode: raw.flow_mode,
            rate: raw.rate,
            ..RawProfile::default()
        };
        if raw == plain.written_out() {
            return name;
        }
        let document = serde_json::to_vec(&raw).unwrap_or_default();
        format!("{name}_{:08x}", fingerprint(&document))
    }
}
