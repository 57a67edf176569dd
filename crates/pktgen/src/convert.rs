//! Conversion of a port's settings to a profile.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use linerate_traffic::profile::field::mac_of;
use linerate_traffic::profile::vary::{self, Number, gcd};
use linerate_traffic::profile::{
    Endpoint, Field, FlowMode, MAX_FLOWS, Payload, Profile, ProfileError, Protocol, RawProfile, Stage,
    Variation, Vlan,
};
use linerate_traffic::rate::Rate;
use linerate_traffic::span::Span;

use super::argument::At;
use super::port::Sent;
use super::range::{Ranged, Values};
use super::sequence::{COLUMNS, Entry, GTPU_PORT, Steps, steps};
use super::settings::{DST_PORT, Mode, RATE, SIZE, SRC_PORT, Settings, VLAN_ID, addresses};
use super::{ImportError, Options};

/// A header field that steps.
struct Stepping {
    /// Its name in the script.
    name: String,
    field: Field,
    step: u128,
    count: u32,
    offset: u32,
}

/// An unfinished profile.
struct Draft {
    raw: RawProfile,
    /// Frame sizes in the order of sending.
    sizes: Vec<u64>,
    /// Line that set them.
    sizes_at: At,
    stepping: Vec<Stepping>,
    notes: Vec<String>,
}

/// The profile, with notes on it.
pub(super) fn profile(
    sent: &Sent,
    port: &str,
    options: Options,
) -> Result<(Profile, Vec<String>), ImportError> {
    // `all` stands for every port; the default addresses are those of port 0.
    let number = port.parse().unwrap_or(0);
    let settings = &sent.settings;
    let line = settings.changed.0.or(sent.at.0);
    let whole_port = |problem: String| ImportError::new(line, format!("port {port}: {problem}"));
    let mut draft = single(settings, number).map_err(whole_port)?;
    match mode(settings, &mut draft.notes) {
        Mode::Single => {}
        Mode::Range => ranges(settings, port, number, &mut draft)?,
        Mode::Sequence => sequence(settings, port, &mut draft)?,
    }
    plain_headers(settings, &mut draft);
    let Draft { mut raw, sizes, sizes_at, stepping, mut notes } = draft;
    together(&stepping, &mut notes).map_err(whole_port)?;
    raw.flows = distinct(&stepping, &mut notes);
    say_which(&mut raw, &stepping);
    load(sent, &mut raw);
    aside(settings, &mut notes);
    if settings.tcp_flags.is_some() && raw.protocol == Protocol::Tcp {
        let line = settings.tcp_flags.and_then(|at| at.0);
        let problem = format!("port {port}: a profile's TCP segments have ACK alone; take the flags out");
        return Err(ImportError::new(line, problem));
    }
    finish(raw, &sizes, options, &mut notes).map(|profile| (profile, notes)).map_err(|error| {
        let line = sizes_at.0.or(line);
        ImportError::new(line, format!("port {port}: {}", explained(&error, settings)))
    })
}

/// Sets the frame sizes, grown if allowed, and validates the profile.
fn finish(
    mut raw: RawProfile,
    sizes: &[u64],
    options: Options,
    notes: &mut Vec<String>,
) -> Result<Profile, ProfileError> {
    let list = |smallest: u64| {
        let sizes: Vec<String> = sizes.iter().map(|size| (*size).max(smallest).to_string()).collect();
        sizes.join(",").parse().ok()
    };
    raw.frame_size = list(0);
    match Profile::try_from(raw.clone()) {
        Err(ProfileError::TooSmall { asked, smallest, .. }) if options.grow => {
            notes.push(format!(
                "frames of {asked} bytes do not hold headers and probe; the shortest are {smallest} bytes now"
            ));
            raw.frame_size = list(smallest.into());
            Profile::try_from(raw)
        }
        outcome => outcome,
    }
}

fn explained(error: &ProfileError, settings: &Settings) -> String {
    match error {
        ProfileError::TooSmall { smallest, .. } => {
            let protocol = match settings.protocol {
                None => {
                    "; the script does not say set_proto, and TCP is Pktgen's default: set_proto(port, \"udp\") makes it UDP"
                }
                Some(_) => "",
            };
            format!(
                "{error}{protocol}; or give that size (pktgen.set(port, \"size\", {smallest})), or import with --grow"
            )
        }
        other => other.to_string(),
    }
}

