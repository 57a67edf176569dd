//! Two hosts in network namespaces: the kernel's nftables count what passes, and agree to the byte and to the datagram.

use std::time::Duration;

use crate::common::lab::{A, B, B6, Lab};
use crate::common::{PROGRESS, Running, exact_bytes, exact_datagrams, float, number, result, run, stderr};

/// Marks the streams and nothing else: neither the control connection nor the set-up.
const MARK: &str = "--dscp 10";
/// Headers of IPv4 and TCP with time stamps.
const TCP_HEADERS: u64 = 52;

/// Counts marked packets as they come in at an end, before and after a rule.
fn count_marked(lab: &Lab, end: &str, rule: &str) {
    lab.rules(
        end,
        &format!(
            "table inet t {{\n counter before {{ }}\n counter after {{ }}\n chain c {{\n type filter hook prerouting priority -400;\n \
             ip dscp 10 counter name before\n {rule}\n ip dscp 10 counter name after\n }}\n}}\n"
        ),
    );
}

#[test]
fn datagrams_agree_with_the_kernels_counters() {
    let Some(lab) = Lab::new("datagrams_agree_with_the_kernels_counters") else { return };
    count_marked(&lab, "b", "");
    let _server = lab.server("");
    let result = lab.result("udp", &format!("--rate 3kpps --size 777 --bytes 2331000 --parallel 3 {MARK}"));
    let (sent, lost) = exact_datagrams(&result["directions"][0]);
    assert_eq!((sent, lost), (3000, 0));
    assert_eq!(lab.counter("b", "before"), (3000, 3000 * (777 + 28)));
}

#[test]
fn datagrams_that_a_rule_drops_are_lost_to_the_datagram() {
    let Some(lab) = Lab::new("datagrams_that_a_rule_drops_are_lost_to_the_datagram") else { return };
    count_marked(&lab, "b", "ip dscp 10 numgen random mod 100 < 3 drop");
    let _server = lab.server("");
    let result = lab.result("udp", &format!("--rate 5kpps --size 200 --duration 1s --parallel 2 {MARK}"));
    let direction = &result["directions"][0];
    let (sent, lost) = exact_datagrams(direction);
    let ((before, _), (after, _)) = (lab.counter("b", "before"), lab.counter("b", "after"));
    assert_eq!((sent, lost), (before, before - after), "{direction}");
    assert!(lost > 50, "{lost}");
    assert_eq!(direction["verdict"]["kind"], "network-limited", "{direction}");
}

#[test]
fn bytes_of_tcp_agree_with_the_kernels_counters() {
    let Some(lab) = Lab::new("bytes_of_tcp_agree_with_the_kernels_counters") else { return };
    count_marked(&lab, "b", "");
    let _server = lab.server("");
    for options in ["--bytes 3000000", "--rate 20mbps --duration 1s --parallel 3 --mss 800"] {
        let (packets, bytes) = lab.counter("b", "before");
        let result = lab.result("tcp", &format!("{options} {MARK}"));
        let direction = &result["directions"][0];
        let sent = exact_bytes(direction);
        let again: u64 = direction["streams"]
            .as_array()
            .unwrap()
            .iter()
            .map(|stream| number(stream, "/sent/tcp/bytes_retransmitted"))
            .sum();
        let (packets, bytes) = {
            let (after_packets, after_bytes) = lab.counter("b", "before");
            (after_packets - packets, after_bytes - bytes)
        };
        assert_eq!(bytes - TCP_HEADERS * packets, sent + again, "{direction}");
    }
    // Segments as small as asked for: the kernel handed no larger ones to the path.
    lab.set("a", "ip link set veth-a gso_max_segs 1");
    let (packets, bytes) = lab.counter("b", "before");
    lab.result("tcp", &format!("--bytes 1000000 --mss 500 {MARK}"));
    let (after_packets, after_bytes) = lab.counter("b", "before");
    let mean = (after_bytes - bytes) as f64 / (after_packets - packets) as f64 - TCP_HEADERS as f64;
    assert!(mean <= 500.0, "{mean}");
}

#[test]
fn lost_segments_are_sent_again_and_counted() {
    let Some(lab) = Lab::new("lost_segments_are_sent_again_and_counted") else { return };
    count_marked(&lab, "b", "ip dscp 10 numgen random mod 1000 < 5 drop");
    let _server = lab.server("");
    let result = lab.result("tcp", &format!("--rate 30mbps --duration 2s --parallel 2 {MARK}"));
    let direction = &result["directions"][0];
    exact_bytes(direction);
    let ((before, _), (after, _)) = (lab.counter("b", "before"), lab.counter("b", "after"));
    let retransmits = number(direction, "/tcp/retransmits");
    // A dropped packet may hold several segments, and some are pure acknowledgements.
    assert!(before > after && retransmits > 0, "{retransmits} of {}", before - after);
    let intervals = result["intervals"].as_array().unwrap();
    let told: u64 = intervals.iter().map(|interval| number(interval, "/directions/0/sent/retransmits")).sum();
    assert!(told <= retransmits && told > 0, "{told} of {retransmits}");
}

