//! Clients of iperf3 that ask for too much, do not speak the protocol, or vanish: bounded, told, nothing left.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Running, Server, number, run, tool};
use crate::iperf3::{client, serve};

const COOKIE: &[u8; 37] = b"abcdefghijklmnopqrstuvwxyz234567abcd\0";

/// A client by hand.
struct Hand(TcpStream);

impl Hand {
    /// A client that has sent its cookie, and was asked for its parameters.
    fn greet(server: &Server, cookie: &[u8; 37]) -> Self {
        let mut hand = Self::connect(server);
        hand.0.write_all(cookie).unwrap();
        assert_eq!(hand.state(), 9);
        hand
    }

    fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self(stream)
    }

    fn state(&mut self) -> i8 {
        let mut byte = [0];
        self.0.read_exact(&mut byte).unwrap();
        byte[0].cast_signed()
    }

    fn send(&mut self, state: i8) {
        self.0.write_all(&[state.cast_unsigned()]).unwrap();
    }

    fn frame(&mut self, json: &str) {
        self.0.write_all(&(json.len() as u32).to_be_bytes()).unwrap();
        self.0.write_all(json.as_bytes()).unwrap();
    }

    /// The number of a refusal.
    fn refusal(&mut self) -> i32 {
        assert_eq!(self.state(), -2);
        let mut bytes = [0; 8];
        self.0.read_exact(&mut bytes).unwrap();
        i32::from_be_bytes(*bytes.first_chunk().unwrap())
    }

    /// True when the server closes the connection, within a time.
    fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        !matches!(self.0.read_to_end(&mut rest), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// From the parameters to a running test with these streams.
    fn run(server: &Server, cookie: &[u8; 37], parameters: &str, streams: usize) -> (Self, Vec<TcpStream>) {
        let mut hand = Self::greet(server, cookie);
        hand.frame(parameters);
        assert_eq!(hand.state(), 10);
        let streams = (0..streams)
            .map(|_| {
                let mut stream = Self::connect(server).0;
                stream.write_all(cookie).unwrap();
                stream
            })
            .collect();
        assert_eq!((hand.state(), hand.state()), (1, 2));
        (hand, streams)
    }
}

