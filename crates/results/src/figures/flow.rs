//! Flows of a result: the receiver's counts, and the header fields of the packets.

use std::collections::BTreeMap;

use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::{Field, Profile};
use linerate_wire::report::FlowReport;

use crate::clock::ClockVerdict;
use crate::summary::FlowSummary;

/// Fields that are given for every flow, even if all flows have the same value.
const ALWAYS: [Field; 4] = [Field::SourceIp, Field::DestinationIp, Field::SourcePort, Field::DestinationPort];

/// Figures of a flow. It has a delay only if `clock` allows one, of the kind that `clock` states.
pub(super) fn summary(
    profile: &Profile,
    macs: (MacAddr, MacAddr),
    flow: &FlowReport,
    clock: &ClockVerdict,
) -> FlowSummary {
    FlowSummary {
        flow: flow.flow,
        header: header(profile, macs, flow.flow),
        sent_packets: flow.sent,
        received_packets: flow.received,
        lost_packets: flow.lost,
        duplicate_packets: flow.duplicates,
        reordered_packets: flow.reordered,
        extent_max: flow.largest_extent,
        delay_ns: flow.delay_ns.filter(|_| clock.one_way_valid),
        round_trip_ns: flow.delay_ns.filter(|_| clock.round_trip_valid),
    }
}

/// Header fields of flow `index`: addresses, ports, and every other field that differs between flows. `macs`
/// are the addresses of the transmitting and the receiving port.
fn header(profile: &Profile, macs: (MacAddr, MacAddr), index: u32) -> BTreeMap<Field, String> {
    let version = profile.shape().version;
    let varied = profile.sweeps().iter().map(|sweep| sweep.field);
    varied
        .chain(ALWAYS)
        .filter_map(|field| {
            let value = profile.value_between(field, index, macs)?;
            Some((field, field.show(value, version)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use linerate_traffic::profile::RawProfile;

    use super::*;

    fn shown(document: &str, index: u32) -> String {
        let raw: RawProfile = serde_json::from_str(document).unwrap();
        let macs = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 0xff]));
        let header = header(&raw.try_into().unwrap(), macs, index);
        header.iter().map(|(field, value)| format!("{field}={value}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_flow_is_named_by_its_headers() {
        for (document, index, expected) in [
            (
                r#"{"flows": 300, "flowMode": "s"}"#,
                258,
                "sourceIp=192.168.2.3 destinationIp=192.168.2.1 sourcePort=1024 destinationPort=1024",
            ),
            (
                r#"{"flows": 300, "flowMode": "dp"}"#,
                7,
                "sourceIp=192.168.1.8 destinationIp=192.168.2.1 sourcePort=1024 destinationPort=1031",
            ),
            (
                r#"{"flows": 10, "vary": {"vlanId": {"start": 100, "step": 10, "count": 3}, "destinationMac": {}}}"#,
                4,
                "destinationMac=02:00:00:00:01:03 vlanId=110 sourceIp=192.168.1.1 destinationIp=192.168.2.1 \
                 sourcePort=1024 destinationPort=1024",
            ),
            (
                r#"{"flows": 9, "source": {"ip": "2001:db8::1", "port": 9}, "destination": {"ip": "2001:db8::2", "port": 10},
                    "vary": {"flowLabel": {}, "sourceIp": {"step": "::1:0"}}}"#,
                2,
                "sourceIp=2001:db8::2:1 destinationIp=2001:db8::2 flowLabel=2 sourcePort=9 destinationPort=10",
            ),
        ] {
            assert_eq!(shown(document, index), expected, "{document}");
        }
    }
}