/// Pktgen's traffic without ranges and sequences: one flow.
fn single(settings: &Settings, port: u8) -> Result<Draft, String> {
    let (src, dst) = addresses(port);
    let (src, dst) = (settings.src_ip.unwrap_or(src.into()), settings.dst_ip.unwrap_or(dst.into()));
    let asked = settings.ipv6.unwrap_or(src.is_ipv6());
    if settings.mode != Some(Mode::Sequence) && (src.is_ipv6() != asked || dst.is_ipv6() != asked) {
        let version = if asked { "IPv6" } else { "IPv4" };
        return Err(format!(
            "frames are {version} and go from {src} to {dst}; give both {version} addresses with set_ipaddr"
        ));
    }
    let raw = RawProfile {
        protocol: settings.protocol.unwrap_or(Protocol::Tcp),
        source: Endpoint {
            ip: Some(src),
            port: settings.src_port.unwrap_or(SRC_PORT),
            mac: settings.src_mac,
        },
        destination: Endpoint {
            ip: Some(dst),
            port: settings.dst_port.unwrap_or(DST_PORT),
            mac: settings.dst_mac,
        },
        vlan: (settings.vlan == Some(true))
            .then(|| Vlan { id: settings.vlan_id.unwrap_or(VLAN_ID), priority: settings.cos.unwrap_or(0) }),
        dscp: settings.dscp.unwrap_or(0),
        ttl: settings.ttl.unwrap_or(64),
        payload: settings.payload.clone().unwrap_or(Payload::Zeros),
        ..RawProfile::default()
    };
    let sizes = vec![settings.size.unwrap_or(SIZE).into()];
    Ok(Draft { raw, sizes, sizes_at: settings.size_at, stepping: Vec::new(), notes: Vec::new() })
}

/// The port's mode. Settings that the script never turned on or off count as intended.
fn mode(settings: &Settings, notes: &mut Vec<String>) -> Mode {
    let (ranges, sequence) = (!settings.ranges.is_empty(), !settings.sequence.is_empty());
    let mode = match settings.mode {
        Some(Mode::Sequence) if !sequence => {
            notes.push("seq_cnt is given and no packet of a sequence: the packet of set is sent".to_owned());
            Mode::Single
        }
        Some(mode) => mode,
        None if ranges => {
            notes.push(
                "the script gives ranges and never turns range mode on (set_range); they are taken as meant"
                    .to_owned(),
            );
            Mode::Range
        }
        None if sequence => {
            notes.push(
                "the script gives packets of a sequence and never their number (seq_cnt); all are taken as meant"
                    .to_owned(),
            );
            Mode::Sequence
        }
        None => Mode::Single,
    };
    let last = match settings.mode {
        Some(Mode::Single) => "the script turns range mode and sequences off",
        Some(Mode::Range) => "the script turns range mode on last",
        Some(Mode::Sequence) => "the script turns the sequence on last (seq_cnt)",
        None => "the script turns nothing on, and gives ranges",
    };
    if ranges && mode != Mode::Range {
        notes.push(format!("{last}: its ranges are left out"));
    }
    if sequence && mode != Mode::Sequence {
        notes.push(format!("{last}: its sequence is left out"));
    }
    mode
}

fn ranges(settings: &Settings, port: &str, number: u8, draft: &mut Draft) -> Result<(), ImportError> {
    draft.raw.protocol = settings.range_protocol.unwrap_or(draft.raw.protocol);
    let tagged = settings.vlan == Some(true);
    for (&ranged, range) in &settings.ranges {
        if matches!(ranged, Ranged::VlanId | Ranged::Cos) && !tagged {
            continue;
        }
        let wrong = |problem: String| {
            ImportError::new(
                range.line.0,
                format!("pktgen.range.{} of port {port}: {problem}", ranged.name()),
            )
        };
        if draft.raw.source.ip.is_some_and(|ip| ip.is_ipv6())
            && matches!(ranged, Ranged::SrcIp | Ranged::DstIp)
        {
            return Err(wrong(
                "this IPv4 range is of a port with IPv6 addresses; give set_ipaddr IPv4 addresses".to_owned(),
            ));
        }
        let (values, note) = range.values(ranged, number).map_err(wrong)?;
        draft.notes.extend(note);
        if ranged == Ranged::PktSize {
            draft.sizes_at = range.line;
        }
        match (ranged.field(), values) {
            (_, Values::Constant(None)) => {}
            (None, Values::Constant(Some(bytes))) => draft.sizes = vec![bytes],
            (None, Values::Cycle { first, step, count, offset }) => {
                draft.notes.push(TAKE_TURNS.to_owned());
                draft.sizes = (0..count).map(|i| first + step * u64::from((i + offset) % count)).collect();
            }
            (Some(field), Values::Constant(Some(value))) => put(&mut draft.raw, field, value.into()),
            (Some(field), Values::Cycle { first, step, count, offset }) => {
                put(&mut draft.raw, field, first.into());
                let name = format!("range.{}", ranged.name());
                draft.stepping.push(Stepping { name, field, step: step.into(), count, offset });
            }
        }
    }
    still(settings, &mut draft.notes);
    Ok(())
}

