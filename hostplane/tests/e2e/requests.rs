//! `rr`, `crr` and `--probe`: requests = responses + lost, times at three places, and latency under load beside an independent observer.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::lab::{B, Lab};
use crate::common::{
    Running, Server, exact_bytes, exact_datagrams, float, hostplane, installed, json, not_run, number, run,
    stderr,
};

/// Requests and lost ones of a result; requests = responses + lost + unknown.
fn exact(result: &Value) -> (u64, u64) {
    let [requests, responses, lost, unknown] =
        ["requests", "responses", "lost", "unknown"].map(|field| number(result, &format!("/{field}")));
    assert_eq!(requests, responses + lost + unknown, "{result}");
    (requests, lost)
}

fn result(output: &std::process::Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    let result = json(output);
    assert_eq!(result["complete"], true, "{result}");
    result
}

#[test]
fn requests_are_answered_and_counted_at_both_ends() {
    let server = Server::start("");
    let client = |options: &str| {
        let line = options.replacen(' ', &format!(" 127.0.0.1 --json --port {} ", server.port), 1);
        result(&run(&mut hostplane(&format!("{line} --duration 300ms"))))
    };
    for options in [
        "rr ",
        "rr --parallel 3",
        "rr --request 5000 --response 70000",
        "rr --rate 200",
        "rr --udp",
        "rr --udp --parallel 2 --request 32 --response 900",
        "rr --udp --rate 500",
    ] {
        let result = client(options);
        let (requests, lost) = exact(&result);
        assert_eq!(lost, 0, "{options}: {result}");
        assert!(requests > 20, "{options}: {result}");
        assert_eq!(
            (number(&result, "/server_requests"), number(&result, "/server_responses")),
            (requests, requests)
        );
        // What the client's kernel saw lies within what its program saw, and the server's within that.
        let times = &result["times"];
        let least = |name: &str| number(times, &format!("/{name}/min"));
        assert!(least("client_kernel_ns") <= least("application_ns"), "{options}: {times}");
        assert!(least("server_kernel_ns") <= least("client_kernel_ns"), "{options}: {times}");
        assert!(times["kernel_note"].is_null() && times["connect_ns"].is_null(), "{times}");
        let all: u64 =
            times["histogram"].as_array().unwrap().iter().map(|bucket| bucket[1].as_u64().unwrap()).sum();
        assert_eq!(all, requests, "{times}");
    }
    let at_rate = client("rr --udp --rate 100 --parallel 2");
    let (requests, _) = exact(&at_rate);
    assert!(requests.abs_diff(30) <= 2, "{at_rate}");
    // At a rate requests are timed from when they were due, which is no later than when they were sent.
    let times = &at_rate["times"];
    let least = |name: &str| number(times, &format!("/{name}/min"));
    assert!(least("corrected_ns") >= least("application_ns") && times["believe"] == "corrected", "{times}");
    server.has_no_sockets_left();
}

#[test]
fn a_connection_for_each_request_is_counted_and_has_no_times_of_kernels() {
    let server = Server::start("");
    let line = format!("crr 127.0.0.1 --json --port {} --duration 300ms --parallel 2", server.port);
    let result = result(&run(&mut hostplane(&line)));
    let (requests, lost) = exact(&result);
    assert!(requests > 20 && lost == 0, "{result}");
    assert_eq!(number(&result, "/server_responses"), requests);
    let times = &result["times"];
    assert!(number(times, "/connect_ns/p50") <= number(times, "/application_ns/p50"), "{times}");
    assert!(times["corrected_ns"].is_null() && times["believe"] == "application", "{times}");
    assert!(times["client_kernel_ns"].is_null() && times["server_kernel_ns"].is_null(), "{times}");
    assert!(times["kernel_note"].as_str().unwrap().contains("connections that stay"), "{times}");
    server.has_no_sockets_left();
}

