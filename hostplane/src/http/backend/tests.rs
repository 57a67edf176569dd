use std::io::{Read, Write};
use std::net::TcpStream;

use linerate_agent::host::monotonic_ns;
use linerate_wire::http::AbsenceKind;

use super::*;

fn backend(change: impl FnOnce(&mut BackendConfig)) -> Backend {
    let mut config = BackendConfig::new(vec!["127.0.0.1:0".parse().unwrap()], "pod-1".to_owned());
    change(&mut config);
    Backend::start(config).unwrap()
}

fn answers(backend: &Backend, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(backend.addresses()[0]).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn requests_are_answered_and_counted() {
    let one = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\npod-1";
    let last =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
    let backend = backend(|config| config.threads = 2);
    let requests = b"GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcHEAD / HTTP/1.1\r\nConnection: close\r\n\r\n";
    assert_eq!(answers(&backend, requests), [one, one, last].concat());
    let counters = backend.finish();
    assert_eq!((counters.requests, counters.answered, counters.connections, counters.open), (3, 3, 1, 0));
    assert_eq!(counters.read_bytes, requests.len() as u64);
}

#[test]
fn large_bodies_and_delays_are_whole() {
    let backend = backend(|config| {
        config.body_bytes = Some(5_000_000);
        config.delay = Some(Duration::from_millis(5));
        config.status = 503;
    });
    let text = answers(&backend, b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 503 Service Unavailable\r\n") && text.contains("X-Backend: pod-1"));
    assert_eq!(text.matches('x').count(), 10_000_000 + text.matches("text").count());
    let counters = backend.finish();
    assert_eq!((counters.requests, counters.answered), (2, 2));
}

/// Requests are taken when the responses before them have left: they do not pile up.
#[test]
fn pipelined_requests_are_all_answered() {
    for delay in [None, Some(Duration::from_millis(1))] {
        let backend = backend(|config| (config.body_bytes, config.delay) = (Some(600_000), delay));
        let requests =
            [&b"GET / HTTP/1.1\r\n\r\n".repeat(19)[..], b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"];
        let text = answers(&backend, &requests.concat());
        assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 20);
        assert_eq!(text.matches('x').count(), 20 * 600_000 + text.matches("text").count());
        let counters = backend.finish();
        assert_eq!((counters.requests, counters.answered, counters.broken), (20, 20, 0));
    }
}

/// Answers of HTTP/2 that fall due while the client takes nothing leave when it does.
#[test]
fn delayed_answers_of_many_streams_are_whole() {
    let backend = backend(|config| {
        config.body_bytes = Some(100_000);
        config.delay = Some(Duration::from_millis(1));
    });
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // Windows of 1 GiB, and 100 times GET.
    bytes.extend(frame(4, 0, 0, &[0, 4, 0x40, 0, 0, 0]));
    bytes.extend(frame(8, 0, 0, &[0x40, 0, 0, 0]));
    (0..100).for_each(|number| bytes.extend(frame(1, 5, 2 * number + 1, &[0x82])));
    let mut stream = TcpStream::connect(backend.addresses()[0]).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&bytes).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let (mut head, mut body_bytes, mut ended) = ([0; 9], 0, 0);
    while ended < 100 {
        stream.read_exact(&mut head).unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).unwrap();
        if head[3] == 0 {
            body_bytes += payload.len();
            ended += u32::from(head[4] & 1);
        }
    }
    assert_eq!(body_bytes, 10_000_000);
    let counters = backend.finish();
    assert_eq!((counters.requests, counters.answered), (100, 100));
}

#[test]
fn what_is_no_request_ends_the_connection() {
    let backend = backend(|_| {});
    assert_eq!(answers(&backend, b"\x16\x03\x01\x02\x00"), "");
    assert_eq!(backend.finish().malformed, 1);
}

/// Away: connections are reset, new ones refused; and back at the same port, counts as before.
#[test]
fn an_absent_backend_is_refused_and_comes_back() {
    for (threads, kind) in [(1, AbsenceKind::Killed), (2, AbsenceKind::NotAccepting)] {
        let backend = backend(|config| config.threads = threads);
        let address = backend.addresses()[0];
        let mut kept = TcpStream::connect(address).unwrap();
        kept.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut ask = |room: &mut [u8]| -> io::Result<usize> {
            kept.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
            kept.read(room)
        };
        let mut room = [0; 256];
        assert!(ask(&mut room).unwrap() > 0);
        let now = monotonic_ns();
        let absence = backend.be_away(now, now + 3_600_000_000_000, kind);
        while absence.report(0).left_ns.is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let refused = || TcpStream::connect(address).map(drop).map_err(|error| error.kind());
        // Each thread leaves on its own.
        while refused() != Err(io::ErrorKind::ConnectionRefused) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let cut = matches!(ask(&mut room), Err(_) | Ok(0));
        assert_eq!(cut, kind == AbsenceKind::Killed);
        assert_eq!(absence.report(0).cut_connections, u64::from(cut));
        drop(absence);
        while refused().is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(answers(&backend, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").ends_with("pod-1"));
        let counters = backend.finish();
        assert_eq!(counters.requests, counters.answered);
        assert_eq!(counters.requests, if cut { 2 } else { 3 });
    }
}

#[test]
fn the_first_request_after_an_absence_has_a_time() {
    let backend = backend(|_| {});
    let now = monotonic_ns();
    let absence = backend.be_away(now + 1_000_000, now + 20_000_000, AbsenceKind::Killed);
    while absence.report(now).returned_ns.is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(absence.report(now).first_request_ns, None);
    answers(&backend, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    let seen = absence.report(now);
    let (left, returned) = (seen.left_ns.unwrap(), seen.returned_ns.unwrap());
    assert!(1_000_000 <= left && left < returned && returned >= 20_000_000, "{seen:?}");
    assert!(seen.first_request_ns.unwrap() >= returned, "{seen:?}");
}

#[test]
fn refusals_name_the_thing() {
    let first = backend(|_| {});
    let again = BackendConfig::new(first.addresses().to_vec(), "a".to_owned());
    let error = Backend::start(again).unwrap_err().to_string();
    assert!(error.contains("cannot listen at 127.0.0.1") && error.contains("another program"), "{error}");
    let named = |name: &str| Backend::start(BackendConfig::new(Vec::new(), name.to_owned())).map(drop);
    for name in ["", "a b", &"a".repeat(65)] {
        assert!(named(name).unwrap_err().to_string().contains(name));
    }
}
