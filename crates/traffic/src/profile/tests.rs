//! Documents read, refused and named.

use super::*;

fn read(text: &str) -> Result<Profile, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn mode(flows: u32, flow_mode: FlowMode) -> Profile {
    RawProfile { flows, flow_mode: Some(flow_mode), ..RawProfile::default() }.try_into().unwrap()
}

#[test]
fn each_mode_varies_exactly_its_fields() {
    for (name, fields) in [
        ("s", "sourceIp"),
        ("d", "destinationIp"),
        ("sd", "sourceIp destinationIp"),
        ("sp", "sourceIp sourcePort"),
        ("dp", "sourceIp destinationPort"),
        ("spd", "sourceIp destinationIp sourcePort"),
        ("sdpp", "sourceIp destinationIp sourcePort destinationPort"),
        ("sdpd", "sourceIp destinationIp sourcePort destinationPort"),
    ] {
        let profile = mode(100, name.parse().unwrap());
        let varied: Vec<_> = profile.sweeps().iter().map(|sweep| sweep.field.name()).collect();
        assert_eq!(varied.join(" "), fields);
        assert!(profile.sweeps().iter().all(|sweep| (sweep.offset(0), sweep.offset(99)) == (0, 99)));
    }
}

#[test]
fn names_are_those_of_existing_result_directories() {
    assert_eq!(mode(100, FlowMode::Sdpd).name(), "profile_100_flows_pkt_size_64B_10_rate_sdpd");
    let fast = mode(1, FlowMode::S).with_rate(Rate::Pps(1e6));
    assert_eq!(fast.name(), "profile_1_flows_pkt_size_64B_1mpps_rate_s");
    let name = |text| read(text).unwrap().name();
    let tagged = name(r#"{"vlan": {"id": 7}}"#);
    assert!(tagged.starts_with("profile_1_flows_pkt_size_66B_10_rate_s_"), "{tagged}");
    assert_ne!(tagged, name(r#"{"vlan": {"id": 8}}"#));
    let staged = name(
        r#"{"frameSize": "imix", "vary": {"dscp": {}}, "stages": [{"rate": "1kpps", "duration": "1s"}]}"#,
    );
    assert!(staged.starts_with("profile_1_flows_pkt_size_imixB_staged_rate_dscp_"), "{staged}");
}

#[test]
fn a_profile_written_down_is_read_back() {
    for text in [
        "{}",
        r#"{"frameSize": "64:7,594:4,1518:1", "flows": 12, "rate": "max", "protocol": "tcp", "payload": "hex:c0ffee", "dscp": 46, "ttl": 3, "burst": 32, "frameSize": [128, 512]}"#,
        r#"{"frameSize": 128, "source": {"ip": "2001:db8::1", "port": 5}, "destination": {"ip": "2001:db8::2", "port": 6, "mac": "02:00:00:00:00:09"}, "flows": 100, "vary": {"sourceIp": {"step": "::1:0:0:0:0"}, "flowLabel": {"start": 9, "random": 3}, "destinationPort": {"count": 10}}}"#,
        r#"{"stages": [{"rate": "10%", "to": "100%", "duration": "10s"}, {"rate": "1mpps", "duration": "500ms"}]}"#,
    ] {
        // The reader rejects duplicate keys, which this test does not cover.
        let profile = match read(text) {
            Err(message) if message.contains("duplicate field") => continue,
            other => other.unwrap(),
        };
        let written = serde_json::to_string(&profile).unwrap();
        assert_eq!(read(&written).unwrap(), profile, "{written}");
    }
}

#[test]
fn what_cannot_be_sent_is_refused_by_field_value_and_range() {
    for (text, part) in [
        (r#"{"framesize": 512}"#, "unknown field `framesize`"),
        (r#"{"frameSize": 63}"#, "frame size '63'"),
        (r#"{"frameSize": "64:0"}"#, "weight '0'"),
        (r#"{"rate": "fast"}"#, "'fast' is not a rate"),
        (r#"{"flows": 0}"#, "flows: 0"),
        (r#"{"flows": 4194305}"#, "flows: 4194305 is outside 1…4194304"),
        (r#"{"flowMode": "SD"}"#, "unknown variant `SD`"),
        (r#"{"flowMode": "sd", "vary": {"ttl": {}}}"#, "exclude each other"),
        (
            r#"{"flows": 2, "source": {"ip": "255.255.255.255", "port": 1}}"#,
            "sourceIp: 2 values from 255.255.255.255 by 1 run past 255.255.255.255",
        ),
        (r#"{"flows": 64513, "flowMode": "sdpd"}"#, "sourcePort: 64513 values from 1024 by 1 run past 65535"),
        (r#"{"flows": 64513, "flowMode": "sdpd"}"#, "(s, d, sd)"),
        (r#"{"flows": 64, "vary": {"dscp": {"start": 1}}}"#, "dscp: 64 values from 1 by 1 run past 63"),
        (r#"{"vary": {"vlanId": {"start": 4096}}}"#, "vlanId: 4096 is outside 0…4095"),
        (r#"{"flows": 9, "vary": {"ttl": {"count": 3}}}"#, "repeat after 3"),
        (r#"{"flows": 2, "vary": {"ttl": {"step": 0}}}"#, "vary.ttl.step: 0"),
        (r#"{"vary": {"ttl": {"count": 0}}}"#, "vary.ttl.count: 0"),
        (r#"{"vary": {"flowLabel": {}}}"#, "IPv4 has no such field"),
        (r#"{"vary": {"colour": {}}}"#, "unknown variant `colour`"),
        (r#"{"source": {"ip": "2001:db8::1"}, "destination": {"ip": "192.168.2.1"}}"#, "different versions"),
        (
            r#"{"protocol": "tcp", "frameSize": 64}"#,
            "64 bytes do not hold Ethernet, IPv4, TCP and the 16 bytes of the probe; the smallest size is 74",
        ),
        (r#"{"vlan": {"id": 5, "priority": 9}}"#, "vlan.priority: 9 is outside 0…7"),
        (r#"{"vlan": {"id": 0}}"#, "vlan.id: 0 is outside 1…4094"),
        (r#"{"ttl": 0}"#, "ttl: 0 is outside 1…255"),
        (r#"{"dscp": 64}"#, "dscp: 64 is outside 0…63"),
        (r#"{"burst": 0}"#, "burst: 0 is outside 1…65536"),
        (r#"{"payload": "ones"}"#, "'ones' is no payload"),
        (r#"{"rate": "1mpps", "stages": [{"rate": "1mpps", "duration": "1s"}]}"#, "rate and stages exclude"),
        (r#"{"stages": [{"rate": "max", "duration": "1s"}]}"#, "stages[0]: 'max'"),
        (r#"{"stages": [{"rate": "1pps", "duration": "0s"}]}"#, "stages[0].duration"),
    ] {
        let Err(message) = read(text) else { panic!("{text} was accepted") };
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn headers_decide_the_smallest_frame() {
    for (text, smallest) in [
        (r#"{"frameSize": SIZE}"#, 64),
        (r#"{"frameSize": SIZE, "vlan": {"id": 1}}"#, 66),
        (r#"{"frameSize": SIZE, "protocol": "tcp"}"#, 74),
        (
            r#"{"frameSize": SIZE, "source": {"ip": "::1", "port": 1}, "destination": {"ip": "::2", "port": 1}}"#,
            82,
        ),
    ] {
        assert!(read(&text.replace("SIZE", &smallest.to_string())).is_ok(), "{text}");
        assert!(
            smallest == 64 || read(&text.replace("SIZE", &(smallest - 1).to_string())).is_err(),
            "{text}"
        );
    }
}

#[test]
fn loads_over_time_become_numbers() {
    let load = |text| read(text).unwrap().load(Some(10_000_000_000)).unwrap();
    assert_eq!(load(r#"{"rate": "max"}"#), None);
    let steady = load(r#"{"rate": "50%"}"#).unwrap();
    assert_eq!((steady.len(), steady[0].from_per_s as u64, steady[0].seconds), (1, 7_440_476, f64::INFINITY));
    let ramp = load(r#"{"stages": [{"rate": "1kpps", "to": "2kpps", "duration": "3s"}, {"rate": "5pps", "duration": "1s"}]}"#).unwrap();
    assert_eq!(ramp[0], StageRates { from_per_s: 1000.0, to_per_s: 2000.0, seconds: 3.0 });
    assert_eq!(ramp[1], StageRates { from_per_s: 5.0, to_per_s: 5.0, seconds: 1.0 });
}

#[test]
fn destinations_are_the_whole_range_sent_to() {
    let range = |text| {
        let (first, last) = read(text).unwrap().destinations();
        format!("{first} {last}")
    };
    assert_eq!(range(r#"{"flows": 10, "flowMode": "d"}"#), "192.168.2.1 192.168.2.10");
    assert_eq!(range(r#"{"flows": 10, "flowMode": "s"}"#), "192.168.2.1 192.168.2.1");
    assert_eq!(
        range(
            r#"{"flows": 2, "vary": {"destinationIp": {"start": "10.0.0.0", "step": "0.0.1.0", "count": 256, "random": 1}}}"#
        ),
        "10.0.0.0 10.0.255.0"
    );
}

#[test]
fn every_flow_has_its_values() {
    let profile = read(
        r#"{"flows": 300, "vary": {"sourceIp": {"step": 2}, "destinationPort": {"start": 7, "count": 3}, "sourceMac": {}}}"#,
    )
    .unwrap();
    let shown = |field: Field, flow| profile.value(field, flow).map(|value| field.show(value, IpVersion::V4));
    assert_eq!(shown(Field::SourceIp, 299).as_deref(), Some("192.168.3.87"));
    assert_eq!(shown(Field::DestinationPort, 299).as_deref(), Some("9"));
    assert_eq!(shown(Field::Ttl, 299).as_deref(), Some("64"));
    assert_eq!((shown(Field::SourceMac, 1), shown(Field::FlowLabel, 0)), (None, None));
}

#[test]
fn errors_name_the_allowed_places() {
    for (text, place) in [
        (r#"{"flows": 0}"#, "flows"),
        (r#"{"vlan": {"id": 0}}"#, "vlan.id"),
        (r#"{"flows": 2, "vary": {"ttl": {"step": 0}}}"#, "vary.ttl.step"),
        (r#"{"stages": [{"rate": "1pps", "duration": "0s"}]}"#, "stages[0].duration"),
        (r#"{"protocol": "tcp", "frameSize": 64}"#, "frameSize"),
    ] {
        let raw: RawProfile = serde_json::from_str(text).unwrap();
        assert_eq!(Profile::try_from(raw).unwrap_err().places()[0], place, "{text}");
    }
}
