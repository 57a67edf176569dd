//! Both ends on the loopback interface.

use std::time::Duration;

use serde_json::Value;

use crate::common::{
    PROGRESS, Running, Server, exact_bytes, exact_datagrams, float, hearing_hang_ups, hostplane, json,
    number, result, run, sockets, stderr, until,
};

fn directions(result: &Value) -> Vec<&str> {
    result["directions"].as_array().unwrap().iter().map(|one| one["direction"].as_str().unwrap()).collect()
}

#[test]
fn bytes_of_tcp_are_written_acknowledged_and_received_in_both_directions() {
    let server = Server::start("");
    for (options, expected) in [
        ("", &["forward"][..]),
        ("--reverse", &["reverse"]),
        ("--bidirectional", &["forward", "reverse"]),
        ("--parallel 5 --block 1000", &["forward"]),
        ("--parallel 3 --reverse --skip-copy", &["reverse"]),
    ] {
        let result = result(&mut server.client("tcp", &format!("--duration 400ms {options}")));
        assert_eq!(directions(&result), expected);
        for direction in result["directions"].as_array().unwrap() {
            assert!(exact_bytes(direction) > 1_000_000, "{direction}");
            let seconds = float(direction, "/sending_s");
            assert!((seconds - 0.4).abs() < 0.05, "{direction}");
            assert_eq!(direction["ended"], "duration");
        }
        let account = server.account();
        assert_eq!(account["end"], "", "{account}");
    }
    server.has_no_sockets_left();
}

#[test]
fn a_number_of_bytes_is_sent_exactly() {
    let server = Server::start("");
    for (options, bytes) in [
        ("--bytes 1", 1),
        ("--bytes 12345678 --parallel 4", 12_345_678),
        ("--bytes 5MiB --rate 400mbps --parallel 3", 5 << 20),
        ("--bytes 7M --bidirectional", 7_000_000),
    ] {
        let result = result(&mut server.client("tcp", options));
        for direction in result["directions"].as_array().unwrap() {
            assert_eq!(exact_bytes(direction), bytes, "{options}");
            assert_eq!(direction["ended"], "bytes");
        }
    }
    // Whole datagrams only.
    let result = result(&mut server.client("udp", "--bytes 100001 --size 1000 --rate 50mbps --parallel 2"));
    assert_eq!(exact_datagrams(&result["directions"][0]), (101, 0));
}

#[test]
fn datagrams_are_counted_in_both_directions() {
    let server = Server::start("");
    for (size, options) in [
        (1000, ""),
        (1000, "--reverse"),
        (1000, "--bidirectional --parallel 2"),
        (1400, "--gso 8 --gro"),
        (16, ""),
        (9000, "--gro"),
    ] {
        let options = format!("--size {size} --bytes {} --rate 4kpps {options}", 2000 * size);
        let result = result(&mut server.client("udp", &options));
        for direction in result["directions"].as_array().unwrap() {
            let (sent, lost) = exact_datagrams(direction);
            assert_eq!((sent, lost), (2000, 0), "{options}: {direction}");
            assert_eq!(number(direction, "/udp/foreign") + number(direction, "/udp/duplicates"), 0);
            // One clock: delays are those of the path.
            let (min, max) = (number(direction, "/udp/delay_ns/min"), number(direction, "/udp/delay_ns/max"));
            assert!(min > 500 && min <= max && max < 2_000_000_000, "{direction}");
            assert!(float(direction, "/udp/jitter_ns/0") > 0.0, "{direction}");
            assert_eq!(direction["ended"], "bytes");
        }
    }
}

#[test]
fn many_streams_share_one_load() {
    let server = Server::start("");
    let result =
        result(&mut server.client("tcp", "--parallel 128 --rate 200mbps --duration 1s --interval 500ms"));
    let direction = &result["directions"][0];
    let sent = exact_bytes(direction);
    assert!((12_000_000..=25_000_000).contains(&sent), "{sent}");
    assert_eq!(direction["streams"].as_array().unwrap().len(), 128);
    let interval = &result["intervals"][0];
    assert!(number(interval, "/directions/0/received/alive") > 60, "{interval}");
    assert_eq!(interval["directions"][0]["sent"]["streams"].as_array().unwrap().len(), 128);
}

