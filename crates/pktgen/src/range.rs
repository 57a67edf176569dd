//! Pktgen's range mode: fields that step from packet to packet.

use std::net::Ipv4Addr;

use linerate_traffic::profile::field::{mac_bits, mac_of};
use linerate_traffic::profile::{Field, MAX_FLOWS};

use super::argument::{Argument, At, dscp};

/// A field that range mode can step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ranged {
    DstMac,
    SrcMac,
    DstIp,
    SrcIp,
    DstPort,
    SrcPort,
    PktSize,
    Ttl,
    VlanId,
    Cos,
    Tos,
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
    /// Parses the part's name in scripts.
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
    /// All fields, in the order of the frame.
    pub(super) const ALL: [Ranged; 11] = [
        Ranged::DstMac,
        Ranged::SrcMac,
        Ranged::DstIp,
        Ranged::SrcIp,
        Ranged::DstPort,
        Ranged::SrcPort,
        Ranged::PktSize,
        Ranged::Ttl,
        Ranged::VlanId,
        Ranged::Cos,
        Ranged::Tos,
    ];

    /// The range of a call's name.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "hop_limits" => Some(Ranged::Ttl),
            "traffic_class" => Some(Ranged::Tos),
            _ => Ranged::ALL.into_iter().find(|ranged| ranged.name() == name),
        }
    }

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
            Ranged::Ttl => "ttl",
            Ranged::VlanId => "vlan_id",
            Ranged::Cos => "cos",
            Ranged::Tos => "tos",
        }
    }

    /// The header field; `None` for the size.
    pub(super) fn field(self) -> Option<Field> {
        match self {
            Ranged::DstMac => Some(Field::DestinationMac),
            Ranged::SrcMac => Some(Field::SourceMac),
            Ranged::DstIp => Some(Field::DestinationIp),
            Ranged::SrcIp => Some(Field::SourceIp),
            Ranged::DstPort => Some(Field::DestinationPort),
            Ranged::SrcPort => Some(Field::SourcePort),
            Ranged::PktSize => None,
            Ranged::Ttl => Some(Field::Ttl),
            Ranged::VlanId => Some(Field::VlanId),
            Ranged::Cos => Some(Field::VlanPriority),
            Ranged::Tos => Some(Field::Dscp),
        }
    }

    /// True when Pktgen steps it by one by default.
    pub(super) fn steps_by_itself(self) -> bool {
        matches!(self, Ranged::DstIp | Ranged::DstPort | Ranged::SrcPort)
    }

    /// Pktgen's default of the smallest and largest value.
    fn bounds(self, port: u8) -> (u64, u64) {
        let subnet = |third, last| u64::from(Ipv4Addr::new(192, 168, third, last).to_bits());
        match self {
            Ranged::DstMac | Ranged::SrcMac => (0, 0),
            Ranged::DstIp => (subnet(port.wrapping_add(1), 1), subnet(port.wrapping_add(1), 254)),
            Ranged::SrcIp => (subnet(port, 1), subnet(port, 254)),
            Ranged::DstPort | Ranged::SrcPort => (0, 65_535),
            Ranged::PktSize => (64, 1518),
            Ranged::Ttl => (1, 255),
            Ranged::VlanId => (1, 4094),
            Ranged::Cos => (0, 7),
            Ranged::Tos => (0, 63),
        }
    }

    /// Parses a value. Steps of addresses may be plain numbers; the value of `tos` is its DSCP.
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
            Ranged::Ttl => argument.whole("ttl", 0, 255),
            Ranged::VlanId if step => argument.whole("inc", 0, 4095),
            Ranged::VlanId => argument.whole("VLAN id", 1, 4095),
            Ranged::Cos => argument.whole("cos", 0, 7),
            Ranged::Tos => dscp(argument).map(u64::from),
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

/// A range of a script.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Range {
    start: Option<u64>,
    pub(super) inc: Option<u64>,
    min: Option<u64>,
    max: Option<u64>,
    /// Line of the last call on it.
    pub(super) line: At,
}

/// Values of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// One value; `None` if the script gives none.
    Constant(Option<u64>),
    /// `count` values from `first` by `step`, repeated; the script begins with value number `offset`.
    Cycle { first: u64, step: u64, count: u32, offset: u32 },
}

impl Range {
    /// Applies one call.
    pub(super) fn set(&mut self, part: Part, value: u64, line: Option<usize>) {
        let place = match part {
            Part::Start => &mut self.start,
            Part::Inc => &mut self.inc,
            Part::Min => &mut self.min,
            Part::Max => &mut self.max,
        };
        *place = Some(value);
        self.line = At(line);
    }

    /// The step between values; `None` if the script gives neither the step nor both bounds of a field that
    /// Pktgen steps by default.
    pub(super) fn step(&self, of: Ranged) -> Option<u64> {
        self.inc.or((of.steps_by_itself() && self.min.is_some() && self.max.is_some()).then_some(1))
    }

    /// Its values on a port, with a note on them.
    pub(super) fn values(&self, of: Ranged, port: u8) -> Result<(Values, Option<String>), String> {
        let (least, most) = of.bounds(port);
        let (min, max) = (self.min.unwrap_or(least), self.max.unwrap_or(most));
        let step = self.step(of).unwrap_or(0);
        if step == 0 {
            return Ok(self.constant(of, max));
        }
        let from = |given: Option<u64>, value| {
            format!("{}{}", of.show(value), if given.is_none() { " (Pktgen's default)" } else { "" })
        };
        let (shown_min, shown_max) = (from(self.min, min), from(self.max, max));
        if max < min {
            return Err(format!("max {shown_max} is below min {shown_min}; give both"));
        }
        let start = self.start.unwrap_or(min);
        let once = || {
            format!(
                "range.{}: start {} is none of the values from min {shown_min} by {step} to max {shown_max}; Pktgen passes it \
                 once, and the profile begins with min",
                of.name(),
                of.show(start)
            )
        };
        if max == min {
            return Ok((Values::Constant(Some(min)), (start != min).then(once)));
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
        let among = (min..=max).contains(&start) && (start - min).is_multiple_of(step);
        let cycle = u64::from(count);
        let offset = (cycle - packets_before_min(start, min, max, step) % cycle) % cycle;
        let values = Values::Cycle { first: min, step, count, offset: offset as u32 };
        Ok((values, (!among).then(once)))
    }

    /// A range that does not step.
    fn constant(&self, of: Ranged, max: u64) -> (Values, Option<String>) {
        let value = self.start.or(self.min);
        let note = match (self.start, self.min) {
            (None, Some(min)) if max > min => Some(format!(
                "range.{}: the script gives min and neither start nor a step (inc), so the profile keeps {}",
                of.name(),
                of.show(min)
            )),
            _ => None,
        };
        (Values::Constant(value), note)
    }
}

/// Number of packets that Pktgen sends from `start` on before it reaches `min`: it adds the step, wraps to
/// `min` above `max`, and to `max` below `min`.
fn packets_before_min(start: u64, min: u64, max: u64, step: u64) -> u64 {
    if start > max {
        1
    } else if start >= min {
        (max - start) / step + 1
    } else if start + step < min {
        2
    } else if start + step > max {
        1
    } else {
        1 + if start + step == min { 0 } else { (max - start - step) / step + 1 }
    }
}
