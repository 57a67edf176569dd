//! Description of the headers of a profile's flows.

use linerate_traffic::profile::{Field, IpVersion, Profile, Protocol};
use serde::Serialize;

/// A header field: its value in the first and the last flow, and its step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeaderRow {
    /// The field's name in documents.
    pub field: String,
    /// Value in the first flow.
    pub first: String,
    /// Value in the last flow.
    pub last: String,
    /// How it changes between flows; `None` for a constant field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub varies: Option<String>,
}

/// The fields of a profile's frames, in the order of the frame.
pub fn headers(profile: &Profile) -> Vec<HeaderRow> {
    let shape = profile.shape();
    let mut rows: Vec<HeaderRow> = Field::ALL
        .into_iter()
        .filter(|field| field.place(shape.version).is_some())
        .filter(|field| shape.vlan || !matches!(field, Field::VlanId | Field::VlanPriority))
        .map(|field| row(profile, field))
        .collect();
    let protocol = if shape.protocol == Protocol::Udp { "udp" } else { "tcp" }.to_owned();
    let before_ports =
        rows.iter().position(|row| row.field == Field::SourcePort.name()).unwrap_or(rows.len());
    let row =
        HeaderRow { field: "protocol".to_owned(), first: protocol.clone(), last: protocol, varies: None };
    rows.insert(before_ports, row);
    rows
}

fn row(profile: &Profile, field: Field) -> HeaderRow {
    let sweep = profile.sweeps().iter().find(|sweep| sweep.field == field);
    let value = |flow| match profile.value(field, flow) {
        Some(value) => field.show(value, profile.shape().version),
        None => counted_from_port(field, sweep.map_or(0, |sweep| sweep.offset(flow))),
    };
    let varies = sweep.map(|sweep| {
        let order = sweep.random.map_or(String::new(), |seed| format!(", order from seed {seed}"));
        format!("{} by {}{order}", values(sweep.count), step(field, sweep.step, profile.shape().version))
    });
    HeaderRow { field: field.name().to_owned(), first: value(0), last: value(profile.flows() - 1), varies }
}

fn values(count: u32) -> String {
    format!("{count} value{}", if count == 1 { "" } else { "s" })
}

/// Small steps of addresses are shown as plain numbers.
fn step(field: Field, step: u128, version: IpVersion) -> String {
    if step <= 0xffff { step.to_string() } else { field.show(step, version) }
}

fn counted_from_port(field: Field, offset: u128) -> String {
    let owner = if field == Field::SourceMac { "the port's own" } else { "the peer's" };
    if offset == 0 { owner.to_owned() } else { format!("{owner} + {offset}") }
}

#[cfg(test)]
mod tests {
    use linerate_traffic::profile::RawProfile;

    use super::*;

    fn shown(json: &str) -> Vec<String> {
        let raw: RawProfile = serde_json::from_str(json).unwrap();
        let rows = headers(&raw.try_into().unwrap());
        rows.iter()
            .map(|row| {
                format!("{} {} {} {}", row.field, row.first, row.last, row.varies.as_deref().unwrap_or("-"))
            })
            .collect()
    }

    #[test]
    fn first_and_last_flow_are_shown() {
        assert_eq!(
            shown(r#"{"flows": 300, "flowMode": "sp"}"#),
            [
                "sourceMac the port's own the port's own -",
                "destinationMac the peer's the peer's -",
                "sourceIp 192.168.1.1 192.168.2.44 300 values by 1",
                "destinationIp 192.168.2.1 192.168.2.1 -",
                "dscp 0 0 -",
                "ttl 64 64 -",
                "protocol udp udp -",
                "sourcePort 1024 1323 300 values by 1",
                "destinationPort 1024 1024 -",
            ]
        );
    }

    #[test]
    fn tags_versions_and_unknown_addresses_are_shown() {
        let rows = shown(
            r#"{"frameSize": 128, "flows": 10, "source": {"ip": "2001:db8::1", "port": 5}, "destination": {"ip": "2001:db8::2", "port": 6},
                "vary": {"sourceMac": {}, "vlanId": {"count": 4}, "sourceIp": {"step": "::1:0:0"}, "flowLabel": {"random": 7}}}"#,
        );
        for row in [
            "sourceMac the port's own the port's own + 9 10 values by 1",
            "vlanId 1 2 4 values by 1",
            "vlanPriority 0 0 -",
            "sourceIp 2001:db8::1 2001:db8::9:0:1 10 values by ::1:0:0",
        ] {
            assert!(rows.iter().any(|theirs| theirs == row), "{row} is not in {rows:#?}");
        }
        assert!(rows.iter().any(|row| row.ends_with("10 values by 1, order from seed 7")), "{rows:#?}");
    }
}
