//! HTTP by TLS: the same counts, and what can go wrong in between.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::common::tls::{Certificates, Deed, Odd};
use super::common::web::{Backend, nginx_with_tls};
use super::common::{hostplane, number, run, stderr};
use super::http::load;

#[test]
fn requests_by_tls_are_those_in_the_backends_account() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = directory.path().join("backend.pem");
    for options in
        ["-d 300ms", "-d 300ms --rate 1000", "-n 200 --no-keepalive", "-n 300 --requests-per-connection 7"]
    {
        let backend = Backend::start(&format!("--name pod-1 --tls-self-signed {}", certificate.display()));
        let url = backend.tls_url();
        let result = load(&format!("-c 10 -t 2 {options} --ca {} {url}", certificate.display()));
        let theirs = backend.account();
        let requests = number(&result, "/requests");
        assert!(requests >= 200, "{options}: {result}");
        assert_eq!(
            (number(&theirs, "/requests"), number(&theirs, "/answered")),
            (requests, requests),
            "{options}"
        );
        let made = number(&result, "/connections/made");
        assert_eq!(
            (number(&theirs, "/connections"), number(&result, "/tls/handshakes")),
            (made, made),
            "{options}"
        );
        let times = result["latency"]["histograms"]["handshake_ns"].as_array().unwrap();
        assert_eq!(times.iter().map(|bucket| number(bucket, "/1")).sum::<u64>(), made);
        assert_eq!(number(&theirs, "/written_bytes"), number(&result, "/read_bytes"), "{options}");
        assert_eq!(number(&theirs, "/read_bytes"), number(&result, "/written_bytes"), "{options}");
        assert!(number(&result, "/tls/wire_read_bytes") > number(&result, "/read_bytes"));
        assert!(number(&result, "/tls/wire_written_bytes") > number(&result, "/written_bytes"));
        assert_eq!(result["tls"]["protocol"], "http/1.1");
        assert_eq!(result["tls"]["insecure"], false);
        assert_eq!(result["backends"]["named"][0]["name"], "pod-1");
        if options.contains("no-keepalive") {
            assert!(number(&result, "/tls/resumed") > 100, "{}", result["tls"]);
        }
    }
}

#[test]
fn requests_by_tls_are_those_in_nginxs_log() {
    let certificates = Certificates::of("127.0.0.1", false);
    let server = nginx_with_tls(&certificates);
    let ca = format!("--ca {}", certificates.file("ca.pem").display());
    let url = |path: &str| format!("{}{path}", server.tls_url());
    for (path, options) in [
        ("kept", "-c 16 -t 2 -d 300ms"),
        ("open", "-c 16 -t 1 -n 300 --rate 3000 --arrivals poisson"),
        ("anew", "-c 4 -t 1 -n 100 --no-keepalive --no-tls-resumption"),
    ] {
        let result = load(&format!("{options} {ca} {}", url(path)));
        std::fs::write(server.directory.path().join(path), number(&result, "/requests").to_string()).unwrap();
        if path == "anew" {
            assert_eq!((number(&result, "/tls/handshakes"), number(&result, "/tls/resumed")), (100, 0));
        }
    }
    let counted = ["kept", "open", "anew"]
        .map(|path| (path, std::fs::read_to_string(server.directory.path().join(path)).unwrap()));
    let log = server.logged();
    for (path, requests) in counted {
        let lines = log.iter().filter(|line| line.contains(&format!("GET /{path} "))).count();
        assert_eq!(lines.to_string(), requests, "{path}");
    }
}

#[test]
fn a_certificate_that_proves_nothing_ends_a_trial_before_it_begins() {
    let (good, expired) = (Certificates::of("127.0.0.1", false), Certificates::of("127.0.0.1", true));
    let elsewhere = Certificates::of("elsewhere.example", false);
    let cases = [
        (&good, &elsewhere, "", "UnknownIssuer", "--ca FILE"),
        (&expired, &expired, "", "expired", "renew"),
        (&elsewhere, &elsewhere, "", "not valid for name", "--tls-server-name"),
    ];
    for (server, trusted, options, why, remedy) in cases {
        let odd = Odd::start(server, u32::MAX, Deed::Instead(|_| {}));
        for loop_options in ["-c 5 -t 2", "-c 5 -t 2 --no-keepalive"] {
            let ca = trusted.file("ca.pem");
            let command =
                format!("http --json -d 5s {loop_options} {options} --ca {} {}", ca.display(), odd.url());
            let began = Instant::now();
            let output = run(&mut hostplane(&command));
            assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
            let said = stderr(&output);
            assert!(said.contains(why) && said.contains(remedy), "{said}");
            assert!(began.elapsed() < Duration::from_secs(4));
        }
        let result = load(&format!("-c 2 -t 1 -n 4 --insecure {}", odd.url()));
        assert_eq!((number(&result, "/requests"), result["tls"]["insecure"].as_bool()), (4, Some(true)));
    }
    let odd = Odd::start(&elsewhere, u32::MAX, Deed::Instead(|_| {}));
    let named = format!("--ca {} --tls-server-name elsewhere.example", elsewhere.file("ca.pem").display());
    assert_eq!(number(&load(&format!("-c 2 -t 1 -n 4 {named} {}", odd.url())), "/requests"), 4);
}

