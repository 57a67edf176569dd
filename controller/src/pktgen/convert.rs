//! From what a script leaves on a port to a profile.

use std::net::{IpAddr, Ipv4Addr};

use linerate_protocol::mac::MacAddr;
use linerate_protocol::profile::field::mac_of;
use linerate_protocol::profile::vary::{self, Number, gcd};
use linerate_protocol::profile::{
    Endpoint, Field, FlowMode, FrameSizes, MAX_FLOWS, Profile, Protocol, RawProfile, Variation,
};
use linerate_protocol::rate::Rate;

use super::ImportError;
use super::range::{Ranged, Values};
use super::settings::{DST_PORT, RATE, SIZE, SRC_PORT, Settings, addresses};

/// A header field that steps.
struct Stepping {
    ranged: Ranged,
    field: Field,
    step: u64,
    count: u32,
    offset: u32,
}

/// The profile, and what is to be said about it.
pub(super) fn profile(settings: &Settings, port: &str) -> Result<(Profile, Vec<String>), ImportError> {
    // `all` stands for whatever ports there are; their addresses by default are those of port 0.
    let number = port.parse().unwrap_or(0);
    let mut notes = Vec::new();
    let mut raw = single(settings, number);
    let mut stepping = Vec::new();
    if in_range_mode(settings, &mut notes) {
        for (&ranged, range) in &settings.ranges {
            let wrong = |problem: String| {
                ImportError::new(
                    range.line,
                    format!("pktgen.range.{} of port {port}: {problem}", ranged.name()),
                )
            };
            let values = range.values(ranged, number).map_err(wrong)?;
            match (ranged.field(), values) {
                (None, values) => {
                    raw.frame_size = sizes(values, &mut notes).map_err(wrong)?.or(raw.frame_size);
                }
                (Some(_), Values::Constant(None)) => {}
                (Some(field), Values::Constant(Some(value))) => put(&mut raw, field, value),
                (Some(field), Values::Cycle { first, step, count, offset }) => {
                    put(&mut raw, field, first);
                    stepping.push(Stepping { ranged, field, step, count, offset });
                }
            }
        }
        still(settings, &mut notes);
    }
    let whole_port = |problem: String| ImportError::new(None, format!("port {port}: {problem}"));
    together(&stepping, &mut notes).map_err(whole_port)?;
    raw.flows = distinct(&stepping).map_err(whole_port)?;
    say_which(&mut raw, &stepping);
    aside(settings, &mut notes);
    let profile = Profile::try_from(raw).map_err(|error| {
        let hint = match settings.protocol {
            None => "; the script does not say set_proto, and TCP is Pktgen's default: set_proto(port, \"udp\") makes it UDP",
            Some(_) => "",
        };
        whole_port(format!("{error}{hint}"))
    })?;
    Ok((profile, notes))
}

/// What Pktgen sends without range mode: one flow.
fn single(settings: &Settings, port: u8) -> RawProfile {
    let (src, dst) = addresses(port);
    let end = |ip: Option<Ipv4Addr>, default: Ipv4Addr, port, mac: Option<MacAddr>| Endpoint {
        ip: Some(ip.unwrap_or(default).into()),
        port,
        mac,
    };
    RawProfile {
        frame_size: size(settings.size.unwrap_or(SIZE).into()),
        rate: Some(Rate::Percent(settings.rate.unwrap_or(RATE))),
        protocol: settings.protocol.unwrap_or(Protocol::Tcp),
        source: end(settings.src_ip, src, settings.src_port.unwrap_or(SRC_PORT), settings.src_mac),
        destination: end(settings.dst_ip, dst, settings.dst_port.unwrap_or(DST_PORT), settings.dst_mac),
        ..RawProfile::default()
    }
}

fn in_range_mode(settings: &Settings, notes: &mut Vec<String>) -> bool {
    let given = !settings.ranges.is_empty();
    match settings.range_mode {
        Some(true) => true,
        Some(false) => {
            if given {
                notes.push("the script turns range mode off: its ranges are left out".to_owned());
            }
            false
        }
        None => {
            if given {
                notes.push(
                    "the script gives ranges and never turns range mode on (set_range); they are taken as meant"
                        .to_owned(),
                );
            }
            given
        }
    }
}

fn size(bytes: u64) -> Option<FrameSizes> {
    bytes.to_string().parse().ok()
}

fn sizes(values: Values, notes: &mut Vec<String>) -> Result<Option<FrameSizes>, String> {
    match values {
        Values::Constant(bytes) => Ok(bytes.and_then(size)),
        Values::Cycle { first, step, count, offset } => {
            notes.push(
                "frame sizes take turns by themselves; in Pktgen they step together with the headers"
                    .to_owned(),
            );
            let list: Vec<String> =
                (0..count).map(|i| (first + step * u64::from((i + offset) % count)).to_string()).collect();
            list.join(",").parse().map(Some).map_err(|error| format!("{error}"))
        }
    }
}

