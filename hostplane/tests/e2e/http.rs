//! HTTP load: counts are the servers' own, latency tells what users wait, and nothing a server says does harm.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::common::web::{Act, Backend, Wrong, haproxy, nginx};
use super::common::{Running, float, hostplane, json, not_run, number, run, stderr};

/// The account of a load, which must balance.
pub(crate) fn load(options: &str) -> Value {
    let output = run(&mut hostplane(&format!("http --json --quiet {options}")));
    let result = json(&output);
    assert_eq!(result["complete"], true, "{result}");
    let account = |name: &str| number(&result, &format!("/account/{name}"));
    assert_eq!(account("intended"), account("sent") + account("skipped"), "{result}");
    assert_eq!(account("sent"), account("answered") + account("failed") + account("unfinished"), "{result}");
    let sum = |part: &str| {
        result[part].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((sum("statuses"), sum("errors")), (account("answered"), account("failed")), "{result}");
    let named = result["backends"]["named"].as_array().unwrap();
    let named: u64 = named.iter().map(|one| number(one, "/responses")).sum();
    let unnamed = number(&result, "/backends/others") + number(&result, "/backends/unnamed");
    assert_eq!(named + unnamed, account("answered"), "{result}");
    assert_eq!(number(&result, "/requests"), account("answered"));
    result
}

#[test]
fn requests_are_those_in_the_backends_account() {
    for options in [
        "-d 500ms",
        "-d 500ms --rate 2000",
        "-n 777",
        "-n 300 --no-keepalive",
        "-n 500 --requests-per-connection 7",
    ] {
        let backend = Backend::start("--name pod-1");
        let result = load(&format!("-c 20 -t 2 {options} {}", backend.url()));
        let theirs = backend.account();
        let requests = number(&result, "/requests");
        assert!(requests >= 300, "{options}: {result}");
        assert_eq!(
            (number(&theirs, "/requests"), number(&theirs, "/answered")),
            (requests, requests),
            "{options}"
        );
        assert_eq!(number(&theirs, "/connections"), number(&result, "/connections/made"), "{options}");
        assert_eq!(number(&theirs, "/written_bytes"), number(&result, "/read_bytes"), "{options}");
        assert_eq!(number(&theirs, "/read_bytes"), number(&result, "/written_bytes"), "{options}");
        assert_eq!(result["backends"]["named"][0]["name"], "pod-1");
        if let Some(count) = options.strip_prefix("-n ") {
            assert_eq!(requests.to_string(), count.split(' ').next().unwrap());
        }
    }
}

#[test]
fn requests_are_those_in_nginxs_log() {
    let server = nginx();
    let result = load(&format!("-c 16 -t 2 -d 500ms {}", server.url()));
    let open = load(&format!("-c 16 -t 1 -n 400 --rate 4000 --arrivals poisson {}path", server.url()));
    let log = server.logged();
    let paths = log.iter().filter(|line| line.contains("GET /path ")).count() as u64;
    assert_eq!(number(&open, "/requests"), 400);
    assert_eq!(paths, 400);
    assert_eq!(log.len() as u64 - paths, number(&result, "/requests"));
    assert!(log.iter().all(|line| line.contains("\" 200 ")));
}

#[test]
fn requests_through_haproxy_are_spread_and_counted() {
    let backends = [Backend::start("--name one"), Backend::start("--name two")];
    let balancer = haproxy(&[backends[0].port, backends[1].port]);
    let result = load(&format!("-c 10 -t 2 -n 1000 http://127.0.0.1:{}/", balancer.port));
    assert_eq!(number(&result, "/requests"), 1000);
    assert_eq!(balancer.total("req_tot"), 1000);
    for (backend, name) in backends.into_iter().zip(["one", "two"]) {
        let theirs = number(&backend.account(), "/answered");
        let ours =
            result["backends"]["named"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
        assert_eq!(number(ours, "/responses"), theirs);
        assert!(theirs >= 400, "{result}");
    }
}

/// A backend that stops for a second: a closed loop sends nothing meanwhile and hardly notices.
#[test]
fn a_stall_shows_in_the_corrected_latency() {
    let stalling = "--stall 1s --stall-every 2s";
    let backend = Backend::start(stalling);
    let closed = load(&format!("-c 4 -t 1 -d 3500ms {}", backend.url()));
    drop(backend.account());
    let backend = Backend::start(stalling);
    let open = load(&format!("-c 4 -t 1 -d 3500ms --rate 1000 {}", backend.url()));
    let theirs = backend.account();
    assert_eq!(number(&theirs, "/answered"), number(&open, "/requests"));
    assert_eq!(closed["latency"]["believe"], "service");
    assert_eq!(closed["latency"]["corrected_ns"], Value::Null);
    assert!(number(&closed, "/latency/service_ns/p99") < 100_000_000, "{}", closed["latency"]["service_ns"]);
    assert_eq!(open["latency"]["believe"], "corrected");
    assert!(number(&open, "/latency/corrected_ns/p90") > 300_000_000, "{}", open["latency"]["corrected_ns"]);
    assert!(number(&open, "/latency/service_ns/p90") < 100_000_000, "{}", open["latency"]["service_ns"]);
    assert_eq!(number(&open, "/account/intended"), 3500);
}

#[test]
fn requests_are_skipped_and_counted_when_the_queue_is_full() {
    let backend = Backend::start("--delay 100ms");
    let result = load(&format!("-c 2 -t 1 -d 1s --rate 1000 --max-pending 10 {}", backend.url()));
    assert_eq!(number(&result, "/account/intended"), 1000);
    assert!(number(&result, "/account/skipped_queue_full") > 900, "{result}");
    assert_eq!(result["verdict"]["limit"], "connection-limited", "{}", result["verdict"]);
    assert_eq!(number(&backend.account(), "/answered"), number(&result, "/requests"));
}

#[test]
fn what_a_server_does_wrong_is_counted_by_kind() {
    fn say(stream: &mut TcpStream, text: &[u8]) {
        let _ = stream.write_all(text);
    }
    let wrong: [(&str, Act); 7] = [
        ("malformed", |stream| say(stream, b"SSH-2.0-OpenSSH_9.2\r\n")),
        ("malformed", |stream| say(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")),
        ("closed_early", |stream| {
            say(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
            let _ = stream.shutdown(Shutdown::Both);
        }),
        ("closed_early", |stream| drop(stream.shutdown(Shutdown::Write))),
        ("timeout", |stream| say(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")),
        ("too_large", |stream| {
            say(stream, b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        }),
        ("too_large", |stream| {
            say(stream, b"HTTP/1.1 200 OK\r\n");
            while stream.write_all(b"X-Endless: yes\r\n").is_ok() {}
        }),
    ];
    for (number_of, (kind, act)) in wrong.into_iter().enumerate() {
        let server = Wrong::start(act);
        let began = Instant::now();
        let result = load(&format!("-c 3 -t 1 -n 9 --timeout 300ms --max-body 100000 {}", server.url()));
        assert!(began.elapsed() < Duration::from_secs(20), "case {number_of}");
        assert_eq!(number(&result, &format!("/errors/{kind}")), 9, "case {number_of}: {result}");
        assert_eq!(server.requests(), 9, "case {number_of}");
        assert_eq!(result["verdict"]["limit"], "unanswered");
    }
}

#[test]
fn slow_and_talkative_servers_are_understood() {
    let slow = Wrong::start(|stream| {
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" {
            let _ = stream.write_all(&[*byte]);
            std::thread::sleep(Duration::from_micros(300));
        }
    });
    let result = load(&format!("-c 2 -t 1 -n 10 {}", slow.url()));
    assert_eq!((number(&result, "/requests"), number(&result, "/connections/made")), (10, 2));
    let talkative = Wrong::start(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok, and more");
    });
    let result = load(&format!("-c 2 -t 1 -n 10 {}", talkative.url()));
    assert_eq!((number(&result, "/requests"), number(&result, "/connections/unsolicited")), (10, 10));
    let until_closed = Wrong::start(|stream| {
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nall there is");
        let _ = stream.shutdown(Shutdown::Both);
    });
    let result = load(&format!("-c 2 -t 1 -n 10 {}", until_closed.url()));
    assert_eq!(
        (number(&result, "/requests"), result["backends"]["named"][0]["name"].as_str()),
        (10, Some("all there is"))
    );
}

#[test]
fn nobody_there_and_wrong_usage_are_told() {
    let output = run(&mut hostplane("http --json -d 1s http://127.0.0.1:1/"));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("127.0.0.1:1") && stderr(&output).contains("remedy"),
        "{}",
        stderr(&output)
    );
    for (options, part) in [
        ("ftp://h/", "neither http nor https"),
        ("-c 0 http://127.0.0.1:1/", "connections: 0"),
        ("-H nonsense http://127.0.0.1:1/", "'nonsense'"),
        ("--rate 0 http://127.0.0.1:1/", "requests per second: 0"),
        ("--stages 5 http://127.0.0.1:1/", "'5' is not a stage"),
    ] {
        let output = run(&mut hostplane(&format!("http {options}")));
        assert_eq!(output.status.code(), Some(2), "{options}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{options}: {}", stderr(&output));
    }
    for (options, part) in [
        ("--allow 10.0.0.0/8 --rate 10", "allowed networks"),
        ("--max-rate 1000pps", "no bound"),
        ("--max-rate 1000pps --rate 2000", "exceeds the ceiling"),
        ("--max-duration 1s --rate 10", "--max-duration"),
    ] {
        let output = run(&mut hostplane(&format!("http {options} http://127.0.0.1:1/")));
        assert_eq!(output.status.code(), Some(1), "{options}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{options}: {}", stderr(&output));
    }
}

#[test]
fn a_signal_ends_a_trial_with_its_account() {
    let backend = Backend::start("");
    let mut load = Running::start(&mut hostplane(&format!("http --json -c 5 -d 60s {}", backend.url())));
    load.wait_for_stderr("requests/s");
    load.signal("INT");
    let output = load.output();
    assert_eq!(output.status.code(), Some(130));
    let result = json(&output);
    assert_eq!((result["interrupted"].as_bool(), result["complete"].as_bool()), (Some(true), Some(true)));
    assert_eq!(number(&backend.account(), "/answered"), number(&result, "/requests"));
    assert!(float(&result, "/duration_s") < 30.0);
}

/// Memory does not grow with what servers send: a connection has no buffers.
#[test]
fn ten_thousand_connections_need_little_memory() {
    const MOST_KIB: u64 = 64 * 1024;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    if limit.is_some_and(|limit| limit < 10_200) {
        not_run("ten_thousand_connections_need_little_memory", "this user may not have 10,200 open files");
        return;
    }
    let backend = Backend::start("");
    let options = format!("http --json -c 10000 -t 2 -n 30000 --timeout 30s {}", backend.url());
    let load = Running::start(&mut hostplane(&options));
    let mut highest = [0, 0];
    while let Some(own) = peak_kib(load.pid()) {
        highest = [own, peak_kib(backend.pid()).unwrap_or(0).max(highest[1])];
        std::thread::sleep(Duration::from_millis(20));
    }
    let result = json(&load.output());
    assert_eq!(
        (number(&result, "/requests"), number(&result, "/connections/made")),
        (30_000, 10_000),
        "{result}"
    );
    assert!(highest.iter().all(|kib| (1..MOST_KIB).contains(kib)), "{highest:?}");
    let theirs = backend.account();
    assert_eq!((number(&theirs, "/answered"), number(&theirs, "/connections")), (30_000, 10_000));
}

/// Highest memory of a process so far; `None` when it has ended.
fn peak_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().trim_end_matches(" kB").parse().ok()
}

/// A server that goes and comes back: the failures have times, and the load goes on.
#[test]
fn a_backend_that_goes_and_comes_costs_a_time() {
    let backend = Backend::start_at("127.0.0.2", 0, "");
    let port = backend.port;
    let mut load = Running::start(&mut hostplane(&format!(
        "http --json -c 5 -t 1 -d 3s --rate 500 --interval 100ms {}",
        backend.url()
    )));
    load.wait_for_stderr("requests/s");
    drop(backend.account());
    std::thread::sleep(Duration::from_millis(500));
    let again = Backend::start_at("127.0.0.2", port, "");
    let result = json(&load.output());
    drop(again);
    assert_eq!(number(&result, "/account/intended"), 1500, "{result}");
    let bins = result["failure_times"]["bins"].as_array().unwrap();
    let (first, last) = (number(&bins[0], "/at_ms"), number(&bins[bins.len() - 1], "/at_ms"));
    assert!((400..2500).contains(&(last - first)), "{first} {last}");
    assert!(number(&result, "/errors/connect") > 100, "{}", result["errors"]);
    assert!(number(&result, "/connections/made_again") >= 5, "{}", result["connections"]);
}
