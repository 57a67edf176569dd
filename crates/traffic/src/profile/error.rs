//! Why a profile cannot be sent.

use std::net::IpAddr;

use super::field::Field;
use super::{MAX_FLOWS, stage::MAX_STAGES};

/// A profile that cannot be sent: names the field, the value and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Flow count out of range.
    #[error("flows: {0} is outside 1…{MAX_FLOWS}")]
    FlowCount(u32),
    /// No such flow mode.
    #[error("flow mode '{0}' is not one of s, d, sd, sp, dp, spd, sdpp, sdpd")]
    UnknownFlowMode(String),
    /// A mode and a list of fields.
    #[error(
        "flowMode and vary exclude each other: a mode is a short name for a list of fields; leave one out"
    )]
    ModeAndVary,
    /// The values of a field run past its end.
    #[error(
        "{field}: {values} values from {start} by {step} run past {last}; take a lower start, a smaller step or count, or fewer flows{hint}"
    )]
    Range {
        /// The field.
        field: Field,
        /// How many values.
        values: u32,
        /// The first, as people write it.
        start: String,
        /// Distance between them.
        step: u128,
        /// The largest value the field can have.
        last: String,
        /// What else may help.
        hint: &'static str,
    },
    /// A start that does not fit.
    #[error("{field}: {value} is outside 0…{last}")]
    Value {
        /// The field.
        field: Field,
        /// The value.
        value: u128,
        /// The largest one.
        last: String,
    },
    /// A field that never changes.
    #[error("vary.{0}.step: 0 leaves the field as it is; give a step of 1 or more, or leave the field out")]
    ZeroStep(Field),
    /// No value at all.
    #[error("vary.{0}.count: 0 values leave nothing to send; give 1 or more")]
    ZeroCount(Field),
    /// The fields repeat before all flows have been named.
    #[error(
        "flows: {flows} flows need as many different headers, and the varied fields repeat after {distinct}; raise a count or lower flows"
    )]
    Repeats {
        /// Flows asked for.
        flows: u32,
        /// Different headers there are.
        distinct: u128,
    },
    /// A field that this version of IP lacks.
    #[error("vary.{field}: {version} has no such field")]
    NoSuchField {
        /// The field.
        field: Field,
        /// `IPv4` or `IPv6`.
        version: &'static str,
    },
    /// Addresses of two versions.
    #[error(
        "source.ip {from} and destination.ip {to} are of different versions; give two IPv4 or two IPv6 addresses"
    )]
    MixedVersions {
        /// Source.
        from: IpAddr,
        /// Destination.
        to: IpAddr,
    },
    /// Destinations that count from the receiver's own address.
    #[error(
        "vary.destinationIp: it counts from the receiver's own address and would reach other hosts; give vary.destinationIp.start or \
         destination.ip, or vary destinationPort"
    )]
    VariesOwnDestination,
    /// The frame does not hold its headers and the probe.
    #[error(
        "frameSize: {asked} bytes do not hold {headers} and the 16 bytes of the probe; the smallest size is {smallest}"
    )]
    TooSmall {
        /// Size asked for.
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
    /// Two loads.
    #[error("rate and stages exclude each other: a stage has a rate of its own; leave one out")]
    RateAndStages,
    /// A stage cannot be without limit.
    #[error(
        "stages[{0}]: 'max' is no rate that can change over time; give a percentage, packets or bits per second"
    )]
    StageMax(usize),
    /// A stage without length.
    #[error("stages[{0}].duration: 0 is no stage; give a time such as 10s")]
    StageLength(usize),
    /// Too many stages.
    #[error("stages: {0} are more than {MAX_STAGES}")]
    StageCount(usize),
}

impl ProfileError {
    /// Where the mistake may stand in a profile, the likeliest place first: `vlan.priority`, `vary.ttl.step`, `stages[0].duration`.
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

/// Where the first flow's value of a field stands.
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