fn put(raw: &mut RawProfile, field: Field, value: u64) {
    let ip = || IpAddr::from(Ipv4Addr::from_bits(value as u32));
    match field {
        Field::SourceIp => raw.source.ip = Some(ip()),
        Field::DestinationIp => raw.destination.ip = Some(ip()),
        Field::SourcePort => raw.source.port = value as u16,
        Field::DestinationPort => raw.destination.port = value as u16,
        Field::SourceMac => raw.source.mac = Some(mac_of(value.into())),
        Field::DestinationMac => raw.destination.mac = Some(mac_of(value.into())),
        // No range of Pktgen's that is imported leads here.
        Field::VlanId | Field::VlanPriority | Field::Dscp | Field::Ttl | Field::FlowLabel => {}
    }
}

/// Fields that Pktgen would step although the script does not ask for it.
fn still(settings: &Settings, notes: &mut Vec<String>) {
    let silent = |ranged: &Ranged| settings.ranges.get(ranged).is_none_or(|range| range.inc.is_none());
    let names: Vec<&str> = Ranged::ALL
        .into_iter()
        .filter(|ranged| ranged.steps_by_itself())
        .filter(silent)
        .map(Ranged::name)
        .collect();
    if !names.is_empty() {
        notes.push(format!(
            "{}: the script gives no inc, so the profile keeps them as they are; Pktgen steps them by 1 unless told inc 0",
            names.join(", ")
        ));
    }
    if settings.size.is_some() && !settings.ranges.contains_key(&Ranged::PktSize) {
        notes.push("the frame size is that of set; Pktgen's range mode sends 64 bytes unless range.pkt_size is given".to_owned());
    }
}

/// A profile's fields all begin with their first value. That gives the same headers only when the script's fields keep step.
fn together(stepping: &[Stepping], notes: &mut Vec<String>) -> Result<(), String> {
    for (i, a) in stepping.iter().enumerate() {
        for b in &stepping[i + 1..] {
            if !a.offset.abs_diff(b.offset).is_multiple_of(gcd(a.count.into(), b.count.into()) as u32) {
                return Err(format!(
                    "range.{} starts {} values after its min and range.{} {}; a profile's fields begin together: set each start to its min",
                    a.ranged.name(),
                    a.offset,
                    b.ranged.name(),
                    b.offset
                ));
            }
        }
    }
    if stepping.iter().any(|field| field.offset > 0) {
        notes.push(
            "flow 0 has each field's min; the script begins later in the same circle of flows".to_owned(),
        );
    }
    Ok(())
}

/// Different headers there are: the fields step together and come round after as many.
fn distinct(stepping: &[Stepping]) -> Result<u32, String> {
    let flows = vary::distinct(stepping.iter().map(|field| field.count));
    u32::try_from(flows).ok().filter(|flows| *flows <= MAX_FLOWS).ok_or_else(|| {
        let fields = stepping.iter().map(|field| format!("{} {}", field.ranged.name(), field.count));
        format!(
            "ranges of {} values make {flows} different headers, and a profile has at most {MAX_FLOWS} flows; give the ranges one length",
            fields.collect::<Vec<_>>().join(", ")
        )
    })
}

/// Says which fields step: by the short name of a mode where there is one.
fn say_which(raw: &mut RawProfile, stepping: &[Stepping]) {
    let flows = raw.flows;
    let plain = stepping.iter().all(|field| field.step == 1 && field.count == flows);
    let mut fields: Vec<Field> = stepping.iter().map(|field| field.field).collect();
    fields.sort();
    let same = |mode: &FlowMode| {
        let mut theirs = mode.fields().to_vec();
        theirs.sort();
        theirs == fields
    };
    // From the end, because `sdpd` is the better known of two modes that are the same.
    raw.flow_mode = FlowMode::ALL.into_iter().rev().find(|mode| plain && same(mode));
    if raw.flow_mode.is_none() {
        let variation = |field: &Stepping| Variation {
            step: (field.step != 1).then_some(Number(field.step.into())),
            count: (field.count != flows).then_some(field.count),
            ..Variation::default()
        };
        raw.vary = stepping.iter().map(|field| (field.field, variation(field))).collect();
    }
}

/// What a profile has no place for.
fn aside(settings: &Settings, notes: &mut Vec<String>) {
    if let Some(count) = settings.count.filter(|count| *count > 0) {
        notes.push(format!(
            "count {count}: a profile has no end; put `trial: {{packets: {count}}}` into the experiment"
        ));
    }
    if let Some(burst) = settings.burst {
        notes.push(format!(
            "burst {burst}: Pktgen's number of packets handed to the port at once, which Linerate chooses by itself"
        ));
    }
    if settings.latency {
        notes.push("latency: always measured, nothing to set".to_owned());
    }
}
