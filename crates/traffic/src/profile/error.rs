//! Errors of profiles.

use std::net::IpAddr;

use super::field::Field;
use super::{MAX_FLOWS, stage::MAX_STAGES};

/// Error of a profile that cannot be sent, with the field, the value and the allowed range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Flow count out of range.
    #[error("flows: {0} is outside 1…{MAX_FLOWS}")]
    FlowCount(u32),
    /// Unknown flow mode.
    #[error("flow mode '{0}' is not one of s, d, sd, sp, dp, spd, sdpp, sdpd")]
    UnknownFlowMode(String),
    /// Both a mode and a list of fields.
    #[error(
        "flowMode and vary exclude each other: a mode is a short name for a list of fields; leave one out"
    )]
    ModeAndVary,
    /// The values of a field exceed its range.
    #[error(
        "{field}: {values} values from {start} by {step} run past {last}; take a lower start, a smaller step or count, or fewer flows{hint}"
    )]
    Range {
        /// The field.
        field: Field,
        /// Number of values.
        values: u32,
        /// First value, as users write it.
        start: String,
        /// Difference between consecutive values.
        step: u128,
        /// The field's largest value.
        last: String,
        /// Further hint.
        hint: &'static str,
    },
    /// A start value out of range.
    #[error("{field}: {value} is outside 0…{last}")]
    Value {
        /// The field.
        field: Field,
        /// The value.
        value: u128,
        /// The field's largest value.
        last: String,
    },
    /// A step of zero: the field never changes.
    #[error("vary.{0}.step: 0 leaves the field as it is; give a step of 1 or more, or leave the field out")]
    ZeroStep(Field),
    /// A count of zero: no values.
    #[error("vary.{0}.count: 0 values leave nothing to send; give 1 or more")]
    ZeroCount(Field),
    /// The headers repeat before every flow has its own.
    #[error(
        "flows: {flows} flows need as many different headers, and the varied fields repeat after {distinct}; raise a count or lower flows"
    )]
    Repeats {
        /// Number of flows.
        flows: u32,
        /// Number of different headers.
        distinct: u128,
    },
    /// A field that this IP version lacks.
    #[error("vary.{field}: {version} has no such field")]
    NoSuchField {
        /// The field.
        field: Field,
        /// `IPv4` or `IPv6`.
        version: &'static str,
    },
    /// Addresses of different IP versions.
    #[error(
        "source.ip {from} and destination.ip {to} are of different versions; give two IPv4 or two IPv6 addresses"
    )]
    MixedVersions {
        /// Source.
        from: IpAddr,
        /// Destination.
        to: IpAddr,
    },
    /// Varied destinations that count from the receiver's own address.
    #[error(
        "vary.destinationIp: it counts from the receiver's own address and would reach other hosts; give vary.destinationIp.start or \
         destination.ip, or vary destinationPort"
    )]
    VariesOwnDestination,
    /// The frame is too small for its headers and the probe.
    #[error(
        "frameSize: {asked} bytes do not hold {headers} and the 16 bytes of the probe; the smallest size is {smallest}"
    )]
    TooSmall {
        /// Requested size.
        asked: u32,
        /// The headers, by name.
        headers: String,
        /// Smallest size.
        smallest: u32,
    },
    /// A value out of range.
    #[error("{field}: {value} is outside {first}…{last}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// The value.
        value: u64,
        /// Smallest value.
        first: u64,
        /// Largest value.
        last: u64,
    },
    /// Both a rate and stages.
    #[error("rate and stages exclude each other: a stage has a rate of its own; leave one out")]
    RateAndStages,
    /// A stage without a bound on its load.
    #[error(
        "stages[{0}]: 'max' is no rate that can change over time; give a percentage, packets or bits per second"
    )]
    StageMax(usize),
    /// A stage of zero duration.
    #[error("stages[{0}].duration: 0 is no stage; give a time such as 10s")]
    StageLength(usize),
    /// Too many stages.
    #[error("stages: {0} are more than {MAX_STAGES}")]
    StageCount(usize),
}

impl ProfileError {
    /// Possible places of the mistake in a profile, the likeliest first: `vlan.priority`, `vary.ttl.step`,
    /// `stages[0].duration`.
    pub fn places(&self) -> Vec<String> {
        let places: &[&str] = match self {
            Self::FlowCount(_) => &["flows"],
            Self::UnknownFlowMode(_) => &["flowMode"],
            Self::ModeAndVary => &["vary", "flowMode"],
            Self::Range { field, .. } => {
                let vary = |part| format!("vary.{field}{part}");
                return [
                    vary(".start"),
                    vary(".count"),
                    vary(""),
                    "flows".to_owned(),
                    base(*field).to_owned(),
                ]
                .into();
            }
            Self::Value { field, .. } => {
                return [format!("vary.{field}.start"), format!("vary.{field}"), base(*field).to_owned()]
                    .into();
            }
            Self::ZeroStep(field) => return vec![format!("vary.{field}.step")],
            Self::ZeroCount(field) => return vec![format!("vary.{field}.count")],
            Self::Repeats { .. } => &["flows", "vary"],
            Self::NoSuchField { field, .. } => return vec![format!("vary.{field}")],
            Self::MixedVersions { .. } => &["destination.ip", "source.ip", "destination", "source"],
            Self::VariesOwnDestination => &["vary.destinationIp"],
            Self::TooSmall { .. } => &["frameSize"],
            Self::OutOfRange { field, .. } => &[*field],
            Self::RateAndStages => &["stages", "rate"],
            Self::StageMax(i) => return vec![format!("stages[{i}].to"), format!("stages[{i}].rate")],
            Self::StageLength(i) => return vec![format!("stages[{i}].duration")],
            Self::StageCount(_) => &["stages"],
        };
        places.iter().map(|place| (*place).to_owned()).collect()
    }
}

/// Place of the first flow's value of a field.
fn base(field: Field) -> &'static str {
    match field {
        Field::SourceMac => "source.mac",
        Field::DestinationMac => "destination.mac",
        Field::VlanId => "vlan.id",
        Field::VlanPriority => "vlan.priority",
        Field::SourceIp => "source.ip",
        Field::DestinationIp => "destination.ip",
        Field::Dscp => "dscp",
        Field::Ttl => "ttl",
        Field::FlowLabel => "vary.flowLabel",
        Field::SourcePort => "source.port",
        Field::DestinationPort => "destination.port",
    }
}
