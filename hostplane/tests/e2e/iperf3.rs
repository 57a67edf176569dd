//! Stock clients and servers of iperf3, and riperf3 of crates.io: totals agree to the byte and to the datagram.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{
    Running, Server, float, hostplane, installed, json, not_run, number, run, sockets, stderr, tool, until,
};

/// A server for iperf3's clients on a free port.
pub(crate) fn serve(options: &str) -> Server {
    Server::start_as(hostplane(&format!("iperf3 --server --listen 127.0.0.1:0 --json {options}")))
}

/// riperf3, which `scripts/setup.sh` builds.
fn riperf3(test: &str) -> Option<PathBuf> {
    let found = std::env::var_os("LINERATE_RIPERF3").map(PathBuf::from).filter(|path| path.is_file());
    let found = found.or_else(|| installed("riperf3"));
    if found.is_none() {
        not_run(test, "riperf3 is not there; scripts/test.sh builds it");
    }
    found
}

/// A client of a server on the loopback interface.
pub(crate) fn client(program: &PathBuf, port: u16, options: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["-c", "127.0.0.1", "-p", &port.to_string()]).args(options.split_whitespace());
    command
}

/// Runs a client that must succeed; its own result.
fn result_of(mut command: Command) -> Value {
    let output = run(&mut command);
    assert!(output.status.success(), "{}: {}", output.status, stderr(&output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(result.get("error").is_none_or(Value::is_null), "{result}");
    result
}

/// The direction of an account by its index.
fn direction(account: &Value, index: usize) -> &Value {
    let direction = &account["linerate"]["directions"][index];
    assert_eq!(account["linerate"]["complete"], true, "{account}");
    direction
}

/// 20 clients at once, on one port: connections and datagrams, sent and received.
fn many_clients(program: &PathBuf) {
    let server = serve("");
    let kinds = ["-t 2 -b 8M", "-t 2 -u -b 2M -l 1000", "-n 4M -R", "-t 2 -u -b 2M -l 1000 -R"];
    let clients: Vec<(usize, Running)> = (0..20)
        .map(|index| {
            let kind = index % kinds.len();
            let mut command = client(program, server.port, &format!("{} -J", kinds[kind]));
            (kind, Running::start(&mut command))
        })
        .collect();
    for (kind, client) in clients {
        let output = client.output();
        assert!(output.status.success(), "{}: {}", kinds[kind], String::from_utf8_lossy(&output.stdout));
    }
    for _ in 0..20 {
        let account = server.account();
        let one = direction(&account, 0);
        match (one["udp"].is_null(), account["linerate"]["trial"]["directions"].as_str().unwrap()) {
            (true, "forward") => {
                assert_eq!(number(one, "/sent_bytes"), number(one, "/received_bytes"), "{account}");
                assert!(account["linerate"]["disagreements"].as_array().unwrap().is_empty(), "{account}");
            }
            (true, _) => {
                assert_eq!(number(one, "/sent_bytes"), 4 << 20, "{account}");
                assert_eq!(number(one, "/tcp/acked_bytes"), 4 << 20, "{account}");
                assert_eq!(number(one, "/received_bytes"), 4 << 20, "{account}");
            }
            (false, "forward") => {
                let udp = |field: &str| number(one, &format!("/udp/{field}"));
                assert_eq!(udp("sent"), udp("received") + udp("lost"), "{account}");
                assert_eq!((udp("lost"), udp("foreign")), (0, 0), "{account}");
                let sent = udp("sent");
                assert!((490..=520).contains(&sent), "{sent} datagrams");
                assert_eq!(number(one, "/foreign/bytes"), 1000 * sent, "{account}");
            }
            (false, _) => {
                // The client ends the test: what was sent after that is not counted by it.
                let (sent, received) = (number(one, "/udp/sent"), number(one, "/udp/received"));
                assert!(received <= sent && sent - received < 60, "{account}");
                assert_eq!(number(one, "/foreign/errors"), 0, "{account}");
            }
        }
    }
    server.has_no_sockets_left();
}

#[test]
fn twenty_clients_of_iperf3_are_served_at_once_on_one_port() {
    many_clients(&tool("iperf3"));
}

#[test]
fn twenty_clients_of_riperf3_are_served_at_once_on_one_port() {
    if let Some(program) = riperf3("twenty_clients_of_riperf3_are_served_at_once_on_one_port") {
        many_clients(&program);
    }
}

#[test]
fn options_of_a_client_reach_the_server() {
    let server = serve("");
    let iperf3 = tool("iperf3");
    let options = "-J -R -n 2M -P 2 -l 16K -w 128K -M 1000 -C reno -S 40 -b 200M";
    let theirs = result_of(client(&iperf3, server.port, options));
    let account = server.account();
    let trial = &account["linerate"]["trial"];
    assert_eq!((number(trial, "/streams"), number(trial, "/block_bytes")), (2, 16_384));
    assert_eq!(trial["sockets"]["congestion"], "reno", "{trial}");
    assert_eq!((number(trial, "/sockets/dscp"), number(trial, "/sockets/window_bytes")), (10, 131_072));
    assert_eq!(float(trial, "/load/bits_per_second"), 400e6, "both streams together");
    let reverse = direction(&account, 0);
    assert_eq!(reverse["tcp"]["congestion"], "reno");
    assert_eq!(number(reverse, "/received_bytes"), number(&theirs, "/end/sum_received/bytes"));
    assert_eq!(number(&theirs, "/end/sum_sent/bytes"), number(reverse, "/sent_bytes"));
    for stream in reverse["streams"].as_array().unwrap() {
        assert!(number(stream, "/sent/tcp/mss") <= 1000, "{stream}");
    }
    // Both ways at once: the numbers of the streams are iperf3's.
    result_of(client(&iperf3, server.port, "-J --bidir -t 1 -b 10M -P 2"));
    let account = server.account();
    let (forward, reverse) = (direction(&account, 0), direction(&account, 1));
    assert_eq!(number(forward, "/sent_bytes"), number(forward, "/received_bytes"), "{forward}");
    let ids: Vec<u64> = [forward, reverse]
        .iter()
        .flat_map(|direction| direction["foreign"]["streams"].as_array().unwrap())
        .map(|stream| number(stream, "/id"))
        .collect();
    assert_eq!(ids, [1, 3, 4, 5]);
    // An omitted beginning is counted here, and not there.
    result_of(client(&iperf3, server.port, "-J -u -b 1M -l 1000 -O 1 -t 1"));
    let account = server.account();
    let udp = direction(&account, 0);
    assert_eq!(number(udp, "/udp/sent"), number(udp, "/udp/received"), "{udp}");
    assert!(number(udp, "/foreign/bytes") < number(udp, "/received_bytes") * 2 / 3, "{udp}");
    omits(&account);
    for options in ["-J -b 20M -O 1 -t 1", "-J -b 20M -O 1 -t 1 -R", "-J -u -b 1M -l 1000 -O 1 -t 1 -R"] {
        result_of(client(&iperf3, server.port, options));
        omits(&server.account());
    }
    server.has_no_sockets_left();
}

/// The omitted beginning of an account is marked, and is in none of the sums.
fn omits(account: &Value) {
    let marks: Vec<_> = account["intervals"].as_array().unwrap().iter().map(|one| &one["sum"]).collect();
    assert!(marks.len() >= 2, "{account}");
    for (index, sum) in marks.iter().enumerate() {
        assert_eq!(sum["omitted"], index == 0, "{account}");
    }
    let counted: u64 = marks.iter().skip(1).map(|sum| number(sum, "/bytes")).sum();
    let end = &account["end"];
    let (sent, received) = (number(end, "/sum_sent/bytes"), number(end, "/sum_received/bytes"));
    let own = if marks[0]["sender"] == true { sent } else { received };
    // The omission ends with a look at the counters, and so does the interval: one right after the other.
    assert!(own.abs_diff(counted) <= own / 4, "{own} {counted} {account}");
    assert!(sent.abs_diff(received) <= sent / 4, "{sent} {received}");
    let seconds = float(end, "/sum_received/seconds");
    assert!((0.7..2.0).contains(&seconds), "{end}");
}

/// A server of another program, on a free port.
fn foreign_server(program: &PathBuf) -> (Running, u16) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(program);
    let server = Running::start(command.args(["-s", "-p", &port.to_string()]));
    let began = Instant::now();
    // A connection would be its first test: the kernel's list of listeners is asked.
    let wanted = format!(":{port:04X} ");
    let listens = |file| {
        let table = std::fs::read_to_string(file).unwrap_or_default();
        table.lines().any(|line| line.contains(&wanted) && line.contains(" 0A "))
    };
    while !listens("/proc/net/tcp") && !listens("/proc/net/tcp6") {
        assert!(began.elapsed() < Duration::from_secs(10), "it does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    (server, port)
}

fn our_client(program: &PathBuf) {
    let (_server, port) = foreign_server(program);
    let test = |options: &str| {
        let mut command = hostplane(&format!("iperf3 -c 127.0.0.1 -p {port} --quiet --json {options}"));
        let output = run(&mut command);
        assert!(output.status.success(), "{options}: {}", stderr(&output));
        // It serves one test at a time, and needs a moment between two.
        std::thread::sleep(Duration::from_millis(300));
        json(&output)
    };
    for options in ["-t 1s -b 200mbps -P 3", "-n 20MiB"] {
        let account = test(options);
        let forward = direction(&account, 0);
        let sent = number(forward, "/sent_bytes");
        assert_eq!(number(forward, "/tcp/acked_bytes"), sent, "{account}");
        assert_eq!(number(forward, "/received_bytes"), sent, "{account}");
        assert_eq!(number(&account, "/end/sum_sent/bytes"), sent);
    }
    for options in ["-t 1s -R -b 50mbps", "-n 20MiB -R"] {
        let account = test(options);
        let reverse = direction(&account, 0);
        assert!(number(reverse, "/received_bytes") >= number(reverse, "/sent_bytes"), "{account}");
    }
    for options in ["-u -t 1s -b 20mbps -l 1000 -P 2", "-u -t 1s -b 20mbps -l 1000 -R"] {
        let account = test(options);
        let one = direction(&account, 0);
        let udp = |field: &str| number(one, &format!("/udp/{field}"));
        assert_eq!(udp("sent"), udp("received") + udp("lost"), "{account}");
        // A receiver that gets no CPU drops what its socket cannot hold, and a sender catches up later or not at all.
        assert!(udp("received") > 0 && udp("sent") <= 2600, "{account}");
    }
    let account = test("--bidir -t 1s -b 20mbps");
    let forward = direction(&account, 0);
    assert_eq!(number(forward, "/sent_bytes"), number(forward, "/received_bytes"), "{account}");
}

#[test]
fn a_server_of_iperf3_and_this_client_count_the_same() {
    our_client(&tool("iperf3"));
}

#[test]
fn a_server_of_riperf3_and_this_client_count_the_same() {
    if let Some(program) = riperf3("a_server_of_riperf3_and_this_client_count_the_same") {
        our_client(&program);
    }
}

#[test]
fn this_server_and_this_client_count_the_same() {
    let server = serve("");
    for options in ["-n 4MiB -P 3", "-n 4MiB -R", "-u -t 200ms -b 4mbps -l 500"] {
        let line = format!("iperf3 -c 127.0.0.1 -p {} --quiet --json {options}", server.port);
        let output = run(&mut hostplane(&line));
        assert!(output.status.success(), "{options}: {}", stderr(&output));
        let (client, server) = (json(&output), server.account());
        let bytes = |account: &Value| number(direction(account, 0), "/received_bytes");
        assert_eq!(bytes(&client), bytes(&server), "{options}: {client} {server}");
    }
    server.has_no_sockets_left();
}

#[test]
fn a_server_that_is_busy_gone_or_another_one_is_told() {
    let (mut server, port) = foreign_server(&tool("iperf3"));
    let client =
        |options: &str| hostplane(&format!("iperf3 -c 127.0.0.1 -p {port} --quiet --json {options}"));
    let before = sockets(server.pid());
    let busy = Running::start(&mut client("-t 3s -b 1mbps"));
    until("the server is connected", || sockets(server.pid()) > before);
    let output = run(&mut client("-t 1s"));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("busy with another client's test"), "{}", stderr(&output));
    assert!(json(&output)["error"].as_str().unwrap().contains("busy"), "iperf3's form");
    server.child().kill().unwrap();
    let output = busy.output();
    assert_eq!(output.status.code(), Some(1));
    let result = json(&output);
    assert_eq!(result["linerate"]["complete"], false);
    assert!(result["error"].as_str().unwrap().contains("closed the control connection"), "{result}");
    let output = run(&mut client("-t 1s"));
    assert!(
        stderr(&output).contains("nothing listens") && stderr(&output).contains("iperf3 -s"),
        "{output:?}"
    );
    // A server of this program's own protocol.
    let own = Server::start("");
    let output = run(&mut hostplane(&format!("iperf3 -c 127.0.0.1 -p {} -q", own.port)));
    assert!(stderr(&output).contains("see whether a server of iperf3"), "{}", stderr(&output));
}

#[test]
fn results_of_own_trials_have_iperf3s_form() {
    let server = Server::start("");
    let mut command = hostplane(&format!(
        "tcp 127.0.0.1 --port {} --quiet --bytes 3MiB --parallel 2 --bidirectional --as iperf3-json",
        server.port
    ));
    let output = run(&mut command);
    let form = json(&output);
    for sum in ["sum_sent", "sum_received", "sum_sent_bidir_reverse", "sum_received_bidir_reverse"] {
        assert_eq!(number(&form, &format!("/end/{sum}/bytes")), 3 << 20, "{form}");
    }
    assert_eq!(form["end"]["streams"].as_array().unwrap().len(), 4);
    assert_eq!(form["start"]["test_start"]["protocol"], "TCP");
    let mut command = hostplane(&format!(
        "udp 127.0.0.1 --port {} --quiet --bytes 100000 --size 1000 --rate 1mbps --as iperf3-json",
        server.port
    ));
    let form = json(&run(&mut command));
    assert_eq!(
        (number(&form, "/end/sum/packets"), number(&form, "/end/sum/lost_packets")),
        (100, 0),
        "{form}"
    );
}