#[test]
fn requests_that_a_rule_drops_are_lost_to_the_request() {
    let Some(lab) = Lab::new("requests_that_a_rule_drops_are_lost_to_the_request") else { return };
    // Requests and responses have lengths of their own: the set-up does not count.
    lab.rules(
        "b",
        "table inet t {\n counter asked { }\n counter in { }\n counter out { }\n chain i {\n type filter hook input priority 0;\n \
         meta length 128 counter name asked\n meta length 128 numgen random mod 100 < 5 counter name in drop\n }\n chain o {\n \
         type filter hook output priority 0;\n meta length 228 numgen random mod 100 < 5 counter name out drop\n }\n}\n",
    );
    let _server = lab.server("");
    let line = format!("rr {B} --json --udp --request 100 --response 200 --rate 1000 --duration 1s");
    let output = run(&mut lab.hostplane("a", &line));
    let result = result(&output);
    let (requests, lost) = exact(&result);
    let packets = |name| lab.counter("b", name).0;
    assert_eq!((requests, lost), (packets("asked"), packets("in") + packets("out")), "{result}");
    assert!(lost > 20, "{result}");
    // The server's program read what was not dropped on the way to it.
    assert_eq!(number(&result, "/server_requests"), requests - packets("in"), "{result}");
}

#[test]
fn a_range_of_ports_that_is_used_up_is_told_with_arithmetic() {
    let Some(lab) = Lab::new("a_range_of_ports_that_is_used_up_is_told_with_arithmetic") else { return };
    let ports = "echo 40000 40099 > /proc/sys/net/ipv4/ip_local_port_range";
    assert!(run(lab.command("a", "sh").args(["-c", ports])).status.success());
    let _server = lab.server("");
    // The server closes first: a hundred ports serve any number of requests.
    let output = run(&mut lab.hostplane("a", &format!("crr {B} --json --duration 500ms")));
    let (requests, _) = exact(&result(&output));
    assert!(requests > 200, "{requests}");
    // This end closes first: its ports rest, and are used up.
    let output = run(&mut lab.hostplane("a", &format!("crr {B} --json --duration 5s --client-closes")));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let used_up = json(&output);
    let (requests, lost) = exact(&used_up);
    assert!(requests <= 101 && lost == 1, "{used_up}");
    let reason = used_up["failures"].to_string();
    assert!(
        reason.contains("no local port is free after") && reason.contains("admits 2 connections per second"),
        "{reason}"
    );
}

#[test]
fn more_streams_than_ports_are_told_before_the_trial() {
    let Some(lab) = Lab::new("more_streams_than_ports_are_told_before_the_trial") else { return };
    let ports = "echo 40000 40099 > /proc/sys/net/ipv4/ip_local_port_range";
    assert!(run(lab.command("a", "sh").args(["-c", ports])).status.success());
    let _server = lab.server("");
    let output = run(&mut lab.client("tcp", "--duration 1s --parallel 200"));
    assert_eq!(output.status.code(), Some(1));
    let words = stderr(&output);
    assert!(
        words.contains("no local port is free") && words.contains("100 local ports (40000 to 40099"),
        "{words}"
    );
}

#[test]
fn too_few_descriptors_for_requests_are_refused_with_arithmetic() {
    let plain = hostplane("serve --listen 127.0.0.1:0 --json");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -n 100 && exec \"$0\" \"$@\""]);
    command.arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let few = Server::start_as(command);
    let line = format!("rr 127.0.0.1 --port {} --json --duration 1s --parallel 200", few.port);
    let output = run(&mut hostplane(&line));
    assert_eq!(output.status.code(), Some(1));
    let words = stderr(&output);
    assert!(words.contains("200 streams need") && words.contains("the server may have 100"), "{words}");
    few.has_no_sockets_left();
}

#[test]
fn a_server_that_is_killed_ends_requests_at_once() {
    for options in ["rr --parallel 2", "rr --udp --rate 100", "crr --parallel 2"] {
        let server = Server::start("");
        let line = options.replacen(' ', &format!(" 127.0.0.1 --json --port {} ", server.port), 1);
        let client = Running::start(&mut hostplane(&format!("{line} --duration 30s")));
        server.until_connected();
        std::thread::sleep(Duration::from_millis(500));
        server.signal("KILL");
        let killed = Instant::now();
        let output = client.output();
        assert!(killed.elapsed() < Duration::from_secs(25), "{options}: {:?}", killed.elapsed());
        assert_eq!(output.status.code(), Some(1), "{options}");
        let result = json(&output);
        let (_, lost) = exact(&result);
        assert!(lost == 0 || options.starts_with("crr"), "nobody knows whether it was answered: {result}");
        assert!(result["server_requests"].is_null(), "unknown, not 0: {result}");
        assert!(result["failures"].to_string().contains("the connection was closed"), "{result}");
    }
}

