//! Validation of a profile.

use super::error::ProfileError;
use super::field::Field;
use super::vary::distinct;
use super::{FlowMode, IpVersion, Protocol, RawProfile, Shape, Sweep, Variation, Vlan, stage};
use super::{MAX_BURST_PACKETS, MAX_FLOWS};
use crate::rate::Rate;

pub(super) fn check_numbers(raw: &RawProfile) -> Result<(), ProfileError> {
    if raw.flows == 0 || raw.flows > MAX_FLOWS {
        return Err(ProfileError::FlowCount(raw.flows));
    }
    let range = |field, value: u64, first, last| {
        if (first..=last).contains(&value) {
            Ok(())
        } else {
            Err(ProfileError::OutOfRange { field, value, first, last })
        }
    };
    range("burst", raw.burst.into(), 1, MAX_BURST_PACKETS.into())?;
    range("dscp", raw.dscp.into(), 0, 63)?;
    range("ttl", raw.ttl.into(), 1, 255)?;
    if let Some(Vlan { id, priority }) = raw.vlan {
        range("vlan.id", id.into(), 1, 4094)?;
        range("vlan.priority", priority.into(), 0, 7)?;
    }
    Ok(())
}

pub(super) fn check_load(raw: &RawProfile) -> Result<(), ProfileError> {
    if raw.rate.is_some() && !raw.stages.is_empty() {
        return Err(ProfileError::RateAndStages);
    }
    if raw.stages.len() > stage::MAX_STAGES {
        return Err(ProfileError::StageCount(raw.stages.len()));
    }
    for (i, stage) in raw.stages.iter().enumerate() {
        if stage.rate == Rate::Max || stage.to == Some(Rate::Max) {
            return Err(ProfileError::StageMax(i));
        }
        if stage.duration.0.is_zero() {
            return Err(ProfileError::StageLength(i));
        }
    }
    Ok(())
}

pub(super) fn shape_of(raw: &RawProfile) -> Result<Shape, ProfileError> {
    let version = raw.ip_version();
    if let (Some(from), Some(to)) = (raw.source.ip, raw.destination.ip)
        && IpVersion::of(from) != IpVersion::of(to)
    {
        return Err(ProfileError::MixedVersions { from, to });
    }
    let tagged = |field| raw.vary.contains_key(&field);
    let vlan = raw.vlan.is_some() || tagged(Field::VlanId) || tagged(Field::VlanPriority);
    Ok(Shape { vlan, version, protocol: raw.protocol })
}

pub(super) fn headers(shape: Shape) -> String {
    let vlan = if shape.vlan { ", VLAN" } else { "" };
    let version = if shape.version == IpVersion::V4 { "IPv4" } else { "IPv6" };
    let protocol = if shape.protocol == Protocol::Udp { "UDP" } else { "TCP" };
    format!("Ethernet{vlan}, {version}, {protocol}")
}

/// The varied fields with their numbers, each checked against its range.
pub(super) fn sweeps(raw: &RawProfile, shape: Shape) -> Result<Vec<Sweep>, ProfileError> {
    if raw.flow_mode.is_some() && !raw.vary.is_empty() {
        return Err(ProfileError::ModeAndVary);
    }
    let by_mode = raw.flow_mode.map_or(&[][..], FlowMode::fields);
    let fields = by_mode.iter().map(|field| (*field, Variation::default()));
    let mut sweeps = Vec::new();
    for (field, variation) in fields.chain(raw.vary.iter().map(|(field, variation)| (*field, *variation))) {
        sweeps.push(sweep(raw, shape, field, variation)?);
    }
    let distinct = distinct(sweeps.iter().map(|sweep| sweep.count));
    if distinct < u128::from(raw.flows) {
        return Err(ProfileError::Repeats { flows: raw.flows, distinct });
    }
    Ok(sweeps)
}

fn sweep(raw: &RawProfile, shape: Shape, field: Field, variation: Variation) -> Result<Sweep, ProfileError> {
    let Some(place) = field.place(shape.version) else {
        let version = if shape.version == IpVersion::V4 { "IPv4" } else { "IPv6" };
        return Err(ProfileError::NoSuchField { field, version });
    };
    let Variation { start, step, count, random } = variation;
    if count == Some(0) {
        return Err(ProfileError::ZeroCount(field));
    }
    let step = step.map_or(1, |step| step.0);
    let count = count.unwrap_or(raw.flows);
    if step == 0 && count > 1 {
        return Err(ProfileError::ZeroStep(field));
    }
    let start = start.map(|start| start.0).or_else(|| field.base(raw));
    let sweep = Sweep { field, start, step, count, random };
    let largest = u128::MAX >> (128 - place.bits);
    let last = || field.show(largest, shape.version);
    // Without a first value, since only the port knows the address, there is no range to check; addresses
    // wrap.
    let Some(start) = start else { return Ok(sweep) };
    if start > largest {
        return Err(ProfileError::Value { field, value: start, last: last() });
    }
    match sweep.reach(raw.flows).and_then(|reach| start.checked_add(reach)) {
        Some(end) if end <= largest => Ok(sweep),
        _ => Err(ProfileError::Range {
            field,
            values: if random.is_some() { count } else { count.min(raw.flows) },
            start: field.show(start, shape.version),
            step,
            last: last(),
            hint: match (field, raw.flow_mode) {
                (Field::SourcePort | Field::DestinationPort, Some(_)) => {
                    "; or a mode that varies addresses only (s, d, sd)"
                }
                _ => "",
            },
        }),
    }
}
