//! What traffic looks like: one UDP frame shape, many flows.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::frame::FrameSize;
use crate::rate::Rate;

/// Flows a profile may have at most.
pub const MAX_FLOWS: u32 = 1 << 22;

/// Which fields differ between the flows of a profile: the short names of Pktgen-era kits.
///
/// Varied fields advance together, by one per flow; they do not multiply.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum FlowMode {
    /// Source address.
    #[default]
    S,
    /// Destination address.
    D,
    /// Both addresses.
    Sd,
    /// Source address and source port.
    Sp,
    /// Source address and destination port.
    Dp,
    /// Source address, source port and destination address.
    Spd,
    /// Both addresses and both ports.
    Sdpp,
    /// Both addresses and both ports (the same as `sdpp`).
    Sdpd,
}

/// Which of the four fields a [`FlowMode`] varies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VariedFields {
    /// IPv4 source address.
    pub source_ip: bool,
    /// IPv4 destination address.
    pub destination_ip: bool,
    /// UDP source port.
    pub source_port: bool,
    /// UDP destination port.
    pub destination_port: bool,
}

impl FlowMode {
    /// Every mode, in the order of the documentation.
    pub const ALL: [FlowMode; 8] = [
        FlowMode::S,
        FlowMode::D,
        FlowMode::Sd,
        FlowMode::Sp,
        FlowMode::Dp,
        FlowMode::Spd,
        FlowMode::Sdpp,
        FlowMode::Sdpd,
    ];

    /// The mode's short name.
    pub fn name(self) -> &'static str {
        match self {
            FlowMode::S => "s",
            FlowMode::D => "d",
            FlowMode::Sd => "sd",
            FlowMode::Sp => "sp",
            FlowMode::Dp => "dp",
            FlowMode::Spd => "spd",
            FlowMode::Sdpp => "sdpp",
            FlowMode::Sdpd => "sdpd",
        }
    }

    /// The fields this mode varies.
    pub fn varies(self) -> VariedFields {
        let fields = |source_ip, destination_ip, source_port, destination_port| VariedFields {
            source_ip,
            destination_ip,
            source_port,
            destination_port,
        };
        match self {
            FlowMode::S => fields(true, false, false, false),
            FlowMode::D => fields(false, true, false, false),
            FlowMode::Sd => fields(true, true, false, false),
            FlowMode::Sp => fields(true, false, true, false),
            FlowMode::Dp => fields(true, false, false, true),
            FlowMode::Spd => fields(true, true, true, false),
            FlowMode::Sdpp | FlowMode::Sdpd => fields(true, true, true, true),
        }
    }
}

impl FromStr for FlowMode {
    type Err = ProfileError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| ProfileError::UnknownFlowMode(text.to_owned()))
    }
}

impl fmt::Display for FlowMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One end of the flows: the first flow's address and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// IPv4 address.
    pub ip: Ipv4Addr,
    /// UDP port.
    pub port: u16,
}

/// The 4 fields that tell the flows of a profile apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FlowKey {
    /// Sender.
    pub source: Endpoint,
    /// Receiver.
    pub destination: Endpoint,
}

/// What traffic looks like, and how much of it is intended. Always valid: reading one checks it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", try_from = "RawProfile")]
#[schemars(with = "RawProfile")]
pub struct Profile {
    frame_size: FrameSize,
    flows: u32,
    flow_mode: FlowMode,
    rate: Rate,
    source: Endpoint,
    destination: Endpoint,
}

/// A profile as it is written down: anything left out has its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Profile")]
pub struct RawProfile {
    /// Bytes of a frame, frame check sequence included.
    pub frame_size: FrameSize,
    /// Number of flows: 1…4194304.
    #[schemars(range(min = 1, max = 4_194_304))]
    pub flows: u32,
    /// Which fields differ between flows.
    pub flow_mode: FlowMode,
    /// Intended load.
    pub rate: Rate,
    /// Sender of the first flow.
    pub source: Endpoint,
    /// Receiver of the first flow.
    pub destination: Endpoint,
}

impl Default for RawProfile {
    fn default() -> Self {
        let end = |subnet| Endpoint { ip: Ipv4Addr::new(192, 168, subnet, 1), port: 1024 };
        Self {
            frame_size: FrameSize::MIN_FRAME,
            flows: 1,
            flow_mode: FlowMode::S,
            rate: Rate::Percent(10.0),
            source: end(1),
            destination: end(2),
        }
    }
}

impl TryFrom<RawProfile> for Profile {
    type Error = ProfileError;

    fn try_from(raw: RawProfile) -> Result<Self, ProfileError> {
        let RawProfile { frame_size, flows, flow_mode, rate, source, destination } = raw;
        if flows == 0 || flows > MAX_FLOWS {
            return Err(ProfileError::FlowCount(flows));
        }
        let varies = flow_mode.varies();
        let last = flows - 1;
        for (field, varied, end) in
            [("source", varies.source_ip, source), ("destination", varies.destination_ip, destination)]
        {
            if varied && u32::from(end.ip).checked_add(last).is_none() {
                return Err(ProfileError::AddressRange { field, base: end.ip, flows });
            }
        }
        for (field, varied, end) in
            [("source", varies.source_port, source), ("destination", varies.destination_port, destination)]
        {
            if varied && last > u32::from(u16::MAX - end.port) {
                return Err(ProfileError::PortRange { field, base: end.port, flows });
            }
        }
        Ok(Self { frame_size, flows, flow_mode, rate, source, destination })
    }
}

impl Profile {
    /// Bytes of a frame.
    pub fn frame_size(&self) -> FrameSize {
        self.frame_size
    }

    /// Number of flows.
    pub fn flows(&self) -> u32 {
        self.flows
    }

