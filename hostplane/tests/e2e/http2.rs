//! HTTP/2: the same counts, limits of the server kept, and what a server can do wrong.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::common::tls::Certificates;
use super::common::web::{
    Backend, Server, nginx, nginx_with_http2, nginx_with_http2_and_tls, nginx_with_tls,
};
use super::common::{hostplane, number, run, stderr};
use super::http::load;

/// Sends loads to paths of their own; then their requests are those in the log.
fn agrees(server: Server, url: &str, loads: &[(&str, &str)]) {
    let counted: Vec<u64> = loads
        .iter()
        .map(|(path, options)| {
            let result = load(&format!("--http2 {options} {url}{path}"));
            assert!(number(&result, "/requests") > 0, "{result}");
            assert_eq!(number(&result, "/account/failed"), 0, "{result}");
            assert_eq!(result["load"]["http"], "2");
            number(&result, "/requests")
        })
        .collect();
    let log = server.logged();
    for ((path, _), requests) in loads.iter().zip(counted) {
        let lines = log.iter().filter(|line| line.contains(&format!(" /{path} HTTP/2.0\" 200")));
        assert_eq!(lines.count() as u64, requests, "{path}");
    }
}

#[test]
fn requests_by_http2_are_those_in_nginxs_log() {
    let server = nginx_with_http2(5);
    let url = server.url();
    // nginx ends a connection after 1,000 requests, and returns those that come then.
    agrees(
        server,
        &url,
        &[
            ("closed", "-c 3 -t 2 --streams 4 -d 300ms"),
            ("open", "-c 3 -t 1 --streams 5 -n 3000 --rate 10000 --arrivals poisson"),
            ("more-than-it-permits", "-c 2 -t 1 --streams 64 -n 2500"),
            ("one", "-c 1 -t 1 -n 50 --method POST --body hello"),
        ],
    );
    let certificates = Certificates::of("127.0.0.1", false);
    let server = nginx_with_http2_and_tls(&certificates);
    let url = server.tls_url();
    let ca = format!("--ca {}", certificates.file("ca.pem").display());
    agrees(
        server,
        &url,
        &[
            ("closed", &format!("-c 3 -t 2 --streams 4 -d 300ms {ca}")),
            ("open", &format!("-c 3 -t 1 --streams 5 -n 1500 --rate 5000 {ca}")),
        ],
    );
}

#[test]
fn a_backend_answers_http2_and_counts_it() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = directory.path().join("backend.pem").display().to_string();
    for (answers, loads) in [
        ("--name b0", &["-c 2 --streams 5 -n 500", "-c 1 --streams 9 -n 30 --method POST --body hello"][..]),
        // More than the windows that a connection has at first, and answers that wait.
        ("--name b0 --body-size 100000 --delay 1ms", &["-c 2 --streams 3 -n 60 --backend-header X-Backend"]),
        ("--name b0 --status 204", &["-c 1 --streams 2 -n 20"]),
    ] {
        for tls in [false, true] {
            let (more, ca) = match tls {
                true => (format!(" --tls-self-signed {certificate}"), format!(" --ca {certificate}")),
                false => Default::default(),
            };
            let backend = Backend::start(&format!("{answers}{more}"));
            let url = if tls { backend.tls_url() } else { backend.url() };
            let mut requests = 0;
            for options in loads {
                let result = load(&format!("--http2 -t 1 {options}{ca} {url}"));
                assert_eq!(number(&result, "/account/failed"), 0, "{result}");
                requests += number(&result, "/requests");
                // Without a body there is no name.
                if !answers.contains("--status 204") {
                    assert_eq!(result["backends"]["named"][0]["name"], "b0", "{result}");
                }
            }
            let account = backend.account();
            for count in ["/requests", "/answered"] {
                assert_eq!(number(&account, count), requests, "{answers} {account}");
            }
            assert_eq!(number(&account, "/malformed") + number(&account, "/broken"), 0, "{account}");
        }
    }
}

/// A server of HTTP/2 that says its settings, and then the same thing again and again whenever something came.
fn server(settings: &'static [u8], says: &'static [u8], closes: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    // It ends with the test program.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream, settings, says, closes));
        }
    });
    url
}

fn serve(mut stream: TcpStream, settings: &[u8], says: &[u8], closes: bool) {
    let _ = stream.write_all(settings);
    let mut seen = Vec::new();
    let mut room = [0; 65_536];
    while let Ok(bytes @ 1..) = stream.read(&mut room) {
        seen.extend_from_slice(&room[..bytes]);
        // Once a request has come: a HEADERS frame on the first stream.
        let asked = |head: &[u8]| head[3] == 1 && head[4] & 4 > 0 && head[5..] == [0, 0, 0, 1];
        if seen.windows(9).any(asked) && (stream.write_all(says).is_err() || closes) {
            return;
        }
    }
}

const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

#[test]
fn what_a_server_of_http2_does_wrong_is_counted_by_kind() {
    let cases: [(&str, &'static [u8], bool); 8] = [
        // RST_STREAM, with INTERNAL_ERROR and with REFUSED_STREAM.
        ("stream_reset", b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x02", true),
        ("stream_refused", b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x07", true),
        // GOAWAY that returns everything.
        ("stream_refused", b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0", true),
        // A response that is shorter than its content-length, 9.
        ("malformed", b"\0\0\x05\x01\x05\0\0\0\x01\x88\x0f\x0d\x01\x39", true),
        // No frame.
        ("malformed", b"HTTP/1.1 200 OK\r\n\r\n", true),
        ("closed_early", b"\0\0\x01\x01\x04\0\0\0\x01\x88", true),
        ("timeout", b"\0\0\x01\x01\x04\0\0\0\x01\x88", false),
        // A body above its limit.
        ("too_large", b"\0\0\x08\x01\x04\0\0\0\x01\x88\x0f\x0d\x04\x39\x39\x39\x39", true),
    ];
    for (number_of, (kind, says, closes)) in cases.into_iter().enumerate() {
        let url = server(SETTINGS, says, closes);
        let began = Instant::now();
        let options = "--http2 -c 1 -t 1 -n 1 --timeout 300ms --max-body 100";
        let result = load(&format!("{options} {url}"));
        assert!(began.elapsed() < Duration::from_secs(10), "case {number_of}");
        assert_eq!(number(&result, &format!("/errors/{kind}")), 1, "case {number_of}: {}", result["errors"]);
    }
}

#[test]
fn servers_that_do_not_speak_http2_are_told_before_the_start() {
    let http1 = nginx();
    let certificates = Certificates::of("127.0.0.1", false);
    let tls = nginx_with_tls(&certificates);
    let silent = server(b"", b"", false);
    for (url, options) in [(http1.url(), ""), (tls.tls_url(), "--insecure"), (silent, "--timeout 300ms")] {
        let output = run(&mut hostplane(&format!("http --http2 -d 1s {options} {url}")));
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains("remedy"), "{}", stderr(&output));
    }
    for (options, part) in [
        ("--streams 2 http://127.0.0.1:1/", "--http2"),
        ("--http2 --streams 0 http://127.0.0.1:1/", "streams of a connection: 0"),
        ("--http2 --no-keepalive http://127.0.0.1:1/", "--no-keepalive"),
    ] {
        let output = run(&mut hostplane(&format!("http {options}")));
        assert_eq!(output.status.code(), Some(2), "{options}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{options}: {}", stderr(&output));
    }
}