const TAKE_TURNS: &str =
    "frame sizes take turns by themselves; in Pktgen they step together with the headers";

/// The packets of a sequence, whose fields must step evenly.
fn sequence(settings: &Settings, port: &str, draft: &mut Draft) -> Result<(), ImportError> {
    let all = settings.sequence.keys().next_back().map_or(0, |last| last + 1);
    let number = settings.sequence_count.unwrap_or(all);
    let entries: Vec<&Entry> =
        settings.sequence.iter().filter(|(index, _)| **index < number).map(|(_, entry)| entry).collect();
    let Some(first) = entries.first() else {
        let problem = format!("port {port}: none of the first {number} packets of the sequence is given");
        return Err(ImportError::new(None, problem));
    };
    if settings.sequence_count.is_some() && (entries.len() as u64) < number {
        draft.notes.push(format!(
            "seq_cnt is {number}, and the script gives {} of these packets; the others, which Pktgen would send with its own \
             addresses, are left out",
            entries.len()
        ));
    }
    let line = entries.last().and_then(|entry| entry.line.0);
    let wrong = |problem: String| ImportError::new(line, format!("the sequence of port {port}: {problem}"));
    if entries.iter().any(|entry| entry.protocol != first.protocol) {
        return Err(wrong("it mixes UDP and TCP, and a profile has one; make a script of each".to_owned()));
    }
    if entries.iter().any(|entry| entry.tcp_flags) && first.protocol == Protocol::Tcp {
        return Err(wrong("a profile's TCP segments have ACK alone; take tcp_flags out".to_owned()));
    }
    let versions = |entry: &&Entry| {
        entry.src_ip.is_ipv6() != first.src_ip.is_ipv6() || entry.dst_ip.is_ipv6() != first.src_ip.is_ipv6()
    };
    if entries.iter().any(versions) {
        return Err(wrong("it mixes IPv4 and IPv6, and a profile has one; make a script of each".to_owned()));
    }
    let raw = &mut draft.raw;
    raw.protocol = first.protocol;
    (raw.source.ip, raw.destination.ip) = (Some(first.src_ip), Some(first.dst_ip));
    (raw.source.mac, raw.destination.mac) = (first.src_mac, first.dst_mac);
    let tagged = settings.vlan == Some(true);
    for (name, value) in COLUMNS {
        let values: Vec<u128> = entries.iter().filter_map(|entry| value(entry)).collect();
        let field = column(name);
        if values.is_empty() || (matches!(field, Field::VlanId | Field::VlanPriority) && !tagged) {
            continue;
        }
        if values.len() < entries.len() {
            return Err(wrong(format!("some of its packets have {name} and others none; give it to all")));
        }
        let Some(Steps { first, step, count }) = steps(&values) else {
            return Err(wrong(format!(
                "{name} does not step evenly upwards from packet to packet; make a script of each packet, or write profiles \
                 by hand and send them side by side"
            )));
        };
        put(raw, field, first);
        if count > 1 {
            draft.stepping.push(Stepping { name: name.to_owned(), field, step, count, offset: 0 });
        }
    }
    draft.sizes_at = At(line);
    draft.sizes = entries.iter().map(|entry| entry.size).collect();
    if draft.sizes.iter().all(|size| *size == first.size) {
        draft.sizes.truncate(1);
    } else {
        draft.notes.push(TAKE_TURNS.to_owned());
    }
    Ok(())
}

fn column(name: &str) -> Field {
    match name {
        "eth_dst_addr" => Field::DestinationMac,
        "eth_src_addr" => Field::SourceMac,
        "vlanid" => Field::VlanId,
        "cos" => Field::VlanPriority,
        "tos" => Field::Dscp,
        "ip_src_addr" => Field::SourceIp,
        "ip_dst_addr" => Field::DestinationIp,
        "sport" => Field::SourcePort,
        _ => Field::DestinationPort,
    }
}

/// Notes on headers that the script names and the frames lack.
fn plain_headers(settings: &Settings, draft: &mut Draft) {
    let asked = settings.vlan_id.is_some()
        || settings.cos.is_some()
        || settings.ranges.contains_key(&Ranged::VlanId)
        || settings.ranges.contains_key(&Ranged::Cos)
        || settings.sequence.values().any(|entry| entry.vlan_id.is_some() || entry.cos.is_some());
    if asked && settings.vlan != Some(true) {
        draft.notes.push(
            "the script gives a VLAN id or priority and never turns the tag on (pktgen.vlan(port, \"on\")): \
             frames are untagged, as Pktgen's are"
                .to_owned(),
        );
    }
    if draft.raw.destination.port == GTPU_PORT {
        draft.notes.push(format!(
            "Pktgen adds a GTP-U header to frames for port {GTPU_PORT}; the profile sends plain UDP or TCP"
        ));
    }
}

