//! Pktgen's range mode: fields that step from packet to packet.

use std::net::Ipv4Addr;

use linerate_protocol::profile::field::{mac_bits, mac_of};
use linerate_protocol::profile::{Field, MAX_FLOWS};

use super::argument::Argument;

/// What range mode can step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ranged {
    DstMac,
    SrcMac,
    DstIp,
    SrcIp,
    DstPort,
    SrcPort,
    PktSize,
}

/// A part of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Start,
    Inc,
    Min,
    Max,
}

impl Part {
    /// The part's name in scripts.
    pub(super) fn of(argument: &Argument) -> Result<Self, String> {
        let words = ["start", "inc", "increment", "min", "minimum", "max", "maximum"];
        Ok(match argument.word("part", &words)? {
            "start" => Part::Start,
            "inc" | "increment" => Part::Inc,
            "min" | "minimum" => Part::Min,
            _ => Part::Max,
        })
    }
}

impl Ranged {
    /// Everything, in the order of the frame.
    pub(super) const ALL: [Ranged; 7] = [
        Ranged::DstMac,
        Ranged::SrcMac,
        Ranged::DstIp,
        Ranged::SrcIp,
        Ranged::DstPort,
        Ranged::SrcPort,
        Ranged::PktSize,
    ];

    /// The call's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Ranged::DstMac => "dst_mac",
            Ranged::SrcMac => "src_mac",
            Ranged::DstIp => "dst_ip",
            Ranged::SrcIp => "src_ip",
            Ranged::DstPort => "dst_port",
            Ranged::SrcPort => "src_port",
            Ranged::PktSize => "pkt_size",
        }
    }

    /// The header field; the size is none.
    pub(super) fn field(self) -> Option<Field> {
        match self {
            Ranged::DstMac => Some(Field::DestinationMac),
            Ranged::SrcMac => Some(Field::SourceMac),
            Ranged::DstIp => Some(Field::DestinationIp),
            Ranged::SrcIp => Some(Field::SourceIp),
            Ranged::DstPort => Some(Field::DestinationPort),
            Ranged::SrcPort => Some(Field::SourcePort),
            Ranged::PktSize => None,
        }
    }

    /// Whether Pktgen steps it by one when a script does not say otherwise.
    pub(super) fn steps_by_itself(self) -> bool {
        matches!(self, Ranged::DstIp | Ranged::DstPort | Ranged::SrcPort)
    }

    /// Pktgen's smallest and largest value when a script does not say otherwise.
    fn bounds(self, port: u8) -> (u64, u64) {
        let subnet = |third, last| u64::from(Ipv4Addr::new(192, 168, third, last).to_bits());
        match self {
            Ranged::DstMac | Ranged::SrcMac => (0, 0),
            Ranged::DstIp => (subnet(port.wrapping_add(1), 1), subnet(port.wrapping_add(1), 254)),
            Ranged::SrcIp => (subnet(port, 1), subnet(port, 254)),
            Ranged::DstPort | Ranged::SrcPort => (0, 65_535),
            Ranged::PktSize => (64, 1518),
        }
    }

    /// Reads a value. Steps of addresses may be plain numbers.
    pub(super) fn read(self, part: Part, argument: &Argument) -> Result<u64, String> {
        let step = part == Part::Inc;
        let plain = step && argument.number("").is_ok();
        match self {
            Ranged::DstMac | Ranged::SrcMac if plain => argument.whole("inc", 0, (1 << 48) - 1),
            Ranged::DstMac | Ranged::SrcMac => argument.mac("value").map(|mac| mac_bits(mac) as u64),
            Ranged::DstIp | Ranged::SrcIp if plain => argument.whole("inc", 0, u64::from(u32::MAX)),
            Ranged::DstIp | Ranged::SrcIp => argument.ipv4("value").map(|ip| u64::from(ip.to_bits())),
            Ranged::DstPort | Ranged::SrcPort => argument.whole("port", 0, 65_535),
            Ranged::PktSize if step => argument.whole("inc", 0, 9000),
            Ranged::PktSize => argument.whole("size", 64, 9000),
        }
    }

    fn show(self, value: u64) -> String {
        match self {
            Ranged::DstMac | Ranged::SrcMac => mac_of(value.into()).to_string(),
            Ranged::DstIp | Ranged::SrcIp => Ipv4Addr::from_bits(value as u32).to_string(),
            _ => value.to_string(),
        }
    }
}

/// A range as a script gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Range {
    start: Option<u64>,
    pub(super) inc: Option<u64>,
    min: Option<u64>,
    max: Option<u64>,
    /// Line of the last call about it.
    pub(super) line: Option<usize>,
}

/// What a range comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// One value; `None` where the script gives none.
    Constant(Option<u64>),
    /// `count` values from `first` by `step`, over and over; the script begins with value number `offset`.
    Cycle { first: u64, step: u64, count: u32, offset: u32 },
}

impl Range {
    /// Takes in one call.
    pub(super) fn set(&mut self, part: Part, value: u64, line: Option<usize>) {
        let place = match part {
            Part::Start => &mut self.start,
            Part::Inc => &mut self.inc,
            Part::Min => &mut self.min,
            Part::Max => &mut self.max,
        };
        *place = Some(value);
        self.line = line;
    }

    /// What it comes to on a port.
    pub(super) fn values(&self, of: Ranged, port: u8) -> Result<Values, String> {
        let step = self.inc.unwrap_or(0);
        if step == 0 {
            return Ok(Values::Constant(self.start));
        }
        let (least, most) = of.bounds(port);
        let (min, max) = (self.min.unwrap_or(least), self.max.unwrap_or(most));
        let from = |given: Option<u64>, value| {
            format!("{}{}", of.show(value), if given.is_none() { " (Pktgen's default)" } else { "" })
        };
        let (shown_min, shown_max) = (from(self.min, min), from(self.max, max));
        if max < min {
            return Err(format!("max {shown_max} is below min {shown_min}"));
        }
        let start = self.start.unwrap_or(min);
        if !(min..=max).contains(&start) || !(start - min).is_multiple_of(step) {
            return Err(format!(
                "start {} is none of the values from min {shown_min} by {step} to max {shown_max}, so it would be sent once \
                 and never again; set start to min",
                of.show(start)
            ));
        }
        if max == min {
            return Ok(Values::Constant(Some(min)));
        }
        if step > max - min {
            return Err(format!(
                "inc {step} is larger than the distance from min {shown_min} to max {shown_max}; set inc to 0 for a value \
                 that stays (steps downwards cannot be imported)"
            ));
        }
        let count = (max - min) / step + 1;
        let count = u32::try_from(count).ok().filter(|count| *count <= MAX_FLOWS).ok_or_else(|| {
            format!("{count} values from min {shown_min} to max {shown_max} are more than {MAX_FLOWS} flows; lower max")
        })?;
        Ok(Values::Cycle { first: min, step, count, offset: ((start - min) / step) as u32 })
    }
}