#[test]
fn what_goes_wrong_with_tls_is_counted_by_kind() {
    let cases: [(&str, Deed); 8] = [
        ("tls_protocol", Deed::Instead(|stream| drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")))),
        ("tls_alert", Deed::Instead(|stream| drop(stream.write_all(b"\x15\x03\x03\x00\x02\x02\x28")))),
        ("tls_closed", Deed::Instead(|stream| drop(stream.read(&mut [0; 1000])))),
        ("tls_timeout", Deed::Instead(|_| std::thread::sleep(Duration::from_secs(3)))),
        // TLS is closed in order, without a response.
        (
            "closed_early",
            Deed::Answer(|stream| {
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }),
        ),
        (
            "tls_protocol",
            Deed::Answer(|stream| {
                drop(stream.sock.write_all(b"\x17\x03\x03\x00\x20 that is no record of this key!!"));
            }),
        ),
        (
            "closed_early",
            Deed::Answer(|stream| {
                // The connection ends within a record.
                let _ = stream.sock.write_all(b"\x17\x03\x03\x01\x00 the beginning");
                let _ = stream.sock.shutdown(Shutdown::Both);
            }),
        ),
        (
            "closed_early",
            Deed::Answer(|stream| {
                // What is there may not be all.
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nuntil the end");
                let _ = stream.flush();
                let _ = stream.sock.shutdown(Shutdown::Both);
            }),
        ),
    ];
    let certificates = Certificates::of("127.0.0.1", false);
    for (number_of, (kind, deed)) in cases.into_iter().enumerate() {
        let odd = Odd::start(&certificates, 1, deed);
        let ca = certificates.file("ca.pem");
        let began = Instant::now();
        let options = format!("-c 1 -t 1 -n 5 --no-keepalive --timeout 300ms --ca {}", ca.display());
        let result = load(&format!("{options} {}", odd.url()));
        assert!(began.elapsed() < Duration::from_secs(10), "case {number_of}");
        assert_eq!(number(&result, "/requests"), 1, "case {number_of}: {result}");
        assert_eq!(number(&result, &format!("/errors/{kind}")), 4, "case {number_of}: {}", result["errors"]);
    }
    // Nobody speaks TLS from the beginning on: the trial does not begin.
    let deaf = Odd::start(&certificates, 0, Deed::Instead(|_| std::thread::sleep(Duration::from_secs(3))));
    let output = run(&mut hostplane(&format!("http --insecure -d 1s --timeout 200ms {}", deaf.url())));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("remedy: see whether the server speaks TLS"), "{}", stderr(&output));
    let plain = Backend::start("");
    let url = plain.url().replace("http:", "https:");
    let output = run(&mut hostplane(&format!("http --insecure -d 1s {url}")));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("remedy: see"), "{}", stderr(&output));
}

#[test]
fn options_of_tls_that_cannot_be_are_told() {
    for (options, part) in [
        ("http --insecure http://127.0.0.1:1/", "--insecure is for https URLs"),
        ("http --ca /nowhere https://127.0.0.1:1/", "/nowhere"),
        ("http --ca /dev/null https://127.0.0.1:1/", "no certificate in it"),
        ("http --insecure --tls-server-name a:b https://127.0.0.1:1/", "'a:b'"),
        ("backend --tls-cert /dev/null", "--tls-key"),
        ("backend --tls-cert /dev/null --tls-key /dev/null", "/dev/null"),
        ("backend --tls-self-signed /nowhere/file", "/nowhere/file"),
    ] {
        let output = run(&mut hostplane(options));
        assert_eq!(output.status.code(), Some(2), "{options}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{options}: {}", stderr(&output));
    }
}