#[test]
fn a_server_that_is_frozen_answers_nothing_and_that_is_told() {
    let server = Server::start("");
    let line = format!("rr 127.0.0.1 --json --port {} --udp --rate 100 --duration 1s", server.port);
    let client = Running::start(&mut hostplane(&line));
    server.until_connected();
    std::thread::sleep(Duration::from_millis(300));
    crate::common::signal(server.pid(), "STOP");
    let began = Instant::now();
    let output = client.output();
    crate::common::signal(server.pid(), "CONT");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(output.status.code(), Some(1));
    let result = json(&output);
    let (requests, lost) = exact(&result);
    assert!(lost > 10 && lost < requests, "{result}");
    assert!(result["failures"].to_string().contains("nothing came for 10s"), "{result}");
    server.has_no_sockets_left();
}

#[test]
fn requests_that_fill_both_sockets_are_answered_all_the_same() {
    let server = Server::start("");
    // 20 GiB each way in about a second: more than any machine carries, so that the sockets are full all the time.
    let options = "--rate 200000 --request 1MiB --response 1MiB --duration 100ms";
    let line = format!("rr 127.0.0.1 --json --port {} {options}", server.port);
    let output = run(&mut hostplane(&line));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let result = json(&output);
    let (requests, lost) = exact(&result);
    assert!(requests > 0 && lost == 0 && result["unknown"] == 0, "{result}");
    assert_eq!(number(&result, "/server_responses"), requests);
    // What was due and did not leave is told.
    assert_eq!(requests + number(&result, "/forgone"), 20_000, "{result}");
    assert!(result["failures"].to_string().contains("were due and not sent"), "{result}");
    server.has_no_sockets_left();
}

#[test]
fn a_client_that_reads_nothing_does_not_keep_a_server_from_ending() {
    let mut server = Server::start("");
    let options = "--rate 2000 --request 1 --response 1MiB --duration 30s";
    let line = format!("rr 127.0.0.1 --json --port {} {options}", server.port);
    let client = Running::start(&mut hostplane(&line));
    std::thread::sleep(Duration::from_millis(300));
    crate::common::signal(client.pid(), "STOP");
    server.signal("TERM");
    assert!(server.ends_within(crate::common::TIME_LIMIT).is_some(), "the server waits for its client");
    crate::common::signal(client.pid(), "CONT");
    let result = json(&client.output());
    let (_, lost) = exact(&result);
    assert_eq!(lost, 0, "nobody knows whether they were answered: {result}");
}

