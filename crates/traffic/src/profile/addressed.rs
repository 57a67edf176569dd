//! A profile between two ports that have IP addresses.
//!
//! Networks that route by address carry only frames between these addresses. Where the profile sets no
//! address, frames use the ports' addresses, and flows that would differ in addresses differ in ports
//! instead.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::error::ProfileError;
use super::vary::gcd;
use super::{Field, MAX_FLOWS, Profile, RawProfile, Variation};

/// A profile with the addresses of its ports.
#[derive(Debug, Clone, PartialEq)]
pub struct Addressed {
    /// The profile of the frames as sent.
    pub profile: Profile,
    /// Differences from the profile as written, each in one sentence.
    pub notes: Vec<String>,
}

impl Profile {
    /// This profile between ports with these addresses, the sender's first. They replace addresses that the
    /// profile leaves out; an address of the other IP version is not used.
    ///
    /// # Errors
    /// When a varied destination would reach other hosts than the receiver, or the flows need more ports than
    /// there are.
    pub fn between_ports(&self, own: (Option<IpAddr>, Option<IpAddr>)) -> Result<Addressed, ProfileError> {
        let mut raw = self.raw.clone();
        let fits = |ip: &IpAddr| ip.is_ipv4() == (self.shape.version == super::IpVersion::V4);
        let taken =
            |written: Option<IpAddr>, own: Option<IpAddr>| own.filter(|ip| written.is_none() && fits(ip));
        let source = taken(raw.source.written_ip(), own.0);
        let destination = taken(raw.destination.written_ip(), own.1);
        let (written_source, written_destination) = raw.addresses();
        raw.source.ip = Some(source.unwrap_or(written_source));
        raw.destination.ip = Some(destination.unwrap_or(written_destination));
        let mut notes = Vec::new();
        if raw.flows > 1 {
            let own = (source.is_some(), destination.is_some());
            if raw.flow_mode.is_some() {
                notes.extend(vary_ports(&mut raw, own));
            } else {
                notes.extend(check_varied(&raw, own)?);
            }
        }
        Ok(Addressed { profile: raw.try_into()?, notes })
    }
}

/// Replaces address fields of the flow mode that use a port's own address by port fields.
fn vary_ports(raw: &mut RawProfile, (own_source, own_destination): (bool, bool)) -> Option<String> {
    let mode = raw.flow_mode?;
    let in_place = |field: Field| match field {
        Field::SourceIp if own_source => Field::SourcePort,
        Field::DestinationIp if own_destination => Field::DestinationPort,
        other => other,
    };
    let mut fields: Vec<Field> = mode.fields().iter().map(|field| in_place(*field)).collect();
    fields.sort_unstable();
    fields.dedup();
    if fields.iter().all(|field| mode.fields().contains(field)) && fields.len() == mode.fields().len() {
        return None;
    }
    let (source, destination) = (values_from(raw.source.port), values_from(raw.destination.port));
    let counts = counts(raw.flows, source, destination, &mut fields);
    raw.flow_mode = None;
    raw.vary = BTreeMap::new();
    for field in &fields {
        let count = match field {
            Field::SourcePort => Some(counts.0),
            Field::DestinationPort => Some(counts.1),
            _ => None,
        };
        raw.vary.insert(*field, Variation { count, ..Variation::default() });
    }
    let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
    Some(format!(
        "flows differ in {}, not as in mode {mode}: the addresses are the ports' own",
        names.join(" and ")
    ))
}

/// Number of ports from `first` on.
fn values_from(first: u16) -> u32 {
    u32::from(u16::MAX - first) + 1
}

/// Numbers of source and destination ports that give as many different headers as there are flows. Adds the
/// other port field to `fields` when one does not suffice.
fn counts(flows: u32, source: u32, destination: u32, fields: &mut Vec<Field>) -> (u32, u32) {
    let of = |field: Field| if field == Field::SourcePort { source } else { destination };
    let ports = [Field::SourcePort, Field::DestinationPort];
    let suffices = fields.iter().any(|field| !ports.contains(field) || of(*field) >= flows);
    if suffices {
        return (source.min(flows), destination.min(flows));
    }
    for port in ports {
        if !fields.contains(&port) {
            fields.push(port);
        }
    }
    // Without a common divisor, both together repeat after their product.
    let (source, mut destination) = (source.min(flows), destination.min(flows).min(MAX_FLOWS));
    while destination > 1 && gcd(source.into(), destination.into()) > 1 {
        destination -= 1;
    }
    (source, destination)
}