#[test]
fn many_clients_are_served_at_once_on_one_port() {
    let server = Server::start("");
    let start = |index: usize| {
        let options = match index % 4 {
            0 => "--rate 20mbps --parallel 2",
            1 => "--rate 20mbps --reverse",
            2 => "--rate 1kpps --size 200",
            _ => "--rate 1kpps --size 200 --bidirectional",
        };
        let end = if index % 4 < 2 { "--duration 1s" } else { "--bytes 200000" };
        let protocol = if index % 4 < 2 { "tcp" } else { "udp" };
        Running::start(&mut server.client(protocol, &format!("{options} {end}")))
    };
    let clients: Vec<Running> = (0..24).map(start).collect();
    for (index, client) in clients.into_iter().enumerate() {
        let output = client.output();
        assert!(output.status.success(), "client {index}: {}", stderr(&output));
        let result = json(&output);
        for direction in result["directions"].as_array().unwrap() {
            if index % 4 < 2 {
                exact_bytes(direction);
            } else {
                assert_eq!(exact_datagrams(direction).0, 1000);
            }
        }
    }
    server.has_no_sockets_left();
}

#[test]
fn ipv6_and_its_mapped_form_of_ipv4_are_served() {
    let server = Server::start_as(hostplane("serve --listen [::]:0 --json"));
    for (host, protocol) in [("::1", "tcp"), ("[::1]", "udp"), ("127.0.0.1", "tcp"), ("127.0.0.1", "udp")] {
        let options = format!(
            "{protocol} {host} --port {} --json -q --bytes 200kB --rate 8mbps --bidirectional --dscp 8",
            server.port
        );
        let result = result(&mut hostplane(&options));
        for direction in result["directions"].as_array().unwrap() {
            // Datagrams are whole.
            assert!((200_000..210_000).contains(&number(direction, "/sent_bytes")), "{direction}");
        }
    }
    let refused = run(&mut hostplane(&format!("tcp ::1 -4 --port {} -t 1s", server.port)));
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("version of IP"), "{}", stderr(&refused));
}