#[test]
fn bad_parameters_are_refused_with_iperf3s_numbers() {
    let server = serve("");
    let long = format!(r#"{{"tcp":true,"title":"{}"}}"#, "x".repeat(9000));
    for (parameters, number) in [
        ("{", 114),
        ("[]", 114),
        (r#"{"tcp":1,"time":"10"}"#, 114),
        (r#"{"tcp":true,"time":-5}"#, 114),
        (r#"{"sctp":true}"#, 131),
        (r#"{"tcp":true,"parallel":129}"#, 6),
        (r#"{"tcp":true,"parallel":4294967295}"#, 6),
        (r#"{"udp":true,"len":4}"#, 20),
        (r#"{"tcp":true,"len":2000000000}"#, 7),
        (r#"{"tcp":true,"reverse":true,"congestion":"nonesuch","time":1}"#, 134),
        (&long, 114),
    ] {
        let mut hand = Hand::greet(&server, COOKIE);
        hand.frame(parameters);
        if number == 134 {
            assert_eq!(hand.state(), 10);
            let mut stream = Hand::connect(&server);
            stream.0.write_all(COOKIE).unwrap();
            assert_eq!(hand.refusal(), number, "{parameters}");
        } else {
            assert_eq!(hand.refusal(), number, "{parameters}");
        }
        assert!(hand.is_closed());
    }
    // Announced sizes are no memory.
    let mut hand = Hand::greet(&server, COOKIE);
    hand.0.write_all(&[0xff; 4]).unwrap();
    assert_eq!(hand.refusal(), 114);
    drop(hand);
    server.has_no_sockets_left();
}

#[test]
fn strangers_wrong_cookies_and_further_streams_are_turned_away() {
    let server = serve("");
    // Port scans, other protocols, half a cookie.
    for greeting in
        [&b""[..], b"GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n", &[0; 37], b"half a cookie"]
    {
        let mut hand = Hand::connect(&server);
        hand.0.write_all(greeting).unwrap();
        if greeting.len() < 37 {
            hand.0.shutdown(std::net::Shutdown::Write).unwrap();
        }
        assert!(hand.is_closed());
    }
    let (mut hand, mut streams) = Hand::run(&server, COOKIE, r#"{"tcp":true,"time":2,"parallel":2}"#, 2);
    // A third stream of the same test, and a stream of no test, which is taken for a new test.
    let mut third = Hand::connect(&server);
    third.0.write_all(COOKIE).unwrap();
    assert!(third.is_closed());
    let mut other = *COOKIE;
    other[0] = b'z';
    drop(Hand::greet(&server, &other));
    for stream in &mut streams {
        stream.write_all(&[7; 1000]).unwrap();
    }
    hand.send(4);
    assert_eq!(hand.state(), 13);
    let stream = |id: u32, bytes: u32| {
        format!(r#"{{"id":{id},"bytes":{bytes},"retransmits":-1,"jitter":0,"errors":0,"packets":0}}"#)
    };
    hand.frame(&format!(
        r#"{{"cpu_util_total":0,"cpu_util_user":0,"cpu_util_system":0,"sender_has_retransmits":-1,"streams":[{},{}]}}"#,
        stream(1, 1000),
        stream(3, 900)
    ));
    let mut length = [0; 4];
    hand.0.read_exact(&mut length).unwrap();
    let mut results = vec![0; u32::from_be_bytes(length) as usize];
    hand.0.read_exact(&mut results).unwrap();
    let results: Value = serde_json::from_slice(&results).unwrap();
    assert_eq!((number(&results, "/streams/0/id"), number(&results, "/streams/1/id")), (1, 3));
    assert_eq!(number(&results, "/streams/1/bytes"), 1000, "this end's count, not the client's");
    assert_eq!(number(&results, "/streams/0/omitted_packets"), 0);
    assert_eq!(hand.state(), 14);
    hand.send(16);
    let account = server.account();
    assert_eq!(account["linerate"]["complete"], true, "{account}");
    let told = account["linerate"]["disagreements"][0].as_str().unwrap();
    assert!(told.contains("2000 bytes were received, and the peer counted 1900"), "{told}");
    drop((hand, streams));
    server.has_no_sockets_left();
}

#[test]
fn clients_that_vanish_or_lie_are_told() {
    let server = serve("");
    // One that leaves without results, one that tells nonsense, one that claims bytes that never came.
    let parameters = r#"{"tcp":true,"time":10,"reverse":true}"#;
    let (hand, streams) = Hand::run(&server, COOKIE, parameters, 1);
    drop((hand, streams));
    let account = server.account();
    let failure = account["linerate"]["failures"][0].as_str().unwrap();
    assert!(failure.contains("the client left"), "{account}");
    assert!(account["error"].as_str().unwrap().contains("the client left"), "iperf3's form");

    let (mut hand, streams) = Hand::run(&server, COOKIE, r#"{"tcp":true,"time":10}"#, 1);
    hand.send(4);
    assert_eq!(hand.state(), 13);
    hand.frame(r#"{"streams":7}"#);
    assert_eq!(hand.refusal(), 117);
    drop((hand, streams));
    let account = server.account();
    assert!(account["linerate"]["failures"][0].as_str().unwrap().contains("cpu_util_total"), "{account}");

    let (mut hand, streams) = Hand::run(&server, COOKIE, r#"{"tcp":true,"time":10}"#, 1);
    hand.send(4);
    assert_eq!(hand.state(), 13);
    hand.frame(
        r#"{"cpu_util_total":0,"cpu_util_user":0,"cpu_util_system":0,"sender_has_retransmits":-1,"streams":[
        {"id":1,"bytes":5000,"retransmits":0,"jitter":0,"errors":0,"packets":0}]}"#,
    );
    let account = server.account();
    assert_eq!(account["linerate"]["complete"], false, "{account}");
    let failure = account["linerate"]["failures"][0].as_str().unwrap();
    assert!(failure.contains("0 of the 5000 bytes"), "{failure}");
    drop((hand, streams));
    server.has_no_sockets_left();
}

#[test]
fn a_killed_client_leaves_nothing() {
    let server = serve("");
    let iperf3 = tool("iperf3");
    for options in ["-t 30 -P 4", "-t 30 -R -P 4", "-t 30 -u -b 10M -R"] {
        let mut killed = Running::start(&mut client(&iperf3, server.port, options));
        server.until_connected();
        std::thread::sleep(Duration::from_millis(500));
        killed.child().kill().unwrap();
        let account = server.account();
        assert_eq!(account["linerate"]["complete"], false, "{account}");
        assert!(
            account["linerate"]["failures"][0].as_str().unwrap().contains("the client left"),
            "{account}"
        );
        drop(killed);
        server.has_no_sockets_left();
    }
}

#[test]
fn streams_of_datagrams_that_do_not_come_hold_others_up_for_a_short_time_only() {
    let server = serve("");
    let mut silent = Hand::greet(&server, COOKIE);
    silent.frame(r#"{"udp":true,"time":1,"len":1000}"#);
    assert_eq!(silent.state(), 10);
    // Strange datagrams begin no stream.
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for datagram in [&b""[..], b"xx", b"nothing of the kind", &[0; 1000]] {
        stranger.send_to(datagram, ("127.0.0.1", server.port)).unwrap();
    }
    let began = Instant::now();
    let mut waiting = client(&tool("iperf3"), server.port, "-u -b 1M -t 1");
    let output = run(&mut waiting);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(began.elapsed() < Duration::from_secs(25));
    assert_eq!(silent.refusal(), 202);
    drop(silent);
    server.has_no_sockets_left();
}

#[test]
fn ceilings_hold_for_what_clients_ask_for() {
    let iperf3 = tool("iperf3");
    let refused = |server: &Server, options: &str, words: &str| {
        let output = run(&mut client(&iperf3, server.port, options));
        let text =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && text.contains(words), "{options}: {text}");
    };
    let server = serve("--max-rate 10mbps --max-duration 5s --max-streams 4");
    refused(&server, "-R -t 1", "total required bandwidth");
    refused(&server, "-t 1", "total required bandwidth");
    refused(&server, "-u -b 3M -P 4 -R -t 1", "total required bandwidth");
    refused(&server, "-t 1 -b 1M -P 5", "number of parallel streams");
    let mut long = Hand::greet(&server, COOKIE);
    long.frame(r#"{"tcp":true,"time":6,"bandwidth":1000000}"#);
    assert_eq!(long.refusal(), 37);
    let mut endless = Hand::greet(&server, COOKIE);
    endless.frame(r#"{"tcp":true,"num":1000,"bandwidth":1000000}"#);
    assert_eq!(endless.refusal(), 37);
    let output = run(&mut client(&iperf3, server.port, "-t 1 -b 5M -R -J"));
    assert!(output.status.success());
    let server = serve("--allow 10.0.0.0/8");
    refused(&server, "-t 1", "error");
    server.has_no_sockets_left();
    // At most so many at once.
    let server = serve("--max-tests 1");
    let first = Running::start(&mut client(&iperf3, server.port, "-t 2 -b 1M"));
    server.until_connected();
    refused(&server, "-t 1", "busy");
    assert!(first.output().status.success());
}

#[test]
fn a_server_that_ends_tells_its_clients() {
    let mut server = serve("");
    let running = Running::start(&mut client(&tool("iperf3"), server.port, "-t 30 -b 1M"));
    server.until_connected();
    std::thread::sleep(Duration::from_millis(500));
    server.signal("INT");
    let account = server.account();
    assert!(
        account["linerate"]["failures"][0].as_str().unwrap().contains("the server was ended"),
        "{account}"
    );
    assert!(server.ends_within(Duration::from_secs(10)).is_some());
    let output = running.output();
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("the server has terminated"), "{text}");
}