/// Sets the rate, or its stages.
fn load(sent: &Sent, raw: &mut RawProfile) {
    if sent.stages.is_empty() {
        raw.rate = Some(Rate::Percent(sent.settings.rate.unwrap_or(RATE)));
        return;
    }
    let stage = |&(rate, seconds): &(f64, f64)| Stage {
        rate: Rate::Percent(rate),
        to: None,
        duration: Span(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)),
    };
    raw.stages = sent.stages.iter().map(stage).collect();
}

fn put(raw: &mut RawProfile, field: Field, value: u128) {
    let ip = |before: Option<IpAddr>| match before {
        Some(IpAddr::V6(_)) => Some(IpAddr::from(std::net::Ipv6Addr::from_bits(value))),
        _ => Some(IpAddr::from(Ipv4Addr::from_bits(value as u32))),
    };
    let mut vlan = raw.vlan.unwrap_or(Vlan { id: VLAN_ID, priority: 0 });
    match field {
        Field::SourceIp => raw.source.ip = ip(raw.source.ip),
        Field::DestinationIp => raw.destination.ip = ip(raw.destination.ip),
        Field::SourcePort => raw.source.port = value as u16,
        Field::DestinationPort => raw.destination.port = value as u16,
        Field::SourceMac => raw.source.mac = Some(mac_of(value)),
        Field::DestinationMac => raw.destination.mac = Some(mac_of(value)),
        Field::VlanId => {
            vlan.id = value as u16;
            raw.vlan = Some(vlan);
        }
        Field::VlanPriority => {
            vlan.priority = value as u8;
            raw.vlan = Some(vlan);
        }
        Field::Dscp => raw.dscp = value as u8,
        Field::Ttl => raw.ttl = value as u8,
        // No call of Pktgen sets it.
        Field::FlowLabel => {}
    }
}

/// Notes on fields that Pktgen would step although the script does not ask for it.
fn still(settings: &Settings, notes: &mut Vec<String>) {
    let silent =
        |ranged: &Ranged| settings.ranges.get(ranged).is_none_or(|range| range.step(*ranged).is_none());
    let names: Vec<&str> = Ranged::ALL
        .into_iter()
        .filter(|ranged| ranged.steps_by_itself())
        .filter(silent)
        .map(Ranged::name)
        .collect();
    if !names.is_empty() {
        notes.push(format!(
            "{}: the script gives no inc, so the profile keeps them as they are; Pktgen steps them by 1 unless inc is 0",
            names.join(", ")
        ));
    }
    if settings.size.is_some() && !settings.ranges.contains_key(&Ranged::PktSize) {
        notes.push("the frame size is that of set; Pktgen's range mode sends 64 bytes unless range.pkt_size is given".to_owned());
    }
}

/// Checks that fields step together. All fields of a profile begin with their first value; this gives the
/// same headers only if the script's fields keep step.
fn together(stepping: &[Stepping], notes: &mut Vec<String>) -> Result<(), String> {
    for (i, a) in stepping.iter().enumerate() {
        for b in &stepping[i + 1..] {
            if !a.offset.abs_diff(b.offset).is_multiple_of(gcd(a.count.into(), b.count.into()) as u32) {
                return Err(format!(
                    "{} starts {} values after its min and {} {}; a profile's fields begin together: set each start to its min",
                    a.name, a.offset, b.name, b.offset
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

/// Number of different headers: the fields step together and repeat after this many. If a profile cannot have
/// as many, the first are used, which contain every value of every field.
fn distinct(stepping: &[Stepping], notes: &mut Vec<String>) -> u32 {
    let flows = vary::distinct(stepping.iter().map(|field| field.count));
    if let Ok(flows) = u32::try_from(flows)
        && flows <= MAX_FLOWS
    {
        return flows;
    }
    let fields: Vec<String> =
        stepping.iter().map(|field| format!("{} {}", field.name, field.count)).collect();
    notes.push(format!(
        "fields of {} values make {flows} different headers; the profile has the first {MAX_FLOWS} of them, over and over (all \
         values of each field). Ranges of one length make fewer flows",
        fields.join(", ")
    ));
    MAX_FLOWS
}

/// Sets which fields step: by a flow mode if one matches.
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
    // In reverse, because `sdpd` is the better known of two equal modes.
    raw.flow_mode = FlowMode::ALL.into_iter().rev().find(|mode| plain && same(mode));
    if raw.flow_mode.is_none() {
        let variation = |field: &Stepping| Variation {
            step: (field.step != 1).then_some(Number(field.step)),
            count: (field.count != flows).then_some(field.count),
            ..Variation::default()
        };
        raw.vary = stepping.iter().map(|field| (field.field, variation(field))).collect();
    }
}

/// Notes on settings that a profile cannot express.
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