#[test]
fn an_endless_trial_ends_at_a_signal_with_a_whole_account() {
    let server = Server::start("");
    for (protocol, options) in [
        ("tcp", "--parallel 2"),
        ("tcp", "--reverse"),
        ("udp", "--rate 2kpps"),
        ("udp", "--rate 2kpps --bidirectional"),
    ] {
        let mut command = hostplane(&format!(
            "{protocol} 127.0.0.1 --port {} --json --duration endless --interval 200ms {options}",
            server.port
        ));
        let mut client = Running::start(&mut command);
        for _ in 0..2 {
            client.wait_for_stderr(PROGRESS);
        }
        client.signal("INT");
        let output = client.output();
        assert!(output.status.success(), "{}: {}", output.status, stderr(&output));
        let result = json(&output);
        assert_eq!((&result["complete"], &result["interrupted"]), (&true.into(), &true.into()));
        for direction in result["directions"].as_array().unwrap() {
            assert_eq!(direction["ended"], "stopped");
            if protocol == "tcp" {
                exact_bytes(direction);
            } else {
                exact_datagrams(direction);
            }
        }
    }
    // A trial with an end of its own that is ended earlier says so.
    for signals in [&["TERM"][..], &["HUP", "HUP"]] {
        let mut client = Running::start(&mut hearing_hang_ups(&hostplane(&format!(
            "tcp 127.0.0.1 --port {} --json --duration 1m --interval 100ms",
            server.port
        ))));
        client.wait_for_stderr(PROGRESS);
        for signal in signals {
            client.signal(signal);
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = client.output();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        assert_eq!(json(&output)["complete"], true, "{signals:?}");
    }
}

#[test]
fn a_server_that_ends_says_so_to_its_clients_and_leaves_nothing() {
    let mut server = Server::start("");
    let mut client = Running::start(&mut hostplane(&format!(
        "tcp 127.0.0.1 --port {} --json --reverse --duration 1m --interval 100ms",
        server.port
    )));
    client.wait_for_stderr(PROGRESS);
    server.signal("TERM");
    assert!(server.ends_within(Duration::from_secs(10)).is_some_and(|status| status.success()));
    let output = client.output();
    let result = json(&output);
    // Everything that it had sent was received, and both ends agree.
    exact_bytes(&result["directions"][0]);
    assert_eq!(result["directions"][0]["ended"], "stopped");
}

#[test]
fn one_trial_is_served_with_once() {
    let mut server = Server::start("--once");
    result(&mut server.client("tcp", "--duration 100ms"));
    assert!(server.ends_within(Duration::from_secs(10)).is_some_and(|status| status.success()));
}

#[test]
fn figures_of_the_kernel_and_of_both_ends_are_told_over_time() {
    let server = Server::start("");
    let result = result(
        &mut server
            .client("tcp", "--duration 1s --interval 200ms --congestion reno --window 300000 --parallel 2"),
    );
    let direction = &result["directions"][0];
    assert_eq!(direction["tcp"]["congestion"], "reno");
    assert!(float(direction, "/tcp/busy_share") > 0.0, "{direction}");
    for stream in direction["streams"].as_array().unwrap() {
        // The kernel counts twice what was asked for.
        assert_eq!(number(stream, "/sent/buffer_bytes"), 600_000);
        assert_eq!(number(stream, "/received/buffer_bytes"), 600_000);
        let (local, peer) = (&stream["sent"]["local"], &stream["received"]["peer"]);
        assert!(local.is_string() && local == peer, "no NAT on the way: {stream}");
    }
    let intervals = result["intervals"].as_array().unwrap();
    assert!(intervals.len() >= 4, "{intervals:?}");
    for interval in &intervals[..4] {
        let points = interval["directions"][0]["sent"]["streams"].as_array().unwrap();
        assert!(points.len() == 2 && points.iter().all(|point| number(point, "/rtt_us") > 0), "{interval}");
        assert!(float(interval, "/directions/0/received/bps") > 0.0, "{interval}");
    }
    for end in ["client", "server"] {
        assert!(float(&result[end], "/cpu/process_s") > 0.0, "{end}");
        assert!(float(&result[end], "/cpu_s_per_gbit") > 0.0, "{end}");
        assert!(!result[end]["workers"].as_array().unwrap().is_empty());
    }
}

#[test]
fn intervals_reach_to_the_end_of_a_trial_and_add_up_to_its_totals() {
    let server = Server::start("");
    for (protocol, options, last) in [
        ("udp", "--rate 4mbps --size 1000 --duration 700ms --interval 200ms", 4),
        ("tcp", "--rate 40mbps --duration 500ms --interval 200ms --reverse", 3),
        // Shorter than an interval.
        ("tcp", "--rate 40mbps --duration 400ms", 1),
    ] {
        let result = result(&mut server.client(protocol, options));
        let direction = &result["directions"][0];
        let (own, other) =
            if options.contains("reverse") { ("received", "sent") } else { ("sent", "received") };
        let intervals = result["intervals"].as_array().unwrap();
        assert!(intervals.len() >= last, "{options}: {intervals:?}");
        let sum = |end: &str| {
            let mut begin = 0.0;
            let bytes = intervals.iter().map(|interval| {
                let seconds = float(interval, "/end_s") - begin;
                begin = float(interval, "/end_s");
                float(interval, &format!("/directions/0/{end}/bps")) * seconds / 8.0
            });
            bytes.sum::<f64>()
        };
        // The client's times are those of the intervals; the server's samples are a little off them.
        let total = |end: &str| number(direction, &format!("/{end}_bytes")) as f64;
        assert!((sum(own) - total(own)).abs() < 1.0, "{options}: {} {direction}", sum(own));
        assert!((sum(other) / total(other) - 1.0).abs() < 0.2, "{options}: {} {direction}", sum(other));
        if protocol == "tcp" {
            assert!(float(direction, "/tcp/rtt_us/1") > 0.0, "{direction}");
        }
    }
}

#[test]
fn output_for_people_has_the_account_and_a_verdict() {
    let server = Server::start("");
    let port = server.port;
    let tcp = run(&mut hostplane(&format!(
        "tcp 127.0.0.1 --port {port} --rate 80mbps --bytes 10M --interval 400ms"
    )));
    let (text, progress) = (String::from_utf8_lossy(&tcp.stdout).into_owned(), stderr(&tcp));
    assert!(tcp.status.success(), "{progress}");
    assert!(text.contains("10000000 bytes written = acknowledged = received"), "{text}");
    assert!(text.contains("  verdict   ") && text.contains("of 80.000 Mbit/s intended ("), "{text}");
    assert!(text.contains("client CPU") && text.contains("server CPU"), "{text}");
    assert!(progress.contains("TCP, 1 stream forward, 80.000 Mbit/s together, 10000000 bytes"), "{progress}");
    assert!(progress.contains("   0.4 s  sent ") && progress.contains(" Mbit/s, received "), "{progress}");
    assert!(progress.contains("0 retransmits, RTT "), "{progress}");
    let udp = run(&mut hostplane(&format!(
        "udp 127.0.0.1 --port {port} --rate 1kpps --size 100 --bytes 50000 -R -q"
    )));
    let text = String::from_utf8_lossy(&udp.stdout).into_owned();
    assert!(
        text.contains("UDP reverse") && text.contains("sent 500 datagrams = received 500 + lost 0"),
        "{text}"
    );
    assert!(text.contains("jitter") && text.contains("delay min"), "{text}");
    assert_eq!(stderr(&udp), "");
}

#[test]
fn clients_and_servers_leave_no_socket_behind() {
    let server = Server::start("");
    let before = server.sockets();
    let client = Running::start(&mut server.client("tcp", "--parallel 20 --duration endless --rate 10mbps"));
    until("all streams are there", || server.sockets() >= before + 20 && sockets(client.pid()) >= 20);
    client.signal("INT");
    let output = client.output();
    assert!(output.status.success(), "{}: {}", output.status, stderr(&output));
    server.has_no_sockets_left();
}