#[test]
fn a_path_of_known_rate_is_the_limit_and_its_asymmetry_is_seen() {
    let Some(lab) = Lab::new("a_path_of_known_rate_is_the_limit_and_its_asymmetry_is_seen") else { return };
    lab.set("a", "tc qdisc add dev veth-a root tbf rate 24mbit burst 32kb limit 200kb");
    lab.set("b", "tc qdisc add dev veth-b root tbf rate 20mbit burst 32kb limit 200kb");
    let _server = lab.server("");
    let result = lab.result("tcp", "--duration 3s --bidirectional --congestion cubic");
    for (index, rate, name) in [(0, 24e6, "forward"), (1, 20e6, "reverse")] {
        let direction = &result["directions"][index];
        assert_eq!(direction["direction"], name);
        exact_bytes(direction);
        // Headers take some per cent of the path, the acknowledgements of the other direction some more, and so do ends that wait for a CPU.
        let received = float(direction, "/received_bps");
        assert!(received > 0.6 * rate && received < 0.98 * rate, "{name}: {received}");
        assert_eq!(direction["verdict"]["kind"], "network-limited", "{direction}");
        assert!(float(direction, "/tcp/rtt_us/2") > 2000.0, "the queue is seen: {direction}");
    }
}

#[test]
fn a_slow_path_drops_datagrams_and_the_sender_is_told_what_its_own_queue_dropped() {
    let Some(lab) = Lab::new("a_slow_path_drops_datagrams_and_the_sender_is_told_what_its_own_queue_dropped")
    else {
        return;
    };
    // The queue is the sender's own: the kernel says so for each datagram.
    lab.set("a", "tc qdisc add dev veth-a root tbf rate 10mbit burst 16kb limit 32kb");
    let _server = lab.server("");
    let result = lab.result("udp", "--rate 30mbps --size 1000 --duration 1s");
    let direction = &result["directions"][0];
    let (_, lost) = exact_datagrams(direction);
    let refused = number(direction, "/udp/refused");
    assert!(lost == 0 && refused > 1000, "{direction}");
    assert_eq!(direction["verdict"]["kind"], "send-buffer-limited", "{direction}");
    let notes = result["client"]["notes"].to_string();
    assert!(notes.contains("a queue of this host was full"), "{notes}");
}

#[test]
fn a_rule_of_the_senders_firewall_is_named() {
    let Some(lab) = Lab::new("a_rule_of_the_senders_firewall_is_named") else { return };
    lab.rules(
        "a",
        "table inet t {\n chain c {\n type filter hook output priority 0;\n ip dscp 10 numgen random mod 10 < 1 drop\n }\n}\n",
    );
    let _server = lab.server("");
    let result = lab.result("udp", &format!("--rate 2kpps --size 100 --duration 1s {MARK}"));
    let direction = &result["directions"][0];
    exact_datagrams(direction);
    // A sender that had no CPU for a while hands the kernel many datagrams at once, which pass the rule as one.
    assert!(number(direction, "/udp/refused") > 0, "{direction}");
    assert!(result["client"]["notes"].to_string().contains("firewall"), "{}", result["client"]);
}

#[test]
fn a_receive_buffer_that_is_too_small_is_told_from_the_path() {
    let Some(lab) = Lab::new("a_receive_buffer_that_is_too_small_is_told_from_the_path") else { return };
    let server = lab.server("");
    let options = "--json --rate 40kpps --size 1200 --duration 2s --window 8192 --interval 100ms";
    let mut client = crate::common::Running::start(&mut lab.hostplane("a", &format!("udp {B} {options}")));
    client.wait_for_stderr(PROGRESS);
    // The server gets no CPU for a while: its socket overflows.
    server.signal("STOP");
    std::thread::sleep(Duration::from_millis(200));
    server.signal("CONT");
    let output = client.output();
    assert!(output.status.success(), "{}", stderr(&output));
    let result = crate::common::json(&output);
    let direction = &result["directions"][0];
    let (_, lost) = exact_datagrams(direction);
    assert_eq!(number(direction, "/udp/socket_drops"), lost, "{direction}");
    assert!(lost > 1000, "{lost}");
    assert_eq!(direction["verdict"]["kind"], "receiver-limited", "{direction}");
}

#[test]
fn interfaces_addresses_and_both_versions_of_ip_work_between_hosts() {
    let Some(lab) = Lab::new("interfaces_addresses_and_both_versions_of_ip_work_between_hosts") else {
        return;
    };
    let _server = lab.server("");
    for (protocol, options) in [
        ("tcp", format!("{B} --interface veth-a --bind {A}")),
        ("udp", format!("{B} --interface veth-a --bind {A}")),
        ("tcp", B6.to_owned()),
        ("udp", format!("{B6} --bind fd77::1")),
    ] {
        let line =
            format!("{protocol} {options} --json --quiet --rate 10mbps --duration 300ms --bidirectional");
        let result = result(&mut lab.hostplane("a", &line));
        for direction in result["directions"].as_array().unwrap() {
            let stream = &direction["streams"][0];
            assert_eq!(stream["sent"]["local"], stream["received"]["peer"], "{stream}");
        }
        // Payloads of datagrams fit the MTU.
        if protocol == "udp" {
            let bytes = number(&result, "/trial/block_bytes");
            assert_eq!(bytes, if options.contains(B6) { 1452 } else { 1472 });
        }
    }
    let wrong = run(&mut lab.hostplane("a", &format!("tcp {B} --interface lo --duration 1s")));
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains("remedy"), "{}", stderr(&wrong));
}

