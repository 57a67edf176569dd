//! Frames checked by an independent parser of headers and checksums: etherparse.

use etherparse::{LaxPacketHeaders, NetHeaders, TransportHeader};
use linerate_traffic::mac::MacAddr;
use linerate_traffic::profile::RawProfile;

use super::*;

/// One buffer, and the length of the frame in it.
struct Single<'a>(&'a mut [u8], &'a mut usize);

impl Slots for Single<'_> {
    fn each(self, mut write: impl FnMut(&mut [u8]) -> u16) -> usize {
        *self.1 = usize::from(write(self.0));
        1
    }
}

/// The writer's next frame, whole.
pub(crate) fn next_frame(writer: &mut FrameWriter, template: &[u8], ticks: u64) -> Vec<u8> {
    let (mut frame, mut length) = (template.to_vec(), 0);
    writer.write(Single(&mut frame, &mut length), ticks);
    frame.truncate(length);
    frame
}

fn profile(document: &str) -> Profile {
    serde_json::from_str(document).unwrap()
}

/// Every frame of one round, whole.
fn round(profile: &Profile, tag: u16, packets: u32) -> Vec<Vec<u8>> {
    let frames = Frames::new(profile, MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
    let mut writer = FrameWriter::new(profile, &frames, tag, 0, 1).unwrap();
    let template = frames.template();
    (0..packets).map(|i| next_frame(&mut writer, &template, 0x12_3456_789a + u64::from(i))).collect()
}

/// Checks headers, lengths and checksums, and shows the varied fields: MACs, VLAN, addresses, DSCP, TTL,
/// ports.
fn inspect(frame: &[u8]) -> String {
    let packet = LaxPacketHeaders::from_ethernet(frame).unwrap();
    assert!(packet.stop_err.is_none(), "{:?}", packet.stop_err);
    let link = packet.link.unwrap().ethernet2().unwrap();
    let vlan = packet.link_exts.first().map(|tag| format!("{tag:?}")).unwrap_or_default();
    let payload = packet.payload.slice();
    let transport = packet.transport.unwrap();
    let (net, transport_right) = match packet.net.unwrap() {
        NetHeaders::Ipv4(ip, _) => {
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            assert_eq!(usize::from(ip.total_len), frame.len() - if vlan.is_empty() { 14 } else { 18 });
            let right = match &transport {
                TransportHeader::Udp(udp) => udp.checksum == udp.calc_checksum_ipv4(&ip, payload).unwrap(),
                TransportHeader::Tcp(tcp) => {
                    tcp.checksum % 0xffff == tcp.calc_checksum_ipv4(&ip, payload).unwrap() % 0xffff
                }
                _ => false,
            };
            (format!("{:?} {:?} {} {}", ip.source, ip.destination, ip.dscp.value(), ip.time_to_live), right)
        }
        NetHeaders::Ipv6(ip, _) => {
            let right = match &transport {
                TransportHeader::Udp(udp) => udp.checksum == udp.calc_checksum_ipv6(&ip, payload).unwrap(),
                TransportHeader::Tcp(tcp) => {
                    tcp.checksum % 0xffff == tcp.calc_checksum_ipv6(&ip, payload).unwrap() % 0xffff
                }
                _ => false,
            };
            let dscp = ip.traffic_class >> 2;
            let label = ip.flow_label.value();
            (format!("{:?} {:?} {dscp} {} {label}", ip.source, ip.destination, ip.hop_limit), right)
        }
        other => panic!("{other:?}"),
    };
    assert!(transport_right, "{transport:?}");
    let ports = match transport {
        TransportHeader::Udp(udp) => {
            assert_eq!(usize::from(udp.length), payload.len() + 8);
            (udp.source_port, udp.destination_port)
        }
        TransportHeader::Tcp(tcp) => (tcp.source_port, tcp.destination_port),
        other => panic!("{other:?}"),
    };
    format!("{:?} {:?} {vlan} {net} {ports:?}", link.source, link.destination)
}

#[test]
fn workers_divide_the_flows_and_number_each_from_zero() {
    let profile = profile(r#"{"flows": 10, "flowMode": "sdpd"}"#);
    let frames = Frames::new(&profile, MacAddr([2; 6]), MacAddr([4; 6]));
    let mut seen = vec![Vec::new(); 10];
    for worker in 0..3 {
        let mut writer = FrameWriter::new(&profile, &frames, 9, worker, 3).unwrap();
        for _ in 0..writer.flow_count() * 4 {
            let frame = next_frame(&mut writer, &frames.template(), 0);
            let probe = Probe::from_bytes(frame[42..].first_chunk().unwrap()).unwrap();
            assert_eq!((probe.flow % 3, probe.tag), (worker, 9));
            seen[probe.flow as usize].push(probe.sequence);
        }
    }
    assert!(seen.iter().all(|sequences| *sequences == [0, 1, 2, 3]), "{seen:?}");
    assert!(FrameWriter::new(&profile, &frames, 0, 10, 11).is_none());
}

#[test]
fn every_shape_and_field_is_right_over_exactly_its_flows() {
    let v6 =
        r#""source": {"ip": "2001:db8::1", "port": 7}, "destination": {"ip": "2001:db8:1::ffff", "port": 9}"#;
    // Miri needs a second for each ten thousand bytes, and finds the same in short frames.
    let (long, longest) = if cfg!(miri) { (118, 202) } else { (1518, 9000) };
    for (flows, others) in [
        (300, r#""flowMode": "sdpd""#.to_owned()),
        (70, r#""vary": {"sourceMac": {"step": 3}, "destinationMac": {}}"#.to_owned()),
        (70, r#""vary": {"vlanId": {"start": 100}, "sourcePort": {"random": 5}}, "payload": "increment", "frameSize": 131"#.to_owned()),
        (8, r#""vary": {"vlanPriority": {}}, "vlan": {"id": 7}"#.to_owned()),
        (64, r#""vary": {"dscp": {}, "ttl": {"start": 2, "step": 2}}"#.to_owned()),
        (50, format!(r#""protocol": "tcp", "flowMode": "sdpp", "payload": "random:3", "frameSize": {long}"#)),
        (90, format!(r#""vary": {{"sourceIp": {{"step": "::1:0:0:0:0"}}, "destinationPort": {{}}}}, {v6}"#)),
        (90, format!(r#""vary": {{"flowLabel": {{}}, "destinationIp": {{}}, "dscp": {{"count": 30}}}}, "vlan": {{"id": 9}}, "protocol": "tcp", {v6}"#)),
        (12, r#""frameSize": "imix", "flowMode": "sd", "payload": "hex:c0ffee""#.to_owned()),
        (5, format!(r#""frameSize": [300, 82, {longest}], "flowMode": "sp", {v6}"#)),
        (7, r#""frameSize": "74:3,600:2", "protocol": "tcp", "flowMode": "s""#.to_owned()),
    ] {
        let flows: u32 = if cfg!(miri) { flows.min(2) } else { flows };
        let document = format!(r#"{{"flows": {flows}, {others}}}"#);
        let profile = profile(&document);
        let rounds = if cfg!(miri) { 2 } else { 3 };
        let frames = round(&profile, 3, rounds * flows);
        let shown: Vec<String> = frames.iter().map(|frame| inspect(frame)).collect();
        let distinct: std::collections::BTreeSet<&String> = shown.iter().collect();
        assert_eq!(distinct.len() as u32, flows, "{document}");
        assert_eq!(shown[..flows as usize], shown[flows as usize..2 * flows as usize], "{document}");
        let sizes = profile.frame_sizes().sequence();
        for (frame, size) in frames.iter().zip(sizes.iter().cycle()) {
            assert_eq!(frame.len() as u32, size.port_bytes(), "{document}");
        }
    }
}

#[test]
fn checksums_hold_for_any_time_sequence_and_restamp() {
    let profile: Profile =
        RawProfile { flows: if cfg!(miri) { 40 } else { 5000 }, ..RawProfile::default() }.try_into().unwrap();
    let frames = Frames::new(&profile, MacAddr([2; 6]), MacAddr([4; 6]));
    let mut writer = FrameWriter::new(&profile, &frames, 0xffff, 0, 1).unwrap();
    let mut ticks = 1u64;
    for _ in 0..if cfg!(miri) { 10 } else { 20_000 } {
        let mut head = frames.template();
        ticks = ticks.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        writer.write(Single(&mut head, &mut 0), ticks);
        inspect(&head[..60]);
        let before = Probe::from_bytes(head[42..].first_chunk().unwrap()).unwrap();
        writer.restamp(head.first_chunk_mut().unwrap(), ticks >> 7);
        inspect(&head[..60]);
        let after = Probe::from_bytes(head[42..].first_chunk().unwrap()).unwrap();
        assert_eq!(after, Probe { ticks: (ticks >> 7) & ((1 << 40) - 1), ..before });
        assert_ne!(head[40..42], [0, 0]);
    }
}