#[test]
fn a_client_that_is_killed_leaves_no_thread_and_no_socket() {
    let server = Server::start("");
    let tasks = || std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap().count();
    let before = tasks();
    for options in ["rr --parallel 4", "rr --udp --parallel 4"] {
        let line = options.replacen(' ', &format!(" 127.0.0.1 --json --port {} ", server.port), 1);
        let client = Running::start(&mut hostplane(&format!("{line} --duration 30s")));
        server.until_connected();
        std::thread::sleep(Duration::from_millis(300));
        client.signal("KILL");
        server.has_no_sockets_left();
    }
    // The runtime's own threads for blocking work end after a while.
    let began = Instant::now();
    while tasks() > before {
        assert!(began.elapsed() < Duration::from_secs(30), "{} tasks, {before} before", tasks());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Round-trip times of `ping`, in milliseconds, sorted.
fn pings(output: &std::process::Output) -> Vec<f64> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let times = text.lines().filter_map(|line| line.split("time=").nth(1)?.split(' ').next()?.parse().ok());
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times
}

#[test]
fn latency_under_load_is_that_of_the_queue_as_ping_sees_it() {
    const NAME: &str = "latency_under_load_is_that_of_the_queue_as_ping_sees_it";
    let Some(lab) = Lab::new(NAME) else { return };
    if installed("ping").is_none() {
        return not_run(NAME, "ping is not installed; scripts/test.sh installs it");
    }
    // A queue of 50 kB at 10 Mbit/s is 40 ms deep when it is full.
    lab.set("a", "tc qdisc add dev veth-a root tbf rate 10mbit burst 3kb limit 50kb");
    let _server = lab.server("");
    for probe in ["udp", "tcp"] {
        let mut client =
            lab.client("tcp", &format!("--duration 4s --parallel 4 --probe={probe} --probe-idle 1s"));
        let client = Running::start(&mut client);
        // In the middle of the load.
        std::thread::sleep(Duration::from_millis(2500));
        let output = run(lab.command("a", "ping").args(["-i", "0.02", "-c", "80", "-W", "1", B]));
        let observed = pings(&output);
        let output = client.output();
        let result = result(&output);
        exact_bytes(&result["directions"][0]);
        let told = &result["probe"];
        for phase in ["idle", "loaded"] {
            exact(&told[phase]);
        }
        let p50 =
            |phase: &str, place: &str| number(told, &format!("/{phase}/times/{place}/p50")) as f64 / 1e6;
        let (idle, loaded) = (p50("idle", "application_ns"), p50("loaded", "application_ns"));
        let median = observed[observed.len() / 2];
        eprintln!("{probe}: idle {idle} ms, loaded {loaded} ms, ping {median} ms of {}", observed.len());
        assert!(observed.len() > 20, "{}", String::from_utf8_lossy(&output.stdout));
        assert!(idle < 10.0 && loaded > 15.0, "{told}");
        // The queue admits no more, whatever the machine; retransmits of TCP may take longer than that.
        assert!(p50("loaded", "client_kernel_ns") < 60.0, "{told}");
        assert!(loaded > 0.5 * median && loaded < 2.0 * median, "{loaded} ms, ping {median} ms");
        assert!(number(told, "/added_ns") as f64 / 1e6 > 10.0, "{told}");
    }
}

#[test]
fn a_probe_runs_beside_datagrams_both_ways_and_costs_their_account_nothing() {
    let server = Server::start("");
    let result = crate::common::result(&mut server.client(
        "udp",
        "--rate 2kpps --size 200 --duration 500ms --bidirectional --probe --probe-idle 300ms",
    ));
    for direction in result["directions"].as_array().unwrap() {
        assert_eq!(exact_datagrams(direction).1, 0, "{direction}");
    }
    let (idle, _) = exact(&result["probe"]["idle"]);
    let (loaded, _) = exact(&result["probe"]["loaded"]);
    assert!(idle >= 20 && (35..=60).contains(&loaded), "{}", result["probe"]);
    assert!(float(&result, "/probe/per_second") > 99.0);
    server.has_no_sockets_left();
}

#[test]
fn a_probe_runs_under_ceilings_that_admit_it_and_its_load() {
    let server = Server::start("--max-duration 2s");
    let options = "--rate 1mbps --duration 500ms --probe --probe-idle 300ms --max-duration 2s";
    let result = result(&run(&mut server.client("tcp", options)));
    let (loaded, _) = exact(&result["probe"]["loaded"]);
    assert!((35..=60).contains(&loaded), "{}", result["probe"]);
    let output =
        run(&mut server.client("tcp", &options.replace("--probe-idle 300ms", "--probe-idle 1600ms")));
    assert!(stderr(&output).contains("of 2s 100ms exceeds the ceiling of 2s"), "{}", stderr(&output));
}

#[test]
fn a_rate_whose_interval_is_no_whole_number_has_its_number_of_requests() {
    let server = Server::start("");
    for options in ["rr --udp", "rr --parallel 2", "crr"] {
        let line = format!("{options} --json --port {} --rate 7 --duration 1s", server.port);
        let line = line.replacen(' ', " 127.0.0.1 ", 1);
        let (requests, _) = exact(&result(&run(&mut hostplane(&line))));
        assert_eq!(requests, 7, "{options}");
    }
}
