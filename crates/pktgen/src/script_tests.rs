//! Whole scripts, and every kind of call.

use linerate_traffic::profile::{Field, Payload, Protocol, Vlan};
use linerate_traffic::rate::Rate;

use super::*;

fn script(text: &str) -> Script {
    import(text.as_bytes(), Limits::default(), Options::default())
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn one(text: &str) -> Imported {
    let mut all = script(text).profiles;
    assert_eq!(all.len(), 1, "{text}");
    all.remove(0)
}

fn refused(text: &str) -> String {
    import(text.as_bytes(), Limits::default(), Options::default()).unwrap_err().to_string()
}

/// Calls for port 0 over UDP.
fn udp(lines: &str) -> String {
    format!("pktgen.set_proto(0, 'udp')\n{lines}\n")
}

#[test]
fn headers_that_profiles_have_are_imported() {
    let raw = one(&udp("pktgen.set(0, 'size', 128) pktgen.set(0, 'ttl', 7) pktgen.vlan(0, 'on') pktgen.vlanid(0, 55)\n\
         pktgen.cos(0, 0, 5) pktgen.tos(0, 0, 184) pktgen.set_type(0, 'ipv4') pktgen.userPattern(0, 'ab') pktgen.pattern(0, 'user')"))
    .profile;
    let raw = raw.raw();
    assert_eq!((raw.ttl, raw.dscp, raw.vlan), (7, 46, Some(Vlan { id: 55, priority: 5 })));
    assert_eq!(raw.payload, Payload::Pattern(b"ab".to_vec()));
    let six = one(&udp("pktgen.set(0, 'size', 128) pktgen.set_type(0, 'ipv6')\n\
         pktgen.set_ipaddr(0, 'src', '2001:db8::1/64') pktgen.set_ipaddr(0, 'dst', '2001:db8::2')"));
    assert_eq!(six.profile.raw().destination.ip.unwrap().to_string(), "2001:db8::2");
    let stepped = one(&udp("pktgen.vlan(0, 'on') pktgen.range.ip_proto(0, 'tcp')\n\
         for f, m in pairs{vlan_id = 109, ttl = 109, cos = 109, tos = 109, pkt_size = 128} do end\n\
         pktgen.range.vlan_id(0, 'start', 100) pktgen.range.vlan_id(0, 'min', 100) pktgen.range.vlan_id(0, 'max', 103) pktgen.range.vlan_id(0, 'inc', 1)\n\
         pktgen.range.ttl(0, 'min', 10) pktgen.range.ttl(0, 'max', 13) pktgen.range.ttl(0, 'inc', 1)\n\
         pktgen.range.cos(0, 'min', 0) pktgen.range.cos(0, 'max', 3) pktgen.range.cos(0, 'inc', 1)\n\
         pktgen.range.tos(0, 'min', 0) pktgen.range.tos(0, 'max', 12) pktgen.range.tos(0, 'inc', 4)\n\
         pktgen.range.pkt_size(0, 'start', 128) pktgen.set_range(0, 'on')"));
    assert_eq!((stepped.profile.flows(), stepped.profile.raw().protocol), (4, Protocol::Tcp));
    for (field, first, last) in
        [(Field::VlanId, 100, 103), (Field::Ttl, 10, 13), (Field::VlanPriority, 0, 3), (Field::Dscp, 0, 3)]
    {
        let profile = &stepped.profile;
        assert_eq!((profile.value(field, 0), profile.value(field, 3)), (Some(first), Some(last)), "{field}");
    }
    let untagged = one(&udp("pktgen.vlanid(0, 55)"));
    assert_eq!(untagged.profile.raw().vlan, None);
    assert!(untagged.notes.iter().any(|note| note.contains("never turns the tag on")));
}

#[test]
fn min_and_max_without_start_or_inc_have_the_addresses_of_the_script() {
    let bounds = |field: &str, min: &str, max: &str| {
        one(&udp(&format!(
            "pktgen.range.{field}(0, 'min', {min}) pktgen.range.{field}(0, 'max', {max}) pktgen.set_range(0, 'on')"
        )))
    };
    // Pktgen steps the destination by 1 by default, and does not step the source.
    let both = bounds("dst_ip", "'10.0.0.1'", "'10.0.0.9'");
    assert_eq!(
        (both.profile.flows(), both.profile.raw().destination.ip.unwrap().to_string().as_str()),
        (9, "10.0.0.1")
    );
    let still = bounds("src_ip", "'10.0.0.1'", "'10.0.0.9'");
    assert_eq!(
        (still.profile.flows(), still.profile.raw().source.ip.unwrap().to_string().as_str()),
        (1, "10.0.0.1")
    );
    assert!(still.notes.iter().any(|note| note.contains("the profile keeps 10.0.0.1")), "{:?}", still.notes);
    assert_eq!(bounds("dst_port", "80", "89").profile.flows(), 10);
}

#[test]
fn packets_before_the_loop_are_noted() {
    let odd = one(&udp("pktgen.range.src_port(0, 'start', 5678) pktgen.range.src_port(0, 'inc', 5)\n\
         pktgen.range.src_port(0, 'min', 1234) pktgen.range.src_port(0, 'max', 9999) pktgen.set_range(0, 'on')"));
    assert_eq!((odd.profile.flows(), odd.profile.raw().source.port), (1754, 1234));
    assert!(
        odd.notes.iter().any(|note| note.contains("start 5678 is none of the values")),
        "{:?}",
        odd.notes
    );
    let many = one(&udp("for f, n in pairs{src_port = 65521, dst_port = 65519} do\n\
         pktgen.range[f](0, 'min', 0) pktgen.range[f](0, 'max', n - 1) pktgen.range[f](0, 'inc', 1) end"));
    assert_eq!(many.profile.flows(), linerate_traffic::profile::MAX_FLOWS);
    assert!(many.notes.iter().any(|note| note.contains("4292870399 different headers")), "{:?}", many.notes);
}

/// A packet of a sequence, with fields that differ from packet to packet.
fn packet(index: u32, more: &str) -> String {
    format!(
        "pktgen.seqTable({index}, '0', {{eth_dst_addr = '0011:2233:445{index}', ip_dst_addr = '10.0.{index}.1', \
         ip_src_addr = '10.1.0.1/24', sport = {}, dport = 80, ethType = 'ipv4', ipProto = 'udp', vlanid = 1, pktSize = 128, {more}}})\n",
        1000 + 2 * index
    )
}

#[test]
fn sequences_that_step_evenly_are_flows() {
    let text = format!("{}pktgen.set('0', 'seq_cnt', 3)", (0..3).map(|i| packet(i, "")).collect::<String>());
    let imported = one(&text);
    let profile = &imported.profile;
    assert_eq!((profile.flows(), profile.frame_sizes().to_string().as_str()), (3, "128"));
    let last = |field: Field| {
        profile
            .value(field, 2)
            .map(|value| field.show(value, linerate_traffic::profile::IpVersion::V4))
            .unwrap()
    };
    assert_eq!(last(Field::DestinationIp), "10.0.2.1");
    assert_eq!(last(Field::DestinationMac), "00:11:22:33:44:52");
    assert_eq!((last(Field::SourcePort).as_str(), last(Field::SourceIp).as_str()), ("1004", "10.1.0.1"));
    let arguments = one(
        "pktgen.seq(0, '0', '0011:4455:6677', '0000:1234:5678', '10.11.0.1', '10.10.0.1/16', 5, 6, 'ipv4', 'udp', 1, 64)\n\
         pktgen.set('0', 'seq_cnt', 4)",
    );
    assert_eq!(arguments.profile.raw().source.port, 5);
    assert!(
        arguments.notes.iter().any(|note| note.contains("gives 1 of these packets")),
        "{:?}",
        arguments.notes
    );
    let sizes = format!("{}{}", packet(0, "pktSize = 64"), packet(1, "pktSize = 256"));
    assert_eq!(one(&sizes).profile.frame_sizes().to_string(), "64,256");
    for (text, part) in [
        (packet(0, "") + &packet(1, "") + &packet(3, ""), "eth_dst_addr does not step evenly"),
        (packet(0, "ipProto = 'tcp'") + &packet(1, ""), "mixes UDP and TCP"),
        (packet(0, "dport = 2152, gtpu_teid = 9"), "no GTP-U header"),
        (packet(0, "tos = 6"), "ECN bits"),
        (packet(0, "ipProto = 'tcp', tcp_flags = 'syn'"), "take tcp_flags out"),
        (packet(0, "ipProto = 'icmp'"), "is not one of udp, tcp"),
        ("pktgen.seqTable(16, '0', {})".to_owned(), "the table has no dport"),
    ] {
        let message = refused(&text);
        assert!(message.contains(part) && message.starts_with("line "), "{text}\n{message}");
    }
}

#[test]
fn a_rate_that_changes_while_the_port_sends_makes_stages() {
    let staged = one(&udp("pktgen.set(0, 'rate', 10) pktgen.start(0) sleep(10)\n\
         for _, r in ipairs{20, 40, 40} do pktgen.set(0, 'rate', r) pktgen.delay(5000) end pktgen.stop(0)"));
    let stages: Vec<String> = staged
        .profile
        .raw()
        .stages
        .iter()
        .map(|stage| format!("{} {:?}", stage.rate, stage.duration.0))
        .collect();
    assert_eq!(stages, ["10% 10s", "20% 5s", "40% 10s"]);
    let open = one(&udp("pktgen.start(0) pktgen.sleep(1) pktgen.set(0, 'rate', 5)"));
    assert_eq!(open.profile.raw().stages.len(), 2);
    let steady = one(&udp("pktgen.start(0) pktgen.set(0, 'rate', 5) pktgen.sleep(1)"));
    assert_eq!((steady.profile.raw().stages.len(), steady.profile.raw().rate), (0, Some(Rate::Percent(5.0))));
}

#[test]
fn a_port_that_is_started_with_several_loads_has_a_profile_of_each() {
    let text = udp("for _, size in ipairs{64, 128, 64} do\n\
         pktgen.set(0, 'size', size) pktgen.start(0) pktgen.delay(100) pktgen.stop(0)\n\
         pktgen.set(0, 'rate', pktgen.portStats(0)[0].opackets + 50) end");
    let sizes: Vec<String> =
        script(&text).profiles.iter().map(|one| one.profile.frame_sizes().to_string()).collect();
    assert_eq!(sizes, ["64", "128", "64"], "the third has another rate");
    assert!(script(&text).profiles[0].notes.iter().any(|note| note.contains("counters are 0 here")));
    let many = udp("for i = 1, 200 do pktgen.set(0, 'size', 64 + i) pktgen.start(0) pktgen.stop(0) end");
    let message = refused(&many);
    assert!(message.contains("more than 100 different loads"), "{message}");
}

#[test]
fn calls_that_shape_nothing_are_answered_and_listed() {
    let text = "#!/usr/bin/env pktgen\npackage.path = package.path .. ';?.lua'\nrequire 'Pktgen'\n\
        pktgen.screen('off') pktgen.pause('x\\n', 100) pktgen.page('range') pktgen.port(2) pktgen.ports_per_page(4)\n\
        pktgen.mac_from_arp('on') pktgen.send_arp('all', 'g') pktgen.icmp_echo('all', 'on') pktgen.process('all', 'on')\n\
        pktgen.capture('0', 'disable') pktgen.rxtap('0', 'disable') pktgen.blink('0', 'on') pktgen.jitter('0', 50)\n\
        printf('%d\\n', pktgen.portCount()) prints('x', pktgen.portStats('all', 'port')) print(pktgen.info.Pktgen_Version .. '')\n\
        if pktgen.linkState('0')[0]:match('%d+') ~= '10000' then error('link') end\n\
        if pktgen.isSending('0')[0] ~= 'n' then error('sending') end\n\
        if pktgen.pktStats(0)[0].latency.num_pkts ~= 0 then error('latency') end\n\
        if pktgen.continue('key: ') == 's' then error('key') end\n\
        local f = io.open('results.txt', 'w') f:write('a', 'b'):write('c') f:flush() f:close() io.write('x') io.flush()\n\
        if os.difftime(os.time(), os.time()) ~= 0 or os.clock() < 0.1 then error('time') end print(os.date('%c'))\n\
        pktgen.mpls('0', 'disable') pktgen.range.mpls_entry('0', '0') pktgen.pcap('0', 'disable') pktgen.rnd('0', 1, 20, 'off')\n\
        pktgen.set('0', 'prime', 1) pktgen.set('0', 'rxburst', 64) pktgen.set_proto('0', 'udp')\n\
        pktgen.start('0') pktgen.delay(10) pktgen.stop('0') pktgen.quit() os.exit(0) error('after the end')\n";
    let imported = script(text);
    assert_eq!(imported.profiles.len(), 1);
    for name in ["screen", "pause", "page", "quit", "portStats", "linkState", "blink", "jitter", "delay"] {
        assert!(imported.left_out.iter().any(|left| left == name), "{name}: {:?}", imported.left_out);
    }
    for marked in [format!("\u{feff}{text}"), format!("\u{feff}{}", &text[text.find("package").unwrap()..])] {
        let again = script(&marked);
        assert_eq!(
            (&again.left_out, &again.profiles[0].profile),
            (&imported.left_out, &imported.profiles[0].profile)
        );
    }
    // Line numbers include the first line.
    assert!(refused("#!/bin/pktgen\npktgen.set(0, 'rate', 0)").starts_with("line 2: "));
}

#[test]
fn what_a_profile_cannot_send_is_refused_with_a_remedy() {
    for (call, part) in [
        ("pktgen.mpls(0, 'on')", "no mpls header"),
        ("pktgen.qinq(0, 'enable')", "no qinq header"),
        ("pktgen.gre(0, 'enable')", "no gre header"),
        ("pktgen.vxlan(0, 'on')", "no vxlan header"),
        ("pktgen.range.gtpu_teid(0, 'start', 1)", "no GTP-U header"),
        ("pktgen.pcap(0, 'on')", "tx --pcap FILE"),
        ("pktgen.rnd(0, 1, 20, 'XX11')", "vary and random"),
        ("pktgen.rnd_s_ip(0, 'on')", "sourceIp: {random: 1}"),
        ("pktgen.run('x')", "import that file"),
        ("pktgen.set_type(0, 'arp')", "is not one of ipv4"),
        ("pktgen.tos(0, 1)", "ECN"),
        ("pktgen.range.src_ip(0, 'start', '::1')", "ranges of IPv6"),
        ("pktgen.userPattern(0, '')", "1 to 16 bytes"),
        ("pktgen.start()", "without arguments"),
    ] {
        let message = refused(&udp(call));
        assert!(message.contains(part) && message.starts_with("line 2: pktgen."), "{call}: {message}");
    }
    let flags = refused("pktgen.set(0, 'size', 128) pktgen.set_tcp_flags(0, 'syn')");
    assert!(flags.contains("line 1") && flags.contains("ACK alone"), "{flags}");
    assert!(refused("print('hello') pktgen.cls()").contains("what it calls shapes no traffic: cls"));
}

#[test]
fn frames_that_are_too_short_grow_when_that_is_wanted() {
    let text = "pktgen.set(0, 'rate', 5)\npktgen.start(0)";
    let message = refused(text);
    assert!(
        message.starts_with("line 1: ") && message.contains("74") && message.contains("--grow"),
        "{message}"
    );
    let grown =
        import(text.as_bytes(), Limits::default(), Options { grow: true }).unwrap().profiles.remove(0);
    assert_eq!(grown.profile.frame_sizes().to_string(), "74");
    assert!(grown.notes.iter().any(|note| note.contains("74 bytes now")), "{:?}", grown.notes);
}