/// Note on fields that count from a port's own address.
fn check_varied(
    raw: &RawProfile,
    (own_source, own_destination): (bool, bool),
) -> Result<Option<String>, ProfileError> {
    let counts_from_own = |field: Field| {
        raw.vary.get(&field).is_some_and(|variation| variation.start.is_none() && variation.count != Some(1))
    };
    if own_destination && counts_from_own(Field::DestinationIp) {
        return Err(ProfileError::VariesOwnDestination);
    }
    let spoofs = own_source && counts_from_own(Field::SourceIp);
    Ok(spoofs.then(|| {
        "sourceIp varies from the port's own address on: networks may drop what comes from addresses that are not the sender's"
            .to_owned()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::FlowMode;

    const OWN: (Option<IpAddr>, Option<IpAddr>) = (
        Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 78, 1, 2))),
        Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 78, 2, 7))),
    );

    fn profile(json: &str) -> Profile {
        serde_json::from_str(json).unwrap()
    }

    fn addresses(profile: &Profile) -> String {
        let (source, destination) = profile.raw().addresses();
        format!("{source} {destination}")
    }

    #[test]
    fn addresses_that_are_written_stay_and_the_others_are_the_ports() {
        let v6 = (Some("fd00::1".parse().unwrap()), Some("fd00::2".parse().unwrap()));
        for (json, own, expected) in [
            ("{}", OWN, "10.78.1.2 10.78.2.7"),
            ("{}", (None, None), "192.168.1.1 192.168.2.1"),
            ("{}", (OWN.0, None), "10.78.1.2 192.168.2.1"),
            ("{}", v6, "192.168.1.1 192.168.2.1"),
            (r#"{"source": {"ip": "::"}}"#, v6, "fd00::1 fd00::2"),
            (r#"{"source": {"ip": "::"}}"#, OWN, "2001:2:0:1::1 2001:2:0:2::1"),
            (r#"{"source": {"ip": "192.168.1.1"}}"#, OWN, "192.168.1.1 10.78.2.7"),
            (
                r#"{"source": {"ip": "1.1.1.1", "port": 5}, "destination": {"ip": "2.2.2.2"}}"#,
                OWN,
                "1.1.1.1 2.2.2.2",
            ),
        ] {
            let addressed = profile(json).between_ports(own).unwrap();
            assert_eq!(addresses(&addressed.profile), expected, "{json}");
            assert!(addressed.notes.is_empty(), "{:?}", addressed.notes);
        }
    }

    #[test]
    fn flows_differ_in_ports_where_addresses_are_the_ports_own() {
        for (mode, source_written, fields) in [
            ("s", false, "sourcePort"),
            ("d", false, "destinationPort"),
            ("sd", false, "sourcePort destinationPort"),
            ("sp", false, "sourcePort"),
            ("dp", false, "sourcePort destinationPort"),
            ("spd", false, "sourcePort destinationPort"),
            ("sdpp", false, "sourcePort destinationPort"),
            ("sd", true, "sourceIp destinationPort"),
            ("s", true, "sourceIp"),
        ] {
            let mut raw =
                RawProfile { flows: 100, flow_mode: Some(mode.parse().unwrap()), ..RawProfile::default() };
            raw.source.ip = source_written.then(|| "10.0.0.1".parse().unwrap());
            let written = Profile::try_from(raw).unwrap();
            let Addressed { profile, notes } = written.between_ports(OWN).unwrap();
            let varied: Vec<_> = profile.sweeps().iter().map(|sweep| sweep.field.name()).collect();
            assert_eq!(varied.join(" "), fields, "{mode}");
            assert_eq!(notes.len(), usize::from(!(source_written && mode == "s")), "{mode}: {notes:?}");
        }
        let one = profile("{}").between_ports(OWN).unwrap();
        assert_eq!(one.profile.raw().flow_mode, Some(FlowMode::S), "one flow has nothing to differ in");
    }

    #[test]
    fn more_flows_than_ports_take_both_ports() {
        for mode in ["s", "d"] {
            for flows in [64_512, 64_513, 1_000_000, MAX_FLOWS] {
                let raw = format!(r#"{{"flows": {flows}, "flowMode": "{mode}"}}"#);
                let addressed = profile(&raw).between_ports(OWN).unwrap();
                assert_eq!(addressed.profile.flows(), flows);
                let fields = addressed.profile.sweeps().len();
                assert_eq!(fields, if flows > 64_512 { 2 } else { 1 }, "{mode} {flows}");
            }
        }
    }

    #[test]
    fn a_destination_that_leaves_the_receiver_is_refused() {
        let refused =
            profile(r#"{"flows": 9, "vary": {"destinationIp": {}}}"#).between_ports(OWN).unwrap_err();
        assert!(refused.to_string().contains("vary.destinationIp"), "{refused}");
        let noted = profile(r#"{"flows": 9, "vary": {"sourceIp": {}}}"#).between_ports(OWN).unwrap();
        assert!(noted.notes[0].contains("sourceIp"), "{:?}", noted.notes);
        let placed = profile(r#"{"flows": 9, "vary": {"destinationIp": {"start": "10.0.0.1"}}}"#);
        assert!(placed.between_ports(OWN).unwrap().notes.is_empty());
    }
}
