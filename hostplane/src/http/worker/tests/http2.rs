//! HTTP/2 against servers that a test plays.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use super::*;

/// Empty settings, and settings that permit no stream (RFC 9113, section 6.5).
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
const NO_STREAM: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\0";
/// A response with status 204 and nothing else, to the first request.
const ANSWER: &[u8] = b"\0\0\x01\x01\x05\0\0\0\x01\x89";

/// A closed loop of some requests on one connection.
fn spec_of(listener: &TcpListener, streams: u32, requests: u64, timeout_ms: u64) -> HttpSpec {
    HttpSpec {
        streams: Some(streams),
        requests: Some(requests),
        duration_ms: None,
        timeout_ms,
        ..towards(listener.local_addr().unwrap())
    }
}

/// Runs a trial on a thread of its own.
fn run(spec: HttpSpec) -> std::thread::JoinHandle<Left> {
    std::thread::spawn(move || {
        let requests = spec.requests.unwrap_or(u64::MAX);
        let mut one = worker(spec);
        one.orders.requests_left.store(requests, Ordering::Relaxed);
        one.orders.start_ns.store(monotonic_ns(), Ordering::Release);
        // Requests begin when the connection is there.
        one.phase = Phase::Arming;
        one.run()
    })
}

fn accept(listener: &TcpListener, first: &[u8]) -> TcpStream {
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    peer.write_all(first).unwrap();
    peer
}

/// Reads until a frame of this kind, on this stream, begins in what came.
fn await_headers(peer: &mut TcpStream, stream: u8) {
    let mut came = Vec::new();
    let is_there = |came: &[u8]| came.windows(6).any(|six| six == [1, 5, 0, 0, 0, stream]);
    while !is_there(&came) {
        let mut room = [0; 4096];
        let bytes = peer.read(&mut room).unwrap();
        assert!(bytes > 0, "{came:?}");
        came.extend_from_slice(&room[..bytes]);
    }
}

/// Reads until the peer has closed.
fn await_end(peer: &mut TcpStream) {
    let mut room = [0; 4096];
    while peer.read(&mut room).is_ok_and(|bytes| bytes > 0) {}
}

#[test]
fn a_connection_that_has_gone_silent_is_made_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let trial = run(spec_of(&listener, 1, 3, 100));
    let mut silent = accept(&listener, SETTINGS);
    await_headers(&mut silent, 1);
    // Requests on it are not answered; later ones come on another connection. The first one may have been asked for
    // before the settings came: then it takes a second one to see that the server is silent.
    let mut second = accept(&listener, SETTINGS);
    await_headers(&mut second, 1);
    second.write_all(ANSWER).unwrap();
    let counts = trial.join().unwrap().counters;
    let seen = (counts.sent, counts.written, counts.answered + counts.failed_timeout, counts.failed());
    assert_eq!(seen, (3, 3, 3, counts.failed_timeout), "{counts:?}");
    assert!(counts.answered == 1 && counts.connected == 2, "{counts:?}");
    await_end(&mut silent);
}

#[test]
fn requests_that_never_left_are_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut one = worker(spec_of(&listener, 1, 2, 5000));
    one.orders.requests_left.store(2, Ordering::Relaxed);
    one.connect(0, monotonic_ns());
    let mut first = accept(&listener, SETTINGS);
    while one.counts.connected == 0 {
        look(&mut one);
    }
    begin(&mut one, monotonic_ns());
    one.flush_links();
    await_headers(&mut first, 1);
    // The response and the end come together: the second request is begun between them.
    first.write_all(ANSWER).unwrap();
    first.shutdown(std::net::Shutdown::Write).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    while one.counts.answered == 0 {
        look(&mut one);
    }
    assert_eq!((one.counts.sent, one.counts.written, one.counts.failed()), (2, 1, 0), "{:?}", one.counts);
    let mut second = accept(&listener, SETTINGS);
    while one.counts.written < 2 {
        look(&mut one);
    }
    second.write_all(ANSWER).unwrap();
    while one.counts.answered < 2 {
        look(&mut one);
    }
    assert_eq!((one.counts.failed(), one.counts.connected), (0, 2), "{:?}", one.counts);
}

#[test]
fn a_server_that_permits_no_stream_ends_no_trial_late() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let trial = run(spec_of(&listener, 4, 2, 50));
    let _peer = accept(&listener, NO_STREAM);
    let left = trial.join().unwrap();
    let counts = left.counters;
    let seen = (counts.sent, counts.written, counts.failed_timeout, counts.connected);
    assert_eq!(seen, (2, 0, 2, 1), "{counts:?}");
    let words = left.tally.first_failure.unwrap().words;
    assert!(words.contains("SETTINGS_MAX_CONCURRENT_STREAMS"), "{words}");
}

#[test]
fn places_follow_what_the_server_permits() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut one = worker(open(1.0, spec_of(&listener, 4, 100, 1000)));
    one.connect(0, monotonic_ns());
    let limit = |most: u8| [b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0", &[most][..]].concat();
    let mut peer = accept(&listener, &limit(2));
    while one.counts.connected == 0 {
        look(&mut one);
    }
    begin(&mut one, monotonic_ns() + 10_000_000_000);
    assert_eq!(one.free, [0, 1]);
    for (most, places) in [(3, &[0, 1, 2][..]), (1, &[0]), (9, &[0, 1, 2, 3])] {
        peer.write_all(&limit(most)).unwrap();
        while one.free.len() != places.len() {
            look(&mut one);
        }
        assert_eq!(one.free, places, "{most}");
    }
}