    /// Which fields differ between flows.
    pub fn flow_mode(&self) -> FlowMode {
        self.flow_mode
    }

    /// Intended load.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// The same traffic at another load.
    pub fn with_rate(self, rate: Rate) -> Self {
        Self { rate, ..self }
    }

    /// The addresses and ports of flow `index` (below [`Profile::flows`]).
    pub fn flow(&self, index: u32) -> FlowKey {
        debug_assert!(index < self.flows);
        let varies = self.flow_mode.varies();
        let end = |base: Endpoint, ip: bool, port: bool| Endpoint {
            ip: Ipv4Addr::from(u32::from(base.ip).wrapping_add(if ip { index } else { 0 })),
            port: base.port.wrapping_add(if port { index as u16 } else { 0 }),
        };
        FlowKey {
            source: end(self.source, varies.source_ip, varies.source_port),
            destination: end(self.destination, varies.destination_ip, varies.destination_port),
        }
    }

    /// The name that results are filed under, such as `profile_10000_flows_pkt_size_64B_100_rate_sd`. A percentage stands as
    /// its bare number, as it always has; other rates with their unit.
    pub fn name(&self) -> String {
        let rate = match self.rate {
            Rate::Percent(percent) => percent.to_string(),
            other => other.to_string(),
        };
        format!("profile_{}_flows_pkt_size_{}B_{rate}_rate_{}", self.flows, self.frame_size, self.flow_mode)
    }
}

/// A profile that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Flow count out of range.
    #[error("flows: {0} is outside 1…{MAX_FLOWS}")]
    FlowCount(u32),
    /// The last flow's address would pass 255.255.255.255.
    #[error(
        "{field}.ip: {flows} flows from {base} run past 255.255.255.255; take a lower address or fewer flows"
    )]
    AddressRange {
        /// `source` or `destination`.
        field: &'static str,
        /// First address.
        base: Ipv4Addr,
        /// Flows asked for.
        flows: u32,
    },
    /// The last flow's port would pass 65535.
    #[error(
        "{field}.port: {flows} flows from port {base} run past 65535; take a lower port, fewer flows, or a mode that varies addresses only (s, d, sd)"
    )]
    PortRange {
        /// `source` or `destination`.
        field: &'static str,
        /// First port.
        base: u16,
        /// Flows asked for.
        flows: u32,
    },
    /// No such flow mode.
    #[error("flow mode '{0}' is not one of s, d, sd, sp, dp, spd, sdpp, sdpd")]
    UnknownFlowMode(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(flows: u32, flow_mode: FlowMode) -> Profile {
        RawProfile { flows, flow_mode, ..RawProfile::default() }.try_into().unwrap()
    }

    #[test]
    fn each_mode_varies_exactly_its_fields() {
        // (mode, source ip, destination ip, source port, destination port)
        for (name, s, d, sp, dp) in [
            ("s", 1, 0, 0, 0),
            ("d", 0, 1, 0, 0),
            ("sd", 1, 1, 0, 0),
            ("sp", 1, 0, 1, 0),
            ("dp", 1, 0, 0, 1),
            ("spd", 1, 1, 1, 0),
            ("sdpp", 1, 1, 1, 1),
            ("sdpd", 1, 1, 1, 1),
        ] {
            let profile = profile(100, name.parse().unwrap());
            let (first, last) = (profile.flow(0), profile.flow(99));
            let step =
                |a: Endpoint, b: Endpoint| (u32::from(b.ip) - u32::from(a.ip), u32::from(b.port - a.port));
            assert_eq!(step(first.source, last.source), (99 * s, 99 * sp), "{name}");
            assert_eq!(step(first.destination, last.destination), (99 * d, 99 * dp), "{name}");
            assert_eq!(profile.flow_mode().to_string(), name);
        }
    }

    #[test]
    fn names_are_those_of_existing_result_directories() {
        assert_eq!(profile(100, FlowMode::Sdpd).name(), "profile_100_flows_pkt_size_64B_10_rate_sdpd");
        let fast = profile(1, FlowMode::S).with_rate(Rate::Pps(1e6));
        assert_eq!(fast.name(), "profile_1_flows_pkt_size_64B_1mpps_rate_s");
    }

    #[test]
    fn ranges_that_overflow_are_refused_with_the_field() {
        let bad = |edit: fn(&mut RawProfile)| {
            let mut raw = RawProfile::default();
            edit(&mut raw);
            Profile::try_from(raw).unwrap_err().to_string()
        };
        assert!(bad(|p| p.flows = 0).starts_with("flows: 0"));
        assert!(bad(|p| p.flows = MAX_FLOWS + 1).starts_with("flows:"));
        assert!(
            bad(|p| (p.flows, p.source.ip) = (2, Ipv4Addr::BROADCAST))
                .starts_with("source.ip: 2 flows from 255")
        );
        assert!(
            bad(|p| (p.flows, p.flow_mode) = (64_513, FlowMode::Sdpd))
                .starts_with("source.port: 64513 flows")
        );
        assert_eq!(profile(64_512, FlowMode::Sdpd).flow(64_511).source.port, 65_535);
    }

    #[test]
    fn documents_with_unknown_or_wrong_fields_are_refused() {
        let read = |text: &str| serde_json::from_str::<Profile>(text).map_err(|e| e.to_string());
        assert!(read(r#"{"frameSize": 512, "rate": "1mpps"}"#).is_ok());
        for (text, part) in [
            (r#"{"framesize": 512}"#, "unknown field `framesize`"),
            (r#"{"frameSize": 63}"#, "frame size '63'"),
            (r#"{"rate": "fast"}"#, "'fast' is not a rate"),
            (r#"{"flows": 0}"#, "flows: 0"),
            (r#"{"flowMode": "SD"}"#, "unknown variant `SD`"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