#[test]
fn a_firewall_that_drops_udp_is_told_before_the_trial() {
    let Some(lab) = Lab::new("a_firewall_that_drops_udp_is_told_before_the_trial") else { return };
    lab.rules(
        "b",
        "table inet t {\n chain c {\n type filter hook input priority 0;\n meta l4proto udp drop\n }\n}\n",
    );
    let _server = lab.server("");
    let output = run(&mut lab.client("udp", "--rate 1mbps --duration 1s --parallel 2"));
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("0 of 2 streams were answered") && text.contains("drops UDP on port 22023"),
        "{text}"
    );
}

#[test]
fn datagrams_longer_than_the_mtu_are_counted_whole_and_noted() {
    let Some(lab) = Lab::new("datagrams_longer_than_the_mtu_are_counted_whole_and_noted") else { return };
    count_marked(&lab, "b", "");
    let _server = lab.server("");
    let result =
        lab.result("udp", &format!("--rate 500pps --size 4000 --bytes 800000 --bidirectional {MARK}"));
    for direction in result["directions"].as_array().unwrap() {
        assert_eq!(exact_datagrams(direction), (200, 0));
    }
    for end in ["client", "server"] {
        let notes = result[end]["notes"].to_string();
        assert!(notes.contains("4000 bytes do not fit the path's MTU of 1500"), "{end}: {notes}");
    }
}

#[test]
fn datagrams_that_the_senders_kernel_drops_are_sent_again_or_refused() {
    let Some(lab) = Lab::new("datagrams_that_the_senders_kernel_drops_are_sent_again_or_refused") else {
        return;
    };
    lab.rules(
        "a",
        "table inet t {\n counter dropped { }\n counter passed { }\n chain c {\n type filter hook output priority 0;\n \
         ip dscp 10 numgen inc mod 10 < 1 counter name dropped drop\n ip dscp 10 counter name passed\n }\n}\n",
    );
    let _server = lab.server("");
    // So fast that most calls are given several datagrams, and so few that they never fill half of the send buffer.
    let result = lab.result("udp", &format!("--rate 20kpps --size 100 --duration 10ms {MARK}"));
    let direction = &result["directions"][0];
    let (sent, lost) = exact_datagrams(direction);
    let (dropped, passed) = (lab.counter("a", "dropped").0, lab.counter("a", "passed").0);
    let refused = number(direction, "/udp/refused");
    assert_eq!((sent, lost), (passed, 0), "{direction}");
    assert!(dropped > 0 && refused <= dropped, "{refused} of {dropped}: {direction}");
    assert_eq!(sent + refused + number(direction, "/forgone"), 200, "{direction}");
}

#[test]
fn link_local_addresses_carry_datagrams_and_requests() {
    let Some(lab) = Lab::new("link_local_addresses_carry_datagrams_and_requests") else { return };
    for (end, address) in [("a", "fe80::71"), ("b", "fe80::72")] {
        lab.set(end, &format!("ip -6 address add {address}/64 dev veth-{end} nodad"));
    }
    let _server = lab.server("");
    let there = "fe80::72%veth-a --json";
    let options = "--quiet --rate 2kpps --size 200 --duration 100ms --bidirectional";
    let datagrams = result(&mut lab.hostplane("a", &format!("udp {there} {options}")));
    for direction in datagrams["directions"].as_array().unwrap() {
        assert_eq!(exact_datagrams(direction).1, 0, "{direction}");
    }
    let requests = result(&mut lab.hostplane("a", &format!("rr {there} --udp --duration 100ms")));
    assert_eq!(number(&requests, "/lost"), 0, "{requests}");
}

#[test]
fn a_backend_at_all_addresses_answers_both_versions_of_ip_whatever_the_hosts_default_is() {
    let Some(lab) =
        Lab::new("a_backend_at_all_addresses_answers_both_versions_of_ip_whatever_the_hosts_default_is")
    else {
        return;
    };
    lab.within("b", || std::fs::write("/proc/sys/net/ipv6/bindv6only", "1").unwrap());
    let mut backend = Running::start(&mut lab.hostplane("b", "backend --listen [::]:8080"));
    backend.wait_for_stderr("listens at [::]:8080");
    for address in [B.to_owned(), format!("[{B6}]")] {
        let options = format!("http --json --quiet -c 2 -n 20 http://{address}:8080/");
        assert_eq!(number(&result(&mut lab.hostplane("a", &options)), "/requests"), 20, "{address}");
    }
}
